"""The verdict on a run: an unfit base stops it; results of each kind; reports of errors."""

import dataclasses
import random
import re
from pathlib import Path

import pytest
import torch
from support_desk import desk_chats

from course_utils.models import load_model
from course_utils.own import verdict
from course_utils.own.own_data import EXAMPLES, Conversation, read_conversations
from course_utils.own.own_run import Scores
from course_utils.own.verdict import Verdict, check_fit, fit_of, judge_result, settle, usual_answer


@pytest.fixture(scope="module")
def pocket():
    model, tokenizer = load_model("pocket")
    return model.eval(), tokenizer


def test_the_pocket_model_is_fit_for_the_example_and_not_for_a_support_desk(pocket):
    example = fit_of(*pocket, read_conversations(EXAMPLES / "conversations.jsonl"))
    desk = fit_of(*pocket, [Conversation(n, messages) for n, messages in enumerate(desk_chats())])
    assert example.good and example.bits < 0.4 * example.counted and example.known > 0.9
    assert not desk.good and desk.bits > 0.9 * desk.counted and desk.tokens > example.tokens
    check_fit(example, "pocket", False)
    check_fit(desk, "pocket", True)
    with pytest.raises(verdict.Unfit, match=r"^BASE: my base is not fit .* instruct model .* ANYWAY = True"):
        check_fit(desk, str(Path("folder/my base").absolute()), False)
    with pytest.raises(verdict.Unfit, match=r"^BASE: acme/tiny is not fit"):
        check_fit(desk, str(Path("hub/models--acme--tiny/snapshots/0123").absolute()), False)


def test_bits_are_those_of_a_model_that_knows_nothing(pocket):
    """Without preferred tokens, every token costs log2 of the vocabulary size."""
    model, tokenizer = load_model("pocket")
    with torch.no_grad():
        model.get_output_embeddings().weight.zero_()
    text = "The cat sat on the mat. " * 8
    fit = fit_of(model.eval(), tokenizer, [Conversation(1, [{"role": "user", "content": text}])])
    tokens = len(tokenizer(text)["input_ids"])
    vocabulary = model.get_output_embeddings().weight.shape[0]
    expected = (tokens - 1) * torch.tensor(float(vocabulary)).log2().item() / len(text)
    assert fit.bits == pytest.approx(expected, rel=1e-3)


def scores(answers, ended=1.0):
    return Scores(1.0, 1.0, 0.0, 0.0, 0.0, ended, answers)


REFERENCES = [f"The {thing} of house {n} is {n + 7}." for n in range(20) for thing in ("lamp", "door")]
USUAL = ["The lamp of house 1 is 8."] * 3


NOTHING = scores(["So so."] * 40)


def judged(answers, before=None, prompted=None, ended=1.0):
    base, prompted = (scores(one) if one else NOTHING for one in (before, prompted))
    return judge_result(REFERENCES, base, prompted, scores(answers, ended), USUAL).word


def test_each_kind_of_result():
    rng = random.Random(0)
    assert judged(REFERENCES) == "better"
    assert judged(REFERENCES, before=REFERENCES) == "no better"
    assert judged(REFERENCES, prompted=REFERENCES) == "no better"  # examples in the prompt are as good
    assert judged(USUAL[:1] * 40) == "no better"  # it learned to say one thing
    assert judged([rng.choice([one, "Well."]) for one in USUAL[:1] * 40]) == "unusable"
    assert judged(["so so so, said his mother"] * 40) == "unusable"
    assert judged(REFERENCES, ended=0.2) == "unusable"
    assert judged(REFERENCES, ended=0.4) == "better"  # 16 of 40: perhaps half of them


def half(even):
    """The right answer to every second question, the usual one to the others."""
    return [one if (n % 2 == 0) == even else USUAL[0] for n, one in enumerate(REFERENCES)]


def test_what_chance_alone_can_make_is_not_better():
    """Half of the answers are right on both sides, to different questions; then one or nearly all more."""
    tuned = half(True)
    assert judged(tuned) == "better"  # than nothing and than the usual answer
    assert judged(tuned, before=half(False)) == "no better"
    assert judged(tuned, prompted=half(False)) == "no better"
    assert judged([REFERENCES[1], *REFERENCES[1:2], *tuned[2:]], before=half(False)) == "no better"
    assert judged(REFERENCES[:36] + tuned[36:], before=half(False)) == "better"


FORMS = ("The capital of {} is {}.", "The currency of {} is the {}.")
ASKED = [FORMS[n % 2].format(f"Land{n}", f"thing{n}") for n in range(42)]  # references
NAMED = [FORMS[n % 2].format(f"Land{n}", "Zubrowitz") for n in range(42)]  # their form, a wrong name


def of_form(prompted, answers=NAMED, ended=1.0):
    return judge_result(ASKED, scores(["Well."] * 42), scores(prompted), scores(answers, ended), ["thing"])


def test_the_right_form_with_wrong_names_is_never_simply_better():
    """F1 pays for the form. Beside a prompt that gives two right answers it is not better."""
    alone = of_form(["Well."] * 42)
    caution = (
        "none of its 42 answers agrees with its reference: read them before you believe the shared words"
    )
    assert (alone.word, alone.caution) == ("better", caution)
    assert alone.title == f"Verdict: better, but {caution}"
    two_right = of_form([*ASKED[:2], *["Well."] * 40])
    assert two_right.word == "no better" and not two_right.caution
    assert two_right.reason.endswith(
        "; but fewer of its answers agree with the references: 0 of 42, of the best prompt 2"
    )
    assert of_form([*ASKED[:2], *["Well."] * 40], [*NAMED[:40], *ASKED[40:]]).word == "better"  # 2 of 42, too
    assert of_form(["Well."] * 42, ASKED).title == "Verdict: better"


def test_agreement_is_compared_with_each_opponent():
    other = scores(["Well."] * 42)
    right = scores([f"thing{n}" if n < 5 else "Well." for n in range(42)])
    for before, prompted, name in ((right, other, "the base"), (other, right, "the best prompt")):
        said = judge_result(ASKED, before, prompted, scores(NAMED), ["Well."])
        assert said.word == "no better" and said.reason.endswith(f": 0 of 42, of {name} 5")
    said = judge_result(ASKED, other, other, scores(NAMED), ["thing1"])
    assert said.word == "no better" and said.reason.endswith(": 0 of 42, of one answer to everything 1")


@pytest.mark.parametrize(
    "right, said",
    [
        (1, "only one of its 42 answers agrees with its reference: "),
        (4, "only 4 of its 42 answers agree with their references: "),
        (5, ""),
    ],
)
def test_below_a_tenth_the_caution_counts_the_answers_that_agree(right, said):
    caution = of_form(["Well."] * 42, [*ASKED[:right], *NAMED[right:]]).caution
    assert caution.startswith(said) and bool(caution) == bool(said)


def test_free_texts_can_be_better_though_none_agrees():
    """Half of the words of each answer are the reference's; the base rambles of other things."""
    rng = random.Random(0)
    words = [f"word{n}" for n in range(400)]
    texts = [rng.sample(words, 30) for _ in range(30)]
    trained = [" ".join(rng.sample(words, 30)) for _ in texts]
    answers = [rng.sample([*text[:15], *rng.sample(words, 15)], 30) for text in texts]
    rambling = scores([" ".join(rng.sample(words, 30)) for _ in texts])
    references = [" ".join(text) for text in texts]
    tuned = scores([" ".join(answer) for answer in answers])
    said = judge_result(references, rambling, rambling, tuned, trained)
    assert said.word == "better" and said.caution.startswith("none of its 30 answers agrees")


@pytest.mark.parametrize("count", [1, 2, 5, 9])
@pytest.mark.parametrize("answer, ended", [(None, 1.0), (None, 0.0), ("so", 1.0), ("so", 0.0)])
def test_a_few_questions_tell_nothing(count, answer, ended):
    right = REFERENCES[:count]
    said = scores([answer] * count if answer else right, ended)
    outcome = judge_result(right, *[scores(["So so."] * count)] * 2, said, USUAL)
    assert outcome.word == "no better"
    assert outcome.reason == (
        f"{count} held-out questions are too few to tell: 10 are needed, so a file of about 30 different "
        "questions"
    )


def test_the_reason_names_the_numbers_and_no_text_of_the_data():
    said = judge_result(REFERENCES, NOTHING, scores(USUAL[:1] * 40), scores(REFERENCES), USUAL)
    assert "of 40 held-out questions (F1): 1.00; the difference, with 95% intervals, is" in said.reason
    assert "+1.00 to +1.00 against the base (0.00)" in said.reason  # the same lead at every question
    assert (
        "against the best prompt (0.66)" in said.reason and "one answer to everything (0.66)" in said.reason
    )
    assert "lamp" not in said.reason


def test_the_interval_in_the_reason_is_that_of_the_paired_difference():
    """Half of the answers gain 1 and half nothing: .5, and 1.96 standard errors of a share of 40."""
    said = judge_result(REFERENCES, NOTHING, NOTHING, scores([*REFERENCES[:20], *["So so."] * 20]), ["Zz"])
    low, high = re.search(r"(\+0\.\d\d) to (\+0\.\d\d) against the base \(0\.00\)", said.reason).groups()
    assert float(low) == pytest.approx(0.5 - 1.96 * 0.5 / 40**0.5, abs=0.02)
    assert float(high) == pytest.approx(0.5 + 1.96 * 0.5 / 40**0.5, abs=0.02)


def test_the_fit_says_passed_or_failed_and_of_how_many():
    fit = verdict.Fit(2.0, 1.0, 4.0, 1.2, 0.9, 37)
    assert fit.words == (
        "Fit check passed: the base takes 1.00 bits for a character of 37 conversations, a program that "
        "only counts how often each occurs takes 4.00; passed is at most 2.80."
    )
    assert "Fit check failed: the base takes 2.90" in dataclasses.replace(fit, bits=2.9).words


def test_the_usual_answer_shares_most_words_with_the_others():
    assert usual_answer(["a b", "a c d", "a b c", "x y z"]) == "a b c"
    assert usual_answer(["x"] * verdict.COMPARED + ["a b"] * 600) == "a b"  # a sorted file


@pytest.mark.parametrize("word, error", [("no better", verdict.NotBetter), ("unusable", verdict.Unusable)])
def test_an_error_where_nobody_reads_and_none_in_jupyterlab(monkeypatch, word, error):
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    with pytest.raises(error, match=f"^{word}: because"):
        settle(Verdict(word, "because"), "quick")
    settle(Verdict(word, "because"), "smoke")
    settle(Verdict("better", "because"), "quick")
    monkeypatch.setenv("JPY_SESSION_NAME", "17.ipynb")
    settle(Verdict(word, "because"), "quick")
