"""Lesson 08, mask_fault: bug hunt, what carries loss."""

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.data import IGNORE
from course_utils.lessons.lesson_08.exercises.shared import (
    CHATML,
    SHORT,
    answers_among,
    conversation_ids,
    stretches,
)


def mask_fault(input_ids, labels, header, end):
    """What is wrong with the labels of one conversation: right, no end, late start or elsewhere.

    input_ids, labels: lists of one length; header: the ids after which an answer begins; end: the id that
    ends it.
    """
    answers, inside = [], False
    for place, token in enumerate(input_ids):
        if inside:
            answers[-1].append(place)
        if token == end:
            inside = False
        elif input_ids[max(0, place + 1 - len(header)) : place + 1] == header:
            inside = True
            answers.append([])
    learnt = {place for place, label in enumerate(labels) if label != -100}
    if learnt == {place for answer in answers for place in answer}:
        return "right"
    if learnt == {place for answer in answers for place in answer[:-1]}:
        return "no end"
    if learnt == {place for answer in answers for place in answer[1:]}:
        return "late start"
    return "elsewhere"


def _labelled(ids, header, end, spans):
    """Labels of a row from spans(its answers): lists of (start, stop)."""
    labels = [IGNORE] * len(ids)
    for start, stop in spans(answers_among(ids, len(ids), header, end)):
        labels[start:stop] = ids[start:stop]
    return labels


SPANS = {
    "right": lambda answers: [(start, stop) for start, stop, _ in answers],
    "no end": lambda answers: [(start, stop - 1) for start, stop, _ in answers],
    "late start": lambda answers: [(start + 1, stop) for start, stop, _ in answers],
    "only the last": lambda answers: [span[:2] for span in answers[-1:]],
    "headers too": lambda answers: [(start - 2, stop) for start, stop, _ in answers],
    "before": lambda answers: [(1, answers[0][0] - 4)],
    "early": lambda answers: [(start - 1, stop - 1) for start, stop, _ in answers],
    "newline too": lambda answers: [(start, stop + 1) for start, stop, _ in answers],
    "nothing": lambda answers: [],
    "one without its end": lambda answers: [
        (start, stop - (number == 0)) for number, (start, stop, _) in enumerate(answers)
    ],
    "neither first nor end": lambda answers: [(start + 1, stop - 1) for start, stop, _ in answers],
    "no end, headers too": lambda answers: [(start - 2, stop - 1) for start, stop, _ in answers],
    "late start, headers too": lambda answers: [
        span for start, stop, _ in answers for span in ((start - 2, start), (start + 1, stop))
    ],
}


def _masks():
    inputs = []
    for header, end in (CHATML, SHORT):
        ids = conversation_ids(header, end, [30, *header[1:], 31, 32], 4, [41, 42], 3, [43], 5)
        if end == CHATML[1]:
            ids[-5] = 0  # a token of the last answer
        for spans in SPANS.values():
            inputs.append((ids, _labelled(ids, header, end, spans), list(header), end))
    header, end = CHATML
    # an answer of one token; a single short answer; two answers, without the word assistant in a question
    for turns in (([41, 42, 43], 1), ([44], 2), ([31, 32], 4, [41], 3)):
        ids = conversation_ids(header, end, *turns)
        for name in ("right", "no end", "late start", "nothing"):
            inputs.append((ids, _labelled(ids, header, end, SPANS[name]), list(header), end))
    shifted = [*_labelled(ids, header, end, SPANS["right"])[1:], IGNORE]
    return [*inputs, (ids, shifted, list(header), end)]


def _fault(change):
    def wrong(input_ids, labels, header, end):
        return change(mask_fault(input_ids, labels, header, end), input_ids, labels, header, end)

    return wrong


def _by_presence_of_end(input_ids, labels, header, end):
    learnt = [label for label in labels if label != IGNORE]
    if end not in learnt:
        return "no end"
    return mask_fault(input_ids, labels, header, end)


def _first_answer_only(input_ids, labels, header, end):
    stop = answers_among(input_ids, len(input_ids), header, end)[0][1]
    follows = next((p for p in range(stop, len(input_ids)) if input_ids[p] == header[0]), len(input_ids))
    return mask_fault(input_ids[:follows], labels[:follows], header, end)


def _last_answer_only(input_ids, labels, header, end):
    start, stop, _ = answers_among(input_ids, len(input_ids), header, end)[-1]
    learnt = [place for place in range(start, len(labels)) if labels[place] != IGNORE]
    last = [*range(start, stop)]
    verdicts = {"right": last, "no end": last[:-1], "late start": last[1:]}
    return next((verdict for verdict, places in verdicts.items() if places == learnt), "elsewhere")


def _last_answer_in_the_row(input_ids, labels, header, end):
    """Compares all places with loss with those of the last answer."""
    start, stop, _ = answers_among(input_ids, len(input_ids), header, end)[-1]
    learnt = [place for place, label in enumerate(labels) if label != IGNORE]
    last = [*range(start, stop)]
    verdicts = {"right": last, "no end": last[:-1], "late start": last[1:]}
    return next((verdict for verdict, places in verdicts.items() if places == learnt), "elsewhere")


def _by_label_values(input_ids, labels, header, end):
    answers = [input_ids[a:b] for a, b, _ in answers_among(input_ids, len(input_ids), header, end)]
    learnt = [label for label in labels if label != IGNORE]
    cuts = {"right": (0, 0), "no end": (0, 1), "late start": (1, 0)}
    for verdict, (first, last) in cuts.items():
        if learnt == [token for answer in answers for token in answer[first : len(answer) - last]]:
            return verdict
    return "elsewhere"


def _first_answer_in_the_row(input_ids, labels, header, end):
    start, stop, _ = answers_among(input_ids, len(input_ids), header, end)[0]
    learnt = [place for place, label in enumerate(labels) if label != IGNORE]
    first = [*range(start, stop)]
    verdicts = {"right": first, "no end": first[:-1], "late start": first[1:]}
    return next((verdict for verdict, places in verdicts.items() if places == learnt), "elsewhere")


def _above_0(input_ids, labels, header, end):
    return mask_fault(input_ids, [label if label > 0 else IGNORE for label in labels], header, end)


def _by_header_word(input_ids, labels, header, end):
    return mask_fault(input_ids, labels, header[1:], end)


def _expecting_shift(input_ids, labels, header, end):
    return mask_fault(input_ids, [IGNORE, *labels[:-1]], header, end)


def _blind_outside(input_ids, labels, header, end):
    places = {
        place
        for start, stop, _ in answers_among(input_ids, len(input_ids), header, end)
        for place in range(start, stop)
    }
    inside = [label if place in places else IGNORE for place, label in enumerate(labels)]
    return mask_fault(input_ids, inside, header, end)


def _by_counts(input_ids, labels, header, end):
    answers = answers_among(input_ids, len(input_ids), header, end)
    wanted = sum(stop - start for start, stop, _ in answers)
    missing = wanted - sum(label != IGNORE for label in labels)
    return {0: "right", len(answers): "no end"}.get(missing, "elsewhere")


def _by_spans(input_ids, labels, header, end):
    """Right: compares whole lists of labels."""
    spans = [(start, stop) for start, stop, _ in answers_among(input_ids, len(input_ids), header, end)]
    for name, (first, last) in {"right": (0, 0), "no end": (0, 1), "late start": (1, 0)}.items():
        wanted = [-100] * len(input_ids)
        for start, stop in spans:
            wanted[start + first : stop - last] = input_ids[start + first : stop - last]
        if labels == wanted:
            return name
    return "elsewhere"


def _by_runs(input_ids, labels, header, end):
    """Right: uses the differences at the edges of the spans with loss."""
    answers = [(start, stop) for start, stop, _ in answers_among(input_ids, len(input_ids), header, end)]
    runs = stretches(labels)
    if runs == answers:
        return "right"
    if runs == [(a, b - 1) for a, b in answers if b - 1 > a]:
        return "no end"
    return "late start" if runs == [(a + 1, b) for a, b in answers if b > a + 1] else "elsewhere"


def _by_first_id(input_ids, labels, header, end):
    return mask_fault(input_ids, labels, header[:1], end)


def _any_missing_end(input_ids, labels, header, end):
    """Any end of an answer without loss counts as "no end"."""
    ends = [stop - 1 for _, stop, ended in answers_among(input_ids, len(input_ids), header, end) if ended]
    if any(labels[place] == IGNORE for place in ends):
        return "no end"
    return mask_fault(input_ids, labels, header, end)


def _any_missing_start(input_ids, labels, header, end):
    """Any first token of an answer without loss counts as "late start"."""
    starts = [start for start, _, _ in answers_among(input_ids, len(input_ids), header, end)]
    if any(labels[place] == IGNORE for place in starts):
        return "late start"
    return mask_fault(input_ids, labels, header, end)


FAULT_MISTAKES = [
    (
        "The header's first id begins every turn, the user's, too. An answer begins after the whole header.",
        _by_first_id,
    ),
    (
        'One end marker without loss is not yet "no end". All answers must lack their ends, and the rest of '
        "every answer must carry loss.",
        _any_missing_end,
    ),
    (
        'A first token without loss is not yet "late start". All answers must lack their first tokens, and '
        "the rest of every answer must carry loss.",
        _any_missing_start,
    ),
    (
        'A mask that lies elsewhere may also lack the end markers. It is "no end" only if the rest of every '
        "answer carries loss.",
        _by_presence_of_end,
    ),
    ("You check only the last answer. A conversation has several.", _last_answer_in_the_row),
    ("You check only the first answer. A conversation has several.", _first_answer_only),
    ("You check only the first answer. A conversation has several.", _first_answer_in_the_row),
    ("You check only the last answer. A conversation has several.", _last_answer_only),
    (
        "The word assistant occurs in questions, too. An answer begins after the whole header.",
        _by_header_word,
    ),
    ("Labels are not shifted: the label at a position is the token at that position.", _expecting_shift),
    (
        "You check only the answers. Loss on a header or a question is a fault, too: it lies elsewhere.",
        _blind_outside,
    ),
    (
        "The numbers of tokens agree, but the positions do not. Compare which tokens carry loss, not how "
        "many.",
        _by_counts,
    ),
    (
        '"late start" and "no end" are swapped.',
        _fault(lambda verdict, *_: {"late start": "no end", "no end": "late start"}.get(verdict, verdict)),
    ),
    ("You call every mask right.", lambda input_ids, labels, header, end: "right"),
    ("Token 0 is a token like all others. A token carries no loss if its label is -100.", _above_0),
    (
        "You compare the labels' values. Shifted labels have the right values at wrong positions: compare "
        "the positions.",
        _by_label_values,
    ),
]

EXERCISE = Exercise(
    name="mask_fault",
    lesson="08",
    minutes=8,
    difficulty=2,
    reference=mask_fault,
    check=compare(
        mask_fault,
        _masks,
        FAULT_MISTAKES,
        else_="Compare the positions with loss to the positions of the answers and their ends.",
    ),
    wrong=[
        (lambda input_ids, labels, header, end: None, "Is there a return"),
        (_fault(lambda verdict, *_: verdict == "right"), "should be"),
        (
            _fault(lambda verdict, *_: "right" if verdict == "right" else "elsewhere"),
            "Compare the positions with loss",
        ),
    ],
    right=[_by_spans, _by_runs],
    hints=(
        "First find the positions of the answers: from after a header up to and including the next end "
        "marker. Then compare them with the positions whose label is not -100.",
        "Make three sets of positions: all of every answer, all but the last of each, all but the first of "
        "each. The positions with loss equal one of the three, or the mask lies elsewhere.",
    ),
    then="Your function gives the verdicts below.",
)
