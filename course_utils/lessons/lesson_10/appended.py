"""What stands behind a good story in the lesson's control of length, and what that does to its score."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence

from course_utils.world.annotator import word_count
from course_utils.world.gold import gold_parts, gold_score

Key = tuple[str, str]  # a request, a story
GLOOMY = -0.5  # the mood of a gloomy story is at most this


def good_stories(short: Sequence[Key], count: int) -> list[Key]:
    """The stories with the highest gold scores, best first."""
    return sorted(short, key=lambda key: gold_score(*key), reverse=True)[:count]


def behind(good: Sequence[Key], short: Sequence[Key]) -> dict[str, list[str]]:
    """{what: the text behind each good story}: it again, or the other story of a kind nearest in length.

    A kind of which there is no other story is left out.
    """
    mood = {key: gold_parts(*key).mood for key in short}
    others = {
        "another good story": list(good),
        "a neutral story": [key for key in short if mood[key] == 0],
        "a gloomy story": [key for key in short if mood[key] <= GLOOMY],
    }
    found = {"the story again": [text for _, text in good]}
    for name, stories in others.items():
        if len(stories) > 1:
            found[name] = [_as_long([key for key in stories if key != own], own)[1] for own in good]
    return found


def _as_long(stories: Sequence[Key], own: Key) -> Key:
    return min(stories, key=lambda key: (abs(word_count(key[1]) - word_count(own[1])), key))


def changes(
    score: Callable[[Sequence[Key]], Sequence[float]],
    good: Sequence[Key],
    texts: Mapping[str, Sequence[str]],
    unit: float,
) -> dict[str, list[float]]:
    """{what: how much the score of each good story changes with the text behind it}, in units of `unit`."""
    before = score(good)
    result = {}
    for name, appended in texts.items():
        after = score(
            [(asked, f"{story} {more}") for (asked, story), more in zip(good, appended, strict=True)]
        )
        result[name] = [(new - old) / unit for new, old in zip(after, before, strict=True)]
    return result


def what_counts(change: Mapping[str, Sequence[float]]) -> str:
    """What mainly raises a score that rises with the story again: "repetition", "mood" or "length".

    Repetition if another good story brings less than half of the story again; length if a neutral story
    brings at least half; else mood. A kind without stories brings nothing.
    """
    means = {name: statistics.mean(values) for name, values in change.items()}
    half = means["the story again"] / 2
    if means.get("another good story", 0.0) < half:
        return "repetition"
    return "length" if means.get("a neutral story", 0.0) >= half else "mood"


def mean_and_share(values: Sequence[float]) -> tuple[float, float]:
    """The mean change, and the share of stories whose score rises."""
    return statistics.mean(values), statistics.mean(value > 0 for value in values)
