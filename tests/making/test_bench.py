import json

import pytest

from course_utils.commands import bench
from course_utils.making.bench import generation, timing
from course_utils.memory import PeakMemory


@pytest.fixture
def clock(monkeypatch):
    """Time passes only where a run says so."""
    now = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    return now


def test_medians_of_interleaved_runs_without_the_first(clock):
    order = []

    def timed(name, durations):
        left = iter(durations)

        def run():
            order.append(name)
            clock[0] += next(left)

        return run

    result = timing.compare_times(timed("ours", [9, 1, 3, 2]), timed("library", [9, 4, 4, 40]), rounds=3)
    assert order == ["ours", "library"] * 4
    assert result == {
        "ours_ms": pytest.approx(2000),
        "library_ms": pytest.approx(4000),
        "ratio": pytest.approx(0.5),
    }


def test_rows_are_chosen_by_word_and_printed_or_given_as_json(clock, monkeypatch, capsys):
    def pair():
        def ours():
            clock[0] += 0.003

        def library():
            clock[0] += 0.004

        return ours, library

    monkeypatch.setattr(bench, "ROWS", {"sampling": pair, "step": pair})
    monkeypatch.setattr(bench, "PEAKS", {})
    assert bench.main(["step", "--rounds", "2"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "0.75  3.0 / 4.0 ms  step"
    bench.main(["--json", "--rounds", "2"])
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == ["sampling", "step"]
    with pytest.raises(ValueError, match="no row contains rate; there are: sampling; step"):
        bench.main(["rate"])


def test_rows_of_peak_memory(monkeypatch, capsys):
    growth = {"ours": 3 << 20, "theirs": 4 << 20}
    monkeypatch.setattr("course_utils.memory.measure_peak", lambda target: PeakMemory(0, 0, growth[target]))
    monkeypatch.setattr(bench, "ROWS", {})
    monkeypatch.setattr(bench, "PEAKS", {"growth of a step": ("ours", "theirs")})
    assert bench.main(["growth"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "0.75  3.0 / 4.0 MiB  growth of a step"


@pytest.mark.parametrize(
    "name", [name for name, build in timing.ROWS.items() if build.__module__ == generation.__name__]
)
def test_every_row_of_plain_training_and_sampling_runs(name):
    for run in timing.ROWS[name]():
        run()
