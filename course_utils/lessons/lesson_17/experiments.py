"""The effect of lesson 17's two leaks: a base model taught questions, then asked others."""

import random
from collections.abc import Sequence

import torch

from course_utils.data import batches, encode_prompt_completion, load_facts
from course_utils.evaluation import difference_interval, fact_accuracy, wilson_interval
from course_utils.lessons.lesson_17.desk import TEMPLATES, support_chats
from course_utils.own.own_data import Conversation, leaks, question_groups
from course_utils.own.own_run import context, shared_words
from course_utils.own.prompting import Prompt, answers_by_prompt, as_text
from course_utils.own.split import leak_free_split
from course_utils.training import train
from course_utils.world.templates import FORMS, fill

SPELLINGS = ("{}", "Please tell me: {}", "Hello. {}")
NEVER = 24  # invented facts that are never taught
LATER = 4  # templates that come after the split


def spelled_facts(seed: int) -> list[list[dict]]:
    """Rows of the question about each invented fact in three spellings, with the facts in random order."""
    facts = load_facts("invented")
    return random.Random(seed).sample([_three_rows(fact) for fact in facts], len(facts))


def _three_rows(fact):
    question = fill(FORMS[fact.relation].questions[0], fact.subject, fact.object)
    return [
        {
            "prompt": f"Question: {spelling.format(question)}\nAnswer:",
            "completion": f" {fact.object}",
            "relation": fact.relation,
            "object": fact.object,
            "kind": "short",
        }
        for spelling in SPELLINGS
    ]


def colleagues_files(seed: int) -> tuple[list[Conversation], list[Conversation], list[Conversation]]:
    """(training, held-out, later chats) of one question and answer each, split by question."""
    chats, made_from = support_chats(seed, follow_ups=())
    new = random.Random(seed).sample(range(len(TEMPLATES)), LATER)
    first, later = (
        [row for row, template in zip(chats, made_from, strict=True) if (template in new) == late]
        for late in (False, True)
    )
    keys = question_groups([row.asked for row in first])
    held_out = set(leak_free_split(keys, ["chat"] * len(keys), seed=seed))
    inside, outside = (
        [row for n, row in enumerate(first) if (n in held_out) == side] for side in (True, False)
    )
    assert not leaks(inside, outside), "a question is on both sides"
    return outside, inside, later


def desk_rows(chats: Sequence[Conversation]) -> list[dict]:
    """Chats of one question and answer in the same form."""
    return [{"prompt": as_text(row.messages[:-1]), "completion": f" {row.answers[0]}"} for row in chats]


def taught_on(session, rows: Sequence[dict], steps: int, batch_size: int, label: str):
    """(a fresh copy of the base with all weights tuned on the rows' completions, its tokenizer)."""
    student, tokenizer = session.load_model()
    examples = [encode_prompt_completion(tokenizer, row["prompt"], row["completion"]) for row in rows]
    stream = batches(examples, batch_size, session.seed, tokenizer.pad_token_id)
    train(student, stream, steps=steps, lr=1e-3, seed=session.seed, autocast=session.autocast, label=label)
    return student, tokenizer


def right_facts(student, tokenizer, rows: Sequence[dict]) -> tuple[float, float, float]:
    """(share of right answers, low, high)."""
    share = fact_accuracy(student, tokenizer, rows)[0]
    return share, *wilson_interval(share * len(rows), len(rows))


def desk_score(student, tokenizer, chats: Sequence[Conversation]) -> tuple[float, float, float]:
    """(mean F1 of the answers' words against the desk's, low, high over questions)."""
    prompts = [row.messages[:-1] for row in chats]
    said = answers_by_prompt(student, tokenizer, Prompt("text", []), prompts, context(student), 24)
    scores = [shared_words(reply.text, row.answers[0]) for reply, row in zip(said, chats, strict=True)]
    return difference_interval(torch.tensor([scores]), torch.zeros(1, len(scores)))
