"""Lesson 18's stored runs by the names that the lesson and its companion give them."""

from course_utils.lessons.lesson_18.experiments import runs_at

POINTS = {
    "start": ("verifiable_rewards", {"method": "start"}),
    "cooled start": ("pass_at_k_rivals", {"policy": "start", "temperature": 0.7}),
    "GRPO": ("verifiable_rewards", {"method": "GRPO"}),
    "form alone": ("other_rewards", {"judge": "form"}),
    "right samples": ("verifiable_rewards", {"method": "right samples"}),
    "true answers": ("verifiable_rewards", {"method": "true answers"}),
    "random rewards": ("other_rewards", {"judge": "chance"}),
    "random rewards, a third of the rate": ("random_rewards", {"lr": 3e-5}),
    "the start's answers": ("verifier_hole", {"judge": "none", "loss_type": "grpo"}),
    "trained on loose": ("verifier_hole", {"judge": "loose", "loss_type": "grpo"}),
    "trained on loose, dr_grpo": ("verifier_hole", {"judge": "loose", "loss_type": "dr_grpo"}),
    "trained on mended": ("verifier_hole", {"judge": "mended", "loss_type": "grpo"}),
}


def named_results(name: str) -> list[dict]:
    """The results under a name of POINTS, one a seed."""
    sweep, point = POINTS[name]
    return runs_at(sweep, **point)


def of(name: str, key: str) -> list[float]:
    """One number of these results, one a seed."""
    return [run[key] for run in named_results(name)]


FOUND = 0.5  # with so much of not_the_names_alone a policy has found the hole


def found_the_hole(name: str) -> list[bool]:
    """Whether a training has found the hole of the loose verifier, one a seed."""
    return [share >= FOUND for share in not_the_names_alone(name)]


def not_the_names_alone(name: str) -> list[float]:
    """Of what the loose verifier accepts, the share that is not the names alone, one a seed."""
    return [1 - run["mended"] / run["loose"] for run in named_results(name)]
