"""Lesson 15, bm25_scores: scores by words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import inf, log, log10
from statistics import mean, median

import numpy as np
import torch

from course_utils.checks.compare import call, compare
from course_utils.checks.exercises import Exercise
from course_utils.methods.retrieval import bm25_scores

_DOCUMENTS = [
    text.split()
    for text in (
        "the sea is blue the sea is deep",
        "the harbour",
        "a ship leaves the harbour and sails to the north",
        "fish live in the sea",
        "a map",
    )
]
_MORE = [
    text.split() for text in ("to be or not to be", "be brave", "a bee is not a wasp", "or", "wasp", "a b c")
]
BM25_INPUTS = [
    (["sea"], _DOCUMENTS),
    (["the", "sea"], _DOCUMENTS),
    (["harbour", "sea", "moon"], _DOCUMENTS),
    (["not", "to", "be"], _MORE),
    call(["sea"], _DOCUMENTS, 0.5, 0.2),
    call(["be", "wasp"], _MORE, k1=3.0, b=1.0),
    call(["be", "a"], _MORE, b=0.0),
    (["sea", "sea", "ship"], _DOCUMENTS),
]


def _holding(documents: Sequence[list[str]], word: str) -> int:
    return sum(word in document for document in documents)


def _odds(documents, word):
    holding = _holding(documents, word)
    return (len(documents) - holding + 0.5) / (holding + 0.5)


def _right_rarity(documents, word):
    return log(1 + _odds(documents, word))


def _right_part(times, length, k1, b):
    return times / (times + k1 * (1 - b + b * length))


def _bm25(part=_right_part, rarity=_right_rarity, size=len, times=list.count, average=mean):
    """A wrong bm25_scores: another part(times, relative length, k1, b), rarity(documents, word), ..."""

    def scores(query, documents, k1=1.5, b=0.75):
        norm = average([size(each) for each in documents])
        return [
            sum(rarity(documents, word) * part(times(each, word), size(each) / norm, k1, b) for word in query)
            for each in documents
        ]

    return scores


def _without_repeats(query, documents, k1=1.5, b=0.75):
    return bm25_scores(sorted(set(query)), documents, k1, b)


def _counted(documents, word, least=0.0):
    times = sum(document.count(word) for document in documents)
    return log(1 + max(len(documents) - times + 0.5, least) / (times + 0.5))


def _counted_below_zero(documents, word):
    return _counted(documents, word, -inf)


def _plain_rarity(documents, word):
    holding = _holding(documents, word)
    return log(len(documents) / holding) if holding else 0.0


def _own_numbers(query, documents, k1=1.5, b=0.75):
    return bm25_scores(query, documents)


def _normalised(query, documents, k1=1.5, b=0.75):
    scores = bm25_scores(query, documents, k1, b)
    return [score / (sum(scores) or 1) for score in scores]


def _scores_in_place(query, documents, k1=1.5, b=0.75):
    scores = bm25_scores(query, documents, k1, b)
    query.clear()
    return scores


def _scores_with_counters(query, documents, k1=1.5, b=0.75):
    held = Counter(word for other in documents for word in set(other))
    lengths, counts = np.array([len(other) for other in documents]), list(map(Counter, documents))
    room = k1 * (1 - b + b * lengths / lengths.mean())
    total = np.zeros(len(documents))
    for word in query:
        times = np.array([count[word] for count in counts])
        total += np.log1p((len(documents) - held[word] + 0.5) / (held[word] + 0.5)) * times / (times + room)
    return total.tolist()


def _scores_with_tensors(query, documents, k1=1.5, b=0.75):
    times = torch.tensor([[float(each.count(word)) for word in query] for each in documents])
    lengths = torch.tensor([float(len(each)) for each in documents])
    rarity = torch.log((len(documents) + 1) / ((times > 0).sum(0) + 0.5))
    room = k1 * ((1 - b) + b * lengths / lengths.mean())
    return list((rarity * times / (times + room[:, None])).sum(1))


BM25_MISTAKES = [
    (
        "You do not use the document's length: long documents contain more words by chance.",
        _bm25(lambda times, length, k1, b: times / (times + k1)),
    ),
    (
        "Your term grows without limit with the count. Divide the count by itself plus k1 * (...).",
        _bm25(lambda times, length, k1, b: times),
    ),
    (
        'All words weigh the same. "the" is in nearly every document and should weigh little.',
        _bm25(rarity=lambda documents, word: 1.0),
    ),
    (
        "The logarithm of the rarity is missing.",
        _bm25(rarity=lambda documents, word: 1 + _odds(documents, word)),
    ),
    (
        "Your rarity is ln(N / n). Here it is the logarithm of 1 + (N - n + 1/2) / (n + 1/2).",
        _bm25(rarity=_plain_rarity),
    ),
    (
        "The 1 + in the logarithm is missing: a word in most documents would get a negative weight.",
        _bm25(rarity=lambda documents, word: log(_odds(documents, word))),
    ),
    (
        "Leave out the factor k1 + 1. Some definitions have it in the numerator; it does not change the "
        "order, and this definition omits it.",
        _bm25(lambda times, length, k1, b: (k1 + 1) * _right_part(times, length, k1, b)),
    ),
    *(
        (
            "Your rarity counts how often the word occurs. Count the documents that contain it.",
            _bm25(rarity=rarity),
        )
        for rarity in (_counted, _counted_below_zero)
    ),
    (
        "You only test whether the document contains the word. Count how often.",
        _bm25(lambda times, length, k1, b: _right_part(min(times, 1), length, k1, b)),
    ),
    (
        "The length ratio is inverted: divide the document's length by the mean, so that long documents "
        "score lower.",
        _bm25(lambda times, length, k1, b: _right_part(times, 1 / length, k1, b)),
    ),
    (
        "b and 1 - b are swapped: b is the weight of the length.",
        _bm25(lambda times, length, k1, b: _right_part(times, length, k1, 1 - b)),
    ),
    ("A word that occurs twice in the query counts twice: do not make a set of the query.", _without_repeats),
    (
        "Take the natural logarithm, ln: math.log.",
        _bm25(rarity=lambda documents, word: log10(1 + _odds(documents, word))),
    ),
    (
        "|d| counts all words of the document, repetitions included.",
        _bm25(size=lambda document: len(set(document))),
    ),
    (
        "t counts the word in the document. Do not divide it by the length, which belongs in the "
        "denominator.",
        _bm25(times=lambda document, word: document.count(word) / len(document)),
    ),
    ("Divide the length by the mean length, not by the median.", _bm25(average=median)),
    ("You do not use the arguments k1 and b, but numbers of your own.", _own_numbers),
    (
        "You divide the scores by their sum. Do not normalise them: a threshold compares questions.",
        _normalised,
    ),
]

EXERCISE = Exercise(
    name="bm25_scores",
    lesson="15",
    minutes=15,
    difficulty=2,
    reference=bm25_scores,
    check=compare(
        bm25_scores,
        BM25_INPUTS,
        BM25_MISTAKES,
        else_="Try a query of one word, and compare the three parts with the formula: its rarity "
        "(a logarithm), the count t, and the length divided by the mean length.",
        any_list=True,
    ),
    wrong=[
        (_scores_in_place, "changes its argument query in place"),
        (lambda query, documents, k1=1.5, b=0.75: None, "Is there a return"),
        (lambda query, documents, k1=1.5, b=0.75: [0.0] * len(documents), "(a logarithm), the count t"),
        (
            _bm25(rarity=lambda documents, word: max(0.0, log(_odds(documents, word)))),
            "(a logarithm), the count t",
        ),
        (
            _bm25(lambda times, length, k1, b: _right_part(times, max(length, 1), k1, b)),
            "length divided by the mean length",
        ),
        (
            lambda query, documents, k1=1.5, b=0.75: bm25_scores(query, documents, k1, b)[0],
            "should be a list",
        ),
        (lambda query, documents: bm25_scores(query, documents), "should take the arguments"),
    ],
    right=[
        _scores_with_counters,
        _scores_with_tensors,
        lambda query, documents, k1=1.5, b=0.75: np.array(bm25_scores(query, documents, k1, b)),
    ],
    then="From here on every search below calls your function.",
    hints=(
        "The score is a sum over the words of the query. Each term is the word's rarity times its weight in "
        "the document.",
        "For each word: counts in all documents, n = the number of non-zero counts, rarity = log(1 + (N - n "
        "+ .5) / (n + .5)). A document's term is rarity * t / (t + k1 * (1 - b + b * length / mean length)).",
    ),
)
