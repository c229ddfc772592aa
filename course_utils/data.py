"""The course's data sets: reading them, turning text into examples with labels, batching and padding."""

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from course_utils.terminal import git_restore

DATA = Path(__file__).resolve().parent.parent / "data"
DATA_SUMS = DATA / "checksums.json"  # {file below data/: SHA-256}
SPLITS = ("tune", "validation", "held_out", "invented")
QUESTION_SETS = (*SPLITS, "paraphrase", "reading")
Batch = dict[str, torch.Tensor]
IGNORE = -100  # the label of a token that carries no loss, in PyTorch and in transformers


@dataclass(frozen=True)
class Fact:
    """One fact.

    split: tune (asked in tuning), validation (to choose rates and settings by), held_out (asked in the final
    evaluation only) or invented (untrue).
    """

    relation: str
    subject: str
    object: str
    split: str


@dataclass(frozen=True)
class Example:
    """Token ids of one sequence, and a label for each of them (-100: no loss). Labels are not shifted."""

    input_ids: list[int]
    labels: list[int]


Pairs = Sequence[tuple[Example, Example]]  # (chosen, rejected)


def read_jsonl(path) -> list[dict]:
    """The objects of a JSON Lines file. ValueError with file and line number where one is not."""
    return [row for _, row in numbered_rows(path)]


def numbered_rows(path) -> list[tuple[int, dict]]:
    """(line number, object) of a JSON Lines file; errors as read_jsonl."""
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
    """ValueError where a file of the course's data is not as it was shipped; other files may be anything."""
    path = path.resolve()
    if not path.is_relative_to(DATA_SUMS.parent):
        return
    expected = _shipped_sums().get(path.relative_to(DATA_SUMS.parent).as_posix())
    if expected not in (None, hashlib.sha256(content).hexdigest()):
        raise ValueError(
            f"{path} has changed: its SHA-256 is another than in {DATA_SUMS.name}. Restore it: "
            f"{git_restore(path)}. Data of your own belong in a file of your own."
        )


def _shipped_sums() -> dict[str, str]:
    try:
        return dict(json.loads(DATA_SUMS.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        raise ValueError(f"{DATA_SUMS} is missing or damaged. Restore it: {git_restore(DATA_SUMS)}") from None


def load_facts(split: str | None = None, relation: str | None = None) -> list[Fact]:
    """The facts of data/facts.jsonl, all of them or those of one split or relation."""
    facts = [Fact(**row) for row in read_jsonl(DATA / "facts.jsonl")]
    if split not in (None, *SPLITS):
        raise ValueError(f"unknown split {split!r}; choose one of {', '.join(SPLITS)}")
    relations = sorted({fact.relation for fact in facts})
    if relation is not None and relation not in relations:
        raise ValueError(f"unknown relation {relation!r}; choose one of {', '.join(relations)}")
    return [fact for fact in facts if split in (None, fact.split) and relation in (None, fact.relation)]


def load_questions(name: str) -> list[dict]:
    """A set of questions: rows of prompt, completion, relation, subject, object and kind (short, sentence).

    tune, validation, held_out, invented: about the facts of that split. paraphrase: held-out facts in words
    that tuning does not use. reading: invented facts, stated in the question itself.
    """
    if name not in QUESTION_SETS:
        raise ValueError(f"unknown set of questions {name!r}; choose one of {', '.join(QUESTION_SETS)}")
    return read_jsonl(DATA / "questions" / f"{name}.jsonl")


ROLES = ("system", "user", "assistant")


def load_conversations(name="train") -> list[dict]:
    """Rows with "messages", of data/conversations/NAME.jsonl or of a file of your own (a path in .jsonl).

    train; validation, to choose settings by; held_out_facts and _reading, _tasks, _stories, _refusals,
    _turns, _system. The course's rows have their "kind". Checks every line: ValueError with file, line and
    fault.
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
    """What is wrong with a message, the number-th of its conversation, in words; None if nothing is."""
    if not isinstance(message, dict) or not isinstance(message.get("content"), str):
        return f'message {number} must be {{"role": ..., "content": "text"}}, got {str(message)[:60]}'
    if message.get("role") not in ROLES:
        return f"message {number} has the role {message.get('role')!r}; ChatML here knows {ROLES}"
    return None


def conversation_fault(messages) -> str | None:
    """What is wrong with a conversation to train on, in words; None if nothing is."""
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
    """Text like that of pre-training, not seen there: `held_out` to evaluate on, `replay` to train on."""
    return [row["text"] for row in read_jsonl(DATA / "source" / f"{name}.jsonl")]


def check_length(input_ids: Sequence[int], tokenizer, text: str):
    """ValueError if there are more tokens than the model's context, which the tokenizer knows."""
    if len(input_ids) > tokenizer.model_max_length:
        raise ValueError(
            f"this example has {len(input_ids)} tokens, the model reads {tokenizer.model_max_length}: "
            f"{text[:60]!r}... Shorten it or split it."
        )


def encode(tokenizer, text: str) -> list[int]:
    """Token ids of the text alone, nothing added."""
    return tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]


def text_of(tokenizer, token: int) -> str:
    """The token's text, or its number where it is a part of a character only."""
    text = tokenizer.decode([token])
    return f"<{token}>" if "\ufffd" in text else text


def encode_prompt_completion(tokenizer, prompt: str, completion: str) -> Example:
    """Prompt, completion and end of text in one sequence; loss on the completion and the end."""
    prompt_ids = encode(tokenizer, prompt)
    completion_ids = [*encode(tokenizer, completion), tokenizer.eos_token_id]
    check_length(prompt_ids + completion_ids, tokenizer, prompt + completion)
    return Example(prompt_ids + completion_ids, [IGNORE] * len(prompt_ids) + completion_ids)


def encode_text(tokenizer, text: str) -> Example:
    """The text and its end; loss on every token (the first has nothing before it and is never predicted)."""
    ids = [*encode(tokenizer, text), tokenizer.eos_token_id]
    check_length(ids, tokenizer, text)
    return Example(ids, list(ids))


def collate(examples: Sequence[Example], pad_id: int, side: str = "right") -> Batch:
    """Pads to the longest: input_ids, attention_mask and labels, each [batch, tokens].

    Labels of padding are -100 by position, so that a real end of text keeps its loss where it is also the
    pad token.
    """
    if not examples:
        raise ValueError("an empty list of examples makes no batch")
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
    """Endless shuffled batches; every example once an epoch, the last batch of an epoch may be smaller.

    Batches hold examples of similar length (sorted within runs of 16 batches), which saves padding.
    """
    if not examples:
        raise ValueError("no examples to make batches of")
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
    """Endless shuffled batches of items of similar length, every item once an epoch."""
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
    """Places of all items in chunks of similar length, which saves padding."""
    order = sorted(range(len(items)), key=lambda index: length(items[index]))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]
