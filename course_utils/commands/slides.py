"""`python -m course_utils slides`: slides for sessions, made from the saved lessons' figures and claims.

python -m course_utils slides              all, to build/slides
python -m course_utils slides lora         one of them

docs/slides/NAME.md has a deck's text: slides separated by lines of ---, Markdown, and two kinds of lines:

    figure: 03 The frozen matrix           the figure of lesson 03 with these words in its title or caption
    claim: 03 same_as_peft                 the claim of that name in lesson 03, with its measured value

A slide that asks for a prediction (PREDICT) is shown twice, first without its figures and claims.
`claim: 12 headline` is a lesson's headline claim.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from html import unescape
from pathlib import Path

from nbformat import NotebookNode

from course_utils.checks import claims
from course_utils.checks.lesson_texts import sections
from course_utils.commands.key import markdown
from course_utils.commands.run_page import pictures_in
from course_utils.home import ROOT, write_page
from course_utils.notebook_files import lessons, read_notebook
from course_utils.ownership import BUILD, OTHER_FOLDER, OVERWRITE_HELP, own_page
from course_utils.templates import templates
from course_utils.terminal import Parser, plain_line

DECKS = ROOT / "docs" / "slides"
SLIDES = BUILD / "slides"
PREDICT = "**Predict:**"
TAKEN = re.compile(r"^(figure|claim): (\d\dm?) (.+)$")


def deck_names() -> list[str]:
    return sorted(path.stem for path in DECKS.glob("*.md"))


def slides_of(name: str) -> list[dict]:
    """{"title", "text", "figures", "claims"} of each slide; the first one's title is the deck's.

    Raises ValueError for an unknown deck, and for a figure or claim that its lesson does not have.
    """
    path = DECKS / f"{name}.md"
    if not path.is_file():
        raise ValueError(f"There are no slides {name!r} in {DECKS}. Choose from: {', '.join(deck_names())}.")
    found = []
    for number, part in enumerate(
        re.split(r"^---$", path.read_text(encoding="utf-8"), flags=re.MULTILINE), 1
    ):
        title, *lines = part.strip().splitlines()
        slide = {"title": title.lstrip("# "), "figures": [], "claims": []}
        text = []
        for line in lines:
            taken = TAKEN.match(line)
            if not taken:
                text.append(line)
                continue
            kind, lesson, words = taken.groups()
            try:
                slide[f"{kind}s"].append((figure_of if kind == "figure" else claim_of)(lesson, words))
            except ValueError as fault:
                raise ValueError(f"{path.relative_to(ROOT)}, slide {number}: {fault}") from fault
        slide["text"] = "\n".join(text).strip()
        if PREDICT in slide["text"]:
            found.append({**slide, "figures": [], "claims": []})
        found.append(slide)
    return found


@cache
def _saved_lesson(lesson: str) -> NotebookNode:
    return read_notebook(lessons([lesson])[0])


def figure_of(lesson: str, words: str) -> dict:
    """{"source", "alt", "lesson", "sections"} of the first figure with the words in title or caption."""
    titles = []
    for headings, cell in sections(_saved_lesson(lesson)):
        for output in cell.get("outputs", []):
            html = output.get("data", {}).get("text/html", "")
            caption = unescape(" ".join(re.findall(r"<figcaption>(.*?)</figcaption>", html, re.DOTALL)))
            for picture in pictures_in(html):
                if words in picture["alt"] or words in caption:
                    return {**picture, "lesson": lesson, "sections": headings}
                titles.append(picture["alt"].partition(". ")[0])
    raise ValueError(f"lesson {lesson} has no figure {words!r}. Its figures: {'; '.join(titles)}.")


def claim_of(lesson: str, name: str) -> dict:
    """The record of that claim of the lesson, with "lesson" and "sections" added."""
    notebook = _saved_lesson(lesson)
    records = claims.read(notebook)
    for record in records:
        if record["headline"] if name == "headline" else record["name"] == name:
            made = f"claim.{record['name']}("
            where = [headings for headings, cell in sections(notebook) if made in cell.source]
            return {**record, "lesson": lesson, "sections": where[0]}
    known = ", ".join(record["name"] for record in records)
    raise ValueError(f"lesson {lesson} has no claim {name!r}. Its claims: {known}.")


def slides_page(name: str) -> str:
    """A deck as a self-contained HTML page; each slide prints on its own page."""
    found = slides_of(name)
    return templates.get_template("slides.html").render(slides=found, markdown=markdown)


def main(argv: Sequence[str] = ()) -> int:
    """`python -m course_utils slides [NAME...] [--out FOLDER]`; ValueError for an unknown name."""
    parser = Parser(
        "python -m course_utils slides",
        description="Write slides for sessions, with the figures of the saved lessons, as HTML pages.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(deck_names())}; default all")
    parser.add_argument("--out", type=Path, default=SLIDES, help="folder; default build/slides")
    parser.add_argument("--overwrite", action="store_true", help=OVERWRITE_HELP)
    chosen = parser.parse_args(argv)
    names = chosen.names or deck_names()
    pages = [own_page(chosen.out / f"{name}.html", OTHER_FOLDER, chosen.overwrite) for name in names]
    for name, page in zip(names, pages, strict=True):
        write_page(page, slides_page(name), OTHER_FOLDER, chosen.overwrite)
        print(f"Open {plain_line(page)}")
    return 0
