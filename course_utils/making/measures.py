"""The length of a lesson: measures, limits, and the lessons that must keep them.

Words count wherever a reader sees them: in Markdown, claims, questions, tasks, titles and captions.
"""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace

from nbformat import NotebookNode

from course_utils.checks import claims
from course_utils.checks.exercises import exercises_of
from course_utils.home import ROOT
from course_utils.making.claims import calls_of, source_text
from course_utils.notebook_files import code_cells, is_folded, tags

LONG_BRACKET = 8  # words; longer brackets are counted


@dataclass(frozen=True)
class Limit:
    """The maximum of a measure (at_least: the minimum), and the head of its column."""

    value: float
    head: str
    at_least: bool = False

    def is_broken(self, measured: float | None) -> bool:
        if measured is None:
            return False
        return measured < self.value if self.at_least else measured > self.value


LIMITS = {
    "words": Limit(2600, "words"),
    "words before a code cell, mean": Limit(80, "mean gap"),
    "words before a code cell, most": Limit(200, "most"),
    "code cells": Limit(45, "cells"),
    "visible lines of code": Limit(280, "lines"),
    f"brackets of more than {LONG_BRACKET} words": Limit(6, "brackets"),
    "minutes of the exercises without the hunt": Limit(45, "exercises"),
    "minutes of the lesson": Limit(75, "minutes"),
    "pictures": Limit(4, "pictures", at_least=True),
}
MOST_EXCEPTIONS = 4  # lessons
# {(lesson, measure): (its limit, why)}
EXCEPTIONS = {
    ("12", "words"): (3200, "from the policy gradient to PPO in one lesson: fewer words left out steps"),
    ("12", "words before a code cell, mean"): (85, "for the same reason"),
}


def measures(notebook: NotebookNode, lesson: str) -> dict[str, float | None]:
    """The measures of a lesson, by the names in LIMITS; None: the README does not state its minutes."""
    gaps = list(_gaps(notebook)) or [0]
    cells = code_cells(notebook)
    return dict(
        zip(
            LIMITS,
            [
                _words(notebook),
                statistics.mean(gaps),
                max(gaps),
                len(cells),
                sum(visible_lines(cell) for cell in cells),
                sum(_long_brackets(cell.source) for cell in _markdown_cells(notebook)),
                sum(minutes for minutes, in_hunt in _exercise_minutes(notebook, lesson) if not in_hunt),
                stated_minutes(lesson),
                sum("picture" in tags(cell) for cell in cells),
            ],
            strict=True,
        )
    )


def limit_of(lesson: str, measure: str) -> Limit:
    """The limit for a lesson, which is its exception's if it has one."""
    value, _ = EXCEPTIONS.get((lesson, measure), (LIMITS[measure].value, ""))
    return replace(LIMITS[measure], value=value)


def measure_faults(notebook: NotebookNode, lesson: str) -> list[str]:
    """The measures that are beyond the lesson's limits."""
    found = []
    for measure, measured in measures(notebook, lesson).items():
        limit = limit_of(lesson, measure)
        if limit.is_broken(measured):
            bound = "at least" if limit.at_least else "at most"
            found.append(f"{measure}: {measured:,.0f}, {bound} {limit.value:,}")
    return found


def as_lines(measured: dict[str, dict[str, float | None]]) -> str:
    """{lesson: measures} as a text table; values beyond the lesson's limit are marked."""
    heads = ["", *(limit.head for limit in LIMITS.values())]
    rows = [heads]
    for lesson, values in measured.items():
        row = [lesson]
        for measure, value in values.items():
            mark = "!" if limit_of(lesson, measure).is_broken(value) else " "
            row.append(f"{'-' if value is None else format(value, ',.0f')}{mark}")
        rows.append(row)
    rows.append(["limit", *(f"{limit.value:,.0f} " for limit in LIMITS.values())])
    return "\n".join("".join(f"{text:>10}" for text in row).rstrip() for row in rows)


def visible_lines(cell: NotebookNode) -> int:
    """The number of non-blank lines of a cell; 0 for a folded code cell."""
    return 0 if is_folded(cell) else sum(bool(line.strip()) for line in cell.source.splitlines())


def rendered(markdown: str) -> str:
    """The visible text of Markdown: no addresses, pictures, comments or table rules."""
    text = re.sub(r"<!--.*?-->|<[^>\s][^>]*>", " ", markdown, flags=re.DOTALL)
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", " ", text)
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)


def _count(text: str) -> int:
    """Number of words: strings between spaces with a letter or a digit."""
    return len(re.findall(r"\S*\w\S*", text))


def _markdown_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "markdown"]


def _words(notebook: NotebookNode) -> int:
    texts = [rendered(cell.source) for cell in _markdown_cells(notebook)]
    texts += [record["text"] for record in claims.read(notebook)]
    texts += [text for cell in code_cells(notebook) for text in _texts_of_code(cell)]
    return sum(map(_count, texts))


def _texts_of_code(cell: NotebookNode) -> Iterator[str]:
    """A code cell's visible texts: tasks, questions with their options, titles, captions."""
    tree = ast.parse(cell.source)
    if "exercise" in tags(cell):
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        yield from filter(None, map(ast.get_docstring, functions))
    for call in calls_of(cell.source, "predict"):
        yield from map(source_text, filter(_is_text, ast.walk(call)))
    yield from (title for _, title in plain_titles(cell))


def plain_titles(cell: NotebookNode) -> Iterator[tuple[str, str]]:
    """(function, text) of the titles and captions of figures and tables given as literals in a cell."""
    for node in ast.walk(ast.parse(cell.source)):
        if not isinstance(node, ast.Call):
            continue
        function = ast.unparse(node.func)
        if not (function.startswith(("plots.", "figures.")) or function == "show_table"):
            continue
        first = 0 if function in ("plots.figure", "plots.caption") else 1
        named = [word.value for word in node.keywords if word.arg == "title"]
        yield from (
            (function, source_text(each))
            for each in [*node.args[first : first + 1], *named]
            if _is_text(each)
        )


def _is_text(expression: ast.AST) -> bool:
    is_constant = isinstance(expression, ast.Constant) and isinstance(expression.value, str)
    return is_constant or isinstance(expression, ast.JoinedStr)


def _gaps(notebook: NotebookNode) -> Iterator[int]:
    """Words of Markdown before each code cell, if there are any."""
    words = 0
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            words += _count(rendered(cell.source))
        elif words:
            yield words
            words = 0


def _long_brackets(markdown: str) -> int:
    text = re.sub(r"```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$]*\$", " x ", rendered(markdown), flags=re.DOTALL)
    return sum(_count(inner) > LONG_BRACKET for inner in re.findall(r"\(([^()]*)\)", text))


def _exercise_minutes(notebook: NotebookNode, lesson: str) -> Iterator[tuple[int, bool]]:
    """(minutes, whether its section is a hunt) of each exercise in the notebook."""
    section = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            headings = re.findall(r"^#+ (?!Exercise \d)(.*)", cell.source, re.MULTILINE)
            section = headings[-1] if headings else section
        elif "exercise" in tags(cell):
            name = re.search(r"check\.(\w+)\(", cell.source)[1]
            yield exercises_of(lesson)[name].minutes, "hunt" in section.lower()


def stated_minutes(lesson: str) -> int | None:
    """The minutes of a lesson in the README's table, or None."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    row = re.search(rf"\(notebooks/{lesson}_.*\| (\d+) minutes \|$", readme, re.MULTILINE)
    return int(row[1]) if row else None
