"""A conversation coloured by its loss."""

from __future__ import annotations

from typing import Any

from course_utils.data import text_of
from course_utils.widgets import control


def conversation_loss(model: Any, tokenizer: Any, conversation: str) -> None:
    """Print how many tokens of a typed conversation carry loss, and draw all.

    Tokens that carry loss have a dashed edge, and the colour of the model's loss.

    Each turn must begin with "system:", "user:" or "assistant:" at the start of a line; else ValueError.
    """
    import torch

    from course_utils import plots
    from course_utils.chatml import encode_conversation
    from course_utils.data import IGNORE
    from course_utils.drawing import ground_and_edge
    from course_utils.log_probs import token_losses

    example = encode_conversation(tokenizer, typed_messages(conversation))
    ids, labels = torch.tensor([example.input_ids]), torch.tensor([example.labels])  # (1, tokens)
    with torch.no_grad():
        logits = model(ids.to(model.device)).logits
    losses = [0.0, *token_losses(logits, labels.to(model.device))[0].tolist()]
    shown = [loss if label != IGNORE else None for loss, label in zip(losses, example.labels, strict=True)]
    scored = [loss for loss in shown if loss is not None]
    print(f"{len(shown)} tokens, {len(scored)} carry loss: mean {sum(scored) / len(scored):.2f} nats")
    plots.coloured_text(
        [text_of(tokenizer, token) for token in example.input_ids], shown, "Dashed tokens carry loss (nats)"
    )
    _, edge = ground_and_edge("loss")
    for patch, loss in zip(plots.plt.gca().patches, shown, strict=True):
        if loss is not None:
            patch.set(edgecolor=edge["edgecolor"], linewidth=edge["linewidth"], linestyle=edge["linestyle"])


def typed_messages(conversation: str) -> list[dict[str, str]]:
    """Messages of text in which each turn begins with a role and a colon at the start of a line."""
    messages: list[dict[str, str]] = []
    for line in conversation.strip().splitlines():
        role, colon, rest = line.partition(":")
        if colon and role.strip().lower() in ("system", "user", "assistant"):
            messages.append({"role": role.strip().lower(), "content": rest.strip()})
        elif messages:
            messages[-1]["content"] += f"\n{line}"
        else:
            raise ValueError('begin every turn with "system:", "user:" or "assistant:"')
    return messages


def conversation_painter(model: Any, tokenizer: Any, conversation: str) -> None:
    """A text area for `conversation_loss`."""

    def show(conversation: str) -> None:
        conversation_loss(model, tokenizer, conversation)

    control(show, conversation=f"{conversation}\n")
