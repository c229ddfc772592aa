"""What rank does a weight change need? Spectra, best low-rank cuts, subspaces, random-subspace training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from course_utils.methods.lora import LoRALinear, layer_sizes
from course_utils.models import Model

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def linear_layers(model: PreTrainedModel) -> list[str]:
    """Names of the linear layers except the vocabulary head; a LoRALinear counts as one."""
    names, head = [], model.get_output_embeddings()
    for name, module in model.named_modules():
        inside_lora = name.rpartition(".")[0] in names  # the original layer of a LoRALinear
        if isinstance(module, nn.Linear | Conv1D | LoRALinear) and module is not head and not inside_lora:
            names.append(name)
    return names


def weight_matrix(layer: Any) -> Tensor:
    """A copy of a layer's effective weight as [out, in], whatever its layout."""
    plain = layer.original if isinstance(layer, LoRALinear) else layer
    layer_sizes(plain)
    weight = layer.weight.detach()
    return (weight.T if isinstance(plain, Conv1D) else weight).clone(memory_format=torch.contiguous_format)


def weight_changes(
    before: PreTrainedModel, after: PreTrainedModel, names: Iterable[str] | None = None
) -> dict[str, Tensor]:
    """{layer name: change of the weight [out, in]} between two models of one architecture."""
    names = linear_layers(before) if names is None else names
    return {n: weight_matrix(after.get_submodule(n)) - weight_matrix(before.get_submodule(n)) for n in names}


def spectra(matrices: dict[str, Tensor]) -> dict[str, Tensor]:
    """{name: singular values, largest first}, on the CPU: Apple's GPU has no svdvals."""
    return {name: torch.linalg.svdvals(matrix.cpu()) for name, matrix in matrices.items()}


def energy_curve(singular_values: Tensor) -> Tensor:
    """Share of the squared Frobenius norm in the first k directions, k = 1 ... n: [n], the last one 1."""
    energy = singular_values.cpu().double().square().cumsum(0)
    return energy / energy[-1]


def rank_for_energy(singular_values: Tensor, share: float) -> int:
    """The smallest rank whose truncated SVD keeps at least this share of the energy."""
    return int((energy_curve(singular_values) < share - 1e-12).sum()) + 1


def random_like(matrix: Tensor, seed: int = 0) -> Tensor:
    """A Gaussian matrix of the same shape and Frobenius norm: the control for spectra."""
    noise = torch.randn(matrix.shape, generator=torch.Generator().manual_seed(seed)).to(matrix)
    return noise * (matrix.norm() / noise.norm())


def best_rank(matrix: Tensor, rank: int) -> Tensor:
    """The closest matrix of at most this rank in Frobenius norm: the truncated SVD (Eckart, Young 1936)."""
    U, S, Vh = torch.linalg.svd(matrix, full_matrices=False)
    return U[:, :rank] * S[:rank] @ Vh[:rank]


def train_only(model: Model, names: Iterable[str]) -> Model:
    """Freeze all but the weights (not biases) of the named layers: a cut of them then cuts all that moved."""
    model.requires_grad_(False)
    for name in names:
        model.get_submodule(name).weight.requires_grad_(True)
    return model


class RankCut:
    """A tuned model whose changes since `before` can be cut to any rank; the SVDs are done once.

    Meaningful only where nothing but the named matrices was trained: whatever else moved stays moved.
    """

    def __init__(
        self, before: PreTrainedModel, after: PreTrainedModel, names: Sequence[str] | None = None
    ) -> None:
        names = linear_layers(before) if names is None else names
        if any(isinstance(after.get_submodule(name), LoRALinear) for name in names):
            raise TypeError("Cut a plain model: call merge_lora(model) and unwrap_lora(model) first.")
        self.model = after
        self.base = {name: weight_matrix(before.get_submodule(name)) for name in names}
        changes = weight_changes(before, after, names)
        self.svds = {name: torch.linalg.svd(change, full_matrices=False) for name, change in changes.items()}
        self.tuned = {name: after.get_submodule(name).weight.detach().clone() for name in names}

    @torch.no_grad()
    def set(self, rank: int | None) -> PreTrainedModel:
        """Put W0 + best rank-r cut into the model; rank None restores the tuned weights."""
        for name, (U, S, Vh) in self.svds.items():
            layer: Any = self.model.get_submodule(name)
            if rank is None:
                layer.weight.copy_(self.tuned[name])
                continue
            weight = self.base[name] + U[:, :rank] * S[:rank] @ Vh[:rank]  # (out, in)
            layer.weight.copy_(weight.T if isinstance(layer, Conv1D) else weight)
        return self.model


def input_directions(matrix: Tensor, k: int) -> Tensor:
    """The k input directions in which a matrix [out, in] acts most, as orthonormal columns [in, k]."""
    return torch.linalg.svd(matrix, full_matrices=False).Vh[:k].T


def subspace_similarity(first: Tensor, second: Tensor) -> float:
    """phi = |U^T V|^2 / min(i, j) of orthonormal columns U [n, i], V [n, j]: 1 if one contains the other.

    Hu et al. 2021, section 7.2. Two random subspaces give max(i, j) / n on average: show it beside the value.
    """
    return float((first.T @ second).square().sum() / min(first.shape[1], second.shape[1]))


def random_similarity(n: int, i: int, j: int) -> float:
    """Expected phi of two random subspaces of dimensions i and j in n dimensions."""
    return max(i, j) / n


class CountSketch(torch.autograd.Function):
    """z [d] -> sign * z[coordinate] [D]; the backward pass is the transpose."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, coordinate: Tensor, sign: Tensor) -> Tensor:
        ctx.save_for_backward(coordinate, sign)
        ctx.dimension = len(z)
        return z.index_select(0, coordinate) * sign

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        coordinate, sign = ctx.saved_tensors
        return grad.new_zeros(ctx.dimension).index_add_(0, coordinate, grad * sign), None, None


class RandomSubspace(nn.Module):
    """A model restricted to a random d-dimensional subspace: weights = start + P z, with z [d] trained.

    P is a count-sketch: each weight follows one random coordinate with a random sign, scaled by sqrt(d / D),
    so that |P z| is about |z|. Intrinsic dimension: Li et al. 2018, Aghajanyan et al. 2020, arXiv 2012.13255.
    """

    def __init__(self, model: PreTrainedModel, dimension: int, seed: int = 0) -> None:
        super().__init__()
        parameters = dict(model.named_parameters())
        total = sum(p.numel() for p in parameters.values())
        if not 1 <= dimension <= total:
            raise ValueError(f"dimension must be from 1 to {total}, the number of weights, got {dimension}.")
        generator = torch.Generator().manual_seed(seed)
        device = next(model.parameters()).device
        self.coordinate = torch.randint(dimension, (total,), generator=generator).to(device)
        sign = torch.randint(0, 2, (total,), generator=generator).mul_(2).sub_(1).to(device)
        self.sign = sign * math.sqrt(dimension / total)
        self.model = model.requires_grad_(False)
        self.config = model.config
        self.z = nn.Parameter(torch.zeros(dimension, device=device))
        self.start = {name: p.detach().clone() for name, p in parameters.items()}

    def weights(self) -> dict[str, Tensor]:
        """The model's current weights, by name."""
        moves = CountSketch.apply(self.z, self.coordinate, self.sign)  # (D,)
        moves = moves.split([p.numel() for p in self.start.values()])
        return {n: p + m.view_as(p) for (n, p), m in zip(self.start.items(), moves, strict=True)}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return torch.func.functional_call(self.model, self.weights(), args, kwargs)

    @torch.no_grad()
    def write_back(self) -> PreTrainedModel:
        """Put the current weights into the model and return it."""
        parameters = dict(self.model.named_parameters())
        for name, weight in self.weights().items():
            parameters[name].copy_(weight)
        return self.model
