"""Splits of synthetic files with many seeds: no question or, if split by template, template on both sides.

The maker of a file knows the question and the template of each turn. The test uses only this knowledge, and
nothing of the splitter. What the tool does not promise is not asked here: a translation that nobody named a
group of, and a typo beside no right spelling.
"""

import random
import re
import time
from collections import Counter

import pytest

from course_utils.own import split
from course_utils.own.both_sides import bare_letters, shared_with
from course_utils.own.own_data import (
    Conversation,
    DataError,
    Preference,
    different_answers,
    leaks,
    near_copies,
    question_groups,
    question_key,
    refers_back,
)
from course_utils.own.split import split_rows
from course_utils.own.template_groups import template_groups, template_leaks
from course_utils.preferences import Pair

SEEDS, MORE_SEEDS = range(20), range(20, 200)  # of each kind
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
TWO_WORDS = (  # a place for an adjective and a thing, and one for a name or a number
    "Do you ship a {} to {} by van?",
    "How much is a {} in {} this week?",
    "Is the {} from {} covered by the guarantee?",
    "Who repairs a {} in {} on a Sunday?",
    "My {} came from {} with a crack, what now?",
    "Can I collect my {} at the shop in {}?",
)
ADJECTIVES = "red blue green small large old new round".split()
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
BEFORE += ("Dear team, ", "Hi everyone, ", "Dear Sir or Madam,\n", "Greetings! ", "Hi Maria, ")
AFTER = (" Thanks!", ", please", " Thank you.", ", Thanks", " Please", " thanks", ". Thank You!")
AFTER += (" Thanks a lot, Maria", " Cheers, Tom", "\n\nKind regards\nMaria Sedlak", " Thanks in advance!")
AFTER += (" Many thanks", " asap", "\nSent from my iPhone", ". Thank you very much for your help!")


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


LETTERS = "abcdefghijklmnopqrstuvwxyz"


def mistyped(rng, text):
    """One letter of a word of four or more is left out, added, exchanged, or swapped with the next one."""
    word = rng.choice([match.span() for match in re.finditer("[A-Za-z]{4,}", text)])
    n = rng.randrange(word[0], word[1] - 1)
    letter = rng.choice(LETTERS)
    change = rng.choice(
        [text[n + 1 :], letter + text[n:], letter + text[n + 1 :], text[n + 1] + text[n] + text[n + 2 :]]
    )
    return text[:n] + change


def typos(rng):
    """Each question once as it should be, and then with a letter mistyped, and politely."""
    asked = questions(rng)
    drawn = [rng.choice(asked[: -len(SHORT)]) for _ in range(80)]
    right = [[(question, None, question)] for question in asked]
    return right + [[(question, None, polite(rng, mistyped(rng, question)))] for question in drawn]


ABROAD = {
    "de": ("Wie kann ich {thing} im {place} {verb}?", "Bitte, {thing}: {verb} im {place}, geht das?"),
    "fr": ("Comment faire {verb} avec {thing} au {place} ?", "Est-ce que {place}, {thing}, {verb} marche ?"),
}


def translations(rng):
    """A question in three languages, with other words in each; the group is its number."""
    rows = []
    for question in questions(rng):
        words = dict(zip(("verb", "thing", "place"), rng.sample(LETTERS, 3), strict=True))
        words = {name: f"{letter}{rng.randint(100, 999)}" for name, letter in words.items()}
        forms = [rng.choice(ABROAD[language]).format(**words) for language in ABROAD]
        rows += [[(question, None, text)] for text in (question, *forms)]
    return rng.sample(rows, len(rows))


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
    "typos": typos,
    "translations, as groups": translations,
    "shared answers": of_people(polite),
    "threads": threads,
    "threads of a program": threads_of_a_program,
}


def rows_of(made, rng, answers=9999, groups=False):
    """The turns as rows: most are conversations, some single turns are pairs.

    answers: how many different ones there are; groups: each row names its question as its group.
    """
    rows, kinds = [], []
    for line, turns in enumerate(made, start=1):
        messages = [
            {"role": role, "content": text}
            for _, _, asked in turns
            for role, text in (("user", asked), ("assistant", f"Answer {line % answers}."))
        ]
        group = turns[0][0] if groups else ""
        kinds.append("pair" if len(turns) == 1 and rng.random() < 0.2 else "conversation")
        if kinds[-1] == "pair":
            rows.append(Preference(line, Pair(messages[:1], messages[1]["content"], "No."), group=group))
        else:
            rows.append(Conversation(line, messages, group=group))
    return rows, kinds


def split_of(kind, seed):
    """(what was made, the rows, their split)."""
    rng = random.Random(seed)
    made = KINDS[kind](rng)
    options = {"shared answers": {"answers": 7}, "translations, as groups": {"groups": True}}.get(kind, {})
    rows, kinds = rows_of(made, rng, **options)
    return made, rows, split_rows(rows, kinds, seed)


def sides_of(items, held_out):
    return ([item for n, item in enumerate(items) if (n in held_out) == side] for side in (True, False))


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_that_is_held_out_is_trained_on(kind):
    no_leak(kind, SEEDS)


@pytest.mark.night
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_that_is_held_out_is_trained_on_in_many_files(kind):
    no_leak(kind, MORE_SEEDS)


def no_leak(kind, seeds):
    ways = Counter()
    for seed in seeds:
        made, rows, drawn = split_of(kind, seed)
        ways[drawn.by] += 1
        held_out, trained = (
            [turn for turns in side for turn in turns] for side in sides_of(made, drawn.held_out)
        )
        assert len(drawn.held_out) >= 5, seed
        both = {question for question, *_ in held_out} & {question for question, *_ in trained}
        assert both <= {None}, (seed, both)
        if drawn.by == "template":
            assert {form for _, form, _ in held_out} & {form for _, form, _ in trained} <= {None}, seed
        assert drawn.shared.same == [] and drawn.shared.count == len(drawn.held_out)
        judged, known = sides_of(rows, drawn.held_out)
        known = {row.answers[-1] for row in known}
        assert drawn.shared.answers == [n for n, row in enumerate(judged) if row.answers[-1] in known]
    program = kind in ("names", "numbers", "words", "templates, politely", "threads of a program")
    assert not program or ways["template"] > 0.8 * len(seeds), ways


def test_a_mistyped_letter_makes_no_other_question():
    """Also where the file is split by question, whose groups know nothing of templates."""
    for seed in SEEDS:
        made = typos(random.Random(seed))
        groups = question_groups([[text] for [(_, _, text)] in made])
        of_question = {(question, group) for [(question, _, _)], group in zip(made, groups, strict=True)}
        assert len(of_question) == len({question for question, _ in of_question})


@pytest.mark.parametrize(
    "one, other, joined",
    [
        ("Where is my order?", "Where is my ordr?", True),
        ("Where is my order?", "Where is my oredr?", True),
        ("Is the wi-fi free?", "Is the wifi free?", True),
        ("Where is order 17?", "Where is order 18?", False),
        ("Is plan A good?", "Is plan B good?", False),
        ("Is it far to Rome?", "Is it far to Bonn?", False),
    ],
)
def test_one_letter_of_a_word_of_four_and_no_figure_may_differ(one, other, joined):
    """Beside other questions, since rare words weigh more."""
    others = [[f"Who sells {letter * 5}?"] for letter in "abcdefgh"]
    groups = question_groups([[one], [other], *others])
    assert (groups[0] == groups[1]) == joined and len(set(groups)) == 10 - joined


@pytest.mark.parametrize("kind", ["spellings", "courtesies", "courtesies and spellings", "threads"])
def test_the_second_check_finds_what_a_splitter_without_groups_leaks(monkeypatch, kind):
    """Every row is its own group and the first check sees nothing: the letters stop the run."""
    monkeypatch.setattr(split, "template_groups", lambda asked: list(range(len(asked))))
    monkeypatch.setattr(split, "leaks", lambda held_out, train: [])
    monkeypatch.setattr(split, "template_leaks", lambda held_out, train: [])
    for seed in range(5):
        with pytest.raises(DataError, match="training knows its question, from the "):
            split_of(kind, seed)


def test_translations_without_a_group_are_not_recognised_and_the_note_says_so():
    """What is not promised: some file of twenty has one question on both sides."""
    leaked = 0
    for seed in SEEDS:
        rng = random.Random(seed)
        made = translations(rng)
        drawn = split_rows(*rows_of(made, rng), seed)
        held_out, trained = ({turns[0][0] for turns in side} for side in sides_of(made, drawn.held_out))
        leaked += bool(held_out & trained)
        assert "Not recognised: other words for it, another language, a long signature" in drawn.note
    assert leaked


def test_near_questions_are_those_that_comparing_all_with_all_names():
    """Dice by hand from the definition, for random texts of few letters."""
    rng = random.Random(3)
    texts = ["".join(rng.choices("abc ", k=rng.randint(3, 14))).strip() or "a" for _ in range(160)]
    texts += [mistyped(rng, "where are the nuts and the bread") for _ in range(40)]
    held_out, train = [talk(text) for text in texts[::2]], [talk(text) for text in texts[1::2]]

    def triples(row):
        text = row.asked[0].replace(" ", "")
        return {text[n : n + 3] for n in range(len(text) - 2)} or {text}

    expected = []
    for n, row in enumerate(held_out):
        same = any(row.asked[0].replace(" ", "") == other.asked[0].replace(" ", "") for other in train)
        pairs = ((triples(row), triples(other)) for other in train)
        if not same and any(len(a & b) / len(a | b) >= 0.7 for a, b in pairs):
            expected.append(n)
    assert shared_with(held_out, train).near == expected and 5 < len(expected) < 90


@pytest.mark.parametrize("question", ["Decaf?", "Where is my parcel", "Do not I get a bill"])
@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("after", AFTER)
def test_a_question_is_itself_with_any_courtesies(question, before, after):
    dressed = before + question + after
    assert question_key(dressed) == question_key(question) and bare_letters(dressed) == bare_letters(question)
    assert question_key("I don't know, can't you") == question_key("I do not know, cannot you?")


@pytest.mark.parametrize(
    "text, left",
    [
        ("Hello, where is it? Thanks!", "whereisit"),
        ("good morning. PLEASE tell me: where is it", "whereisit"),
        ("Ｗhere  is-it", "whereisit"),
        ("Hello there. Thank you", ""),
        ("\N{WAVING HAND SIGN}", ""),
        ("Is hi a word?", "ishiaword"),
        ("Allergens? Thanks!", "allergens"),
        ("Dear team, where is it? Kind regards, Ann Lee", "whereisit"),
        ("Is it open? Thanks for your help!", "isitopen"),
        ("Thanks, where is it?", "whereisit"),
        ("I don’t see it, please?", "idonotseeit"),
        ("की", "की"),
        ("do you have wheelchairs", "doyouhavewheelchairs"),
        ("could you please cancel my order", "couldyoupleasecancelmyorder"),
        ("you sell bikes", "yousellbikes"),
        ("is it open, thank  you Ann", "isitopen"),
        ("It came damaged You can reach me at ann.lee@mail.org", "itcamedamaged"),
        ("It came damaged.\nMy phone number is +49 30 123456.\nKind regards, Ann", "itcamedamaged"),
        ("Where is order 12345678?", "whereisorder12345678"),
        ("Can I reach you at a@b.org?", "canireachyouataborg"),
        ("My phone is broken", "myphoneisbroken"),
        ("\N{INVERTED QUESTION MARK}Cuándo abren?", "cuándoabren"),
        ('"Invoice" button missing', "invoicebuttonmissing"),
        ("#17 is late", "17islate"),
        ("Update my email: ann@mail.org", "updatemyemailannmailorg"),
        ("I lost my phone. Number 030 1234567", "ilostmyphonenumber0301234567"),
        ("Can you reset it? You can reach me at ann@mail.org", "canyouresetit"),
        ("How do I unlock my iPhone?", "howdoiunlockmyiphone"),
        ("What is the best time please", "whatisthebesttime"),
        ("How many please?", "howmany"),
    ],
)
def test_letters_of_a_question(text, left):
    assert bare_letters(text) == left


def test_a_question_with_a_way_to_reach_its_writer_is_the_same_question():
    """Found in somebody's support file: one was held out, the other trained on."""
    greeted, reached = (
        "Hi, my parcel was damaged Thanks, Jo White",
        "My parcel was damaged You can reach me at ",
    )
    for way in ("jo@mail.org", "+49 170 1234567.", "jo.white@mail.co.uk\nThanks, Jo"):
        rows = [talk(greeted), talk(reached + way)]
        assert shared_with(rows[:1], rows[1:]).same == [0] and leaks(rows[:1], rows[1:]) == [0]
        assert len(set(question_groups([row.asked for row in rows]))) == 1


def test_greeting_and_signature_make_no_other_answer():
    said = (
        "Hello Ann,\nwe open at nine.\nKind regards, Jo",
        "Dear Mr Lee,\nwe open at nine.\nBest wishes, Kim",
    )
    rows = [
        Conversation(n, [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}])
        for n, (asked, answer) in enumerate(zip(("Is it open?", "And on May 2?"), said, strict=True))
    ]
    assert shared_with(rows[:1], rows[1:]).answers == [0]


@pytest.mark.parametrize(
    "first, second",
    [
        ("Please cancel my order", "Hi, please cancel my order"),
        ("please close the ticket", "Please close the ticket, thanks"),
    ],
)
def test_a_request_with_please_is_one_question_with_and_without_a_greeting(first, second):
    assert question_key(first) == question_key(second) != question_key("Please reopen it")
    assert bare_letters(first) == bare_letters(second)


@pytest.mark.parametrize(
    "first, second",
    [("2+2?", "2*2?"), ("7-5", "7+5"), ("Is C# fast?", "Is C fast?"), ("खुला", "खाली"), ("a != b", "a == b")],
)
def test_signs_and_vowel_signs_make_another_question(first, second):
    assert question_key(first) != question_key(second)
    said = [talk(first), talk(second, line=2)]
    assert near_copies(said) == set() and different_answers(said) == []


def test_a_long_later_turn_and_a_first_sentence_are_nearly_a_question():
    asked = "My card was charged twice and I want it refunded, what do I do?"
    signed = "My parcel has not arrived yet.\n"
    for first, second in (
        (talk("I need some help", asked), talk("Quick question", asked)),
        (
            talk(signed + "Ann Lee\nHead of Sales\nSome Firm\nTel. 1"),
            talk(signed + "Jo White\nOslo\nFloor 3"),
        ),
    ):
        shared = shared_with([first], [second])
        assert (shared.same, shared.near) == ([], [0])


def test_what_is_shared_is_said_in_words():
    held_out = [talk("Where is the red lamp?"), talk("Is it open?"), talk("Any nuts in it?")]
    train = [talk("where is the red lamp, please"), talk("Is it opn?"), talk("Which way?")]
    shared = shared_with(held_out, train)
    assert (shared.same, shared.near, shared.answers) == ([0], [], [0, 1, 2])
    assert "1 of 3 held-out rows ask the same, 0 nearly the same" in shared.words
    assert "3 have an answer that stands there word for word" in shared.words


@pytest.mark.parametrize(
    "held_out, near",
    [
        ("Could you raise my mail quota to 10 GB?", [0]),
        ("Could you raise my mail quota to 12 GB, please? I am ill.", []),
        ("I am staff in the dean's office.", []),
    ],
)
def test_a_whole_sentence_that_asks_makes_a_question_nearly_the_same(held_out, near):
    train = [
        talk("Could you raise my mail quota to 10 GB? I am staff in the dean's office. It is for the exams.")
    ]
    assert shared_with([talk(held_out)], train).near == near


@pytest.mark.parametrize("unit", ["thanks so ", "hello ", "regards, ", "please tell me? "])
def test_a_line_full_of_courtesies_is_read_once(unit):
    """A text of a megabyte; looked through again for each of them it would take hours."""
    text = unit * (1_000_000 // len(unit))
    began = time.perf_counter()
    assert bare_letters(text) is not None and question_key(text) and time.perf_counter() - began < 20


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


def test_a_name_that_only_begins_sentences_is_in_its_template_too():
    """Lisbon is never capitalised inside a sentence, so it is no known name; Oslo is one."""
    held_out = [talk("Lisbon does not start since update 966.")]
    train = [talk("Oslo does not start since update 7."), talk("Who repairs an Oslo?")]
    assert template_leaks(held_out, train) == [0]
    groups = template_groups([row.asked for row in held_out + train])
    assert groups[0] == groups[1] != groups[2]


@pytest.mark.parametrize("words, leaks_out", [(60, [0]), (61, [])])
def test_a_long_turn_with_one_word_exchanged_is_nobodys_template(words, leaks_out):
    said = [f"w{letter}{other}" for letter in "abcdefgh" for other in "abcdefgh"][:words]
    assert (
        template_leaks([talk(" ".join(said))], [talk(" ".join([*said[:30], "another", *said[31:]]))])
        == leaks_out
    )


@pytest.mark.parametrize(
    "one, other, leaky",
    [
        ("Do you ship a red lamp by van?", "Do you ship a blue clock by van?", True),
        ("Do you ship a lamp by van?", "Do you ship a small clock by van?", True),
        ("Is every red lamp in stock?", "Is every blue clock in stock?", False),  # four words around them
        ("Do you ship a red lamp to a town?", "Do you ship a blue lamp to a farm?", False),  # two places
    ],
)
def test_a_place_filled_with_two_ordinary_words(one, other, leaky):
    assert template_leaks([talk(one)], [talk(other)]) == [0] * leaky
    groups = template_groups([[one], [other]])
    assert (groups[0] == groups[1]) == leaky


@pytest.mark.parametrize("lower", [False, True])
def test_a_file_with_two_words_in_a_place_is_split_by_template(lower):
    rng, made, rows = random.Random(0), [], []
    for line in range(160):
        form, (adjective, thing) = rng.choice(TWO_WORDS), (rng.choice(ADJECTIVES), rng.choice(THINGS))
        text = form.format(f"{adjective} {thing}", rng.randrange(9) if lower else rng.choice(NAMES))
        made.append(form)
        rows.append(talk(text.lower() if lower else text, line=line))
    drawn = split_rows(rows, ["conversation"] * len(rows), 0)
    judged, known = sides_of(made, drawn.held_out)
    assert drawn.by == "template" and len(drawn.held_out) > 10 and not {*judged} & {*known}


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
