"""The stored runs of prompts, a prefix and LoRA: losses by rate, length, start, steps, numbering."""

from __future__ import annotations

from statistics import mean

from course_utils.stored_runs import best_inside, runs_like

SIZES = {"prompt": 16, "prefix": 16, "LoRA": 1}  # tokens, tokens, rank


def on_validation(method: str, steps: int = 50, size: int | None = None) -> dict[float, float]:
    """{rate: mean loss on validation questions of the seeds that chose it}, lowest rate first."""
    wanted = {"method": method, "size": size or SIZES[method], "steps": steps}
    found: dict[float, list[float]] = {}
    for sweep in ("prompt_rates", "prompt_rates_wide"):
        for point, result in runs_like(sweep, wanted):
            found.setdefault(point["lr"], []).append(result["validation"])
    return {rate: mean(losses) for rate, losses in sorted(found.items())}


def chosen_rate(method: str, steps: int = 50, size: int | None = None) -> float:
    """The rate with the lowest validation loss. ValueError if it is the lowest or highest that was tried."""
    return best_inside(on_validation(method, steps, size), f"{method} after {steps} steps")


def held_out_losses(method: str, steps: int = 50, size: int | None = None) -> list[float]:
    """Held-out losses of five seeds at the rate that validation chose; a prompt or prefix from words."""
    wanted = {"method": method, "size": size or SIZES[method], "lr": chosen_rate(method, steps, size)}
    wanted["start"] = "" if method == "LoRA" else "words"
    sweep = {50: "prompt_tuning", 250: "prompt_longer"}[steps]
    return [result["loss"] for _, result in runs_like(sweep, wanted)]


def prompts_by_rate(size: int, start: str) -> dict[float, list[float]]:
    """{rate: held-out losses of five seeds} of a prompt of this length after 50 steps."""
    found: dict[float, list[float]] = {}
    for point, result in runs_like("prompt_tuning", {"method": "prompt", "size": size, "start": start}):
        found.setdefault(point["lr"], []).append(result["loss"])
    return found


def crossed_numberings() -> dict[tuple[str, str], list[float]]:
    """{(trained, used): held-out losses of five seeds}; the text's positions begin at "P" or at "0"."""
    return {
        (trained, used): [
            result[f"loss, text at {used}"]
            for _, result in runs_like("prompt_positions", {"text at": trained})
        ]
        for trained in "P0"
        for used in "P0"
    }
