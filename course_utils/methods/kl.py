"""The KL penalty: exact divergence, its estimators from samples, per-token penalties, and the coefficient.

The policy is trained and must stay near the reference; KL(policy || reference) is the expectation of
log policy - log reference under the policy, in nats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from course_utils.log_probs import log_probs_of


def exact_kl(logits_current: Tensor, logits_reference: Tensor) -> Tensor:
    """KL(current || reference) over the vocabulary at every position: logits [..., V] -> [...], in nats."""
    current = logits_current.log_softmax(-1)
    reference = logits_reference.log_softmax(-1)
    probabilities, never = current.exp(), current.isneginf()
    # a token of probability 0 adds 0, even if both logits are -inf; masked later, its gradient would be nan
    current, reference = (each.masked_fill(never, 0.0) for each in (current, reference))
    return (probabilities * (current - reference)).sum(-1)


def k1(log_probs_current: Tensor, log_probs_reference: Tensor) -> Tensor:
    """Estimate of the KL from log-probabilities of the policy's samples: unbiased, often negative."""
    return log_probs_current - log_probs_reference


def k2(log_probs_current: Tensor, log_probs_reference: Tensor) -> Tensor:
    """Half the squared log-ratio (Schulman 2020): never negative, biased."""
    return (log_probs_current - log_probs_reference).square() / 2


def k3(log_probs_current: Tensor, log_probs_reference: Tensor) -> Tensor:
    """k1 plus ratio - 1, which is 0 on average (Schulman 2020): unbiased and never negative."""
    log_ratio = log_probs_reference - log_probs_current
    return log_ratio.expm1() - log_ratio


ESTIMATORS = {"k1": k1, "k2": k2, "k3": k3}


def estimator_moments(
    logits_current: Tensor, logits_reference: Tensor, estimator: Callable[[Tensor, Tensor], Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Exact mean, standard deviation and share of negative values of an estimator: [...] each.

    Logits [..., V]; sums over the whole vocabulary, weighted by the policy, without sampling.
    """
    current = logits_current.log_softmax(-1)
    reference = logits_reference.log_softmax(-1)
    probabilities, values = current.exp(), estimator(current, reference)  # (..., V) each
    mean = (probabilities * values).sum(-1)
    variance = (probabilities * (values - mean[..., None]).square()).sum(-1)
    return mean, variance.sqrt(), (probabilities * (values < 0)).sum(-1)


def completion_logits(model: nn.Module, prompts: Tensor, prompt_mask: Tensor, completions: Tensor) -> Tensor:
    """Logits that predict the completions' tokens, [batch, new, V], in fp32.

    prompts and their mask [batch, tokens] are left-padded, completions [batch, new] right-padded, like the
    arguments and result of sample_tokens.
    """
    new = completions.shape[1]
    mask = torch.cat([prompt_mask, prompt_mask.new_ones(completions.shape)], 1)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    logits = model(
        input_ids=torch.cat([prompts, completions], 1),
        attention_mask=mask,
        position_ids=positions,
        logits_to_keep=new + 1,
        use_cache=False,
    ).logits
    return logits[:, :-1].float()


def completion_log_probs(
    model: nn.Module, prompts: Tensor, prompt_mask: Tensor, completions: Tensor
) -> Tensor:
    """Log-probability of each token of the completions, [batch, new]; arguments as in completion_logits."""
    return log_probs_of(completion_logits(model, prompts, prompt_mask, completions), completions)


def completion_mask(completions: Tensor, stop_ids: Sequence[int] | Tensor = ()) -> Tensor:
    """True up to the first stop id of each row, itself included: [batch, new]."""
    stop_ids = torch.tensor(list(stop_ids), device=completions.device)
    stops = torch.isin(completions, stop_ids)
    return stops.cumsum(1) - stops.long() == 0


def rlhf_kl_penalty(
    log_probs_current: Tensor, log_probs_reference: Tensor, kl_coeff: float = 0.1, mask: Tensor | None = None
) -> Tensor:
    """Penalty of each generated token, kl_coeff * k1: [batch, tokens], 0 off the mask.

    Ziegler et al. 2019 (arXiv 1909.08593). A sequence's penalty is the sum of its tokens', never the mean:
    that would shrink with padding and with length.
    """
    check_shapes(log_probs_current, log_probs_reference, mask)
    penalty = kl_coeff * k1(log_probs_current, log_probs_reference)
    return penalty if mask is None else torch.where(mask.bool(), penalty, 0.0)


def check_shapes(log_probs_current: Tensor, log_probs_reference: Tensor, mask: Tensor | None = None) -> None:
    """ValueError unless all have the same shape."""
    shapes = {"log_probs_current": log_probs_current.shape, "log_probs_reference": log_probs_reference.shape}
    if mask is not None:
        shapes["mask"] = mask.shape
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
        raise ValueError(f"log-probabilities and mask must have one shape, [batch, tokens]; got {listed}")


class FixedKL:
    """A constant coefficient."""

    def __init__(self, coefficient: float = 0.1) -> None:
        self.coefficient = coefficient

    def update(self, kl: float) -> float:
        return self.coefficient


class AdaptiveKL:
    """A coefficient that steers the KL to a target: beta <- beta * (1 + gain * error).

    error is (kl - target) / target, clipped to [-clip, clip]. kl and target are per sequence, in nats.
    Section 2.2 of Ziegler et al. 2019, whose gain is 0.1; in their code it is batch size over a horizon.
    """

    def __init__(self, coefficient: float, target: float, gain: float = 0.1, clip: float = 0.2) -> None:
        if coefficient <= 0 or target <= 0:
            raise ValueError(f"coefficient and target must be above 0, got {coefficient} and {target}")
        self.coefficient, self.target, self.gain, self.clip = coefficient, target, gain, clip

    def update(self, kl: float) -> float:
        """Update and return the coefficient, given the mean KL of this step's sequences."""
        error = min(max((float(kl) - self.target) / self.target, -self.clip), self.clip)
        self.coefficient *= 1 + self.gain * error
        return self.coefficient
