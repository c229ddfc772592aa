"""A question to a base model and to an assistant; a playground for sampling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from course_utils import plots
from course_utils.chatml import SYSTEM
from course_utils.checks import show_texts
from course_utils.data import check_length, encode, text_of
from course_utils.generation import generate
from course_utils.methods.chat import stream_reply
from course_utils.widgets import control

Loaded = tuple[Any, Any]  # a model and its tokenizer
SYSTEM_TURN = {"role": "system", "content": SYSTEM}


def ask_both(base: Loaded, assistant: Loaded, questions: Sequence[str]) -> None:
    """A table of each question with the base model's continuation and the assistant's answer, both greedy.

    Each reads the question in the form of its training texts: the base as "Question: ... Answer:", the
    assistant as a user's turn.
    """
    forms = [f"Question: {question}\nAnswer:" for question in questions]
    continued = [text.strip() for text in generate(*base, forms, max_new_tokens=30)]
    answered = [
        "".join(stream_reply(*assistant, [SYSTEM_TURN, {"role": "user", "content": question}]))
        for question in questions
    ]
    show_texts({"before": continued, "after": answered}, list(questions))


def question_box(base: Loaded, assistant: Loaded, question: str) -> None:
    """A field for a question, and what both models make of it."""

    def show(your_question: str) -> None:
        asked = " ".join(your_question.split())
        if not asked:
            print("Type a question.")
            return
        try:
            ask_both(base, assistant, [asked])
        except ValueError as error:
            print(error)

    control(show, your_question=question)


@torch.no_grad()
def sampling(
    model: Any,
    tokenizer: Any,
    filter_logits: Callable,
    prompt: str = "One day",
    max_new_tokens: int = 20,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
) -> None:
    """Print a text sampled with filter_logits, and plot the next token's probabilities.

    An empty prompt begins a new text. ValueError if the new tokens do not fit in the context.
    """

    def probabilities(ids):
        logits = model(ids).logits[:, -1].float()  # [1, V]
        if temperature == 0:
            return torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).float()
        return filter_logits(logits, temperature, top_k, top_p).softmax(-1)

    start_ids = encode(tokenizer, prompt) or [tokenizer.eos_token_id]
    check_length([*start_ids, *[tokenizer.eos_token_id] * max_new_tokens], tokenizer, prompt)
    ids = torch.tensor([start_ids], device=model.device)
    start, first = ids.shape[1], probabilities(ids)[0]
    generator = torch.Generator(model.device).manual_seed(seed)
    for _ in range(max_new_tokens):
        ids = torch.cat([ids, probabilities(ids).multinomial(1, generator=generator)], 1)
    print(f"{prompt}[{tokenizer.decode(ids[0, start:].tolist())}]")
    best, left = first.topk(10), int((first > 0).sum())
    tokens = [text_of(tokenizer, token) for token in best.indices.tolist()]
    plots.bars(
        dict(zip(tokens, best.values.tolist(), strict=True)),
        f"{left:,} token{'s' if left > 1 else ''} can come next; the ten most probable",
        "probability",
    )


def sampling_playground(model: Any, tokenizer: Any, filter_logits: Callable, prompt: str = "One day") -> None:
    """Controls for `sampling`: prompt, temperature, top-k, top-p and seed."""

    def show(
        prompt: str, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0, seed: int = 0
    ) -> None:
        rules = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
        sampling(model, tokenizer, filter_logits, prompt, seed=seed, **rules)

    control(
        show, prompt=prompt, temperature=(0.0, 2.0, 0.1), top_k=(0, 50), top_p=(0.05, 1.0, 0.05), seed=(0, 20)
    )
