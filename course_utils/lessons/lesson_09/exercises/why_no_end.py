"""Lesson 09, why_no_end: bug hunt, why does it not end."""

import torch
import torch.nn.functional as F

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.data import IGNORE, Example


def why_no_end(example, end_id, stop_ids, end_probability):
    """Why a run's answers do not end: "end marker without loss", "stop id", "end marker not likely", "sound".

    example: a conversation as the run encodes it. stop_ids: the ids at which its generation stops.
    end_probability(ids): its model's probability that the end marker comes after these ids.
    """
    ids, labels = example.input_ids, example.labels
    ends = [i for i in range(1, len(ids)) if ids[i] == end_id and labels[i - 1] != IGNORE]
    if any(labels[i] == IGNORE for i in ends):
        return "end marker without loss"
    if end_id not in stop_ids:
        return "stop id"
    return "sound" if end_probability(ids[: ends[-1]]) > 0.5 else "end marker not likely"


START_ID, END_ID, EOS_ID, LINE = 8, 9, 7, 2


def _encoded(answers, unlearned=()):
    """A conversation as an Example; unlearned: the turns whose end marker has no loss."""
    ids, labels = [START_ID, 1, 3, END_ID, LINE], [IGNORE] * 5
    for turn, answer in enumerate(answers):
        ids += [START_ID, 4, 5 + turn % 2, END_ID, LINE, START_ID, 6]
        labels += [IGNORE] * 7
        ids += [*answer, END_ID, LINE]
        labels += [*answer, IGNORE if turn in unlearned else END_ID, IGNORE]
    return Example(ids, labels)


def _probability(example, before, right, behind):
    """A model's probabilities of the end marker: one token early, after the last answer, after its end."""
    last = len(example.input_ids) - 1 - example.input_ids[::-1].index(END_ID)
    places = {last - 1: before, last: right, last + 1: behind}

    def end_probability(ids):
        ids = torch.as_tensor(ids).flatten().tolist()
        return places.get(len(ids), 0.1) if ids == example.input_ids[: len(ids)] else 0.1

    return end_probability


def _runs():
    one, two, zero = _encoded([[3, 5]]), _encoded([[5], [4, 3, 5]]), _encoded([[0, 0], [0]])
    lost, first_lost = _encoded([[3, 5]], [0]), _encoded([[5], [4, 3]], [0])
    both, last_lost = (END_ID, EOS_ID), _encoded([[5], [4, 3]], [1])
    cases = [
        (one, both, (0.1, 0.97, 0.1)),
        (one, both, (0.9, 0.02, 0.1)),
        (one, both, (0.1, 0.6, 0.1)),
        (one, (EOS_ID,), (0.1, 0.97, 0.1)),
        (lost, both, (0.1, 0.02, 0.1)),
        (lost, (EOS_ID,), (0.1, 0.02, 0.1)),
        (two, both, (0.1, 0.97, 0.9)),
        (two, both, (0.1, 0.3, 0.9)),
        (two, (EOS_ID,), (0.1, 0.97, 0.1)),
        (first_lost, both, (0.1, 0.97, 0.1)),
        (last_lost, both, (0.1, 0.02, 0.1)),
        (zero, both, (0.1, 0.97, 0.1)),
        (one, (EOS_ID, END_ID), (0.1, 0.97, 0.1)),
        (one, (END_ID,), (0.1, 0.97, 0.1)),
    ]
    return [(example, END_ID, stops, _probability(example, *each)) for example, stops, each in cases]


def _why(unlearned, place=None, likely=lambda p: p > 0.5, names=None):
    """A wrong why_no_end: unlearned(ids, labels, end) and place(ids, labels, end) check other tokens."""

    def wrong(example, end_id, stop_ids, end_probability):
        ids, labels = example.input_ids, example.labels
        last = len(ids) - 1 - ids[::-1].index(end_id)
        if unlearned(ids, labels, end_id):
            return "end marker without loss"
        if end_id not in stop_ids:
            return "stop id"
        cut = last if place is None else place(last)
        return "sound" if likely(end_probability(ids[:cut])) else "end marker not likely"

    return wrong


def _any_end(ids, labels, end):
    return any(label == IGNORE for token, label in zip(ids, labels, strict=True) if token == end)


def _first_end(ids, labels, end):
    return labels[ids.index(end)] == IGNORE


def _last_end(ids, labels, end):
    return labels[len(ids) - 1 - ids[::-1].index(end)] == IGNORE


def _no_end(ids, labels, end):
    return end not in labels


def _learned_ends(ids, labels, end):
    return any(
        token == end and label == IGNORE and before != IGNORE
        for token, label, before in zip(ids[1:], labels[1:], labels, strict=False)
    )


def _no_loss_on_token_0(ids, labels, end):
    return any(
        token == end and label == IGNORE and before > 0
        for token, label, before in zip(ids[1:], labels[1:], labels, strict=False)
    ) or not any(token == end and before > 0 for token, before in zip(ids[1:], labels, strict=False))


def _model_first(example, end_id, stop_ids, end_probability):
    last = len(example.input_ids) - 1 - example.input_ids[::-1].index(end_id)
    if end_probability(example.input_ids[:last]) < 0.5:
        return "end marker not likely"
    return why_no_end(example, end_id, stop_ids, end_probability)


def _stops_first(example, end_id, stop_ids, end_probability):
    return why_no_end(example, end_id, stop_ids, end_probability) if end_id in stop_ids else "stop id"


def _model_not_asked(example, end_id, stop_ids, end_probability):
    return why_no_end(example, end_id, stop_ids, lambda ids: 1.0)


def _first_stop_id(example, end_id, stop_ids, end_probability):
    return why_no_end(example, end_id, stop_ids[:1], end_probability)


def _why_by_masks(example, end_id, stop_ids, end_probability):
    ids, labels = torch.tensor(example.input_ids), torch.tensor(example.labels)
    after_answer = F.pad(labels[:-1] != -100, (1, 0))
    ends = (ids == end_id) & after_answer
    if (labels[ends] == -100).any():
        return "end marker without loss"
    if end_id not in set(stop_ids):
        return "stop id"
    place = int(ends.nonzero()[-1])
    return "end marker not likely" if end_probability(ids[:place]) < 0.5 else "sound"


def _why_by_spans(example, end_id, stop_ids, end_probability):
    spans, open_at = [], None
    for i, label in enumerate([*example.labels, -100]):
        if label != -100 and open_at is None:
            open_at = i
        elif label == -100 and open_at is not None:
            spans.append((open_at, i))
            open_at = None
    if any(example.labels[stop - 1] != end_id for _, stop in spans):
        return "end marker without loss"
    if all(stop != end_id for stop in stop_ids):
        return "stop id"
    probability = end_probability(list(example.input_ids[: spans[-1][1] - 1]))
    return "sound" if probability >= 0.5 else "end marker not likely"


EVERY_END = (
    "You check every end marker, or the first. Those of the system line and questions have no loss in a "
    "sound run. Check those that end an answer."
)
WHY_MISTAKES = [
    (EVERY_END, _why(_any_end)),
    (EVERY_END, _why(_first_end)),
    (
        "The verdict is inverted: a sound run has a high probability of the end marker.",
        _why(_learned_ends, likely=lambda p: p < 0.5),
    ),
    ("You do not use the model: a run may be sound except for too few steps.", _model_not_asked),
    (
        "You do not check the labels: in one of the runs the end marker has no loss.",
        _why(lambda ids, labels, end: False),
    ),
    (
        "A run whose end marker had no loss gets the first verdict, not the third: check the labels first.",
        _model_first,
    ),
    (
        "A run may have two faults. Go through the table from the top: the labels come before the stop ids.",
        _stops_first,
    ),
    (
        "You ask whether any end marker has a label. Check each that ends an answer: one may have lost it.",
        _why(_no_end),
    ),
    ("You check only the last answer. An earlier answer may have lost its end marker.", _why(_last_end)),
    (
        "You use the probability after the end marker. Use the probability where it should come: after all "
        "tokens before it.",
        _why(_learned_ends, lambda last: last + 1),
    ),
    (
        "You use the probability one token too early, before the answer's last token.",
        _why(_learned_ends, lambda last: last - 1),
    ),
    (
        "You treat token 0 as a token without loss. Only the label -100 marks tokens without loss.",
        _why(_no_loss_on_token_0),
    ),
    (
        "You do not check the ids at which generation stops.",
        lambda example, end_id, stop_ids, p: why_no_end(example, end_id, (end_id,), p),
    ),
    (
        "You use the probability at another position. Call end_probability once, on all tokens before the "
        "last end marker.",
        _why(_learned_ends, lambda last: 1),
    ),
    (
        "Use one half as the limit: above it, the end marker is likelier than all other tokens together.",
        _why(_learned_ends, likely=lambda p: p > 0.9),
    ),
]

EXERCISE = Exercise(
    name="why_no_end",
    lesson="09",
    minutes=8,
    difficulty=2,
    reference=why_no_end,
    check=compare(
        why_no_end,
        _runs,
        WHY_MISTAKES,
        else_="First the labels of the end markers that end an answer, then the ids at which generation "
        "stops, then the probability of the end marker after the last answer.",
    ),
    wrong=[
        (lambda example, end_id, stop_ids, p: None, "Is there a return"),
        (lambda example, end_id, stop_ids, p: "sound", "You do not use the model"),
        (lambda example, end_id, stop_ids, p: "all is well", "First the labels"),
        (_first_stop_id, "ids at which"),
        (lambda example, end_id, stop_ids, p: True, "should be of type str"),
    ],
    right=[_why_by_masks, _why_by_spans],
    hints=(
        "Three things can be at fault: the training labels, the ids at which generation stops, and the "
        "model. The first two need no model.",
        "Check the end markers whose preceding token has a label. If one of them has the "
        "label -100, that is the fault. If end_id is not in stop_ids, that is the fault. Else test "
        "end_probability(ids before the last end marker): is it above one half?",
    ),
    then="The table of the hunt below uses it.",
)
