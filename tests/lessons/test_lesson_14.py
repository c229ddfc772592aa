"""Lesson 14: answers get their verdicts; the hunted comparisons show their faults; intervals cover."""

import statistics

import pytest
import torch
from helpers import draws_of, feed

from course_utils.evaluation import difference_interval
from course_utils.lessons.lesson_14 import suspects
from course_utils.lessons.lesson_14.exercises.report_fault import report_fault
from course_utils.lessons.lesson_14.selection import choose_setting


@pytest.mark.parametrize("exercise, seed", draws_of("14"))
def test_answers_get_their_verdicts(exercise, seed):
    feed(exercise, seed)


def test_the_hunt_finds_each_fault_at_the_shown_seed():
    seed = suspects.shown_seed()
    found = {name: report_fault(*suspects.comparison(name, seed)) for name in suspects.TITLES}
    assert found == {"P": "chosen on the test set", "Q": "unequal effort", "R": "the best seed", "S": "sound"}


def test_a_faulty_comparison_finds_a_lead_where_there_is_none():
    leads = {
        name: statistics.mean(suspects.lead(name, seed) for seed in range(400)) for name in suspects.TITLES
    }
    assert abs(leads["S"]) < 0.006
    assert min(leads["P"], leads["Q"], leads["R"]) > 0.015


def test_a_sound_choice_reports_what_the_setting_is_worth():
    gaps = []
    for seed in range(400):
        runs, _ = suspects.comparison("S", seed)
        setting, score = choose_setting([run for run in runs if run["method"] == "new"])
        gaps.append(score - suspects.QUALITY[setting])
    assert abs(statistics.mean(gaps)) < 0.006


def test_the_interval_covers_where_seeds_matter_and_one_of_questions_alone_does_not():
    """Five trainings each of two equally good methods, repeated many times."""
    torch.manual_seed(0)
    covered = {"both": 0, "questions": 0}
    repetitions = 60
    for _ in range(repetitions):
        hard = torch.rand(100)  # probability that a list is right
        sides = [
            torch.bernoulli((hard + 0.08 * torch.randn(5, 1)).clamp(0, 1).expand(5, 100)) for _ in range(2)
        ]
        _, low, high = difference_interval(*sides, draws=300)
        covered["both"] += low <= 0 <= high
        means = [side.mean(0, keepdim=True) for side in sides]
        _, low, high = difference_interval(*means, draws=300)
        covered["questions"] += low <= 0 <= high
    assert covered["both"] / repetitions >= 0.85
    assert covered["questions"] < covered["both"]
