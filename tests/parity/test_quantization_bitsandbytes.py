"""Bit for bit like bitsandbytes: codes, scales and values of NF4 and its FP4, and the layer's gradient.

Tensors are flat, [1, n]: its row-wise CPU kernel is wrong if rows are not a multiple of the block.
"""

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from course_utils.methods import quantization as q
from course_utils.models import load_model

functional = pytest.importorskip("bitsandbytes.functional")

BLOCKS = (64, 128, 256, 512, 1024, 2048, 4096)
TYPES = {"nf4": "nf4", "fp4": "fp4-bnb"}


def tensors():
    generator = torch.Generator().manual_seed(0)
    yield "normal", 0.02 * torch.randn(2**18, generator=generator)
    yield "heavy tails", torch.randn(2**16, generator=generator) ** 3
    yield "zeros among them", torch.randn(2**16, generator=generator) * (torch.arange(2**16) % 3 > 0)
    model, _ = load_model("pocket")
    for name, layer in model.named_modules():
        if isinstance(layer, Conv1D) and (".0." in name or name.endswith("c_attn")):
            yield name, layer.weight.detach().T.flatten()


TENSORS = dict(tensors())


@pytest.mark.parametrize("theirs, ours", TYPES.items())
def test_tables(theirs, ours):
    table = functional.get_4bit_type(theirs, device="cpu")
    assert torch.equal(q.LEVELS[ours], table)


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("theirs, ours", TYPES.items())
def test_codes_scales_and_values(name, theirs, ours):
    x = TENSORS[name]
    for block_size in BLOCKS:
        packed, state = functional.quantize_4bit(x.view(1, -1), blocksize=block_size, quant_type=theirs)
        codes, scales = q.quantize(x, q.LEVELS[ours], block_size)
        assert torch.equal(q.pack(codes), packed.flatten())
        assert torch.equal(scales, state.absmax)
        values = functional.dequantize_4bit(packed, state).flatten()
        assert torch.equal(q.dequantize(codes, scales, q.LEVELS[ours], block_size), values)
        assert torch.equal(q.dequantize_packed(packed.flatten(), scales, ours, block_size), values)


def on_grid(x, steps=65_535):
    """Blocks of 256, divided by their largest magnitude, rounded to the nearest of 65,536 points, rescaled.

    bitsandbytes' CPU kernel looks up 8-bit codes in a table of that size; its GPU kernels do not.
    """
    padded = nn.functional.pad(x, (0, -len(x) % 256)).view(-1, 256)
    largest = padded.abs().amax(1, keepdim=True)
    place = ((padded * (1 / largest) + 1) / 2 * steps + 0.5).floor()
    return ((place / steps * 2 - 1) * largest).flatten()[: len(x)]


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("theirs, ours", TYPES.items())
def test_double_quantisation(name, theirs, ours):
    """Second scales, mean and values are equal; codes too, except for rounding in the CPU kernel's table."""
    x = TENSORS[name]
    for block_size in BLOCKS[::2]:
        packed, state = functional.quantize_4bit(
            x.view(1, -1), blocksize=block_size, quant_type=theirs, compress_statistics=True
        )
        scales = q.quantize(x, q.LEVELS[ours], block_size)[1]
        codes, second, mean = q.quantize_scales(scales)
        assert torch.equal(mean, state.offset) and torch.equal(second, state.state2.absmax)
        assert (codes != state.absmax).float().mean() <= 0.02
        rounded = q.quantize(on_grid(scales - mean), q.DYNAMIC, 256)[0]
        assert torch.equal(rounded, state.absmax)
        back = q.dequantize_scales(state.absmax, second, mean)
        assert torch.equal(back, functional.dequantize_blockwise(state.absmax, state.state2) + state.offset)
        values = functional.dequantize_4bit(packed, state).flatten()
        assert torch.equal(q.dequantize_packed(packed.flatten(), back, ours, block_size), values)


def test_the_table_of_scales():
    assert torch.equal(q.DYNAMIC, functional.create_dynamic_map())


@pytest.mark.parametrize("quant_type, levels", TYPES.items())
def test_layer_output_and_gradient(quant_type, levels):
    """Rows of 256 and blocks of 64, where its kernel is right."""
    from bitsandbytes.nn import Linear4bit, Params4bit

    torch.manual_seed(0)
    dense = nn.Linear(256, 192)
    ours = q.QuantizedLinear(dense, levels, double=False)
    theirs = Linear4bit(256, 192, compute_dtype=torch.float32, quant_type=quant_type)
    theirs.weight = Params4bit(
        dense.weight.data, requires_grad=False, quant_type=quant_type, compress_statistics=False
    )
    theirs.bias = dense.bias
    theirs = theirs.to("cpu")
    x, y = (torch.randn(5, 256, generator=torch.Generator().manual_seed(1)).requires_grad_() for _ in "xy")
    outputs = [layer(z) for layer, z in ((ours, x), (theirs, y))]
    torch.testing.assert_close(*outputs, atol=1e-6, rtol=1e-5)
    for output in outputs:
        output.square().sum().backward()
    assert y.grad.abs().max() > 0.1
    torch.testing.assert_close(x.grad, y.grad, atol=1e-5, rtol=1e-5)
