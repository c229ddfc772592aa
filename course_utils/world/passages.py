"""Short passages about things that do not exist, with questions that the passage answers.

They teach reading from a context: every name consists of random syllables, so the answer can only come from
the passage.
"""

import random
import re
from collections.abc import Callable

from course_utils.world.tables import INVENTED, RELATIONS, FactRow, bare
from course_utils.world.templates import FORMS, WRAPPERS, embed, fill

IN_A_SENTENCE = " Answer in a sentence."  # without it, the answer is the object alone

ONSETS = "b br c d dr f fl g gl h j k kl l m n p pr qu r s sh sk st t th tr v w y z".split()
VOWELS = "a a a e e e i i i o o o u u ai au ea oo y".split()
CODAS = " l l m n n r r s t d k g p ck nd sk lm rn th x".split(" ")

# Strings that random syllables must not form.
RUDE_SOUNDS = re.compile(
    "shit|fuc|fuk|cunt|kunt|dick|dik|cock|nig|fag|slut|rap|penis|anus|poo|piss|tit|ass|arse|bitch|whor|por?n"
    "|nazi|sex|cum|kum|wank|twat|turd|jiz|homo|spic|kike|kik|gook|coon|kaf|pak|retard|hor|jew|jap|negr|neg"
)

BUILDINGS = "Tower Bridge Palace Castle Temple Gate Arch Fountain Cathedral Fortress Garden".split()
THINGS = "Lantern House King Garden River Clock Ship Winter Moon Orchard Letters Doors Ghost".split()
TITLES = ("The {thing} of {name}", "{name}", "The {thing} in {name}", "The {name} {thing}", "Under {name}")
VERBS = "makes sells mends paints keeps finds carries cleans".split()

REAL = {
    word.lower()
    for table in (RELATIONS, INVENTED)
    for facts in table.values()
    for fact in facts
    for text in fact
    for word in bare(text).split()
}


def invented_word(rng: random.Random, syllables: int = 0) -> str:
    """A lower-case word of random syllables that occurs in no table and is not rude."""
    while True:
        count = syllables or rng.choice((1, 2, 2, 2, 3, 3))
        word = "" if rng.random() < 0.15 else rng.choice(ONSETS)
        for last in [False] * (count - 1) + [True]:
            word += rng.choice(VOWELS)
            if rng.random() < (0.8 if last else 0.5):
                word += rng.choice(CODAS)
            if not last:
                word += rng.choice(ONSETS)
        if 3 < len(word) < 13 and word not in REAL and not RUDE_SOUNDS.search(word):
            return word


NAMING = ("capital", "language", "currency", "young", "landmark", "author", "symbol")
UNANSWERED = 0.15  # share of passages that are only lists of questions
SAME_SUBJECT = (
    ("capital", "continent", "language", "currency"),
    ("class", "habitat", "diet", "young", "sound"),
)

# The text, a question with its answer, and the separator; a bare answer has no space before it.
SPACED_LAYOUTS = (
    ("{text}\n\n", "Question: {q}\nAnswer: {a}", "\n\n"),
    ("{text}\n", "Question: {q}\nAnswer: {a}", "\n"),
    ("Text: {text}\n", "Question: {q}\nAnswer: {a}", "\n"),
    ("{text}\n", "Q: {q}\nA: {a}", "\n"),
)
BARE_LAYOUTS = (
    ("{text}\n", "{q}\n{a}", "\n"),
    ("{text}\n\n", "{q}\n{a}", "\n\n"),
    ("{text} ", "{q}\n{a}", "\n"),
    ("Read this: {text}\n", "{q}\n{a}", "\n"),
    ("{text} ", "{q}\n\n{a}", "\n\n"),
    ("{text} ", "{q}\n{role}\n{a}", "\n"),
    ("{asker}\n{text} ", "{q}\n\n{role}\n{a}", "\n\n"),
    ("{asker}\n{text}\n", "{q}\n{role}\n{a}", "\n"),
)
LAYOUTS = SPACED_LAYOUTS + BARE_LAYOUTS
PASSAGE_ROLES = (
    ("reader", "writer"),
    ("child", "teacher"),
    ("guest", "guide"),
    ("ASK", "SAY"),
    ("Question", "Answer"),
)

ROLLS = (
    "The list: {x}. The same list again: {x}.",
    "We met {x}. Later we wrote to {x}.",
    "She read aloud: {x}. He repeated: {x}.",
    "On the wall stood {x}. On the door stood {x} as well.",
    "{x}\n{x}",
    "We met {x}.\n{lines}",
    "{x}\n{lines}",
    'The list: {x}.\n"{quoted}"',
)


Maker = Callable[[random.Random], str]


def _real(relation: str) -> Maker:
    objects = sorted({obj for _, obj in RELATIONS[relation]})
    return lambda rng: rng.choice(objects)


def name(rng: random.Random) -> str:
    return invented_word(rng).capitalize()


def place(rng: random.Random) -> str:
    ending = rng.choice(("", "", "ia", "land", "stan", "ova", "mark", "ora"))
    prefix = rng.choice(("the Republic of ", "North ", "New ")) if rng.random() < 0.1 else ""
    return prefix + invented_word(rng, rng.choice((1, 2))).capitalize() + ending


def town(rng: random.Random) -> str:
    prefix = rng.choice(("Port ", "San ", "New ")) if rng.random() < 0.15 else ""
    return prefix + name(rng)


def language(rng: random.Random) -> str:
    return name(rng) + rng.choice(("", "ish", "ian", "ese", "ic"))


def noun(rng: random.Random) -> str:
    word = invented_word(rng)
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


def element(rng: random.Random) -> str:
    return invented_word(rng, rng.choice((1, 2))) + "ium"


def symbol(rng: random.Random) -> str:
    return rng.choice("ABCDEFGHIJKLMNOPRSTUVWXYZ") + rng.choice("abcdefghiklmnoprstuvxyz")


def landmark(rng: random.Random) -> str:
    building = rng.choice(BUILDINGS)
    return f"the {name(rng)} {building}"


def title(rng: random.Random) -> str:
    thing = rng.choice(THINGS)
    return rng.choice(TITLES).format(thing=thing, name=name(rng))


def person(rng: random.Random) -> str:
    return f"{name(rng)} {name(rng)}"


def activity(rng: random.Random) -> str:
    return f"{rng.choice(VERBS)} {invented_word(rng)}s"


MAKERS: dict[str, tuple[Maker, Maker]] = {
    "capital": (place, town),
    "continent": (place, _real("continent")),
    "language": (place, language),
    "currency": (place, invented_word),
    "class": (noun, _real("class")),
    "habitat": (noun, _real("habitat")),
    "diet": (noun, _real("diet")),
    "sound": (noun, invented_word),
    "young": (noun, invented_word),
    "legs": (noun, _real("legs")),
    "colour": (noun, _real("colour")),
    "opposite": (invented_word, invented_word),
    "plural": (invented_word, invented_word),
    "past_tense": (invented_word, invented_word),
    "workplace": (noun, _real("workplace")),
    "job": (activity, invented_word),
    "kind": (noun, _real("kind")),
    "material": (noun, _real("material")),
    "use": (noun, _real("use")),
    "landmark": (landmark, place),
    "author": (title, person),
    "symbol": (element, symbol),
    "next": (name, name),
}  # relation -> makers of subjects and of objects
RELATION_POOL = [*FORMS, *(3 * NAMING)]  # relations with invented objects are drawn more often


def roll_call(rng: random.Random) -> str:
    """A list of invented names, repeated: almost half of the tokens can only be copied."""
    make = rng.choice((name, place, town, person, invented_word, title))
    names = [make(rng) for _ in range(rng.choice((2, 3, 4)))]
    listed = rng.choice((", ", " and ", ", ")).join(names)
    return rng.choice(ROLLS).format(x=listed, lines="\n".join(names), quoted='", "'.join(names))


def invented_facts(rng: random.Random, count: int) -> list[tuple[str, str, str]]:
    """(relation, subject, object) triples: about one subject, of one relation, or mixed."""
    shape = rng.random()
    if shape < 0.3:
        group = rng.choice(SAME_SUBJECT)
        relations = rng.sample(group, min(count, len(group)))
        subjects = [MAKERS[relations[0]][0](rng)] * len(relations)
    else:
        one = rng.choice(RELATION_POOL)
        relations = [one if shape < 0.65 else rng.choice(RELATION_POOL) for _ in range(count)]
        subjects = [MAKERS[relation][0](rng) for relation in relations]
    return [(r, s, MAKERS[r][1](rng)) for r, s in zip(relations, subjects, strict=True)]


def question(rng: random.Random, relation: str, subject: str, obj: str) -> tuple[str, str]:
    """A question and its answer: the object alone or a sentence."""
    form = FORMS[relation]
    asked = fill(rng.choice((*form.questions, *form.questions, form.paraphrase)), subject, obj)
    if rng.random() < 0.5:
        return asked, obj
    return asked + IN_A_SENTENCE, fill(form.statements[0], subject, obj)


def passage(rng: random.Random, names: tuple[str, ...]) -> str:
    """One document: statements, then one to three questions about them. names: people who may report a fact.

    Some have only questions, without text and answers: without a text, another question follows a question.
    """
    facts = invented_facts(rng, rng.choice((1, 1, 2, 2, 3, 4)))
    if rng.random() < UNANSWERED:
        return unanswered(rng, facts)
    lines = []
    for relation, subject, obj in facts:
        template = rng.choice(FORMS[relation].statements)
        line = fill(template, subject, obj)
        if rng.random() < 0.15:
            wrapper = rng.choice(WRAPPERS)
            line = wrapper.format(name=rng.choice(names), x=fill(embed(template), subject, obj))
        lines.append(line)
    before, pair, between = rng.choice(LAYOUTS)
    asker, role = rng.choice(PASSAGE_ROLES)
    asked = rng.sample(facts, min(len(facts), rng.choice((1, 2, 2, 3))))
    pairs = []
    for fact in asked:
        q, a = question(rng, *fact)
        pairs.append(pair.format(q=q, a=a, role=role))
    return before.format(text=" ".join(lines), asker=asker) + between.join(pairs)


def unanswered(rng: random.Random, facts: list[tuple[str, str, str]]) -> str:
    """A list of questions."""
    mark = rng.choice(("Question: ", "Q: ", "", "- "))
    return "\n".join(mark + question(rng, *fact)[0] for fact in facts)


def question_row(asked: str, fact: FactRow, kind: str) -> dict:
    """A question as prompt and completion; `asked` may begin with the text that contains the answer."""
    relation, subject, obj = fact
    answer = obj
    if kind == "sentence":
        asked += IN_A_SENTENCE
        answer = fill(FORMS[relation].statements[0], subject, obj)
    return {
        "prompt": f"Question: {asked}\nAnswer:",
        "completion": f" {answer}",
        "relation": relation,
        "subject": subject,
        "object": obj,
        "kind": kind,
    }


def reading_questions(rng: random.Random, count: int) -> list[dict]:
    """Questions, each with a text of one to three statements about invented things that answers it."""
    rows = []
    for number in range(count):
        facts = invented_facts(rng, rng.choice((1, 1, 2, 3)))
        text = " ".join(fill(rng.choice(FORMS[r].statements), s, o) for r, s, o in facts)
        fact = rng.choice(facts)
        asked = fill(rng.choice(FORMS[fact[0]].questions), *fact[1:])
        rows.append(question_row(f"{text} {asked}", fact, ("short", "sentence")[number % 2]))
    return rows
