import pytest

from course_utils.chatml import add_chat_tokens, encode_conversation
from course_utils.methods import chat, sft

QUESTIONS = [
    [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    for asked, answer in {
        "Is the capital of France Paris?": "Paris",
        "Is a cat a mat?": "a cat sat on the mat.",
    }.items()
]


@pytest.fixture
def tuned(model, tokenizer):
    sft.instruction_tune(model, tokenizer, QUESTIONS, steps=60, lr=1e-2, batch_size=2)
    return model, tokenizer


def test_the_pieces_of_a_stream_are_the_reply(tuned):
    model, tokenizer = tuned
    for messages in QUESTIONS:
        pieces = list(chat.stream_reply(model, tokenizer, messages[:1]))
        assert "".join(pieces) == messages[1]["content"] and len(pieces) > 0
    sampling = {"temperature": 1.5, "seed": 3, "max_new_tokens": 30}
    (said,) = sft.replies(model, tokenizer, [QUESTIONS[1][:1]], **sampling)
    assert "".join(chat.stream_reply(model, tokenizer, QUESTIONS[1][:1], **sampling)).strip() == said.text


def test_a_character_of_several_tokens_comes_whole(tokenizer, model, monkeypatch):
    add_chat_tokens(model, tokenizer)
    ids = tokenizer("a caf\u00e9 \u2603")["input_ids"]
    assert any("\ufffd" in tokenizer.decode([token]) for token in ids)
    monkeypatch.setattr(chat, "stream_tokens", lambda *_, **__: iter(ids))
    pieces = list(chat.stream_reply(model, tokenizer, QUESTIONS[0][:1]))
    assert "".join(pieces) == "a caf\u00e9 \u2603" and not any("\ufffd" in piece for piece in pieces)


def test_chat_keeps_the_conversation_and_the_model_reads_it(tuned, monkeypatch):
    model, tokenizer = tuned
    read = []
    stream = chat.stream_reply
    monkeypatch.setattr(chat, "stream_reply", lambda *args, **kw: read.append(args[2]) or stream(*args, **kw))
    messages = []
    first = "".join(chat.chat(model, tokenizer, messages, QUESTIONS[0][0]["content"], max_new_tokens=8))
    assert messages == [QUESTIONS[0][0], {"role": "assistant", "content": first}] == QUESTIONS[0]
    for _ in chat.chat(model, tokenizer, messages, QUESTIONS[1][0]["content"], max_new_tokens=8):
        pass
    assert read[1] == [*QUESTIONS[0], QUESTIONS[1][0]] and len(messages) == 4


def test_a_long_conversation_loses_its_oldest_exchanges(tuned):
    model, tokenizer = tuned
    messages = []
    for _ in range(12):
        for _ in chat.chat(model, tokenizer, messages, QUESTIONS[0][0]["content"], max_new_tokens=8):
            pass
    assert len(messages) == 24, "the reader keeps all of it"
    assert chat.count_tokens(tokenizer, messages) > 128, "the model cannot read all of it"


def test_an_interrupted_answer_leaves_the_conversation_as_it_was(tuned):
    model, tokenizer = tuned
    messages = []
    answer = chat.chat(model, tokenizer, messages, QUESTIONS[1][0]["content"])
    next(answer)
    answer.close()
    assert messages == []
    with pytest.raises(ValueError, match="the model reads 128"):
        next(chat.chat(model, tokenizer, messages, "a cat " * 200))
    assert messages == []


@pytest.mark.parametrize(
    "conversation", [*QUESTIONS, [{"role": "system", "content": " a mat "}, *QUESTIONS[1]]]
)
def test_tokens_are_counted_as_they_are_encoded(tokenizer, model, conversation):
    add_chat_tokens(model, tokenizer)
    encoded = encode_conversation(tokenizer, conversation[:-1], add_generation_prompt=True)
    assert chat.count_tokens(tokenizer, conversation[:-1]) == len(encoded.input_ids)
