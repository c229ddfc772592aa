"""The stored runs of places, of a longer training, of variants and of sums, as the notebooks show them."""

from __future__ import annotations

from course_utils.lessons.lesson_05.experiments import (
    BEST_LONGER_RATES,
    BEST_PLACE_RATES,
    LONGER_STEPS,
    PLACE_STEPS,
)
from course_utils.stored_runs import best_inside, load_sweep, runs_like, values_like


def by_place(task: str, value: str) -> dict[str, list[float]]:
    """{place: its loss or forgetting in each of five seeds, at its best rate}"""
    return {place: of_place(task, place, value) for of_task, place in BEST_PLACE_RATES if of_task == task}


def of_place(task: str, place: str, value: str, lr: float | None = None) -> list[float]:
    """Loss or forgetting of five seeds of a place, at its best rate or another one."""
    wanted = {"task": task, "place": place, "lr": lr or BEST_PLACE_RATES[task, place]}
    return values_like("lora_layers", value, **wanted)


def after(steps: int, place: str, value: str) -> list[float]:
    """Loss, or share of right answers, of each seed on the invented facts after this many steps."""
    return values_like("place_steps", value, place=place, steps=steps)


def losses_over_steps() -> dict[str, dict[int, list[float]]]:
    """{place: {steps: losses of each seed on the invented facts}}, each at its best rate."""
    short = PLACE_STEPS["invented"]
    return {
        place: {short: of_place("invented", place, "loss"), LONGER_STEPS: after(LONGER_STEPS, place, "loss")}
        for place in BEST_LONGER_RATES
    }


def by_place_rate(task: str, place: str, steps: int | None = None) -> dict[float, float]:
    """{rate: validation loss} of the sweep that chose the rate of a place, lowest rate first."""
    name = "place_steps_rates" if steps == LONGER_STEPS else "place_rates"
    runs = runs_like(name, {"task": task, "place": place})
    return dict(sorted((point["lr"], result["validation"]) for point, result in runs))


def longer_rate(place: str) -> float:
    """The rate that was best after 450 steps. ValueError if the runs use another."""
    best = best_inside(by_place_rate("invented", place, LONGER_STEPS), place)
    if best != BEST_LONGER_RATES[place]:
        raise ValueError(f"the best rate of {place} after {LONGER_STEPS} steps is {best:g}")
    return best


def variants() -> dict[str, list[float]]:
    """{variant: losses of five seeds}; plain LoRA with its alpha in the name."""
    found: dict[str, list[float]] = {}
    for row in load_sweep("lora_variants")["rows"]:
        point = row["point"]
        name = point["variant"] + (f", alpha {point['alpha']:g}" if point["variant"] == "LoRA" else "")
        found.setdefault(name, []).append(row["result"]["loss"])
    return found


def best_alpha() -> float:
    """Plain LoRA's alpha with the lowest loss at the seed that chose the variants' rates."""
    of_lora = runs_like("variant_rates", {"variant": "LoRA"})
    return min(of_lora, key=lambda run: run[1]["validation"])[0]["alpha"]


def sums(value: str) -> list[float]:
    """A number of `adapter_sums` at each seed, by its name there."""
    return values_like("adapter_sums", value)
