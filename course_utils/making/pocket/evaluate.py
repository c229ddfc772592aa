"""Evaluates the pocket model: fact completion, answers after tuning, reading a passage, telling a story."""

import copy
import random
import statistics

from course_utils.chatml import add_chat_tokens, encode_conversation
from course_utils.data import batches, encode_text, load_questions
from course_utils.evaluation import chat_answers, question_text, score_answers
from course_utils.generation import generate
from course_utils.making.pocket.retold import formal_score, pirate_score, retell_formal, retell_pirate
from course_utils.training import train
from course_utils.world.manners import mood_score, politeness_score
from course_utils.world.passages import reading_questions
from course_utils.world.stories import consistent_characters, opening, story
from course_utils.world.templates import FORMS, fill

HEADLINE = ("capital", "currency", "young", "symbol")


def chat_example(tokenizer, row: dict):
    """A question row as a conversation of two turns."""
    messages = [
        {"role": "user", "content": question_text(row)},
        {"role": "assistant", "content": row["completion"]},
    ]
    return encode_conversation(tokenizer, messages)


def tune_pocket(model, tokenizer, rows: list[dict], seed: int, lr: float = 5e-4, batch: int = 16):
    """Quick instruction tuning in place, one pass over the rows: canonical ChatML, loss on the answers."""
    add_chat_tokens(model, tokenizer)
    examples = [chat_example(tokenizer, row) for row in rows]
    stream = batches(examples, batch, seed, tokenizer.pad_token_id)
    return train(model, stream, steps=-(-len(examples) // batch), lr=lr, seed=seed, label="tuning")


def with_text(row: dict, rng: random.Random) -> dict:
    """The question row, preceded by a sentence that states the fact."""
    statement = fill(rng.choice(FORMS[row["relation"]].statements), row["subject"], row["object"])
    return row | {"prompt": row["prompt"].replace("Question: ", f"Question: {statement} ", 1)}


def by_kind(model, tokenizer, rows: list[dict]) -> dict[str, dict[str, float]]:
    """{kind: {relation: share of exact answers in ChatML}}; "all" is the share over all relations."""
    shares = {}
    for kind in ("short", "sentence"):
        asked = [row for row in rows if row["kind"] == kind]
        overall, relations = score_answers(chat_answers(model, tokenizer, asked), asked)
        shares[kind] = {"all": overall} | relations
    return shares


def story_continuations(
    model, tokenizer, count: int, seed: int, new_tokens: int = 60, mood=None, manners=None
):
    """(opening, names in it, continuation) of sampled stories, temperature 0.8, top-p 0.95."""
    rng = random.Random(seed)
    heads = [opening(rng, mood, manners) for _ in range(count)]
    texts = generate(
        model,
        tokenizer,
        [head for head, _ in heads],
        max_new_tokens=new_tokens,
        temperature=0.8,
        top_p=0.95,
        seed=seed,
    )
    return [(head, names, text) for (head, names), text in zip(heads, texts, strict=True)]


def tuned_on_instructions(
    model, tokenizer, relations, seed: int, reading: int, epochs: int = 8, lr: float = 3e-4
):
    """A copy of the model and tokenizer, tuned on questions about half of the facts and on texts to read.

    The questions are repeated for `epochs`; each epoch has `reading` new texts, since repeated ones would be
    memorised.
    """
    model, tokenizer = copy.deepcopy(model), copy.deepcopy(tokenizer)
    rows = epochs * [row for row in load_questions("tune") if row["relation"] in relations]
    rows += reading_questions(random.Random(1000 + seed), epochs * reading)
    tune_pocket(model, tokenizer, rows, seed, lr)
    return model, tokenizer


def tuning_figures(model, tokenizer, relations, seeds, reading: int, **settings) -> dict:
    """Means over seeds after instruction tuning: held-out, rephrased and invented facts, and reading."""
    runs = []
    asked = {
        split: [row for row in load_questions(split) if row["relation"] in relations]
        for split in ("held_out", "paraphrase", "invented")
    }
    for seed in seeds:
        tuned = tuned_on_instructions(model, tokenizer, relations, seed, reading, **settings)
        rng = random.Random(seed)
        asked["reading"] = [with_text(row, rng) for row in asked["invented"]]
        runs.append({name: by_kind(*tuned, rows) for name, rows in asked.items()})
    return {
        name: {
            kind: {r: statistics.mean(run[name][kind][r] for run in runs) for r in runs[0][name][kind]}
            for kind in ("short", "sentence")
        }
        for name in asked
    }


STYLES = {
    "good mood": (lambda rng: story(rng, mood="good").text, mood_score),
    "bad mood": (lambda rng: story(rng, mood="bad").text, mood_score),
    "polite": (lambda rng: story(rng, manners="polite").text, politeness_score),
    "rude": (lambda rng: story(rng, manners="rude").text, politeness_score),
    "pirate": (lambda rng: retell_pirate(story(rng).text), pirate_score),
    "formal": (lambda rng: retell_formal(story(rng).text), formal_score),
}


def style_figures(model, tokenizer, seed: int, texts: int = 300, steps: int = 80, lr: float = 3e-4) -> dict:
    """{style: mean score of story continuations (before, after tuning a copy on texts in that style)}."""
    figures = {}
    before = story_continuations(model, tokenizer, 64, seed)
    for style, (write, score) in STYLES.items():
        rng = random.Random(seed)
        tuned = copy.deepcopy(model)
        examples = [encode_text(tokenizer, write(rng)) for _ in range(texts)]
        stream = batches(examples, 8, seed, tokenizer.pad_token_id)
        train(tuned, stream, steps=steps, lr=lr, seed=seed, label=style)
        after = story_continuations(tuned, tokenizer, 64, seed)
        figures[style] = [statistics.mean(score(text) for _, _, text in told) for told in (before, after)]
    return figures


def story_figures(model, tokenizer, count: int = 200, seed: int = 0) -> tuple[float, list[str]]:
    """Share of sampled stories with consistent characters, and the stories."""
    told = story_continuations(model, tokenizer, count, seed, new_tokens=120)
    share = statistics.mean(consistent_characters(f"{head}{text}", names) for head, names, text in told)
    return share, [head + text for head, _, text in told]
