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
    calls, given = [], []
    monkeypatch.setattr(wq, "compare_levels", lambda weight, levels, size: calls.append(levels))
    monkeypatch.setattr(wq, "control", lambda function, **values: given.append((function, values)))
    wq.level_sliders(WEIGHT)
    [(show, values)] = given
    assert len(values) == 17 and "int4-16" in values["start_from"]
    levels = show("nf4", **{name: -1.0 for name in values if name != "start_from"})
    assert calls == [sorted(LEVELS["nf4"].tolist())] and list(levels.values()) == calls[0]
    levels = show("int4-16", **levels)
    assert len(calls) == 2 and calls[1] == LEVELS["int4-16"].tolist()
    levels = show("int4-16", **levels | {"level_4": 0.5})
    assert len(calls) == 3 and calls[2][3] == levels["level_4"] == 0.5
