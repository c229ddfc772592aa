"""The loss of instruction tuning over a mixture of conversations, and each kind's share of its weight."""

from collections.abc import Sequence

import torch

from course_utils.data import IGNORE, Example, shuffled_batches
from course_utils.log_probs import last_hidden, token_losses


def sft_loss(logits, labels, weights=None):
    """(summed loss of the tokens with a label, what to divide it by) of a padded batch of conversations.

    logits [rows, tokens, vocabulary]; labels [rows, tokens], not shifted, -100 where there is no loss;
    weights [rows]: how much a token of each conversation counts (None: 1). Nats.
    """
    losses = token_losses(logits, labels)  # (rows, tokens - 1)
    scored = (labels[:, 1:] != IGNORE).to(losses.dtype)
    if weights is None:
        weights = losses.new_ones(len(labels))
    return (weights[:, None] * losses).sum(), (weights[:, None] * scored).sum()


def one_vote(labels):
    """Weights [rows] with which every conversation counts equally: 1 / its number of target tokens."""
    return 1 / (labels[:, 1:] != IGNORE).sum(1).clamp(min=1)


def tuning_loss(model, batch, loss=sft_loss, weigh=None):
    """For training.train: (mean loss of a batch times its target tokens, their number).

    weigh(labels) returns the weights of the conversations. Logits are computed only from the first token on
    that predicts a target; before it, no row has loss.
    """
    scored = batch["labels"][:, 1:] != IGNORE  # (rows, tokens - 1)
    start = int(scored.any(0).int().argmax())
    labels = batch["labels"][:, start:]
    logits = model.get_output_embeddings()(last_hidden(model, batch)[:, start:])
    total, count = loss(logits, labels, None if weigh is None else weigh(labels))
    return total / count * scored.sum(), scored.sum()


def loss_share(examples, kinds, steps=None):
    """{kind: share of the weight in the loss}: each step counts equally, and divides by its target tokens.

    kinds: one per example. steps: the training step of each example; None: all in one step, so the shares are
    those of the target tokens.
    """
    steps = [0] * len(examples) if steps is None else steps
    targets = [sum(label != IGNORE for label in example.labels) for example in examples]
    totals = {}
    for count, step in zip(targets, steps, strict=True):
        totals[step] = totals.get(step, 0) + count
    shares = dict.fromkeys(kinds, 0.0)
    for kind, count, step in zip(kinds, targets, steps, strict=True):
        shares[kind] += count / totals[step] / len(totals)
    return shares


def steps_of_an_epoch(examples: Sequence[Example], batch_size: int, seed: int) -> list[int]:
    """For each example, its training step in the first epoch of data.batches."""
    places = list(range(len(examples)))
    stream = shuffled_batches(places, batch_size, seed, list, lambda place: len(examples[place].input_ids))
    steps = [0] * len(examples)
    left, step = len(examples), 0
    while left:
        batch = next(stream)
        for place in batch:
            steps[place] = step
        left, step = left - len(batch), step + 1
    return steps


@torch.no_grad()
def end_probability(model, ids: Sequence[int], end_id: int) -> float:
    """The model's probability that the token after ids is the end marker."""
    device = next(model.parameters()).device
    logits = model(input_ids=torch.tensor([list(ids)], device=device)).logits[0, -1]
    return logits.float().softmax(-1)[end_id].item()
