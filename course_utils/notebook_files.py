"""Notebooks as files: where lessons are, and how one is found, read and written."""

from __future__ import annotations

import symtable
from pathlib import Path
from typing import TYPE_CHECKING

from course_utils.home import ROOT, write_whole

if TYPE_CHECKING:
    from nbformat import NotebookNode

NOTEBOOKS = ROOT / "notebooks"


def lessons(names: list[str] | None = None, folder: Path | None = None) -> list[Path]:
    """The lessons called `names` (01, 1 or 01_why_fine_tuning_works), or all. Raises ValueError."""
    folder = folder or NOTEBOOKS
    every = sorted(path for path in folder.glob("[0-9][0-9]_*.ipynb") if ".before-" not in path.name)
    chosen = []
    for name in names or []:
        found = [path for path in every if _is_called(path, name)]
        if not found:
            raise ValueError(
                f"There is no lesson {name!r} in {folder}. "
                f"Choose from: {', '.join(path.stem for path in every) or 'none yet'}."
            )
        chosen += found
    return sorted(set(chosen)) if names else every


def _is_called(path: Path, name: str) -> bool:
    stem = Path(name).name.removesuffix(".ipynb")
    return path.stem == stem or (stem.isdecimal() and path.stem[:2] == f"{int(stem):02d}")


def read_notebook(path: Path) -> NotebookNode:
    """A notebook, without writing anything about it."""
    import nbformat

    return nbformat.read(path, as_version=4)


def write_notebook(notebook: NotebookNode, path: Path) -> None:
    import nbformat

    write_whole(path, nbformat.writes(notebook) + "\n")


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def is_folded(cell: NotebookNode) -> bool:
    """Is the cell's source hidden when the lesson is opened?"""
    return bool(cell.metadata.get("jupyter", {}).get("source_hidden"))


def handle(cell: NotebookNode) -> str:
    """The comment in a cell's first line, which says what is folded under it; "" where there is none."""
    first = cell.source.partition("\n")[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def global_names(source: str) -> tuple[set[str], set[str]]:
    """(global names that code binds, those that it refers to, also in its functions).

    Raises SyntaxError or ValueError for what is no code.
    """
    top = symtable.symtable(source, "cell", "exec")
    bound = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}
    read = {s.get_name() for s in top.get_symbols() if s.is_referenced()}
    inner = top.get_children()
    for table in inner:
        read |= {s.get_name() for s in table.get_symbols() if s.is_referenced() and s.is_global()}
        inner += table.get_children()
    return bound, read
