"""Word lists, scores and rule-based retellings that the corpus and the lessons share."""

import re
import zlib

POSITIVE = frozenset(
    """
    happy happily glad smile smiled smiling smiles laugh laughed laughing laughter sunny cheerful
    cheered proud proudly joy joyful delighted delight wonderful lovely warm beautiful fun best clapped
    hugged hug delicious sweet safe merry pleased good better enjoyed grinned danced sang golden
    sparkled won found perfect lucky giggled beamed brave love loved treat thankful glowed
""".split()
)

NEGATIVE = frozenset(
    """
    sad sadly cry cried tears lost broke broken cold afraid scared angry angrily hurt alone lonely dark
    fell torn tore ruined spoiled worried bad worse worst unhappy gloomy grey sighed miserable upset
    sobbed frightened empty muddy hungry tired cracked missed trembled shivered gone wept burnt pain
    terrible awful wrong disappointed sank hated ashamed
""".split()
)

POLITE = (
    "please",
    "thank you",
    "thanks",
    "kindly",
    "excuse me",
    "may i",
    "could you",
    "would you mind",
    "sorry",
    "pardon",
    "you are welcome",
    "politely",
)
RUDE = (
    "give me",
    "go away",
    "shut up",
    "stupid",
    "i do not care",
    "i don't care",
    "hurry up",
    "get out",
    "leave me alone",
    "out of my way",
    "right now",
    "useless",
    "rude",
    "be quiet",
    "nobody asked you",
)

_POLITE = re.compile(r"\b(?:" + "|".join(POLITE) + r")\b", re.I)
_RUDE = re.compile(r"\b(?:" + "|".join(RUDE) + r")\b", re.I)
_WORD = re.compile(r"[A-Za-z]+")


def sentences(text: str) -> list[str]:
    """Sentences of a text, in order; speech stays with its "said Mia"."""
    parts = re.split(r'(?<=[.!?])\s+(?=[^a-z\s])|(?<=[.!?]")\s+(?=[^a-z\s])', text.strip())
    return [part for part in parts if part]


def mood_score(text: str) -> float:
    """Number of positive minus number of negative words."""
    words = [word.lower() for word in _WORD.findall(text)]
    return float(sum(w in POSITIVE for w in words) - sum(w in NEGATIVE for w in words))


def politeness_score(text: str) -> float:
    """Number of polite minus number of rude words and phrases."""
    return float(len(_POLITE.findall(text)) - len(_RUDE.findall(text)))


# ---------------------------------------------------------------------------- retelling

# Words that may lose their capital when something is put before them. All others, names above all, keep it.
_LOWER = frozenset(
    """
    a an the he she it they we you his her its their our your this that these those there here one two
    three some somebody someone everybody everyone everything nobody nothing no not all both each every
    many most at in on by from for of to with without under over after before behind beside near inside
    outside during through across along between around until since as if so and but or yet then when
    while where who what why how which whose once now soon suddenly later today yesterday tomorrow only
    even just still again at first last slowly quickly quietly sadly luckily happily next another is are
    was were am be do does did can could may might must will would shall should have has had let please
    yes please never always often somewhere instead excuse thank give hold mend light get out hurry look
    let go listen shut everyone
""".split()
)

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


def _pick(options, text: str, salt: str):
    return options[zlib.crc32((salt + text).encode()) % len(options)]


def _swap(text: str, table: dict) -> str:
    """Replace whole words by the table, keeping a leading capital."""

    def one(match):
        word = match.group()
        new = table.get(word.lower())
        if new is None or (word.isupper() and len(word) > 1):
            return word
        return new[0].upper() + new[1:] if word[0].isupper() else new

    return re.sub(r"[A-Za-z]+(?:'[a-z]+)?", one, text)


def _prefix(opening: str, sentence: str) -> str:
    """Put an opening before a sentence, inside its quotation mark if it begins with one."""
    quote = '"' if sentence.startswith('"') else ""
    body = sentence[len(quote) :]
    first = re.match(r"[A-Za-z]+", body)
    if first and first.group().lower() in _LOWER:
        body = body[0].lower() + body[1:]
    return f"{quote}{opening} {body}"


def _by_sentence(text: str, change) -> str:
    paragraphs = [p for p in re.split(r"\n\s*\n", text.strip()) if p.strip()]
    out, index = [], 0
    for paragraph in paragraphs:
        changed = []
        for sentence in sentences(paragraph):
            changed.append(change(sentence, index))
            index += 1
        out.append(" ".join(changed))
    return "\n\n".join(out)


def _fragment(sentence: str) -> bool:
    """True for a short answer without a verb, such as 'Paris.' or 'New Delhi'."""
    words = re.findall(r"[\w'-]+", sentence)
    return (
        0 < len(words) <= 3
        and not sentence.endswith(("?", "!", '"'))
        and not any(
            re.fullmatch(
                r"(is|are|was|were|am|be|do|did|had|has|can|will|went|ran|sat|i|he|she|it|they|we|you"
                r"|yes|no|not|\w+ed|\w+n't|\w+'(?:s|m|re|ll))",
                word.lower(),
            )
            for word in words
        )
    )


def retell_pirate(text: str) -> str:
    """The text in a pirate's manner; names and things stay, and equal texts give equal results."""

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

    return _by_sentence(text, change)


def retell_formal(text: str) -> str:
    """The text in a stiff, formal manner; names and things stay, and equal texts give equal results."""

    def change(sentence, index):
        if _fragment(sentence):
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

    return _by_sentence(text, change)


def _share(text: str, mark: re.Pattern) -> float:
    parts = sentences(text)
    return sum(bool(mark.search(part)) for part in parts) / len(parts) if parts else 0.0


def pirate_score(text: str) -> float:
    """Share of sentences with a pirate's word, 0 to 1; 0 for an empty text."""
    return _share(text, _PIRATE_MARK)


def formal_score(text: str) -> float:
    """Share of sentences with a formal word or phrase, 0 to 1; 0 for an empty text."""
    return _share(text, _FORMAL_MARK)


def manner_score(text: str) -> dict[str, float]:
    """{'pirate': share, 'formal': share} of sentences with a marker of the manner."""
    return {"pirate": pirate_score(text), "formal": formal_score(text)}
