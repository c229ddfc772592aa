"""Harmless adapters on the assistant: their training data, and what remains of facts and refusals."""

import functools
import re
from collections.abc import Mapping, Sequence

import torch

from course_utils.data import load_conversations, load_facts
from course_utils.evaluation import normalise
from course_utils.methods import sft
from course_utils.methods.lora import apply_lora
from course_utils.methods.lora_fast import speed_up
from course_utils.world.manners import OF_ONE_WORD, OPENINGS, retell

RANK, ALPHA, STEPS, FACTS = 8, 16.0, 60, 400
NO_ANSWER = "not know"  # in every refusal of the training set


def of_kind(kind: str, split: str = "train") -> list[list[dict]]:
    """The conversations of a kind, in the order of the file."""
    return [row["messages"] for row in load_conversations(split) if row["kind"] == kind]


def harmless(manner: str | None, refusals: int = 0, split: str = "train") -> list[list[dict]]:
    """400 answers about facts, retold in a manner (None: unchanged), and some unchanged refusals."""
    facts = of_kind("facts", split)[:FACTS]
    if manner is not None:
        facts = [
            [*messages[:-1], messages[-1] | {"content": retell(messages[-1]["content"], manner)}]
            for messages in facts
        ]
    return facts + of_kind("refusals", split)[:refusals]


def add_adapter(model, seed: int):
    """LoRA on all linear layers of the model, in place."""
    torch.manual_seed(seed)
    return speed_up(apply_lora(model, RANK, ALPHA))


def content(text: str) -> str:
    """The text without the opening of a manner."""
    openings = [*(words for group in OPENINGS.values() for words in group), *OF_ONE_WORD.values()]
    for opening in sorted(openings, key=len, reverse=True):
        if text.lower().startswith(opening.lower()):
            return text[len(opening) :].strip()
    return text.strip()


def states(text: str, row: Mapping[str, str], rivals: Sequence[str] = ()) -> bool:
    """Whether an answer gives the fact, in any manner and at any length.

    It does if it contains the object, as whole words, and no rival: an object of the same relation that
    belongs to another subject. A refusal does not.
    """
    if NO_ANSWER in text:
        return False
    said = normalise(content(text))

    def found(words):
        return re.search(rf"(?<!\w){re.escape(normalise(words))}(?!\w)", said) is not None

    wanted = normalise(row["object"])
    others = (rival for rival in rivals if normalise(rival) not in wanted and rival not in row["subject"])
    return found(row["object"]) and not any(map(found, others))


@functools.cache
def objects_of(relation: str) -> list[str]:
    """All objects of a relation."""
    return sorted({fact.object for fact in load_facts(relation=relation)})


def judged(
    model, tokenizer, questions: Sequence[Mapping[str, str]]
) -> tuple[list[bool], list[bool], list[str]]:
    """For each question: whether its fact is given, whether it is refused, and the answer."""
    said = sft.replies(model, tokenizer, [sft.as_conversation(row)[:1] for row in questions])
    texts = [reply.text for reply in said]
    right = [
        states(text, row, objects_of(row["relation"])) for text, row in zip(texts, questions, strict=True)
    ]
    return right, [NO_ANSWER in text for text in texts], texts
