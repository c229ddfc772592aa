"""The stored runs of lesson 02: rates, remedies for forgetting, rules of the update; what a remedy costs."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import mean

from course_utils.stored_runs import load_sweep

RATES = (1e-6, 1e-5, 5e-5, 2e-4, 5e-4, 2e-3, 1e-2)
SHARES = (0.25, 0.5, 0.75)  # of the way from the base to the tuned model
SAME_TOKENS = {0: 137, 2: 73}  # {old texts a step: steps that read as many tokens as the other's 100}


def short(rate: float) -> str:
    """2e-4 for 0.0002."""
    return f"{rate:.0e}".replace("e-0", "e-")


def at_rates(name: str) -> dict[float, list[float]]:
    """{rate: a result of 100 steps at this rate, a value for each seed}."""
    rows = [row["point"] | row["result"] for row in load_sweep("learning_rate")["rows"]]
    return {lr: [row[name] for row in rows if row["lr"] == lr] for lr in RATES}


def runs(lr=2e-4, questions=16, replay=0, steps=100) -> list[dict]:
    """Results of the stored runs with so many questions and old texts a step, one for each seed."""
    wanted = {"lr": lr, "questions": questions, "replay": replay, "steps": steps}
    return [row["result"] for row in load_sweep("remedies")["rows"] if row["point"] == wanted]


def base_run() -> dict:
    """The base's results, in the names of `runs`."""
    return runs(lr=0.0, steps=1)[0]


def walked_back(share: float, lr: float = 2e-4) -> list[dict]:
    """The same results at `share` of the way from the base to the models tuned at this rate."""
    return [at_share(run, share) for run in runs(lr)]


def at_share(run: Mapping[str, float], share: float) -> dict:
    """A run's results at `share` of the way from the base to its end."""
    end = f" at {share:g}"
    return {name.removesuffix(end): value for name, value in run.items() if name.endswith(end)}


def cost(
    found: Mapping[str, float], of_tuning: Mapping[str, float], of_base: Mapping[str, float]
) -> tuple[float, float]:
    """(share of tuning's gain on answers that is given up, share of its forgetting that is left)."""
    full = of_base["answer_loss"] - of_tuning["answer_loss"]
    gain = of_base["answer_loss"] - found["answer_loss"]
    forgotten, all_forgotten = (one["text_loss"] - of_base["text_loss"] for one in (found, of_tuning))
    return 1 - gain / full, forgotten / all_forgotten


def compared_remedies() -> dict[str, list[dict]]:
    """The stored runs of each remedy, by its name in the lesson's table."""
    return {
        "replay, rate 2e-4": runs(replay=2),
        "the same, 73 steps": runs(replay=2, steps=SAME_TOKENS[2]),
        "replay, rate 5e-5": runs(5e-5, replay=2),
        "rate 1e-5": runs(1e-5),
        "the same, 137 steps": runs(1e-5, steps=SAME_TOKENS[0]),
        "half-way back": walked_back(0.5),
        "rate 5e-5": runs(5e-5),
        "plain tuning, rate 2e-4": runs(),
    }


def costs_of(found: list[dict]) -> list[tuple[float, float]]:
    """`cost` of each of these stored runs, against tuning at 2e-4 with the same seed."""
    return [cost(run, tuned, base_run()) for run, tuned in zip(found, runs(), strict=True)]


def costs_of_rate(lr: float) -> list[float]:
    """The cost of 100 steps at this rate, a value for each seed."""
    base, answers, forgotten = base_run(), at_rates("target_loss")[lr], at_rates("forgetting")[lr]
    found = [
        {"answer_loss": answer, "text_loss": base["text_loss"] + rise}
        for answer, rise in zip(answers, forgotten, strict=True)
    ]
    return [sum(both) for both in costs_of(found)]


def mean_of(found: list[dict], name: str) -> float:
    """The mean of a result over stored runs."""
    return mean(run[name] for run in found)


def of_rule(rule: str, name: str) -> dict[float, list[float]]:
    """{rate: one result of an update rule's stored runs, a value for each seed}."""
    rows = [row["point"] | row["result"] for row in load_sweep("update_rules")["rows"]]
    rates = dict.fromkeys(row["lr"] for row in rows if row["rule"] == rule)
    return {lr: [row[name] for row in rows if (row["rule"], row["lr"]) == (rule, lr)] for lr in rates}


def best_rate_of(rule: str) -> float:
    """The rate at which the rule has the lowest mean loss on the validation answers."""
    losses = of_rule(rule, "validation_loss")
    return min(losses, key=lambda lr: mean(losses[lr]))


def changed_rules() -> list[str]:
    """AdamW and its variants with one part changed."""
    rules = dict.fromkeys(row["point"]["rule"] for row in load_sweep("update_rules")["rows"])
    return [rule for rule in rules if "SGD" not in rule]
