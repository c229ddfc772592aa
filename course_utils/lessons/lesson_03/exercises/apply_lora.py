"""Lesson 03, apply_lora: LoRA for a whole model."""

import copy

import torch
from torch import nn

from course_utils.checks.compare import Mistake
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_03.exercises.shared import LoRALinear, apply_lora, filled
from course_utils.lessons.lesson_03.small_lora import wrapped_layers
from course_utils.methods.lora import find_targets, layer_sizes
from course_utils.models import untrained_gpt2


def _tiny_gpt2():
    return untrained_gpt2(n_layer=2, n_head=2, n_embd=16, vocab_size=32, n_positions=16)


IDS = torch.tensor([[3, 14, 15, 9, 26, 5]])


def _logits(model):
    with torch.no_grad():
        return model(IDS).logits


def _check_apply_lora(fn):
    _expect_applied(fn, ["c_attn"], rank=2, alpha=6.0)
    _expect_applied(fn, ["attn.c_proj"], rank=3, alpha=12.0)
    _expect_applied(fn, None, rank=1, alpha=4.0)
    try:
        fn(_tiny_gpt2(), 2, 4.0, ["W_q"], LoRALinear)
    except ValueError:
        return
    raise Mistake(
        "A name that no layer has should be an error: find_targets(model, target_modules) raises it."
    )


def _expect_applied(fn, targets, rank, alpha):
    model, made, right = _tiny_gpt2(), [], (rank, alpha)
    wanted = {name: model.get_submodule(name) for name in find_targets(model, targets)}
    before = _logits(model)

    def wrapper(layer, rank=16, alpha=32.0):
        made.append(layer)
        if (rank, alpha) != right:
            raise Mistake(f"wrapper should get (rank, alpha) = {right}, and got {(rank, alpha)}.")
        return LoRALinear(layer, rank, alpha)

    result = fn(model, rank=rank, alpha=alpha, target_modules=targets, wrapper=wrapper)
    found = wrapped_layers(model)
    if result is None:
        raise Mistake("Return the model.")
    if result is not model:
        raise Mistake("Change the model that is given, in place, and return it: this one is another.")
    if not made:
        raise Mistake("Call wrapper, the last argument: wrapper(layer, rank, alpha) makes the new layer.")
    _expect_places(found, wanted)
    if any(model.get_submodule(name) is not layer for name, layer in found.items()):
        raise Mistake(
            f"The new layer stands beside the model's tree, under the long name {next(iter(found))!r}: the "
            "model still calls the old one, so the adapter never learns. Set the child of the parent."
        )
    _expect_what_learns(model)
    if not torch.equal(_logits(model), before):
        raise Mistake("The model gives other logits than before, though every B is zero.")
    for layer in found.values():
        filled(layer)
    if torch.equal(_logits(model), before):
        raise Mistake("The wrapped layers have no effect: with other A and B the logits are the same.")


def _expect_places(found, wanted):
    if not found:
        raise Mistake(
            "The model has no wrapped layer. `layer = wrapper(...)` gives a name in your function another "
            "value; the model keeps its layer. setattr(parent, child, new) puts the new one in its place."
        )
    twice = [name for name in found if name.endswith(".original")]
    if twice:
        raise Mistake(f"{twice[0]} is wrapped inside a wrapped layer: every target is to be wrapped once.")
    if missing := [name for name in wanted if name not in found]:
        raise Mistake(
            f"{missing[0]} is not wrapped. find_targets(model, target_modules) gives all the names."
        )
    if more := [name for name in found if name not in wanted]:
        raise Mistake(
            f"{more[0]} is wrapped and is no target: find_targets(model, target_modules) says which."
        )
    if any(found[name].original is not layer for name, layer in wanted.items()):
        raise Mistake("A wrapped layer holds another layer than the one that stood in its place.")


def _expect_what_learns(model):
    factors = {n: p for n, p in model.named_parameters() if n.endswith(("lora_A", "lora_B"))}
    if not all(p.requires_grad for p in factors.values()):
        raise Mistake(
            "A and B are frozen: requires_grad_(False) on the whole model comes after the wrapping and meets "
            "them too. Freeze first, then wrap."
        )
    rest = [name for name, p in model.named_parameters() if p.requires_grad and name not in factors]
    if rest:
        raise Mistake(f"{rest[0]} would be trained along. Freeze the whole model before you wrap.")


def _applied(names=find_targets, freeze_first=True, freeze_last=False, put=setattr, arguments=None):
    """A wrong apply_lora, each of whose steps can be another one."""

    def wrong(model, rank=16, alpha=32.0, target_modules=None, wrapper=LoRALinear):
        targets = names(model, target_modules)
        if freeze_first:
            model.requires_grad_(False)
        for name in targets:
            parent, _, child = name.rpartition(".")
            layer = model.get_submodule(name)
            new = wrapper(layer, *(arguments(rank, alpha) if arguments else (rank, alpha)))
            put(model.get_submodule(parent), child, new)
        if freeze_last:
            model.requires_grad_(False)
        return model

    return wrong


def _by_substring(model, target_modules):
    parts = ["c_attn", "c_proj", "c_fc"] if target_modules is None else [t[-6:] for t in target_modules]
    find_targets(model, target_modules)
    return [name for name, _ in model.named_modules() if any(part in name for part in parts)]


def _copied_model(model, rank=16, alpha=32.0, target_modules=None, wrapper=LoRALinear):
    return apply_lora(copy.deepcopy(model), rank, alpha, target_modules, wrapper)


def _nothing_returned(model, rank=16, alpha=32.0, target_modules=None, wrapper=LoRALinear):
    apply_lora(model, rank, alpha, target_modules, wrapper)


def _own_class(model, rank=16, alpha=32.0, target_modules=None, wrapper=LoRALinear):
    return apply_lora(model, rank, alpha, target_modules, LoRALinear)


def _twice(model, rank=16, alpha=32.0, target_modules=None, wrapper=LoRALinear):
    return apply_lora(
        model, rank, alpha, target_modules, lambda layer, *rest: wrapper(_inner(wrapper(layer, *rest)), *rest)
    )


def _inner(layer):
    """A wrapped layer that passes for the nn.Linear or Conv1D in it."""
    layer.in_features, layer.out_features = layer_sizes(layer.original)
    return layer


def _noisy(model, rank=16, alpha=32.0, target_modules=None, wrapper=LoRALinear):
    apply_lora(model, rank, alpha, target_modules, wrapper)
    for layer in wrapped_layers(model).values():
        nn.init.normal_(layer.change.lora_B)
    return model


def _copied_layers(model, rank=16, alpha=32.0, target_modules=None, wrapper=LoRALinear):
    return apply_lora(
        model, rank, alpha, target_modules, lambda layer, *rest: wrapper(copy.deepcopy(layer), *rest)
    )


def _no_lookup(model, target_modules):
    modules = dict(model.named_modules())
    if target_modules is None:
        return find_targets(model)
    return [name for name in modules if name.endswith(tuple(target_modules))]


def _by_children(model, rank=16, alpha=32.0, target_modules=None, wrapper=LoRALinear):
    targets = [model.get_submodule(name) for name in find_targets(model, target_modules)]
    for parameter in model.parameters():
        parameter.requires_grad = False
    for parent in list(model.modules()):
        for child, layer in list(parent.named_children()):
            if any(layer is target for target in targets):
                setattr(parent, child, wrapper(layer, rank, alpha))
    return model


def _unfrozen_by_name(model, rank=16, alpha=32.0, target_modules=None, wrapper=LoRALinear):
    for name in find_targets(model, target_modules):
        *way, child = name.split(".")
        parent = model
        for part in way:
            parent = getattr(parent, part)
        parent._modules[child] = wrapper(getattr(parent, child), rank=rank, alpha=alpha)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)
    return model


def _under_the_long_name(model, rank=16, alpha=32.0, target_modules=None, wrapper=LoRALinear):
    names = find_targets(model, target_modules)
    model.requires_grad_(False)
    for name in names:
        setattr(model, name, wrapper(model.get_submodule(name), rank, alpha))
    return model


APPLY_LORA_WRONG = [
    (_applied(freeze_first=False), "would be trained along"),
    (_applied(freeze_first=False, freeze_last=True), "A and B are frozen"),
    (_applied(put=lambda parent, child, new: None), "has no wrapped layer"),
    (_applied(names=_by_substring), "is no target"),
    (_applied(names=lambda model, targets: find_targets(model, targets)[:1]), "is not wrapped"),
    (_applied(names=lambda model, targets: find_targets(model)), "is no target"),
    (_applied(names=_no_lookup), "A name that no layer has"),
    (_applied(arguments=lambda rank, alpha: ()), "and got (16, 32.0)"),
    (_applied(arguments=lambda rank, alpha: (alpha, rank)), "and got (6.0, 2)"),
    (_applied(arguments=lambda rank, alpha: (rank,)), "and got (2, 32.0)"),
    (_copied_model, "Change the model that is given"),
    (_nothing_returned, "Return the model"),
    (_own_class, "Call wrapper, the last argument"),
    (_twice, "wrapped inside a wrapped layer"),
    (_noisy, "other logits than before"),
    (_copied_layers, "holds another layer"),
    (_under_the_long_name, "so the adapter never learns"),
]

EXERCISE = Exercise(
    name="apply_lora",
    lesson="03",
    minutes=7,
    difficulty=2,
    reference=apply_lora,
    check=_check_apply_lora,
    wrong=APPLY_LORA_WRONG,
    right=[_by_children, _unfrozen_by_name],
    hints=(
        "Three things in this order: find the names, freeze the whole model, put a wrapped layer in the "
        "place of each. What is wrapped after the freezing is not frozen by it.",
        'For name = "transformer.h.0.attn.c_attn" the parent is "transformer.h.0.attn" and the child '
        '"c_attn": parent, _, child = name.rpartition("."). Then setattr(model.get_submodule(parent), '
        "child, wrapper(model.get_submodule(name), rank, alpha)).",
    ),
    then="Your function prepares every model that is trained below. Run the next cells again.",
)
