"""The simulated annotator, and its preferences between the pocket model's stories.

It reads the gold score (gold.py) and errs by the Bradley-Terry model: it prefers the first of two answers
with probability sigmoid((gold of the first - gold of the second) / noise).
"""

import itertools
import math
import random
import statistics
from collections.abc import Sequence

from course_utils.data import load_story_prompts, read_jsonl
from course_utils.preferences import FOLDER, Pair, Preferences, request, swapped
from course_utils.world.gold import gold_score

PREFERENCES_SEED = 10
NOISE = 0.1  # of the shipped labels, in units of the gold score
LONGER = 0.75  # share of the shipped training pairs in which the longer answer is the chosen one
ANSWERS = 16  # sampled per prompt
MAX_NEW_TOKENS = 150
MIN_WORDS = 20  # shorter answers are not stories
TRAIN, HELD_OUT, CONTROLLED = 3000, 500, 200  # pairs
EQUAL, DIFFERENT = 0.03, 12  # controlled pairs: largest gap in gold, smallest gap in length (words)


def load_answers() -> tuple[list, list[list[str]]]:
    """(requests, the stories told for each) from the course's answers.jsonl."""
    rows = read_jsonl(FOLDER / "answers.jsonl")
    return [row["prompt"] for row in rows], [row["answers"] for row in rows]


# ------------------------------------------------------------------------------------ the annotator


def preference_probability(first: float, second: float, noise: float) -> float:
    """Probability that the annotator prefers the first of two answers with these gold scores."""
    if noise == 0:
        return 0.5 + 0.5 * ((first > second) - (first < second))
    return 1 / (1 + math.exp(-(first - second) / noise))


def gold_of(pair: Pair) -> tuple[float, float]:
    """Gold scores of the chosen and the rejected answer."""
    asked = request(pair.prompt)
    return gold_score(asked, pair.chosen), gold_score(asked, pair.rejected)


def relabel(pairs: Sequence[Pair], noise: float, seed: int) -> list[Pair]:
    """The same answers with new labels from the annotator."""
    rng = random.Random(seed)
    return [
        pair if rng.random() < preference_probability(*gold_of(pair), noise) else swapped(pair)
        for pair in pairs
    ]


def gold_agreement(pairs: Sequence[Pair]) -> float:
    """Share of pairs whose chosen answer has the higher gold score; ties count half."""
    return statistics.mean(preference_probability(*gold_of(pair), noise=0) for pair in pairs)


def ceiling(pairs: Sequence[Pair], noise: float) -> float:
    """Highest expected accuracy on this annotator's labels that any scorer (even the gold score) can have."""
    odds = [preference_probability(*gold_of(pair), noise) for pair in pairs]
    return statistics.mean(max(p, 1 - p) for p in odds)


# ------------------------------------------------------------------------------------------ length


def word_count(text: str) -> int:
    return len(text.split())


def longer_share(pairs: Sequence[Pair]) -> float:
    """Share of pairs whose chosen answer has more words; ties count half."""
    return statistics.mean(
        0.5
        + 0.5
        * ((word_count(p.chosen) > word_count(p.rejected)) - (word_count(p.chosen) < word_count(p.rejected)))
        for p in pairs
    )


def with_longer_share(pairs: Sequence[Pair], share: float, seed: int, count: int | None = None) -> list[Pair]:
    """A random selection of pairs; in `share` of them the longer answer is chosen. 0.5 balances the lengths.

    count: how many (None: as many as possible). Pairs of equal length are left out. ValueError if there are
    too few.
    """
    pairs = random.Random(seed).sample(list(pairs), len(pairs))
    longer = [pair for pair in pairs if word_count(pair.chosen) > word_count(pair.rejected)]
    shorter = [pair for pair in pairs if word_count(pair.chosen) < word_count(pair.rejected)]
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
    """Requests for stories, without sad stories and rude people, which the gold score penalises."""
    return [
        row["prompt"]
        for row in load_story_prompts()
        if row["mood"] in (None, "good") and row["manners"] in (None, "polite")
    ]


def sample_answers(model, tokenizer, prompts: Sequence[list[dict]], count: int, seed: int) -> list[list[str]]:
    """Up to `count` stories per prompt, at temperature 1, without unfinished and very short ones."""
    from course_utils.methods.sft import replies

    asked = [prompt for prompt in prompts for _ in range(count)]
    said = replies(model, tokenizer, asked, max_new_tokens=MAX_NEW_TOKENS, temperature=1.0, seed=seed)
    grouped = [said[start : start + count] for start in range(0, len(said), count)]
    return [
        list(
            dict.fromkeys(
                reply.text for reply in group if reply.ended and word_count(reply.text) >= MIN_WORDS
            )
        )
        for group in grouped
    ]


def make_pairs(prompts: Sequence, answers: Sequence[Sequence[str]], noise: float, seed: int) -> list[Pair]:
    """All pairs of answers to the same prompt, labelled by the annotator, in random order."""
    both = [
        Pair(prompt, first, second)
        for prompt, group in zip(prompts, answers, strict=True)
        for first, second in itertools.combinations(group, 2)
    ]
    return relabel(random.Random(seed).sample(both, len(both)), noise, seed)


def spread(pairs: Sequence[Pair], uses: int) -> list[Pair]:
    """The pairs in order, without those that would use an answer more than `uses` times."""
    used, kept = {}, []
    for pair in pairs:
        keys = [(request(pair.prompt), text) for text in (pair.chosen, pair.rejected)]
        if all(used.get(key, 0) < uses for key in keys):
            kept.append(pair)
            for key in keys:
                used[key] = used.get(key, 0) + 1
    return kept


def make_controlled(prompts: Sequence, answers: Sequence[Sequence[str]], seed: int) -> list[Pair]:
    """Pairs of nearly equal gold score and different length, the longer one as `chosen`, in random order."""
    found = []
    for prompt, group in zip(prompts, answers, strict=True):
        scored = [(text, gold_score(request(prompt), text)) for text in group]
        for (a, gold_a), (b, gold_b) in itertools.combinations(scored, 2):
            if abs(gold_a - gold_b) <= EQUAL and abs(word_count(a) - word_count(b)) >= DIFFERENT:
                found.append(Pair(prompt, *sorted((a, b), key=word_count, reverse=True)))
    return random.Random(seed).sample(found, len(found))


def make_preferences(
    prompts: Sequence,
    answers: Sequence[Sequence[str]],
    *,
    train: int = TRAIN,
    held_out: int = HELD_OUT,
    controlled: int = CONTROLLED,
    seed: int = PREFERENCES_SEED,
) -> Preferences:
    """Label pairs of answers to the same prompt; the first fifth of the prompts is held out."""
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
