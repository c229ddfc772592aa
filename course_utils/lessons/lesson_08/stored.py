"""The stored runs of wrong masks, of changed prompts, of buckets and packing, by seed."""

from __future__ import annotations

from statistics import mean

from course_utils.stored_runs import best_inside, load_sweep, ratios


def values_of(sweep: str, measure: str, **point) -> list[float]:
    """The seeds' values of one measure at one point of a sweep; None: at points without this setting."""
    return [row["result"][measure] for row in _rows_of(sweep, point)]


def swept_rate(sweep: str, **point) -> float:
    """The rate with the lowest mean loss on the validation split. ValueError if the sweep ends there."""
    rates = sorted({row["point"]["lr"] for row in _rows_of(sweep, point)})
    if len(rates) == 1:
        return rates[0]
    return best_inside(
        {lr: mean(values_of(sweep, "validation_loss", lr=lr, **point)) for lr in rates}, str(point)
    )


def of_mistake(run: str, measure: str) -> list[float]:
    """The seeds' values of a run with this mistake: at its own best rate, or at the right run's."""
    return values_of("mask_mistakes", measure, run=run, lr=swept_rate("mask_mistakes", run=run))


def masks_tried() -> list[str]:
    """The runs of the sweep of mistakes, the right one first."""
    return list(dict.fromkeys(row["point"]["run"] for row in load_sweep("mask_mistakes")["rows"]))


def controls(run: str, asked: str) -> dict[str, list[float]]:
    """{how it answers: shares by seed} of a run asked "with" or "without" the newline of the header."""
    return {
        measure: values_of("mask_controls", f"{measure}, asked {asked} it", run=run)
        for measure in ("right", "empty", "other form")
    }


def kept_by_prompt() -> dict[str, list[float]]:
    """{change of the prompt: right answers by seed, over those with the prompt of training}."""
    from course_utils.lessons.lesson_08.serving import AS_TRAINED

    row = _rows_of("served_prompts", {"run": "right"})[0]["result"]
    names = [name.removeprefix("right, ") for name in row if name.startswith("right, ")]
    found = {name: values_of("served_prompts", f"right, {name}", run="right") for name in names}
    return {name: ratios(shares, found[AS_TRAINED]) for name, shares in found.items()}


def _rows_of(sweep: str, point: dict) -> list[dict]:
    rows = load_sweep(sweep)["rows"]
    return [row for row in rows if all(row["point"].get(name) == value for name, value in point.items())]
