"""Lesson 17, weighted_overlap: the weights."""

import math
import random

import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise


def weighted_overlap(a, b, weight):
    """Weight of the words in both sets over the weight of the words in either; weight: {word: number}."""
    either = sum(weight[word] for word in a | b)
    return sum(weight[word] for word in a & b) / either


def _two_sets():
    """Words of two texts with weights: a few, many random ones, one text in the other, nothing in common."""
    weight = {"what": 0.5, "is": 0.5, "capital": 1.0, "currency": 1.0, "peru": 4.0, "cuba": 3.0}
    question = {"what", "is", "capital", "peru"}
    yield question, {"what", "is", "capital", "cuba"}, weight
    yield question, question | {"currency"}, weight
    yield {"peru"}, {"cuba"}, weight
    drawn = {f"word {i}": 0.1 + 3 * random.random() for i in range(30)}
    yield set(random.sample(list(drawn), 18)), set(random.sample(list(drawn), 15)), drawn


def _weigh(fault):
    """A wrong weighted_overlap: fault(weights of both, of either, of a, of b)."""

    def wrong(a, b, weight):
        return fault(*(sum(weight[word] for word in words) for words in (a & b, a | b, a, b)))

    return wrong


def _overlap_in_place(a, b, weight):
    common = sum(weight[word] for word in a & b)
    a |= b
    return common / sum(weight[word] for word in a)


def _overlap_by_subtraction(a, b, weight):
    common = math.fsum(weight[word] for word in a if word in b)
    return common / (math.fsum(map(weight.get, a)) + math.fsum(map(weight.get, b)) - common)


def _overlap_with_tensors(a, b, weight):
    names = list(weight)
    left, right = (torch.tensor([name in words for name in names]) for words in (a, b))
    weights = torch.tensor([weight[name] for name in names])
    return weights[left & right].sum() / weights[left | right].sum()


ONE_SET = (
    "You divide by the weight of one set. Divide by the weight of the words in either, or a short text that "
    "is part of a long one counts as equal."
)
OVERLAP_MISTAKES = [
    (
        "You count words. Add up their weights: the weight of Peru distinguishes the two.",
        lambda a, b, weight: len(a & b) / len(a | b),
    ),
    (ONE_SET, _weigh(lambda both, either, a, b: both / a)),
    (ONE_SET, _weigh(lambda both, either, a, b: both / b)),
    (ONE_SET, _weigh(lambda both, either, a, b: both / min(a, b))),
    (ONE_SET, _weigh(lambda both, either, a, b: both / max(a, b))),
    (
        "You count the common words twice in the denominator. Count each word of the union once.",
        _weigh(lambda both, either, a, b: both / (a + b)),
    ),
    (
        "This is Dice's measure, twice the common weight divided by the sum of both. It is larger than the "
        "overlap, so a threshold of 0.8 would mean something else.",
        _weigh(lambda both, either, a, b: 2 * both / (a + b)),
    ),
    (
        "a ^ b has the words in only one of the sets. The words in either are a | b.",
        _weigh(lambda both, either, a, b: both / (either - both)),
    ),
    (
        "This is the weight of the common words. Divide it by the weight of the words in either.",
        _weigh(lambda both, either, a, b: both),
    ),
    (
        "This is the distance of the two. The overlap is 1 if they are equal.",
        _weigh(lambda both, either, a, b: 1 - both / either),
    ),
    (
        "You divide by the weight of all words. Only words of the two texts count.",
        lambda a, b, weight: sum(weight[word] for word in a & b) / sum(weight.values()),
    ),
]

EXERCISE = Exercise(
    name="weighted_overlap",
    lesson="17",
    minutes=5,
    difficulty=1,
    reference=weighted_overlap,
    check=compare(
        weighted_overlap,
        lambda: list(_two_sets()),
        OVERLAP_MISTAKES,
        else_="It is the weight of the words in both divided by that of the words in either.",
    ),
    wrong=[
        (_overlap_in_place, "changes its argument a in place"),
        (lambda a, b, weight: 2 / 9, "weight of the words in both"),
        (lambda a, b, weight: 0.0, "weight of the words in both"),
        (lambda a, b, weight: None, "Is there a return"),
    ],
    right=[_overlap_by_subtraction, _overlap_with_tensors],
    hints=(
        "Two sets of words have an intersection and a union. Add up weights instead of counting words, in "
        "numerator and denominator.",
        "a & b is the intersection, a | b the union; take sum(weight[word] for word in ...) of each, and "
        "divide.",
    ),
)
