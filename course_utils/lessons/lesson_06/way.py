"""An error on its way through a model: in the layers' outputs, and in the stream after each block."""

from __future__ import annotations

import torch


@torch.no_grad()
def output_changes(model, weights, changed, inputs):
    """{layer: relative change of its outputs at the base model's inputs}.

    weights, changed: {layer: [out, in]}; inputs: input_ids and attention_mask.
    """
    real, found = inputs["attention_mask"].bool(), {}

    def comparing(name):
        def compare(module, given, output):
            x = given[0][real]  # (tokens, in)
            found[name] = _relative(x @ (changed[name] - weights[name]).T, x @ weights[name].T)

        return compare

    hooks = [model.get_submodule(name).register_forward_hook(comparing(name)) for name in weights]
    model(**inputs)
    for hook in hooks:
        hook.remove()
    return found


@torch.no_grad()
def stream_changes(model, changed, inputs):
    """Relative change after each block of a changed model, and, as the last, after the final norm."""
    pairs = zip(*(_stream(each, inputs) for each in (model, changed)), strict=True)
    return [_relative(after - before, before) for before, after in pairs]


def _stream(model, inputs):
    """What follows each block at the real tokens, and what follows the final norm."""
    body, real, found = model.base_model, inputs["attention_mask"].bool(), []
    norm = body.ln_f if hasattr(body, "ln_f") else body.norm
    hook = norm.register_forward_pre_hook(lambda module, given: found.append(given[0][real]))
    *states, last = model(**inputs, output_hidden_states=True).hidden_states[1:]
    hook.remove()
    return [*(state[real] for state in states), *found, last[real]]


@torch.no_grad()
def input_sums(model, names, inputs):
    """{layer: size of the sum of a token's inputs, over what it would be if their signs were unrelated}."""
    real, found = inputs["attention_mask"].bool(), {}

    def summing(name):
        def add_up(module, given, output):
            x = given[0][real]  # (tokens, in)
            found[name] = float(x.sum(1).norm() / x.norm())

        return add_up

    hooks = [model.get_submodule(name).register_forward_hook(summing(name)) for name in names]
    model(**inputs)
    for hook in hooks:
        hook.remove()
    return found


def over_blocks(values):
    """{kind of layer: mean over the blocks} of {layer: number}; a kind is what follows the block's number."""
    kinds = {}
    for name, value in values.items():
        kinds.setdefault(name.split(".", 3)[-1], []).append(value)
    return {kind: sum(each) / len(each) for kind, each in kinds.items()}


def centred(logits):
    """Logits without the part that all words of a position have in common, which changes no probability."""
    return logits - logits.mean(-1, keepdim=True)


def _relative(change, of):
    return float(change.norm() / of.norm())
