"""`make key`: the answer key, made from the registry: task, solution, wrong answers, minutes.

python -m course_utils key            all lessons, to build/key.html
python -m course_utils key 01 03      two of them

It is for teachers: learners' copies and, without `book --key`, the book contain none of it.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import textwrap
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from markupsafe import Markup

from course_utils.checks.exercises import Exercise, exercises_of, find_fault
from course_utils.checks.lesson_texts import ExerciseText, exercise_texts, titles
from course_utils.commands.lesson_page import mathml
from course_utils.home import write_page
from course_utils.notebook_files import lesson_key, lessons
from course_utils.ownership import BUILD, OTHER_FILE, OVERWRITE_HELP, own_page
from course_utils.templates import templates
from course_utils.terminal import Parser, plain_line

KEY = BUILD / "key.html"
LONGEST_ANSWER = 25  # longest wrong answer shown


def key(numbers: Sequence[str]) -> list[dict]:
    """A dictionary per lesson with exercises: "number", "title", "minutes", "entries", in notebook order.

    numbers: keys of lessons and companions.
    """
    from tqdm import tqdm

    every = [(number, name) for number in numbers for name in exercise_texts(number)]
    entries: dict[str, list[dict]] = {number: [] for number in numbers}
    for number, name in tqdm(every, unit="exercise", desc="key", dynamic_ncols=True, disable=None):
        entries[number].append(key_entry(exercises_of(number)[name], exercise_texts(number)[name]))
    return [
        {
            "number": number,
            "title": titles()[number],
            "entries": entries[number],
            "minutes": sum(one["minutes"] for one in entries[number]),
        }
        for number in numbers
        if entries[number]
    ]


def key_entry(exercise: Exercise, task: ExerciseText) -> dict:
    """The key's entry for one exercise."""
    return {
        "name": exercise.name,
        "number": task.number,
        "title": task.title,
        "minutes": exercise.minutes,
        "difficulty": exercise.difficulty,
        "text": task.text,
        "stub": task.stub,
        "solution": exercise.solution.strip(),
        "hints": list(exercise.hints),
        "then": exercise.then,
        "wrong": listed_mistakes(exercise),
    }


def listed_mistakes(exercise: Exercise) -> list[dict]:
    """{"message", "code"} of the typical wrong answers, each message once; code "" if shared or too long."""
    codes = [code_of_answer(wrong) for wrong, _ in exercise.wrong]
    times = Counter(codes)
    found: dict[str, str] = {}
    for (wrong, part), code in zip(exercise.wrong, codes, strict=True):
        fault = find_fault(exercise, wrong)
        message = fault[0] if fault else part
        telling = code if times[code] == 1 and code.count("\n") < LONGEST_ANSWER else ""
        found[message] = found.get(message) or telling
    return [{"message": message, "code": code} for message, code in found.items()]


def code_of_answer(answer: Callable) -> str:
    """The source of a function, class or lambda alone; "" if there is none or it is incomplete."""
    if getattr(getattr(answer, "__code__", None), "co_freevars", ()):
        return ""  # made by another function: its source lacks the values it closes over
    try:
        if getattr(answer, "__name__", "") != "<lambda>":
            return textwrap.dedent(inspect.getsource(answer)).strip()
        file, line = answer.__code__.co_filename, answer.__code__.co_firstlineno
        text = "".join(linecache.getlines(file))
        found = [
            node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Lambda) and node.lineno == line
        ]
    except (OSError, TypeError, SyntaxError):
        return ""
    return textwrap.dedent(ast.get_source_segment(text, found[0])) if len(found) == 1 else ""


def key_page(found: list[dict]) -> str:
    """The key as a self-contained HTML page."""
    return templates.get_template("key.html").render(
        lessons=found, markdown=markdown, count=sum(len(one["entries"]) for one in found)
    )


def markdown(text: str) -> Markup:
    """A lesson's text as HTML, formulas as MathML."""
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    class Renderer(IPythonRenderer):
        def block_math(self, body: str) -> str:
            return mathml(body, display=True)

        def inline_math(self, body: str) -> str:
            return mathml(body, display=False)

    return Markup(MarkdownWithMath(renderer=Renderer(escape=True)).render(text))


def key_in_markdown(found: list[dict]) -> str:
    """The key as a page of the book."""
    return templates.get_template("book_key.md").render(lessons=found, fence="`````")


def main(argv: Sequence[str] = ()) -> int:
    """`python -m course_utils key [LESSON...] [--out FILE]`; ValueError for an unknown lesson."""
    parser = Parser(
        "python -m course_utils key", description="Write the answer key, for teachers, as an HTML page."
    )
    parser.add_argument("lessons", nargs="*", metavar="LESSON", help="01, 1 or the file's name; default all")
    parser.add_argument("--out", type=Path, default=KEY, help="default build/key.html")
    parser.add_argument("--overwrite", action="store_true", help=OVERWRITE_HELP)
    chosen = parser.parse_args(argv)
    out = own_page(chosen.out, OTHER_FILE, chosen.overwrite)
    found = key([lesson_key(path) for path in lessons(chosen.lessons, more=True)])
    write_page(out, key_page(found), OTHER_FILE, chosen.overwrite)
    print(f"Open {plain_line(out)}")
    return 0
