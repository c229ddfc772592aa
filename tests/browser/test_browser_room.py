"""The room's page refreshes itself and keeps its place; slides and the answer key fit their pages."""

import json
import re
import threading
from datetime import UTC, datetime

import pytest

from course_utils.commands import cli, key, room, sheets, slides
from course_utils.making.room import simulate

WIDE = {"width": 1280, "height": 720}  # a projector


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("room")
    simulate(folder, datetime.now(UTC), learners=10, seed=1)
    return folder


@pytest.fixture(scope="module")
def address(folder):
    with room.serve(room.Room([folder]), "127.0.0.1", 0, False) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def open_page(browser):
    contexts = []

    def open_it(address, **options):
        contexts.append(browser.new_context(viewport=WIDE, **options))
        page = contexts[-1].new_page()
        page.faults = []
        page.on("console", lambda message: message.type == "error" and page.faults.append(message.text))
        page.goto(address)
        return page

    yield open_it
    for context in contexts:
        context.close()


def axe_faults(page):
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [(one["id"], one["nodes"][0]["html"][:120]) for one in found]


def test_the_page_refreshes_itself(open_page, address, folder):
    page = open_page(address)
    assert "10 learners, 3 stuck" in page.inner_text("h1")
    page.evaluate("document.getElementById('link-names').focus()")
    (folder / "Zoe").mkdir()
    (folder / "Zoe" / "progress.json").write_text(json.dumps({"lessons": {}}))
    page.locator("h1", has_text="11 learners").wait_for(timeout=20_000)
    assert page.evaluate("document.activeElement.id") == "link-names" and page.faults == []
    page.click("#link-names")
    page.get_by_text("Learner 10", exact=True).wait_for()
    assert "Zoe" not in page.content() and "Ada" not in page.content()


def test_a_room_that_has_ended_is_said(open_page, folder):
    with room.serve(room.Room([folder]), "127.0.0.1", 0, False) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = open_page(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    page.get_by_text("this page is old").wait_for(timeout=30_000)
    assert "Ada" in page.inner_text("main")


@pytest.mark.parametrize("place", ["/", "/projector?answers=1"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_fit_and_keep_the_rules(open_page, address, place, scheme):
    page = open_page(address + place, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert axe_faults(page) == []
    if "projector" in place:
        assert page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)") >= 24


@pytest.mark.parametrize("name", slides.deck_names())
def test_no_slide_overflows(open_page, tmp_path, name):
    file = tmp_path / "slides.html"
    file.write_text(slides.slides_page(name), encoding="utf-8")
    page = open_page(file.as_uri())
    for number in range(page.locator("section").count()):
        box = page.locator("section").nth(number)
        inside = box.evaluate(
            """one => [...one.querySelectorAll("h1, h2, .text, img, .claim")].every(part => {
                 const [a, b] = [part.getBoundingClientRect(), one.getBoundingClientRect()];
                 const across = a.left >= b.left && a.right <= b.right + 1;
                 return across && a.top >= b.top && a.bottom <= b.bottom - 24;
               })"""
        )
        assert inside, f"slide {number + 1}: {box.inner_text()[:60]}"
    page.keyboard.press("ArrowRight")
    page.wait_for_function("Math.round(scrollY / innerHeight) === 1")
    pages = re.findall(rb"/Type\s*/Page\b", page.pdf(prefer_css_page_size=True))
    assert len(pages) == page.locator("section").count()


@pytest.mark.parametrize("plan", sheets.plans())
def test_a_lesson_of_a_run_sheet_fits_a_printed_page(open_page, tmp_path, plan):
    assert cli.main(["sheets", plan, "--out", str(tmp_path)]) == 0
    page = open_page((tmp_path / f"{plan}.html").as_uri())
    assert axe_faults(page) == []
    pages = re.findall(rb"/Type\s*/Page\b", page.pdf(prefer_css_page_size=True))
    page.evaluate("document.querySelectorAll('section').forEach(one => one.remove())")
    overview = re.findall(rb"/Type\s*/Page\b", page.pdf(prefer_css_page_size=True))
    assert len(pages) - len(overview) == len(sheets.run_sheets(plan, sheets.time_of("9:00"))["sheets"])


def test_the_key_keeps_the_rules(open_page, tmp_path):
    file = tmp_path / "key.html"
    file.write_text(key.key_page(key.key(["04"])), encoding="utf-8")
    page = open_page(file.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth") and axe_faults(page) == []


def test_for_a_projector_jupyterlab_has_larger_type(open_lesson):
    page = open_lesson("00").page
    sizes = []
    for style in ("", "projector"):
        page.evaluate("style => { document.body.dataset.courseStyle = style }", style)
        sizes.append(
            [
                page.evaluate(f"parseFloat(getComputedStyle(document.querySelector('{where}')).fontSize)")
                for where in (".jp-MarkdownOutput p", ".jp-Notebook .cm-content")
            ]
        )
    assert sizes[0][0] < 16 and sizes[1] == [21, 19]
