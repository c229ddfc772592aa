"""Chromium for tests and benchmarks, and the playground's engine in it, outside of its page."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from course_utils.models import POCKET
from course_utils.playground.page import ENGINE, one_script, page_data

CHROMIUM = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), "")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
LOAD_MODELS = """([weights, {merges, config, kernel}]) => {
    const bytes = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
    const { tensors } = readSafetensors(bytes(weights));
    window.tokenizer = new Tokenizer(merges);
    window.models = {
        plain: loadModel(new Engine(), tensors, config),
        kernel: loadModel(new Engine(bytes(kernel)), tensors, config),
    };
}"""


def missing() -> str | None:
    """What keeps Chromium from being driven, and how to get it; None if nothing does."""
    try:
        import playwright  # noqa: F401
    except ImportError:
        return "no Playwright: pip install -e '.[test]' (make .venv does)"
    if not CHROMIUM:
        return "no Chromium found: apt-get install chromium (Debian, Ubuntu), or install Chrome"
    return None


@contextmanager
def started_browser() -> Iterator[Any]:
    """Playwright's Browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def engine_page(browser: Any) -> Any:
    """A blank page with the engine's functions, `tokenizer`, and `models.plain` and `models.kernel`."""
    page = browser.new_page()
    page.add_script_tag(content=one_script(ENGINE))
    weights = base64.b64encode((POCKET / "model.safetensors").read_bytes()).decode()
    page.evaluate(LOAD_MODELS, [weights, page_data()])
    return page
