"""Badges and launch buttons: none without an address, and the right places with one (made up)."""

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from course_utils.commands import addresses
from course_utils.home import ROOT

ADDRESS = "https://example.org/somebody/course"
LESSON = Path("notebooks/03_lora_from_scratch.ipynb")


@pytest.fixture
def known_host(monkeypatch):
    """As if Colab and Binder knew the made-up host."""
    monkeypatch.setattr(addresses, "OPENED_BY_COLAB", {"example.org": "github"})
    monkeypatch.setattr(addresses, "OPENED_BY_BINDER", {"example.org": "gh"})


def project(folder, lines=""):
    (folder / "pyproject.toml").write_text(f'[project]\nname = "course"\n{lines}', encoding="utf-8")
    return folder


def test_the_address_is_the_one_entry(tmp_path):
    assert addresses.repository(project(tmp_path)) == ""
    for written in (ADDRESS, f"{ADDRESS}/", f"{ADDRESS}.git"):
        lines = f'[project.urls]\nRepository = "{written}"\n'
        assert addresses.repository(project(tmp_path, lines)) == ADDRESS
    with pytest.raises(ValueError, match="not the address of a repository"):
        addresses.repository(project(tmp_path, '[project.urls]\nRepository = "somebody/course"\n'))


def test_colab_opens_the_copy_and_binder_the_cleared_lesson(known_host):
    link = addresses.colab_link(ADDRESS, LESSON)
    assert link.endswith("/github/somebody/course/blob/main/colab/03_lora_from_scratch.ipynb")
    parts = urlsplit(addresses.binder_link(ADDRESS, LESSON))
    assert parts.path == "/v2/gh/somebody/course/main"
    assert parse_qs(parts.query) == {"urlpath": ["lab/tree/work/03_lora_from_scratch.ipynb"]}


def test_a_host_that_colab_does_not_open_has_no_button_there():
    assert addresses.colab_link(ADDRESS, LESSON) == ""
    link = addresses.binder_link(ADDRESS, LESSON)
    assert "/v2/git/https%3A%2F%2Fexample.org%2Fsomebody%2Fcourse/main?" in link


def test_a_hub_fetches_the_checkout():
    parts = urlsplit(addresses.pull_link(ADDRESS, "https://hub.example.org/"))
    assert parts.netloc == "hub.example.org" and parts.path == "/hub/user-redirect/git-pull"
    expected = {"repo": [ADDRESS], "branch": ["main"], "urlpath": ["lab/tree/course/notebooks"]}
    assert parse_qs(parts.query) == expected


def test_badges_are_links_in_words_or_a_line_that_says_why_there_are_none(known_host, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(
        "# A\n\n<!-- badges, by make copies -->\nold\n<!-- end of badges -->\n\nrest\n", "utf-8"
    )
    addresses.write_badges("", readme)
    assert addresses.NO_ADDRESS in readme.read_text("utf-8") and "old" not in readme.read_text("utf-8")
    addresses.write_badges(ADDRESS, readme)
    text = readme.read_text("utf-8")
    assert "[Open in Colab](" in text and "[Open on Binder](" in text and text.endswith("-->\n\nrest\n")
    assert addresses.NO_ADDRESS not in text and "<img" not in text


def test_line_ends_stay_as_they_are(known_host, tmp_path):
    readme = tmp_path / "README.md"
    lines = b"# A\r\n<!-- badges, by make copies -->\r\nold\r\n<!-- end of badges -->\r\nrest\r\nmixed\n"
    readme.write_bytes(lines)
    addresses.write_badges(ADDRESS, readme)
    written = addresses.badges(ADDRESS).rstrip("\n").encode()
    assert "Colab" in written.decode() and readme.read_bytes() == lines.replace(b"old", written)


def test_a_readme_in_another_encoding_is_named(tmp_path):
    (tmp_path / "README.md").write_bytes("café".encode("latin-1"))
    with pytest.raises(ValueError, match=r"README\.md is not UTF-8 \(.* at byte 3\)\. Save it as UTF-8"):
        addresses.write_badges("", tmp_path / "README.md")


def test_marks_that_stand_twice_and_a_damaged_project_file_are_named(tmp_path):
    twice = 2 * "<!-- badges, by make copies -->\nmine\n<!-- end of badges -->\n"
    (tmp_path / "README.md").write_text(twice, encoding="utf-8")
    with pytest.raises(ValueError, match="marks of the badges more than once"):
        addresses.write_badges("", tmp_path / "README.md")
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == twice
    (tmp_path / "pyproject.toml").write_text("not [ toml", encoding="utf-8")
    with pytest.raises(ValueError, match=r"pyproject.toml cannot be read"):
        addresses.repository(tmp_path)


def test_the_readme_has_the_badges_of_today():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert addresses.BADGES.search(text)[0] == "\n" + addresses.badges(addresses.repository()), "make copies"
