import copy

import pytest
import torch

from course_utils import artifacts, models
from course_utils.chatml import IM_END, IM_START, add_chat_tokens
from course_utils.evaluation import mean_loss
from course_utils.methods import sft
from course_utils.methods.lora import unwrap_lora
from course_utils.methods.token_rows import merge_token_rows
from course_utils.session import Session

QUESTIONS = [
    [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    for asked, answer in {
        "Is the capital of France Paris?": "Paris",
        "Is a cat a mat?": "a cat sat on the mat.",
    }.items()
]


@pytest.fixture
def tuned(model, tokenizer):
    history = sft.instruction_tune(model, tokenizer, QUESTIONS, steps=60, lr=1e-2, batch_size=2)
    return model, tokenizer, history


def test_a_tuned_model_gives_its_answers_and_ends_them(tuned):
    model, tokenizer, history = tuned
    said = sft.replies(model, tokenizer, [messages[:1] for messages in QUESTIONS])
    assert said == [sft.Reply(messages[1]["content"], True) for messages in QUESTIONS]
    assert history.column("loss")[1][-1] < 0.1


def test_replies_that_do_not_end_say_so(model, tokenizer):
    add_chat_tokens(model, tokenizer)
    with torch.no_grad():
        model.transformer.wte.weight[tokenizer.convert_tokens_to_ids([IM_END, IM_START])] = 0
    (said,) = sft.replies(model, tokenizer, [QUESTIONS[0][:1]], max_new_tokens=5)
    assert said.text and not said.ended


def test_end_of_text_is_not_the_end_marker(tokenizer):
    ends = tokenizer.eos_token_id
    assert not sft._reply(tokenizer, [5, ends, ends], end=400).ended
    assert sft._reply(tokenizer, [5, 400, 400], end=400) == sft.Reply(tokenizer.decode([5]).strip(), True)


def test_no_room_for_the_reply(model, tokenizer):
    add_chat_tokens(model, tokenizer)
    with pytest.raises(ValueError, match="context of 128"):
        sft.replies(model, tokenizer, [QUESTIONS[0][:1]], max_new_tokens=120)


def test_loss_on_everything_is_on_every_token(model, tokenizer):
    add_chat_tokens(model, tokenizer)
    answers, everything = (sft.encode_all(tokenizer, QUESTIONS, flag) for flag in (False, True))
    assert [example.input_ids for example in answers] == [example.labels for example in everything]
    assert sum(label != -100 for label in answers[0].labels) < len(answers[0].labels) / 2
    assert mean_loss(model, answers) != mean_loss(model, everything)


def test_sft_model_is_made_once_and_loads_as_it_was(monkeypatch, tmp_path, model, tokenizer, capsys):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    models.save_model(model, tokenizer, tmp_path / "base")
    monkeypatch.setattr(sft, "load_conversations", lambda name: [{"messages": m} for m in QUESTIONS])
    session = Session(str(tmp_path / "base"), "smoke", 0, torch.device("cpu"), torch.float32)
    first, first_tokenizer = artifacts.sft_model(session)
    assert "Making sft once" in capsys.readouterr().out
    second, second_tokenizer = artifacts.sft_model(session)
    assert "Making" not in capsys.readouterr().out
    for before, after in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(before, after)
    assert not torch.equal(first.transformer.wte.weight[:-2], model.transformer.wte.weight)
    assert first_tokenizer.convert_tokens_to_ids([IM_START, IM_END]) == [len(tokenizer), len(tokenizer) + 1]
    assert second_tokenizer.chat_template == first_tokenizer.chat_template


def test_other_weights_give_another_sft_model(tmp_path, model, tokenizer):
    session = Session(str(tmp_path), "smoke", 0, torch.device("cpu"), torch.float32)
    models.save_model(model, tokenizer, tmp_path)
    before = artifacts.weights_checksum(session)
    with torch.no_grad():
        model.transformer.wpe.weight += 1
    models.save_model(model, tokenizer, tmp_path)
    assert artifacts.weights_checksum(session) != before


def test_lora_trains_its_matrices_and_the_markers_rows_alone(model, tokenizer):
    before = copy.deepcopy(model)
    sft.prepare_lora(model, tokenizer, rank=2)
    sft.instruction_tune(model, tokenizer, QUESTIONS, steps=3, lr=1e-2, batch_size=2)
    trainable = {name.rpartition(".")[2] for name, p in model.named_parameters() if p.requires_grad}
    assert trainable == {"lora_A", "lora_B", "rows"}
    table, old = model.get_input_embeddings().weight, before.get_input_embeddings().weight
    assert torch.equal(table[: len(old)], old), "the rows of all other tokens stay"
    assert (table[len(old) :] - old.mean(0)).abs().min() > 1e-4, "the markers' rows have left the mean"
    merged = merge_token_rows(unwrap_lora(model))
    assert torch.equal(merged.transformer.h[0].mlp.c_fc.weight, before.transformer.h[0].mlp.c_fc.weight)


def test_shares_by_kind_of_answer(monkeypatch):
    rows = [
        {
            "prompt": "Question: a?\nAnswer:",
            "completion": " x",
            "object": "Paris",
            "kind": kind,
            "relation": "c",
        }
        for kind in ("short", "short", "sentence", "sentence")
    ]
    said = [
        sft.Reply("Paris", True),
        sft.Reply("It is Paris.", True),
        sft.Reply("It is Paris.", True),
        sft.Reply("Rome", False),
    ]
    monkeypatch.setattr(sft, "replies", lambda *_: said)
    assert sft.answered(None, None, rows) == {"short": 0.5, "sentence": 0.5, "ended": 0.75}


def test_what_is_asked_is_about_four_relations_in_pairs():
    for split in ("tune", "held_out", "paraphrase", "invented"):
        rows = sft.asked(split)
        assert {row["relation"] for row in rows} == set(sft.ASKED_RELATIONS)
        assert [row["kind"] for row in rows] == ["short", "sentence"] * (len(rows) // 2)
