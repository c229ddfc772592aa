"""Divergences and rewards with their numbers, one place of two models, runs over their iterations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch

from course_utils import plots
from course_utils.drawing import Picture, shown_number
from course_utils.plots import COLOURS, INK, printable

PANELS = {"proxy": "proxy (reward model)", "gold": "gold score", "kl": "KL (nats per answer)"}
PAD = "pad"
END_MARKS = (COLOURS[1], "D"), (COLOURS[0], "^"), (INK, "X")  # of runs' ends, in `gold_over_kl`


def runs_over_iterations(
    series: Mapping[str, Sequence[Sequence[Mapping[str, float]]]],
    title: str,
    held_out: Mapping[str, Sequence[Mapping[str, float]]] | None = None,
) -> None:
    """A panel each for proxy, gold and KL; per name the mean over its runs, and single runs as thin lines.

    held_out: per name what was measured on held-out requests before the training and after it, as diamonds.
    """
    fig, axes = plt.subplots(1, len(PANELS), figsize=(plots.WIDTH, 2.9))
    plots.entitle(fig, title)
    for ax, (key, label) in zip(axes, PANELS.items(), strict=True):
        for number, (name, runs) in enumerate(series.items()):
            values = [[rows[step][key] for rows in runs] for step in range(len(runs[0]))]
            steps = range(1, len(values) + 1)
            means = [sum(each) / len(each) for each in values]
            ax.plot(steps, means, "-o", markersize=3, color=COLOURS[number], label=name)
            if len(runs) > 1:
                ax.plot(steps, values, color=COLOURS[number], linewidth=0.6, alpha=0.35)
            if held_out:
                ends = [0, len(values) + 1], [each[key] for each in held_out[name]]
                ax.plot(*ends, "D", color=COLOURS[number], markersize=7)
        ax.set(xlabel="iteration", ylabel=label)
    if len(series) > 1:
        handles, labels = axes[0].get_legend_handles_labels()
        fig.legend(handles, labels, ncols=len(series), loc="outside lower center")


def by_hand(tokens: Sequence[str], policy: torch.Tensor, reference: torch.Tensor) -> None:
    """The KL of two distributions [V] term by term, in both directions, with their sums at the right."""
    log_ratio = (policy / reference).log()
    forth, back = policy * log_ratio, -reference * log_ratio
    picture = Picture("How far apart are two expectations of the next token?")
    picture.strip(picture.bottom + 0.4, [*tokens, "sum"], left=9, name="next token")
    colours = [[kind] * len(tokens) + [None] for kind in ("trained", "frozen")]
    picture.row("p: policy", _summed(policy), colours[0], digits=2)
    picture.row("q: reference", _summed(reference), colours[1], digits=2)
    picture.skip(0.5)
    picture.row("p / q", [*(policy / reference).tolist(), None])
    picture.row("log (p / q)", [*log_ratio.tolist(), None], digits=2, sign=True)
    picture.skip(0.5)
    total = [len(tokens)]
    picture.row("p · log (p / q)", _summed(forth), digits=2, sign=True, mark=total)
    picture.row("q · log (q / p)", _summed(back), digits=2, sign=True, mark=total)
    picture.key()


def predicted_by(prompt: Sequence[str], completion: Sequence[str]) -> None:
    """Which place's logits predict each token of a completion, and the mask of its tokens."""
    tokens, first = [*prompt, *completion], len(prompt)
    kinds = [None if token == PAD else "data" for token in prompt]
    kinds += [None if token == PAD else "sampled" for token in completion]
    predicts = [None] * (first - 1) + list(completion) + [None]
    predicts = [None if token == PAD else token for token in predicts]
    picture = Picture("Where are the logits that predict an answer?")
    picture.strip(picture.bottom + 0.4, tokens, kinds, left=7.5)
    picture.row("its logits predict", predicts)
    real = ["0" if token == PAD else "1" for token in completion]
    picture.row("mask", [*[None] * first, *real])
    picture.key()


def at_place(
    before: str,
    policy: torch.Tensor,
    reference: torch.Tensor,
    drawn: int,
    token_of: Callable[[int], str],
    most: int = 5,
) -> None:
    """The tokens with the largest terms of the KL at one place, most likely first, and the rest together.

    before: the text before the place. policy, reference: probabilities [V]. drawn: the id of the token that
    was sampled there. token_of: the text of an id.
    """
    terms = torch.where(policy > 0, policy * (policy / reference).log(), 0.0)
    ids = terms.abs().topk(most).indices
    ids = ids[policy[ids].argsort(descending=True)].tolist()
    picture = Picture("Where does the KL of one place come from?")
    y = picture.bottom + 0.7
    start = before[-44:].split(" ", 1)[-1] if len(before) > 44 else before
    picture.text(0, y, f"… {start} …", bold=True)
    columns = {"p: policy": 10, "q: reference": 15.5, "p · log (p / q)": 22}
    for name, x in columns.items():
        picture.text(x + 2, y + 1.7, name, "center")
    said = [picture.words[0], f"after {start}"]
    rows = [(_short(token_of(i)), policy[i], reference[i], terms[i], i == drawn) for i in ids]
    others = [each.sum() - each[ids].sum() for each in (policy, reference, terms)]
    rows += [("all others", *others, False), ("sum", policy.sum(), reference.sum(), terms.sum(), False)]
    y += 2.6
    for number, (name, p, q, term, was_drawn) in enumerate(rows):
        top = y + number * 1.75 + (0.4 if name == "sum" else 0)
        picture.text(9.3, top + 0.75, name + (" (drawn)" if was_drawn else ""), "right", bold=name == "sum")
        shown = [_probability(float(p)), _probability(float(q))]
        shown.append(shown_number(float(term), 2, sign=True))
        for x, text, kind in zip(columns.values(), shown, ("trained", "frozen", None), strict=True):
            picture.box(x, top, 4, 1.5, text, kind)
        said.append(f"{name}{', the drawn token' if was_drawn else ''}: {', '.join(shown)}")
    picture.key()
    picture.words[:] = [*said, f"columns: {', '.join(columns)}"]


def kl_of_answers(
    answers: Sequence[Sequence[str]], policy: torch.Tensor, reference: torch.Tensor, mask: torch.Tensor
) -> None:
    """The log-ratios of a batch of answers [batch, tokens], their sums, and the mean of these."""
    picture = Picture("How far is each answer from the reference?")
    y, sums = picture.bottom + 0.4, []
    for tokens, now, before, real in zip(answers, policy, reference, mask.tolist(), strict=True):
        ratios = [(a - b).item() for a, b, one in zip(now, before, real, strict=True) if one]
        sums.append(sum(ratios))
        _answer(picture, y, tokens, real)
        picture.row("log π", _real(now, real), _kinds(real, "trained"), sign=True)
        picture.row("log π of the reference", _real(before, real), _kinds(real, "frozen"), sign=True)
        padding = [None] * (len(real) - len(ratios))
        picture.row("log-ratio", [*ratios, *padding, sums[-1]], sign=True, mark=[len(real)])
        y = picture.bottom + 1.0
    mean = sum(sums) / len(sums)
    added = " + ".join(map(shown_number, sums))
    picture.text(
        29.5, y, f"mean over the answers: ({added}) / {len(sums)} = {shown_number(mean)} nats", "right"
    )
    picture.key()


def penalties_and_scores(
    answers: Sequence[Sequence[str]],
    log_ratios: torch.Tensor,
    scores: Sequence[float],
    mask: torch.Tensor,
    beta: float,
) -> None:
    """Penalties and rewards by token of a batch of answers [batch, tokens], with the sum of each row."""
    picture = Picture("What does each token pay, and where does the score go?")
    y = picture.bottom + 0.4
    for tokens, ratios, score, real in zip(answers, log_ratios, scores, mask.tolist(), strict=True):
        length = sum(real)
        penalties = [beta * ratio for ratio in ratios[:length].tolist()]
        rewards = [-penalty for penalty in penalties]
        rewards[-1] += score
        padding = [0.0] * (len(real) - length)
        _answer(picture, y, tokens, real)
        picture.row("log-ratio", _real(ratios, real), sign=True)
        picture.row("penalty", [*penalties, *padding, sum(penalties)], digits=2, sign=True, mark=[len(real)])
        last = f"score {shown_number(score, 2, sign=True)}"
        picture.row(
            last,
            [score if place == length - 1 else None for place in range(len(real))] + [None],
            digits=2,
            sign=True,
        )
        picture.row("reward", [*rewards, *padding, sum(rewards)], digits=2, sign=True, mark=[len(real)])
        y = picture.bottom + 1.0
    picture.key()


def one_number(
    answers: Sequence[str], reference: torch.Tensor, reward: torch.Tensor, best: torch.Tensor, beta: float
) -> None:
    """What the best policy has in common for all answers, and the objective of three policies; all [V]."""
    log_ratio = (best / reference).log()
    picture = Picture(f"Four answers, β = {beta:g}: what is the same for all under the best policy?")
    picture.strip(picture.bottom + 0.4, answers, left=11, name="answer")
    picture.row("reward r", reward, "data", sign=True)
    picture.row("reference", reference, "frozen", digits=2)
    picture.row("best policy π", best, "trained", digits=2)
    picture.skip(0.5)
    picture.row("log (π / reference)", log_ratio, digits=2, sign=True)
    everywhere = range(len(answers))
    picture.row("r − β · log-ratio", reward - beta * log_ratio, digits=2, sign=True, mark=everywhere)
    y = picture.bottom + 1.3
    surely = torch.nn.functional.one_hot(reward.argmax(), len(reward)).to(reward)
    policies = {"the reference": reference, f"always {answers[int(reward.argmax())]}": surely}
    picture.text(0, y, "mean reward − β · KL = objective", bold=True)
    for number, (name, policy) in enumerate((policies | {"the best policy": best}).items(), 1):
        mean = (policy * reward).sum().item()
        kl = torch.special.xlogy(policy, policy / reference).sum().item()
        mean_shown, kl_shown, total = (shown_number(each, 2) for each in (mean, kl, mean - beta * kl))
        sums = f"{mean_shown} − {beta:g} · {kl_shown} = {total}"
        picture.text(0, y + 1.4 * number, name)
        picture.text(11, y + 1.4 * number, sums)
    picture.key()


def gold_over_kl(
    path: Sequence[Sequence[Mapping[str, float]]],
    ends: Mapping[str, Sequence[Mapping[str, float]]],
    start: Mapping[str, float],
    title: str,
    compared: Sequence[tuple[Mapping[str, float], Mapping[str, float]]] = (),
) -> None:
    """Gold score and proxy over the KL: runs without a penalty wherever they are stopped, and runs' ends.

    path: of each seed what was measured after several numbers of updates. ends: {name: a measurement of
    each seed}. start: before the training. compared: pairs to join, the first of each ringed. All are
    {"kl", "proxy", "gold"}.
    """
    fig, axes = plots.figure(title, "KL (nats per answer)", "", columns=2)
    for ax, score in zip(axes, ("gold", "proxy"), strict=True):
        for runs in path:
            line = [start, *runs]
            ax.plot(*_points(line, score), "-", color=COLOURS[0], alpha=0.35, linewidth=0.9)
        flat = [each for runs in path for each in runs]
        ax.plot(
            *_points(flat, score),
            "o",
            color=COLOURS[0],
            markersize=4,
            label="without the penalty, stopped early",
        )
        for (name, runs), (colour, marker) in zip(ends.items(), END_MARKS, strict=False):
            ax.plot(*_points(runs, score), marker, color=colour, markersize=6, label=name)
        for pair in compared:
            ax.plot(*_points(pair, score), ":", color=INK, linewidth=1.2)
            ax.plot(*_points(pair[:1], score), "o", color=INK, markersize=9, fillstyle="none")
        ax.set_ylabel(PANELS[score])
        ax.set_xscale("function", functions=(lambda kl: np.sqrt(np.maximum(kl, 0)), np.square))
        ax.set_xlim(left=0)
        ax.set_xticks([tick for tick in (0, 1, 5, 15, 40, 80, 120) if tick <= ax.get_xlim()[1]])
    for legend in fig.legends:
        legend.remove()
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)


def _points(runs, score):
    return [each["kl"] for each in runs], [each[score] for each in runs]


def _summed(values: torch.Tensor) -> list[float]:
    return [*values.tolist(), values.sum().item()]


def _answer(picture: Picture, y: float, tokens: Sequence[str], real: Sequence[bool]) -> None:
    """The tokens of an answer as columns, and one more for a row's sum."""
    picture.strip(y, [*tokens, "sum"], [*_kinds(real, "sampled")[:-1], None], left=10, name="answer")


def _kinds(real: Sequence[bool], kind: str) -> list[str | None]:
    return [kind if one else None for one in real] + [None]


def _real(values: torch.Tensor, real: Sequence[bool]) -> list:
    """Numbers of a row where it is real, "any" at padding, and nothing under the sum."""
    return [value if one else "any" for value, one in zip(values.tolist(), real, strict=True)] + [None]


def _probability(value: float) -> str:
    """With two decimals, or as 4e-6 where these would be 0.00."""
    if value < 1e-12 or value >= 0.005:
        return shown_number(max(value, 0.0), 2)
    return f"{value:.0e}".replace("e-0", "e-")


def _short(token: str) -> str:
    shown = printable(token).replace(r"\$", "$")
    return shown if len(shown) <= 10 else f"{shown[:9]}…"
