"""Shared by exercises of lesson 08: ids of conversations, and the positions of answers in them."""

import torch

from course_utils.data import IGNORE


def stretches(labels):
    """(start, stop) of each span with loss."""
    learn = [False, *(label != IGNORE for label in labels), False]
    edges = [place for place in range(len(labels) + 1) if learn[place] != learn[place + 1]]
    return list(zip(edges[::2], edges[1::2], strict=True))


def conversation_ids(header, end, *turns):
    """Ids of turns: a number is an answer of that many tokens, a list a user turn with these ids."""
    start, user, newline = header[0], 6, header[-1]
    ids = []
    for turn in turns:
        own = turn if isinstance(turn, list) else torch.randint(40, 90, (turn,)).tolist()
        ids += [start, user, newline] if isinstance(turn, list) else header
        ids += [*own, end, newline]
    return ids


CHATML = [1, 7, 8], 2  # <|im_start|>assistant newline, <|im_end|>
SHORT = [11, 4], 3


def answers_among(ids, real, header, end):
    """(start, stop) of every answer among the row's real tokens, and whether it has its end."""
    found = []
    for start in range(len(header), real + 1):
        if ids[start - len(header) : start] == header:
            ended = end in ids[start:real]
            found.append((start, ids.index(end, start) + 1 if ended else real, ended))
    return found
