"""Exercises of lesson 00: the next token, heads, entropy, min-p."""

from __future__ import annotations

import math

import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.gpt2 import split_heads


def greedy_next_token(logits):
    """Id of the most probable next token of each row. logits [B, T, V] -> [B]."""
    return logits[:, -1].argmax(dim=-1)


GREEDY_MISTAKES = [
    (
        "You chose a token after every position. Only the last one predicts the next token.",
        lambda logits: logits.argmax(dim=-1),
    ),
    (
        "These are values, not token ids. max finds the value, argmax finds where it stands.",
        lambda logits: logits[:, -1].max(dim=-1).values,
    ),
    (
        "These tokens follow the first position. The next token follows the last one.",
        lambda logits: logits[:, 0].argmax(dim=-1),
    ),
    (
        "This is one position too early: it scores the last token, which is there already.",
        lambda logits: logits[:, -2].argmax(dim=-1),
    ),
    (
        "The scores of all positions are added up here. The last position alone scores the next token.",
        lambda logits: logits.sum(1).argmax(dim=-1),
    ),
    (
        "The largest score of any position wins here. The last position alone scores the next token.",
        lambda logits: logits.amax(1).argmax(dim=-1),
    ),
    (
        "This softmax runs over the batch, so the rows compete. It runs over the vocabulary, the last "
        "dimension.",
        lambda logits: logits.softmax(0)[:, -1].argmax(dim=-1),
    ),
    ("These are the least probable tokens.", lambda logits: logits[:, -1].argmin(dim=-1)),
    (
        "logits[-1] is the last row of the batch. The positions are the second dimension: logits[:, -1].",
        lambda logits: logits[-1].argmax(dim=-1),
    ),
    (
        "One number for each row is asked for; yours keep a dimension of size 1.",
        lambda logits: logits[:, -1].argmax(dim=-1, keepdim=True),
    ),
    (
        "The token is drawn at random. Greedy choice takes the most probable one.",
        lambda logits: logits[:, -1].softmax(-1).multinomial(1).squeeze(-1),
    ),
]


def _two_heads(x, heads):
    return torch.stack(x.chunk(2, dim=-1), 1)


def _heads_of_four(x, heads):
    return x.unflatten(-1, (-1, 4)).transpose(1, 2)


HEADS_MISTAKES = [
    (
        "These are pieces in a list. Return one tensor, the heads as its second dimension.",
        lambda x, heads: x.chunk(heads, dim=-1),
    ),
    (
        "The heads come after the tokens, [B, T, heads, size]. Attention multiplies the last "
        "two dimensions, so tokens and size must stand last: exchange two dimensions.",
        lambda x, heads: x.unflatten(-1, (heads, -1)),
    ),
    (
        "The heads come first, [heads, B, T, size]. They belong after the batch: stack along dimension 1.",
        lambda x, heads: torch.stack(x.chunk(heads, dim=-1)),
    ),
    (
        "Size and tokens have changed places. The last two dimensions are [T, size].",
        lambda x, heads: split_heads(x, heads).mT,
    ),
    (
        "The shape is right and the numbers are not where they belong: view goes through "
        "memory row by row, so tokens got mixed with heads. Cut the last dimension alone, "
        "then exchange two.",
        lambda x, heads: x.reshape(len(x), heads, x.shape[1], -1),
    ),
    (
        "Each head got columns that are apart, with two heads every second column. A head's columns are "
        "neighbours: of 8 columns 0 to 3 and 4 to 7.",
        lambda x, heads: x.unflatten(-1, (-1, heads)).permute(0, 3, 1, 2),
    ),
    ("The number of heads is an argument: use it instead of 2.", _two_heads),
    ("The size of a head is the width divided by heads; here it is always 4.", _heads_of_four),
]


def next_token_entropy(logits):
    """Entropy of the next token in nats; a logit of -inf adds nothing. logits [B, V] -> [B]."""
    probabilities = logits.softmax(dim=-1)
    return -torch.xlogy(probabilities, probabilities).sum(dim=-1)  # xlogy(0, 0) is 0


def _entropy(fault):
    """A wrong next_token_entropy: fault(probabilities, their logarithms)."""
    return lambda logits: fault(logits.softmax(-1), logits.log_softmax(-1))


def _excluded_masked(logits):
    surprise = torch.where(logits.isneginf(), 0.0, logits.softmax(-1) * logits.softmax(-1).log())
    return -surprise.sum(-1)


def _without_softmax(logits):
    probabilities = logits.exp() / logits.exp().sum(-1, keepdim=True)
    return -torch.xlogy(probabilities, probabilities).sum(-1)


def _by_logsumexp(logits):
    surprise = logits.logsumexp(-1, keepdim=True) - logits
    return (surprise * surprise.neg().exp()).nan_to_num(0.0).sum(-1)


ENTROPY_MISTAKES = [
    (
        "The sign is missing: logarithms of probabilities are negative, an entropy is not.",
        _entropy(lambda p, log_p: (p * log_p).sum(-1)),
    ),
    (
        "These are bits (log2). Nats use the natural logarithm.",
        _entropy(lambda p, log_p: -(p * log_p).sum(-1) / math.log(2)),
    ),
    (
        "This is a mean over the vocabulary. The probabilities are the weights already: sum.",
        _entropy(lambda p, log_p: -(p * log_p).mean(-1)),
    ),
    (
        "These are single tokens' parts. The entropy is their sum over the vocabulary, one number a row.",
        _entropy(lambda p, log_p: -p * log_p),
    ),
    (
        "This is one number for the batch. Sum over the vocabulary alone: dim=-1.",
        _entropy(lambda p, log_p: -(p * log_p).sum()),
    ),
    (
        "The logits are taken for probabilities. Is there a softmax first?",
        lambda logits: -(logits * logits.abs().log()).sum(-1),
    ),
    (
        "The logits are taken for logarithms of probabilities. Is there a softmax first? (log_softmax gives "
        "the logarithms.)",
        lambda logits: -(logits * logits.exp()).sum(-1),
    ),
    (
        "The weights are probabilities, and what is weighted are logits. Take the logarithms of the "
        "probabilities.",
        lambda logits: -(logits * logits.softmax(-1)).sum(-1),
    ),
    (
        "The surprises are not weighted. Each counts as often as its token comes: multiply by its "
        "probability.",
        _entropy(lambda p, log_p: -log_p.sum(-1)),
    ),
    (
        "This softmax runs over the batch. It runs over the vocabulary, the last dimension.",
        lambda logits: -torch.xlogy(logits.softmax(0), logits.softmax(0)).sum(-1),
    ),
    (
        "This is the surprise of the most probable token alone. The entropy is the mean over all tokens.",
        _entropy(lambda p, log_p: -log_p.amax(-1)),
    ),
    (
        "This is exp of the entropy, the number of equally likely tokens.",
        lambda logits: next_token_entropy(logits).exp(),
    ),
]
NO_CHANCE = (
    "A token with the logit -inf has probability 0, and 0 * log 0 gives nan. It should add "
    "nothing: torch.xlogy(p, p) is p log p with 0 at 0."
)
ROUNDED_TO_ZERO = (
    "A token far below the best has a probability that rounds to 0, though its logit is a number: at low "
    "temperatures that is common. It should add nothing, and 0 * log 0 gives nan. torch.xlogy(p, p) is 0 "
    "there."
)
OVERFLOW = "exp overflows at large logits. softmax and logsumexp subtract the largest logit first."


def min_p_filter(logits, min_p):
    """Tokens less probable than min_p times the most probable one get -inf. logits [B, V] -> [B, V].

    Nguyen et al., 2024, "Turning Up the Heat: Min-p Sampling for Creative and Coherent LLM Outputs".
    """
    probabilities = logits.softmax(dim=-1)
    threshold = min_p * probabilities.max(dim=-1, keepdim=True).values
    return logits.masked_fill(probabilities < threshold, float("-inf"))


def _min_p_batches():
    """Probabilities none of which is near a threshold, the columns in any order; logits above and below 0."""
    few = torch.tensor([[0.4, 0.29, 0.2, 0.11], [0.9, 0.06, 0.02, 0.02]])
    more = [[0.5, 0.28, 0.12, 0.06, 0.04], [0.22, 0.21, 0.2, 0.19, 0.18], [0.96, 0.01, 0.01, 0.01, 0.01]]
    return [
        (few[:, torch.randperm(4)].log() + 1, 0.3),
        (torch.tensor(more)[:, torch.randperm(5)].log() - 7, 0.1),
    ]


def _filtered(fault):
    """A wrong min_p_filter: fault(probabilities, min_p) says what is removed."""
    return lambda logits, min_p: logits.masked_fill(fault(logits.softmax(-1), min_p), -torch.inf)


def _filled(value):
    """A wrong min_p_filter: `value` for the removed tokens."""
    return lambda logits, min_p: min_p_filter(logits, min_p).masked_fill(
        min_p_filter(logits, min_p).isneginf(), value
    )


def _below_or_equal(p, min_p):
    return p <= min_p * p.amax(-1, keepdim=True)


def _filter_in_place(logits, min_p):
    return logits.masked_fill_(min_p_filter(logits, min_p).isneginf(), -torch.inf)


def _by_logits(logits, min_p):
    return torch.where(logits < logits.amax(-1, keepdim=True) + math.log(min_p), -torch.inf, logits)


def _row_by_row(logits, min_p):
    rows = logits.clone()
    for row, p in zip(rows, logits.softmax(-1), strict=True):
        row[p < min_p * p.max()] = -torch.inf
    return rows


STILL_DRAWN = (
    "A removed token gets a very low logit here. Use -inf: its probability is then exactly 0, whatever the "
    "other logits and the temperature are."
)
MIN_P_MISTAKES = [
    ("A logit of 0 still has a probability: exp(0) is 1. Removed tokens need -inf.", _filled(0.0)),
    (STILL_DRAWN, _filled(-1e9)),
    (STILL_DRAWN, _filled(torch.finfo(torch.float32).min)),
    (STILL_DRAWN, _filled(-1e4)),
    ("No token was removed. Removed tokens need the logit -inf.", lambda logits, min_p: logits.clone()),
    (
        "You kept tokens above min_p itself. The threshold is min_p times the largest "
        "probability of the row: 0.3 * 0.4, if min_p is 0.3 and the largest 0.4.",
        _filtered(lambda p, min_p: p < min_p),
    ),
    (
        "The threshold of one row comes from another. Take the maximum over the vocabulary "
        "only (dim=-1, keepdim=True).",
        _filtered(lambda p, min_p: p < min_p * p.max()),
    ),
    (
        "You compare logits. min-p is about probabilities: softmax first.",
        lambda logits, min_p: logits.masked_fill(logits < min_p * logits.amax(-1, keepdim=True), -torch.inf),
    ),
    (
        "This softmax runs over the batch. It runs over the vocabulary, the last dimension.",
        lambda logits, min_p: logits.masked_fill(
            logits.softmax(0) < min_p * logits.softmax(0).amax(-1, keepdim=True), -torch.inf
        ),
    ),
    (
        "The comparison is turned: you removed the probable tokens.",
        _filtered(lambda p, min_p: p >= min_p * p.amax(-1, keepdim=True)),
    ),
    ("min_p is an argument: use it instead of 0.1.", lambda logits, min_p: min_p_filter(logits, 0.1)),
    (
        "The logits that stay should not change. Are these probabilities?",
        lambda logits, min_p: min_p_filter(logits, min_p).softmax(-1),
    ),
    (
        "The logits that stay should not change. Are these probabilities?",
        lambda logits, min_p: min_p_filter(logits, min_p).exp(),
    ),
    (
        "The logits that stay should not change. These are logarithms of probabilities: return the logits "
        "themselves.",
        lambda logits, min_p: min_p_filter(logits, min_p).log_softmax(-1),
    ),
]


EXERCISES = [
    Exercise(
        name="greedy_next_token",
        lesson="00",
        minutes=5,
        difficulty=1,
        reference=greedy_next_token,
        check=compare(
            greedy_next_token,
            lambda: [(torch.randn(5, 3, 6),), (torch.randn(8, 6, 9) - 4,)],
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
        check=compare(
            split_heads,
            lambda: [(torch.randn(2, 3, 8), 2), (torch.randn(3, 5, 24), 3), (torch.randn(1, 2, 6), 6)],
            HEADS_MISTAKES,
            else_="Of a row [0, 1, ... 7], the first of two heads should get [0, 1, 2, 3].",
        ),
        wrong=[
            (lambda x, heads: split_heads(x, heads).flip(1), "should get [0, 1, 2, 3]"),
            (lambda x, heads: x.view(*x.shape[:2], heads, 4).transpose(1, 2), "Your code stopped"),
            (lambda x, heads: x.view(*x.shape[:2], 2, 4).transpose(1, 2), "Your code stopped"),
            (lambda x, heads: split_heads(x.mul_(1.5).div(1.5), heads), "changes its argument x in place"),
            (lambda x, heads: None, "Is there a return?"),
        ],
        right=[
            lambda x, heads: torch.stack(x.chunk(heads, dim=-1), 1),
            lambda x, heads: x.reshape(*x.shape[:2], heads, -1).permute(0, 2, 1, 3).contiguous(),
            lambda x, heads: x.mT.unflatten(1, (heads, -1)).mT,
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
        check=compare(
            next_token_entropy,
            lambda: [(2 * torch.randn(2, 5),), (torch.randn(4, 7) - 2,)],
            ENTROPY_MISTAKES,
            else_="Three equally likely tokens have an entropy of ln 3 = 1.0986 nats, (1/2, 1/4, 1/4) one of "
            "1.0397. Is there a softmax first?",
            extremes=[
                (NO_CHANCE, [(torch.tensor([[0.0, 0.0, -torch.inf], [-torch.inf, 1.0, -torch.inf]]),)]),
                (ROUNDED_TO_ZERO, [(torch.tensor([[0.0, 0.5, -500.0]]),)]),
                (OVERFLOW, [(torch.tensor([[800.0, 800.0, 799.0]]),)]),
            ],
        ),
        wrong=[
            (_entropy(lambda p, log_p: -(p * log_p).sum(-1)), "with the logit -inf"),
            (_entropy(lambda p, log_p: -(p * p.log()).sum(-1)), "with the logit -inf"),
            (_excluded_masked, "that rounds to 0"),
            (_without_softmax, "exp overflows"),
            (_entropy(lambda p, log_p: 1 - p.square().sum(-1)), "Three equally likely tokens"),
            (lambda logits: next_token_entropy(logits.sub_(1)), "changes its argument logits in place"),
        ],
        right=[
            _by_logsumexp,
            lambda logits: torch.special.entr(logits.softmax(-1)).sum(-1),
            lambda logits: torch.distributions.Categorical(logits=logits).entropy(),
            lambda logits: -(logits.softmax(-1) * (logits.softmax(-1) + 1e-12).log()).sum(-1),
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
        check=compare(
            min_p_filter,
            _min_p_batches,
            MIN_P_MISTAKES,
            else_="Tokens below min_p times the largest probability of their row get -inf, the others stay.",
            extremes=[
                (
                    "With min_p = 1 the most probable token must stay: a token goes when its probability is "
                    "less than the threshold (<), not when it equals it (<=).",
                    [(torch.tensor([[0.5, 2.0, -1.0], [-3.0, -1.0, -1.0]]), 1.0)],
                )
            ],
        ),
        wrong=[
            (_filtered(_below_or_equal), "must stay"),
            (_filter_in_place, "changes its argument logits in place"),
            (_filled(-1e8), "get -inf, the others stay"),
            (lambda logits, min_p: logits[logits.softmax(-1) > min_p], "should have the shape [2, 4]"),
            (lambda logits, min_p: None, "Is there a return?"),
        ],
        right=[_by_logits, _row_by_row],
        hints=(
            "How many tokens are plausible depends on how sure the model is. Compare every probability "
            "with the largest of its row: if that is 0.5 and min_p is 0.2, what has less than 0.1 goes.",
            "probabilities [B, V] by softmax; their maximum over the vocabulary with keepdim=True is "
            "[B, 1], so that the comparison broadcasts; masked_fill puts -inf where it is true.",
        ),
    ),
]
