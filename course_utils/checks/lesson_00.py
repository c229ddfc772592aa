"""Exercises of lesson 00: the next token."""

from __future__ import annotations

import torch

from course_utils.checks.exercises import Exercise, Mistake, close, expect_tensor


def greedy_next_token(logits):
    """Id of the most probable next token of each row. logits [B, T, V] -> [B]."""
    return logits[:, -1].argmax(dim=-1)


def _check_greedy(fn):
    logits = torch.tensor([
        [[0.0, 9.0, 0.0, 0.0, 0.0], [0.0, 0.0, 8.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0, 0.5]],
        [[9.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 8.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.5, 1.0]],
    ])
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


def apply_temperature(logits, temperature):
    """Logits whose softmax is the distribution at this temperature. logits [B, V] -> [B, V]."""
    return logits / temperature


def _check_temperature(fn):
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 0.0, 3.0]])
    before = logits.clone()
    result = expect_tensor(fn(logits, 2.0), (2, 3))
    if not close(logits, before):
        raise Mistake("Your function changes the logits it is given: logits /= t works in place. "
                      "Return a new tensor.")
    if close(result.sum(-1), torch.ones(2)):
        raise Mistake("The rows sum to one: these are probabilities. Return logits; softmax comes after.")
    if close(result, logits * 2):
        raise Mistake("At temperature 2 the logits move together; yours move apart. Divide, not multiply.")
    if close(result, logits):
        raise Mistake("At temperature 2 the logits came back unchanged.")
    if not close(result, logits / 2):
        raise Mistake(f"At temperature 2 the logits {before[0].tolist()} should become "
                      f"{(before[0] / 2).tolist()}, and became {result[0].tolist()}.")


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
        raise Mistake("Your function changes the logits it is given: masked_fill_ works in place. "
                      "Return a new tensor.")
    if result[0, 3] == 0:
        raise Mistake("A logit of 0 still has a probability: exp(0) is 1. Removed tokens need -inf.")
    kept = [row.nonzero().flatten().tolist() for row in ~torch.isneginf(result)]
    if kept == [[0, 1, 2, 3]] * 2:
        raise Mistake("No token was removed. Removed tokens need the logit -inf.")
    if kept == [[0], [0]]:
        raise Mistake("You kept tokens above min_p itself. The threshold is min_p times the largest "
                      "probability of the row: 0.3 * 0.4 for the first.")
    if kept == [[0, 1], [0]]:
        raise Mistake("The threshold of one row comes from another. Take the maximum over the vocabulary "
                      "only (dim=-1, keepdim=True).")
    if kept != [[0, 1, 2], [0]]:
        raise Mistake(f"With min_p=0.3, of {probabilities.tolist()} you kept those at {kept}.")
    if not close(result[0, :3], before[0, :3]):
        raise Mistake("The logits that stay should not change. Are these probabilities?")


EXERCISES = [
    Exercise(
        name="greedy_next_token", lesson="00", minutes=5, difficulty=1,
        reference=greedy_next_token, check=_check_greedy,
        wrong=[
            (lambda logits: logits.argmax(dim=-1), "after every position"),
            (lambda logits: logits[:, 0].argmax(dim=-1), "follow the first position"),
            (lambda logits: logits[:, -1].max(dim=-1).values, "not token ids"),
            (lambda logits: logits.argmax(), "should have the shape [2]"),
            (lambda logits: None, "Is there a return?"),
        ],
        hints=("The logits at position t score the token at position t + 1. Which position scores the token "
               "that is not there yet? Greedy means: take the one with the highest score.",
               "logits[:, -1] has the shape [B, V]. argmax over the vocabulary leaves [B]."),
    ),
    Exercise(
        name="apply_temperature", lesson="00", minutes=5, difficulty=1,
        reference=apply_temperature, check=_check_temperature,
        wrong=[
            (lambda logits, temperature: logits * temperature, "Divide, not multiply"),
            (lambda logits, temperature: (logits / temperature).softmax(-1), "softmax comes after"),
            (lambda logits, temperature: logits, "came back unchanged"),
            (lambda logits, temperature: logits.div_(temperature), "works in place"),
            (lambda logits, temperature: logits - temperature, "should become"),
        ],
        hints=("A high temperature makes the tokens more alike, a low one the best stand out. The ratio "
               "of two probabilities is exp of the difference of their logits: what shrinks it?",
               "One operation on the whole tensor, [B, V] in and out. No softmax."),
    ),
    Exercise(
        name="min_p_filter", lesson="00", minutes=10, difficulty=2,
        reference=min_p_filter, check=_check_min_p,
        wrong=[
            (lambda logits, p: logits.masked_fill(logits.softmax(-1) < p, float("-inf")), "min_p itself"),
            (lambda logits, p: logits.masked_fill(
                logits.softmax(-1) < p * logits.softmax(-1).max(), float("-inf")), "comes from another"),
            (lambda logits, p: logits.masked_fill(
                logits.softmax(-1) < p * logits.softmax(-1).amax(-1, keepdim=True), 0.0), "exp(0) is 1"),
            (lambda logits, p: logits, "No token was removed"),
            (lambda logits, p: min_p_filter(logits, p).log_softmax(-1), "should not change"),
        ],
        hints=("How many tokens are plausible depends on how sure the model is. Compare every probability "
               "with the largest of its row: if that is 0.5 and min_p is 0.2, what has less than 0.1 goes.",
               "probabilities [B, V] by softmax; their maximum over the vocabulary with keepdim=True is "
               "[B, 1], so that the comparison broadcasts; masked_fill puts -inf where it is true."),
    ),
]
