"""The split by template as this course's tool first had it, with its fault: material of the bug hunt.

It takes names from the texts before it drops courtesies, and joins no rows by question.
"""

from collections.abc import Sequence
from itertools import pairwise

from course_utils.own.both_sides import shared_with
from course_utils.own.own_data import Conversation, linked, near_pairs
from course_utils.own.split import leak_free_split
from course_utils.own.template_groups import NAME, SENTENCE_ENDS, WORD_OR_END

COURTESIES = {"hello", "hi", "please", "tell", "me", "thanks", "thank", "you"}
LONG = 3  # words: longer questions that differ in one word have one template


def first_templates_of(texts: Sequence[str]) -> list[tuple[str, ...]]:
    """The words of each text: names are masked, and then courtesies are dropped.

    A name is a word that is somewhere capitalised inside a sentence and nowhere in lower case.
    """
    cut = [WORD_OR_END.findall(text) for text in texts]
    names = _names(cut)
    masked = [
        [NAME if word.casefold() in names else word.casefold() for word in words if _is_word(word)]
        for words in cut
    ]
    return [tuple(word for word in words if word not in COURTESIES) or tuple(words) for words in masked]


def _names(cut):
    small = {word for words in cut for word in words if word[0].islower()}
    return {
        word.casefold()
        for words in cut
        for before, word in pairwise(words)
        if word[0].isupper() and _is_word(before) and word.casefold() not in small
    }


def _is_word(word):
    return word[0] not in SENTENCE_ENDS


def first_groups(questions: Sequence[str]) -> list[int]:
    """A number for each question: equal for one template, for all words but one, for nearly the same ones."""
    templates = first_templates_of(questions)
    first, pairs, distinct = {}, [], {}
    for position, template in enumerate(templates):
        keys = [template]
        if len(template) > LONG:
            keys += [template[:n] + template[n + 1 :] for n, word in enumerate(template) if word != NAME]
        pairs += [(first.setdefault(key, position), position) for key in keys]
        if words := frozenset(template) - {NAME}:
            distinct.setdefault(words, position)
    places = list(distinct.values())
    pairs += [(places[i], places[j]) for i, j in near_pairs(list(distinct))]
    return linked(len(templates), pairs)


def first_split(
    rows: Sequence[Conversation], seed: int
) -> tuple[list[Conversation], list[Conversation], str]:
    """(held-out rows, training rows, the report) of conversations of one turn."""
    questions = [row.asked[0] for row in rows]
    groups = first_groups(questions)
    held_out = set(leak_free_split(groups, ["conversation"] * len(rows), seed=seed))
    judged, trained = (
        [row for n, row in enumerate(rows) if (n in held_out) == side] for side in (True, False)
    )
    templates = first_templates_of(questions)
    known = {templates[n] for n in range(len(rows)) if n not in held_out}
    shared = sum(templates[n] in known for n in held_out)
    report = (
        f"Split by template ({len(set(groups))} of them): {shared} of {len(judged)} held-out questions have "
        "a template that is trained on."
    )
    return judged, trained, report


def asked_again(judged: Sequence[Conversation], trained: Sequence[Conversation]) -> list[tuple[str, str]]:
    """(held-out question, the same of training) for each held-out row that is asked there, by its letters."""
    found = []
    for place in shared_with(judged, trained).same:
        other = next(row for row in trained if shared_with([judged[place]], [row]).same)
        found.append((judged[place].asked[0], other.asked[0]))
    return found
