"""Lesson 15, leaks: bug hunt, read the replay."""

import re

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.data import Fact
from course_utils.lessons.lesson_15.suspects import leaks
from course_utils.world.tables import bare

_PERU = Fact("capital", "Peru", "Lima", "held_out")
_CHAD = Fact("capital", "Chad", "N'Djamena", "held_out")
_HARE = Fact("young", "a hare", "leveret", "held_out")
_MONA = Fact("capital", "Mona", "St. Orly", "held_out")


def _chat(*texts):
    roles = ("user", "assistant")
    return [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)]


_REPLAY = [
    _chat("What is the capital of Peru?", "Lima"),
    _chat("Name a city.", "The capital of Peru is Lima, I think."),
    _chat("Lima is the capital of Peru. What is the capital of Peru?", "It says so above."),
    _chat("Which continent is Peru in?", "South America"),
    _chat("Who lives in Lima?", "I do not know."),
    _chat("What is the young of a hare called?", "Leveret"),
    _chat("Tell me about baby animals.", "A baby hare is called a leveret."),
    _chat("What is the capital of Mali?", "Bamako"),
    _chat("Peruvian food?", "Limabeans"),
    _chat("Is it in Chad?", "Yes.", "What is?", "n'djamena"),
    _chat("Hello.", "Peru, Lima"),
    _chat("Name Peru's capital, and the young of a hare.", "Lima, and leveret"),
    _chat("What animals live in Peru?", "I know no leveret there."),
    _chat("What is the capital of Mona?", "St. Orly"),
    _chat("Is Sto Orly in Mona?", "No."),
    _chat("Go on: the capital of Peru is", "Lima."),
]
LEAK_INPUTS = [
    (_REPLAY, [_PERU]),
    (_REPLAY, [_PERU, _HARE]),
    (_REPLAY[3:], [_PERU, _CHAD, _HARE]),
    (_REPLAY, [_CHAD]),
    (_REPLAY[9:], [_MONA]),
    (_REPLAY[:0], [_PERU]),
    (_REPLAY[6:], []),
]


def _stands(words, text):
    return re.search(rf"(?<!\w){re.escape(words.lower())}(?!\w)", text.lower()) is not None


def _all_of(messages):
    return " ".join(message["content"] for message in messages)


def _leaks_by(told, text_of=_all_of):
    """A leaks function: the indices whose text_of(messages) gives a fact away, by told(fact, text)."""
    return lambda conversations, facts: [
        place
        for place, messages in enumerate(conversations)
        if any(told(fact, text_of(messages)) for fact in facts)
    ]


def _both_stand(fact, text):
    return _stands(bare(fact.subject), text) and _stands(fact.object, text)


def _in_words(text, more=""):
    return set(re.findall(rf"[\w{more}]+", text.lower()))


def _listed_for_each_fact(conversations, facts):
    return [
        place
        for place, messages in enumerate(conversations)
        for fact in facts
        if _both_stand(fact, _all_of(messages))
    ]


def _listed_fact_by_fact(conversations, facts):
    return [place for fact in facts for place in leaks(conversations, [fact])]


def _of_any_facts(conversations, facts):
    return [
        place
        for place, text in enumerate(map(_all_of, conversations))
        if any(_stands(bare(fact.subject), text) for fact in facts)
        and any(_stands(fact.object, text) for fact in facts)
    ]


def _in_one_message(conversations, facts):
    return [
        place
        for place, messages in enumerate(conversations)
        if any(_both_stand(fact, message["content"]) for fact in facts for message in messages)
    ]


def _by_sets(conversations, facts):
    found = set()
    for fact in facts:
        for place, messages in enumerate(conversations):
            words = f" {re.sub('[^a-z0-9]+', ' ', _all_of(messages).lower())} "
            wanted = (re.sub("[^a-z0-9]+", " ", part.lower()) for part in (bare(fact.subject), fact.object))
            if all(f" {part} " in words for part in wanted):
                found.add(place)
    return sorted(found)


def _loop_over_messages(conversations, facts):
    places = []
    for place in range(len(conversations)):
        text = "\n".join(message["content"].casefold() for message in conversations[place])
        hits = [
            fact
            for fact in facts
            if re.search(r"\b" + re.escape(bare(fact.subject).casefold()) + r"\b", text)
            and re.search(r"\b" + re.escape(fact.object.casefold()) + r"\b", text)
        ]
        if hits:
            places.append(place)
    return tuple(places)


LEAK_MISTAKES = [
    (
        "You search only for the object. It may be the answer to other questions, too: the subject must also "
        "occur.",
        _leaks_by(lambda fact, text: _stands(fact.object, text)),
    ),
    (
        "You search only for the subject. Another fact about it gives nothing away: the object must also "
        "occur.",
        _leaks_by(lambda fact, text: _stands(bare(fact.subject), text)),
    ),
    (
        "You use only the first message as question and the last as answer. A fact may be in one of them, or "
        "in between.",
        lambda conversations, facts: [
            place
            for place, messages in enumerate(conversations)
            if any(
                _stands(bare(fact.subject), messages[0]["content"])
                and _stands(fact.object, messages[-1]["content"])
                for fact in facts
            )
        ],
    ),
    (
        "You search only the answers. The subject is mostly in the question.",
        _leaks_by(_both_stand, lambda messages: _all_of(messages[1::2])),
    ),
    (
        "You search only the user's messages. The object is mostly in the answer.",
        _leaks_by(_both_stand, lambda messages: _all_of(messages[::2])),
    ),
    (
        "You compare upper and lower case. A word at the start of an answer has a capital, elsewhere "
        "perhaps not.",
        _leaks_by(
            lambda fact, text: all(
                re.search(rf"(?<!\w){re.escape(part)}(?!\w)", text)
                for part in (bare(fact.subject), fact.object)
            )
        ),
    ),
    (
        "You match parts of words: Peru occurs in Peruvian. Compare whole words.",
        _leaks_by(
            lambda fact, text: all(p.lower() in text.lower() for p in (bare(fact.subject), fact.object))
        ),
    ),
    (
        "You search for the subject with its article. A baby hare is a hare, too: use bare(fact.subject).",
        _leaks_by(lambda fact, text: _stands(fact.subject, text) and _stands(fact.object, text)),
    ),
    *(
        ("A conversation that leaks two facts is in your list twice. List it once.", wrong)
        for wrong in (_listed_for_each_fact, _listed_fact_by_fact)
    ),
    (
        "You match the subject of one fact and the object of another. Both must belong to the same fact.",
        _of_any_facts,
    ),
    (
        "You require both in one message. The subject is mostly in the question, and the object in the "
        "answer: join the messages.",
        _in_one_message,
    ),
    (
        "You join the messages without a space: the last word of one and the first word of the next become "
        "one word.",
        _leaks_by(_both_stand, lambda messages: "".join(message["content"] for message in messages)),
    ),
    *(
        (
            "You compare single words, and a name can have several: St. Orly is then never found. Search for "
            "the whole name with re.search.",
            _leaks_by(
                lambda fact, text, more=more: (
                    {bare(fact.subject).lower(), fact.object.lower()} <= _in_words(text, more)
                )
            ),
        )
        for more in ("", "'")
    ),
    (
        "You search only the first two messages. A conversation can be longer.",
        _leaks_by(_both_stand, lambda messages: _all_of(messages[:2])),
    ),
    (
        "split() leaves commas and full stops on the words, and splits names of two words. Use re.search.",
        _leaks_by(
            lambda fact, text: {bare(fact.subject).lower(), fact.object.lower()} <= set(text.lower().split())
        ),
    ),
    (
        "A full stop in a name matches any character in your pattern: use re.escape(words).",
        _leaks_by(
            lambda fact, text: all(
                re.search(rf"(?<!\w){part}(?!\w)", text, re.I) for part in (bare(fact.subject), fact.object)
            )
        ),
    ),
    (
        "Return the indices that leak, not those that may stay.",
        lambda conversations, facts: [
            n for n in range(len(conversations)) if n not in leaks(conversations, facts)
        ],
    ),
]

EXERCISE = Exercise(
    name="leaks",
    lesson="15",
    minutes=8,
    difficulty=2,
    reference=leaks,
    check=compare(
        leaks,
        LEAK_INPUTS,
        LEAK_MISTAKES,
        else_="A conversation leaks if both subject and object occur in it.",
        any_list=True,
    ),
    wrong=[
        (lambda conversations, facts: None, "Is there a return"),
        (lambda conversations, facts: len(leaks(conversations, facts)), "should be a list"),
        (lambda conversations, facts: [conversations[n] for n in leaks(conversations, facts)], "result[0]"),
    ],
    right=[_loop_over_messages, _by_sets, lambda conversations, facts: set(leaks(conversations, facts))],
    then="The table below shows what your function finds in the replays.",
    hints=(
        "In which forms can a fact occur in a replay? As a question, as a statement, in another order. What "
        "must always be there?",
        "Join the contents of a conversation. Search for bare(fact.subject) and fact.object as whole words, "
        "ignoring case: re.search(rf'(?<!\\w){re.escape(words)}(?!\\w)', text, re.I).",
    ),
)
