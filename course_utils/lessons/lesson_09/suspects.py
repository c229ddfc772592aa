"""The three runs of the bug hunt in lesson 09, whose answers do not end. Read them after the hunt."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from course_utils.chatml import encode_conversation, marker_ids
from course_utils.data import IGNORE, Example
from course_utils.generation import sample_rows


@dataclass(frozen=True)
class Run:
    """How somebody tunes and generates: encode(tokenizer, messages) gives an Example."""

    encode: Callable = encode_conversation
    lr: float = 6e-4
    stops_at_end: bool = True

    def stop_ids(self, tokenizer) -> tuple[int, ...]:
        """The ids at which the run's generation stops."""
        end = (marker_ids(tokenizer)[1],) if self.stops_at_end else ()
        return (*end, tokenizer.eos_token_id)


def without_terminator(tokenizer, messages):
    """A conversation as an Example with the loss on the assistant's words alone."""
    example = encode_conversation(tokenizer, messages)
    end = marker_ids(tokenizer)[1]
    return Example(example.input_ids, [IGNORE if label == end else label for label in example.labels])


SOUND = Run()
RUNS = {"A": Run(stops_at_end=False), "B": Run(encode=without_terminator), "C": Run(lr=6e-6)}


def answers(
    run: Run, model, tokenizer, conversations: Sequence[list[dict]], max_new_tokens: int = 24
) -> list[tuple[str, bool]]:
    """(what the run's generation gives, without the markers; whether it ended) for each conversation."""
    stops = run.stop_ids(tokenizer)
    rows = sample_rows(
        model,
        [encode_conversation(tokenizer, messages, True).input_ids for messages in conversations],
        tokenizer.pad_token_id,
        batch_size=64,
        seed=0,
        max_new_tokens=max_new_tokens,
        temperature=0.0,
        top_k=0,
        top_p=1.0,
        stop_ids=stops,
    )
    found = []
    for row in rows:
        length = next((place for place, token in enumerate(row) if token in stops), len(row))
        text = tokenizer.decode(row[:length], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        found.append((text.strip(), length < len(row)))
    return found
