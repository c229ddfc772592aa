"""Exercises of lesson 17: bad lines, truncation, word overlap, a split and its leaks, an interval."""

from __future__ import annotations

import json
import math
import random
import re
import statistics
from collections import Counter
from numbers import Integral

import numpy as np
import torch

from course_utils.checks.compare import Mistake, compare
from course_utils.checks.exercises import Exercise
from course_utils.checks.salted import Salted
from course_utils.data import Example
from course_utils.evaluation import wilson_interval
from course_utils.lessons.lesson_17.own_data import question_key
from course_utils.lessons.lesson_17.parts import held_out_rows
from course_utils.lessons.lesson_17.template_groups import templates_of


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
    '["assistant"]',  # 7 no object
    '{"text": "assistant"}',  # 8 no messages
    _line("user", "assistant", "user", "assistant"),  # 9
    '{"messages": [{"role": "user", "content": "Are you an assistant?"}]}',  # 10 no assistant's turn
    '{"messages":[{"role":"user","content":"a"},{"content":"b","role":"assistant"}]}',  # 11 without spaces
    '{"messages": [{"role": "user", "content": "a"}], "by": {"role": "assistant"}}',  # 12 not in messages
    '{"messages": ["assistant"]}',  # 13 messages that are no objects
    "null",  # 14
    '{"messages": []}',  # 15
    '{"messages": null}',  # 16
    _line("user", "assistant", "user"),  # 17 the user has the last word
    '{"messages": [{"role": "user", "content": "assistant"}]}',  # 18 no assistant's turn
    '{"messages": [{"role": "user", "content": "a\u2028b"}, {"role": "assistant", "content": "c"}]}',  # 19
]
_BAD = [3, 4, 7, 8, 10, 12, 13, 14, 15, 16, 18]
STOPS = [  # (places in _LINES, what is said where they stop the function)
    (
        [2],
        "A line that does not parse stops your function. Catch json's error, count the line as bad and go "
        "on: one wants to hear of all bad lines at once.",
    ),
    ([3], "A conversation without an assistant stops your function. It is a bad line like any other."),
    ([14], "An empty list of messages stops your function. It is a bad line like any other."),
    (
        [6, 7, 12, 13, 15],
        "A line that is JSON but no object with messages, or whose messages are no objects, stops your "
        "function. It is a bad line too.",
    ),
]


def _check_bad_lines(fn):
    def run(lines):
        found = fn("\n".join(lines))
        if found is None:
            raise Mistake("Return the list of line numbers. (None means that a return is missing.)")
        if not hasattr(found, "__iter__"):
            raise Mistake(f"Return a list of line numbers; you return {found}.")
        found = list(found)
        if not all(isinstance(number, Integral) and not isinstance(number, bool) for number in found):
            raise Mistake(f"Line numbers, please; your list is {found}.")
        return sorted(int(number) for number in found)

    if run([_LINES[0], _LINES[8]]) != []:
        raise Mistake("Two good conversations, and your list is not empty.")
    for places, message in STOPS:
        try:
            run([_LINES[0], *(_LINES[place] for place in places)])
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise Mistake(f"{message} ({type(error).__name__})") from None
    found = run(_LINES)
    if found == _BAD[:1]:
        raise Mistake("You stop at the first bad line. Go on: one wants to hear of all bad lines at once.")
    if set(found) - set(_BAD) == {19, 20}:
        raise Mistake("splitlines() also splits at U+2028, which may stand in a JSON text: split at \\n.")
    if found == [number - 1 for number in _BAD]:
        raise Mistake("You count from 0. Editors count lines from 1.")
    skipped = [number - sum(not line.strip() for line in _LINES[:number]) for number in _BAD]
    if found == skipped:
        raise Mistake(
            "You number the lines that are left without the blank ones. Blank lines are fine, and "
            "they count: the reader will look for the line in an editor."
        )
    if set(found) - set(_BAD) == {2, 5}:
        raise Mistake("Blank lines are no fault: files often end with one.")
    if 4 not in found:
        raise Mistake("Line 4 has messages but no assistant's turn: nothing can be learnt from it.")
    if 10 not in found:
        raise Mistake("In line 10 the word assistant stands in the user's text. Look at the roles.")
    if 11 in found or 12 not in found:
        raise Mistake(
            "You look for a text in the line: spaces and order are free in JSON, and the same words may "
            "stand outside the messages. Parse the line, then look at the role of each message."
        )
    if 17 in found:
        raise Mistake(
            "In line 17 the assistant speaks, and then the user. Look at all roles, not at the last."
        )
    if 18 not in found:
        raise Mistake(
            "In line 18 the user says assistant, and nothing else. Look at the role of a message, not at its "
            "content."
        )
    if found != _BAD:
        raise Mistake(f"Of the lines tried, {_BAD} are bad; you found {found}.")
    turned = ["", *reversed(_LINES), ""]
    bad = [len(turned) - number for number in reversed(_BAD)]
    if run(turned) != bad:
        raise Mistake(f"Of the same lines in reverse order {bad} are bad; you found {run(turned)}.")


def weighted_overlap(a, b, weight):
    """Weight of the words in both sets over the weight of the words in either; weight: {word: number}."""
    either = sum(weight[word] for word in a | b)
    return sum(weight[word] for word in a & b) / either


def _two_sets():
    """Words of two texts with weights: a few, many drawn ones, one text in the other, nothing in common."""
    weight = {"what": 0.5, "is": 0.5, "capital": 1.0, "currency": 1.0, "peru": 4.0, "cuba": 3.0}
    question = {"what", "is", "capital", "peru"}
    yield question, {"what", "is", "capital", "cuba"}, weight
    yield question, question | {"currency"}, weight
    yield {"peru"}, {"cuba"}, weight
    drawn = {f"word {i}": 0.1 + 3 * random.random() for i in range(30)}
    yield set(random.sample(list(drawn), 18)), set(random.sample(list(drawn), 15)), drawn


def _weigh(fault):
    """A wrong weighted_overlap: fault(weights of both, of either, of a, of b)."""

    def wrong(a, b, weight):
        return fault(*(sum(weight[word] for word in words) for words in (a & b, a | b, a, b)))

    return wrong


def _overlap_in_place(a, b, weight):
    common = sum(weight[word] for word in a & b)
    a |= b
    return common / sum(weight[word] for word in a)


def _overlap_by_subtraction(a, b, weight):
    common = math.fsum(weight[word] for word in a if word in b)
    return common / (math.fsum(map(weight.get, a)) + math.fsum(map(weight.get, b)) - common)


def _overlap_with_tensors(a, b, weight):
    names = list(weight)
    left, right = (torch.tensor([name in words for name in names]) for words in (a, b))
    weights = torch.tensor([weight[name] for name in names])
    return weights[left & right].sum() / weights[left | right].sum()


ONE_SET = (
    "You divide by the weight of one of the sets. Divide by that of the words in either, or a "
    "short text that is a part of a long one counts as the same."
)
OVERLAP_MISTAKES = [
    (
        "You count words. Each counts with its weight: that of Peru is what tells the two apart.",
        lambda a, b, weight: len(a & b) / len(a | b),
    ),
    (ONE_SET, _weigh(lambda both, either, a, b: both / a)),
    (ONE_SET, _weigh(lambda both, either, a, b: both / b)),
    (ONE_SET, _weigh(lambda both, either, a, b: both / min(a, b))),
    (ONE_SET, _weigh(lambda both, either, a, b: both / max(a, b))),
    (
        "The words that are in both are counted twice below. Take each word of the union once.",
        _weigh(lambda both, either, a, b: both / (a + b)),
    ),
    (
        "This is Dice's measure, twice the common weight over the sum of both. It is larger than "
        "the overlap; 0.8 would mean something else.",
        _weigh(lambda both, either, a, b: 2 * both / (a + b)),
    ),
    (
        "a ^ b has the words of one set alone. The words in either are a | b.",
        _weigh(lambda both, either, a, b: both / (either - both)),
    ),
    (
        "This is the weight of the common words. Divide it by that of the words in either.",
        _weigh(lambda both, either, a, b: both),
    ),
    (
        "This is how far the two are apart. The overlap is 1 where they are the same.",
        _weigh(lambda both, either, a, b: 1 - both / either),
    ),
    (
        "You divide by the weight of all words there are. Only those of the two texts count.",
        lambda a, b, weight: sum(weight[word] for word in a & b) / sum(weight.values()),
    ),
]


def _keys(rows, questions, salt=0):
    """The key of each row; a set of them has another order under another salt."""
    rng = random.Random(1)
    return [Salted(f"question {rng.randrange(questions)}", salt) for _ in range(rows)]


def _check_held_out_rows(fn):
    for rows, questions, share in [(200, 40, 0.2), (150, 50, 0.4)]:
        keys = _keys(rows, questions)
        held = {seed: _positions(fn(list(keys), share, seed), rows) for seed in (0, 1)}
        _expect_whole_questions(held[0], keys, share)
        # sets of the same keys have another order under another salt
        if any(_positions(fn(_keys(rows, questions, salt), share, 0), rows) != held[0] for salt in (0, 1, 2)):
            raise Mistake(
                "Two calls with one seed hold out different rows. Draw with random.Random(seed), and from "
                "a list in a fixed order: the order of a set differs from one start of Python to the "
                "next."
            )
        if held[0] == held[1]:
            raise Mistake(
                "Two seeds hold out the same rows: draw the questions at random. A file is often sorted."
            )
    keys = [Salted(f"question {n}", 0) for n in range(60)] + [Salted("hello", 0)] * 90
    held = [_positions(fn(list(keys), 0.2, seed), len(keys)) for seed in range(20)]
    if any(found[-1:] > [59] for found in held):
        raise Mistake(
            "A question with most of the rows is held out. Where a question has more rows than there is room "
            "for, leave it in training and try the next one."
        )
    for found in held:
        _expect_whole_questions(found, keys, 0.2)


def _positions(found, rows):
    if found is None:
        raise Mistake("Return the positions to hold out. (None means that a return is missing.)")
    found = list(found)
    if any(isinstance(position, str) for position in found):
        raise Mistake("These are questions. Return the positions of their rows.")
    if len(found) == rows and {int(position) for position in found} == {0, 1}:
        raise Mistake("This is a mask, a truth value for each row. Return the positions, a list of numbers.")
    found = sorted(int(position) for position in found)
    if found and (found[0] < 0 or found[-1] >= rows):
        raise Mistake(f"Positions go from 0 to {rows - 1}; yours from {found[0]} to {found[-1]}.")
    if len(set(found)) < len(found):
        raise Mistake("A row is held out twice.")
    return found


def _expect_whole_questions(found, keys, share):
    inside = {keys[position] for position in found}
    if any(key in inside and position not in found for position, key in enumerate(keys)):
        raise Mistake(
            "A question is on both sides: some of its rows are held out and others are trained on. "
            "Draw questions, not rows, and take all of a question's rows."
        )
    if len(found) > 1.5 * share * len(keys) or len(found) == len(keys):
        raise Mistake(
            f"{len(found)} of {len(keys)} rows are held out; about {share * len(keys):.0f} were asked for."
        )
    if len(found) < 0.75 * share * len(keys):
        raise Mistake(
            f"Only {len(found)} of {len(keys)} rows are held out; about {share * len(keys):.0f} were asked "
            "for. The share is of the rows; if a question has too many, try the next one."
        )


def cut_answers(examples, limit):
    """(share of the target tokens beyond the first `limit` tokens, examples that keep no target at all)."""
    kept = [sum(label != -100 for label in example.labels[:limit]) for example in examples]
    targets = [sum(label != -100 for label in example.labels) for example in examples]
    return 1 - sum(kept) / sum(targets), sum(count == 0 for count in kept)


def _example(*parts):
    """Parts: positive numbers are prompt tokens, negative ones targets."""
    labels = [label for part in parts for label in ([-100] * part if part > 0 else [7] * -part)]
    return Example([7] * len(labels), labels)


TRUNCATED = [
    ([_example(6, -4), _example(10, -4), _example(10, -6, 2), _example(12, -5), _example(7, -2)], 12),
    ([_example(3, -9), _example(8, -1), _example(1, -2, 3, -4)], 5),
    ([Example([1, 2, 3, 4, 5], [-100, -100, 0, 0, 9]), _example(2, -7), _example(4, -3)], 4),
    ([_example(2, -3), _example(1, -1)], 8),
]


def _counts(examples, limit, counts=lambda label: label != -100):
    """Targets of each example, and those among its first `limit` tokens."""
    labels = [example.labels for example in examples]
    return [sum(map(counts, row)) for row in labels], [sum(map(counts, row[:limit])) for row in labels]


def _cut(fault, **options):
    """A wrong cut_answers: fault(targets, kept), both one number an example."""
    return lambda examples, limit: fault(*_counts(examples, limit, **options))


def _from_the_left(examples, limit):
    return cut_answers([Example(e.input_ids, e.labels[::-1]) for e in examples], limit)


def _all_tokens(examples, limit):
    lengths = [len(example.labels) for example in examples]
    return sum(max(0, n - limit) for n in lengths) / sum(lengths), cut_answers(examples, limit)[1]


def _cut_in_place(examples, limit):
    result = cut_answers(examples, limit)
    for example in examples:
        del example.labels[limit:]
    return result


def _cut_with_tensors(examples, limit):
    rows = [torch.tensor(example.labels) != -100 for example in examples]
    beyond = torch.stack([row[limit:].sum() for row in rows])
    targets = torch.stack([row.sum() for row in rows])
    return beyond.sum() / targets.sum(), (beyond == targets).sum()


def _cut_in_a_loop(examples, limit):
    cut = total = empty = 0
    for example in examples:
        places = [place for place, label in enumerate(example.labels) if label != -100]
        cut += sum(place >= limit for place in places)
        total += len(places)
        empty += all(place >= limit for place in places)
    return [np.float64(cut) / total, empty]


CUT_MISTAKES = [
    (
        "This is the share that is kept. Return the one that is cut.",
        _cut(lambda targets, kept: (sum(kept) / sum(targets), kept.count(0))),
    ),
    (
        "You count all tokens. The loss is on the targets alone: count the labels that are not -100.",
        _all_tokens,
    ),
    (
        "This is the mean of the examples' shares. Add up the tokens first: a long answer has more "
        "of the loss.",
        _cut(
            lambda targets, kept: (
                sum(1 - k / t for t, k in zip(targets, kept, strict=True)) / len(kept),
                kept.count(0),
            )
        ),
    ),
    (
        "This is the number of targets that are cut. Return the share.",
        _cut(lambda targets, kept: (sum(targets) - sum(kept), kept.count(0))),
    ),
    ("Here the end of each sequence is kept. Truncation keeps the start of a sequence.", _from_the_left),
    (
        "You count the examples that lose a target. Count those that keep none.",
        _cut(
            lambda targets, kept: (
                1 - sum(kept) / sum(targets),
                sum(k < t for t, k in zip(targets, kept, strict=True)),
            )
        ),
    ),
    (
        "You count the examples that keep a target. Count those that keep none.",
        _cut(lambda targets, kept: (1 - sum(kept) / sum(targets), len(kept) - kept.count(0))),
    ),
    (
        "Label 0 is a target like any other. Only -100 is none.",
        _cut(
            lambda targets, kept: (1 - sum(kept) / sum(targets), kept.count(0)),
            counts=lambda label: label > 0,
        ),
    ),
    ("The share comes first, the number second.", lambda examples, limit: cut_answers(examples, limit)[::-1]),
    (
        "This is the share in percent. Return it as a number from 0 to 1.",
        _cut(lambda targets, kept: (100 * (1 - sum(kept) / sum(targets)), kept.count(0))),
    ),
    (
        "One token too few is kept: the first `limit` tokens are labels[:limit].",
        lambda examples, limit: cut_answers(examples, limit - 1),
    ),
    (
        "One token too many is kept: the first `limit` tokens are labels[:limit].",
        lambda examples, limit: cut_answers(examples, limit + 1),
    ),
    (
        "The second is a share of the examples. Return their number.",
        _cut(lambda targets, kept: (1 - sum(kept) / sum(targets), kept.count(0) / len(kept))),
    ),
]


WILSON_INPUTS = [(20, 20), (15, 50), (0, 7), (3, 1000), (1, 2)]


def _wilson(fault):
    """A wrong wilson_interval: fault(p, n, z) gives its middle and its half."""

    def wrong(right, count):
        middle, half = fault(right / count, count, 1.96)
        return middle - half, middle + half

    return wrong


def _root(p, n, z):
    return math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))


def _usual(right, count):
    p = right / count
    half = 1.96 * math.sqrt(p * (1 - p) / count)
    return max(p - half, 0.0), min(p + half, 1.0)


def _exact_z(right, count):
    z = statistics.NormalDist().inv_cdf(0.975)
    half = z * np.sqrt(right * (count - right) / count + z * z / 4)
    return [(right + z * z / 2 + sign * half) / (count + z * z) for sign in (-1, 1)]


def _by_roots(right, count):
    """The two p0 at which (p - p0) ** 2 is z ** 2 p0 (1 - p0) / n."""
    z, p = 1.96, torch.tensor(right / count, dtype=torch.float64)
    a, b, c = 1 + z**2 / count, -(2 * p + z**2 / count), p**2
    root = (b**2 - 4 * a * c).sqrt()
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


SURE = (
    "20 of 20 gives an interval from 1 to 1: nobody can be so sure after 20 questions. That is "
    "the usual formula, p +- z sqrt(p (1 - p) / n); Wilson's has more terms."
)
BY_TWO_N = "In Python a / 2 * n multiplies by n: write a / (2 * n), and so in the root."


def _slips(middle, root):
    """z^2 / 2n or z^2 / 4n^2, or both, written without brackets."""

    def fault(p, n, z):
        first = z**2 / 2 * n if middle else z**2 / (2 * n)
        last = z**2 / 4 * n**2 if root else z**2 / (4 * n**2)
        return (p + first) / (1 + z**2 / n), z * math.sqrt(p * (1 - p) / n + last) / (1 + z**2 / n)

    return _wilson(fault)


def _undivided(right, count):
    z, half = 1.96, 1.96 * math.sqrt(right * (1 - right) / count + 1.96**2 / (4 * count**2))
    return [(right + z**2 / (2 * count) + sign * half) / (1 + z**2 / count) for sign in (-1, 1)]


WILSON_MISTAKES = [
    (BY_TWO_N, _slips(True, False)),
    (BY_TWO_N, _slips(False, True)),
    (BY_TWO_N, _slips(True, True)),
    ("p is the share of right answers, right / count.", _undivided),
    (
        "Return shares from 0 to 1, not percent.",
        lambda right, count: tuple(100 * end for end in wilson_interval(right, count)),
    ),
    (SURE, _wilson(lambda p, n, z: (p, z * math.sqrt(p * (1 - p) / n)))),
    (SURE, _usual),
    ("Low and high have changed places.", lambda right, count: wilson_interval(right, count)[::-1]),
    (
        "The division by 1 + z^2 / n is missing.",
        _wilson(lambda p, n, z: (p + z**2 / (2 * n), z * _root(p, n, z))),
    ),
    (
        "Only the middle is divided by 1 + z^2 / n. The root is divided too.",
        _wilson(lambda p, n, z: ((p + z**2 / (2 * n)) / (1 + z**2 / n), z * _root(p, n, z))),
    ),
    (
        "The z before the square root is missing: this is one standard error, not 95%.",
        _wilson(lambda p, n, z: ((p + z**2 / (2 * n)) / (1 + z**2 / n), _root(p, n, z) / (1 + z**2 / n))),
    ),
    (
        "The middle is p here. It is p + z^2 / 2n, drawn towards one half, before the division.",
        _wilson(lambda p, n, z: (p / (1 + z**2 / n), z * _root(p, n, z) / (1 + z**2 / n))),
    ),
    (
        "These are numbers of answers. Return the ends as shares.",
        lambda right, count: tuple(count * end for end in wilson_interval(right, count)),
    ),
]


def leak_of(held_out, train):
    """How training knows one of the held-out questions: as "question", as "template", or "none"."""
    if {question_key(text) for text in held_out} & {question_key(text) for text in train}:
        return "question"
    templates = templates_of([*held_out, *train])  # together: what a name is shows in all of them
    inside, outside = templates[: len(held_out)], templates[len(held_out) :]
    return "template" if set(inside) & set(outside) else "none"


LEAK_INPUTS = [  # (held out, trained on)
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


def _texts_as_they_are(held_out, train):
    if set(held_out) & set(train):
        return "question"
    found = leak_of(held_out, train)
    return "template" if found == "question" else found


def _repeats(*counted):
    """A wrong leak_of: takes a question or a template, whichever is counted, for known where it repeats."""

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
    "What repeats on one side alone is no leak. Look for what the held-out questions have in common with "
    "training."
)
LEAK_MISTAKES = [  # what differs on more inputs stands first
    (
        "The same question has the same template too. Look for the question first, or you never report it.",
        _template_first,
    ),
    (
        "You compare the questions as they are written. A courtesy, a capital or a question mark hides the "
        "same question: compare question_key of each.",
        _texts_as_they_are,
    ),
    (
        "You look for the same question alone. Compare what templates_of gives as well, where no question "
        "is on both sides.",
        _question_only,
    ),
    (
        "You mask digits alone. Ids have letters as well (A-17, R-2209), and names differ too: compare what "
        "templates_of gives.",
        _digits_alone,
    ),
    (
        "You cut the list of templates in the wrong place. It is in the order of the texts that you gave.",
        _cut_in_the_wrong_place,
    ),
    (
        "Nimbus and Velo fill the same place. templates_of masks names as well, and needs all texts at once: "
        "call it once for both sides, and cut its list.",
        _each_side_by_itself,
    ),
    ("One held-out question that training knows is a leak: not all of them need be known.", _all_of_them),
    (
        'This never says "none". Where no key and no template is on both sides, nothing leaks.',
        lambda held_out, train: leak_of(held_out, train).replace("none", "template"),
    ),
    (ONE_SIDE, _repeats("question", "template")),
    (ONE_SIDE, _repeats("template")),
    (ONE_SIDE, _repeats("question")),
    (
        "Two templates that share many words are two templates: compare them for equality.",
        _overlapping_templates,
    ),
    (
        'Where nothing leaks, return the text "none". (None also comes of a missing return.)',
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


# ------------------------------------------------------------------------------------ wrong answers


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
    """Looks for the role in the line, spaces left out."""
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
    """A wrong bad_lines: the lines whose messages are not good(messages), or stop it."""

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


def _by_rows(keys, share, seed):
    return sorted(random.Random(seed).sample(range(len(keys)), round(share * len(keys))))


def _first_questions(keys, share, seed):
    return [p for p, key in enumerate(keys) if key in sorted(set(keys))[: round(share * len(set(keys)))]]


def _one_question(keys, share, seed):
    chosen = random.Random(seed).choice(sorted(set(keys)))
    return [position for position, key in enumerate(keys) if key == chosen]


def _names(keys, share, seed):
    return random.Random(seed).sample(sorted(set(keys)), round(share * len(set(keys))))


def _too_many(keys, share, seed):
    return held_out_rows(keys, 0.5, seed)


def _unseeded(keys, share, seed):
    return held_out_rows(keys, share, random.random())


def _unsorted_questions(keys, share, seed):
    members = {key: [p for p, other in enumerate(keys) if other == key] for key in set(keys)}
    held_out = []
    for key in random.Random(seed).sample(list(members), len(members)):
        if len(held_out) + len(members[key]) <= share * len(keys):
            held_out += members[key]
    return sorted(held_out)


def _mask(keys, share, seed):
    held_out = set(held_out_rows(keys, share, seed))
    return [position in held_out for position in range(len(keys))]


def _by_share_of_questions(keys, share, seed):
    """Rounds the number of questions, however many rows they have."""
    names = list(dict.fromkeys(keys))
    order = np.random.default_rng(seed).permutation(len(names))
    chosen = {names[i] for i in order[: round(share * len(names))]}
    return np.array([position for position, key in enumerate(keys) if key in chosen])


def _by_drawn_rows(keys, share, seed):
    """Draws rows, and takes all rows of their questions until there are enough."""
    held_out = []
    for row in random.Random(seed).sample(range(len(keys)), len(keys)):
        if len(held_out) < share * len(keys) and row not in held_out:
            held_out += [position for position, key in enumerate(keys) if key == keys[row]]
    return held_out


def _to_the_first_that_is_too_large(keys, share, seed):
    names, held_out = sorted(set(keys)), []
    for key in random.Random(seed).sample(names, len(names)):
        its = [position for position, other in enumerate(keys) if other == key]
        if len(held_out) + len(its) > share * len(keys):
            break
        held_out += its
    return held_out


def _with_a_shuffled_list(keys, share, seed):
    rows, room = Counter(keys), share * len(keys)
    order = sorted(rows)
    random.Random(seed).shuffle(order)
    chosen = set()
    for key in order:
        if rows[key] <= room:
            chosen.add(key)
            room -= rows[key]
    return {position for position, key in enumerate(keys) if key in chosen}


def _in_the_order_of_the_file(keys, share, seed):
    """Somewhat more than the share, by numpy, the questions in the order of the file."""
    names, counts = list(dict.fromkeys(keys)), Counter(keys)
    chosen, taken = set(), 0
    for place in np.random.default_rng(seed).permutation(len(names)):
        if taken < share * len(keys) and counts[names[place]] <= share * len(keys):
            chosen.add(names[place])
            taken += counts[names[place]]
    return np.array([position for position, key in enumerate(keys) if key in chosen])


def _until_full(keys, share, seed):
    order, held_out = sorted(set(keys)), set()
    random.Random(seed).shuffle(order)
    while len(held_out) < share * len(keys):
        key = order.pop()
        held_out |= {position for position, other in enumerate(keys) if other == key}
    return held_out


EXERCISES = [
    Exercise(
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
            (_no_object, "no object with messages"),
            (_blank_is_bad, "Blank lines are no fault"),
            (_parse_only, "Line 4 has messages"),
            (_word_only, "Look at the roles"),
            (lambda text: [1], "your list is not empty"),
            (_role_as_text, "You look for a text in the line"),
            (_any_role, "You look for a text in the line"),
            (lambda text: None, "Return the list of line numbers"),
            (lambda text: [str(n) for n in bad_lines(text)], "Line numbers, please"),
            (lambda text: text.split("\n")[:1], "Line numbers, please"),
            (lambda text: [(n, "bad") for n in bad_lines(text)] or [(0, "none")], "Line numbers, please"),
            (lambda text: len(bad_lines(text)), "Return a list of line numbers"),
            (_last_role, "An empty list of messages stops"),
            (_bad_by(lambda messages: messages[-1]["role"] == "assistant"), "not at the last"),
            (
                _bad_by(lambda messages: any("assistant" in m.values() for m in messages)),
                "not at its content",
            ),
            (_by_index, "without an assistant stops"),
            (lambda text: bad_lines(text)[:1], "You stop at the first bad line"),
            (_by_lines_of_python, "splitlines() also splits at U+2028"),
        ],
        right=[_by_get, _with_any_error],
        hints=(
            "Go through the lines with their numbers. Leave out the blank ones without losing count. Try to "
            "read the line; whatever goes wrong makes it a bad line, and so does a conversation without an "
            "assistant.",
            "enumerate(text.split('\\n'), start=1); json.loads(line)['messages'] inside try, with except for "
            "ValueError (not JSON), KeyError (no messages) and TypeError (no object); then "
            "any(message['role'] "
            "== 'assistant' for message in messages).",
        ),
    ),
    Exercise(
        name="weighted_overlap",
        lesson="17",
        minutes=5,
        difficulty=1,
        reference=weighted_overlap,
        check=compare(
            weighted_overlap,
            lambda: list(_two_sets()),
            OVERLAP_MISTAKES,
            else_="It is the weight of the words in both over that of the words in either.",
        ),
        wrong=[
            (_overlap_in_place, "changes its argument a in place"),
            (lambda a, b, weight: 2 / 9, "weight of the words in both"),
            (lambda a, b, weight: 0.0, "weight of the words in both"),
            (lambda a, b, weight: None, "Is there a return"),
        ],
        right=[_overlap_by_subtraction, _overlap_with_tensors],
        hints=(
            "Two sets of words have a part in common and a union. Add up weights instead of counting words, "
            "above and below.",
            "a & b is the common part, a | b the union; sum(weight[word] for word in ...) of each, and "
            "divide.",
        ),
    ),
    Exercise(
        name="held_out_rows",
        lesson="17",
        minutes=15,
        difficulty=2,
        reference=held_out_rows,
        check=_check_held_out_rows,
        wrong=[
            (_by_rows, "on both sides"),
            (_first_questions, "Two seeds hold out the same rows"),
            (_one_question, "Only"),
            (_names, "These are questions"),
            (_too_many, "of 200 rows are held out; about 40"),
            (_unseeded, "Two calls with one seed"),
            (lambda keys, share, seed: held_out_rows(keys, share, seed) * 2, "held out twice"),
            (_unsorted_questions, "Two calls with one seed"),
            (_mask, "This is a mask"),
            (lambda keys, share, seed: [], "Only 0"),
            (lambda keys, share, seed: list(range(len(keys))), "about 40"),
            (lambda keys, share, seed: [p + 1 for p in held_out_rows(keys, share, seed)], "both sides"),
            (lambda keys, share, seed: held_out_rows(keys, 0.2, seed), "Only"),
            (lambda keys, share, seed: None, "a return is missing"),
            (_by_share_of_questions, "with most of the rows is held out"),
            (_until_full, "with most of the rows is held out"),
            (_by_drawn_rows, "with most of the rows is held out"),
            (_to_the_first_that_is_too_large, "try the next one"),
        ],
        right=[_with_a_shuffled_list, _in_the_order_of_the_file],
        hints=(
            "Gather the rows of each question first. Then draw questions in random order and take all of a "
            "question's rows as long as there is room.",
            "members: {key: [positions]}. random.Random(seed).sample(sorted(members), len(members)) is a "
            "random "
            "order of the keys. Take a key's positions if len(held_out) + len(them) <= share * len(keys).",
        ),
    ),
    Exercise(
        name="leak_of",
        lesson="17",
        minutes=8,
        difficulty=2,
        reference=leak_of,
        check=compare(
            leak_of,
            LEAK_INPUTS,
            LEAK_MISTAKES,
            else_="Ask first whether a question_key is on both sides, then whether a template is.",
        ),
        wrong=[
            (lambda held_out, train: "leak", "Ask first"),
            (lambda held_out, train: None, "also comes of a missing return"),
            (lambda held_out: "template", "should take the arguments"),
        ],
        right=[_leak_in_loops, _leak_by_counts],
        hints=(
            "Two comparisons of both sides: first of the questions, however they are spelled, then of the "
            "templates that they were made from.",
            "Sets of question_key(text) for each side: do they meet? Then templates_of([*held_out, *train]), "
            "cut at len(held_out): do the sets of the two parts meet?",
        ),
        then="It judges your own split below.",
    ),
    Exercise(
        name="cut_answers",
        lesson="17",
        minutes=10,
        difficulty=2,
        reference=cut_answers,
        check=compare(
            cut_answers,
            TRUNCATED,
            CUT_MISTAKES,
            else_="Count the labels that are not -100, in all and among the first `limit`.",
        ),
        wrong=[
            (_cut_in_place, "changes its argument examples in place"),
            (lambda examples, limit: cut_answers(examples, limit)[0], "should be a tuple of 2"),
            (lambda examples, limit: (cut_answers(examples, limit)[0], 0), "Count the labels"),
            (lambda examples, limit: (11 / 21, 1), "Count the labels"),
            (lambda examples, limit: cut_answers(examples, 12), "Count the labels"),
            (lambda examples, limit: None, "Is there a return"),
        ],
        right=[_cut_with_tensors, _cut_in_a_loop],
        hints=(
            "Count targets, labels that are not -100: in each example as it is, and in its first `limit` "
            "tokens. "
            "What is missing was cut.",
            "kept = sum(label != -100 for label in example.labels[:limit]) for each example, targets the "
            "same "
            "without the slice. The share is 1 - sum(kept) / sum(targets); the count is that of kept == 0.",
        ),
    ),
    Exercise(
        name="wilson_interval",
        lesson="17",
        minutes=5,
        difficulty=1,
        reference=wilson_interval,
        check=compare(
            wilson_interval,
            WILSON_INPUTS,
            WILSON_MISTAKES,
            else_="Compute p, the square root, then both ends over 1 + z^2 / n.",
            tolerance=1e-3,
        ),
        wrong=[
            (lambda right, count: (0.0, 1.0), "Compute p"),
            (lambda right, count: right / count, "should be a tuple of 2"),
            (lambda right, count: None, "Is there a return"),
            (lambda right, count: wilson_interval(right, 50), "Compute p"),
        ],
        right=[_exact_z, _by_roots],
        hints=(
            "It is one formula, with - for low and + for high. Compute p, then the square root, then both "
            "ends.",
            "half = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)); low = (p + z**2 / (2 * n) - half) / "
            "(1 + z**2 / n), high the same with + half.",
        ),
    ),
]
