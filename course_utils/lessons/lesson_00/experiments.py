"""Lesson 00: sixty capitals asked in several ways, stories judged; the bug hunt's small GPT-2 for letters."""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

from course_utils.data import batches, encode_text, load_questions
from course_utils.generation import generate
from course_utils.gpt2 import attention, mlp
from course_utils.models import load_model, untrained_gpt2
from course_utils.stored_runs import few, load_sweep, sweep
from course_utils.world.gold import well_made
from course_utils.world.manners import sentences

LETTERS, CONTEXT = 128, 32
STEPS, RATE, ROWS = 60, 5e-4, 16  # of the tuning on questions: steps, learning rate, questions a step
SHOWN = 8  # answered questions in front of another one
WAYS = {
    "questions": {"start": "pre-trained", "texts": "questions"},
    "statements": {"start": "pre-trained", "texts": "statements"},
    "random weights": {"start": "random", "texts": "questions"},
}
STORY = "Once there was a little girl named Mia."


def sixty_and_others(seed: int) -> tuple[list[dict], list[dict]]:
    """The questions for a country's capital, of all files: sixty drawn with the seed, and all others."""
    rows = [row for split in ("tune", "validation", "held_out") for row in load_questions(split)]
    rows = [row for row in rows if (row["relation"], row["kind"]) == ("capital", "short")]
    random.Random(seed).shuffle(rows)
    return rows[:60], rows[60:]


def statement(row: dict) -> str:
    """The question as a statement to complete."""
    return f"The capital of {row['subject']} is"


def first_lines(model, tokenizer, prompts: Sequence[str]) -> list[str]:
    """The first line of each continuation, with the likeliest token at each step."""
    texts = generate(model, tokenizer, prompts, max_new_tokens=16)
    return [text.strip().partition("\n")[0] for text in texts]


def named(lines: Sequence[str], rows: Sequence[dict]) -> list[bool]:
    """Whether each line has its country's capital in it."""
    return [row["object"] in line for row, line in zip(rows, lines, strict=True)]


def with_examples(rows: Sequence[dict], questions: Sequence[str]) -> list[str]:
    """Each question with the rows' questions and answers in front of it."""
    examples = "".join(row["prompt"] + row["completion"] + "\n" for row in rows)
    return [examples + question for question in questions]


@sweep("sixty_capitals", points=list(WAYS.values()), short=(0, 1, 2))
def sixty_capitals(point: dict, seed: int) -> dict:
    """Of sixty countries, how many capitals a model names, before and after tuning on the other countries.

    told_N: in answer to the question after N steps; stated_N: as completion of the statement; shown_N: with
    SHOWN answered questions in front.
    """
    model, tokenizer = load_model("pocket")
    if point["start"] == "random":
        torch.manual_seed(seed)
        model = type(model)(model.config).eval()
    model = copy.deepcopy(model).requires_grad_(True)
    asked, others = sixty_and_others(seed)
    asked, steps = few(asked), few(STEPS)
    questions, statements = [row["prompt"] for row in asked], [statement(row) for row in asked]

    def count(prompts):
        return sum(named(first_lines(model, tokenizer, prompts), asked))

    def both(step):
        return {
            f"told_{step}": count(questions),
            f"stated_{step}": count(statements),
            f"shown_{step}": count(with_examples(others[:SHOWN], questions)),
        }

    texts = [row["prompt"] + row["completion"] for row in others]
    if point["texts"] == "statements":
        texts = [f"{statement(row)} {row['object']}." for row in others]
    stream = batches([encode_text(tokenizer, text) for text in texts], ROWS, seed, tokenizer.pad_token_id)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    result = both(0)
    for step in range(1, steps + 1):
        loss = model(**next(stream)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step in (10, 20, 40):
            result[f"told_{step}"] = count(questions)
    return result | both(STEPS)


RULES = [
    {"temperature": 1.3},
    *({"temperature": 1.3, "top_k": k} for k in (5, 10, 20, 50)),
    *({"temperature": 1.3, "top_p": p} for p in (0.5, 0.7, 0.9, 0.95)),
    {"temperature": 1.0},
    {"temperature": 0.7},
    {"temperature": 1.0, "top_k": 20},
    {"temperature": 1.0, "top_p": 0.9},
]


@sweep("sampling_rules", points=RULES, sampled=True, short=(0, 3, 7))
def sampling_rules(point: dict, seed: int) -> dict:
    """Stories of 50 tokens by a rule of sampling: share of broken sentences, variety."""
    model, tokenizer = load_model("pocket")
    stories = generate(model, tokenizer, [STORY] * few(100), max_new_tokens=few(50, 16), seed=seed, **point)
    verdicts = [judged(text) for text in stories]
    return {
        "broken": sum(len(bad) for bad, _ in verdicts) / sum(count for _, count in verdicts),
        "variety": variety(stories),
    }


def judged(text: str) -> tuple[list[str], int]:
    """(broken sentences, number of all) of a continuation of STORY, without the last one, often cut off."""
    found = sentences(STORY + text)[1:-1] or [text]  # a text without one whole sentence is broken
    return [sentence for sentence in found if not well_made(sentence)], len(found)


def variety(texts: Sequence[str]) -> float:
    """Different pairs of neighbouring words over all such pairs (distinct-2; Li et al. 2016)."""
    pairs = [pair for text in texts for pair in itertools.pairwise(text.split())]
    return len(set(pairs)) / max(1, len(pairs))


def of_capitals(way: str, name: str) -> list[int]:
    """One number of the stored runs of a name in WAYS, one value per seed."""
    return [row["result"][name] for row in load_sweep("sixty_capitals")["rows"] if row["point"] == WAYS[way]]


def of_sampling(rule: dict, name: str) -> list[float]:
    """One number of the stored stories by a rule in RULES, one value per seed."""
    return [row["result"][name] for row in load_sweep("sampling_rules")["rows"] if row["point"] == rule]


def small_gpt2(seed: int):
    """A GPT-2 of two blocks for single letters, untrained."""
    torch.manual_seed(seed)
    return untrained_gpt2(
        n_layer=2,
        n_head=4,
        n_embd=64,
        vocab_size=LETTERS,
        n_positions=CONTEXT,
        initializer_range=0.1,  # narrow layers learn sooner from larger weights than GPT-2's 0.02
    )


def letters(text: str) -> torch.Tensor:
    """The text's letters as ids below LETTERS, [letters]."""
    return torch.tensor([min(ord(letter), LETTERS - 1) for letter in text])


def windows(ids: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """Random pieces of CONTEXT letters and the next letter, [count, CONTEXT + 1]."""
    starts = torch.randint(len(ids) - CONTEXT, (count,), generator=generator)
    return ids[starts[:, None] + torch.arange(CONTEXT + 1)]


def held_out_windows(text: str, seed: int) -> torch.Tensor:
    """The pieces on which a run with this seed is evaluated."""
    return windows(letters(text), 64, torch.Generator().manual_seed(seed + 1))


def next_letter_loss(logits_of: Callable, model, pieces: torch.Tensor) -> torch.Tensor:
    """Mean loss on the next letter, in nats."""
    logits = logits_of(model, pieces[:, :-1])  # (count, CONTEXT, LETTERS)
    return F.cross_entropy(logits.flatten(0, 1), pieces[:, 1:].flatten())


def train_on_letters(
    logits_of: Callable, texts: str, held_out: str, steps: int, seed: int
) -> tuple[object, dict[str, tuple[list[int], list[float]]]]:
    """(a small GPT-2 trained with that forward pass, {"training": (steps, losses), "held out": ...})."""
    model, generator = small_gpt2(seed), torch.Generator().manual_seed(seed)
    ids, unseen = letters(texts), held_out_windows(held_out, seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    curves: dict = {"training": ([], []), "held out": ([], [])}
    for step in range(1, steps + 1):
        loss = next_letter_loss(logits_of, model, windows(ids, 16, generator))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % max(1, steps // 20) == 0:
            with torch.no_grad():
                tested = next_letter_loss(logits_of, model, unseen)
            for name, value in (("training", loss), ("held out", tested)):
                curves[name][0].append(step)
                curves[name][1].append(value.item())
    return model.requires_grad_(False), curves


def write_letters(logits_of: Callable, model, start: str, count: int, seed: int) -> str:
    """The start, continued by `count` sampled letters."""
    ids, generator = letters(start)[None], torch.Generator().manual_seed(seed)
    for _ in range(count):
        probabilities = logits_of(model, ids[:, -CONTEXT:])[:, -1].softmax(-1)
        ids = torch.cat([ids, probabilities.multinomial(1, generator=generator)], 1)
    return "".join(map(chr, ids[0].tolist()))


def colleagues_logits(model, ids):
    """A colleague's forward pass of a GPT-2 (with a fault that the lesson asks for)."""
    body, tokens = model.transformer, ids.shape[1]
    visible = torch.ones(tokens, tokens, dtype=torch.bool, device=ids.device).tril(1)
    x = body.wte(ids) + body.wpe.weight[:tokens]
    for block in body.h:
        x = x + attention(block.attn, block.ln_1(x), visible)
        x = x + mlp(block.mlp, block.ln_2(x))
    return model.lm_head(body.ln_f(x))


def share_with_interval(counts: Sequence[tuple[int, int]], seed: int = 0) -> tuple[float, float, float]:
    """Share found over texts of (found, all), with a 95% interval from 1,000 bootstrap samples of texts."""
    rng = random.Random(seed)
    drawn = [counts, *(rng.choices(counts, k=len(counts)) for _ in range(1000))]
    share, *others = (sum(found for found, _ in each) / max(1, sum(n for _, n in each)) for each in drawn)
    others.sort()
    return share, others[25], others[-26]
