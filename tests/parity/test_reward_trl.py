"""TRL's RewardTrainer gives our loss and gradients on its own batches."""

import pytest
import torch
from transformers import GPT2ForSequenceClassification

from course_utils import preferences
from course_utils.chatml import add_chat_tokens
from course_utils.data import collate_pairs
from course_utils.methods import reward
from course_utils.preferences import Pair, as_row

PLAIN = [
    Pair("Question: is the cat sat?", " a cat sat on the mat", " the mat"),
    Pair("You are", " a helpful assistant.", " France"),
    Pair("Answer:", " Paris", " the capital of France is Paris Paris Paris"),
    Pair("the capital", " of France", " on the mat. Answer: a helpful cat"),
]
CHAT = [Pair([{"role": "user", "content": pair.prompt}], pair.chosen, pair.rejected) for pair in PLAIN]


@pytest.fixture
def ours(tokenizer, model):
    tokenizer.add_special_tokens({"pad_token": "<|pad|>"})  # TRL's models find the last token by the pad id
    model.resize_token_embeddings(len(tokenizer))
    add_chat_tokens(model, tokenizer)
    torch.manual_seed(3)
    made = reward.from_language_model(model)
    torch.nn.init.normal_(made.head.weight)
    return made


def trainer(ours, tokenizer, pairs, folder, **options):
    from datasets import Dataset
    from trl import RewardConfig, RewardTrainer

    config = ours.config
    config.num_labels, config.pad_token_id = 1, tokenizer.pad_token_id
    theirs = GPT2ForSequenceClassification(config)
    theirs.transformer.load_state_dict(ours.body.state_dict())
    theirs.score.load_state_dict(ours.head.state_dict())
    settings = RewardConfig(
        output_dir=str(folder),
        per_device_train_batch_size=len(pairs),
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
        report_to="none",
        disable_tqdm=True,
        **options,
    )
    rows = Dataset.from_list([as_row(pair) for pair in pairs])
    made = RewardTrainer(theirs, settings, train_dataset=rows, processing_class=tokenizer)
    return made, next(iter(made.get_train_dataloader()))


def rows_of(batch):
    return sorted(ids[mask.bool()].tolist() for ids, mask in zip(*batch.values(), strict=True))


def test_same_loss_and_gradients(ours, tokenizer, tmp_path):
    made, batch = trainer(ours, tokenizer, PLAIN, tmp_path)
    loss = made.compute_loss(made.model, dict(batch))
    loss.backward()
    summed, count = reward.pair_loss(ours, batch)
    (summed / count).backward()
    assert (summed / count).item() == pytest.approx(loss.item(), abs=1e-5)
    assert torch.allclose(ours.head.weight.grad, made.model.score.weight.grad, atol=1e-5)
    for (name, p), q in zip(ours.body.named_parameters(), made.model.transformer.parameters(), strict=True):
        if p.requires_grad:
            assert torch.allclose(p.grad, q.grad, atol=1e-5), name


def test_same_loss_with_centring(ours, tokenizer, tmp_path):
    made, batch = trainer(ours, tokenizer, PLAIN, tmp_path, center_rewards_coefficient=0.01)
    chosen, rejected = reward.score(ours, batch["input_ids"], batch["attention_mask"]).chunk(2)
    loss = reward.bradley_terry_loss(chosen, rejected, centring=0.01)
    assert loss.item() == pytest.approx(made.compute_loss(made.model, dict(batch)).item(), abs=1e-5)
    assert loss.item() > reward.bradley_terry_loss(chosen, rejected).item() + 1e-3


def test_plain_pairs_are_encoded_alike(ours, tokenizer, tmp_path):
    _, batch = trainer(ours, tokenizer, PLAIN, tmp_path)
    encoded = preferences.encode_pairs(tokenizer, PLAIN)
    assert rows_of(batch) == sorted(example.input_ids for pair in encoded for example in pair)


def test_chat_pairs_are_encoded_alike_but_for_the_newline_at_the_end(ours, tokenizer, tmp_path):
    """TRL reads the score at the template's newline, which no policy writes; ours ends with <|im_end|>."""
    _, batch = trainer(ours, tokenizer, CHAT, tmp_path)
    newline = tokenizer("\n")["input_ids"]
    encoded = preferences.encode_pairs(tokenizer, CHAT)
    assert rows_of(batch) == sorted(example.input_ids + newline for pair in encoded for example in pair)


def test_by_the_pad_id_a_real_end_of_text_is_missed(ours, tokenizer):
    """Why TRL needs a separate pad token: with pad = eos, transformers reads plain text one token early."""
    pad_id = tokenizer.eos_token_id
    pairs = preferences.encode_pairs(tokenizer, PLAIN)
    batch = collate_pairs(pairs, pad_id)
    del batch["labels"]
    config = ours.config
    config.num_labels, config.pad_token_id = 1, pad_id
    theirs = GPT2ForSequenceClassification(config).eval()
    theirs.transformer.load_state_dict(ours.body.state_dict())
    theirs.score.load_state_dict(ours.head.state_dict())
    with torch.no_grad():
        by_id = theirs(**batch).logits.squeeze(1)
        early = [example.input_ids[:-1] for part in zip(*pairs, strict=True) for example in part]
        early = torch.stack([theirs(torch.tensor([ids])).logits[0, 0] for ids in early])
        by_mask = reward.score(ours, **batch)
    assert torch.allclose(by_id, early, atol=1e-5)
    assert (by_id - by_mask).abs().min() > 1e-3
