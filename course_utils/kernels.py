"""GPT-2's forward pass made fast: the same values as gpt2.py, from fused functions and reused buffers."""

import torch
import torch.nn.functional as F
from torch import nn

from course_utils.gpt2 import join_heads, split_heads, visible_tokens


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
        fused = layer.c_attn(block.ln_1(x))  # (rows, tokens, 3 * width)
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
        x = x + layer.resid_dropout(layer.c_proj(mixed))
        within = block.mlp.act(block.mlp.c_fc(block.ln_2(x)))
        x = x + block.mlp.dropout(block.mlp.c_proj(within))
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


def is_plain(layer, x) -> bool:
    """Whether layer is exactly a Linear or Conv1D, and an fp32 product gives its values on x."""
    from transformers.pytorch_utils import Conv1D

    plain = type(layer) in (nn.Linear, Conv1D) and x.dtype == layer.weight.dtype == torch.float32
    return plain and not torch.is_autocast_enabled(x.device.type)
