import errno
import shutil
import signal
import threading
import time
from dataclasses import replace

import pytest
import torch
from safetensors import SafetensorError

from course_utils import artifacts, models
from course_utils.home import cached, naming
from course_utils.lessons.lesson_18 import task
from course_utils.lessons.lesson_19 import students
from course_utils.model_files import ModelError
from course_utils.session import TrainingStopped, start

LOADERS = {
    "assistant": artifacts.sft_model,
    "reward_model": artifacts.reward_model,
    "list_student": students.list_student,
    "list_teacher": students.list_teacher,
}


@pytest.fixture(autouse=True)
def course_home(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path))
    return tmp_path


class Maker:
    """Counts its calls and writes the count."""

    def __init__(self, pause=0.0):
        self.calls, self.pause = 0, pause

    def __call__(self, folder):
        self.calls += 1
        time.sleep(self.pause)
        (folder / "result").write_text(str(self.calls))


def test_made_once_and_announced_once(course_home, capsys):
    make = Maker()
    first = cached("sft", {"seed": 0}, make)
    assert capsys.readouterr().out == f"Making sft once; it will be kept in {first}\n"
    assert cached("sft", {"seed": 0}, make) == first
    assert make.calls == 1 and capsys.readouterr().out == ""
    assert first.parent == course_home / "cache" and (first / "result").read_text() == "1"


def test_made_again_when_name_input_trajectory_or_data_change(monkeypatch, tmp_path):
    make = Maker()

    monkeypatch.setattr("course_utils.stored_runs.TRAJECTORY_FILES", tmp_path)

    def folder(name="sft", numbers="numbers", data="data", **inputs):
        (tmp_path / "full.json").write_text(numbers)
        monkeypatch.setattr("course_utils.reach.data_hash", lambda make: data)
        return cached(name, inputs, make, rests_on=["full"])

    places = {
        folder(seed=0, model="pocket"),
        folder(seed=1, model="pocket"),
        folder("other", seed=0, model="pocket"),
        folder(numbers="changed", seed=0, model="pocket"),
        folder(data="changed", seed=0, model="pocket"),
    }
    assert len(places) == make.calls == 5
    folder(model="pocket", seed=0)
    assert make.calls == 5


def test_a_failure_leaves_nothing(course_home):
    def fail(folder):
        (folder / "half").write_text("half")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        cached("sft", {}, fail)
    assert [path for path in (course_home / "cache").iterdir() if path.is_dir()] == []
    assert (cached("sft", {}, Maker()) / "result").exists()


def test_what_a_killed_process_left_is_made_again(course_home):
    folder = cached("sft", {}, Maker())
    part = folder.with_name(f".{folder.name}.12ab_xyz.course-part")
    folder.rename(part)
    (part / "half").write_text("half")
    assert not (cached("sft", {}, Maker()) / "half").exists() and not part.exists()


def test_two_at_once_make_it_once():
    make = Maker(pause=0.3)
    threads = [threading.Thread(target=cached, args=("sft", {}, make)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert make.calls == 1


@pytest.mark.parametrize(
    "fault",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        SafetensorError("Error while serializing: I/O error: File too large (os error 27)"),
    ],
)
def test_a_full_disk_is_said_and_leaves_nothing(course_home, fault):
    def fill(folder):
        (folder / "half").write_text("half")
        raise fault

    with pytest.raises(OSError, match=r"The disk is full: nothing was kept in .*COURSE_HOME") as caught:
        cached("sft", {}, fill)
    assert caught.value.errno == errno.ENOSPC and str(course_home) in str(caught.value)
    assert [path for path in (course_home / "cache").iterdir() if path.is_dir()] == []


def test_the_error_that_safetensors_has_for_a_full_disk_names_the_place(tmp_path):
    fault = SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    with pytest.raises(OSError, match=f"{tmp_path} cannot be used .*No space left.*Buy a disk"):
        with naming(tmp_path, "Buy a disk."):
            raise fault
    with pytest.raises(SafetensorError, match="header"), naming(tmp_path, "Buy a disk."):
        raise SafetensorError("Error while deserializing header")


def test_inputs_must_be_json():
    with pytest.raises(TypeError):
        cached("sft", {"seed": object()}, Maker())


def damage(folder, how):
    """Change one file of a cache entry."""
    file = folder / "result"
    if how == "flipped":
        file.write_bytes(bytes([file.read_bytes()[0] ^ 1]))
    elif how == "cut":
        file.write_bytes(b"")
    elif how == "removed":
        file.unlink()
    else:
        next(path for path in folder.iterdir() if path != file).write_text(how)


@pytest.mark.parametrize("how", ["flipped", "cut", "removed", "", "{", "[]", "null", '{"result": 1}'])
def test_a_damaged_entry_is_made_again_and_a_line_says_so(capsys, how):
    make = Maker()
    folder = cached("sft", {}, make)
    damage(folder, how)
    capsys.readouterr()
    assert cached("sft", {}, make) == folder
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{folder} is damaged (") and first.endswith("and sft is made again.")
    assert second.startswith("Making sft once") and (folder / "result").read_text() == "2"
    cached("sft", {}, make)
    assert make.calls == 2 and capsys.readouterr().out == ""


def test_what_somebody_put_into_an_entry_is_kept():
    make = Maker()
    folder = cached("sft", {}, make)
    (folder / "notes.txt").write_text("mine")
    assert cached("sft", {}, make) == folder and make.calls == 1
    damage(folder, "cut")
    with pytest.raises(FileExistsError, match=r"notes\.txt is not the course's\. Move it away"):
        cached("sft", {}, make)
    assert (folder / "notes.txt").read_text() == "mine"
    (folder / "notes.txt").unlink()
    assert cached("sft", {}, make) == folder and make.calls == 2


def test_a_home_that_cannot_be_written_is_named_with_the_setting(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "file"))
    with pytest.raises(OSError, match=r"file/cache cannot be used \(.*Set COURSE_HOME to a folder of yours"):
        cached("sft", {}, Maker())


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("artifact", ["sft_model", "reward_model"])
def test_a_training_that_was_stopped_is_not_kept(course_home, monkeypatch, shell, artifact):
    original, presses = torch.optim.AdamW.step, [signal.SIGINT]

    def step(optimizer, *arguments):
        if presses:
            signal.raise_signal(presses.pop())
        return original(optimizer, *arguments)

    shell.push({"artifacts": artifacts, "session": start("pocket", "smoke")})
    if artifact == "reward_model":
        assert shell.run_cell("artifacts.sft_model(session)").success
    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    kept = {path.name for path in (course_home / "cache").glob("*") if path.is_dir()}
    assert isinstance(shell.run_cell(f"artifacts.{artifact}(session)").error_in_exec, TrainingStopped)
    assert {path.name for path in (course_home / "cache").glob("*") if path.is_dir()} == kept
    assert shell.run_cell(f"artifacts.{artifact}(session)").success


@pytest.fixture
def session():
    return start("pocket", "quick", 0)


def never(*_):
    raise AssertionError("made, where one is shipped")


@pytest.mark.parametrize("name", LOADERS)
def test_what_is_shipped_is_taken_in_fp32(session, monkeypatch, course_home, name):
    monkeypatch.setattr(artifacts, "cached", never)
    monkeypatch.setattr(students, "cached", never)
    loaded = LOADERS[name](session)
    model = loaded if name == "list_teacher" else loaded[0]
    assert {value.dtype for value in model.parameters()} == {torch.float32} and not model.training
    assert not (course_home / "cache").exists()


@pytest.mark.parametrize(
    "other", [{"seed": 1}, {"scale": "smoke"}, {"scale": "full"}, {"model_name": "gpt2"}]
)
@pytest.mark.parametrize("name", LOADERS)
def test_other_sessions_make_their_own(session, name, other):
    assert artifacts.is_shipped(name, session)
    assert not artifacts.is_shipped(name, replace(session, **other))


@pytest.mark.parametrize("name", LOADERS)
def test_other_weights_under_the_name_pocket_make_their_own(session, monkeypatch, tmp_path, name):
    model, tokenizer = session.load_model()
    model.lm_head.weight.data += 0.01
    models.save_model(model, tokenizer, tmp_path / "pocket")
    monkeypatch.setattr(models, "POCKET", tmp_path / "pocket")
    monkeypatch.setitem(models.SHIPPED_MODELS, "pocket", tmp_path / "pocket")
    assert not artifacts.is_shipped(name, session)


def test_another_start_of_the_list_models_is_made(session, monkeypatch):
    made = []
    for module in (task, students):
        monkeypatch.setattr(module, "cached", lambda name, inputs, *_: made.append((name, inputs["start"])))
        monkeypatch.setattr(module, "load_model", lambda folder, device: (torch.nn.Linear(1, 1), None))
    task.list_student(session, seed=1)
    students.list_teacher(session, seed=2)
    assert made == [("list_student", 1), ("list_teacher", 2)]


def test_lesson_09_makes_its_assistant(session, monkeypatch):
    made = []
    monkeypatch.setattr(artifacts, "cached", lambda name, inputs, make, rests_on: made.append(name))
    monkeypatch.setattr(models, "load_model", lambda folder, device: folder)
    artifacts.sft_model(session, shipped=False)
    assert made == ["sft"]


@pytest.mark.parametrize(
    "name, file",
    [
        *[(name, f"{name}/model.safetensors") for name in LOADERS],
        ("reward_model", "assistant/model.safetensors"),
        ("assistant", "assistant/card.json"),
        ("assistant", "tokenizer/tokenizer.json"),
        ("assistant", "assistant/checksums.json"),
    ],
)
def test_a_damaged_shipped_file_is_named_with_the_remedy(session, monkeypatch, tmp_path, name, file):
    shutil.copytree(artifacts.SHIPPED, tmp_path / "artifacts")
    monkeypatch.setattr(artifacts, "SHIPPED", tmp_path / "artifacts")
    path = tmp_path / "artifacts" / file
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(ModelError, match="git checkout -- ") as caught:
        LOADERS[name](session)
    assert str(path) in str(caught.value) and str(caught.value).endswith(str(path.parent))


@pytest.mark.timing
def test_all_of_them_open_in_three_seconds(session):
    session.load_model()  # imports are not timed
    began = time.perf_counter()
    for load in LOADERS.values():
        load(session)
    assert time.perf_counter() - began < 3
