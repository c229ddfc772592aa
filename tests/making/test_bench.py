import json
import time

import pytest
import torch

from course_utils.commands import bench
from course_utils.making.bench import generation, sizes, timing  # noqa: F401  sizes registers its rows
from course_utils.memory import PeakMemory
from course_utils.model_files import ModelError


@pytest.fixture
def clock(monkeypatch):
    """Time passes only when a run says so."""
    now = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    return now


def test_medians_and_quartiles_of_paired_rounds_without_the_first(clock):
    order = []

    def timed(name, durations):
        left = iter(durations)

        def run():
            order.append(name)
            clock[0] += next(left)

        return run

    ours, library = timed("ours", [9, 1, 3, 2, 8, 9, 9]), timed("library", [9, 4, 4, 40, 8, 3])
    result = timing.compare_times(ours, library, rounds=5)
    assert order == ["ours", "library"] * 6 + ["ours"]
    assert result == {
        "ours": pytest.approx(3000),
        "library": pytest.approx(4000),
        "unit": "ms",
        "ratio": pytest.approx(0.75),  # of .05, .25, .75, 1 and 3
        "low": pytest.approx(0.15),
        "high": pytest.approx(2.0),
        "floor": 0.0,
    }


@pytest.mark.timing
def test_the_floor_is_the_time_in_products_and_nothing_else():
    x = torch.ones(600, 600)
    assert timing.time_in_products(lambda: x.exp().sort()) == 0
    began = time.perf_counter()
    spent = timing.time_in_products(lambda: [x @ x for _ in range(20)])
    whole = 1000 * (time.perf_counter() - began)
    assert 0.3 * whole < spent < whole


@pytest.fixture
def step_row(clock, monkeypatch):
    """Two rows whose ratio can be set."""
    taken = {"ours": 0.003}

    def pair():
        def ours():
            clock[0] += taken["ours"]

        def library():
            clock[0] += 0.004

        return ours, library

    monkeypatch.setattr(bench, "ROWS", {"sampling": pair, "step": pair})
    monkeypatch.setattr(bench, "PEAKS", {})
    return taken


def test_rows_are_chosen_by_word_printed_and_written(step_row, tmp_path, capsys):
    out = tmp_path / "bench.json"
    assert bench.main(["step", "--rounds", "2", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "0.75 (0.75 to 0.75)  3.0 / 4.0 ms  step" in printed.splitlines()
    assert f"threads {torch.get_num_threads()}" in printed
    stored = json.loads(out.read_text())
    assert [row["name"] for row in stored["rows"]] == ["step"]
    assert stored["machine"]["torch"] == torch.__version__ and stored["machine"]["processor"]
    with pytest.raises(ValueError, match="no row contains rate; there are: sampling; step"):
        bench.main(["rate"])
    with pytest.raises(ValueError, match="at least 2 rounds, got 1"):
        bench.main(["--rounds", "1"])


def test_what_became_slower_beyond_the_noise_is_named(step_row, tmp_path, capsys):
    before, now = str(tmp_path / "before.json"), str(tmp_path / "now.json")
    bench.main(["--rounds", "2", "--out", before])
    step_row["ours"] = 0.00303
    assert bench.main(["--rounds", "2", "--out", now, "--against", before]) == 0
    assert "0 of 2 rows became slower" in capsys.readouterr().out
    step_row["ours"] = 0.0032
    assert bench.main(["step", "--rounds", "2", "--out", now, "--against", before]) == 1
    printed = capsys.readouterr().out
    assert "slower: step: 0.75 before, 0.80 now" in printed and "1 of 1 rows" in printed
    stored = json.loads((tmp_path / "before.json").read_text())
    stored["machine"]["processor"] = "another"
    (tmp_path / "before.json").write_text(json.dumps(stored))
    bench.main(["step", "--rounds", "2", "--out", now, "--against", before])
    assert "Measured under different conditions: processor" in capsys.readouterr().out


def test_a_spread_that_overlaps_is_no_change():
    before = [{"name": "a", "high": 0.9}, {"name": "b", "high": 0.5}]
    now = [{"name": "a", "low": 0.9}, {"name": "b", "low": 0.52}, {"name": "new", "low": 9}]
    assert timing.slower_rows(now, before) == ["b"]


ODD = '{"machine": {"a": 1}, "rows": [{"name": "a", "ratio": "x", "low": 1, "high": 1}]}'


@pytest.mark.parametrize(
    "content",
    [
        None,
        "[]",
        "[" * 10**5,
        '{"rows": [1], "machine": {}}',
        '{"rows": [], "machine": [1]}',
        ODD,
        "not json",
    ],
)
def test_what_is_no_earlier_bench_is_refused_before_anything_runs(content, step_row, tmp_path):
    file = tmp_path / "old.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises((ValueError, FileNotFoundError), match="make bench"):
        bench.main(["--against", str(file)])


def test_a_row_whose_model_is_not_on_disk_is_left_out(step_row, monkeypatch, tmp_path, capsys):
    def absent():
        raise ModelError("smollm2 is not on disk")

    monkeypatch.setitem(bench.ROWS, "greedy: smollm2", absent)
    assert bench.main(["smollm2", "step", "--rounds", "2", "--out", str(tmp_path / "bench.json")]) == 0
    assert "left out: greedy: smollm2: smollm2 is not on disk" in capsys.readouterr().out
    rows = json.loads((tmp_path / "bench.json").read_text())["rows"]
    assert [row["name"] for row in rows] == ["step"]


def test_rows_of_peak_memory(monkeypatch, tmp_path, capsys):
    growth = {"ours": 3 << 20, "theirs": 4 << 20}
    monkeypatch.setattr("course_utils.memory.measure_peak", lambda target: PeakMemory(0, 0, growth[target]))
    monkeypatch.setattr(bench, "ROWS", {})
    monkeypatch.setattr(bench, "PEAKS", {"growth of a step": ("ours", "theirs")})
    assert bench.main(["growth", "--out", str(tmp_path / "bench.json")]) == 0
    assert "0.75  3.0 / 4.0 MiB  growth of a step" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("kind", ["full step", "LoRA step on all", "QLoRA step on all", "greedy"])
def test_rows_over_sizes_do_the_same_work(kind):
    (name,) = [name for name in timing.ROWS if name.startswith(kind) and name.endswith("pocket, 2 x 64")]
    for run in timing.ROWS[name]():
        run()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name for name, build in timing.ROWS.items() if build.__module__ == generation.__name__]
)
def test_every_row_of_plain_training_and_sampling_runs(name):
    for run in timing.ROWS[name]():
        run()
