"""GPT-2's forward pass made fast: the same values as gpt2.py, from fused functions and reused buffers."""

import json
import os
import platform
import time
from contextlib import suppress
from functools import cache

import torch
import torch.nn.functional as F
from torch import nn

from course_utils.gpt2 import join_heads, split_heads, visible_tokens
from course_utils.home import home, write_whole


def is_gpt2(body) -> bool:
    """Whether fast_hidden equals body(...): transformers' GPT2Model with its own blocks and no hooks.

    Replaced layers inside the blocks do not matter: they are called as they are.
    """
    from transformers.models.gpt2 import modeling_gpt2 as own

    if type(body) is not own.GPT2Model or body.gradient_checkpointing or body.config.add_cross_attention:
        return False
    kind = body.config._attn_implementation
    if kind not in ("sdpa", "eager") or (kind == "eager" and body.config.reorder_and_upcast_attn):
        return False
    parts = [(body, own.GPT2Model)]
    for block in body.h:
        parts += [(block, own.GPT2Block), (block.attn, own.GPT2Attention), (block.mlp, own.GPT2MLP)]
    return all(type(module) is kind and is_unhooked(module) for module, kind in parts)


def is_gpt2_lm(model) -> bool:
    """Whether model(...) is only lm_head on top of such a body."""
    from transformers import GPT2LMHeadModel

    return type(model) is GPT2LMHeadModel and is_unhooked(model) and is_gpt2(model.transformer)


def is_unhooked(module) -> bool:
    """Whether calling the module only calls its class's forward."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
    return not any(hooks) and not module._backward_pre_hooks and "forward" not in vars(module)


class KeyValueCache:
    """Keys and values of up to `total` tokens, one buffer per block, filled over several calls."""

    def __init__(self, total):
        self.total, self.seen, self.kept = total, 0, {}

    def extend(self, number, *new):
        """Append a block's new key and value, [rows, heads, tokens, size], to its old ones; returns all."""
        if number not in self.kept:
            rows, heads, _, size = new[0].shape
            self.kept[number] = [part.new_empty(rows, heads, self.total, size) for part in new]
        end = self.seen + new[0].shape[2]
        for kept, part in zip(self.kept[number], new, strict=True):
            kept[:, :, self.seen : end] = part
        return [kept[:, :, :end] for kept in self.kept[number]]


def fast_hidden(body, ids, *, positions=None, mask=None, cache=None, keep=None):
    """gpt2.gpt2_hidden for token ids [rows, tokens], with a KeyValueCache as its past.

    keep: True at the wanted positions, [rows, tokens]: the last block outputs only those, and the result is
    [kept, width].
    """
    tokens, seen = ids.shape[1], 0 if cache is None else cache.seen
    if positions is None:
        positions = torch.arange(seen, seen + tokens, device=ids.device)[None]
    causal = mask is None and seen == 0
    visible = None
    if mask is not None or (seen and tokens > 1):
        visible = visible_tokens(tokens, seen, device=ids.device)
    if mask is not None:  # fully masked padding gets 0, as in transformers
        visible = visible & mask.bool()[:, None, None]
    x = body.drop(body.wte(ids) + body.wpe(positions))  # (rows, tokens, width)
    for number, block in enumerate(body.h):
        layer = block.attn
        fused = apply_layer(layer.c_attn, block.ln_1(x))  # (rows, tokens, 3 * width)
        query, key, value = (split_heads(part, layer.num_heads) for part in fused.chunk(3, dim=-1))
        if cache is not None:
            key, value = cache.extend(number, key, value)
        mixed = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=visible,
            dropout_p=layer.attn_dropout.p if layer.training else 0.0,
            is_causal=causal and tokens > 1,
            scale=layer.scaling,
        )
        mixed = join_heads(mixed)
        if keep is not None and number == len(body.h) - 1:
            x, mixed = kept_positions(x, keep), kept_positions(mixed, keep)
        x = x + layer.resid_dropout(apply_layer(layer.c_proj, mixed))
        within = block.mlp.act(apply_layer(block.mlp.c_fc, block.ln_2(x)))
        x = x + block.mlp.dropout(apply_layer(block.mlp.c_proj, within))
    if cache is not None:
        cache.seen += tokens
    return body.ln_f(x) if keep is None else body.ln_f(x).flatten(0, 1)


def kept_positions(x, keep):
    """The vectors of x [rows, tokens, width] at which keep [rows, tokens] is True.

    [rows, kept, width] if every row keeps equally many, so that a layer still sees rows; otherwise one row of
    all, [1, kept, width].
    """
    counts = keep.sum(1)
    rows = len(x) if (counts == counts[0]).all() else 1
    return x.flatten(0, 1).index_select(0, keep.flatten().nonzero().squeeze(1)).unflatten(0, (rows, -1))


# --- a layer's matrix product


def apply_layer(layer, x):
    """layer(x); for a plain fp32 layer by the matrix product that is faster on this machine."""
    if chosen_product() == "torch" or not is_plain(layer, x) or not is_unhooked(layer):
        return layer(x)
    return Product.apply(x.flatten(0, -2), matrix(layer), layer.bias).unflatten(0, x.shape[:-1])


def is_plain(layer, x) -> bool:
    """Whether layer is exactly a Linear or Conv1D, and an fp32 product gives its values on x."""
    from transformers.pytorch_utils import Conv1D

    plain = type(layer) in (nn.Linear, Conv1D) and x.dtype == layer.weight.dtype == torch.float32
    return plain and not torch.is_autocast_enabled(x.device.type)


def matrix(layer):
    """The weight of a Linear or Conv1D as [in, out]."""
    return layer.weight.T if isinstance(layer, nn.Linear) else layer.weight


class Product(torch.autograd.Function):
    """x W + b for x [n, in], W [in, out]; x is saved for the backward pass only if W is trained."""

    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, weight)
        return product(x, weight, bias)

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        return (
            product(grad, weight.T) if wanted[0] else None,
            x.T @ grad if wanted[1] else None,
            grad.sum(0) if wanted[2] else None,
        )


def product(x, weight, bias=None, out=None):
    """x @ weight + bias in fp32, x [n, in] and weight [in, out], by the chosen implementation.

    out: memory for the result that may be overwritten.
    """
    name = chosen_product() if x.device.type == "cpu" and len(x) else "torch"
    return PRODUCTS[name](x, weight, bias, out)


def torch_product(x, weight, bias=None, out=None):
    return torch.mm(x, weight, out=out) if bias is None else torch.addmm(bias, x, weight, out=out)


def onednn_product(x, weight, bias=None, out=None):
    """By torch's private function, its only way to oneDNN's fp32 product; `out` is not used."""
    return torch.ops.mkldnn._linear_pointwise(x.contiguous(), weight.T, bias, "none", [], "")


PRODUCTS = {"torch": torch_product, "onednn": onednn_product}


def chosen_product() -> str:
    """torch or onednn: COURSE_PRODUCT if set, else the one that was faster when first timed on this machine.

    Tests, stored runs and saved notebooks set it to torch, so that no result depends on a timing.
    """
    name = os.environ.get("COURSE_PRODUCT") or "auto"
    if name == "auto":
        return measured_products(torch.get_num_threads())["choice"]
    if name not in PRODUCTS:
        raise ValueError(f"COURSE_PRODUCT must be auto or one of {', '.join(PRODUCTS)}, got {name!r}")
    return name


@cache
def measured_products(threads: int) -> dict:
    """Milliseconds of each product and the choice: from COURSE_HOME, or measured now and stored there."""
    machine = f"{platform.node()}, torch {torch.__version__}, {threads} threads"
    file, known = home() / "products.json", {}
    with suppress(OSError, ValueError, KeyError, TypeError):  # missing or not written by the course
        known = json.loads(file.read_text(encoding="utf-8"))
        if known[machine]["choice"] in PRODUCTS:
            return known[machine]
    try:
        times = _time_products()
        choice = "onednn" if times["onednn"] < 0.95 * times["torch"] else "torch"
    except (AttributeError, RuntimeError):  # a torch without oneDNN's product
        times, choice = {}, "torch"
    found = {**times, "choice": choice}
    others = known if isinstance(known, dict) else {}
    with suppress(OSError):  # measured again next time
        write_whole(file, json.dumps({**others, machine: found}, indent=1) + "\n")
    return found


def _time_products():
    """Milliseconds of each, best of seven alternating runs, at the shapes of training and sampling steps."""
    cases = [
        (torch.ones(rows, width), torch.ones(width, out), torch.ones(out))
        for rows, width, out in ((1024, 256, 1024), (256, 768, 3072), (32, 256, 6144))
    ]
    times: dict[str, list[float]] = {name: [] for name in PRODUCTS}
    for _ in range(8):
        for name, function in PRODUCTS.items():
            began = time.perf_counter()
            for case in cases:
                function(*case)
            times[name].append(1000 * (time.perf_counter() - began))
    return {name: min(taken[1:]) for name, taken in times.items()}
