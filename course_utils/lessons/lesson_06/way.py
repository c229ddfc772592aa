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
    """Relative change after each block of a changed model; the last is after the final norm."""
    real = inputs["attention_mask"].bool()
    states = [each(**inputs, output_hidden_states=True).hidden_states[1:] for each in (model, changed)]
    return [_relative((after - before)[real], before[real]) for before, after in zip(*states, strict=True)]


def centred(logits):
    """Logits without the part that all words of a position have in common, which changes no probability."""
    return logits - logits.mean(-1, keepdim=True)


def _relative(change, of):
    return float(change.norm() / of.norm())
