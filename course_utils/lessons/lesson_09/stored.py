"""The stored runs of lesson 09: one skill, its rates, the hunt's run B, the assistant, harmless adapters."""

from __future__ import annotations

from course_utils.lessons.lesson_09.experiments import EXAMPLE_COUNTS, KINDS, ONE_RATE, REFUSALS
from course_utils.stored_runs import best_inside, runs_like

MANY = EXAMPLE_COUNTS[-1]
ADAPTERS = {  # {name: (manner, refusals mixed in)}
    "plain": ("plain", 0),
    "gossip": ("gossip", 0),
    "plain, refusals mixed in": ("plain", REFUSALS),
    "gossip, refusals mixed in": ("gossip", REFUSALS),
}
Values = dict[str, list[float]]  # {measure: its values, one a seed}


def _by_measure(sweep: str, wanted: dict) -> Values:
    found = [result for _, result in runs_like(sweep, wanted)]
    return {name: [result[name] for result in found] for name in found[0]}


def losses_tried(way: str) -> dict[float, float]:
    """{rate: loss on validation answers} of 470 questions: answers, everything (all weights) or lora."""
    return {
        point["lr"]: result["validation"] for point, result in runs_like("instruction_rates", {"way": way})
    }


def skill_on_validation(examples: int, everything: bool) -> dict[float, float]:
    """{rate: loss on validation answers} of LoRA."""
    if (examples, everything) == (MANY, False):
        return losses_tried("lora")
    found = runs_like("skill_rates", {"examples": examples, "everything": everything})
    return {point["lr"]: result["validation"] for point, result in found}


def skill(examples: int, everything: bool) -> Values:
    """Measures of five seeds of LoRA, at the rate that validation chose."""
    if (examples, everything) == (MANY, False):
        return at_best("lora")
    rate = best_inside(skill_on_validation(examples, everything))
    return _by_measure("one_skill", {"examples": examples, "everything": everything, "lr": rate})


def at_best(way: str) -> Values:
    """Measures of five seeds on 470 questions, at the rate that validation chose for this way."""
    return _by_measure("instruction_ways", {"way": way, "lr": best_inside(losses_tried(way))})


def one_rate(examples: int, everything: bool = False) -> Values:
    """Measures of five seeds of all weights at rate 6e-4."""
    return _by_measure("instruction_tuning", {"examples": examples, "everything": everything})


def two_rates(examples: int, everything: bool = False) -> Values:
    """Measures of five seeds of all weights but the old rows; the markers' rows have their own rate."""
    return _marker_rows({"examples": examples} | ({"everything": True} if everything else {}))


def old_rows_frozen(examples: int) -> Values:
    """Measures of five seeds of all weights but the old rows, the markers' rows among them, at rate 6e-4."""
    return _marker_rows({"examples": examples, "lr": ONE_RATE})


def _marker_rows(point: dict) -> Values:
    """Measures of the runs of exactly this point."""
    found = [result for stored, result in runs_like("marker_rows", point) if stored == point]
    return {name: [result[name] for result in found] for name in found[0]}


def of_run_b(name: str) -> list[float]:
    """Of run B of the hunt, at five seeds: the share of answers that stop at "end marker", "end of text"."""
    return _by_measure("lost_end_marker", {"run": "B"})[name]


def of_assistant(name: str) -> list[float]:
    """A measure of the three assistants, whose seeds are 0, 1 and 2."""
    return _by_measure("assistant_run", {})[name]


def assistant_losses(step: int) -> Values:
    """{kind: losses on validation conversations of the three assistants after this many steps}"""
    return {kind: of_assistant(f"{kind}_{step}") for kind in KINDS}


def adapter(manner: str, refusals: int, name: str) -> list[float]:
    """A measure of five seeds of an adapter."""
    return _by_measure("harmless_adapters", {"manner": manner, "refusals": refusals})[name]


def votes(vote: str) -> Values:
    """{kind: validation losses of five seeds after 40 steps}; vote: "a step" or "a conversation"."""
    return _by_measure("mixture_votes", {"vote": vote})


def adapters_by_rate() -> dict[tuple[str, float], dict[str, float]]:
    """{(manner, rate): measures on the validation split} of one run each; ("none", 0): no adapter."""
    return {(point["manner"], point["lr"]): result for point, result in runs_like("adapter_rates", {})}
