"""The decision for many cases: what it must never say, what it must always say, and its arithmetic."""

import html
import itertools
import math
import re
from datetime import date

import pytest

from course_utils.budget import CARDS, KNOWN_MODELS
from course_utils.lessons.lesson_14 import evidence, guide, market, memo, prices, widgets
from course_utils.lessons.lesson_14.evidence import GOALS, OPTIONS, TUNED, Quality, Reason
from course_utils.lessons.lesson_14.guide import ENOUGH, MANY, Case, Cost, advice, decide

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
        GOALS, (0, ENOUGH // 2, MANY), (False, True), (False, True), (False, True), (False, True)
    )
]


@pytest.mark.parametrize("fitting", ROOMS, ids=lambda fitting: "+".join(fitting) or "nothing")
def test_rules_that_hold_for_every_case(room, fitting):
    room(fitting)
    for settings in CASES:
        case = Case(**settings, **RICH)
        options = {option.name: option for option in decide(case)}
        verdicts = {name: option.verdict for name, option in options.items()}
        assert list(verdicts) == list(OPTIONS)
        taken = advice(options.values())
        chosen = [name for name in OPTIONS if verdicts[name] == "choose"]
        assert len(chosen) == 1  # a prompt is possible in all of these
        for name in taken:
            assert options[name].place and options[name].risk
            assert options[name].cost.total >= options[chosen[0]].cost.total
            rivals = (other.quality for other in options.values() if other.verdict != "no")
            assert not any(guide.clearly_worse(options[name].quality, other, case.points) for other in rivals)
        then = {name for name, verdict in verdicts.items() if verdict == "then"}
        assert not (taken | then) & (set(TUNED) - set(fitting))  # what it advises fits
        assert verdicts["provider's tuning"] == "no"
        if case.private:
            assert {verdicts["larger model"], verdicts["distillation"]} == {"no"}
            assert {option.place for option in options.values() if option.verdict != "no"} == {
                "a card of its own"
            }
        if not case.verifiable:
            assert {verdicts["right samples"], verdicts["GRPO"]} == {"no"}
        if case.goal != "preference":
            assert verdicts["DPO"] == "no"
        assert bool(taken & {"retrieval", "long context"}) == case.goal.startswith("facts")
        if case.goal.startswith("facts"):
            assert not taken & set(TUNED)
        if case.goal == "facts that stay" and fitting:
            assert then & set(TUNED)  # in addition to retrieval
        if "full" in taken:
            assert not case.keep and case.examples >= MANY


def test_every_reason_has_its_basis_and_what_is_published_its_source(room):
    seen = {given for goal in evidence.QUALITY.values() for given in goal.values()}
    for fitting in ROOMS:
        room(fitting)
        for settings in CASES:
            reasons = {reason for option in decide(Case(**settings)) for reason in option.reasons}
            assert all(reason.text.endswith((".", ")")) for reason in reasons)
            seen |= reasons
    for found in seen:
        known = (guide.MEASURED, guide.COMPUTED, guide.RULE, "announced")
        assert found.basis in known or re.fullmatch(r"published at \d+B( to \d+B| or more)?", found.basis)
        sourced = found.basis in (guide.MEASURED, "announced") or found.basis.startswith("published")
        assert bool(found.source) == sourced
        if "arXiv" in found.source:
            assert re.fullmatch(r"arXiv \d{4}\.\d{5}", found.source)


@pytest.mark.parametrize(
    "change, name",
    [
        ({"licence_weights": False}, "LoRA"),
        ({"licence_weights": False}, "prompting"),
        ({"licence_answers": False}, "distillation"),
        ({"private": True}, "larger model"),
        ({"larger_works": False}, "larger model"),
        ({"budget": 100.0}, "LoRA"),
        ({"private": True, "seconds": 0.5}, "LoRA"),
        ({"examples": ENOUGH}, "distillation"),
        ({"goal": "facts that change"}, "LoRA"),
    ],
)
def test_one_answer_changes_one_thing(room, change, name):
    """Each question of the guide can change a verdict that was not "no"."""
    room(["LoRA", "QLoRA"])
    base = Case(examples=0, **RICH)
    before, after = (
        {o.name: o.verdict for o in decide(case)} for case in (base, guide.replace(base, **change))
    )
    assert before[name] != "no" and after[name] == "no"


def test_a_licence_that_forbids_leaves_what_a_provider_serves(room):
    room(["LoRA", "QLoRA"])
    facts = {"goal": "facts that change", "documents": 9000, "licence_weights": False, **RICH}
    assert advice(decide(Case(**facts))) == {"long context"}
    assert {option.verdict for option in decide(Case(**facts, private=True))} == {"no"}


def test_what_closes_is_said_with_its_days(room):
    room([])
    reason = next(o.reasons[0] for o in decide(Case()) if o.name == "provider's tuning")
    assert "6 January 2027" in reason.text and "14 January 2027" in reason.text
    assert reason.source == "developers.openai.com/api/docs/deprecations"


def test_traffic_turns_from_the_larger_model_through_a_tie_to_a_tuned_one(room):
    room(["LoRA", "QLoRA"])
    taken = [advice(decide(Case(answers_a_day=answers, **RICH))) for answers in (100, 5000, 100_000)]
    assert taken == [{"larger model"}, {"larger model", "LoRA"}, {"LoRA"}]


def test_a_tie_is_what_costs_less_than_a_third_more(room):
    """The part that all have in common, the labels to judge by, does not count."""
    room(["LoRA", "QLoRA"])
    for answers in range(1000, 20_000, 500):
        case = Case(answers_a_day=answers, **RICH)
        options = {option.name: option for option in decide(case)}
        own = [options[name].cost.total - guide.judging(case) for name in ("larger model", "LoRA")]
        tied = advice(options.values()) >= {"larger model", "LoRA"}
        assert tied == (abs(own[0] - own[1]) < max(own) / 3)


def test_measured_scores_go_before_published_ones(room):
    room(["LoRA", "QLoRA"])
    desk = {"answers_a_day": 20_000, **RICH}
    assert advice(decide(Case(**desk))) == {"LoRA"}
    ahead = {"larger model": (40, 3), "LoRA": (34, 3)}
    assert advice(decide(Case(**desk, scores=ahead))) == {"larger model"}
    near = {"larger model": (38, 3), "LoRA": (34, 3)}
    assert advice(decide(Case(**desk, scores=near))) == {"LoRA"}
    nothing = {"larger model": (4, 4), "LoRA": (2, 3)}
    assert advice(decide(Case(**desk, scores=nothing))) == {"prompting"}


@pytest.mark.parametrize(
    "one, other, points, worse",
    [
        ((20, 3), (29, 3), 5, True),
        ((20, 3), (24, 3), 5, False),
        ((20, 6), (28, 6), 5, False),
        ((20, 1), (24, 1), 5, False),
    ],
)
def test_clearly_worse_by_hand(one, other, points, worse):
    """Nine points are more than 5 and than the root of 9 + 9; four are not; eight are below that of 72."""
    assert guide.clearly_worse(Quality(*one, "x"), Quality(*other, "x"), points) == worse


def test_a_batch_needs_no_card_that_waits(room):
    room(["LoRA", "QLoRA"])
    now, tonight = (guide.own_serving(Case(answers_a_day=10, seconds=s), 0) for s in (5, guide.PATIENCE))
    assert now == pytest.approx(24 * 365 * 0.44) and tonight < now / 100


def test_costs_by_hand(room):
    """Labels, nine trainings, days and serving of one case, computed step by step."""
    room(["LoRA", "QLoRA"])
    given = {"model": "x", "card": "H100 80 GB", "card_price": 2.0, "private": True}
    case = Case(examples=400, answers_a_day=1000, days=100, **given)
    questions = math.ceil(2.8**2 * (0.25 - 0.05**2) / 0.05**2)
    assert questions == 777
    cost, place = guide.costs(case)["LoRA"]
    assert cost.labels == (questions + 100) * 2.0
    tokens = 500 * 3 * (150 + 150)
    seconds = tokens * 8e9 * (2 + 2 + 2) / (989e12 * 0.35)
    assert cost.training == pytest.approx(9 * seconds / 3600 * 2.0)
    assert cost.serving == 2.0 * 24 * 100 and place == "a card of its own"
    assert cost.people == pytest.approx((8 + 3 + 6 * 100 / 365) * 600)
    assert cost.total == cost.labels + cost.training + cost.serving + cost.people
    assert guide.seconds_an_answer(case, 0) == pytest.approx(
        2 * 8e9 * 150 / (989e12 * 0.35) + 150 * 16e9 / 3350e9
    )
    asked = guide.costs(guide.replace(case, private=False))["larger model"][0]
    assert asked.serving == pytest.approx(1000 * 100 * (950 * 1.0 + 150 * 5.0) / 1e6)
    assert asked.people == 2 * 600


def test_the_cheaper_place_serves_with_its_days_counted(room):
    """By the token 150 + 150 tokens at 0.2 a million; a card needs 0.44 an hour and nine days."""
    room(["LoRA", "QLoRA"])

    def place(**answers):
        cost, where = guide.costs(Case(**answers))["LoRA"]
        return where, cost.serving

    assert place(answers_a_day=2000) == ("shared, by the token", pytest.approx(2000 * 365 * 300 * 0.2 / 1e6))
    assert place(answers_a_day=250_000, person_day=0)[0] == "a card of its own"
    both = guide.serving_places(Case(), "LoRA")
    assert [one.place for one in both] == ["shared, by the token", "a card of its own"]
    assert both[1].price == pytest.approx(0.44 * 24 * 365) and both[1].days == 9
    said = " ".join(memo_of(answers_a_day=20_000).change)
    assert (
        "Served elsewhere, a card of its own: 3,854 USD and 9 days of a person, 8,816 USD more in all."
        in said
    )
    assert guide.costs(Case())["full"][1] == "a card of its own"  # nobody shares all weights
    with pytest.raises(KeyError):
        guide.costs(Case(private=True, seconds=0.5))["LoRA"]


def test_what_begins_every_prompt_costs_less_when_it_is_long_and_asked_often():
    def price(front, **answers):
        return guide.asked_serving(Case(**answers), 1, front) * 1e6

    rest = 150 * 1.0 + 150 * 5.0
    assert price(800) == pytest.approx(800 + rest)
    assert price(8800) == pytest.approx(8800 * 0.05 + rest)
    assert price(8800, answers_a_day=50) == pytest.approx(8800 + rest)


def test_a_larger_model_on_shared_hardware_costs_more():
    assert (prices.hosted(8 * 10**9).value, prices.hosted(32 * 10**9).value) == (0.2, 0.9)
    assert Case(model="Qwen3-32B", card="B200").host_price == 0.9


def test_every_price_has_its_day_and_source():
    named = [*vars(prices).values(), *prices.CARDS.values(), *prices.SMALLEST]
    found = [price for price in named if isinstance(price, prices.Price)]
    assert len(found) > 15 and prices.CARDS.keys() < CARDS.keys()
    for price in found:
        assert (
            price.value > 0 and price.source and (price.read == "undated" or date.fromisoformat(price.read))
        )


def test_a_sweep_and_labels_are_part_of_the_cost(room):
    room(["LoRA", "QLoRA"])
    once, swept = (guide.costs(Case(runs=runs))["LoRA"][0].training for runs in (1, 9))
    assert swept == pytest.approx(9 * once)
    assert guide.judging(Case(verifiable=True)) == 0 < guide.judging(Case())


def test_flips_by_hand(room):
    """At 50 a day only points decide: 34 x 4/3 - 24 and 34 - 24 x 2/3 exceed the root of 100 + 100."""
    room(["LoRA", "QLoRA"])
    found = guide.flips(Case(answers_a_day=50, **RICH))
    turned = ["points of larger model, a third less: LoRA", "points of LoRA, a third more: LoRA"]
    assert (found.turned, found.nearly, found.moves) == (turned, 0, 2 * (11 + 2))
    # 2,600 cost 2,813 and 4,857, which is no tie; a third more, 3,467, cost 3,351 and 4,876, which is one
    found = guide.flips(Case(answers_a_day=2600, **RICH))
    assert found.turned == turned and found.nearly > 0


def test_at_the_prices_of_the_smallest_model_the_desk_takes_it(room):
    """7.3 million answers at 0.1 and 0.5: 1,241 and 1,200 for two days, against 5,238."""
    room(["LoRA", "QLoRA"])
    desk = Case(answers_a_day=20_000, **RICH)
    assert (advice(decide(desk)), advice(decide(guide.with_smallest(desk)))) == ({"LoRA"}, {"larger model"})
    assert "smallest model does it, too, a tenth as dear: the larger model" in " ".join(
        memo.make_memo(desk, decide(desk)).change
    )


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
        ({"card": "T4"}, "prices.py has no price of T4: give card_price"),
        ({"scores": {"luck": (1, 1)}}, "options are prompting"),
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
    for part in (made.title, made.decision, *made.before, *made.change, *itertools.chain(*made.options)):
        assert part in text and part in plain
    assert "Written on: 2030-01-02" in text and "2030-01-02" in plain
    for name, verdict, reasons in made.verdicts:
        assert all(f"{name}: {verdict}." in form for form in (text, plain))
        assert all(reason in form for reason in reasons for form in (text, plain))
    assert "USD" not in text and "CHF" in text
    assert "It won. (measured here on 4.8M; lesson 14)" in text
    assert {name for names, _, _ in made.verdicts for name in names.split(", ")} == set(OPTIONS)


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
    room([])
    assert "Stay with a prompt" in memo_of(private=True, **RICH).decision


def test_a_tie_is_a_tie_in_the_first_line_and_says_what_breaks_it(room):
    room(["LoRA", "QLoRA"])
    assert "Then take the larger model: " in memo_of(answers_a_day=50, **RICH).decision
    tied = memo_of(answers_a_day=5000, **RICH)
    assert "it is a tie: the larger model or LoRA. Try them all" in tied.decision
    assert "breaks where a trial shows 5 points between the larger model and LoRA" in tied.change[0]
    sums = memo_of(goal="ability", verifiable=True, private=True, label_price=30, examples=0, **RICH)
    assert "Then take its own right samples: " in sums.decision and "After that GRPO." in sums.decision


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
    for card in prices.CARDS:
        widgets.show_memo(model="gpt2", card=card)
        assert "## What it gives and costs (USD)" in capsys.readouterr().out


@pytest.mark.parametrize("model", ["gpt2", "gpt2-xl", "Llama-2-7B"])
def test_the_calculator_says_where_a_context_ends(model, capsys):
    widgets.memory_plan(model, "lora", 1, market.load_context(model) + 1, "H200")
    assert f"exceed the model's context of {market.load_context(model):,}" in capsys.readouterr().out


def test_sums_of_a_cost():
    assert Cost(1, 2, 3, 4).total == 10


def test_what_is_taken_in_short_has_ties_and_what_comes_after():
    problems = {"goal": "ability", "verifiable": True, "private": True}
    expected = {
        "the larger model or LoRA": Case(answers_a_day=5000),
        "LoRA or its own right samples, then GRPO": Case(**problems),
        "retrieval, then LoRA": Case(goal="facts that stay"),
    }
    for said, case in expected.items():
        assert guide.in_short(case) == said
        names = {guide.in_a_sentence(name) for name in advice(decide(case))}
        assert all(name in said for name in names)
