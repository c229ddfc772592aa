"""Lesson 00, greedy_next_token: the next token."""

import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise


def greedy_next_token(logits):
    """Id of the most probable next token of each row. logits [B, T, V] -> [B]."""
    return logits[:, -1].argmax(dim=-1)


GREEDY_MISTAKES = [
    (
        "You chose a token after every position. Only the last one predicts the next token.",
        lambda logits: logits.argmax(dim=-1),
    ),
    (
        "These are values, not token ids. max returns the value, argmax its index.",
        lambda logits: logits[:, -1].max(dim=-1).values,
    ),
    (
        "These tokens follow the first position. The next token follows the last one.",
        lambda logits: logits[:, 0].argmax(dim=-1),
    ),
    (
        "This is one position too early: it scores the last token, which the text already has.",
        lambda logits: logits[:, -2].argmax(dim=-1),
    ),
    (
        "You add up the scores of all positions. The last position alone scores the next token.",
        lambda logits: logits.sum(1).argmax(dim=-1),
    ),
    (
        "You take the largest score of any position. The last position alone scores the next token.",
        lambda logits: logits.amax(1).argmax(dim=-1),
    ),
    (
        "Your softmax runs over the batch, so the rows compete. It must run over the vocabulary, the last "
        "dimension.",
        lambda logits: logits.softmax(0)[:, -1].argmax(dim=-1),
    ),
    ("These are the least probable tokens.", lambda logits: logits[:, -1].argmin(dim=-1)),
    (
        "logits[:, :, -1] are the scores of the vocabulary's last token. The positions are the second "
        "dimension: logits[:, -1].",
        lambda logits: logits[:, :, -1].argmax(dim=-1),
    ),
    (
        "Your softmax runs over the positions. It must run over the vocabulary, the last dimension.",
        lambda logits: logits.softmax(1)[:, -1].argmax(dim=-1),
    ),
    (
        "logits[-1] is the last row of the batch. The positions are the second dimension: logits[:, -1].",
        lambda logits: logits[-1].argmax(dim=-1),
    ),
    (
        "Return one number per row; yours keep a dimension of size 1.",
        lambda logits: logits[:, -1].argmax(dim=-1, keepdim=True),
    ),
    (
        "You draw the token at random. Greedy decoding takes the most probable one.",
        lambda logits: logits[:, -1].softmax(-1).multinomial(1).squeeze(-1),
    ),
]

EXERCISE = Exercise(
    name="greedy_next_token",
    lesson="00",
    minutes=5,
    difficulty=1,
    reference=greedy_next_token,
    check=compare(
        greedy_next_token,
        lambda: [(torch.randn(5, 3, 6),), (torch.randn(8, 6, 9) - 4,), (torch.randn(16, 5, 30),)],
        GREEDY_MISTAKES,
        else_="For each row it is the id with the largest logit at the last position.",
    ),
    wrong=[
        (lambda logits: logits.argmax(), "should have the shape [5]"),
        (lambda logits: logits[:, -1].argmax(dim=-1) + 1, "the largest logit at the last position"),
        (lambda logits: logits[:, -1].argmax(dim=-1).float(), "the dtype torch.int64"),
        (lambda logits: logits[:, -1].argmax(dim=-1).tolist(), "should be a tensor"),
        (lambda logits: None, "Is there a return?"),
    ],
    right=[
        lambda logits: logits.softmax(-1)[:, -1].max(-1).indices,
        lambda logits: logits.argmax(-1)[:, -1],
        lambda logits: torch.stack([row[-1].topk(1).indices[0] for row in logits]),
    ],
    hints=(
        "The logits at position t score the token at position t + 1. Which position scores the token that "
        "does not exist yet? Greedy means: take the token with the highest score.",
        "logits[:, -1] has the shape [B, V]. argmax over the vocabulary leaves [B].",
    ),
)
