"""The decision for many cases: what it must never say, what it must always say, and its arithmetic."""

import html
import itertools
import math
import re
from datetime import date

import pytest

from course_utils.budget import CARDS, KNOWN_MODELS
from course_utils.lessons.lesson_14 import guide, market, memo, widgets
from course_utils.lessons.lesson_14.guide import FEW, GOALS, MANY, OPTIONS, TUNED, Case, Cost, Reason, decide

ROOMS = (["full", "LoRA", "QLoRA"], ["LoRA", "QLoRA"], ["QLoRA"], [])
RICH = {"budget": 1e9}


@pytest.fixture
def room(monkeypatch):
    """Sets which methods fit, for a model of eight billion values, without a configuration."""
    monkeypatch.setattr(guide, "parameters_of", lambda model: 8_000_000_000)
    return lambda fitting: monkeypatch.setattr(guide, "fitting", lambda model, card: fitting)


CASES = [
    dict(zip(("goal", "examples", "verifiable", "larger_works", "private", "keep"), values, strict=True))
    for values in itertools.product(
        GOALS, (0, FEW - 1, FEW, MANY), (False, True), (False, True), (False, True), (False, True)
    )
]


@pytest.mark.parametrize("fitting", ROOMS, ids=lambda fitting: "+".join(fitting) or "nothing")
def test_rules_that_hold_for_every_case(room, fitting):
    room(fitting)
    for settings in CASES:
        case = Case(**settings, **RICH)
        options = decide(case)
        verdicts = {option.name: option.verdict for option in options}
        assert list(verdicts) == list(OPTIONS)
        taken = {name for name, verdict in verdicts.items() if verdict in ("choose", "then")}
        assert sum(verdict == "choose" for verdict in verdicts.values()) <= 1
        for option in options:
            if option.verdict == "choose":
                told = " ".join(reason.text for reason in option.reasons)
                assert ("a program that verifies" in told) == (option.name == "GRPO")
                assert ("it costs least" in told) == (option.name not in ("retrieval", "full", "GRPO"))
        assert verdicts["prompting"] == "baseline"
        assert not taken & (set(TUNED) - set(fitting))  # what it advises fits
        if case.private:
            assert {verdicts["larger model"], verdicts["distillation"]} == {"no"}
        if case.examples < FEW:
            assert not taken & {*TUNED, "DPO"}
        if not case.verifiable:
            assert verdicts["GRPO"] == "no"
        if case.goal != "preference":
            assert verdicts["DPO"] == "no"
        assert (verdicts["retrieval"] == "choose") == case.goal.startswith("facts")
        if case.goal == "facts that change":
            assert not taken & set(TUNED)
        if case.goal == "facts that stay" and fitting and case.examples >= FEW:
            assert taken & set(TUNED)  # in addition to retrieval
        if "full" in taken:
            assert not case.keep and case.examples >= MANY
        assert len(taken & set(TUNED)) <= 1
        if verdicts["DPO"] == "then" or verdicts["GRPO"] == "then":
            assert taken & {*TUNED, "distillation"}


def test_every_reason_has_its_basis_and_what_is_published_its_source(room):
    seen = set()
    for fitting in ROOMS:
        room(fitting)
        for settings in CASES:
            seen |= {reason for option in decide(Case(**settings)) for reason in option.reasons}
    for reason in seen:
        assert reason.text.endswith((".", ")"))
        known = (guide.MEASURED, guide.COMPUTED, guide.RULE)
        assert reason.basis in known or re.fullmatch(r"published at \d+B( to \d+B)?", reason.basis)
        assert bool(reason.source) == (reason.basis == guide.MEASURED or reason.basis.startswith("published"))
        if "arXiv" in reason.source:
            assert re.fullmatch(r"arXiv \d{4}\.\d{5}", reason.source)


@pytest.mark.parametrize(
    "change, name",
    [
        ({"licence_weights": False}, "LoRA"),
        ({"licence_weights": False}, "prompting"),
        ({"licence_answers": False}, "distillation"),
        ({"private": True}, "larger model"),
        ({"larger_works": False}, "larger model"),
        ({"budget": 100.0}, "LoRA"),
        ({"seconds": 0.5}, "LoRA"),
        ({"examples": FEW - 1}, "LoRA"),
        ({"goal": "facts that change"}, "LoRA"),
    ],
)
def test_one_answer_changes_one_thing(room, change, name):
    """Each question of the guide can change a verdict that was not "no"."""
    room(["LoRA", "QLoRA"])
    base = Case(**RICH)
    before, after = (
        {o.name: o.verdict for o in decide(case)} for case in (base, guide.replace(base, **change))
    )
    assert before[name] != "no" and after[name] == "no"


def test_traffic_turns_from_the_larger_model_to_a_tuned_one(room):
    room(["LoRA", "QLoRA"])

    def chosen(answers):
        case = Case(answers_a_day=answers, **RICH)
        return next(o.name for o in decide(case) if o.verdict == "choose"), guide.break_even_a_day(case)

    few, number = chosen(100)
    many, same = chosen(100_000)
    assert (
        (few, many) == ("larger model", "LoRA") and number == pytest.approx(same) and 100 < number < 100_000
    )
    # at break-even both cost the same, up to rounding to a whole number of answers
    case = Case(answers_a_day=round(number), **RICH)
    prices = guide.costs(case)
    assert prices["LoRA"].total == pytest.approx(prices["larger model"].total, rel=0.01)


def test_a_small_difference_of_cost_is_called_one(room):
    """LoRA with 400 labels against distillation, which needs none."""
    room(["LoRA", "QLoRA"])

    def said(**answers):
        options = {o.name: o for o in decide(Case(examples=400, **answers, **RICH))}
        assert options["LoRA"].verdict == "later"
        return options["LoRA"].reasons[0].text

    assert "more than distillation: so little that the scores should decide" in said(answers_a_day=20_000)
    assert said(answers_a_day=50).endswith("more than the larger model.")


def test_a_batch_needs_no_card_that_waits(room):
    room(["LoRA", "QLoRA"])
    now, tonight = (guide.own_serving(Case(answers_a_day=10, seconds=s), 0) for s in (5, guide.PATIENCE))
    assert now == 24 * 365 * 0.5 and tonight < now / 100


def test_costs_by_hand(room):
    """Labels, nine trainings and serving of one case, computed step by step."""
    room(["LoRA", "QLoRA"])
    case = Case(examples=400, answers_a_day=1000, days=100, model="x", card="H100 80 GB", card_price=2.0)
    questions = math.ceil(2.8**2 * (0.25 - 0.05**2) / 0.05**2)
    assert questions == 777
    cost = guide.costs(case)["LoRA"]
    assert cost.labels == (questions + 100) * 2.0
    tokens = 500 * 3 * (150 + 150)
    seconds = tokens * 8e9 * (2 + 2 + 2) / (989e12 * 0.35)
    assert cost.training == pytest.approx(9 * seconds / 3600 * 2.0)
    assert cost.serving == 2.0 * 24 * 100
    asked = guide.costs(case)["larger model"]
    assert asked.serving == pytest.approx(1000 * 100 * (950 * 1.0 + 150 * 4.0) / 1e6)
    assert guide.seconds_an_answer(case, 0) == pytest.approx(
        2 * 8e9 * 150 / (989e12 * 0.35) + 150 * 16e9 / 3350e9
    )


def test_a_sweep_and_labels_are_part_of_the_cost(room):
    room(["LoRA", "QLoRA"])
    once, swept = (guide.costs(Case(runs=runs))["LoRA"].training for runs in (1, 9))
    assert swept == pytest.approx(9 * once)
    assert guide.judging(Case(verifiable=True)) == 0 < guide.judging(Case())


@pytest.mark.parametrize("points, disagree, number", [(5, 0.25, 777), (1, 0.1, 7833), (25, 0.25, 24)])
def test_questions_needed(points, disagree, number):
    assert guide.questions_needed(points, disagree) == number


def test_questions_needed_have_the_power():
    """By simulation: this number of questions shows the difference in 80% of the repetitions."""
    import numpy as np

    n, d, disagree = guide.questions_needed(5), 0.05, 0.25
    rng = np.random.default_rng(0)
    chances = [(disagree + d) / 2, 1 - disagree, (disagree - d) / 2]
    draws = rng.choice([1, 0, -1], size=(4000, n), p=chances)
    low = draws.mean(1) - 1.96 * draws.std(1) / n**0.5
    assert (low > 0).mean() == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize(
    "wrong, named",
    [
        ({"goal": "luck"}, "facts that change"),
        ({"card": "RTX 9999"}, "RTX 4090"),
        ({"examples": -1}, "examples must be a number of at least 0"),
        ({"days": 0}, "days must be a number of at least 1"),
        ({"budget": float("nan")}, "budget must be a number"),
        ({"points": 0.0}, "points above 0"),
        ({"points": 60.0}, "at most 25"),
        ({"seconds": 0.0}, "seconds must be above 0"),
    ],
)
def test_answers_that_make_no_sense_are_refused(wrong, named):
    with pytest.raises(ValueError, match=named):
        Case(**wrong)


# --- the memo


def memo_of(**settings):
    case = Case(**settings)
    return memo.make_memo(case, decide(case, {"LoRA": Reason("It won.", guide.MEASURED, "lesson 14")}))


def test_the_memo_says_everything_in_both_forms(room, tmp_path, monkeypatch):
    room(["LoRA", "QLoRA"])
    made = memo_of(currency="CHF", **RICH)
    monkeypatch.setattr(memo, "date", type("Day", (date,), {"today": lambda: date(2030, 1, 2)}))
    paths = memo.write_memo(made, tmp_path / "new")
    text, page = (path.read_text(encoding="utf-8") for path in paths)
    plain = html.unescape(re.sub(r"<[^>]+>", " ", page))
    for part in (made.title, made.decision, *made.before, *made.change, *itertools.chain(*made.prices)):
        assert part in text and part in plain
    assert "Written on: 2030-01-02" in text and "2030-01-02" in plain
    for name, verdict, reasons in made.verdicts:
        assert all(f"{name}: {verdict}." in form for form in (text, plain))
        assert all(reason in form for reason in reasons for form in (text, plain))
    assert "EUR" not in text and "CHF" in text
    assert "It won. (measured here on 4.8M; lesson 14)" in text
    assert len({name for name, _, _ in made.verdicts}) == 9


def test_a_memo_replaces_itself_and_nothing_else(tmp_path):
    made = memo_of(**RICH)
    assert memo.write_memo(made, tmp_path) == memo.write_memo(made, tmp_path)
    (tmp_path / "memo.html").unlink()
    (tmp_path / "memo.md").write_text("mine")
    with pytest.raises(FileExistsError, match=r"memo\.md is not the course's\. Name another folder"):
        memo.write_memo(made, tmp_path)
    (tmp_path / "memo.html").write_text("<p>mine")
    with pytest.raises(FileExistsError, match=r"memo\.html is a file that this course did not write"):
        memo.write_memo(made, tmp_path)
    assert (tmp_path / "memo.md").read_text() == "mine"


def test_the_memo_is_one_page(room):
    """About six hundred words: a page in small print."""
    for fitting in ROOMS:
        room(fitting)
        for goal in GOALS:
            text = memo.to_markdown(memo_of(goal=goal, verifiable=True, **RICH))
            assert len(text.split()) < 750, goal


def test_nothing_can_be_done_is_said(room):
    room(["LoRA", "QLoRA"])
    assert "No method is possible" in memo_of(licence_weights=False, private=True).decision
    assert "Stay with a prompt" in memo_of(examples=0, private=True, **RICH).decision


def test_the_larger_model_has_its_article(room):
    room(["LoRA", "QLoRA"])
    assert "Then take the larger model: " in memo_of(answers_a_day=50, **RICH).decision
    assert "Then take distillation: " in memo_of(examples=400, answers_a_day=20_000, **RICH).decision


def test_a_page_escapes_what_it_is_given(room):
    room([])
    assert "<b>" not in memo.to_html(memo_of(currency="<b>")).replace("&lt;b&gt;", "")


# --- models and cards


def test_every_model_and_card_has_an_origin():
    assert market.ORIGINS.keys() == KNOWN_MODELS.keys()
    assert market.SHEETS.keys() == CARDS.keys() - {"this machine"}
    rows = market.model_rows()
    assert {row["model"]: row["context"] for row in rows}["Llama-3.1-8B"] == 131_072
    assert all(re.fullmatch(r"\w+ 20\d\d", row["published"]) and "/" in row["config.json of"] for row in rows)
    assert all(row["bandwidth"] >= 300 and row["source"] for row in market.card_rows())


def test_a_model_that_somebody_adds_is_in_the_table(monkeypatch):
    monkeypatch.setitem(KNOWN_MODELS, "mine", KNOWN_MODELS["Qwen3-0.6B"])
    row = market.model_rows()[-1]
    assert (row["model"], row["layers"], row["licence"], row["config.json of"]) == ("mine", 28, "", "")


def test_no_context_is_left_to_a_library_s_default():
    for name, config in KNOWN_MODELS.items():
        assert config["model_type"] == "gpt2" or "max_position_embeddings" in config, name


@pytest.mark.slow
def test_the_guide_answers_for_every_card(capsys):
    for card in CARDS:
        widgets.show_memo(model="gpt2", card=card)
        assert "## What it costs" in capsys.readouterr().out


@pytest.mark.parametrize("model", ["gpt2", "gpt2-xl", "Llama-2-7B"])
def test_the_calculator_says_where_a_context_ends(model, capsys):
    widgets.memory_plan(model, "lora", 1, market.load_context(model) + 1, "H200")
    assert f"exceed the model's context of {market.load_context(model):,}" in capsys.readouterr().out


def test_sums_of_a_cost():
    assert Cost(1, 2, 3).total == 6
