"""Exercises of lesson 12, RLHF with PPO, and last its companion's. Solutions are the package's functions."""

from course_utils.lessons.lesson_12.exercises import (
    clipped_policy_loss,
    gae,
    leave_one_out_advantages,
    per_token_rewards,
    ratio_fault,
    reinforce_loss,
)

EXERCISES = [
    module.EXERCISE
    for module in (
        reinforce_loss,
        per_token_rewards,
        gae,
        clipped_policy_loss,
        ratio_fault,
        leave_one_out_advantages,
    )
]
