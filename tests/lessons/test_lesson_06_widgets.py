import matplotlib.pyplot as plt
import pytest
import torch

from course_utils.lessons.lesson_06 import widgets as wq
from course_utils.methods.quantization import LEVELS, relative_error

WEIGHT = torch.randn(40, 100, generator=torch.Generator().manual_seed(0))


def test_levels_are_judged_against_nf4(capsys):
    wq.compare_levels(WEIGHT[:, :64], LEVELS["int4-15"].tolist())
    error = relative_error(WEIGHT[:, :64], LEVELS["int4-15"])
    assert capsys.readouterr().out.startswith(f"relative error {error:.4f}, NF4's")
    left, right = plt.gcf().axes
    assert len(left.lines) == 15 and sum(bar.get_height() for bar in right.patches) == pytest.approx(1)
    plt.close()
    wq.compare_levels(WEIGHT, LEVELS["nf4"].flip(0).tolist())
    assert "the same" in capsys.readouterr().out
    plt.close()


def test_histogram_has_a_row_of_ticks_for_each_table():
    wq.level_histogram(WEIGHT, {name: LEVELS[name] for name in ("nf4", "int4-15")}, "title")
    ax = plt.gca()
    assert [len(line.get_xdata()) for line in ax.lines] == [16, 15]
    assert sum(bar.get_height() for bar in ax.patches) == pytest.approx(1, abs=1e-4)
    plt.close()


def test_sliders_redraw_once_for_a_table_and_once_for_a_move(monkeypatch):
    import ipywidgets

    calls, boxes = [], []
    monkeypatch.setattr(wq, "outputs_of", lambda function, arguments: calls.append(arguments["levels"]) or ())
    monkeypatch.setattr("IPython.display.publish_display_data", lambda data: boxes.append(data))
    made = []
    monkeypatch.setattr(
        ipywidgets, "VBox", lambda children: made.append(children) or ipywidgets.Box(children)
    )
    wq.level_sliders(WEIGHT)
    start, row, _ = made[0]
    assert calls == [sorted(LEVELS["nf4"].tolist())] and wq.WIDGET in boxes[0]
    start.value = "int4-16"
    assert len(calls) == 2 and calls[1] == LEVELS["int4-16"].tolist()
    row.children[3].value = 0.5
    assert len(calls) == 3 and calls[2][3] == 0.5
