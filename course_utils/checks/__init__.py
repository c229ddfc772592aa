"""Exercises, claims, predictions and progress: what a lesson checks and the learner sees."""

from course_utils.checks.claims import ClaimFailed, claim
from course_utils.checks.exercises import Exercise, Mistake, close, expect_tensor, hint
from course_utils.checks.predictions import predict

__all__ = ["ClaimFailed", "Exercise", "Mistake", "claim", "close", "expect_tensor", "hint", "predict"]
