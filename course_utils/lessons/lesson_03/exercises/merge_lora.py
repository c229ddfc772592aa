"""Lesson 03, merge_lora: merge."""

import copy

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from course_utils.checks.compare import Mistake, close, expect_tensor
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_03.exercises.shared import (
    LoRALinear,
    filled,
    layers_of_both_kinds,
    merge_lora,
)
from course_utils.lessons.lesson_03.small_lora import wrapped_layers
from course_utils.methods.lora import layer_sizes


class _Chain(nn.Module):
    """Wrapped layers one after the other, filled as after training, in a module of their own."""

    def __init__(self, *layers):
        super().__init__()
        self.block = nn.Module()
        self.block.layers = nn.ModuleList(filled(LoRALinear(layer, 2, 6.0)) for layer in layers)

    def forward(self, x):
        for layer in self.block.layers:
            x = layer(x)
        return x


def _check_merge_lora(fn):
    oblong, conv1d, square_conv1d, square = layers_of_both_kinds()
    _expect_merged(fn, _Chain(square_conv1d))
    _expect_merged(fn, _Chain(square))
    _expect_merged(fn, _Chain(oblong, nn.Linear(5, 7), conv1d))


def _expect_merged(fn, model):
    originals = [layer.original for layer in model.block.layers]
    x = torch.randn(3, layer_sizes(model.block.layers[0].original)[0])
    two_paths = model(x).detach()
    before = [(_weight_of(layer).clone(), _change_of(layer)) for layer in model.block.layers]
    result = fn(model)
    if isinstance(result, nn.Module) and result is not model:
        raise Mistake("Change the model that is given, in place, and return nothing: this is a copy.")
    for layer, (old, change) in zip(model.block.layers, before, strict=True):
        _expect_merged_weight(layer, old, change)
    output = expect_tensor(model(x), two_paths.shape, "the merged model's output")
    if not close(output, two_paths, 1e-4):
        if wrapped_layers(model):
            raise Mistake(
                "The changes are in the weights and are still added beside them, so they count twice. Put "
                "each original back in its place."
            )
        raise Mistake("The weights are merged, and the model's output is another than with two paths.")
    for layer, original in zip(model.block.layers, originals, strict=True):
        if type(layer) is not type(original):
            raise Mistake(
                f"The output is right, and a {type(layer).__name__} still stands where the "
                f"{type(original).__name__} was. Merged, the model has its old layers: put each original "
                "back with setattr."
            )


def _weight_of(layer):
    return getattr(layer, "original", layer).weight


def _change_of(layer):
    """The change of a wrapped layer, in the layout of its weight."""
    delta = (layer.change.scale * layer.change.lora_B @ layer.change.lora_A).detach()
    return delta.T if isinstance(layer.original, Conv1D) else delta


def _expect_merged_weight(layer, old, change):
    weight = expect_tensor(_weight_of(layer), old.shape, "the merged weight")
    if weight.grad_fn is not None:
        raise Mistake("The merged weight hangs on the graph of A and B: detach the change before you add it.")
    moved = weight.detach() - old
    if close(moved, change):
        return
    if close(moved.T, change):
        kind = type(getattr(layer, "original", layer)).__name__
        raise Mistake(
            f"The change of the square {kind} lies the other way round, and no error tells you. B A is "
            "[out, in]; an nn.Linear keeps its weight like that, a Conv1D as [in, out]."
        )
    for message, wrong in (
        ("The weight is the old one: nothing was merged into it.", 0 * change),
        ("The scale is missing: what is added is scale * B A.", change / 3.0),
        ("The scale is in the change twice.", 3.0 * change),
        ("The change was added twice.", 2 * change),
        ("The change is taken off. Add it to the weight.", -change),
        ("The change stands in the weight's place. Add it to the weight.", change - old),
    ):
        if close(moved, wrong):
            raise Mistake(message)
    raise Mistake("The merged weight should be the old one plus scale * B A, in the weight's layout.")


def _merged(change=_change_of, put_back=True, layers=wrapped_layers):
    """A wrong merge_lora: change(layer) is added."""

    def wrong(model):
        for name, layer in layers(model).items():
            layer.original.weight.data += change(layer)
            parent, _, child = name.rpartition(".")
            if put_back:
                setattr(model.get_submodule(parent), child, layer.original)

    return wrong


def _on_a_copy(model):
    model = copy.deepcopy(model)
    merge_lora(model)
    return model


def _replaced(model):
    _merged(lambda layer: _change_of(layer) - layer.original.weight)(model)


def _with_graph(model):
    for layer in wrapped_layers(model).values():
        change = layer.change.scale * layer.change.lora_B @ layer.change.lora_A
        layer.original.weight.add_(change.T if isinstance(layer.original, Conv1D) else change)


def _only_the_first(model):
    _merged(layers=lambda model: dict(list(wrapped_layers(model).items())[:1]))(model)


def _bias_lost(model):
    merge_lora(model)
    for layer in model.block.layers:
        if layer.bias is not None:
            layer.bias.data.zero_()


def _put_back_under_the_long_name(model):
    _merged(put_back=False)(model)
    for name, layer in wrapped_layers(model).items():
        setattr(model, name, layer.original)


def _zero_instead(model):
    """The change is in the weight and zero beside it: the output is right, the layer still wrapped."""
    _merged(put_back=False)(model)
    for layer in wrapped_layers(model).values():
        layer.change.lora_B.data.zero_()


def _by_the_shape(layer):
    """B A, turned only where the shape asks for it."""
    delta = (layer.change.scale * layer.change.lora_B @ layer.change.lora_A).detach()
    return delta if delta.shape == layer.original.weight.shape else delta.T


def _scale_from_memory(model):
    _merged(lambda layer: _change_of(layer) / layer.change.scale * 2.0)(model)


def _by_eye(model):
    """What the change makes of the unit vectors is its matrix, [in, out]."""
    for name, layer in list(model.named_modules()):
        if isinstance(layer, LoRALinear):
            with torch.no_grad():
                change = layer.change(torch.eye(layer.change.lora_A.shape[1]))
                weight = layer.original.weight
                weight.add_(change if isinstance(layer.original, Conv1D) else change.T)
            model.set_submodule(name, layer.original)


def _new_layers(model):
    for layer in wrapped_layers(model).values():
        new = layer.original.weight.detach() + _change_of(layer)
        layer.original.weight = nn.Parameter(new, requires_grad=False)
    for name, layer in wrapped_layers(model).items():
        parent, child = name.rsplit(".", 1)
        model.get_submodule(parent)._modules[child] = layer.original


MERGE_LORA_WRONG = [
    (_merged(lambda layer: _change_of(layer).T), "square Conv1D lies the other way round"),
    (
        _merged(lambda s: _change_of(s) if isinstance(s.original, Conv1D) else _change_of(s).T),
        "square Linear lies the other way round",
    ),
    (
        _merged(lambda layer: layer.change.scale * (layer.change.lora_B @ layer.change.lora_A)),
        "square Conv1D",
    ),
    (_merged(lambda layer: 0 * _change_of(layer)), "nothing was merged"),
    (lambda model: None, "nothing was merged"),
    (_on_a_copy, "Change the model that is given"),
    (_merged(lambda layer: _change_of(layer) / layer.change.scale), "scale is missing"),
    (_merged(lambda layer: _change_of(layer) * layer.change.scale), "scale is in the change twice"),
    (_merged(lambda layer: 2 * _change_of(layer)), "added twice"),
    (_merged(lambda layer: -_change_of(layer)), "taken off"),
    (_replaced, "stands in the weight's place"),
    (_scale_from_memory, "should be the old one plus"),
    (_with_graph, "hangs on the graph"),
    (_merged(_by_the_shape), "square Conv1D lies the other way round"),
    (_merged(put_back=False), "count twice"),
    (_put_back_under_the_long_name, "Put each original back"),
    (_zero_instead, "still stands where the Conv1D was"),
    (_only_the_first, "nothing was merged"),
    (_bias_lost, "output is another"),
]

EXERCISE = Exercise(
    name="merge_lora",
    lesson="03",
    minutes=8,
    difficulty=3,
    reference=merge_lora,
    check=_check_merge_lora,
    wrong=MERGE_LORA_WRONG,
    right=[_by_eye, _new_layers],
    hints=(
        "Of each wrapped layer: form scale * B A, turn it where the original is a Conv1D, add it to the "
        "original's weight, and put the original back as apply_lora put the wrapper in.",
        "scale * B @ A is [out, in]. nn.Linear keeps [out, in], Conv1D [in, out], so a Conv1D gets the "
        "transpose. detach() it, and add it with layer.original.weight.data += delta. Then "
        "setattr(model.get_submodule(parent), child, layer.original).",
    ),
    then="Your function merges the model that you trained, and mends the one that was lost. Run the "
    "next cells again.",
)
