"""Instruction tuning (supervised fine-tuning on conversations): full, or with LoRA and the markers' rows.

Conversations are lists of {"role", "content"}; the loss is on the assistant's contents and their <|im_end|>.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from course_utils.chatml import IM_END, add_chat_tokens, encode_conversation, marker_ids
from course_utils.data import Example, batches, load_conversations, load_questions
from course_utils.evaluation import question_text, score_answers
from course_utils.generation import sample_rows
from course_utils.methods.lora import apply_lora
from course_utils.methods.token_rows import train_token_rows
from course_utils.models import Model
from course_utils.training import History, scored_lm_loss, train

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from course_utils.session import Session

ASKED_RELATIONS = ("capital", "currency", "young", "symbol")  # their answers are hard to guess


def asked(split: str) -> list[dict]:
    """Questions of data/questions about the four relations: a short and a sentence question per fact."""
    return [row for row in load_questions(split) if row["relation"] in ASKED_RELATIONS]


def as_conversation(question: dict) -> list[dict]:
    """A row of data/questions as a user's question and the assistant's answer."""
    return [
        {"role": "user", "content": question_text(question)},
        {"role": "assistant", "content": question["completion"].strip()},
    ]


def prepare_lora(
    model: Model,
    tokenizer: PreTrainedTokenizerBase,
    rank: int = 16,
    alpha: float = 16.0,
    target_modules: Sequence[str] | str | None = None,
) -> Model:
    """Freezes the model but for LoRA's matrices and the markers' rows, in place; returns the model."""
    add_chat_tokens(model, tokenizer)
    apply_lora(model, rank, alpha, target_modules)
    return train_token_rows(model, marker_ids(tokenizer))


def encode_all(
    tokenizer: PreTrainedTokenizerBase, conversations: Sequence[list[dict]], everything: bool = False
) -> list[Example]:
    """Conversations as examples: loss on the answers alone or, to compare, on everything."""
    examples = [encode_conversation(tokenizer, messages) for messages in conversations]
    if everything:
        return [Example(example.input_ids, list(example.input_ids)) for example in examples]
    return examples


def instruction_tune(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[list[dict]],
    *,
    steps: int,
    lr: float = 3e-4,
    batch_size: int = 16,
    seed: int = 0,
    everything: bool = False,
    **options: Any,
) -> History:
    """Trains the model's trainable parameters on the conversations, in place.

    Adds the markers and the template where they are missing. everything: loss on all tokens, not on the
    answers alone. options go to training.train.
    """
    add_chat_tokens(model, tokenizer)
    examples = encode_all(tokenizer, conversations, everything)
    stream = batches(examples, batch_size, seed, tokenizer.pad_token_id)
    settings = {"loss_fn": scored_lm_loss, "label": "instruction tuning", **options}
    return train(model, stream, steps=steps, lr=lr, seed=seed, **settings)


@dataclass(frozen=True)
class Reply:
    """The model's answer, and whether it ended its turn with <|im_end|>."""

    text: str
    ended: bool


@torch.no_grad()
def replies(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[list[dict]],
    *,
    max_new_tokens: int = 32,
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
    batch_size: int = 64,
) -> list[Reply]:
    """The model's next turn in each conversation, whose last turn is a user's.

    ValueError if a conversation and max_new_tokens exceed the context.
    """
    end = tokenizer.convert_tokens_to_ids(IM_END)
    prompts = [encode_conversation(tokenizer, messages, True).input_ids for messages in conversations]
    context = getattr(model.config, "max_position_embeddings", None)
    if context and prompts and (longest := max(map(len, prompts))) + max_new_tokens > context:
        raise ValueError(
            f"a conversation of {longest} tokens and {max_new_tokens} new ones exceed the model's "
            f"context of {context}; drop early turns or lower max_new_tokens"
        )
    rows = sample_rows(
        model,
        prompts,
        tokenizer.pad_token_id,
        batch_size=batch_size,
        seed=seed,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        stop_ids=(end, tokenizer.eos_token_id),
    )
    return [_reply(tokenizer, row, end) for row in rows]


def _reply(tokenizer: PreTrainedTokenizerBase, row: list[int], end: int) -> Reply:
    stops = (end, tokenizer.eos_token_id)
    length = next((position for position, token in enumerate(row) if token in stops), len(row))
    text = tokenizer.decode(row[:length], clean_up_tokenization_spaces=False).strip()
    return Reply(text, row[length : length + 1] == [end])


def answered(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase, questions: Sequence[dict]
) -> dict[str, float]:
    """Shares of right answers to short and sentence questions, and of answers that end with <|im_end|>."""
    said = replies(model, tokenizer, [as_conversation(row)[:1] for row in questions])
    shares = {}
    for kind in ("short", "sentence"):
        pairs = [(reply.text, row) for reply, row in zip(said, questions, strict=True) if row["kind"] == kind]
        shares[kind] = score_answers([text for text, _ in pairs], [row for _, row in pairs])[0]
    return shares | {"ended": sum(reply.ended for reply in said) / len(said)}


PASSES = 2  # over the training conversations, at quick scale


def assistant(session: Session, model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> History:
    """Tune the session's model into the assistant that later lessons start from, in place."""
    conversations = [row["messages"] for row in load_conversations("train")]
    steps = PASSES * len(conversations) // 16
    return instruction_tune(
        model,
        tokenizer,
        conversations,
        steps=session.steps(quick=steps, full=2 * steps),
        seed=session.seed,
        autocast=session.autocast,
    )
