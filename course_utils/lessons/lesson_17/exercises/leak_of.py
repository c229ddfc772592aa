"""Lesson 17, leak_of: bug hunt, how training knows it."""

import re

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.own.own_data import question_key
from course_utils.own.template_groups import templates_of


def leak_of(held_out, train):
    """How training knows one of the held-out questions: as "question", as "template", or "none"."""
    if {question_key(text) for text in held_out} & {question_key(text) for text in train}:
        return "question"
    templates = templates_of([*held_out, *train])  # together: what a name is shows in all of them
    inside, outside = templates[: len(held_out)], templates[len(held_out) :]
    return "template" if set(inside) & set(outside) else "none"


LEAK_INPUTS = [  # (held out, training)
    (
        ["Where is order A-17?", "Is the shop open?"],
        ["Hello, is the shop open", "What does a cable cost?", "May I pay later?"],
    ),
    (["May I pay later?", "Where is order A-17?"], ["What does a cable cost?", "Where is order R-2209?"]),
    (
        ["Nimbus keeps beeping at night."],
        ["Velo keeps beeping at night.", "Does my Nimbus work with a Velo?"],
    ),
    (
        ["Is the shop open?", "Who repairs a lamp?", "Where is my parcel?"],
        ["What does a cable cost?", "Is the shop far from here?"],
    ),
    (
        ["Where is order A-17?", "Where is order B-4?", "Is the shop open?"],
        ["Where is order X-1?", "please tell me, where is order B-4?", "May I pay later?"],
    ),
    (["May I pay later?"], ["May I pay later?"]),
    (["Please tell me, may I pay later"], ["May I pay later?"]),
    (["I was charged 30 euros twice."], ["I was charged 412 euros twice.", "Who repairs a lamp?"]),
    (["Does the lamp work with a cable today?"], ["Does the shop work with a cable today?"]),
    (["May I pay later?"], ["Where is order A-17?", "Where is order A-18?"]),
    (["Where is order A-17?", "Where is order A-18?"], ["May I pay later?"]),
    (["Is the shop open?", "is the shop open"], ["May I pay later?"]),
]


def _question_only(held_out, train):
    return leak_of(held_out, train).replace("template", "none")


def _digits_alone(held_out, train):
    if leak_of(held_out, train) == "question":
        return "question"
    inside, outside = (
        {re.sub(r"\d+", "#", question_key(text)) for text in texts} for texts in (held_out, train)
    )
    return "template" if inside & outside else "none"


def _cut_in_the_wrong_place(held_out, train):
    if leak_of(held_out, train) == "question":
        return "question"
    templates = templates_of([*held_out, *train])
    return "template" if set(templates[: len(train)]) & set(templates[len(train) :]) else "none"


def _overlapping_templates(held_out, train):
    if leak_of(held_out, train) == "question":
        return "question"
    templates = [set(template) for template in templates_of([*held_out, *train])]
    inside, outside = templates[: len(held_out)], templates[len(held_out) :]
    near = any(len(a & b) > 0.6 * len(a | b) for a in inside for b in outside)
    return "template" if near else "none"


def _each_side_by_itself(held_out, train):
    if leak_of(held_out, train) == "question":
        return "question"
    return "template" if set(templates_of(held_out)) & set(templates_of(train)) else "none"


def _template_first(held_out, train):
    templates = templates_of([*held_out, *train])
    if set(templates[: len(held_out)]) & set(templates[len(held_out) :]):
        return "template"
    return leak_of(held_out, train)


def _all_of_them(held_out, train):
    keys, templates = {question_key(text) for text in train}, templates_of([*held_out, *train])
    if all(question_key(text) in keys for text in held_out):
        return "question"
    outside = templates[len(held_out) :]
    return "template" if all(one in outside for one in templates[: len(held_out)]) else "none"


def _all_questions(held_out, train):
    if {question_key(text) for text in held_out} <= {question_key(text) for text in train}:
        return "question"
    return leak_of(held_out, train).replace("question", "template")


def _texts_as_they_are(held_out, train):
    if set(held_out) & set(train):
        return "question"
    found = leak_of(held_out, train)
    return "template" if found == "question" else found


def _repeats(*counted):
    """A wrong leak_of: treats a question or a template, whichever is counted, as known if it repeats."""

    def wrong(held_out, train):
        both = [*held_out, *train]
        keys = {"question": [question_key(text) for text in both], "template": templates_of(both)}
        for name in ("question", "template"):
            if name in counted:
                if len(set(keys[name])) < len(both):
                    return name
            elif leak_of(held_out, train) == name:
                return name
        return "none"

    return wrong


ONE_SIDE = (
    "A repetition on one side is not a leak. Find what the held-out questions have in common with training."
)
NOT_ALL = "One held-out question that training knows is a leak: not all need to be known."
LEAK_MISTAKES = [  # those that differ on more inputs come first
    (
        "The same question also has the same template. Test for the question first, or you never report it.",
        _template_first,
    ),
    (
        "You compare the questions as written. A courtesy, a capital or a question mark hides the same "
        "question: compare question_key of each.",
        _texts_as_they_are,
    ),
    (
        "You test only for the same question. If no question is on both sides, compare the results of "
        "templates_of, too.",
        _question_only,
    ),
    (
        "You mask only digits. Ids also have letters (A-17, R-2209), and names differ, too: compare the "
        "results of templates_of.",
        _digits_alone,
    ),
    (
        "You split the list of templates in the wrong place. It is in the order of the texts that you "
        "passed.",
        _cut_in_the_wrong_place,
    ),
    (
        "Nimbus and Velo fill the same place. templates_of also masks names, and needs all texts at once: "
        "call it once for both sides, and split its list.",
        _each_side_by_itself,
    ),
    (NOT_ALL, _all_of_them),
    (NOT_ALL, _all_questions),
    (
        'You never return "none". If no key and no template is on both sides, nothing leaks.',
        lambda held_out, train: leak_of(held_out, train).replace("none", "template"),
    ),
    (ONE_SIDE, _repeats("question", "template")),
    (ONE_SIDE, _repeats("template")),
    (ONE_SIDE, _repeats("question")),
    ("Two templates that share many words are different: compare them for equality.", _overlapping_templates),
    (
        'If nothing leaks, return the string "none". (A missing return also gives None.)',
        lambda held_out, train: {"none": None}.get(found := leak_of(held_out, train), found),
    ),
]


def _leak_in_loops(held_out, train):
    for text in held_out:
        if any(question_key(text) == question_key(other) for other in train):
            return "question"
    masked = templates_of(list(train) + list(held_out))
    for template in masked[len(train) :]:
        if template in masked[: len(train)]:
            return "template"
    return "none"


def _leak_by_counts(held_out, train):
    for name, of in (
        ("question", lambda texts: [question_key(text) for text in texts]),
        ("template", templates_of),
    ):
        keys = of([*held_out, *train])
        if len({*keys}) < len({*keys[: len(held_out)]}) + len({*keys[len(held_out) :]}):
            return name
    return "none"


EXERCISE = Exercise(
    name="leak_of",
    lesson="17",
    minutes=8,
    difficulty=2,
    reference=leak_of,
    check=compare(
        leak_of,
        LEAK_INPUTS,
        LEAK_MISTAKES,
        else_="First test whether a question_key is on both sides, then whether a template is.",
    ),
    wrong=[
        (lambda held_out, train: "leak", "First test"),
        (lambda held_out, train: None, "A missing return also gives"),
        (lambda held_out: "template", "should take the arguments"),
    ],
    right=[_leak_in_loops, _leak_by_counts],
    hints=(
        "Two comparisons of both sides: first the questions, whatever their spelling, then the templates "
        "that they were made from.",
        "Sets of question_key(text) for each side: do they intersect? Then templates_of([*held_out, "
        "*train]), split at len(held_out): do the sets of the two parts intersect?",
    ),
    then="It tests the split of your file below.",
)
