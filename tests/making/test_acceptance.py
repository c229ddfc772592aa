"""The changes that acceptance makes fit today's text, and are undone."""

import pytest

from course_utils.home import ROOT
from course_utils.making import acceptance

CHANGES = [*acceptance.RED, *acceptance.GREEN]


def changed(folder, change):
    """The files of a change that differ from the course's."""
    files = {file for file, *_ in change.replacements}
    return {file for file in files if (folder / file).read_bytes() != (ROOT / file).read_bytes()}


def test_each_change_is_made_in_a_copy_and_taken_back(tmp_path):
    acceptance.copied(tmp_path)
    for change in CHANGES:
        acceptance.make_change(tmp_path, change)
        assert changed(tmp_path, change) == {file for file, *_ in change.replacements}
        acceptance.take_back(tmp_path, change)
        assert changed(tmp_path, change) == set()


def test_a_text_that_is_not_there_once_is_named(tmp_path):
    (tmp_path / "a.py").write_text("x = x\n", encoding="utf-8")
    for text, times in (("x", 2), ("y", 0)):
        change = acceptance.Change("a rate", [("a.py", text, "z")], [])
        with pytest.raises(ValueError, match=f"a rate: '{text}' is {times} times in a.py"):
            acceptance.make_change(tmp_path, change)
    assert (tmp_path / "a.py").read_text(encoding="utf-8") == "x = x\n"
