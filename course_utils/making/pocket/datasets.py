"""The data files made from the tables and the generator: facts, questions, source texts, their cards.

Deterministic: `python -m course_utils.making.pocket data` always writes the same bytes.
"""

import json
import random
from pathlib import Path

from course_utils.data import SPLITS
from course_utils.home import write_whole
from course_utils.making.pocket.conversations import conversations, conversations_card
from course_utils.making.pocket.corpus import documents
from course_utils.world.gold import fourgrams
from course_utils.world.lists import COUNTS, LISTS_SEED, lists_card, make_lists
from course_utils.world.manners import sentences
from course_utils.world.passages import question_row, reading_questions
from course_utils.world.stories import story
from course_utils.world.tables import INVENTED, FactRow, all_facts
from course_utils.world.templates import FORMS, PIECES, fill

SPLIT_SEED, QUESTION_SEED, READING_SEED = 11, 12, 13
SOURCE_SEEDS = {"held_out": (2_000_003, 200), "replay": (3_000_017, 1000)}  # never used for training
READING_ROWS = 400
FOURGRAMS_SEED, FOURGRAMS_STORIES = 14, 100_000  # more stories add hardly any
LONGEST_SOURCE = 150  # tokens, so that every text fits the model's context


def _units(relation: str, facts: list[FactRow]) -> list[list[FactRow]]:
    """Groups that must stay in one split: a fact, or the two directions of a pair of opposites."""
    if relation != "opposite":
        return [[fact] for fact in facts]
    pairs: dict[frozenset, list[FactRow]] = {}
    for fact in facts:
        pairs.setdefault(frozenset(fact[1:]), []).append(fact)
    return list(pairs.values())


def split_facts() -> list[dict]:
    """Rows of relation, subject, object, split: half of every relation is tune, a third of the rest
    validation, the remainder held_out; the invented facts follow."""
    rng = random.Random(SPLIT_SEED)
    rows = []
    for relation in FORMS:
        facts = [fact for fact in all_facts() if fact[0] == relation]
        units = _units(relation, facts)
        rng.shuffle(units)
        half = len(units) // 2
        split = dict.fromkeys(facts, "tune")
        for name, chosen in (("validation", units[: half // 3]), ("held_out", units[half // 3 : half])):
            split |= {fact: name for unit in chosen for fact in unit}
        rows += [_row(fact, split[fact]) for fact in facts]
    return rows + [_row((r, s, o), "invented") for r, facts in INVENTED.items() for s, o in facts]


def _row(fact: FactRow, split: str) -> dict:
    return dict(zip(("relation", "subject", "object"), fact, strict=True)) | {"split": split}


def question_rows(facts: list[dict], paraphrase: bool = False) -> list[dict]:
    """Two rows per fact, one for each kind of answer, in random phrasings or in the reserved one."""
    rng = random.Random(QUESTION_SEED)
    rows = []
    for fact in facts:
        triple = (fact["relation"], fact["subject"], fact["object"])
        form = FORMS[fact["relation"]]
        for kind in ("short", "sentence"):
            template = form.paraphrase if paraphrase else rng.choice(form.questions)
            rows.append(question_row(fill(template, *triple[1:]), triple, kind))
    return rows


def source_texts(name: str) -> list[dict]:
    """Documents like those of the corpus, with their own seed: rows of kind and text."""
    seed, count = SOURCE_SEEDS[name]
    rows = []
    for document in documents(seed):
        if len(PIECES.findall(document.text)) <= LONGEST_SOURCE:
            rows.append({"kind": document.kind, "text": document.text})
        if len(rows) == count:
            return rows
    raise AssertionError("the stream of documents has no end")


def story_fourgrams() -> str:
    """Every sequence of four words in many stories, one per line, sorted."""
    rng = random.Random(FOURGRAMS_SEED)
    told = {sentence for _ in range(FOURGRAMS_STORIES) for sentence in sentences(story(rng).text)}
    found = set().union(*map(fourgrams, told))
    return "".join(f"{fourgram}\n" for fourgram in sorted(found))


FACTS_CARD = """\
# Data

`facts.jsonl`: {facts} facts in {relations} relations, one a line: relation, subject, object, split. Half of
every relation is `tune` (asked about in fine-tuning), a sixth `validation` (to choose rates and settings by),
a third `held_out` (first asked about in the final evaluation). Both directions of a pair of opposites are in
the same split. The pocket GPT-2 read all of them as plain statements and was never asked about any.
{invented} more are `invented`: untrue, and in no corpus.

| relation | tune | validation | held out | invented |
|---|---|---|---|---|
{table}

The tables were typed for this course (`course_utils/world/tables.py`) and checked by hand; they simplify
where life is complicated (one language a country, one place an animal).

Folders: `questions/` asks about these facts, `conversations/` are chats to make an assistant from,
`lists/` asks for three facts at once, `preferences/` holds pairs of its stories of which one is preferred,
`source/` text like that of pre-training,
`examples/` what lesson 17 reads, `pocket-gpt2/` the model, `artifacts/` models tuned from it,
`results/` stored experiments, `short_forms/` a few steps of each, `trajectories/` a few of every loop.
`checksums.json` has the SHA-256 of every data file but these three: what differs from it is not loaded.
A stored experiment carries a hash of the data that it rests on.

Made by `python -m course_utils.making.pocket data`. Licence: Apache-2.0, like the course.
"""

QUESTIONS_CARD = """\
# Questions about the facts

Rows of prompt, completion, relation, subject, object and kind. The prompt is `Question: ...\\nAnswer:`; the
completion begins with a blank. Kind `short`: the object alone. Kind `sentence`: the prompt asks for a
sentence, and the completion states the fact.

| file | rows | about |
|---|---|---|
{table}

There are three phrasings a relation, drawn at random; `paraphrase.jsonl` asks in a fourth one, which no
other file uses. In `reading.jsonl` the question begins with a text of one to three statements about things
put together from random syllables, and the text holds the answer.

Made by `python -m course_utils.making.pocket data` from the tables and templates of `course_utils/world`.
Licence: Apache-2.0, like the course.
"""

SOURCE_CARD = """\
# Text like that of pre-training

Rows of kind and text. `held_out.jsonl` ({held_out} documents) measures forgetting, `replay.jsonl`
({replay} documents) is for mixing into a tuning set. Both come from the generator of the pocket GPT-2's
corpus, with seeds that its training never used; the facts and the words are the same, the documents are
not. Kinds: facts as running text, wrapped lines, entries, quotes or tables; stories; passages with questions.

`story_fourgrams.txt`: every four words in a row ({fourgrams:,}, with marks, names as `Name1` and `Name2`,
`<s>` and `</s>` for begin and end) in the sentences of {stories:,} stories of the grammar: the gold score
takes a sentence with any other four for broken.

Made by `python -m course_utils.making.pocket data`. Licence: Apache-2.0, like the course.
"""

ABOUT = {
    "tune": "the facts of split tune",
    "validation": "the facts of split validation",
    "held_out": "the facts of split held_out",
    "invented": "the invented facts",
    "paraphrase": "the facts of split held_out, in the phrasing kept back",
    "reading": "random invented things, with a text to read",
}


def _jsonl(rows: list[dict]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def data_files() -> dict[str, str]:
    """{path below data/: content} of every generated file and card."""
    facts = split_facts()
    by_split = {split: [row for row in facts if row["split"] == split] for split in SPLITS}
    asked = {split: question_rows(rows) for split, rows in by_split.items()}
    asked["paraphrase"] = question_rows(by_split["held_out"], paraphrase=True)
    asked["reading"] = reading_questions(random.Random(READING_SEED), READING_ROWS)
    source = {name: source_texts(name) for name in SOURCE_SEEDS}
    chats, fours = conversations(facts), story_fourgrams()
    lists = {name: make_lists(by_split[name], n, f"{LISTS_SEED} {name}") for name, n in COUNTS.items()}

    def count(relation, split):
        return sum(row["relation"] == relation for row in by_split[split])

    relation_rows = [
        f"| {r} | " + " | ".join(str(count(r, split) or "") for split in SPLITS) + " |" for r in FORMS
    ]
    return (
        {"facts.jsonl": _jsonl(facts)}
        | {f"questions/{name}.jsonl": _jsonl(rows) for name, rows in asked.items()}
        | {f"source/{name}.jsonl": _jsonl(rows) for name, rows in source.items()}
        | {"source/story_fourgrams.txt": fours}
        | {f"lists/{name}.jsonl": _jsonl(rows) for name, rows in lists.items()}
        | {f"conversations/{name}.jsonl": _jsonl(rows) for name, rows in chats.items()}
        | {
            "README.md": FACTS_CARD.format(
                facts=len(facts) - len(by_split["invented"]),
                invented=len(by_split["invented"]),
                relations=len(FORMS),
                table="\n".join(relation_rows),
            ),
            "questions/README.md": QUESTIONS_CARD.format(
                table="\n".join(
                    f"| {name}.jsonl | {len(asked[name])} | {what} |" for name, what in ABOUT.items()
                )
            ),
            "source/README.md": SOURCE_CARD.format(
                fourgrams=fours.count("\n"),
                stories=FOURGRAMS_STORIES,
                **{name: len(rows) for name, rows in source.items()},
            ),
            "conversations/README.md": conversations_card(chats),
            "lists/README.md": lists_card(lists),
        }
    )


def write_data(folder: Path) -> list[Path]:
    """Write the files and return their paths."""
    paths = []
    for name, content in data_files().items():
        path = folder / name
        write_whole(path, content)
        paths.append(path)
    return paths
