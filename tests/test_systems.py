"""The course runs on Windows and macOS, too: no call and no folder that only one system has."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import nbformat
import pytest
from other_system.posix_names import MODULES, POSIX

from course_utils.checks.exercises import find
from course_utils.notebook_files import lessons

ROOT = Path(__file__).resolve().parents[1]
OPTIONS = {"preexec_fn", "pass_fds", "process_group"}  # of Popen; start_new_session does nothing on Windows
FOLDERS = re.compile(r"^/(tmp|var|etc|dev|proc|sys|usr|home|root|opt|bin)(/|$)")
COMMANDS = {"bash", "sh", "rm", "cp", "mv", "kill", "pkill", "ls", "cat", "touch", "ln", "which", "chmod"}
# a Linux folder that may be missing: its readers continue without it
ONLY_IF_THERE = {
    ("course_utils/machine.py", "/sys/fs/cgroup/cpu.max"),
    ("course_utils/machine.py", "/sys/fs/cgroup/memory.max"),
    ("course_utils/machine.py", "read_text without an encoding"),  # of those two, which contain digits
    ("course_utils/making/bench/timing.py", "/proc/cpuinfo"),
    ("course_utils/making/pocket/train.py", "/proc/cpuinfo"),
}


def sources() -> dict[str, str]:
    """{path in the checkout: Python source} of package, tests and lessons; recipes are for Linux."""
    found = {}
    for folder in ("course_utils", "tests"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path == Path(__file__).resolve():
                continue
            found[path.relative_to(ROOT).as_posix()] = path.read_text(encoding="utf-8")
    for path in lessons(more=True):
        cells = nbformat.read(path, as_version=4).cells
        code = "\n\n".join(cell.source for cell in cells if cell.cell_type == "code")
        found[path.relative_to(ROOT).as_posix()] = code
    return found


def asks_for_the_system(test: ast.expr) -> bool:
    """Whether a condition reads os.name, sys.platform, or hasattr(os, ...)."""
    asks = ("os.name", "sys.platform", "hasattr(os,", "hasattr(signal,")
    return any(word in ast.unparse(test) for word in asks)


class Reader(ast.NodeVisitor):
    """Collects (line, name) of all that only one system has, outside branches that test for it."""

    def __init__(self):
        self.found: list[tuple[int, str]] = []

    def visit_If(self, node):
        if not asks_for_the_system(node.test):
            return self.generic_visit(node)
        for other in node.orelse:
            self.visit(other)

    def visit_IfExp(self, node):
        self.visit(node.orelse) if asks_for_the_system(node.test) else self.generic_visit(node)

    def visit_BoolOp(self, node):
        if not (isinstance(node.op, ast.And) and asks_for_the_system(node.values[0])):
            self.generic_visit(node)

    def visit_FunctionDef(self, node):
        if not any(asks_for_the_system(mark) for mark in node.decorator_list):  # skipif(sys.platform ...)
            self.generic_visit(node)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Attribute(self, node):
        if isinstance(node.value, ast.Name) and node.attr in POSIX.get(node.value.id, ()):
            self.found.append((node.lineno, f"{node.value.id}.{node.attr}"))
        self.generic_visit(node)

    def visit_Import(self, node):
        names = [alias.name for alias in node.names if alias.name in MODULES]
        self.found += [(node.lineno, f"import {name}") for name in names]

    def visit_ImportFrom(self, node):
        for alias in node.names:
            if node.module in MODULES or alias.name in POSIX.get(node.module, ()):
                self.found.append((node.lineno, f"from {node.module} import {alias.name}"))

    def visit_Call(self, node):
        name = ast.unparse(node.func)
        words = {word.arg: word.value for word in node.keywords}
        if name in ("os.system", "os.popen") or ast.unparse(words.get("shell", ast.Constant(0))) == "True":
            self.found.append((node.lineno, f"a shell: {name}"))
        if name.startswith("subprocess."):
            self.found += [(node.lineno, f"{option} of {name}") for option in OPTIONS & set(words)]
            first = node.args[0].elts[0] if node.args and _starts(node.args[0]) else None
            if isinstance(first, ast.Constant) and first.value in COMMANDS:
                self.found.append((node.lineno, f"the command {first.value}"))
        if _is_text_file(node, name, words) and "encoding" not in words:
            self.found.append((node.lineno, f"{name.rpartition('.')[2]} without an encoding"))
        self.generic_visit(node)

    def visit_Constant(self, node):
        if isinstance(node.value, str) and FOLDERS.match(node.value):
            self.found.append((node.lineno, node.value))


def _starts(command: ast.expr) -> bool:
    return isinstance(command, ast.List | ast.Tuple) and bool(command.elts)


def _is_text_file(node: ast.Call, name: str, words: dict) -> bool:
    """Whether a call reads or writes text in the system's default encoding."""
    method = name.rpartition(".")[2]
    if method in ("read_text", "write_text"):
        return len(node.args) < (2 if method == "write_text" else 1)
    place = {"open": 1, "fdopen": 1}.get(name, 0)
    if method != "open" or name in ("os.open", "Image.open", "webbrowser.open", "zipfile.open"):
        return False
    mode = words.get("mode", node.args[place] if len(node.args) > place else ast.Constant("r"))
    return isinstance(mode, ast.Constant) and isinstance(mode.value, str) and set(mode.value) <= set("rwax+t")


def found_in(source: str) -> list[tuple[int, str]]:
    tree, reader = ast.parse(source), Reader()
    marks = [node.value for node in tree.body if isinstance(node, ast.Assign) and _binds_marks(node)]
    if not any(asks_for_the_system(mark) for mark in marks):  # otherwise the whole file is skipped elsewhere
        reader.visit(tree)
    return reader.found


def _binds_marks(node: ast.Assign) -> bool:
    return any(isinstance(target, ast.Name) and target.id == "pytestmark" for target in node.targets)


@cache
def everywhere() -> list[str]:
    return [
        f"{path}:{line}: {what}"
        for path, source in sources().items()
        for line, what in found_in(source)
        if (path, what) not in ONLY_IF_THERE
    ]


def test_nothing_that_one_system_alone_has():
    kept = [line for line in everywhere() if "without an encoding" not in line]
    assert not kept, "\n".join(kept)


def test_text_files_are_utf_8_on_every_system():
    """Tests may leave it out: off Linux they run with PYTHONUTF8=1."""
    kept = [line for line in everywhere() if "without an encoding" in line and not line.startswith("tests/")]
    assert not kept, "\n".join(kept)


@pytest.mark.parametrize(
    "source, what",
    [
        ("import os\nos.fork()", "os.fork"),
        ("from signal import SIGKILL", "from signal import SIGKILL"),
        ("import resource", "import resource"),
        ("import fcntl as f", "import fcntl"),
        ("folder = '/tmp/course'", "/tmp/course"),
        ("subprocess.run(['rm', '-r', folder])", "the command rm"),
        ("subprocess.run(command, shell=True)", "a shell: subprocess.run"),
        ("subprocess.Popen(command, preexec_fn=f)", "preexec_fn of subprocess.Popen"),
        ("if x:\n    os.killpg(1, 2)", "os.killpg"),
        ("if os.name == 'posix':\n    pass\nelse:\n    os.killpg(1, 2)", "os.killpg"),
        ("open('a')", "open without an encoding"),
        ("open('a', 'w')", "open without an encoding"),
        ("path.open()", "open without an encoding"),
        ("path.read_text()", "read_text without an encoding"),
        ("path.write_text(text)", "write_text without an encoding"),
    ],
)
def test_what_one_system_alone_has_is_found(source, what):
    assert [name for _, name in found_in(source)] == [what]


@pytest.mark.parametrize(
    "source",
    [
        "if hasattr(os, 'killpg'):\n    os.killpg(1, 2)",
        "if os.name == 'posix' and x:\n    os.fork()",
        "number = os.getuid() if hasattr(os, 'getuid') else 0",
        "hasattr(os, 'geteuid') and os.geteuid() == 0",
        "open('a', 'rb')",
        "open('a', encoding='utf-8')",
        "path.open('wb')",
        "path.read_text('utf-8')",
        "raise ValueError('1/2 of /tmp is full')",
        "pytestmark = pytest.mark.skipif(os.name != 'posix', reason='signals')\nos.fork()",
    ],
)
def test_what_asks_first_is_allowed(source):
    assert found_in(source) == []


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A checkout in a folder with spaces and letters, and a Python whose os and signal are not Unix's."""
    folder = tmp_path_factory.mktemp("where people are") / "der Kurs, né 2026"
    folder.mkdir()
    for name in ("course_utils", "data", "notebooks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    lab = folder / "stand in" / "jupyterlab"
    lab.mkdir(parents=True)
    (lab / "__init__.py").write_text("")
    (lab / "__main__.py").write_text("import json, sys; print(json.dumps(sys.argv[1:]))")
    paths = [ROOT / "tests" / "other_system", lab.parent, folder]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "PYTHONWARNINGS": "ignore",
        "COURSE_HOME": str(folder / "my home"),
        "TMPDIR": str(folder / "for a while"),
        "HF_HUB_OFFLINE": "1",
    }
    (folder / "for a while").mkdir()

    def run(*arguments, code=None, status=0):
        command = ["-c", code] if code else ["-m", "course_utils", *arguments]
        done = subprocess.run(
            [sys.executable, *command],
            cwd=folder.parent,
            env=environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    run.folder = folder
    return run


SEEN = """
import os, signal, course_utils.commands.grade as grade, course_utils.commands.lab as lab
assert grade.__file__.startswith({folder!r}), grade.__file__
assert lab.os.name == "nt" and not hasattr(grade.os, "killpg") and not hasattr(grade.signal, "SIGKILL")
assert hasattr(signal, "SIGINT") and not hasattr(os, "fork") and os.environ["COURSE_HOME"]
try:
    import resource
except ModuleNotFoundError:
    print("gone")
"""


@pytest.mark.slow
def test_the_names_are_gone_there(elsewhere):
    assert elsewhere(code=SEEN.format(folder=str(elsewhere.folder))) == "gone\n"


@pytest.mark.slow
def test_the_command_line_works_elsewhere(elsewhere):
    """doctor, lab, reset and progress."""
    assert elsewhere("doctor").splitlines()[-1] == "The course can run here."
    options = json.loads(elsewhere("lab", "--no-browser").splitlines()[-1])
    assert f"--ServerApp.root_dir={elsewhere.folder}" in options and options[-1] == "--no-browser"
    assert "01_why" in elsewhere("reset", "01")
    assert "lesson" in elsewhere("progress")


@pytest.mark.night
def test_answers_are_judged_elsewhere(elsewhere):
    """Without fork, each exercise has its own process."""
    elsewhere("reset", "12")
    lesson = elsewhere.folder / "work" / "12_rlhf_with_ppo.ipynb"
    notebook = nbformat.read(lesson, as_version=4)
    for cell in notebook.cells:
        for name in ("gae", "per_token_rewards"):
            if f"= check.{name}(" in cell.source:
                cell.source = f"{find(name).solution}\n\n{name} = check.{name}({name})"
    nbformat.write(notebook, lesson)
    statuses = {
        row["exercise"]: row["status"] for row in json.loads(elsewhere("grade", "--json", str(lesson)))
    }
    answered = {name: statuses.pop(name) for name in ("gae", "per_token_rewards")}
    assert set(answered.values()) == {"passed"} and set(statuses.values()) == {"not attempted"}


@pytest.mark.night
def test_a_lesson_runs_elsewhere(elsewhere):
    out = elsewhere.folder / "the results"
    elsewhere("run", "00", "--scale", "smoke", "--model", "pocket", "--out", str(out))
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert [row["status"] for row in results["lessons"]] == ["passed"]


@pytest.mark.night
def test_processes_train_and_end_elsewhere(elsewhere):
    code = "from course_utils.methods.distributed import run_processes\n"
    code += "print(len(run_processes('by_hand', steps=2, batch_size=4, log=lambda line: None)))"
    assert elsewhere(code=code) == "2\n"
