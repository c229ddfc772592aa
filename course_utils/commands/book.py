"""`make book`: lessons, guides and a page of all claims as a book of HTML pages, as EPUB and as PDF.

python -m course_utils book                 HTML, to build/book/html
python -m course_utils book --epub --pdf    also course.epub and course.pdf
python -m course_utils book --key           with the answer key, for teachers

The lessons are shown as saved; nothing is executed or fetched. The HTML has the playground beside its pages.
A Sphinx warning stops the build.
"""

from __future__ import annotations

import base64
import itertools
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from html.parser import HTMLParser
from importlib.metadata import version
from pathlib import Path
from urllib.parse import unquote

from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from course_utils.checks import claims
from course_utils.commands import addresses
from course_utils.commands.key import key as answer_key
from course_utils.commands.key import key_in_markdown
from course_utils.commands.lab import fresh_copy
from course_utils.commands.lesson_page import mathml
from course_utils.commands.playground import page_of_the_book
from course_utils.commands.run_page import headline_figure
from course_utils.home import ROOT, naming, pip_install, write_whole, written_aside
from course_utils.notebook_files import (
    MORE,
    code_cells,
    handle,
    is_companion,
    is_folded,
    lesson_key,
    lesson_of,
    lessons,
    place_in,
    read_notebook,
    tags,
    write_notebook,
)
from course_utils.ownership import (
    BUILD,
    MARK_FILE,
    alone_in,
    emptied,
    is_marked,
    made_names,
    mark,
    mark_content,
    new_folder,
    own_folder,
    remove,
    standing,
    without_strangers,
)
from course_utils.templates import templates
from course_utils.terminal import Parser, plain_line

OUT = BUILD / "book"
FOLDERS = ("source", "doctrees", "jupyter_execute", "html", "epub", "singlehtml")  # beside course.pdf
PDF = "course.pdf"
NEW = "new"  # the parts of a book until all are made
OTHER_BOOK = "Name a new folder: --out FOLDER"
HERE = Path(__file__).parent  # folder of the style sheets
# in this order, the first on the second page, before the lessons; other guides follow
GUIDES = (
    "symptoms holds made places workshop plans scripts seats contributing drawing security faults".split()
)
FRONT = "00"  # lesson whose headline figure is on the front page
PUNCTUATION = re.compile(r"([\\`*_{}\[\]()#+\-.!|$~^:])")  # of Markdown; the templates escape HTML's
LINK_TO_HEADING = re.compile(r"(\]\((?:[^)\s#:]+\.ipynb)?#)([^)\s]+)")
MARKDOWN_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)")


def write_sources(folder: Path, address: str, key: str = "") -> None:
    """Write the book's sources: guides and lessons at their places in the checkout, and new pages.

    key: the answer key as a page, for a teacher's book.
    """
    emptied(folder, "book")
    (folder / "notebooks" / MORE).mkdir(parents=True)
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns("*.md"))
    notebooks = {path: read_notebook(path) for path in lessons(more=True)}
    pages = {path.relative_to(ROOT).as_posix(): path for path in [ROOT / "README.md", *guides()]}
    kept = {*pages, *(path.relative_to(ROOT).as_posix() for path in notebooks)}
    for name, path in pages.items():
        text = with_links_outside(path.read_text(encoding="utf-8"), name, kept, address)
        text = with_heading_names(text)
        if name == "README.md":
            text = text.replace(text.splitlines()[0], "# Getting started", 1)
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    companions = {lesson_of(lesson_key(path)): path for path in notebooks if is_companion(lesson_key(path))}
    for path, notebook in notebooks.items():
        made = as_chapter(notebook, path, companions.get(lesson_key(path)))
        write_notebook(made, place_in(folder / "notebooks", path))
    chapters = {path: chapter(path, notebook) for path, notebook in notebooks.items()}
    values = {
        "chapters": list(chapters.values()),
        "lessons": [one for path, one in chapters.items() if not is_companion(lesson_key(path))],
        "guides": [path.stem for path in guides()],
        "picture": front_picture(notebooks, folder),
        "answers": readme_table("| asked |"),
        "routes": readme_table("| you want to |"),
        "key": bool(key),
    }
    if key:
        (folder / "key.md").write_text(key, encoding="utf-8", newline="\n")
    for page in ("index", "claims"):
        text = templates.get_template(f"book_{page}.md").render(values)
        (folder / f"{page}.md").write_text(text, encoding="utf-8", newline="\n")


def readme_table(begins: str) -> str:
    """The README's table whose first line begins so; "" if there is none."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    rest = itertools.dropwhile(lambda line: not line.startswith(begins), lines)
    return "\n".join(itertools.takewhile(lambda line: line.startswith("|"), rest))


def guides() -> list[Path]:
    found = {path.stem: path for path in sorted((ROOT / "docs").glob("*.md"))}
    return [found.pop(name) for name in GUIDES if name in found] + list(found.values())


def with_links_outside(text: str, name: str, kept: set[str], address: str) -> str:
    """Point links to checkout files outside the book at the repository, or make them plain text."""

    def one(match: re.Match) -> str:
        target = match[2].partition("#")[0]
        if not target or re.match(r"\w+:", target):
            return match[0]
        path = (ROOT / name).parent.joinpath(target).resolve().relative_to(ROOT).as_posix()
        if path in kept or path.startswith("docs/images/"):
            return match[0]
        return f"[{match[1]}]({addresses.file_link(address, path)})" if address else match[1]

    return MARKDOWN_LINK.sub(one, text)


def with_heading_names(text: str) -> str:
    """Links to headings by the names that the book gives them, in place of JupyterLab's."""
    return LINK_TO_HEADING.sub(lambda link: link[1] + heading_name(link[2]), text)


def anchor(lesson: Path, cell: NotebookNode) -> str:
    return f"lesson-{lesson_key(lesson)}-{cell['id']}"


def as_chapter(notebook: NotebookNode, path: Path, companion: Path | None = None) -> NotebookNode:
    """The saved lesson with folded cells folded, and an anchor before each cell that makes a claim.

    companion: the notebook listed below this one in the contents.
    """
    cells = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = with_heading_names(cell.source)
        if cell.cell_type == "code":
            if claims.read({"cells": [cell]}):
                cells.append(new_markdown_cell(f"({anchor(path, cell)})=", id=f"anchor-{cell['id']}"))
            if is_folded(cell):
                cell.metadata["tags"] = [*tags(cell), "hide-input"]
                prompt = f"Code: {handle(cell)}" if handle(cell) else "Code"
                cell.metadata["mystnb"] = dict.fromkeys(["code_prompt_show", "code_prompt_hide"], prompt)
            cell.outputs = [output for output in cell.outputs if _is_seen(output)]
            for data in (output.get("data", {}) for output in cell.outputs):
                if "text/html" in data:
                    data["text/html"] = as_xhtml(data["text/html"])
        cells.append(cell)
    if companion:
        contents = f"```{{toctree}}\n:hidden:\n\n{MORE}/{companion.stem}\n```"
        cells.append(new_markdown_cell(contents, id="companion"))
    notebook.cells = cells
    return notebook


def heading_name(fragment: str) -> str:
    """The fragment of a link to a heading as Sphinx names it, from JupyterLab's form."""
    return re.sub(r"[^\w-]", "", unquote(fragment).lower())


def _is_seen(output: NotebookNode) -> bool:
    """Whether the output is more than the repr of a figure object."""
    return not output.get("data", {}).get("text/plain", "").startswith("<matplotlib.")


VOID = set("area base br col embed hr img input link meta source track wbr".split())
RAW = ("style", "script")


class _Xhtml(HTMLParser):
    """Rewrites HTML as XML, as EPUB requires: every element closed, no named entities."""

    def __init__(self):
        super().__init__()
        self.parts: list[str] = []
        self.raw = False

    def handle_starttag(self, tag: str, attrs: list) -> None:
        written = "".join(f' {name}="{escape(value or "")}"' for name, value in attrs)
        self.parts.append(f"<{tag}{written}{' /' if tag in VOID else ''}>")
        self.raw = tag in RAW

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        self.raw = False
        if tag not in VOID:
            self.parts.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self.parts.append(data if self.raw else escape(data, quote=False))


def as_xhtml(html: str) -> str:
    parser = _Xhtml()
    parser.feed(html)
    parser.close()
    return "".join(parser.parts)


def chapter(path: Path, notebook: NotebookNode) -> dict:
    """A lesson's name, title and claims, for the book's pages."""
    rows = []
    for cell in code_cells(notebook):
        for record in claims.read({"cells": [cell]}):
            values = {key: escaped(str(record[key])) for key in ("text", "shown", "bound", "outcome")}
            rows.append({**record, **values, "anchor": anchor(path, cell)})
    title = notebook.cells[0].source.splitlines()[0].removeprefix("# ")
    return {"name": path.stem, "title": title, "claims": rows}


def escaped(text: str) -> str:
    """The text escaped for Markdown; a minus before a number is a true minus without a line break."""
    text = re.sub(r"(?<![\w])-(?=[\d.])|(?<=\de)-(?=\d)", "\N{MINUS SIGN}", " ".join(text.split()))
    return PUNCTUATION.sub(r"\\\1", text)


def front_picture(notebooks: dict[Path, NotebookNode], folder: Path) -> dict | None:
    """The front page's picture: the figure of a lesson's headline claim, written beside the page."""
    path = next((path for path in notebooks if lesson_key(path) == FRONT), next(iter(notebooks)))
    found = headline_figure(notebooks[path])
    if found is None:
        return None
    kind, data = re.match(r"data:image/(\w+);base64,(.*)", found["source"], re.S).groups()
    (folder / f"front.{kind}").write_bytes(base64.b64decode(data))
    claim = {"text": escaped(found["claim"]["text"].rstrip(".")), "shown": escaped(found["claim"]["shown"])}
    place = {"file": f"front.{kind}", "lesson": path.stem, "number": lesson_key(path)}
    return {**place, "alt": escaped(found["alt"]), "claim": claim}


# ------------------------------------------------------------------------------------------------- Sphinx


THEME = {
    "html_theme": "sphinx_book_theme",
    "html_theme_options": {
        "home_page_in_toc": True,
        "show_navbar_depth": 1,
        "use_download_button": True,
        "pygments_light_style": "default",
        "pygments_dark_style": "github-dark",
        "search_as_you_type": True,
    },
}
PRINTED = {"html_theme": "basic", "html_theme_options": {"nosidebar": True}, "pygments_style": "default"}


def settings(address: str, builder: str) -> dict:
    """Sphinx's configuration: nothing is executed, and nothing is loaded from another host."""
    theme = PRINTED if builder == "singlehtml" else THEME
    return theme | {
        "project": "Fine-tuning language models from scratch",
        "html_title": "Fine-tuning from scratch",
        "author": "",
        "version": version("finetuning-course"),
        "release": version("finetuning-course"),
        "copyright": "Apache licence 2.0",
        "extensions": ["myst_nb", "course_utils.commands.book"],
        "html_math_renderer": "course_mathml",
        "html_static_path": [],
        "html_copy_source": True,
        "html_show_sphinx": False,
        "html_use_index": False,
        "nb_execution_mode": "off",
        "nb_ipywidgets_js": {},
        "nb_code_prompt_show": "Code",
        "nb_code_prompt_hide": "Code",
        "nb_merge_streams": True,
        "nb_mime_priority_overrides": [
            (builder, mime, place)
            for builder in ("html", "singlehtml", "epub")
            for place, mime in ((1, "text/html"), (2, "image/png"), (3, "text/plain"))
        ],
        "myst_enable_extensions": ["dollarmath", "amsmath"],
        "myst_heading_anchors": 3,
        "suppress_warnings": ["myst.header"],  # lessons may go from a title to a third level
        "epub_show_urls": "no",
        "epub_basename": "course",
        "epub_author": "The authors of the course",
        "epub_publisher": "The authors of the course",
        "epub_copyright": "Apache licence 2.0",
        "epub_identifier": address or "finetuning-course",
        "epub_tocdepth": 2,
        "course_address": address,
    }


def setup(app) -> dict:
    """Makes this module a Sphinx extension: MathML, launch buttons, the book's style."""
    app.add_config_value("course_address", "", "html")
    app.add_html_math_renderer("course_mathml", (_inline_math, None), (_block_math, None))
    app.connect("html-page-context", _launch_buttons, priority=600)
    app.connect("builder-inited", _add_style)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _inline_math(writer, node) -> None:
    from docutils.nodes import SkipNode

    writer.body.append(as_xhtml(mathml(node.astext(), display=False)))
    raise SkipNode


def _block_math(writer, node) -> None:
    from docutils.nodes import SkipNode

    writer.body.append(f'<div class="course-formula">{as_xhtml(mathml(node.astext(), display=True))}</div>\n')
    raise SkipNode


def _add_style(app) -> None:
    if app.builder.format == "html":
        static = Path(app.outdir) / "_static"
        static.mkdir(parents=True, exist_ok=True)
        style = "book_print.css" if app.builder.name == "singlehtml" else "book.css"
        shutil.copy(HERE / style, static)
        app.add_css_file(style)


def _launch_buttons(app, pagename, templatename, context, doctree) -> None:
    """Add buttons to open a lesson's page in Colab and on Binder, if the course has an address."""
    address, name = app.config.course_address, Path(pagename)
    if not address or name.parts[0] != "notebooks" or "header_buttons" not in context:
        return
    lesson = name.with_suffix(".ipynb")
    links = {"Colab": addresses.colab_link(address, lesson), "Binder": addresses.binder_link(address, lesson)}
    buttons = [
        {"type": "link", "text": text, "url": url, "tooltip": f"Open this lesson on {text}", "icon": ""}
        for text, url in links.items()
        if url
    ]
    group = {"type": "group", "buttons": buttons, "icon": "fas fa-rocket", "tooltip": "Launch"}
    context["header_buttons"].insert(0, {**group, "label": "launch-buttons"})


def build(builder: str, out: Path = OUT, address: str | None = None) -> Path:
    """Build one form of the book and return its folder. SystemExit if Sphinx warns."""
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace

    address = addresses.repository() if address is None else address
    source, target = out / "source", out / builder
    emptied(target, "book")
    with docutils_namespace():
        app = Sphinx(
            srcdir=source,
            confdir=None,
            outdir=target,
            doctreedir=out / "doctrees",
            buildername=builder,
            confoverrides=settings(address, builder),
            status=None,
            warning=sys.stderr,
            exception_on_warning=False,
        )
        app.build(force_all=True)
    if app._warncount:
        raise SystemExit(f"The book was built with {app._warncount} warnings (above).")
    if builder == "html":  # the download button gives the lesson to work in
        for lesson in lessons(more=True):
            write_notebook(fresh_copy(lesson), place_in(target / "_sources" / "notebooks", lesson))
        write_whole(target / "playground.html", page_of_the_book())
    mark_parts(out)
    return target


def mark_parts(out: Path) -> None:
    """Mark the book's parts with their content, so that files added later are recognised."""
    for part in (out / name for name in FOLDERS):
        mark_content(part, "book")


def take_folder(folder: Path) -> Path:
    """The book's folder, marked. FileExistsError for anything in its parts that is not the course's."""

    def own(place: Path) -> Path:
        return own_folder(place, "book", OTHER_BOOK, lambda place: BUILD in place.parents)

    out = own(folder)
    with naming(out, OTHER_BOOK):
        for part in [without_strangers(own(out / name), OTHER_BOOK) for name in FOLDERS]:
            if made_names(part) == [MARK_FILE] and len(list(part.iterdir())) > 1:
                raise FileExistsError(
                    f"{plain_line(part)} is of a book that was stopped, and may hold files of yours. Delete "
                    f"it, or: {OTHER_BOOK}."
                )
        mark(out, "book", {*made_names(out)} & {PDF})
    return out


@contextmanager
def new_book(folder: Path) -> Iterator[Path]:
    """A folder inside `folder` for a book's parts, which replace those in `folder` if the block succeeds."""
    out = take_folder(folder)
    with alone_in(out, OTHER_BOOK):
        yield from _exchanged(out)


def _exchanged(out: Path) -> Iterator[Path]:
    """As new_book, in a folder of a book that is locked."""
    if standing(out / NEW):  # whole, but not yet at its place when the process was killed
        remove(without_strangers(out / NEW, OTHER_BOOK), "book")
    with naming(out, OTHER_BOOK), new_folder(out / NEW, "book") as made:
        for name in FOLDERS:
            mark(made / name, "book")
        yield made
        mark_parts(made)
        mark_content(made, "book")
    for name in FOLDERS:
        if standing(out / name):
            without_strangers(out / name, OTHER_BOOK)
            if not is_marked(out / name):  # of an earlier edition
                mark_content(out / name, "book")
            remove(out / name, "book")
        (out / NEW / name).rename(out / name)
    remove(out / NEW, "book")


def check_pdf(out: Path) -> None:
    """FileExistsError if the book's folder has a PDF that the course did not make."""
    if standing(out / PDF) and PDF not in made_names(out) and BUILD not in out.parents:
        raise FileExistsError(f"{plain_line(out / PDF)} is not the course's. Move it away.")


def write_pdf(page: Path, target: Path) -> None:
    """Print the single-page book to PDF with Chromium."""
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        raise SystemExit("The PDF needs Chromium: apt-get install chromium (Debian, Ubuntu).")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        sheet = browser.new_page(color_scheme="light")
        sheet.goto(page.as_uri(), wait_until="load", timeout=300_000)
        with written_aside(target) as part:
            sheet.pdf(path=part, prefer_css_page_size=True, outline=True, tagged=True, print_background=True)
        browser.close()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = Parser("python -m course_utils book", description="Make a book of the lessons.")
    parser.add_argument("--epub", action="store_true", help="course.epub as well")
    parser.add_argument("--pdf", action="store_true", help="course.pdf as well; needs Chromium")
    parser.add_argument("--key", action="store_true", help="with the answer key: a book for teachers")
    parser.add_argument("--out", type=Path, default=OUT, help="folder; default build/book")
    chosen = parser.parse_args(arguments)
    try:
        import myst_nb  # noqa: F401
        import sphinx_book_theme  # noqa: F401
    except ImportError as fault:
        raise SystemExit(f"The book needs {fault.name}: {pip_install('book')}") from fault
    keys = [lesson_key(path) for path in lessons(more=True)]
    forms = ["html", *(["epub"] if chosen.epub else []), *(["singlehtml"] if chosen.pdf else [])]
    with new_book(chosen.out) as made:
        out = made.parent
        if chosen.pdf:
            check_pdf(out)
        key = key_in_markdown(answer_key(keys)) if chosen.key else ""
        write_sources(made / "source", addresses.repository(), key)
        for builder in forms:
            build(builder, made)
    print(f"Open {plain_line(out / 'html' / 'index.html')}")
    if chosen.epub:
        print(f"Open {plain_line(out / 'epub' / 'course.epub')}")
    if chosen.pdf:
        page = out / "singlehtml" / "index.html"
        check_pdf(out)
        mark(out, "book", [PDF])
        write_pdf(page, out / PDF)
        print(f"Open {plain_line(out / PDF)}")


if __name__ == "__main__":
    main()
