"""Short passages about things that do not exist, with questions that the passage answers.

They teach reading from a context: every name is put together from syllables at random, so that the answer
can only come from the passage.
"""

import random
from collections.abc import Callable

from course_utils.pretrain.tables import INVENTED, RELATIONS, bare
from course_utils.pretrain.templates import FORMS, WRAPPERS, embed, fill

IN_A_SENTENCE = " Answer in a sentence."  # asks for a sentence; without it the object alone is the answer

ONSETS = "b br c d dr f fl g gl h j k kl l m n p pr qu r s sh sk st t th tr v w y z".split()
VOWELS = "a a e e i i o o u ai ea oo".split()
CODAS = " l l m n n r r s t d k g p ck nd sk lm rn th x".split(" ")

REAL = {
    word.lower()
    for table in (RELATIONS, INVENTED)
    for facts in table.values()
    for fact in facts
    for text in fact
    for word in bare(text).split()
}


def invented_word(rng: random.Random, syllables: int = 0) -> str:
    """A lower-case word that occurs in no table."""
    while True:
        count = syllables or rng.choice((1, 2, 2, 2, 3))
        word = "".join(rng.choice(ONSETS) + rng.choice(VOWELS) for _ in range(count)) + rng.choice(CODAS)
        if len(word) > 3 and word not in REAL:
            return word


def _name(rng: random.Random) -> str:
    return invented_word(rng).capitalize()


def _place(rng: random.Random) -> str:
    ending = rng.choice(("", "", "ia", "land", "stan", "ova", "mark", "ora"))
    name = invented_word(rng, rng.choice((1, 2))).capitalize() + ending
    return rng.choice(("the Republic of ", "North ", "New ")) + name if rng.random() < 0.1 else name


def _town(rng: random.Random) -> str:
    name = _name(rng)
    return rng.choice(("Port ", "San ", "New ")) + name if rng.random() < 0.15 else name


def _language(rng: random.Random) -> str:
    return _name(rng) + rng.choice(("", "ish", "ian", "ese", "ic"))


def _noun(rng: random.Random) -> str:
    word = invented_word(rng)
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


def _element(rng: random.Random) -> str:
    return invented_word(rng, rng.choice((1, 2))) + "ium"


def _symbol(rng: random.Random) -> str:
    return rng.choice("ABCDEFGHIJKLMNOPRSTUVWXYZ") + rng.choice("abcdefghiklmnoprstuvxyz")


def _landmark(rng: random.Random) -> str:
    what = rng.choice(
        "Tower Bridge Palace Castle Temple Gate Arch Fountain Cathedral Fortress Garden".split()
    )
    return f"the {_name(rng)} {what}"


def _title(rng: random.Random) -> str:
    thing = rng.choice(
        "Lantern House King Garden River Clock Ship Winter Moon Orchard Letters Doors Ghost".split()
    )
    shape = rng.choice(
        ("The {thing} of {name}", "{name}", "The {thing} in {name}", "The {name} {thing}", "Under {name}")
    )
    return shape.format(thing=thing, name=_name(rng))


def _person(rng: random.Random) -> str:
    return f"{_name(rng)} {_name(rng)}"


def _activity(rng: random.Random) -> str:
    return (
        f"{rng.choice('makes sells mends paints keeps finds carries cleans'.split())} {invented_word(rng)}s"
    )


def _real(relation: str) -> Callable[[random.Random], str]:
    objects = sorted({obj for _, obj in RELATIONS[relation]})
    return lambda rng: rng.choice(objects)


# relation -> (maker of subjects, maker of objects)
MAKERS: dict[str, tuple[Callable, Callable]] = {
    "capital": (_place, _town),
    "continent": (_place, _real("continent")),
    "language": (_place, _language),
    "currency": (_place, invented_word),
    "class": (_noun, _real("class")),
    "habitat": (_noun, _real("habitat")),
    "diet": (_noun, _real("diet")),
    "sound": (_noun, invented_word),
    "young": (_noun, invented_word),
    "legs": (_noun, _real("legs")),
    "colour": (_noun, _real("colour")),
    "opposite": (invented_word, invented_word),
    "plural": (invented_word, invented_word),
    "past_tense": (invented_word, invented_word),
    "workplace": (_noun, _real("workplace")),
    "job": (_activity, invented_word),
    "kind": (_noun, _real("kind")),
    "material": (_noun, _real("material")),
    "use": (_noun, _real("use")),
    "landmark": (_landmark, _place),
    "author": (_title, _person),
    "symbol": (_element, _symbol),
    "next": (_name, _name),
}
NAMING = ("capital", "language", "currency", "young", "landmark", "author", "symbol")  # drawn twice as often
SAME_SUBJECT = (
    ("capital", "continent", "language", "currency"),
    ("class", "habitat", "diet", "young", "sound"),
)

LAYOUTS = (
    ("{text}\n\n", "Question: {q}\nAnswer: {a}", "\n\n"),
    ("{text}\n", "Question: {q}\nAnswer: {a}", "\n"),
    ("Text: {text}\n", "Question: {q}\nAnswer: {a}", "\n"),
    ("{text}\n", "{q}\n{a}", "\n"),
    ("{text}\n\n", "{q}\n{a}", "\n\n"),
    ("{text} ", "{q}\n{a}", "\n"),
    ("Read this: {text}\n", "{q}\n{a}", "\n"),
    ("{text}\n", "Q: {q}\nA: {a}", "\n"),
)


ROLLS = (
    "The list: {x}. The same list again: {x}.",
    "We met {x}. Later we wrote to {x}.",
    "She read aloud: {x}. He repeated: {x}.",
    "On the wall stood {x}. On the door stood {x} as well.",
    "{x}\n{x}",
)


def roll_call(rng: random.Random) -> str:
    """Invented names, and the same names again: almost half of the tokens can only be copied."""
    make = rng.choice((_name, _place, _town, _person, invented_word, _title))
    names = [make(rng) for _ in range(rng.choice((2, 3, 4)))]
    return rng.choice(ROLLS).format(x=rng.choice((", ", " and ", ", ")).join(names))


def invented_facts(rng: random.Random, count: int) -> list[tuple[str, str, str]]:
    """(relation, subject, object) triples: about one thing, of one relation, or mixed."""
    shape = rng.random()
    if shape < 0.3:
        group = rng.choice(SAME_SUBJECT)
        relations = rng.sample(group, min(count, len(group)))
        subject = MAKERS[relations[0]][0](rng)
        subjects = [subject] * len(relations)
    else:
        pool = [*FORMS, *NAMING]
        relations = [rng.choice(pool)] * count if shape < 0.65 else [rng.choice(pool) for _ in range(count)]
        subjects = [MAKERS[relation][0](rng) for relation in relations]
    return [(r, s, MAKERS[r][1](rng)) for r, s in zip(relations, subjects, strict=True)]


def question(rng: random.Random, relation: str, subject: str, obj: str) -> tuple[str, str]:
    """A question and its answer, the object alone or in a sentence."""
    form = FORMS[relation]
    asked = fill(rng.choice((*form.questions, *form.questions, form.paraphrase)), subject, obj)
    if rng.random() < 0.5:
        return asked, obj
    return asked + IN_A_SENTENCE, fill(form.statements[0], subject, obj)


def passage(rng: random.Random, names: tuple[str, ...]) -> str:
    """One document: statements, then one to three questions about them. names are people who may report."""
    facts = invented_facts(rng, rng.choice((1, 1, 2, 2, 3, 4)))
    lines = []
    for relation, subject, obj in facts:
        template = rng.choice(FORMS[relation].statements)
        line = fill(template, subject, obj)
        if rng.random() < 0.15:
            wrapper = rng.choice(WRAPPERS)
            line = wrapper.format(name=rng.choice(names), x=fill(embed(template), subject, obj))
        lines.append(line)
    before, pair, between = rng.choice(LAYOUTS)
    asked = rng.sample(facts, min(len(facts), rng.choice((1, 2, 2, 3))))
    pairs = []
    for fact in asked:
        q, a = question(rng, *fact)
        pairs.append(pair.format(q=q, a=a))
    return before.format(text=" ".join(lines)) + between.join(pairs)
