import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from course_utils.checks.exercises import find, registry
from course_utils.checks.summary import summary
from course_utils.commands import cli
from course_utils.commands import grade as grading
from course_utils.commands import grade_cell as cell
from course_utils.commands.grade_page import grade_page

LESSONS = tuple(grading.lesson_files())
CLIPPED = find("clipped_policy_loss")
FOUR = ["per_token_rewards", "gae", "clipped_policy_loss", "ratio_fault"]
FIVE = ["reinforce_loss", *FOUR]  # lesson 12's
STUB = "def per_token_rewards(scores, log_probs, reference_log_probs, mask, beta):\n    ..."


NONE = "def clipped_policy_loss(*arguments):\n    return None"
CALL = "clipped_policy_loss = check.clipped_policy_loss(clipped_policy_loss)"


def answer(name, code=None):
    """A cell that answers an exercise, with the course's solution or with code."""
    return f"{code or find(name).solution}\n\n{name} = check.{name}({name})"


def notebook(path, *cells):
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [{"cell_type": "code", "metadata": {}, "source": cell.splitlines(True)} for cell in cells]
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}))
    return path


def verdicts(path, root=None):
    return {
        row["exercise"]: (row["status"], row["message"]) for row in grading.grade_notebook(path, root or path)
    }


def verdict(*cells):
    """(status, message) of cells that check clipped_policy_loss, in this process."""
    source = cell.choose(list(cells))
    course = grading.code_of(grading.lesson_files()["12"])
    return cell.judge(CLIPPED, source, cell.surroundings(CLIPPED, source, course))


def course_copies(folder, change, numbers=LESSONS):
    for number in numbers:
        file = grading.lesson_files()[number]
        lesson = json.loads(file.read_text(encoding="utf-8"))
        for each in lesson["cells"]:
            each["source"] = change("".join(each["source"]))
        folder.mkdir(exist_ok=True)
        (folder / file.name).write_text(json.dumps(lesson), encoding="utf-8")
    return folder


def solved(source):
    called = re.search(r"= check\.(\w+)\(", source)
    return answer(called[1]) if called else source


@pytest.mark.night
def test_every_lesson_solved(tmp_path):
    rows = grading.grade([course_copies(tmp_path / "Ada", solved)])
    assert {row["lesson"] for row in rows} == {exercise.lesson for exercise in registry().values()}
    assert [row for row in rows if row["status"] != "passed"] == [] and len(rows) > 60


def test_two_lessons_untouched(tmp_path):
    rows = grading.grade([course_copies(tmp_path / "Ada", str, ("00", "12"))])
    assert {(row["lesson"], row["status"]) for row in rows} == {
        ("00", "not attempted"),
        ("12", "not attempted"),
    }


@pytest.mark.slow
def test_each_status_in_one_notebook_of_a_lesson_that_was_renamed(tmp_path):
    path = notebook(
        tmp_path / "ada.ipynb",
        answer("clipped_policy_loss", NONE),
        answer("per_token_rewards", STUB),
        answer("gae"),
    )
    rows = grading.grade_notebook(path, tmp_path)
    by_name = {row["exercise"]: row for row in rows}
    assert list(by_name) == FIVE
    statuses = ["not attempted", "not attempted", "passed", "mistake", "not attempted"]
    assert [row["status"] for row in rows] == statuses
    assert by_name["clipped_policy_loss"]["message"]
    assert "check.ratio_fault" in by_name["ratio_fault"]["message"]
    assert {(row["file"], row["learner"], row["lesson"]) for row in rows} == {(str(path), "ada", "12")}


@pytest.mark.slow
def test_a_second_step_is_judged_with_the_solution_of_the_first(tmp_path):
    first = "def answer_log_probs(logits, labels):\n    return 0 * logits.sum((1, 2))"
    second = (
        "def dpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta):\n"
        "    margin = beta * ((chosen - reference_chosen) - (rejected - reference_rejected))\n"
        "    loss = (1 + torch.exp(-margin.abs())).log() + (-margin).clamp(min=0)\n"
        "    rewards = beta * (chosen - reference_chosen), beta * (rejected - reference_rejected)\n"
        "    of_one = answer_log_probs(torch.zeros(1, 2, 4), torch.tensor([[-100, 1]]))\n"
        "    return loss + 9 * (of_one > -1), *rewards"
    )
    lesson = notebook(
        tmp_path / "13_dpo.ipynb", answer("answer_log_probs", first), answer("dpo_loss", second)
    )
    found = verdicts(lesson)
    assert found["answer_log_probs"][0] == "mistake" and found["dpo_loss"] == ("passed", "")


@pytest.mark.slow
def test_definitions_come_from_the_course_and_no_other_cell_of_the_learners_runs(tmp_path):
    mark = tmp_path / "ran"
    lesson = notebook(
        tmp_path / "12_rlhf.ipynb",
        f"open({str(mark)!r}, 'w')\nimport os as torch",
        answer("clipped_policy_loss"),
        answer("ratio_fault", "def ratio_fault(before, after):\n    return of_mine(before)"),
    )
    found = verdicts(lesson)
    assert found["clipped_policy_loss"] == ("passed", "") and not mark.exists()
    assert "'of_mine' is not defined" in found["ratio_fault"][1]
    assert "Only the exercise's cell is run" in found["ratio_fault"][1]


def test_nothing_that_computes_is_taken_from_the_course():
    course = [
        "import math\nWIDTH = 4\nSIZE = 2 * WIDTH\nmodel = load_model()\ntrain(model)",
        "def area(x):\n    return x * SIZE\n\n@interact(x=3)\ndef show(x):\n    return area(x)",
        "WIDTH = 5\n\ndef longest(x=model):\n    return x",
        "later = check.later(later)",
        "WIDTH = 6",
    ]
    statements = cell.definitions("later", course, {"longest"})
    assert list(statements) == ["math", "SIZE", "area", "WIDTH"]
    chosen = cell.needed({"area", "train", "model", "show"}, statements)
    assert [type(one).__name__ for one in chosen] == ["Assign", "FunctionDef", "Assign"]


def test_what_the_course_itself_defines_is_there():
    course = [
        "import math\nHALF = 0.5",
        "def scaled(x):\n    return x * HALF\n\ndef on(x=model):\n    return x",
    ]
    namespace = cell.surroundings(CLIPPED, "scaled(on)", course)
    assert namespace["scaled"](4) == 2 and not {"math", "on", "clipped_policy_loss"} & namespace.keys()
    assert namespace["ratio_fault"] is find("ratio_fault").reference


def test_the_last_cell_that_defines_it_counts():
    cells = [answer("clipped_policy_loss", NONE), "%%time\n" + answer("clipped_policy_loss"), CALL]
    assert verdict(*cells) == ("passed", "")
    assert verdict(*cells, answer("clipped_policy_loss", NONE))[0] == "mistake"
    assert verdict(CALL)[0] == "mistake"


def test_a_call_in_a_comment_is_no_answer():
    assert grading.called("x = 1  # check.push(push)\ny = check.k3 (\n") == ["k3"]


def test_a_cell_without_python_is_a_mistake_with_its_line():
    status, message = verdict(f"x = 1\ndef clipped_policy_loss(a:\n    pass\n{CALL}")
    assert status == "mistake" and "line 2" in message and "SyntaxError" in message
    assert verdict(f"return 1\n{CALL}")[0] == verdict(f"x = '\ud800'\n{CALL}")[0] == "mistake"


def test_a_trial_that_fails_beside_the_answer_costs_nothing():
    trial = (
        CLIPPED.solution
        + f"\nprint(clipped_policy_loss(batch))\ndisplay(hint('clipped_policy_loss'))\n{CALL}\nmodel"
    )
    assert verdict(trial) == ("passed", "")


def test_checking_twice_in_a_cell_does_not_pass_a_mistake():
    twice = f"from course_utils.lessons.lesson_12 import check\n{answer('clipped_policy_loss', NONE)}\n{CALL}"
    status, message = verdict(twice)
    assert status == "mistake" and "without a call" not in message


def test_a_mistake_shows_the_line_and_a_cell_without_a_check_says_so():
    code = "def clipped_policy_loss(log_probs, *others):\n    return log_probs.mean_of()"
    assert "(2: return log_probs.mean_of())" in verdict(answer("clipped_policy_loss", code))[1]
    assert "without a call of check.clipped_policy_loss" in verdict(f"if False:\n    {CALL}")[1]


@pytest.mark.parametrize("ending", ["exit()", "import os; os._exit(3)"])
def test_a_process_that_ends_costs_one_exercise(tmp_path, ending):
    path = notebook(
        tmp_path / "12.ipynb",
        answer("per_token_rewards"),
        answer("gae", ending),
        answer("clipped_policy_loss"),
    )
    found = verdicts(path)
    assert [found[name][0] for name in FOUR] == ["passed", "stopped", "passed", "not attempted"]
    assert "The process ended" in found["gae"][1]
    assert "status 3" in found["gae"][1] or "_exit" not in ending


MEDDLING = """
import random, sys, torch
from course_utils.checks import compare, exercises
torch.set_grad_enabled(False)
torch.set_default_dtype(torch.float64)
torch.use_deterministic_algorithms(True)
torch.manual_seed(3), random.seed(3)
torch.where = torch.exp = torch.Tensor.backward = None
compare.compare = exercises.find_fault = None
sys.modules["math"] = None
"""


def test_no_exercise_changes_what_judges_the_next(tmp_path):
    path = notebook(
        tmp_path / "12.ipynb",
        answer("reinforce_loss", MEDDLING + find("reinforce_loss").solution),
        *(answer(name) for name in FIVE[1:]),
    )
    found = verdicts(path)
    assert [found[name] for name in FIVE[1:]] == [("passed", "")] * 4


SCRIBBLING = r"""
import os
for number in range(3, 40):
    try:
        os.write(number, b'no json\n\xff\xfe\n[1]\n{"status": 3}\n{"ended": "x"}\n{"status": "passed"}\n\n')
    except OSError:
        pass
"""


@pytest.mark.parametrize(
    "code", [SCRIBBLING, "import os; os.closerange(3, 99)\n"], ids=["scribbled", "closed"]
)
def test_what_is_written_among_the_verdicts_costs_nobody_else(tmp_path, code):
    first = answer("per_token_rewards", code + find("per_token_rewards").solution)
    found = verdicts(notebook(tmp_path / "12.ipynb", first, answer("gae")))
    assert found["per_token_rewards"][0] in ("passed", "stopped") and found["gae"] == ("passed", "")


def test_only_whole_lines_of_the_right_form_are_read(tmp_path):
    told = tmp_path / "told.jsonl"
    assert list(grading._read(told)) == []
    good = [{"exercise": "gae"}, {"status": "passed", "message": "\ud800"}, {"ended": -9}]
    bad = [
        "",
        "{",
        "[" * 9999,
        '{"status": "passed"}',
        '{"ended": true}',
        '{"ended": "0"}',
        "1",
        "null",
        "\x85",
    ]
    text = "\n".join([*map(json.dumps, good), *bad, json.dumps({"ended": 0})])  # the last is half-written
    told.write_bytes(b"\xff\n" + text.encode())
    assert list(grading._read(told)) == good


@pytest.mark.slow
@pytest.mark.skipif(not grading.FORKS, reason="no server forks here")
@pytest.mark.parametrize(
    "number", [pytest.param(9, id="killed"), pytest.param(19, id="stopped", marks=pytest.mark.night)]
)
def test_code_that_gets_at_the_server_costs_nobody_else(tmp_path, monkeypatch, number):
    monkeypatch.setattr(grading, "WAIT", 1)
    first = answer("per_token_rewards", f"import os; os.kill(os.getppid(), {number})\nexit()")
    found = verdicts(notebook(tmp_path / "12.ipynb", first, answer("gae")))
    assert found["per_token_rewards"][0] == "stopped" and found["gae"] == ("passed", "")


def test_the_code_has_a_home_of_its_own_and_none_of_the_settings(tmp_path, monkeypatch):
    monkeypatch.setattr(grading, "SERVER", grading.Server())
    monkeypatch.setenv("COURSE_STRICT", "1")
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "mine"))
    seen = tmp_path / "seen"
    look = (
        "import os, pathlib\nfrom course_utils.checks import progress\n"
        f"with open({str(seen)!r}, 'a', encoding='utf-8') as file:\n"
        "    print(progress.path(), os.getcwd(), 'COURSE_STRICT' in os.environ, file=file)\n"
        "progress.path().parent.mkdir()\npathlib.Path('left').touch()\n"
    )
    path = notebook(tmp_path / "12.ipynb", *(answer(name, look + find(name).solution) for name in FOUR[:2]))
    assert [verdict for verdict, _ in verdicts(path).values()].count("passed") == 2
    grading.SERVER.end()
    rows = [line.split() for line in seen.read_text(encoding="utf-8").splitlines()]
    assert len({place for row in rows for place in row[:2]}) == 4, "the two exercises share a folder"
    for home, here, strict in rows:
        assert Path(home).parents[1] == Path(here).parent and strict == "False"
        assert not Path(here).parent.exists() and str(tmp_path) not in home


def test_names_and_texts_that_are_not_utf_8_cost_nobody_else(tmp_path, capsys):
    latin = tmp_path / os.fsdecode("Zoë".encode("latin-1"))
    try:
        path = notebook(latin / "12.ipynb", answer("gae"), "'\ud800'")
    except OSError:
        pytest.skip("file names are Unicode here")
    path.write_bytes(path.read_bytes().replace(b"import torch", b"# \xe9\nimport torch"))
    notebook(tmp_path / "Ben\x1b[2J" / "12.ipynb", answer("gae", "raise ValueError('\ud800\\x1b[2J')"))
    assert cli.main(["grade", str(tmp_path), "--out", str(tmp_path / "page.html")]) == 0
    shown, page = capsys.readouterr().out, (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "\x1b" not in shown and r"Ben\x1b[2J" in shown and r"\ud800" in shown
    assert r"Zo\udceb" in shown and r"Zo\udceb" in page and page.count('class="good"') == 1


def test_a_loop_without_end_is_stopped_with_its_children(tmp_path, monkeypatch):
    monkeypatch.setattr(grading, "SECONDS", 2)
    number = tmp_path / "number"
    loop = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(number)!r}, 'w').write(str(child.pid))\n"
        "while True:\n    pass"
    )
    path = notebook(tmp_path / "12.ipynb", answer("per_token_rewards", loop), answer("clipped_policy_loss"))
    found = verdicts(path)
    assert found["per_token_rewards"][0] == "stopped" and "after 2 s" in found["per_token_rewards"][1]
    assert found["clipped_policy_loss"] == ("passed", "")
    assert not _lives(int(number.read_text()))


def test_a_child_that_is_left_behind_is_ended(tmp_path):
    number = tmp_path / "number"
    leave = (
        "import os, subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(number)!r}, 'w').write(str(child.pid))\n"
        "import time; time.sleep(1); os._exit(0)"
    )
    assert (
        verdicts(notebook(tmp_path / "12.ipynb", answer("per_token_rewards", leave)))["per_token_rewards"][0]
        == "stopped"
    )
    assert not _lives(int(number.read_text()))


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="sends signals")
@pytest.mark.parametrize(
    "name", ["SIGTERM", *(pytest.param(name, marks=pytest.mark.night) for name in ("SIGHUP", "SIGKILL"))]
)
def test_a_signal_to_stop_ends_the_judging_processes_too(tmp_path, name):
    number, page = tmp_path / "number", tmp_path / "page.html"
    loop = f"import os; open({str(number)!r}, 'w').write(str(os.getpid()))\nwhile True: pass"
    path = notebook(tmp_path / "12.ipynb", answer("per_token_rewards", loop))
    code = (
        "import signal, sys; from course_utils.commands import cli\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup ignores it\n"
        "sys.exit(cli.main(['grade', *sys.argv[1:]]))"
    )
    command = [sys.executable, "-c", code, str(path), "--out", str(page)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not (number.exists() and number.read_text()):
            assert process.poll() is None
            time.sleep(0.1)
        started = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(getattr(signal, name))
        assert process.wait(60) == (-9 if name == "SIGKILL" else 130)
    assert started and psutil.wait_procs(started, timeout=20)[1] == []
    assert not _lives(int(number.read_text())) and not page.exists()


def _lives(number):
    try:
        return psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_memory_is_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(grading, "MEMORY", 2 << 30)
    greedy = "held = []\nwhile True:\n    held.append(b'x' * (50 << 20))"
    path = notebook(tmp_path / "12.ipynb", answer("per_token_rewards", greedy), answer("clipped_policy_loss"))
    found = verdicts(path)
    assert found["per_token_rewards"][0] == "stopped" and "2 GiB are allowed" in found["per_token_rewards"][1]
    assert found["clipped_policy_loss"] == ("passed", "")


@pytest.mark.parametrize(
    "text", ["", "hello", '{"cells": [', "[]", '{"cells": [3]}', "[" * 100_000, "\0\ufeff"]
)
def test_a_damaged_file_is_one_row(tmp_path, text):
    path = tmp_path / "bob.ipynb"
    path.write_text(text, encoding="utf-8")
    [row] = grading.grade_notebook(path, tmp_path)
    assert row["status"] == "stopped" and "bob.ipynb is not a notebook" in row["message"]
    assert (row["learner"], row["lesson"], row["exercise"]) == ("bob", "", "")


def test_a_page_that_cannot_be_written_is_told_before_any_work(tmp_path, capsys):
    (tmp_path / "bob.ipynb").write_text("hello", encoding="utf-8")
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    assert cli.main(["grade", str(tmp_path / "bob.ipynb"), "--out", str(tmp_path / "new" / "page.html")]) == 0
    assert "bob" in (tmp_path / "new" / "page.html").read_text(encoding="utf-8")
    capsys.readouterr()
    assert cli.main(["grade", str(tmp_path / "bob.ipynb"), "--out", str(tmp_path / "file" / "p.html")]) == 1
    shown = capsys.readouterr()
    assert shown.out == "" and "--out FILE" in shown.err


@pytest.mark.parametrize("name", ["ada.ipynb", "ada.json", "notes.md"])
def test_no_page_replaces_what_is_no_page(tmp_path, capsys, name):
    (tmp_path / name).write_text("{}")
    for command in (["grade", str(tmp_path)], ["room", str(tmp_path)], ["key", "00"], ["playground"]):
        status = cli.main([*command, "--overwrite", "--out", str(tmp_path / name)])
        assert status == 1 and "is no page (HTML), and is kept" in capsys.readouterr().err
    assert (tmp_path / name).read_text() == "{}"


def test_overwrite_replaces_somebody_elses_page(tmp_path):
    (tmp_path / "page.html").write_text("\n<HTML>mine")
    assert cli.main(["key", "00", "--out", str(tmp_path / "page.html")]) == 1
    assert cli.main(["key", "00", "--overwrite", "--out", str(tmp_path / "page.html")]) == 0
    assert "mine" not in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "words",
    [
        *(["grade", ""], ["room", ""], ["room", ".", "--host", ""], ["grade", ".", "--out", ""]),
        *(["export", ""], ["rated", "", "ratings.json"]),
    ],
)
def test_an_argument_that_an_unset_variable_left_empty_is_refused(words, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2 and "it is empty. Is a variable" in capsys.readouterr().err


def test_a_notebook_named_twice_counts_once(tmp_path):
    (tmp_path / "bob.ipynb").write_text("hello", encoding="utf-8")
    rows = grading.grade([tmp_path, tmp_path / "bob.ipynb", tmp_path / ".." / tmp_path.name])
    assert [row["learner"] for row in rows] == ["bob"]


def test_a_huge_notebook_is_not_read(tmp_path):
    path = tmp_path / "bob.ipynb"
    path.touch()
    os.truncate(path, grading.LARGEST + 1)
    [row] = grading.grade_notebook(path, tmp_path)
    assert row["status"] == "stopped" and "it has more than 200 MiB" in row["message"]


@pytest.mark.skipif(os.name != "posix", reason="pipes are Unix's")
def test_a_pipe_is_named(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match=r"pipe is a pipe\. Name notebooks"):
        grading.grade([tmp_path / "pipe"])


def test_a_folder_that_cannot_be_read_is_not_called_empty(tmp_path, monkeypatch, capsys):
    def refused(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "listdir", refused)  # root may read everything
    for command in ("grade", "room"):
        assert cli.main([command, str(tmp_path), "--out", str(tmp_path / "page.html")]) == 1
        assert "Permission denied" in capsys.readouterr().err


def test_a_notebook_of_another_course_is_one_row(tmp_path):
    [row] = grading.grade_notebook(notebook(tmp_path / "2026 notes.ipynb", "print(1)"), tmp_path)
    assert "is not a lesson" in row["message"] and row["learner"] == "2026 notes"


@pytest.mark.parametrize(
    ("path", "root", "learner"),
    [
        ("class/Ada L/week 1/13_dpo.ipynb", "class", "Ada L"),
        ("class/Ада/13_dpo.ipynb", "class/Ада", "Ада"),
        ("class/13_dpo_Zoë <b>.ipynb", "class", "Zoë <b>"),
        ("class/zoe-13_dpo (1).ipynb", "class", "zoe"),
        ("class/13_zoe.ipynb", "class/13_zoe.ipynb", "zoe"),
        ("class/zoe.ipynb", "class/zoe.ipynb", "zoe"),
    ],
)
def test_whose_and_which_lesson(tmp_path, path, root, learner):
    path = notebook(tmp_path / path, "check.dpo_loss(dpo_loss)")
    assert grading._lesson(path, grading.code_of(path)) == "13"
    assert grading._learner(path, tmp_path / root, "13") == learner


def test_the_number_in_front_says_the_lesson_where_nothing_else_does(tmp_path):
    assert grading._lesson(Path("3 ada.ipynb"), []) == grading._lesson(Path("03_ada.ipynb"), []) == "03"
    assert grading._lesson(Path("77 ada.ipynb"), []) == grading._lesson(Path("ada.ipynb"), []) == ""


def test_a_folder_is_searched_without_copies_and_hidden_folders(tmp_path):
    kept = [notebook(tmp_path / name) for name in ("ada/13_dpo.ipynb", "bob/b.ipynb")]
    for name in (".ipynb_checkpoints/13_dpo.ipynb", "ada/13_dpo.before-20260101-000000.ipynb", "c.txt"):
        notebook(tmp_path / name)
    assert grading._notebooks(tmp_path) == kept
    (tmp_path / "empty").mkdir()
    for path in ("empty", "missing"):
        with pytest.raises(ValueError, match=path):
            grading._notebooks(tmp_path / path)


@pytest.mark.slow
def test_json_is_not_corrupted_and_nothing_is_recorded(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    record = "from course_utils.checks import progress\nprogress.record('exercises', '12', 'x', status='')\n"
    noisy = "import os\nprint('}')\nos.write(1, b'{')\nos.system('echo ]')\n" + record + CLIPPED.solution
    lesson = notebook(
        tmp_path / "клас s" / "<i>Ada</i>" / "12_rlhf_with_ppo.ipynb", answer("clipped_policy_loss", noisy)
    )
    notebook(tmp_path / "клас s" / "bob.ipynb", "print(1)")
    out = tmp_path / "page of class.html"
    assert cli.main(["grade", str(tmp_path / "клас s"), "--json", "--out", str(out)]) == 0
    rows = json.loads(capfd.readouterr().out)
    assert [list(row) for row in rows] == [list(grading.KEYS)] * (len(FIVE) + 1)
    assert [row["file"] for row in rows if row["status"] == "passed"] == [str(lesson)]
    assert summary()["12"]["exercises"] == {} and not (tmp_path / "home").exists()
    text = out.read_text(encoding="utf-8")
    assert "<i>" not in text and "&lt;i&gt;Ada&lt;/i&gt;" in text and "bob.ipynb is not a lesson" in text


def test_the_table_and_the_page():
    row = dict(zip(grading.KEYS, ("f", "Ada", "13", "push", "mistake", 'beta "is" <b>missing'), strict=True))
    assert grading._table([row]).splitlines()[1].startswith("Ada      13      push      mistake  beta")
    assert grading._row(Path("a\x1b[2J.ipynb"), Path("a"), "", "", "stopped", "x\ny")["message"] == "x y"
    text = grade_page([row, {**row, "learner": "Bob", "file": "g", "status": "passed", "message": ""}])
    assert "2 learners" in text and "0 of 1" in text and "1 of 1" in text
    assert "beta &#34;is&#34; &lt;b&gt;missing" in text
    assert "http" not in text and "src=" not in text and text.count("<table") == 2


def test_who_handed_nothing_in_has_a_row(tmp_path, capsys):
    notebook(tmp_path / "Ada" / "12.ipynb", answer("clipped_policy_loss"))
    for name in ("Bob", ".hidden", "_build"):
        (tmp_path / name).mkdir()
    page = tmp_path / "page.html"
    assert cli.main(["grade", str(tmp_path), "--out", str(page)]) == 0
    assert "Bob" in capsys.readouterr().out
    text = page.read_text(encoding="utf-8")
    assert "2 learners" in text and text.count("nothing handed in") == 1 and "_build" not in text
    rows = grading.grade([tmp_path / "Ada"])  # its folders are no learners
    assert {row["learner"] for row in rows} == {"Ada"}


def test_help_says_whose_rights_the_code_has(capsys):
    with pytest.raises(SystemExit):
        cli.main(["grade", "--help"])
    assert "runs with YOUR rights" in capsys.readouterr().out
    assert cli.main(["grade", "no such file"]) == 1 and "no such file" in capsys.readouterr().err
