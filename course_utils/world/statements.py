"""Greedy completion of statements of facts by a model."""

import re
from collections import defaultdict

from course_utils.generation import generate
from course_utils.world.tables import FactRow
from course_utils.world.templates import FORMS, fill


def completed(continuation: str, obj: str) -> bool:
    """Whether the continuation begins with the object as whole words.

    A leading "the" and quotation mark are ignored: some answers in the corpus stand in quotation marks.
    """
    return re.match(rf'\s*"?(the )?{re.escape(obj)}(?!\w)', continuation) is not None


def completion(model, tokenizer, facts: list[FactRow]) -> dict[str, float]:
    """Share of facts whose statement is completed correctly, by relation and for all facts ("all")."""
    prompts = [fill(FORMS[relation].probe, s, o) for relation, s, o in facts]
    texts = generate(model, tokenizer, prompts, max_new_tokens=14, batch_size=128)
    right = defaultdict(list)
    for (relation, _, obj), text in zip(facts, texts, strict=True):
        right[relation].append(completed(text, obj))
    shares = {relation: sum(marks) / len(marks) for relation, marks in right.items()}
    return {"all": sum(map(sum, right.values())) / len(facts)} | shares
