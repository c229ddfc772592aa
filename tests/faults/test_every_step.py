"""A kill before and after each call that renames, deletes or makes a folder: the next run succeeds.

The calls are counted in a child process; then one child is killed at each of them.
"""

import os
import time
import traceback

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from course_utils.commands import book
from course_utils.commands.lab import copy_lessons, reset
from course_utils.home import SUMS, cached, write_whole
from course_utils.own import export, own_run
from course_utils.ownership import DAY, LOCK, MARK_FILE, new_folder

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="forks processes")]
CALLS = ("link", "rename", "replace", "unlink", "remove", "rmdir", "mkdir")
KILLED = 9


def child(work, at=0, after=False):
    """(exit status, number of CALLS) of work() in a process killed before or after one of them."""
    reading, writing = os.pipe()
    if number := os.fork():
        status = os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
        os.close(writing)
        with os.fdopen(reading) as pipe:
            return status, int(pipe.read() or 0)
    count = 0

    def watched(call):
        def step(*values, **options):
            nonlocal count
            count += 1
            here = count
            if here == at and not after:
                os._exit(KILLED)
            found = call(*values, **options)
            if here == at:
                os._exit(KILLED)
            return found

        return step

    for name in CALLS:
        setattr(os, name, watched(getattr(os, name)))
    status = 1
    try:
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    os.write(writing, str(count).encode())
    os._exit(status)


def at_every_step(tmp_path, tabulate, kind, prepare, work, check):
    """check(folder, "killed") and, after work has run again a day later, check(folder, "mended")."""
    (tmp_path / "whole").mkdir()
    prepare(tmp_path / "whole")
    status, count = child(lambda: work(tmp_path / "whole"))
    assert status == 0 and count
    check(tmp_path / "whole", "mended")
    for at in range(1, count + 1):
        for after in (False, True):
            folder = tmp_path / f"{at} {after}"
            folder.mkdir()
            prepare(folder)
            status, _ = child(lambda folder=folder: work(folder), at, after)
            assert status in (0, 1, KILLED) and (after or status == KILLED)  # a failing call has no "after"
            check(folder, "killed")
            for path in folder.rglob("*.course-part"):
                os.utime(path, (0, time.time() - 2 * DAY))
            assert child(lambda folder=folder: work(folder))[0] == 0, folder.name
            check(folder, "mended")
    tabulate(f"every step of {kind}, killed", [""] * 2 * count)
    return count


def names(folder):
    return {path.name for path in folder.iterdir()}


def texts(folder):
    return {path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file()}


def run_of(folder, data):
    run = own_run.open_run(
        folder / "m", {"base": "b", "weights": "w", "method": "lora", "data": data}, overwrite=True
    )
    run.checkpoint("sft").write_text("state", encoding="utf-8")
    sheet = {"rating_key.json": f"key {data}", "report.html": data}
    return run.finish(lambda made: [(made / name).write_text(text) for name, text in sheet.items()])


@pytest.mark.parametrize("before", ["", "one", pytest.param("two", marks=pytest.mark.night)])
def test_the_finish_of_lesson_17(tmp_path, tabulate, before):
    """Its place is free, or has another run's result or the same run's, with ratings."""

    def prepare(folder):
        (folder / "m.old").mkdir()
        (folder / "m.old" / "thesis").write_text("mine")
        if before:
            (run_of(folder, before) / "ratings.json").write_text("ratings")

    def check(folder, when):
        kept = {"mine", *(["ratings", f"key {before}"] if before else [])}
        assert kept <= texts(folder)
        work = folder / "m.part"
        if (work / "old").exists():  # no message may call this an interrupted run to delete
            assert not (work / "run.json").exists()
        if when == "mended":
            assert names(folder) == {"m", "m.old", ".m.lock"}
            found = {"run.json", "report.html", "rating_key.json", MARK_FILE}
            found |= {"ratings.json"} if before else set()
            found |= {"rating_key-2.json"} if before == "one" else set()
            assert names(folder / "m") == found
            assert (folder / "m" / "rating_key.json").read_text() == "key two"

    def work(folder):
        run_of(folder, "two")

    kind = f"lesson 17's finish over {before or 'nothing'}"
    assert at_every_step(tmp_path, tabulate, kind, prepare, work, check) > 10


def test_export(tmp_path, tabulate):
    def prepare(folder):
        (folder / "x.part").mkdir()
        (folder / "x.part" / "thesis").write_text("mine")

    def work(folder):
        if not (folder / "x").exists():  # an export that was complete when killed is rejected by its name
            with export._at_work(folder / "x"), new_folder(folder / "x", "export") as made:
                (made / "merged").mkdir()
                (made / "merged" / "weights").write_text("weights")

    def check(folder, when):
        assert "mine" in texts(folder)
        if when == "mended":
            assert names(folder) - {".x.lock"} == {"x", "x.part"}
            assert (folder / "x" / "merged" / "weights").read_text() == "weights"

    assert at_every_step(tmp_path, tabulate, "export", prepare, work, check) >= 5


@pytest.mark.parametrize(
    "marked",
    [
        pytest.param(True, id="marked"),
        pytest.param(False, id="of an earlier edition", marks=pytest.mark.night),
    ],
)
def test_book(tmp_path, tabulate, marked, monkeypatch):
    monkeypatch.setattr(book, "BUILD", tmp_path if not marked else book.BUILD)

    def work(folder):
        with book.new_book(folder / "book") as made:
            for name in ("source", "html"):
                (made / name / "index").write_text("new")

    def prepare(folder):
        (folder / "source").mkdir()
        (folder / "source" / "thesis").write_text("mine")
        with book.new_book(folder / "book") as made:
            (made / "html" / "old").write_text("old")
        if not marked:
            for path in folder.rglob(MARK_FILE):
                path.unlink()

    def check(folder, when):
        assert "mine" in texts(folder) and names(folder) == {"source", "book"}
        if when == "mended":
            assert names(folder / "book") - {MARK_FILE, LOCK} == set(book.FOLDERS)
            assert names(folder / "book" / "html") == {MARK_FILE, "index"}

    assert at_every_step(tmp_path, tabulate, "book" if marked else "book, earlier", prepare, work, check) >= 5


def lesson_with(text):
    return nbformat.writes(new_notebook(cells=[new_markdown_cell("# A lesson"), new_code_cell(text)]))


def test_lab_and_reset(tmp_path, tabulate):
    def prepare(folder):
        for number in range(2):
            write_whole(folder / "notebooks" / f"0{number}_lesson.ipynb", lesson_with(f"{number} + 1"))
        write_whole(folder / "work" / "00_lesson.ipynb", lesson_with("mine = 1"))

    def work(folder):
        copy_lessons(folder / "notebooks", folder / "work")
        reset("00", folder / "notebooks", folder / "work")

    def check(folder, when):
        files = list((folder / "work").glob("*.ipynb"))
        found = {nbformat.read(path, as_version=4).cells[1].source for path in files}
        assert "mine = 1" in found
        if when == "mended":
            assert {"0 + 1", "1 + 1"} <= found
            assert {path.suffix for path in (folder / "work").iterdir()} == {".ipynb"}

    assert at_every_step(tmp_path, tabulate, "lab and reset", prepare, work, check) >= 3


def fill(folder):
    (folder / "inside").mkdir()
    (folder / "inside" / "weights").write_text("weights")


@pytest.mark.parametrize("damaged", [False, True])
def test_cache(tmp_path, tabulate, damaged, monkeypatch):
    def work(folder):
        os.environ["COURSE_HOME"] = str(folder)
        return cached("entry", {"of": "steps"}, fill)

    def prepare(folder):
        monkeypatch.setenv("COURSE_HOME", str(folder))
        (folder / "cache").mkdir()
        if damaged:
            (work(folder) / "inside" / "weights").write_text("other")

    def check(folder, when):
        if when == "mended":
            (entry,) = (path for path in (folder / "cache").iterdir() if path.suffix != ".lock")
            assert names(entry) == {MARK_FILE, SUMS, "inside"} and "weights" in texts(entry)

    kind = "cache, damaged" if damaged else "cache"
    assert at_every_step(tmp_path, tabulate, kind, prepare, work, check) >= 4
