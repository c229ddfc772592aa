"""Executes a lesson in a clean kernel, normalises it for saving, and checks the rules for saved lessons.

python -m course_utils.making.notebooks 01           execute, normalise, write
python -m course_utils.making.notebooks 01 --check   execute and check, write nothing
python -m course_utils.making.notebooks 01m          the same for the lesson's companion
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache, partial
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from course_utils.home import ROOT
from course_utils.machine import tree_memory
from course_utils.notebook_files import (
    NOTEBOOKS,
    code_cells,
    global_names,
    imports_of,
    is_companion,
    is_folded,
    lesson_key,
    lesson_of,
    lessons,
    read_notebook,
    tags,
    write_notebook,
)
from course_utils.processes import Watch
from course_utils.terminal import Parser

PACKAGE = ROOT / "course_utils"
CONDITIONS = {
    "COURSE_DEVICE": "cpu",
    "COURSE_MODEL": "pocket",
    "COURSE_SCALE": "quick",
    "COURSE_SEED": "0",
    "COURSE_STRICT": "1",
    "HF_HUB_OFFLINE": "1",
    "PYTHONHASHSEED": "0",
}
MAX_BYTES = 620_000
MAX_LINES = 30
MIN_COMPARED = 0.6
NOT_COMPARED = "nbval-ignore-output"  # tag of a cell whose output varies
PROOF, FURTHER = "Is it so?", "Further"  # the headings of a companion's two parts
PROOF_SECONDS = 10
MAX_IMPORTS = 8  # lines of imports that stay visible; a longer cell is folded
WIDGET_MIMES = ("application/vnd.jupyter.widget-view+json", "application/vnd.jupyter.widget-state+json")


@contextmanager
def conditions() -> Iterator[None]:
    """The environment lessons are saved in: pocket, quick, CPU, strict, a temporary COURSE_HOME."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="course-home-") as home:
        for name in [name for name in os.environ if name.startswith("COURSE_")]:
            del os.environ[name]
        os.environ.update(CONDITIONS, COURSE_HOME=home)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def execute(notebook: NotebookNode, cwd: Path = NOTEBOOKS) -> tuple[float, int]:
    """Run all cells in a new kernel, storing their outputs: (seconds, peak bytes of the kernel's memory).

    Raises nbclient's CellExecutionError for a cell that fails.
    """
    from nbclient import NotebookClient

    where = {"metadata": {"path": str(cwd)}}
    client = NotebookClient(notebook, kernel_name="python3", timeout=None, resources=where)
    began = time.perf_counter()
    with client.setup_kernel(stderr=subprocess.DEVNULL):
        watch = Watch(partial(tree_memory, client.km.provisioner.pid), max)
        for index, cell in enumerate(notebook.cells):
            client.execute_cell(cell, index)
        seconds = time.perf_counter() - began
        peak = watch.stop()
    return seconds, peak


def normal_form(notebook: NotebookNode) -> NotebookNode:
    """Normalise in place, so that two runs save the same: ids, counts, metadata, streams, widgets, paths."""
    language = {"name": "python", "file_extension": ".py", "mimetype": "text/x-python"}
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata = nbformat.from_dict({"kernelspec": kernel, "language_info": language})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    count = 0
    for position, cell in enumerate(notebook.cells):
        cell.id = f"cell-{position:03d}"
        cell.metadata = nbformat.from_dict(_kept(cell))
        if cell.cell_type != "code":
            continue
        if cell.execution_count is not None:
            count += 1
            cell.execution_count = count
        cell.outputs = [_without_paths(output) for output in _joined(cell.outputs)]
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = count
            for mime in WIDGET_MIMES:
                output.get("data", {}).pop(mime, None)
    return notebook


def _kept(cell: NotebookNode) -> dict:
    """The metadata to keep: a cell's tags, and whether its source is folded."""
    kept = {"tags": tags(cell)} if tags(cell) else {}
    if is_folded(cell):
        kept["jupyter"] = {"source_hidden": True}
    return kept


def _joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Merge consecutive outputs of one stream, and apply carriage returns."""
    result: list[NotebookNode] = []
    for output in outputs:
        if output.output_type == "stream" and result and result[-1].get("name") == output.name:
            result[-1].text += output.text
        else:
            result.append(output)
    for output in result:
        if output.output_type == "stream":
            output.text = re.sub(r"^.*\r(?=[^\n])", "", output.text, flags=re.MULTILINE)
    return result


def _without_paths(output: NotebookNode) -> NotebookNode:
    """Make paths relative to the repository; replace the temporary COURSE_HOME by its name."""
    for holder in (output, output.get("data", {})):
        for key, text in holder.items():
            if isinstance(text, str) and key.startswith("text"):
                text = text.replace(f"{ROOT}{os.sep}", "")
                if home := os.environ.get("COURSE_HOME"):
                    text = text.replace(home, "COURSE_HOME")
                # only at the start of a word: matching everywhere in a long picture would take seconds
                holder[key] = re.sub(r"(?<!\S)\S*course-home-\w+", "COURSE_HOME", text)
    return output


def structure_faults(notebook: NotebookNode, key: str) -> list[str]:
    """Violations of the structure rules, for executed and unexecuted notebooks. key: as from lesson_key."""
    cells, faults = code_cells(notebook), []
    if not notebook.cells or not notebook.cells[0].source.startswith(f"# {key} "):
        faults.append(f"the first cell is not a title (# {key} ...)")
    if [index for index, cell in enumerate(cells) if "parameters" in tags(cell)] != [0]:
        faults.append("the first code cell, and no other, must have the tag `parameters`")
    elif any(f"COURSE_{name}" not in cells[0].source for name in ("MODEL", "SCALE", "SEED")):
        faults.append("the parameters take no defaults from COURSE_MODEL, COURSE_SCALE, COURSE_SEED")
    if len(cells) < 2 or "start(MODEL, SCALE, SEED)" not in cells[1].source:
        faults.append("the second code cell does not call start(MODEL, SCALE, SEED)")
    for index, cell in enumerate(cells):
        lines = len(cell.source.splitlines())
        if lines > MAX_LINES and not _is_import_cell(cell):
            faults.append(f"{_name(index, cell)} has {lines} lines, more than {MAX_LINES}")
        if cell.source.rstrip().endswith(";"):
            faults.append(f"{_name(index, cell)} ends with a semicolon; assign the result to _ instead")
        if "exercise" in tags(cell) and "= check." not in cell.source:
            faults.append(f"{_name(index, cell)} is an exercise without fn = check.NAME(fn)")
    return faults + (_companion_faults(notebook, key) if is_companion(key) else _lesson_faults(cells))


def _lesson_faults(cells: list[NotebookNode]) -> list[str]:
    """Missing parts of a lesson: too few compared cells, exercises, predictions or claims."""
    faults = []
    compared = sum(NOT_COMPARED not in tags(cell) or "claim." in cell.source for cell in cells)
    if cells and compared < MIN_COMPARED * len(cells):
        faults.append(
            f"{compared} of {len(cells)} code cells are compared or claim something; "
            f"{MIN_COMPARED:.0%} are needed"
        )
    parts = {
        "exercises": (sum("exercise" in tags(cell) for cell in cells), 3),
        "predictions": (_count(cells, "predict("), 1),
        "claims": (_count(cells, "claim."), 1),
    }
    faults += [
        f"{there} {what}; at least {needed} needed"
        for what, (there, needed) in parts.items()
        if there < needed
    ]
    return faults


def parts_of(notebook: NotebookNode) -> dict[str, list[tuple[int, NotebookNode]]]:
    """{second-level heading: (number, cell) of the code cells below it}; "" has those above the first."""
    found: dict[str, list[tuple[int, NotebookNode]]] = {"": []}
    heading, count = "", 0
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for heading in re.findall(r"^## (.*)", cell.source, re.MULTILINE):
                found.setdefault(heading, [])
        elif cell.cell_type == "code":
            found[heading].append((count, cell))
            count += 1
    return found


def _companion_faults(notebook: NotebookNode, key: str) -> list[str]:
    """Violations of the companion rules: its two parts, and a link back to its lesson."""
    parts, faults = parts_of(notebook), []
    if list(parts) not in (["", PROOF, FURTHER], ["", PROOF], ["", FURTHER]):
        faults.append(
            f"its headings of the second level are {', '.join(list(parts)[1:]) or 'none'}: a companion has "
            f"'## {PROOF}' and '## {FURTHER}', or one of the two; sections in them have ###"
        )
    for index, cell in parts.get(PROOF, []):
        if NOT_COMPARED in tags(cell):
            faults.append(
                f"{_name(index, cell)}: '{PROOF}' is compared whole; take the tag {NOT_COMPARED} off"
            )
        if live := re.findall(r"\b(train\w*|load_model)\(", cell.source):
            faults.append(
                f"{_name(index, cell)} calls {live[0]}: '{PROOF}' reads stored runs; what runs a model "
                f"belongs to '{FURTHER}'"
            )
    faults += [
        f"{_name(index, cell)}: a live cell, in '{FURTHER}', needs the tag {NOT_COMPARED}"
        for index, cell in parts.get(FURTHER, [])
        if NOT_COMPARED not in tags(cell)
    ]
    lesson, text = lesson_of(key), "\n".join(cell.source for cell in notebook.cells)
    if f"](../{lesson}_" not in text:
        faults.append(f"no link leads back to lesson {lesson}: [words](../{lesson}_....ipynb#heading)")
    if re.search(rf"lesson_{lesson} import .*\b(check|claim)\b", text):
        faults.append(f"check and claim come from the lesson: import them from lessons.lesson_{lesson}.more")
    return faults


def proof_faults(notebook: NotebookNode) -> list[str]:
    """A fault if a companion's proof took too long, by the execution times stored in the cells."""
    spans = [cell.metadata["execution"] for _, cell in parts_of(notebook).get(PROOF, [])]
    begun, ended = ("iopub.execute_input", "shell.execute_reply")
    seconds = sum(
        (datetime.fromisoformat(span[ended]) - datetime.fromisoformat(span[begun])).total_seconds()
        for span in spans
    )
    if seconds <= PROOF_SECONDS:
        return []
    return [f"'{PROOF}' took {seconds:.0f} s, more than {PROOF_SECONDS}: read stored runs, or store one"]


def saved_faults(notebook: NotebookNode) -> list[str]:
    """Faults of the saved outputs and metadata."""
    faults = []
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        faults.append("no kernelspec python3: JupyterLab would stop and ask for a kernel")
    if "widgets" in notebook.metadata:
        faults.append("widget state is saved")
    cells = code_cells(notebook)
    if [cell.execution_count for cell in cells] != list(range(1, len(cells) + 1)):
        faults.append("the cells were not all executed once, in order (execution counts)")
    for index, cell in enumerate(cells):
        if "execution" in cell.metadata:
            faults.append(f"{_name(index, cell)} has times in its metadata")
        for output in cell.outputs:
            if output.output_type == "error":
                faults.append(f"{_name(index, cell)} shows an error: {output.ename}: {output.evalue}")
            if output.get("name") == "stderr":
                faults.append(f"{_name(index, cell)} writes to stderr: {output.text.strip()[:200]}")
            if set(WIDGET_MIMES) & set(output.get("data", {})):
                faults.append(f"{_name(index, cell)} has a saved widget view")
    size = len(nbformat.writes(notebook).encode())
    if size > MAX_BYTES:
        faults.append(f"{size / 1000:.0f} kB, more than {MAX_BYTES / 1000:.0f} kB")
    return faults


def optional_faults(notebook: NotebookNode) -> list[str]:
    """Core cells that use a name which only an optional, skippable section defines."""
    level, index, core, optional, faults = 0, -1, set(), {}, []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for marks, title in re.findall(r"^(#+) (.*)", cell.source, re.MULTILINE):
                if not level or len(marks) <= level:
                    level, section = (len(marks), title) if title.startswith("Optional") else (0, "")
            continue
        index += 1
        bound, read = global_names(cell.source)
        if level:
            optional |= dict.fromkeys(bound - core, section)
            continue
        for name in sorted((read - bound - core) & optional.keys()):
            faults.append(f"{_name(index, cell)} uses {name}, which only {optional[name]!r} defines")
        core |= bound
    return faults


def import_faults(notebook: NotebookNode) -> list[str]:
    """Imports are in one cell, folded if long; the library section's are where they are used."""
    faults, found = [], []
    for index, cell in enumerate(code_cells(notebook)):
        if index < 2 or {"library", "from-scratch"} & set(tags(cell)):
            continue
        imports = imports_of(cell.source)
        if not imports:
            continue
        found.append(_name(index, cell))
        lines = sum(node.end_lineno - node.lineno + 1 for node in imports)
        if lines > MAX_IMPORTS and not _is_import_cell(cell):
            faults.append(
                f"{found[-1]} imports in more than {MAX_IMPORTS} lines: begin with a comment, hold "
                "nothing else, and be folded (jupyter.source_hidden in its metadata)"
            )
    if len(found) > 1:
        faults.append(f"imports stand in {len(found)} cells: {', '.join(found)}")
    return faults


def _is_import_cell(cell: NotebookNode) -> bool:
    """Whether a cell is folded under a comment and contains only imports."""
    only = len(imports_of(cell.source)) == len(ast.parse(cell.source).body) > 0
    return only and is_folded(cell) and cell.source.startswith("# ")


def picture_faults(notebook: NotebookNode) -> list[str]:
    """Every saved picture has an alternative text that a page shows."""
    faults = []
    for index, cell in enumerate(code_cells(notebook)):
        for data in (output.get("data", {}) for output in cell.outputs):
            bare = [mime for mime in data if mime.startswith("image/")]
            images = re.findall(r"<img\b[^>]*>", data.get("text/html", ""))
            if bare and not images:
                faults.append(f"{_name(index, cell)} shows {bare[0]}, of which JupyterLab shows no words")
            faults += [
                f"{_name(index, cell)} shows a picture without words (alt)"
                for image in images
                if not re.search(r'alt="[^"]', image)
            ]
    return faults


def from_scratch_faults(notebook: NotebookNode) -> list[str]:
    """Definitions in cells tagged `from-scratch` that differ from the package's of the same name."""
    faults = []
    package = _package_definitions()
    for index, cell in enumerate(code_cells(notebook)):
        if "from-scratch" not in tags(cell):
            continue
        definitions = _definitions(cell.source)
        if not definitions:
            faults.append(f"{_name(index, cell)} is tagged `from-scratch` and defines nothing")
        for name, text in definitions.items():
            if name not in package:
                faults.append(f"{name} is not in the package")
            elif text not in package[name].values():
                faults.append(
                    f"{name} differs from {' and '.join(package[name])}:\n{_difference(text, package[name])}"
                )
    return faults


@cache
def _package_definitions() -> dict[str, dict[str, str]]:
    """{name: {module: text}} of all top-level functions and classes of the package's modules."""
    found: dict[str, dict[str, str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for name, text in _definitions(path.read_text(encoding="utf-8")).items():
            found.setdefault(name, {})[".".join(path.relative_to(ROOT).with_suffix("").parts)] = text
    return found


def _definitions(source: str) -> dict[str, str]:
    """{name: normalised text} of top-level functions and classes, without docstrings, types and layout."""
    definitions = {}
    for node in _Untyped().visit(ast.parse(source)).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            for inner in ast.walk(node):
                if isinstance(inner, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(inner) is not None:
                    inner.body = inner.body[1:] or [ast.Pass()]
            definitions[node.name] = ast.unparse(node)
    return definitions


class _Untyped(ast.NodeTransformer):
    """Removes annotations of arguments, results and variables; a dataclass keeps its fields."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return node if node.decorator_list else self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        return ast.copy_location(ast.Assign([node.target], node.value), node) if node.value else None


def _difference(text: str, versions: dict[str, str]) -> str:
    import difflib

    module, theirs = next(iter(versions.items()))
    lines = difflib.unified_diff(theirs.splitlines(), text.splitlines(), module, "notebook", lineterm="")
    return "\n".join(lines)


def _count(cells: list[NotebookNode], text: str) -> int:
    return sum(cell.source.count(text) for cell in cells)


def _name(index: int, cell: NotebookNode) -> str:
    first = (cell.source.strip().splitlines() or [""])[0]
    return f"code cell {index} ({first[:50]})"


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(
        prog="python -m course_utils.making.notebooks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("lesson", nargs="+", help="01, 01m or 01_why_fine_tuning_works")
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args(arguments)
    faulty = False
    for lesson in options.lesson:
        faulty |= not _one(lesson, write_it=not options.check)
    return int(faulty)


def _one(lesson: str, write_it: bool) -> bool:
    from nbclient.exceptions import CellExecutionError

    try:
        [path] = lessons([lesson])
    except ValueError as error:
        print(error, file=sys.stderr)
        return False
    notebook = read_notebook(path)
    print(f"{path.stem}: executing", flush=True)
    with conditions():
        try:
            seconds, peak = execute(notebook)
        except CellExecutionError as error:
            print(f"{path.stem}: stopped, nothing written.\n{error}", file=sys.stderr)
            return False
        faults = proof_faults(notebook)
        normal_form(notebook)
    faults += structure_faults(notebook, lesson_key(path)) + saved_faults(notebook)
    faults += from_scratch_faults(notebook)
    size = len(nbformat.writes(notebook).encode())
    print(f"{path.stem}: {seconds:.0f} s, peak memory {peak / 2**30:.2f} GiB, {size / 1000:.0f} kB")
    for fault in faults:
        print(f"  FAULT: {fault}")
    if write_it:
        write_notebook(notebook, path)
    return not faults


if __name__ == "__main__":
    sys.exit(main())
