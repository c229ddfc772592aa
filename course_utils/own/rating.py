"""Blind human rating: a sheet of answer pairs with hidden sides, and the evaluation of the ratings.

The sheet is one HTML page, used by mouse or keyboard; it keeps the ratings and saves them to a file. The key
to the sides is in another file, so that nobody finds it in the page.
"""

import hashlib
import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from course_utils.evaluation import normalise, wilson_interval
from course_utils.own.own_run import KEY_FILE, Scores
from course_utils.ownership import read_regular, real, standing
from course_utils.templates import templates
from course_utils.terminal import plain_line

PAIRS = 20
SIDES = ("left", "right")
RATINGS = (*SIDES, "same", "neither")
SHEET_FILE = "rating.html"


@dataclass(frozen=True)
class Sheet:
    """Pairs {"asked", "left", "right"} in random order, and the tuned model's side of each."""

    pairs: list[dict]
    tuned: list[str]

    @property
    def name(self) -> str:
        """An identifier of the pairs, by which ratings of another sheet are rejected."""
        return hashlib.sha256(json.dumps(self.pairs).encode()).hexdigest()[:12]


def make_sheet(questions, tuned: Scores, other: Scores, seed: int = 0, count: int = PAIRS) -> Sheet:
    """Up to `count` random questions that the two models answer differently, each with random sides.

    questions: from own_run.to_ask.
    """
    rng = random.Random(seed)
    rows = zip(questions[0], tuned.answers, other.answers, strict=True)
    different = [row for row in rows if normalise(row[1]) != normalise(row[2])]
    pairs, sides = [], []
    for prompt, ours, theirs in rng.sample(different, min(count, len(different))):
        side = rng.choice(SIDES)
        left, right = (ours, theirs) if side == "left" else (theirs, ours)
        asked = "\n".join(message["content"] for message in prompt if message["role"] != "system")
        pairs.append({"asked": asked, "left": left, "right": right})
        sides.append(side)
    return Sheet(pairs, sides)


def write_sheet(folder: Path, sheet: Sheet, title: str) -> None:
    """Write the page, and the key beside it."""
    page = templates.get_template("rating.html").render(title=title, pairs=sheet.pairs, name=sheet.name)
    (Path(folder) / SHEET_FILE).write_text(page, encoding="utf-8")
    key = {"sheet": sheet.name, "tuned": sheet.tuned}
    (Path(folder) / KEY_FILE).write_text(json.dumps(key) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class RatingCount:
    """Numbers of pairs: tuned model preferred, other one, no difference, neither can be sent, not rated."""

    tuned: int
    other: int
    same: int
    neither: int
    open: int

    @property
    def share(self) -> tuple[float, float, float]:
        """(share, low, high): the tuned model's share of the pairs with a preference; 95% interval."""
        count = self.tuned + self.other
        share = self.tuned / count if count else 0.5
        return share, *(wilson_interval(self.tuned, count) if count else (0.0, 1.0))

    @property
    def words(self) -> str:
        if not self.tuned + self.other:
            return f"No preference in {self.same + self.neither} rated pairs; {self.open} not rated."
        share, low, high = self.share
        verdict = "chance alone can make such a difference"
        if coin_probability(self.tuned, self.other) < 0.05:
            ahead = "the tuned model" if self.tuned > self.other else "the other one"
            verdict = f"{ahead} is preferred by more than chance"
        return (
            f"The tuned model's answer was preferred in {self.tuned} pairs, the other in {self.other}, no "
            f"difference in {self.same}; neither could be sent in {self.neither}; {self.open} not rated. "
            f"Of those with a preference: {share:.0%} ({low:.0%} to {high:.0%}); {verdict}."
        )


def coin_probability(tuned: int, other: int) -> float:
    """Probability that fair coins split at least this unevenly (the exact sign test)."""
    count, most = tuned + other, max(tuned, other)
    return min(1.0, 2 * sum(math.comb(count, k) for k in range(most, count + 1)) / 2**count)


def count_ratings(ratings: Sequence[str | None], tuned: Sequence[str]) -> RatingCount:
    """ratings: "left", "right", "same", "neither", or None for an unrated pair; tuned: its side of each."""
    if len(ratings) != len(tuned):
        raise ValueError(f"{len(ratings)} ratings for a sheet of {len(tuned)} pairs")
    unknown = [rating for rating in ratings if rating is not None and rating not in RATINGS]
    if unknown:
        raise ValueError(f"a rating must be one of {', '.join(RATINGS)}; got {unknown[0]!r}")
    rated = [(rating, side) for rating, side in zip(ratings, tuned, strict=True) if rating]
    same, neither = (sum(rating == name for rating, _ in rated) for name in RATINGS[2:])
    ours = sum(rating == side for rating, side in rated)
    other = len(rated) - ours - same - neither
    return RatingCount(ours, other, same, neither, len(ratings) - len(rated))


def read_ratings(folder: Path, ratings: Path) -> RatingCount:
    """The evaluation of the ratings from a run's sheet. ValueError if they are from another sheet."""
    folder, ratings = real(folder), real(ratings)
    files = sorted(folder.glob(f"{Path(KEY_FILE).stem}*.json"))
    keys = [_read_json(file) for file in files if standing(file) == "a file"]
    if not keys:
        raise ValueError(
            f"{plain_line(folder)} has no rating sheet. Give the folder that the lesson names at its end; "
            "older results have none"
        )
    if not ratings.exists():
        raise ValueError(
            f"{plain_line(ratings)}: no such file. The sheet rating.html saves it, in the browser's folder."
        )
    given = _read_json(ratings)
    if not isinstance(given.get("ratings"), list) or not isinstance(given.get("sheet"), str):
        raise ValueError(f"{ratings.name} is not a file from a rating sheet")
    for key in keys:  # also keys of results that this one replaced
        tuned = key.get("tuned")
        if key.get("sheet") == given["sheet"] and isinstance(tuned, list) and {*map(str, tuned)} <= {*SIDES}:
            return count_ratings(given["ratings"], tuned)
    raise ValueError(
        f"{ratings.name} comes from another sheet than {folder.name}'s, or its {KEY_FILE} is damaged"
    )


def _read_json(path: Path) -> dict:
    """The object in a JSON file, or {} if there is none."""
    try:
        found = json.loads(read_regular(path))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
