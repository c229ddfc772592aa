"""Tasks and questions of the saved lessons: each exercise's text, and the predictions' questions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from nbformat import NotebookNode

from course_utils.notebook_files import lesson_key, lessons, read_notebook, tags

EXERCISE_HEADING = re.compile(
    r"^### (Exercise \d+ of \d+): (.+?), (\d+) min, difficulty (\d) of 3$", re.MULTILINE
)

SECTION = re.compile(r"^#{2,3} (?!Exercise \d)(.+?)(?:, \d+ min)?$", re.MULTILINE)


@dataclass(frozen=True)
class ExerciseText:
    """An exercise as the learner sees it: number and title, text (Markdown), and the cell to fill in."""

    number: str
    title: str
    text: str
    stub: str


@cache
def exercise_texts(lesson: str) -> dict[str, ExerciseText]:
    """{exercise: its text} of a lesson, in the notebook's order. Raises ValueError for an unknown lesson."""
    found, above = {}, ""
    for cell in read_notebook(lessons([lesson])[0]).cells:
        if cell.cell_type == "markdown":
            above = cell.source
        elif "exercise" in tags(cell):
            name = re.search(r"\bcheck\.(\w+)\(", cell.source)[1]
            headings = list(EXERCISE_HEADING.finditer(above))
            number, title = headings[-1].groups()[:2] if headings else ("Exercise", name)
            text = above[headings[-1].end() :].strip() if headings else above
            found[name] = ExerciseText(number, title, text, cell.source)
    return found


def sections(notebook: NotebookNode) -> Iterator[tuple[list[str], NotebookNode]]:
    """(headings that it stands under, without their minutes, cell) of each code cell of a lesson.

    They are two where a part begins with a section of its own, before any code.
    """
    headings: list[str] = []
    waiting: list[str] = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            waiting += SECTION.findall(cell.source)
        elif cell.cell_type == "code":
            headings, waiting = waiting or headings, []
            yield headings, cell


@cache
def questions(lesson: str) -> dict[str, dict]:
    """{question: {"options", "answer"}} of a lesson's saved predictions."""
    found: dict[str, dict] = {}
    for cell in read_notebook(lessons([lesson])[0]).cells:
        for output in cell.get("outputs", []):
            text = output.get("text") or output.get("data", {}).get("text/plain", "")
            asked = re.match(r"Your prediction: (.+)((?:\n  \( \) .+)+)", text)
            if asked:
                options = [line.strip().removeprefix("( ) ") for line in asked[2].strip().splitlines()]
                found.setdefault(asked[1], {"answer": None})["options"] = options
            record = output.get("metadata", {}).get("course", {}).get("prediction")
            if record and record["question"] in found:
                found[record["question"]]["answer"] = record.get("answer")
    return found


@cache
def titles() -> dict[str, str]:
    """{key: title} from the first lines of lessons and companions, without the key."""
    firsts = {
        lesson_key(path): read_notebook(path).cells[0].source.splitlines()[0] for path in lessons(more=True)
    }
    return {key: first.removeprefix(f"# {key} ") for key, first in firsts.items()}
