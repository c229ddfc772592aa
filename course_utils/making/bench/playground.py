"""The playground's engine in Chromium against torch: tokens one by one, and a step of LoRA."""

import atexit
from contextlib import ExitStack
from functools import cache

import torch

from course_utils.making.bench.timing import row
from course_utils.making.chromium import engine_page, missing, started_browser
from course_utils.methods.lora import apply_lora
from course_utils.model_files import ModelError
from course_utils.models import load_model
from course_utils.playground.probes import fact_to_teach

WRITTEN_TOKENS = 32
PLAYGROUND_RANK = 4
LORA_STEP = """kind => {
    const model = models[kind];
    if (!window.optimizers) window.optimizers = {};
    if (!optimizers[kind]) {
        setAdapter(linearLayers(model), newAdapter(linearLayers(model), 4, 0));
        optimizers[kind] = new Adam(model, 5e-4);
    }
    trainStep(model, optimizers[kind], [encodeFact(tokenizer, %s)]);
}"""
CONTINUE = """kind => {
    let count = 0;
    setAdapter(linearLayers(models[kind]), null);
    for (const id of continued(models[kind], tokenizer.encode("One day"))) if (++count === %d) break;
}"""


@cache
def engine():
    """The engine's page, which lives until the process ends. ModelError where Chromium is missing."""
    if why := missing():
        raise ModelError(why)
    stack = ExitStack()
    atexit.register(stack.close)
    return engine_page(stack.enter_context(started_browser()))


def timed_in_page(code, kind):
    return lambda: engine().evaluate(code, kind)


def written_by_torch():
    model, tokenizer = load_model("pocket")
    ids = torch.tensor([tokenizer.encode("One day")])
    return lambda: model.generate(
        ids, max_new_tokens=WRITTEN_TOKENS, min_new_tokens=WRITTEN_TOKENS, do_sample=False
    )


def step_of_torch():
    model, tokenizer = load_model("pocket")
    fact = fact_to_teach()
    prompt = tokenizer.encode(fact["prompt"])
    ids = torch.tensor([tokenizer.encode(f"{fact['prompt']} {fact['answer']}.")])
    apply_lora(model, PLAYGROUND_RANK, PLAYGROUND_RANK)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 5e-4)

    def step():
        logits = model(ids[:, :-1]).logits[0, len(prompt) - 1 :]
        torch.nn.functional.cross_entropy(logits, ids[0, len(prompt) :]).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


@row(f"playground, {WRITTEN_TOKENS} tokens with the kernel, against torch")
def tokens_with_the_kernel():
    return timed_in_page(CONTINUE % WRITTEN_TOKENS, "kernel"), written_by_torch()


@row(f"playground, {WRITTEN_TOKENS} tokens in plain JavaScript, against torch")
def tokens_in_javascript():
    return timed_in_page(CONTINUE % WRITTEN_TOKENS, "plain"), written_by_torch()


@row("playground, a LoRA step with the kernel, against torch")
def step_with_the_kernel():
    return timed_in_page(LORA_STEP % fact_to_teach(), "kernel"), step_of_torch()


@row("playground, a LoRA step in plain JavaScript, against torch")
def step_in_javascript():
    return timed_in_page(LORA_STEP % fact_to_teach(), "plain"), step_of_torch()
