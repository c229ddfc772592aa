"""Exercises of lesson 11: exact and sampled KL, rewards per token, the best policy; its companion's two."""

from course_utils.lessons.lesson_11.exercises import (
    best_policy,
    exact_kl,
    k3,
    mean_sequence_kl,
    next_coefficient,
    rewards_by_token,
)

EXERCISES = [
    module.EXERCISE
    for module in (exact_kl, mean_sequence_kl, rewards_by_token, best_policy, next_coefficient, k3)
]
