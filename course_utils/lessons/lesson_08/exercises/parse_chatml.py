"""Lesson 08's companion, parse_chatml: from text to messages."""

import re

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise


def parse_chatml(text):
    """Messages of ChatML text, as {"role", "content"}; the last may be unfinished."""
    messages = []
    for block in text.split("<|im_start|>")[1:]:
        role, _, rest = block.partition("\n")
        content, _, _ = rest.partition("<|im_end|>")
        messages.append({"role": role, "content": content})
    return messages


def _chatml(*messages):
    return "".join(f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in messages)


FIRST_TEXT = _chatml(
    ("system", "You are a helpful assistant."),
    ("user", "Write two lines.\nThe user waits."),
    ("assistant", "One.\nTwo."),
    ("user", "Is 1 < 2 | 3?"),
)
SECOND_TEXT = _chatml(("user", "Call it: user\n\nnow"), ("tool", ' {"user": 7}\n'), ("assistant", "")) + (
    "<|im_start|>user\nNothing follows.<|im_end|>"
)
UNFINISHED = (
    "An answer that is still being written has no <|im_end|> yet. Return its message with the content so "
    "far, even if it is empty."
)


def _parse(change):
    def wrong(text):
        return change(parse_chatml(text), text)

    return wrong


def _contents(change):
    return _parse(lambda messages, text: [m | {"content": change(m["content"])} for m in messages])


def _finished_only(text):
    return [
        {"role": role, "content": content}
        for role, content in re.findall(r"<\|im_start\|>(\w+)\n(.*?)<\|im_end\|>", text, re.DOTALL)
    ]


def _without_empty_turn(text):
    return [
        message for message in parse_chatml(text) if message["content"] or f"{message['role']}\n<" in text
    ]


def _ended_by_newline(text):
    blocks = [block.removesuffix("<|im_end|>\n") for block in text.split("<|im_start|>")[1:]]
    return [dict(zip(("role", "content"), block.split("\n", 1), strict=True)) for block in blocks]


def _by_pattern(text):
    pattern = r"<\|im_start\|>([^\n]*)\n(.*?)(?:<\|im_end\|>|\Z)"
    return [{"role": m[1], "content": m[2]} for m in re.finditer(pattern, text, re.DOTALL)]


def _by_find(text):
    messages, place = [], text.find("<|im_start|>")
    while place >= 0:
        line = text.index("\n", place)
        stop = text.find("<|im_end|>", line)
        role = text[place + len("<|im_start|>") : line]
        messages.append(dict(content=text[line + 1 : stop if stop >= 0 else None], role=role))
        place = text.find("<|im_start|>", line)
    return messages


MARKER_LEFT = "A marker is left in a role or content."
PARSE_MISTAKES = [
    (
        "A marker is left in a content: it ends before <|im_end|>, whether a newline follows or not.",
        _ended_by_newline,
    ),
    (MARKER_LEFT, _contents(lambda content: content + "<|im_end|>\n")),
    (MARKER_LEFT, _contents(lambda content: content + "<|im_end|>")),
    (
        MARKER_LEFT,
        _parse(lambda messages, text: [m | {"role": "<|im_start|>" + m["role"]} for m in messages]),
    ),
    (
        "The first message is empty: what comes before the first <|im_start|> is not a message.",
        _parse(lambda messages, text: [{"role": "", "content": ""}, *messages]),
    ),
    (
        "The first message is missing. Keep it, whatever its role.",
        _parse(lambda messages, text: messages[1:]),
    ),
    (
        "The system line is missing. It is a message like the others.",
        _parse(lambda messages, text: [m for m in messages if m["role"] != "system"]),
    ),
    (
        "You keep only the first line of a content. It ends at <|im_end|>, not at a newline.",
        _contents(lambda content: content.split("\n")[0]),
    ),
    (
        "Spaces at the ends of a content are part of it: the log has exactly what was said.",
        _contents(str.strip),
    ),
    (
        "Spaces at the ends of a content are part of it: the log has exactly what was said.",
        _contents(str.rstrip),
    ),
    ("The newline after <|im_end|> got into a content.", _contents(lambda content: content + "\n")),
    ("The newline before a content got into it.", _contents(lambda content: "\n" + content)),
    (
        "The roles differ: the role is the text between <|im_start|> and the first newline.",
        _parse(lambda messages, text: [m | {"role": "user"} for m in messages]),
    ),
    (
        "A message with an empty content is missing.",
        _parse(lambda messages, text: [m for m in messages if m["content"]]),
    ),
    (
        'Return a list of {"role": ..., "content": ...}.',
        _parse(lambda messages, text: [m["content"] for m in messages]),
    ),
    (
        'Return a list of {"role": ..., "content": ...}.',
        _parse(lambda messages, text: [(m["role"], m["content"]) for m in messages]),
    ),
]

EXERCISE = Exercise(
    name="parse_chatml",
    lesson="08m",
    minutes=6,
    difficulty=1,
    reference=parse_chatml,
    check=compare(
        parse_chatml,
        [(FIRST_TEXT,), (SECOND_TEXT,)],
        PARSE_MISTAKES,
        else_="Each message has a role, up to the first newline, and a content, up to <|im_end|>.",
        extremes=[
            (
                UNFINISHED,
                [(FIRST_TEXT + "<|im_start|>assistant\nOnly",), (FIRST_TEXT + "<|im_start|>assistant\n",)],
            )
        ],
    ),
    wrong=[
        (_finished_only, "still being written"),
        (_without_empty_turn, "still being written"),
        (_parse(lambda messages, text: None), "Is there a return"),
        (_parse(lambda messages, text: [m | {"end": True} for m in messages]), "should have the keys"),
        (_parse(lambda messages, text: messages[::-1]), "Each message has a role"),
    ],
    right=[_by_pattern, _by_find],
    hints=(
        "Every message begins with <|im_start|>: split there first, then parse each part.",
        "For each part after the first <|im_start|>: the role goes up to the first newline, the "
        "content from there up to <|im_end|>. str.partition splits once and accepts a missing separator.",
    ),
)
