"""Lesson 15, split_by_country: a split without leaks."""

import random
from collections import Counter

import torch

from course_utils.checks.compare import Mistake
from course_utils.checks.exercises import Exercise
from course_utils.checks.salted import Salted
from course_utils.lessons.lesson_15.knowledge import Chain, split_by_country


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
        raise Mistake("You changed the list of chains. Make new lists.")
    if Counter(train) + Counter(test) != Counter(chains):
        raise Mistake("Together the two lists should contain every chain once.")
    if {c.landmark for c in train} & {c.landmark for c in test}:
        raise Mistake(
            "The same landmark is in both lists, with different questions. Then its country is learned in "
            "training: split by country."
        )
    if {c.country for c in train} & {c.country for c in test}:
        raise Mistake(
            "Two landmarks of one country are in different lists. The answer for one is learned with the "
            "other, without any hop: split by country."
        )
    if len({c.country for c in train}) != countries // 2:
        raise Mistake(f"Half of the {countries} countries should be in each list.")
    # sets of the same countries have another order under another hash salt
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
        raise Mistake("The lists should contain the chains themselves.")
    return [list(part) for part in result]


def _split(key):
    """A wrong split: by the chain itself or by its landmark."""

    def wrong(chains, seed):
        keys = sorted({key(chain) for chain in chains})
        random.Random(seed).shuffle(keys)
        chosen = set(keys[: len(keys) // 2])
        return [c for c in chains if key(c) in chosen], [c for c in chains if key(c) not in chosen]

    return wrong


def _by_landmark(chains, seed):
    """Every second landmark for training, whatever the seed: no landmark is in both, but every country is."""
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


EXERCISE = Exercise(
    name="split_by_country",
    lesson="15m",
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
        (_split_in_place, "changed the list of chains"),
        (lambda chains, seed: (split_by_country(chains, seed)[0], chains), "contain every chain once"),
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
        "What must not be in both lists? A training question about the Eiffel Tower's capital also gives the "
        "answer for every other landmark of France.",
        "Sort the set of countries, shuffle it with random.Random(seed), and take the first half. A "
        "chain is for training if its country is in that half.",
    ),
)
