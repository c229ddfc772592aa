"""Exercises of lesson 06: the 4-bit quantiser, terms of the loss, the layer's backward pass, bits."""

from __future__ import annotations

import weakref

import torch
import torch.nn.functional as F

from course_utils.checks.compare import Mistake, close, compare, expect_tensor
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_06.parts import loss_terms
from course_utils.memory import saved_bytes
from course_utils.methods.quantization import NF4, QuantizedMatmul, bits_per_parameter, quantize

# ------------------------------------------------------------------------------------ quantize


def _weights(blocks, block_size, missing=0):
    """Values whose blocks have their largest magnitude below zero, then above, then below, ..."""
    x = 0.8 * torch.randn(blocks, block_size).clamp(-1, 1) * (0.3 + torch.rand(blocks, 1))
    x[:, 0] = 1.5 * x.abs().amax(1) * (1 - 2 * ((torch.arange(blocks) + 1) % 2))
    return x.flatten()[: blocks * block_size - missing]


def _quantize_inputs():
    """NF4; a matrix whose rows are no whole blocks, a table out of order; a last block not full; one."""
    mixed = torch.tensor([0.35, -0.9, 0.0, 0.8, -0.42])
    return [
        (_weights(4, 8), NF4, 8),
        (_weights(6, 4).view(4, 6), mixed, 4),
        (0.1 * _weights(3, 10, missing=3), NF4, 10),
        (_weights(1, 64), NF4, 64),
    ]


def _zeros():
    return [
        (torch.cat([torch.zeros(4), _weights(1, 4)]), NF4, 4),
        (torch.zeros(4), torch.tensor([-1.0, -0.5, 0.5, 1.0, 0.0]), 4),
    ]


def _tiny_and_huge():
    tiny = _weights(1, 4)
    return [(torch.cat([1e-8 * tiny / tiny.abs().max(), 1e6 * _weights(1, 4)]), NF4, 4)]


def _close_to_the_middles():
    """Values on both sides of the middles between levels, in fp32, and on the grid of bf16."""
    middles = (NF4[1:] + NF4[:-1]) / 2
    beside = [middles + distance for distance in (-3e-3, -1e-3, -1e-4, 1e-4, 1e-3, 3e-3)]
    x = 0.37 * torch.cat([*beside, torch.tensor([1.0])])
    return [(x, NF4, 91), (x.bfloat16(), NF4, 91)]


def _by(fault):
    """A wrong quantize: fault(blocks, scales as a column, levels, n) gives (codes [blocks, size], scales)."""

    def wrong(x, levels, block_size=64):
        flat = x.detach().float().flatten()
        blocks = F.pad(flat, (0, -len(flat) % block_size)).view(-1, block_size)
        scales = blocks.abs().amax(1, keepdim=True).clamp(min=1e-38)
        codes, scales = fault(blocks, scales, levels)
        return codes.flatten()[: len(flat)].to(torch.uint8), scales.flatten()

    return wrong


def _nearest(scaled, levels):
    return (scaled[..., None] - levels).abs().argmin(-1)


def _exact(blocks):
    return blocks.abs().amax(1)


def _other(change):
    """A wrong quantize: change(codes, scales) of the right one."""
    return lambda x, levels, block_size=64: change(*quantize(x, levels, block_size))


def _down(blocks, scales, levels):
    """The level below instead of the nearest."""
    order = levels.argsort()
    below = torch.bucketize(blocks / scales, levels[order], right=True) - 1
    return order[below.clamp(min=0)], scales


def _ranks(blocks, scales, levels):
    ascending = levels.sort().values
    return torch.bucketize(blocks / scales, (ascending[1:] + ascending[:-1]) / 2), scales


def _middles_of_the_table(blocks, scales, levels):
    return torch.bucketize(blocks / scales, ((levels[1:] + levels[:-1]) / 2).sort().values), scales


def _whole_blocks_only(x, levels, block_size=64):
    flat = x.flatten()
    return quantize(flat[: len(flat) // block_size * block_size], levels, block_size)


def _padded(x, levels, block_size=64):
    flat = x.flatten()
    return quantize(F.pad(flat, (0, -len(flat) % block_size)), levels, block_size)


def _down_the_columns(x, levels, block_size=64):
    blocks = F.pad(x.flatten(), (0, -x.numel() % block_size)).view(block_size, -1).T
    codes, scales = quantize(blocks, levels, block_size)
    return codes.view(-1, block_size).T.flatten()[: x.numel()], scales


def _row_by_row(x, levels, block_size=64):
    rows = x.reshape(-1, x.shape[-1]) if x.dim() > 1 else [x]
    codes, scales = zip(*(quantize(row, levels, block_size) for row in rows), strict=True)
    return torch.cat(codes), torch.cat(scales)


def _padded_with_ones(x, levels, block_size=64):
    flat = x.flatten()
    codes, scales = quantize(F.pad(flat, (0, -len(flat) % block_size), value=1.0), levels, block_size)
    return codes[: len(flat)], scales


def _values(x, levels, block_size=64):
    codes, scales = quantize(x, levels, block_size)
    return levels[codes.int()], scales


def _zero_by_zero(x, levels, block_size=64):
    flat = x.float().flatten()
    blocks = F.pad(flat, (0, -len(flat) % block_size)).view(-1, block_size)
    scales = blocks.abs().amax(1, keepdim=True)
    codes = _nearest((blocks / scales).nan_to_num(nan=1.0), levels)
    return codes.flatten()[: len(flat)].to(torch.uint8), scales.flatten()


def _zeros_as_in_nf4(x, levels, block_size=64):
    codes, scales = quantize(x, levels, block_size)
    return codes.masked_fill((scales == 0).repeat_interleave(block_size)[: len(codes)], 7), scales


def _scales_as_they_come(x, levels, block_size=64):
    codes, scales = quantize(x, levels, block_size)
    return codes, scales.to(x.dtype)


def _with_epsilon(x, levels, block_size=64):
    return _by(lambda b, s, levels: (_nearest(b / (s + 1e-6), levels), s))(x, levels, block_size)


def _in_bf16(x, levels, block_size=64):
    def scaled(blocks, scales):
        return (blocks.bfloat16() / scales.bfloat16()).float()

    return _by(lambda b, s, levels: (_nearest(scaled(b, s), levels), s))(x, levels, block_size)


def _as_it_comes(x, levels, block_size=64):
    """In the dtype of x: right in fp32."""
    blocks = F.pad(x.flatten(), (0, -x.numel() % block_size)).view(-1, block_size)
    scales = blocks.abs().amax(1)
    scaled = blocks / torch.where(scales > 0, scales, 1)[:, None]
    return _nearest(scaled, levels).flatten()[: x.numel()].to(torch.uint8), scales.float()


def _in_place(x, levels, block_size=64):
    scales = quantize(x, levels, block_size)[1]
    each = scales.repeat_interleave(block_size)[: x.numel()].view_as(x)
    x.div_(each)
    return _nearest(x.flatten(), levels).to(torch.uint8), scales


def _block_by_block(x, levels, block_size=64):
    codes, scales = [], []
    for block in x.flatten().split(block_size):
        scale = float(block.abs().max())
        scaled = [value / scale if scale else 0.0 for value in block.tolist()]
        table = levels.tolist()
        codes += [min(range(len(table)), key=lambda i, v=value: abs(table[i] - v)) for value in scaled]
        scales.append(scale)
    return torch.tensor(codes, dtype=torch.uint8), torch.tensor(scales)


DIVIDE_IN_FP32 = (
    "Near the middle between two levels a value gets the wrong code. Divide in fp32: in 16 bits it is "
    "rounded to the other side."
)
QUANTIZE_MISTAKES = [
    (
        "The scale is the largest value, and should be the largest magnitude: in a block where -2 is the "
        "farthest from zero, the scale is 2.",
        _by(lambda b, s, levels: (_nearest(b / b.amax(1, keepdim=True), levels), b.amax(1, keepdim=True))),
    ),
    (
        "A scale has a sign. It is a magnitude: take the absolute value first.",
        _by(
            lambda b, s, levels: (
                _nearest(b / b.gather(1, b.abs().argmax(1, keepdim=True)), levels),
                b.gather(1, b.abs().argmax(1, keepdim=True)),
            )
        ),
    ),
    (
        "You take the level below a value. Take the nearest: the border between two levels is their middle.",
        _by(_down),
    ),
    (
        "A code is the place of a level in the table as it is given. Yours are places in the sorted table, "
        "and a table need not be sorted.",
        _by(_ranks),
    ),
    (
        "You take middles between neighbours in the table. Sort the table first: it need not be in order.",
        _by(_middles_of_the_table),
    ),
    (
        "One scale for the whole tensor: a single large weight makes every block coarse. Each block of "
        "block_size weights has its own.",
        _by(lambda b, s, levels: (_nearest(b / s.max(), levels), s.max().expand(len(b), 1))),
    ),
    (
        "The scale is the root mean square of a block, so its largest weights fall outside the table. It is "
        "the largest magnitude.",
        _by(
            lambda b, s, levels: (
                _nearest(b / b.square().mean(1, keepdim=True).sqrt(), levels),
                b.square().mean(1, keepdim=True).sqrt(),
            )
        ),
    ),
    (
        "The weights are not divided by their scale: the table covers -1 to 1.",
        _by(lambda b, s, levels: (_nearest(b, levels), s)),
    ),
    (
        "The weights are multiplied by their scale. Divide, so that they lie between -1 and 1.",
        _by(lambda b, s, levels: (_nearest(b * s, levels), s)),
    ),
    (
        "The signs of the weights are lost before the search.",
        _by(lambda b, s, levels: (_nearest(b.abs() / s, levels), s)),
    ),
    (
        "You return 1 / scale. The scale is what a level is multiplied with.",
        _other(lambda codes, scales: (codes, 1 / scales)),
    ),
    (
        "A block holds neighbours: flatten, then view(-1, block_size), and a row is a block.",
        _down_the_columns,
    ),
    ("x is one row of n values: a block may begin in one row of a matrix and end in the next.", _row_by_row),
    ("The last block is filled with zeros. What you fill it with changes its scale.", _padded_with_ones),
    (
        "The scale is the block's largest magnitude, whatever the largest level is.",
        _by(lambda b, s, levels: (_nearest(b / s * levels.abs().max(), levels), s / levels.abs().max())),
    ),
    (
        "The scale of a block of zeros is 0. Divide by something else there, and return the 0.",
        _by(lambda b, s, levels: (_nearest(b / s, levels), torch.where(b.any(1, keepdim=True), s, 1.0))),
    ),
    (
        "A block of zeros gets the code 7: there NF4 has the level 0. Another table has it elsewhere: look "
        "for the level nearest to 0.",
        _zeros_as_in_nf4,
    ),
    ("How long a block is, is the argument block_size.", lambda x, levels, size=64: quantize(x, levels, 4)),
    ("The table is the argument levels, not always NF4.", lambda x, levels, size=64: quantize(x, NF4, size)),
    (DIVIDE_IN_FP32, _in_bf16),
]
QUANTIZE = compare(
    quantize,
    _quantize_inputs,
    QUANTIZE_MISTAKES,
    else_="A scale is its block's largest magnitude; a code is the place of the level nearest to "
    "weight / scale.",
    extremes=[
        ("A block of zeros should get the code of the level 0: zero divided by zero is no number.", _zeros),
        ("Very small and very large blocks should get the same codes as others.", _tiny_and_huge),
        (DIVIDE_IN_FP32, _close_to_the_middles),
    ],
)


def _check_quantize(fn):
    x, levels, block_size = _quantize_inputs()[2]  # 27 values in blocks of 10
    result = fn(x.clone(), levels, block_size)
    if isinstance(result, tuple | list) and len(result) == 2:
        codes, scales = expect_tensor(result[0], None, "codes"), expect_tensor(result[1], None, "scales")
        if codes.numel() == 3 and scales.numel() == 27:
            raise Mistake("The codes come first, then the scales.")
        if codes.numel() == 20:
            raise Mistake("The last block is not full, and its weights are lost. Pad with zeros to fill it.")
        if codes.numel() == 30:
            raise Mistake(
                f"x has 27 values and you return {codes.numel()} codes: cut off those of the padding."
            )
        if scales.shape == (3, 1):
            raise Mistake("The scales should have the shape [blocks], and have [blocks, 1]: flatten them.")
        if codes.is_floating_point():
            raise Mistake(
                "The codes are floating-point numbers. A code is the place of a level in the table, 0 to 15: "
                "uint8, not the level itself."
            )
        if codes.dtype != torch.uint8:
            raise Mistake(f"The codes should be uint8, a byte each, and are {codes.dtype}.")
        if codes.shape == (3, 10):
            raise Mistake("The codes should be flat, [n].")
        if scales.dtype != torch.float32:
            raise Mistake(f"The scales should be fp32, and are {scales.dtype}.")
    QUANTIZE(fn)
    scales = fn(x.bfloat16(), levels, block_size)[1]
    if scales.dtype != torch.float32:
        raise Mistake(
            f"Of an x in bf16 the scales should be fp32 too, and are {scales.dtype}: begin with x.float()."
        )


# ---------------------------------------------------------------------------------- loss_terms


def _change_inputs():
    """Logits, a change and targets; the change has a part that is the same for all words."""

    def one(n, vocabulary, size):
        logits = 2 * torch.randn(n, vocabulary)
        change = size * torch.randn(n, vocabulary) + 0.5
        return logits, change, torch.randint(vocabulary, (n,))

    return [one(3, 5, 0.3), one(4, 9, 1.0), one(1, 4, 0.1)]


def _sure_and_shifted():
    logits, change, targets = _change_inputs()[0]
    return [(400 * logits, change, targets), (logits, change + 30, targets)]


def _terms(fault):
    """A wrong loss_terms: fault(p, change, value of the change at the target, first, second)."""

    def wrong(logits, change, targets):
        first, second = loss_terms(logits, change, targets)
        at_target = change.gather(1, targets[:, None]).squeeze(1)
        return fault(logits.softmax(-1), change, at_target, first, second)

    return wrong


def _terms_of_the_changed(logits, change, targets):
    return loss_terms(logits + change, change, targets)


def _terms_by_exp(logits, change, targets):
    p = logits.exp() / logits.exp().sum(-1, keepdim=True)
    mean = (p * change).sum(-1)
    second = (p * (change - mean[:, None]) ** 2).sum(-1) / 2
    return mean - change[torch.arange(len(targets)), targets], second


def _terms_token_by_token(logits, change, targets):
    first, second = [], []
    for row, moved, target in zip(logits, change, targets, strict=True):
        p = torch.softmax(row, 0)
        mean = p @ moved
        first.append(mean - moved[target])
        second.append(p @ (moved - mean) ** 2 / 2)
    return torch.stack(first), torch.stack(second)


def _terms_by_derivatives(logits, change, targets):
    logits, change = logits.double(), change.double()

    def loss(t):
        return F.cross_entropy(logits + t[:, None] * change, targets, reduction="none").sum()

    t = torch.zeros(len(targets), dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(loss(t), t, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), t)
    return first.detach().float(), second.float() / 2


TERMS_MISTAKES = [
    (
        "The sign of the first term is turned: the loss falls where the target's logit rises more than the "
        "others.",
        _terms(lambda p, d, at, first, second: (-first, second)),
    ),
    (
        "The mean under p is missing in the first term: a change that is the same for all words changes no "
        "probability, and the term must be 0.",
        _terms(lambda p, d, at, first, second: (-at, second)),
    ),
    (
        "The target is missing in the first term: subtract the change of the target's logit.",
        _terms(lambda p, d, at, first, second: (first + at, second)),
    ),
    (
        "The second term is half the variance. The half is missing.",
        _terms(lambda p, d, at, first, second: (first, 2 * second)),
    ),
    (
        "This is half the mean square. Take off the square of the mean: a change that is the same for all "
        "words has no variance.",
        _terms(lambda p, d, at, first, second: (first, (p * d**2).sum(-1) / 2)),
    ),
    (
        "This is the variance over the vocabulary, every word alike. Weigh the words with their "
        "probabilities p.",
        _terms(lambda p, d, at, first, second: (first, d.var(-1, correction=0) / 2)),
    ),
    (
        "This is the variance over the vocabulary, every word alike. Weigh the words with their "
        "probabilities p.",
        _terms(lambda p, d, at, first, second: (first, d.var(-1) / 2)),
    ),
    (
        "In the first term the mean is taken over all words alike. Weigh the words with p.",
        _terms(lambda p, d, at, first, second: (d.mean(-1) - at, second)),
    ),
    (
        "This is the standard deviation. The second term has the variance, its square.",
        _terms(lambda p, d, at, first, second: (first, (2 * second).sqrt() / 2)),
    ),
    ("The two terms have changed places.", _terms(lambda p, d, at, first, second: (second, first))),
    ("p are the probabilities before the change. Yours are those after it.", _terms_of_the_changed),
    (
        "You return means over the tokens. Return the terms of each token, [n]; the mean comes later.",
        _terms(lambda p, d, at, first, second: (first.mean(), second.mean())),
    ),
    ("Return both terms apart, not their sum.", _terms(lambda p, d, at, first, second: first + second)),
]


# ----------------------------------------------------------------------------- QuantizedMatmul


class _Layer:
    """Has a weight [out, in] that is made anew whenever it is asked for, and watches what becomes of it."""

    def __init__(self, n_in, n_out):
        self.values, self.made = torch.randn(n_out, n_in), []
        self.in_features, self.out_features = n_in, n_out

    @property
    def weight(self):
        W = self.values.clone()
        self.made.append(weakref.ref(W))
        return W

    @property
    def asked(self):
        return len(self.made)

    def is_held(self):
        return any(W() is not None for W in self.made)


NEEDS_W = "The gradient of x is grad W, since y = x W^T."


def _check_matmul(cls):
    if not (isinstance(cls, type) and issubclass(cls, torch.autograd.Function)):
        raise Mistake("QuantizedMatmul should be a class that inherits from torch.autograd.Function.")
    for n_in, n_out, lead in ((5, 3, (4,)), (4, 4, (2, 3)), (6, 9, (1, 2, 2))):
        layer = _Layer(n_in, n_out)
        x = torch.randn(*lead, n_in, requires_grad=True)
        y = expect_tensor(cls.apply(x, layer), (*lead, n_out), "the output")
        _expect_output(y.detach(), x.detach(), layer.values)
        if y.grad_fn is None:
            raise Mistake("The output hangs on no graph: call it as QuantizedMatmul.apply(x, layer).")
        if not layer.asked:
            raise Mistake("Ask the layer for its weight: layer.weight builds it from codes and scales.")
        grad = torch.randn(*lead, n_out)
        kept, W_size = _kept(cls, x, layer), layer.values.numel()
        if kept == layer.values.nbytes != x.nbytes:
            raise Mistake(KEEPS_W)
        if kept:
            raise Mistake(
                f"The forward pass keeps {kept} bytes for the backward pass. Neither x nor W is needed "
                "there: W is frozen, so it gets no gradient, and it can be asked for again, in any dtype."
            )
        on_ctx = [held for held in vars(y.grad_fn).values() if isinstance(held, torch.Tensor)]
        if any(held.numel() == W_size != x.numel() for held in on_ctx):
            raise Mistake(KEEPS_W)
        before = layer.asked
        (of_x,) = torch.autograd.grad(y, x, grad, allow_unused=True)
        _expect_gradient(of_x, grad, layer.values, lead)
        if layer.asked == before:
            raise Mistake(KEEPS_W)
    _expect_nothing_held(cls)
    _expect_low_precision(cls)
    _expect_small(cls)


def _kept(cls, x, layer):
    return saved_bytes(lambda: cls.apply(x, layer))


KEEPS_W = (
    "The de-quantised W is kept from forward to backward: so all layers together hold the whole model in "
    "full precision. Keep the layer (ctx.layer = layer) and ask it again in backward."
)


def _expect_output(y, x, W):
    if close(y, x @ W.T):
        return
    if W.shape[0] == W.shape[1] and close(y, x @ W):
        raise Mistake("forward multiplies with W. The weight is [out, in]: y = x W^T.")
    raise Mistake("The output should be x W^T, with W = layer.weight.")


def _expect_gradient(of_x, grad, W, lead):
    if of_x is None:
        raise Mistake(f"x gets no gradient: return it first. {NEEDS_W} The layers below learn through it.")
    right = grad @ W
    expect_tensor(of_x, right.shape, "the gradient of x")
    if close(of_x, right):
        return
    if not of_x.any():
        raise Mistake(f"The gradient of x is zero: the layers below would not learn. {NEEDS_W}")
    if W.shape[0] == W.shape[1] and close(of_x, grad @ W.T):
        raise Mistake(f"W is turned on the way back. {NEEDS_W} Other shapes would stop with an error.")
    for message, wrong in (
        ("The sign of the gradient is turned: the optimiser takes the step downhill.", -right),
        (
            "This passes grad on as it is. It has to go through W.",
            grad if grad.shape == right.shape else None,
        ),
        ("The gradient is divided by the number of rows. It is not a mean.", right / lead[0]),
        ("The gradient comes in twice.", 2 * right),
    ):
        if wrong is not None and close(of_x, wrong):
            raise Mistake(message)
    raise Mistake(f"The gradient of x is not right. {NEEDS_W}")


def _expect_low_precision(cls):
    """In bf16 the weight is cast to the dtype of what it meets."""
    layer = _Layer(8, 6)
    x = torch.randn(3, 8).bfloat16().requires_grad_()
    try:
        y = cls.apply(x, layer)
        (of_x,) = torch.autograd.grad(y, x, torch.ones_like(y))
    except RuntimeError as error:
        raise Mistake(
            "With x in bfloat16 it stops: the weight comes in fp32. Cast it to the dtype of what it is "
            "multiplied with, layer.weight.to(x.dtype)."
        ) from error
    if y.dtype != torch.bfloat16 or of_x.dtype != torch.bfloat16:
        raise Mistake("With x in bfloat16, the output and the gradient of x should be bfloat16 too.")


def _expect_nothing_held(cls):
    """What is kept as an attribute, of ctx or of the layer, counts too."""
    layer = _Layer(6, 5)
    x = 2 * torch.randn(3, 6, requires_grad=True)
    watched = weakref.ref(x)
    y = cls.apply(x, layer)
    del x
    if layer.is_held():
        raise Mistake(KEEPS_W)
    if watched() is not None:
        raise Mistake(
            "The forward pass keeps x. Nothing of x is needed for the backward pass: W is frozen, and the "
            "gradient of x depends on W alone."
        )
    del y


def _expect_small(cls):
    """No more is asked of the layer than once a pass."""
    layer, x = _Layer(6, 5), torch.randn(2, 6, requires_grad=True)
    cls.apply(x, layer).sum().backward()
    if layer.asked > 2:
        raise Mistake(f"The weight was de-quantised {layer.asked} times; once forward and once backward do.")


def _matmul(backward, forward=None):
    """A QuantizedMatmul with another backward(layer, grad), or another forward(ctx, x, layer)."""

    class Changed(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, layer):
            ctx.layer = layer
            return (forward or (lambda ctx, x, layer: x @ layer.weight.to(x.dtype).T))(ctx, x, layer)

        @staticmethod
        def backward(ctx, grad):
            return backward(ctx, grad)

    Changed.__name__ = "QuantizedMatmul"
    return Changed


def _right_backward(ctx, grad):
    return grad @ ctx.layer.weight.to(grad.dtype), None


def _keeps_w(ctx, x, layer):
    ctx.W = layer.weight.to(x.dtype)
    return x @ ctx.W.T


def _saves_w(ctx, x, layer):
    W = layer.weight.to(x.dtype)
    ctx.save_for_backward(W)
    return x @ W.T


def _saves_w_in_bf16(ctx, x, layer):
    W = layer.weight
    ctx.save_for_backward(W.bfloat16())
    return x @ W.to(x.dtype).T


def _keeps_w_in_bf16(ctx, x, layer):
    ctx.W = layer.weight.bfloat16()
    return x @ layer.weight.to(x.dtype).T


def _saves_x(ctx, x, layer):
    ctx.save_for_backward(x)
    return x @ layer.weight.to(x.dtype).T


def _x_on_ctx(ctx, x, layer):
    ctx.x = x
    return x @ layer.weight.to(x.dtype).T


def _w_on_the_layer(ctx, x, layer):
    layer.kept = layer.weight
    return x @ layer.kept.to(x.dtype).T


def _flat_einsum(ctx, grad):
    return torch.einsum("...o,oi->...i", grad, ctx.layer.weight.to(grad.dtype)), None


class _Plain:
    @staticmethod
    def apply(x, layer):
        return x @ layer.weight.T


MATMUL_WRONG = [
    (_matmul(lambda ctx, grad: (grad @ ctx.layer.weight.to(grad.dtype).T, None)), "Your code stopped"),
    (_matmul(lambda ctx, grad: (-grad @ ctx.layer.weight.to(grad.dtype), None)), "sign of the gradient"),
    (
        _matmul(lambda ctx, grad: (0 * (grad @ ctx.layer.weight.to(grad.dtype)), None)),
        "gradient of x is zero",
    ),
    (_matmul(lambda ctx, grad: (None, None)), "x gets no gradient"),
    (_matmul(lambda ctx, grad: (2 * grad @ ctx.layer.weight.to(grad.dtype), None)), "comes in twice"),
    (_matmul(lambda ctx, grad: (grad @ ctx.W, None), _keeps_w), "kept from forward to backward"),
    (
        _matmul(lambda ctx, grad: (grad @ ctx.saved_tensors[0], None), _saves_w),
        "kept from forward to backward",
    ),
    (
        _matmul(lambda ctx, grad: (grad @ ctx.saved_tensors[0].to(grad.dtype), None), _saves_w_in_bf16),
        "it can be asked for again, in any dtype",
    ),
    (
        _matmul(lambda ctx, grad: (grad @ ctx.W.to(grad.dtype), None), _keeps_w_in_bf16),
        "kept from forward to backward",
    ),
    (_matmul(_right_backward, _saves_x), "bytes for the backward pass"),
    (_matmul(_right_backward, _x_on_ctx), "The forward pass keeps x"),
    (_matmul(_right_backward, _w_on_the_layer), "kept from forward to backward"),
    (_matmul(lambda ctx, grad: (grad @ ctx.layer.weight, None)), "With x in bfloat16"),
    (_matmul(lambda ctx, grad: grad @ ctx.layer.weight.to(grad.dtype)), "incorrect number of gradients"),
    (_matmul(_right_backward, lambda ctx, x, layer: x @ layer.weight.to(x.dtype)), "Your code stopped"),
    (_matmul(_right_backward, lambda ctx, x, layer: 2 * x @ layer.weight.to(x.dtype).T), "should be x W^T"),
    (
        _matmul(lambda ctx, grad: (grad @ (ctx.layer.weight + 0 * ctx.layer.weight).to(grad.dtype), None)),
        "de-quantised 3 times",
    ),
    (_Plain, "inherits from torch.autograd.Function"),
]

# -------------------------------------------------------------------------- bits_per_parameter

BITS_INPUTS = [(4, 64, False), (4, 64, True), (3, 32, True), (8, 4096, False), (4, 128, True), (2, 256, True)]


def _scale_bits(plain, double):
    """A wrong bits_per_parameter: a scale's bits from the block's size, plain and double."""
    return lambda bits, block_size, twice: bits + (double if twice else plain)(block_size) / block_size


def _of_256_blocks(bits=4, block_size=64, double=True):
    weights = 256 * block_size
    held = weights * bits + 256 * (8 if double else 32)
    if double:
        held += 32
    return torch.tensor(held / weights)


def _in_bytes(bits=4, block_size=64, double=True):
    scale = 1 + 4 / 256 if double else 4
    return 8 * (bits / 8 + scale / block_size)


BITS_MISTAKES = [
    ("That is the code alone. Every block has a scale as well.", lambda bits, size, double: bits),
    (
        "The 32 bits of a scale are shared by the block_size weights of its block.",
        lambda bits, size, double: bits + (8 + 32 / 256 if double else 32),
    ),
    (
        "The 32 bits of a scale are shared by the block_size weights of its block.",
        lambda bits, size, double: bits + 32,
    ),
    ("A scale in fp32 has 32 bits, not 16.", _scale_bits(lambda size: 16, lambda size: 8 + 16 / 256)),
    ("A scale in fp32 has 32 bits, not 16.", lambda bits, size, double: bits + 16 / size),
    (
        "Each weight has a code of its own: only the scale is shared.",
        lambda bits, size, double: (bits + (8 + 32 / 256 if double else 32)) / size,
    ),
    (
        "double is turned: plain scales are those with double = False.",
        lambda bits, size, double: bits_per_parameter(bits, size, not double),
    ),
    (
        "Double quantisation makes no difference in yours.",
        lambda bits, size, double: bits_per_parameter(bits, size, False),
    ),
    (
        "The scales' own scales are missing: 32 bits for every 256 scales.",
        _scale_bits(lambda size: 32, lambda size: 8),
    ),
    (
        "256 scales share a second scale, and each of them serves block_size weights.",
        _scale_bits(lambda size: 32, lambda size: 8 + 32 / 256 * size),
    ),
    ("A second scale is shared by 256 scales.", _scale_bits(lambda size: 32, lambda size: 8 + 32)),
    (
        "With double quantisation a scale's code takes the place of its 32 bits. It does not come on top.",
        _scale_bits(lambda size: 32, lambda size: 32 + 8 + 32 / 256),
    ),
    (
        "The bits of a code and the block's size are arguments: these are 4 and 64 always.",
        lambda bits, size, double: bits_per_parameter(4, 64, double),
    ),
    (
        "These are bytes: 8 bits are one.",
        lambda bits, size, double: bits_per_parameter(bits, size, double) / 8,
    ),
]


EXERCISES = [
    Exercise(
        name="quantize",
        lesson="06",
        minutes=15,
        difficulty=2,
        reference=quantize,
        check=_check_quantize,
        wrong=[
            *((wrong, message) for message, wrong in QUANTIZE_MISTAKES),
            (_other(lambda codes, scales: (scales, codes)), "The codes come first"),
            (_other(lambda codes, scales: (codes, scales[:, None])), "have [blocks, 1]"),
            (_other(lambda codes, scales: (codes.long(), scales)), "should be uint8"),
            (_values, "not the level itself"),
            (_whole_blocks_only, "its weights are lost"),
            (_padded, "cut off those of the padding"),
            (_zero_by_zero, "A block of zeros"),
            (_by(lambda b, s, levels: (_nearest(b / s.clamp(min=1e-6), levels), s)), "Very small and very"),
            (_with_epsilon, "Very small and very large blocks"),
            (_as_it_comes, "Divide in fp32"),
            (_other(lambda codes, scales: (codes, scales.bfloat16())), "should be fp32"),
            (_scales_as_they_come, "Of an x in bf16"),
            (_in_place, "changes its argument x in place"),
            (_other(lambda codes, scales: (codes, 2 * scales)), "A scale is its block's"),
            (_other(lambda codes, scales: codes), "should be a tuple of 2"),
            (lambda x, levels, block_size=64: None, "Is there a return"),
        ],
        right=[
            _block_by_block,
            _by(lambda blocks, scales, levels: (_nearest(blocks / scales, levels), _exact(blocks))),
        ],
        hints=(
            "Each block has a ruler as long as its largest magnitude. Divide by it, and every weight lies "
            "between -1 and 1, where the levels are. The code is the place of the nearest level.",
            "x.float().flatten(), padded with zeros to whole blocks, view(-1, block_size). "
            "scales = blocks.abs().amax(1). Divide (a block of zeros has the scale 0). Sort the table, count "
            "the middles between levels that lie below a value with bucketize, and translate places in the "
            "sorted table back by argsort's order. Cut off the padding.",
        ),
        then="From here on every matrix is quantised by your function. Run the cells below again.",
    ),
    Exercise(
        name="loss_terms",
        lesson="06",
        minutes=10,
        difficulty=2,
        reference=loss_terms,
        check=compare(
            loss_terms,
            _change_inputs,
            TERMS_MISTAKES,
            else_="With p = softmax(logits): the mean of the change under p minus its value at the target, "
            "and half its variance under p.",
            extremes=[
                (
                    "With logits in the hundreds, or a change with a large part common to all words, it "
                    "should hold too: use softmax, and take the mean off before you square.",
                    _sure_and_shifted,
                )
            ],
            tolerance=1e-4,
        ),
        wrong=[
            (_terms_by_exp, "With logits in the hundreds"),
            (
                _terms(
                    lambda p, d, at, first, second: (first, ((p * d * d).sum(-1) - (p * d).sum(-1) ** 2) / 2)
                ),
                "With logits in the hundreds",
            ),
            (_terms(lambda p, d, at, first, second: (first, 3 * second)), "half its variance under p"),
            (lambda logits, change, targets: None, "Is there a return"),
        ],
        right=[_terms_token_by_token, _terms_by_derivatives],
        hints=(
            "p = softmax(logits) weighs the words. A mean under p is (p * ...).sum(-1).",
            "mean = (p * change).sum(-1), [n]. The change at the target: change.gather(1, targets[:, None])"
            ".squeeze(1). The variance: (p * (change - mean[:, None])**2).sum(-1).",
        ),
        then="The table below is computed with your terms.",
    ),
    Exercise(
        name="QuantizedMatmul",
        lesson="06",
        minutes=12,
        difficulty=3,
        reference=QuantizedMatmul,
        check=_check_matmul,
        wrong=MATMUL_WRONG,
        right=[
            _matmul(_flat_einsum),
            _matmul(lambda ctx, grad: (F.linear(grad, ctx.layer.weight.to(grad.dtype).T), None)),
        ],
        hints=(
            "y = x W^T, so a change of x by d changes the loss by the sum of grad * (d W^T): the gradient of "
            "x is grad W. What can be asked for again need not be kept.",
            "forward: ctx.layer = layer; return x @ layer.weight.to(x.dtype).T. backward returns a gradient "
            "for each argument of forward: grad @ ctx.layer.weight.to(grad.dtype), and None for the layer.",
        ),
        then="The 4-bit model below trains through your class. Run the cells below again.",
    ),
    Exercise(
        name="bits_per_parameter",
        lesson="06",
        minutes=5,
        difficulty=1,
        reference=bits_per_parameter,
        check=compare(
            bits_per_parameter,
            BITS_INPUTS,
            BITS_MISTAKES,
            else_="It is the code's bits and a scale's bits over block_size.",
        ),
        wrong=[
            (lambda bits, size, double: None, "Is there a return"),
            (lambda bits, size, double: bits_per_parameter(4, size, double), "the code's bits and a scale's"),
            (lambda bits, size, double: 4.5, "the code's bits and a scale's"),
        ],
        right=[_of_256_blocks, _in_bytes],
        hints=(
            "Count for one block what is stored, and divide by the number of its weights.",
            "Plain: bits + 32 / block_size. Double: the scale has 8 bits, and 1/256 of 32 bits for the "
            "second scale, in place of 32.",
        ),
    ),
]
