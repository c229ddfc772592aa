"""The sweeps' short forms give the stored results, and leave nothing behind."""

import copy

import pytest

from course_utils import stored_runs
from course_utils.lessons.lesson_04.experiments import question_examples
from course_utils.making import short_forms
from course_utils.stored_runs import few

stored_runs.load_experiments()
STORED = short_forms.load_short_forms()


NOT_SHORTENED = {
    "best_of_n": "every number turns on sampled answers, which part on another processor",
    "method_memory": "measures the memory of child processes: nothing that comes out again",
    "on_top_memory": "measures the memory of child processes: nothing that comes out again",
}


def test_a_sweep_without_a_short_form_has_a_reason():
    print(*[f"{name}: {reason}" for name, reason in NOT_SHORTENED.items()], sep="\n")
    assert [name for name, sweep in stored_runs.SWEEPS.items() if not sweep.short] == list(NOT_SHORTENED)


@pytest.mark.slow
def test_every_sweep_has_a_stored_short_form():
    assert STORED.keys() == stored_runs.SWEEPS.keys(), "make it: python -m course_utils sweeps --short NAME"


@pytest.mark.slow
@pytest.mark.parametrize("name", STORED)
def test_a_short_form_comes_out_as_stored(name):
    assert short_forms.faults_of(STORED[name], short_forms.short_run(name)) == []


def test_few_shortens_in_a_short_form_only():
    rows = ["a", "b", "c", "d"]
    with stored_runs.short_form() as asked:
        assert (few(80), few(1), few(200, 8), few(rows), few(rows[:1])) == (2, 1, 8, ["a", "b"], ["a"])
    assert asked == [80, 1, 200, "4, from a", "1, from a"]
    assert few(80) == 80 and few(rows) is rows and len(asked) == 5


@pytest.mark.slow
def test_a_cache_hands_nothing_from_a_short_form_to_a_whole_run_or_back():
    assert len(question_examples("held_out", sample=100)) == 100
    short_forms.short_run("qlora")  # scores these questions, too
    assert question_examples.cache_info().currsize == 0
    assert len(question_examples("held_out", sample=100)) == 100


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setattr(stored_runs, "SWEEPS", {})
    monkeypatch.setattr(short_forms, "SWEEPS", stored_runs.SWEEPS)
    settings = {"lr": 0.1, "steps": 50, "rows": ["a", "b", "c"], "share": 0.25}

    def register(points=({"x": 1}, {"x": 2}), seeds=(0, 1)):
        @stored_runs.sweep("toy", points=list(points), seeds=seeds, short=(1,))
        def run(point, seed):
            import torch

            weight = torch.nn.Parameter(torch.ones(3))
            optimizer = torch.optim.AdamW([weight], lr=settings["lr"])
            for _ in range(few(settings["steps"])):
                (point["x"] * weight.sum()).backward()
                optimizer.step()
            few(settings["rows"])
            return {
                "share": settings["share"],
                "moved": weight.sum().item(),
                "measured_seconds": 1.0,
                "text": "a",
            }

    register()
    return settings, register


def test_a_short_form_keeps_what_was_asked_for_and_each_step(toy, tmp_path):
    short_forms.store_short_forms(["toy"], tmp_path)
    form = short_forms.load_short_forms(tmp_path)["toy"]
    [run] = form["runs"]
    assert form["points"] == [{"x": 1}, {"x": 2}] and form["seeds"] == [0, 1]
    assert run["point"] == {"x": 2} and run["few"] == [50, "3, from a"]
    assert [step["gradient"] for step in run["steps"]] == [6, 12]
    assert run["steps"][0]["groups"] == [
        {"lr": 0.1, "weight_decay": 0.01, "betas": [0.9, 0.999], "eps": 1e-8, "values": 3}
    ]
    assert run["result"].keys() == {"share", "moved"}
    assert short_forms.faults_of(form, short_forms.short_run("toy")) == []


def test_what_follows_a_trained_models_sample_is_not_kept(monkeypatch):
    import torch

    from course_utils import generation

    monkeypatch.setattr(stored_runs, "SWEEPS", {})

    @stored_runs.sweep("toy", points=[{"x": 1}], sampled=True, early=("_0",))
    def run(point, seed):
        weight = torch.nn.Parameter(torch.ones(3))
        optimizer = torch.optim.AdamW([weight])
        for _ in range(3):
            generation.next_tokens(weight.detach()[None])
            for _ in range(2):
                weight.sum().backward()
                optimizer.step()
        return {"loss_0": 2.0, "loss": 1.0}

    [kept] = short_forms.short_run("toy")["runs"]
    assert kept["result"] == {"loss_0": 2.0} and [step["gradient"] for step in kept["steps"]] == [3, 6]


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("lr", 0.2, "0, steps, 0, groups, 0, lr: stored 0.1, now 0.2"),
        ("steps", 60, "0, few, 0: stored 50, now 60"),
        ("rows", ["b", "c", "a"], "0, few, 1: stored 3, from a, now 3, from b"),
        ("share", 0.2506, "0, result, share: stored 0.25, now 0.2506"),
        ("share", 0.2501, None),
        ("share", float("nan"), "0, result, share: stored 0.25, now nan"),
    ],
)
def test_a_changed_setting_is_named(toy, name, value, part):
    settings, _ = toy
    before = short_forms.short_run("toy")
    settings[name] = value
    faults = short_forms.faults_of(before, short_forms.short_run("toy"))
    assert part in faults if part else faults == []


def test_changed_points_and_seeds_are_named(toy):
    _, register = toy
    before = short_forms.short_run("toy")
    register(points=({"x": 1.00001}, {"x": 2}), seeds=(0, 2))
    points, seeds = short_forms.faults_of(before, short_forms.short_run("toy"))
    assert points == "points: stored [{'x': 1}, {'x': 2}], now [{'x': 1.00001}, {'x': 2}]"
    assert seeds == "seeds: stored [0, 1], now [0, 2]"


def test_another_shape_of_the_result_is_a_difference(toy):
    form = short_forms.short_run("toy")
    longer = copy.deepcopy(form)
    longer["runs"][0]["steps"].pop()
    assert len(short_forms.faults_of(form, longer)) == 1
    other = copy.deepcopy(form)
    other["runs"][0]["result"] = {"share": 0.25}
    assert len(short_forms.faults_of(form, other)) == 1
