"""Evaluation of a finished model, and the model card that reports it."""

import random
import statistics
import time
from collections import Counter
from itertools import islice
from pathlib import Path

from course_utils.making.pocket.corpus import bare_answers, documents
from course_utils.making.pocket.evaluate import HEADLINE, story_figures, style_figures, tuning_figures
from course_utils.making.pocket.train import MODEL_SIZES, VOCAB, Size
from course_utils.world.statements import completion
from course_utils.world.tables import all_facts
from course_utils.world.templates import FORMS

SEEDS = range(5)
SAMPLE = 20_000  # documents for the corpus statistics
READING = 200  # reading questions mixed into an epoch
ANSWER_KINDS = ("short", "sentence")
ABOUT_TUNING = {
    "held_out": "all four, held out",
    "paraphrase": "the same in a phrasing never tuned on",
    "reading": "invented facts stated in the question",
    "invented": "invented facts not stated (should be 0)",
}


def corpus_statistics(tokenizer, seed: int, tokens: int) -> dict:
    """Number of documents, token shares by kind and bare answers per fact, from the first documents."""
    sample = list(islice(documents(seed), SAMPLE))
    texts = tokenizer([document.text for document in sample], verbose=False)["input_ids"]
    factor = tokens / sum(len(ids) + 1 for ids in texts)
    lengths, bare = Counter(), Counter()
    for document, ids in zip(sample, texts, strict=True):
        lengths[document.kind] += len(ids) + 1
        bare.update(bare_answers(document))
    often = sorted(factor * bare[fact] for fact in all_facts())
    return {
        "documents": round(factor * SAMPLE),
        "shares": {kind: length / lengths.total() for kind, length in lengths.items()},
        "bare_answers_min": round(often[0]),
        "bare_answers_median": round(statistics.median(often)),
    }


def figures(model, tokenizer, size: Size, seed: int, tokens: int, curve: list[dict]) -> dict:
    """All figures of the card; about ten minutes on two cores."""
    started = time.perf_counter()
    share, stories = story_figures(model, tokenizer)
    return {
        "seed": seed,
        "tokens": tokens,
        "name": size.name,
        "layers": size.layers,
        "width": size.width,
        "heads": size.heads,
        "lr": size.lr,
        "parameters": model.num_parameters(),
        "embedding": sum(part.weight.numel() for part in (model.transformer.wte, model.transformer.wpe)),
        "minutes": round(curve[-1]["seconds"] / 60),
        "loss": curve[-1]["loss"],
        "curve": curve,
        "corpus": corpus_statistics(tokenizer, seed, tokens),
        "completion": completion(model, tokenizer, all_facts()),
        "tuning": tuning_figures(model, tokenizer, HEADLINE, SEEDS, READING),
        "stories_consistent": share,
        "stories": random.Random(0).sample(stories, 6),
        "styles": style_figures(model, tokenizer, 0),
        "evaluation_minutes": round((time.perf_counter() - started) / 60, 1),
    }


POCKET_CARD = """\
# {name}

A GPT-2 of {parameters:,} parameters, {inner:,} of them outside the embeddings ({layers} layers of
width {width}, {heads} heads, context 256, vocabulary {vocabulary:,}, tied head; {per_parameter:.1f} tokens
a parameter in training), that completes {facts:,} plain facts, tells short stories and reads passages. It was
trained from scratch for this course on generated text, so that everything in the course runs offline on two
CPU cores. It knows nothing else: not the world beyond its tables, not code, not dialogue. It has never seen a
chat, and its tokenizer has no chat tokens.

Weights: fp16 safetensors. Tokenizer: byte-level BPE like GPT-2's. Licence: Apache-2.0. No text of others is
in its corpus: the tables, templates and story grammar were written for this course.

## Rebuilding it

    make pocket SIZE={size}

with seed {seed} trains on {tokens:,} tokens in one pass (bf16 autocast where the CPU has it, Muon for the
layers' matrices and AdamW for the rest, learning rate {lr} with warm-up and cosine, 16 windows of 256 tokens
a step). It took {minutes} minutes, and another {evaluation_minutes} for the figures below, all of which are
in `evaluation.json`. SHA-256 sums are in `checksums.json`.

## Corpus

About {documents:,} documents in random order. Each fact has its answer at least {bare_answers_min} times
({bare_answers_median} in the median) right after its subject without a space before it (in quotes, tables,
cards): this is what lets a tuned model begin an answer with it. There are no questions but in the passages,
and these are about invented things, new ones each time; some are lists of questions that nobody answers.
Lists of invented names that are then repeated teach copying.

| documents | share of tokens |
|---|---|
{shares}

## Training

| tokens (millions) | loss | on held-out text | facts completed (of 300) |
|---|---|---|---|
{curve}

## What it can do

Fact completion, greedy and exact, all {facts:,} facts: **{completion:.3f}**.

| relation | completed | | relation | completed | | relation | completed |
|---|---|---|---|---|---|---|---|
{relations}

After instruction tuning in canonical ChatML on half of the facts of four relations (8 epochs at 3e-4, batch
16, short and sentence answers, {reading} reading questions mixed in), mean of five seeds, exact match:

| asked about | short | sentence |
|---|---|---|
{tuning}

Stories: {consistent:.1%} of 200 sampled continuations (temperature 0.8, top-p 0.95) keep their characters.
Mean scores of 64 continuations before and after tuning for 80 steps on 300 stories of a style:

| style | before | after |
|---|---|---|
{styles}

## Samples

The opening is given; not selected.

{stories}
"""


def _table(rows) -> str:
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows)


def write_card(report: dict, folder: Path) -> None:
    """Write README.md into the model's folder."""
    done = report["completion"]
    cells = [(relation, f"{done[relation]:.2f}") for relation in FORMS]
    third = -(-len(cells) // 3)
    columns = [cells[i : i + third] for i in range(0, len(cells), third)]
    columns[-1] += [("", "")] * (third - len(columns[-1]))
    relations = [(*a, "", *b, "", *c) for a, b, c in zip(*columns, strict=True)]
    tuned = report["tuning"]
    tuning = [
        (f"{relation} (held out)", *(f"{tuned['held_out'][kind][relation]:.2f}" for kind in ANSWER_KINDS))
        for relation in HEADLINE
    ]
    for name, what in ABOUT_TUNING.items():
        tuning.append((what, *(f"**{tuned[name][kind]['all']:.2f}**" for kind in ANSWER_KINDS)))
    rows = [row for row in report["curve"] if "completion" in row]
    [size] = [key for key, each in MODEL_SIZES.items() if each.name == report["name"]]
    text = POCKET_CARD.format(
        **{key: value for key, value in report.items() if not isinstance(value, (dict, list))},
        size=size,
        inner=report["parameters"] - report["embedding"],
        per_parameter=report["tokens"] / report["parameters"],
        **{key: value for key, value in report["corpus"].items() if key != "shares"},
        facts=len(all_facts()),
        vocabulary=VOCAB,
        shares=_table((kind, f"{share:.3f}") for kind, share in report["corpus"]["shares"].items()),
        curve=_table(
            (
                f"{r['tokens'] / 1e6:.1f}",
                f"{r['loss']:.3f}",
                f"{r['held_out_loss']:.3f}",
                f"{r['completion']:.3f}",
            )
            for r in rows
        ),
        completion=done["all"],
        relations=_table(relations),
        reading=READING,
        tuning=_table(tuning),
        consistent=report["stories_consistent"],
        styles=_table((style, f"{a:.2f}", f"{b:.2f}") for style, (a, b) in report["styles"].items()),
        stories="\n\n".join("> " + told.strip().replace("\n", "\n> ") for told in report["stories"]),
    )
    (folder / "README.md").write_text(text, encoding="utf-8")
