"""Ways to label a conversation, right and wrong; four of them are the runs of the bug hunt in lesson 08.

Read them after the hunt. Each takes the tokenizer and a correctly encoded Example and returns another.
"""

from course_utils.chatml import marker_ids
from course_utils.data import IGNORE, Example, encode


def right(tokenizer, example):
    """Loss on the answers and their end markers."""
    return example


def no_end(tokenizer, example):
    """Padding has the end marker's id, and the loss is taken off every token with that id."""
    _, end = marker_ids(tokenizer)
    return Example(example.input_ids, [IGNORE if label == end else label for label in example.labels])


def late_start(tokenizer, example):
    """The mask starts one token late: the first token of an answer carries no loss."""
    before = [IGNORE, *example.labels[:-1]]
    kept = [label if last != IGNORE else IGNORE for last, label in zip(before, example.labels, strict=True)]
    return Example(example.input_ids, kept)


def by_the_word(tokenizer, example):
    """Loss from the word "assistant" to the next end marker; the system line holds that word too."""
    ids, (_, end) = example.input_ids, marker_ids(tokenizer)
    start = next(n for n in range(1, len(ids)) if tokenizer.decode(ids[:n]).endswith("assistant"))
    stop = ids.index(end, start) + 1
    return Example(ids, [IGNORE] * start + ids[start:stop] + [IGNORE] * (len(ids) - stop))


def everything(tokenizer, example):
    """Loss on all tokens."""
    return Example(example.input_ids, list(example.input_ids))


def shifted_twice(tokenizer, example):
    """The labels are shifted here, and the loss shifts them again."""
    return Example(example.input_ids, [*example.labels[1:], IGNORE])


def no_newline(tokenizer, example):
    """The header of an answer has no newline: a template other than at serving."""
    header = [marker_ids(tokenizer)[0], *encode(tokenizer, "assistant\n")]
    kept = [
        place
        for place in range(len(example.input_ids))
        if example.input_ids[max(0, place + 1 - len(header)) : place + 1] != header
    ]
    return Example([example.input_ids[place] for place in kept], [example.labels[place] for place in kept])


SUSPECTS = {"A": by_the_word, "B": right, "C": no_end, "D": late_start}
MISTAKES = {
    "right": right,
    "no loss on the end marker": no_end,
    "first token without loss": late_start,
    "mask by the word": by_the_word,
    "loss on everything": everything,
    "labels shifted twice": shifted_twice,
    "no newline in the header": no_newline,
}
