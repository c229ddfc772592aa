"""What stored runs say of the gold score over the distance: the peak, the fall from it, gold at equal KL.

A run is what experiments.followed_ppo gives; gold scores are [seeds, checkpoints, prompts]. Intervals come
from drawing seeds and prompts with replacement (bootstrap), 95%.
"""

import itertools
from collections.abc import Mapping, Sequence

import torch

from course_utils.lessons.lesson_12.experiments import iterations_of

DRAWS = 1000


def golds(runs: Sequence[Mapping]) -> torch.Tensor:
    """The gold score of every answer, [seeds, checkpoints, prompts]."""
    return torch.tensor([[run[f"golds_{i}"] for i in iterations_of(run)] for run in runs])


def mean_path(runs: Sequence[Mapping], name: str) -> list[float]:
    """The mean over the seeds of a number at each checkpoint."""
    return [sum(run[f"{name}_{i}"] for run in runs) / len(runs) for i in iterations_of(runs[0])]


def rise_and_fall(scores: torch.Tensor) -> tuple[float, float]:
    """How far the mean score rises to its peak, and falls from there; scores [seeds, points, prompts].

    The maximum of a noisy curve is too high. So the peak is chosen by every other prompt and read on the
    rest, and then the other way round; the mean of both is taken.
    """
    halves = scores[:, :, ::2].mean((0, 2)), scores[:, :, 1::2].mean((0, 2))  # (points,) each
    found = []
    for chosen_by, read_on in (halves, halves[::-1]):
        peak = read_on[chosen_by.argmax()]
        found.append((peak - read_on[0], peak - read_on[-1]))
    rise, fall = (sum(values).item() / 2 for values in zip(*found, strict=True))
    return rise, fall


def first_rise(scores: torch.Tensor) -> float:
    """How far the mean score rises up to the first checkpoint; scores [seeds, points, prompts]."""
    return (scores[:, 1] - scores[:, 0]).mean().item()


def redrawn(scores: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """As many seeds, and as many prompts of each half, drawn with replacement."""
    seeds, _, prompts = scores.shape
    drawn = scores[torch.randint(seeds, (seeds,), generator=generator)].clone()
    for half in (0, 1):
        places = torch.arange(half, prompts, 2)
        drawn[:, :, places] = drawn[
            :, :, places[torch.randint(len(places), (len(places),), generator=generator)]
        ]
    return drawn


def bootstrap_interval(scores: torch.Tensor, statistic, draws: int = DRAWS) -> tuple[float, float, float]:
    """(statistic, low, high), seeds and prompts drawn anew; scores [seeds, points, prompts]."""
    generator = torch.Generator().manual_seed(0)
    values = torch.tensor([statistic(redrawn(scores, generator)) for _ in range(draws)])
    low, high = values.quantile(torch.tensor([0.025, 0.975])).tolist()
    return statistic(scores), low, high


def at_kl(run: Mapping, distance: float) -> list[float] | None:
    """The gold score of each prompt where the run first comes that far: between two checkpoints.

    None where it never does.
    """
    points = [(run[f"kl_{i}"], torch.tensor(run[f"golds_{i}"])) for i in iterations_of(run)]
    for (kl_before, before), (kl_after, after) in itertools.pairwise(points):
        if kl_before <= distance <= kl_after:
            share = (distance - kl_before) / (kl_after - kl_before)
            return (before + share * (after - before)).tolist()
    return None


def gold_at(runs: Sequence[Mapping], distance: float) -> tuple[float, float, float] | None:
    """(mean gold score at that distance, low, high); None unless every run comes so far."""
    found = [at_kl(run, distance) for run in runs]
    if None in found:
        return None
    return bootstrap_interval(torch.tensor(found)[:, None], lambda scores: scores.mean().item())
