"""The weights' change in one step of TRL's GRPOTrainer and RLOOTrainer against ours on the same answers."""

import copy

import pytest
import torch

from course_utils.data import IGNORE, Example, collate
from course_utils.log_probs import token_log_probs
from course_utils.methods import reinforce, rollouts

trl = pytest.importorskip("trl")
datasets = pytest.importorskip("datasets")

PROMPTS = ["the cat sat on", "You are a helpful"]  # of one length: TRL gives no position ids to padded ones
GROUP, NEW, BETA, LR = 4, 6, 0.3, 0.1


@pytest.mark.parametrize("method", ["grpo", "rloo"])
def test_a_step_changes_the_weights_alike(model, tokenizer, tmp_path, method):
    model.save_pretrained(tmp_path)  # the reference, which the trainer loads by its path
    tokenizer.save_pretrained(tmp_path)
    policy = copy.deepcopy(model)
    policy.config._name_or_path = str(tmp_path)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    ours, kept = copy.deepcopy(policy), {}

    def reward(prompts, completions, completion_ids, **_):
        kept.update(prompts=prompts, answers=completion_ids)
        kept["scores"] = [float(len(set(text))) for text in completions]
        return kept["scores"]

    config, trainer = {"grpo": (trl.GRPOConfig, trl.GRPOTrainer), "rloo": (trl.RLOOConfig, trl.RLOOTrainer)}[
        method
    ]
    arguments = config(
        output_dir=str(tmp_path / "out"),
        per_device_train_batch_size=len(PROMPTS) * GROUP,
        num_generations=GROUP,
        max_completion_length=NEW,
        beta=BETA,
        temperature=1.0,
        max_steps=1,
        max_grad_norm=0.0,
        report_to=[],
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
        save_strategy="no",
        disable_tqdm=True,
    )
    if method == "grpo":
        arguments.use_bias_correction_kl = False  # the paper's k3, not multiplied by the ratio
    sgd = torch.optim.SGD(policy.parameters(), lr=LR)
    constant = torch.optim.lr_scheduler.LambdaLR(sgd, lambda _: 1.0)
    trainer(
        policy,
        reward_funcs=reward,
        args=arguments,
        processing_class=tokenizer,
        optimizers=(sgd, constant),
        train_dataset=datasets.Dataset.from_list([{"prompt": text} for text in PROMPTS]),
    ).train()

    assert len({len(tokenizer(prompt)["input_ids"]) for prompt in PROMPTS}) == 1
    rows = []
    for prompt, answer in zip(kept["prompts"], kept["answers"], strict=True):
        ids = tokenizer(prompt)["input_ids"]
        rows.append(Example([*ids, *answer], [IGNORE] * len(ids) + list(answer)))
    batch = collate(rows, 0)
    batch["scores"] = torch.tensor(kept["scores"])
    with torch.no_grad():
        batch["reference"] = token_log_probs(model, batch)
    loss, _ = reinforce.group_loss(ours.requires_grad_(True), batch, method, BETA, GROUP)
    # TRL's RLOO sums over an answer's tokens, as its formula does; ours divides by all tokens of the batch
    scale = rollouts.answer_mask(batch).sum() / len(rows) if method == "rloo" else 1.0
    gradients = torch.autograd.grad(scale * loss, list(ours.parameters()))
    for parameter, gradient, trained in zip(ours.parameters(), gradients, policy.parameters(), strict=True):
        assert torch.allclose(parameter - LR * gradient, trained, atol=2e-6)
    assert max(g.abs().max() for g in gradients) > 1e-3
