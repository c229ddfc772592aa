"""Lesson 17: the rules that turn the example's questions into beginnings of statements."""

import pytest

from course_utils.data import read_jsonl
from course_utils.lessons.lesson_17.rewording import beginning_of
from course_utils.own.own_data import EXAMPLES
from course_utils.world.templates import FORMS, fill

ASKED = {
    "What is the capital of Peru?": "The capital of Peru is",
    "Please tell me, name the currency of Japan": "The currency of Japan is the",
    "What is a young spider called": "The young of a spider is called",
    "Where does an ostrich live?": "An ostrich lives in the",
    "Who wrote Emma?": "The author of Emma is",
    "Hello, of which material is a saddle made": "A saddle is made of",
    "Which symbol does chlorine have?": "The chemical symbol of chlorine is",
}


@pytest.mark.parametrize("question", ASKED)
def test_a_question_becomes_the_beginning_of_its_statement(question):
    assert beginning_of(question) == ASKED[question]


def test_a_rule_fits_each_question_of_the_example_and_tells_nothing_of_its_answer():
    for row in read_jsonl(EXAMPLES / "conversations.jsonl"):
        *_, question, answer = (message["content"] for message in row["messages"])
        begun = beginning_of(question)
        assert {*begun.lower().split()} - {*question.lower().strip("?. ").split()} <= {
            *"the of is a an called lives in made author chemical symbol language currency young".split()
        }
        assert answer.rstrip(".").lower() not in begun.lower().split()


def test_beginnings_are_those_of_statements_that_the_base_has_read():
    for relation in ("capital", "currency", "language", "author", "symbol"):
        form = FORMS[relation]
        for question in form.questions:
            wanted = fill(form.statements[0], "X", "Y").split(" Y")[0]
            assert beginning_of(fill(question, "X", "Y")) == wanted


def test_a_question_that_no_rule_fits_is_named():
    with pytest.raises(ValueError, match=r"no rule matches the question 'How are you\?'; add one to RULES"):
        beginning_of("How are you?")
