"""The stored runs of LoRA, by task, place, rank, alpha and number of steps: their losses, the rates tried."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from course_utils.stored_runs import load_sweep

ALPHA = 16.0  # where a run says nothing else
STEPS = {"questions": 30, "invented": 300}
SWEPT = {"c_attn": 4, "c_fc": 3, "all": 1}  # the ranks with about as many values
VALUES_AT_RANK_1 = {"c_attn": 4_096, "c_fc": 5_120, "all": 16_384, "full": 3_145_728}  # of the pocket model
NAMES = {"all": "all linear layers", "full": "all matrices trained"}


def name_of(place: str, rank: int | None = None) -> str:
    """A place in words, with its rank if one is given."""
    return NAMES.get(place, place) + (f", rank {rank}" if rank else "")


def rates_of(
    task: str, place: str, rank: int | None, alpha: float = ALPHA, steps: int = 0
) -> dict[float, float]:
    """{rate: validation loss} of the sweep that chose the rate, lowest rate first; {} if there was none."""
    rows = _rows_like(("rank_rates",), task, place, rank, alpha, steps)
    return dict(sorted((row["lr"], row["validation"]) for row in rows))


def best_rate(*kind, **options) -> float:
    """The rate with the lowest validation loss; arguments as of rates_of."""
    found = rates_of(*kind, **options)
    return min(found, key=found.get)


def losses_of(task: str, place: str, rank: int | None, alpha: float = ALPHA, steps: int = 0) -> list[float]:
    """Losses of the reported runs, in the order of their seeds, at the one rate that they were made with."""
    rows = _rows_like(("lora_rank", "lora_place", "rank_64", "rank_longer"), task, place, rank, alpha, steps)
    return [row["loss"] for row in rows]


def losses_at_alpha_64() -> list[float]:
    """Losses of rank 4 on c_attn on the invented facts, a run at each of three rates."""
    return [row["result"]["loss"] for row in load_sweep("rank_4_alpha")["rows"]]


def losses_by_values(
    task: str, kinds: Iterable[tuple[str, int, float]]
) -> dict[str, dict[int, tuple[int, list[float]]]]:
    """{place in words: {trained values of the pocket model: (rank, losses)}} of (place, rank, alpha)."""
    places: dict[str, dict[int, tuple[int, list[float]]]] = {}
    for place, rank, alpha in kinds:
        name = name_of(place) + (f", alpha {alpha:g}" if alpha != ALPHA else "")
        losses = losses_of(task, place, rank, alpha)
        places.setdefault(name, {})[rank * VALUES_AT_RANK_1[place]] = rank, losses
    return places


def cut_runs() -> list[dict[str, float]]:
    """The results of rank_cut: all matrices trained, and their change cut, a run each."""
    return [row["result"] for row in load_sweep("rank_cut")["rows"]]


def kept(run: dict[str, float], key: str) -> float:
    """The share of the gain that is left in a run of cut_runs at "cut_1", "rest_4" and so on."""
    return (run["cut_0"] - run[key]) / (run["cut_0"] - run["loss"])


def _rows_like(names, *kind) -> Iterator[dict]:
    task, place, rank, alpha, steps = kind
    wanted = {"task": task, "place": place, "rank": rank, "steps": steps or STEPS[task]}
    for row in (row for name in names for row in load_sweep(name)["rows"]):
        point = {"place": "c_attn", "alpha": ALPHA, "steps": STEPS[row["point"]["task"]]} | row["point"]
        root = math.sqrt(point["rank"]) if point["rslora"] else 1.0  # alpha / sqrt(r) is alpha sqrt(r) / r
        if wanted.items() <= point.items() and math.isclose(point["alpha"] * root, alpha):
            yield point | row["result"]
