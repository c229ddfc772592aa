"""Numbers of the report and of the model card: each share with its own interval."""

import pytest

from course_utils.own.own_run import Plan, Scores
from course_utils.own.report import model_card, number, report_page, score_cells, score_rows
from course_utils.own.verdict import Fit, Verdict

FIT = Fit(2.0, 1.0, 4.0, 1.2, 0.9, 37)

# Wilson's interval at z = 1.96, by hand: 20 of 40, 0 of 40, 36 of 40, 40 of 40
HALF, NONE, MOST, ALL = (
    "0.50 (0.35 to 0.65)",
    "0.00 (0.00 to 0.09)",
    "0.90 (0.77 to 0.96)",
    "1.00 (0.91 to 1.00)",
)


def scores(same, agrees, ended=1.0, loss=2.5):
    return Scores(loss, 1.25, same, agrees, 0.625, ended, ["so"] * 40)


STAGES = {"before": scores(0.0, 0.5, loss=None), "after SFT": scores(0.5, 0.9)}
ROWS = [
    ["loss on held-out answers (nats a token)", "", "2.500"],
    ["loss on other text (nats a token)", "1.250", "1.250"],
    ["answers that are the reference", NONE, HALF],
    ["answers that agree with the reference", HALF, MOST],
    ["words shared with the reference (F1)", "0.625", "0.625"],
    ["answers that end by themselves", ALL, ALL],
]


def test_a_share_stands_with_its_interval_and_nothing_else_has_one():
    assert score_rows(STAGES) == ROWS
    assert number("same", 0.5, 0) == "0.500" and number("loss", 0.5, 40) == "0.500"
    assert number("same", 0.5, 400) == "0.50 (0.45 to 0.55)"


def test_the_card_has_the_same_numbers_and_says_how_many_questions():
    settings = Plan("lora", 0, 10, 0.01), 100, 0
    verdict = Verdict("better", "so", "Beside it: this.")
    card = model_card("t", FIT, verdict, "tiny", *settings, "Split by question.", STAGES)
    for row in ROWS:
        assert " | ".join(["", *row, ""]).strip() in card
    assert "On 40 held-out questions; in brackets 95% intervals. Split by question." in card
    assert f"**Verdict: better.** so. Beside it: this.\n\n{FIT.words}\n" in card
    assert "tuned on 100 conversations, made" not in card and "pairs" not in card.split("## Use")[0]


def test_the_caution_stands_beside_the_word_in_report_card_and_box(capsys):
    verdict = Verdict("better", "so", "", "none of its 40 answers agrees")
    line = "Verdict: better, but none of its 40 answers agrees"
    card = model_card("t", FIT, verdict, "tiny", Plan("lora", 0, 10, 0.01), 100, 0, "By question.", STAGES)
    questions = [[{"role": "user", "content": "q"}]] * 40, ["so"] * 40, [*range(40)], 9
    page = report_page("t", FIT, verdict, [], [], {}, questions, STAGES)
    verdict.show()
    assert f"**{line}.** so." in card and f"{line}.</b> so." in page and line in capsys.readouterr().out


def test_the_table_asks_the_learners_interval_for_right_answers_of_questions():
    asked = []

    def interval_of(right, count):
        asked.append((right, count))
        return 0.25, 0.75

    cells = score_cells(STAGES, interval_of)
    assert asked == [(0, 40), (20, 40), (20, 40), (36, 40), (40, 40), (40, 40)]
    assert cells[2] == {
        "score": "answers that are the reference",
        "before": (0.0, 0.25, 0.75),
        "after SFT": (0.5, 0.25, 0.75),
    }
    assert cells[4]["before"] == pytest.approx(0.625)
