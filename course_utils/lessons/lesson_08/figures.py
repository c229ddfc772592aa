"""A conversation as its tokens."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from course_utils.chatml import encode_conversation, marker_ids
from course_utils.data import IGNORE, text_of
from course_utils.drawing import Picture


def conversation(tokenizer: Any, messages: Sequence[dict]) -> None:
    """A conversation's tokens, one message per line, and which of them carry loss."""
    example = encode_conversation(tokenizer, messages)
    start, end = marker_ids(tokenizer)
    begins = [i for i, token in enumerate(example.input_ids) if token == start] + [len(example.input_ids)]
    picture = Picture("Which tokens of a conversation does the model learn from?")
    for first, after in itertools.pairwise(begins):
        ids, labels = example.input_ids[first:after], example.labels[first:after]
        kinds = [
            "loss" if label != IGNORE else None if token in (start, end) else "data"
            for token, label in zip(ids, labels, strict=True)
        ]
        role = tokenizer.decode(ids[1:]).partition("\n")[0]
        picture.flow(picture.bottom + 0.6, role, [text_of(tokenizer, token) for token in ids], kinds)
    picture.key()
