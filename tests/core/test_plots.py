import base64
import io
import re

import matplotlib.pyplot as plt
import nbformat
import pytest
import torch
from nbclient import NotebookClient
from PIL import Image, ImageChops, ImageStat

from course_utils import plots


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


class History:
    rows = ({"step": 1, "loss": 4.0}, {"step": 2, "loss": 2.0, "held_out_loss": 3.0})

    def column(self, name):
        rows = [row for row in self.rows if name in row]
        return [row["step"] for row in rows], [row[name] for row in rows]


def test_history_draws_training_and_evaluations_with_units():
    plots.history(History(), "It falls")
    [ax] = plt.gcf().axes
    assert [line.get_label() for line in ax.lines[1:]] == ["training", "held out loss"]
    assert list(ax.lines[2].get_ydata()) == [3.0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step", "loss (nats a token)")
    assert plt.gcf().get_suptitle() == "It falls"


def test_smoothing_has_no_bias_at_the_start_and_keeps_constants():
    assert plots.smooth([3.0] * 50) == pytest.approx([3.0] * 50)
    assert plots.smooth([5.0, 1.0, 1.0])[0] == 5.0
    # half weights: (1/2 * 4 + 1/4 * 1) / (3/4) at the second of two values, by hand
    assert plots.smooth([1.0, 4.0], share=1.0) == pytest.approx([1.0, 3.0])


def test_a_legend_takes_the_place_of_names_at_the_ends():
    plots.lines({"a": ([1, 10], [2, 3]), "b": ([1, 10], [3, 4])}, "t", "x", "y")
    [ax] = plt.gcf().axes
    ax.text(1, 2, "mine")
    ax.legend()
    plots.make_legible(plt.gcf())
    assert [text.get_text() for text in ax.texts] == ["mine"]


def test_bars_stand_in_order_and_tokens_are_readable():
    plots.bars({" Paris": 0.5, "$x$\n": 0.25, "two words": 0.1}, "title", "probability")
    [ax] = plt.gcf().axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["·Paris", r"\$x\$\n", "two words"]
    assert [bar.get_width() for bar in ax.patches] == [0.5, 0.25, 0.1]
    assert ax.yaxis_inverted()
    plt.gcf().canvas.draw()


def test_lines_have_logarithmic_axes_and_a_legend_where_there_are_several():
    plots.lines({"a": ([1, 10], [2, 3]), "b": ([1, 10], [3, 4])}, "t", "x", "y", logx=True)
    [ax] = plt.gcf().axes
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")
    assert ax.get_legend() is None and [text.get_text() for text in ax.texts] == ["a", "b"]


def test_lines_that_end_too_close_have_a_legend():
    plots.lines({"a": ([1, 10], [2, 3]), "b": ([1, 10], [0, 3.05])}, "t", "x", "y")
    [ax] = plt.gcf().axes
    assert not ax.texts and [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]


def luminance(colour):
    """Luminance of "#RRGGBB", by WCAG 2.2's definition."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))


def test_contrast_is_that_of_the_definition():
    assert plots.contrast("white", "black") == pytest.approx(21)
    assert plots.contrast("#767676", "white") == pytest.approx(1.05 / (luminance("#767676") + 0.05))


@pytest.mark.parametrize("ground", ["#FFFFFF", "#111111", "#1E1E1E"])  # JupyterLab light, dark; VS Code dark
@pytest.mark.parametrize("colour", [*plots.COLOURS, plots.INK])
def test_colours_are_seen_on_light_and_dark_pages(colour, ground):
    low, high = sorted((luminance(colour), luminance(ground)))
    assert (high + 0.05) / (low + 0.05) >= 3


@pytest.mark.parametrize("colour", ["black", "white", "yellow", "lightgrey", "navy", "#56B4E9"])
def test_any_colour_is_moved_until_it_is_seen(colour):
    moved = plots.seen_everywhere(colour)
    assert min(plots.contrast(moved, ground) for ground in plots.GROUNDS) >= 3
    assert plots.seen_everywhere(plots.COLOURS[0]) == plots.COLOURS[0]


def test_a_figure_is_made_legible():
    _, ax = plots.figure("A title of many words, each of which has to be read. " * 3, "x", "y")
    ax.plot([1, 2], [3, 4], color="black", label="line")
    ax.text(1, 3, "small", fontsize=6)
    ax.set_title("A title of one panel that says more than there is room for over it " * 2)
    ax.legend(fontsize=7)
    fig = plt.gcf()
    fig.set_size_inches(12, 3)
    plots.make_legible(fig)
    fig.draw_without_rendering()
    assert fig.get_size_inches()[0] == plots.WIDTH
    sizes = [text.get_fontsize() for text in fig.findobj(plt.Text) if text.get_text()]
    assert min(sizes) >= 9 / 0.9, "9 points also on a page that shows it at nine tenths"
    assert plots.contrast(ax.lines[0].get_color(), "#111111") >= 3
    page = fig.bbox.expanded(1.001, 1.001)
    for title in (*fig.texts, *ax.findobj(lambda each: each is ax.title), *plots._titles(ax)):
        seen = title.get_window_extent()
        assert page.contains(seen.x0, seen.y0) and page.contains(seen.x1, seen.y1), title.get_text()


def test_the_alternative_text_says_title_axes_and_values():
    _, (left, right) = plots.figure(r"Both $\alpha$ fall", "", "", columns=2)
    plots.lines({"chosen": ([1, 2, 3], [-1, -2, -40.04])}, "", "", "", ax=left)
    left.set(xlabel="step", ylabel="loss (nats)", xlim=(0, 4), ylim=(-50, 0))
    left.axhline(-20, label="target")
    left.plot([2], [-5], "*", label="our run")
    plots.bars({"LoRA": 0.5, "full": 0.25}, "", "", ax=right)
    right.set(title="Shares")
    assert plots.alt_text(plt.gcf()) == (
        "Both alpha fall. x: step, 0 to 4; y: loss (nats), -50 to 0; chosen from -1 to -40; target at -20; "
        "our run at (2, -5). Shares; LoRA 0.5, full 0.25."
    )


def test_the_alternative_text_says_intervals():
    from course_utils.lessons.lesson_14.figures import intervals

    intervals({"LoRA": (0.5, 0.4, 0.7), "full": (-0.1, -0.2, 0.1)}, "Apart", "difference")
    words = plots.alt_text(plt.gcf())
    assert words.endswith("LoRA 0.5 (0.4 to 0.7); full -0.1 (-0.2 to 0.1).")


def test_the_alternative_text_of_a_drawing_is_what_is_written_in_it():
    from course_utils.lessons.lesson_03.figures import lora_paths

    lora_paths()
    assert "W [out, in] frozen; A [r, in] random at first;" in plots.alt_text(plt.gcf())


def test_a_caption_has_a_number_that_it_keeps(monkeypatch):
    monkeypatch.setattr(plots, "_numbers", {})
    shown = []
    for words in ("One.", "Two <b>.", "One."):
        plots.lines({"a": ([1, 2], [2, 3])}, "t", "x", "y")
        plots.caption(words, seen="It rises")
        shown.append(plots.figure_html(plt.gcf()))
    assert [text.split("\n")[0] for text, _ in shown] == [
        "Figure 1. One.",
        "Figure 2. Two <b>.",
        "Figure 1. One.",
    ]
    assert "<figcaption><b>Figure 2.</b> Two &lt;b&gt;.</figcaption>" in shown[1][1]
    assert 'alt="t. It rises. x: x,' in shown[0][1]
    assert plt.get_fignums() == []


def picture_of(html):
    data = re.search(r'src="data:image/png;base64,([^"]+)"', html).group(1)
    return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA")


@pytest.mark.parametrize("log", [False, True])
def test_strip_plot_has_each_value_the_mean_and_the_live_run_in_its_row(log):
    plots.strip_plot({"a": [1.0, 3.0], "b": [4.0]}, "t", "x", log=log, live={"b": 5.0}, marks="mean of two")
    ax = plt.gca()
    drawn = [(list(line.get_xdata()), list(line.get_ydata())) for line in ax.lines]
    assert drawn == [([1, 3], [0, 0]), ([2], [0]), ([4], [1]), ([4], [1]), ([5], [1])]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b"]
    assert [text.get_text() for text in ax.figure.legends[0].get_texts()] == ["mean of two", "the run above"]
    assert ax.get_xscale() == ("log" if log else "linear") and (log or ax.get_xlim()[0] == 0)


def test_pictures_are_sharp_transparent_and_the_same_each_time():
    htmls = []
    for _ in range(2):
        plots.heatmaps({"a": torch.eye(30)}, "t")
        htmls.append(plots.figure_html(plt.gcf())[1])
    assert htmls[0] == htmls[1]
    width = int(re.search(r'width="(\d+)"', htmls[0]).group(1))
    image = picture_of(htmls[0])
    assert image.width == 2 * width and image.getpixel((0, 0))[3] == 0
    assert len(htmls[0]) < 60_000


def test_live_pictures_look_like_the_others():
    def draw(high):
        plots.lines({"a": ([1, 2], [0, high])}, "t", "x", "y")
        return plt.gcf()

    plots.figure_html(draw(1), live=True)  # lays it out
    live, still = (picture_of(plots.figure_html(draw(2), live)[1]) for live in (True, False))
    live = live.resize(still.size)
    apart = ImageChops.difference(live.getchannel("A"), still.getchannel("A"))
    assert ImageStat.Stat(apart).mean[0] < 5  # of 255; 10 where the axes are moved by two hundredths


def test_for_a_projector_a_figure_is_shown_larger_letters_and_all(monkeypatch):
    sizes, pictures = [], []
    for style in ("", "projector"):
        monkeypatch.setenv("COURSE_STYLE", style)
        plots.bars({"a": 1.0, "b": 2.0}, "Two", "count")
        html = plots.figure_html(plt.gcf())[1]
        sizes.append([int(size) for size in re.findall(r'(?:width|height)="(\d+)"', html)])
        pictures.append(re.search(r"base64,([^\"]+)", html)[1])
    assert sizes[1] == pytest.approx([1.5 * size for size in sizes[0]], abs=1)
    assert pictures[0] == pictures[1]
    monkeypatch.setenv("COURSE_STYLE", "beamer")
    plots.bars({"a": 1.0}, "One", "count")
    with pytest.raises(ValueError, match="Unknown COURSE_STYLE 'beamer'"):
        plots.figure_html(plt.gcf())


def test_live_pictures_of_another_form_are_laid_out_anew():
    for label in ("x", "x\nin two lines"):
        plots.lines({"a": ([1, 2], [0, 1])}, "t", label, "y")
        fig = plt.gcf()
        plots.figure_html(fig, live=True)
        assert fig.axes[0].xaxis.label.get_window_extent().y0 >= 0


def test_a_notebook_shows_figures_of_any_origin_with_words():
    cells = ["from course_utils import plots", "plots.plt.plot([1, 2])\n_ = plots.plt.title('Mine')"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, kernel_name="python3").execute()
    [output] = notebook.cells[1].outputs
    assert sorted(output.data) == ["text/html", "text/plain"]
    assert output.data["text/plain"] == "[picture: Mine.]" and '<img alt="Mine."' in output.data["text/html"]


def test_the_page_of_a_run_finds_a_lessons_figure():
    from course_utils.commands.run_page import headline_figure

    plots.bars({"a": 1, "b": 2}, 'The "b" is higher', "x")
    _, html = plots.figure_html(plt.gcf())
    record = {"text": "b over a", "binding": True, "holds": True, "margin": 0.5, "headline": False}
    outputs = [{"data": {"text/html": html}}, {"metadata": {"course": {"claims": [record]}}}]
    found = headline_figure({"cells": [{"id": "one", "outputs": outputs}]})
    assert found["alt"].startswith('The "b" is higher. x: x,')
    assert found["source"] in html and found["source"].startswith("data:image/png;base64,")
