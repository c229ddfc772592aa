"""Lesson 09, fit_context: a full context."""

from collections import deque

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise, Mistake
from course_utils.methods.chat import fit_context


def _turns(*contents, system=None):
    roles = ("user", "assistant")
    spoken = [{"role": roles[i % 2], "content": text} for i, text in enumerate(contents)]
    return ([{"role": "system", "content": system}] if system else []) + spoken


def _letters(messages):
    return sum(len(message["content"]) for message in messages)


def _with_headers(messages):
    return 3 + sum(4 + len(message["content"]) for message in messages)


LONG = _turns("a" * 10, "b" * 5, "c" * 5, "d" * 5, "e" * 5, system="s" * 6)
CHATTY = _turns("a" * 9, "b" * 20, "c" * 7, "d" * 8, "e" * 3, "f" * 6, "g" * 4)
QUIET_FIRST = _turns("a" * 2, "b" * 3, "c" * 15, "d" * 9, "e" * 4, "f" * 6, "g" * 4, system="s" * 5)
CONVERSATIONS = [
    (_turns("aa", "b", "cc"), _letters, 20),
    (LONG, _letters, 30),
    (LONG, _letters, 36),  # it fits exactly
    (LONG, _letters, 21),  # fits exactly without the first exchange
    (LONG, _with_headers, 40),
    (CHATTY, _letters, 15),
    (CHATTY, _with_headers, 37),
    (QUIET_FIRST, _letters, 44),
    (QUIET_FIRST, _letters, 30),  # the first exchange would fit, but not with the second
    (_turns("a"), _letters, 5),
]


def _drop(fault):
    """A wrong fit_context: fault(system, turns) returns a shorter conversation, until it fits."""

    def wrong(messages, length, limit):
        while length(messages) > limit and len(messages) > 1:
            start = messages[0]["role"] == "system"
            messages = fault(messages[:start], messages[start:])
        return messages

    return wrong


def _at_least_once(messages, length, limit):
    start = messages[0]["role"] == "system"
    if len(messages) < start + 3:
        return messages
    return fit_context(messages[:start] + messages[start + 2 :], length, limit)


def _in_place(messages, length, limit):
    start = int(messages[0]["role"] == "system")
    while length(messages) > limit and len(messages) > start + 2:
        del messages[start : start + 2]
    return messages


def _system_not_counted(messages, length, limit):
    head = messages[:1] if messages[0]["role"] == "system" else []
    return head + fit_context(messages[len(head) :], length, limit)


def _first_stays(messages, length, limit):
    head, turns = messages[:1], messages[1:]
    while len(turns) > 2 and length(head + turns) > limit:
        turns = turns[2:]
    return head + turns


def _first_is_system(messages, length, limit):
    head, turns = messages[:1], messages[1:]
    while len(turns) > 1 and length(head + turns) > limit:
        turns = turns[2:]
    return head + turns


def _sum_of_single(messages, length, limit):
    return fit_context(messages, lambda turns: sum(length([turn]) for turn in turns), limit)


def _strictly(messages, length, limit):
    return fit_context(messages, lambda turns: length(turns) + 0.5, limit)


def _longest_first(messages, length, limit):
    head = messages[:1] if messages[0]["role"] == "system" else []
    turns = messages[len(head) :]
    while length(head + turns) > limit and len(turns) > 2:
        sizes = [_letters(turns[place : place + 2]) for place in range(0, len(turns) - 1, 2)]
        place = 2 * sizes.index(max(sizes))
        turns = turns[:place] + turns[place + 2 :]
    return head + turns


def _newest_first(messages, length, limit):
    head = messages[:1] if messages[0]["role"] == "system" else []
    turns = messages[len(head) :]
    while length(head + turns) > limit and len(turns) > 2:
        turns = turns[:-3] + turns[-1:]
    return head + turns


def _with_a_hole(messages, length, limit):
    head = messages[:1] if messages[0]["role"] == "system" else []
    turns = messages[len(head) :]
    kept = turns[-1:]
    for place in range(len(turns) - 3, -1, -2):
        if length(head + turns[place : place + 2] + kept) <= limit:
            kept = turns[place : place + 2] + kept
    return head + kept


def _only_once(messages, length, limit):
    start = messages[0]["role"] == "system"
    if length(messages) <= limit or len(messages) < start + 3:
        return messages
    return messages[:start] + messages[start + 2 :]


def _too_much(messages, length, limit):
    return fit_context(messages, length, limit if length(messages) <= limit else limit / 2)


def _nothing_left(messages, length, limit):
    kept = fit_context(messages, length, limit)
    return kept if length(kept) <= limit else kept[:-1]


def _refusing(messages, length, limit):
    kept = fit_context(messages, length, limit)
    if length(kept) > limit:
        raise ValueError("too long")
    return kept


def _by_places(messages, length, limit):
    start = int(messages[0]["role"] == "system")
    for place in range(start, len(messages), 2):
        kept = [*messages[:start], *messages[place:]]
        if length(kept) <= limit:
            return kept
    return [*messages[:start], messages[-1]]


def _by_queue(messages, length, limit):
    system = [message for message in messages if message["role"] == "system"]
    turns = deque(message for message in messages if message["role"] != "system")
    while length(system + list(turns)) > limit and len(turns) >= 3:
        turns.popleft()
        turns.popleft()
    return [dict(message) for message in (*system, *turns)]


ALONE = "The last turn alone is longer than the limit. Return it anyway: the encoding rejects it."
CONTEXT_MISTAKES = [
    (
        "The system line is missing. Keep it, and remove the oldest exchange.",
        _drop(lambda head, turns: (head + turns)[2:]),
    ),
    (
        "The system line is missing. Keep it, and remove the oldest exchange.",
        _drop(lambda head, turns: turns[2:]),
    ),
    ("You always keep the first message. It is a system line only if its role is system.", _first_stays),
    ("You always keep the first message. It is a system line only if its role is system.", _first_is_system),
    (
        "The conversation now begins with an answer without its question. Remove question and answer "
        "together.",
        _drop(lambda head, turns: head + turns[1:]),
    ),
    ("The last user turn is missing: it is the one to answer.", _drop(lambda head, turns: head + turns[:-2])),
    ("A conversation that already fits should not change.", _at_least_once),
    ("A conversation of exactly the limit fits: remove exchanges while the length is larger.", _strictly),
    (
        "Use the argument length: a conversation is longer than the letters of its contents.",
        lambda messages, length, limit: fit_context(messages, _letters, limit),
    ),
    ("The result is longer than the limit: remove as many exchanges as needed, not one.", _only_once),
    ("The result is longer than the limit: you removed nothing.", lambda messages, length, limit: messages),
    ("The result is longer than the limit. Do you count the system line?", _system_not_counted),
    ("You changed the conversation that was passed. Its owner still shows it: make a new list.", _in_place),
    ("Remove no more than needed, the oldest first.", _too_much),
    ("You remove the newest exchange first. Remove the oldest.", _newest_first),
    ("You remove the longest exchange first. Remove the oldest.", _longest_first),
    (
        "You leave out an exchange but keep an older one. Going back from the newest, stop at the first that "
        "does not fit.",
        _with_a_hole,
    ),
    (
        "You add up the lengths of single messages. A conversation also has tokens of its own: call length "
        "on the whole list.",
        _sum_of_single,
    ),
    (ALONE, _nothing_left),
    (ALONE, _refusing),
]

_compared = compare(
    fit_context,
    CONVERSATIONS,
    CONTEXT_MISTAKES,
    else_="Remove the oldest question with its answer while length(messages) is above the limit; keep "
    "the system line and the last turn.",
    extremes=[(ALONE, [(_turns("a" * 5, "b" * 5, "c" * 50), _letters, 20), (LONG, _letters, 8)])],
)


def _same_list(messages, length, limit):
    return messages if length(messages) <= limit else fit_context(messages, length, limit)


def _check_fit_context(fn):
    _compared(fn)
    messages = _turns("aa", "b", "cc")
    if fn(messages, _letters, 20) is messages:
        raise Mistake(
            "A conversation that fits comes back as the same list. Return a new one: the owner of the old "
            "one goes on adding turns to it."
        )


EXERCISE = Exercise(
    name="fit_context",
    lesson="09",
    minutes=10,
    difficulty=2,
    reference=fit_context,
    check=_check_fit_context,
    wrong=[
        *((wrong, message) for message, wrong in CONTEXT_MISTAKES),
        (_same_list, "the same list"),
        (lambda messages, length, limit: None, "Is there a return"),
        (lambda messages, length, limit: messages[-1:], "should have 3 entries"),
    ],
    right=[_by_places, _by_queue],
    hints=(
        "Split off the system line, if the first message is one. Of the rest, which two do you remove first? "
        "And which one must you never remove?",
        "head = the system line or nothing; turns = the rest. While length(head + turns) is above the "
        "limit and there are more than two turns, drop turns[0] and turns[1]. Return a new list.",
    ),
)
