"""The divergence that TRL's trainers log in a step is ours, on the completions that they sampled."""

import pytest
import torch
from helpers import tiny_model, tiny_tokenizer

from course_utils.methods import kl

datasets = pytest.importorskip("datasets")
trl = pytest.importorskip("trl")

PROMPTS = ["You are a", "Question: is", "the cat sat", "Answer: a"]


def one_step(kind, config, folder, **settings):
    """(logged kl, completions, policy, reference): the reference is what was saved, the policy has moved."""
    tokenizer, saved = tiny_tokenizer(), tiny_model(vocab_size=len(tiny_tokenizer()))
    saved.save_pretrained(folder / "reference")
    tokenizer.save_pretrained(folder / "reference")
    policy = type(saved).from_pretrained(folder / "reference")
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    policy.config._name_or_path = str(folder / "reference")
    moved = type(saved).from_pretrained(folder / "reference")
    moved.load_state_dict(policy.state_dict())
    seen = {}

    def reward(prompts, completion_ids, **_):
        seen.update(prompts=prompts, completions=completion_ids)
        return [float(len(ids)) for ids in completion_ids]

    arguments = config(
        output_dir=str(folder / "out"),
        beta=0.1,
        max_steps=1,
        per_device_train_batch_size=4,
        num_generations=2,
        max_completion_length=6,
        temperature=1.0,
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
        report_to="none",
        logging_steps=1,
        save_strategy="no",
        seed=0,
        disable_tqdm=True,
        **settings,
    )
    trainer = kind(
        model=policy,
        reward_funcs=reward,
        args=arguments,
        processing_class=tokenizer,
        train_dataset=datasets.Dataset.from_dict({"prompt": PROMPTS}),
    )
    trainer.train()
    logged = next(row["kl"] for row in trainer.state.log_history if "kl" in row)
    return logged, seen, moved.eval(), saved.eval()


def our_log_probs(seen, model):
    """Log-probabilities of all sampled tokens, in one flat tensor; each row alone, so without padding."""
    tokenizer = tiny_tokenizer()
    parts = []
    for prompt, completion in zip(seen["prompts"], seen["completions"], strict=True):
        ids = torch.tensor([tokenizer(prompt)["input_ids"]])
        with torch.no_grad():
            parts.append(
                kl.completion_log_probs(model, ids, torch.ones_like(ids), torch.tensor([completion]))[0]
            )
    return torch.cat(parts)


def test_grpo_logs_k3(tmp_path):
    logged, seen, policy, reference = one_step(trl.GRPOTrainer, trl.GRPOConfig, tmp_path)
    ours = kl.k3(our_log_probs(seen, policy), our_log_probs(seen, reference)).mean().item()
    assert ours > 0.01
    assert logged == pytest.approx(ours, rel=1e-3)


def test_rloo_logs_k1(tmp_path):
    logged, seen, policy, reference = one_step(trl.RLOOTrainer, trl.RLOOConfig, tmp_path)
    ours = kl.k1(our_log_probs(seen, policy), our_log_probs(seen, reference)).mean().item()
    assert abs(ours) > 0.01
    assert logged == pytest.approx(ours, rel=1e-3)
