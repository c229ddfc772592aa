"""What a price of the KL buys; two distributions that a slider moves apart."""

from __future__ import annotations

import math
from collections.abc import Callable

from course_utils.lessons.lesson_11.toy import Toy
from course_utils.widgets import control

PRICES = [50 * 0.8**step for step in range(29)]  # down to 0.1


def show_price(toy: Toy, best_policy: Callable, beta: float = 0.5) -> None:
    """The best policy of a toy at a price beta: its probabilities, and its place on the curve of betas."""
    from course_utils import plots

    best = best_policy(toy.reference, toy.reward, beta)
    kl, reward = toy.kl_and_reward(best)
    gains = int((best > toy.reference).sum())
    bound = (toy.reward - beta * (best / toy.reference).log()).mean()  # the same for all answers
    print(
        f"β = {beta:g}: KL {kl:.2f} nats, mean reward {reward:.2f}, the likeliest answer {best.max():.0%}; "
        f"{gains} of {len(best)} answers gain, those with a reward above {bound:.2f}"
    )
    _, (left, right) = plots.figure("Each β buys a reward at a price", "", "", columns=2)
    order = toy.reward.argsort()
    places = range(len(order))
    left.bar(places, best[order], color=plots.COLOURS[0], label="best policy")
    left.step(places, toy.reference[order], where="mid", color=plots.INK, label="reference")
    left.set(xlabel="answers, by their reward", ylabel="probability")
    left.legend()
    points = [toy.kl_and_reward(best_policy(toy.reference, toy.reward, price)) for price in PRICES]
    right.plot(*zip((0.0, (toy.reference * toy.reward).sum().item()), *points, strict=True), color=plots.INK)
    right.plot([kl], [reward], "o", color=plots.COLOURS[0], markersize=8, label=f"β = {beta:g}")
    right.legend(loc="lower right")
    right.set(xlabel="KL to the reference (nats)", ylabel="mean reward")


def price_slider(toy: Toy, best_policy: Callable) -> None:
    """A slider for the beta of `show_price`."""

    def show(beta: float = 0.5) -> None:
        show_price(toy, best_policy, beta)

    control(show, beta=(0.1, 5.0, 0.1))


def gaussian_policies(distance: float = 1.0, width: float = 1.0, samples: int = 100, seed: int = 0) -> None:
    """A policy N(distance, width) and its reference N(0, 1): the KL in closed form, and estimates of it.

    Plots both densities with the policy's samples, and the estimates with two standard errors.
    """
    import torch

    from course_utils import plots
    from course_utils.methods import kl

    exact, reverse = _gaussian_kl(distance, width)
    policy, reference = torch.distributions.Normal(distance, width), torch.distributions.Normal(0.0, 1.0)
    noise = torch.randn(samples, generator=torch.Generator().manual_seed(seed))
    drawn = distance + width * noise  # (samples,)
    log_probs = policy.log_prob(drawn), reference.log_prob(drawn)
    values = {name: estimator(*log_probs) for name, estimator in kl.ESTIMATORS.items()}
    negative = int((values["k1"] < 0).sum())
    print(f"KL(policy || reference) {exact:.3f} nats, KL(reference || policy) {reverse:.3f}")
    print(
        f"{negative} of {samples} samples have a negative k1; the mean of k3 is "
        f"{values['k3'].mean():.3f}, its standard deviation on paper {_std_of_k3(distance, width):.3g}"
    )
    fig, (left, right) = plots.figure(
        "Two policies, and what samples of the one say of their distance", "", "", columns=2
    )
    x = torch.linspace(min(-3.5, distance - 3.5 * width), max(3.5, distance + 3.5 * width), 400)
    for name, density, colour in (("policy", policy, 0), ("reference", reference, 6)):
        left.plot(x, density.log_prob(x).exp(), color=plots.COLOURS[colour], label=name)
    for name, chosen, colour in (("k1 > 0", values["k1"] >= 0, 0), ("k1 < 0", values["k1"] < 0, 1)):
        points = drawn[chosen]
        left.plot(points, torch.full_like(points, -0.02), "|", color=plots.COLOURS[colour], label=name)
    left.set(xlabel="x", ylabel="density")
    fig.legend(ncols=4, loc="outside lower center")
    for row, sample in enumerate(values.values()):
        right.errorbar(
            [sample.mean()],
            [row],
            xerr=[2 * sample.std() / samples**0.5],
            fmt="o",
            capsize=3,
            color=plots.COLOURS[0],
        )
    right.axvline(exact, color=plots.INK, linestyle="--", linewidth=1)
    right.set_yticks(range(len(values)), list(values))
    right.invert_yaxis()
    right.set(xlabel="estimate (nats), two standard errors; dashed: exact")


def _std_of_k3(distance: float, width: float) -> float:
    """Standard deviation of k3 over samples of N(distance, width), with N(0, 1) as the reference."""
    if 2 * width**2 <= 1:
        return math.inf  # like the mean square of the ratio: the policy's tails are too thin
    exact, reverse = _gaussian_kl(distance, width)
    ratio = width**2 / math.sqrt(2 * width**2 - 1) * math.exp(distance**2 / (2 * width**2 - 1)) - 1
    log_ratio = (distance * width) ** 2 + (1 - width**2) ** 2 / 2
    return math.sqrt(max(0.0, ratio + log_ratio - 2 * (exact + reverse)))


def _gaussian_kl(distance: float, width: float) -> tuple[float, float]:
    """KL(N(distance, width) || N(0, 1)) and the reverse KL, in nats."""
    return (
        math.log(1 / width) + (width**2 + distance**2 - 1) / 2,
        math.log(width) + ((1 + distance**2) / width**2 - 1) / 2,
    )


def kl_explorer() -> None:
    """Sliders for `gaussian_policies`: the policy's distance and width, the number of samples, the seed."""

    def show(distance: float = 1.0, width: float = 1.0, samples: int = 100, seed: int = 0) -> None:
        gaussian_policies(distance, width, samples, seed)

    control(
        show, distance=(0.0, 4.0, 0.1), width=(0.3, 2.0, 0.1), samples=[10, 100, 1000, 10_000], seed=(0, 20)
    )
