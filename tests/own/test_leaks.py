"""Splits of synthetic files with many seeds: no question or, if split by template, template on both sides.

The maker of a file knows the question and the template of each turn. The test uses only this knowledge, and
nothing of the splitter.
"""

import random
from collections import Counter

import pytest

from course_utils.own import split
from course_utils.own.own_data import Conversation, DataError, Preference, leaks, refers_back
from course_utils.own.split import split_rows
from course_utils.own.template_groups import template_leaks
from course_utils.preferences import Pair

SEEDS = range(25)
THINGS = "lamp kettle router heater speaker charger drill mixer fridge toaster scanner printer".split()
VERBS = "repair return exchange insure rent deliver install clean recycle upgrade test wrap".split()
PLACES = "attic garage kitchen cellar office garden hallway balcony workshop stable".split()
NAMES = ("Oslo", "New Haven", "Ann Lee", "Zephyr", "Orca Pro", "Tallinn", "Dr Stone", "Kestrel X", "Lisbon")
SHORT = ("Allergens", "Opening hours", "Parking", "Wheelchair access", "Gift cards", "Wi-Fi")
FORMS = (  # <name>, <number>, <thing>: filled in by a program
    "Where is order <number> that <name> sent?",
    "<name> does not start since update <number>.",
    "Can the <thing> be sent to <name> before noon?",
    "How many of the <number> seats in <name> are free?",
    "My <thing> smells burnt after an hour of use.",
    "Who pays the customs for parcel <number> from abroad?",
    "Does <name> accept foreign students in winter?",
    "Which colours does the <thing> come in this year?",
    "I want <number> euros back for a broken window.",
    "Is <name> a good place to learn sailing?",
    "Please remove <name> from the mailing list of our club.",
    "When does the museum near <name> close on holidays?",
    "The <thing> rattles whenever somebody walks past.",
    "Book <number> nights with breakfast and a sea view.",
    "Is the guarantee of a <thing> valid on boats?",
    "The red light of our <thing> blinks twice.",
    "How heavy is one <thing> in its box?",
    "Somebody should pick up that old <thing> on Monday.",
    "Would left-handed children manage this <thing>?",
)
ASKED_ON = ("And how long does that take?", "What does it cost?", "Could you do it today instead?", "Why?")


def questions(rng, count=40):
    """Different questions by people; each has its own words."""
    made = [f"How do I {v} a {t} from the {p}?" for v in VERBS for t in THINGS for p in PLACES]
    return rng.sample(made, count - len(SHORT)) + [f"{short}?" for short in SHORT]


def spelled(rng, text):
    text = rng.choice([str, str.upper, str.lower, str.title])(text)
    text = rng.choice([text, text.rstrip("?."), text + "?", f" {text} ", text.replace(" ", "  ")])
    return "".join(chr(ord(c) + 0xFEE0) if c in "aeiou" and rng.random() < 0.02 else c for c in text)


BEFORE = ("Hello, ", "Hi there! ", "Good morning. ", "Please: ", "hey ", "Please tell me, ", "GOOD EVENING! ")
AFTER = (" Thanks!", ", please", " Thank you.", ", Thanks", " Please", " thanks", ". Thank You!")


def polite(rng, text):
    text = rng.choice(BEFORE) + text if rng.random() < 0.5 else text
    return text + rng.choice(AFTER) if rng.random() < 0.5 else text


def filled(rng, form):
    for what, choices in (("<name>", NAMES), ("<thing>", THINGS)):
        form = form.replace(what, rng.choice(choices))
    return form.replace("<number>", rng.choice([str(rng.randint(2, 9999)), f"R-{rng.randint(10, 999)}"]))


def of_people(dress):
    """Rows of one turn: each question several times, in different wordings."""

    def make(rng):
        asked = questions(rng)
        drawn = [rng.choice(asked) for _ in range(120)]
        return [[(question, None, dress(rng, question))] for question in drawn]

    return make


def of_a_program(only, dress=lambda rng, text: text):
    """Rows of one turn from forms with slots; the fillings may make the same text twice."""

    def make(rng):
        forms = [form for form in FORMS if any(slot in form for slot in only)]
        drawn = [(form, filled(rng, form)) for form in rng.choices(forms, k=150)]
        return [[(text, form, dress(rng, text))] for form, text in drawn]

    return make


def threads(rng):
    """One to three questions, greetings and follow-ups; the same questions alone and in threads."""
    asked, rows = questions(rng, 70), []
    for _ in range(130):
        row = [(None, None, "Hello there")] * (rng.random() < 0.2)
        first, second = rng.choice(asked), rng.choice(asked[: -len(SHORT)])
        for question in rng.choice([[first]] * 3 + [[first, second]]):
            row.append((question, None, polite(rng, spelled(rng, question))))
            row += [(None, None, rng.choice(ASKED_ON))] * (rng.random() < 0.3)
        rows.append(row)
    return rows


def threads_of_a_program(rng):
    """Forms and follow-ups; the same follow-ups occur in threads of all forms."""
    rows = []
    for form in rng.choices(FORMS, k=160):
        text = filled(rng, form)
        on = [(None, None, rng.choice(ASKED_ON)) for _ in range(rng.choice([0, 0, 1, 2]))]
        rows.append([(text, form, polite(rng, text)), *on])
    return rows


KINDS = {
    "spellings": of_people(spelled),
    "courtesies": of_people(polite),
    "courtesies and spellings": of_people(lambda rng, text: polite(rng, spelled(rng, text))),
    "names": of_a_program(["<name>"]),
    "numbers": of_a_program(["<number>"]),
    "words": of_a_program(["<thing>"]),
    "templates, politely": of_a_program(["<name>", "<number>", "<thing>"], polite),
    "threads": threads,
    "threads of a program": threads_of_a_program,
}


def rows_of(made, rng):
    """The turns as rows: most are conversations, some single turns are pairs."""
    rows, kinds = [], []
    for line, turns in enumerate(made, start=1):
        messages = [
            {"role": role, "content": text}
            for _, _, asked in turns
            for role, text in (("user", asked), ("assistant", f"Answer {line}."))
        ]
        kinds.append("pair" if len(turns) == 1 and rng.random() < 0.2 else "conversation")
        if kinds[-1] == "pair":
            rows.append(Preference(line, Pair(messages[:1], "Yes.", "No.")))
        else:
            rows.append(Conversation(line, messages))
    return rows, kinds


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_that_is_held_out_is_trained_on(kind):
    ways = Counter()
    for seed in SEEDS:
        rng = random.Random(seed)
        made = KINDS[kind](rng)
        drawn = split_rows(*rows_of(made, rng), seed)
        ways[drawn.by] += 1
        sides = ([made[n] for n in range(len(made)) if (n in drawn.held_out) == inside] for inside in (1, 0))
        held_out, trained = ([turn for turns in side for turn in turns] for side in sides)
        assert len(drawn.held_out) >= 5, seed
        both = {question for question, *_ in held_out} & {question for question, *_ in trained}
        assert both <= {None}, (seed, both)
        if drawn.by == "template":
            assert {form for _, form, _ in held_out} & {form for _, form, _ in trained} <= {None}, seed
    program = kind in ("names", "numbers", "words", "templates, politely", "threads of a program")
    assert not program or ways["template"] > 0.8 * len(SEEDS), ways


def talk(*turns, line=1):
    said = [("user", turn) for turn in turns] + [("assistant", "So.")]
    return Conversation(line, [{"role": role, "content": text} for role, text in said])


ON = "And how much does that cost?"


@pytest.mark.parametrize(
    "held_out, train, leaky",
    [
        (["Allergens?"], ["Allergens? Thanks!"], True),
        (["Allergens?"], ["Hello.", "Where are the nuts listed?", "allergens"], True),
        (["Where are the nuts listed?", "Allergens?"], ["Is the cake fresh today?", "Allergens?"], False),
        (["Is it open?", "Where is the red lamp?"], ["How are you?", "where is the red lamp"], True),
        (["Is tea sold?", ON], ["Is it new?", ON], False),
        (["Is tea sold?", ON], [ON], True),
        ([ON], ["Is tea sold?", ON], True),
        (["Is tea sold?", "Thanks."], ["Thanks."], False),
    ],
)
def test_a_later_turn_is_a_question_of_its_own_or_hangs_on_what_came_before(held_out, train, leaky):
    assert leaks([talk(*held_out)], [talk("Who?"), talk(*train)]) == [0] * leaky
    assert leaks([talk("Why?"), talk(*held_out)], []) == []


def test_turns_that_ask_on_are_known_by_their_words():
    on = "And the blue lamp?/but why?/Or tomorrow?/Then where?/So what?/What does it cost?/Which one?"
    assert all(map(refers_back, on.split("/")))
    assert not any(map(refers_back, ("Is Andorra far?", "Which lamp or fridge?", "Who sells items?")))


def test_a_template_is_known_by_names_that_both_sides_together_show():
    """Velo occurs capitalised inside a sentence only on one side, Nimbus only on the other."""
    held_out = [talk("Velo beeps loudly."), talk("Who repairs a Nimbus in winter?")]
    train = [talk("Nimbus beeps loudly."), talk("Who repairs a Velo when snow falls?")]
    assert template_leaks(held_out, train) == [0]
    assert template_leaks(train, held_out) == [0]
    assert template_leaks(held_out[:1], train[1:]) == []


@pytest.mark.parametrize("words, leaks_out", [(60, [0]), (61, [])])
def test_a_long_turn_with_one_word_exchanged_is_nobodys_template(words, leaks_out):
    said = [f"w{letter}{other}" for letter in "abcdefgh" for other in "abcdefgh"][:words]
    assert (
        template_leaks([talk(" ".join(said))], [talk(" ".join([*said[:30], "another", *said[31:]]))])
        == leaks_out
    )


def test_a_split_that_leaks_stops_the_run_and_says_where(monkeypatch):
    rows = [talk(f"Who sells {letter * 4} at {letter * 3}?", line=n) for n, letter in enumerate("abcdefghij")]
    rows += [talk("Where are the nuts listed?", line=50), talk("Hi, where are the nuts listed", line=70)]
    kinds = ["conversation"] * 11 + ["pair"]

    def last(keys, share, seed):
        return [len(keys) - 1] if len(keys) < 11 else [0]

    monkeypatch.setattr(split, "template_groups", lambda asked: list(range(len(asked))))
    with pytest.raises(
        DataError,
        match=r"^the split leaks: the pair of line 70 is held out, and training knows its question, from the "
        r"conversation of line 50. Nothing was trained. Write such rows in the same words, or take them out",
    ):
        split_rows(rows, kinds, 0, last)
