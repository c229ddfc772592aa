"""The loss of a text, token by token."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from course_utils.widgets import control


def loss_of_text(models: Mapping[str, Any], tokenizer: Any, text: str, model: str) -> None:
    """Print a text's loss and perplexity under one model; draw its tokens' losses and likely next tokens.

    ValueError if the text has no next token to predict, or is longer than the model's context.
    """
    import torch

    from course_utils import plots
    from course_utils.data import check_length, encode, text_of
    from course_utils.log_probs import token_losses

    ids = encode(tokenizer, text)
    if len(ids) < 2:
        raise ValueError("a loss needs two tokens or more: no position predicts the first")
    check_length(ids, tokenizer, text)
    batch = torch.tensor([ids], device=models[model].device)  # (1, tokens)
    with torch.no_grad():
        logits = models[model](batch).logits  # (1, tokens, vocabulary)
    losses = token_losses(logits, batch)[0].tolist()
    mean = sum(losses) / len(losses)
    tokens = [text_of(tokenizer, token) for token in ids]
    worst = max(range(len(losses)), key=losses.__getitem__)
    expected = text_of(tokenizer, int(logits[0, worst].argmax()))
    print(
        f"{len(ids)} tokens, {len(losses)} predicted: mean loss {mean:.2f} nats, perplexity "
        f"{math.exp(mean):.1f}. Least expected: {tokens[worst + 1]!r}, where {expected!r} was likeliest."
    )
    probabilities = logits[0, -1].float().softmax(-1)
    best = probabilities.topk(6)
    fig, (above, below) = plots.plt.subplots(2, 1, figsize=(plots.WIDTH, 4.4), height_ratios=[1.2, 1])
    plots.entitle(fig, f"Model: {model}. Loss of each token in nats, and the likeliest next tokens")
    plots.coloured_text(tokens, [None, *losses], "", ax=above, width=60)
    following = [text_of(tokenizer, token) for token in best.indices.tolist()]
    plots.bars(dict(zip(following, best.values.tolist(), strict=True)), "", "", ax=below)
    below.set(xlabel="probability of the next token", xlim=(0, 1.1))


def loss_explorer(models: Mapping[str, Any], tokenizer: Any, text: str) -> None:
    """Controls for `loss_of_text`: a text field and a choice of model."""

    def show(text: str, model: str = next(iter(models))) -> None:
        loss_of_text(models, tokenizer, text, model)

    control(show, text=text, model=list(models))
