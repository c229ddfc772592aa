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
    """Sentences of a text, in order; direct speech keeps its "said Mia"."""
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

# Words that lose their capital after an opening. All others, mainly names, keep it.
LOWER = frozenset(
    """
    a an the he she it they we you his her its their our your this that these those there here one two
    three some somebody someone everybody everyone everything nobody nothing no not all both each every
    many most at in on by from for of to with without under over after before behind beside near inside
    outside during through across along between around until since as if so and but or yet then when
    while where who what why how which whose once now soon suddenly later today yesterday tomorrow only
    even just still again at first last slowly quickly quietly sadly luckily happily next another is are
    was were am be do does did can could may might must will would shall should have has had let please
    yes please never always often somewhere instead excuse thank give hold mend light get out hurry look
    let go listen shut everyone ever
""".split()
)

OPENINGS = {  # the pocket model knows them well: they introduce facts in its corpus
    "formal": ("It is true that", "The book says that", "We learned that", "The teacher said that"),
    "gossip": (
        "My grandmother told me that",
        "Everyone knows that",
        "Many people know that",
        "A friend told me that",
    ),
}
JOINERS = ("But", "So", "Then", "And")
_LINK = re.compile(f"^(?:{'|'.join(JOINERS)}) ")
OF_ONE_WORD = {"formal": "The book says", "gossip": "My grandmother said"}


def retell(text: str, manner: str) -> str:
    """Retell the text in the style of a schoolbook ("formal") or hearsay ("gossip"), deterministically.

    Statements get an opening; speech, questions, exclamations and all names stay unchanged.
    """

    def change(sentence, index):
        if is_fragment(sentence):
            return f"{OF_ONE_WORD[manner]} {sentence.rstrip('.')}."
        if not is_statement(sentence):
            return sentence
        openings = OPENINGS[manner]
        opening = openings[(zlib.crc32(text.encode()) + index) % len(openings)]
        link, _, rest = sentence.partition(" ")
        if link in JOINERS:  # "But the book says that it rained."
            return f"{link} {opening[0].lower()}{opening[1:]} {rest}"
        return prefix(opening, sentence)

    return by_sentence(text, change)


def is_statement(sentence: str) -> bool:
    """Whether it is neither speech nor a question nor an exclamation."""
    return '"' not in sentence and not sentence.endswith(("?", "!"))


def manner_score(text: str, manner: str) -> float:
    """Share of the text's statements that begin with the manner's openings; 0 if there are no statements."""
    statements = [sentence for sentence in sentences(text) if is_statement(sentence)]
    starts = tuple(start.lower() for start in (*OPENINGS[manner], OF_ONE_WORD[manner]))
    found = sum(_LINK.sub("", sentence).lower().startswith(starts) for sentence in statements)
    return found / len(statements) if statements else 0.0


def prefix(opening: str, sentence: str, lower: frozenset[str] = LOWER) -> str:
    """Put an opening before a sentence, inside its quotation mark if it begins with one.

    lower: first words that lose their capital.
    """
    quote = '"' if sentence.startswith('"') else ""
    body = sentence[len(quote) :]
    first = re.match(r"[A-Za-z]+", body)
    if first and first.group().lower() in lower:
        body = body[0].lower() + body[1:]
    return f"{quote}{opening} {body}"


def by_sentence(text: str, change) -> str:
    paragraphs = [p for p in re.split(r"\n\s*\n", text.strip()) if p.strip()]
    out, index = [], 0
    for paragraph in paragraphs:
        changed = []
        for sentence in sentences(paragraph):
            changed.append(change(sentence, index))
            index += 1
        out.append(" ".join(changed))
    return "\n\n".join(out)


def is_fragment(sentence: str) -> bool:
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
