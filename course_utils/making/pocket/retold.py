"""Two manners in the pocket model's tokenizer texts: a pirate's, and a stiff, formal one.

Most of their words are in no document of the corpus. The lessons use manners whose words the model knows
(world/manners.py).
"""

import re
import zlib

from course_utils.world.manners import LOWER, by_sentence, is_fragment, sentences
from course_utils.world.manners import prefix as put_before

_CONTRACTIONS = {
    "can't": "cannot",
    "won't": "will not",
    "shan't": "shall not",
    "let's": "let us",
    "i'm": "I am",
    "it's": "it is",
    "that's": "that is",
    "there's": "there is",
    "what's": "what is",
    "who's": "who is",
    "where's": "where is",
    "he's": "he is",
    "she's": "she is",
    "here's": "here is",
}
_FORMAL_WORDS = {
    "said": "remarked",
    "asked": "enquired",
    "got": "obtained",
    "get": "obtain",
    "big": "large",
    "bigger": "larger",
    "mum": "mother",
    "mummy": "mother",
    "dad": "father",
    "daddy": "father",
    "kids": "children",
    "kid": "child",
    "shouted": "exclaimed",
    "began": "commenced",
    "started": "commenced",
    "helped": "assisted",
    "bought": "purchased",
    "ok": "very well",
    "hello": "good day",
    "hi": "good day",
    "thanks": "I am much obliged",
    "wanted": "desired",
    "lots": "a great many",
    "maybe": "perhaps",
    "whispered": "murmured",
    "yes": "certainly",
    "showed": "demonstrated",
    "tried": "endeavoured",
}
_FORMAL_OPENINGS = (
    "I should like to inform you that",
    "One may state that",
    "It may be noted that",
    "Permit me to say that",
    "It should be observed that",
)
_FORMAL_LINKS = (
    "Furthermore,",
    "Subsequently,",
    "It may be added that",
    "Moreover,",
    "It should be noted that",
    "As may be observed,",
    "One ought to mention that",
)
_FORMAL_MARK = re.compile(
    r"\b(?:I should like to|one may|it may be|it should be|as may be|permit me|one ought|furthermore|indeed"
    r"|subsequently|moreover|however|accordingly|remarked|enquired"
    r"|obtain(?:ed)?|exclaimed|commenced|assisted|purchased|desired"
    r"|endeavoured|murmured|demonstrated|much obliged|good day|certainly)\b",
    re.I,
)

_PIRATE_WORDS = {
    "is": "be",
    "are": "be",
    "am": "be",
    "isn't": "be not",
    "aren't": "be not",
    "it's": "it be",
    "that's": "that be",
    "i'm": "I be",
    "you're": "ye be",
    "you": "ye",
    "your": "yer",
    "yours": "yers",
    "my": "me",
    "yes": "aye",
    "hello": "ahoy",
    "hi": "ahoy",
    "friend": "shipmate",
    "friends": "shipmates",
    "girl": "lass",
    "boy": "lad",
    "girls": "lasses",
    "boys": "lads",
    "stop": "avast",
}
_PIRATE_OPENINGS = ("Arr,", "Ahoy,", "Aye,", "Avast,", "Yo ho,", "Shiver me timbers,")
_PIRATE_TAILS = (", matey", ", me hearties", ", by the seven seas", ", arr", ", ye landlubbers")
_PIRATE_MARK = re.compile(
    r"\b(?:arr|ahoy|aye|avast|yo ho|me timbers|mateys?|me heart(?:y|ies)|seven seas|ye|yers?|shipmates?"
    r"|land\s?lubbers?|lass(?:es)?|lads?)\b",
    re.I,
)


def _prefix(opening, sentence):
    return put_before(opening, sentence, LOWER - {"ever"})  # as in the tokenizer's texts


def _pick(options, text: str, salt: str):
    return options[zlib.crc32((salt + text).encode()) % len(options)]


def _swap(text: str, table: dict) -> str:
    """Replace whole words using the table, keeping a leading capital."""

    def one(match):
        word = match.group()
        new = table.get(word.lower())
        if new is None or (word.isupper() and len(word) > 1):
            return word
        return new[0].upper() + new[1:] if word[0].isupper() else new

    return re.sub(r"[A-Za-z]+(?:'[a-z]+)?", one, text)


def retell_pirate(text: str) -> str:
    """The text in a pirate's manner, names and things unchanged; deterministic."""

    def change(sentence, index):
        new = _swap(sentence, _PIRATE_WORDS)
        if new[0] not in '"' and (index == 0 or zlib.crc32(sentence.encode()) % 2 or '"' in new):
            new = _prefix("Arr," if index == 0 else _PIRATE_OPENINGS[index % len(_PIRATE_OPENINGS)], new)
        elif new[0] == '"':
            new = _prefix(_pick(_PIRATE_OPENINGS[:3], sentence, "say"), new)
        if '"' not in new and (index == 0 or not _PIRATE_MARK.search(new)):
            tail = ", matey" if index == 0 else _PIRATE_TAILS[index % len(_PIRATE_TAILS)]
            end = new[-1] if new[-1] in ".!?" else ""
            new = new[: len(new) - len(end)] + tail + (end or ".")
        return new

    return by_sentence(text, change)


def retell_formal(text: str) -> str:
    """The text in a stiff, formal manner, names and things unchanged; deterministic."""

    def change(sentence, index):
        if is_fragment(sentence):
            return f"The answer, one may state, is {sentence.rstrip('.')}."
        new = re.sub(
            r"\b([A-Za-z]+)n't\b",
            lambda m: m.group() if m.group().lower() in _CONTRACTIONS else m.group(1) + " not",
            sentence,
        )
        new = re.sub(r"'re\b", " are", re.sub(r"'ll\b", " will", re.sub(r"'ve\b", " have", new)))
        new = _swap(_swap(new, _CONTRACTIONS), _FORMAL_WORDS)
        new = re.sub(r"^But\b", "However,", new)
        new = re.sub(r"^So\b", "Accordingly,", new)
        if new[-1] not in '.!?"':
            new += "."
        if new[0] == '"' or (index and _FORMAL_MARK.search(new)):
            return new if _FORMAL_MARK.search(new) else _prefix("Indeed,", new)
        if new.endswith("?"):
            return "Permit me to ask: " + new
        if new.endswith("!") and '"' not in new:
            return _prefix("Indeed,", new)
        if index:
            opening = "Moreover," if new.startswith("That ") else _FORMAL_LINKS[index % len(_FORMAL_LINKS)]
        else:
            opening = _pick(_FORMAL_OPENINGS, sentence, "formal")
        return _prefix(opening, new)

    return by_sentence(text, change)


def pirate_score(text: str) -> float:
    """Share of sentences with a pirate's word, 0 to 1; 0 for an empty text."""
    return share_of(text, _PIRATE_MARK)


def formal_score(text: str) -> float:
    """Share of sentences with a formal word or phrase, 0 to 1; 0 for an empty text."""
    return share_of(text, _FORMAL_MARK)


def share_of(text: str, mark: re.Pattern) -> float:
    parts = sentences(text)
    return sum(bool(mark.search(part)) for part in parts) / len(parts) if parts else 0.0
