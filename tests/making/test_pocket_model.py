"""The shipped pocket GPT-2: its card's promises, on samples small enough for every test run."""

import json
import random
import time

import pytest

from course_utils.data import DATA, encode_prompt_completion, encode_text, load_source_texts, read_jsonl
from course_utils.generation import generate
from course_utils.making.pocket.evaluate import HEADLINE, story_figures
from course_utils.models import load_model
from course_utils.world.statements import completed, completion
from course_utils.world.tables import all_facts

POCKET = DATA / "pocket-gpt2"


@pytest.fixture(scope="module")
def pocket():
    return load_model("pocket")


def test_size_and_shape(pocket):
    model, tokenizer = pocket
    assert sum(path.stat().st_size for path in POCKET.iterdir()) < 12e6
    assert model.config.n_layer == 4 and model.config.n_embd == 256 and model.config.n_positions == 256
    assert len(tokenizer) == model.config.vocab_size == 6144
    assert model.lm_head.weight is model.transformer.wte.weight


def test_the_tokenizer_is_like_gpt2s(pocket):
    _, tokenizer = pocket
    for text in ("Paris is the capital.\n\n\tfive  blanks\n", "naïve – 東京 \U0001f642", "<|im_start|>"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert tokenizer("Paris")["input_ids"] != tokenizer(" Paris")["input_ids"]
    assert tokenizer.convert_tokens_to_ids("<|im_start|>") == tokenizer.unk_token_id
    assert len(tokenizer("<|im_start|>")["input_ids"]) > 4
    assert tokenizer.eos_token == "<|endoftext|>"


def test_facts_are_completed(pocket):
    facts = random.Random(7).sample(all_facts(), 150)
    assert completion(*pocket, facts)["all"] >= 0.95


@pytest.mark.parametrize(
    "text, right",
    [
        (" Paris.", True),
        (" the Paris,", True),
        (" Parisian", False),
        (" Lyon", False),
        ("Paris", True),
        (' "Paris".', True),
        (' "Lyon".', False),
    ],
)
def test_completed(text, right):
    assert completed(text, "Paris") is right


def test_the_figures_of_the_card_meet_their_bounds():
    report = json.loads((POCKET / "evaluation.json").read_text())
    assert report["completion"]["all"] >= 0.97
    assert min(report["completion"].values()) >= 0.9
    held_out, invented = report["tuning"]["held_out"], report["tuning"]["invented"]
    assert held_out["short"]["all"] >= 0.85
    assert min(held_out["short"][relation] for relation in HEADLINE) >= 0.7
    assert held_out["sentence"]["all"] >= 0.75
    assert invented["short"]["all"] == invented["sentence"]["all"] == 0
    reading = report["tuning"]["reading"]
    assert (reading["short"]["all"] + reading["sentence"]["all"]) / 2 >= 0.8
    assert report["stories_consistent"] >= 0.9


@pytest.mark.timing
def test_it_loads_and_answers_within_two_seconds():
    def seconds():
        started = time.perf_counter()
        texts = generate(*load_model("pocket"), ["The capital of France is"], max_new_tokens=8)
        assert texts[0].startswith(" Paris")
        return time.perf_counter() - started

    assert min(seconds() for _ in range(3)) < 2


@pytest.mark.slow
def test_stories_keep_their_characters(pocket):
    share, stories = story_figures(*pocket, count=24, seed=3)
    assert share >= 0.75
    assert all(len(story) > 100 for story in stories)


def test_questions_and_source_texts_fit_the_context(pocket):
    _, tokenizer = pocket
    for path in (DATA / "questions").glob("*.jsonl"):
        for row in read_jsonl(path):
            assert len(encode_prompt_completion(tokenizer, row["prompt"], row["completion"]).input_ids) < 150
    for name in ("held_out", "replay"):
        for text in load_source_texts(name):
            encode_text(tokenizer, text)
