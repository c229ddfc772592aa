"""GPT-2's forward pass, written out (Radford et al. 2019), on the layers of a given model.

Every token is a vector in the residual stream, [rows, tokens, width]. Each block reads the stream twice and
adds to it twice: attention gathers from earlier tokens, the MLP works on each token alone. A replacement for
a layer (LoRA, 4 bits) is called like the layer; embeddings can replace token ids.
"""

import torch


def split_heads(x, heads):
    """The columns of x cut into heads of equal size. x [B, T, D] -> [B, heads, T, D / heads]."""
    batch, tokens, width = x.shape
    return x.view(batch, tokens, heads, width // heads).transpose(1, 2)


def join_heads(x):
    """split_heads undone: [B, heads, T, size] -> [B, T, heads * size]."""
    return x.transpose(1, 2).flatten(2)


def visible_tokens(tokens, seen=0, mask=None, device=None):
    """What each of the new tokens may look at, True or False: [rows or 1, 1, tokens, seen + tokens].

    Itself and all before it, of which `seen` were read in earlier calls, less the padding: mask [rows, seen +
    tokens] is 0 there. Padding sees itself, since a softmax over nothing has no value.
    """
    visible = torch.ones(tokens, seen + tokens, dtype=torch.bool, device=device).tril(seen)[None, None]
    if mask is None:
        return visible
    itself = torch.eye(seen + tokens, dtype=torch.bool, device=device)[seen:]
    return visible & mask.bool()[:, None, None] | itself


def attention_head(query, key, value, visible, scale, dropout):
    """Each token's mixture of the values it sees: query [..., T, size], key and value [..., S, size].

    visible, True or False, broadcasts to [..., T, S]. Several heads, or texts, may stand in front.
    """
    scores = scale * query @ key.mT  # (..., T, S)
    weights = scores.masked_fill(~visible, -torch.inf).softmax(-1)
    return dropout(weights) @ value  # (..., T, size)


def attention(layer, x, visible, past=None):
    """A block's attention, [rows, tokens, width]: each token gathers from those it sees.

    past: of gpt2_hidden.
    """
    fused = layer.c_attn(x)  # (rows, tokens, 3 * width)
    query, key, value = (split_heads(part, layer.num_heads) for part in fused.chunk(3, dim=-1))
    if past is not None:
        key, value = with_past(past, layer.layer_idx, key, value)
    mixed = attention_head(query, key, value, visible, layer.scaling, layer.attn_dropout)
    return layer.resid_dropout(layer.c_proj(join_heads(mixed)))


def with_past(past, number, key, value):
    """A block's keys and values of all calls so far, [rows, heads, tokens, size]; stored in past."""
    if number in past:
        key = torch.cat([past[number][0], key], dim=2)
        value = torch.cat([past[number][1], value], dim=2)
    past[number] = key, value
    return key, value


def mlp(layer, x):
    """A block's MLP: four times as wide within, each token alone."""
    return layer.dropout(layer.c_proj(layer.act(layer.c_fc(x))))


def gpt2_hidden(body, ids=None, *, embeddings=None, positions=None, mask=None, past=None):
    """What the head reads, [rows, tokens, width], from a GPT2Model: token ids [rows, tokens] or embeddings.

    positions count on from the past unless given. mask [rows, past and new tokens] is 0 on padding. past: a
    dict, empty at first, that keeps each block's keys and values from call to call.
    """
    x = body.wte(ids) if embeddings is None else embeddings  # (rows, tokens, width)
    tokens = x.shape[1]
    seen = past[0][0].shape[2] if past else 0
    if positions is None:
        positions = torch.arange(seen, seen + tokens, device=x.device)[None]
    visible = visible_tokens(tokens, seen, mask, x.device)
    x = body.drop(x + body.wpe(positions))
    for block in body.h:
        x = x + attention(block.attn, block.ln_1(x), visible, past)
        x = x + mlp(block.mlp, block.ln_2(x))
    return body.ln_f(x)


def gpt2_logits(model, ids=None, **inputs):
    """Logits [rows, tokens, vocabulary] of a GPT2LMHeadModel; inputs as of gpt2_hidden."""
    return model.lm_head(gpt2_hidden(model.transformer, ids, **inputs))
