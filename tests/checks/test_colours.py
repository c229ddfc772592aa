"""Green: passed; orange: not yet; blue: help. Texts and pages agree."""

import colorsys
import re

import pytest

from course_utils.checks.buttons import BUTTONS_STYLE
from course_utils.checks.show import BOX_COLOURS
from course_utils.commands.lab import JUPYTER
from course_utils.home import ROOT

HUES = {"orange": (15, 45), "green": (130, 180), "blue": (190, 230)}  # degrees


def hue_of(colour):
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    hue = 360 * colorsys.rgb_to_hls(*channels)[0]
    return next((name for name, (low, high) in HUES.items() if low <= hue <= high), f"{hue:.0f} degrees")


def colours_in(path, pattern):
    return re.findall(rf"{pattern}[^;}}]*?(#[0-9a-fA-F]{{6}})", path.read_text(encoding="utf-8"))


def test_a_verdict_has_its_colour_and_help_another():
    named = {kind: hue_of(BOX_COLOURS[kind]) for kind in ("good", "bad", "hint")}
    assert named == {"good": "green", "bad": "orange", "hint": "blue"}
    assert BOX_COLOURS["hint"] in BUTTONS_STYLE


@pytest.mark.parametrize(
    "file, pattern, expected",
    [
        (JUPYTER / "labextensions/finetuning-course/static/style.css", "border-left: 6px solid", "blue"),
        (ROOT / "course_utils/templates/base.html", "--good:", "green"),
        (ROOT / "course_utils/templates/base.html", "--link:", "blue"),
        (ROOT / "course_utils/templates/room_parts.html", r"\.bar\.right rect { fill:", "green"),
    ],
)
def test_pages_use_the_same_colours(file, pattern, expected):
    found = colours_in(file, pattern)
    assert found and {hue_of(colour) for colour in found} == {expected}


def test_the_guides_name_them():
    scripts, workshop = (
        (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("scripts.md", "workshop.md")
    )
    assert "a green box" in scripts
    assert 'at "not yet", with an orange bar' in workshop
