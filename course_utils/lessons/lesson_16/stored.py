"""The stored runs of training in shares: distances from one process, weights of tokens, losses by rate."""

from __future__ import annotations

from course_utils.stored_runs import best_inside, runs_like, values_like


def distances(rule: str, world: int) -> list[float]:
    """Largest distance of the losses from those of one process, nats a token, for each seed."""
    return values_like("shares", "far", rule=rule, world=world)


def first_distances(rule: str, world: int) -> list[float]:
    """The distance before the first step, for each seed."""
    return values_like("shares", "first", rule=rule, world=world)


def weights_of_tokens(rule: str, world: int) -> tuple[float, float]:
    """(lightest, heaviest) weight of a token in its share, 1 in the whole batch, over all seeds and steps."""
    results = [result for _, result in runs_like("shares", {"rule": rule, "world": world})]
    return min(each["lightest"] for each in results), max(each["heaviest"] for each in results)


def validation_losses(rule: str) -> dict[float, float]:
    """{rate: loss on validation questions after 60 steps in four shares}."""
    return {point["lr"]: result["validation"] for point, result in runs_like("shares_rates", {"rule": rule})}


def rate_of_rule(rule: str) -> float:
    """The rate with the lowest validation loss. ValueError if it is the lowest or highest that was tried."""
    return best_inside(validation_losses(rule), f"{rule}, four shares")
