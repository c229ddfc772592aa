import json
import math
from datetime import date

import pytest

from course_utils import stored_runs
from course_utils.making import sweeps
from course_utils.making.trajectories.stored import load_trajectories

stored_runs.load_experiments()
load_trajectories()


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setattr(stored_runs, "SWEEPS", {})
    calls = []

    @stored_runs.sweep("toy", points=[{"x": 1}, {"x": 2}], seeds=(0, 1))
    def run(point, seed):
        calls.append((point["x"], seed))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return {"y": point["x"] + 0.5 * seed, "none": None}

    return calls


def test_a_sweep_resumes_where_it_was_interrupted(toy, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        sweeps.run_sweep("toy", tmp_path)
    assert [row["seed"] for row in stored_runs.load_sweep("toy", tmp_path)["rows"]] == [0, 1]
    path = sweeps.run_sweep("toy", tmp_path)
    assert toy == [(1, 0), (1, 1), (2, 0), (2, 0), (2, 1)]
    stored = json.loads(path.read_text())
    assert stored["rows"][3] == {"point": {"x": 2}, "seed": 1, "result": {"y": 2.5, "none": None}}
    assert stored["command"] == "python -m course_utils sweeps toy"
    assert {"python", "torch", "transformers"} == set(stored["created_with"])
    assert [entry.name for entry in tmp_path.iterdir()] == ["toy.json"]
    sweeps.run_sweep("toy", tmp_path)
    assert len(toy) == 5


def test_rows_of_other_data_are_made_again(toy, tmp_path):
    toy.append("past the interruption")
    toy.append("past the interruption")
    toy.append("past the interruption")
    path = sweeps.run_sweep("toy", tmp_path)
    stored = json.loads(path.read_text())
    path.write_text(json.dumps({**stored, "data_hash": "other"}))
    sweeps.run_sweep("toy", tmp_path)
    assert len(toy) == 3 + 4 + 4


def test_a_stored_run_is_recomputed(toy, tmp_path):
    toy.extend(["past the interruption"] * 3)
    sweeps.run_sweep("toy", tmp_path)
    assert sweeps.recompute_point("toy", 2, tmp_path) == []


def test_a_sampled_run_may_be_as_far_off_as_another_seed(monkeypatch, tmp_path):
    monkeypatch.setattr(stored_runs, "SWEEPS", {})
    shift = {"": 0.0}

    @stored_runs.sweep("toy", points=[{"x": 1}, {"x": 2}], seeds=(0, 1, 2), sampled=True)
    def run(point, seed):
        return {"y": point["x"] + 0.1 * (seed - 1) + shift[""], "fixed": point["x"], "text": "a"}

    sweeps.run_sweep("toy", tmp_path)
    for shift[""], faults in [(0.7, 0), (-0.7, 0), (-0.9, 1), (1.6, 1), (math.nan, 1)]:  # seeds deviate by .1
        assert len(sweeps.recompute_point("toy", 1, tmp_path)) == faults
    assert sweeps._deviation_of_seeds(stored_runs.load_sweep("toy", tmp_path)["rows"], "fixed") == 0


def test_the_early_numbers_of_a_sampled_run_allow_the_tolerance_only(monkeypatch, tmp_path):
    monkeypatch.setattr(stored_runs, "SWEEPS", {})
    shift = {"": 0.0}

    @stored_runs.sweep("toy", points=[{}], seeds=(0, 1, 2), sampled=True, early=("_2",))
    def run(point, seed):
        return {name: 1 + 0.1 * (seed - 1) + shift[""] for name in ("gold_2", "gold_12")}

    sweeps.run_sweep("toy", tmp_path)
    for shift[""], faulty in [(0.01, []), (0.3, ["gold_2"])]:
        faults = sweeps.recompute_point("toy", 1, tmp_path)
        assert [fault.split(":")[0] for fault in faults] == faulty


def test_a_number_near_zero_is_compared_on_the_scale_of_its_seeds(monkeypatch, tmp_path):
    monkeypatch.setattr(stored_runs, "SWEEPS", {})
    shift = {"": 0.0}

    @stored_runs.sweep("toy", points=[{}], seeds=(0, 1, 2))
    def run(point, seed):
        return {"margin": 0.001 + 0.1 * (seed - 1) + shift[""]}

    sweeps.run_sweep("toy", tmp_path)
    for shift[""], faults in [(0.004, 0), (0.006, 1)]:  # a twentieth of .1
        assert len(sweeps.recompute_point("toy", 1, tmp_path)) == faults


def test_a_sampled_run_that_is_longer_than_another_points_is_compared_in_all_its_numbers(
    monkeypatch, tmp_path
):
    monkeypatch.setattr(stored_runs, "SWEEPS", {})
    shift = {"": 0.0}

    @stored_runs.sweep("toy", points=[{"steps": 1}, {"steps": 2}], seeds=(0, 1, 2), sampled=True)
    def run(point, seed):
        return {f"gold_{step}": 1 + 0.01 * seed + shift[""] for step in range(1, point["steps"] + 1)}

    sweeps.run_sweep("toy", tmp_path)
    for shift[""], faulty in [(0.0, []), (3.0, ["gold_1", "gold_2"])]:
        faults = sweeps.recompute_point("toy", 4, tmp_path)
        assert [fault.split(":")[0] for fault in faults] == faulty


def test_what_is_missing_is_named(toy, tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"toy\.json is missing .*make it with: python -m course_utils sweeps toy"
    ):
        stored_runs.load_sweep("toy", tmp_path)
    with pytest.raises(ValueError, match="unknown sweep 'lr'; choose one of toy"):
        sweeps.run_sweep("lr", tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"rows": []}', '{"rows": [{}]}', '{"rows": 1}'])
def test_a_damaged_result_names_itself(tmp_path, content):
    (tmp_path / "toy.json").write_text(content)
    with pytest.raises(ValueError, match=r"toy\.json is damaged .*git checkout"):
        stored_runs.load_sweep("toy", tmp_path)


def test_points_can_be_added_and_taken_out(monkeypatch, tmp_path):
    monkeypatch.setattr(stored_runs, "SWEEPS", {})
    calls = []

    def register(*points):
        @stored_runs.sweep("toy", points=[{"x": x} for x in points], seeds=(0,))
        def run(point, seed):
            calls.append(point["x"])
            return {"y": point["x"]}

        sweeps.run_sweep("toy", tmp_path)
        return [row["point"]["x"] for row in stored_runs.load_sweep("toy", tmp_path)["rows"]]

    assert register(1, 3) == [1, 3]
    assert register(1, 2, 3, 4) == [1, 2, 3, 4]
    assert calls == [1, 3, 2, 4]
    assert register(2, 5) == [2, 5]
    assert register(5) == [5]
    assert calls == [1, 3, 2, 4, 5]


@pytest.mark.parametrize("name", stored_runs.SWEEPS)
def test_stored_sweeps_are_of_this_data(name):
    stored, origin = stored_runs.load_sweep(name), sweeps._origin(stored_runs.SWEEPS[name])
    assert stored["data_hash"] == origin["data_hash"], f"run: python -m course_utils sweeps {name}"


@pytest.mark.parametrize("name", stored_runs.SWEEPS)
def test_stored_sweeps_are_whole(name):
    chosen = stored_runs.SWEEPS[name]
    rows = stored_runs.load_sweep(name)["rows"]
    assert [(row["point"], row["seed"]) for row in rows] == [
        (p, s) for p in chosen.points for s in chosen.seeds
    ]


@pytest.mark.night
@pytest.mark.parametrize("name", stored_runs.SWEEPS)
def test_a_point_comes_out_again(name):
    """A different point every day."""
    rows = stored_runs.load_sweep(name)["rows"]
    index = date.today().toordinal() % len(rows)
    assert sweeps.recompute_point(name, index) == [], f"row {index}"
