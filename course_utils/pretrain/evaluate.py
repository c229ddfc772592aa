"""What the pocket model can do: complete facts, answer after tuning, read a passage, tell a story."""

import random
import re
import statistics
from collections import defaultdict

import torch

from course_utils.chatml import add_chat_tokens, encode_conversation
from course_utils.data import batches
from course_utils.evaluation import (
    chat_answers,
    exact_match,
    mean_loss,
    mood_score,
    politeness_score,
    question_text,
    score_answers,
)
from course_utils.generation import generate
from course_utils.pretrain.corpus import NAMES, FactRow
from course_utils.pretrain.passages import IN_A_SENTENCE, invented_facts, question
from course_utils.pretrain.stories import consistent_characters, opening
from course_utils.pretrain.tables import INVENTED
from course_utils.pretrain.templates import FORMS, fill

HEADLINE = ("capital", "currency", "young", "symbol")


def completed(continuation: str, obj: str) -> bool:
    """True if the continuation begins with the object as whole words; "the" before it does not count."""
    return re.match(rf"\s*(the )?{re.escape(obj)}(?!\w)", continuation) is not None


def completion(model, tokenizer, facts: list[FactRow]) -> dict[str, float]:
    """Share of facts whose statement is completed greedily, by relation and over all ("all")."""
    prompts = [fill(FORMS[relation].probe, s, o) for relation, s, o in facts]
    texts = generate(model, tokenizer, prompts, max_new_tokens=14, batch_size=128)
    right = defaultdict(list)
    for (relation, _, obj), text in zip(facts, texts, strict=True):
        right[relation].append(completed(text, obj))
    shares = {relation: sum(marks) / len(marks) for relation, marks in right.items()}
    return {"all": sum(map(sum, right.values())) / len(facts)} | shares
