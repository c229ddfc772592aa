"""Pictures of lesson 17: the way of a file, an overlap, a cut, two splits, a courtesy that was a name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from course_utils.data import IGNORE
from course_utils.drawing import CELL, ROOM, Picture, shown_number
from course_utils.lessons.lesson_17.first_split import first_templates_of
from course_utils.own.own_data import word_weights
from course_utils.own.template_groups import NAME, WORD_OR_END, templates_of

TWO_LINES = 2.6  # units: the height of a box with two lines of text
STEPS = {  # {step of the way: its name in the picture}
    "read": "lines read",
    "different": "without copies",
    "kept": "not too long",
    "train": "trained on",
    "held out": "held out",
    "verdict": "verdict",
}


def way(title: str, counts: Mapping[str, str]) -> None:
    """The way of a file from its lines to a verdict; counts: what each of STEPS has, if it is known."""
    picture = Picture(title)
    y, wide, high = picture.bottom + 0.6, 8.2, 4.0
    gap = (ROOM - 3 * wide) / 2

    def box(step, x, y, width=wide):
        said = counts.get(step, "")
        kind = None if step == "verdict" else "loss" if step == "train" else "data"
        return picture.box(x, y, width, high, f"{STEPS[step]}\n{said}".strip(), kind)

    first = [box(step, n * (wide + gap), y) for n, step in enumerate(("read", "different", "kept"))]
    for one, other in pairwise(first):
        picture.arrow(one, other)
    y += high + 2.2
    held_out, train = box("held out", 0, y), box("train", 2 * (wide + gap), y)
    picture.arrow(first[2], train)
    picture.arrow((first[2].x + 0.6, first[2].bottom), (held_out.right - 0.6, held_out.y))
    y += high + 2.2
    base = picture.box(0, y, wide, high, "base, alone and with a prompt", "frozen")
    tuned = picture.box(2 * (wide + gap), y, wide, high, "tuned model: SFT, DPO", "trained")
    picture.arrow(train, tuned, "trains")
    picture.arrow(held_out, base, "asked")
    picture.arrow((held_out.right, held_out.bottom - 0.3), (tuned.x, tuned.y + 0.5))
    picture.text((held_out.right + tuned.x) / 2, y - 2.1, "asked", "center")
    y += high + 2.2
    verdict = picture.box(wide / 2 + gap / 2, y, 2 * wide + gap, high - 1.2, _lines(counts), None, bold=True)
    picture.arrow((base.x + wide * 0.75, base.bottom), (base.x + wide * 0.75, verdict.y))
    picture.arrow((tuned.x + wide * 0.25, tuned.bottom), (tuned.x + wide * 0.25, verdict.y))
    picture.key()
    picture.words[:] = [" ".join(words.split()) for words in picture.words]  # without the boxes' line breaks


def _lines(counts: Mapping[str, str]) -> str:
    return f"{STEPS['verdict']}: {counts['verdict']}" if "verdict" in counts else "answers compared: verdict"


def two_questions(one: str, other: str, texts: Sequence[set[str]]) -> None:
    """The words of two questions with their weights among the texts; those that are in both."""
    a, b, weight = one.split(), other.split(), word_weights(texts)
    words = sorted(dict.fromkeys([*a, *b]), key=lambda word: (weight[word], word))
    both = [word for word in words if word in a and word in b]
    picture = Picture("How much do these two questions have in common?")
    y = picture.bottom + 0.5
    for text in (one, other):
        picture.box(0, y, ROOM, CELL, text, "data")
        y += CELL + 0.3
    y += 0.9
    columns = (3, 10.5, 16.5, 23)
    for x, head in zip(columns, ("word", "in texts", "weight", "in both"), strict=True):
        picture.text(x, y, head, "center", bold=True)
    for word in words:
        y += 1.4
        count = sum(word in text for text in texts)
        shown = (word, str(count), shown_number(weight[word], 2), "yes" if word in both else "no")
        for x, text in zip(columns, shown, strict=True):
            picture.text(x, y, text, "center", bold=word not in both)
    shared, whole = (sum(weight[word] for word in part) for part in (both, words))
    y += 2
    picture.text(0, y, f"words in both: {len(both)} of {len(words)}, {len(both) / len(words):.2f}")
    said = f"{shown_number(shared, 2)} of {shown_number(whole, 2)}, {shown_number(shared / whole, 2)}"
    picture.text(0, y + 1.4, f"weight in both: {said}")
    picture.key()


def cut(conversations: Mapping[str, tuple[Sequence[str], Sequence[int]]], limit: int) -> None:
    """What a limit cuts of short conversations: {name: (tokens, labels)}; a cut token is in brackets."""
    picture = Picture(f"What does a limit of {limit} tokens cut?")
    y = picture.bottom + 0.6
    for name, (tokens, labels) in conversations.items():
        targets = [label != IGNORE for label in labels]
        kinds = ["loss" if each else "data" for each in targets]
        lost = sum(targets[limit:])
        picture.flow(
            y,
            name,
            [token if n < limit else f"({token})" for n, token in enumerate(tokens)],
            [kind if n < limit else None for n, kind in enumerate(kinds)],
        )
        picture.text(4.9, picture.bottom + 0.9, f"{sum(targets)} targets, {lost} cut")
        y = picture.bottom + 0.6
    labelled = [labels for _, labels in conversations.values()]
    lost = sum(len(labels[limit:]) for labels in labelled)
    gone = sum(label != IGNORE for labels in labelled for label in labels[limit:])
    tokens, every = sum(map(len, labelled)), sum(label != IGNORE for labels in labelled for label in labels)
    picture.text(
        0, picture.bottom + 1.2, f"cut: {lost} of {tokens} tokens, {gone} of {every} targets", bold=True
    )
    picture.key()


def two_splits(questions: Sequence[str], splits: Mapping[str, Sequence[int]]) -> None:
    """Rows of questions, and which of them each split holds out: {name of the split: places}."""
    picture = Picture("Which held-out rows does training know?")
    y, rows = picture.bottom + 0.9, range(len(questions))
    for name, held_out in splits.items():
        train = {question for n, question in enumerate(questions) if n not in held_out}
        known = [n for n in held_out if questions[n] in train]
        picture.text(0, y, name, bold=True)
        picture.strip(y + 0.8, [str(n) for n in rows], left=6, name="row")
        picture.row("question", questions, [None if n in held_out else "data" for n in rows], mark=known)
        picture.row("side", ["test" if n in held_out else "train" for n in rows])
        picture.row(
            "known", ["yes" if n in known else "no" if n in held_out else None for n in rows], mark=known
        )
        y = picture.bottom + 1.2
    picture.key()


def courtesy_as_name(texts: Sequence[str], among: Sequence[str]) -> None:
    """What the first program, and today's, make of some texts among all, and why."""
    picture = Picture("What becomes of “Thanks”?")
    every = [*texts, *among]
    first, today = first_templates_of(every), templates_of(every)
    y, wide = picture.bottom + 0.6, (ROOM - 1) / 2
    for n, text in enumerate(texts):
        x = n * (wide + 1)
        words = [word.casefold() for word in WORD_OR_END.findall(text) if word[0].isalpha()]
        steps = {
            "the text": (text, "data"),
            "its words": (", ".join(words), None),
            "first program: names masked, then courtesies dropped": (", ".join(first[n]), None),
            "today: courtesies dropped, then names masked": (", ".join(today[n]), None),
        }
        at = y
        for name, (said, kind) in steps.items():
            if n == 0:
                picture.text(0, at + 0.5, name)
            picture.box(x, at + 1.2, wide, TWO_LINES, said, kind, bold=NAME in said)
            at += TWO_LINES + 1.6
    inside = min((text for text in among if re.search(r"\w, Thanks", text)), key=len)
    picture.text(0, at + 0.5, "taken for a name: here it stands inside a sentence")
    picture.box(0, at + 1.2, ROOM, CELL, inside, "data")
    picture.key()
