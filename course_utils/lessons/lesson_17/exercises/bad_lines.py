"""Lesson 17, bad_lines: bad lines."""

import json
import re
from numbers import Integral

import numpy as np

from course_utils.checks.compare import Mistake
from course_utils.checks.exercises import Exercise


def bad_lines(text):
    """Numbers, from 1, of the lines without a conversation in which the assistant speaks."""
    import json

    bad = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            messages = json.loads(line)["messages"]
            good = any(message["role"] == "assistant" for message in messages)
        except (ValueError, KeyError, TypeError):
            good = False
        if not good:
            bad.append(number)
    return bad


def _line(*roles):
    return json.dumps({"messages": [{"role": role, "content": "text"} for role in roles]})


_LINES = [
    _line("user", "assistant"),  # 1
    "",
    '{"messages": [',  # 3 does not parse
    _line("user"),  # 4 no assistant
    "   ",
    _line("system", "user", "assistant"),  # 6
    '["assistant"]',  # 7 not an object
    '{"text": "assistant"}',  # 8 no messages
    _line("user", "assistant", "user", "assistant"),  # 9
    '{"messages": [{"role": "user", "content": "Are you an assistant?"}]}',  # 10 no assistant turn
    '{"messages":[{"role":"user","content":"a"},{"content":"b","role":"assistant"}]}',  # 11 without spaces
    '{"messages": [{"role": "user", "content": "a"}], "by": {"role": "assistant"}}',  # 12 outside messages
    '{"messages": ["assistant"]}',  # 13 messages that are not objects
    "null",  # 14
    '{"messages": []}',  # 15
    '{"messages": null}',  # 16
    _line("user", "assistant", "user"),  # 17 ends with the user
    '{"messages": [{"role": "user", "content": "assistant"}]}',  # 18 no assistant turn
    _line("user", "bot"),  # 19 no assistant
    '{"messages": [{"role": "user", "content": "a\u2028b"}, {"role": "assistant", "content": "c"}]}',  # 20
]
_BAD = [3, 4, 7, 8, 10, 12, 13, 14, 15, 16, 18, 19]
STOPS = [  # (indices in _LINES, the message if they stop the function)
    (
        [2],
        "A line that does not parse stops your function. Catch json's error, count the line as bad and go "
        "on, so that all bad lines are reported at once.",
    ),
    ([3], "A conversation without an assistant stops your function. It is a bad line like any other."),
    ([14], "An empty list of messages stops your function. It is a bad line like any other."),
    (
        [6, 7, 12, 13, 15],
        "A JSON line that is not an object with messages, or whose messages are not objects, stops your "
        "function. It is a bad line, too.",
    ),
]


def _check_bad_lines(fn):
    def run(lines):
        found = fn("\n".join(lines))
        if found is None:
            raise Mistake("Return the list of line numbers. (None means that the return is missing.)")
        if not hasattr(found, "__iter__"):
            raise Mistake(f"Return a list of line numbers, not {found}.")
        found = list(found)
        if not all(isinstance(number, Integral) and not isinstance(number, bool) for number in found):
            raise Mistake(f"Return line numbers; your list is {found}.")
        return sorted(int(number) for number in found)

    if run([_LINES[0], _LINES[8]]) != []:
        raise Mistake("Both conversations are good, but your list is not empty.")
    for places, message in STOPS:
        try:
            run([_LINES[0], *(_LINES[place] for place in places)])
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise Mistake(f"{message} ({type(error).__name__})") from None
    found = run(_LINES)
    if found == _BAD[:1]:
        raise Mistake("You stop at the first bad line. Go on, so that all bad lines are reported at once.")
    if set(found) - set(_BAD) == {20, 21}:
        raise Mistake("splitlines() also splits at U+2028, which may occur in JSON: split at \\n.")
    if found == [number - 1 for number in _BAD]:
        raise Mistake("You count from 0. Editors count lines from 1.")
    skipped = [number - sum(not line.strip() for line in _LINES[:number]) for number in _BAD]
    if found == skipped:
        raise Mistake(
            "You number the lines without the blank ones. Blank lines are not bad, but they count: readers "
            "look for the line in an editor."
        )
    if set(found) - set(_BAD) == {2, 5}:
        raise Mistake("Blank lines are not bad: files often end with one.")
    if 4 not in found:
        raise Mistake("Line 4 has messages but no assistant turn: nothing can be learned from it.")
    if 10 not in found:
        raise Mistake("In line 10 the word assistant is in the user's text. Check the roles.")
    if 11 in found or 12 not in found:
        raise Mistake(
            "You search for text in the line: JSON allows any spaces and order, and the same words may occur "
            "outside the messages. Parse the line, then check the role of each message."
        )
    if 17 in found:
        raise Mistake(
            "In line 17 the assistant speaks, and then the user. Check all roles, not only the last."
        )
    if 18 not in found:
        raise Mistake(
            "In line 18 the user only says assistant. Check the role of a message, not its content."
        )
    if 19 not in found:
        raise Mistake("In line 19 the answer has the role bot. Only the role assistant counts.")
    if found != _BAD:
        raise Mistake(f"Lines {_BAD} are bad; you found {found}.")
    turned = ["", *reversed(_LINES), ""]
    bad = [len(turned) - number for number in reversed(_BAD)]
    if run(turned) != bad:
        raise Mistake(f"In reverse order, lines {bad} are bad; you found {run(turned)}.")


def _from_zero(text):
    return [number - 1 for number in bad_lines(text)]


def _without_blanks(text):
    return bad_lines("\n".join(line for line in text.split("\n") if line.strip()))


def _stops(text):
    return [
        number
        for number, line in enumerate(text.split("\n"), 1)
        if line.strip() and not any(m["role"] == "assistant" for m in json.loads(line)["messages"])
    ]


def _blank_is_bad(text):
    lines = text.split("\n")
    return sorted({*bad_lines(text), *(n for n, line in enumerate(lines, 1) if not line.strip())})


def _parse_only(text):
    bad = []
    for number, line in enumerate(text.split("\n"), 1):
        try:
            if line.strip():
                json.loads(line)["messages"]
        except (ValueError, KeyError, TypeError):
            bad.append(number)
    return bad


def _word_only(text):
    lines = enumerate(text.split("\n"), 1)
    return [number for number, line in lines if line.strip() and not _speaks(line, "assistant")]


def _role_as_text(text):
    """Searches for the role in the line without spaces."""
    return [
        number
        for number, line in enumerate(text.split("\n"), 1)
        if line.strip() and not _speaks(line, '"role": "assistant"')
    ]


def _speaks(line, part):
    try:
        return part in line and bool(json.loads(line)["messages"])
    except (ValueError, KeyError, TypeError):
        return False


def _any_role(text):
    bad = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip() and (number in bad_lines(text)) and not re.search(r'"role": ?"assistant"', line):
            bad.append(number)
    return bad


def _last_role(text):
    bad = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                if json.loads(line)["messages"][-1]["role"] != "assistant":
                    bad.append(number)
            except (ValueError, KeyError, TypeError):
                bad.append(number)
    return bad


def _bad_by(good):
    """A wrong bad_lines: the lines whose messages are not good(messages), or make it raise."""

    def wrong(text):
        bad = []
        for number, line in enumerate(text.split("\n"), 1):
            try:
                if line.strip() and not good(json.loads(line)["messages"]):
                    bad.append(number)
            except (ValueError, KeyError, TypeError, IndexError, AttributeError):
                bad.append(number)
        return bad

    return wrong


def _by_index(text):
    bad = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                bad.append(number)
                continue
            [message["role"] for message in row["messages"]].index("assistant")
    return bad


def _by_lines_of_python(text):
    return bad_lines("\n".join(text.splitlines()))


def _by_get(text):
    bad = set()
    for number, line in enumerate(text.split("\n"), 1):
        try:
            row = json.loads(line) if line.strip() else None
        except json.JSONDecodeError:
            bad.add(number)
            continue
        messages = row.get("messages") if isinstance(row, dict) else None
        roles = [m.get("role") for m in messages or [] if isinstance(m, dict)]
        if line.strip() and "assistant" not in roles:
            bad.add(number)
    return bad


def _with_any_error(text):
    bad = []
    for number, line in enumerate(text.split("\n")):
        if line.strip() != "":
            try:
                assert "assistant" in [message["role"] for message in json.loads(line)["messages"]]
            except Exception:
                bad.append(np.int64(number + 1))
    return np.array(bad)


def _no_object(text):
    bad = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            bad.append(number)
            continue
        if not any(message["role"] == "assistant" for message in row["messages"]):
            bad.append(number)
    return bad


EXERCISE = Exercise(
    name="bad_lines",
    lesson="17",
    minutes=10,
    difficulty=1,
    reference=bad_lines,
    check=_check_bad_lines,
    wrong=[
        (_from_zero, "You count from 0"),
        (_without_blanks, "without the blank ones"),
        (_stops, "does not parse stops your function"),
        (_no_object, "not an object with messages"),
        (_blank_is_bad, "Blank lines are not bad: files"),
        (_parse_only, "Line 4 has messages"),
        (_word_only, "Check the roles"),
        (lambda text: [1], "your list is not empty"),
        (_role_as_text, "You search for text in the line"),
        (_any_role, "You search for text in the line"),
        (lambda text: None, "Return the list of line numbers"),
        (lambda text: [str(n) for n in bad_lines(text)], "Return line numbers"),
        (lambda text: text.split("\n")[:1], "Return line numbers"),
        (lambda text: [(n, "bad") for n in bad_lines(text)] or [(0, "none")], "Return line numbers"),
        (lambda text: len(bad_lines(text)), "Return a list of line numbers"),
        (_last_role, "An empty list of messages stops"),
        (_bad_by(lambda messages: messages[-1]["role"] == "assistant"), "not only the last"),
        (_bad_by(lambda messages: any("assistant" in m.values() for m in messages)), "not its content"),
        (_by_index, "without an assistant stops"),
        (lambda text: bad_lines(text)[:1], "You stop at the first bad line"),
        (_by_lines_of_python, "splitlines() also splits at U+2028"),
        (
            _bad_by(lambda messages: any(m["role"] not in ("user", "system") for m in messages)),
            "the role bot",
        ),
    ],
    right=[_by_get, _with_any_error],
    hints=(
        "Go through the lines with their numbers. Skip the blank ones without losing count. Try to parse the "
        "line; any error makes it a bad line, and so does a conversation without an assistant.",
        "enumerate(text.split('\\n'), start=1); json.loads(line)['messages'] inside try, with except for "
        "ValueError (not JSON), KeyError (no messages) and TypeError (not an object); then "
        "any(message['role'] "
        "== 'assistant' for message in messages).",
    ),
)
