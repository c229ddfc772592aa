"""GRPO's parts against definitions, and its loop on a small model with a reward that can be read."""

import pytest
import torch

from course_utils.methods import grpo, ppo, reinforce
from course_utils.methods.grpo import (
    LOSS_TYPES,
    GRPOSettings,
    centred_advantages,
    grpo_experience,
    grpo_loss,
    silent_groups,
    token_weights,
    train_grpo,
)
from course_utils.methods.rollouts import answer_mask, frozen_copy, rollout

MASK = torch.tensor([[0, 1, 0, 0, 0], [0, 1, 1, 1, 0], [1, 1, 1, 1, 0]]).float()
SAMPLING = {"max_new_tokens": 6, "stop_ids": [0], "pad_id": 0}


def test_rloo_is_the_centred_advantage_times_a_constant():
    scores = torch.randn(12)
    for group in (2, 3, 6):
        left_out = reinforce.leave_one_out_advantages(scores, group)
        assert torch.allclose(left_out, group / (group - 1) * centred_advantages(scores, group), atol=1e-6)


def test_groups_without_differences_are_silent():
    scores = torch.tensor([0.0, 0, 1, 1, 0, 1])
    assert silent_groups(scores, 2).tolist() == [True, True, False]
    assert not grpo.group_advantages(scores, 2)[:4].any()


def test_weights_are_the_means_that_they_stand_for():
    values = torch.randn(MASK.shape)
    by_answer = torch.stack([row[kept].mean() for row, kept in zip(values, MASK.bool(), strict=True)]).mean()
    assert (token_weights(MASK, "grpo") * values).sum() == pytest.approx(by_answer.item(), abs=1e-6)
    assert (token_weights(MASK, "dapo") * values).sum() == pytest.approx(
        values[MASK == 1].mean().item(), abs=1e-6
    )
    assert torch.allclose(token_weights(MASK, "dr_grpo", 20), MASK / 60)
    with pytest.raises(ValueError, match="one of grpo, dapo, dr_grpo"):
        token_weights(MASK, "mean")
    with pytest.raises(ValueError, match="pass limit="):
        token_weights(MASK, "dr_grpo")


def test_with_one_limit_the_loss_is_that_of_ppo():
    old = -torch.rand(3, 5)
    new, advantages = old + 0.5 * torch.randn(3, 5), torch.tensor([1.0, -2.0, 0.5])
    theirs, _ = ppo.clipped_policy_loss(new, old, advantages[:, None].expand(3, 5), MASK, 0.2)
    assert grpo_loss(new, old, advantages, token_weights(MASK, "dapo")).item() == pytest.approx(
        theirs.item(), abs=1e-6
    )


def test_each_limit_stops_its_own_side():
    """A good token is clipped above, a bad one below; the other limit has no effect on it."""
    for advantage, ratio, stops in ((1.0, 1.5, "clip_high"), (-1.0, 0.5, "clip_low")):
        log_probs = torch.tensor([[ratio]]).log().requires_grad_()
        for name in ("clip_low", "clip_high"):
            limits = {"clip_low": 0.9, "clip_high": 0.9, name: 0.2}
            loss = grpo_loss(
                log_probs, torch.zeros(1, 1), torch.tensor([advantage]), torch.ones(1, 1), **limits
            )
            gradient = torch.autograd.grad(loss, log_probs)[0].item()
            assert (gradient == 0) == (name == stops)


def likes_even(batch):
    """A reward: 1 if the answer begins with an even token id, which holds for half of the answers."""
    first = answer_mask(batch).argmax(1, keepdim=True) + 1
    return (batch["input_ids"].gather(1, first).squeeze(1) % 2 == 0).float()


@pytest.mark.slow
@pytest.mark.parametrize("loss_type", LOSS_TYPES)
@pytest.mark.parametrize("updates", [1, 4])
def test_what_is_rewarded_becomes_frequent(model, loss_type, updates):
    settings = GRPOSettings(
        iterations=40, lr=1e-2, batch_size=32, group=16, updates=updates, loss_type=loss_type
    )
    rows = train_grpo(model.requires_grad_(True), likes_even, [[1, 2, 3], [4, 5]], SAMPLING, settings)
    assert len(rows) == 40
    assert sum(row["score"] for row in rows[-5:]) / 5 > 0.9 > 0.8 > rows[0]["score"]
    assert (max(row["clipped"] for row in rows) > 0) == (updates > 1)


@pytest.mark.parametrize("kl_in", ["loss", "reward"])
def test_a_penalty_keeps_the_policy_near(model, kl_in):
    ends = {}
    for beta in (0.0, 5.0):
        policy = frozen_copy(model).requires_grad_(True)
        settings = GRPOSettings(
            iterations=15, lr=5e-3, batch_size=32, group=16, beta=beta, kl_in=kl_in, seed=1
        )
        reference = frozen_copy(model)
        rows = train_grpo(policy, likes_even, [[1, 2, 3]], SAMPLING, settings, reference=reference)
        ends[beta] = sum(row["kl"] for row in rows[-5:])
    assert ends[5.0] < ends[0.0] / 2


def test_the_advantages_that_are_passed_are_called_once_an_iteration(model):
    called = []

    def advantages(scores, group):
        called.append(scores)
        return grpo.group_advantages(scores, group)

    settings = GRPOSettings(iterations=2, lr=1e-3, batch_size=8, group=4, updates=2)
    prompts = [[1, 2]]
    train_grpo(model.requires_grad_(True), likes_even, prompts, SAMPLING, settings, advantages=advantages)
    assert [scores.shape for scores in called] == 2 * [(8,)]


def test_the_penalty_in_the_reward_is_paid_before_the_groups_are_compared(model):
    """In the reward, beta times k1 of the answer is subtracted from the scores; in the loss, scores stay."""
    policy, reference = frozen_copy(model), frozen_copy(model)
    with torch.no_grad():
        policy.transformer.ln_f.weight.mul_(1.1)
    found = {}
    for kl_in in ("loss", "reward"):
        generator = torch.Generator().manual_seed(0)
        batch = rollout(policy, 4 * [[1, 2]], generator=generator, **SAMPLING)
        settings = GRPOSettings(iterations=1, lr=1e-3, batch_size=4, group=4, beta=2.0, kl_in=kl_in)
        batch, row = grpo_experience(
            policy, reference, likes_even, batch, settings, advantages=lambda scores, group: scores
        )
        found[kl_in] = batch["advantages"]
    log_ratio = ((batch["log_probs"] - batch["reference"]) * answer_mask(batch)).sum(1)
    assert torch.equal(found["loss"], likes_even(batch))
    assert torch.allclose(found["reward"], found["loss"] - 2 * log_ratio, atol=1e-6)
    assert row["kl"] == pytest.approx(log_ratio.mean().item(), abs=1e-6) and log_ratio.abs().max() > 0.01


def test_only_what_requires_a_gradient_moves(model):
    model.requires_grad_(False)
    with pytest.raises(ValueError, match="nothing of the model requires a gradient"):
        train_grpo(model, likes_even, [[1]], SAMPLING, GRPOSettings(iterations=1, lr=1e-3))
    model.transformer.ln_f.requires_grad_(True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train_grpo(model, likes_even, [[1]], SAMPLING, GRPOSettings(iterations=2, lr=1e-2, batch_size=16))
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"transformer.ln_f.weight", "transformer.ln_f.bias"}


def test_a_penalty_needs_a_reference(model):
    with pytest.raises(ValueError, match="needs the reference"):
        train_grpo(model, likes_even, [[1]], SAMPLING, GRPOSettings(iterations=1, lr=1e-3, beta=0.1))
