"""Lesson 14, report_fault: bug hunt, what is wrong with a comparison."""

import random
import statistics

import numpy as np

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_14.exercises.choose_setting import ONE_RUN
from course_utils.lessons.lesson_14.selection import choose_setting

VERDICTS = ("unequal effort", "chosen on the test set", "the best seed", "sound")


def report_fault(runs, reported):
    """The fault of a comparison, or "sound".

    runs: {"method", "setting", "choose", "judge"}; reported: {method: (setting, score)}.
    """
    tried = {}
    for run in runs:
        tried.setdefault(run["method"], []).append(run)
    if len({len(rows) for rows in tried.values()}) > 1:
        return "unequal effort"
    right = {method: choose_setting(rows) for method, rows in tried.items()}
    if any(reported[method][0] != setting for method, (setting, _) in right.items()):
        return "chosen on the test set"
    if any(abs(reported[method][1] - score) > 1e-6 for method, (_, score) in right.items()):
        return "the best seed"
    return "sound"


def _reports():
    """Comparisons with each fault in either method, sound ones, and five with two faults."""
    drawn = []
    for faulty, other in (("new", "old"), ("old", "new")):
        for fault in ("", "fewer settings", "a seed less", "test set", "best seed", "worst seed"):
            runs, reported = _report({"new": "", "old": ""} | {faulty: fault})
            random.shuffle(runs)
            drawn.append((runs, reported))
        drawn.append(_report({faulty: "best seed", other: "test set"}))
        drawn.append(_report({other: "test set", faulty: "best seed"}))
    drawn.append(_report({"new": "test set", "old": "test set"}))
    random.shuffle(drawn)
    return drawn


def _report(faults):
    """(runs, reported) of methods, in their order, each with its fault or "". No two means are close.

    The best single run by `choose` is d's, the best median c's, the best mean b's.
    """
    choose = {"a": 0.50, "b": 0.72, "c": 0.66, "d": 0.58}
    judge = {"a": 0.52, "b": 0.67, "c": 0.75, "d": 0.60}
    up = 0.1 * random.random()
    spread = dict.fromkeys("ab", (-0.03, 0.04, 0.005)) | {"c": (0.08, 0.07, -0.15), "d": (0.26, -0.13, -0.13)}
    runs, reported = [], {}
    for method, fault in faults.items():
        own = [
            {"method": method, "setting": name, "seed": seed}
            | {"choose": choose[name] + up + off, "judge": judge[name] + up - off / 8}
            for name in choose
            for seed, off in enumerate(spread[name])
        ]
        if fault == "fewer settings":
            own = [run for run in own if run["setting"] in "bc"]
        if fault == "a seed less":
            own.remove(random.choice(own))
        random.shuffle(own)
        setting, score = choose_setting(own)
        if fault == "test set":
            setting, score = "c", statistics.mean(run["judge"] for run in own if run["setting"] == "c")
        if fault in ("best seed", "worst seed"):
            pick = max if fault == "best seed" else min
            score = pick(run["judge"] for run in own if run["setting"] == setting)
        runs += own
        reported[method] = setting, round(score, 12)  # its last digits differ from any mean's
    return runs, reported


def _differs(score, mean, judged):
    return abs(score - mean) > 1e-6


def _hunter(
    effort=len, test_set=True, best_seed=_differs, methods=("new", "old"), by_method=False, scores_first=False
):
    """A wrong report_fault: it misses a fault, checks only one method, or reports the first method's fault.

    effort: the compared property of each method's runs. best_seed: test of (score, mean, scores of the
    seeds).
    """

    def wrong(runs, reported):
        tried = {name: [run for run in runs if run["method"] == name] for name in ("new", "old")}
        if effort(tried["new"]) != effort(tried["old"]):
            return "unequal effort"
        found = []
        for name in methods:
            (setting, score), (best, mean) = reported[name], choose_setting(tried[name])
            judged = [run["judge"] for run in tried[name] if run["setting"] == setting]
            if test_set and setting != best:
                found.append("chosen on the test set")
            elif setting == best and best_seed(score, mean, judged):
                found.append("the best seed")
        if not by_method:
            found.sort(key=VERDICTS.index, reverse=scores_first)
        return next(iter(found), "sound")

    return wrong


def _setting_by(score):
    """A wrong report_fault: the setting should be the one with the best score(its values of `choose`)."""

    def wrong(runs, reported):
        sides = {name: [run for run in runs if run["method"] == name] for name in reported}
        if len({len(rows) for rows in sides.values()}) > 1:
            return "unequal effort"
        found = "sound"
        for name, rows in sides.items():
            choose, judge = {}, {}
            for run in rows:
                choose.setdefault(run["setting"], []).append(run["choose"])
                judge.setdefault(run["setting"], []).append(run["judge"])
            best = max(choose, key=lambda setting, choose=choose: score(choose[setting]))
            if reported[name][0] != best:
                return "chosen on the test set"
            if _differs(reported[name][1], statistics.mean(judge[best]), None):
                found = "the best seed"
        return found

    return wrong


def _another_score(runs, reported):
    """Compares with the mean of `choose` or without a tolerance, so no sound report passes."""
    found = report_fault(runs, reported)
    return "the best seed" if found == "sound" else found


def _scores_first(runs, reported):
    """Checks the scores before the settings."""
    found = report_fault(runs, reported)
    return "the best seed" if found == "chosen on the test set" else found


def _by_the_other_set(runs, reported):
    swapped = [{**run, "choose": run["judge"], "judge": run["choose"]} for run in runs]
    return report_fault(swapped, reported)


def _without_tolerance(runs, reported):
    found = report_fault(runs, reported)
    if found == "sound":
        for name, (setting, score) in reported.items():
            rows = [run for run in runs if (run["method"], run["setting"]) == (name, setting)]
            if score != statistics.mean(run["judge"] for run in rows):
                return "the best seed"
    return found


def _by_settings_of_the_runs(runs, reported):
    """Right: counts settings and seeds separately."""
    names = sorted(reported)
    sizes = [len({(run["setting"], run["seed"]) for run in runs if run["method"] == name}) for name in names]
    if max(sizes) != min(sizes):
        return VERDICTS[0]
    for place, (verdict, wanted) in enumerate(zip(VERDICTS[1:3], (0, 1), strict=True)):
        for name in names:
            best = choose_setting([run for run in runs if run["method"] == name])
            if reported[name][wanted] != best[wanted] and (
                place == 0 or abs(reported[name][1] - best[1]) > 1e-4
            ):
                return verdict
    return "sound"


def _by_tables(runs, reported):
    rows = {
        name: np.array([[r["choose"], r["judge"]] for r in runs if r["method"] == name]) for name in reported
    }
    if len(rows["new"]) != len(rows["old"]):
        return "unequal effort"
    found = "sound"
    for name in reported:
        settings = np.array([run["setting"] for run in runs if run["method"] == name])
        means = {each: rows[name][settings == each].mean(0) for each in set(settings)}
        best = max(means, key=lambda each, means=means: means[each][0])
        if best != reported[name][0]:
            return "chosen on the test set"
        if not np.isclose(means[best][1], reported[name][1]):
            found = "the best seed"
    return found


BELOW = "You accept a score below the mean over the seeds. Any score but the mean is a fault."
LAST_ONE = "You check only the last method. The fault may be in either."
ONE_BY_ONE = (
    "You check one method, then the other: the first's score hides that the second was chosen on the test "
    "set. Check the settings of both before the scores."
)
HUNT_MISTAKES = [
    ("You call everything sound.", lambda runs, reported: "sound"),
    (
        "You accept a comparison in which one method had fewer runs. Count the runs of each first.",
        _hunter(effort=lambda runs: 0),
    ),
    (
        "You accept a method that lacks a seed at one setting. Count the runs, not the settings.",
        _hunter(effort=lambda runs: len({run["setting"] for run in runs})),
    ),
    (
        "You accept a setting that is best by `judge`, not by `choose`. It was chosen on the test set.",
        _hunter(test_set=False),
    ),
    (
        "You accept the best seed's score. Compare with the mean of `judge` over the seeds.",
        _hunter(best_seed=lambda *scores: False),
    ),
    (BELOW, _hunter(best_seed=lambda score, mean, judged: score > mean + 1e-6)),
    (BELOW, _hunter(best_seed=lambda score, mean, judged: abs(score - max(judged)) < 1e-6)),
    ("You check only the first method. The fault may be in either.", _hunter(methods=("new",))),
    ("You check only the second method. The fault may be in either.", _hunter(methods=("old",))),
    (
        "You check only the first method. The fault may be in either.",
        lambda runs, reported: _hunter(methods=tuple(reported)[:1])(runs, reported),
    ),
    (LAST_ONE, lambda runs, reported: _hunter(methods=tuple(reported)[1:])(runs, reported)),
    ("`choose` and `judge` are swapped: you call a sound report a fault.", _by_the_other_set),
    (
        "You take the setting with the best median of `choose` for the right one. Compare means over the "
        "seeds.",
        _setting_by(statistics.median),
    ),
    (ONE_RUN, _setting_by(max)),
    (
        'You call a sound report "the best seed". Compare the score with the mean of `judge` at the chosen '
        "setting; the last digits may differ: use math.isclose.",
        _another_score,
    ),
    (
        'You call a setting chosen on the test set "the best seed": its score differs, too. Check the '
        "settings before the scores.",
        _scores_first,
    ),
    (
        "You check the scores before the settings: one method's score hides that the other's setting was "
        "chosen on the test set. Check the settings of both first.",
        _hunter(scores_first=True),
    ),
    (ONE_BY_ONE, _hunter(by_method=True)),
    (ONE_BY_ONE, _hunter(by_method=True, methods=("old", "new"))),
    (ONE_BY_ONE, lambda runs, reported: _hunter(by_method=True, methods=tuple(reported))(runs, reported)),
]

EXERCISE = Exercise(
    name="report_fault",
    lesson="14",
    minutes=10,
    difficulty=2,
    reference=report_fault,
    check=compare(report_fault, _reports, HUNT_MISTAKES, else_="One of the four verdicts is wrong:"),
    wrong=[
        (lambda runs, reported: None, "Is there a return"),
        (lambda runs, reported: report_fault(runs, reported) != "sound", "type"),
        (lambda runs, reported: "unequal effort", "One of the four verdicts is wrong"),
        (_without_tolerance, "math.isclose"),
    ],
    right=[_by_settings_of_the_runs, _by_tables],
    then="The cell below applies it to four comparisons.",
    hints=(
        "Group the runs by method. A fair comparison has equally many runs of each; choose_setting then "
        "gives the setting and the score that a method should have reported.",
        "1. the numbers of runs differ: unequal effort. 2. a reported setting is not choose_setting's: "
        "chosen on the test set. 3. a reported score is not choose_setting's: the best seed. 4. sound.",
    ),
)
