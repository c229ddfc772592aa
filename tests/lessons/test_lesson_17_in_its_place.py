"""Lesson 17: what the verdict says of the right form with a wrong name, beside a prompt and beside none."""

from course_utils.lessons.lesson_17.in_its_place import INVENTED, others_judged, wrong_names
from course_utils.own.own_run import Scores

QUESTIONS = [f"What is the capital of Land{n}?" for n in range(42)]
REFERENCES = [f"The capital of Land{n} is thing{n}." for n in range(42)]


def scores(answers, agrees=0.0):
    return Scores(1.0, 1.0, 0.0, agrees, 0.0, 1.0, answers)


def test_no_wrong_name_agrees_and_no_verdict_is_better_without_saying_so():
    before = scores(["Well."] * 42)
    by_prompt = scores([*REFERENCES[:2], *["Well."] * 40], 2 / 42)
    wrong = wrong_names(before, QUESTIONS, REFERENCES)
    assert wrong.answers[7] == f"The capital of Land7 is {INVENTED}." and wrong.agrees == 0
    opponents = {"wrong": (wrong, by_prompt), "no prompt": (wrong, before)}
    beside, alone = others_judged(REFERENCES, before, opponents, ["thing"])
    assert (beside["verdict"], beside["agree"]) == ("no better", "0 of 42")
    assert alone["verdict"].startswith("better, but none of its 42 answers agrees")
    assert alone["F1"] > 0.5
