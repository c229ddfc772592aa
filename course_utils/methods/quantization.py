"""4-bit weights: levels, block scales, double quantisation, and layers that store nothing else.

A weight is stored as a code, the index of a level in [-1, 1]; every block of weights has a scale, its largest
magnitude; weight = level * scale. Dettmers et al. 2023, "QLoRA", arXiv 2305.14314.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from course_utils.home import write_whole, written_aside
from course_utils.methods.lora import is_merged, layer_sizes, lora_layers, merge_lora, unwrap_lora
from course_utils.model_files import ModelError, check_sums, write_checksums
from course_utils.models import Model, check_size, model_errors, read_config

if TYPE_CHECKING:
    from transformers import PreTrainedModel

QUANTIZED_FILE = "model.safetensors"
SETTINGS_FILE = "quantization.json"

# --- levels: tables of at most 16 values in [-1, 1]; a code is an index into its table


def integer_levels(bits: int, symmetric: bool = True) -> Tensor:
    """Evenly spaced: integers from -m to m = 2^(b-1) - 1, over m; else from -2^(b-1) to m, over 2^(b-1)."""
    top = 2 ** (bits - 1)
    if symmetric:
        return torch.arange(1 - top, top) / (top - 1)  # 2^b - 1 levels
    return torch.arange(-top, top) / top  # 2^b levels, the largest below 1


def e2m1_levels() -> Tensor:
    """FP4 with a sign, two exponent bits and a mantissa bit, divided by its maximum, 6; zero occurs twice."""
    magnitudes = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6]) / 6
    return torch.cat([magnitudes, -magnitudes])


def normal_levels(bits: int = 4) -> Tensor:
    """NormalFloat: quantiles of N(0, 1) over the largest; 2^(b-1) - 1 negative, zero, 2^(b-1) positive."""
    half = 2 ** (bits - 1)
    offset = 1 - (1 / (2 * (2 * half - 1)) + 1 / (2 * 2 * half)) / 2  # bitsandbytes' value: 0.9677083
    positive, negative = (
        torch.special.ndtri(torch.linspace(0.5, offset, count + 1, dtype=torch.float64)[1:])
        for count in (half, half - 1)
    )
    levels = torch.cat([-negative.flip(0), torch.zeros(1, dtype=torch.float64), positive])
    return (levels / levels.max()).float()


def dynamic_levels() -> Tensor:
    """bitsandbytes' signed 8-bit type: 256 levels in seven decades, each twice as fine as the one below."""
    decades = []
    for i in range(7):
        edges = torch.linspace(0.1, 1, 2**i + 1)
        decades.append(10.0 ** (i - 6) * ((edges[:-1] + edges[1:]) / 2))
    positive = torch.cat(decades)  # (127,)
    return torch.cat([-positive, torch.zeros(1), positive, torch.ones(1)]).sort().values


# The table in bitsandbytes and in the paper: normal_levels(4) except for rounding in single precision.
NF4 = torch.tensor(
    [
        -1.0,
        -0.6961928009986877,
        -0.5250730514526367,
        -0.39491748809814453,
        -0.28444138169288635,
        -0.18477343022823334,
        -0.09105003625154495,
        0.0,
        0.07958029955625534,
        0.16093020141124725,
        0.24611230194568634,
        0.33791524171829224,
        0.44070982933044434,
        0.5626170039176941,
        0.7229568362236023,
        1.0,
    ]
)
FP4_BNB = torch.tensor([0, 0.0625, 8, 12, 4, 6, 2, 3]) / 12
LEVELS = {
    "int4-15": integer_levels(4),
    "int4-16": integer_levels(4, symmetric=False),
    "fp4-e2m1": e2m1_levels(),
    "fp4-bnb": torch.cat([FP4_BNB, -FP4_BNB]),
    "nf4": NF4,
    "nf3": normal_levels(3),
    "nf2": normal_levels(2),
}
DYNAMIC = dynamic_levels()


# --- quantisation as written in the lesson


def quantize(x: Tensor, levels: Tensor, block_size: int = 64) -> tuple[Tensor, Tensor]:
    """(codes [n] uint8, scales [blocks]) of a tensor of n values: nearest levels, largest magnitudes."""
    flat = x.detach().float().flatten()
    blocks = F.pad(flat, (0, -len(flat) % block_size)).view(-1, block_size)  # (blocks, block_size)
    scales = blocks.abs().amax(1)  # (blocks,)
    scaled = blocks * (1 / scales.clamp(min=1e-38))[:, None]  # in [-1, 1]
    order = levels.argsort(stable=True)
    ascending = levels[order]
    middles = (ascending[:-1] + ascending[1:]) / 2
    codes = order[torch.bucketize(scaled, middles)]  # the number of midpoints below
    return codes.flatten()[: len(flat)].to(torch.uint8), scales


def dequantize(codes: Tensor, scales: Tensor, levels: Tensor, block_size: int = 64) -> Tensor:
    """The values [n] that codes and scales stand for."""
    values = levels.index_select(0, codes.int())  # levels[codes], faster
    blocks = F.pad(values, (0, -len(values) % block_size)).view(-1, block_size)
    return (blocks * scales[:, None]).flatten()[: len(values)]


def relative_error(x: Tensor, levels: Tensor, block_size: int = 64) -> float:
    """Root mean square of what quantising changes, over the root mean square of x."""
    codes, scales = quantize(x, levels, block_size)
    back = dequantize(codes, scales, levels, block_size)
    return ((back - x.flatten()).norm() / x.norm()).item()


def pack(codes: Tensor) -> Tensor:
    """Two 4-bit codes a byte, the first in the high half: [n] uint8 -> [n / 2], rounded up."""
    codes = F.pad(codes, (0, len(codes) % 2))
    return codes[::2] << 4 | codes[1::2]


def unpack(packed: Tensor) -> Tensor:
    """The codes in the bytes: [n] uint8 -> [2 n]."""
    return torch.stack([packed >> 4, packed & 15], dim=1).flatten()


def quantize_scales(scales: Tensor, block_size: int = 256) -> tuple[Tensor, Tensor, Tensor]:
    """Double quantisation: (codes [blocks] uint8, scales of the scales, the mean, taken off before)."""
    mean = scales.mean()
    codes, second = quantize(scales - mean, DYNAMIC.to(scales.device), block_size)
    return codes, second, mean


def dequantize_scales(codes: Tensor, second: Tensor, mean: Tensor, block_size: int = 256) -> Tensor:
    return dequantize(codes, second, DYNAMIC.to(codes.device), block_size) + mean


def bits_per_parameter(bits: int = 4, block_size: int = 64, double: bool = True) -> float:
    """Bits of a code, and a weight's share of its block's scale."""
    scale = 8 + 32 / 256 if double else 32
    return bits + scale / block_size


def module_bytes(module: nn.Module) -> int:
    """Bytes of all parameters and buffers; a shared one counts once."""
    tensors = [*module.parameters(), *module.buffers()]
    held = {t.untyped_storage().data_ptr() or id(t): t.untyped_storage().nbytes() for t in tensors}
    return sum(held.values())


# --- the same, fast


def quantize_packed(x: Tensor, name: str, block_size: int = 64) -> tuple[Tensor, Tensor]:
    """quantize and pack by look-up instead of search: (packed codes [n / 2], scales [blocks])."""
    flat = x.detach().float().flatten()
    blocks = _in_blocks(flat, block_size)
    scales = blocks.abs().amax(1)
    scaled = blocks * (1 / scales.clamp(min=1e-38))[:, None]
    below, middle, order = _cells(name, x.device)
    cell = _cell(scaled.flatten()[: len(flat)], len(below) - 1)
    codes = below.index_select(0, cell).add_(scaled.flatten()[: len(flat)] > middle.index_select(0, cell))
    if order is not None:
        codes = order.index_select(0, codes.int())
    return pack(codes), scales


def dequantize_packed(packed: Tensor, scales: Tensor, name: str, block_size: int = 64) -> Tensor:
    """unpack and dequantize, one look-up for the four values of two bytes: [2 n], or more to fill a block."""
    if packed.device.type == "cpu" and len(packed) % 2 == 0:
        index = packed.view(torch.int16).int().add_(2**15)
        values = torch.view_as_real(_fours(name).index_select(0, index)).view(torch.float32).flatten()
    else:
        values = _pairs(name, packed.device).index_select(0, packed.int()).view(torch.float32)
    return _in_blocks(values, block_size).mul_(scales[:, None]).flatten()


def _in_blocks(flat: Tensor, block_size: int) -> Tensor:
    missing = -len(flat) % block_size
    return (F.pad(flat, (0, missing)) if missing else flat).view(-1, block_size)


def _cell(scaled: Tensor, cells: int) -> Tensor:
    """The index of a value's cell, with [-1, 1] divided into `cells` equal cells."""
    return scaled.mul(cells / 2).add_(cells / 2).int()


@cache
def _cells(name: str, device: torch.device) -> tuple[Tensor, Tensor, Tensor | None]:
    """For each cell of a grid: the number of midpoints between levels in lower cells, and the one inside.

    The grid is so fine that no cell holds two. Also the codes in ascending order, unless they are so already.
    """
    levels = LEVELS[name]
    order = levels.argsort(stable=True)
    middles = (levels[order][:-1] + levels[order][1:]) / 2
    cells = 64
    while len(_cell(middles, cells).unique()) < len(middles):
        cells *= 2
    inside = _cell(middles, cells)
    below = torch.searchsorted(inside, torch.arange(cells + 1, dtype=torch.int32, device="cpu"))
    middle = torch.full((cells + 1,), 2.0, device="cpu")
    middle[inside.long()] = middles
    ascending = order.tolist() == list(range(len(levels)))
    codes = None if ascending else order.to(device, torch.uint8)
    return below.to(device, torch.uint8), middle.to(device), codes


@cache
def _pairs(name: str, device: torch.device) -> Tensor:
    """The two values of each byte, [256]: two fp32 in an int64."""
    codes = unpack(torch.arange(256, dtype=torch.uint8, device="cpu"))
    levels = F.pad(LEVELS[name], (0, 16 - len(LEVELS[name])))
    return levels[codes.int()].view(torch.int64).to(device)


@cache
def _fours(name: str) -> Tensor:
    """The four values of each pair of bytes, in int16 order, [65536]: four fp32 in a complex128."""
    two = torch.arange(-(2**15), 2**15, dtype=torch.int16, device="cpu").view(torch.uint8).view(-1, 2)
    pairs = _pairs(name, two.device).index_select(0, two.flatten().int())  # (131072,)
    return torch.view_as_complex(pairs.view(torch.float64).view(-1, 2))


# --- layers and models


class QuantizedMatmul(torch.autograd.Function):
    """x W^T for a quantised layer; the backward pass dequantises again, so that W is not kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: QuantizedLinear) -> Tensor:
        ctx.layer = layer
        return x @ layer.weight.to(x.dtype).T

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad @ ctx.layer.weight.to(grad.dtype), None


class QuantizedLinear(nn.Module):
    """A frozen nn.Linear or Conv1D stored as packed codes and scales: [..., in] -> [..., out].

    `weight` is dequantised at every access, [out, in] for both kinds; blocks run along it.
    """

    codes: Tensor
    scales: Tensor
    scale_codes: Tensor
    scale_mean: Tensor
    double: bool  # type: ignore[assignment]  # hides nn.Module.double()
    can_merge = False  # what is written into `weight` would be lost

    def __init__(self, original: Any, levels: str = "nf4", block_size: int = 64, double: bool = True) -> None:
        super().__init__()
        self.in_features, self.out_features = layer_sizes(original)
        self.conv1d = isinstance(original, Conv1D)
        self.levels, self.block_size, self.double = levels, block_size, double
        weight = original.weight.T if self.conv1d else original.weight  # (out, in)
        codes, scales = quantize_packed(weight, levels, block_size)
        self.register_buffer("codes", codes)
        if double:
            scale_codes, scales, mean = quantize_scales(scales)
            self.register_buffer("scale_codes", scale_codes)
            self.register_buffer("scale_mean", mean)
        self.register_buffer("scales", scales)
        self.bias = original.bias

    @property
    def weight(self) -> Tensor:
        scales = self.scales
        if self.double:
            scales = dequantize_scales(self.scale_codes, self.scales, self.scale_mean)
        values = dequantize_packed(self.codes, scales, self.levels, self.block_size)
        size = self.out_features * self.in_features
        return values[:size].view(self.out_features, self.in_features)

    def forward(self, x: Tensor) -> Tensor:
        y = QuantizedMatmul.apply(x, self)
        return y if self.bias is None else y + self.bias


def quantize_model(model: Model, levels: str = "nf4", block_size: int = 64, double: bool = True) -> Model:
    """Replace the linear layers in place, except the output head; returns the model.

    Embeddings, norms and biases stay as they are, and so do A and B of a LoRALinear.
    ValueError for unknown settings, weights that are not finite, or a model already quantised or merged.
    """
    check_settings(levels, block_size)
    if quantized_layers(model):
        raise ValueError("The model is already quantised: dequantize_model(model) first.")
    if any(map(is_merged, lora_layers(model).values())):
        raise ValueError("LoRA is merged into the model: unmerge_lora(model) or unwrap_lora(model) first.")
    names = _linear_names(model)
    for name in names:
        weight: Any = model.get_submodule(name).weight
        if not weight.is_meta and not weight.isfinite().all():
            raise ValueError(f"{name} has weights that are not finite numbers: nothing was quantised.")
    for name in names:
        layer: Any = model.get_submodule(name)
        _replace(model, name, QuantizedLinear(layer, levels, block_size, double))
    return model


def dequantize_model(model: Model) -> Model:
    """Replace each QuantizedLinear in place by a layer of its original kind with the dequantised weight."""
    for name, layer in _quantized_or_error(model).items():
        dense = Conv1D(1, 1) if layer.conv1d else nn.Linear(1, 1)
        if layer.conv1d:
            dense.nx, dense.nf = layer.in_features, layer.out_features
        else:
            dense.in_features, dense.out_features = layer.in_features, layer.out_features
        weight = layer.weight.T.contiguous() if layer.conv1d else layer.weight
        dense.weight = nn.Parameter(weight, requires_grad=False)
        dense.bias = layer.bias
        _replace(model, name, dense)
    return model


def merge_quantized(model: Model) -> Model:
    """Merge LoRA into the dequantised weights it was trained on; returns the plain model."""
    dequantize_model(model)
    merge_lora(model)
    return unwrap_lora(model)


def quantized_layers(model: nn.Module) -> dict[str, QuantizedLinear]:
    """{name: QuantizedLinear} in the model's order."""
    return {name: module for name, module in model.named_modules() if isinstance(module, QuantizedLinear)}


def check_settings(levels: str, block_size: int) -> None:
    """ValueError for unknown levels, or a block size that is not a positive integer."""
    if levels not in LEVELS:
        raise ValueError(f"levels must be one of {', '.join(LEVELS)}; got {levels!r}.")
    if not isinstance(block_size, int) or block_size < 1:
        raise ValueError(f"block_size must be a whole number of weights, at least 1; got {block_size!r}.")


def _linear_names(model: Any) -> list[str]:
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not head
    ]


def _replace(model: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, layer)


def _quantized_or_error(model: nn.Module) -> dict[str, QuantizedLinear]:
    layers = quantized_layers(model)
    if not layers:
        raise ValueError("The model has no quantised layers: call quantize_model(model) first.")
    return layers


# --- files


def save_quantized(model: PreTrainedModel, folder: Path | str) -> Path:
    """Write a quantised model: config.json, quantization.json, weights and checksums; returns the folder.

    ValueError for a model with LoRA: save its adapter by lora_files.save_adapter; the base is unchanged.
    """
    layers = _quantized_or_error(model)
    if lora_layers(model):
        raise ValueError("The model has LoRA layers: save_adapter and unwrap_lora, then save the base.")
    first = next(iter(layers.values()))
    settings = {"levels": first.levels, "block_size": first.block_size, "double": first.double}
    tied = {id(p): name for name, p in reversed(list(model.named_parameters(remove_duplicate=False)))}
    state = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in model.state_dict(keep_vars=True).items()
        if tied.get(id(tensor), name) == name
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    model.config.to_json_file(folder / "config.json")
    with written_aside(folder / QUANTIZED_FILE) as part:
        save_file(state, part, metadata={"format": "pt"})
    write_whole(folder / SETTINGS_FILE, json.dumps(settings, indent=2) + "\n")
    write_checksums(folder)
    return folder


def load_quantized(folder: Path | str) -> PreTrainedModel:
    """The model in a folder of save_quantized, in eval mode; else ModelError. No dense weights are built."""
    from transformers import AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    folder = Path(folder)
    for file in ("config.json", SETTINGS_FILE, QUANTIZED_FILE):
        if not (folder / file).is_file():
            raise ModelError(f"{folder} has no {file}: not a model that save_quantized wrote.")
    check_sums(folder)
    config = read_config(folder)
    check_size(config, folder, AutoModelForCausalLM)
    with model_errors(folder, f"config.json and {SETTINGS_FILE}"):
        settings = json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))
        with no_init_weights():
            model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        for name in _linear_names(model):
            model.get_submodule(name).to("meta")  # a shape without memory
        quantize_model(model, **settings)
    with model_errors(folder, QUANTIZED_FILE):
        state = load_file(folder / QUANTIZED_FILE)
        kinds = {name: tensor.dtype for name, tensor in model.state_dict().items()}
        strays = model.load_state_dict(state, strict=False, assign=True).unexpected_keys
        model.tie_weights()
    placed = model.state_dict(keep_vars=True)
    loaded = {id(placed[name]) for name in state.keys() & placed.keys()}
    strays += [name for name in placed if id(placed[name]) not in loaded]  # tied ones are loaded
    strays += [name for name in state if state[name].dtype != kinds.get(name)]
    if strays:
        raise ModelError(f"The weights in {folder} do not fit config.json: {strays[:3]}. Save it again.")
    if bad := [name for name, tensor in state.items() if not tensor.isfinite().all()]:
        raise ModelError(f"The weights in {folder} are not finite, first those of {bad[0]}. Save it again.")
    return model.eval()
