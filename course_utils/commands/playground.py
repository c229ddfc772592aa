"""`make playground`: one page in which anybody fine-tunes the pocket model in a browser, offline.

python -m course_utils playground              to build/playground.html

Its links lead to the book beside it, or to the course's repository; without either the lessons are named.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from course_utils.commands import addresses
from course_utils.home import write_page
from course_utils.notebook_files import lessons
from course_utils.ownership import BUILD, OTHER_FILE, OVERWRITE_HELP, own_page
from course_utils.playground.page import playground_page
from course_utils.terminal import Parser, plain_line

PLAYGROUND = BUILD / "playground.html"


def in_the_book(lesson: str) -> str:
    """A lesson's page of the book, from the book's folder."""
    return f"notebooks/{_name(lesson)}.html"


def _name(lesson: str) -> str:
    return lessons([lesson])[0].stem


def page_of_the_book() -> str:
    """The playground as it stands beside the book's pages."""
    return playground_page(in_the_book)


def main(argv: Sequence[str] = ()) -> int:
    """`python -m course_utils playground [--out FILE]`."""
    parser = Parser("python -m course_utils playground", description="Write the playground, one HTML page.")
    parser.add_argument("--out", type=Path, default=PLAYGROUND, help="default build/playground.html")
    parser.add_argument("--overwrite", action="store_true", help=OVERWRITE_HELP)
    chosen = parser.parse_args(argv)
    out = own_page(chosen.out, OTHER_FILE, chosen.overwrite)
    book = "book/html"
    address = addresses.repository()
    if (out.parent / book / in_the_book("00")).exists():
        page = playground_page(lambda lesson: f"{book}/{in_the_book(lesson)}")
    elif address:
        page = playground_page(
            lambda lesson: addresses.file_link(address, f"notebooks/{_name(lesson)}.ipynb")
        )
    else:
        page = playground_page()
    write_page(out, page, OTHER_FILE, chosen.overwrite)
    print(f"Open {plain_line(out)}")
    return 0
