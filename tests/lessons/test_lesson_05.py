"""Lesson 05: its exercises' verdicts, best rates, broken runs for its claims and its hunt."""

import copy

import pytest
import torch
from helpers import draws_of, feed, tiny_gpt2

from course_utils.lessons.lesson_05 import experiments, stored, suspects
from course_utils.lessons.lesson_05.small_adapters import save_adapter
from course_utils.methods import lora, lora_files
from course_utils.methods.lora_variants import start_pissa
from course_utils.stored_runs import load_sweep

IDS = torch.randint(1, 64, (3, 12), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("exercise, seed", draws_of("05"))
def test_answers_get_their_verdicts(exercise, seed):
    feed(exercise, seed)


def rows_of(name):
    return [row["point"] | row["result"] | {"seed": row["seed"]} for row in load_sweep(name)["rows"]]


def rates(rows, name, value):
    """{(task, name): {rate: value}}"""
    found = {}
    for row in rows:
        key = row["task"], row["place"] if name == "place" else tuple(row[part] for part in name)
        found.setdefault(key, {})[row["lr"]] = row[value]
    return found


def test_the_rates_of_the_places_won_a_sweep_and_lie_inside_it():
    for (task, place), losses in rates(rows_of("place_rates"), "place", "validation").items():
        best = min(losses, key=losses.get)
        assert min(losses) < best < max(losses)
        assert best == experiments.BEST_PLACE_RATES[task, place]


def test_the_rates_of_the_longer_training_won_a_sweep_and_lie_inside_it():
    for place, best in experiments.BEST_LONGER_RATES.items():
        assert stored.longer_rate(place) == best


def test_both_sweeps_have_the_same_runs_of_the_attention_in_150_steps():
    of_two = stored.after(150, "attention", "loss"), stored.of_place("invented", "attention", "loss")
    for one, other in zip(*of_two, strict=False):
        assert one == pytest.approx(other, rel=0.05)


def test_a_best_rate_at_the_edge_is_refused(monkeypatch):
    monkeypatch.setattr(stored, "by_place_rate", lambda *_: {1e-2: 0.1, 3e-2: 0.2})
    with pytest.raises(ValueError, match="attention"):
        stored.longer_rate("attention")


def test_false_answers_have_the_object_of_another_fact_of_the_relation():
    rows = [{"relation": "capital", "object": name, "completion": f" It is {name}."} for name in "XYZ"]
    assert [row["completion"][-2] for row in experiments.with_other_objects(rows)] == ["Y", "Z", "X"]


def test_the_rates_of_the_variants_won_a_sweep_and_lie_inside_it():
    parts = ("variant", "alpha", "ratio")
    for (_, variant), losses in rates(rows_of("variant_rates"), parts, "validation").items():
        best = min(losses, key=losses.get)
        assert best == experiments.BEST_VARIANT_RATES[variant]
        assert min(losses) < best < max(losses)


@pytest.mark.night
@pytest.mark.parametrize(
    ("place", "fault"),
    [("all linear", ".mlp."), ("attention", "attn.c_proj")],
    ids=["all without the MLP", "attention without its second matrix"],
)
def test_an_adapter_that_does_not_reach_its_layers_fails_the_headline(place, fault, monkeypatch):
    """The ratio of attention to all linear layers, both at seed 0, is between 2 and 4 if both are intact."""
    losses = {
        row["place"]: row["loss"]
        for row in rows_of("lora_layers")
        if row["task"] == "invented" and row["seed"] == 0
    }
    assert 2 < losses["attention"] / losses["all linear"] < 4
    apply_lora = lora.apply_lora

    def short_of_some(*arguments):
        model = apply_lora(*arguments)
        for name, layer in lora.lora_layers(model).items():
            layer.requires_grad_(fault not in name)
            layer.original.requires_grad_(False)
        return model

    monkeypatch.setattr(lora, "apply_lora", short_of_some)
    point = {"task": "invented", "place": place, "lr": experiments.BEST_PLACE_RATES["invented", place]}
    losses[place] = experiments.sentence_loss(experiments.tuned_in_place(point, 0), "invented", "held_out")
    assert not 2 < losses["attention"] / losses["all linear"] < 4


@torch.no_grad()
def logits(model):
    return model(input_ids=IDS).logits


def test_an_adapter_on_a_changed_base_is_wrong_on_the_old_one_until_its_start_is_taken_off(tmp_path):
    base = tiny_gpt2()
    batch = {"input_ids": IDS, "attention_mask": torch.ones_like(IDS), "labels": IDS}
    theirs = suspects.trained_by_others(copy.deepcopy(base), iter([batch] * 5), steps=5, lr=1e-2)
    ours = lora_files.load_adapter(copy.deepcopy(base), save_adapter(theirs, tmp_path / "plain"))
    largest = logits(theirs).abs().max()
    assert (logits(ours) - logits(theirs)).abs().max() > 0.05 * largest
    begun = lora.apply_lora(copy.deepcopy(base), 8, 8.0)
    for layer in lora.lora_layers(begun).values():
        start_pissa(layer)
    mended = lora.weighted_sum([lora.get_adapter(theirs), lora.get_adapter(begun)], [1.0, -1.0])
    lora.set_adapter(ours, mended)
    torch.testing.assert_close(logits(ours), logits(theirs), atol=1e-4 * float(largest), rtol=0)
    with pytest.raises(ValueError, match="trained on other weights"):
        lora_files.load_adapter(copy.deepcopy(base), lora_files.save_adapter(theirs, tmp_path / "checked"))
