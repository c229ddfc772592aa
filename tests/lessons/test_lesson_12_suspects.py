"""The bug hunt's three updates have the ratios that the lesson says, and are sound but for that."""

import pytest
import torch

from course_utils.lessons.lesson_12 import suspects
from course_utils.methods import ppo, rollouts

SETTINGS = ppo.PPOSettings(iterations=2, beta=0.0, lr=3e-3, epochs=4, rows=8, no_end_penalty=0.0)


@pytest.fixture(scope="module")
def moved():
    """(a policy that has moved, experience of it)."""
    policy, reference = suspects.small_policy(0)
    suspects.trained_with(ppo.update, policy, reference, SETTINGS, "moves")
    batch = rollouts.rollout(policy.model, suspects.PROMPTS * 4, **suspects.SAMPLING)
    return policy, ppo.experience(policy, reference, suspects.even_tokens, batch, 0.0, SETTINGS)[0]


@pytest.mark.parametrize(("name", "fault"), suspects.VERDICTS.items())
def test_each_update_has_its_fault(moved, name, fault):
    policy, batch = moved
    before = [p.clone() for p in policy.parameters()]
    ratios = suspects.ratios_of(suspects.UPDATES[name], policy, batch, SETTINGS)
    assert len(ratios) == 2 and suspects.ratio_fault(*ratios) == fault
    assert all(map(torch.equal, before, policy.parameters())), "the policy stays as it is"


def test_on_a_policy_that_has_not_moved_the_reference_is_not_seen():
    policy, reference = suspects.small_policy(0)
    batch = rollouts.rollout(policy.model, suspects.PROMPTS * 4, **suspects.SAMPLING)
    batch, _ = ppo.experience(policy, reference, suspects.even_tokens, batch, 0.0, SETTINGS)
    assert (
        suspects.ratio_fault(*suspects.ratios_of(suspects.UPDATES["C"], policy, batch, SETTINGS)) == "sound"
    )


def test_the_reward_is_the_share_of_even_tokens():
    batch = {"labels": torch.tensor([[-100, 2, 4, 5], [-100, -100, 7, 9]])}
    assert suspects.even_tokens(batch).tolist() == pytest.approx([2 / 3, 0.0])
