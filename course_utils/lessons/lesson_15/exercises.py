"""Exercises of lesson 15: confident errors, steps to learn, a split without leaks, BM25, who is to blame."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence

from course_utils.checks.exercises import Exercise, Mistake, close
from course_utils.lessons.lesson_15.knowledge import Chain


def confident_errors(right, refused):
    """Share of all questions that got a wrong answer, neither right nor refused: lists of bools."""
    return sum(not good and not no for good, no in zip(right, refused, strict=True)) / len(right)


def _check_confident_errors(fn):
    right = [True, False, False, False, True, False, False, True, False, False]
    refused = [False, True, False, True, False, False, True, False, False, True]
    result = _number(fn(list(right), list(refused)))
    if close(result, 3):
        raise Mistake("This is a number of questions. Divide by how many there are.")
    if close(result, 0.5):
        raise Mistake(
            "You divide by the questions that were answered. A model that refuses nearly all and "
            "errs once would look as bad as one that errs always: divide by all questions."
        )
    if close(result, 0.7):
        raise Mistake("A refusal is not right, but it is no error either: nobody is misled by it.")
    if close(result, 0.3 / 0.7):
        raise Mistake("You divide by the questions that were not answered rightly. Divide by all questions.")
    if close(result, 0.3):
        return
    if close(result, 0.6):
        raise Mistake("This is the share of answers that were given, right ones among them.")
    raise Mistake(f"Of ten questions three are answered rightly and four refused: 0.3, not {result:.3f}.")


def steps_to_learn(steps, shares, level):
    """The step at which the share first reaches the level, on straight lines between the measurements.

    steps and shares are lists of equal length. math.inf if it never does.
    """
    if shares[0] >= level:
        return steps[0]
    for i in range(1, len(steps)):
        if shares[i] >= level:
            part = (level - shares[i - 1]) / (shares[i] - shares[i - 1])
            return steps[i - 1] + part * (steps[i] - steps[i - 1])
    return math.inf


def _check_steps_to_learn(fn):
    steps, shares = [0, 10, 30, 40, 60], [0.1, 0.2, 0.6, 0.4, 0.9]
    result = _number(fn(list(steps), list(shares), 0.5))
    if close(result, 2):
        raise Mistake("This is a place in the list. Return the step.")
    if close(result, 30):
        raise Mistake(
            "At step 30 the level is passed already. Take a straight line from the measurement "
            "before it, and say where that line meets the level."
        )
    if close(result, 10):
        raise Mistake("This is the last measurement below the level, not where the line crosses it.")
    if close(result, 44) or close(result, 60):
        raise Mistake("The share falls below the level again after step 30. Wanted is the first crossing.")
    if not close(result, 25):
        raise Mistake(f"From 0.2 at step 10 to 0.6 at step 30, 0.5 is reached at step 25, not {result:.4g}.")
    try:
        start = _number(fn([0, 10], [0.8, 0.9], 0.5))
    except (IndexError, ZeroDivisionError):
        start = math.nan
    if not close(start, 0):
        raise Mistake("A model that is above the level from the beginning needed no steps: return steps[0].")
    try:
        never = fn([0, 10, 20], [0.0, 0.1, 0.2], 0.5)
    except (IndexError, ValueError, StopIteration):
        never = None
    if never != math.inf:
        raise Mistake("Where the level is never reached, return math.inf: a number would say that it was.")


def split_by_country(chains, seed):
    """(train, test): chains of half of the countries, drawn at random, and those of the others."""
    countries = sorted({chain.country for chain in chains})
    random.Random(seed).shuffle(countries)
    chosen = set(countries[: len(countries) // 2])
    return (
        [chain for chain in chains if chain.country in chosen],
        [chain for chain in chains if chain.country not in chosen],
    )


def _some_chains():
    return [
        Chain(f"the {place} of {country}", f"Land {country}", relation, f"{relation} {country}")
        for country in range(8)
        for place in ("Tower", "Bridge")
        for relation in ("capital", "currency")
    ]


def _check_split_by_country(fn):
    chains = _some_chains()
    result = fn(list(chains), 3)
    if not (isinstance(result, tuple) and len(result) == 2):
        raise Mistake("Return two lists: train, test.")
    train, test = (list(part) for part in result)
    if Counter(train) + Counter(test) != Counter(chains):
        raise Mistake("Together the two lists should hold every chain once.")
    if {c.landmark for c in train} & {c.landmark for c in test}:
        raise Mistake(
            "The same landmark is in both lists, with another question. Its country was then "
            "learned in training: split by country."
        )
    if {c.country for c in train} & {c.country for c in test}:
        raise Mistake(
            "Two landmarks of one country are in different lists. The answer about the one was "
            "learned with the other, without any hop: split by country."
        )
    if not train or not test or len({c.country for c in train}) != 4:
        raise Mistake("Half of the eight countries should be in each list.")
    if [train, test] != [list(part) for part in fn(list(chains), 3)]:
        raise Mistake(
            "The same seed should give the same split. A set has no fixed order: sort it, and use "
            "random.Random(seed)."
        )
    if all({c.country for c in fn(list(chains), seed)[0]} == {c.country for c in train} for seed in range(8)):
        raise Mistake("Every seed gives the same split. Draw the countries with random.Random(seed).")


def bm25_score(query, document, documents, k1=1.5, b=0.75):
    """BM25 of a document for a query. Both are lists of words; documents is the list of all of them."""
    average = sum(len(other) for other in documents) / len(documents)
    score = 0.0
    for word in query:
        holding = sum(word in other for other in documents)
        rarity = math.log(1 + (len(documents) - holding + 0.5) / (holding + 0.5))
        times = document.count(word)
        score += rarity * times / (times + k1 * (1 - b + b * len(document) / average))
    return score


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


def _check_bm25_score(fn):
    document, queries = _DOCUMENTS[0], (["sea"], ["the", "sea"], ["harbour", "sea"])
    given = [list(other) for other in _DOCUMENTS]
    results = [_number(fn(list(query), list(document), given)) for query in queries]
    right = [bm25_score(query, document, _DOCUMENTS) for query in queries]
    for wrong, message in _BM25_MISTAKES:
        if all(close(a, wrong(q, document, _DOCUMENTS)) for a, q in zip(results, queries, strict=True)):
            raise Mistake(message)
    if not all(close(a, b) for a, b in zip(results, right, strict=True)):
        raise Mistake(
            f'For the query "sea" and the document "{" ".join(document)}" among five this should '
            f"be {right[0]:.4f}, and is {results[0]:.4f}."
        )
    if not close(
        _number(fn(["sea"], document, given, 0.5, 0.2)), bm25_score(["sea"], document, given, 0.5, 0.2)
    ):
        raise Mistake("k1 and b do not enter as they should: your numbers stand in their places.")


def _bm25(part, rarity=None):
    """A wrong bm25_score: part(times, length over mean length) and rarity(documents, word) replaced."""
    rarity = rarity or (
        lambda documents, word: math.log(
            1 + (len(documents) - _holding(documents, word) + 0.5) / (_holding(documents, word) + 0.5)
        )
    )

    def score(query, document, documents, k1=1.5, b=0.75):
        length = len(document) * len(documents) / sum(map(len, documents))
        return sum(rarity(documents, word) * part(document.count(word), length) for word in query)

    return score


def _holding(documents: Sequence[list[str]], word: str) -> int:
    return sum(word in document for document in documents)


def _right_part(times, length):
    return times / (times + 1.5 * (0.25 + 0.75 * length))


def _counted(documents, word):
    times = sum(document.count(word) for document in documents)
    return math.log(1 + (len(documents) - times + 0.5) / (times + 0.5))


_no_length = _bm25(lambda times, length: times / (times + 1.5))
_tf_idf = _bm25(lambda times, length: times)
_no_rarity = _bm25(_right_part, lambda documents, word: 1.0)
_no_log = _bm25(
    _right_part,
    lambda documents, word: (
        1 + (len(documents) - _holding(documents, word) + 0.5) / (_holding(documents, word) + 0.5)
    ),
)
_occurrences = _bm25(_right_part, _counted)
_present = _bm25(lambda times, length: _right_part(min(times, 1), length))
_upside_down = _bm25(lambda times, length: times / (times + 1.5 * (0.25 + 0.75 / length)))
_BM25_MISTAKES = [
    (_no_length, "The document's length does not enter: long documents hold more words by chance."),
    (_tf_idf, "The number of times enters without a limit. Divide it by itself plus k1 * (...)."),
    (_no_rarity, 'All words weigh the same. "the" is in nearly every document and should weigh little.'),
    (_no_log, "The logarithm of the rarity is missing."),
    (_occurrences, "The rarity counts how often the word occurs. Count the documents that hold it."),
    (_present, "You only ask whether the document holds the word. It should count how often."),
    (_upside_down, "The length is upside down: the document's over the mean, so that long ones pay."),
]


def blame(found, right):
    """{"retrieval": ..., "reading": ...}: shares of all questions that fail because of each. Lists of bools.

    found: the right passage was retrieved. right: the answer was right.
    """
    wrong = [there for there, good in zip(found, right, strict=True) if not good]
    return {"retrieval": wrong.count(False) / len(found), "reading": wrong.count(True) / len(found)}


def _check_blame(fn):
    found = [True, True, True, True, True, True, False, False, False, True]
    right = [True, True, True, True, False, False, False, False, True, True]
    result = fn(list(found), list(right))
    if not isinstance(result, dict) or set(result) != {"retrieval", "reading"}:
        raise Mistake('Return a dict with the keys "retrieval" and "reading".')
    retrieval, reading = _number(result["retrieval"]), _number(result["reading"])
    if close(retrieval, 0.3):
        raise Mistake(
            "You blame retrieval for every passage that was missed. One question was answered "
            "rightly all the same, and is no failure."
        )
    if close([retrieval, reading], [0.5, 0.5]):
        raise Mistake("These are shares of the failures. Return shares of all questions.")
    if close([retrieval, reading], [2, 2]):
        raise Mistake("These are numbers of questions. Divide by how many there are.")
    if close(retrieval, 0.2) and close(reading, 0.4):
        raise Mistake(
            "Reading is blamed for the passages that it was not given. Blame it only where the "
            "right passage was there."
        )
    if close(retrieval, 0.2) and close(reading, 2 / 7):
        raise Mistake(
            "Reading's failures are divided by the passages found. That is how often it fails when "
            "it can read; here shares of all questions are wanted, so that they add up."
        )
    if not close([retrieval, reading], [0.2, 0.2]):
        raise Mistake(
            "Of ten questions four fail, two without and two with the right passage: 0.2 and 0.2, "
            f"not {retrieval:.3g} and {reading:.3g}."
        )


def _number(value) -> float:
    if value is None:
        raise Mistake("The result is None. Is there a return?")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise Mistake(f"Return a number, not a {type(value).__name__}.") from None


def _split(key):
    """A wrong split: by the chain itself or by its landmark."""

    def wrong(chains, seed):
        keys = sorted({key(chain) for chain in chains})
        random.Random(seed).shuffle(keys)
        chosen = set(keys[: len(keys) // 2])
        return [c for c in chains if key(c) in chosen], [c for c in chains if key(c) not in chosen]

    return wrong


def _by_landmark(chains, seed):
    """Even landmarks for training whatever the seed: no landmark is in both, and every country is."""
    landmarks = list(dict.fromkeys(chain.landmark for chain in chains))
    chosen = set(landmarks[::2])
    return [c for c in chains if c.landmark in chosen], [c for c in chains if c.landmark not in chosen]


def _first_half(chains, seed):
    chosen = sorted({chain.country for chain in chains})
    chosen = set(chosen[: len(chosen) // 2])
    return [c for c in chains if c.country in chosen], [c for c in chains if c.country not in chosen]


def _crossing(fault):
    """A wrong steps_to_learn: fault(steps, shares, level, i) at the first i that reaches the level."""

    def wrong(steps, shares, level):
        first = next((i for i, share in enumerate(shares) if share >= level), None)
        return math.inf if first is None else steps[0] if first == 0 else fault(steps, shares, level, first)

    return wrong


def _never(steps, shares, level):
    step = steps_to_learn(steps, shares, level)
    return steps[-1] if step == math.inf else step


def _no_start(steps, shares, level):
    if shares[0] >= level:
        return steps[1]
    return steps_to_learn(steps, shares, level)


def _last_crossing(steps, shares, level):
    first = max((i for i in range(1, len(shares)) if shares[i - 1] < level <= shares[i]), default=None)
    if first is None:
        return steps[0] if shares[0] >= level else math.inf
    part = (level - shares[first - 1]) / (shares[first] - shares[first - 1])
    return steps[first - 1] + part * (steps[first] - steps[first - 1])


EXERCISES = [
    Exercise(
        name="confident_errors",
        lesson="15",
        minutes=5,
        difficulty=1,
        reference=confident_errors,
        check=_check_confident_errors,
        wrong=[
            (lambda r, no: 1 - sum(r) / len(r), "no error either"),
            (lambda r, no: confident_errors(r, no) * len(r) / (len(r) - sum(no)), "that were answered"),
            (lambda r, no: confident_errors(r, no) * len(r), "a number of questions"),
            (lambda r, no: 1 - sum(no) / len(no), "right ones among them"),
            (lambda r, no: sum(r) / 1e9, "0.3, not 0.000"),
        ],
        hints=(
            "There are three outcomes: right, refused, and the third. Which questions are neither?",
            "Count the places where both lists are False, and divide by the length of one list.",
        ),
    ),
    Exercise(
        name="steps_to_learn",
        lesson="15",
        minutes=10,
        difficulty=1,
        reference=steps_to_learn,
        check=_check_steps_to_learn,
        wrong=[
            (_crossing(lambda steps, shares, level, i: steps[i]), "is passed already"),
            (_crossing(lambda steps, shares, level, i: steps[i - 1]), "last measurement below"),
            (_crossing(lambda steps, shares, level, i: i), "a place in the list"),
            (_last_crossing, "first crossing"),
            (_never, "return math.inf"),
            (_no_start, "needed no steps"),
        ],
        hints=(
            "Go along the measurements to the first that is at the level or above it. The crossing lies "
            "between it and the one before.",
            "With i the place of that measurement: part = (level - shares[i-1]) / (shares[i] - "
            "shares[i-1]) is how far the line has come. Two special cases: i = 0, and no such i.",
        ),
    ),
    Exercise(
        name="split_by_country",
        lesson="15",
        minutes=10,
        difficulty=2,
        reference=split_by_country,
        check=_check_split_by_country,
        wrong=[
            (_split(lambda chain: (chain.landmark, chain.relation)), "The same landmark is in both"),
            (_by_landmark, "Two landmarks of one country"),
            (_first_half, "Every seed gives the same split"),
            (lambda chains, seed: (split_by_country(chains, seed)[0], chains), "hold every chain once"),
            (lambda chains, seed: split_by_country(chains, seed)[0], "Return two lists"),
            (lambda chains, seed: split_by_country(chains, random.random()), "same seed"),
        ],
        hints=(
            "What must not be in both lists? If the Eiffel Tower's capital is asked in training, then so "
            "is that of every other landmark of France.",
            "Sort the set of countries, shuffle it with random.Random(seed), and take the first half. A "
            "chain is for training if its country is in that half.",
        ),
    ),
    Exercise(
        name="bm25_score",
        lesson="15",
        minutes=15,
        difficulty=2,
        reference=bm25_score,
        check=_check_bm25_score,
        wrong=[
            (_no_length, "length does not enter"),
            (_tf_idf, "without a limit"),
            (_no_rarity, "weigh the same"),
            (_no_log, "logarithm"),
            (_occurrences, "how often the word occurs"),
            (_present, "only ask whether"),
            (_upside_down, "upside down"),
        ],
        hints=(
            "A sum over the words of the query. Each term is how rare the word is, times how much of the "
            "document it makes up.",
            "For each word: n = documents that hold it, t = times in this document. rarity = log(1 + "
            "(N - n + .5) / (n + .5)); the term is rarity * t / (t + k1 * (1 - b + b * length / mean)).",
        ),
    ),
    Exercise(
        name="blame",
        lesson="15",
        minutes=5,
        difficulty=1,
        reference=blame,
        check=_check_blame,
        wrong=[
            (lambda f, r: {"retrieval": f.count(False) / len(f), "reading": 0.2}, "that was missed"),
            (
                lambda f, r: {"retrieval": blame(f, r)["retrieval"], "reading": r.count(False) / len(r)},
                "passages that it was not given",
            ),
            (
                lambda f, r: {k: v * len(f) / r.count(False) for k, v in blame(f, r).items()},
                "shares of the failures",
            ),
            (
                lambda f, r: {"retrieval": blame(f, r)["retrieval"], "reading": 2 / f.count(True)},
                "divided by the passages found",
            ),
            (lambda f, r: {k: v * len(f) for k, v in blame(f, r).items()}, "numbers of questions"),
            (lambda f, r: list(blame(f, r).values()), "Return a dict"),
        ],
        hints=(
            "Look at the failures alone. Each of them either had the right passage or had not.",
            "Count the questions with right False and found False for retrieval, with right False and "
            "found True for reading. Divide both by the number of questions.",
        ),
    ),
]
