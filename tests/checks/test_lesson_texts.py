"""The saved lessons' questions: every registered exercise has a text, every prediction its options."""

import pytest

from course_utils.checks.exercises import registry
from course_utils.checks.lesson_texts import exercise_texts, questions, titles


def test_every_exercise_of_the_registry_has_its_text():
    found = {name: lesson for lesson in titles() for name in exercise_texts(lesson)}
    assert found == {name: exercise.lesson for name, exercise in registry().items()}


def test_an_exercise_as_its_lesson_has_it():
    text = exercise_texts("01")["token_losses"]
    assert (text.number, text.title) == ("Exercise 2 of 4", "the loss of every token")
    assert text.text.startswith("Write this for a whole batch") and "###" not in text.text
    assert "check.token_losses(" in text.stub


def test_the_questions_of_a_lesson_with_options_in_their_order_and_the_answer():
    asked = questions("01")
    kept = asked["Of the statements that the base completes, the tuned model completes"]
    assert kept["options"] == ["nearly all", "about half", "hardly any: it answers, as if asked"]
    assert kept["answer"] == "nearly all"


@pytest.mark.parametrize("lesson", sorted(titles()))
def test_the_answer_is_an_option(lesson):
    for question, entry in questions(lesson).items():
        assert entry["answer"] in entry["options"], question


def test_an_unknown_lesson_is_named():
    with pytest.raises(ValueError, match="There is no lesson '77'"):
        exercise_texts("77")
