"""`make copies`: copies of the lessons for Colab, without outputs, with a first cell that fetches the course.

They are in colab/, where links to Colab lead. A changed lesson needs a new copy.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, writes

from course_utils.commands import addresses
from course_utils.commands.lab import fresh_copy
from course_utils.home import naming, write_whole
from course_utils.notebook_files import lessons, place_in
from course_utils.ownership import regular
from course_utils.terminal import Parser

FIRST_ID = "for-colab"
FETCH = '    subprocess.run(["git", "clone", "--depth", "1", "{address}", str(COURSE)], check=True)'
NOTHING = """\
    raise SystemExit(
        f"No course in {{COURSE}}. Upload a zip of its folder (Files, on the left), unpack it with !unzip,"
        f" rename what comes out to {{COURSE}}, then run this cell again."
    )"""
FIRST = """\
# For Colab: fetches the course and installs what Colab lacks (a minute or two). Elsewhere it does nothing.
import os
import subprocess
import sys
from pathlib import Path

COURSE = Path("/content/finetuning-course")
IN_COLAB = "google.colab" in sys.modules
if IN_COLAB and not COURSE.exists():
{fetch}
if IN_COLAB:
    from google.colab import output

    output.enable_custom_widget_manager()  # for the course's own controls
    subprocess.run([sys.executable, str(COURSE / "colab" / "install.py")], check=True)
    sys.path.insert(0, str(COURSE))
    os.environ["PYTHONPATH"] = str(COURSE)  # for the processes that lessons start
    os.chdir(COURSE / "notebooks")
"""


def colab_copy(lesson: Path, address: str) -> NotebookNode:
    """A lesson's copy for Colab. If the course has no address, its user uploads the files."""
    notebook = fresh_copy(lesson)
    version = {key: value for key, value in notebook.metadata["language_info"].items() if key != "version"}
    notebook.metadata["language_info"] = version  # not the Python of the machine that makes the copy
    cell = new_code_cell(FIRST.format(fetch=(FETCH if address else NOTHING).format(address=address)).rstrip())
    cell["id"] = FIRST_ID
    cell.metadata["tags"] = ["colab"]
    notebook.cells.insert(1, cell)
    return notebook


def write_copies(folder: Path = addresses.COPIES, address: str | None = None) -> list[Path]:
    """Write the copies of all lessons and delete those of removed lessons; returns the changed paths.

    Raises FileExistsError, before anything is written, if a file in the way is not such a copy.
    """
    address = addresses.repository() if address is None else address
    texts = {
        place_in(folder, lesson): writes(colab_copy(lesson, address)) + "\n" for lesson in lessons(more=True)
    }
    stale = [path for path, text in texts.items() if not path.is_file() or path.read_bytes() != text.encode()]
    for path in stale:
        if regular(path, "Move it away").exists() and not _is_copy(path):
            raise FileExistsError(f"{path} is not a copy of a lesson that this command wrote. Move it away.")
    gone = [
        path
        for path in lessons(folder=folder, more=True)
        if path not in texts and path.is_file() and _is_copy(path)
    ]
    for path in stale:
        with naming(path, "Free some space, or take a checkout that can be written"):
            path.parent.mkdir(exist_ok=True)
            write_whole(path, texts[path])
    for path in gone:
        path.unlink()
    return stale + gone


def _is_copy(path: Path) -> bool:
    """Whether the file has the cell that identifies copies."""
    try:
        return any(cell["id"] == FIRST_ID for cell in json.loads(path.read_bytes())["cells"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def main(argv: Sequence[str] = ()) -> int:
    """`python -m course_utils copies`: write the copies, and README.md's badges."""
    Parser(
        "python -m course_utils copies",
        description="Write the lessons' copies for Colab, in colab/, and README.md's badges.",
    ).parse_args(argv)
    addresses.write_badges(addresses.repository())
    changed = write_copies()
    for path in changed:
        print(f"{path.relative_to(addresses.COPIES.parent)}: {'written' if path.exists() else 'removed'}")
    if not changed:
        print("All copies are current.")
    return 0
