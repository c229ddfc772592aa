"""The playground for sampling accepts any text in its field."""

import matplotlib.pyplot as plt
import pytest
import torch
from helpers import tiny_model, tiny_tokenizer

from course_utils.lessons.lesson_00.widgets import sampling


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


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
