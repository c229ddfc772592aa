"""Lesson 14, choose_setting: choose a setting."""

import math
import random
import statistics

import numpy as np
import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_14.selection import choose_setting

SCORES = [  # {setting: (choose, judge) of its runs}: shares, and negative scores
    {
        0.1: [(0.40, 0.46), (0.98, 0.44)],
        0.2: [(0.80, 0.75), (0.84, 0.79)],
        0.3: [(0.70, 0.90), (0.72, 0.88), (0.74, 0.92)],
        0.4: [(0.50, 0.61), (0.53, 0.58)],
    },
    {
        4: [(-1.0, -0.6), (-0.9, -0.5), (-0.2, -0.1)],
        8: [(-0.85, -0.3), (-0.8, -0.4), (-0.75, -0.2)],
        16: [(-0.84, -0.7), (-0.84, -0.8)],
        32: [(-1.1, -0.9), (-1.2, -0.7)],
        64: [(-1.3, -1.25)],
    },
]


def _runs():
    """Both tables as rows in random order, with all scores increased by less than .1."""
    up = 0.1 * random.random()
    for table in SCORES:
        rows = [
            {"setting": setting, "choose": choose + up, "judge": judge + up}
            for setting, runs in table.items()
            for choose, judge in runs
        ]
        random.shuffle(rows)
        yield (rows,)


def _chosen_runs(rows, score):
    """The setting whose runs have the highest score(values of choose), and these runs."""
    settings = {row["setting"]: [run for run in rows if run["setting"] == row["setting"]] for row in rows}
    best = max(settings, key=lambda setting: score([run["choose"] for run in settings[setting]]))
    return best, settings[best]


def _setting_by(score):
    """A wrong choose_setting: the setting by score(values of choose), with its mean of judge."""

    def wrong(rows):
        best, runs = _chosen_runs(rows, score)
        return best, statistics.mean(run["judge"] for run in runs)

    return wrong


def _report_by(report):
    """A wrong choose_setting: the right setting, and report(its runs)."""

    def wrong(rows):
        best, runs = _chosen_runs(rows, statistics.mean)
        return best, report(runs)

    return wrong


def _by_judge(rows):
    return choose_setting([{**row, "choose": row["judge"]} for row in rows])


def _best_run(rows):
    best = max(rows, key=lambda row: row["choose"])
    return best["setting"], best["judge"]


def _sorted_in_place(rows):
    rows.sort(key=lambda row: row["choose"])
    rows.pop(0)
    return choose_setting(rows)


def _lowest(rows):
    return choose_setting([{**row, "choose": -row["choose"]} for row in rows])


def _setting_with_numpy(rows):
    settings = np.array([row["setting"] for row in rows])
    choose, judge = (np.array([row[name] for row in rows]) for name in ("choose", "judge"))
    names = np.unique(settings)
    best = names[np.argmax([choose[settings == name].mean() for name in names])]
    return [best, judge[settings == best].mean()]


def _setting_by_running_means(rows):
    best, most, score = None, -math.inf, None
    for setting in sorted(row["setting"] for row in rows):
        runs = [row for row in rows if row["setting"] == setting]
        mean = torch.tensor([run["choose"] for run in runs]).mean()
        if mean > most:
            best, most, score = setting, mean, torch.tensor([run["judge"] for run in runs]).mean()
    return best, score


ONE_RUN = (
    "You choose the setting of the best single run, so one lucky seed decides. Compare means over the seeds."
)
SETTING_MISTAKES = [
    (
        "You choose the setting with the largest sum over its runs, since it has more of them. Compare "
        "means.",
        _setting_by(sum),
    ),
    (
        "You choose by the judging questions. Then the score on them is too good. Choose by `choose`.",
        _by_judge,
    ),
    (ONE_RUN, _best_run),
    (ONE_RUN, _setting_by(max)),
    (
        "You choose the setting with the best median of `choose`. Compare means: a median of few seeds "
        "ignores the others.",
        _setting_by(statistics.median),
    ),
    ("You choose the setting with the best worst run. Compare means over the seeds.", _setting_by(min)),
    ("You choose the setting with the lowest mean. Higher is better.", _lowest),
    (
        "You report the score on the choosing questions, on which this setting is the best of several. "
        "Report the score on the judging questions.",
        _report_by(lambda runs: statistics.mean(run["choose"] for run in runs)),
    ),
    (
        "You report the score of the setting's best run. Report the mean over its seeds.",
        _report_by(lambda runs: max(run["judge"] for run in runs)),
    ),
    (
        "You report the score of the setting's best run. Report the mean over its seeds.",
        _report_by(lambda runs: max(runs, key=lambda run: run["choose"])["judge"]),
    ),
    (
        "You report a sum over the setting's runs. Report the mean.",
        _report_by(lambda runs: sum(run["judge"] for run in runs)),
    ),
]

EXERCISE = Exercise(
    name="choose_setting",
    lesson="14",
    minutes=6,
    difficulty=1,
    reference=choose_setting,
    check=compare(
        choose_setting,
        lambda: list(_runs()),
        SETTING_MISTAKES,
        else_="The setting has the highest mean of `choose`, the score is its mean of `judge`.",
    ),
    wrong=[
        (_sorted_in_place, "changes its argument rows in place"),
        (lambda rows: choose_setting(rows)[0], "should be a tuple of 2"),
        (lambda rows: None, "Is there a return"),
        (lambda rows: (0.2, 0.77), "the highest mean of `choose`"),
        (lambda rows: (choose_setting(rows)[0], 0.0), "its mean of `judge`"),
    ],
    right=[_setting_with_numpy, _setting_by_running_means],
    then="From here on your choose_setting chooses the settings: run the cells below again.",
    hints=(
        "The questions that select a winner overestimate it. So choose by one set, over all seeds, and "
        "report the other.",
        "Group the rows by setting; take the means of `choose` and `judge` in each group; return the setting "
        "with the highest mean of `choose`, and its mean of `judge`.",
    ),
)
