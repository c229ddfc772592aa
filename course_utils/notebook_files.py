"""Notebooks as files: where lessons and companions are, and how they are found, read and written.

A lesson is a file NN_*.ipynb. It may have a companion, more/NN_more.ipynb. The key of lesson 03 is "03", that
of its companion "03m": exercises, progress, claims and commands identify a notebook by its key.
"""

from __future__ import annotations

import ast
import re
import symtable
from pathlib import Path
from typing import TYPE_CHECKING

from course_utils.home import ROOT, write_whole

if TYPE_CHECKING:
    from nbformat import NotebookNode

NOTEBOOKS = ROOT / "notebooks"
MORE = "more"  # the companions' folder, beside the lessons


def lessons(names: list[str] | None = None, folder: Path | None = None, more: bool = False) -> list[Path]:
    """The notebooks called `names` (01, 1 or 01_why_fine_tuning_works; 01m, 1m or 01_more), or all lessons.

    more: each lesson is followed by its companion, if it has one. Raises ValueError for an unknown name.
    """
    folder = folder or NOTEBOOKS
    found = [*folder.glob("[0-9][0-9]_*.ipynb"), *folder.glob(f"{MORE}/[0-9][0-9]_more.ipynb")]
    every = [path for path in found if ".before-" not in path.name]
    chosen = []
    for name in names or []:
        called = [path for path in every if _is_called(path, name)]
        if not called:
            known = ", ".join(sorted(path.stem for path in every)) or "none yet"
            raise ValueError(f"There is no lesson {name!r} in {folder}. Choose from: {known}.")
        chosen += called
    if not names:
        chosen = [path for path in every if not is_companion(lesson_key(path))]
    if more:
        keys = {f"{lesson_of(lesson_key(path))}m" for path in chosen}
        chosen += [path for path in every if lesson_key(path) in keys]
    return sorted(set(chosen), key=lambda path: (lesson_key(path), path.name))


def _is_called(path: Path, name: str) -> bool:
    stem = Path(name).name.removesuffix(".ipynb")
    number = re.fullmatch("([0-9]{1,9})(m?)", stem)
    return path.stem == stem or bool(number and lesson_key(path) == f"{int(number[1]):02d}{number[2]}")


def lesson_key(path: Path) -> str:
    """The key of a lesson ("03") or of a companion ("03m"), from the file name."""
    return path.name[:2] + "m" * (path.stem[2:] == "_more")


def is_companion(key: str) -> bool:
    return key.endswith("m")


def lesson_of(key: str) -> str:
    """The key of a notebook's lesson: "03" for "03" and for "03m"."""
    return key.removesuffix("m")


def place_in(folder: Path, path: Path) -> Path:
    """The place of a notebook of that name in a folder of lessons; companions have their own subfolder."""
    return folder / MORE / path.name if is_companion(lesson_key(path)) else folder / path.name


def folder_of(path: Path) -> Path:
    """The folder of lessons that contains a notebook, which may be a companion."""
    return path.parent.parent if path.parent.name == MORE else path.parent


def read_notebook(path: Path) -> NotebookNode:
    """A notebook; parsing writes no messages. ValueError if it is damaged."""
    import nbformat

    try:
        return nbformat.read(path, as_version=4)
    except nbformat.reader.NotJSONError as fault:
        raise ValueError(f"{path} is not a notebook: {str(fault)[:100]}") from fault


def write_notebook(notebook: NotebookNode, path: Path) -> None:
    import nbformat

    write_whole(path, nbformat.writes(notebook) + "\n")


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def is_folded(cell: NotebookNode) -> bool:
    """Whether the cell's source is hidden when the lesson is opened."""
    return bool(cell.metadata.get("jupyter", {}).get("source_hidden"))


def handle(cell: NotebookNode) -> str:
    """The comment in a cell's first line, which describes the folded code; "" if there is none."""
    first = cell.source.partition("\n")[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def imports_of(source: str) -> list[ast.Import | ast.ImportFrom]:
    """The import statements at the top of a cell."""
    return [node for node in ast.parse(source).body if isinstance(node, ast.Import | ast.ImportFrom)]


def global_names(source: str) -> tuple[set[str], set[str]]:
    """(global names that the code binds, names that it refers to, also in its functions).

    Raises SyntaxError or ValueError for anything that is not code.
    """
    top = symtable.symtable(source, "cell", "exec")
    bound = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}
    read = {s.get_name() for s in top.get_symbols() if s.is_referenced()}
    inner = top.get_children()
    for table in inner:
        read |= {s.get_name() for s in table.get_symbols() if s.is_referenced() and s.is_global()}
        inner += table.get_children()
    return bound, read
