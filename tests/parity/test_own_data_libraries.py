"""Lesson 17's files and training, in PEFT and in TRL."""

import copy
import dataclasses
import json

import pytest
import torch

from course_utils.chatml import add_chat_tokens, encode_conversation, marker_ids
from course_utils.data import batches, collate
from course_utils.methods.lora_files import CONFIG_FILE
from course_utils.methods.token_rows import load_chat_adapter
from course_utils.own.own_run import RUN_METHODS, Plan, prepare_model, save_result
from course_utils.training import train

peft, trl, datasets = (pytest.importorskip(name) for name in ("peft", "trl", "datasets"))

TALKS = [
    [{"role": "user", "content": f"is {one} {other}?"}, {"role": "assistant", "content": f"a {other} sat."}]
    for one in ("Paris", "France", "the cat", "the mat")
    for other in ("cat", "capital")
]
PLAN = Plan("lora", 0, steps=3, lr=1e-2, rank=4, alpha=8.0)


@pytest.fixture(params=["model", "llama"])
def base(request):
    """GPT-2 with a tied head, Llama with an untied one."""
    return request.getfixturevalue(request.param)


def trained(base, tokenizer, method):
    """A prepared copy whose adapter and rows have moved from their start."""
    torch.manual_seed(3)
    model = prepare_model(copy.deepcopy(base), tokenizer, dataclasses.replace(PLAN, method=method))
    for name, parameter in model.named_parameters():
        if name.endswith(("lora_B", "rows")):
            parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval()


def logits(model, tokenizer):
    batch = collate([encode_conversation(tokenizer, messages) for messages in TALKS], 0)
    with torch.no_grad():
        return model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits


@pytest.mark.parametrize("method", [method for method in RUN_METHODS if method != "full"])
def test_peft_loads_what_is_written(base, tokenizer, tmp_path, method):
    add_chat_tokens(copy.deepcopy(base), tokenizer)
    model = trained(base, tokenizer, method)
    save_result(model, tokenizer, tmp_path, method)
    fresh, ours = copy.deepcopy(base), copy.deepcopy(base)
    fresh.resize_token_embeddings(len(tokenizer))
    theirs = peft.PeftModel.from_pretrained(fresh, tmp_path).eval()
    load_chat_adapter(ours, tmp_path, check_base=method == "lora")
    torch.testing.assert_close(logits(theirs, tokenizer), logits(ours, tokenizer), atol=1e-5, rtol=0)
    if method == "lora":
        torch.testing.assert_close(logits(theirs, tokenizer), logits(model, tokenizer), atol=1e-5, rtol=0)
    config = json.loads((tmp_path / CONFIG_FILE).read_text())
    assert config["fan_in_fan_out"] == (base.config.model_type == "gpt2")


def sft_trainer(model, tokenizer, folder, **options):
    settings = {
        "max_steps": 3,
        "per_device_train_batch_size": len(TALKS),
        "learning_rate": PLAN.lr,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0,
        "weight_decay": 0.01,
        "logging_steps": 1,
        "report_to": "none",
        "save_strategy": "no",
        "gradient_checkpointing": False,
        "bf16": False,
        "disable_tqdm": True,
        "use_cpu": True,
        "assistant_only_loss": True,
        "max_length": None,
    }
    data = datasets.Dataset.from_list([{"messages": messages} for messages in TALKS])
    config = trl.SFTConfig(str(folder), **settings)
    return trl.SFTTrainer(model, config, train_dataset=data, processing_class=tokenizer, **options)


def test_trl_trains_our_adapter_to_the_same_losses(base, tokenizer, tmp_path):
    add_chat_tokens(copy.deepcopy(base), tokenizer)
    trainer = sft_trainer(trained(base, tokenizer, "lora"), tokenizer, tmp_path)
    trainer.train()
    theirs = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    examples = [encode_conversation(tokenizer, messages) for messages in TALKS]
    model, stream = trained(base, tokenizer, "lora"), batches(examples, len(TALKS), 0, 0)
    history = train(model, stream, steps=3, lr=PLAN.lr, warmup=0.0)
    assert history.column("loss")[1] == pytest.approx(theirs, rel=1e-3)
    assert theirs[2] < theirs[0]


def test_trl_does_not_train_peft_token_rows_of_a_tied_head(model, tokenizer, tmp_path):
    """If this fails one day, the two are compatible, and lessons 17 and 09 can use LoraConfig alone."""
    add_chat_tokens(model, tokenizer)
    config = peft.LoraConfig(
        r=4,
        lora_alpha=8,
        target_modules=["c_attn"],
        task_type="CAUSAL_LM",
        fan_in_fan_out=True,
        trainable_token_indices=list(marker_ids(tokenizer)),
    )
    trainer = sft_trainer(model, tokenizer, tmp_path, peft_config=config)
    with pytest.raises(AttributeError, match="TrainableTokensWrapper"):
        trainer.train()
