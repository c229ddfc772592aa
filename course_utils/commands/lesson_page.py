"""An executed lesson as an HTML page, by nbconvert; mathematics as MathML, nothing fetched."""

from __future__ import annotations

import json
import re
from html import escape

from jinja2 import PackageLoader
from markupsafe import Markup
from math_core import LatexError, LatexToMathML
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import reads
from pygments.formatters import HtmlFormatter
from traitlets.config import Config

from course_utils.notebook_files import handle
from course_utils.templates import templates

DISPLAY_PRIORITY = [
    "text/html",
    "image/svg+xml",
    "image/png",
    "text/markdown",
    "text/plain",
]  # the first that exists
GROUP = 'role="group" aria-label="{}" tabindex="0"'  # for wide content that scrolls sideways
CODE_STYLES = {"code_style": "default", "dark_code_style": "github-dark"}  # of Pygments


class _Renderer(IPythonRenderer):
    """Renders Markdown with mathematics as MathML; links to other lessons lead to their pages."""

    def __init__(self, pages: list[str]):
        super().__init__(escape=False)
        self.pages = pages

    def block_math(self, body: str) -> str:
        return mathml(body, display=True)

    def inline_math(self, body: str) -> str:
        return mathml(body, display=False)

    def latex_environment(self, name: str, body: str) -> str:
        return mathml(rf"\begin{{{name}}}{body}\end{{{name}}}", display=True)

    def link(self, text: str, url: str, title: str | None = None) -> str:
        lesson = re.fullmatch(r"(?:(?:\.\.|more)/)?([^/#]+)\.ipynb(#.*)?", url)
        if lesson is None:
            return super().link(text, url, title)
        page = f"{lesson[1]}.html"
        return super().link(text, page + (lesson[2] or ""), title) if page in self.pages else text

    def table(self, text: str) -> str:
        return f'<div class="wide" {GROUP.format("Table")}><table>{text}</table></div>\n'


def mathml(latex: str, display: bool) -> str:
    """LaTeX as MathML; formulas the converter does not support are shown as LaTeX."""
    try:
        formula = LatexToMathML().convert_with_local_state(latex.strip(), displaystyle=display)
    except LatexError:
        return f"<code>{escape(latex)}</code>"
    return f'<span class="wide formula" {GROUP.format("Formula")}>{formula}</span>' if display else formula


def cells_html(notebook: dict, pages: list[str]) -> str:
    """The cells and outputs of a notebook as HTML; cells have the anchors that index.html links to.

    pages: the file names that links to other lessons may use.
    """
    exporter = HTMLExporter(
        config=Config({"NbConvertBase": {"display_data_priority": DISPLAY_PRIORITY}}),
        template_name="basic",
        template_file="cells.html",
        extra_loaders=[PackageLoader("course_utils")],
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    markdown = MarkdownWithMath(renderer=_Renderer(pages))
    exporter.register_filter("markdown2html", markdown.render)
    exporter.register_filter("handle", handle)
    return exporter.from_notebook_node(reads(json.dumps(notebook), as_version=4))[0]


def lesson_page(lesson: dict, notebook: dict, previous: dict | None, following: dict | None, pages) -> str:
    """The page of one lesson of a run; lesson, previous and following as in results.json.

    notebook: as executed, {} if nothing is saved yet.
    """
    return templates.get_template("lesson.html").render(
        lesson=lesson,
        body=Markup(cells_html(notebook, pages)) if notebook else "",
        previous=previous,
        following=following,
        **{
            name: Markup(HtmlFormatter(style=style).get_style_defs(".highlight"))
            for name, style in CODE_STYLES.items()
        },
    )
