"""The gold score, by which the simulated annotator judges a story: a documented function of the text.

gold = manner * form * on_prompt, each in [0, 1], where
    manner    = 0.5 + 0.35 * mood + 0.15 * politeness, these two in [-1, 1]
    form = share of sound sentences * freshness, 0 if at most half of them are sound
    on_prompt = how far the story keeps to the characters that the prompt names

Everything is a share of sentences or of words, so length alone does not raise the score; a text of fewer than
five sentences is a fragment and counts as five. The annotator knows only the language of the course's
stories. A sentence is sound if all its four-grams, beginning and end included, occur in their grammar, no
earlier sentence is like it, every character in it is known or introduced, and he, she, girl and boy fit the
names. An unsound sentence counts as neither happy nor polite.
"""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from course_utils.data import DATA, check_shipped
from course_utils.world.manners import mood_score, politeness_score, sentences
from course_utils.world.stories import CHARACTER_NAMES, consistent_sentences, misnamed

MOOD, POLITENESS = 0.35, 0.15  # weights
SHORTEST = 5  # sentences in the grammar's shortest story
_WORD = re.compile(r"[A-Za-z]+(?:'[a-z]+)?")
_TOKEN = re.compile(r"[A-Za-z]+(?:'[a-z]+)?|[^\sA-Za-z]")  # a word or a punctuation mark
_NAMES = frozenset(CHARACTER_NAMES)


@dataclass(frozen=True)
class Gold:
    """The parts of a score. mood and politeness in [-1, 1]; sound, fresh, on_prompt and total in [0, 1]."""

    mood: float
    politeness: float
    sound: float
    fresh: float
    on_prompt: float

    @property
    def total(self) -> float:
        manner = 0.5 + MOOD * self.mood + POLITENESS * self.politeness
        form = self.sound * self.fresh if self.sound > 0.5 else 0.0
        return manner * form * self.on_prompt


@functools.lru_cache(maxsize=50_000)
def gold_score(prompt: str, text: str) -> float:
    """The score of a text as a story for the prompt, 0 to 1."""
    return gold_parts(prompt, text).total


def gold_parts(prompt: str, text: str) -> Gold:
    """The parts of the score."""
    every = sentences(text)
    count = max(SHORTEST, len(every))
    sound = sound_sentences(prompt, every)
    return Gold(
        mood=_balance([mood_score(sentence) for sentence in sound], count, 2.5),
        politeness=_balance([politeness_score(sentence) for sentence in sound], count, 4.0),
        sound=len(sound) / count,
        fresh=freshness(text),
        on_prompt=on_prompt(prompt, text),
    )


def sound_sentences(prompt: str, every: Sequence[str]) -> list[str]:
    """The sentences that are well made, unlike any earlier one, and about known characters."""
    known = {word for text in (prompt, *every[:1]) for word in _WORD.findall(text) if word in _NAMES}
    found, before = [], set()
    for sentence, consistent in zip(every, consistent_sentences(every, known), strict=True):
        tokens = tuple(_tokens(sentence))
        if consistent and tokens not in before and well_made(sentence) and not misnamed(sentence):
            found.append(sentence)
        before.add(tokens)
    return found


def well_made(sentence: str) -> bool:
    """Whether all four-grams, beginning and end included, occur in the stories' grammar."""
    return fourgrams(sentence) <= known_fourgrams()


def fourgrams(sentence: str) -> set[str]:
    """The four-grams of a sentence's words and punctuation, in lower case; names become Name1, Name2, ..."""
    tokens = ["<s>", *_tokens(sentence), "</s>"]
    return {" ".join(tokens[i : i + 4]) for i in range(max(1, len(tokens) - 3))}


def _tokens(sentence):
    tokens = _TOKEN.findall(sentence)
    names = list(dict.fromkeys(token for token in tokens if token in _NAMES))
    return [f"Name{names.index(token) + 1}" if token in names else token.lower() for token in tokens]


@functools.cache
def known_fourgrams() -> frozenset[str]:
    """The four-grams of the grammar's stories, from data/source/story_fourgrams.txt."""
    path = DATA / "source" / "story_fourgrams.txt"
    content = path.read_bytes()
    check_shipped(path, content)
    return frozenset(content.decode().splitlines())


def freshness(text: str) -> float:
    """1 minus four times the share of four-grams that repeat an earlier one, at least 0."""
    words = [word.lower() for word in _WORD.findall(text)]
    runs = [tuple(words[i : i + 4]) for i in range(len(words) - 3)]
    if not runs:
        return 1.0
    return max(0.0, 1 - 4 * (1 - len(set(runs)) / len(runs)))


def on_prompt(prompt: str, text: str) -> float:
    """Share of the prompt's names found, averaged over the text's two halves; 1 if it names nobody."""
    wanted = names_in(prompt)
    if not wanted:
        return 1.0
    words = _WORD.findall(text)
    halves = words[: len(words) // 2], words[len(words) // 2 :]
    return sum(name in half for name in wanted for half in halves) / (2 * len(wanted))


def names_in(prompt: str) -> list[str]:
    """Capitalised words that do not begin a sentence, in order, each once."""
    found = re.findall(r"(?<![.!?:] )(?<!^)\b[A-Z][a-z]+\b", prompt)
    return list(dict.fromkeys(found))


def _balance(scores, sentences, factor):
    """Share of sentences above zero minus share below, times the factor, clipped to [-1, 1]."""
    share = (sum(score > 0 for score in scores) - sum(score < 0 for score in scores)) / sentences
    return max(-1.0, min(1.0, factor * share))
