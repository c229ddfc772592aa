"""The base with only a prompt: the prompt's content, truncation, and choice."""

import pytest

from course_utils.chatml import add_chat_tokens
from course_utils.data import encode
from course_utils.methods.sft import Reply
from course_utils.own import prompting
from course_utils.own.own_data import Conversation
from course_utils.own.own_run import Scores, to_ask
from course_utils.own.prompting import (
    Prompt,
    answers_by_prompt,
    as_text,
    choose_prompt,
    evaluate_prompt,
    prompt_candidates,
)

NAMES = "cat mat sat a is the on you are".split()


def row(number):
    said = NAMES[number % len(NAMES)]
    messages = [{"role": "user", "content": f"a cat {number}"}, {"role": "assistant", "content": said}]
    return Conversation(number, messages)


ROWS = [row(number) for number in range(40)]


@pytest.fixture
def chat(model, tokenizer):
    add_chat_tokens(model, tokenizer)
    return model, tokenizer


def test_candidates_are_both_forms_with_and_without_examples_and_instruction():
    made = prompt_candidates(ROWS[:8], "Be brief.", seed=0)
    assert [(one.form, len(one.shots), one.instruction) for one in made] == [
        (form, count, words) for form in ("chat", "text") for count in (0, 16) for words in ("", "Be brief.")
    ]
    assert [message["role"] for message in made[2].shots] == ["user", "assistant"] * 8
    assert made[3].name == "a chat, 8 examples, with the instruction"
    assert [one.name for one in prompt_candidates(ROWS[:8], "", seed=0)][2] == "plain text, no example"


def test_in_a_chat_the_instruction_is_in_the_system_line_after_the_datas_own(monkeypatch, chat):
    read = []
    monkeypatch.setattr(prompting, "replies", lambda _, __, asked, **___: read.extend(asked) or [])
    asked = [{"role": "system", "content": "You are a cat."}, {"role": "user", "content": "Who?"}]
    answers_by_prompt(*chat, Prompt("chat", ROWS[3].messages, "Be brief."), [asked], 128, 20)
    answers_by_prompt(*chat, Prompt("chat", []), [asked], 128, 20)
    assert read == [
        [{"role": "system", "content": "You are a cat.\nBe brief."}, *ROWS[3].messages, asked[1]],
        asked,
    ]


def test_a_text_has_the_examples_the_question_and_the_instruction(monkeypatch, chat):
    read = []

    def sample_rows(model, ids, pad_id, **options):
        read.extend(chat[1].decode(one) for one in ids)
        return [encode(chat[1], " mat\nQuestion: and more") for _ in ids]

    monkeypatch.setattr(prompting, "sample_rows", sample_rows)
    prompt = Prompt("text", ROWS[3].messages, "Be brief.")
    asked = [{"role": "system", "content": "You are a cat."}, {"role": "user", "content": "Who?"}]
    assert answers_by_prompt(*chat, prompt, [asked], 128, 20) == [Reply("mat", True)]
    text = f"You are a cat.\nQuestion: a cat 3\nAnswer: {NAMES[3]}\nQuestion: Who? Be brief.\nAnswer:"
    assert read == [text] and as_text(asked) == "You are a cat.\nQuestion: Who?\nAnswer:"
    for end, ended in (([], False), ([chat[1].eos_token_id, 3, 4], True)):
        new = [*encode(chat[1], " mat and"), *end]
        monkeypatch.setattr(prompting, "sample_rows", lambda *_, new=new, **__: [new])
        assert answers_by_prompt(*chat, prompt, [asked], 128, 20) == [Reply("mat and", ended)]


@pytest.mark.parametrize("form", prompting.PROMPT_FORMS)
def test_what_is_too_long_loses_its_first_examples(monkeypatch, chat, form):
    read = []
    if form == "text":
        monkeypatch.setattr(prompting, "sample_rows", lambda _, ids, *__, **___: read.extend(ids) or [[]])
    else:
        monkeypatch.setattr(
            prompting, "replies", lambda _, __, asked, **___: read.extend(asked) or [Reply("", True)]
        )
    shots = [message for one in ROWS for message in one.messages]
    answers_by_prompt(*chat, Prompt(form, shots), [[{"role": "user", "content": "Who?"}]], 128, 20)
    assert len(read[0]) <= 128 - 20
    last = chat[1].decode(read[0]) if form == "text" else read[0][-1]["content"]
    assert "Who?" in last and (form == "text" or read[0][-2] == shots[-1])
    asked, long = [[{"role": "user", "content": "Who?"}]], "a cat sat on the mat " * 40
    answers_by_prompt(*chat, Prompt(form, shots, long), asked, 128, 20)
    assert len(read[1]) == 128 - 20 if form == "text" else read[1] == asked[0]


def test_the_best_prompt_on_training_questions_is_chosen(monkeypatch, chat):
    """A model that knows the answers if a chat has examples."""
    answers = {one.messages[0]["content"]: one.messages[1]["content"] for one in ROWS}
    seen = []

    def replied(model, tokenizer, prompt, prompts, limit, room):
        seen.append((prompt, [messages[-1]["content"] for messages in prompts]))
        knows = prompt.form == "chat" and len(prompt.shots) == 16
        return [Reply(answers[messages[-1]["content"]] if knows else "so", True) for messages in prompts]

    monkeypatch.setattr(prompting, "answers_by_prompt", replied)
    best, tried = choose_prompt(*chat, ROWS, lambda rows: to_ask(rows, chat[1], 128), 128)
    assert best.name == "a chat, 8 examples" and [score for _, score in tried] == [0, 1, 0, 0]
    for prompt, asked in seen:
        assert len(asked) == prompting.TRIED
        assert not {message["content"] for message in prompt.shots} & set(asked)


def test_scores_by_prompt_are_of_the_same_questions_and_of_the_bases_weights(chat):
    questions = to_ask(ROWS[:4], chat[1], 128)
    base = Scores(2.0, 1.5, 0.0, 0.0, 0.0, 0.0, [""] * 4)
    scores = evaluate_prompt(*chat, Prompt("chat", ROWS[9].messages), questions, 128, base)
    assert scores.loss is None and scores.other_loss == 1.5 and len(scores.answers) == 4
    assert "loss" not in scores.numbers() and scores.numbers()["other_loss"] == 1.5
