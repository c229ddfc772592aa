"""Five ways to ask a tuned model for an answer, and how its answers end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from course_utils.chatml import IM_END, IM_START, SYSTEM, encode_conversation, marker_ids
from course_utils.data import encode

AS_TRAINED = "as in training"


def prompts(tokenizer: Any, question: str) -> dict[str, list[int]]:
    """{name: ids of the prompt}: with the template of training, and with four others."""
    message = {"role": "user", "content": question}
    right = encode_conversation(tokenizer, [message], add_generation_prompt=True).input_ids
    system_line = len(encode(tokenizer, f"{IM_START}system\n{SYSTEM}{IM_END}\n"))
    return {
        AS_TRAINED: right,
        "no system line": right[system_line:],
        "no newline": right[:-1],
        "a blank added": right + encode(tokenizer, " "),
        "no ChatML": encode(tokenizer, f"Question: {question}\nAnswer:"),
    }


def endings(model: Any, tokenizer: Any, asked: Sequence[list[int]], longest: int) -> dict[str, float]:
    """Shares of answers that end with the end marker, with the end of text, or are cut off (`longest`)."""
    from course_utils.generation import sample_rows

    end, eos = marker_ids(tokenizer)[1], tokenizer.eos_token_id
    sampling = {"max_new_tokens": longest, "temperature": 0.0, "stop_ids": (end, eos)}
    rows = sample_rows(model, asked, tokenizer.pad_token_id, batch_size=64, seed=0, **sampling)
    last = [next((token for token in row if token in (end, eos)), None) for row in rows]
    names = {"end marker": end, "end of text": eos, "cut off": None}
    return {name: sum(token == wanted for token in last) / len(last) for name, wanted in names.items()}
