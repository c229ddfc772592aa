"""Exercises of lesson 00: the next token, heads, entropy, min-p."""

from __future__ import annotations

import math

import torch

from course_utils.checks.exercises import Exercise, Mistake, close, expect_tensor


def greedy_next_token(logits):
    """Id of the most probable next token of each row. logits [B, T, V] -> [B]."""
    return logits[:, -1].argmax(dim=-1)


def _check_greedy(fn):
    logits = torch.tensor(
        [
            [[0.0, 9.0, 0.0, 0.0, 0.0], [0.0, 0.0, 8.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0, 0.5]],
            [[9.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 8.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.5, 1.0]],
        ]
    )
    ids = fn(logits)
    if isinstance(ids, torch.Tensor) and ids.shape == (2, 3):
        raise Mistake("You chose a token after every position. Only the last one predicts the next token.")
    expect_tensor(ids, (2,), "the result")
    if ids.is_floating_point():
        raise Mistake("These are values, not token ids. max finds the value, argmax finds where it stands.")
    if ids.tolist() == [1, 0]:
        raise Mistake("These tokens follow the first position. The next token follows the last one.")
    if ids.tolist() != [3, 4]:
        raise Mistake(f"For the rows whose largest last logits stand at 3 and 4 you chose {ids.tolist()}.")


def split_heads(x, heads):
    """The columns of x cut into heads of equal size. x [B, T, D] -> [B, heads, T, D / heads]."""
    batch, tokens, width = x.shape
    return x.view(batch, tokens, heads, width // heads).transpose(1, 2)


def _check_split_heads(fn):
    x = torch.arange(48.0).view(2, 3, 8)
    result = fn(x, 2)
    if isinstance(result, tuple | list):
        raise Mistake("These are pieces in a list. Return one tensor, the heads as its second dimension.")
    if isinstance(result, torch.Tensor) and result.shape == (2, 3, 2, 4):
        raise Mistake(
            "The heads come after the tokens, [B, T, heads, size]. Attention multiplies the last "
            "two dimensions, so tokens and size must stand last: exchange two dimensions."
        )
    expect_tensor(result, (2, 2, 3, 4))
    if close(result, x.view(2, 2, 3, 4)):
        raise Mistake(
            "The shape is right and the numbers are not where they belong: view goes through "
            "memory row by row, so tokens got mixed with heads. Cut the last dimension alone, "
            "then exchange two."
        )
    if close(result, x.view(2, 3, 4, 2).permute(0, 3, 1, 2)):
        raise Mistake(
            "Each head got every second column. A head's columns are neighbours, 0 to 3 and 4 to 7 here."
        )
    if not close(result, torch.stack([x[..., :4], x[..., 4:]], dim=1)):
        raise Mistake(
            f"Of a row {x[0, 0].int().tolist()}, the first of two heads should get [0, 1, 2, 3]; "
            f"yours got {result[0, 0, 0].tolist()}."
        )


def next_token_entropy(logits):
    """Entropy of the next token in nats; a logit of -inf adds nothing. logits [B, V] -> [B]."""
    probabilities = logits.softmax(dim=-1)
    return -torch.xlogy(probabilities, probabilities).sum(dim=-1)  # xlogy(0, 0) is 0


def _check_entropy(fn):
    probabilities = torch.tensor([[0.5, 0.25, 0.25], [1 / 3, 1 / 3, 1 / 3]])
    expected = torch.tensor([1.5 * math.log(2), math.log(3)])
    result = expect_tensor(fn(probabilities.log() + 1), (2,))
    if close(result, -expected):
        raise Mistake("The sign is missing: logarithms of probabilities are negative, an entropy is not.")
    if close(result, expected / math.log(2)):
        raise Mistake("These are bits (log2). Nats use the natural logarithm.")
    if close(result, expected / 3):
        raise Mistake("This is a mean over the vocabulary. The probabilities are the weights already: sum.")
    if not close(result, expected):
        raise Mistake(
            "Three equally likely tokens have an entropy of ln 3 = 1.0986 nats, (1/2, 1/4, 1/4) "
            f"one of 1.0397; you have {result[1]:.4f} and {result[0]:.4f}. Is there a softmax "
            "first?"
        )
    if torch.isnan(fn(torch.tensor([[0.0, 0.0, -torch.inf]]))).any():
        raise Mistake(
            "A token with the logit -inf has probability 0, and 0 * log 0 gives nan. It should add "
            "nothing: torch.xlogy(p, p) is p log p with 0 at 0."
        )
    if not close(fn(torch.tensor([[0.0, 0.0, -torch.inf]])), torch.tensor([math.log(2)])):
        raise Mistake("Two equally likely tokens and an excluded one have an entropy of ln 2.")


def min_p_filter(logits, min_p):
    """Tokens less probable than min_p times the most probable one get -inf. logits [B, V] -> [B, V].

    Nguyen et al., 2024, "Turning Up the Heat: Min-p Sampling for Creative and Coherent LLM Outputs".
    """
    probabilities = logits.softmax(dim=-1)
    threshold = min_p * probabilities.max(dim=-1, keepdim=True).values
    return logits.masked_fill(probabilities < threshold, float("-inf"))


def _check_min_p(fn):
    probabilities = torch.tensor([[0.4, 0.29, 0.2, 0.11], [0.9, 0.06, 0.02, 0.02]])
    logits = probabilities.log() + 1.0
    before = logits.clone()
    result = expect_tensor(fn(logits, 0.3), (2, 4))
    if not close(logits, before):
        raise Mistake(
            "Your function changes the logits it is given: masked_fill_ works in place. Return a new tensor."
        )
    if result[0, 3] == 0:
        raise Mistake("A logit of 0 still has a probability: exp(0) is 1. Removed tokens need -inf.")
    kept = [row.nonzero().flatten().tolist() for row in ~torch.isneginf(result)]
    if kept == [[0, 1, 2, 3]] * 2:
        raise Mistake("No token was removed. Removed tokens need the logit -inf.")
    if kept == [[0], [0]]:
        raise Mistake(
            "You kept tokens above min_p itself. The threshold is min_p times the largest "
            "probability of the row: 0.3 * 0.4 for the first."
        )
    if kept == [[0, 1], [0]]:
        raise Mistake(
            "The threshold of one row comes from another. Take the maximum over the vocabulary "
            "only (dim=-1, keepdim=True)."
        )
    if kept != [[0, 1, 2], [0]]:
        raise Mistake(f"With min_p=0.3, of {probabilities.tolist()} you kept those at {kept}.")
    if not close(result[0, :3], before[0, :3]):
        raise Mistake("The logits that stay should not change. Are these probabilities?")


EXERCISES = [
    Exercise(
        name="greedy_next_token",
        lesson="00",
        minutes=5,
        difficulty=1,
        reference=greedy_next_token,
        check=_check_greedy,
        wrong=[
            (lambda logits: logits.argmax(dim=-1), "after every position"),
            (lambda logits: logits[:, 0].argmax(dim=-1), "follow the first position"),
            (lambda logits: logits[:, -1].max(dim=-1).values, "not token ids"),
            (lambda logits: logits.argmax(), "should have the shape [2]"),
            (lambda logits: None, "Is there a return?"),
        ],
        hints=(
            "The logits at position t score the token at position t + 1. Which position scores the token "
            "that is not there yet? Greedy means: take the one with the highest score.",
            "logits[:, -1] has the shape [B, V]. argmax over the vocabulary leaves [B].",
        ),
    ),
    Exercise(
        name="split_heads",
        lesson="00",
        minutes=10,
        difficulty=2,
        reference=split_heads,
        check=_check_split_heads,
        wrong=[
            (lambda x, heads: x.view(x.shape[0], heads, x.shape[1], -1), "row by row"),
            (lambda x, heads: x.view(*x.shape[:2], heads, -1), "The heads come after the tokens"),
            (lambda x, heads: x.view(*x.shape[:2], -1, heads).permute(0, 3, 1, 2), "every second column"),
            (lambda x, heads: x.chunk(heads, dim=-1), "pieces in a list"),
            (lambda x, heads: split_heads(x, heads).flip(1), "should get [0, 1, 2, 3]"),
        ],
        hints=(
            "Each token's row of D numbers is cut into pieces that lie next to each other, one for each "
            "head. Then the heads move to where they act like a batch: attention never mixes them.",
            "view [B, T, D] as [B, T, heads, D / heads], then transpose dimensions 1 and 2.",
        ),
    ),
    Exercise(
        name="next_token_entropy",
        lesson="00",
        minutes=10,
        difficulty=2,
        reference=next_token_entropy,
        check=_check_entropy,
        wrong=[
            (lambda logits: (logits.softmax(-1) * logits.log_softmax(-1)).sum(-1), "The sign is missing"),
            (lambda logits: -(logits.softmax(-1) * logits.softmax(-1).log2()).sum(-1), "These are bits"),
            (lambda logits: -(logits.softmax(-1) * logits.log_softmax(-1)).mean(-1), "sum."),
            (lambda logits: -(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1), "gives nan"),
            (lambda logits: -(logits * logits.exp()).sum(-1), "softmax first"),
            (lambda logits: -(logits.softmax(-1) * logits.log_softmax(-1)).sum(), "have the shape [2]"),
        ],
        hints=(
            "Entropy is the mean surprise: each token's surprise, minus the logarithm of its probability, "
            "weighted with that probability. A token that cannot come adds nothing.",
            "probabilities p [B, V] by softmax; minus the sum of p log p over the vocabulary is [B]. "
            "torch.xlogy(p, p) is p log p, and 0 where p is 0.",
        ),
    ),
    Exercise(
        name="min_p_filter",
        lesson="00",
        minutes=10,
        difficulty=2,
        reference=min_p_filter,
        check=_check_min_p,
        wrong=[
            (lambda logits, p: logits.masked_fill(logits.softmax(-1) < p, float("-inf")), "min_p itself"),
            (
                lambda logits, p: logits.masked_fill(
                    logits.softmax(-1) < p * logits.softmax(-1).max(), float("-inf")
                ),
                "comes from another",
            ),
            (
                lambda logits, p: logits.masked_fill(
                    logits.softmax(-1) < p * logits.softmax(-1).amax(-1, keepdim=True), 0.0
                ),
                "exp(0) is 1",
            ),
            (lambda logits, p: logits, "No token was removed"),
            (lambda logits, p: min_p_filter(logits, p).log_softmax(-1), "should not change"),
        ],
        hints=(
            "How many tokens are plausible depends on how sure the model is. Compare every probability "
            "with the largest of its row: if that is 0.5 and min_p is 0.2, what has less than 0.1 goes.",
            "probabilities [B, V] by softmax; their maximum over the vocabulary with keepdim=True is "
            "[B, 1], so that the comparison broadcasts; masked_fill puts -inf where it is true.",
        ),
    ),
]
