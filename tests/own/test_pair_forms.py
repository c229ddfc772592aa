"""Preference files as other people publish them: each form gives the pair that its card describes."""

import csv
import json
import random

import pytest

from course_utils.own.own_data import contradictions, read_pairs_of, read_preferences, scan_preferences
from course_utils.own.pair_forms import columns_of, plain_pair
from course_utils.own.rows import DataError


def said(*turns):
    return [
        {"role": role, "content": text} for role, text in zip(("user", "assistant") * 9, turns, strict=False)
    ]


ASKED, GOOD, BAD = "Who wrote it?", "Ann Lee did.", "No idea."
SYSTEM = {"role": "system", "content": "Be brief."}
HH = "\n\nHuman: Is it new?\n\nAssistant: Yes.\nIt is.\n\nHuman: Who wrote it?\n\nAssistant: "
FORMS = {  # {name: (row, prompt, a part of the line that says what was read)}
    "texts": (
        {"prompt": ASKED, "chosen": GOOD, "rejected": BAD},
        said(ASKED),
        'prompt from "prompt", chosen from',
    ),
    "messages": (
        {"prompt": said(ASKED), "chosen": said(ASKED, GOOD)[1:], "rejected": said(ASKED, BAD)[1:]},
        said(ASKED),
        'prompt from "prompt"',
    ),
    "a text prompt, message answers": (
        {"prompt": ASKED, "chosen": said(ASKED, GOOD)[1:], "rejected": said(ASKED, BAD)[1:]},
        said(ASKED),
        'prompt from "prompt"',
    ),
    "implicit prompt": (
        {"chosen": said(ASKED, GOOD), "rejected": said(ASKED, BAD)},
        said(ASKED),
        "prompt from what both begin with",
    ),
    "implicit prompt of several turns": (
        {
            "chosen": [SYSTEM, *said("Is it?", "Yes.", ASKED, GOOD)],
            "rejected": [SYSTEM, *said("Is it?", "Yes.", ASKED, BAD)],
        },
        [SYSTEM, *said("Is it?", "Yes.", ASKED)],
        "prompt from what both begin with",
    ),
    "UltraFeedback, binarized": (
        {
            "prompt": ASKED,
            "prompt_id": "0f",
            "chosen": said(ASKED, GOOD),
            "rejected": said(ASKED, BAD),
            "messages": said(ASKED, GOOD),
            "score_chosen": 8.5,
            "score_rejected": 6.0,
        },
        said(ASKED),
        "prompt from what both begin with",
    ),
    "UltraFeedback, other columns": (
        {"source": "x", "instruction": ASKED, "chosen_response": GOOD, "rejected_response": BAD},
        said(ASKED),
        'prompt from "instruction", chosen from "chosen_response", rejected from "rejected_response"',
    ),
    "UltraFeedback, before pairs were made": (
        {
            "instruction": ASKED,
            "models": ["a", "b", "c"],
            "completions": [
                {"response": "Somebody.", "overall_score": 6.5},
                {"response": GOOD, "overall_score": 8.0},
                {"response": BAD, "overall_score": 1.0},
            ],
        },
        said(ASKED),
        'the best and the worst "overall_score"',
    ),
    "HH": (
        {"chosen": HH + GOOD, "rejected": HH + BAD},
        said("Is it new?", "Yes.\nIt is.", ASKED),
        "both begin",
    ),
    "a prompt in HH's turns": (
        {"prompt": HH, "chosen": GOOD, "rejected": BAD},
        said("Is it new?", "Yes.\nIt is.", ASKED),
        'prompt from "prompt"',
    ),
    "Orca": (
        {"system": "Be brief.", "question": ASKED, "chosen": GOOD, "rejected": BAD},
        [SYSTEM, *said(ASKED)],
        'prompt from "system" and "question"',
    ),
    "OpenAI": (
        {
            "input": {"messages": said(ASKED)},
            "preferred_output": said(ASKED, GOOD)[1:],
            "non_preferred_output": said(ASKED, BAD)[1:],
        },
        said(ASKED),
        'prompt from "input", chosen from "preferred_output"',
    ),
    "A/B": (
        {"prompt": ASKED, "response_a": BAD, "response_b": GOOD, "winner": "b"},
        said(ASKED),
        'chosen and rejected from "response_a" and "response_b" by "winner"',
    ),
    "A/B of models": (
        {"prompt": ASKED, "response_a": GOOD, "response_b": BAD, "winner": "model_a"},
        said(ASKED),
        'by "winner"',
    ),
    "A/B by the column's name": (
        {"question": ASKED, "Answer A": GOOD, "Answer B": BAD, "preferred": "answer a"},
        said(ASKED),
        'by "preferred"',
    ),
    "A/B by number": (
        {"prompt": ASKED, "response_0": BAD, "response_1": GOOD, "better_response_id": 1},
        said(ASKED),
        'by "better_response_id"',
    ),
    "whole conversations, A/B": (
        {"conversation_a": said(ASKED, GOOD), "conversation_b": said(ASKED, BAD), "winner": "model_a"},
        said(ASKED),
        "prompt from what both begin with",
    ),
}


def written(tmp_path, *rows, name="p.jsonl"):
    (tmp_path / name).write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return tmp_path / name


@pytest.mark.parametrize("name", FORMS)
def test_each_form_gives_prompt_chosen_and_rejected_and_says_what_was_read(tmp_path, name):
    row, prompt, words = FORMS[name]
    path = written(tmp_path, row)
    [preference], [note] = read_pairs_of(path)
    assert (preference.pair.prompt, preference.pair.chosen, preference.pair.rejected) == (prompt, GOOD, BAD)
    assert words in note and note.startswith("1 pairs of p.jsonl: prompt from")


def test_a_table_with_a_winner_and_columns_in_any_case(tmp_path):
    with (tmp_path / "p.csv").open("w", encoding="utf-8", newline="") as file:
        rows = [("Prompt", "Response_A", "Response_B", "Winner", "id"), (ASKED, BAD, GOOD, "B", 7)]
        csv.writer(file, delimiter=";").writerows([*rows, ("Why?", "So.", "Because.", "tie", 8)])
    [preference], notes = read_pairs_of(tmp_path / "p.csv")
    assert (preference.line, preference.pair.chosen, preference.pair.rejected) == (2, GOOD, BAD)
    assert notes[1] == "Lines that prefer neither answer, left out: 1, lines 3."


@pytest.mark.parametrize("tie", ["tie", "Tie", "tie (bothbad)", "", None, "both"])
def test_a_line_without_a_preference_is_left_out_and_counted(tmp_path, tie):
    row = FORMS["A/B"][0]
    pairs, faults, undecided = scan_preferences(written(tmp_path, row, row | {"winner": tie}, row))
    assert ([pair.line for pair in pairs], faults, undecided) == ([1, 3], [], [2])


def test_equal_scores_prefer_nothing(tmp_path):
    row = FORMS["UltraFeedback, before pairs were made"][0]
    even = row | {"completions": [each | {"overall_score": 5} for each in row["completions"]]}
    assert scan_preferences(written(tmp_path, row, even))[2] == [2]


def test_columns_are_named_by_the_user(tmp_path):
    row = {"Frage": ASKED, "gut": GOOD, "schlecht": BAD}
    columns = columns_of("prompt=Frage, chosen=gut, rejected=schlecht")
    [preference] = read_preferences(written(tmp_path, row), columns)
    assert (preference.asked, preference.pair.chosen, preference.pair.rejected) == ([ASKED], GOOD, BAD)
    row = {"Frage": ASKED, "links": BAD, "rechts": GOOD, "besser": "rechts"}
    columns = columns_of("prompt=Frage,a=links,b=rechts,winner=besser")
    for won in ("rechts", "b"):
        [preference] = read_preferences(written(tmp_path, row | {"besser": won}), columns)
        assert (preference.pair.chosen, preference.pair.rejected) == (GOOD, BAD)


@pytest.mark.parametrize("text", ["prompt", "prompt=", "=x", "reward=x", "prompt=a, prompt=b", 7])
def test_columns_that_are_not_understood_are_refused_in_one_line(text):
    with pytest.raises(ValueError, match=r"^COLUMNS") as error:
        columns_of(text)
    assert "\n" not in str(error.value)


def test_an_unknown_file_gets_one_message_with_its_columns_and_the_known_forms(tmp_path):
    path = written(tmp_path, *[{"text_1": "a", "text_7": "b", "stars": 4}] * 50)
    with pytest.raises(DataError) as error:
        read_preferences(path)
    message = str(error.value)
    assert "\n" not in message and "line 1 has 'text_1', 'text_7', 'stars'" in message
    for form in ("UltraFeedback", "HH", "response_a, response_b and winner", "COLUMNS ="):
        assert form in message
    (tmp_path / "p.csv").write_text("text,stars\na,4\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"COLUMNS = .* its first line is 'text,stars'"):
        read_preferences(tmp_path / "p.csv")


@pytest.mark.parametrize(
    "row, reason",
    [
        (
            FORMS["A/B"][0] | {"winner": "left"},
            "the winner is 'left'; write the better one's column (response_a or",
        ),
        (FORMS["A/B"][0] | {"winner": 3}, "the winner is '3'"),
        ({"chosen": said("Why?", GOOD), "rejected": said(ASKED, BAD)}, "differ before the last turn"),
        ({"chosen": HH + GOOD, "rejected": HH.replace("new", "old") + BAD}, "differ before the last turn"),
        ({"chosen": GOOD, "rejected": BAD}, "no \"prompt\"; the line has 'chosen', 'rejected'"),
        ({"instruction": ASKED, "completions": [1]}, '"completions" must be a list of objects'),
        ({"messages": said(ASKED, GOOD)}, "this is a conversation; give the file as DATA"),
    ],
)
def test_a_bad_row_among_good_ones_is_named(tmp_path, row, reason):
    _, [fault], _ = scan_preferences(written(tmp_path, FORMS["texts"][0], row))
    assert fault.line == 2 and reason in fault.reason


JUNK = (
    None,
    3,
    "",
    [],
    {},
    "x",
    [1],
    {"role": "user"},
    [{"role": "user", "content": 1}],
    "Human: a\n\nAssistant:",
)


def test_odd_values_are_faults_and_never_other_errors(tmp_path):
    rng = random.Random(0)
    rows = [dict(row) for row, *_ in FORMS.values() for _ in range(40)]
    for row in rows:
        for name in rng.sample(list(row), rng.randint(0, 2)):
            row[name] = rng.choice(JUNK)
    good, faults, undecided = scan_preferences(written(tmp_path, FORMS["texts"][0], *rows))
    assert len(good) + len(faults) + len(undecided) == len(rows) + 1 and len(faults) > 100


def test_an_instruction_takes_its_input_and_a_system_line_stands_before_messages():
    row = {"instruction": "Translate", "input": "Haus", "chosen": "house", "rejected": "horse"}
    plain, form = plain_pair(row)
    assert plain["prompt"] == "Translate\nHaus" and '"instruction" and "input"' in form
    turns = [{"role": "user", "content": "Hi"}]
    answers = ([*turns, {"role": "assistant", "content": text}] for text in ("Yes.", "No."))
    plain, form = plain_pair(
        dict(zip(("chosen", "rejected"), answers, strict=True)) | {"system": "Be brief."}
    )
    assert plain["prompt"] == [{"role": "system", "content": "Be brief."}, *turns] and '"system"' in form


@pytest.mark.parametrize("text", ["winner=safer_response_id", "chosen=edited", "a=x, winner=y"])
def test_columns_that_go_together_are_named_together(text):
    with pytest.raises(ValueError, match=r"COLUMNS: .* go together; also say "):
        columns_of(text)


def test_a_text_with_line_ends_of_windows_is_read_as_turns():
    text = "\r\n\r\nHuman: Hi\r\n\r\nAssistant: {}"
    plain, _ = plain_pair({"chosen": text.format("Yes."), "rejected": text.format("No.")})
    assert plain["prompt"] == [{"role": "user", "content": "Hi"}]


def test_columns_of_pairs_that_are_not_read_are_named_and_turned_pairs_are_found(tmp_path):
    rows = [
        {"prompt": "Is it open?", "chosen": "Yes.", "rejected": "No.", "rated_by": "Ann"},
        {"prompt": "Hi, is it open", "chosen": "no", "rejected": "YES", "rated_by": "Jo"},
    ]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    pairs, notes = read_pairs_of(tmp_path / "p.jsonl")
    assert "not read: rated_by" in notes[0] and contradictions(pairs) == [2]
