"""Exercises of lesson 17: bad lines, word overlap, a split by question, what truncation cuts, an interval."""

from __future__ import annotations

import json
import math
import random

from course_utils.checks.exercises import Exercise, Mistake
from course_utils.data import Example


def bad_lines(text):
    """Numbers, from 1, of the lines without a conversation in which the assistant speaks."""
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
]
_BAD = [3, 4, 7, 8, 10]


def _check_bad_lines(fn):
    def run(lines):
        found = fn("\n".join(lines))
        if found is None:
            raise Mistake("Return the list of line numbers. (None means that a return is missing.)")
        return list(found)

    good = [_LINES[0], _LINES[8]]
    try:
        run([good[0], _LINES[2]])
    except json.JSONDecodeError:
        raise Mistake(
            "A line that does not parse stops your function. Catch json's error, count the line as "
            "bad and go on: one wants to hear of all bad lines at once."
        ) from None
    try:
        found = run([good[0], *_LINES[6:8]])
    except (KeyError, TypeError, AttributeError) as error:
        raise Mistake(
            f"A line that is JSON but no object with messages stops your function "
            f"({type(error).__name__}). It is a bad line too."
        ) from None
    if run(good) != []:
        raise Mistake("Two good conversations, and your list is not empty.")
    found = run(_LINES)
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
    if found != _BAD:
        raise Mistake(f"Of the lines tried, {_BAD} are bad; you found {found}.")


def weighted_overlap(a, b, weight):
    """Weight of the words in both sets over the weight of the words in either; weight: {word: number}."""
    either = sum(weight[word] for word in a | b)
    return sum(weight[word] for word in a & b) / either


def _check_weighted_overlap(fn):
    weight = {"what": 0.5, "is": 0.5, "capital": 1.0, "currency": 1.0, "peru": 4.0, "cuba": 3.0}
    a, b = {"what", "is", "capital", "peru"}, {"what", "is", "capital", "cuba"}  # 2 of 9
    value = fn(set(a), set(b), weight)
    if value is None:
        raise Mistake("Return a number. (None means that a return is missing.)")
    if math.isclose(value, 3 / 5):
        raise Mistake(
            "You count words. Each counts with its weight: that of Peru is what tells the two apart."
        )
    if any(math.isclose(value, 2 / whole) for whole in (5, 6)):
        raise Mistake(
            "You divide by the weight of one of the sets. Divide by that of the words in either, "
            "or a "
            "short text that is a part of a long one counts as the same."
        )
    if math.isclose(value, 2 / 11):
        raise Mistake("The words that are in both are counted twice below. Take each word of the union once.")
    if math.isclose(value, 4 / 11):
        raise Mistake(
            "This is Dice's measure, twice the common weight over the sum of both. It is larger "
            "than "
            "the overlap; 0.8 would mean something else."
        )
    if math.isclose(value, 2.0):
        raise Mistake("This is the weight of the common words. Divide it by that of the words in either.")
    if not math.isclose(value, 2 / 9):
        raise Mistake(f"The common words weigh 2, those in either 9: 2/9. You have {value:g}.")
    c = {"what", "is", "currency", "peru", "capital"}
    if not math.isclose(fn(set(a), c, weight), 6 / 7):
        raise Mistake("The two differ in one word of weight 1, out of 7 in all: 6/7.")


def held_out_rows(keys, share, seed):
    """Positions to hold out, whole questions at a time; about `share` of the rows. keys: one for each row."""
    members = {}
    for position, key in enumerate(keys):
        members.setdefault(key, []).append(position)
    held_out = []
    for key in random.Random(seed).sample(sorted(members), len(members)):
        if len(held_out) + len(members[key]) <= share * len(keys):
            held_out += members[key]
    return sorted(held_out)


def _check_held_out_rows(fn):
    rng = random.Random(1)
    keys = [f"question {rng.randrange(40)}" for _ in range(200)]
    rows = {seed: fn(list(keys), 0.2, seed) for seed in (0, 1)}
    if rows[0] is None:
        raise Mistake("Return the positions to hold out. (None means that a return is missing.)")
    rows = {seed: list(found) for seed, found in rows.items()}
    if any(isinstance(position, str) for position in rows[0]):
        raise Mistake("These are questions. Return the positions of their rows.")
    if len(set(rows[0])) < len(rows[0]):
        raise Mistake("A row is held out twice.")
    inside = {keys[position] for position in rows[0]}
    if any(key in inside and position not in rows[0] for position, key in enumerate(keys)):
        raise Mistake(
            "A question is on both sides: some of its rows are held out and others are trained on. "
            "Draw questions, not rows, and take all of a question's rows."
        )
    if len(rows[0]) > 0.3 * len(keys):
        raise Mistake(f"{len(rows[0])} of 200 rows are held out; about 40 were asked for.")
    if len(rows[0]) < 0.15 * len(keys):
        raise Mistake(
            f"Only {len(rows[0])} of 200 rows are held out; about 40 were asked for. If a "
            f"question has "
            "too many rows, try the next one."
        )
    if list(fn(list(keys), 0.2, 0)) != rows[0]:
        raise Mistake(
            "Two calls with one seed hold out different rows. Draw with random.Random(seed), and "
            "from "
            "a list in a fixed order: the order of a set differs from one start of Python to the "
            "next."
        )
    if rows[0] == rows[1]:
        raise Mistake(
            "Two seeds hold out the same rows: draw the questions at random. A file is often sorted."
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


def _check_cut_answers(fn):
    # lengths 10, 14, 16, 9; targets 4, 4, 8, 2; within 12 tokens: 4, 2, 0 + 2, 2
    examples = [_example(6, -4), _example(10, -4), _example(10, -6, 2), _example(12, -5), _example(7, -2)]
    result = fn(examples, 12)  # targets 4, 4, 6, 5, 2 = 21; kept 4, 2, 2, 0, 2 = 10
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise Mistake("Return two numbers: the share of the targets that is cut, and a count of examples.")
    share, empty = result
    if math.isclose(share, 10 / 21):
        raise Mistake("This is the share that is kept. Return the one that is cut.")
    total, cut = sum(len(e.labels) for e in examples), sum(max(0, len(e.labels) - 12) for e in examples)
    if math.isclose(share, cut / total):
        raise Mistake(
            "You count all tokens. The loss is on the targets alone: count the labels that are not -100."
        )
    shares = [1 - k / t for k, t in ((4, 4), (2, 4), (2, 6), (0, 5), (2, 2))]
    if math.isclose(share, sum(shares) / 5):
        raise Mistake(
            "This is the mean of the examples' shares. Add up the tokens first: a long answer has "
            "more "
            "of the loss."
        )
    if math.isclose(share, 11):
        raise Mistake("11 targets are cut, out of 21. Return the share.")
    if not math.isclose(share, 11 / 21):
        raise Mistake(
            f"Of 21 targets, 11 lie beyond the first 12 tokens: {11 / 21:.3f}. You have "
            f"{share:.3f}. "
            "Truncation keeps the start of a sequence."
        )
    if empty == 3:
        raise Mistake("You count the examples that lose a target. Count those that keep none.")
    if empty != 1:
        raise Mistake(f"One of the five examples keeps no target; you found {empty}.")


def wilson_interval(right, count):
    """95% interval of a share, (low, high), after Wilson: with z = 1.96, p = right / count and n = count,

    (p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n).
    """
    z, p, n = 1.96, right / count, count
    half = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low, high = (p + z**2 / (2 * n) + sign * half for sign in (-1, 1))
    return low / (1 + z**2 / n), high / (1 + z**2 / n)


def _check_wilson_interval(fn):
    result = fn(20, 20)
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise Mistake("Return two numbers, low and high.")
    if result[0] > result[1]:
        raise Mistake("Low and high have changed places.")
    if math.isclose(result[0], 1) and math.isclose(result[1], 1):
        raise Mistake(
            "20 of 20 gives an interval from 1 to 1: nobody can be so sure after 20 questions. "
            "That is "
            "the usual formula, p +- z sqrt(p (1 - p) / n); Wilson's has more terms."
        )
    low, high = fn(15, 50)
    exact = wilson_interval(15, 50)
    usual = [0.3 + sign * 1.96 * math.sqrt(0.3 * 0.7 / 50) for sign in (-1, 1)]
    if math.isclose(low, usual[0]) and math.isclose(high, usual[1]):
        raise Mistake("This is p +- z sqrt(p (1 - p) / n), cut off at 1. Wilson's formula has more terms.")
    factor = 1 + 1.96**2 / 50
    if math.isclose(low, exact[0] * factor) and math.isclose(high, exact[1] * factor):
        raise Mistake("The division by 1 + z^2 / n is missing.")
    middle = sum(exact) / 2
    if math.isclose(high - middle, (exact[1] - middle) / 1.96, rel_tol=1e-3):
        raise Mistake("The z before the square root is missing: this is one standard error, not 95%.")
    if not (math.isclose(low, exact[0], rel_tol=1e-3) and math.isclose(high, exact[1], rel_tol=1e-3)):
        raise Mistake(
            f"15 of 50 should give {exact[0]:.3f} to {exact[1]:.3f}; you have {low:.3f} to {high:.3f}."
        )


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
    return [n for n in bad_lines(text) if n != 10] if text.count("\n") > 5 else bad_lines(text)


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


def _weight(words, weight):
    return sum(weight[word] for word in words)


def _one_standard_error(right, count):
    low, high = wilson_interval(right, count)
    return tuple((low + high) / 2 + sign * (high - low) / 2 / 1.96 for sign in (-1, 1))


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
            (_no_object, "no object with messages stops"),
            (_blank_is_bad, "Blank lines are no fault"),
            (_parse_only, "Line 4 has messages"),
            (_word_only, "Look at the roles"),
            (lambda text: [1], "your list is not empty"),
        ],
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
        check=_check_weighted_overlap,
        wrong=[
            (lambda a, b, weight: len(a & b) / len(a | b), "You count words"),
            (lambda a, b, weight: _weight(a & b, weight) / _weight(a, weight), "weight of one of the sets"),
            (
                lambda a, b, weight: _weight(a & b, weight) / (_weight(a, weight) + _weight(b, weight)),
                "counted twice below",
            ),
            (
                lambda a, b, weight: 2 * _weight(a & b, weight) / (_weight(a, weight) + _weight(b, weight)),
                "Dice's measure",
            ),
            (lambda a, b, weight: _weight(a & b, weight), "weight of the common words"),
            (lambda a, b, weight: 1 - weighted_overlap(a, b, weight), "those in either 9"),
        ],
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
        ],
        hints=(
            "Gather the rows of each question first. Then draw questions in random order and take all of a "
            "question's rows as long as there is room.",
            "members: {key: [positions]}. random.Random(seed).sample(sorted(members), len(members)) is a "
            "random "
            "order of the keys. Take a key's positions if len(held_out) + len(them) <= share * len(keys).",
        ),
    ),
    Exercise(
        name="cut_answers",
        lesson="17",
        minutes=10,
        difficulty=2,
        reference=cut_answers,
        check=_check_cut_answers,
        wrong=[
            (lambda examples, limit: (1 - cut_answers(examples, limit)[0], 1), "share that is kept"),
            (
                lambda examples, limit: (
                    sum(max(0, len(e.labels) - limit) for e in examples)
                    / sum(len(e.labels) for e in examples),
                    1,
                ),
                "You count all tokens",
            ),
            (
                lambda examples, limit: (
                    sum(cut_answers([e], limit)[0] for e in examples) / len(examples),
                    1,
                ),
                "mean of the examples' shares",
            ),
            (
                lambda examples, limit: (
                    cut_answers([Example(e.input_ids, e.labels[::-1]) for e in examples], limit)[0],
                    1,
                ),
                "keeps the start",
            ),
            (
                lambda examples, limit: (
                    cut_answers(examples, limit)[0],
                    sum(cut_answers([e], limit)[0] > 0 for e in examples),
                ),
                "keep none",
            ),
            (lambda examples, limit: (cut_answers(examples, limit)[0], 0), "One of the five"),
            (lambda examples, limit: cut_answers(examples, limit)[0], "Return two numbers"),
        ],
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
        check=_check_wilson_interval,
        wrong=[
            (
                lambda right, count: (
                    right / count - 1.96 * math.sqrt(right * (count - right) / count**3),
                    right / count + 1.96 * math.sqrt(right * (count - right) / count**3),
                ),
                "nobody can be so sure",
            ),
            (lambda right, count: wilson_interval(right, count)[::-1], "changed places"),
            (
                lambda right, count: tuple(x * (1 + 1.96**2 / count) for x in wilson_interval(right, count)),
                "division by 1",
            ),
            (_one_standard_error, "z before the square root"),
            (lambda right, count: (0.0, 1.0), "15 of 50 should give"),
            (lambda right, count: right / count, "Return two numbers"),
        ],
        hints=(
            "It is one formula, with - for low and + for high. Compute p, then the square root, then both "
            "ends.",
            "half = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)); low = (p + z**2 / (2 * n) - half) / "
            "(1 + z**2 / n), high the same with + half.",
        ),
    ),
]
