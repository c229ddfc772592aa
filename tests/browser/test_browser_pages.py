"""The pages of a run, and three lessons in JupyterLab, as a browser and axe find them."""

import json

import pytest

from course_utils.commands.lesson_page import lesson_page
from course_utils.commands.run_page import run_page
from course_utils.notebook_files import lessons

NUMBERS = ["03", "08", "12"]
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
        for text, shown, bound, room, holds in CLAIMS:
            record = {"text": text, "shown": shown, "bound": bound, "room": room, "holds": holds}
            record |= {
                "lesson": path.stem,
                "cell": notebook["cells"][5]["id"],
                "binding": True,
                "stored": holds,
            }
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
    """Opens a page of the run; asks for nothing but files may follow."""
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
    """What axe finds serious or critical: the rule and the first place of each."""
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
    claim = page.get_by_role("link", name="The merged model answers as before")
    assert not claim.first.is_visible()
    page.get_by_label("Search the claims").fill("MERGED 08_")
    assert [one.is_visible() for one in claim.all()] == [False, True, False]
    assert not page.get_by_text("The transposed change").nth(1).is_visible()
    assert page.get_by_role("status").inner_text() == "1 claims found"
    claim.nth(1).click()
    assert page.locator(".cell:target").is_visible() and "08_" in page.url
    page.go_back()
    page.get_by_label("Search the claims").fill("")
    assert not claim.first.is_visible() and page.locator("details").first.is_visible()


def test_mathematics_is_drawn_by_the_browser(open_page):
    page = open_page(PAGES[1])
    fraction = page.locator("math[display=block] mfrac").first
    top, bottom = (fraction.locator(f"xpath=*[{place}]").bounding_box() for place in (1, 2))
    assert top["y"] + top["height"] <= bottom["y"] + 1
    assert "$" not in page.locator(".text_cell").all_inner_texts().__str__()


JUPYTERS = {}


@pytest.mark.parametrize("number", NUMBERS)
def test_axe_finds_nothing_serious_in_a_lesson(open_lesson, number):
    notebook = open_lesson(number)
    assert serious(notebook.page, ".jp-Notebook") == {}
