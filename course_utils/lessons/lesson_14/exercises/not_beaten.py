"""Lesson 14, not_beaten: what is not beaten."""

import random

from course_utils.checks.compare import Mistake, compare
from course_utils.checks.exercises import Exercise


def not_beaten(methods):
    """Names that no other is as good as on both and better on one. methods: {name: (quality, cost)}."""

    def beaten(name):
        quality, cost = methods[name]
        return any(
            other_quality >= quality and other_cost <= cost and (other_quality, other_cost) != (quality, cost)
            for other_quality, other_cost in methods.values()
        )

    return [name for name in methods if not beaten(name)]


def _fronts():
    """Methods in random order; in both sets, two are equal, and some are beaten on one value only."""
    first = {"a": (0.5, 1), "b": (0.9, 8), "c": (0.9, 9), "d": (0.7, 3), "e": (0.6, 4), "f": (0.7, 3)}
    second = {
        "LoRA": (-0.2, 60.5),
        "QLoRA": (-0.25, 60.5),
        "full": (-0.1, 240.0),
        "prompting": (-1.5, 0.0),
        "DPO": (-0.1, 300.0),
        "twin": (-0.1, 240.0),
        "tiny": (-1.4, 2.5),
        "slow": (-1.4, 2.6),
        "none": (-1.6, 0.5),
    }
    for methods in (first, second):
        names = random.sample(list(methods), len(methods))
        yield ({name: methods[name] for name in names},)


def _names(found):
    if found is None or isinstance(found, str):
        raise Mistake("Return a list of names.")
    found = list(found)
    wrong = next((name for name in found if not isinstance(name, str)), None)
    if wrong is not None:
        raise Mistake(f"Return only names; your list has {wrong!r}.")
    if len(set(found)) < len(found):
        raise Mistake("A name is in your list twice.")
    return ", ".join(sorted(found))


def _keep(beaten):
    """A wrong not_beaten: names of which beaten(quality, cost, other's quality, other's cost) never holds."""
    return lambda methods: [
        name for name, pair in methods.items() if not any(beaten(*pair, *other) for other in methods.values())
    ]


def _best_only(methods):
    most = max(methods.values(), key=lambda pair: (pair[0], -pair[1]))
    return [name for name, pair in methods.items() if pair == most]


def _cheapest_only(methods):
    least = min(cost for _, cost in methods.values())
    return [name for name, (_, cost) in methods.items() if cost == least]


def _no_twins(methods):
    first = {methods[name]: name for name in reversed(not_beaten(methods))}
    return list(first.values())


def _neither_twin(methods):
    pairs = list(methods.values())
    return [name for name in not_beaten(methods) if pairs.count(methods[name]) == 1]


def _the_beaten(methods):
    return [name for name in methods if name not in not_beaten(methods)]


def _front_as_set(methods):
    kept = set(methods)
    for name, (quality, cost) in methods.items():
        for other, (other_quality, other_cost) in methods.items():
            if (other_quality > quality and other_cost <= cost) or (
                other_quality >= quality and other_cost < cost
            ):
                kept -= {name}
                assert other != name
    return kept


def _front_by_sorting(methods):
    kept = []
    for name in sorted(methods, key=lambda name: (methods[name][1], -methods[name][0])):
        if not kept or methods[name][0] > methods[kept[-1]][0] or methods[name] == methods[kept[-1]]:
            kept.append(name)
    return tuple(kept)


ONE_IS_ENOUGH = (
    "A method as good as another but dearer is beaten, and so is one as dear but worse. To beat, a method "
    "must be better on one value and no worse on the other, not better on both."
)
NOTHING = (
    "No method is left. Do you compare each method with itself? It equals itself. Or do you remove a method "
    "for one better value? The other value must be no worse."
)
TWINS = "Two methods are equal in both values. Neither beats the other, so both stay."
FRONT_MISTAKES = [
    (ONE_IS_ENOUGH, _keep(lambda q, c, other_q, other_c: other_q > q and other_c < c)),
    (ONE_IS_ENOUGH, _keep(lambda q, c, other_q, other_c: other_q > q and other_c <= c)),
    (ONE_IS_ENOUGH, _keep(lambda q, c, other_q, other_c: other_q >= q and other_c < c)),
    (NOTHING, _keep(lambda q, c, other_q, other_c: other_q >= q and other_c <= c)),
    (NOTHING, _keep(lambda q, c, other_q, other_c: other_q > q or other_c < c)),
    ("These are the beaten ones. Return the others.", _the_beaten),
    (
        "Only the best quality is left. A worse but cheaper method stays: nothing beats it on both.",
        _best_only,
    ),
    ("Only the cheapest is left: quality counts, too.", _cheapest_only),
    (
        "Lower cost is better: reverse that comparison.",
        _keep(lambda q, c, o, d: o >= q and d >= c and (o, d) != (q, c)),
    ),
    (
        "Higher quality is better: reverse that comparison.",
        _keep(lambda q, c, o, d: o <= q and d <= c and (o, d) != (q, c)),
    ),
    (TWINS, _no_twins),
    (TWINS, _neither_twin),
]
_compare_fronts = compare(
    lambda methods: _names(not_beaten(methods)),
    _fronts,
    [(message, lambda methods, wrong=wrong: _names(wrong(methods))) for message, wrong in FRONT_MISTAKES],
    else_="A name stays if no other method is at least as good, at most as dear and not equal in both.",
)


def _check_not_beaten(fn):
    """Accepts any order, and any collection of names."""
    _compare_fronts(lambda methods: _names(fn(methods)))


EXERCISE = Exercise(
    name="not_beaten",
    lesson="14",
    minutes=6,
    difficulty=2,
    reference=not_beaten,
    check=_check_not_beaten,
    wrong=[
        *((wrong, message) for message, wrong in FRONT_MISTAKES),
        (lambda methods: None, "Return a list of names"),
        (lambda methods: [methods[name] for name in not_beaten(methods)], "Return only names"),
        (lambda methods: not_beaten(methods) * 2, "twice"),
        (lambda methods: ["a", "b", "d", "f"], "A name stays if"),
        (list, "A name stays if"),
    ],
    right=[_front_as_set, _front_by_sorting],
    hints=(
        "Remove a method if another is at least as good and at most as dear, and not equal in both.",
        "For each name, compare with all (quality, cost) pairs: it is beaten if quality is >= and cost is <= "
        "and the pairs differ. Keep the names that are not beaten.",
    ),
)
