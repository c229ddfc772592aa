"""The steps before training: what goes on, and what the report is told."""

import pytest

from course_utils.own import own_run, steps
from course_utils.own.left_out import LeftOut
from course_utils.own.own_data import Conversation
from course_utils.own.rows import DataError
from course_utils.own.split import FileSplit


def talk(line, question, answer):
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return Conversation(line, messages)


TALKS = [talk(n, f"Who sells {letter * 5} in town?", f"{letter}.") for n, letter in enumerate("abcdef", 1)]


def test_copies_go_and_are_named_and_questions_with_two_answers_are_counted():
    rows = [
        *TALKS,
        talk(7, "Who sells aaaaa in town?", "a."),
        talk(8, "who sells bbbbb in town, please", "b."),
    ]
    rows.append(talk(9, "Who sells ccccc in town?", "Nobody."))
    out = LeftOut()
    different, pairs, notes = steps.without_copies(rows, [], out)
    assert [row.line for row in different] == [1, 2, 3, 4, 5, 6, 9] and pairs == []
    assert notes[0] == "Exact copies left out: 1, lines 7."
    assert notes[1] == "Near copies left out: 1, lines 8."
    assert notes[3] == "Questions with different answers: 1, first in lines 3."
    assert [row.line for _, row in out.rows] == [7, 8]


def test_too_few_are_an_error():
    with pytest.raises(DataError, match="2 different conversations are too few"):
        steps.without_copies(TALKS[:2], [], LeftOut())


def test_what_is_found_is_named_by_file():
    files = own_run.Files("my.jsonl", None)
    assert steps.looked_through(files, TALKS, []) == [steps.NOTHING_FOUND]
    found = steps.looked_through(files, [*TALKS, talk(7, "Write to ann@example.org", "Yes.")], [])
    assert found == ["To be looked at in DATA: an e-mail address: 1 line, 7."]


def test_the_parts_of_a_split_are_rows_of_one_kind():
    drawn = FileSplit("question", frozenset({1, 3}), 4, 2, 0, None)
    kinds = ["conversation", "conversation", "pair", "pair"]
    assert drawn.parts("abcd", kinds, "conversation") == (["a"], ["b"])
    assert drawn.parts("abcd", kinds, "pair") == (["c"], ["d"])
