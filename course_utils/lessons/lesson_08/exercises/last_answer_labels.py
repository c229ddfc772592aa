"""Lesson 08, last_answer_labels: labels of the last answer."""

import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.data import IGNORE
from course_utils.lessons.lesson_08.exercises.shared import CHATML, SHORT, answers_among, conversation_ids


def last_answer_labels(input_ids, attention_mask, header, end):
    """Labels [batch, tokens]: loss on each row's last answer and its end, else -100.

    header: the ids after which an answer begins; end: the id that ends it.
    input_ids and attention_mask: [batch, tokens].
    """
    labels = torch.full_like(input_ids, -100)
    for row, ids in enumerate(input_ids.tolist()):
        places = range(len(header), len(ids) + 1)
        starts = [place for place in places if ids[place - len(header) : place] == header]
        if starts:
            start = starts[-1]
            stop = ids.index(end, start) + 1 if end in ids[start:] else len(ids)
            labels[row, start:stop] = input_ids[row, start:stop]
    return labels.masked_fill(attention_mask == 0, -100)


def _padded(rows, pad, header, end):
    """A padded batch; the longest row has no padding."""
    width = max(map(len, rows))
    ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return ids, mask, header, end


def _chats(header, end, pad):
    """The word assistant in user turns, several answers, a final user turn, a truncated answer."""
    word = header[1:]
    rows = [
        conversation_ids(header, end, [30, *word, 31], 2),
        conversation_ids(header, end, [41], 3, [42, 0], 4),
        conversation_ids(header, end, [43], 2, [*word, 44]),
        conversation_ids(header, end, [45, 46], 5)[:-3],
    ]
    rows[1][-4] = 0  # a token of the answer
    return _padded(rows, pad, list(header), end)


def _no_answer():
    header, end = CHATML
    rows = [conversation_ids(header, end, [41], 2), conversation_ids(header, end, [42, 43, 44])]
    return _padded(rows, 0, list(header), end)


def _learning(spans):
    """A wrong last_answer_labels: spans(a row's answers, its tokens, header) gives (start, stop) pairs."""

    def wrong(input_ids, attention_mask, header, end):
        labels = torch.full_like(input_ids, IGNORE)
        for row, ids in enumerate(input_ids.tolist()):
            answers = answers_among(ids, int(attention_mask[row].sum()), header, end)
            for start, stop in spans(answers, ids, header):
                labels[row, start:stop] = input_ids[row, start:stop]
        return labels

    return wrong


def _last(change):
    """A wrong last_answer_labels: change(start, stop, ended, length of the header) for the last answer."""
    return _learning(lambda answers, ids, header: [change(*answers[-1], len(header))] if answers else [])


def _by_word(input_ids, attention_mask, header, end):
    return last_answer_labels(input_ids, attention_mask, header[1:], end)


def _padding_too(input_ids, attention_mask, header, end):
    return last_answer_labels(input_ids, torch.ones_like(attention_mask), header, end)


def _without(token):
    """A wrong last_answer_labels: it treats token(input_ids, attention_mask) as padding."""

    def wrong(input_ids, attention_mask, header, end):
        labels = last_answer_labels(input_ids, attention_mask, header, end)
        return labels.masked_fill(input_ids == token(input_ids), IGNORE)

    return wrong


def _only_first_row(input_ids, attention_mask, header, end):
    labels = last_answer_labels(input_ids, attention_mask, header, end)
    labels[1:] = IGNORE
    return labels


def _shifted(*arguments):
    return torch.roll(last_answer_labels(*arguments), -1, 1)


def _raising(error):
    """A wrong last_answer_labels that raises error at a row without an answer."""

    def wrong(input_ids, attention_mask, header, end):
        for row, mask in zip(input_ids.tolist(), attention_mask, strict=True):
            if not answers_among(row, int(mask.sum()), header, end):
                raise error
        return last_answer_labels(input_ids, attention_mask, header, end)

    return wrong


def _row_before(input_ids, attention_mask, header, end):
    labels = torch.full_like(input_ids, IGNORE)
    for row, ids in enumerate(input_ids.tolist()):
        for start, stop, _ in answers_among(ids, int(attention_mask[row].sum()), header, end):
            span = start, stop
        labels[row, slice(*span)] = input_ids[row, slice(*span)]
    return labels


def _up_to_a_0(input_ids, attention_mask, header, end):
    labels = last_answer_labels(input_ids, attention_mask, header, end)
    for row, real in enumerate(attention_mask.argmin(1).tolist()):
        labels[row, real:] = IGNORE
    return labels


def _ids_in_place(input_ids, attention_mask, header, end):
    labels = last_answer_labels(input_ids, attention_mask, header, end)
    return input_ids.copy_(labels)


def _by_windows(input_ids, attention_mask, header, end):
    labels = torch.full_like(input_ids, IGNORE)
    windows = input_ids.unfold(1, len(header), 1)  # (batch, places, len(header))
    for row, found in enumerate((windows == torch.tensor(header)).all(-1)):
        if not found.any():
            continue
        place = int(found.nonzero()[-1]) + len(header)
        while place < input_ids.shape[1] and attention_mask[row, place]:
            labels[row, place] = input_ids[row, place]
            if input_ids[row, place] == end:
                break
            place += 1
    return labels


def _from_the_end(input_ids, attention_mask, header, end):
    size, rows = len(header), []
    for ids, real in zip(input_ids.tolist(), attention_mask.sum(1).tolist(), strict=True):
        row = [IGNORE] * len(ids)
        for start in reversed(range(size, real + 1)):
            if ids[start - size : start] == header:
                stop = next((place + 1 for place in range(start, real) if ids[place] == end), real)
                row[start:stop] = ids[start:stop]
                break
        rows.append(row)
    return torch.tensor(rows)


def _past_the_end(input_ids, attention_mask, header, end):
    """Labels from the last answer's first token to the last real token of the row."""
    labels = torch.full_like(input_ids, IGNORE)
    for row, ids in enumerate(input_ids.tolist()):
        real = int(attention_mask[row].sum())
        for start, _, _ in answers_among(ids, real, header, end)[-1:]:
            labels[row, start:real] = input_ids[row, start:real]
    return labels


NO_ANSWER = "A row without an answer has no labels: return -100 everywhere, without an error."
LAST_MISTAKES = [
    (
        "You give a row without padding no labels. Its mask has no 0 to find: use the sum of the mask, the "
        "number of its tokens.",
        _up_to_a_0,
    ),
    ("Only row 0 has labels. Each conversation of the batch is a row.", _only_first_row),
    (
        "Padding carries loss. The answer of the last row is truncated, so it has no end marker; it ends "
        "where attention_mask does.",
        _padding_too,
    ),
    (
        "The labels are one position too early: do not shift them. The label at a position is the token at "
        "that position; the loss does the shift.",
        _shifted,
    ),
    (
        "The header carries loss. The model never has to write <|im_start|>assistant: the server does.",
        _last(lambda start, stop, ended, header: (start - header, stop)),
    ),
    (
        "Off by one: the last token of the header carries loss, too.",
        _last(lambda start, stop, ended, header: (start - 1, stop)),
    ),
    (
        "Rows have two answers, and the first answer carries loss. Only the last one should.",
        _learning(lambda answers, ids, header: [span[:2] for span in answers[:1]]),
    ),
    (
        "Rows have two answers, and every answer carries loss. Only the last one should.",
        _learning(lambda answers, ids, header: [span[:2] for span in answers]),
    ),
    (
        "An answer that is cut off before its end marker has no labels. Its tokens carry loss, too, up to "
        "the row's last real token.",
        _last(lambda start, stop, ended, header: (start, stop if ended else start)),
    ),
    (
        "Off by one: the first token of the answer carries no loss.",
        _last(lambda start, stop, ended, header: (start + 1, stop)),
    ),
    (
        "The end marker carries no loss. A model trained on that never writes it.",
        _last(lambda start, stop, ended, header: (start, stop - ended)),
    ),
    (
        "Tokens after the end marker carry loss. The model is never asked to write them.",
        _last(lambda start, stop, ended, header: (start, stop + ended)),
    ),
    (
        "Labels run on to the end of the row. An answer ends with its end marker. The newline after it has "
        "no loss, nor has a question that follows.",
        _past_the_end,
    ),
    (
        "A system line or question carries loss. The word assistant occurs there as an ordinary token; the "
        "header is the whole sequence of ids.",
        _by_word,
    ),
    (
        "With the end marker as the padding token, your labels change. Detect padding by attention_mask, not "
        "by id.",
        _without(lambda ids: ids[0, -1]),
    ),
    ("You treat token 0 as padding. Detect padding by attention_mask, not by id.", _without(lambda ids: 0)),
    (NO_ANSWER, _raising(IndexError())),
    (NO_ANSWER, _raising(ValueError())),
    (NO_ANSWER, _raising(TypeError())),
]

EXERCISE = Exercise(
    name="last_answer_labels",
    lesson="08",
    minutes=12,
    difficulty=3,
    reference=last_answer_labels,
    check=compare(
        last_answer_labels,
        lambda: [_chats(*CHATML, pad=0), _chats(*SHORT, pad=3)],
        LAST_MISTAKES,
        else_="The last answer of each row and its end marker have their ids as labels, all else -100.",
        extremes=[(NO_ANSWER, lambda: [_no_answer()])],
    ),
    wrong=[
        (_row_before, "A row without an answer"),
        (lambda ids, mask, header, end: None, "Is there a return"),
        (_ids_in_place, "changes its argument input_ids in place"),
        (lambda ids, mask, header, end: last_answer_labels(ids, mask, [1, 7, 8], 2), "The last answer of"),
        (lambda ids, mask, header, end: ids, "The last answer of"),
    ],
    right=[_by_windows, _from_the_end],
    hints=(
        "Go through the rows one by one. In each, find the last occurrence of the header's ids; the answer "
        "begins right after it and ends with the next end marker.",
        "For row ids: starts = the positions p with ids[p - len(header) : p] == header; take the last. "
        "stop = one after the next `end`, or the row's length. Copy input_ids[row, start:stop] into "
        "labels filled with -100, and put -100 where attention_mask is 0.",
    ),
)
