"""Rows on other models: the search for a rate, resuming, the stored form."""

import json
import statistics
from dataclasses import replace
from datetime import date

import pytest

from course_utils.lessons.lesson_04.stored import kept
from course_utils.lessons.lesson_19.row import noise_over_signal
from course_utils.making.sweeps import differing_numbers
from course_utils.models import standing_in
from course_utils.replicate.measure import Journal, at_step, measure, scalars, search_rate
from course_utils.replicate.page import CSV, PAGE, holds_csv, holds_page
from course_utils.replicate.rows import Arm, Row, all_rows
from course_utils.replicate.stored import REPLICATIONS, read_row, row_faults, stored_rows
from course_utils.stored_runs import SWEEPS, load_experiments, load_sweep, sweep


@pytest.mark.parametrize("best", [-3, -1, 0, 2])
def test_a_search_goes_on_until_the_best_rate_lies_inside(best):
    losses = search_rate(lambda rate: abs(rate - at_step(1e-3, best)), 1e-3)
    rates = list(losses)
    assert min(losses, key=losses.get) == at_step(1e-3, best) and at_step(1e-3, best) in rates[1:-1]


def test_a_search_without_a_best_rate_inside_says_so():
    with pytest.raises(ValueError, match="at the edge"):
        search_rate(lambda rate: -rate, 1e-3)


@pytest.fixture
def line(monkeypatch):
    """A row whose run is a formula: the loss is lowest at rate 1e-2."""
    monkeypatch.setitem(SWEEPS, "line", None)
    calls = []

    @sweep("line", points=[{"way": "a"}])
    def run(point, seed):
        calls.append((point, seed))
        return {"validation": abs(point["lr"] - 1e-2), "score": seed + point["lr"]}

    row = Row(
        *("03", "c", "headline", "q", "u", "control", "why", "line", {"a": Arm({"way": "a"}, 1e-2)}),
        value=lambda results, rates: results["a"]["score"],
        of_control=lambda results, rates: rates["a"],
        at_least=0,
    )
    return row, calls


def test_rates_are_chosen_on_a_seed_that_is_not_reported(line, tmp_path):
    row, calls = line
    said = []
    found = measure(row, (0, 1), Journal(tmp_path / "j.json", {}), said.append)
    assert [line.split(":")[0] for line in said] == [f"{n} of about 5 runs" for n in range(1, 6)]
    assert found["values"] == [0.01, 1.01] and found["controls"] == [0.01, 0.01]
    assert {seed for point, seed in calls if point["lr"] != 0.01} == {5}
    assert row.agrees(found["values"]) and not row.agrees([1, -1])


def test_an_arm_can_take_the_rate_of_another_and_lists_are_left_out(monkeypatch, tmp_path):
    monkeypatch.setitem(SWEEPS, "two", None)

    @sweep("two", points=[{"way": "a"}])
    def run(point, seed):
        return {"validation": abs(point["lr"] - 1e-3), "each": [1.0], "text": point["way"]}

    arms = {"b": Arm({"way": "b"}, rate_of="a"), "a": Arm({"way": "a"}, 1e-3)}
    row = Row(
        *("03", "c", "headline", "q", "u", "control", "why", "two", arms),
        value=lambda results, rates: results["b"]["validation"],
        of_control=lambda results, rates: 0.0,
        at_least=0,
    )
    found = measure(row, (0,), Journal(tmp_path / "j.json", {}))
    assert found["rates"] == [{"a": 1e-3, "b": 1e-3}] and found["tried"]["b"] == {}
    assert found["results"] == [{"b": {"validation": 0.0}, "a": {"validation": 0.0}}]


def test_what_was_interrupted_goes_on_and_other_conditions_begin_anew(line, tmp_path):
    row, calls = line
    first = Journal(tmp_path / "j.json", {"model": "a"})
    measure(row, (0,), first)
    done = len(calls)
    second = Journal(tmp_path / "j.json", {"model": "a"})
    measure(row, (0, 1), second)
    assert len(calls) == done + 1 and second.state["seconds"] > first.state["seconds"] > 0
    measure(row, (0,), Journal(tmp_path / "j.json", {"model": "b"}))
    assert len(calls) == 2 * done + 1


def test_every_row_names_a_stored_sweep_and_numbers_of_its_runs():
    load_experiments()
    rows = all_rows()
    assert "03" in rows
    for row in rows.values():
        assert row.sweep in SWEEPS and (row.at_least, row.at_most) != (None, None)


GOOD = json.loads((REPLICATIONS / "03-pocket-s.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "change, fault",
    [
        ({"values": "x"}, r"\$.values: 'x' is not of type 'array'"),
        ({"values": [3.16]}, "differ in number"),
        ({"values": ["a"]}, r"\$.values\[0\]: 'a' is not of type 'number'"),
        ({"seeds": []}, r"\$.seeds: \[\] should be non-empty"),
        ({"model": {}}, "'name' is a required property"),
        ({"model": GOOD["model"] | {"parameters": "many"}}, r"\$.model.parameters"),
        ({"results": [[1]] * 3}, r"\$.results\[0\]"),
        ({"results": [{"full": {"validation": 1.0}}] * 3, "rates": [{}] * 3}, "lack 'LoRA'"),
        ({"values": [3.16, 3.16, 31.6]}, r"values are \[3.16, 3.16, 31.6\], and its results give"),
        ({"controls": [2, 1, 1]}, "controls are"),
    ],
)
def test_a_row_of_somebody_else_is_checked(change, fault, tmp_path):
    row = all_rows()["03"]
    assert row_faults(GOOD, row) == [] and row_faults([], row) == ["$: [] is not of type 'object'"]
    path = tmp_path / "03-mine.json"
    path.write_text(json.dumps(GOOD | change))
    with pytest.raises(ValueError, match=f"03-mine.json: .*{fault}"):
        stored_rows(row, tmp_path)


def test_the_page_is_made_of_the_stored_rows():
    assert PAGE.read_text(encoding="utf-8") == holds_page()
    assert CSV.read_text(encoding="utf-8") == holds_csv()


OVER_PROCESSORS = {"05": 0.15}  # at a rate near the edge of what is stable two processors differed by 8%


def steps_of(key, run):
    """The keys of one number at the steps of a run: NAME_STEP."""
    return [other for other in run if other.rstrip("0123456789") == key.rstrip("0123456789")]


@pytest.mark.night
@pytest.mark.parametrize("path", sorted(REPLICATIONS.glob("*-pocket-s.json")), ids=lambda path: path.stem)
def test_a_run_of_each_row_comes_out_again(path):
    """The first arm's on the smallest model; another seed every day.

    Of a number that is alike at all seeds, the spread at its other steps counts ("gold_6", "gold_8").
    """
    load_experiments()
    row = all_rows()[path.stem[:2]]
    found = read_row(path, row)
    index = date.today().toordinal() % len(found["seeds"])
    [(name, arm), *_] = row.arms.items()
    with standing_in("pocket-s"):
        now = SWEEPS[row.sweep].run(arm.at(found["rates"][index].get(name)), found["seeds"][index])
    runs = [results[name] for results in found["results"]]
    chosen = SWEEPS[row.sweep]
    faults = differing_numbers(
        *(
            replace(chosen, tolerance=OVER_PROCESSORS.get(row.lesson, chosen.tolerance)),
            runs[index],
            scalars(now),
        ),
        lambda key: max(statistics.stdev(run[step] for run in runs) for step in steps_of(key, runs[index])),
    )
    assert not faults


def rows_of(lesson, model):
    return next(each for each in stored_rows(all_rows()[lesson]) if each["model"]["name"] == model)


def test_each_row_that_differs_says_why():
    for lesson, row in all_rows().items():
        differs = {each["model"]["name"] for each in stored_rows(row) if row.outcome(each) == "differs"}
        assert row.whys.keys() == differs, lesson


@pytest.mark.parametrize("model", ["pocket-s", "pocket"])
def test_what_stands_beside_a_row_bounds_what_it_shows(model):
    def beside(lesson):
        row, runs = all_rows()[lesson], rows_of(lesson, model)["results"]
        return [list(map(number, runs)) for number in row.beside.values()]

    half_way, on_answers, on_facts = beside("02")
    assert statistics.mean(on_answers) > 1.2
    assert min(half_way) > all_rows()["02"].at_most and min(on_facts) > 1
    guessed, guessed_after_both = beside("15")
    found = rows_of("15", model)
    assert statistics.mean(found["values"]) < statistics.mean(guessed)
    assert statistics.mean(found["controls"]) > 1.5 * statistics.mean(guessed_after_both)


def test_what_the_page_remarks_of_rows_is_so():
    def values(lesson, model="pocket", of="values"):
        return rows_of(lesson, model)[of]

    assert min(values("04", "smollm2")) < 0.8 < max(values("04", "smollm2"))
    for model in ("pocket-s", "pocket"):
        assert min(values("04", model, "controls")) < 0.8 < max(values("04", model, "controls"))
    runs = [run["all matrices"] for run in values("04", "smollm2", "results")]
    assert min(runs, key=lambda run: run["top_1"]) is max(runs, key=lambda run: kept(run, "cut_1"))
    assert 0.845 < min(values("07", "pocket-s", "controls")) < 0.855
    for model, asked_again in (("pocket-s", {0.5, 0.75}), ("pocket", {0.0})):
        runs = [run["LoRA"] for run in values("09", model, "results")]
        assert {run["short_unknown"] for run in runs} == asked_again
        assert min(run["completed"] for run in runs) > 0.97
    rates = values("10", of="rates")[0]
    assert 3 < rates["biased"] / rates["balanced"] < 3.3
    assert min(values("03", model, "controls")[0] for model in ("pocket-s", "pocket", "smollm2")) > 1


def test_without_a_penalty_the_gold_score_falls_at_once_at_the_rows_rate_and_rises_first_at_the_lessons():
    found, bound = rows_of("12", "pocket"), all_rows()["12"].at_least
    for run in found["results"]:
        gold = [value for key, value in run["without"].items() if key.startswith("gold")]
        assert run["without"]["gold_0"] == max(gold)
    assert sum(value > bound for value in found["controls"]) == 1
    guarded = [run["with penalty"] for run in found["results"]]
    dips = [run["gold_0"] - min(run[key] for key in run if key.startswith("gold")) for run in guarded]
    assert round(min(dips), 2) == 0.12 and round(max(dips), 2) == 0.22
    assert [run["gold_0"] - run["gold"] > bound for run in guarded].count(True) == 1
    lesson = [run["result"] for run in load_sweep("ppo")["rows"] if run["point"]["beta"] == 0]
    assert found["rates"][0]["without"] == pytest.approx(3.16 * load_sweep("ppo")["rows"][0]["point"]["lr"])
    rises = [
        max(scalars(run)[key] for key in scalars(run) if key.startswith("gold_")) - run["gold_0"]
        for run in lesson
    ]
    assert len(rises) == 5 and min(rises) > 0.03 and max(rises) < 0.13


def stored_results(sweep, **point):
    """Results of a stored sweep's runs whose point has these entries, by seed."""
    rows = [row for row in load_sweep(sweep)["rows"] if point.items() <= row["point"].items()]
    return [row["result"] for row in sorted(rows, key=lambda row: row["seed"])]


def test_the_lessons_runs_with_random_rewards_lose_and_those_for_form_alone_gain():
    starts = [run["short_1"] for run in stored_results("verifiable_rewards", method="start")]
    form, chance = (
        [run["short_1"] / start for run, start in zip(runs, starts, strict=True)]
        for runs in (stored_results("other_rewards", judge="form"), stored_results("random_rewards"))
    )
    assert len(starts) == 5 and round(min(form), 1) == 1.2 and round(max(form), 1) == 1.9
    assert round(min(chance), 2) == 0.06 and round(max(chance), 2) == 0.53


def test_chosen_answers_become_less_likely_with_half_of_the_labels_swapped_too():
    fall = sorted(run["trained_chosen"] for run in stored_results("dpo_labels"))
    assert len(fall) == 5 and round(fall[0], 1) == -2.7 and round(fall[-1], 1) == -0.7


def test_with_other_prompts_the_answers_needed_vary_more():
    runs = [
        run["result"]
        for run in load_sweep("gradient_agreement")["rows"]
        if run["point"]["prompts"] == "other"
    ]
    times = sorted(noise_over_signal(run, "GRPO") / noise_over_signal(run, "exact") for run in runs)
    assert [round(value, 1) for value in times] == [4.4, 6.3, 9.0, 18.0, 66.4]
    same = [run["same prompts"] for run in rows_of("19", "pocket")["results"]]
    plain = [noise_over_signal(run, "right or wrong") / noise_over_signal(run, "exact") for run in same]
    assert [round(value, 1) for value in sorted(plain)] == [2.4, 5.0, 11.7]


def test_dpo_on_the_small_model_falls_further_on():
    ahead = {
        model: [run["DPO"]["trained_chosen"] - run["DPO"]["trained_rejected"] for run in found["results"]]
        for model in ("pocket-s", "pocket")
        for found in [rows_of("13", model)]
    }
    assert min(ahead["pocket-s"]) > 7.5 and max(ahead["pocket-s"]) < 9.5
    assert min(ahead["pocket"]) > 14.5 and max(ahead["pocket"]) < 24.5
    rows = load_sweep("dpo_sizes")["rows"]
    lower = [run["result"] for run in rows if run["point"] == {"model": "pocket", "lr": 8e-5}]
    assert all(-6 < run["trained_chosen"] < -2 for run in lower)
    assert round(statistics.mean(run["trained_chosen"] for run in lower), 1) == -3.7
    assert all(8 < run["trained_chosen"] - run["trained_rejected"] < 12 for run in lower)
    further = [run["result"] for run in rows if run["point"]["lr"] == 8e-4]
    worse = [
        run["validation_loss"] > own["DPO"]["validation_loss"]
        for run, own in zip(further, rows_of("13", "pocket-s")["results"], strict=True)
    ]
    assert sum(worse) == 2
    assert all(-5.5 < run["trained_chosen"] < -1.5 for run in further)
    assert all(19.5 < run["trained_chosen"] - run["trained_rejected"] < 25.5 for run in further)


def test_the_change_of_smollm2_is_spread_over_more_directions():
    def of(model, name):
        runs = [run["all matrices"] for run in rows_of("04", model)["results"]]
        return [kept(run, name) if name == "cut_4" else run[name] for run in runs]

    assert 0.175 < min(of("smollm2", "top_1")) < max(of("smollm2", "top_1")) < 0.215
    assert 0.425 < min(of("pocket", "top_1")) < max(of("pocket", "top_1")) < 0.445
    assert min(min(of(model, "cut_4")) for model in ("pocket-s", "pocket", "smollm2")) > 0.92


def test_of_runs_with_random_rewards_one_ends_above_its_start_within_the_interval():
    found = rows_of("18", "pocket")
    [above] = [seed for seed, value in enumerate(found["values"]) if value > 1]
    assert round(found["values"][above], 2) == 1.08
    ended, start = (found["results"][above][arm] for arm in ("random", "start"))
    assert ended["short_1_low"] < start["short_1"] < ended["short_1"] < start["short_1_high"]
    assert found["rates"][0]["random"] * 0.95 == pytest.approx(3e-5, 0.01)
