"""What the learner of lesson 14 writes, and other code takes: the best setting, a difference's interval."""

import torch


def choose_setting(rows):
    """(setting, score to report) of runs {"setting", "choose", "judge"}, several seeds a setting."""
    means = {}
    for setting in {row["setting"] for row in rows}:
        runs = [row for row in rows if row["setting"] == setting]
        means[setting] = [sum(run[name] for run in runs) / len(runs) for name in ("choose", "judge")]
    best = max(means, key=lambda setting: means[setting][0])
    return best, means[best][1]


def difference_interval(ours, theirs, draws=2000, seed=0):
    """(difference of means, low, high): a 95% bootstrap interval; ours, theirs: scores [seeds, questions]."""
    generator = torch.Generator().manual_seed(seed)

    def draw(count):
        return torch.randint(count, (count,), generator=generator)

    means = torch.empty(draws)
    for number in range(draws):
        picks = draw(ours.shape[1])  # the same questions for both
        mean = ours[draw(len(ours))][:, picks].mean()
        means[number] = mean - theirs[draw(len(theirs))][:, picks].mean()  # each with seeds of its own
    low, high = means.quantile(torch.tensor([0.025, 0.975]))
    return (ours.mean() - theirs.mean()).item(), low.item(), high.item()
