"""The loss of TRL's SFTTrainer on a batch of conversations is ours."""

import pytest
import torch

from course_utils.chatml import add_chat_tokens, encode_conversation
from course_utils.data import collate, load_conversations
from course_utils.training import lm_loss

trl = pytest.importorskip("trl")
datasets = pytest.importorskip("datasets")


@pytest.fixture
def rows():
    """Conversations with one and several turns, with and without a system line."""
    by_kind = {row["kind"]: row["messages"] for row in load_conversations()[:60] if row["kind"] != "stories"}
    return [by_kind[kind] for kind in ("facts", "refusals", "turns", "system")]


def test_loss_of_sft_trainer_on_the_same_batch(model, tokenizer, rows, tmp_path):
    tokenizer.model_max_length = 2000
    add_chat_tokens(model, tokenizer)
    model.config.n_positions = 2000
    model.transformer.wpe = torch.nn.Embedding(2000, model.config.n_embd)
    config = trl.SFTConfig(
        output_dir=tmp_path,
        assistant_only_loss=True,
        per_device_train_batch_size=len(rows),
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
        max_length=None,
        report_to=[],
        disable_tqdm=True,
    )
    data = datasets.Dataset.from_list([{"messages": messages} for messages in rows])
    trainer = trl.SFTTrainer(model, config, train_dataset=data, processing_class=tokenizer)
    batch = next(iter(trainer.get_train_dataloader()))
    examples = [encode_conversation(tokenizer, messages) for messages in rows]
    ours = collate(examples, tokenizer.pad_token_id)

    def targets(batch):
        return sorted((labels[labels != -100]).tolist() for labels in batch["labels"])

    assert targets(batch) == targets(ours)
    model.eval()
    with torch.no_grad():
        theirs = trainer.compute_loss(model, dict(batch))
        loss, count = lm_loss(model, ours)
    torch.testing.assert_close(loss / count, theirs, atol=1e-6, rtol=1e-6)
