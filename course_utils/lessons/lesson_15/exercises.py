"""Exercises of lesson 15: confident errors, steps to learn, a split without leaks, BM25, who is to blame."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch

from course_utils.checks.compare import Mistake, call, compare
from course_utils.checks.exercises import Exercise
from course_utils.checks.salted import Salted
from course_utils.lessons.lesson_15.knowledge import Chain


def confident_errors(right, refused):
    """Share of all questions that got a wrong answer, neither right nor refused: lists of bools."""
    return sum(not good and not no for good, no in zip(right, refused, strict=True)) / len(right)


def _outcomes(text):
    """(right, refused) from a letter a question: r right, n refused, w wrong."""
    return [letter == "r" for letter in text], [letter == "n" for letter in text]


OUTCOMES = [_outcomes("rnwnrwnrwn"), _outcomes("wwrwnww"), _outcomes("rrrnr"), _outcomes("nwnnnnnn")]


def _share(fault):
    """A wrong confident_errors: fault(right, refused, wrong, all), the numbers of questions."""

    def wrong(right, refused):
        good, no = sum(right), sum(refused)
        return fault(good, no, len(right) - good - no, len(right))

    return wrong


def _with_a_loop(right, refused):
    errors = 0
    for i in range(len(right)):
        if not (right[i] or refused[i]):
            errors += 1
    return torch.tensor(errors / len(right))


def _with_arrays(right, refused):
    return np.mean(~np.array(right) & ~np.array(refused))


ERROR_MISTAKES = [
    (
        "This is a number of questions. Divide by how many there are.",
        _share(lambda right, refused, wrong, count: wrong),
    ),
    (
        "You divide by the questions that were answered. A model that refuses nearly all and "
        "errs once would look as bad as one that errs always: divide by all questions.",
        _share(lambda right, refused, wrong, count: wrong / (right + wrong)),
    ),
    (
        "A refusal is not right, but it is no error either: nobody is misled by it.",
        _share(lambda right, refused, wrong, count: (refused + wrong) / count),
    ),
    (
        "You divide by the questions that were not answered rightly. Divide by all questions.",
        _share(lambda right, refused, wrong, count: wrong / (refused + wrong)),
    ),
    (
        "This is the share of answers that were given, right ones among them.",
        _share(lambda right, refused, wrong, count: (right + wrong) / count),
    ),
    ("This is the share of refusals.", _share(lambda right, refused, wrong, count: refused / count)),
    ("This is the share of right answers.", _share(lambda right, refused, wrong, count: right / count)),
]


def steps_to_learn(steps, shares, level):
    """The step at which the share first reaches the level, on straight lines between the measurements.

    steps and shares are lists of equal length. float("inf") if it never does.
    """
    if shares[0] >= level:
        return steps[0]
    for i in range(1, len(steps)):
        if shares[i] >= level:
            part = (level - shares[i - 1]) / (shares[i] - shares[i - 1])
            return steps[i - 1] + part * (steps[i] - steps[i - 1])
    return float("inf")


MEASURED = [
    ([0, 10, 30, 40, 60], [0.1, 0.2, 0.6, 0.4, 0.9], 0.5),
    ([2, 5, 20, 100], [0.0, 0.3, 0.25, 0.95], 0.9),
    ([0, 10, 25], [0.1, 0.4, 0.7], 0.4),
    ([5, 10], [0.8, 0.9], 0.5),
    ([4, 8, 16], [0.5, 0.2, 0.1], 0.5),
    ([0, 10, 20], [0.0, 0.1, 0.2], 0.5),
    ([7], [0.3], 0.5),
]


def split_by_country(chains, seed):
    """(train, test): chains of half of the countries, drawn at random, and those of the others."""
    countries = sorted({chain.country for chain in chains})
    random.Random(seed).shuffle(countries)
    chosen = set(countries[: len(countries) // 2])
    return (
        [chain for chain in chains if chain.country in chosen],
        [chain for chain in chains if chain.country not in chosen],
    )


def _some_chains(countries, salt=0):
    return [
        Chain(f"the {place} of {country}", Salted(f"Land {country}", salt), relation, f"{relation} {country}")
        for country in range(countries)
        for place in ("Tower", "Bridge")
        for relation in ("capital", "currency")
    ]


def _check_split_by_country(fn):
    for countries in (8, 20):
        _expect_split(fn, countries)


def _expect_split(fn, countries):
    chains = _some_chains(countries)
    given = list(chains)
    train, test = _two_lists(fn(given, 3))
    if given != chains:
        raise Mistake("The list of chains was changed. Make new lists.")
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
    if len({c.country for c in train}) != countries // 2:
        raise Mistake(f"Half of the {countries} countries should be in each list.")
    # sets of the same countries have another order under another salt
    if any(_two_lists(fn(_some_chains(countries, salt), 3)) != [train, test] for salt in (0, 1, 2)):
        raise Mistake(
            "The same seed should give the same split. A set has no fixed order: sort it, and use "
            "random.Random(seed)."
        )
    splits = [_two_lists(fn(list(chains), seed)) for seed in range(8)]
    if all({c.country for c in part} == {c.country for c in train} for part, _ in splits):
        raise Mistake("Every seed gives the same split. Draw the countries with random.Random(seed).")


def _two_lists(result):
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        raise Mistake("Return two lists: train, test.")
    if not all(isinstance(part, (tuple, list)) for part in result):
        raise Mistake("Return two lists of chains: train, test.")
    if not all(isinstance(chain, Chain) for part in result for chain in part):
        raise Mistake("The lists should hold the chains themselves.")
    return [list(part) for part in result]


def bm25_score(query, document, documents, k1=1.5, b=0.75):
    """BM25 of a document for a query. Both are lists of words; documents is the list of all of them."""
    import math

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
_MORE = [
    text.split() for text in ("to be or not to be", "be brave", "a bee is not a wasp", "or", "wasp", "a b c")
]
BM25_INPUTS = [
    (["sea"], _DOCUMENTS[0], _DOCUMENTS),
    (["the", "sea"], _DOCUMENTS[0], _DOCUMENTS),
    (["harbour", "sea", "moon"], _DOCUMENTS[2], _DOCUMENTS),
    (["map"], _DOCUMENTS[1], _DOCUMENTS),
    (["not", "to", "be"], _MORE[0], _MORE),
    call(["sea"], _DOCUMENTS[0], _DOCUMENTS, 0.5, 0.2),
    call(["be", "wasp"], _MORE[1], _MORE, k1=3.0, b=1.0),
    call(["be", "a"], _MORE[2], _MORE, b=0.0),
]


def _holding(documents: Sequence[list[str]], word: str) -> int:
    return sum(word in document for document in documents)


def _odds(documents, word):
    holding = _holding(documents, word)
    return (len(documents) - holding + 0.5) / (holding + 0.5)


def _right_rarity(documents, word):
    return math.log(1 + _odds(documents, word))


def _right_part(times, length, k1, b):
    return times / (times + k1 * (1 - b + b * length))


def _bm25(part=_right_part, rarity=_right_rarity):
    """A wrong bm25_score: part(times, length over mean length, k1, b) or rarity(documents, word) replaced."""

    def score(query, document, documents, k1=1.5, b=0.75):
        length = len(document) * len(documents) / sum(map(len, documents))
        terms = (rarity(documents, word) * part(document.count(word), length, k1, b) for word in query)
        return sum(terms)

    return score


def _counted(documents, word):
    times = sum(document.count(word) for document in documents)
    return math.log(1 + max(len(documents) - times + 0.5, 0.0) / (times + 0.5))


def _own_numbers(query, document, documents, k1=1.5, b=0.75):
    return bm25_score(query, document, documents)


def _score_in_place(query, document, documents, k1=1.5, b=0.75):
    score = bm25_score(query, document, documents, k1, b)
    query.clear()
    return score


def _score_with_counters(query, document, documents, k1=1.5, b=0.75):
    held = Counter(word for other in documents for word in set(other))
    lengths, times = np.array([len(other) for other in documents]), Counter(document)
    room = k1 * (1 - b + b * len(document) / lengths.mean())
    return sum(
        np.log1p((len(documents) - held[w] + 0.5) / (held[w] + 0.5)) * times[w] / (times[w] + room)
        for w in query
    )


def _score_with_tensors(query, document, documents, k1=1.5, b=0.75):
    holding = torch.tensor([float(sum(word in other for other in documents)) for word in query])
    times = torch.tensor([float(document.count(word)) for word in query])
    mean = torch.tensor([float(len(other)) for other in documents]).mean()
    rarity = torch.log((len(documents) + 1) / (holding + 0.5))
    return (rarity * times / (times + k1 * ((1 - b) + b * len(document) / mean))).sum()


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
        _bm25(rarity=lambda documents, word: math.log(_odds(documents, word))),
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
    ("k1 and b do not enter as they should: your numbers stand in their places.", _own_numbers),
]


def blame(found, right):
    """{"retrieval": ..., "reading": ...}: shares of all questions that fail because of each. Lists of bools.

    found: the right passage was retrieved. right: the answer was right.
    """
    wrong = [there for there, good in zip(found, right, strict=True) if not good]
    return {"retrieval": wrong.count(False) / len(found), "reading": wrong.count(True) / len(found)}


FOUND_AND_RIGHT = [
    ([True] * 6 + [False] * 3 + [True], [True] * 4 + [False] * 4 + [True] * 2),
    ([False, False, True, False, True, False, True], [False, False, False, True, True, False, True]),
    ([True, True, False], [True, True, True]),
]


def _blame(fault):
    """A wrong blame: both shares by fault(found, right, missed and wrong, found and wrong)."""

    def wrong(found, right):
        failed = [there for there, good in zip(found, right, strict=True) if not good]
        retrieval, reading = fault(found, right, failed.count(False), failed.count(True))
        return {"retrieval": retrieval, "reading": reading}

    return wrong


def _blame_with_arrays(found, right):
    found, right = np.array(found), np.array(right)
    return {"reading": (found & ~right).mean(), "retrieval": (~found & ~right).mean()}


def _blame_in_a_loop(found, right):
    shares = {"retrieval": 0.0, "reading": 0.0}
    for i, good in enumerate(right):
        if not good:
            shares["reading" if found[i] else "retrieval"] += 1 / len(right)
    return shares


BLAME_MISTAKES = [
    (
        "You blame retrieval for every passage that was missed. One question was answered "
        "rightly all the same, and is no failure.",
        _blame(lambda found, right, missed, misread: (found.count(False) / len(found), misread / len(found))),
    ),
    (
        "These are shares of the failures. Return shares of all questions.",
        _blame(
            lambda found, right, missed, misread: (
                missed / max(right.count(False), 1),
                misread / max(right.count(False), 1),
            )
        ),
    ),
    (
        "These are numbers of questions. Divide by how many there are.",
        _blame(lambda found, right, missed, misread: (missed, misread)),
    ),
    (
        "Reading is blamed for the passages that it was not given. Blame it only where the "
        "right passage was there.",
        _blame(lambda found, right, missed, misread: (missed / len(found), right.count(False) / len(found))),
    ),
    (
        "Reading's failures are divided by the passages found. That is how often it fails when "
        "it can read; here shares of all questions are wanted, so that they add up.",
        _blame(lambda found, right, missed, misread: (missed / len(found), misread / found.count(True))),
    ),
    (
        "The two have changed places: where the right passage was found, it is the reading that failed.",
        _blame(lambda found, right, missed, misread: (misread / len(found), missed / len(found))),
    ),
]


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


def _unsorted(chains, seed):
    countries = list({chain.country for chain in chains})
    random.Random(seed).shuffle(countries)
    chosen = set(countries[: len(countries) // 2])
    return [c for c in chains if c.country in chosen], [c for c in chains if c.country not in chosen]


def _one_country(chains, seed):
    chosen = random.Random(seed).choice(sorted({chain.country for chain in chains}))
    return [c for c in chains if c.country == chosen], [c for c in chains if c.country != chosen]


def _split_in_place(chains, seed):
    parts = split_by_country(chains, seed)
    chains.clear()
    return parts


def _split_as_lists(chains, seed):
    order = list(dict.fromkeys(chain.country for chain in chains))
    chosen = random.Random(seed).sample(order, k=len(order) // 2)
    parts = [[], []]
    for chain in chains:
        parts[chain.country not in chosen].append(chain)
    return parts


def _split_with_torch(chains, seed):
    countries = sorted({chain.country for chain in chains})
    order = torch.randperm(len(countries), generator=torch.Generator().manual_seed(seed))
    chosen = {countries[i] for i in order[: len(countries) // 2]}
    return tuple(c for c in chains if c.country in chosen), tuple(
        c for c in chains if c.country not in chosen
    )


def _crossing(fault):
    """A wrong steps_to_learn: fault(steps, shares, level, i) at the first i that reaches the level."""

    def wrong(steps, shares, level):
        first = next((i for i, share in enumerate(shares) if share >= level), None)
        return math.inf if first is None else steps[0] if first == 0 else fault(steps, shares, level, first)

    return wrong


def _at_the_end(end):
    """A wrong steps_to_learn: end(steps) where the level is never reached."""

    def wrong(steps, shares, level):
        step = steps_to_learn(steps, shares, level)
        return end(steps) if step == math.inf else step

    return wrong


def _raises(error):
    def end(steps):
        raise error

    return end


def _at_the_start(start):
    """A wrong steps_to_learn: start(steps) where the level is reached at once."""
    return lambda steps, shares, level: (
        start(steps) if shares[0] >= level else steps_to_learn(steps, shares, level)
    )


def _by_interp(steps, shares, level):
    shares = np.array(shares)
    if shares.max() < level:
        return np.inf
    i = int(np.argmax(shares >= level))
    return np.interp(level, shares[i - 1 : i + 1], steps[i - 1 : i + 1]) if i else steps[0]


def _by_pairs(steps, shares, level):
    points = list(zip(steps, shares, strict=True))
    if points[0][1] >= level:
        return torch.tensor(float(points[0][0]))
    for (a, low), (b, high) in itertools.pairwise(points):
        if low < level <= high:
            return a + (b - a) * (level - low) / (high - low)
    return math.inf


def _last_crossing(steps, shares, level):
    first = max((i for i in range(1, len(shares)) if shares[i - 1] < level <= shares[i]), default=None)
    if first is None:
        return steps[0] if shares[0] >= level else math.inf
    part = (level - shares[first - 1]) / (shares[first] - shares[first - 1])
    return steps[first - 1] + part * (steps[first] - steps[first - 1])


START = "A model that is above the level from the beginning needed no steps: return steps[0]."
NEVER = "Where the level is never reached, return math.inf: a number would say that it was."
STEPS_MISTAKES = [
    ("This is a place in the list. Return the step.", _crossing(lambda steps, shares, level, i: i)),
    (
        "At that step the level is passed already. Take a straight line from the measurement "
        "before it, and say where that line meets the level.",
        _crossing(lambda steps, shares, level, i: steps[i]),
    ),
    (
        "This is the last measurement below the level, not where the line crosses it.",
        _crossing(lambda steps, shares, level, i: steps[i - 1]),
    ),
    (
        "This is the middle between two measurements. Take a straight line, and say where it meets "
        "the level.",
        _crossing(lambda steps, shares, level, i: (steps[i - 1] + steps[i]) / 2),
    ),
    (
        "The share falls below the level again after it was reached. Wanted is the first crossing.",
        _last_crossing,
    ),
    (START, _at_the_start(lambda steps: 0)),
    (START, _at_the_start(lambda steps: steps[-1] if len(steps) == 1 else steps[1])),
    (START, _at_the_start(lambda steps: math.inf)),
    (NEVER, _at_the_end(lambda steps: steps[-1])),
    (NEVER, _at_the_end(lambda steps: -1)),
    (NEVER, _at_the_end(lambda steps: math.nan)),
    (NEVER, _at_the_end(_raises(IndexError()))),
    (NEVER, _at_the_end(_raises(ValueError()))),
    (NEVER, _at_the_end(_raises(StopIteration()))),
]


EXERCISES = [
    Exercise(
        name="confident_errors",
        lesson="15",
        minutes=5,
        difficulty=1,
        reference=confident_errors,
        check=compare(
            confident_errors,
            OUTCOMES,
            ERROR_MISTAKES,
            else_="Count the questions that are neither right nor refused, and divide by all.",
        ),
        wrong=[
            (lambda r, no: None, "Is there a return"),
            (lambda r, no: 0.3, "neither right nor refused"),
            (lambda r, no: 0.0, "neither right nor refused"),
        ],
        right=[_with_a_loop, _with_arrays],
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
        check=compare(
            steps_to_learn,
            MEASURED,
            STEPS_MISTAKES,
            else_="The crossing lies between the first measurement at the level and the one before.",
        ),
        wrong=[
            (lambda steps, shares, level: None, "Is there a return"),
            (_at_the_end(lambda steps: None), "Is there a return"),
            (lambda steps, shares, level: 25, "The crossing lies"),
        ],
        right=[_by_interp, _by_pairs],
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
            (_unsorted, "A set has no fixed order"),
            (_one_country, "Half of the 8 countries"),
            (_split_in_place, "list of chains was changed"),
            (lambda chains, seed: (split_by_country(chains, seed)[0], chains), "hold every chain once"),
            (lambda chains, seed: split_by_country(chains, seed)[0], "Return two lists"),
            (lambda chains, seed: split_by_country(chains, random.random()), "same seed"),
            (
                lambda chains, seed: [[c.country for c in part] for part in split_by_country(chains, seed)],
                "chains themselves",
            ),
            (lambda chains, seed: None, "Return two lists"),
        ],
        right=[_split_as_lists, _split_with_torch],
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
        check=compare(
            bm25_score, BM25_INPUTS, BM25_MISTAKES, else_="It is a sum over the words of the query."
        ),
        wrong=[
            (_score_in_place, "changes its argument query in place"),
            (lambda query, document, documents, k1=1.5, b=0.75: None, "Is there a return"),
            (lambda query, document, documents, k1=1.5, b=0.75: 0.0, "a sum over the words"),
            (
                lambda query, document, documents: bm25_score(query, document, documents),
                "should take the arguments",
            ),
        ],
        right=[_score_with_counters, _score_with_tensors],
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
        check=compare(
            blame,
            FOUND_AND_RIGHT,
            BLAME_MISTAKES,
            else_="Count the failures with and without the right passage; divide both by all questions.",
        ),
        wrong=[
            (lambda found, right: list(blame(found, right).values()), "should be a dictionary"),
            (lambda found, right: {"retrieval": 0.2, "reading": 0.2}, "Count the failures"),
            (lambda found, right: {"retrieval": blame(found, right)["retrieval"]}, "should have the keys"),
        ],
        right=[_blame_with_arrays, _blame_in_a_loop],
        hints=(
            "Look at the failures alone. Each of them either had the right passage or had not.",
            "Count the questions with right False and found False for retrieval, with right False and "
            "found True for reading. Divide both by the number of questions.",
        ),
    ),
]
