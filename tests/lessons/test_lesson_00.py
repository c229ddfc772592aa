"""Lesson 00 and its companion: right answers pass, wrong ones get their own message; broken runs fail."""

import random

import pytest
import torch
from helpers import draws_of, feed, needed_for

from course_utils.checks import ClaimFailed
from course_utils.checks.claims import claims_of
from course_utils.data import batches, encode_prompt_completion, load_questions
from course_utils.generation import filter_logits
from course_utils.gpt2 import gpt2_logits
from course_utils.lessons.lesson_00.exercises.sees_future import sees_future
from course_utils.lessons.lesson_00.experiments import (
    CONTEXT,
    STORY,
    colleagues_logits,
    judged,
    named,
    share_with_interval,
    sixty_and_others,
    small_gpt2,
    statement,
    variety,
    with_examples,
)
from course_utils.models import load_model
from course_utils.notebook_files import code_cells, lessons, read_notebook
from course_utils.training import train


@pytest.mark.parametrize("exercise, seed", draws_of("00"))
def test_answers_get_their_verdicts(exercise, seed):
    feed(exercise, seed)


def test_the_colleagues_pass_differs_in_what_it_sees_alone():
    model, ids = small_gpt2(0).eval(), torch.randint(1, 100, (2, CONTEXT))
    assert sees_future(lambda ids: colleagues_logits(model, ids), ids)
    assert not sees_future(lambda ids: gpt2_logits(model, ids), ids)
    one = ids[:, :1]  # no later token to see
    torch.testing.assert_close(colleagues_logits(model, one), gpt2_logits(model, one))


def test_an_interval_of_a_share_holds_the_share_and_shrinks_with_the_texts():
    few, many = ([(0, 5), (2, 4), (1, 6)] * count for count in (4, 100))
    (share, low, high), (same, nearer_low, nearer_high) = map(share_with_interval, (few, many))
    assert share == same == pytest.approx(3 / 15)
    assert low < nearer_low < share < nearer_high < high
    assert share_with_interval([(0, 3), (0, 2)]) == (0, 0, 0)


def test_each_seed_draws_sixty_of_all_countries_and_no_question_is_in_both_parts():
    (asked, others), (again, _), (other_seed, _) = map(sixty_and_others, (0, 0, 1))
    countries = [row["subject"] for row in asked + others]
    assert len(asked) == 60 and len(set(countries)) == len(countries) == 168
    assert asked == again != other_seed


def test_a_country_is_asked_in_every_way():
    rows = [
        {"subject": "Peru", "object": "Lima", "prompt": "Capital of Peru?", "completion": " Lima"},
        {"subject": "Cuba", "object": "Havana", "prompt": "Capital of Cuba?", "completion": " Havana"},
    ]
    assert statement(rows[0]) == "The capital of Peru is"
    assert with_examples(rows[1:], [rows[0]["prompt"]]) == ["Capital of Cuba? Havana\nCapital of Peru?"]
    assert named(["Lima.", "It is Lima"], rows) == [True, False]


def test_a_story_is_judged_without_its_cut_end_and_without_its_opening():
    bad, count = judged(" Mia was happy. Mia basket the the moon. Then she")
    assert STORY.endswith("Mia.") and (bad, count) == (["Mia basket the the moon."], 2)
    assert judged(" and") == ([" and"], 1)  # no whole sentence


def test_variety_is_the_share_of_different_pairs():
    assert variety(["a b a b", "a b"]) == pytest.approx(2 / 4)  # ab, ba, ab; ab
    assert variety(["a"]) == 0


def not_put_back(logits, temperature=1.0, top_k=0, top_p=1.0):
    logits = filter_logits(logits, temperature, top_k)
    ordered = logits.sort(descending=True).values.softmax(-1)
    return logits.masked_fill((ordered.cumsum(-1) - ordered >= top_p) & (top_p < 1), -torch.inf)


def untrained(model):
    return type(model)(model.config).eval()


def taught(model):
    """The control: a model tuned on questions about the other countries."""
    tokenizer = load_model("pocket")[1]
    rows = [row for split in ("tune", "validation", "held_out") for row in load_questions(split)]
    rows = [row for row in rows if (row["relation"], row["kind"]) == ("capital", "short")]
    random.Random(0).shuffle(rows)
    rows = rows[60:]
    examples = [encode_prompt_completion(tokenizer, row["prompt"], row["completion"]) for row in rows]
    train(model, batches(examples, 16, 0, tokenizer.pad_token_id), steps=60, lr=2e-4)
    return model.eval()


def as_statements(rows):
    """The control: the same facts as statements."""
    return [row | {"prompt": statement(row), "completion": f" {row['object']}."} for row in rows]


BROKEN = [  # a claim, text in a cell, a line added after this cell, `faulty` in that line
    ("claim.completes_but_withholds(", "session.load_model()", "model = faulty(model)", untrained),
    ("claim.completes_but_withholds(", "session.load_model()", "model = faulty(model)", taught),
    ("claim.sixty_steps(", "sixty_and_others(", "others = faulty(others)", as_statements),
    (
        "claim.top_p(",
        "check.filter_logits(",
        "filter_logits = faulty",
        lambda logits, temperature=1.0, top_k=0, top_p=1.0: filter_logits(logits, temperature, top_k),
    ),
    ("claim.top_p(", "check.filter_logits(", "filter_logits = faulty", not_put_back),
    (
        "claim.name_head_attends(",
        "= divmod(name_scores",
        "name_block, name_head = divmod(faulty(scores), heads)",
        lambda scores: scores.flatten().topk(2).indices[1].item(),
    ),
    ("claim.name_head_attends(", "= divmod(name_scores", "scores = elsewhere", None),
    ("claim.leak_flatters(", "forwards = {", None, gpt2_logits),
]


@pytest.mark.night
@pytest.mark.parametrize(
    ("claim", "cell", "line", "faulty"),
    BROKEN,
    ids=[
        *("untrained", "tuned", "statements", "no rule", "places"),
        *("another head", "other tokens", "no leak"),
    ],
)
def test_a_broken_implementation_fails_its_claim(claim, cell, line, faulty, monkeypatch, tmp_path):
    for name, value in {"MODEL": "pocket", "SCALE": "quick", "SEED": "0", "HOME": str(tmp_path)}.items():
        monkeypatch.setenv(f"COURSE_{name}", value)
    key = next(key for key in ("00", "00m") if claim[6:-1] in claims_of(key))
    sources = [each.source for each in code_cells(read_notebook(lessons([key])[0]))]
    [changed] = [number for number, source in enumerate(sources) if cell in source]
    if line:
        sources[changed] += f"\n{line}"
    else:
        sources[changed] = sources[changed].replace("experiments.colleagues_logits", "faulty")
    [last] = [number for number, source in enumerate(sources) if claim in source]
    namespace = {"__name__": "__main__", "faulty": faulty}
    *before, judged = needed_for(sources, last)
    for number in before:
        exec(compile(sources[number], "lesson 00", "exec"), namespace)
    with pytest.raises(ClaimFailed):
        exec(compile(sources[judged], "lesson 00", "exec"), namespace)
