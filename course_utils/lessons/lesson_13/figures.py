"""The pictures of lesson 13, and its figures of training and of what becomes of answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import torch

from course_utils.drawing import CELL, ROOM, Picture, shown_number
from course_utils.lessons.lesson_12.figures import KL_TICKS, names_below, paths
from course_utils.lessons.lesson_12.over_kl import mean_path
from course_utils.lessons.lesson_13.experiments import PART, STEPS
from course_utils.plots import COLOURS, INK, WIDTH, bands, entitle, figure

PURPLE = "#7A4EA3"


def policy_from_rewards(
    answers: Sequence[str], reference: torch.Tensor, rewards: torch.Tensor, beta: float
) -> None:
    """The best policy of a few answers: reference times e to the reward over beta, divided by the sum."""
    factors = (rewards / beta).exp()
    products = reference * factors
    picture = Picture("Which policy is the best for these rewards?")
    picture.strip(picture.bottom + 0.4, answers, left=12, name="answer")
    picture.row("p, reference", reference, "frozen", digits=2)
    picture.row("reward r", rewards, digits=0)
    picture.row(f"e^(r/β), β = {beta:g}", factors, digits=2)
    picture.row("reference × factor", products, digits=2)
    total = shown_number(products.sum(), 2)
    picture.row(f"divided by their sum, {total}", products / products.sum(), "trained", digits=3)
    picture.key()


def rewards_back(
    answers: Sequence[str],
    reference: torch.Tensor,
    best: torch.Tensor,
    rewards: torch.Tensor,
    beta: float,
    pair: tuple[int, int],
) -> None:
    """From the best policy back to the rewards, and the difference of the pair (winner, loser)."""
    implicit = beta * (best / reference).log()
    picture = Picture("What does a best policy say of the rewards?")
    picture.strip(picture.bottom + 0.4, answers, left=12, name="answer")
    picture.row("p, best policy", best, "trained", digits=3)
    picture.row("p, reference", reference, "frozen", digits=2)
    picture.row("β log(best / reference)", implicit, digits=2, sign=True, mark=pair)
    picture.row("reward r", rewards, digits=2, sign=True, mark=pair)
    picture.row("the difference", rewards - implicit, digits=2, sign=True)
    names = f"{answers[pair[0]]} − {answers[pair[1]]}"
    of_rewards, of_logs = ((values[pair[0]] - values[pair[1]]).item() for values in (rewards, implicit))
    y = picture.bottom + 0.9
    by_logs, by_rewards = shown_number(of_logs, 2), shown_number(of_rewards, 2)
    shown = f"{names} by β log(best / reference): {by_logs}, by r: {by_rewards}"
    picture.text(ROOM, y, shown, "right")
    picture.key()


def scored_answer(prompt: Sequence[str], answer: Sequence[str], probabilities: Sequence[float]) -> None:
    """A row of a batch: its labels, the probability of each answer token, its log, and their sum."""
    nothing: list = [None] * len(prompt)
    logs = [math.log(p) for p in probabilities]
    picture = Picture("How likely is this answer?")
    kinds = ["data"] * len(prompt) + ["loss"] * len(answer)
    tokens = [*prompt, *answer]
    cells = picture.strip(picture.bottom + 0.4, [""] * len(tokens), left=8.5, name="tokens")
    picture.words.pop()
    for cell, token, kind in zip(cells, tokens, kinds, strict=True):
        picture.box(cell.x, cell.y, cell.width, CELL, token, kind)
    picture.row("label", ["−100"] * len(prompt) + ["its id"] * len(answer))
    picture.row("p, given all before", [*nothing, *probabilities], digits=2)
    picture.row("log p", [*nothing, *logs], digits=2)
    y = picture.bottom + 0.9
    product = shown_number(math.prod(probabilities), 2)
    total = f"sum {shown_number(sum(logs), 2)}: the log of the product, {product}"
    picture.text(ROOM, y, total, "right")
    picture.key()


def pair_losses(
    names: Sequence[str],
    policy: Sequence[tuple[float, float]],
    reference: Sequence[tuple[float, float]],
    rewards: Sequence[tuple[float, float]],
    losses: Sequence[float],
) -> None:
    """Some pairs as columns: log-probabilities under both models, implicit rewards, margin, loss.

    policy, reference, rewards: (chosen, rejected) of each pair.
    """
    picture = Picture("What is the loss of each pair?")
    picture.strip(picture.bottom + 0.4, names, left=13, name="pair")
    for side, name in enumerate(("chosen", "rejected")):
        picture.row(f"{name}: log p, policy", [each[side] for each in policy], "trained", digits=0)
        picture.row(f"{name}: log p, reference", [each[side] for each in reference], "frozen", digits=0)
    for side, name in enumerate(("chosen", "rejected")):
        picture.row(f"{name}: implicit reward", [each[side] for each in rewards], digits=1, sign=True)
    picture.row("margin", [chosen - rejected for chosen, rejected in rewards], sign=True)
    picture.row("loss: −log σ(margin)", losses, "loss", digits=2)
    picture.key()


def pushes_of_pairs(margins: Sequence[float], up: Sequence[float], down: Sequence[float], title: str) -> None:
    """For each margin, arrows as long as the push on the chosen and on the rejected answer's log p.

    up: minus the gradient for the chosen answer; down: the same for the rejected one.
    """
    picture = Picture(title)
    longest, tall = max(*map(abs, up), *map(abs, down)), 5.0
    cells = picture.strip(picture.bottom + 0.4, [shown_number(m, 0, True) for m in margins], name="margin")
    top = picture.bottom + 0.4
    middle = top + tall + 0.4
    picture.text(6.5, middle, "log p now", "right")
    for cell, rise, fall in zip(cells, up, down, strict=True):
        left, right = cell.x + 0.3 * cell.width, cell.x + 0.7 * cell.width
        for x, push in ((left, rise), (right, fall)):
            length = tall * push / longest
            picture.arrow((x, middle), (x, middle - length))
    picture.text(6.5, top + 1, "chosen: up", "right")
    picture.text(6.5, middle + tall - 0.6, "rejected: down", "right")
    picture.bottom = max(picture.bottom, middle + tall)
    picture.strip(picture.bottom + 0.6, [""] * len(margins), name="")
    picture.skip(-CELL)
    picture.row("push, chosen", up, digits=3, sign=True)
    picture.row("push, rejected", down, digits=3, sign=True)


def one_weight(answers: Sequence[str], features: torch.Tensor, before: torch.Tensor, weight: float) -> None:
    """Three answers whose logits share one weight: their probabilities before and after it grew from 0."""
    factors = (weight * features).exp()
    products = before * factors
    after = products / products.sum()
    picture = Picture("Where does the probability go?")
    picture.strip(picture.bottom + 0.4, answers, left=12, name="answer")
    picture.row("thank-yous n", features, "data", digits=0)
    picture.row("p, before", before, "frozen", digits=2)
    picture.row(f"e^(w·n), w = {weight:g}", factors, digits=2)
    picture.row("p × factor", products, digits=2)
    picture.row(f"divided by their sum, {shown_number(products.sum(), 2)}", after, "trained", digits=2)
    picture.row("change of log p", (after / before).log(), digits=2, sign=True, mark=range(len(answers)))
    picture.key()


def scored_by_scripts(
    prompt: Sequence[str], answer: Sequence[str], scored: Mapping[str, Sequence[int]]
) -> None:
    """A row's tokens, and for each hypothesis which of them are scored: 1 or 0 a token."""
    picture = Picture("Which tokens does a script score?")
    tokens = [*prompt, *answer]
    picture.strip(picture.bottom + 0.4, tokens, left=9.5, name="one row")
    for name, marks in scored.items():
        shown = ["yes" if mark else "" for mark in marks]
        cells = picture.row(name, ["" for _ in marks])
        picture.words.pop()
        for cell, text in zip(cells, shown, strict=True):
            if text:
                picture.box(cell.x, cell.y, cell.width, CELL, text, "loss")
                picture.words.pop()
        said = " ".join(token for token, mark in zip(tokens, marks, strict=True) if mark)
        picture.words.append(f"{name} scores: {said}")
    picture.key()


def live(rows: Sequence[Mapping], margins: torch.Tensor, title: str, part: int = 8) -> None:
    """Left: the loss of every batch and its mean over `part` steps; right: margins of new pairs."""
    _, axes = figure(title, "", "", columns=2)
    steps, losses = [row["step"] for row in rows], [row["loss"] for row in rows]
    axes[0].plot(steps, losses, ".", color=COLOURS[0], alpha=0.4, label="a batch")
    parts = range(0, len(rows) - part + 1, part)
    means = [sum(losses[start : start + part]) / part for start in parts]
    axes[0].plot(
        [steps[start + part - 1] for start in parts], means, "-o", color=COLOURS[0], label=f"mean of {part}"
    )
    axes[0].axhline(math.log(2), color=INK, linestyle=":", label="ln 2")
    axes[0].set(xlabel="step", ylabel="loss of new batches (nats per pair)")
    far = max(1.0, margins.abs().max().item())
    edges = torch.linspace(-far, far, 31)
    for right, colour in ((False, COLOURS[1]), (True, COLOURS[0])):
        some = margins[(margins > 0) == right]
        name = "ordered as labelled" if right else "the other way"
        axes[1].hist(some.tolist(), edges.tolist(), color=colour, label=f"{len(some)} {name}")
    axes[1].set(xlabel="margin of held-out pairs (logits)", ylabel="pairs")
    for ax, columns in zip(axes, (2, 1), strict=True):  # above the axes: no grid behind the names
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns)


def moved_answers(settings: Mapping[str, Sequence[Mapping]], title: str) -> None:
    """The change of both log-probabilities of pairs that were trained on: a dot a seed, a row a setting.

    settings: {name: runs with trained_chosen and trained_rejected}.
    """
    fig, ax = figure(title, "change of log p since the reference (nats)", "")
    for place, runs in enumerate(settings.values()):
        for side, colour, marker, aside in (("chosen", 0, "o", -0.14), ("rejected", 1, "s", 0.14)):
            values = [run[f"trained_{side}"] for run in runs]
            ax.plot(
                values,
                [place + aside] * len(values),
                marker,
                color=COLOURS[colour],
                alpha=0.75,
                markersize=6,
                label=side if place == 0 else None,
            )
    ax.axvline(0, color=INK, linewidth=0.8)
    ax.set_yticks(range(len(settings)), list(settings))
    ax.set_ylim(len(settings) - 0.5, -0.5)
    fig.legend(ncols=2, loc="outside lower center")


def displaced(settings: Mapping[str, Sequence[Mapping]], title: str) -> None:
    """Training pairs by the changes of their two log-probabilities, a panel per setting.

    settings: {name: runs with trained_chosen_each and trained_rejected_each}. The points are the first
    run's; the square is the mean over all runs; below the diagonal the margin has grown.
    """
    fig, axes = plt.subplots(1, len(settings), figsize=(WIDTH, 3.0), sharex=True, sharey=True)
    entitle(fig, title)
    for ax, (name, runs) in zip(axes, settings.items(), strict=True):
        x, y = (runs[0][f"trained_{side}_each"] for side in ("chosen", "rejected"))
        ax.plot(x, y, ".", color=COLOURS[0], alpha=0.4, markersize=5, label="pairs of one run")
        means = [sum(run[f"trained_{side}"] for run in runs) / len(runs) for side in ("chosen", "rejected")]
        ax.plot(*([value] for value in means), "s", color=COLOURS[1], markersize=7, label="mean of all runs")
        ax.axline((0, 0), slope=1, color=INK, linewidth=0.8, linestyle=":")
        ax.axhline(0, color=INK, linewidth=0.8)
        ax.axvline(0, color=INK, linewidth=0.8)
        ax.set(title=name, xlabel="change of chosen (nats)")
    axes[0].set_ylabel("change of rejected (nats)")
    axes[-1].legend(loc="lower right")


def relatives(
    settings: Mapping[str, Sequence[Mapping]], title: str, points: Mapping[str, Sequence[Mapping]]
) -> None:
    """Lesson 12's `paths`; PPO only as means, grey and dashed."""
    ppo = {name: runs for name, runs in settings.items() if name.startswith("PPO")}
    paths({name: runs for name, runs in settings.items() if name not in ppo}, title, points)
    fig = plt.gcf()
    furthest = max(max(mean_path(runs, "kl")) for runs in settings.values())
    for ax, score in zip(fig.axes, ("proxy", "gold"), strict=True):
        for line in ax.lines:
            if line.get_color() == COLOURS[4]:  # too close to COLOURS[0] in one panel
                line.set_color(PURPLE)
        for (name, runs), marker in zip(ppo.items(), "s^", strict=False):
            ax.plot(
                mean_path(runs, "kl"),
                mean_path(runs, score),
                "--",
                marker=marker,
                color=INK,
                markersize=4,
                label=name,
            )
        ax.set_xlim(0, 1.1 * furthest)
        ax.set_xticks([kl for kl in KL_TICKS if kl <= furthest])
    fig.set_size_inches(WIDTH, 4.2)
    names_below(fig)


def in_training(runs: Sequence[Mapping], title: str) -> None:
    """Loss and both implicit rewards of the training batches: mean and range over the runs.

    runs: of experiments.followed. A batch is measured before the step on it, so it is new to the policy.
    """
    _, axes = figure(title, "step", "", columns=2)
    steps = range(PART, STEPS + 1, PART)

    def series(name):
        return {step: [run[f"training_{step}_{name}"] for run in runs] for step in steps}

    bands({"loss": series("loss")}, "", "", "", ax=axes[0])
    axes[0].axhline(math.log(2), color=INK, linestyle=":", label="ln 2: no training")
    axes[0].legend()
    axes[0].set_ylabel("loss of new batches (nats per pair)")
    bands({side: series(f"{side}_reward") for side in ("chosen", "rejected")}, "", "", "", ax=axes[1])
    axes[1].axhline(0, color=INK, linewidth=0.8)
    axes[1].set_ylabel("implicit reward (logits)")
