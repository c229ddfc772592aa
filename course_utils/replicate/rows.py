"""What is carried to other models: one row a lesson, a number with its control, from a stored experiment."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Results = Mapping[str, Mapping[str, float]]  # {arm: the numbers of its run}
Rates = Mapping[str, float]  # {arm: its rate}


@dataclass(frozen=True)
class Arm:
    """A point of the row's sweep; lr: where the search for its rate begins, None if none is searched.

    rate_of: the arm whose rate it takes, where one rate for both is the comparison.
    """

    point: dict
    lr: float | None = None
    named: str = "lr"  # the rate's name in the point
    rate_of: str = ""

    def at(self, rate: float | None) -> dict:
        """The point at a rate."""
        return self.point if rate is None else {**self.point, self.named: rate}


@dataclass(frozen=True)
class Published:
    """A figure of somebody else's; verdict: agrees or differs (quantity, unit and condition match), same
    direction, or not comparable. difference: what does not match, in a line. looked_up: at its source."""

    figure: str
    source: str
    verdict: str
    difference: str = ""
    looked_up: bool = True


@dataclass(frozen=True)
class Row:
    """One number of a lesson that can be measured on any causal model, beside its control.

    value and of_control take the results and rates of one seed. choose_by: the number of a run, on validation
    data, whose smallest value chooses an arm's rate: on a seed that is not reported, or on each seed.
    at_least, at_most: where the row agrees with the lesson. whys: {model: why it differs there}.
    beside: {what: a number of one seed}, shown and not judged. remark: what the numbers alone would hide.
    """

    lesson: str
    claim: str
    headline: str
    quantity: str
    unit: str
    control: str
    why: str
    sweep: str
    arms: dict[str, Arm]
    value: Callable[[Results, Rates], float]
    of_control: Callable[[Results, Rates], float]
    choose_by: str = "validation"
    rates_by_seed: bool = False
    at_least: float | None = None
    at_most: float | None = None
    published: tuple[Published, ...] = ()
    whys: Mapping[str, str] = field(default_factory=dict)
    remark: str = ""
    beside: Mapping[str, Callable[[Results], float]] = field(default_factory=dict)
    untestable: Callable[[Results], str] = lambda results: (
        ""
    )  # why a model cannot show it, from a seed's results

    def outcome(self, found: Mapping) -> str:
        """agrees, differs, or not testable: of a stored row."""
        if self.reason(found):
            return "not testable"
        return "agrees" if self.agrees(found["values"]) else "differs"

    def reason(self, found: Mapping) -> str:
        """Why a stored row is not testable; "" if it is."""
        return next(filter(None, map(self.untestable, found["results"])), "")

    def agrees(self, values: list[float]) -> bool:
        """Whether the value of every seed lies within the row's bounds."""
        low = float("-inf") if self.at_least is None else self.at_least
        high = float("inf") if self.at_most is None else self.at_most
        return all(low <= value <= high for value in values)


def loss_over(other: str, arm: str, results: Results) -> float:
    """The loss of an arm over that of another."""
    return results[arm]["loss"] / results[other]["loss"]


def all_rows() -> dict[str, Row]:
    """{lesson: its row}, from lessons/lesson_NN/row.py."""
    found = {}
    for path in sorted((Path(__file__).parents[1] / "lessons").glob("lesson_*/row.py")):
        row = importlib.import_module(f"course_utils.lessons.{path.parent.name}.row").ROW
        found[row.lesson] = row
    return found
