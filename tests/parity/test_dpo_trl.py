"""The same batch of pairs in TRL's DPOTrainer and in ours: loss, metrics, gradients; full and LoRA."""

import copy
from types import SimpleNamespace

import pytest
import torch

from course_utils.data import collate_pairs
from course_utils.methods import dpo, lora
from course_utils.preferences import Pair, encode_pairs

trl = pytest.importorskip("trl")
datasets = pytest.importorskip("datasets")
peft = pytest.importorskip("peft")

ROWS = [
    {"prompt": "Question: is the cat", "chosen": " sat on a mat", "rejected": " helpful"},
    {"prompt": "You are", "chosen": " a cat", "rejected": " the capital of France is Paris"},
    {"prompt": "a", "chosen": " mat", "rejected": " cat"},
]
TARGETS = ["c_attn"]


def trainer_of(model, tokenizer, folder, **options):
    config = trl.DPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=len(ROWS),
        report_to=[],
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
        disable_dropout=True,
        **options.pop("config"),
    )
    return trl.DPOTrainer(
        model,
        args=config,
        train_dataset=datasets.Dataset.from_list(ROWS),
        processing_class=tokenizer,
        **options,
    )


def moved(model):
    """The model after a training step, so that it differs from the reference."""
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.02 * torch.randn_like(parameter)


def compare(trainer, our_model, reference, tokenizer, beta, loss):
    batch = next(iter(trainer.get_train_dataloader()))
    pairs = encode_pairs(tokenizer, [Pair(**row) for row in ROWS])
    theirs = {tuple(row[row != tokenizer.pad_token_id].tolist()) for row in batch["input_ids"]}
    assert theirs == {tuple(answer.input_ids[:-1]) for pair in pairs for answer in pair}  # shuffled
    our_batch = collate_pairs(pairs, tokenizer.pad_token_id)
    our_batch["reference"] = reference.T.flatten()
    theirs = trainer.compute_loss(trainer.model.eval(), batch)
    losses, metrics = dpo.batch_loss(our_model, our_batch, beta, getattr(dpo, f"{loss}_loss"))
    assert losses.mean().item() == pytest.approx(theirs.item(), abs=1e-5)
    logged = {name: values[-1] for name, values in trainer._metrics["eval"].items()}
    names = {"chosen_log_prob": "logps/chosen", "rejected_log_prob": "logps/rejected"}
    if loss == "dpo":
        names |= {
            "margin": "rewards/margins",
            "accuracy": "rewards/accuracies",
            "chosen_reward": "rewards/chosen",
            "rejected_reward": "rewards/rejected",
        }
    for ours, name in names.items():
        assert metrics[ours] == pytest.approx(logged[name], abs=1e-4), name
    theirs.backward()
    losses.mean().backward()
    return theirs.item()


@pytest.mark.parametrize(("loss", "name"), [("dpo", "sigmoid"), ("ipo", "ipo")])
def test_full(model, tokenizer, tmp_path, loss, name):
    ours = copy.deepcopy(model)
    trainer = trainer_of(
        model, tokenizer, tmp_path, config={"beta": 0.3, "loss_type": name}, ref_model=copy.deepcopy(model)
    )
    pairs = encode_pairs(tokenizer, [Pair(**row) for row in ROWS])
    reference = dpo.reference_log_probs(ours, pairs, tokenizer.pad_token_id)
    moved(ours)
    moved(trainer.model)
    value = compare(trainer, ours, reference, tokenizer, 0.3, loss)
    assert abs(value - 0.693) > 0.01
    theirs = dict(trainer.model.named_parameters())
    for key, parameter in ours.named_parameters():
        assert torch.allclose(parameter.grad, theirs[key].grad, atol=1e-5), key


@pytest.mark.parametrize(("loss", "name"), [("dpo", "sigmoid"), ("ipo", "ipo")])
def test_lora(model, tokenizer, tmp_path, loss, name):
    ours = copy.deepcopy(model)
    config = peft.LoraConfig(
        r=4, lora_alpha=8.0, target_modules=TARGETS, fan_in_fan_out=True, task_type="CAUSAL_LM"
    )
    trainer = trainer_of(
        model, tokenizer, tmp_path, config={"beta": 0.3, "loss_type": name}, peft_config=config
    )
    lora.apply_lora(ours, rank=4, alpha=8.0, target_modules=TARGETS)
    theirs = {
        key.removeprefix("base_model.model.").replace(".default.weight", ""): parameter
        for key, parameter in trainer.model.named_parameters()
        if parameter.requires_grad
    }
    mine = {key: p for key, p in ours.named_parameters() if p.requires_grad}
    assert mine.keys() == theirs.keys()
    torch.manual_seed(5)
    with torch.no_grad():
        for key, parameter in mine.items():
            parameter.copy_(0.2 * torch.randn_like(parameter))
            theirs[key].copy_(parameter)
    pairs = encode_pairs(tokenizer, [Pair(**row) for row in ROWS])
    with lora.adapter_off(ours):
        reference = dpo.reference_log_probs(ours, pairs, tokenizer.pad_token_id)
    value = compare(trainer, ours, reference, tokenizer, 0.3, loss)
    assert abs(value - 0.693) > 0.01
    for key, parameter in mine.items():
        assert torch.allclose(parameter.grad, theirs[key].grad, atol=1e-5), key


def test_orpo_has_trl_s_odds():
    """TRL adds the loss of the chosen answers, per token of the batch, in another function."""
    orpo = pytest.importorskip("trl.experimental.orpo")
    torch.manual_seed(0)
    lengths = torch.randint(3, 9, (2, 5)).float()
    means = -2 * torch.rand(2, 5) - 0.05
    trainer = SimpleNamespace(beta=0.3, accelerator=SimpleNamespace(device="cpu"))
    theirs, *rewards, _, _ = orpo.ORPOTrainer.odds_ratio_loss(trainer, *means)
    loss, *ours = dpo.orpo_loss(*(means * lengths), *torch.zeros(2, 5), 0.3, lengths)
    assert torch.allclose(loss, -means[0] - theirs, atol=1e-5)
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(ours, rewards, strict=True))
