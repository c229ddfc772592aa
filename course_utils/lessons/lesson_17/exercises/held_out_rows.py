"""Lesson 17, held_out_rows: whole questions."""

import random
from collections import Counter

import numpy as np

from course_utils.checks.compare import Mistake
from course_utils.checks.exercises import Exercise
from course_utils.checks.salted import Salted
from course_utils.own.hold_out import held_out_rows


def _keys(rows, questions, salt=0):
    """The key of each row; a set of the keys has another order under another hash salt."""
    rng = random.Random(1)
    return [Salted(f"question {rng.randrange(questions)}", salt) for _ in range(rows)]


def _check_held_out_rows(fn):
    for rows, questions, share in [(200, 40, 0.2), (150, 50, 0.4)]:
        keys = _keys(rows, questions)
        held = {seed: _positions(fn(list(keys), share, seed), rows) for seed in (0, 1)}
        _expect_whole_questions(held[0], keys, share)
        # sets of the same keys have another order under another hash salt
        if any(_positions(fn(_keys(rows, questions, salt), share, 0), rows) != held[0] for salt in (0, 1, 2)):
            raise Mistake(
                "Two calls with the same seed hold out different rows. Draw with random.Random(seed), and "
                "from a list in a fixed order: the order of a set differs from one start of Python to the "
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
            "You hold out a question with most of the rows. If a question has more rows than there is room "
            "for, leave it in training and try the next one."
        )
    for found in held:
        _expect_whole_questions(found, keys, 0.2)


def _positions(found, rows):
    if found is None:
        raise Mistake("Return the positions to hold out. (None means that the return is missing.)")
    found = list(found)
    if any(isinstance(position, str) for position in found):
        raise Mistake("These are questions. Return the positions of their rows.")
    if len(found) == rows and {int(position) for position in found} == {0, 1}:
        raise Mistake("This is a mask, a bool for each row. Return the positions, a list of integers.")
    found = sorted(int(position) for position in found)
    if found and (found[0] < 0 or found[-1] >= rows):
        raise Mistake(f"Positions go from 0 to {rows - 1}; yours go from {found[0]} to {found[-1]}.")
    if len(set(found)) < len(found):
        raise Mistake("You hold out a row twice.")
    return found


def _expect_whole_questions(found, keys, share):
    inside = {keys[position] for position in found}
    if any(key in inside and position not in found for position, key in enumerate(keys)):
        raise Mistake(
            "A question is on both sides: some of its rows are held out and others are in training. Draw "
            "questions, not rows, and take all rows of a question."
        )
    if len(found) > 1.5 * share * len(keys) or len(found) == len(keys):
        raise Mistake(
            f"{len(found)} of {len(keys)} rows are held out; about {share * len(keys):.0f} are required."
        )
    if len(found) < 0.75 * share * len(keys):
        raise Mistake(
            f"Only {len(found)} of {len(keys)} rows are held out; about {share * len(keys):.0f} are "
            "required. The share is of the rows; if a question has too many, try the next one."
        )


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
    """Rounds the number of questions, whatever their number of rows."""
    names = list(dict.fromkeys(keys))
    order = np.random.default_rng(seed).permutation(len(names))
    chosen = {names[i] for i in order[: round(share * len(names))]}
    return np.array([position for position, key in enumerate(keys) if key in chosen])


def _by_drawn_rows(keys, share, seed):
    """Right: draws rows, and takes all rows of their questions until there are enough."""
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
    """Right: slightly more than the share, with numpy, and questions in file order."""
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


EXERCISE = Exercise(
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
        (_unseeded, "Two calls with the same seed"),
        (lambda keys, share, seed: held_out_rows(keys, share, seed) * 2, "hold out a row twice"),
        (_unsorted_questions, "Two calls with the same seed"),
        (_mask, "This is a mask"),
        (lambda keys, share, seed: [], "Only 0"),
        (lambda keys, share, seed: list(range(len(keys))), "about 40"),
        (lambda keys, share, seed: [p + 1 for p in held_out_rows(keys, share, seed)], "both sides"),
        (lambda keys, share, seed: held_out_rows(keys, 0.2, seed), "Only"),
        (lambda keys, share, seed: None, "the return is missing"),
        (_by_share_of_questions, "a question with most of the rows"),
        (_until_full, "a question with most of the rows"),
        (_by_drawn_rows, "a question with most of the rows"),
        (_to_the_first_that_is_too_large, "try the next one"),
    ],
    right=[_with_a_shuffled_list, _in_the_order_of_the_file],
    hints=(
        "Group the rows by question first. Then draw questions in random order and take all rows of a "
        "question as long as there is room.",
        "members: {key: [positions]}. random.Random(seed).sample(sorted(members), len(members)) is a "
        "random "
        "order of the keys. Take a key's positions if len(held_out) + len(them) <= share * len(keys).",
    ),
)
