"""The sample pictures: nothing overlaps at any size, the page has their texts, the files are small."""

import re

import matplotlib.pyplot as plt
import pytest
from helpers import layout_faults

from course_utils import plots
from course_utils.making.pictures import SAMPLES, SAMPLES_PAGE

SIZES = {"phone": 72, "page": 96, "saved": 192}  # dots per inch: 360, 480, 960 pixels wide


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.mark.parametrize("name", SAMPLES)
def test_no_text_lies_on_another_on_an_arrow_or_an_edge_and_none_is_cut(name):
    SAMPLES[name]()
    plots.make_legible(plt.gcf())
    for size, dpi in SIZES.items():
        assert layout_faults(plt.gcf(), dpi) == [], size


@pytest.mark.parametrize("style, width", [("", 480), ("projector", 720)])
def test_a_picture_is_larger_on_a_projector_letters_and_all(style, width, monkeypatch):
    monkeypatch.setenv("COURSE_STYLE", style)
    SAMPLES["shift"]()
    assert f'width="{width}"' in plots.figure_html(plt.gcf())[1]


@pytest.mark.parametrize("name", SAMPLES)
def test_the_page_shows_it_with_the_words_that_it_says_of_itself(name):
    """python -m course_utils.making.pictures"""
    SAMPLES[name]()
    image = f"images/drawing-{name}.png"
    words = re.search(rf"!\[([^]]*)\]\({image}\)", SAMPLES_PAGE.read_text(encoding="utf-8"))[1]
    assert words == plots.alt_text(plt.gcf())
    assert 2000 < (SAMPLES_PAGE.parent / image).stat().st_size < 60_000


def test_what_is_drawn_is_computed():
    """By hand: weights of the scores 2.5, 0.5 and 1.5 over the root of 2; GAE back from the last token."""
    SAMPLES["attention"]()
    words = plots.alt_text(plt.gcf())
    assert "weight: softmax: 0.58, 0.14, 0.28." in words
    assert "mixture: nothing, nothing, 1.58 0.50." in words
    SAMPLES["credit"]()
    words = plots.alt_text(plt.gcf())
    assert "0.5 (carries loss): \N{MINUS SIGN}0.1, +1.0, +0.2, +0.8." in words
    assert "1 (carries loss): +0.9, +1.5, +0.6, +0.8." in words
