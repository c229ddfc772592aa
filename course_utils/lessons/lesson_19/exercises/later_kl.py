"""Lesson 19m, later_kl: the KL that comes later."""

import torch
import torch.nn.functional as F

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.methods.distillation import later_kl


def _kl_rows():
    def rows(count, tokens):
        mask = torch.zeros(count, tokens)
        mask[0, 1:3] = 1
        mask[1:, 2:] = 1
        return 3 * torch.rand(count, tokens), mask

    return [rows(2, 5), rows(4, 8), (torch.tensor([[1.0, 2, 4, 8]]), torch.ones(1, 4))]


def _later_by_loop(kl, mask):
    result = torch.zeros_like(kl)
    rest = torch.zeros(len(kl))
    for t in range(kl.shape[1] - 1, -1, -1):
        result[:, t] = rest * mask[:, t]
        rest = rest + kl[:, t] * mask[:, t]
    return result


def _later_by_matrix(kl, mask):
    tokens = kl.shape[1]
    after = torch.tril(torch.ones(tokens, tokens), diagonal=-1)  # [later, earlier]
    return (torch.where(mask == 1, kl, 0.0) @ after) * mask


LATER_MISTAKES = [
    (
        "Your sum includes a token's own KL. Only later tokens count.",
        lambda kl, mask: (kl * mask).flip(1).cumsum(1).flip(1) * mask,
    ),
    (
        "You sum the tokens before. Sum the tokens after.",
        lambda kl, mask: ((kl * mask).cumsum(1) - kl * mask) * mask,
    ),
    (
        "This is the sum over the whole answer, for every token.",
        lambda kl, mask: (kl * mask).sum(1, keepdim=True) * mask,
    ),
    (
        "This is only the KL of the next token. Sum over all later ones.",
        lambda kl, mask: F.pad((kl * mask)[:, 1:], (0, 1)) * mask,
    ),
    (
        "Your sum includes tokens off the mask: multiply by the mask first.",
        lambda kl, mask: (kl.flip(1).cumsum(1).flip(1) - kl) * mask,
    ),
    (
        "The mask has no effect: kl * mask first, and the mask again at the end.",
        lambda kl, mask: kl.flip(1).cumsum(1).flip(1) - kl,
    ),
    (
        "Positions off the mask should be 0.",
        lambda kl, mask: (kl * mask).flip(1).cumsum(1).flip(1) - kl * mask,
    ),
    (
        "You sum over the answers. A row is an answer: tokens are dimension 1.",
        lambda kl, mask: ((kl * mask).flip(0).cumsum(0).flip(0) - kl * mask) * mask,
    ),
]

EXERCISE = Exercise(
    name="later_kl",
    lesson="19m",
    minutes=8,
    difficulty=2,
    reference=later_kl,
    check=compare(
        later_kl,
        _kl_rows,
        LATER_MISTAKES,
        else_="For an answer with the KL 1, 2, 4, 8 at its tokens, the later KL is 14, 12, 8, 0.",
    ),
    wrong=[
        (lambda kl, mask: 0 * kl, "14, 12, 8, 0"),
        (lambda kl: kl, "should take the arguments"),
        (lambda kl, mask: None, "Is there a return"),
    ],
    right=[_later_by_loop, _later_by_matrix],
    hints=(
        "Go through an answer from its end and keep a running sum.",
        "A cumulative sum from the end: (kl * mask).flip(1).cumsum(1).flip(1), [rows, tokens]. It includes "
        "the token's own KL: subtract it, and multiply by the mask. Or start from the sum of all: sum(1, "
        "keepdim=True).",
    ),
    then="The gradients below use your function.",
)
