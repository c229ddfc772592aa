"""The stored runs of lesson 15: what models give, refuse and get wrong, one value a seed."""

from __future__ import annotations

from course_utils.stored_runs import values_like


def asked_for_the_name(kind: str, policy: int, trained: str) -> list[float]:
    """Facts given (of strangers: refused) where the name alone is asked for, one value a seed.

    policy: 0 nothing shown, 1 a passage always shown, 2 above the threshold. trained: of `distractors`.
    """
    return values_like("distractors", f"{kind}_short_{policy}", trained=trained)


def drilled(facts: str, lr: float, key: str, step: int = 40) -> list[float]:
    """A value of fact_drills at a step: of drills on "invented" or "control" facts."""
    return values_like("fact_drills", f"{key}_{step}", facts=facts, lr=lr)


def names_after(key: str, facts: str, lr: float) -> list[float]:
    """A value of drilled_names, which says how many wrong answers name a drilled fact's object."""
    return values_like("drilled_names", key, facts=facts, lr=lr)
