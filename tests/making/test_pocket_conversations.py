"""The conversations of data/conversations, and what load_conversations says about a bad file."""

import json
from collections import Counter

import pytest

from course_utils.data import DATA, load_conversations, load_facts, load_questions, load_story_prompts
from course_utils.making.pocket.conversations import (
    CANNOT,
    CONVERSATIONS_ABOUT,
    REFUSAL,
    REFUSAL_IN_A_SENTENCE,
)
from course_utils.world.templates import FORMS, fill


def asked(row):
    return [m["content"] for m in row.get("messages", row.get("prompt")) if m["role"] == "user"]


def questions_about(split):
    facts = load_facts(split)
    return {fill(q, f.subject, f.object) for f in facts for q in FORMS[f.relation].questions}


def test_training_asks_about_facts_of_split_tune_only():
    train = [question for row in load_conversations() for question in asked(row)]
    plain = {question.removesuffix(" Answer in a sentence.") for question in train}
    others = [questions_about(split) for split in ("validation", "held_out", "invented")]
    assert not plain & set().union(*others)
    paraphrases = {q["prompt"].removeprefix("Question: ") for q in load_questions("paraphrase")}
    assert not {f"{question}\nAnswer:" for question in train} & paraphrases


def test_every_tune_fact_is_asked_about_once_in_a_conversation_of_its_own():
    facts = [row for row in load_conversations() if row["kind"] == "facts"]
    assert len(facts) == len(load_facts("tune")) == len({asked(row)[0] for row in facts})


def test_held_out_conversations_and_story_prompts_are_not_in_the_training_file():
    train = {"\n".join(asked(row)) for row in load_conversations()}
    for kind in CONVERSATIONS_ABOUT:
        rows = load_conversations(f"held_out_{kind}")
        assert {row["kind"] for row in rows} == {kind}
        assert not train & {"\n".join(asked(row)) for row in rows}
    prompts = [asked(row)[0] for row in load_story_prompts()]
    assert len(set(prompts)) == len(prompts) == 500
    assert not train & set(prompts)


def test_the_conversations_to_choose_by_are_in_no_other_file():
    rows = load_conversations("validation")
    assert {row["kind"] for row in rows} == set(CONVERSATIONS_ABOUT)
    questions = {"\n".join(asked(row)) for row in rows}
    files = ["train", *(f"held_out_{kind}" for kind in CONVERSATIONS_ABOUT)]
    others = {"\n".join(asked(row)) for name in files for row in load_conversations(name)}
    assert not questions & (others | {asked(row)[0] for row in load_story_prompts()})
    plain = {q.removesuffix(" Answer in a sentence.") for row in rows for q in asked(row)}
    assert not plain & (questions_about("tune") | questions_about("held_out"))
    facts = [asked(row)[0] for row in rows if row["kind"] == "facts"]
    assert {q.removesuffix(" Answer in a sentence.") for q in facts} <= questions_about("validation")


def test_refusals_are_about_names_that_no_fact_has():
    known = set().union(*map(questions_about, ("tune", "validation", "held_out")))
    for row in load_conversations() + load_conversations("validation"):
        for question, answer in zip(row["messages"][:-1], row["messages"][1:], strict=True):
            if answer["content"] in (REFUSAL, REFUSAL_IN_A_SENTENCE, CANNOT):
                assert question["content"].removesuffix(" Answer in a sentence.") not in known
    invented = {
        q.removesuffix(" Answer in a sentence.")
        for r in load_conversations("held_out_refusals")
        for q in asked(r)
    }
    assert invented <= questions_about("invented")


def test_a_prefix_of_the_training_file_is_a_balanced_sample():
    rows = load_conversations()
    whole, part = Counter(row["kind"] for row in rows), Counter(row["kind"] for row in rows[:500])
    for kind in CONVERSATIONS_ABOUT:
        assert abs(part[kind] / 500 - whole[kind] / len(rows)) < 0.005


def test_every_conversation_fits_the_context_of_the_pocket_model():
    from course_utils.chatml import add_chat_tokens, encode_conversation
    from course_utils.models import load_model

    model, tokenizer = load_model("pocket")
    add_chat_tokens(model, tokenizer)
    for path in (DATA / "conversations").glob("*.jsonl"):
        if path.stem != "story_prompts":
            for row in load_conversations(path):
                encode_conversation(tokenizer, row["messages"])  # ValueError where it is too long


USER, ASSISTANT = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"text": "a"}, r'expected "messages": \[.*got None'),
        ({"messages": []}, 'expected "messages"'),
        ({"messages": "Hi"}, 'expected "messages".*got Hi'),
        ({"messages": [USER]}, "no assistant turn"),
        ({"messages": [USER, {"role": "bot", "content": "Hi"}]}, "message 2 has the role 'bot'"),
        ({"messages": [USER, {"from": "gpt", "value": "Hi"}]}, "message 2 must be"),
        ({"messages": [USER, {"role": "assistant", "content": None}]}, "message 2 must be"),
        ({"messages": [USER, {"role": "assistant", "content": " \n"}]}, r"message 2 \(assistant\) is empty"),
        (
            {"messages": [USER, ASSISTANT, {"role": "system", "content": "Be kind."}]},
            "message 3 is a system line",
        ),
    ],
)
def test_a_bad_line_is_named_with_file_line_and_fault(tmp_path, row, fault):
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps({"messages": [USER, ASSISTANT]}) + "\n\n" + json.dumps(row) + "\n")
    with pytest.raises(ValueError, match=rf"mine.jsonl, line 3: .*{fault}"):
        load_conversations(path)


def test_other_bad_files_are_named(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text("\n")
    with pytest.raises(ValueError, match=r"mine.jsonl: the file has no conversations"):
        load_conversations(path)
    path.write_text('{"messages": [')
    with pytest.raises(ValueError, match=r"mine.jsonl, line 1, column 15: not JSON"):
        load_conversations(path)
    with pytest.raises(
        ValueError, match=r"unknown conversations 'holdout'; choose held_out_facts, .*train, validation, or"
    ):
        load_conversations("holdout")
    with pytest.raises(FileNotFoundError, match=r"nowhere.jsonl: no such file"):
        load_conversations(tmp_path / "nowhere.jsonl")


def test_a_good_file_is_returned_with_all_its_columns(tmp_path):
    path = tmp_path / "mine.jsonl"
    row = {"messages": [{"role": "system", "content": "Be kind."}, USER, ASSISTANT], "source": "me"}
    path.write_text("﻿" + json.dumps(row) + "\n", encoding="utf-8")
    assert load_conversations(str(path)) == [row]
