"""What a model completes: the statements of facts, greedily."""

import re
from collections import defaultdict

from course_utils.generation import generate
from course_utils.world.tables import FactRow
from course_utils.world.templates import FORMS, fill


def completed(continuation: str, obj: str) -> bool:
    """True if the continuation begins with the object as whole words.

    "the" before it does not count, nor does a quotation mark: the corpus has answers in quotation marks too.
    """
    return re.match(rf'\s*"?(the )?{re.escape(obj)}(?!\w)', continuation) is not None


def completion(model, tokenizer, facts: list[FactRow]) -> dict[str, float]:
    """Share of facts whose statement is completed greedily, by relation and over all ("all")."""
    prompts = [fill(FORMS[relation].probe, s, o) for relation, s, o in facts]
    texts = generate(model, tokenizer, prompts, max_new_tokens=14, batch_size=128)
    right = defaultdict(list)
    for (relation, _, obj), text in zip(facts, texts, strict=True):
        right[relation].append(completed(text, obj))
    shares = {relation: sum(marks) / len(marks) for relation, marks in right.items()}
    return {"all": sum(map(sum, right.values())) / len(facts)} | shares
