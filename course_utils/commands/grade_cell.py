"""The process in which `grade` runs exercise cells: each in a fork, or one per process without fork."""

from __future__ import annotations

import ast
import faulthandler
import json
import linecache
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path

from course_utils.checks.exercises import Exercise, find, find_fault, is_stub, registry
from course_utils.notebook_files import global_names

FORKS = hasattr(os, "fork") and sys.platform != "darwin"  # macOS libraries crash in forks
PAUSE = 0.02  # seconds between looks at the fork
ABANDONED = 300  # seconds until the process ends by itself if nobody watches it any more
LONGEST_CODE = 2000  # characters of a message
ALONE = "(Only the exercise's cell is run, with the imports and definitions of the course's own notebook.)"


def judge_jobs() -> None:
    """Judge the job.json of each folder named on stdin; results go to told.jsonl beside it."""
    registry()  # load the course
    for line in sys.stdin:
        folder = Path(json.loads(line))
        if FORKS:
            ended = _fork(folder)
            with (folder / "told.jsonl").open("a", encoding="utf-8") as file:
                _tell(file, {"ended": ended})
        else:
            _judge_job(folder)
    if FORKS:  # stdin closed because `grade` was killed; otherwise `grade` ends this process
        shutil.rmtree(folder, ignore_errors=True)


if hasattr(os, "fork"):

    def _fork(folder: Path) -> int:
        """Judge in a fork with its own session, which ends with it; the status is like Popen.returncode.

        If `grade` is killed, this process gets another parent, and ends the fork.
        """
        parent, child = os.getppid(), os.fork()
        if not child:
            try:
                os.setsid()
                _judge_job(folder)
            finally:
                os._exit(1)
        while not os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT | os.WNOHANG) and os.getppid() == parent:
            time.sleep(PAUSE)  # WNOWAIT keeps the process id from being reused
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _judge_job(folder: Path) -> None:
    """Judge the job, then end this process: the learner's threads may still run."""
    faulthandler.dump_traceback_later(ABANDONED, exit=True)
    os.chdir(folder / "here")
    os.environ["COURSE_HOME"] = str(folder / "home")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    with (folder / "told.jsonl").open("a", encoding="utf-8") as file:
        try:
            _work_on(find(job["exercise"]), choose(job["cells"]), job["course"], partial(_tell, file))
        except SystemExit as ended:
            os._exit(ended.code if isinstance(ended.code, int) else bool(ended.code))
    os._exit(0)


def _tell(file, line: dict) -> None:
    file.write(json.dumps(line) + "\n")
    file.flush()


def _work_on(exercise: Exercise, source: str, course: list[str], tell: Callable[[dict], None]) -> None:
    try:
        namespace = surroundings(exercise, source, course)
    except Exception as error:
        fault = f"The course's own code before this exercise failed: {type(error).__name__}: {error}"
        tell({"status": "stopped", "message": fault})
        return
    tell({"exercise": exercise.name})
    status, message = judge(exercise, source, namespace)
    if "NameError" in message:
        message = f"{message} {ALONE}"
    tell({"status": status, "message": message[:LONGEST_CODE]})


def choose(cells: list[str]) -> str:
    """The last cell that does more than call the check, else the last; lines of magic are blanked."""
    cells = [re.sub(r"^[%!].*", "", cell, flags=re.MULTILINE) for cell in cells]
    return next((cell for cell in reversed(cells) if _defines(cell)), cells[-1])


def _defines(cell: str) -> bool:
    try:
        return not all(map(_calls_check, ast.parse(cell).body))
    except (SyntaxError, ValueError):
        return True


def _calls_check(statement: ast.stmt) -> bool:
    value = getattr(statement, "value", None)
    return isinstance(value, ast.Call) and ast.unparse(value.func).startswith("check.")


def surroundings(exercise: Exercise, source: str, course: list[str]) -> dict:
    """The namespace for the learner's cell: the course's solutions and notebook definitions that it uses.

    source: the learner's cell; course: the code cells of the course's notebook. Other names are taken from
    the solution's module if the solution uses them too.
    """
    others = {
        other.name: other.reference
        for other in registry().values()
        if other.lesson == exercise.lesson and other is not exercise
    }
    namespace = {"__name__": "__main__", "hint": _nothing, "display": _nothing, **others}
    used = free_names(source)
    statements = definitions(exercise.name, course, {*namespace, exercise.name, "check"})
    for statement in needed(used, statements):
        _run(statement, namespace)
    home = vars(sys.modules[exercise.reference.__module__])
    for name in used & free_names(exercise.solution) & home.keys() - {exercise.name}:
        namespace.setdefault(name, home[name])
    return namespace


def _nothing(*arguments, **named) -> None:
    """Stands for `hint` and `display`."""


def free_names(source: str) -> set[str]:
    """The global names that a piece of code refers to; empty if it cannot be parsed."""
    try:
        return global_names(source)[1]
    except (SyntaxError, ValueError):
        return set()


def definitions(exercise: str, course: list[str], taken: Iterable[str]) -> dict[str, ast.stmt]:
    """{name: the last statement before the exercise that imports or defines it in the course's notebook}."""
    found: dict[str, ast.stmt] = {}
    for cell in course:
        if f"check.{exercise}(" in cell:
            break
        for statement in ast.parse(cell).body:
            for name in _bound(statement):
                found.pop(name, None)
                found[name] = statement
    return {name: statement for name, statement in found.items() if name not in taken}


def _bound(statement: ast.stmt) -> list[str]:
    """The names bound by an import, a function, a class or a constant; none for a statement that computes."""
    match statement:
        case ast.Import() | ast.ImportFrom():
            return [(alias.asname or alias.name).split(".")[0] for alias in statement.names]
        case ast.FunctionDef() | ast.ClassDef():
            calls = [call for call in statement.decorator_list if isinstance(call, ast.Call)]
            return [] if any(call.args or call.keywords for call in calls) else [statement.name]
        case ast.Assign() if not _computes(statement.value):
            targets = [node for target in statement.targets for node in ast.walk(target)]
            return [node.id for node in targets if isinstance(node, ast.Name)]
    return []


def _computes(value: ast.expr) -> bool:
    kinds = (ast.Call, ast.Subscript, ast.Await, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
    return any(isinstance(node, kinds) for node in ast.walk(value))


def needed(names: set[str], statements: dict[str, ast.stmt]) -> list[ast.stmt]:
    """The statements that define the names, with those they depend on, in the notebook's order."""
    chosen, waiting = set(), list(names)
    while waiting:
        statement = statements.get(waiting.pop())
        if statement is not None and statement not in chosen:
            chosen.add(statement)
            waiting += free_names(ast.unparse(statement))
    return [statement for statement in dict.fromkeys(statements.values()) if statement in chosen]


def _run(statement: ast.stmt, namespace: dict) -> None:
    """Run a statement of the course; skip it if it needs something only the whole lesson has."""
    try:
        exec(compile(ast.Module([statement], []), "<course>", "exec", dont_inherit=True), namespace)
    except NameError:
        return


class Catcher:
    """`check` for the learner's cell: keeps the last verdict on one exercise; records no progress."""

    def __init__(self, exercise: Exercise):
        self.exercise = exercise
        self.verdict: tuple[str, str] | None = None

    def __getattr__(self, name: str) -> Callable:
        exercise = find(name)
        return self._judge if exercise is self.exercise else lambda fn: exercise.reference

    def _judge(self, fn: Callable) -> Callable:
        if is_stub(fn):
            self.verdict = ("not attempted", "")
        elif fault := find_fault(self.exercise, fn):
            message, line = fault
            self.verdict = ("mistake", f"{message} ({line})" if line else message)
        else:
            self.verdict = ("passed", "")
        return fn


def judge(exercise: Exercise, source: str, namespace: dict) -> tuple[str, str]:
    """(status, message) of the learner's cell, run statement by statement.

    A failing statement does not stop the others: a learner's own test may need another cell.
    """
    file = f"<check.{exercise.name}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    try:
        compile(source, file, "exec", dont_inherit=True)
        statements = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return "mistake", _describe(error, getattr(error, "lineno", None))
    catcher, fault = Catcher(exercise), f"The cell ended without a call of check.{exercise.name}."
    failed = False
    for statement in statements:
        namespace["check"] = catcher  # for every statement: the cell may import the course's `check`
        try:
            exec(compile(ast.Module([statement], []), file, "exec", dont_inherit=True), namespace)
        except Exception as error:
            fault = fault if failed else _describe(error, statement.lineno)
            failed = True
    return catcher.verdict or ("mistake", fault)


def _describe(error: Exception, line: int | None) -> str:
    where = f" in line {line}" if line else ""
    return f"The cell stopped{where} with {type(error).__name__}: {getattr(error, 'msg', error)}"
