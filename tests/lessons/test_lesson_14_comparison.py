"""One task for every method: lists without shared facts, trained weights, answers, files and steps."""

import copy
from statistics import mean

import pytest
import torch
from helpers import tiny_model, tiny_tokenizer

from course_utils.data import IGNORE, encode
from course_utils.lessons.lesson_14 import calls, comparison, experiments, stored
from course_utils.lessons.lesson_14.comparison import (
    METHODS,
    SETTINGS,
    TRAINED,
    answers_alone,
    answers_with_end,
    examples_in_front,
    file_bytes,
    lists_of,
    prepare,
    right_answers,
    task,
    train_with,
)
from course_utils.lessons.lesson_14.on_top import ON_TOP, ON_TOP_RATES
from course_utils.methods.lora import count_trainable, lora_layers

ROWS = [
    {"prompt": "a cat?\nAnswer:", "completion": " the mat, a hat.", "answers": ["the mat", "a hat"]},
    {"prompt": "Paris?\nAnswer:", "completion": " France, cat.", "answers": ["France", "cat"]},
]


@pytest.fixture(scope="module")
def whole():
    return task()


def test_no_fact_is_in_two_lists(whole):
    facts = [
        pair
        for lists in (whole.tune, whole.choose, whole.judge)
        for row in lists
        for pair in zip(row["relations"], row["subjects"], strict=True)
    ]
    assert len(facts) == len(set(facts)) == 3 * (340 + 100 + 200)


def test_a_smaller_set_is_the_beginning_of_the_larger(whole):
    assert lists_of("held_out", 8) == whole.judge[:8]
    with pytest.raises(ValueError, match="not enough for 400 lists"):
        lists_of("held_out", 400)


def test_what_is_shown_is_what_is_verified(whole):
    assert right_answers([row["completion"] for row in whole.judge], whole.judge) == [1] * 200
    turned = [", ".join(row["answers"][::-1]) for row in whole.judge]
    assert sum(right_answers(turned, whole.judge)) < 5  # except for equal names
    cut = [", ".join(row["answers"][:2]) for row in whole.judge]
    assert sum(right_answers(cut, whole.judge)) == 0


def test_a_cross_stands_behind_a_name_that_is_not_the_right_one_at_its_place():
    assert comparison.with_marks(" green, Accra.\n", ["green", "Accra"]) == "green, Accra"
    assert comparison.with_marks(" Accra, green.", ["green", "Accra"]) == "Accra \u2717, green \u2717"
    assert comparison.with_marks(" green, no, six.", ["green", "no"]) == "green, no, six \u2717"


def test_every_method_gets_the_same_number_of_settings_and_its_best_is_one_of_them():
    assert {len(tried) for tried in [*SETTINGS.values(), *ON_TOP_RATES.values()]} == {4}
    for method in METHODS:
        assert experiments.BEST[method] in (*SETTINGS[method], experiments.FINER.get(method))
    for method in ON_TOP:
        assert experiments.BEST_ON_TOP[method] in ON_TOP_RATES[method]


def test_settings_are_chosen_by_seeds_that_are_not_reported():
    from course_utils.stored_runs import SWEEPS

    for name in ("method_settings", "finer_rates", "rates_longer", "on_top_settings"):
        assert not set(SWEEPS[name].seeds) & set(SWEEPS["methods"].seeds)


def test_the_methods_that_name_lists_get_as_many_rates():
    assert experiments.FINER.keys() == {"full", "LoRA", "QLoRA"}
    assert {len(stored.by_setting(method, "right")) for method in experiments.FINER} == {5}
    for method, rate in experiments.FINER.items():
        assert min(SETTINGS[method]) < rate < max(SETTINGS[method]) and rate not in SETTINGS[method]


@pytest.mark.parametrize("method", ["full", "LoRA", "QLoRA"])
def test_the_best_setting_is_the_one_with_the_highest_stored_score_and_lies_inside(method):
    means = {rate: mean(right) for rate, right in stored.by_setting(method, "right").items()}
    best = max(means, key=means.get)
    assert best == experiments.BEST[method] and min(means) < best < max(means)


def test_after_more_steps_the_best_rate_of_full_fine_tuning_lies_inside():
    right, loss = (stored.by_setting("full", name, experiments.LONGER) for name in ("right", "loss"))
    best = max(right, key=lambda rate: (mean(right[rate]), -mean(loss[rate])))
    assert best == experiments.BEST_LONGER and min(right) < best < max(right)


def test_stored_scores_are_the_digits_of_the_answers():
    for method, steps in (
        ("LoRA", comparison.STEPS),
        ("full", experiments.LONGER),
        ("GRPO", comparison.STEPS),
    ):
        found = stored.right_by_list(method, steps)
        assert found.mean(1).tolist() == pytest.approx(stored.values(method, "right", steps))
        assert found.shape[1] == 200
    assert stored.right_by_list(stored.CALLS).shape == (1, 200)
    for method, steps in (("luck", comparison.STEPS), ("QLoRA", experiments.LONGER)):
        with pytest.raises(ValueError, match=f"180 of LoRA and full; got {steps} of '{method}'"):
            stored.best_runs(method, steps)


def test_loss_beside_the_score_leaves_the_end_out():
    tokenizer = tiny_tokenizer()
    with_end, alone = answers_with_end(tokenizer, ROWS), answers_alone(tokenizer, ROWS)
    for one, other in zip(with_end, alone, strict=True):
        assert one.input_ids == [*other.input_ids, tokenizer.eos_token_id]
        assert one.labels == [*other.labels, tokenizer.eos_token_id]
    behind = answers_alone(tokenizer, ROWS, "in front\n")
    front = len(encode(tokenizer, "in front\n"))
    for one, other in zip(behind, alone, strict=True):
        assert [label for label in one.labels if label != IGNORE] == [l for l in other.labels if l != IGNORE]
        assert len(one.input_ids) >= len(other.input_ids) + front - 1


def test_examples_in_front_are_drawn_by_the_seed():
    first = examples_in_front(ROWS, 2, 0)
    assert first == examples_in_front(ROWS, 2, 0) and first.count("Answer:") == 2 and first.endswith(".\n")
    assert examples_in_front(ROWS, 0, 0) == ""


def test_lora_is_on_all_linear_layers():
    for method in ("LoRA", "QLoRA"):
        layers = lora_layers(prepare(tiny_model(), tiny_tokenizer(), method))
        assert {name.rsplit(".", 1)[-1] for name in layers} == {"c_attn", "c_proj", "c_fc"}
        assert len(layers) == 8


def test_an_unknown_method_is_said():
    with pytest.raises(ValueError, match="prompt tuning, LoRA, QLoRA, full; got 'luck'"):
        prepare(tiny_model(), tiny_tokenizer(), "luck")


@pytest.mark.parametrize("method", TRAINED)
def test_training_lowers_the_loss_and_repeats_by_the_seed(method):
    from course_utils.evaluation import mean_loss

    tokenizer = tiny_tokenizer()
    lr = {"prompt tuning": 0.1, "full": 3e-3}.get(method, 1e-2)

    def loss_after(seed):
        model, seconds = train_with(tiny_model(), tokenizer, method, ROWS, lr=lr, seed=seed, steps=6)
        assert seconds > 0
        return mean_loss(model, answers_with_end(tokenizer, ROWS))

    first = loss_after(0)
    assert first == loss_after(0)
    assert first < mean_loss(tiny_model(), answers_with_end(tokenizer, ROWS))


def test_answers_end_with_their_line(monkeypatch):
    seen = {}

    def generate(model, tokenizer, prompts, **settings):
        seen.update(settings, prompts=prompts)
        return ["the mat, a hat.", " France\n"]

    monkeypatch.setattr(comparison, "generate", generate)
    answers = comparison.answers_to(None, None, ROWS, "in front\n")
    assert right_answers(answers, ROWS) == [1, 0]
    assert seen["prompts"][0] == "in front\na cat?\nAnswer:" and "\n" in seen["stop"]


def test_files_hold_what_was_trained():
    tokenizer = tiny_tokenizer()
    for method in TRAINED:
        model = prepare(tiny_model(), tokenizer, method)
        values = 4 * count_trainable(model)[0]
        assert values < file_bytes(model, method) < values + 8000
    assert file_bytes(None, "prompting", "é?") == 3


@pytest.mark.parametrize("method", ["prompting", "LoRA"])
def test_the_measured_step_runs(method, monkeypatch):
    import course_utils.models

    monkeypatch.setattr(course_utils.models, "load_model", lambda name: (tiny_model(), tiny_tokenizer()))
    step = comparison.method_step(method, batch_size=2, tokens=8)
    result = step()
    assert result is None if method == "LoRA" else result.shape[0] == 2


def test_tokens_in_front():
    from course_utils.lessons.lesson_14.experiments import tokens_in_front

    tokenizer = tiny_tokenizer()
    assert tokens_in_front(prepare(tiny_model(), tokenizer, "prompt tuning"), tokenizer, "") == 16
    assert tokens_in_front(tiny_model(), tokenizer, "a cat\n") == len(encode(tokenizer, "a cat\n"))


def test_weights_of_a_frozen_base_do_not_move():
    tokenizer, base = tiny_tokenizer(), tiny_model()
    model, _ = train_with(copy.deepcopy(base), tokenizer, "LoRA", ROWS, lr=0.03, seed=0, steps=3)
    before = dict(base.named_parameters())
    frozen = {
        name.replace(".original", ""): value
        for name, value in model.named_parameters()
        if "lora_" not in name
    }
    assert frozen.keys() == before.keys()
    assert all(torch.equal(frozen[name], before[name]) for name in before)


# ---------------------------------------------------------------------------- a call for each fact


@pytest.fixture(scope="module")
def pocket():
    from course_utils.models import load_model

    return load_model("pocket")


@pytest.mark.parametrize("wording", calls.WORDINGS)
def test_no_beginning_tells_of_the_object(wording, whole):
    """A beginning does not depend on the answer, only on relation and subject."""
    for row in whole.judge:
        other = row | {"answers": ["an owl", "the egg", "apple"]}
        assert calls.beginnings(wording, row) == calls.beginnings(wording, other)
        for text, answer in zip(calls.beginnings(wording, row), row["answers"], strict=True):
            assert not text.endswith((" a", " an")) and not text.endswith(f" {answer}")


def test_beginnings_by_the_words_of_the_request(whole):
    row = whole.judge[0]
    named = row["prompt"].removeprefix("Name these: ").split(".\n")[0].split("; ")
    for wording, end in (("phrase:", ":"), ("phrase is", " is")):
        assert [text[0].lower() + text[1:] for text in calls.beginnings(wording, row)] == [
            f"{phrase}{end}" for phrase in named
        ]
    assert calls.beginnings("request", row) == [f"Name this: {phrase}.\nAnswer:" for phrase in named]
    with pytest.raises(ValueError, match="wording must be one of phrase:, "):
        calls.beginnings("question", row)


@pytest.mark.parametrize(
    "text, bare",
    [
        ('"pink"', "pink"),
        ("the euro", "euro"),
        ("a planet", "planet"),
        ('"an owl"', "owl"),
        ("Oman", "Oman"),
        ("theatre", "theatre"),
        ("The Hague", "The Hague"),
    ],
)
def test_completions_are_read_without_marks_and_articles(text, bare):
    assert calls.object_of(text) == bare


def test_a_list_is_right_if_each_call_is(whole):
    lists = whole.judge[:2]
    right = [row["answers"] for row in lists]
    assert calls.right_lists(right, lists) == [1, 1]
    assert calls.right_lists([right[0][::-1], right[1][:2]], lists) == [0, 0]
    quoted = [[f'"{answer}"' for answer in answers] for answers in right]
    assert calls.right_lists(quoted, lists) == [1, 1]
    assert calls.right_lists(quoted, lists, str) == [0, 0]


def test_a_call_completes_one_fact_and_stops_at_the_full_stop(pocket, whole):
    model, tokenizer = pocket
    for row, texts in zip(
        whole.judge[:4], calls.completions(*pocket, whole.judge[:4], "clear statement"), strict=True
    ):
        for beginning, text in zip(calls.beginnings("clear statement", row), texts, strict=True):
            tokens = torch.tensor([encode(tokenizer, beginning)])
            theirs = model.generate(tokens, max_new_tokens=calls.LONGEST, do_sample=False, pad_token_id=0)
            whole_text = tokenizer.decode(theirs[0, tokens.shape[1] :])
            assert text == whole_text.split(tokenizer.eos_token)[0].split("\n")[0].split(".")[0].strip()


def test_the_longest_object_fits_a_call(pocket, whole):
    lists = [*whole.judge, *whole.choose]
    lengths = [len(encode(pocket[1], f' "{answer}".')) for row in lists for answer in row["answers"]]
    assert max(lengths) <= calls.LONGEST
