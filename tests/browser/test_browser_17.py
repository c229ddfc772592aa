"""The sheet for blind rating in a browser: by keys and by buttons, kept when reopened, saved."""

import json

import pytest

from course_utils.own.rating import KEY_FILE, SHEET_FILE, Sheet, read_ratings, write_sheet


@pytest.fixture
def folder(tmp_path):
    pairs = [{"asked": f"<i>Q{n}</i>", "left": f"l {n}", "right": f"r {n}"} for n in range(4)]
    write_sheet(tmp_path, Sheet(pairs, ["left", "right", "left", "right"]), "Sheet")
    return tmp_path


def test_ratings_by_keys_and_buttons_are_kept_and_saved(browser, folder):
    context = browser.new_context(accept_downloads=True)
    page = context.new_page()
    page.goto((folder / SHEET_FILE).as_uri())
    assert page.inner_text("#asked") == "<i>Q0</i>" and "Pair 1 of 4; 0 rated" in page.inner_text("#where")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Backspace")
    assert page.get_attribute("[data-rating=right]", "aria-pressed") == "true"
    page.keyboard.press("1")
    page.click("[data-rating=right]")
    page.keyboard.press("0")
    page.close()
    page = context.new_page()
    page.goto((folder / SHEET_FILE).as_uri())
    assert "Pair 4 of 4; 3 rated" in page.inner_text("#where")
    page.keyboard.press("s")
    assert "python -m course_utils rated" in page.inner_text("#where")
    with page.expect_download() as download:
        page.click("#save")
    given = folder / "ratings.json"
    download.value.save_as(given)
    assert json.loads(given.read_text())["ratings"] == ["left", "right", "same", "same"]
    assert json.loads((folder / KEY_FILE).read_text())["sheet"] == json.loads(given.read_text())["sheet"]
    outcome = read_ratings(folder, given)
    assert (outcome.tuned, outcome.other, outcome.same, outcome.open) == (2, 0, 2, 0)
    page.click("#back")
    page.click("#forward")
    assert "Pair 4 of 4; 4 rated" in page.inner_text("#where")
    page.on("dialog", lambda dialog: dialog.accept())
    page.click("#again")
    assert "Pair 1 of 4; 0 rated" in page.inner_text("#where")
    page.keyboard.press("Shift+S")
    assert "Pair 2 of 4; 1 rated" in page.inner_text("#where")
    context.close()
