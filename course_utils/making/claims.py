"""The claims of lessons as their source has them, each with a value just past its bound, to be read.

python -m course_utils.making.claims 03      a sentence that reads true beside such a value is a fault
"""

from __future__ import annotations

import argparse
import ast
import sys
from dataclasses import dataclass

from nbformat import NotebookNode

from course_utils.checks.claims import quantity
from course_utils.notebook_files import code_cells, lessons, read_notebook
from course_utils.terminal import Parser

PAST = 0.1  # of the bound


@dataclass(frozen=True)
class SourceClaim:
    """One call of `claim` in a lesson: its number in the lesson, its text and its options' expressions."""

    number: int
    text: str
    options: dict[str, ast.expr]

    def constant(self, name: str):
        """The value of an option that is a plain number, text or bool; else None."""
        try:
            return ast.literal_eval(self.options[name])
        except (KeyError, ValueError):
            return None


def claims_in(notebook: NotebookNode) -> list[SourceClaim]:
    """All calls of `claim` in a notebook, in order."""
    calls = [call for cell in code_cells(notebook) for call in calls_of(cell.source, "claim")]
    return [
        SourceClaim(number, source_text(call.args[0]), {word.arg: word.value for word in call.keywords})
        for number, call in enumerate(calls, 1)
    ]


def calls_of(source: str, name: str) -> list[ast.Call]:
    """The calls of a function in a cell, in the order of the lines."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    calls = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == name]
    return sorted(calls, key=lambda call: (call.lineno, call.col_offset))


def source_text(expression: ast.expr) -> str:
    """A text as the source has it; what an f-string puts in stays in braces."""
    if isinstance(expression, ast.JoinedStr):
        return "".join(map(source_text, expression.values))
    if isinstance(expression, ast.Constant):
        return str(expression.value)
    inner = expression.value if isinstance(expression, ast.FormattedValue) else expression
    return f"{{{ast.unparse(inner)}}}"


def past_the_bound(claim: SourceClaim) -> list[str]:
    """Values that break the claim, in words: one for each of its bounds."""
    unit = claim.constant("unit") or ""
    values = []
    for name, sign, word in (("at_most", 1, "more than"), ("at_least", -1, "less than")):
        if name not in claim.options:
            continue
        bound = claim.constant(name)
        if isinstance(bound, int | float):
            values.append(quantity(bound + sign * PAST * (abs(bound) or 1), unit))
        else:
            values.append(f"{word} {ast.unparse(claim.options[name])} {unit}".strip())
    if "equals" in claim.options:
        values.append(f"anything but {ast.unparse(claim.options['equals'])} {unit}".strip())
    return values


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(
        prog="python -m course_utils.making.claims",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("lesson", nargs="*", help="01, or 01_why_fine_tuning_works; default: all")
    for path in lessons(parser.parse_args(arguments).lesson):
        print(path.stem)
        for claim in claims_in(read_notebook(path)):
            print(f"{claim.number:4}  {claim.text}: {' or '.join(past_the_bound(claim))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
