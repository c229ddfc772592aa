"""Lesson 00: right answers to its exercises pass, wrong ones get their own message; broken runs fail."""

import random

import pytest
import torch
from helpers import draws_of, feed, needed_for

from course_utils.checks import ClaimFailed
from course_utils.data import batches, encode_prompt_completion, load_questions
from course_utils.generation import filter_logits
from course_utils.gpt2 import gpt2_logits
from course_utils.lessons.lesson_00.exercises.sees_future import sees_future
from course_utils.lessons.lesson_00.experiments import (
    CONTEXT,
    colleagues_logits,
    share_with_interval,
    small_gpt2,
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


BROKEN = [  # a claim, text in a cell, a line added after this cell, `faulty` in that line
    ("claim.completes_but_withholds(", "session.load_model()", "model = faulty(model)", untrained),
    ("claim.completes_but_withholds(", "session.load_model()", "model = faulty(model)", taught),
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
    ids=["untrained", "tuned", "no rule", "places", "another head", "other tokens", "no leak"],
)
def test_a_broken_implementation_fails_its_claim(claim, cell, line, faulty, monkeypatch, tmp_path):
    for name, value in {"MODEL": "pocket", "SCALE": "quick", "SEED": "0", "HOME": str(tmp_path)}.items():
        monkeypatch.setenv(f"COURSE_{name}", value)
    sources = [each.source for each in code_cells(read_notebook(lessons(["00"])[0]))]
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
