"""Lists of three facts to be named in order, and a program that verifies answers.

For learning from verifiable rewards: an answer is either right or wrong, and guessing does not help, since
168 capitals make four million lists.
"""

import random
from collections.abc import Iterator, Sequence

from course_utils.data import DATA, read_jsonl
from course_utils.world.templates import FORMS, fill

LISTS_SEED = 31
RELATIONS = (
    "capital",
    "currency",
    "young",
    "symbol",
    "author",
    "landmark",
)  # their answers are hard to guess
LENGTH = 3  # facts per list
COUNTS = {"tune": 800, "validation": 100, "held_out": 200}  # lists of each kind
KINDS = ("one", "several")  # relations in a list


def load_lists(split: str, kind: str | None = None) -> list[dict]:
    """Rows of data/lists: prompt (one message), answers, relations, subjects, kind ("one", "several")."""
    if split not in COUNTS or kind not in (None, *KINDS):
        raise ValueError(
            f"split must be in {', '.join(COUNTS)}, kind in {', '.join(KINDS)}; got {split!r}, {kind!r}"
        )
    rows = read_jsonl(DATA / "lists" / f"{split}.jsonl")
    return [row for row in rows if kind in (None, row["kind"])]


def items(text: str) -> list[str]:
    """The parts of an answer between commas, without surrounding spaces and a final full stop."""
    return [part.strip() for part in text.strip().removesuffix(".").split(",")]


def verify(text: str, answers: Sequence[str]) -> float:
    """1 if the text names exactly these answers, in this order, and nothing else; else 0."""
    return float(items(text) == list(answers))


def list_row(facts: Sequence[dict]) -> dict:
    """A request for these facts, which are rows of facts.jsonl, and its answers."""
    asked = [fill(FORMS[row["relation"]].heading, row["subject"], row["object"]) for row in facts]
    relations = [row["relation"] for row in facts]
    return {
        "prompt": [{"role": "user", "content": "Name these: " + "; ".join(map(_in_a_list, asked)) + "."}],
        "answers": [row["object"] for row in facts],
        "relations": relations,
        "subjects": [row["subject"] for row in facts],
        "kind": "one" if len(set(relations)) == 1 else "several",
    }


def make_lists(facts: Sequence[dict], count: int, seed: str) -> list[dict]:
    """`count` distinct lists, of each kind in turn, from rows of facts.jsonl."""
    rng = random.Random(seed)
    tables = {name: [row for row in facts if row["relation"] == name] for name in RELATIONS}
    rows, seen = [], set()
    draws = {"one": _of_one(rng, tables), "several": _of_several(rng, tables)}
    while len(rows) < len(KINDS) * count:
        for kind in KINDS:
            row = list_row(next(draws[kind]))
            while (asked := row["prompt"][0]["content"]) in seen:
                row = list_row(next(draws[kind]))
            seen.add(asked)
            rows.append(row)
    return rows


def _of_one(rng, tables) -> Iterator[list[dict]]:
    while True:
        for name in RELATIONS:
            yield rng.sample(tables[name], LENGTH)


def _of_several(rng, tables) -> Iterator[list[dict]]:
    while True:
        yield [rng.choice(tables[name]) for name in rng.sample(RELATIONS, LENGTH)]


def _in_a_list(heading):
    return heading[0].lower() + heading[1:]


LISTS_CARD = """\
# Lists of facts

Requests for three facts, to be named in order: `{{"prompt": [one message], "answers": [three], "relations",
"subjects", "kind"}}`. Kind `one`: three facts of one relation; `several`: of three relations. Relations:
{relations}.
The facts of a file are those of its split in `../facts.jsonl`; no list is twice in it.

| file | lists of one relation | of several | facts in them |
|---|---|---|---|
{table}

An answer is right if it names the three in order, separated by commas, and nothing else
(`course_utils.world.lists.verify`). So there is no half right, and a list is harder than its facts: who knows
eight facts in ten is right about one list in two. `tune` is to train on, rates and settings are chosen on
`validation`, results are read on `held_out`.

Made by `python -m course_utils.making.pocket data`. Licence: Apache-2.0, like the course.
"""


def lists_card(files: dict[str, list[dict]]) -> str:
    table = []
    for name, rows in files.items():
        one, several = (sum(row["kind"] == kind for row in rows) for kind in KINDS)
        facts = {pair for row in rows for pair in zip(row["relations"], row["subjects"], strict=True)}
        table.append(f"| {name}.jsonl | {one} | {several} | {len(facts)} |")
    return LISTS_CARD.format(relations=", ".join(RELATIONS), table="\n".join(table))
