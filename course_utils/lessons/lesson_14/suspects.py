"""The comparisons of lesson 14's bug hunt. Read them after the hunt.

Nothing is trained: scores are random draws from fixed shares. The two methods are equally good.
"""

import numpy as np

from course_utils.lessons.lesson_14.selection import choose_setting

QUALITY = {1e-4: 0.55, 3e-4: 0.66, 1e-3: 0.70, 3e-3: 0.70, 1e-2: 0.70, 3e-2: 0.69, 1e-1: 0.64, 3e-1: 0.50}
QUESTIONS, SEEDS = 200, 2
TITLES = {
    "P": "the new method is chosen by its score on the judging questions",
    "Q": "the old method is tried at two rates, the new one at eight",
    "R": "the new method reports its best seed",
    "S": "a sound comparison",
}


def runs_of(method: str, rng, rates=tuple(QUALITY)) -> list[dict]:
    """Runs of a method: shares right of QUESTIONS questions, with SEEDS seeds at each rate."""
    return [
        {"method": method, "setting": rate, "seed": seed}
        | {name: rng.binomial(QUESTIONS, QUALITY[rate]) / QUESTIONS for name in ("choose", "judge")}
        for rate in rates
        for seed in range(SEEDS)
    ]


def comparison(name: str, seed: int):
    """(runs, reported) of one of the four: {method: (setting, score)} as its author reports them."""
    rng = np.random.default_rng(seed)
    few = (1e-4, 3e-4)
    old = runs_of("old", rng, few if name == "Q" else tuple(QUALITY))
    new = runs_of("new", rng)
    reported = {"old": choose_setting(old), "new": choose_setting(new)}
    if name == "P":
        turned = [{**run, "choose": run["judge"]} for run in new]
        reported["new"] = choose_setting(turned)
    if name == "R":
        setting = reported["new"][0]
        reported["new"] = setting, max(run["judge"] for run in new if run["setting"] == setting)
    return new + old, reported


def as_rows(runs: list[dict]) -> list[dict]:
    """The runs of a comparison as a table: a row for each rate, scores in per cent, both seeds in a cell."""
    rows = []
    for rate in sorted({run["setting"] for run in runs}):
        row = {"rate": f"{rate:g}"}
        for method in ("old", "new"):
            for name in ("choose", "judge"):
                of_rate = [run for run in runs if (run["method"], run["setting"]) == (method, rate)]
                row[f"{method}: {name}"] = "  ".join(f"{100 * run[name]:.1f}" for run in of_rate)
        rows.append(row)
    return rows


def lead(name: str, seed: int) -> float:
    """The reported advantage of the new method, as a share of the questions."""
    reported = comparison(name, seed)[1]
    return reported["new"][1] - reported["old"][1]


def shown_seed() -> int:
    """The first seed at which each comparison shows its fault, and the new method leads in all three."""
    return next(seed for seed in range(1000) if _shows(seed))


def _shows(seed):
    """Whether the setting or score of each faulty comparison differs from the sound choice."""
    for name in "PQR":
        runs, reported = comparison(name, seed)
        sound = choose_setting([run for run in runs if run["method"] == "new"])
        if lead(name, seed) <= 0.02 or (name == "P" and reported["new"][0] == sound[0]):
            return False
        if name == "R" and reported["new"][1] - sound[1] < 0.01:
            return False
    return True
