"""Exercises of lesson 14: choosing a setting, a bug hunt, an interval over questions and seeds, break-even,
what is not beaten, bytes by rule.
"""

from __future__ import annotations

import math
import random
import statistics

import numpy as np
import torch

from course_utils.checks.compare import Mistake, compare, unchanged
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_14.parts import choose_setting, difference_interval

SCORES = [  # {setting: (choose, judge) of its runs}: shares, and scores below 0
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
    """Both tables as rows in random order, all scores moved up by less than .1."""
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
    """A wrong choose_setting: the setting by score(values of choose), reported by its mean of judge."""

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
    "This is the setting of the best single run. One lucky seed decides then; compare means over the seeds."
)
SETTING_MISTAKES = [
    (
        "The setting has the largest sum over its runs, because it has more of them. Take means.",
        _setting_by(sum),
    ),
    (
        "The setting was chosen by the judging questions. Then the score that it gets on them "
        "is too good: they have been used up. Choose by `choose`.",
        _by_judge,
    ),
    (ONE_RUN, _best_run),
    (ONE_RUN, _setting_by(max)),
    (
        "This is the setting with the best median of `choose`. Compare means: a median of few seeds "
        "leaves out what the others did.",
        _setting_by(statistics.median),
    ),
    ("This is the setting of the best worst run. Compare means over the seeds.", _setting_by(min)),
    ("The setting has the lowest mean. Higher is better.", _lowest),
    (
        "The score is that of the choosing questions, of which this setting is the best of "
        "several. Report what it gets on the judging ones.",
        _report_by(lambda runs: statistics.mean(run["choose"] for run in runs)),
    ),
    (
        "The score is that of the setting's best run. Report the mean over its seeds.",
        _report_by(lambda runs: max(run["judge"] for run in runs)),
    ),
    (
        "The score is that of the setting's best run. Report the mean over its seeds.",
        _report_by(lambda runs: max(runs, key=lambda run: run["choose"])["judge"]),
    ),
    (
        "The score is a sum over the setting's runs. Report the mean.",
        _report_by(lambda runs: sum(run["judge"] for run in runs)),
    ),
]


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
    """Comparisons with each fault, in either of the two methods, sound ones, and two with two faults."""
    drawn = []
    for faulty, other in (("new", "old"), ("old", "new")):
        for fault in ("", "fewer settings", "a seed less", "test set", "best seed", "worst seed"):
            runs, reported = _report({"new": "", "old": ""} | {faulty: fault})
            random.shuffle(runs)
            drawn.append((runs, reported))
        drawn.append(_report({faulty: "best seed", other: "test set"}))
    random.shuffle(drawn)
    return drawn


def _report(faults):
    """(runs, reported) of methods, in their order, each with its fault or "". No two means are close."""
    choose = {"a": 0.50, "b": 0.72, "c": 0.66, "d": 0.58}
    judge = {"a": 0.52, "b": 0.67, "c": 0.75, "d": 0.60}
    up = 0.1 * random.random()
    spread = (-0.03, 0.04, 0.005)
    runs, reported = [], {}
    for method, fault in faults.items():
        own = [
            {"method": method, "setting": name, "seed": seed}
            | {"choose": choose[name] + up + off, "judge": judge[name] + up - off / 8}
            for name in choose
            for seed, off in enumerate(spread)
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
        reported[method] = setting, round(score, 12)  # another last digit than any mean has
    return runs, reported


def _differs(score, mean, judged):
    return abs(score - mean) > 1e-6


def _hunter(effort=len, test_set=True, best_seed=_differs, methods=("new", "old"), by_method=False):
    """A wrong report_fault: it misses a fault, looks at one method alone, or takes the first method's fault.

    effort: what is compared of each method's runs. best_seed: asked of (score, mean, scores of the seeds).
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
        return next(iter(found if by_method else sorted(found, key=VERDICTS.index)), "sound")

    return wrong


def _another_score(runs, reported):
    """Compares with the mean of `choose`, or without a tolerance: no sound report passes."""
    found = report_fault(runs, reported)
    return "the best seed" if found == "sound" else found


def _scores_first(runs, reported):
    """Looks at the scores before the settings."""
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
    """Counts settings and seeds apart; the same verdicts."""
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


BELOW = "A score below the mean over the seeds passes. The mean is what counts: any other score is a fault."
ONE_BY_ONE = (
    "You judge one method, then the other: a score of the first hides that the second was chosen on the test "
    "set. Look at the settings of both before the scores."
)
HUNT_MISTAKES = [
    ("Everything is called sound.", lambda runs, reported: "sound"),
    (
        "One method had fewer runs than the other, and the comparison passes. Count the runs of each first.",
        _hunter(effort=lambda runs: 0),
    ),
    (
        "One method lacks a seed at one setting, and it passes. Count the runs, not the settings.",
        _hunter(effort=lambda runs: len({run["setting"] for run in runs})),
    ),
    (
        "A setting that is best by `judge`, not by `choose`, passes. It was chosen on the test set.",
        _hunter(test_set=False),
    ),
    (
        "The best seed's score passes as the score. Compare with the mean of `judge` over the seeds.",
        _hunter(best_seed=lambda *scores: False),
    ),
    (BELOW, _hunter(best_seed=lambda score, mean, judged: score > mean + 1e-6)),
    (BELOW, _hunter(best_seed=lambda score, mean, judged: abs(score - max(judged)) < 1e-6)),
    ("Only the first method is looked at. The fault may be in either.", _hunter(methods=("new",))),
    ("Only the second method is looked at. The fault may be in either.", _hunter(methods=("old",))),
    ("`choose` and `judge` are the wrong way round: you call the sound report a fault.", _by_the_other_set),
    (
        'A sound report is called "the best seed". The score to compare with is the mean of `judge` at the '
        "chosen setting, and the last digits may differ: math.isclose.",
        _another_score,
    ),
    (
        'A setting that was chosen on the test set is called "the best seed": its score is another one, too. '
        "Look at the settings before the scores.",
        _scores_first,
    ),
    (ONE_BY_ONE, _hunter(by_method=True)),
    (ONE_BY_ONE, _hunter(by_method=True, methods=("old", "new"))),
    (ONE_BY_ONE, lambda runs, reported: _hunter(by_method=True, methods=tuple(reported))(runs, reported)),
]


def _scores(seeds, questions, gap, luck):
    """Scores of two methods, from what questions and seeds (luck) add; their seeds are unrelated."""
    hard = 0.9 * torch.randn(questions)  # common to both
    sides = []
    lasting = torch.randn(2, seeds)
    lasting = torch.linalg.qr((lasting - lasting.mean(1, keepdim=True)).T)[0].T  # unrelated, of norm 1
    for effect in lasting:
        own = 0.35 * torch.randn(questions)
        noise = 0.05 * torch.randn(seeds, questions)
        sides.append(0.5 + hard + own + luck * effect[:, None] + noise)
    return sides[0] + gap, sides[1]


def _check_difference_interval(fn):
    # what other questions do counts for more in the first, and what other seeds do in the second; the first
    # has so few seeds that questions of their own would show
    tried = []
    for seeds, questions, gap, luck in [(3, 60, 0.3, 0.085), (8, 45, -0.4, 0.72)]:
        ours, theirs = _scores(seeds, questions, gap, luck)
        with unchanged(ours=ours, theirs=theirs):
            result, again = (fn(ours, theirs, draws=4000, seed=1) for _ in range(2))
        mean, low, high = _three_numbers(result)
        _expect_mean(mean, (ours.mean() - theirs.mean()).item())
        if low > high:
            raise Mistake("The interval's ends are the wrong way round: low first.")
        if _three_numbers(again) != (mean, low, high):
            raise Mistake(
                "Two calls with one seed give two intervals. Draw with a generator that is made of the seed."
            )
        tried.append((low, high, ours, theirs))
    _expect_intervals(tried)
    _expect_seeds_of_each(fn, ours, theirs)
    _, low, high = _three_numbers(fn(ours, theirs, draws=1, seed=1))
    if high - low > 1e-6:
        raise Mistake("With draws=1 there is one mean, and both ends are it. Use the argument `draws`.")


def _expect_seeds_of_each(fn, ours, theirs):
    """Five of eight seeds of theirs, and the worst five of ours first: who draws no other seeds is seen."""
    ours, fewer = ours[ours.mean(1).argsort()], theirs[:5]
    wrong = Mistake(
        "The numbers of seeds may differ. Draw seeds for each method alone, take its mean over them, then "
        "the difference."
    )
    try:
        result = fn(ours, fewer, draws=4000, seed=1)
    except (IndexError, RuntimeError, ValueError):
        raise wrong from None
    mean, *ends = _three_numbers(result)
    _expect_mean(mean, (ours.mean() - fewer.mean()).item())
    if _distance(ends, _interval()(ours, fewer, 20_000, 2)[1:]) > 0.065:
        raise wrong


def _three_numbers(result):
    if not isinstance(result, (tuple, list)) or len(result) != 3 or any(value is None for value in result):
        raise Mistake("Return three numbers: the difference of the means, and the interval's two ends.")
    numbers = tuple(float(value) for value in result)
    if not all(map(math.isfinite, numbers)):
        raise Mistake(f"All three should be finite numbers, and they are {numbers}.")
    return numbers


def _expect_mean(mean, right):
    if abs(mean + right) < 1e-5:
        raise Mistake("The sign is the other way round: ours minus theirs, so that above 0 ours is better.")
    if abs(mean - right) > 1e-5:
        raise Mistake(
            "The first value should be the difference of the means as measured, not of one draw or "
            f"of all draws: {right:.5f}, and it is {mean:.5f}."
        )


def _distance(ends, others):
    """The larger distance of two ends from those of another interval, over its width."""
    return max(abs(end - other) for end, other in zip(ends, others, strict=True)) / (others[1] - others[0])


def _expect_intervals(tried):
    """[(low, high, ours, theirs)]; 4,000 draws move an end by about a hundredth of the width."""
    rights = [_interval()(ours, theirs, 20_000, 2)[1:] for _, _, ours, theirs in tried]
    if all(_distance(ends[:2], right) < 0.065 for ends, right in zip(tried, rights, strict=True)):
        return
    low, high, right = *tried[0][:2], rights[0]
    if high - low < 0.02 * (right[1] - right[0]):
        raise Mistake(
            "Every draw is nearly the same. Draw with replacement: some questions twice, some not at all; "
            "in a mere reordering the mean stays. Or is the generator made anew in each draw?"
        )
    distances = {
        message: sum(
            _distance((low, high), wrong(ours, theirs, 8000, 2)[1:]) for low, high, ours, theirs in tried
        )
        for message, wrong in INTERVAL_MISTAKES
    }
    message = min(distances, key=distances.get)
    if distances[message] < 0.1:
        raise Mistake(message)
    raise Mistake(
        f"The interval should be near {right[0]:.3f} to {right[1]:.3f} and is {low:.3f} to {high:.3f}."
    )


def _interval(cut=0.025, questions=True, seeds=True, paired=True, size=1.0, one_seed=False, around=0.0):
    """A difference_interval by settings: what is drawn again, of which size, and what is cut off.

    All draws at once: how often each question and seed is drawn are the weights of a mean.
    """

    def made(ours, theirs, draws=2000, seed=0):
        generator = torch.Generator().manual_seed(seed)

        def weights(count, again=True, share=1.0):  # [draws, count]
            if not again:
                return torch.full((draws, count), 1 / count)
            drawn = max(1, int(share * count))
            picks = torch.randint(count, (draws, drawn), generator=generator)
            return torch.zeros(draws, count).scatter_add_(1, picks, torch.ones(draws, drawn)) / drawn

        asked = weights(ours.shape[1], questions, size)
        others = asked if paired else weights(ours.shape[1], questions, size)
        mine = weights(len(ours), seeds)
        same = mine if one_seed else weights(len(theirs), seeds)
        means = (mine @ ours * asked).sum(1) - (same @ theirs * others).sum(1)
        mean = (ours.mean() - theirs.mean()).item()
        low, high = (means - around * mean).quantile(torch.tensor([cut, 1 - cut]))
        return mean, low.item(), high.item()

    return made


def _single_answers(ours, theirs, draws=2000, seed=0):
    """Draws answers as if each came from a question and a seed of its own."""
    generator = torch.Generator().manual_seed(seed)
    difference = (ours - theirs).flatten()
    picks = torch.randint(len(difference), (draws, len(difference)), generator=generator)
    low, high = difference[picks].mean(1).quantile(torch.tensor([0.025, 0.975]))
    return difference.mean().item(), low.item(), high.item()


def _of_questions(ours, theirs, draws=2000, seed=0):
    difference = ours.mean(0) - theirs.mean(0)
    low, high = difference.quantile(torch.tensor([0.025, 0.975]))
    return difference.mean().item(), low.item(), high.item()


def _questions_for_each_seed(ours, theirs, draws=2000, seed=0):
    generator = torch.Generator().manual_seed(seed)
    sides = []
    for scores in (ours, theirs):
        rows = scores[torch.randint(len(scores), (draws, len(scores)), generator=generator)]
        picks = torch.randint(scores.shape[1], rows.shape, generator=generator)  # [draws, seeds, questions]
        sides.append(rows.gather(2, picks).mean((1, 2)))
    low, high = (sides[0] - sides[1]).quantile(torch.tensor([0.025, 0.975]))
    return (ours.mean() - theirs.mean()).item(), low.item(), high.item()


def _no_replacement(ours, theirs, draws=2000, seed=0):
    generator = torch.Generator().manual_seed(seed)
    means = torch.stack(
        [(ours - theirs)[:, torch.randperm(ours.shape[1], generator=generator)].mean() for _ in range(50)]
    )
    low, high = means.quantile(torch.tensor([0.025, 0.975]))
    return (ours.mean() - theirs.mean()).item(), low.item(), high.item()


def _new_generators(ours, theirs, draws=2000, seed=0):
    means = torch.stack([torch.tensor(difference_interval(ours, theirs, 1, seed)[1]) for _ in range(50)])
    low, high = means.quantile(torch.tensor([0.025, 0.975]))
    return (ours.mean() - theirs.mean()).item(), low.item(), high.item()


def _seeds_of_theirs(ours, theirs, draws=2000, seed=0):
    """Draws as many seeds of both as theirs has."""
    _, low, high = _interval()(ours[: len(theirs)], theirs, draws, seed)
    return (ours.mean() - theirs.mean()).item(), low, high


def _of_draws(ours, theirs, draws=2000, seed=0):
    _, low, high = _interval()(ours, theirs, draws, seed)
    return (low + high) / 2 + 0.02 * (high - low), low, high


def _unseeded(ours, theirs, draws=2000, seed=0):
    return _interval()(ours, theirs, draws, torch.seed() % 2**32)


def _fixed_draws(ours, theirs, draws=2000, seed=0):
    return _interval()(ours, theirs, 4000, seed)


def _in_place(ours, theirs, draws=2000, seed=0):
    ours += 1e-3
    return _interval()(ours, theirs, draws, seed)


def _absolute(ours, theirs, draws=2000, seed=0):
    mean, low, high = _interval()(ours, theirs, draws, seed)
    return abs(mean), min(abs(low), abs(high)), max(abs(low), abs(high))


def _turned_ends(ours, theirs, draws=2000, seed=0):
    mean, low, high = _interval()(ours, theirs, draws, seed)
    return mean, high, low


def _interval_with_numpy(ours, theirs, draws=2000, seed=0):
    ours, theirs, rng = ours.numpy(), theirs.numpy(), np.random.default_rng(seed)
    means = []
    for _ in range(draws):
        picks = rng.integers(ours.shape[1], size=ours.shape[1])
        mine, other = (rng.integers(len(each), size=len(each)) for each in (ours, theirs))
        means.append(ours[np.ix_(mine, picks)].mean() - theirs[np.ix_(other, picks)].mean())
    return [ours.mean() - theirs.mean(), *np.percentile(means, [2.5, 97.5])]


INTERVAL_MISTAKES = [
    (
        "The seeds are left out: this says how far other questions would have moved the difference, not "
        "what other trainings would. Draw seeds too.",
        _interval(seeds=False),
    ),
    (
        "The questions are left out: only seeds are drawn. Other questions give other scores too.",
        _interval(questions=False),
    ),
    (
        "The two are given questions of their own in each draw. Then an easy draw for the one meets a "
        "hard one for the other. Draw the questions once, and take both scores of each.",
        _interval(paired=False),
    ),
    (
        "Each seed is given questions of its own. In each draw, draw the questions once, for all seeds and "
        "both methods.",
        _questions_for_each_seed,
    ),
    (
        "Single answers are drawn, as if each came from a training and a question of its own. Draw whole "
        "seeds and whole questions.",
        _single_answers,
    ),
    ("This holds 90% of the draws: 5% are cut off at each end. For 95% cut off 2.5%.", _interval(cut=0.05)),
    (
        "This holds 99% of the draws: 0.5% are cut off at each end. For 95% cut off 2.5%.",
        _interval(cut=0.005),
    ),
    ("This is one standard error to each side, which holds two thirds of the draws.", _interval(cut=0.1587)),
    ("Each draw has half of the questions: draw as many as there are.", _interval(size=0.5)),
    ("This is the spread of single questions. The interval is that of the mean over them.", _of_questions),
    (
        "The interval is around 0, that of a difference that has been taken off. It belongs around the "
        "measured difference.",
        _interval(around=1.0),
    ),
]


def not_beaten(methods):
    """Names that no other is as good as on both and better on one. methods: {name: (quality, cost)}."""

    def beaten(name):
        quality, cost = methods[name]
        return any(
            other_quality >= quality and other_cost <= cost and (other_quality, other_cost) != (quality, cost)
            for other_quality, other_cost in methods.values()
        )

    return [name for name in methods if not beaten(name)]


def _fronts():
    """Methods in random order; in both sets two are equal, and some are beaten on one value alone."""
    first = {"a": (0.5, 1), "b": (0.9, 8), "c": (0.9, 9), "d": (0.7, 3), "e": (0.6, 4), "f": (0.7, 3)}
    second = {
        "LoRA": (-0.2, 60.5),
        "QLoRA": (-0.25, 60.5),
        "full": (-0.1, 240.0),
        "prompting": (-1.5, 0.0),
        "DPO": (-0.1, 300.0),
        "twin": (-0.1, 240.0),
        "tiny": (-1.4, 2.5),
        "slow": (-1.4, 2.6),
        "none": (-1.6, 0.5),
    }
    for methods in (first, second):
        names = random.sample(list(methods), len(methods))
        yield ({name: methods[name] for name in names},)


def _names(found):
    if found is None or isinstance(found, str):
        raise Mistake("Return a list of names.")
    found = list(found)
    wrong = next((name for name in found if not isinstance(name, str)), None)
    if wrong is not None:
        raise Mistake(f"Names only, please; there is {wrong!r} among them.")
    if len(set(found)) < len(found):
        raise Mistake("A name is in your list twice.")
    return ", ".join(sorted(found))


def _keep(beaten):
    """A wrong not_beaten: names of which beaten(quality, cost, other's quality, other's cost) never holds."""
    return lambda methods: [
        name for name, pair in methods.items() if not any(beaten(*pair, *other) for other in methods.values())
    ]


def _best_only(methods):
    most = max(methods.values(), key=lambda pair: (pair[0], -pair[1]))
    return [name for name, pair in methods.items() if pair == most]


def _cheapest_only(methods):
    least = min(cost for _, cost in methods.values())
    return [name for name, (_, cost) in methods.items() if cost == least]


def _no_twins(methods):
    first = {methods[name]: name for name in reversed(not_beaten(methods))}
    return list(first.values())


def _neither_twin(methods):
    pairs = list(methods.values())
    return [name for name in not_beaten(methods) if pairs.count(methods[name]) == 1]


def _the_beaten(methods):
    return [name for name in methods if name not in not_beaten(methods)]


def _front_as_set(methods):
    kept = set(methods)
    for name, (quality, cost) in methods.items():
        for other, (other_quality, other_cost) in methods.items():
            if (other_quality > quality and other_cost <= cost) or (
                other_quality >= quality and other_cost < cost
            ):
                kept -= {name}
                assert other != name
    return kept


def _front_by_sorting(methods):
    kept = []
    for name in sorted(methods, key=lambda name: (methods[name][1], -methods[name][0])):
        if not kept or methods[name][0] > methods[kept[-1]][0] or methods[name] == methods[kept[-1]]:
            kept.append(name)
    return tuple(kept)


ONE_IS_ENOUGH = (
    "A method that is as good as another and costs more is beaten, and so is one that costs as much and is "
    "worse. It takes better on one and no worse on the other, not better on both."
)
NOTHING = (
    "Nothing is left. Was each method compared with itself, too? It equals itself. Or is one better value "
    "enough to strike a method off? The other must be no worse."
)
TWINS = "Two methods are equal in both. Neither is better than the other, so both stay."
FRONT_MISTAKES = [
    (ONE_IS_ENOUGH, _keep(lambda q, c, other_q, other_c: other_q > q and other_c < c)),
    (ONE_IS_ENOUGH, _keep(lambda q, c, other_q, other_c: other_q > q and other_c <= c)),
    (ONE_IS_ENOUGH, _keep(lambda q, c, other_q, other_c: other_q >= q and other_c < c)),
    (NOTHING, _keep(lambda q, c, other_q, other_c: other_q >= q and other_c <= c)),
    (NOTHING, _keep(lambda q, c, other_q, other_c: other_q > q or other_c < c)),
    ("These are the beaten ones. Return the others.", _the_beaten),
    (
        "Only the best quality is left. One that is worse and cheaper stays: nothing beats it on both.",
        _best_only,
    ),
    ("Only the cheapest is left: the cost counts as if quality did not.", _cheapest_only),
    (
        "Less cost is better, and here more of it is: turn that comparison round.",
        _keep(lambda q, c, o, d: o >= q and d >= c and (o, d) != (q, c)),
    ),
    (
        "More quality is better, and here less of it is: turn that comparison round.",
        _keep(lambda q, c, o, d: o <= q and d <= c and (o, d) != (q, c)),
    ),
    (TWINS, _no_twins),
    (TWINS, _neither_twin),
]
_compare_fronts = compare(
    lambda methods: _names(not_beaten(methods)),
    _fronts,
    [(message, lambda methods, wrong=wrong: _names(wrong(methods))) for message, wrong in FRONT_MISTAKES],
    else_="A name stays where no other method is at least as good, at most as dear and not the same in both.",
)


def _check_not_beaten(fn):
    """Any order, and any collection of names."""
    _compare_fronts(lambda methods: _names(fn(methods)))


def break_even_answers(runs, run_price, labels, label_price, tuned, other):
    """Answers from which tuning has cost no more; math.inf if none. tuned, other: the price of one answer."""
    once = runs * run_price + labels * label_price
    return math.ceil(once / (other - tuned)) if other > tuned else math.inf


BREAK_EVEN_INPUTS = [  # all prices in thousandths of a cent
    (9, 40_000, 500, 100_000, 30, 130),
    (8, 1_250, 101, 2_000, 7, 43),
    (1, 999, 3, 8, 0, 17),
    (12, 3_000, 40, 50, 120, 121),
    (5, 77, 11, 13, 2, 5),
]


def _break_even(
    once=lambda runs, price, labels, label: runs * price + labels * label, each=None, whole=math.ceil
):
    """A wrong break_even_answers: what is paid once, what an answer saves, and the rounding."""
    saved = each or (lambda tuned, other: other - tuned)
    return lambda runs, price, labels, label, tuned, other: whole(
        once(runs, price, labels, label) / saved(tuned, other)
    )


BREAK_EVEN_MISTAKES = [
    (
        "One training is counted. The sweep has to be paid too: `runs` trainings.",
        _break_even(lambda r, p, n, q: p + n * q),
    ),
    ("The labels are left out. Somebody has to write the examples.", _break_even(lambda r, p, n, q: r * p)),
    ("The trainings are left out: only labels are paid.", _break_even(lambda r, p, n, q: n * q)),
    (
        "The labels are paid again for each training. They are written once.",
        _break_even(lambda r, p, n, q: r * (p + n * q)),
    ),
    ("One label is paid, and there are `labels` of them.", _break_even(lambda r, p, n, q: r * p + q)),
    (
        "A tuned answer costs something too: what an answer saves is other - tuned.",
        _break_even(each=lambda tuned, other: other),
    ),
    (
        "The two prices of an answer are added. What counts is what an answer saves: other - tuned.",
        _break_even(each=lambda tuned, other: other + tuned),
    ),
    (
        "The difference is the wrong way round: what an answer saves is other - tuned.",
        _break_even(each=lambda tuned, other: tuned - other),
    ),
    (
        "This is one answer before it has paid off: there the other still costs a little less. Round up.",
        _break_even(whole=math.floor),
    ),
    (
        "Rounded to the nearest number. Before a whole one the other costs less: round up.",
        _break_even(whole=round),
    ),
    (
        "Where it comes out even, that number is reached already: one more is too many. math.ceil rounds "
        "up only where there is something to round.",
        _break_even(whole=lambda answers: math.floor(answers) + 1),
    ),
    ("This is not a whole number of answers. Round up.", _break_even(whole=float)),
]

_compare_break_even = compare(
    break_even_answers,
    BREAK_EVEN_INPUTS,
    BREAK_EVEN_MISTAKES,
    else_="Once: all trainings and all labels. With each answer other - tuned is saved.",
)


def _check_break_even(fn):
    _compare_break_even(fn)
    for tuned, other in ((40, 40), (70, 20)):
        try:
            answers = fn(9, 100, 10, 5, tuned, other)
        except ZeroDivisionError:
            raise Mistake(
                "Where a tuned answer costs as much as the other, you divide by 0. Return math.inf there."
            ) from None
        if answers is None or not isinstance(answers, (int, float)) or answers != math.inf:
            raise Mistake(
                "Where a tuned answer costs as much as the other or more, it never pays: return math.inf, "
                f"not {answers}."
            )


_check_break_even.mistakes = _compare_break_even.mistakes


def _with_whole_numbers(runs, run_price, labels, label_price, tuned, other):
    saved = other - tuned
    return -(-(runs * run_price + labels * label_price) // saved) if saved > 0 else float("inf")


def _with_numpy_ceil(runs, run_price, labels, label_price, tuned, other):
    if tuned >= other:
        return np.inf
    return np.ceil(np.dot([runs, labels], [run_price, label_price]) / (other - tuned))


def bytes_by_rule(parameters, adapter, method):
    """Bytes of weights, gradients and moments. method: full, lora or qlora; adapter: number of its values."""
    if method == "full":
        return 16 * parameters
    base = {"lora": 2, "qlora": 4.127 / 8}[method]
    return base * parameters + 16 * adapter


BYTES_INPUTS = [
    (parameters, adapter, method)
    for parameters, adapter in [(1_000_000_000, 1_000_000), (7_615_616_512, 40_370_176), (3_000_000, 32_768)]
    for method in ("full", "lora", "qlora")
]


def _bytes(method, fault):
    """A wrong bytes_by_rule: fault(parameters, adapter) for one method."""
    return lambda parameters, adapter, name: (
        fault(parameters, adapter) if name == method else bytes_by_rule(parameters, adapter, name)
    )


def _all_bytes(full, lora, qlora, adapter_cost):
    """A wrong bytes_by_rule: bytes a parameter under each method, and bytes a value of the adapter."""
    costs = {"full": full, "lora": lora, "qlora": qlora}
    return lambda parameters, adapter, method: (
        costs[method] * parameters + (adapter_cost * adapter if method != "full" else 0)
    )


MOMENT = "Full: 12 bytes a parameter. Either one of Adam's two moments is missing, or the gradient."
NO_MOMENTS = "Full: weights alone, or weights and gradients. Adam keeps two moments for each value."
FROZEN = "LoRA: frozen weights have no gradient and no moments. Only the adapter has."
ADAPTER = "LoRA: the adapter's values are trained, so each takes a weight, a gradient and two moments."
EACH_ADAPTER = "The adapter's values are trained, so each takes a weight, a gradient and two moments."
BYTES_MISTAKES = [
    (MOMENT, _bytes("full", lambda n, a: 12 * n)),
    (MOMENT, _all_bytes(12, 2, 4.127 / 8, 12)),
    (NO_MOMENTS, _bytes("full", lambda n, a: 8 * n)),
    (NO_MOMENTS, _bytes("full", lambda n, a: 4 * n)),
    (NO_MOMENTS, _all_bytes(4, 2, 4.127 / 8, 4)),
    (NO_MOMENTS, _all_bytes(8, 2, 4.127 / 8, 8)),
    ("Full fine-tuning has no adapter.", _bytes("full", lambda n, a: 16 * (n + a))),
    (
        "LoRA: its base is held in 16 bits here, 2 bytes a parameter.",
        _bytes("lora", lambda n, a: 4 * n + 16 * a),
    ),
    (FROZEN, _bytes("lora", lambda n, a: 16 * n + 16 * a)),
    (FROZEN, _bytes("lora", lambda n, a: 14 * n + 16 * a)),
    (EACH_ADAPTER, _all_bytes(16, 2, 4.127 / 8, 4)),
    (EACH_ADAPTER, _all_bytes(16, 2, 4.127 / 8, 0)),
    (ADAPTER, _bytes("lora", lambda n, a: 2 * n)),
    (ADAPTER, _bytes("lora", lambda n, a: 2 * n + 2 * a)),
    (ADAPTER, _bytes("lora", lambda n, a: 2 * n + 4 * a)),
    (
        "QLoRA: each block of 64 has a scale, 0.127 bit a weight when it is quantised, too. (4.127 bits.)",
        _bytes("qlora", lambda n, a: 0.5 * n + 16 * a),
    ),
    ("QLoRA: 4.127 are bits. Eight of them make a byte.", _bytes("qlora", lambda n, a: 4.127 * n + 16 * a)),
    (
        "QLoRA: its adapter is trained as LoRA's is, 16 bytes a value.",
        _bytes("qlora", lambda n, a: 4.127 / 8 * (n + a)),
    ),
    (
        "These are bits, or 8 bits were taken for something else: everything is 8 times too large.",
        lambda n, a, method: 8 * bytes_by_rule(n, a, method),
    ),
]


def _bytes_in_cases(parameters, adapter, method):
    trained = parameters if method == "full" else adapter
    frozen_bits = {"full": 0, "lora": 16, "qlora": 4.127}[method]
    return torch.tensor(trained * 4 * 4 + frozen_bits * parameters / 8)


def _bytes_with_numpy(parameters, adapter, method):
    if method == "full":
        return np.float64(parameters) * np.dtype("float32").itemsize * 4
    return (2.0 if method == "lora" else 0.515875) * np.float64(parameters) + 16 * adapter


EXERCISES = [
    Exercise(
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
            "Questions that picked the winner flatter it. So pick by one set, over all seeds, and report "
            "the other.",
            "Group the rows by setting; means of `choose` and `judge` in each group; the setting with the "
            "highest mean of `choose`, and its mean of `judge`.",
        ),
    ),
    Exercise(
        name="report_fault",
        lesson="14",
        minutes=10,
        difficulty=2,
        reference=report_fault,
        check=compare(report_fault, _reports, HUNT_MISTAKES, else_="One of the four verdicts is wrong."),
        wrong=[
            (lambda runs, reported: None, "Is there a return"),
            (lambda runs, reported: report_fault(runs, reported) != "sound", "type"),
            (lambda runs, reported: "unequal effort", "One of the four verdicts is wrong"),
            (_without_tolerance, "math.isclose"),
        ],
        right=[_by_settings_of_the_runs, _by_tables],
        then="The cell below asks it about four comparisons.",
        hints=(
            "Group the runs by method. A fair comparison has as many runs of each; and then choose_setting "
            "says which setting and which score a method should have reported.",
            "1. the numbers of runs differ: unequal effort. 2. a reported setting is not choose_setting's: "
            "chosen on the test set. 3. a reported score is not choose_setting's: the best seed. 4. sound.",
        ),
    ),
    Exercise(
        name="difference_interval",
        lesson="14",
        minutes=14,
        difficulty=3,
        reference=difference_interval,
        check=_check_difference_interval,
        wrong=[
            *((wrong, message) for message, wrong in INTERVAL_MISTAKES),
            (_no_replacement, "with replacement"),
            (_new_generators, "made anew in each draw"),
            (_interval(one_seed=True), "The numbers of seeds may differ"),
            (_seeds_of_theirs, "The numbers of seeds may differ"),
            (_interval(size=0.05), "The interval should be near"),
            (lambda a, b, draws, seed: _interval()(b, a, draws, seed), "other way round"),
            (_absolute, "other way round"),
            (_turned_ends, "low first"),
            (_of_draws, "not of one draw"),
            (_unseeded, "Two calls with one seed"),
            (_fixed_draws, "Use the argument `draws`"),
            (_in_place, "ours was changed"),
            (lambda a, b, draws, seed: _interval()(a, b, draws, seed)[1:], "Return three numbers"),
            (lambda a, b, draws, seed: (0.05, 0.04, 0.06), "as measured"),
        ],
        right=[_interval_with_numpy, _interval()],
        then="All intervals below are yours: run the cells below again.",
        hints=(
            "Pretend to repeat the whole experiment: other questions, other trainings. Draw as many "
            "questions as there are, with replacement, the same for both methods; draw as many seeds as "
            "there are for each method; take the difference of the means; many times.",
            "torch.randint(n, (n,), generator=...) draws n of n. ours[seeds][:, questions].mean() minus "
            "theirs[other_seeds][:, questions].mean() is one draw. Their quantiles at .025 and .975 are the "
            "ends. The first value is the difference of the means themselves.",
        ),
    ),
    Exercise(
        name="not_beaten",
        lesson="14",
        minutes=6,
        difficulty=2,
        reference=not_beaten,
        check=_check_not_beaten,
        wrong=[
            *((wrong, message) for message, wrong in FRONT_MISTAKES),
            (lambda methods: None, "Return a list of names"),
            (lambda methods: [methods[name] for name in not_beaten(methods)], "Names only"),
            (lambda methods: not_beaten(methods) * 2, "twice"),
            (lambda methods: ["a", "b", "d", "f"], "A name stays where"),
            (list, "A name stays where"),
        ],
        right=[_front_as_set, _front_by_sorting],
        hints=(
            "A method can be struck off if another is at least as good and at most as dear, and is not the "
            "same in both.",
            "For each name look at all (quality, cost) pairs: beaten where quality is >= and cost is <= and "
            "the pairs differ. Keep the names that are not beaten.",
        ),
    ),
    Exercise(
        name="break_even_answers",
        lesson="14",
        minutes=8,
        difficulty=2,
        reference=break_even_answers,
        check=_check_break_even,
        wrong=[
            (lambda *prices: None, "Is there a return"),
            (_break_even(lambda r, p, n, q: (r + 2) * p + n * q), "Once: all trainings"),
            (_break_even(), "Return math.inf there"),
            (lambda *p: break_even_answers(*p) if p[5] > p[4] else 0, "it never pays"),
            (lambda *p: break_even_answers(*p) if p[5] > p[4] else None, "it never pays"),
        ],
        right=[_with_whole_numbers, _with_numpy_ceil],
        hints=(
            "Some things are paid once, some with every answer. After how many answers has what each "
            "of them saves made up for what was paid once?",
            "once = runs * run_price + labels * label_price; each answer saves other - tuned; the quotient, "
            "rounded up; math.inf where nothing is saved.",
        ),
    ),
    Exercise(
        name="bytes_by_rule",
        lesson="14",
        minutes=6,
        difficulty=1,
        reference=bytes_by_rule,
        check=compare(
            bytes_by_rule,
            BYTES_INPUTS,
            BYTES_MISTAKES,
            else_="What is trained takes 16 bytes a value, what is frozen 2 (LoRA) or 4.127 / 8 (QLoRA).",
        ),
        wrong=[
            (lambda n, a, method: None, "Is there a return"),
            (_bytes("lora", lambda n, a: None), "Is there a return"),
            (_bytes("full", lambda n, a: 18 * n), "takes 16 bytes a value"),
            (_bytes("qlora", lambda n, a: n + 16 * a), "takes 16 bytes a value"),
        ],
        right=[_bytes_in_cases, _bytes_with_numpy],
        hints=(
            "What is trained takes a weight, a gradient and two moments, 4 bytes each. What is frozen takes "
            "its weight, in as few bits as it is held in.",
            "full: 16 * parameters. lora: 2 * parameters + 16 * adapter. qlora: 4.127 / 8 * parameters + 16 "
            "* adapter.",
        ),
    ),
]
