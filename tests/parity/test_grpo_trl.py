"""The loss of TRL's GRPOTrainer (1.16) against ours on the same batch, for its three normalisers."""

import copy

import pytest
import torch

from course_utils.data import IGNORE, Example, collate
from course_utils.log_probs import token_log_probs
from course_utils.methods.grpo import LOSS_TYPES, group_advantages, grpo_loss, token_weights
from course_utils.methods.kl import k3
from course_utils.methods.rollouts import answer_mask

trl = pytest.importorskip("trl")
datasets = pytest.importorskip("datasets")

LIMIT, BETA, CLIPS = 9, 0.3, (0.1, 0.25)


def moved(model, by, seed):
    """A slightly changed copy of the model."""
    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter += by * torch.randn(parameter.shape, generator=generator)
    return other


def trainer_of(model, tokenizer, folder, loss_type, beta):
    arguments = trl.GRPOConfig(
        output_dir=str(folder / "out"),
        per_device_train_batch_size=4,
        num_generations=4,
        max_completion_length=LIMIT,
        beta=beta,
        epsilon=CLIPS[0],
        epsilon_high=CLIPS[1],
        loss_type=loss_type,
        use_bias_correction_kl=False,  # the paper's k3, not multiplied by the ratio
        report_to=[],
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
    )
    return trl.GRPOTrainer(
        model,
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=arguments,
        processing_class=tokenizer,
        train_dataset=datasets.Dataset.from_list([{"prompt": "the cat"}]),
    )


@pytest.mark.parametrize("beta", [0.0, BETA])
@pytest.mark.parametrize("loss_type", LOSS_TYPES)
def test_the_loss_is_the_same(model, tokenizer, tmp_path, loss_type, beta):
    model.save_pretrained(tmp_path)  # the reference, which the trainer loads by its path
    tokenizer.save_pretrained(tmp_path)
    old, policy = moved(model, 0.02, 1), moved(model, 0.04, 2)
    policy.config._name_or_path = str(tmp_path)
    prompts = [[5, 6, 7], [8, 9, 10]]  # of one length: TRL gives no position ids to padded ones
    answers = [[11, 12], [13], [14, 15, 16, 17, 18], [19, 20, 21], [22], [23, 24], [25] * 7, [26, 27]]
    rows = [
        Example([*prompts[place // 4], *answer], [IGNORE] * 3 + answer)
        for place, answer in enumerate(answers)
    ]
    batch, scores = collate(rows, 0), torch.tensor([1.0, 0, 0, 1, 0, 0, 0, 1])
    mask, advantages = answer_mask(batch), group_advantages(scores, 4)
    with torch.no_grad():
        log_probs, before, reference = (token_log_probs(each, batch) for each in (policy, old, model))
    weights = token_weights(mask, loss_type, LIMIT)
    ours = grpo_loss(log_probs, before, advantages, weights, *CLIPS)
    if beta:
        ours = ours + beta * (weights * k3(log_probs, reference)).sum()

    trainer = trainer_of(policy, tokenizer, tmp_path, loss_type, beta)
    trainer.model.eval()  # the mode in which it neither accumulates nor splits
    inputs = {
        "prompt_ids": batch["input_ids"][:, :3],
        "prompt_mask": batch["attention_mask"][:, :3],
        "completion_ids": batch["input_ids"][:, 3:],
        "completion_mask": batch["attention_mask"][:, 3:],
        "advantages": advantages,
        "old_per_token_logps": before[:, 2:],
        "ref_per_token_logps": reference[:, 2:],
        "num_items_in_batch": mask.sum(),
    }
    with torch.no_grad():
        theirs = trainer._compute_loss(trainer.model, inputs)
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)
    ratio = (log_probs - before).exp()[mask == 1]
    assert ((ratio < 1 - CLIPS[0]) | (ratio > 1 + CLIPS[1])).float().mean() > 0.1, "some tokens are clipped"
