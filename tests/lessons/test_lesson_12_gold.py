"""The gold score is optimised directly: what wins is still a story, for the model that told them before."""

import copy
import statistics

import pytest
import torch

from course_utils.artifacts import sft_model
from course_utils.lessons.lesson_12 import judging
from course_utils.methods import rollouts
from course_utils.methods.ppo import PPOSettings, train_ppo
from course_utils.preferences import request
from course_utils.session import start
from course_utils.world.annotator import neutral_prompts
from course_utils.world.gold import gold_score

pytestmark = pytest.mark.seeds  # the assistant, then six minutes of sampling and of PPO


def answers(model, reference, tokenizer, prompts, seed):
    """(gold score, loss of the reference in nats a token) of an answer to each prompt."""
    ids = rollouts.encode_prompts(tokenizer, prompts)
    generator = torch.Generator().manual_seed(seed)
    batch = rollouts.rollout(model, ids, generator=generator, **rollouts.sampling_of(tokenizer, 150))
    tokens, texts = rollouts.answer_mask(batch).sum(1), rollouts.answer_texts(tokenizer, batch)
    log_probs = torch.zeros(len(ids))
    for places, part in judging.by_length(batch, 16):
        log_probs[places] = judging.distance(model, reference, part)[1]
    asked = map(request, prompts)
    return [gold_score(*pair) for pair in zip(asked, texts, strict=True)], (-log_probs / tokens).tolist()


@pytest.fixture(scope="module")
def parts():
    model, tokenizer = sft_model(start("pocket", "quick", 0))
    prompts = neutral_prompts()
    cut = len(prompts) // 5
    return model.requires_grad_(False), tokenizer, prompts[cut:], prompts[:cut]


def test_ppo_on_the_gold_score_itself_ends_in_stories(parts):
    model, tokenizer, prompts, held_out = parts
    gold_before, loss_before = answers(model, model, tokenizer, held_out * 4, seed=1)
    policy = copy.deepcopy(model).requires_grad_(True)

    def reward(batch):
        texts = zip(
            judging.requests_of(tokenizer, batch), rollouts.answer_texts(tokenizer, batch), strict=True
        )
        return torch.tensor([gold_score(*pair) for pair in texts])

    train_ppo(
        policy,
        model,
        reward,
        rollouts.encode_prompts(tokenizer, prompts),
        rollouts.sampling_of(tokenizer),
        PPOSettings(beta=0.0, lr=1e-4, iterations=12, batch_size=32, rows=8, epochs=1, seed=0),
    )
    gold_after, loss_after = answers(policy, model, tokenizer, held_out * 4, seed=1)
    assert statistics.mean(gold_after) > statistics.mean(gold_before) + 0.02, "it was optimised"
    assert statistics.mean(loss_after) < 2 * statistics.mean(loss_before)


def test_the_best_of_64_by_the_gold_score_are_stories(parts):
    model, tokenizer, _, held_out = parts
    golds, losses, every = [], [], []
    for prompt in held_out[:8]:
        gold, loss = answers(model, model, tokenizer, [prompt] * 64, seed=2)
        best = max(range(64), key=gold.__getitem__)
        golds.append(gold[best])
        losses.append(loss[best])
        every += loss
    assert statistics.mean(golds) > 0.7
    assert statistics.mean(losses) < 2 * statistics.mean(every)
