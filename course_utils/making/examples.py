# ruff: noqa: E501  the lines of FAULTY and CARD are written as they are
"""Makes data/examples, the files that lesson 17 starts from: `python -m course_utils.making.examples`."""

import csv
import io
import json
import random
from pathlib import Path

from course_utils.data import load_questions
from course_utils.evaluation import question_text
from course_utils.home import write_whole
from course_utils.making.workshop import make_workshop
from course_utils.own.own_data import EXAMPLES

EXAMPLES_SEED = 17
EXAMPLE_RELATIONS = ("capital", "currency", "young", "symbol", "language", "habitat", "author", "material")
SHORT = 0.65  # share of answers that are a single word
LONG = 22  # exchanges in the conversations that exceed the pocket model's context
EDITS = ("Please, {}", "{}", "Hello, {}", "Please tell me, {}")  # variants of a question in lower case

FAULTY = (
    rb"""{"messages": [{"role": "user", "content": "What is the capital of Peru?"}, {"role": "assistant", "content": "Lima"}]}
{"messages": [{"role": "user", "content": "What is the capital of Cuba?"}, {"role": "assistant", "content": "Havana"},]}
{"messages": [{"role": "user", "content": "What is the capital of Chile?"}]}

{"messages": [{"role": "user", "content": "What is the capital of Spain?"}, {"role": "bot", "content": "Madrid"}]}
{"messages": [{"role": "user", "content": "What is the capital of Malta?"}, {"role": "assistant", "content": " "}]}
{"instruction": "What is the capital of Kenya?", "input": "", "output": "Nairobi"}
["What is the capital of Ghana?", "Accra"]
{"messages": [{"role": "user", "content": "What is the capital of Norway?"}, {"role": "assistant", "content": "Oslo"}]}
{"messages": [{"role": "user", "content": "What is the capital of Paraguay?"}, {"role": "assistant", "content": "Asunci"""
    + b"\xf3"
    + rb"""n"}]}
{"messages": [{"role": "user", "content": "And of Italy?"}, {"role": "assistant", "content": "Rome"}, {"role": "user", "content": "Thanks."}]}
"""
)

EXAMPLES_CARD = """\
# Examples

What lesson 17 starts from, so that it runs without a file of your own. Made for this course, licence Apache-2.0,
by `python -m course_utils.making.examples` (seed {seed}); a test compares.

| file | lines | what |
|---|---|---|
| conversations.jsonl | {conversations} | questions about facts of split tune (`../facts.jsonl`), answered by a word or by a sentence, as if two people had written them; with copies, near copies, some conversations of several turns, and two that are longer than the pocket model's context |
| pairs.jsonl | {pairs} | preferences: a sentence is preferred to a single word. Plain text and chat messages, both as TRL reads them |
| questions.csv | {rows} | the same kind of questions as a table, as a spreadsheet saves it |
| faulty.jsonl | 11 | seven lines with one fault each, three without, and one that is blank |
| workshop.jsonl | {orders} | what people write to a bicycle workshop, and its entry in a fixed form, with prices of its own: a file for an instruct model |
"""


def known_facts() -> list[dict]:
    """One question per fact with a short answer and a sentence, in random order."""
    rng = random.Random(EXAMPLES_SEED)
    found = {}
    for row in load_questions("tune"):
        if row["relation"] in EXAMPLE_RELATIONS:
            fact = found.setdefault((row["relation"], row["subject"]), {})
            fact[row["kind"]] = row["completion"].strip()
            if row["kind"] == "short":
                fact["question"] = question_text(row)
    return rng.sample(list(found.values()), len(found))


def exchange(fact: dict, rng: random.Random) -> list[dict]:
    """A question and its answer, in one of the two styles."""
    answer = fact["short" if rng.random() < SHORT else "sentence"]
    return [{"role": "user", "content": fact["question"]}, {"role": "assistant", "content": answer}]


def edited(question: str, rng: random.Random) -> str:
    """The question as another person might type it."""
    return rng.choice(EDITS).format(question[0].lower() + question[1:].rstrip("?."))


def make_conversations(known: list[dict]) -> list[list[dict]]:
    """Conversations on single facts; near and exact copies; several turns; system lines; two long ones."""
    rng = random.Random(EXAMPLES_SEED + 1)
    single, rest = known[:260], known[260:]
    made = [exchange(fact, rng) for fact in single]
    for fact, messages in zip(single[:36], made[:36], strict=True):
        again = [{"role": "user", "content": edited(fact["question"], rng)}, messages[1]]
        made.append(again if rng.random() < 0.7 else [again[0], exchange(fact, rng)[1]])
    made += rng.sample(made[:260], 14)
    for messages in made[100:108]:
        messages.insert(0, {"role": "system", "content": "You are a helpful assistant."})
    for _ in range(12):
        made.append([turn for _ in range(2) for turn in exchange(rest.pop(), rng)])
    for _ in range(2):
        made.append([turn for fact in rng.sample(rest, LONG) for turn in exchange(fact, rng)])
    return rng.sample(made, len(made))


def example_pairs(known: list[dict]) -> list[dict]:
    """Pairs in which a sentence is preferred to a word; two in five are plain text."""
    rng = random.Random(EXAMPLES_SEED + 2)
    rows = []
    for fact in rng.sample(known[60:], 200):
        row = {"prompt": fact["question"], "chosen": fact["sentence"], "rejected": fact["short"]}
        if rng.random() > 0.4:
            row["prompt"] = [{"role": "user", "content": row["prompt"]}]
            for name in ("chosen", "rejected"):
                row[name] = [{"role": "assistant", "content": row[name]}]
        rows.append(row)
    return rows


def make_table(known: list[dict]) -> str:
    """A table whose rows include commas, quotation marks and a line break."""
    rows = [("question", "answer")]
    rows += [(fact["question"], fact["short"]) for fact in known[:20]]
    rows += [("Say hello, please.", "Hello, and welcome."), ('What does "sic" mean?', 'It means "so".')]
    rows.append(("Name two colours,\none a line.", "red\nblue"))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def files() -> dict[str, bytes]:
    """{name: content} of all files."""
    known = known_facts()
    conversations = [{"messages": messages} for messages in make_conversations(known)]
    pairs, table = example_pairs(known), make_table(known)
    orders = [{"messages": messages} for messages in make_workshop()]
    lines = {"conversations.jsonl": conversations, "pairs.jsonl": pairs, "workshop.jsonl": orders}
    content = {
        name: "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
        for name, rows in lines.items()
    }
    counts = {"conversations": len(conversations), "pairs": len(pairs), "rows": 23, "seed": EXAMPLES_SEED}
    counts |= {"orders": len(orders)}
    return content | {
        "questions.csv": table.encode(),
        "faulty.jsonl": FAULTY,
        "README.md": EXAMPLES_CARD.format(**counts).encode(),
    }


def write_examples(folder: Path = EXAMPLES) -> None:
    for name, content in files().items():
        write_whole(folder / name, content)


if __name__ == "__main__":
    write_examples()
