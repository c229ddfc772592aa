"""The divergence against torch.distributions and closed forms; penalties against the model's own loss."""

import math

import pytest
import torch
from helpers import tiny_model
from torch.distributions import Categorical, Normal, kl_divergence

from course_utils.data import Example, collate
from course_utils.generation import pad_left, sample_tokens
from course_utils.log_probs import log_probs_of
from course_utils.methods import kl
from course_utils.training import lm_loss

DOUBLE = {"dtype": torch.float64}


def pair(seed=0, shape=(3, 5, 7)):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, **DOUBLE) for _ in range(2)]


def gaussian(mean, points=20_001, width=14):
    """N(0, 1) and N(mean, 1) as log-probabilities on a fine grid: sums over it are integrals."""
    x = torch.linspace(-width, width, points, **DOUBLE)
    return [Normal(centre, 1.0).log_prob(x) for centre in (0.0, mean)]


def test_exact_kl_is_that_of_torch():
    current, reference = pair()
    expected = kl_divergence(Categorical(logits=current), Categorical(logits=reference))
    assert torch.allclose(kl.exact_kl(current, reference), expected, atol=1e-12)
    assert not torch.allclose(kl.exact_kl(reference, current), expected, atol=0.1)
    assert torch.equal(kl.exact_kl(current, current), torch.zeros(3, 5, **DOUBLE))


def test_exact_kl_where_tokens_are_impossible():
    current = torch.tensor([0.0, 0.0, -torch.inf])
    assert kl.exact_kl(current, torch.tensor([0.0, 0.0, 0.0])).item() == pytest.approx(math.log(1.5))
    assert kl.exact_kl(current, torch.tensor([0.0, 0.0, -torch.inf])).item() == 0
    assert kl.exact_kl(torch.tensor([0.0, 0.0, 0.0]), current).item() == math.inf


@pytest.mark.parametrize("other", [-torch.inf, 0.3])
def test_the_gradient_where_a_token_is_impossible_is_that_on_paper(other):
    current, reference = torch.tensor([[0.5, 0.0, -torch.inf], [0.0, 1.0, other]]).requires_grad_()
    gradients = torch.autograd.grad(kl.exact_kl(current, reference), (current, reference))
    p, q = current.detach().softmax(-1), reference.detach().softmax(-1)
    ratio = (p[:2] / q[:2]).log()  # the third token's term is 0, whatever its log-ratio
    on_paper = torch.cat([p[:2] * (ratio - (p[:2] * ratio).sum()), torch.zeros(1)])
    assert torch.allclose(gradients[0], on_paper, atol=1e-6) and torch.allclose(
        gradients[1], q - p, atol=1e-6
    )


@pytest.mark.parametrize("mean", [0.1, 1.0, 2.0])
def test_moments_on_gaussians_have_their_closed_forms(mean):
    """log-ratio ~ N(-d^2/2, d^2), so all moments are known (and Schulman's figures follow)."""
    current, reference = gaussian(mean)
    square = mean**2
    expected = {
        "k1": (square / 2, mean, 0.5 * math.erfc(mean / 2 / math.sqrt(2))),
        "k2": (square / 2 + square**2 / 8, math.sqrt(square**2 / 2 + square**3 / 4), 0.0),
        "k3": (square / 2, math.sqrt(math.exp(square) - 1 - square), 0.0),
    }
    for name, estimator in kl.ESTIMATORS.items():
        moments = [value.item() for value in kl.estimator_moments(current, reference, estimator)]
        assert moments == pytest.approx(expected[name], rel=1e-3, abs=1e-4), name


def test_schulmans_figures():
    """Bias and spread over KL, as published: 20, 1.42, 1.42 at 0.1; 2, 1.73, 1.7 at 1."""
    figures = {0.1: ((0, 20), (0.002, 1.42), (0, 1.42)), 1.0: ((0, 2), (0.25, 1.73), (0, 1.7))}
    for mean, published in figures.items():
        exact = mean**2 / 2
        for (bias, spread), estimator in zip(published, kl.ESTIMATORS.values(), strict=True):
            value, std, _ = kl.estimator_moments(*gaussian(mean), estimator)
            assert (value / exact - 1).item() == pytest.approx(bias, abs=1e-3)
            assert (std / exact).item() == pytest.approx(spread, rel=5e-3)


def test_estimators_on_samples():
    current, reference = pair(shape=(7,))
    tokens = Categorical(logits=current).sample((200_000,))
    log_probs = [logits.log_softmax(-1)[tokens] for logits in (current, reference)]
    exact = kl.exact_kl(current, reference)
    for estimator in (kl.k1, kl.k3):
        values = estimator(*log_probs)
        assert abs(values.mean() - exact) < 5 * values.std() / len(tokens) ** 0.5
    assert (kl.k1(*log_probs) < 0).any()
    assert (kl.k2(*log_probs) >= 0).all() and (kl.k3(*log_probs) >= 0).all()


def test_moments_of_a_batch_agree_with_exact_kl():
    current, reference = pair()
    exact = kl.exact_kl(current, reference)
    for name in ("k1", "k3"):
        mean, std, negative = kl.estimator_moments(current, reference, kl.ESTIMATORS[name])
        assert torch.allclose(mean, exact, atol=1e-12)
        assert std.shape == negative.shape == exact.shape


def test_k3_keeps_its_digits_where_the_policies_nearly_agree():
    log_probs = torch.tensor([-3.0])
    assert kl.k3(log_probs, log_probs + 1e-3).item() == pytest.approx(5e-7, rel=0.05)


def test_token_log_probs_are_those_of_the_softmax():
    logits, tokens = pair()[0], torch.randint(7, (3, 5))
    expected = Categorical(logits=logits).log_prob(tokens)
    assert torch.allclose(log_probs_of(logits, tokens), expected, atol=1e-12)


def test_completion_log_probs_are_the_loss_of_each_row_alone():
    model, prompts = tiny_model(), [[5, 6, 7], [8, 9, 10, 11, 12]]
    ids, mask = pad_left(prompts, 0)
    generator = torch.Generator().manual_seed(0)
    new = sample_tokens(model, ids, mask, max_new_tokens=6, generator=generator)
    with torch.no_grad():
        log_probs = kl.completion_log_probs(model, ids, mask, new)
        for row, (prompt, tokens) in enumerate(zip(prompts, new.tolist(), strict=True)):
            example = Example(prompt + tokens, [-100] * len(prompt) + tokens)
            loss, count = lm_loss(model, collate([example], 0))
            assert count == 6
            assert log_probs[row].sum().item() == pytest.approx(-loss.item(), rel=1e-5)


def test_completion_mask_ends_with_the_first_stop():
    completions = torch.tensor([[5, 2, 2, 2], [5, 6, 7, 8], [3, 5, 2, 5]])
    expected = [[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]]
    assert kl.completion_mask(completions, [2, 3]).long().tolist() == expected
    assert kl.completion_mask(completions).all()


def test_penalties_are_zero_where_masked_whatever_stands_there():
    current = torch.tensor([[-1.0, -2.0, -torch.inf], [-0.5, torch.nan, -3.0]])
    reference = torch.tensor([[-1.5, -1.0, -torch.inf], [-1.0, -1.0, -1.0]])
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    penalty = kl.rlhf_kl_penalty(current, reference, 0.2, mask)
    assert torch.allclose(penalty, torch.tensor([[0.1, -0.2, 0.0], [0.1, 0.0, 0.0]]))


def test_default_coefficient_and_no_mask():
    current, reference = pair(shape=(2, 4))
    assert torch.allclose(kl.rlhf_kl_penalty(current, reference), 0.1 * (current - reference))


def test_padding_leaves_a_sequences_total_alone():
    current, reference = pair(shape=(2, 4))
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    narrow = kl.rlhf_kl_penalty(current, reference, 0.1, mask)
    wide = [torch.cat([x, torch.randn(2, 4)], 1) for x in (current, reference)]
    padded = kl.rlhf_kl_penalty(*wide, 0.1, torch.cat([mask, torch.zeros_like(mask)], 1))
    assert torch.allclose(narrow.sum(1), padded.sum(1))


def test_shapes_that_would_broadcast_are_refused():
    with pytest.raises(ValueError, match=r"log_probs_reference \[2, 1\]"):
        kl.rlhf_kl_penalty(torch.zeros(2, 3), torch.zeros(2, 1))
    with pytest.raises(ValueError, match=r"mask \[2, 4\]"):
        kl.rlhf_kl_penalty(torch.zeros(2, 3), torch.zeros(2, 3), mask=torch.ones(2, 4))


def test_adaptive_coefficient_follows_the_paper():
    controller = kl.AdaptiveKL(0.5, target=4.0)
    assert controller.update(4.0) == 0.5
    assert controller.update(4.4) == pytest.approx(0.5 * 1.01)  # error 0.1, gain 0.1
    assert controller.update(400.0) == pytest.approx(0.5 * 1.01 * 1.02)  # clipped at 0.2
    assert controller.update(-400.0) == pytest.approx(0.5 * 1.01 * 1.02 * 0.98)
    fixed = kl.FixedKL(0.3)
    assert fixed.update(100.0) == fixed.coefficient == 0.3


@pytest.mark.parametrize("start", [0.02, 5.0])
def test_adaptive_coefficient_finds_the_one_whose_best_policy_has_the_target(start):
    """Closed form: the best policy is reference * exp(reward / beta), normalised."""
    reference, reward = pair(3, (30,))
    target, controller = 0.5, kl.AdaptiveKL(start, target=0.5, gain=0.5)
    for _ in range(400):
        controller.update(kl.exact_kl(reference.log_softmax(-1) + reward / controller.coefficient, reference))
    best = reference.log_softmax(-1) + reward / controller.coefficient
    assert kl.exact_kl(best, reference).item() == pytest.approx(target, rel=1e-3)


def test_coefficients_must_be_positive():
    with pytest.raises(ValueError, match="above 0"):
        kl.AdaptiveKL(0.0, target=1.0)
