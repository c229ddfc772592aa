"""The stored runs of splits that leak: by seed, in the order of the seeds."""

from __future__ import annotations

from course_utils.stored_runs import ratios, seed_differences, values_like


def right_of_facts(wanted: dict, name: str) -> list[float]:
    """Shares in leaks_worth: "leaked", "fresh" or "by_base", of the runs whose points have these entries."""
    return values_like("leaks_worth", name, **wanted)


def right_of_desk(split_by: str, name: str) -> list[float]:
    """Numbers of desk_splits: "held out" or "later" (F1), or one of them with ", right" (share)."""
    return values_like("desk_splits", name, **{"split by": split_by})


def held_out_minus_later(split_by: str) -> list[float]:
    """The share of right answers to held-out chats minus that to later ones, seed by seed."""
    return seed_differences(
        right_of_desk(split_by, "held out, right"), right_of_desk(split_by, "later, right")
    )


def on_dealt_answers(name: str) -> list[float]:
    """Numbers of answers_dealt_out: "before", "after" (losses) or "agrees" (share)."""
    return values_like("answers_dealt_out", name)


def loss_left() -> list[float]:
    """The held-out loss after SFT on answers dealt out at random, over that before it, seed by seed."""
    return ratios(on_dealt_answers("after"), on_dealt_answers("before"))
