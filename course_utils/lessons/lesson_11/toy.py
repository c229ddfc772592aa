"""Forty answers with known rewards, and gradient ascent on mean reward minus the price of the KL."""

from __future__ import annotations

from collections.abc import Callable

import torch

from course_utils.methods.kl import exact_kl


class Toy:
    """A reference [V] and rewards [V] of its answers; unless they are given, of forty, drawn from a seed."""

    def __init__(self, seed: int, reference: torch.Tensor | None = None, reward: torch.Tensor | None = None):
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn(40, generator=generator).softmax(-1), torch.randn(40, generator=generator)
        self.reference = drawn[0] if reference is None else reference
        self.reward = drawn[1] if reward is None else reward

    def kl_and_reward(self, policy: torch.Tensor) -> tuple[float, float]:
        """Exact KL to the reference in nats, and mean reward, of a policy [V]."""
        kl = exact_kl(policy.log(), self.reference.log())
        return kl.item(), (policy * self.reward).sum().item()

    def ascend(
        self,
        beta: float,
        steps: int = 300,
        divergence: Callable = exact_kl,
        update: Callable[[float, float], float] = lambda beta, kl: beta,
        scale: Callable[[int], float] = lambda step: 1.0,
    ) -> tuple[torch.Tensor, list[tuple[int, float, float]]]:
        """Gradient ascent on mean reward - beta * KL: (policy [V], rows of (step, KL, beta)).

        It starts from the reference. update(beta, kl) is the next beta; scale(step) multiplies the rewards.
        """
        logits, rows = self.reference.log(), []
        for step in range(steps):
            logits.requires_grad_()
            kl = divergence(logits, self.reference.log())
            policy = logits.softmax(-1)
            objective = (policy * self.reward).sum() * scale(step) - beta * kl
            (direction,) = torch.autograd.grad(objective, logits)
            # over the probabilities: rare answers move, too
            logits = (logits + 0.2 * direction / policy).detach()
            rows.append((step, kl.item(), beta))
            beta = update(beta, kl.item())
        return logits.softmax(-1), rows
