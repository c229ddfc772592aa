"""Lesson 18's stored runs by the names that the lesson and its companion give them."""

from course_utils.lessons.lesson_18.experiments import runs_at

POINTS = {
    "start": ("verifiable_rewards", {"method": "start"}),
    "start at 0.7": ("pass_at_k_rivals", {"policy": "start", "temperature": 0.7}),
    "start at 0.5": ("pass_at_k_rivals", {"policy": "start", "temperature": 0.5}),
    "GRPO": ("verifiable_rewards", {"method": "GRPO"}),
    "GRPO at 0.7": ("pass_at_k_rivals", {"policy": "GRPO", "temperature": 0.7}),
    "form alone": ("other_rewards", {"judge": "form"}),
    "form alone, 128 samples": ("pass_at_k_rivals", {"policy": "form alone", "temperature": 1.0}),
    "right samples": ("verifiable_rewards", {"method": "right samples"}),
    "true answers": ("verifiable_rewards", {"method": "true answers"}),
    "random rewards": ("other_rewards", {"judge": "chance"}),
    "random rewards, a third of the rate": ("random_rewards", {"lr": 3e-5}),
    "random rewards, four updates": ("random_rewards", {"lr": 3e-5, "updates": 4}),
    "the start's answers": ("verifier_hole", {"judge": "none", "loss_type": "grpo"}),
    "trained on loose": ("verifier_hole", {"judge": "loose", "loss_type": "grpo"}),
    "trained on loose, dr_grpo": ("verifier_hole", {"judge": "loose", "loss_type": "dr_grpo"}),
    "trained on mended": ("verifier_hole", {"judge": "mended", "loss_type": "grpo"}),
}


def runs(name: str) -> list[dict]:
    """The results under a name of POINTS, one a seed."""
    sweep, point = POINTS[name]
    return runs_at(sweep, **point)


def of(name: str, key: str) -> list[float]:
    """One number of these results, one a seed."""
    return [run[key] for run in runs(name)]


def not_the_names_alone(name: str) -> list[float]:
    """Of what the loose verifier accepts, the share that is not the names alone, one a seed."""
    return [1 - run["mended"] / run["loose"] for run in runs(name)]
