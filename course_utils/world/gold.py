"""The gold score: what the simulated annotator likes in a story, as a documented function of the text.

gold = manner * form * on_prompt, each in [0, 1], where
    manner    = 0.5 + 0.35 * mood + 0.15 * politeness, these two in [-1, 1]
    form      = (share of sound sentences) * freshness
    on_prompt = how far the story stays with those whom the prompt names

Everything is a share of sentences or of words, so that a text twice as long scores no higher for its length.
A word counts at most once a sentence, a sentence that is a list of such words counts for nothing, and
repetition lowers the whole: no single word, however often it stands there, makes a good story.
"""

import functools
import re
from dataclasses import dataclass

from course_utils.world.manners import NEGATIVE, POSITIVE, mood_score, politeness_score, sentences

MOOD, POLITENESS = 0.35, 0.15  # weights; the mood decides more
_WORD = re.compile(r"[A-Za-z]+(?:'[a-z]+)?")
_FUNCTION = frozenset(
    """
    a an the he she it they we i you his her its their my your him them us me this that these those one who
    is was are were be been had has have did do does could would will can may might must not and or but so
    for to of in on at by with from into over under up down out off then there when as if than all no
""".split()
)


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
        return manner * self.sound * self.fresh * self.on_prompt


@functools.lru_cache(maxsize=50_000)
def gold_score(prompt: str, text: str) -> float:
    """How good a story the text is for the prompt, 0 to 1."""
    return gold_parts(prompt, text).total


def gold_parts(prompt: str, text: str) -> Gold:
    """The score's parts, to see what a text gains or loses by."""
    told = sentences(text)
    if not told:
        return Gold(0.0, 0.0, 0.0, 0.0, 0.0)
    sound = [sentence for sentence in told if is_sound(sentence)]
    return Gold(
        mood=_balance([mood_score(sentence) for sentence in sound], len(told), 2.5),
        politeness=_balance([politeness_score(sentence) for sentence in sound], len(told), 4.0),
        sound=len(sound) / len(told),
        fresh=freshness(text),
        on_prompt=on_prompt(prompt, text),
    )


def is_sound(sentence: str) -> bool:
    """Whether it reads like a sentence: 2 to 40 words, an end, some little words, no list of mood words."""
    words = [word.lower() for word in _WORD.findall(sentence)]
    if not 2 <= len(words) <= 40 or sentence.rstrip()[-1] not in '.!?"':
        return False
    little = sum(word in _FUNCTION for word in words)
    charged = sum(word in POSITIVE or word in NEGATIVE for word in words)
    return little >= (len(words) - 3) / 6 and charged <= len(words) / 2


def freshness(text: str) -> float:
    """1 less four times the share of words that end a run of four said before, at least 0."""
    words = [word.lower() for word in _WORD.findall(text)]
    runs = [tuple(words[i : i + 4]) for i in range(len(words) - 3)]
    if not runs:
        return 1.0
    return max(0.0, 1 - 4 * (1 - len(set(runs)) / len(runs)))


def on_prompt(prompt: str, text: str) -> float:
    """Share of the prompt's names found in each half of the text; 1 where the prompt names nobody."""
    wanted = names_in(prompt)
    if not wanted:
        return 1.0
    words = _WORD.findall(text)
    halves = words[: len(words) // 2], words[len(words) // 2 :]
    return sum(name in half for name in wanted for half in halves) / (2 * len(wanted))


def names_in(prompt: str) -> list[str]:
    """Words with a capital that do not begin a sentence, in order."""
    found = re.findall(r"(?<![.!?:] )(?<!^)\b[A-Z][a-z]+\b", prompt)
    return list(dict.fromkeys(found))


def _balance(scores, sentences, factor):
    """Sentences above zero less those below, as a share of all, times the factor, kept within [-1, 1]."""
    share = (sum(score > 0 for score in scores) - sum(score < 0 for score in scores)) / sentences
    return max(-1.0, min(1.0, factor * share))
