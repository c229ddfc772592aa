"""Preference pairs of answers: reading, writing and encoding them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from course_utils.chatml import IM_END, encode_conversation
from course_utils.data import DATA, Example, encode_prompt_completion, message_fault, numbered_rows
from course_utils.home import write_whole

FOLDER = DATA / "preferences"


@dataclass(frozen=True)
class Pair:
    """Two answers to a prompt, which is plain text or a list of chat messages ending with the user's."""

    prompt: str | list[dict]
    chosen: str
    rejected: str


class Preferences(NamedTuple):
    """train: noisy and, as shipped, biased towards longer answers; held_out: other prompts, noisy, unbiased.

    controlled: answers of equal gold score and different length, the longer one as `chosen`.
    """

    train: list[Pair]
    held_out: list[Pair]
    controlled: list[Pair]


# ------------------------------------------------------------------------------------------- files


def read_pairs(path) -> list[Pair]:
    """The pairs of a JSONL file of {"prompt", "chosen", "rejected"}: texts or chat messages, as in TRL.

    ValueError with file, line and fault for a line that is not such a pair.
    """
    path = Path(path)
    rows = numbered_rows(path)
    if not rows:
        raise ValueError(f"{path}: the file has no pairs")
    for number, row in rows:
        if fault := pair_fault(row):
            raise ValueError(f"{path}, line {number}: {fault}")
    return [as_pair(row) for _, row in rows]


def pair_fault(row: dict) -> str | None:
    """The fault of a row of a file of pairs, as text; None if there is none."""
    fields = ("prompt", "chosen", "rejected")
    if missing := [name for name in fields if name not in row]:
        return f'no "{missing[0]}"; a pair has "prompt", "chosen" and "rejected"'
    texts = [isinstance(row[name], str) for name in fields]
    if not all(texts) and any(texts):
        return "plain text and chat messages are mixed; all three must be of one kind"
    if not all(texts) and (fault := _messages_fault(row)):
        return fault
    answers = [row[name] if all(texts) else row[name][0]["content"] for name in ("chosen", "rejected")]
    for name, answer in zip(("chosen", "rejected"), answers, strict=True):
        if not answer.strip():
            return f'"{name}" is empty'
    if answers[0].strip() == answers[1].strip():
        return '"chosen" and "rejected" are the same text, so there is nothing to prefer'
    return None


def _messages_fault(row):
    for name in ("prompt", "chosen", "rejected"):
        if not isinstance(row[name], list) or not row[name]:
            return f'"{name}" must be a text or a list of messages, got {str(row[name])[:60]}'
        for number, message in enumerate(row[name], start=1):
            if fault := message_fault(message, number):
                return f'"{name}": {fault}'
    if row["prompt"][-1]["role"] != "user":
        return f'"prompt" must end with a message of the user, not of the {row["prompt"][-1]["role"]}'
    for name in ("chosen", "rejected"):
        roles = [message["role"] for message in row[name]]
        if roles != ["assistant"]:
            return f'"{name}" must be one message of the assistant, got roles {roles}'
    return None


def as_pair(row: dict) -> Pair:
    """A checked row as a Pair."""
    if isinstance(row["prompt"], str):
        return Pair(row["prompt"], row["chosen"], row["rejected"])
    return Pair(row["prompt"], row["chosen"][0]["content"], row["rejected"][0]["content"])


def as_row(pair: Pair) -> dict:
    """A Pair as a row for a file: plain text if its prompt is, else messages."""
    if isinstance(pair.prompt, str):
        return {"prompt": pair.prompt, "chosen": pair.chosen, "rejected": pair.rejected}
    chosen, rejected = ([{"role": "assistant", "content": text}] for text in (pair.chosen, pair.rejected))
    return {"prompt": pair.prompt, "chosen": chosen, "rejected": rejected}


def write_pairs(path, pairs: Sequence[Pair]) -> Path:
    """Write pairs as JSONL, renamed into place."""
    return write_jsonl(path, [as_row(pair) for pair in pairs])


def write_jsonl(path, rows: Sequence[dict]) -> Path:
    """Write rows as JSONL, renamed into place."""
    path = Path(path)
    write_whole(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def load_preferences(folder=FOLDER) -> Preferences:
    """The three files of a preferences folder, by default the course's."""
    return Preferences(*(read_pairs(Path(folder) / f"{name}.jsonl") for name in Preferences._fields))


# ---------------------------------------------------------------------------------------- encoding


def request(prompt: str | list[dict]) -> str:
    """The user's last message; a plain prompt is returned unchanged."""
    return prompt if isinstance(prompt, str) else prompt[-1]["content"]


def encode_answer(tokenizer, prompt: str | list[dict], answer: str) -> Example:
    """Prompt and answer up to its end token, as a policy writes it; labels on the answer only."""
    if isinstance(prompt, str):
        return encode_prompt_completion(tokenizer, prompt, answer)
    start = len(encode_conversation(tokenizer, prompt, add_generation_prompt=True).input_ids)
    ids = encode_conversation(tokenizer, [*prompt, {"role": "assistant", "content": answer}]).input_ids
    end = tokenizer.convert_tokens_to_ids(IM_END)
    ids = ids[: len(ids) - ids[::-1].index(end)]  # drop the template's newline after the last marker
    return Example(ids, [-100] * start + ids[start:])


def encode_pairs(tokenizer, pairs: Sequence[Pair]) -> list[tuple[Example, Example]]:
    """(chosen, rejected) of each pair, encoded."""
    return [
        (encode_answer(tokenizer, p.prompt, p.chosen), encode_answer(tokenizer, p.prompt, p.rejected))
        for p in pairs
    ]


def swapped(pair: Pair) -> Pair:
    """The pair with the other answer chosen."""
    return Pair(pair.prompt, pair.rejected, pair.chosen)


def write_preferences(preferences: Preferences, folder) -> None:
    """Write the three files of a preferences folder."""
    for name, pairs in preferences._asdict().items():
        write_pairs(Path(folder) / f"{name}.jsonl", pairs)
