"""Pictures of ideas: numbers, space, arrows, colours that differ without their hue, words."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from helpers import layout_faults
from matplotlib.colors import to_rgb

from course_utils import drawing, plots
from course_utils.drawing import MEANINGS, ROOM, Picture, Place, shown_number


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.mark.parametrize(
    "value, options, shown",
    [
        (-0.0, {}, "0.0"),
        (-0.04, {}, "0.0"),
        (-0.04, {"digits": 2, "sign": True}, "\N{MINUS SIGN}0.04"),
        (-0.004, {"digits": 2, "sign": True}, "0.00"),
        (1.25, {"digits": 2, "sign": True}, "+1.25"),
        (1.96, {}, "2.0"),
        (-3, {"digits": 0}, "\N{MINUS SIGN}3"),
        (torch.tensor(0.5), {}, "0.5"),
    ],
)
def test_numbers_have_fixed_digits_a_true_minus_and_no_minus_at_zero(value, options, shown):
    assert shown_number(value, **options) == shown


def texts(picture):
    return {text.get_text(): text for text in picture.axes.texts}


def test_only_marked_cells_are_bold():
    picture = Picture("t")
    picture.grid(0, 2, torch.tensor([[1.0, -2.0], [3.0, 4.0]]), mark=[(0, 1)])
    picture.strip(6, ["a", "b"])
    picture.row("r", [5, 6], digits=0, mark=[0])
    bold = {name for name, text in texts(picture).items() if text.get_weight() == "bold"}
    assert bold == {"\N{MINUS SIGN}2.0", "5"}


def test_the_words_are_made_from_what_is_drawn_in_its_order():
    picture = Picture("What is it?")
    base = picture.grid(0, 2, [[0.5, -0.0], [None, 2]], "W", "frozen")
    answer = picture.box(20, 3, 8, 3, "the $ answer", "sampled")
    picture.arrow(base, answer, "gives")
    picture.strip(8, [" Tom", "left\n"], "data")
    picture.row("loss", [None, 0.25], "loss", digits=2, sign=True)
    picture.flow(picture.bottom + 1, "user", ["a", "b", "c"], ["data", "data", "loss"])
    picture.stack(0, 20, 8, [("head", "trained"), (["", "x1"], None)], "card")
    picture.text(0, 24, "end")
    picture.key()
    assert plots.alt_text(plt.gcf()) == (
        "What is it? W (frozen): 0.5 0.0; empty 2.0. the $ answer (sampled). arrow W to the $ answer: gives. "
        "tokens (data): ·Tom, left\\n. loss (carries loss): nothing, +0.25. user: a b (data), "
        "c (carries loss). card: head (trained); x1 of 2 parts. end."
    )
    plots.caption("One.", seen="It is so")
    assert plots.alt_text(plt.gcf()).endswith("end. It is so.")
    html = plots.figure_html(plt.gcf())[1]
    assert 'alt="What is it? W (frozen): 0.5 0.0;' in html


def test_cells_of_a_row_may_differ_in_kind():
    picture = Picture("t")
    picture.strip(2, ["a", "b", "c"])
    picture.row("r", ["x", "y", None], ["loss", "data", None])
    picture.key()
    assert plots.alt_text(plt.gcf()) == "t. tokens: a, b, c. r: x (carries loss), y (data), nothing."
    assert {"carries loss", "data"} <= set(texts(picture))


def test_the_key_names_each_kind_that_is_drawn_and_no_other():
    picture = Picture("t")
    picture.box(0, 2, 5, 2, "a", "loss")
    picture.box(6, 2, 5, 2, "b")
    picture.stack(12, 2, 5, [("c", "frozen")])
    picture.key()
    assert set(texts(picture)) == {"t", "a", "b", "c", "frozen", "carries loss"}


def test_long_text_is_wrapped_in_its_box_and_the_picture_grows():
    picture = Picture("t")
    picture.box(0, 2, 8, 4, "a reward for every token of the answer", "data")
    [wrapped] = [text for text in texts(picture) if "reward" in text]
    assert wrapped.count("\n") == 2 and layout_faults(picture.figure, 96) == []
    assert picture.figure.get_size_inches() == pytest.approx([5, (6 + 2 * drawing.MARGIN) * 12 / 72])


@pytest.mark.parametrize(
    "draw",
    [
        lambda picture: picture.box(0, 2, 3, 2, "gradients"),
        lambda picture: picture.box(0, 2, 8, 2, "a reward for every token of the answer"),
        lambda picture: picture.grid(0, 2, [[1234.5]]),
        lambda picture: picture.strip(2, ["a"], name="a name that is too long"),
        lambda picture: picture.text(ROOM - 2, 2, "gradients"),
        lambda picture: picture.arrow((0, 3), (2, 3), "gradients"),
        lambda picture: picture.arrow((ROOM - 2, 3), (ROOM - 2, 6), "gradients"),
    ],
)
def test_what_does_not_fit_is_refused(draw):
    with pytest.raises(ValueError, match=r"takes \d.* units but has \d.*: enlarge its place"):
        draw(Picture("t"))


def test_no_label_at_a_slanting_arrow():
    with pytest.raises(ValueError, match="the arrow of 'x' slants"):
        Picture("t").arrow((0, 0), (3, 3), "x")


@pytest.mark.parametrize(
    "start, end, ends",
    [
        (Place(0, 0, 4, 2), Place(8, 1, 4, 4), [(4, 1.5), (8, 1.5)]),
        (Place(8, 1, 4, 4), Place(0, 0, 4, 2), [(8, 1.5), (4, 1.5)]),
        (Place(0, 0, 4, 2), Place(1, 5, 9, 2), [(2.5, 2), (2.5, 5)]),
        (Place(1, 5, 9, 2), Place(0, 0, 4, 2), [(2.5, 5), (2.5, 2)]),
        (Place(0, 0, 4, 2), Place(8, 6, 4, 2), [(4, 1), (8, 7)]),
        ((1, 2), (5, 2), [(1, 2), (5, 2)]),
    ],
)
def test_arrows_run_from_side_to_side(start, end, ends):
    picture = Picture("t")
    picture.arrow(start, end)
    [arrow] = picture.axes.patches
    assert list(arrow._posA_posB) == ends


@pytest.mark.parametrize("end", [(9, 5), (3, 11)])
def test_a_label_stands_off_its_arrow(end):
    picture = Picture("t")
    picture.arrow((3, 5), end, "label")
    assert layout_faults(picture.figure, 96) == []


@pytest.mark.parametrize(
    "place, fault",
    [
        ((6, 5), "'label' on an arrow"),
        ((21, 5), "'label' on 'inside'"),
        ((-1, 8), "'label' leaves"),
        ((15, 5), "'label' across an edge"),
    ],
)
def test_a_moved_label_is_found(place, fault):
    picture = Picture("t")
    picture.arrow((3, 5), (9, 5), "label")
    picture.box(15, 3, 12, 4, "inside", "data")
    texts(picture)["label"].set_position(place)
    assert fault in layout_faults(picture.figure, 96)


# ------------------------------------------------------------------------------------------------- colours

# vision without one kind of cone, on linear red, green and blue (Machado et al. 2009, severity 1)
SEEN = {
    "all cones": [1, 0, 0, 0, 1, 0, 0, 0, 1],
    "no long": [0.1523, 1.0526, -0.2049, 0.1145, 0.7863, 0.0992, -0.0039, -0.0481, 1.0520],
    "no middle": [0.3673, 0.8606, -0.2280, 0.2801, 0.6725, 0.0474, -0.0118, 0.0429, 0.9689],
    "no short": [1.2555, -0.0767, -0.1788, -0.0784, 0.9308, 0.1476, 0.0047, 0.6914, 0.3039],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])  # sRGB, D65


def lab(colour, seen):
    """CIE L*a*b* of a colour as seen by somebody."""
    parts = np.array(to_rgb(colour))
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(seen @ linear, 0, 1) / TO_XYZ.sum(1)
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("who", SEEN)
def test_grounds_are_told_apart_with_any_two_kinds_of_cones(who):
    seen = {name: lab(kind.ground, np.reshape(SEEN[who], (3, 3))) for name, kind in MEANINGS.items()}
    for one, other in itertools.combinations(seen, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 15, (one, other)


def test_no_meaning_stands_on_hue_alone():
    looks = [(kind.width, str(kind.line), kind.hatch) for kind in MEANINGS.values()]
    assert len(set(looks)) == len(looks)


@pytest.mark.parametrize("name", MEANINGS)
def test_texts_and_edges_are_seen_on_light_and_dark_pages(name):
    kind = MEANINGS[name]
    assert plots.contrast("black", kind.ground) > 7
    assert min(plots.contrast(kind.edge, page) for page in plots.GROUNDS) >= plots.MIN_CONTRAST


def test_letters_are_ten_pixels_high_on_a_phone():
    picture = Picture("t")
    picture.box(0, 2, 5, 2, "a", "loss")
    width = picture.figure.get_size_inches()[0] * 72
    sizes = [text.get_fontsize() for text in picture.axes.texts]
    assert min(sizes) / width * 360 >= 10 and min(sizes) >= plots.MIN_FONT
