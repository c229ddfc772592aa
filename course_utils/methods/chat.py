"""Chatting with a tuned model: streamed answers, in a conversation that may outgrow the context."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from course_utils.chatml import IM_END, SYSTEM, encode_content, encode_conversation
from course_utils.data import encode
from course_utils.generation import stream_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def stream_reply(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[dict],
    *,
    max_new_tokens: int = 160,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
) -> Iterator[str]:
    """The model's next turn, yielded in pieces; a character of several tokens comes in one piece."""
    end = tokenizer.convert_tokens_to_ids(IM_END)
    device = next(model.parameters()).device
    ids = torch.tensor([encode_conversation(tokenizer, messages, True).input_ids], device=device)
    room = getattr(model.config, "max_position_embeddings", ids.shape[1] + max_new_tokens) - ids.shape[1]
    stream = stream_tokens(
        model,
        ids,
        max_new_tokens=min(room, max_new_tokens),
        temperature=temperature,
        top_p=top_p,
        stop_ids=(end, tokenizer.eos_token_id),
        generator=torch.Generator(device).manual_seed(seed),
    )
    said, text, shown = [], "", ""
    for token in stream:
        if token in (end, tokenizer.eos_token_id):
            break
        said.append(token)
        text = tokenizer.decode(said, clean_up_tokenization_spaces=False)
        if not text.endswith("\ufffd"):
            yield text[len(shown) :]
            shown = text
    if text != shown:  # the text ends within a character
        yield text[len(shown) :]


def fit_context(messages: list[dict], length: Callable[[list[dict]], int], limit: int) -> list[dict]:
    """The conversation without its oldest exchanges, as many as needed for length(messages) <= limit.

    The system message, if any, and the last user turn stay.
    """
    start = 1 if messages[0]["role"] == "system" else 0
    head, turns = messages[:start], messages[start:]
    while len(turns) > 2 and length(head + turns) > limit:
        turns = turns[2:]  # a question and its answer
    return head + turns


def count_tokens(tokenizer: PreTrainedTokenizerBase, messages: Sequence[dict]) -> int:
    """Number of tokens of the conversation with the answer's header, whatever the context length."""
    if messages[0]["role"] != "system":
        messages = [{"role": "system", "content": SYSTEM}, *messages]
    contents = [len(encode_content(tokenizer, message["content"])) for message in messages]
    headers = [len(encode(tokenizer, message["role"] + "\n")) for message in messages]
    around = 2 + len(encode(tokenizer, "\n"))  # <|im_start|>, <|im_end|> and the newline
    return sum(contents) + sum(headers) + around * len(messages) + 1 + len(encode(tokenizer, "assistant\n"))


def chat(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    messages: list[dict],
    text: str,
    *,
    max_new_tokens: int = 160,
    fit: Callable[..., list[dict]] = fit_context,
    **sampling: Any,
) -> Iterator[str]:
    """Yield the answer to the user's text in pieces, and add both turns to the conversation, in place.

    The model reads as many of the latest exchanges as leave room for max_new_tokens, chosen by `fit`.
    """
    user = {"role": "user", "content": text}
    limit = getattr(model.config, "max_position_embeddings", 2**31) - max_new_tokens
    read = fit([*messages, user], lambda turns: count_tokens(tokenizer, turns), limit)
    answer = ""
    for piece in stream_reply(model, tokenizer, read, max_new_tokens=max_new_tokens, **sampling):
        answer += piece
        yield piece
    messages += [user, {"role": "assistant", "content": answer.strip()}]
