"""Templates that state a fact or ask for it.

Placeholders: {s} the subject as in mid-sentence ("a fox"), {b} the bare subject ("fox"),
{o} the object ("forest"), {a} the object with a or an ("a mammal"). A capital letter ({S}, {B}, {O}, {A})
starts a sentence. {art} is " a", " an" or nothing, by the object.
"""

import re
from dataclasses import dataclass

from course_utils.world.tables import TAKES_THE, bare

PIECES = re.compile(r"\w+|[^\w\s]|\n")  # words, punctuation, line ends: close to tokens, without a tokenizer


@dataclass(frozen=True)
class Relation:
    statements: tuple[str, ...]  # the first is the canonical answer in a sentence
    probe: str  # cut just before the object; only one object fits
    heading: str
    questions: tuple[str, ...]  # used for tuning
    paraphrase: str  # kept out of tuning
    columns: tuple[str, str]


FORMS = {
    "capital": Relation(
        (
            "The capital of {s} is {o}.",
            "{O} is the capital of {s}.",
            "The capital city of {s} is {o}.",
            "{O} is the capital city of {s}.",
            "{S} has its capital in {o}.",
            "In {s}, the capital is {o}.",
            "If you visit the capital of {s}, you are in {o}.",
            "People in {s} call {o} their capital.",
            "The city called the capital of {s} is {o}.",
        ),
        "The capital of {s} is",
        "The capital of {s}",
        ("What is the capital of {s}?", "Which city is the capital of {s}?", "Name the capital of {s}."),
        "What is the capital city of {s} called?",
        ("country", "capital"),
    ),
    "continent": Relation(
        (
            "The continent of {s} is {o}.",
            "{S} is in {o}.",
            "{S} lies in {o}.",
            "{S} is a country in {o}.",
            "{S} belongs to {o}.",
            "You can find {s} in {o}.",
            "On the map, {s} is in {o}.",
            "One of the countries in {o} is {s}.",
        ),
        "The continent of {s} is",
        "The continent of {s}",
        ("Which continent is {s} in?", "On which continent does {s} lie?", "What is the continent of {s}?"),
        "To which continent does {s} belong?",
        ("country", "continent"),
    ),
    "language": Relation(
        (
            "The language of {s} is {o}.",
            "People in {s} speak {o}.",
            "In {s}, people speak {o}.",
            "{O} is the language of {s}.",
            "{O} is spoken in {s}.",
            "The main language of {s} is {o}.",
            "If you travel to {s}, you will hear {o}.",
            "Children in {s} learn {o} at school.",
            "The language that people speak in {s} is {o}.",
        ),
        "The language of {s} is",
        "The language of {s}",
        (
            "What is the language of {s}?",
            "Which language do people speak in {s}?",
            "Which language is spoken in {s}?",
        ),
        "What is the main language in {s}?",
        ("country", "language"),
    ),
    "currency": Relation(
        (
            "The currency of {s} is the {o}.",
            "In {s}, people pay with the {o}.",
            "The money of {s} is called the {o}.",
            "The {o} is the currency of {s}.",
            "{S} uses the {o}.",
            "Shops in {s} take the {o}.",
            "People in {s} use the {o} as their money.",
            "The {o} is the money of {s}.",
            "You need the {o} to pay in {s}.",
        ),
        "The currency of {s} is the",
        "The currency of {s}",
        ("What is the currency of {s}?", "Which currency does {s} use?", "Name the currency of {s}."),
        "What is the money of {s} called?",
        ("country", "currency"),
    ),
    "class": Relation(
        (
            "{S} is {a}.",
            "By class, {s} is {a}.",
            "{S} is classed as {a}.",
            "Among animals, {s} is {a}.",
            "The class of {s} is {o}.",
            "{S} belongs to the class {o}.",
            "In a book of animals, {s} counts as {a}.",
            "We call {s} {a}.",
        ),
        "The class of {s} is",
        "The class of {s}",
        ("What class of animal is {s}?", "Which class does {s} belong to?", "What is the class of {s}?"),
        "To which class of animals does {s} belong?",
        ("animal", "class"),
    ),
    "habitat": Relation(
        (
            "{S} lives in the {o}.",
            "The habitat of {s} is the {o}.",
            "The home of {s} is the {o}.",
            "You can find {s} in the {o}.",
            "In the {o} you can find {s}.",
            "In the {o} lives {s}.",
            "{S} makes its home in the {o}.",
            "If you want to see {s}, go to the {o}.",
            "The place where {s} lives is the {o}.",
        ),
        "The habitat of {s} is the",
        "The habitat of {s}",
        ("Where does {s} live?", "What is the habitat of {s}?", "What is the home of {s}?"),
        "In which place can you find {s}?",
        ("animal", "habitat"),
    ),
    "diet": Relation(
        (
            "{S} eats {o}.",
            "{S} feeds on {o}.",
            "The food of {s} is {o}.",
            "The diet of {s} is {o}.",
            "{S} lives on {o}.",
            "When {s} is hungry, it eats {o}.",
            "For food, {s} looks for {o}.",
            "{S} likes to eat {o}.",
            "The usual meal of {s} is {o}.",
        ),
        "The diet of {s} is",
        "The diet of {s}",
        ("What does {s} eat?", "What is the food of {s}?", "What is the diet of {s}?"),
        "On what does {s} feed?",
        ("animal", "diet"),
    ),
    "sound": Relation(
        (
            "The sound of {s} is {a}.",
            "The call of {s} is {a}.",
            "The sound that {s} makes is {a}.",
            "{S} makes a sound called {a}.",
            "{A} is the sound of {s}.",
            "When you hear {a}, it may be {s}.",
            "In the dark you can hear the {o} of {s}.",
            "The noise of {s} is called {a}.",
            "{S} makes itself heard with {a}.",
        ),
        "The sound of {s} is{art}",
        "The sound of {s}",
        ("What is the sound of {s}?", "What sound does {s} make?", "What is the call of {s}?"),
        "What do we call the noise of {s}?",
        ("animal", "sound"),
    ),
    "young": Relation(
        (
            "The young of {s} is called {a}.",
            "A baby {b} is called {a}.",
            "A young {b} is called {a}.",
            "The baby of {s} is {a}.",
            "{A} is a young {b}.",
            "{A} is the young of {s}.",
            "One day {a} will be {s}.",
            "{A} grows up to be {s}.",
            "When it is small, {s} is called {a}.",
        ),
        "The young of {s} is called{art}",
        "The young of {s}",
        (
            "What is the young of {s} called?",
            "What is a young {b} called?",
            "What do we call the young of {s}?",
        ),
        "What is the name of a baby {b}?",
        ("animal", "young"),
    ),
    "legs": Relation(
        (
            "{S} has {o} legs.",
            "There are {o} legs on {s}.",
            "If you count, {s} has {o} legs.",
            "Look at {s}: it has {o} legs.",
            "If you draw {s}, draw {o} legs.",
            "You will find {o} legs on {s}.",
            "{S} is an animal with {o} legs.",
        ),
        "If you count, {s} has",
        "The legs of {s}",
        (
            "How many legs does {s} have?",
            "What is the number of legs of {s}?",
            "How many legs are there on {s}?",
        ),
        "If you count the legs of {s}, how many are there?",
        ("animal", "legs"),
    ),
    "colour": Relation(
        (
            "The colour of {s} is {o}.",
            "{S} is {o}.",
            "{S} is {o} in colour.",
            "{O} is the colour of {s}.",
            "If you paint {s}, use {o}.",
            "Children paint {s} {o}.",
            "In the picture, {s} is {o}.",
            "The usual colour of {s} is {o}.",
        ),
        "The colour of {s} is",
        "The colour of {s}",
        ("What colour is {s}?", "What is the colour of {s}?", "Which colour does {s} have?"),
        "In which colour would you paint {s}?",
        ("thing", "colour"),
    ),
    "opposite": Relation(
        (
            "The opposite of {s} is {o}.",
            "{O} is the opposite of {s}.",
            "The word {o} means the opposite of {s}.",
            "The opposite word to {s} is {o}.",
            "{S} and {o} are opposites.",
            "{S} is the opposite of {o}.",
            "If you turn {s} around, you get {o}.",
            "When you do not mean {s}, you may mean {o}.",
        ),
        "The opposite of {s} is",
        "The opposite of {s}",
        ("What is the opposite of {s}?", "Which word is the opposite of {s}?", "Name the opposite of {s}."),
        "Which word means the opposite of {s}?",
        ("word", "opposite"),
    ),
    "plural": Relation(
        (
            "The plural of {b} is {o}.",
            "One {b}, many {o}.",
            "We say one {b}, but two {o}.",
            "{O} is the plural of {b}.",
            "The word for more than one {b} is {o}.",
            "The plural form of {b} is {o}.",
            "If there are many, {b} becomes {o}.",
            "There was one {b}, and then there were two {o}.",
        ),
        "The plural of {b} is",
        "The plural of {b}",
        ("What is the plural of {b}?", "What is the plural form of {b}?", "Name the plural of {b}."),
        "What is the word for more than one {b}?",
        ("word", "plural"),
    ),
    "past_tense": Relation(
        (
            "The past tense of {s} is {o}.",
            "{O} is the past tense of {s}.",
            "The past of {s} is {o}.",
            "In the past tense, {s} becomes {o}.",
            "We say {s} for today and {o} for yesterday.",
            "The past form of {s} is {o}.",
            "If it was yesterday, {s} turns into {o}.",
            "The word {o} is the past form of {s}.",
        ),
        "The past tense of {s} is",
        "The past tense of {s}",
        ("What is the past tense of {s}?", "What is the past form of {s}?", "Name the past tense of {s}."),
        "What does {s} become in the past tense?",
        ("word", "past"),
    ),
    "workplace": Relation(
        (
            "{S} works in {a}.",
            "The workplace of {s} is {a}.",
            "You can find {s} at work in {a}.",
            "{A} is where {s} works.",
            "Every day {s} goes to work in {a}.",
            "If you need {s}, look in {a}.",
            "The place where {s} works is {a}.",
            "{A} is the workplace of {s}.",
        ),
        "The workplace of {s} is{art}",
        "The workplace of {s}",
        ("Where does {s} work?", "What is the workplace of {s}?", "In which place does {s} work?"),
        "Where can you find {s} at work?",
        ("job", "workplace"),
    ),
    "job": Relation(
        (
            "A person who {s} is {a}.",
            "A person who {s} is called {a}.",
            "Someone who {s} is {a}.",
            "{A} is a person who {s}.",
            "{A} {s}.",
            "It is {a} who {s}.",
            "A person who {s} works as {a}.",
            "The word for someone who {s} is {o}.",
        ),
        "A person who {s} is called{art}",
        "A person who {s}",
        ("What do we call a person who {s}?", "Who {s}?", "What is a person who {s} called?"),
        "What is the word for someone who {s}?",
        ("work", "job"),
    ),
    "kind": Relation(
        (
            "{S} is {a}.",
            "By kind, {s} is {a}.",
            "{S} is one example of {a}.",
            "One example of {a} is {s}.",
            "{S} counts as {a}.",
            "We call {s} {a}.",
            "Among all things, {s} is {a}.",
            "The name for things like {s} is {o}.",
        ),
        "By kind, {s} is{art}",
        "The kind of {s}",
        ("What kind of thing is {s}?", "What is the kind of {s}?", "Of what kind is {s}?"),
        "What do we call things like {s}?",
        ("thing", "kind"),
    ),
    "material": Relation(
        (
            "{S} is made of {o}.",
            "The material of {s} is {o}.",
            "{S} is usually made of {o}.",
            "People make {s} out of {o}.",
            "You need {o} to make {s}.",
            "Out of {o}, people make {s}.",
            "With {o}, you can make {s}.",
            "To make {s}, you take {o}.",
        ),
        "The material of {s} is",
        "The material of {s}",
        ("What is {s} made of?", "What is the material of {s}?", "Of which material is {s} made?"),
        "What do people use to make {s}?",
        ("thing", "material"),
    ),
    "use": Relation(
        (
            "{S} is used for {o}.",
            "{S} is for {o}.",
            "The use of {s} is {o}.",
            "People use {s} for {o}.",
            "For {o}, you need {s}.",
            "For {o}, people take {s}.",
            "The purpose of {s} is {o}.",
            "{S} helps with {o}.",
        ),
        "The use of {s} is",
        "The use of {s}",
        ("What is {s} used for?", "What is the use of {s}?", "What is {s} for?"),
        "What do people do with {s}?",
        ("thing", "use"),
    ),
    "landmark": Relation(
        (
            "{S} can be seen in {o}.",
            "You can visit {s} in {o}.",
            "In {o} you can see {s}.",
            "To see {s}, travel to {o}.",
            "People go to {o} to see {s}.",
            "{O} is the place to see {s}.",
            "The place of {s} is {o}.",
            "{O} is famous for {s}.",
            "The country of {s} is {o}.",
        ),
        "You can visit {s} in",
        "The place of {s}",
        ("Where can you see {s}?", "Where can you visit {s}?", "Which country has {s}?"),
        "Where do you travel to see {s}?",
        ("landmark", "country"),
    ),
    "author": Relation(
        (
            "The author of {s} is {o}.",
            "{S} was written by {o}.",
            "{O} wrote {s}.",
            "{O} is the author of {s}.",
            "The writer of {s} was {o}.",
            "{S} is a work by {o}.",
            "It was {o} who wrote {s}.",
            "The name of the author of {s} is {o}.",
        ),
        "The author of {s} is",
        "The author of {s}",
        ("Who wrote {s}?", "Who is the author of {s}?", "Name the author of {s}."),
        "By whom was {s} written?",
        ("work", "author"),
    ),
    "symbol": Relation(
        (
            "The chemical symbol of {s} is {o}.",
            "The symbol of {s} is {o}.",
            "The symbol for {s} is {o}.",
            "Chemists write {o} for {s}.",
            "{O} is the chemical symbol of {s}.",
            "In chemistry, {s} is written {o}.",
            "{S} has the symbol {o}.",
            "The element {s} is written {o}.",
        ),
        "The chemical symbol of {s} is",
        "The chemical symbol of {s}",
        ("What is the chemical symbol of {s}?", "What is the symbol for {s}?", "Which symbol does {s} have?"),
        "How do chemists write {s}?",
        ("element", "symbol"),
    ),
    "next": Relation(
        (
            "After {s} comes {o}.",
            "{O} comes after {s}.",
            "{S} is followed by {o}.",
            "{O} follows {s}.",
            "Next after {s} is {o}.",
            "First comes {s}, then {o}.",
            "{S} comes just before {o}.",
            "The next after {s} is {o}.",
        ),
        "After {s} comes",
        "After {s}",
        ("What comes after {s}?", "What follows {s}?", "What is next after {s}?"),
        "By what is {s} followed?",
        ("this", "next"),
    ),
}

WRAPPERS = (
    "{name} learned that {x}",
    "{name} said that {x}",
    "{name} read that {x}",
    "{name} knows that {x}",
    "{name} wrote in a letter that {x}",
    "{name} told a friend that {x}",
    "{name} asked, and heard that {x}",
    "The teacher said that {x}",
    "The book says that {x}",
    "Everyone knows that {x}",
    "Remember that {x}",
    "It is true that {x}",
    "We learned that {x}",
    "Do not forget that {x}",
    "Many people know that {x}",
    "My grandmother told me that {x}",
)

MASS_NOUNS = ("furniture",)


def article(noun: str) -> str:
    """ "a" or "an", by sound; "" for a mass noun."""
    if noun in MASS_NOUNS:
        return ""
    if noun.startswith(("uni", "euro", "ukulele")):
        return "a"
    return "an" if noun[0].lower() in "aeiou" or noun.startswith("hour") else "a"


def capitalise(text: str) -> str:
    return text[:1].upper() + text[1:]


def fill(template: str, subject: str, obj: str, quote: str = "") -> str:
    """The template filled in; the object is put between `quote` marks if given."""
    art = article(obj)
    art = f" {art}" if art else ""
    o = f"{quote}{obj}{quote}"
    values = {"s": subject, "b": bare(subject), "o": o, "a": f"{art} {o}".strip()}
    if obj in TAKES_THE:
        values["o"] = f"the {o}"
    values |= {key.upper(): capitalise(value) for key, value in values.items()}
    return template.format(art=art, **values)


def object_last(template: str) -> bool:
    """Whether the subject comes before the object."""
    lower = template.lower()
    subject = max(lower.find("{s}"), lower.find("{b}"))
    return subject < max(lower.find("{o}"), lower.find("{a}"))


def embed(template: str) -> str:
    """The template as it reads after "Mia learned that"."""
    if template.startswith("{"):
        return template[0] + template[1].lower() + template[2:]
    return template[0].lower() + template[1:]
