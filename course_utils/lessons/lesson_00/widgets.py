"""A playground for sampling."""

from __future__ import annotations

from typing import Any

from course_utils.widgets import control


def sampling(
    model: Any,
    tokenizer: Any,
    prompt: str = "The capital of France is",
    max_new_tokens: int = 20,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
) -> None:
    """Print a sampled continuation, and draw the ten most probable next tokens under the sampling rules."""
    import torch

    from course_utils import plots
    from course_utils.generation import filter_logits, generate

    settings = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    text = generate(model, tokenizer, [prompt], max_new_tokens=max_new_tokens, seed=seed, **settings)[0]
    print(f"{prompt}[{text}]")
    ids = torch.tensor([tokenizer(prompt)["input_ids"]], device=model.device)
    with torch.no_grad():
        logits = model(ids).logits[:, -1].float()
    if temperature == 0:
        probabilities = torch.nn.functional.one_hot(logits[0].argmax(), logits.shape[-1]).float()
    else:
        probabilities = filter_logits(logits, temperature, top_k, top_p)[0].softmax(-1)
    best = probabilities.topk(10)
    left = int((probabilities > 0).sum())
    tokens = [tokenizer.decode([token]) for token in best.indices.tolist()]
    plots.bars(
        dict(zip(tokens, best.values.tolist(), strict=True)),
        f"{left:,} token{'s' if left > 1 else ''} can come next; the ten most probable",
        "probability",
    )


def sampling_playground(model: Any, tokenizer: Any, prompt: str = "The capital of France is") -> None:
    """Controls for `sampling`: prompt, temperature, top-k, top-p, seed."""

    def show(
        prompt: str, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0, seed: int = 0
    ) -> None:
        sampling(model, tokenizer, prompt, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)

    control(
        show, prompt=prompt, temperature=(0.0, 2.0, 0.1), top_k=(0, 50), top_p=(0.05, 1.0, 0.05), seed=(0, 20)
    )
