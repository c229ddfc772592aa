"""Scores over the iterations of a training, and over the distance from the reference."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import to_rgb
from matplotlib.ticker import MaxNLocator

from course_utils.drawing import ROOM, Picture, shown_number
from course_utils.lessons.lesson_12.experiments import iterations_of
from course_utils.lessons.lesson_12.over_kl import mean_path
from course_utils.methods.ppo import gae
from course_utils.plots import COLOURS, WIDTH, bands, coloured_text, entitle, figure

RISES, FALLS = "#7A4EA3", COLOURS[5]  # purple and ochre: in pictures they mean nothing else
SCORE_LABELS = {"proxy": "proxy (reward model)", "gold": "gold score", "kl": "KL (nats per answer)"}


def over_iterations(
    diary: Sequence[Mapping[str, float]], rows: Sequence[Mapping[str, float]], title: str
) -> None:
    """Proxy, gold score and KL of the answers sampled in each iteration.

    diary: what judging.watched_reward kept. rows: what train_ppo returned.
    """
    fig, axes = plt.subplots(1, 3, figsize=(WIDTH, 2.6))
    entitle(fig, title)
    for ax, (name, kept) in zip(axes, {"proxy": diary, "gold": diary, "kl": rows}.items(), strict=True):
        values = [each[name] for each in kept]
        ax.plot(range(1, len(values) + 1), values, "-o", markersize=3, label=SCORE_LABELS[name])
        ax.set(title=SCORE_LABELS[name], xlabel="iteration")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))


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
