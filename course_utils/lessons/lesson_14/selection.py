"""Lesson 14's exercise that other code uses: the best setting."""


def choose_setting(rows):
    """(setting, score to report) of runs {"setting", "choose", "judge"}, several seeds a setting."""
    means = {}
    for setting in {row["setting"] for row in rows}:
        runs = [row for row in rows if row["setting"] == setting]
        means[setting] = [sum(run[name] for run in runs) / len(runs) for name in ("choose", "judge")]
    best = max(means, key=lambda setting: means[setting][0])
    return best, means[best][1]
