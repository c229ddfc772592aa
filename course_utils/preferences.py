"""Pairs of answers of which one is preferred: reading and writing them, the simulated annotator, making them.

The annotator reads the gold score (course_utils.gold) and errs as Bradley and Terry say: it prefers the first
of two answers with probability sigmoid((gold of the first - gold of the second) / noise).

`python -m course_utils.preferences` makes the pairs of data/preferences anew from the stories in
answers.jsonl, with --sample these as well, by the instruction-tuned pocket model.
"""

import argparse
import itertools
import json
import math
import os
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from course_utils.chatml import IM_END, ROLES, encode_conversation
from course_utils.data import DATA, Example, encode_prompt_completion, load_story_prompts, read_jsonl
from course_utils.gold import gold_score

FOLDER = DATA / "preferences"
SEED = 10
NOISE = 0.1  # of the shipped labels, in units of the gold score
LONGER = 0.75  # share of the shipped training pairs in which the longer answer is the chosen one
ANSWERS = 16  # sampled for each prompt
MAX_NEW_TOKENS = 150
MIN_WORDS = 20  # shorter answers are no stories
TRAIN, HELD_OUT, CONTROLLED = 3000, 500, 200  # pairs
EQUAL, DIFFERENT = 0.03, 12  # controlled pairs: gold at most so far apart, lengths at least so many words


@dataclass(frozen=True)
class Pair:
    """Two answers to a prompt, which is plain text or a list of chat messages that ends with the user's."""

    prompt: str | list[dict]
    chosen: str
    rejected: str


class Preferences(NamedTuple):
    """train: with noise and, as shipped, a bias to longer answers; held_out: other prompts, noise, no bias.

    controlled: answers of equal gold score and different length, the longer one as `chosen`.
    """

    train: list[Pair]
    held_out: list[Pair]
    controlled: list[Pair]


# ------------------------------------------------------------------------------------------- files


def read_pairs(path) -> list[Pair]:
    """The pairs of a JSONL file of {"prompt", "chosen", "rejected"}: texts or chat messages, as in TRL.

    ValueError with file, line and fault where a line is not such a pair.
    """
    path = Path(path)
    rows = read_jsonl(path)
    if not rows:
        raise ValueError(f"{path}: the file has no pairs")
    lines = [number for number, line in enumerate(path.read_bytes().split(b"\n"), start=1) if line.strip()]
    for number, row in zip(lines, rows, strict=True):
        if fault := pair_fault(row):
            raise ValueError(f"{path}, line {number}: {fault}")
    return [as_pair(row) for row in rows]


def pair_fault(row: dict) -> str | None:
    """What is wrong with a row of a file of pairs, in words; None if nothing is."""
    fields = ("prompt", "chosen", "rejected")
    if missing := [name for name in fields if name not in row]:
        return f'no "{missing[0]}"; a pair has "prompt", "chosen" and "rejected"'
    texts = [isinstance(row[name], str) for name in fields]
    if not all(texts) and any(texts):
        return "plain text and chat messages are mixed; all three must be the one or the other"
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
            return f'"{name}" must be a text or a list of messages, got {row[name]!r}'
        for number, message in enumerate(row[name], start=1):
            if not isinstance(message, dict) or not isinstance(message.get("content"), str):
                return f'"{name}", message {number}: not {{"role": ..., "content": "text"}} but {message!r}'
            if message.get("role") not in ROLES:
                return f'"{name}", message {number}: the role is {message.get("role")!r}, not one of {ROLES}'
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
    """A Pair as a row for a file: plain where its prompt is a text, else messages."""
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
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    temporary.write_text("".join(lines), encoding="utf-8")
    os.replace(temporary, path)
    return path


def load_answers() -> tuple[list, list[list[str]]]:
    """(requests, stories told at each) of the course's answers.jsonl."""
    rows = read_jsonl(FOLDER / "answers.jsonl")
    return [row["prompt"] for row in rows], [row["answers"] for row in rows]


def load_preferences(folder=FOLDER) -> Preferences:
    """The three files of a folder of preferences, by default the course's."""
    return Preferences(*(read_pairs(Path(folder) / f"{name}.jsonl") for name in Preferences._fields))


# ---------------------------------------------------------------------------------------- encoding


def request(prompt: str | list[dict]) -> str:
    """What the user asked last; a plain prompt as it is."""
    return prompt if isinstance(prompt, str) else prompt[-1]["content"]


def encode_answer(tokenizer, prompt: str | list[dict], answer: str) -> Example:
    """Prompt and answer up to the token that ends it, as a policy writes it; labels on the answer alone."""
    if isinstance(prompt, str):
        return encode_prompt_completion(tokenizer, prompt, answer)
    start = len(encode_conversation(tokenizer, prompt, add_generation_prompt=True).input_ids)
    ids = encode_conversation(tokenizer, [*prompt, {"role": "assistant", "content": answer}]).input_ids
    end = tokenizer.convert_tokens_to_ids(IM_END)
    ids = ids[: len(ids) - ids[::-1].index(end)]  # without the template's newline after the last marker
    return Example(ids, [-100] * start + ids[start:])


def encode_pairs(tokenizer, pairs: Sequence[Pair]) -> list[tuple[Example, Example]]:
    """(chosen, rejected) of each pair, encoded."""
    return [
        (encode_answer(tokenizer, p.prompt, p.chosen), encode_answer(tokenizer, p.prompt, p.rejected))
        for p in pairs
    ]


# ------------------------------------------------------------------------------------ the annotator


def preference_probability(first: float, second: float, noise: float) -> float:
    """How often the annotator prefers the first of two answers with these gold scores; it errs by noise."""
    if noise == 0:
        return 0.5 + 0.5 * ((first > second) - (first < second))
    return 1 / (1 + math.exp(-(first - second) / noise))


def gold_of(pair: Pair) -> tuple[float, float]:
    """Gold scores of the chosen and the rejected answer."""
    asked = request(pair.prompt)
    return gold_score(asked, pair.chosen), gold_score(asked, pair.rejected)


def relabel(pairs: Sequence[Pair], noise: float, seed: int) -> list[Pair]:
    """The same answers with new labels of the annotator."""
    rng = random.Random(seed)
    return [
        pair if rng.random() < preference_probability(*gold_of(pair), noise) else swapped(pair)
        for pair in pairs
    ]


def swapped(pair: Pair) -> Pair:
    """The pair with the other answer chosen."""
    return Pair(pair.prompt, pair.rejected, pair.chosen)


def gold_agreement(pairs: Sequence[Pair]) -> float:
    """Share of pairs whose chosen answer has the higher gold score; ties count half."""
    return statistics.mean(preference_probability(*gold_of(pair), noise=0) for pair in pairs)


def ceiling(pairs: Sequence[Pair], noise: float) -> float:
    """Accuracy on this annotator's labels that nobody can exceed on average, not even the gold score."""
    odds = [preference_probability(*gold_of(pair), noise) for pair in pairs]
    return statistics.mean(max(p, 1 - p) for p in odds)


# ------------------------------------------------------------------------------------------ length


def words(text: str) -> int:
    return len(text.split())


def longer_share(pairs: Sequence[Pair]) -> float:
    """Share of pairs whose chosen answer has more words; ties count half."""
    return statistics.mean(
        0.5 + 0.5 * ((words(p.chosen) > words(p.rejected)) - (words(p.chosen) < words(p.rejected)))
        for p in pairs
    )


def with_longer_share(pairs: Sequence[Pair], share: float, seed: int, count: int | None = None) -> list[Pair]:
    """A random choice of pairs of which `share` have the longer answer chosen; 0.5 balances them.

    count: how many (None: as many as there are). Pairs of equal length are left out. ValueError if there are
    too few.
    """
    pairs = random.Random(seed).sample(list(pairs), len(pairs))
    longer = [pair for pair in pairs if words(pair.chosen) > words(pair.rejected)]
    shorter = [pair for pair in pairs if words(pair.chosen) < words(pair.rejected)]
    limits = [
        len(part) / part_share for part, part_share in ((longer, share), (shorter, 1 - share)) if part_share
    ]
    most = int(min(limits))
    count = most if count is None else count
    kept = longer[: round(share * count)] + shorter[: count - round(share * count)]
    if len(kept) < count:
        raise ValueError(f"{count} pairs with the longer answer chosen in {share:.0%}: there are only {most}")
    return random.Random(seed).sample(kept, count)


# ------------------------------------------------------------------------------------------ making


def neutral_prompts() -> list[list[dict]]:
    """Requests for stories that ask for nothing that the gold score dislikes: no sad ones, no rude people."""
    return [
        row["prompt"]
        for row in load_story_prompts()
        if row["mood"] in (None, "good") and row["manners"] in (None, "polite")
    ]


def sample_answers(model, tokenizer, prompts: Sequence[list[dict]], count: int, seed: int) -> list[list[str]]:
    """Up to `count` stories a prompt, at temperature 1; unfinished and very short ones are left out."""
    from course_utils.sft import replies

    asked = [prompt for prompt in prompts for _ in range(count)]
    said = replies(model, tokenizer, asked, max_new_tokens=MAX_NEW_TOKENS, temperature=1.0, seed=seed)
    grouped = [said[start : start + count] for start in range(0, len(said), count)]
    return [
        list(dict.fromkeys(reply.text for reply in group if reply.ended and words(reply.text) >= MIN_WORDS))
        for group in grouped
    ]


def make_pairs(prompts: Sequence, answers: Sequence[Sequence[str]], noise: float, seed: int) -> list[Pair]:
    """Every two answers to one prompt, labelled by the annotator, in random order."""
    both = [
        Pair(prompt, first, second)
        for prompt, group in zip(prompts, answers, strict=True)
        for first, second in itertools.combinations(group, 2)
    ]
    return relabel(random.Random(seed).sample(both, len(both)), noise, seed)


def spread(pairs: Sequence[Pair], uses: int) -> list[Pair]:
    """The pairs in order, less those with an answer that has been used so often."""
    used, kept = {}, []
    for pair in pairs:
        keys = [(request(pair.prompt), text) for text in (pair.chosen, pair.rejected)]
        if all(used.get(key, 0) < uses for key in keys):
            kept.append(pair)
            for key in keys:
                used[key] = used.get(key, 0) + 1
    return kept


def make_controlled(prompts: Sequence, answers: Sequence[Sequence[str]], seed: int) -> list[Pair]:
    """Pairs of equal gold score and different length, the longer one as `chosen`, in random order."""
    found = []
    for prompt, group in zip(prompts, answers, strict=True):
        scored = [(text, gold_score(request(prompt), text)) for text in group]
        for (a, gold_a), (b, gold_b) in itertools.combinations(scored, 2):
            if abs(gold_a - gold_b) <= EQUAL and abs(words(a) - words(b)) >= DIFFERENT:
                found.append(Pair(prompt, *sorted((a, b), key=words, reverse=True)))
    return random.Random(seed).sample(found, len(found))


def make_preferences(
    prompts: Sequence,
    answers: Sequence[Sequence[str]],
    *,
    train: int = TRAIN,
    held_out: int = HELD_OUT,
    controlled: int = CONTROLLED,
    seed: int = SEED,
) -> Preferences:
    """Labels answers to prompts, two by two; the first fifth of the prompts is held out."""
    cut = max(1, len(prompts) // 5)
    kept, other = (prompts[cut:], answers[cut:]), (prompts[:cut], answers[:cut])
    pool = spread(make_pairs(*kept, NOISE, seed), uses=6)
    most = len(with_longer_share(pool, LONGER, seed))
    if most < 8:
        raise ValueError(
            f"{sum(map(len, answers))} stories to {len(prompts)} requests make only {most} pairs: "
            "does the model end its stories (is it instruction-tuned)?"
        )
    return Preferences(
        with_longer_share(pool, LONGER, seed, min(train, most)),
        spread(make_pairs(*other, NOISE, seed), uses=2)[:held_out],
        spread(make_controlled(*other, seed), uses=3)[:controlled],
    )


def write_preferences(preferences: Preferences, folder) -> None:
    """The three files of a folder of preferences."""
    for name, pairs in preferences._asdict().items():
        write_pairs(Path(folder) / f"{name}.jsonl", pairs)


CARD = """\
# Preferences

`answers.jsonl`: {stories:,} stories that the instruction-tuned pocket model told (`artifacts.sft_model`,
quick scale, seed 0, temperature 1) at those {requests} requests of
`conversations/story_prompts.jsonl` that ask for no sad story and no rude people. Left out are unfinished
ones, those of fewer than {shortest} words, and some that an earlier draw of pairs did not use.

The other files hold pairs of them, one line a pair, `{{"prompt", "chosen", "rejected"}}`, each a list of chat
messages, as TRL's RewardTrainer and DPOTrainer read them.

| file | pairs | prompts | chosen is the better one by the gold score | chosen is the longer one |
|---|---|---|---|---|
{table}

- The **gold score** (`course_utils/gold.py`) likes a good mood, politeness, sound sentences, no repetition,
  and a story that stays with those whom the request names. It lies between 0 and 1 and does not look at
  length: its correlation with the number of words is {correlation:.2f} over the held-out answers.
- The **annotator** is a program: it prefers the first answer with probability sigmoid((gold of the first -
  gold of the second) / {noise}). So it errs most where two stories are about equally good.
- `train` has a **bias on purpose**: of all labelled pairs, more were kept in which the longer answer was
  chosen. Every label is honest; the choice of pairs is not. A reward model can take length for quality.
  `held_out` has other prompts and no such bias.
- `controlled` holds pairs of equal gold score (at most {equal} apart) whose lengths differ by {different}
  words or more, the longer one as `chosen`: a model without the shortcut prefers it in half of them. It is
  for measuring, not for training.

The stories are a small model's and often make little sense. Nobody's preferences are in them but a program's.

Made by `python -m course_utils.preferences` from `answers.jsonl`, which the option `--sample` draws anew.
Licence: Apache-2.0, like the course.
"""


def card(preferences: Preferences) -> str:
    """The text of the folder's README."""
    rows = []
    for name, pairs in preferences._asdict().items():
        prompts = len({request(pair.prompt) for pair in pairs})
        gold = "equal" if name == "controlled" else f"{gold_agreement(pairs):.0%}"
        rows.append(f"| {name}.jsonl | {len(pairs)} | {prompts} | {gold} | {longer_share(pairs):.0%} |")
    told = {(request(p.prompt), text) for p in preferences.held_out for text in (p.chosen, p.rejected)}
    golds, lengths = [gold_score(*pair) for pair in told], [float(words(text)) for _, text in told]
    requests, answers = load_answers()
    return CARD.format(
        stories=sum(map(len, answers)),
        requests=len(requests),
        table="\n".join(rows),
        correlation=statistics.correlation(golds, lengths),
        noise=NOISE,
        equal=EQUAL,
        different=DIFFERENT,
        shortest=MIN_WORDS,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m course_utils.preferences", description="Make data/preferences."
    )
    parser.add_argument(
        "--sample", action="store_true", help="sample new stories; else pair those of answers.jsonl"
    )
    if parser.parse_args().sample:
        from course_utils.artifacts import sft_model
        from course_utils.session import start

        prompts = neutral_prompts()
        told = sample_answers(*sft_model(start("pocket", "quick", 0)), prompts, ANSWERS, SEED)
        rows = [{"prompt": p, "answers": texts} for p, texts in zip(prompts, told, strict=True)]
        write_jsonl(FOLDER / "answers.jsonl", rows)
    preferences = make_preferences(*load_answers())
    write_preferences(preferences, FOLDER)
    (FOLDER / "README.md").write_text(card(preferences), encoding="utf-8")
    print(card(preferences))


if __name__ == "__main__":
    main()
