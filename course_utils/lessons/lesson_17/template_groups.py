"""Which questions were made from one template: numbers, ids and names masked, and what else varies alone.

For files that a program filled in ("Order 17 has not arrived", "Order 18 ..."): there a split by questions
leaves every held-out question's template in training, and the score says nothing about new questions.
"""

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise

from course_utils.lessons.lesson_17.own_data import COURTESIES, LINKING, linked, near_pairs, split_words

GREETINGS = COURTESIES | {"hey", "there", "good", "day", "morning", "afternoon", "evening"}
NUMBER, NAME = "<number>", "<name>"
WORD_OR_END = re.compile(r"<number>|[.?!:;\n]|[^\W\d_]+")
# a@b.c, an address, R-17, 3.50; bounded, so that a text without spaces is read once
ID = re.compile(r"\S{1,64}@\S{1,99}\.\w+|https?://\S+|#?[\w./:-]{0,40}\d[\w/:-]*(?:\.\d[\w/:-]*)*")
LONGEST_TURN = 60  # words: longer turns are nobody's template but for numbers, ids and names


def templates_of(texts: Sequence[str]) -> list[tuple[str, ...]]:
    """The words of each text with a mask for every number or id, and one for every run of names.

    A name is a word that stands capitalised inside a sentence somewhere in the texts, and nowhere in lower
    case. Where a language writes nouns so, they are masked too, and templates are wider than they need be.
    """
    masked = [ID.sub(f" {NUMBER} ", unicodedata.normalize("NFKC", text)) for text in texts]
    cut = [WORD_OR_END.findall(text) for text in masked]
    small = {word for words in cut for word in words if word[0].islower()}
    names = {
        word.casefold()
        for words in cut
        for before, word in pairwise(words)
        if word[0].isupper() and len(word) > 1 and before[0] not in ".?!:;\n" and word.casefold() not in small
    }
    return [_masked(words, names) or (text,) for words, text in zip(cut, texts, strict=True)]


def _masked(words, names):
    masked = []
    for word in words:
        if word[0] in ".?!:;\n":
            continue
        mask = word if word == NUMBER else NAME if word.casefold() in names else word.casefold()
        if mask not in (NUMBER, NAME) or masked[-1:] != [mask]:
            masked.append(mask)
    return tuple(word for word in masked if word not in COURTESIES) or tuple(masked)


def from_opening(turns: Sequence[str]) -> Sequence[str]:
    """The user's turns without greetings before the first one that asks."""
    start = next((n for n, turn in enumerate(turns) if not GREETINGS.issuperset(split_words(turn))), 0)
    return turns[start:]


def template_groups(asked: Sequence[Sequence[str]]) -> list[int]:
    """A number for each row of user's turns: the same for rows whose first turns come from one template.

    A turn that only greets is no first turn.
    Two first turns do if they are the same but for masks, or but for one word at one place, or if nearly all
    their words are the same. A later turn joins rows only to those that begin with it: what is asked on
    ("And what does it cost?") hangs on what came before, and would join all long conversations.
    """
    asked = [from_opening(row) for row in asked]
    turns = [turn for row in asked for turn in row]
    templates = iter(templates_of(turns))
    rows = [[next(templates) for _ in row] for row in asked]
    first, pairs = {}, []
    for position, row in enumerate(rows):
        pairs.append((first.setdefault(row[0], position), position))
        for key in _but_one_word(row[0]):
            pairs.append((first.setdefault(key, position), position))
    for position, row in enumerate(rows):
        pairs += [(first[turn], position) for turn in row[1:] if turn in first and len(turn) >= LINKING]
    distinct = {}
    for position, row in enumerate(rows):
        if words := frozenset(row[0]) - {NUMBER, NAME}:
            distinct.setdefault(words, position)
    places = list(distinct.values())
    pairs += [(places[i], places[j]) for i, j in near_pairs(list(distinct))]
    return linked(len(rows), pairs)


def _but_one_word(template):
    """The template without one of its words, for each of them that is not masked: (words, place)."""
    if not LINKING < len(template) <= LONGEST_TURN:
        return
    for place, word in enumerate(template):
        if word not in (NUMBER, NAME):
            yield template[:place] + template[place + 1 :], place


def template_leaks(held_out: Sequence, train: Sequence) -> list[int]:
    """Positions of held-out rows whose first turn, but for masks or one word, begins a row of training."""
    templates = templates_of([from_opening(row.asked)[0] for row in [*train, *held_out]])
    known = {key for template in templates[: len(train)] for key in (template, *_but_one_word(template))}
    return [
        position
        for position, template in enumerate(templates[len(train) :])
        if any(key in known for key in (template, *_but_one_word(template)))
    ]
