"""Every trajectory equals its stored one; changed numbers are reported."""

import copy

import pytest

from course_utils import artifacts
from course_utils.lessons.lesson_19 import students
from course_utils.making import sweeps
from course_utils.making.trajectories import stored
from course_utils.stored_runs import SWEEPS, load_experiments, load_sweep

load_experiments()
stored.load_trajectories()


@pytest.mark.slow
@pytest.mark.parametrize("name", stored.TRAJECTORIES)
def test_a_trajectory_comes_out_as_stored(name):
    faults = stored.changed_numbers(stored.load_trajectory(name), stored.run_trajectory(name))
    assert faults == [], (
        f"if the numbers are to change: python -m course_utils trajectories {name}, and what rests on it"
    )


def test_each_file_is_of_a_trajectory():
    assert {path.stem for path in stored.TRAJECTORY_FILES.glob("*.json")} == set(stored.TRAJECTORIES)


@pytest.mark.parametrize("name", SWEEPS)
def test_stored_runs_say_on_what_they_rest(name):
    head = load_sweep(name)
    assert head["rests_on"] == sweeps.trajectories_of(SWEEPS[name].run), (
        f"python -m course_utils sweeps {name}"
    )
    assert not {"code_hash", "confirmed"} & set(head)


MAKERS = {
    "assistant": artifacts.sft_model,
    "preferences": artifacts.preference_pairs,
    "reward_model": artifacts.reward_model,
    "list_student": students.list_student,
    "list_teacher": students.list_teacher,
}


@pytest.mark.parametrize("name", artifacts.RESTS_ON)
def test_what_is_kept_rests_on_what_its_maker_reaches(name):
    assert set(artifacts.RESTS_ON[name]) == set(stored.trajectories_of(MAKERS[name]))


NUMBERS = {"exact": {"ids": ["a", "b"]}, "close": {"loss": [2.0, 1.0], "moved": [0.5]}}


@pytest.mark.parametrize(
    "part, name, value, fault",
    [
        ("exact", "ids", ["a", "c"], "ids: at 1 stored 'b', now 'c'"),
        ("exact", "ids", ["a"], "ids: stored ['a', 'b'], now ['a']"),
        ("exact", "more", 1, "stored: ids; now: ids, more"),
        ("close", "loss", [2.0, 1.0011], "loss[1]: stored 1.0, now 1.0011"),
        ("close", "loss", [2.0, float("nan")], "loss[1]: stored 1.0, now nan"),
        ("close", "loss", [2.0], "loss: stored 2 numbers, now 1"),
    ],
)
def test_what_comes_out_otherwise_is_named(tmp_path, part, name, value, fault):
    stored.write_trajectory("toy", NUMBERS, tmp_path)
    then = stored.load_trajectory("toy", tmp_path)
    near = copy.deepcopy(NUMBERS)
    near["close"]["loss"][1] = 1.0009
    assert stored.changed_numbers(then, near) == []
    near[part][name] = value
    assert stored.changed_numbers(then, near) == [fault]


def test_a_missing_file_says_how_to_make_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"toy\.json is missing; make it: .* trajectories toy"):
        stored.load_trajectory("toy", tmp_path)


def test_the_command_says_what_rests_on_what_it_wrote(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(stored, "TRAJECTORY_FILES", tmp_path)
    runs = [NUMBERS, NUMBERS, NUMBERS | {"exact": {"ids": ["b", "a"]}}]
    monkeypatch.setattr(stored, "run_trajectory", lambda name: runs.pop(0))
    for words in ("written (it is new)", "runaway: as stored", "(ids: at 0 stored 'a', now 'b')"):
        stored.main(["runaway"])
        assert words in capsys.readouterr().out
    assert stored.load_trajectory("runaway", tmp_path)["exact"] == {"ids": ["b", "a"]}
    (tmp_path / "runaway.json").unlink()
    runs.append(NUMBERS)
    stored.main(["runaway"])
    assert capsys.readouterr().out.endswith(
        "Stored runs that rest on it: runaway, stopped_early, shuffled_scores\n"
    )
