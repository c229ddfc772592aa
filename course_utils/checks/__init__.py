"""Exercises, claims, predictions and progress: what a lesson checks and the learner sees."""

from course_utils.checks.claims import ClaimFailed, claim
from course_utils.checks.compare import (
    Mistake,
    call,
    close,
    compare,
    expect_gradients,
    expect_tensor,
    unchanged,
)
from course_utils.checks.exercises import Exercise, folded_until_tried, hint, mine, runs_on
from course_utils.checks.identities import assert_same
from course_utils.checks.predictions import predict
from course_utils.checks.tables import mean_and_range, show_table, show_texts

__all__ = [
    "ClaimFailed",
    "Exercise",
    "Mistake",
    "assert_same",
    "call",
    "claim",
    "close",
    "compare",
    "expect_gradients",
    "expect_tensor",
    "folded_until_tried",
    "hint",
    "mean_and_range",
    "mine",
    "predict",
    "runs_on",
    "show_table",
    "show_texts",
    "unchanged",
]
