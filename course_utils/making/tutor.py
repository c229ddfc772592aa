"""`python -m course_utils.making.tutor` writes TUTOR.md: how an AI tutor beside a notebook is to help.

Tutors look for a file of this name from the notebook's folder up to JupyterLab's root, as jupyter-ai-tutor
does (pypi.org/project/jupyter-ai-tutor). The rules stand in its template; the ideas of the exercises and the
names of their mistakes come from the registry.
"""

from __future__ import annotations

import re

from course_utils.checks.exercises import Exercise, exercises_of
from course_utils.checks.lesson_texts import exercise_texts, titles
from course_utils.home import ROOT, write_whole
from course_utils.templates import templates

TUTOR = ROOT / "TUTOR.md"
MISTAKES_TOLD = 4  # mistakes of an exercise


def tutor() -> str:
    """The text of TUTOR.md."""
    found = []
    for lesson, title in titles().items():
        every = exercises_of(lesson)
        exercises = [
            {"name": name, "idea": every[name].hints[0], "mistakes": named_mistakes(every[name])}
            for name in exercise_texts(lesson)
        ]
        found.append({"lesson": lesson, "title": title, "exercises": exercises})
    return templates.get_template("tutor.md").render(lessons=[one for one in found if one["exercises"]])


def named_mistakes(exercise: Exercise) -> list[str]:
    """The first words of what its check says to the first few wrong answers, without values."""
    names = (re.split(r"[.:;\n]", message)[0].strip() for _, message in exercise.wrong)
    whole = [name for name in names if len(name.split()) > 2 and name[0].isupper()]
    telling = [name for name in whole if not re.search(r"\d\d|[{=]", name)]
    return list(dict.fromkeys(telling))[:MISTAKES_TOLD]


if __name__ == "__main__":
    write_whole(TUTOR, tutor())
