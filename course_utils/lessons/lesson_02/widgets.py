"""Learning rates, turned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from course_utils.widgets import control


def learning_rates(rows: Sequence[Mapping[str, float]], lr: float) -> None:
    """Draw target loss and forgetting over the learning rate, mark one rate and print its values.

    rows: {"lr", "target_loss", "forgetting"} each, in nats a token; the mean is taken over rows of one lr.
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
    _, axes = plots.figure("Too low learns little; too high forgets", "learning rate", "", columns=2)
    for ax, (name, values), label in zip(
        axes, means.items(), ("loss on the task", "forgetting"), strict=True
    ):
        plots.lines({name: (rates, values)}, "", "", "", logx=True, ax=ax)
        ax.set_ylabel(f"{label} (nats a token)")
        ax.axvline(lr, color=plots.COLOURS[1], linestyle="--")
        ax.plot([lr], [values[rates.index(lr)]], "o", color=plots.COLOURS[1])
    index = rates.index(lr)
    print(
        f"learning rate {lr:g}: loss on the task {means['target_loss'][index]:.3f}, forgetting "
        f"{means['forgetting'][index]:+.3f}; lowest loss on the task at {best:g}"
    )


def learning_rate_picker(rows: Sequence[Mapping[str, float]], lr: float) -> None:
    """A choice of the learning rates in `rows`, starting at lr, over `learning_rates`."""
    rates = sorted({row["lr"] for row in rows})

    def show(learning_rate: float = lr) -> None:
        learning_rates(rows, learning_rate)

    control(show, learning_rate={f"{rate:g}": rate for rate in rates})
