"""The pre-training corpus: an endless, deterministic stream of documents.

Facts are stated in five surface forms, each fact equally often: running text; the same broken into lines;
entries (a heading, the sentence that repeats it, a restatement); quotes; and tables. In quotes and tables the
answer follows its subject without a space. Only passages about invented things contain questions.
"""

import json
import random
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from course_utils.world.passages import passage, roll_call
from course_utils.world.stories import CHARACTER_NAMES, story
from course_utils.world.tables import FactRow, all_facts, bare
from course_utils.world.templates import FORMS, PIECES, WRAPPERS, capitalise, embed, fill, object_last

END = "<|endoftext|>"


# shares of tokens: kinds of document, and surface forms within the facts
DOCUMENT_KINDS = {"facts": 0.53, "stories": 0.26, "passages": 0.17, "lists": 0.04}
FACT_FORMS = {"running": 0.24, "wrapped": 0.2, "entries": 0.22, "quotes": 0.17, "tables": 0.17}
TWICE = ("capital", "currency", "young", "symbol")  # stated twice as often: hard to spell


@dataclass(frozen=True)
class Document:
    kind: str
    text: str
    facts: tuple[FactRow, ...] = ()


class Deck:
    """Groups of facts, dealt endlessly in random order; every fact comes once per round."""

    def __init__(
        self, rng: random.Random, facts: list[FactRow], key: Callable[[FactRow], str] | None, size: int
    ):
        self.rng, self.facts, self.key, self.size = rng, facts, key, size
        self.groups: list[list[FactRow]] = []

    def deal(self) -> list[FactRow]:
        if not self.groups:
            facts = self.facts[:]
            self.rng.shuffle(facts)
            sets: dict[str, list[FactRow]] = {}
            for fact in facts:
                sets.setdefault(self.key(fact) if self.key else "", []).append(fact)
            self.groups = [
                group[i : i + self.size] for group in sets.values() for i in range(0, len(group), self.size)
            ]
            self.rng.shuffle(self.groups)
        return self.groups.pop()


def _sentence(rng: random.Random, fact: FactRow, wrap: float = 0.25) -> str:
    relation, subject, obj = fact
    template = rng.choice(FORMS[relation].statements)
    if rng.random() < wrap:
        wrapper = rng.choice(WRAPPERS)
        return wrapper.format(name=rng.choice(CHARACTER_NAMES), x=fill(embed(template), subject, obj))
    return fill(template, subject, obj)


def running(rng: random.Random, facts: list[FactRow]) -> str:
    return " ".join(_sentence(rng, fact) for fact in facts)


def wrapped(rng: random.Random, facts: list[FactRow]) -> str:
    """Running text broken into short lines, or one sentence per line."""
    if rng.random() < 0.3:
        return "\n".join(_sentence(rng, fact) for fact in facts)
    width = rng.randint(16, 44)
    return textwrap.fill(running(rng, facts), width, break_long_words=False, break_on_hyphens=False)


def entries(rng: random.Random, facts: list[FactRow]) -> str:
    """A heading, the sentence that repeats it, and a restatement; or a card with the bare answer."""
    parts = []
    if len({subject for _, subject, _ in facts}) == 1 and len(facts) > 1:
        lines = [fill(FORMS[r].statements[0], s, o) for r, s, o in facts]
        again = [_sentence(rng, fact, wrap=0) for fact in rng.sample(facts, min(2, len(facts)))]
        return "\n".join([capitalise(bare(facts[0][1])), *lines, *again])
    for relation, subject, obj in facts:
        form = FORMS[relation]
        heading = fill(form.heading, subject, obj)
        canonical = fill(form.statements[0], subject, obj)
        again = _sentence(rng, (relation, subject, obj), wrap=0)
        shape = rng.random()
        if shape < 0.6:
            parts.append(f"{heading}\n{canonical} {again}")
        elif shape < 0.75:
            parts.append(f"{heading}\n{canonical}\n{again}")
        else:
            parts.append(f"{heading}\n{obj}\n{canonical}")
    return "\n\n".join(parts)


def quotes(rng: random.Random, facts: list[FactRow]) -> str:
    """The answer in quotation marks, or after a bracket or slash in a list."""
    relations = {relation for relation, _, _ in facts}
    if len(relations) == 1 and rng.random() < 0.7:
        first, second = FORMS[facts[0][0]].columns
        left, right = rng.choice(((" (", ")"), ("/", ""), (' "', '"'), (" [", "]")))
        pairs = [f"{bare(s)}{left}{o}{right}" for _, s, o in facts]
        return f"{capitalise(first)}{left}{second}{right}: " + ", ".join(pairs) + "."
    lines = []
    for relation, subject, obj in facts:
        form = FORMS[relation]
        if rng.random() < 0.4:
            lines.append(f'{fill(form.heading, subject, obj)}: "{obj}".')
        else:
            template = rng.choice([t for t in form.statements if object_last(t)])
            lines.append(fill(template, subject, obj, quote='"'))
    return " ".join(lines)


def tables(rng: random.Random, facts: list[FactRow]) -> str:
    """Rows of one relation, with columns separated by a mark without spaces."""
    first, second = FORMS[facts[0][0]].columns
    first = rng.choice((first, first, "name"))
    rows = [(first, second)] + [(bare(s), o) for _, s, o in facts]
    shape = rng.random()
    if shape < 0.12:
        lines = [f"|{a}|{b}|" for a, b in rows]
        return "\n".join([lines[0], "|---|---|", *lines[1:]])
    if shape < 0.24:
        items = [{first: a, second: b} for a, b in rows[1:]]
        return "\n".join(json.dumps(item, separators=(",", ":")) for item in items)
    mark = "," if shape < 0.55 else rng.choice(("|", "\t", ";", "=", ":", "->"))
    return "\n".join(a + mark + b for a, b in rows)


WRITERS = {"running": running, "wrapped": wrapped, "entries": entries, "quotes": quotes, "tables": tables}


def _weighted() -> list[FactRow]:
    facts = all_facts()
    return facts + [fact for fact in facts if fact[0] in TWICE]


def documents(seed: int) -> Iterator[Document]:
    """Endless documents; the kind and form furthest below its share comes next."""
    rng = random.Random(seed)
    facts = _weighted()
    mixed = {form: Deck(rng, facts, None, 5) for form in FACT_FORMS}
    by_relation = {form: Deck(rng, facts, lambda f: f[0], 8) for form in FACT_FORMS}
    by_subject = {form: Deck(rng, facts, lambda f: f[1], 5) for form in FACT_FORMS}
    kinds, forms = Counter(), Counter()
    while True:
        kind = min(DOCUMENT_KINDS, key=lambda k: kinds[k] / DOCUMENT_KINDS[k])
        dealt: list[FactRow] = []
        if kind == "stories":
            text = story(rng).text
        elif kind == "passages":
            text = passage(rng, CHARACTER_NAMES)
        elif kind == "lists":
            text = roll_call(rng)
        else:
            form = min(FACT_FORMS, key=lambda f: forms[f] / FACT_FORMS[f])
            draw = rng.random()
            if form == "tables" or draw < (0.6 if form == "quotes" else 0.25):
                dealt = by_relation[form].deal()
            elif draw < 0.5 and form in ("running", "wrapped", "entries"):
                dealt = by_subject[form].deal()
            else:
                dealt = mixed[form].deal()
            text = WRITERS[form](rng, dealt)
            forms[form] += len(PIECES.findall(text))
        kinds[kind] += len(PIECES.findall(text))
        yield Document(form if kind == "facts" else kind, text, tuple(dealt))


def bare_answers(document: Document) -> list[FactRow]:
    """The facts whose answer follows its subject without a space before it."""
    if document.kind not in ("entries", "quotes", "tables"):
        return []
    return [f for f in document.facts if re.search(rf"(?<![ \w]){re.escape(f[2])}(?!\w)", document.text)]
