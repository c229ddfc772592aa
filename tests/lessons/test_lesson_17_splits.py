"""Lesson 17: the first program's split leaks under a report that says it does not; today's does not leak."""

import pytest

from course_utils.lessons.lesson_17.desk import cafe_messages
from course_utils.lessons.lesson_17.exercises.leak_of import leak_of
from course_utils.lessons.lesson_17.experiments import colleagues_files
from course_utils.lessons.lesson_17.first_split import asked_again, first_split
from course_utils.own.both_sides import bare_letters
from course_utils.own.split import split_rows


@pytest.mark.parametrize("seed", range(6))
def test_the_first_split_of_the_messages_leaks_by_question_and_todays_does_not(seed):
    messages = cafe_messages(seed)
    held_out, train, report = first_split(messages, seed)
    assert f": 0 of {len(held_out)} held-out questions have a template" in report
    sides = [[row.asked[0] for row in side] for side in (held_out, train)]
    assert leak_of(*sides) == "question"
    pairs = asked_again(held_out, train)
    assert pairs and all(bare_letters(one) == bare_letters(other) for one, other in pairs)
    assert any("Thanks" in "".join(pair) for pair in pairs)  # the lesson shows such a pair
    today = split_rows(messages, ["conversation"] * len(messages), seed)
    assert len(today.held_out) > 20 and today.shared.same == []


@pytest.mark.parametrize("seed", range(3))
def test_the_colleagues_files_leak_by_template_or_not_at_all(seed):
    for by, expected in (("question", "template"), ("template", "none")):
        train, held_out, later = colleagues_files(seed, by)
        asked = [[row.asked[0] for row in side] for side in (held_out, train)]
        assert leak_of(*asked) == expected and len(later) > 60
