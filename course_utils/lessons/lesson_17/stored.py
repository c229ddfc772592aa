"""The stored runs of splits that leak: by seed, in the order of the seeds."""

from __future__ import annotations

from course_utils.stored_runs import ratios, runs_like


def facts(trained: str, name: str) -> list[float]:
    """Right answers in leaks_worth, as shares: "leaked", "fresh", "by_base"; trained: "all weights", "lora"."""
    return [result[name] for _, result in runs_like("leaks_worth", {"trained": trained})]


def desk(split_by: str, name: str) -> list[float]:
    """Numbers of desk_splits: "held out" or "later" (F1), or one of them with ", right" (share)."""
    return [result[name] for _, result in runs_like("desk_splits", {"split by": split_by})]


def held_out_over_later(split_by: str) -> list[float]:
    """The held-out score over the later one, seed by seed."""
    return ratios(desk(split_by, "held out"), desk(split_by, "later"))


def example(name: str, split_by: str = "question", answers: str = "as they are") -> list[float]:
    """Numbers of example_splits, such as "agrees" or "leaked rows"."""
    return [
        result[name] for _, result in runs_like("example_splits", {"split by": split_by, "answers": answers})
    ]


def loss_left(answers: str) -> list[float]:
    """The held-out loss after SFT over that before it."""
    return ratios(example("after", answers=answers), example("before", answers=answers))
