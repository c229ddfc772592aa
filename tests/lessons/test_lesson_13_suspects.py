"""The bug hunt's scripts score the tokens that the lesson says, and are otherwise sound."""

import pytest
import torch

from course_utils.data import IGNORE
from course_utils.lessons.lesson_13 import suspects
from course_utils.methods.dpo import dpo_loss, reference_log_probs, values_of_pairs


@pytest.fixture(scope="module")
def start():
    return suspects.small_model(0)


@pytest.fixture(scope="module")
def pairs():
    return suspects.small_pairs(16, 0)


def sums(model, script, pairs):
    return reference_log_probs(model, suspects.scored_by(script, pairs), suspects.PAD)[:, 0]


@pytest.mark.parametrize(("name", "fault"), suspects.VERDICTS.items())
def test_each_script_has_its_fault(start, pairs, name, fault):
    answers = sums(start, suspects.answer_scored, pairs)
    prompts = sums(start, suspects.everything_scored, pairs) - answers
    ends = answers - sums(start, suspects.end_not_scored, pairs)
    theirs = sums(start, suspects.SCRIPTS[name], pairs)
    assert suspects.scored_fault(theirs, answers, prompts, ends) == fault
    with pytest.raises(ValueError, match="none of the three"):
        suspects.scored_fault(theirs - 1.0, answers, prompts, ends)


def test_pairs_are_as_the_lesson_says(pairs):
    for chosen, rejected in pairs:
        assert chosen.input_ids[:8] == rejected.input_ids[:8] and chosen.input_ids[:5] == [1, 3, 4, 5, 6]
        answer = [label for label in chosen.labels if label != IGNORE]
        assert all(token % 2 == 0 for token in answer) and answer[-1] == suspects.END
        assert len(chosen.input_ids) > len(rejected.input_ids)


def test_prompts_cancel_in_sums_and_not_in_means(start, pairs):
    moved = suspects.small_model(1)
    everything = suspects.scored_by(suspects.everything_scored, pairs)

    def losses(part):
        reference = reference_log_probs(start, part, suspects.PAD)
        return values_of_pairs(moved, part, reference, 0.1, suspects.PAD, loss=dpo_loss)["loss"]

    assert torch.allclose(losses(everything), losses(pairs), atol=1e-4)
    by_means = [
        suspects.judged_by(script, moved, start, pairs)["loss"]
        for script in (suspects.everything_scored, suspects.answer_scored)
    ]
    assert abs(by_means[0] - by_means[1]) > 0.05


def test_the_faulty_run_reports_more_than_its_answers_hold(start):
    pairs, new = suspects.small_pairs(256, 0), suspects.small_pairs(128, 1)
    policy, _ = suspects.trained_by(suspects.everything_scored, start, pairs, 16, 0, "A")
    reported = suspects.judged_by(suspects.everything_scored, policy, start, new)
    true = suspects.judged_by(suspects.answer_scored, policy, start, new)
    assert reported["accuracy"] > true["accuracy"] + 0.01
