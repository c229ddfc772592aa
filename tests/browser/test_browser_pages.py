"""The pages of a run, and two lessons in JupyterLab, tested by a browser and axe."""

import json

import pytest

from course_utils.commands.lesson_page import lesson_page
from course_utils.commands.run_page import run_page
from course_utils.notebook_files import code_cells, lessons, read_notebook, tags, write_notebook

NUMBERS = ["00", "03", "12"]
CLAIMS = [
    ("A change of rank 8 keeps the loss", "1.61 nats", "at most 1.7 nats", 0.05, True),
    ("The merged model answers as before", "99.4%", "at least 98%", 0.01, True),
    ("The transposed change is worth nothing", "41%", "at most 10%", None, False),
]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A folder with index.html and the pages of three lessons, as saved in notebooks/."""
    folder = tmp_path_factory.mktemp("run")
    rows, claims, figures = [], [], {}
    for path in lessons(NUMBERS):
        row = {"lesson": path.stem, "title": f"Lesson {path.stem}", "status": "passed", "seconds": 80.0}
        rows.append(
            {
                **row,
                "peak_bytes": 2**30,
                "error": "",
                "log": "",
                "notebook": path.name,
                "page": f"{path.stem}.html",
            }
        )
    rows[-1] |= {"status": "failed", "error": "KeyError: 'gone'", "log": "12.log"}
    for row, path in zip(rows, lessons(NUMBERS), strict=True):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        page = lesson_page(row, notebook, rows[0], rows[-1], [other["page"] for other in rows])
        (folder / row["page"]).write_text(page, encoding="utf-8")
        for text, shown, bound, margin, holds in CLAIMS:
            record = {"text": text, "shown": shown, "bound": bound, "margin": margin, "holds": holds}
            record |= {
                "lesson": path.stem,
                "cell": notebook["cells"][5]["id"],
                "binding": True,
                "stored": holds,
            }
            record["outcome"] = "holds" if holds else "DOES NOT HOLD"
            claims.append(record)
        pixel = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' width='80' height='40'/%3E"
        figures[path.stem] = {
            "cell": claims[-1]["cell"],
            "claim": claims[-1],
            "source": pixel,
            "alt": "Nothing",
        }
    results = {"model": "pocket", "scale": "quick", "seed": 0, "jobs": 2, "seconds": 900.0}
    results |= {
        "created": "2026-01-02T03:04:05",
        "versions": {"python": "3"},
        "lessons": rows,
        "claims": claims,
    }
    (folder / "index.html").write_text(run_page(results, figures), encoding="utf-8")
    return folder


@pytest.fixture
def open_page(browser, run_folder):
    """Open a page of the run, which may request only files."""
    contexts = []

    def open_it(name, width=1200, scheme="light"):
        contexts.append(browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto((run_folder / name).as_uri())
        return page

    asked = []
    yield open_it
    for context in contexts:
        context.close()
    assert all(url.startswith(("file:", "data:")) for url in asked)


def serious(page, context=None):
    """Serious or critical findings of axe: {rule: the first three places}."""
    from axe_playwright_python.sync_playwright import Axe

    violations = Axe().run(page, context=context).response["violations"]
    return {
        found["id"]: [node["html"][:200] for node in found["nodes"]][:3]
        for found in violations
        if found["impact"] in ("serious", "critical")
    }


PAGES = ["index.html", *(f"{path.stem}.html" for path in lessons(NUMBERS))]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious_on_the_pages_of_a_run(open_page, name, scheme):
    page = open_page(name, scheme=scheme)
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    assert serious(page) == {}


@pytest.mark.parametrize("name", PAGES)
def test_the_pages_of_a_run_fit_a_phone(open_page, name):
    page = open_page(name, width=360)
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_claims_are_folded_searched_and_lead_to_their_cells(open_page):
    page = open_page("index.html")
    claims = page.locator("details a", has_text="The merged model answers as before")
    search = page.get_by_label("Search the claims")
    assert [claim.is_visible() for claim in claims.all()] == [False] * 3
    search.fill("MERGED 03_")
    assert [claim.is_visible() for claim in claims.all()] == [False, True, False]
    assert not page.locator("details a", has_text="The transposed change").nth(1).is_visible()
    assert page.get_by_role("status").inner_text() == "1 claim found"
    search.fill("")
    assert [claim.is_visible() for claim in claims.all()] == [False] * 3
    page.locator("summary").nth(1).click()
    assert [claim.is_visible() for claim in claims.all()] == [False, True, False]
    claims.nth(1).click()
    page.locator(".cell:target").wait_for()
    assert "/03_" in page.url


def test_mathematics_is_drawn_by_the_browser(open_page):
    page = open_page(PAGES[1])
    fraction = page.locator("math[display=block] mfrac").first
    top, bottom = (fraction.locator(f"xpath=*[{place}]").bounding_box() for place in (1, 2))
    assert top["y"] + top["height"] <= bottom["y"] + 1
    assert "$" not in " ".join(page.locator(".text_cell").all_inner_texts())


OURS = {  # what a lesson adds to JupyterLab's panel, without JupyterLab's editor and buttons
    "include": [[".jp-Cell-outputArea"], [".jp-RenderedMarkdown"]],
    "exclude": [[".jp-collapseHeadingButton"]],
}


@pytest.mark.parametrize("path", lessons(["00", "12"]), ids=["00", "12"])
def test_axe_finds_nothing_serious_in_a_lesson(lab, open_lesson, path):
    notebook = read_notebook(path)
    parameters = next(cell for cell in code_cells(notebook) if "parameters" in tags(cell))
    parameters.source += '\nSCALE = "smoke"'
    write_notebook(notebook, lab[2] / "work" / f"smoke_{path.name}")
    lesson = open_lesson(f"smoke_{path.name[:2]}")
    lesson.run_all()
    page = lesson.page
    page.add_style_tag(content=".jp-Cell { content-visibility: visible !important }")
    assert page.locator(".jp-Cell-outputArea img").count() > 3
    for theme in ("JupyterLab Light", "JupyterLab Dark"):
        page.evaluate("theme => jupyterapp.commands.execute('apputils:change-theme', {theme})", theme)
        page.wait_for_function("theme => document.body.dataset.jpThemeName === theme", arg=theme)
        assert serious(page, OURS) == {}, theme
