"""Which questions were made from one template: numbers, ids and names masked, and what else varies alone.

For files that a program filled in ("Order 17 has not arrived", "Order 18 ..."): there a split by questions
leaves every held-out question's template in training, and the score says nothing about new questions.
"""

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise

from course_utils.own.own_data import COURTESY, LINKING, from_opening, linked, near_pairs, question_links

NUMBER, NAME = "<number>", "<name>"
SENTENCE_ENDS = ".?!:;\n"  # of sentences
WORD_OR_END = re.compile(rf"<number>|[{SENTENCE_ENDS}]|[^\W\d_]+")
# a@b.c, an address, R-17, 3.50; bounded, so that a text without spaces is read once
ID = re.compile(r"\S{1,64}@\S{1,99}\.\w+|https?://\S+|#?[\w./:-]{0,40}\d[\w/:-]*(?:\.\d[\w/:-]*)*")
LONGEST_TURN = 60  # words: longer turns are nobody's template but for numbers, ids and names


def templates_of(texts: Sequence[str]) -> list[tuple[str, ...]]:
    """The words of each text without courtesies, a mask for each number or id, and one for each run of names.

    A name is a word that stands capitalised inside a sentence somewhere in the texts, and nowhere in lower
    case. Where a language writes nouns so, they are masked too, and templates are wider than they need be.
    """
    cut = [_cut(ID.sub(f" {NUMBER} ", unicodedata.normalize("NFKC", text))) for text in texts]
    small = {"i", "a", *(word for words in cut for word in words if word[0].islower())}
    names = {
        word.casefold()
        for words in cut
        for before, word in pairwise(words)
        if word[0].isupper() and before[0] not in SENTENCE_ENDS and word.casefold() not in small
    }
    return [_masked(words, names) or (text,) for words, text in zip(cut, texts, strict=True)]


def _cut(text):
    words = WORD_OR_END.findall(COURTESY.sub(" ", text))
    return words if any(word[0] not in SENTENCE_ENDS for word in words) else WORD_OR_END.findall(text)


def _masked(words, names):
    masked = []
    for word in words:
        if word[0] in SENTENCE_ENDS:
            continue
        mask = word if word == NUMBER else NAME if word.casefold() in names else word.casefold()
        if mask not in (NUMBER, NAME) or masked[-1:] != [mask]:
            masked.append(mask)
    return tuple(masked)


def template_groups(asked: Sequence[Sequence[str]]) -> list[int]:
    """A number for each row of user's turns: the same for rows of one question or of one template.

    Questions are those of question_groups. The first turns of two rows (greetings aside) come from one
    template if they are the same but for masks, or but for one word, or if nearly all their words are the
    same. A later turn joins rows only to those that begin with it.
    """
    rows = _templates_of_rows(asked)
    first, pairs = {}, question_links(asked)
    for position, row in enumerate(rows):
        pairs.append((first.setdefault(row[0], position), position))
        for key in _but_one_word(row[0]):
            pairs.append((first.setdefault(key, position), position))
    for position, row in enumerate(rows):
        pairs += [(first[turn], position) for turn in row[1:] if turn in first and len(turn) >= LINKING]
    distinct = {}
    for position, row in enumerate(rows):
        if words := frozenset(row[0]) - {NUMBER, NAME}:
            pairs.append((distinct.setdefault(words, position), position))
    places = list(distinct.values())
    pairs += [(places[i], places[j]) for i, j in near_pairs(list(distinct))]
    return linked(len(rows), pairs)


def _templates_of_rows(asked):
    """The templates of each row's turns, from its opening; names are sought in all rows."""
    asked = [from_opening(row) for row in asked]
    templates = iter(templates_of([turn for row in asked for turn in row]))
    return [[next(templates) for _ in row] for row in asked]


def _but_one_word(template):
    """The template without one of its words, for each of them that is not masked."""
    if not LINKING < len(template) <= LONGEST_TURN:
        return
    for place, word in enumerate(template):
        if word not in (NUMBER, NAME):
            yield template[:place] + template[place + 1 :]


def template_leaks(held_out: Sequence, train: Sequence) -> list[int]:
    """Positions of held-out rows whose first turn, but for masks or one word, begins a row of training."""
    templates = [row[0] for row in _templates_of_rows([row.asked for row in [*train, *held_out]])]
    known = {key for template in templates[: len(train)] for key in (template, *_but_one_word(template))}
    return [
        position
        for position, template in enumerate(templates[len(train) :])
        if any(key in known for key in (template, *_but_one_word(template)))
    ]
