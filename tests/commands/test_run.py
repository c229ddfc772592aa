import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from filelock import FileLock
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from course_utils.commands import cli, lab, run

pytestmark = pytest.mark.slow
NIGHTLY = [pytest.param(name, marks=pytest.mark.night) for name in ("SIGTERM", "SIGKILL", "SIGHUP")]
PARAMETERS = "MODEL, SCALE, SEED = 'auto', 'auto', 0"
CLAIM = """
from course_utils.checks import claim
claim("Two is <small>", 2.0, at_most=3, models="any")
"""


def write(folder, name, *sources, title="A lesson"):
    cells = [new_markdown_cell(f"# {title}\n\nWords."), new_code_cell(PARAMETERS)]
    cells[1].metadata["tags"] = ["parameters"]
    notebook = new_notebook(cells=cells + [new_code_cell(source) for source in sources])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, folder / f"{name}.ipynb")


@pytest.fixture
def lessons(tmp_path, monkeypatch):
    """An empty folder of lessons that the commands treat as the course's own."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    monkeypatch.setattr(run, "lessons", lambda names, more=False: lab.lessons(names, folder, more))
    return folder


@pytest.mark.parametrize("name", ["00_good.ipynb", "00_good.log", "00_good.html", "index.html"])
def test_what_somebody_put_into_a_runs_folder_is_not_replaced(lessons, tmp_path, name):
    write(lessons, "00_good")
    write(lessons, "01_good")
    chosen, out = run.lessons([]), tmp_path / "out"
    out.mkdir()
    (out / "results.json").write_text('{"lessons": [], "claims": [], "versions": {}}')
    with pytest.raises(FileExistsError, match="out is a folder that run did not make"):
        run._take_folder(out, chosen)
    (out / "results.json").unlink()
    run._take_folder(out, chosen[1:])
    (out / name).write_text("mine")
    with pytest.raises(FileExistsError, match=f"{name} is not the course's"):
        run._take_folder(out, chosen)
    with pytest.raises(FileExistsError, match=f"{name} is not the course's"):
        run._to_write(out, name)  # it came while the lessons ran, or after a kill
    assert (out / name).read_text() == "mine"
    (out / name).unlink()
    run._to_write(out, name)
    (out / name).write_text("the run's")
    run._to_write(out, name)
    for takes in (chosen[1:], chosen, chosen[:1]):
        run._take_folder(out, takes)
    if os.name == "posix":
        (out / name).unlink(missing_ok=True)
        (out / name).symlink_to(tmp_path / "thesis")
        with pytest.raises(FileExistsError, match=f"{name} is not the course's"):
            run._take_folder(out, chosen)


def test_a_folder_without_a_model_and_no_jobs_are_refused_before_anything_runs(lessons, tmp_path, capsys):
    write(lessons, "00_good")
    for options in (["--model", str(tmp_path)], ["--jobs", "0"], ["--jobs=-5"]):
        assert cli.main(["run", *options, "--out", str(tmp_path / "out")]) == 1
    told = capsys.readouterr().err
    assert "holds no model: config.json is missing" in told and "--jobs is at least 1, got -5" in told
    assert not (tmp_path / "out").exists()


def test_a_run_reports_lessons_and_claims_and_one_failure_stops_no_other(lessons, tmp_path, capsys):
    write(lessons, "00_good", CLAIM, "print(MODEL, SCALE, SEED)", title="Good & short")
    write(lessons, "01_bad? #1", "x = 1", "raise KeyError('gone')", "x = 2")
    out = tmp_path / "out"
    assert (
        cli.main(
            ["run", "--model", "pocket", "--scale", "smoke", "--seed", "5", "--jobs", "2", "--out", str(out)]
        )
        == 1
    )
    results = json.loads((out / "results.json").read_text())
    good, bad = results["lessons"]
    assert (good["status"], bad["status"]) == ("passed", "failed")
    assert bad["error"] == "KeyError: 'gone'"
    assert good["seconds"] > 0 and good["peak_bytes"] > 20 * 2**20
    assert (results["model"], results["scale"], results["seed"], results["jobs"]) == ("pocket", "smoke", 5, 2)
    (claim,) = results["claims"]
    assert (claim["lesson"], claim["value"], claim["holds"]) == ("00_good", 2.0, True)
    executed = nbformat.read(out / "00_good.ipynb", as_version=4)
    assert claim["cell"] == executed.cells[-2].id
    assert executed.cells[-1].outputs[0].text == "pocket smoke 5\n"
    page = (out / "index.html").read_text()
    assert "1 of 2 lessons passed" in page and "Good &amp; short" in page and "Two is &lt;small&gt;" in page
    assert "KeyError: &#39;gone&#39;" in page and 'href="01_bad%3F%20%231.html"' in page
    assert f'href="00_good.html#cell-id={claim["cell"]}"' in page
    good, bad = (out / "00_good.html").read_text(), (out / "01_bad? #1.html").read_text()
    assert f'id="cell-id={claim["cell"]}"' in good and "pocket smoke 5" in good
    assert 'rel="next" href="01_bad%3F%20%231.html"' in good and 'rel="prev" href="00_good.html"' in bad
    assert "KeyError" in bad and "pocket smoke 5" not in bad
    assert str(out / "index.html") in capsys.readouterr().out


def test_a_folder_that_came_in_the_place_of_the_runs_is_left_alone(lessons, tmp_path):
    write(lessons, "00_good")
    out = run._take_folder(tmp_path / "out", run.lessons([]))
    out.rename(tmp_path / "moved")
    out.mkdir()
    with pytest.raises(FileExistsError, match="out is not the folder of this run now"):
        run._to_write(out, "index.html")
    assert list(out.iterdir()) == []


def test_a_folder_with_results_is_replaced_only_if_asked(lessons, tmp_path):
    write(lessons, "00_good")
    out = run._take_folder(tmp_path / "out", run.lessons([]))
    run._to_write(out, "results.json")
    row = {"status": "stopped"}
    for status in ("stopped", "running", "waiting"):
        (out / "results.json").write_text(json.dumps({"lessons": [row, {"status": status}]}))
        run._take_folder(out, run.lessons([]))
    for status in ("passed", "failed"):
        (out / "results.json").write_text(json.dumps({"lessons": [row, {"status": status}]}))
        with pytest.raises(FileExistsError, match=r"of an earlier run\. .*, or add --overwrite"):
            run._take_folder(out, run.lessons([]))
        run._take_folder(out, run.lessons([]), overwrite=True)


@pytest.mark.night
def test_a_run_without_failures_exits_with_0(lessons, tmp_path):
    write(lessons, "00_good", "1 + 1")
    write(lessons, "01_not_asked_for", "raise SystemExit")
    out = tmp_path / "out"
    assert cli.main(["run", "0", "--model", "pocket", "--out", str(out)]) == 0
    assert not (out / "01_not_asked_for.ipynb").exists()


def test_a_run_is_strict_of_itself(lessons, tmp_path, monkeypatch):
    monkeypatch.delenv("COURSE_STRICT")
    write(lessons, "00_claim", CLAIM.replace("at_most=3", "at_most=1"))
    out = tmp_path / "out"
    assert cli.main(["run", "0", "--model", "pocket", "--scale", "quick", "--out", str(out)]) == 1
    assert "ClaimFailed" in json.loads((out / "results.json").read_text())["lessons"][0]["error"]


def test_of_two_runs_in_one_folder_the_second_is_refused(lessons, tmp_path, capsys):
    write(lessons, "00_good", "1 + 1")
    out = run._take_folder(tmp_path / "out", run.lessons([]))
    with FileLock(out / run.LOCK):  # the other run holds it
        assert cli.main(["run", "--model", "pocket", "--out", str(out)]) == 1
    assert "another process writes there. Name another folder" in capsys.readouterr().err
    assert not (out / "results.json").exists()


def test_lessons_whose_models_others_wait_for_start_early():
    names = ["08_a", "09_b", "10_c", "17_d", "18_e", "19_f"]
    assert [name[:2] for name in sorted(names, key=lambda name: run._turn(Path(name)))] == [
        *("09", "08", "18", "10", "17", "19")
    ]


def test_an_unknown_lesson_or_model_stops_before_anything_is_written(lessons, tmp_path, capsys):
    write(lessons, "00_good", "1 + 1")
    out = tmp_path / "out"
    assert cli.main(["run", "07", "--out", str(out)]) == 1
    assert "There is no lesson '07'" in capsys.readouterr().err
    assert cli.main(["run", "--model", "pockte", "--out", str(out)]) == 1
    assert "Did you mean pocket or pocket-s?" in capsys.readouterr().err
    assert not out.exists()


def started_run(lessons, out):
    """A process of `run` with running lessons, and the processes that it started."""
    code = f"""
import signal, sys
from pathlib import Path
from course_utils.commands import cli, lab, run
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and nohup this
run.lessons = lambda names, more: lab.lessons(names, Path({str(lessons)!r}))
sys.exit(cli.main(["run", "--model", "pocket", "--jobs", "1", "--out", {str(out)!r}]))
"""
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    slow = out / "01_slow.ipynb"
    deadline = time.time() + 300  # seconds on an idle machine
    while not (kernels(process.pid) and slow.exists()) and time.time() < deadline:
        time.sleep(0.2)
    started = psutil.Process(process.pid).children(recursive=True)
    if not kernels(process.pid):
        process.kill()
        pytest.fail("the run has started no kernel in five minutes")
    return process, started


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
@pytest.mark.parametrize("name", ["SIGINT", *NIGHTLY])
def test_a_stopped_or_killed_run_leaves_no_kernel_and_a_report(lessons, tmp_path, name):
    write(lessons, "00_good", "1 + 1")
    write(lessons, "01_slow", "import time; time.sleep(600)")
    out = tmp_path / "out"
    process, started = started_run(lessons, out)
    process.send_signal(getattr(signal, name))
    assert process.wait(timeout=120) == (-9 if name == "SIGKILL" else 130)
    _, left = psutil.wait_procs(started, timeout=60)  # on a busy machine, one may still be loading
    for one in left:
        one.kill()
    assert left == []
    rows = json.loads((out / "results.json").read_text())["lessons"]
    status = "running" if name == "SIGKILL" else "stopped"
    assert [row["status"] for row in rows] == ["passed", status]
    pages = [out / name for name in ("index.html", *(row["page"] for row in rows))]
    assert all(page.exists() for page in pages)
    assert ("Nothing of this lesson has been saved yet" in pages[2].read_text()) == (name == "SIGKILL")


def test_a_full_disk_names_the_folder_and_keeps_what_is_done(lessons, tmp_path, monkeypatch, capsys):
    def full(path, content):
        if '"status": "passed"' in content:
            raise OSError(28, "No space left on device")
        written(path, content)

    write(lessons, "00_good", "1 + 1")
    write(lessons, "01_never", "1 + 1")
    out = tmp_path / "out"
    written = run.write_whole
    monkeypatch.setattr(run, "write_whole", full)
    assert cli.main(["run", "--model", "pocket", "--jobs", "1", "--out", str(out)]) == 1
    said = capsys.readouterr().err
    assert f"{out} cannot be used (No space left on device). Free some space there" in said
    assert "--out FOLDER" in said and (out / "00_good.ipynb").exists()


@pytest.mark.night
@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files")
def test_a_lesson_that_finds_the_disk_full_leaves_the_file_that_was_there(lessons, tmp_path):
    write(lessons, "00_good", "1 + 1", title="Long" * 1000)
    target = tmp_path / "executed.ipynb"
    target.write_text("from before")
    command = "trap '' XFSZ; ulimit -f 1; exec \"$@\""
    lesson = [sys.executable, "-m", "course_utils.commands.run", str(lessons / "00_good.ipynb"), str(target)]
    ours, its = os.pipe()[::-1]  # kept open: the lesson's process ends with its parent
    done = subprocess.run(["bash", "-c", command, "bash", *lesson], stdin=its, capture_output=True, text=True)
    os.close(ours)
    os.close(its)
    assert done.returncode == 1 and "File too large" in done.stderr
    assert target.read_text() == "from before"


def kernels(pid):
    return [child for child in psutil.Process(pid).children(recursive=True) if is_kernel(child)]


def is_kernel(process):
    try:
        return "ipykernel" in " ".join(process.cmdline())
    except psutil.Error:  # gone meanwhile
        return False


def test_jobs_follow_memory_and_cores(monkeypatch):
    class Memory:
        available = 5 << 30

    monkeypatch.setattr("psutil.virtual_memory", lambda: Memory)
    monkeypatch.setattr(run, "cores", lambda: 8)
    assert run._jobs("pocket", "cpu", 6) == 2
    assert run._jobs("pocket", "cpu", 1) == 1
    assert run._jobs("gpt2", "cpu", 6) == 0  # run() makes it 1
    assert run._jobs("pocket", "cuda", 6) == 1
