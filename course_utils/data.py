"""The course's data sets: reading them, encoding text as examples with labels, batching and padding."""

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from course_utils.ownership import ROOT, restore_command

DATA = ROOT / "data"
DATA_SUMS = DATA / "checksums.json"  # {file below data/: SHA-256}
SPLITS = ("tune", "validation", "held_out", "invented")
QUESTION_SETS = (*SPLITS, "paraphrase", "reading")
Batch = dict[str, torch.Tensor]
IGNORE = -100  # label of a token without loss, as in PyTorch and transformers


@dataclass(frozen=True)
class Fact:
    """One fact.

    split: tune (asked in tuning), validation (to choose learning rates and settings), held_out (asked only in
    the final evaluation) or invented (untrue).
    """

    relation: str
    subject: str
    object: str
    split: str


@dataclass(frozen=True)
class Example:
    """Token ids of one sequence, with a label for each (-100: no loss). Labels are not shifted."""

    input_ids: list[int]
    labels: list[int]


Pairs = Sequence[tuple[Example, Example]]  # (chosen, rejected)


def read_jsonl(path) -> list[dict]:
    """The objects of a JSON Lines file. ValueError with file and line number for a malformed line."""
    return [row for _, row in numbered_rows(path)]


def numbered_rows(path) -> list[tuple[int, dict]]:
    """(line number, object) of a JSON Lines file; errors as in read_jsonl."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    content = path.read_bytes()
    check_shipped(path, content)
    rows = []
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}, line {number}: not UTF-8 text ({error.reason})") from None
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number}, column {error.colno}: not JSON ({error.msg})") from None
        except (ValueError, RecursionError):
            fault = "a number is too long, or it is nested too deeply"
            raise ValueError(f"{path}, line {number}: not JSON that can be read ({fault})") from None
        if not isinstance(row, dict):
            raise ValueError(
                f'{path}, line {number}: expected an object such as {{"text": "..."}}, got {str(row)[:60]}'
            )
        rows.append((number, row))
    return rows


def check_shipped(path: Path, content: bytes) -> None:
    """ValueError if a data file of the course differs from the shipped one; other files are not checked."""
    path = path.resolve()
    if not path.is_relative_to(DATA_SUMS.parent):
        return
    expected = _shipped_sums().get(path.relative_to(DATA_SUMS.parent).as_posix())
    if expected not in (None, hashlib.sha256(content).hexdigest()):
        raise ValueError(
            f"{path} has changed: its SHA-256 differs from the one in {DATA_SUMS.name}. Restore it: "
            f"{restore_command(path)}. Data of your own belong in a file of your own."
        )


def _shipped_sums() -> dict[str, str]:
    try:
        return dict(json.loads(DATA_SUMS.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        raise ValueError(
            f"{DATA_SUMS} is missing or damaged. Restore it: {restore_command(DATA_SUMS)}"
        ) from None


def load_facts(split: str | None = None, relation: str | None = None) -> list[Fact]:
    """The facts of data/facts.jsonl, all or those of one split or relation."""
    facts = [Fact(**row) for row in read_jsonl(DATA / "facts.jsonl")]
    if split not in (None, *SPLITS):
        raise ValueError(f"unknown split {split!r}; choose one of {', '.join(SPLITS)}")
    relations = sorted({fact.relation for fact in facts})
    if relation is not None and relation not in relations:
        raise ValueError(f"unknown relation {relation!r}; choose one of {', '.join(relations)}")
    return [fact for fact in facts if split in (None, fact.split) and relation in (None, fact.relation)]


def load_questions(name: str) -> list[dict]:
    """A set of questions: rows of prompt, completion, relation, subject, object and kind (short, sentence).

    tune, validation, held_out, invented: about the facts of that split. paraphrase: held-out facts in
    wordings that tuning does not use. reading: invented facts, stated in the question itself.
    """
    if name not in QUESTION_SETS:
        raise ValueError(f"unknown set of questions {name!r}; choose one of {', '.join(QUESTION_SETS)}")
    return read_jsonl(DATA / "questions" / f"{name}.jsonl")


ROLES = ("system", "user", "assistant")


def load_conversations(name="train") -> list[dict]:
    """Rows with "messages" of data/conversations/NAME.jsonl, or of your own file (a path ending in .jsonl).

    train; validation, to choose settings; held_out_facts and _reading, _tasks, _stories, _refusals, _turns,
    _system. The course's rows also have a "kind". Raises ValueError with file, line and fault for a malformed
    row.
    """
    path = Path(name)
    if path.suffix != ".jsonl":
        path = DATA / "conversations" / f"{name}.jsonl"
        if not path.is_file():
            known = sorted(file.stem for file in path.parent.glob("*.jsonl") if file.stem != "story_prompts")
            raise ValueError(f"unknown conversations {name!r}; choose {', '.join(known)}, or a .jsonl file")
    rows = numbered_rows(path)
    if not rows:
        raise ValueError(f"{path}: the file has no conversations")
    for number, row in rows:
        if fault := conversation_fault(row.get("messages")):
            raise ValueError(f"{path}, line {number}: {fault}")
    return [row for _, row in rows]


def load_story_prompts() -> list[dict]:
    """Requests for stories that no training file has: rows of "prompt" (messages), mood, manners, names."""
    return read_jsonl(DATA / "conversations" / "story_prompts.jsonl")


def message_fault(message, number: int) -> str | None:
    """The fault of a message, the number-th of its conversation, as text; None if there is none."""
    if not isinstance(message, dict) or not isinstance(message.get("content"), str):
        return f'message {number} must be {{"role": ..., "content": "text"}}, got {str(message)[:60]}'
    if message.get("role") not in ROLES:
        return f"message {number} has the role {message.get('role')!r}; ChatML here knows {ROLES}"
    return None


def conversation_fault(messages) -> str | None:
    """The fault of a conversation for training, as text; None if there is none."""
    if not isinstance(messages, list) or not messages:
        return f'expected "messages": [{{"role": ..., "content": ...}}, ...], got {str(messages)[:60]}'
    for number, message in enumerate(messages, start=1):
        if fault := message_fault(message, number):
            return fault
        if message["role"] == "system" and number > 1:
            return f"message {number} is a system line; only the first message can be one"
        if not message["content"].strip():
            return f"message {number} ({message['role']}) is empty"
    if not any(message["role"] == "assistant" for message in messages):
        return "the conversation has no assistant turn, so there is nothing to learn from it"
    return None


def load_source_texts(name: str = "held_out") -> list[str]:
    """Text like the pre-training text but unseen there: `held_out` to evaluate on, `replay` to train on."""
    return [row["text"] for row in read_jsonl(DATA / "source" / f"{name}.jsonl")]


def check_length(input_ids: Sequence[int], tokenizer, text: str):
    """ValueError if there are more tokens than the model's context length, given by the tokenizer."""
    if len(input_ids) > tokenizer.model_max_length:
        raise ValueError(
            f"this example has {len(input_ids)} tokens, the model reads {tokenizer.model_max_length}: "
            f"{text[:60]!r}... Shorten it or split it."
        )


def encode(tokenizer, text: str) -> list[int]:
    """Token ids of the text, without special tokens."""
    return tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]


def text_of(tokenizer, token: int) -> str:
    """The token's text, or its number if it is only part of a character."""
    text = tokenizer.decode([token])
    return f"<{token}>" if "\ufffd" in text else text


def encode_prompt_completion(tokenizer, prompt: str, completion: str) -> Example:
    """Prompt, completion and end of text in one sequence; loss on the completion and the end of text."""
    prompt_ids = encode(tokenizer, prompt)
    completion_ids = [*encode(tokenizer, completion), tokenizer.eos_token_id]
    check_length(prompt_ids + completion_ids, tokenizer, prompt + completion)
    return Example(prompt_ids + completion_ids, [IGNORE] * len(prompt_ids) + completion_ids)


def encode_text(tokenizer, text: str) -> Example:
    """The text and its end; loss on every token (the first is never predicted, since nothing precedes it)."""
    ids = [*encode(tokenizer, text), tokenizer.eos_token_id]
    check_length(ids, tokenizer, text)
    return Example(ids, list(ids))


def collate(examples: Sequence[Example], pad_id: int, side: str = "right") -> Batch:
    """Pad to the longest: input_ids, attention_mask and labels, each [batch, tokens].

    Padding gets label -100 by position, so that a real end of text keeps its loss even if it is also the pad
    token.
    """
    if not examples:
        raise ValueError("cannot make a batch of an empty list of examples")
    width = max(len(example.input_ids) for example in examples)

    def padded(rows, value):
        fill = [[value] * (width - len(row)) for row in rows]
        return torch.tensor([f + r if side == "left" else r + f for f, r in zip(fill, rows, strict=True)])

    return {
        "input_ids": padded([example.input_ids for example in examples], pad_id),
        "attention_mask": padded([[1] * len(example.input_ids) for example in examples], 0),
        "labels": padded([example.labels for example in examples], IGNORE),
    }


def batches(examples: Sequence[Example], batch_size: int, seed: int, pad_id: int) -> Iterator[Batch]:
    """Endless shuffled batches; each epoch has every example once and may end with a smaller batch.

    Examples of a batch have similar lengths (sorted within runs of 16 batches), which saves padding.
    """
    if not examples:
        raise ValueError("no examples to make batches from")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    return shuffled_batches(
        examples,
        batch_size,
        seed,
        lambda chunk: collate(chunk, pad_id),
        lambda example: len(example.input_ids),
    )


def collate_pairs(pairs, pad_id):
    """Pairs as one batch of 2 B rows, the chosen first: input_ids, attention_mask, labels."""
    chosen, rejected = zip(*pairs, strict=True)
    return collate([*chosen, *rejected], pad_id)


def shuffled_batches(items: Sequence, batch_size: int, seed: int, collate, length) -> Iterator[Batch]:
    """Endless shuffled batches of items of similar length; each epoch has every item once."""
    rng = random.Random(seed)
    order = list(range(len(items)))
    run = 16 * batch_size
    while True:
        rng.shuffle(order)
        epoch = []
        for start in range(0, len(order), run):
            bucket = sorted(order[start : start + run], key=lambda index: length(items[index]))
            epoch += [bucket[i : i + batch_size] for i in range(0, len(bucket), batch_size)]
        rng.shuffle(epoch)
        for batch in epoch:
            yield collate([items[index] for index in batch])


def chunks_by_length(items: Sequence, batch_size: int, length) -> Iterator[list[int]]:
    """Indices of all items in chunks of similar length, which saves padding."""
    order = sorted(range(len(items)), key=lambda index: length(items[index]))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]
