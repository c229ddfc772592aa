"""Instruction tuning (supervised fine-tuning on conversations): full, or with LoRA and the markers' rows.

Conversations are lists of {"role", "content"}; the loss is on the assistant's words and its <|im_end|>.
"""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from course_utils.chatml import IM_END, add_chat_tokens, encode_conversation
from course_utils.data import DATA, Example, batches, load_questions
from course_utils.evaluation import question_text
from course_utils.generation import pad_left, sample_tokens
from course_utils.pretrain.stories import story
from course_utils.training import History, train


def as_conversation(question: dict) -> list[dict]:
    """A row of data/questions as a user's question and the assistant's answer."""
    return [
        {"role": "user", "content": question_text(question)},
        {"role": "assistant", "content": question["completion"].strip()},
    ]


def encode_all(tokenizer, conversations: Sequence[list[dict]], everything: bool = False) -> list[Example]:
    """Conversations as examples: loss on the answers alone or, to compare, on everything."""
    examples = [encode_conversation(tokenizer, messages) for messages in conversations]
    if everything:
        return [Example(example.input_ids, list(example.input_ids)) for example in examples]
    return examples


def instruction_tune(
    model, tokenizer, conversations: Sequence[list[dict]], *, steps: int, lr: float = 3e-4,
    batch_size: int = 16, seed: int = 0, everything: bool = False, **options
) -> History:  # fmt: skip
    """Trains the model's trainable parameters on the conversations, in place.

    Adds the markers and the template where they are missing. everything: loss on all tokens, not on the
    answers alone. options go to training.train.
    """
    add_chat_tokens(model, tokenizer)
    examples = encode_all(tokenizer, conversations, everything)
    stream = batches(examples, batch_size, seed, tokenizer.pad_token_id)
    return train(model, stream, steps=steps, lr=lr, seed=seed, **{"label": "instruction tuning", **options})


@dataclass(frozen=True)
class Reply:
    """What the model said, and whether it ended its turn itself with <|im_end|>."""

    text: str
    ended: bool


@torch.no_grad()
def replies(
    model, tokenizer, conversations: Sequence[list[dict]], *, max_new_tokens: int = 32,
    temperature: float = 0.0, top_k: int = 0, top_p: float = 1.0, seed: int = 0, batch_size: int = 64
) -> list[Reply]:  # fmt: skip
    """The model's next turn in each conversation, whose last turn is a user's.

    ValueError where a conversation and max_new_tokens do not fit into the context.
    """
    end = tokenizer.convert_tokens_to_ids(IM_END)
    prompts = [encode_conversation(tokenizer, messages, True).input_ids for messages in conversations]
    context = getattr(model.config, "max_position_embeddings", None)
    if context and prompts and (longest := max(map(len, prompts))) + max_new_tokens > context:
        raise ValueError(
            f"a conversation of {longest} tokens and {max_new_tokens} new ones are more than the model's "
            f"context of {context}; drop early turns or lower max_new_tokens"
        )
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))  # little padding
    said, training = [Reply("", False)] * len(prompts), model.training
    model.eval()
    try:
        for start in range(0, len(order), batch_size):
            chunk = order[start : start + batch_size]
            batch = pad_left([prompts[index] for index in chunk], tokenizer.pad_token_id, device)
            new = sample_tokens(
                model, *batch, max_new_tokens=max_new_tokens, temperature=temperature, top_k=top_k,
                top_p=top_p, stop_ids=(end, tokenizer.eos_token_id), generator=generator,
            )  # fmt: skip
            for index, row in zip(chunk, new.tolist(), strict=True):
                said[index] = _reply(tokenizer, row, end)
    finally:
        model.train(training)
    return said


def _reply(tokenizer, row, end):
    stops = (end, tokenizer.eos_token_id)
    length = next((position for position, token in enumerate(row) if token in stops), len(row))
    text = tokenizer.decode(row[:length], clean_up_tokenization_spaces=False).strip()
    return Reply(text, row[length : length + 1] == [end])


RELATIONS = ("capital", "currency", "young", "symbol")  # asked about in tuning; hard to guess


def mixture(seed: int = 0) -> list[list[dict]]:
    """What the assistant is tuned on in one pass: questions eight times, texts to read and stories twice.

    Texts that came more often would be learned instead of read.
    """
    asked = [as_conversation(row) for row in load_questions("tune") if row["relation"] in RELATIONS]
    read = [as_conversation(row) for row in load_questions("reading")]
    rng = random.Random(seed)
    told = [
        [{"role": "user", "content": "Tell me a story."}, {"role": "assistant", "content": story(rng).text}]
        for _ in range(300)
    ]
    return 8 * asked + 2 * (read + told)


def data_checksum() -> str:
    """SHA-256 of the files that `mixture` reads."""
    digest = hashlib.sha256()
    for name in ("tune", "reading"):
        digest.update((DATA / "questions" / f"{name}.jsonl").read_bytes())
    return digest.hexdigest()


def assistant(session, model, tokenizer) -> History:
    """Tunes the session's model into the assistant that later lessons start from, in place."""
    conversations = mixture(session.seed)
    steps = -(-len(conversations) // 16)
    return instruction_tune(
        model, tokenizer, conversations, steps=session.steps(quick=steps, full=2 * steps),
        seed=session.seed, autocast=session.autocast,
    )  # fmt: skip
