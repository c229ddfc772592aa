"""Prompts in other words: one call per fact of a list, with the beginning of a statement to complete.

Nothing is trained. A program splits the request and joins the answers.
"""

from collections.abc import Callable, Sequence

from course_utils.generation import generate
from course_utils.world.lists import LENGTH
from course_utils.world.templates import FORMS, fill

WORDINGS = ("phrase:", "phrase is", "first statement", "clear statement", "request")
LONGEST = 12  # tokens; the longest object has 9, and quotation marks may surround it
ARTICLES = ("a ", "an ", "the ")


def beginnings(wording: str, row: dict) -> list[str]:
    """The texts to complete, one per fact of a list; they do not depend on the object.

    phrase: the words of the request. first statement: the corpus's first template, up to its object. clear
    statement: one that only one object completes. request: the form of a whole list's request, which no text
    of pre-training has.
    """
    facts = zip(row["relations"], row["subjects"], strict=True)
    return [fill(template(wording, relation), subject, "it") for relation, subject in facts]


def template(wording: str, relation: str) -> str:
    """The relation's words before the object, with {s} or {b} for the subject."""
    form = FORMS[relation]
    if wording == "phrase:":
        return f"{form.heading}:"
    if wording == "phrase is":
        return f"{form.heading} is"
    if wording == "first statement":
        return form.statements[0].split("{o}")[0].split("{a}")[0].rstrip()
    if wording == "clear statement":
        return form.probe.replace("{art}", "")  # the article would give away the object
    if wording == "request":
        return f"Name this: {form.heading[0].lower()}{form.heading[1:]}.\nAnswer:"
    raise ValueError(f"wording must be one of {', '.join(WORDINGS)}; got {wording!r}")


def completions(model, tokenizer, lists: Sequence[dict], wording: str) -> list[list[str]]:
    """For each list, the greedy completions of its beginnings, up to a full stop or the end of the line."""
    prompts = [text for row in lists for text in beginnings(wording, row)]
    options = {"max_new_tokens": LONGEST, "stop": ("eos", ".", "\n"), "batch_size": 100}
    found = [text.strip() for text in generate(model, tokenizer, prompts, **options)]
    return [found[LENGTH * place : LENGTH * (place + 1)] for place in range(len(lists))]


def object_of(text: str) -> str:
    """The words of a completion without surrounding quotation marks and a leading article."""
    text = text.strip('"')
    return next((text.removeprefix(each) for each in ARTICLES if text.startswith(each)), text)


def right_lists(
    found: Sequence[Sequence[str]], lists: Sequence[dict], read: Callable[[str], str] = object_of
) -> list[int]:
    """1 for each list whose completions, as parsed by `read`, are its answers in order, else 0."""
    return [int([*map(read, texts)] == row["answers"]) for texts, row in zip(found, lists, strict=True)]
