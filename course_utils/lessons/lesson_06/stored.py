"""The stored runs of lesson 06: errors in the weights on five samples of text, LoRA over them, merges."""

from __future__ import annotations

import statistics

from course_utils.lessons.lesson_06.experiments import BEST_QLORA_RATES
from course_utils.stored_runs import ratios, runs_like

STUDENT = 2.776  # 97.5% quantile of Student's t with four degrees of freedom


def over_samples(error: str, key: str = "rise") -> list[float]:
    """A number of `weight_errors` on each of the five samples of 40 texts."""
    return [result[key] for _, result in runs_like("weight_errors", {"error": error})]


def relative_rises(error: str) -> list[float]:
    """The rise of the loss over the loss before, on each of the five samples."""
    return ratios(over_samples(error), over_samples(error, "loss"))


def rises_in_blocks(table: str, size: int) -> list[float]:
    """The rise of the loss on the five samples, rounded to this table in blocks of this size."""
    if size == 64:
        return over_samples(table)
    return [result["rise"] for _, result in runs_like("table_blocks", {"error": table, "block_size": size})]


def validation_by_rate(base: str, place: str) -> dict[float, float]:
    """{rate: loss on validation questions} of LoRA at this place over this base."""
    return {
        point["lr"]: result["validation"]
        for point, result in runs_like("qlora_rates", {"base": base, "place": place})
    }


def after_tuning(base: str, place: str = "all", key: str = "loss") -> list[float]:
    """A number of `qlora` at five seeds, at the rate that validation chose."""
    wanted = {"base": base, "place": place, "lr": BEST_QLORA_RATES[base, place]}
    return [result[key] for _, result in runs_like("qlora", wanted)]


def after_merging(merge: str, what: str) -> list[float]:
    """loss, apart or kept of a merge over NF4 at five seeds: one of experiments.MERGES."""
    return after_tuning("nf4", key=f"{merge}: {what}")


def with_interval(values: list[float]) -> tuple[float, float, float]:
    """(mean, low, high) of five values: Student's 95% interval of their mean."""
    middle = statistics.mean(values)
    half = STUDENT * statistics.stdev(values) / len(values) ** 0.5
    return middle, middle - half, middle + half
