"""Scores over the iterations of a training, and over the distance from the reference."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import to_rgb
from matplotlib.ticker import MaxNLocator

from course_utils.drawing import CELL, CELL_WIDTH, ROOM, Picture, shown_number
from course_utils.lessons.lesson_12.experiments import iterations_of
from course_utils.lessons.lesson_12.over_kl import mean_path
from course_utils.methods.ppo import gae
from course_utils.plots import COLOURS, WIDTH, bands, coloured_text, figure

RISES, FALLS = "#7A4EA3", COLOURS[5]  # purple and ochre: in pictures they mean nothing else
SCORE_LABELS = {"proxy": "proxy (reward model)", "gold": "gold score", "kl": "KL (nats per answer)"}


GAUGES = {
    "kl": "KL (nats per answer)",
    "length": "length (tokens per answer)",
    "entropy": "entropy (nats per token)",
    "clipped": "share of tokens outside the clip",
    "value_loss": "value loss",
    "moved": "moved in one update (nats per token)",
}


def gauges(settings: Mapping[str, Sequence[Mapping]], title: str) -> None:
    """What one watches in training, a panel each: mean by iteration and a band over the seeds.

    settings: {name: runs of experiments.followed_ppo}.
    """
    fig, axes = figure(title, "iteration", "", columns=len(GAUGES))
    fig.set_size_inches(WIDTH, 5.7)
    for ax, (name, label) in zip(axes, GAUGES.items(), strict=True):
        series = {
            setting: {i: [run[f"{name}_{i}"] for run in runs] for i in iterations_of(runs[0], name)}
            for setting, runs in settings.items()
        }
        bands(series, "", "", "", ax=ax)
        if ax.get_legend():
            ax.get_legend().remove()
        ax.set_title(label, fontsize=9)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    names_below(fig)


def with_and_without(settings: Mapping[str, Sequence[Mapping]], title: str) -> None:
    """KL, on a logarithmic axis, and gold score by iteration: the mean over the seeds, each seed pale.

    settings: {name: runs of experiments.followed_ppo}. The KL of the start, 0, is not drawn.
    """
    fig, axes = figure(title, "iteration", "", columns=2)
    for ax, score in zip(axes, ("kl", "gold"), strict=True):
        for (name, runs), colour in zip(settings.items(), COLOURS, strict=False):
            seen = [i for i in iterations_of(runs[0]) if i or score != "kl"]
            for run in runs:
                values = [run[f"{score}_{i}"] for i in seen]
                ax.plot(seen, values, color=colour, alpha=0.4, linewidth=0.9)
            means = [sum(run[f"{score}_{i}"] for run in runs) / len(runs) for i in seen]
            ax.plot(seen, means, "-o", color=colour, markersize=4, label=name)
        ax.set_ylabel(SCORE_LABELS[score])
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].set_yscale("log")
    axes[1].set_ylim(bottom=0)
    names_below(fig)


KL_TICKS = (0, 1, 5, 10, 20, 40, 80, 160)


def paths(
    settings: Mapping[str, Sequence[Mapping]],
    title: str,
    points: Mapping[str, Sequence[Mapping[str, float]]] | None = None,
) -> None:
    """Proxy and gold score over the KL while training goes on: the mean over the seeds, each seed pale.

    settings: {name: runs of experiments.followed_ppo}; the marks are the checkpoints. points: others by name,
    {"kl", "proxy", "gold"} each. The axis is one of the root of the KL, labelled with the KL. The names stand
    below the panels.
    """
    fig, axes = figure(title, "KL (nats per answer)", "", columns=2)
    for ax, score in zip(axes, ("proxy", "gold"), strict=True):
        for (name, runs), colour in zip(settings.items(), COLOURS, strict=False):
            for run in runs:
                seen = iterations_of(run)
                kl, values = ([run[f"{key}_{i}"] for i in seen] for key in ("kl", score))
                ax.plot(kl, values, color=colour, alpha=0.4, linewidth=0.9)
            ax.plot(
                mean_path(runs, "kl"), mean_path(runs, score), "-o", color=colour, markersize=4, label=name
            )
        for (name, several), marker in zip((points or {}).items(), itertools.cycle("*X"), strict=False):
            ax.plot(
                [point["kl"] for point in several],
                [point[score] for point in several],
                marker,
                color=COLOURS[-1],
                markersize=9,
                label=name,
            )
        ax.set_ylabel(SCORE_LABELS[score])
        ax.set_xscale("function", functions=(lambda kl: np.sqrt(np.maximum(kl, 0)), np.square))
        ax.set_xlim(left=0)
        ax.set_xticks([kl for kl in KL_TICKS if kl <= ax.get_xlim()[1]])
    names_below(fig)


def names_below(fig) -> None:
    """One legend for all panels, below them."""
    for legend in fig.legends:
        legend.remove()
    fig.legend(*fig.axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=3)


def credited(tokens: Sequence[str], changes: Sequence[float], title: str) -> None:
    """A text with a number for each token as its colour, darker if larger; its sign stands below."""
    coloured_text(tokens, [None] * len(tokens), title)
    largest = max(map(abs, changes))
    ax = plt.gca()
    for box, change in zip(list(ax.patches), changes, strict=True):
        share = 0.7 * abs(change) / largest  # of the colour; the rest is white, on dark pages too
        colour = np.array(to_rgb(RISES if change > 0 else FALLS))
        box.set_facecolor(1 - share * (1 - colour))
        sign = "+" if change > 0 else "\N{MINUS SIGN}" if change < 0 else ""
        ax.text(box.get_x() + box.get_width() / 2, box.get_y() + 0.77, sign, ha="center", va="center")


def pushes(
    title: str, answers: Sequence[str], probabilities: Sequence[float], grids: Mapping[str, Sequence]
) -> None:
    """What the draw of each answer does to the logit of each, a grid a setting; below, their mean.

    grids: {name: [answers, answers]}, a row for each answer that is drawn.
    """
    picture, said = Picture(title), [title]
    top, left, wide = picture.bottom + 0.3, 8.5, 3 * CELL_WIDTH
    height = len(answers) * CELL
    drawn = [f"{answer} is drawn ({p:.0%})" for answer, p in zip(answers, probabilities, strict=True)]
    for row, name in enumerate(drawn):
        picture.text(left - 0.4, top + 2.3 + (row + 0.5) * CELL, name, "right")
    picture.text(left - 0.4, top + 2.9 + height + CELL / 2, "mean", "right", bold=True)
    for number, (name, rows) in enumerate(grids.items()):
        x = left + number * (ROOM - left + 1) / len(grids)
        picture.text(x + wide / 2, top + 0.5, name, "center")
        for column, answer in enumerate(answers):
            picture.text(x + (column + 0.5) * CELL_WIDTH, top + 1.7, answer, "center")
        table = torch.as_tensor(rows)
        mean = (torch.as_tensor(probabilities)[:, None] * table).sum(0)
        picture.grid(x, top + 2.3, table)
        picture.grid(x, top + 2.9 + height, mean[None], mark=[(0, i) for i in range(len(answers))])
        lines = zip([*drawn, "mean"], [*table, mean], strict=True)
        shown = [f"{line}: {' '.join(map(shown_number, values.tolist()))}" for line, values in lines]
        said.append(f"{name}, logits of {', '.join(answers)}: {'; '.join(shown)}")
    picture.words[:] = said


def reinforced(prompt: str, answers: Sequence[Sequence[tuple[str, float]]], returns: Sequence[float]) -> None:
    """REINFORCE on a few answers: tokens with their log-probabilities, return, advantage, product, loss.

    answers: of (token, log-probability).
    """
    picture = Picture("Which answers does the loss make likelier?")
    top = picture.bottom + 0.3
    heads = {"log p": 12.5, "return": 16.5, "advantage": 21, "× log p": 26.6}
    for name, x in heads.items():
        picture.text(x, top + 1.5, name, "center")
    picture.text(heads["× log p"], top + 0.4, "advantage", "center")
    baseline, total = sum(returns) / len(returns), 0.0
    for row, (answer, got) in enumerate(zip(answers, returns, strict=True)):
        y, x = top + 2.4 + row * 2.9, 3.2
        picture.box(0, y, 2.8, 2.5, prompt, "data")
        for token, log_prob in answer:
            picture.box(x, y, 2.4, 2.5, f"{token} {shown_number(log_prob, 0)}", "sampled")
            x += 2.7
        log_p, advantage = sum(log_prob for _, log_prob in answer), got - baseline
        total += advantage * log_p
        shown = (log_p, 0, False), (got, 0, False), (advantage, 0, True), (advantage * log_p, 0, True)
        for place, (value, digits, sign) in zip(heads.values(), shown, strict=True):
            picture.text(place, y + 1.25, shown_number(value, digits, sign), "center")
    y = picture.bottom + 0.9
    picture.text(18, y, f"mean {shown_number(baseline, 0)}", "right")
    mean = shown_number(total / len(answers), 2)
    picture.text(ROOM, y, f"mean {mean}, loss {shown_number(-total / len(answers), 2)}", "right")
    picture.key()


def one_iteration() -> None:
    """PPO for language in one picture: four models, and what goes from one to the other."""
    picture = Picture("What happens in one iteration?")
    prompt = picture.box(0, 2.2, 4.5, 1.6, "prompt", "data")
    both = picture.stack(7, 1.6, 9, [("policy", "trained"), ("value head", "trained")])
    answer = picture.box(20.5, 1.6, 8.5, 1.6, "an answer", "sampled")
    picture.arrow(prompt, both)
    picture.arrow(both, answer, "1 sample")
    reference = picture.box(18, 6.4, 5.2, 1.6, "reference", "frozen")
    reward_model = picture.box(23.8, 6.4, 5.2, 2.6, "reward model", "frozen")
    picture.arrow(answer, reference, "2 score")
    picture.arrow(answer, reward_model)
    rewards = picture.box(18, 11.6, 11, 1.6, "a reward for every token")
    picture.arrow(reference, rewards, "log p")
    picture.arrow(reward_model, rewards, "score")
    advantages = picture.box(14.4, 16, 14.6, 1.6, "an advantage for every token")
    picture.arrow(rewards, advantages, "3 credit")
    picture.arrow(both, advantages, "log p,\nvalue")
    loss = picture.box(3, 16, 9, 1.6, "loss of every token")
    picture.arrow(advantages, loss)
    picture.arrow(loss, both, "4 update")
    picture.key()


def paid_by_token(
    tokens: Sequence[str],
    kinds: Sequence[str | None],
    policy: Sequence[float],
    reference: Sequence[float],
    mask: Sequence[int],
    score: float,
    beta: float,
) -> None:
    """Rewards by token: log-probabilities of both models, penalty, score; of the first token nothing.

    policy, reference, mask: of the tokens from the second on.
    """
    log_ratio = [mine - its for mine, its in zip(policy, reference, strict=True)]
    penalty = [-beta * each * kept for each, kept in zip(log_ratio, mask, strict=True)]
    last = max(place for place, kept in enumerate(mask) if kept)
    rewards = [each + score * (place == last) for place, each in enumerate(penalty)]
    picture = Picture("Which token gets which reward?")
    top = picture.bottom + 0.4
    cells = picture.strip(top, [""] * len(tokens), left=9.6)
    picture.words.pop()  # which said that all are empty
    for cell, token, kind in zip(cells, tokens, kinds, strict=True):
        picture.box(cell.x, top, cell.width, CELL, token, kind)
    picture.row("log p, policy", [None, *policy], "trained")
    picture.row("log p, reference", [None, *reference], "frozen")
    picture.row("log-ratio", [None, *log_ratio], sign=True)
    picture.row("mask", [None, *mask], digits=0)
    picture.row(f"−{shown_number(beta)} · log-ratio", [None, *penalty], sign=True)
    picture.row("score", [None, *(score if place == last else None for place in range(len(mask)))], sign=True)
    picture.row("reward", [None, *rewards], sign=True, mark=range(len(tokens)))
    picture.key()


def reweighted(
    answers: Sequence[str], old: Sequence[float], new: Sequence[float], rewards: Sequence[float]
) -> None:
    """A mean over a new policy from the draws of an old one: probabilities, ratio, products and their sum."""
    ratio = [mine / its for mine, its in zip(new, old, strict=True)]
    weighted = [p * r * got for p, r, got in zip(old, ratio, rewards, strict=True)]
    picture = Picture("What is the new policy worth, by the old one's draws?")
    picture.strip(picture.bottom + 0.4, answers, left=12.5, name="answers")
    picture.row("p old", old, "sampled")
    picture.row("p new", new, "trained")
    picture.row("ratio: new / old", ratio)
    picture.row("reward", rewards, digits=0)
    picture.row("p old · ratio · reward", weighted)
    direct = sum(p * got for p, got in zip(new, rewards, strict=True))
    y = picture.bottom + 0.9
    picture.text(
        ROOM, y, f"sum {shown_number(sum(weighted))}; the mean over p new is {shown_number(direct)}", "right"
    )
    picture.key()


def clip_cases(title: str, advantages: Sequence[float], ratios: Sequence[float], clip: float) -> None:
    """The clipped loss of one token case by case: both losses, the larger, and minus its slope in log p."""
    kept = [min(max(ratio, 1 - clip), 1 + clip) for ratio in ratios]
    plain = [-a * r for a, r in zip(advantages, ratios, strict=True)]
    clipped = [-a * r for a, r in zip(advantages, kept, strict=True)]
    larger = list(map(max, plain, clipped))
    push = [-low if low == high else 0.0 for low, high in zip(plain, larger, strict=True)]
    picture = Picture(title)
    names = [shown_number(a, 0, True) for a in advantages]
    picture.strip(picture.bottom + 0.4, names, left=12.5, name="advantage A")
    picture.row("ratio", ratios)
    picture.row(f"ratio kept in {1 - clip:.1f} to {1 + clip:.1f}", kept)
    picture.row("loss: −A · ratio", plain, sign=True)
    picture.row("loss: −A · kept ratio", clipped, sign=True)
    picture.row("the larger", larger, "loss", sign=True, mark=range(len(larger)))
    picture.row("push on log p", push, sign=True)
    picture.key()


def credit(tokens: Sequence[str], rewards: Sequence[float], values: Sequence[float], lam: float) -> None:
    """GAE on one answer, with gamma 1: rewards, values, one-step errors, advantages with lam and with 1."""
    rewards, values = torch.tensor([rewards]), torch.tensor([values])
    mask = torch.ones_like(rewards)
    picture = Picture("How far back does the reward at the end reach?")
    picture.strip(picture.bottom + 0.4, tokens, "sampled", left=8.5)
    picture.row("reward r", rewards[0])
    picture.row("value V", values[0], "trained")
    [errors], _ = gae(rewards, values, mask, lam=0.0)
    picture.row("δ: r + next V − V", errors, sign=True)
    for each in (lam, 1.0):
        [advantages], _ = gae(rewards, values, mask, lam=each)
        cells = picture.row(f"advantage, λ {each:g}", advantages, "loss", sign=True)
        y = cells[0].bottom + 1.3
        for later, earlier in zip(cells[1:], cells, strict=False):
            ends = (later.x + later.width / 2 - 0.3, y), (earlier.x + earlier.width / 2 + 0.3, y)
            picture.arrow(*ends, f"× {shown_number(each)}")
        picture.skip(1.6)
    picture.text(ROOM, picture.bottom + 0.8, "advantage: δ + λ times the next advantage", "right")
    picture.key()
