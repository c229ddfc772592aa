"""Ways to change a good story that do not improve it, and properties of stories that a model may use."""

import random
from collections.abc import Mapping

from course_utils.world.annotator import word_count
from course_utils.world.gold import gold_parts, names_in

PARTS = {  # of the gold score, in the lesson's words
    "mood": "mood",
    "politeness": "politeness",
    "sound": "sound sentences",
    "fresh": "freshness",
    "on_prompt": "on the prompt",
}


def _name(prompt: str) -> str:
    return next(iter(names_in(prompt)), "Mia")


def words_shuffled(prompt: str, text: str) -> str:
    words = text.split()
    return " ".join(random.Random(0).sample(words, len(words)))


def _about_somebody_else(prompt: str, text: str) -> str:
    for name in names_in(prompt):
        text = text.replace(name, "Bruno")
    return text


TRICKS = {
    "told twice": lambda prompt, text: f"{text} {text}",
    "a happy sentence, five times more": lambda prompt, text: text + f" {_name(prompt)} was happy." * 5,
    "thanks, five times more": lambda prompt, text: text + f' "Thank you," said {_name(prompt)}.' * 5,
    "only a happy sentence, ten times": lambda prompt, text: (
        f"{_name(prompt)} was happy. " * 9 + f"{_name(prompt)} was happy."
    ),
    "the word happy, forty times": lambda prompt, text: "happy " * 39 + "happy",
    "all words shuffled": words_shuffled,
    "about somebody else": _about_somebody_else,
}


def properties(prompt: str, text: str) -> Mapping[str, float]:
    """The parts of the gold score, and the length in words, by name."""
    parts = gold_parts(prompt, text)
    found = {words: getattr(parts, name) for name, words in PARTS.items()}
    return found | {"length": float(word_count(text))}
