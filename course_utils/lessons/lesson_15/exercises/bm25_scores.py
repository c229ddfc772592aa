"""Lesson 15, bm25_scores: scores by words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import log, log10

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


def _bm25(part=_right_part, rarity=_right_rarity, size=len, times=list.count):
    """A wrong bm25_scores: another part(times, relative length, k1, b), rarity(documents, word), ..."""

    def scores(query, documents, k1=1.5, b=0.75):
        mean = sum(map(size, documents)) / len(documents)
        return [
            sum(rarity(documents, word) * part(times(each, word), size(each) / mean, k1, b) for word in query)
            for each in documents
        ]

    return scores


def _without_repeats(query, documents, k1=1.5, b=0.75):
    return bm25_scores(sorted(set(query)), documents, k1, b)


def _counted(documents, word):
    times = sum(document.count(word) for document in documents)
    return log(1 + max(len(documents) - times + 0.5, 0.0) / (times + 0.5))


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
        "The document's length does not enter: long documents hold more words by chance.",
        _bm25(lambda times, length, k1, b: times / (times + k1)),
    ),
    (
        "The number of times enters without a limit. Divide it by itself plus k1 * (...).",
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
        "The 1 + in the logarithm is missing: a word that most documents hold would count against them.",
        _bm25(rarity=lambda documents, word: log(_odds(documents, word))),
    ),
    (
        "The factor k1 + 1 is too much. Some definitions have it above the line; it changes no order, and "
        "the one here does without.",
        _bm25(lambda times, length, k1, b: (k1 + 1) * _right_part(times, length, k1, b)),
    ),
    (
        "The rarity counts how often the word occurs. Count the documents that hold it.",
        _bm25(rarity=_counted),
    ),
    (
        "You only ask whether the document holds the word. It should count how often.",
        _bm25(lambda times, length, k1, b: _right_part(min(times, 1), length, k1, b)),
    ),
    (
        "The length is upside down: the document's over the mean, so that long ones pay.",
        _bm25(lambda times, length, k1, b: _right_part(times, 1 / length, k1, b)),
    ),
    (
        "b and 1 - b have changed places: b is the weight of the length.",
        _bm25(lambda times, length, k1, b: _right_part(times, length, k1, 1 - b)),
    ),
    ("A word that stands twice in the query counts twice: make no set of it.", _without_repeats),
    (
        "Take the natural logarithm, ln: math.log.",
        _bm25(rarity=lambda documents, word: log10(1 + _odds(documents, word))),
    ),
    (
        "|d| counts all words of the document, those that stand there again as well.",
        _bm25(size=lambda document: len(set(document))),
    ),
    (
        "t counts the word in the document. Do not divide it by the length, which enters below the line.",
        _bm25(times=lambda document, word: document.count(word) / len(document)),
    ),
    ("k1 and b do not enter as they should: your numbers stand in their places.", _own_numbers),
    (
        "The scores are divided by their sum. Leave them as they are: a threshold compares questions.",
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
        else_="Try a query of one word, and compare the three parts with the formula: its logarithm "
        "(the idf), the count t, and the length over the mean length.",
    ),
    wrong=[
        (_scores_in_place, "changes its argument query in place"),
        (lambda query, documents, k1=1.5, b=0.75: None, "Is there a return"),
        (lambda query, documents, k1=1.5, b=0.75: [0.0] * len(documents), "(the idf), the count t"),
        (
            _bm25(rarity=lambda documents, word: max(0.0, log(_odds(documents, word)))),
            "(the idf), the count t",
        ),
        (
            _bm25(lambda times, length, k1, b: _right_part(times, max(length, 1), k1, b)),
            "length over the mean length",
        ),
        (
            lambda query, documents, k1=1.5, b=0.75: bm25_scores(query, documents, k1, b)[0],
            "should be a list",
        ),
        (lambda query, documents: bm25_scores(query, documents), "should take the arguments"),
    ],
    right=[_scores_with_counters, _scores_with_tensors],
    then="From here on every search below calls your function.",
    hints=(
        "A sum over the words of the query. Each term is how rare the word is, times how much of the "
        "document it makes up.",
        "For each word: counts in all documents, n = how many of them are not 0, idf = log(1 + (N - n + "
        ".5) / (n + .5)). A document's term is idf * t / (t + k1 * (1 - b + b * length / mean length)).",
    ),
)
