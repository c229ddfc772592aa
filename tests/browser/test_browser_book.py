"""The book in Chromium: pages, search, themes, links, no overflowing line, nothing from another host."""

import functools
import http.server
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from course_utils.commands import addresses, book
from course_utils.notebook_files import lessons, read_notebook

pytest.importorskip("sphinx_book_theme", reason="the book needs the extra `book` (make .venv installs it)")
ADDRESS = "https://example.org/somebody/course"
PAGES = ["index.html", "notebooks/03_lora_from_scratch.html", "claims.html"]
SIZES = {"desk": (1280, 900), "phone": (390, 844)}


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """The book as `make book` builds it, for a made-up address that Colab and Binder know."""
    out = tmp_path_factory.mktemp("book")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(addresses, "OPENED_BY_COLAB", {"example.org": "github"})
        patch.setattr(addresses, "OPENED_BY_BINDER", {"example.org": "gh"})
        book.write_sources(out / "source", ADDRESS)
        return book.build("html", out, ADDRESS)


@pytest.fixture(scope="session")
def address(folder):
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture
def page(browser, address):
    context = browser.new_context(viewport=dict(zip(("width", "height"), SIZES["desk"], strict=True)))
    page = context.new_page()
    page.asked, page.errors = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    yield page
    context.close()
    local = (address, "data:", "blob:")
    assert [url for url in page.asked if not url.startswith(local)] == [] and page.errors == []


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("size", SIZES)
def test_no_line_overflows(page, address, name, size):
    page.set_viewport_size(dict(zip(("width", "height"), SIZES[size], strict=True)))
    page.goto(address + name)
    wide = """() => [...document.querySelectorAll("html, article pre, article td, article p, article li")]
        .filter(one => one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).display != "inline")
        .map(one => one.tagName + ": " + one.textContent.trim().slice(0, 80))"""
    assert page.evaluate(wide) == []


def test_the_front_page_says_all_on_one_screen(page, address):
    page.goto(address)
    assert page.title().endswith("Fine-tuning from scratch")
    picture = page.locator(".course-front img")
    assert len(picture.get_attribute("alt")) > 40
    assert picture.evaluate("image => image.naturalWidth") > 300
    last = page.get_by_role("link", name="All claims, with what was measured").bounding_box()
    assert last["y"] + last["height"] < SIZES["desk"][1]


def test_a_lesson_has_mathematics_figures_and_neighbours(page, address):
    page.goto(address + PAGES[1])
    assert page.locator("article math").count() > 5
    assert page.locator("article .math, script[src*=mathjax]").count() == 0
    figures = page.locator("article .cell_output img")
    assert figures.count() and all(figures.nth(i).get_attribute("alt") for i in range(figures.count()))
    for link, neighbour in (
        ("right-next", "more/03_more.html"),
        ("right-next", "04_how_low_can_the_rank_go.html"),
        ("left-prev", "more/03_more.html"),
        ("left-prev", "03_lora_from_scratch.html"),
    ):
        page.locator(f"a.{link}").click()
        assert page.url.endswith(neighbour)


def test_a_claim_leads_to_its_experiment(page, address):
    page.goto(address + "claims.html")
    page.locator("article table a").last.click()
    page.wait_for_url("**/notebooks/**.html#lesson-*")
    anchor = urlsplit(page.url).fragment
    assert page.locator(f"#{anchor}").count() == 1


def test_search_finds_a_lesson(page, address):
    page.goto(address + "search.html?q=Bradley-Terry")
    first = page.locator("#search-results li a").first
    first.wait_for(timeout=60_000)
    first.click()
    page.wait_for_url("**/*.html*")
    assert "bradley" in page.locator("article").inner_text().lower()


def test_the_theme_switches_and_figures_keep_no_ground(page, address):
    page.emulate_media(color_scheme="light")
    page.goto(address + PAGES[1])
    for mode in ("dark", "light"):
        page.locator("button.theme-switch-button:visible").first.click()
        page.locator(f"button.theme-change-button[data-mode={mode}]:visible").first.click()
        assert page.evaluate("document.documentElement.dataset.theme") == mode
        ground = page.locator("article .cell_output img").first.evaluate(
            "image => getComputedStyle(image).backgroundColor"
        )
        assert ground == "rgba(0, 0, 0, 0)"


def test_launch_buttons_open_the_lesson(page, address):
    page.goto(address + PAGES[1])
    links = [link.get_attribute("href") for link in page.locator(".dropdown-launch-buttons a").all()]
    assert any(link.endswith("/colab/03_lora_from_scratch.ipynb") for link in links)
    assert any("urlpath=lab%2Ftree%2Fwork%2F03_lora_from_scratch.ipynb" in link for link in links)
    page.goto(address)
    assert page.locator(".dropdown-launch-buttons").count() == 0


class Links(HTMLParser):
    """The ids of a page, and where its links, pictures and scripts lead."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.targets = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.ids |= {values[key] for key in ("id", "name") if values.get(key)}
        self.targets |= {values[key] for key in ("href", "src") if values.get(key)}


def test_no_link_inside_is_broken_and_none_fetches_from_outside(folder):
    files = [path for path in folder.rglob("*.html") if "_static" not in path.parts]
    pages = {path: Links(path.read_text(encoding="utf-8")) for path in files}
    assert len(pages) > len(lessons())
    broken = []
    for path, links in pages.items():
        for target in links.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            there = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            there = there / "index.html" if there.is_dir() else there
            missing = not there.exists()
            if missing or (parts.fragment and there in pages and parts.fragment not in pages[there].ids):
                broken.append(f"{path.relative_to(folder)}: {target}")
    assert broken == []


def test_a_download_is_the_lesson_to_work_in(folder):
    for path in lessons():
        notebook = read_notebook(folder / "_sources" / "notebooks" / path.name)
        assert [cell.source for cell in notebook.cells] == [cell.source for cell in read_notebook(path).cells]
        assert not any(cell.get("outputs") for cell in notebook.cells)


def test_without_an_address_there_are_no_buttons():
    class App:
        class config:
            course_address = ""

    context = {"header_buttons": []}
    book._launch_buttons(App, "notebooks/03_lora_from_scratch", "", context, None)
    assert context == {"header_buttons": []}
    App.config.course_address = "https://example.org/somebody/course"
    book._launch_buttons(App, "docs/workshop", "", context, None)
    assert context == {"header_buttons": []}
    book._launch_buttons(App, "notebooks/03_lora_from_scratch", "", context, None)
    assert Path(context["header_buttons"][0]["buttons"][0]["url"]).name
