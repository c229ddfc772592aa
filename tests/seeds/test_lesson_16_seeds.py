"""Lesson 16's measured claims hold for other orders of batches; its other claims are arithmetic."""

import pytest
import torch

from course_utils.data import batches, encode_prompt_completion, load_questions
from course_utils.methods.distributed import process_loss, rows_of_process, run_processes, train_in_process
from course_utils.models import load_model
from course_utils.training import lm_loss

five_seeds = pytest.mark.parametrize("seed", range(5))
SETTINGS = {"steps": 8, "batch_size": 16, "lr": 5e-4}


def gradient(model, batch, tokens=None):
    """(flat gradient of the batch's loss divided by `tokens`, by default its own number; its own number)."""
    model.zero_grad()
    loss, count = lm_loss(model, batch)
    process_loss(loss, tokens or count, 3).backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()]), int(count)


@pytest.mark.seeds
@pytest.mark.timeout(600)
@five_seeds
def test_gradients_of_shares(seed):
    model, tokenizer = load_model("pocket")
    questions = load_questions("tune")
    examples = [encode_prompt_completion(tokenizer, row["prompt"], row["completion"]) for row in questions]
    batch = next(batches(examples, 16, seed, tokenizer.pad_token_id))
    whole, tokens = gradient(model, batch)
    shares = [
        {name: value[rows_of_process(16, rank, 3)] for name, value in batch.items()} for rank in range(3)
    ]
    wrong = torch.stack([gradient(model, share)[0] for share in shares]).mean(0)
    right = torch.stack([gradient(model, share, tokens)[0] for share in shares]).sum(0)
    distances = [((g - whole).norm() / whole.norm()).item() for g in (wrong, right)]
    print(f"seed {seed}: own means {distances[0]:.4f}, by tokens {distances[1]:.2g}")
    assert distances[0] > 0.01 and distances[1] < 1e-5


@pytest.mark.seeds
@pytest.mark.timeout(600)
@five_seeds
def test_two_processes(seed):
    alone = train_in_process("alone", "pocket", seed=seed, **SETTINGS)["losses"]
    together = run_processes(["by_hand", "script", "sharded"], seed=seed, log=lambda line: None, **SETTINGS)
    apart = {
        name: max(abs(a - b) for a, b in zip(reports[0]["losses"], alone, strict=True))
        for name, reports in together.items()
    }
    print(f"seed {seed}:", {name: f"{distance:.2g}" for name, distance in apart.items()})
    assert apart["by_hand"] < 1e-5 and apart["sharded"] < 1e-5 and apart["script"] > 5e-4
