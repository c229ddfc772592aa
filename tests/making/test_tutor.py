"""Helpers for tools: TUTOR.md is the registry's, gives no solution away, and AGENTS.md names what exists."""

import ast
import re

import pytest

from course_utils.checks.exercises import registry
from course_utils.commands.lab import fresh_copy
from course_utils.home import ROOT
from course_utils.making.tutor import TUTOR, tutor
from course_utils.notebook_files import lesson_key, lessons


def statements(source):
    """The statements of a solution that are long enough to be told from others, as ast writes them."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt)]
    plain = [node for node in nodes if not isinstance(node, ast.FunctionDef | ast.ClassDef)]
    texts = [
        ast.unparse(node) for node in plain if not isinstance(getattr(node, "value", None), ast.Constant)
    ]
    return [text for text in texts if len(text) > 25]


def given_away(source, text):
    """The share of a solution's statements that stand in a text."""
    found = statements(source)
    return sum(one in text for one in found) / len(found) if found else 0.0


def test_it_is_made_from_the_registry():
    text = TUTOR.read_text(encoding="utf-8")
    assert text == tutor(), "python -m course_utils.making.tutor makes TUTOR.md anew"
    assert re.findall(r"^- `(\w+)`: .", text, re.MULTILINE) == [
        name for path in lessons(more=True) for name in names_in(path)
    ]
    assert set(re.findall(r"^- `(\w+)`: ", text, re.MULTILINE)) == set(registry())


def names_in(path):
    cells = [cell.source for cell in fresh_copy(path).cells if "exercise" in cell.metadata.get("tags", [])]
    return [re.search(r"\bcheck\.(\w+)\(", source)[1] for source in cells]


@pytest.mark.parametrize("path", lessons(more=True), ids=lesson_key)
def test_no_solution_stands_in_a_learners_copy_or_in_the_tutors_text(path):
    copy = "\n".join(cell.source for cell in fresh_copy(path).cells)
    told = TUTOR.read_text(encoding="utf-8")
    for name in names_in(path):
        solution = registry()[name].solution
        assert given_away(solution, copy) <= 0.5, name  # a lesson may show how a part is done
        assert given_away(solution, told) == 0, name


def test_a_solution_in_a_text_is_seen():
    solution = registry()["greedy_next_token"].solution + registry()["adamw_step"].solution
    assert given_away(solution, ast.unparse(ast.parse(solution))) == 1


def test_what_the_page_for_coding_tools_names_exists():
    text = (ROOT / "AGENTS.md").read_text(encoding="utf-8")
    targets = re.findall(r"^([\w.-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"`make ([\w.-]+)", text)) <= set(targets)
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (ROOT / link).is_file()
    for folder in re.findall(r"`(data/\w+|colab)/`", text):
        assert (ROOT / folder).is_dir()
    assert len(text.split()) < 300  # it refers to docs/contributing.md
