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
VARIED_VOWELS = "a a a e e e i i i o o o u u ai au ea oo y".split()
CODAS = " l l m n n r r s t d k g p ck nd sk lm rn th x".split(" ")

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


def simple_word(rng: random.Random, syllables: int = 0) -> str:
    """A lower-case word of open syllables that occurs in no table."""
    while True:
        count = syllables or rng.choice((1, 2, 2, 2, 3))
        word = "".join(rng.choice(ONSETS) + rng.choice(VOWELS) for _ in range(count)) + rng.choice(CODAS)
        if len(word) > 3 and word not in REAL:
            return word


def varied_word(rng: random.Random, syllables: int = 0) -> str:
    """A lower-case word of open and closed syllables that occurs in no table."""
    while True:
        count = syllables or rng.choice((1, 2, 2, 2, 3, 3))
        word = "" if rng.random() < 0.15 else rng.choice(ONSETS)
        for last in [False] * (count - 1) + [True]:
            word += rng.choice(VARIED_VOWELS)
            if rng.random() < (0.8 if last else 0.5):
                word += rng.choice(CODAS)
            if not last:
                word += rng.choice(ONSETS)
        if 3 < len(word) < 13 and word not in REAL:
            return word


NAMING = ("capital", "language", "currency", "young", "landmark", "author", "symbol")
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
BARE_LAYOUTS = LAYOUTS[3:7]  # the answer has no space before it


ROLLS = (
    "The list: {x}. The same list again: {x}.",
    "We met {x}. Later we wrote to {x}.",
    "She read aloud: {x}. He repeated: {x}.",
    "On the wall stood {x}. On the door stood {x} as well.",
    "{x}\n{x}",
)
BARE_ROLLS = ("We met {x}.\n{lines}", "{x}\n{lines}", 'The list: {x}.\n"{quoted}"')


Maker = Callable[[random.Random], str]


def _real(relation: str) -> Maker:
    objects = sorted({obj for _, obj in RELATIONS[relation]})
    return lambda rng: rng.choice(objects)


class Inventor:
    """Makes up things of every kind from a maker of words, and says how passages and lists are laid out.

    makers: relation -> (maker of subjects, maker of objects). naming: how much oftener relations with
    invented objects are drawn.
    """

    def __init__(self, word: Callable, layouts, rolls, naming: int):
        self.word, self.layouts, self.rolls = word, layouts, rolls
        self.relations = [*FORMS, *(naming * NAMING)]
        self.makers: dict[str, tuple[Maker, Maker]] = {
            "capital": (self.place, self.town),
            "continent": (self.place, _real("continent")),
            "language": (self.place, self.language),
            "currency": (self.place, word),
            "class": (self.noun, _real("class")),
            "habitat": (self.noun, _real("habitat")),
            "diet": (self.noun, _real("diet")),
            "sound": (self.noun, word),
            "young": (self.noun, word),
            "legs": (self.noun, _real("legs")),
            "colour": (self.noun, _real("colour")),
            "opposite": (word, word),
            "plural": (word, word),
            "past_tense": (word, word),
            "workplace": (self.noun, _real("workplace")),
            "job": (self.activity, word),
            "kind": (self.noun, _real("kind")),
            "material": (self.noun, _real("material")),
            "use": (self.noun, _real("use")),
            "landmark": (self.landmark, self.place),
            "author": (self.title, self.person),
            "symbol": (self.element, self.symbol),
            "next": (self.name, self.name),
        }

    def name(self, rng: random.Random) -> str:
        return self.word(rng).capitalize()

    def place(self, rng: random.Random) -> str:
        ending = rng.choice(("", "", "ia", "land", "stan", "ova", "mark", "ora"))
        name = self.word(rng, rng.choice((1, 2))).capitalize() + ending
        return rng.choice(("the Republic of ", "North ", "New ")) + name if rng.random() < 0.1 else name

    def town(self, rng: random.Random) -> str:
        name = self.name(rng)
        return rng.choice(("Port ", "San ", "New ")) + name if rng.random() < 0.15 else name

    def language(self, rng: random.Random) -> str:
        return self.name(rng) + rng.choice(("", "ish", "ian", "ese", "ic"))

    def noun(self, rng: random.Random) -> str:
        word = self.word(rng)
        return f"an {word}" if word[0] in "aeiou" else f"a {word}"

    def element(self, rng: random.Random) -> str:
        return self.word(rng, rng.choice((1, 2))) + "ium"

    def symbol(self, rng: random.Random) -> str:
        return rng.choice("ABCDEFGHIJKLMNOPRSTUVWXYZ") + rng.choice("abcdefghiklmnoprstuvxyz")

    def landmark(self, rng: random.Random) -> str:
        building = rng.choice(BUILDINGS)
        return f"the {self.name(rng)} {building}"

    def title(self, rng: random.Random) -> str:
        thing = rng.choice(THINGS)
        return rng.choice(TITLES).format(thing=thing, name=self.name(rng))

    def person(self, rng: random.Random) -> str:
        return f"{self.name(rng)} {self.name(rng)}"

    def activity(self, rng: random.Random) -> str:
        return f"{rng.choice(VERBS)} {self.word(rng)}s"


SIMPLE = Inventor(simple_word, LAYOUTS, ROLLS, naming=1)
VARIED = Inventor(varied_word, LAYOUTS + 2 * BARE_LAYOUTS, ROLLS + BARE_ROLLS, naming=3)


def roll_call(rng: random.Random, inventor: Inventor = SIMPLE) -> str:
    """Invented names, and the same names again: almost half of the tokens can only be copied."""
    made = inventor
    make = rng.choice((made.name, made.place, made.town, made.person, made.word, made.title))
    names = [make(rng) for _ in range(rng.choice((2, 3, 4)))]
    roll = rng.choice(inventor.rolls)
    listed = rng.choice((", ", " and ", ", ")).join(names)
    return roll.format(x=listed, lines="\n".join(names), quoted='", "'.join(names))


def invented_facts(rng: random.Random, count: int, inventor: Inventor = SIMPLE) -> list[tuple[str, str, str]]:
    """(relation, subject, object) triples: about one thing, of one relation, or mixed."""
    shape = rng.random()
    if shape < 0.3:
        group = rng.choice(SAME_SUBJECT)
        relations = rng.sample(group, min(count, len(group)))
        subjects = [inventor.makers[relations[0]][0](rng)] * len(relations)
    else:
        pool = inventor.relations
        relations = [rng.choice(pool)] * count if shape < 0.65 else [rng.choice(pool) for _ in range(count)]
        subjects = [inventor.makers[relation][0](rng) for relation in relations]
    return [(r, s, inventor.makers[r][1](rng)) for r, s in zip(relations, subjects, strict=True)]


def question(rng: random.Random, relation: str, subject: str, obj: str) -> tuple[str, str]:
    """A question and its answer, the object alone or in a sentence."""
    form = FORMS[relation]
    asked = fill(rng.choice((*form.questions, *form.questions, form.paraphrase)), subject, obj)
    if rng.random() < 0.5:
        return asked, obj
    return asked + IN_A_SENTENCE, fill(form.statements[0], subject, obj)


def passage(rng: random.Random, names: tuple[str, ...], inventor: Inventor = SIMPLE) -> str:
    """One document: statements, then one to three questions about them. names are people who may report."""
    facts = invented_facts(rng, rng.choice((1, 1, 2, 2, 3, 4)), inventor)
    lines = []
    for relation, subject, obj in facts:
        template = rng.choice(FORMS[relation].statements)
        line = fill(template, subject, obj)
        if rng.random() < 0.15:
            wrapper = rng.choice(WRAPPERS)
            line = wrapper.format(name=rng.choice(names), x=fill(embed(template), subject, obj))
        lines.append(line)
    before, pair, between = rng.choice(inventor.layouts)
    asked = rng.sample(facts, min(len(facts), rng.choice((1, 2, 2, 3))))
    pairs = []
    for fact in asked:
        q, a = question(rng, *fact)
        pairs.append(pair.format(q=q, a=a))
    return before.format(text=" ".join(lines)) + between.join(pairs)
