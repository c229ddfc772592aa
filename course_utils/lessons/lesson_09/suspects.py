"""The three runs of lesson 09's bug hunt, whose answers do not end. Read them after the hunt."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from course_utils.chatml import encode_conversation, marker_ids
from course_utils.data import IGNORE, Example, batches
from course_utils.generation import sample_rows
from course_utils.training import scored_lm_loss, train


@dataclass(frozen=True)
class Run:
    """A way to tune and generate: encode(tokenizer, messages) returns an Example."""

    encode: Callable = encode_conversation
    lr: float = 1.5e-3
    stops_at_end: bool = True

    def stop_ids(self, tokenizer) -> tuple[int, ...]:
        """The ids at which the run's generation stops."""
        end = (marker_ids(tokenizer)[1],) if self.stops_at_end else ()
        return (*end, tokenizer.eos_token_id)


def without_end_marker(tokenizer, messages):
    """A conversation as an Example with loss only on the assistant's words."""
    example = encode_conversation(tokenizer, messages)
    end = marker_ids(tokenizer)[1]
    return Example(example.input_ids, [IGNORE if label == end else label for label in example.labels])


RUNS = {
    "sound": Run(),
    "A": Run(stops_at_end=False),
    "B": Run(encode=without_end_marker),
    "C": Run(lr=1.5e-5),
}


def tune(base, tokenizer, conversations: Sequence[list[dict]], steps: int, seed: int, autocast) -> dict:
    """{name: (model, losses)} of all runs; runs with the same training share their model."""
    trained = {}
    for name, run in RUNS.items():
        if (run.encode, run.lr) not in trained:
            model = copy.deepcopy(base)
            options = {"label": f"run {name}", "autocast": autocast}
            losses = tune_one(run, model, tokenizer, conversations, steps, seed, **options)
            trained[run.encode, run.lr] = model, losses
    return {name: trained[run.encode, run.lr] for name, run in RUNS.items()}


def tune_one(
    run: Run, model, tokenizer, conversations: Sequence[list[dict]], steps: int, seed: int, **options
) -> list[float]:
    """Tune the model in place as the run does; the loss of every step. options go to training.train."""
    examples = [run.encode(tokenizer, messages) for messages in conversations]
    stream = batches(examples, 16, seed, tokenizer.pad_token_id)
    settings = {"steps": steps, "lr": run.lr, "seed": seed, "loss_fn": scored_lm_loss, **options}
    return train(model, stream, **settings).column("loss")[1]


def answers(
    run: Run, model, tokenizer, conversations: Sequence[list[dict]], max_new_tokens: int = 24
) -> list[tuple[str, bool]]:
    """(the generated text without the markers; whether it stopped at the end marker) for each conversation.
    The end of text also stops generation, but is not an end marker.
    """
    rows = _generated(run, model, tokenizer, conversations, max_new_tokens)
    return [
        (_text(tokenizer, row, run.stop_ids(tokenizer)), _stop(tokenizer, row, run) == "end marker")
        for row in rows
    ]


def stops(
    run: Run, model, tokenizer, conversations: Sequence[list[dict]], max_new_tokens: int = 24
) -> list[str]:
    """Where the answer to each conversation stopped: "end marker", "end of text" or "cut off"."""
    rows = _generated(run, model, tokenizer, conversations, max_new_tokens)
    return [_stop(tokenizer, row, run) for row in rows]


def _generated(run: Run, model, tokenizer, conversations, max_new_tokens: int) -> list[list[int]]:
    return sample_rows(
        model,
        [encode_conversation(tokenizer, messages, True).input_ids for messages in conversations],
        tokenizer.pad_token_id,
        batch_size=64,
        seed=0,
        max_new_tokens=max_new_tokens,
        temperature=0.0,
        top_k=0,
        top_p=1.0,
        stop_ids=run.stop_ids(tokenizer),
    )


def _length(row: list[int], stop_ids: Sequence[int]) -> int:
    return next((place for place, token in enumerate(row) if token in stop_ids), len(row))


def _text(tokenizer, row: list[int], stop_ids: Sequence[int]) -> str:
    kept = row[: _length(row, stop_ids)]
    return tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False).strip()


def _stop(tokenizer, row: list[int], run: Run) -> str:
    place = _length(row, run.stop_ids(tokenizer))
    if place == len(row):
        return "cut off"
    return "end marker" if row[place] == marker_ids(tokenizer)[1] else "end of text"
