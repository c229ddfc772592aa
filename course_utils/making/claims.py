"""Prints each claim of the lessons with a value just past its bound.

python -m course_utils.making.claims 03      a sentence that reads true beside such a value is a fault
"""

from __future__ import annotations

import argparse
import ast
import sys

from nbformat import NotebookNode

from course_utils.checks.claims import Claim, claims_of, quantity
from course_utils.notebook_files import code_cells, lesson_key, lessons, read_notebook
from course_utils.terminal import Parser

PAST = 0.1  # relative to the bound


def claims_in(notebook: NotebookNode, lesson: str) -> list[Claim]:
    """The claims that a lesson's or companion's notebook makes, in order. KeyError for one not listed."""
    return [claims_of(lesson)[name] for cell in code_cells(notebook) for name in claim_names(cell.source)]


def claim_names(source: str) -> list[str]:
    """NAME of each claim.NAME(...) in a cell, in line order."""
    return [call.func.attr for call in claim_calls(source)]


def claim_calls(source: str) -> list[ast.Call]:
    """The calls claim.NAME(...) in a cell, in line order."""
    return [
        call
        for call in _calls(source)
        if isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "claim"
    ]


def calls_of(source: str, name: str) -> list[ast.Call]:
    """The calls of a function in a cell, in line order."""
    return [call for call in _calls(source) if isinstance(call.func, ast.Name) and call.func.id == name]


def _calls(source: str) -> list[ast.Call]:
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return sorted(calls, key=lambda call: (call.lineno, call.col_offset))


def source_text(expression: ast.expr) -> str:
    """The text of a string as in the source; f-string expressions stay in braces."""
    if isinstance(expression, ast.JoinedStr):
        return "".join(map(source_text, expression.values))
    if isinstance(expression, ast.Constant):
        return str(expression.value)
    inner = expression.value if isinstance(expression, ast.FormattedValue) else expression
    return f"{{{ast.unparse(inner)}}}"


def past_the_bound(claim: Claim) -> list[str]:
    """Values that break the claim, as text: one for each bound."""
    values = [
        quantity(bound + sign * PAST * (abs(bound) or 1), claim.unit)
        for bound, sign in ((claim.at_most, 1), (claim.at_least, -1))
        if bound is not None
    ]
    return values or [f"anything but {quantity(claim.equals, claim.unit)}"]


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(
        prog="python -m course_utils.making.claims",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("lesson", nargs="*", help="01, or 01_why_fine_tuning_works; default: all")
    for path in lessons(parser.parse_args(arguments).lesson, more=True):
        print(path.stem)
        for claim in claims_in(read_notebook(path), lesson_key(path)):
            print(f"{claim.name:>28}  {claim.text}: {' or '.join(past_the_bound(claim))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
