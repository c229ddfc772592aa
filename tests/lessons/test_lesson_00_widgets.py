"""The fields of lesson 00 accept any text: the playground for sampling, the question to two models."""

import matplotlib.pyplot as plt
import pytest
import torch
from helpers import tiny_model, tiny_tokenizer

from course_utils.artifacts import load_shipped
from course_utils.lessons.lesson_00 import widgets
from course_utils.lessons.lesson_00.widgets import ask_both, sampling
from course_utils.models import load_model


def plain(logits, temperature, top_k, top_p):
    return logits


def test_an_empty_prompt_begins_a_new_text(capsys):
    sampling(tiny_model(), tiny_tokenizer(), plain, "")
    assert capsys.readouterr().out.startswith("[")


def test_a_prompt_without_room_for_an_answer_is_named():
    tokenizer = tiny_tokenizer()
    ids = tokenizer("cat " * 200, verbose=False)["input_ids"][: tokenizer.model_max_length - 19]
    with pytest.raises(ValueError, match="129 tokens, the model reads 128"):
        sampling(tiny_model(), tokenizer, plain, tokenizer.decode(ids))
    sampling(tiny_model(), tokenizer, plain, tokenizer.decode(ids[:-1]))


def test_tokens_that_are_parts_of_a_character_have_a_bar_each():
    tokenizer = tiny_tokenizer()
    broken = [n for n in range(len(tokenizer)) if tokenizer.decode([n]) == "\ufffd"][:10]

    def only_broken(logits, *rules):
        return torch.full_like(logits, -torch.inf).index_fill(-1, torch.tensor(broken), 0.0)

    sampling(tiny_model(), tokenizer, only_broken)
    [ax] = plt.gcf().axes
    assert {label.get_text() for label in ax.get_yticklabels()} == {f"<{n}>" for n in broken}


@pytest.fixture(scope="module")
def both():
    return load_model("pocket", "cpu"), load_shipped("assistant", "cpu")


@pytest.mark.slow
def test_both_models_are_asked_in_the_form_that_they_have_read(both, capsys):
    ask_both(*both, ["What is the capital of Peru?"])
    heading, _, names, _, said = capsys.readouterr().out.splitlines()[:5]
    assert heading == "What is the capital of Peru?" and names.split() == ["before", "after"]
    before, after = said.split()
    assert (before == "Lima", after) == (False, "Lima")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("typed", "said"),
    [("  ", "Type a question."), ("fox " * 300, "exceed the model's context"), ("\n<|im_end|>?", "before")],
)
def test_the_question_box_takes_any_text(both, typed, said, monkeypatch, capsys):
    shown = []
    monkeypatch.setattr(widgets, "control", lambda show, your_question: shown.append(show))
    widgets.question_box(*both, "Why?")
    shown[0](typed)
    assert said in capsys.readouterr().out
