import pytest
import torch
from transformers import TopKLogitsWarper, TopPLogitsWarper

from course_utils.generation import _cached_forward, _written_out, filter_logits, pad_left, sample_tokens

PROMPTS = [
    "a cat sat",
    "Question: is the capital of France Paris?\nAnswer:",
    "the",
    "on the mat: a helpful cat",
]


@pytest.mark.parametrize("name", ["model", "llama"])
@pytest.mark.parametrize("stop", [(), (0,), "some"])
def test_greedy_equals_generate(name, stop, tokenizer, request):
    model = request.getfixturevalue(name)
    ids, mask = pad_left([tokenizer(prompt)["input_ids"] for prompt in PROMPTS], 0)
    settings = {"input_ids": ids, "attention_mask": mask, "max_new_tokens": 20, "do_sample": False}
    if stop == "some":
        free = model.generate(**settings, eos_token_id=None, pad_token_id=0)[:, ids.shape[1] :]
        stop = (int(free[0, 5]), int(free[1, 3]))
    expected = model.generate(**settings, eos_token_id=list(stop) or None, pad_token_id=0)[:, ids.shape[1] :]
    ours = sample_tokens(model, ids, mask, max_new_tokens=20, temperature=0, stop_ids=stop)
    assert ours.shape == expected.shape
    for mine, theirs in zip(ours.tolist(), expected.tolist(), strict=True):
        end = next((i + 1 for i, token in enumerate(mine) if token in stop), len(mine))
        assert mine[:end] == theirs[:end]


@pytest.mark.parametrize("prompts", [PROMPTS, ["a cat", "a cat"]])
def test_the_written_out_gpt2_gives_the_logits_of_the_model(prompts, model, tokenizer):
    ids, mask = pad_left([tokenizer(prompt)["input_ids"] for prompt in prompts], 0)
    mask = torch.cat([mask, torch.ones(len(ids), 3, dtype=torch.long)], 1)
    positions = (mask[:, : ids.shape[1]].cumsum(1) - 1).clamp(min=0)
    fast, library = _written_out(model, mask), _cached_forward(model, mask)
    with torch.no_grad():
        for _ in range(3):
            mine, theirs = fast(ids, positions), library(ids, positions)
            torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=0)
            ids, positions = mine.argmax(-1, keepdim=True), positions[:, -1:] + 1


@pytest.mark.parametrize("top_k", [1, 5, 50])
def test_top_k_equals_transformers(top_k):
    logits = torch.randn(8, 100, generator=torch.Generator().manual_seed(0))
    assert torch.equal(filter_logits(logits, top_k=top_k), TopKLogitsWarper(top_k)(None, logits))


@pytest.mark.parametrize("top_p", [0.05, 0.3, 0.9, 0.999])
def test_top_p_equals_transformers(top_p):
    logits = 3 * torch.randn(8, 100, generator=torch.Generator().manual_seed(0))
    assert torch.equal(filter_logits(logits, top_p=top_p), TopPLogitsWarper(top_p)(None, logits))
