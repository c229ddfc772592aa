"""Controls in a real page: the picture follows while a slider is dragged, has words, and keys suffice."""

import statistics

import nbformat
import pytest

SOURCE = """import torch
from course_utils import plots, widgets

matrix = torch.randn(48, 48, generator=torch.Generator().manual_seed(0))


def cut(rank=8, kind="first"):
    u, s, v = torch.linalg.svd(matrix)
    kept = u[:, :rank] * s[:rank] @ v[:rank]
    print(f"{kind}, rank {rank}, error {(matrix - kept).norm() / matrix.norm():.3f}")
    plots.heatmaps({"kept": kept, "left out": matrix - kept}, f"Cut to rank {rank}")


widgets.control(cut, rank=(1, 48), kind=["first", "second"])"""
# milliseconds from each of ten moves to the picture that belongs to it
MOVES = """async () => {
    const input = document.querySelector(".course-controls input[type=range]");
    const output = input.closest(".course-controls").nextElementSibling;
    const times = [];
    for (let value = 10; value < 20; value++) {
        const changed = new Promise(resolve => {
            const watch = new MutationObserver(() => {
                const image = output.querySelector("img");
                if (!image?.alt.includes(`rank ${value}.`) || !image.complete) return;
                watch.disconnect();
                resolve();
            });
            watch.observe(output, { childList: true });
        });
        const began = performance.now();
        input.value = value;
        input.dispatchEvent(new Event("input", { bubbles: true }));
        await changed;
        await new Promise(requestAnimationFrame);
        times.push(performance.now() - began);
        await new Promise(resolve => setTimeout(resolve, 100));
    }
    return times;
}"""


@pytest.fixture
def notebook(lab, open_lesson):
    _, _, folder = lab
    path = folder / "work" / "99_controls.ipynb"
    cells = [nbformat.v4.new_code_cell(SOURCE)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    notebook = open_lesson("99")
    notebook.run_all()
    notebook.cell(0).locator("img").wait_for()
    return notebook


def test_the_picture_follows_a_drag_and_the_keys(notebook, tmp_path, record_property):
    cell, mouse = notebook.cell(0), notebook.page.mouse
    slider = cell.get_by_role("slider", name="rank")
    assert slider.input_value() == "8" and "Cut to rank 8." in cell.locator("img").get_attribute("alt")
    notebook.page.screenshot(path=tmp_path / "controls.png")

    times = notebook.page.evaluate(MOVES)
    record_property("milliseconds", times)
    print("from move to picture:", [round(time) for time in times], "median", statistics.median(times))
    assert statistics.median(times) < 500, "150 on two idle cores"

    place = slider.bounding_box()
    middle = place["y"] + place["height"] / 2
    mouse.move(place["x"] + place["width"] / 2, middle)
    mouse.down()
    mouse.move(place["x"] + place["width"] - 2, middle, steps=5)
    cell.get_by_alt_text("Cut to rank 48.").wait_for()  # the button is still down
    mouse.up()

    slider.focus()
    notebook.page.keyboard.press("Home")
    cell.get_by_alt_text("Cut to rank 1.").wait_for()
    notebook.page.keyboard.press("Tab")
    choice = cell.get_by_role("combobox", name="kind")
    assert choice.evaluate("each => each === document.activeElement")
    notebook.page.keyboard.press("s")  # the first letter of an option
    cell.get_by_text("second, rank 1").wait_for()
