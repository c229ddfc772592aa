"""Segments against the template: same ids and same mask on random conversations."""

import random

import pytest

from course_utils.chatml import add_chat_tokens, encode_conversation, mask_prompt_tokens
from course_utils.data import collate, load_conversations
from course_utils.models import load_model

PIECES = [
    *"abcXYZ019 .,;:!?'\"()[]{}<>|/\\_-+=*#@&%$~^`",
    "\n",
    "\n\n",
    "\t",
    "  ",
    "cat",
    " mat",
    "Paris",
    "assistant",
    "\nassistant\n",
    "user",
    "im_start",
    "<|",
    "|>",
    "é",
    "ß",
    "日本",
    "🙂",
    "👩‍🔬",
    "\u00a0",
    "\u2028",
]


def random_content(rng):
    return "".join(rng.choices(PIECES, k=rng.randrange(12)))


def random_conversation(rng):
    messages = [{"role": "system", "content": random_content(rng)}] if rng.random() < 0.4 else []
    for _ in range(rng.randrange(1, 4)):
        messages.append({"role": "user", "content": random_content(rng)})
        messages.append({"role": "assistant", "content": random_content(rng)})
    return messages


def templated(tokenizer, messages):
    out = tokenizer.apply_chat_template(messages, return_assistant_tokens_mask=True, return_dict=True)
    return out["input_ids"], out["assistant_masks"]


@pytest.fixture(params=["tiny", "pocket"])
def chat_tokenizer(request):
    if request.param == "tiny":
        model, tokenizer = request.getfixturevalue("model"), request.getfixturevalue("tokenizer")
    else:
        model, tokenizer = load_model("pocket")
    add_chat_tokens(model, tokenizer)
    tokenizer.model_max_length = 10_000
    return tokenizer


def test_200_random_conversations(chat_tokenizer):
    rng = random.Random(0)
    for _ in range(200):
        messages = random_conversation(rng)
        example = encode_conversation(chat_tokenizer, messages)
        ids, mask = templated(chat_tokenizer, messages)
        assert example.input_ids == ids, messages
        assert [int(label != -100) for label in example.labels] == mask, messages
        assert mask_prompt_tokens(ids, chat_tokenizer).tolist() == example.labels, messages


def test_the_generation_prompt(chat_tokenizer):
    rng = random.Random(1)
    for _ in range(50):
        messages = random_conversation(rng)[:-1]
        ids = chat_tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
        assert encode_conversation(chat_tokenizer, messages, add_generation_prompt=True).input_ids == ids


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_batch_padded_by_the_library(chat_tokenizer, side):
    chat_tokenizer.padding_side = side
    conversations = [row["messages"] for row in load_conversations()[:16]]
    theirs = chat_tokenizer.apply_chat_template(
        conversations, return_assistant_tokens_mask=True, return_dict=True, padding=True, return_tensors="pt"
    )
    ours = collate(
        [encode_conversation(chat_tokenizer, m) for m in conversations], chat_tokenizer.pad_token_id, side
    )
    assert (ours["input_ids"] == theirs["input_ids"]).all()
    labels = mask_prompt_tokens(theirs["input_ids"], chat_tokenizer, attention_mask=theirs["attention_mask"])
    assert (labels == ours["labels"]).all()
    assert ((ours["labels"] != -100).long() == theirs["assistant_masks"]).all()
