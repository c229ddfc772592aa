"""A widget for learning rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from course_utils.widgets import control


def learning_rates(rows: Sequence[Mapping[str, float]], lr: float) -> None:
    """Plot target loss over forgetting, a dot per learning rate; mark the rate `lr` and print its values.

    rows: {"lr", "target_loss", "forgetting"} each, in nats per token; rows of the same lr are averaged.
    """
    from course_utils import plots

    rates = sorted({row["lr"] for row in rows})
    means = {
        name: [
            sum(values) / len(values)
            for rate in rates
            if (values := [row[name] for row in rows if row["lr"] == rate])
        ]
        for name in ("target_loss", "forgetting")
    }
    best = rates[means["target_loss"].index(min(means["target_loss"]))]
    _, ax = plots.figure(
        "To the right more is forgotten; further down more is learned",
        "forgetting of old texts (nats a token)",
        "loss on the task (nats a token)",
    )
    ax.plot(means["forgetting"], means["target_loss"], "o-", color=plots.COLOURS[0])
    ax.set_xscale("symlog", linthresh=0.1)
    ax.set_yscale("log")
    index = rates.index(lr)
    ax.plot(
        means["forgetting"][index], means["target_loss"][index], "o", color=plots.COLOURS[1], markersize=11
    )
    print(
        f"learning rate {lr:g}: loss on the task {means['target_loss'][index]:.3f}, forgetting "
        f"{means['forgetting'][index]:+.3f}; lowest loss on the task at {best:g}"
    )


def learning_rate_picker(rows: Sequence[Mapping[str, float]], lr: float) -> None:
    """A selector of the learning rates in `rows`, starting at lr, for `learning_rates`."""
    rates = sorted({row["lr"] for row in rows})

    def show(learning_rate: float = lr) -> None:
        learning_rates(rows, learning_rate)

    control(show, learning_rate={f"{rate:g}": rate for rate in rates})
