import json
import re

from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from course_utils.commands import lesson_page as pages
from course_utils.notebook_files import lessons

LESSON = {"lesson": "01_a", "title": "A & b", "status": "passed", "seconds": 90.0, "peak_bytes": 2**20}
LESSON |= {"notebook": "01_a #1.ipynb", "page": "01_a.html"}
HTMLS = [
    '<img alt="a &quot;rising&quot; line" src="data:image/png;base64,iVBO">',
    "<table><tr><td>1</td></tr></table>",
]


def shown(*cells, others=()):
    """The cells as HTML."""
    return pages.cells_html(new_notebook(cells=list(cells)), list(others))


def test_every_formula_of_the_lessons_becomes_mathml():
    texts = [
        "".join(cell["source"])
        for path in lessons(more=True)
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
        if cell["cell_type"] == "markdown"
    ]
    html = shown(*map(new_markdown_cell, texts))
    formulas = re.findall("<math.*?</math>", html, re.DOTALL)
    assert len(formulas) > 300
    assert not [formula for formula in formulas if "\\" in formula]
    prose = re.sub("<(math|pre|code).*?</\\1>", "", html, flags=re.DOTALL)
    assert not re.findall(r"\$[^$]{1,80}\$|\\[a-z]+", prose)


def test_mathematics_of_each_spelling():
    html = shown(new_markdown_cell("Of $a < b$:\n\n$$\\frac{a}{b}$$\n\n\\begin{aligned}a &= b\\end{aligned}"))
    inline, fraction, lines = re.findall("<math.*?</math>", html, re.DOTALL)
    assert "block" not in inline and "&lt;" in inline
    assert 'display="block"' in fraction and "<mfrac><mi>a</mi><mi>b</mi></mfrac>" in fraction
    assert 'display="block"' in lines and "<mtable" in lines
    assert "<code>\\nosuch{&lt;}</code>" in shown(new_markdown_cell("$\\nosuch{<}$"))


def test_links_to_lessons_lead_to_their_pages_where_there_are_any():
    text = (
        "[one](01_a.ipynb), [two](02_b.ipynb#Part), [three](03_c.ipynb), [web](https://example.org/x.ipynb)"
    )
    html = shown(new_markdown_cell(text), others=["01_a.html", "02_b.html"])
    assert '<a href="01_a.html">one</a>' in html and '<a href="02_b.html#Part">two</a>' in html
    assert "three" in html and "03_c" not in html and 'href="https://example.org/x.ipynb"' in html


def test_figures_keep_their_alternative_text_and_wide_tables_can_be_scrolled_by_keys():
    html = shown(
        *(new_code_cell("", outputs=[new_output("display_data", {"text/html": html})]) for html in HTMLS)
    )
    assert """<img alt='a "rising" line' src="data:image/png;base64,iVBO"/>""" in html
    assert html.count("tabindex") == 1 and 'tabindex="0">\n<table>' in html


def test_hidden_code_is_folded_and_outputs_are_what_needs_no_kernel():
    hidden = new_code_cell("# a < b\nsecret = 1", metadata={"jupyter": {"source_hidden": True}})
    html = shown(hidden, new_code_cell("shown = 1"))
    folded = re.findall("<details>.*?</details>", html, re.DOTALL)
    assert len(folded) == 1 and "secret" in folded[0]
    assert "<summary>Code: a &lt; b</summary>" in folded[0]
    bare = new_code_cell("secret = 1", metadata={"jupyter": {"source_hidden": True}})
    assert "<summary>Code</summary>" in shown(bare)
    widget = {"application/vnd.jupyter.widget-view+json": {"model_id": "x"}, "text/plain": "( ) A < B"}
    drawn = new_notebook(cells=[new_code_cell("", outputs=[new_output("display_data", widget)])])
    state = {"state": {"x": {}}, "version_major": 2, "version_minor": 0}
    drawn.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": state}
    html = pages.cells_html(drawn, [])
    assert "( ) A &lt; B" in html and "model_id" not in html
    error = new_output(
        "error", ename="KeyError", evalue="'<a>'", traceback=["\x1b[31mKeyError\x1b[0m: '<a>'"]
    )
    html = shown(new_code_cell("x", outputs=[error]))
    assert "KeyError: '&lt;a&gt;'" in html and "\x1b" not in html


def test_the_page_names_its_neighbours_and_asks_nothing_of_a_network():
    notebook = new_notebook(cells=[new_markdown_cell("# A & b\n\n| a | b |\n|---|---|\n| 1 | 2 |")])
    page = pages.lesson_page(LESSON, notebook, None, {"page": "02 #.html", "title": "<i>"}, [])
    assert page.count('<a rel="next" href="02%20%23.html">&lt;i&gt; →</a>') == 2 and 'rel="prev"' not in page
    assert "<title>A &amp; b</title>" in page and 'href="01_a%20%231.ipynb"' in page and "1.5 min" in page
    assert "<table>" in page and not re.findall(r"(?:src|href)=\"?(?:https?:)?//|@import|url\(", page)
    empty = pages.lesson_page(LESSON, {}, None, None, [])
    assert "Nothing of this lesson has been saved yet" in empty and "01_a%20%231.ipynb" not in empty
