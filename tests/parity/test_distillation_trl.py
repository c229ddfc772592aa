"""The loss of TRL's DistillationTrainer (1.16) against ours on the same batch, in both directions."""

import copy

import pytest
import torch

from course_utils.data import IGNORE, Example, collate
from course_utils.methods.distillation import answer_logits, token_kl

trl = pytest.importorskip("trl")
datasets = pytest.importorskip("datasets")

BETAS = {"forward": 0.0, "reverse": 1.0}  # between them is TRL's generalised Jensen-Shannon divergence


def another(model, by=0.05, seed=1):
    """A slightly changed copy of the model."""
    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter += by * torch.randn(parameter.shape, generator=generator)
    return other


@pytest.mark.parametrize("direction", BETAS)
def test_loss_and_gradient_are_the_same(model, tokenizer, tmp_path, direction):
    teacher = another(model)
    arguments = trl.DistillationConfig(
        output_dir=str(tmp_path / "out"),
        per_device_train_batch_size=4,
        max_completion_length=8,
        beta=BETAS[direction],
        temperature=1.0,
        report_to=[],
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
    )
    trainer = trl.DistillationTrainer(
        model=copy.deepcopy(model),
        teacher_model=teacher,
        args=arguments,
        train_dataset=datasets.Dataset.from_list([{"prompt": "the cat"}] * 4),
        processing_class=tokenizer,
    )
    prompt = [5, 6, 7]  # of one length: TRL gives no position ids to padded ones
    answers = [[11, 12], [13], [14, 15, 16, 17, 18], [19, 20, 21]]
    batch = collate([Example([*prompt, *each], [IGNORE] * 3 + each) for each in answers], 0)
    inputs = {
        "prompt_ids": batch["input_ids"][:, :3],
        "prompt_mask": batch["attention_mask"][:, :3],
        "completion_ids": batch["input_ids"][:, 3:],
        "completion_mask": batch["attention_mask"][:, 3:],
    }
    trainer.model.eval()
    theirs, _, tokens = trainer._compute_loss(trainer.model, inputs, None)
    student = copy.deepcopy(model).eval().requires_grad_(True)
    with torch.no_grad():
        wanted = answer_logits(teacher.eval(), batch)
    ours = token_kl(answer_logits(student, batch), wanted, direction).mean()
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5) and ours.item() > 0.01
    assert int(tokens) == len(wanted)
    theirs.backward()
    ours.backward()
    for (name, own), other in zip(student.named_parameters(), trainer.model.parameters(), strict=True):
        torch.testing.assert_close(own.grad, other.grad.to(own.dtype), atol=1e-5, rtol=1e-3, msg=name)
