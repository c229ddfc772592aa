"""The guide over all its answers: what it must never say, and what it must always say."""

import itertools
import re

import matplotlib.pyplot as plt
import pytest

from course_utils.lessons.lesson_14 import guide as module
from course_utils.lessons.lesson_14 import widgets
from course_utils.lessons.lesson_14.guide import FEW, MANY, MISSING, ROOM, VARIANTS, fitting, guide

CASES = list(
    itertools.product(
        MISSING, (0, FEW - 1, FEW, MANY - 1, MANY), ROOM, (1, VARIANTS - 1, VARIANTS), (False, True)
    )
)


def method(steps):
    """The method that the steps say to train, if any."""
    names = {"QLoRA": "qlora", "LoRA": "lora", "Full": "full"}
    found = [names[word] for step in steps for word in names if re.match(rf"{word}\b", step.what)]
    assert len(found) <= 1
    return found[0] if found else None


@pytest.mark.parametrize("missing, examples, room, variants, keep", CASES)
def test_rules_that_hold_for_every_answer(missing, examples, room, variants, keep):
    steps = guide(missing, examples, room, variants, keep)
    trained = method(steps)
    assert steps[0] is module.PROMPT
    assert (trained is None) == (missing == "facts" or examples < FEW or room == "none")
    if trained:
        assert ROOM.index(trained) >= ROOM.index(room)  # it fits
        assert (module.REMEDY in steps) == keep
    if trained == "full":
        assert not keep and variants == 1 and examples >= MANY
    assert (module.PAIRS in steps) == (trained is not None and missing == "preference")
    assert (module.RETRIEVE in steps) == (missing == "facts")
    assert len(set(steps)) == len(steps)


def test_every_step_is_reached_and_has_reason_and_lessons():
    reached = {step for case in CASES for step in guide(*case)}
    everything = {value for value in vars(module).values() if isinstance(value, module.Step)}
    assert reached == everything
    for step in everything:
        assert step.why.endswith(".") and step.basis and step.lessons
        assert all(re.fullmatch(r"0\d|1[0-7]", lesson) for lesson in step.lessons)


def test_what_fits_follows_the_card():
    assert fitting("gpt2", "T4") == "full"
    assert fitting("Llama-3.1-8B", "RTX 4090") in ("lora", "qlora")
    assert fitting("Llama-3.1-70B", "RTX 4090") == "none"


@pytest.mark.parametrize(
    "wrong, named",
    [
        ({"missing": "luck"}, "facts, behaviour, preference"),
        ({"room": "half"}, "full, lora, qlora, none"),
        ({"examples": -1}, "examples >= 0"),
        ({"variants": 0}, "variants >= 1"),
    ],
)
def test_answers_that_make_no_sense_are_refused(wrong, named):
    with pytest.raises(ValueError, match=named):
        guide(**{"missing": "facts", "examples": 100, "room": "lora", **wrong})


def test_the_widget_prints_the_guides_steps(capsys):
    widgets.show_guide("preference", 500, "gpt2", "T4")
    printed = capsys.readouterr().out
    assert "gpt2 on T4: full fine-tuning fits" in printed and "DPO" in printed and "lessons 10, 13" in printed
    assert not plt.get_fignums()
