"""Questions of the example file as beginnings of statements: a prompt that needs rules but no training."""

import re
from collections.abc import Sequence

from course_utils.generation import generate

POLITE = re.compile(r"^(?:hello|please tell me|please)[,:.]?\s+", re.I)
RULES = (  # (a form of question, the beginning of its statement); the first match counts
    (r"what is (an? )young (.+) called", r"the young of \1\2 is called"),
    (r"what is the young of (.+) called", r"the young of \1 is called"),
    (r"what do we call the young of (.+)", r"the young of \1 is called"),
    (r"(?:what is the (?:habitat|home) of|where does) (.+?)(?: live)?", r"\1 lives in the"),
    (r"of which material is (.+) made", r"\1 is made of"),
    (r"what is the material of (.+)", r"\1 is made of"),
    (r"what is (.+) made of", r"\1 is made of"),
    (r"which currency does (.+) use", r"the currency of \1 is the"),
    (r"(?:what is|name) the currency of (.+)", r"the currency of \1 is the"),
    (r"which language (?:is spoken in|do people speak in) (.+)", r"the language of \1 is"),
    (r"who wrote (.+)", r"the author of \1 is"),
    (r"which symbol does (.+) have", r"the chemical symbol of \1 is"),
    (r"what is the symbol for (.+)", r"the chemical symbol of \1 is"),
    (r"(?:what|which city|who) is the (.+)|name the (.+)", r"the \1\2 is"),
)


def beginning_of(question: str) -> str:
    """The statement that a question of the example file asks to complete; ValueError if no rule matches."""
    form, beginning = RULES[rule_of(question)]
    asked = POLITE.sub("", question.strip()).rstrip("?. ")
    text = re.fullmatch(form, asked, re.I).expand(beginning)
    return text[0].upper() + text[1:]


def rule_of(question: str) -> int:
    """The place in RULES of the rule that turns the question; ValueError if none does."""
    asked = POLITE.sub("", question.strip()).rstrip("?. ")
    for place, (form, _) in enumerate(RULES):
        if re.fullmatch(form, asked, re.I):
            return place
    raise ValueError(f"no rule matches the question {question!r}; add one to RULES in {__file__}")


def one_of_each_rule(questions: Sequence[str]) -> list[str]:
    """The first question that each rule turns, in the order of RULES."""
    first = {}
    for question in questions:
        first.setdefault(rule_of(question), question)
    return [first[place] for place in sorted(first)]


def answers_by_rules(model, tokenizer, questions: Sequence[str]) -> list[str]:
    """The model's greedy completions of the statements, up to their full stop."""
    begun = [beginning_of(question) for question in questions]
    ends = generate(model, tokenizer, begun, max_new_tokens=16, stop=("eos", ".", "\n"), batch_size=64)
    return [f"{text} {end.strip()}" for text, end in zip(begun, ends, strict=True)]
