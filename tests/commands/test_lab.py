import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from course_utils.commands import cli, lab
from course_utils.commands.lab import copy_lessons, lessons, reset
from course_utils.home import ROOT


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    for name in ("00_start", "01_why"):
        cell = new_code_cell("print(42)", execution_count=7, outputs=[new_output("stream", text="42\n")])
        cell.metadata["tags"] = ["parameters"]
        nbformat.write(new_notebook(cells=[new_markdown_cell("# Title"), cell]), folder / f"{name}.ipynb")
    return folder


@pytest.fixture
def work(tmp_path):
    return tmp_path / "work"


def edit(path, text):
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].source = text
    nbformat.write(notebook, path)


def test_copies_have_the_cells_and_tags_but_no_outputs(source, work):
    assert copy_lessons(source, work) == [
        "work/00_start.ipynb: copied from notebooks/",
        "work/01_why.ipynb: copied from notebooks/",
    ]
    cell = nbformat.read(work / "00_start.ipynb", as_version=4).cells[1]
    assert (cell.source, cell.outputs, cell.execution_count) == ("print(42)", [], None)
    assert cell.metadata["tags"] == ["parameters"]
    assert nbformat.read(source / "00_start.ipynb", as_version=4).cells[1].outputs


def test_a_copy_that_is_there_is_not_touched(source, work):
    copy_lessons(source, work)
    edit(work / "00_start.ipynb", "mine = 1")
    before = (work / "00_start.ipynb").read_bytes()
    assert copy_lessons(source, work) == []
    assert (work / "00_start.ipynb").read_bytes() == before


def test_a_copy_that_is_older_than_its_lesson_is_named(source, work):
    copy_lessons(source, work)
    edit(work / "01_why.ipynb", "mine = 1")
    edit(source / "01_why.ipynb", "print(43)")
    (line,) = copy_lessons(source, work)
    assert line.startswith("work/01_why.ipynb is older than its lesson.")
    assert "python -m course_utils reset 01" in line
    assert nbformat.read(work / "01_why.ipynb", as_version=4).cells[1].source == "mine = 1"


def test_a_copy_that_imports_from_a_place_that_is_gone_is_named(source, work):
    copy_lessons(source, work)
    edit(
        work / "01_why.ipynb",
        "from course_utils.home import home\nfrom course_utils.sweeps import load_sweep",
    )
    edit(source / "01_why.ipynb", "print(43)")
    (line,) = copy_lessons(source, work)
    assert line.startswith("work/01_why.ipynb imports course_utils.sweeps, which has moved: it cannot run.")
    assert "python -m course_utils reset 01" in line


def test_new_outputs_alone_do_not_make_a_copy_old(source, work):
    copy_lessons(source, work)
    notebook = nbformat.read(source / "00_start.ipynb", as_version=4)
    notebook.cells[1].outputs = []
    nbformat.write(notebook, source / "00_start.ipynb")
    assert copy_lessons(source, work) == []


def test_reset_makes_a_fresh_copy_and_keeps_the_old_beside_it(source, work):
    copy_lessons(source, work)
    edit(work / "01_why.ipynb", "mine = 1")
    copy, kept = reset("1", source, work)
    assert nbformat.read(copy, as_version=4).cells[1].source == "print(42)"
    assert nbformat.read(kept, as_version=4).cells[1].source == "mine = 1"
    assert kept.parent == work and kept.name.startswith("01_why.before-")
    assert [path.name for path in lessons(folder=work)] == ["00_start.ipynb", "01_why.ipynb"]


def test_a_copy_that_is_no_notebook_any_more_is_named(source, work):
    copy_lessons(source, work)
    (work / "00_start.ipynb").write_text("<<<<<<< HEAD")
    (line,) = copy_lessons(source, work)
    assert line.startswith("work/00_start.ipynb is older")


def test_lessons_by_number_name_or_path(source):
    for name in ("1", "01", "01_why", "notebooks/01_why.ipynb"):
        assert [path.stem for path in lessons([name], source)] == ["01_why"]
    with pytest.raises(ValueError, match="no lesson '\xb9'"):  # a digit to Python, but not a number
        lessons(["\xb9"], source)
    with pytest.raises(ValueError, match=r"no lesson '9'.*Choose from: 00_start, 01_why"):
        lessons(["9"], source)


@pytest.fixture
def started(source, work, monkeypatch, tmp_path):
    """The commands that `lab` has started."""
    started = []
    monkeypatch.setattr(lab, "OWN_ROOT", tmp_path)
    monkeypatch.setattr(lab, "WORK", work)
    monkeypatch.setattr(lab, "copy_lessons", lambda: copy_lessons(source, work))
    monkeypatch.setattr("os.execve", lambda program, command, _: started.extend(command))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("os.name", "posix")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lab.subprocess, "run", lambda command, env: type("Done", (), {"returncode": 0}))
    return started


def test_the_lab_is_opened_on_this_machine_only_and_as_root_too(started, capsys):
    assert cli.main(["lab", "--no-browser"]) == 0
    assert started[1:4] == ["-P", "-m", "jupyterlab"]
    assert "--ip=127.0.0.1" in started and "--allow-root" in started and "--no-browser" in started
    assert "--LabApp.default_url=/lab/tree/work/00_start.ipynb" in started
    assert not any("token" in argument or "password" in argument for argument in started)
    assert "work/00_start.ipynb: copied" in capsys.readouterr().out


@pytest.mark.parametrize("address", [["--ip=0.0.0.0"], ["--ip", "0.0.0.0"], ["--ServerApp.ip=0.0.0.0"]])
def test_an_address_that_is_given_is_the_only_one(started, address):
    """JupyterLab rejects two: "ip only accepts one value"."""
    assert cli.main(["lab", *address]) == 0
    assert started[-len(address) :] == address and "--ip=127.0.0.1" not in started


@pytest.mark.parametrize("asked", ["-h", "--help"])
def test_help_copies_nothing(started, work, capsys, asked):
    with pytest.raises(SystemExit) as ended:
        cli.main(["lab", asked])
    assert ended.value.code == 0 and not started and not work.exists()
    assert "go to JupyterLab" in " ".join(capsys.readouterr().out.split())


def test_resets_in_one_second_lose_no_edit(source, work, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda form: "20260101-000000")
    copy_lessons(source, work)
    for number in range(3):
        edit(work / "01_why.ipynb", f"mine = {number}")
        reset("1", source, work)
    kept = [nbformat.read(path, as_version=4).cells[1].source for path in work.glob("01_why.before-*")]
    assert sorted(kept) == ["mine = 0", "mine = 1", "mine = 2"]
    assert [path.name for path in lessons(folder=work)] == ["00_start.ipynb", "01_why.ipynb"]


@pytest.fixture
def saving(work, monkeypatch):
    """JupyterLab saves the copy of lesson 01 right before a file takes its name, twice."""
    copy, saved = work / "01_why.ipynb", []

    def watched(call):
        def late(source, target, **options):
            if target == copy and len(saved) < 2:
                saved.append(f"saved = {len(saved)}")
                cells = [new_markdown_cell("# Title"), new_code_cell(saved[-1])]
                nbformat.write(new_notebook(cells=cells), work / "beside")
                replace(work / "beside", copy)
            return call(source, target, **options)

        return late

    def begin():
        for name in ("link", "rename", "replace"):
            monkeypatch.setattr(os, name, watched(getattr(os, name)))

    replace = os.replace
    return begin, saved


def sources_in(work):
    return {nbformat.read(path, as_version=4).cells[1].source for path in work.glob("01_why*.ipynb")}


def test_a_save_while_reset_works_is_kept(source, work, saving):
    copy_lessons(source, work)
    edit(work / "01_why.ipynb", "mine = 1")
    begin, saved = saving
    begin()
    copy, _ = reset("1", source, work)
    assert sources_in(work) == {"print(42)", *saved} and len(saved) == 2
    assert nbformat.read(copy, as_version=4).cells[1].source == "print(42)"
    assert {path.suffix for path in work.iterdir()} == {".ipynb"}


@pytest.fixture
def no_rename(monkeypatch):
    """Rename fails, as from one disk to another; a save itself then uses os.replace."""

    def other_disk(*places):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "rename", other_disk)


def test_a_save_is_kept_where_the_old_copy_cannot_be_renamed(source, work, monkeypatch, no_rename):
    copy_lessons(source, work)
    edit(work / "01_why.ipynb", "mine = 1")
    copyfile, saved = lab.shutil.copyfile, iter(["saved = 1", "saved = 2"])

    def late(place, part):
        copyfile(place, part)
        if text := next(saved, ""):
            edit(place, text)

    monkeypatch.setattr(lab.shutil, "copyfile", late)
    copy, kept = reset("1", source, work)
    assert sources_in(work) == {"print(42)", "mine = 1", "saved = 1", "saved = 2"}
    assert nbformat.read(copy, as_version=4).cells[1].source == "print(42)"
    assert nbformat.read(kept, as_version=4).cells[1].source == "saved = 2"


@pytest.mark.skipif(os.name != "posix", reason="links need rights elsewhere")
def test_reset_follows_a_link_in_a_copys_place(source, work, tmp_path):
    copy_lessons(source, work)
    edit(work / "01_why.ipynb", "mine = 1")
    (tmp_path / "disk").mkdir()
    (work / "01_why.ipynb").rename(tmp_path / "disk" / "mine.ipynb")
    (work / "01_why.ipynb").symlink_to(tmp_path / "disk" / "mine.ipynb")
    _, kept = reset("1", source, work)
    assert (work / "01_why.ipynb").is_symlink() and kept.parent == work
    assert sources_in(work) == {"print(42)", "mine = 1"}
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["mine.ipynb"]


@pytest.mark.skipif(os.name != "posix", reason="rights are Unix's")
@pytest.mark.parametrize("renamed", [True, False])
def test_a_copy_that_only_its_owner_may_read_is_kept_so(source, work, renamed, request, monkeypatch):
    copy_lessons(source, work)
    (work / "01_why.ipynb").chmod(0o600)
    if not renamed:
        request.getfixturevalue("no_rename")
    copyfile, seen = lab.shutil.copyfile, []

    def watched(place, part):
        seen.append(part.stat().st_mode & 0o777)
        copyfile(place, part)

    monkeypatch.setattr(lab.shutil, "copyfile", watched)
    for path in reset("1", source, work):
        assert path.stat().st_mode & 0o777 == 0o600
    assert seen == ([] if renamed else [0o600])


def test_a_reset_that_is_stopped_gives_the_old_copy_back(source, work, monkeypatch):
    copy_lessons(source, work)
    edit(work / "01_why.ipynb", "mine = 1")
    take = lab._take_free_name

    def stopped(part, place):
        if part.name.endswith(".course-part") and not place.exists():
            raise KeyboardInterrupt
        return take(part, place)

    monkeypatch.setattr(lab, "_take_free_name", stopped)
    with pytest.raises(KeyboardInterrupt):
        reset("1", source, work)
    assert sources_in(work) == {"mine = 1"}
    assert {path.name for path in work.iterdir()} == {"00_start.ipynb", "01_why.ipynb"}


def test_a_disk_without_hard_links_has_fresh_copies_too(source, work, monkeypatch):
    def refused(*places):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    copy_lessons(source, work)
    edit(work / "01_why.ipynb", "mine = 1")
    reset("1", source, work)
    assert sources_in(work) == {"print(42)", "mine = 1"}


def test_a_folder_in_a_copys_place_is_refused(source, work):
    (work / "01_why.ipynb").mkdir(parents=True)
    for call in (lambda: copy_lessons(source, work), lambda: reset("1", source, work)):
        with pytest.raises(FileExistsError, match=r"01_why\.ipynb is a folder\. Move it away"):
            call()
    assert not list((work / "01_why.ipynb").iterdir())


def test_a_reset_that_fails_leaves_the_copy_as_it_was(source, work, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    copy_lessons(source, work)
    edit(work / "01_why.ipynb", "mine = 1")
    before = (work / "01_why.ipynb").read_bytes()
    monkeypatch.setattr(lab, "write_notebook", full)
    with pytest.raises(OSError, match=r"work cannot be used \(No space left on device\)\. Free some space"):
        reset("1", source, work)
    (source / "01_why.ipynb").write_text("no notebook")
    with pytest.raises(ValueError):
        reset("1", source, work)
    assert (work / "01_why.ipynb").read_bytes() == before


def test_a_file_in_the_place_of_the_folder_is_named(source, work):
    work.write_text("mine")
    for make in (lambda: copy_lessons(source, work), lambda: reset("00", source, work)):
        with pytest.raises(FileExistsError, match=r"work is a file, not a folder\. Move it away"):
            make()
    assert work.read_text() == "mine"


def test_a_place_that_cannot_be_written_is_named_with_what_helps(source, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    for call in (
        lambda: copy_lessons(source, blocked / "work"),
        lambda: reset("1", source, blocked / "work"),
    ):
        with pytest.raises(OSError, match=r"work cannot be used \(.*copy the course to a folder of yours"):
            call()


def test_the_course_adds_its_defaults_to_the_paths_of_jupyter(monkeypatch):
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", os.pathsep.join(["/theirs", "/others"]))
    monkeypatch.delenv("JUPYTER_PATH", raising=False)
    environment = lab.jupyter_environment()
    assert environment["JUPYTER_CONFIG_PATH"].split(os.pathsep) == [str(lab.JUPYTER), "/theirs", "/others"]
    assert environment["JUPYTER_PATH"] == str(lab.JUPYTER)


def test_for_a_projector_larger_type_joins_the_defaults(monkeypatch):
    for name in ("JUPYTER_CONFIG_PATH", "JUPYTER_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COURSE_STYLE", "projector")
    paths = lab.jupyter_environment()["JUPYTER_CONFIG_PATH"].split(os.pathsep)
    assert paths == [str(lab.JUPYTER), str(lab.PROJECTOR)]
    monkeypatch.setenv("COURSE_STYLE", "beamer")
    with pytest.raises(ValueError, match="Unknown COURSE_STYLE 'beamer': choose projector"):
        lab.jupyter_environment()


def test_larger_type_is_told_to_the_extension_whose_style_has_it():
    told = json.loads((lab.PROJECTOR / "labconfig" / "page_config.json").read_text())
    static = lab.JUPYTER / "labextensions" / "finetuning-course" / "static"
    script, style = ((static / name).read_text() for name in ("remoteEntry.js", "style.css"))
    assert told == {"courseStyle": "projector"} and "dataset.courseStyle = config.courseStyle" in script
    assert "body[data-course-style='projector']" in style and "--jp-content-font-size1: 21px" in style


def test_the_defaults_are_settings_that_jupyterlab_knows():
    """JupyterLab silently ignores unknown names."""
    defaults = json.loads((lab.JUPYTER / "labconfig" / "default_setting_overrides.json").read_text())
    share = Path(sys.prefix) / "share" / "jupyter"
    for plugin, settings in defaults.items():
        extension, name = plugin.split(":")
        (schema,) = share.glob(f"lab*/**/schemas/{extension}/{name}.json")
        known = json.loads(schema.read_text())["properties"]
        for setting, value in settings.items():
            kind = {bool: "boolean", str: "string", dict: "object"}[type(value)]
            assert known[setting].get("type", kind) == kind
            options = [option["const"] for option in known[setting].get("oneOf", [])]
            assert value in (known[setting].get("enum") or options or [value]), (plugin, setting)


def test_current_copies_are_seen_without_nbformat(source, work, monkeypatch):
    """Importing it would keep JupyterLab waiting."""
    copy_lessons(source, work)
    monkeypatch.setitem(sys.modules, "nbformat", None)
    assert copy_lessons(source, work) == []


def test_reset_says_what_to_press_where_the_lesson_is_open(source, work, monkeypatch, capsys):
    monkeypatch.setattr(lab, "reset", lambda name: reset(name, source, work))
    cli.main(["reset", "1"])
    assert "Reload Notebook from Disk" not in capsys.readouterr().out, "there was none to be open"
    cli.main(["reset", "1"])
    shown = capsys.readouterr().out
    assert "File > Reload Notebook from Disk" in shown and "Revert, not Overwrite" in shown


def test_another_python_is_named_in_a_line():
    command = [sys.executable, "-S", "-m", "course_utils", "doctor"]  # -S: without what is installed
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "Is it the Python of the course's environment?" in done.stderr
