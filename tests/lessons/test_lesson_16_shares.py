"""Training in shares, one after the other, is what the processes do; a wrong division is seen."""

import pytest
import torch
from helpers import tiny_model

from course_utils.lessons.lesson_16.shares import RULES, train_in_shares
from course_utils.methods.distributed import train_alone


def stream():
    """Batches of eight rows; the odd rows have fewer target tokens."""
    generator = torch.Generator().manual_seed(0)
    while True:
        ids = torch.randint(0, 24, (8, 6), generator=generator)
        labels = ids.clone()
        labels[::2, :4] = -100
        yield {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


@pytest.fixture(scope="module")
def alone():
    return train_alone(tiny_model(), stream(), 4, 1e-2)[2]


def farthest(rule, world, alone):
    losses, weights = train_in_shares(tiny_model(), stream(), 4, 1e-2, world, rule)
    return max(abs(a - b) for a, b in zip(losses, alone, strict=True)), weights


@pytest.mark.parametrize("world", (2, 4))
def test_divided_by_all_tokens_the_losses_are_those_of_one_process(world, alone):
    far, weights = farthest("all tokens", world, alone)
    assert far < 1e-5 and weights == pytest.approx([1.0] * 4 * world)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "all tokens"])
def test_every_other_rule_leaves_them(rule, alone):
    assert farthest(rule, 2, alone)[0] > 2e-5


def test_a_mean_of_means_weighs_tokens_by_their_share(alone):
    _, weights = farthest("own means", 2, alone)
    counts = (4 * 2, 4 * 5)  # even rows have two target tokens, odd rows five
    for first, second in zip(weights[::2], weights[1::2], strict=True):
        assert [first, second] == pytest.approx([sum(counts) / 2 / own for own in counts])
