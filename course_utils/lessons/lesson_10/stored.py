"""The stored runs of lesson 10: a bias towards longer stories, texts behind stories, weights of words."""

from __future__ import annotations

from course_utils.stored_runs import runs_like, seed_differences, values_like


def of_bias(name: str, longer: float) -> list[float]:
    """A result of the reward models of 1,000 pairs, in `longer` of which the longer story was chosen."""
    return values_like("reward_bias", name, longer=longer)


def ahead(name: str, one: float = 0.75, other: float = 0.5) -> list[float]:
    """A result of the runs of one share minus that of another share, seed by seed."""
    return seed_differences(of_bias(name, one), of_bias(name, other))


def credit_of_bias(longer: float) -> list[float]:
    """Accuracy on the biased test minus that on all held-out labels, seed by seed."""
    return seed_differences(of_bias("biased", longer), of_bias("labels", longer))


def of_words(name: str, longer: float, words: str) -> list[float]:
    """A result of weights of words, of their "counts" or "shares", on the pairs of of_bias."""
    return values_like("reward_bias_words", name, longer=longer, words=words)


def change(what: str, longer: float) -> list[float]:
    """The mean change of the proxy with this behind good stories, in standard deviations, by seed."""
    return appended(f"{what}: change", longer)


def rising(what: str, longer: float) -> list[float]:
    """The share of good stories whose proxy rises with this behind them, by seed."""
    return appended(f"{what}: share", longer)


def appended(name: str, longer: float) -> list[float]:
    """A result of the reward models of 1,400 pairs, with this share of longer chosen stories, by seed."""
    return values_like("reward_appended", name, longer=longer)


def by_pairs(name: str, opponent: bool = False) -> dict[int, list[float]]:
    """{training pairs: a result by seed} of reward models, or of weights of words on the same pairs."""
    wanted = {"longer": 0.75} | ({} if opponent else {"noise": 0.1})
    return _by_entry("reward_words" if opponent else "reward_pairs", wanted, "pairs", name)


def by_noise(name: str) -> dict[float, list[float]]:
    """{noise of the labels: a result by seed} of reward models of 800 balanced pairs."""
    return _by_entry("reward_pairs", {"pairs": 800, "longer": 0.5}, "noise", name)


def _by_entry(sweep: str, wanted: dict, entry: str, name: str) -> dict:
    """{an entry of the points, lowest first: a result by seed}"""
    found: dict[float, list[float]] = {}
    for point, result in runs_like(sweep, wanted):
        found.setdefault(point[entry], []).append(result[name])
    return dict(sorted(found.items()))
