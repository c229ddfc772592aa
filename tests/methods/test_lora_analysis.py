import copy
import itertools
import math

import pytest
import torch
from helpers import tiny_gpt2
from torch import nn
from transformers.pytorch_utils import Conv1D

from course_utils.methods import lora_analysis as analysis
from course_utils.methods.lora import apply_lora, lora_layers, merge_lora, unwrap_lora
from course_utils.training import train

IDS = torch.randint(1, 64, (3, 10), generator=torch.Generator().manual_seed(1))
ATTENTION = [f"transformer.h.{i}.attn.{name}" for i in (0, 1) for name in ("c_attn", "c_proj")]


def orthonormal(n, k, seed):
    return torch.linalg.qr(torch.randn(n, k, generator=torch.Generator().manual_seed(seed))).Q


def known(singular_values, n_out=20, n_in=12, seed=0):
    """A matrix with given singular values, and its input directions."""
    S = torch.tensor(singular_values)
    V = orthonormal(n_in, len(S), seed + 1)
    return orthonormal(n_out, len(S), seed) * S @ V.T, V


def moved(names, seed=3, rank=None):
    """A base model and a copy whose named weights were changed at random."""
    before = tiny_gpt2()
    after = copy.deepcopy(before)
    generator = torch.Generator().manual_seed(seed)
    for name in names:
        weight = after.get_submodule(name).weight
        k = rank or min(weight.shape)
        left, right = (torch.randn(n, k, generator=generator) for n in weight.shape)
        weight.data += 0.05 * left @ right.T / math.sqrt(k)
    return before, after


def test_linear_layers_are_all_but_the_head():
    model = tiny_gpt2()
    assert len(analysis.linear_layers(model)) == 2 * 4
    assert not any("lm_head" in name for name in analysis.linear_layers(model))
    names = analysis.linear_layers(model)
    assert analysis.linear_layers(apply_lora(model, 2, 4.0, ["c_attn"])) == names


def test_changes_are_out_by_in_and_see_through_lora():
    before = tiny_gpt2()
    after = apply_lora(copy.deepcopy(before), 2, 4.0, ["c_attn"])
    for layer in lora_layers(after).values():
        layer.lora_B.data.normal_()
    changes = analysis.weight_changes(before, after)
    for name, change in changes.items():
        if name.endswith("c_attn"):
            layer = after.get_submodule(name)
            assert change.shape == (96, 32)
            torch.testing.assert_close(change, 2.0 * layer.lora_B @ layer.lora_A, atol=1e-6, rtol=1e-5)
        else:
            assert change.abs().max() == 0


def test_spectrum_and_energy_of_known_matrix():
    matrix, _ = known([4.0, 2.0, 1.0])
    values = analysis.spectra({"m": matrix})["m"]
    torch.testing.assert_close(values[:3], torch.tensor([4.0, 2.0, 1.0]), atol=1e-5, rtol=0)
    curve = analysis.energy_curve(values)
    torch.testing.assert_close(curve[:3], torch.tensor([16, 20, 21]).double() / 21, atol=1e-6, rtol=0)
    assert curve[-1] == 1
    for share, rank in [(0.5, 1), (0.77, 2), (0.96, 3)]:
        assert analysis.rank_for_energy(values, share) == rank


def test_rank_for_energy_at_the_edges():
    values = torch.tensor([1.0, 1.0, 1.0, 1.0])
    assert [analysis.rank_for_energy(values, share) for share in (0.25, 0.26, 0.75, 1.0)] == [1, 2, 3, 4]


def test_random_control_has_the_same_norm_and_a_flat_spectrum():
    matrix, _ = known([4.0, 2.0, 1.0], 200, 100)
    control = analysis.random_like(matrix, seed=1)
    assert control.norm().item() == pytest.approx(matrix.norm().item(), rel=1e-5)
    assert analysis.energy_curve(torch.linalg.svdvals(control))[2] < 0.12
    assert not torch.equal(control, analysis.random_like(matrix, seed=2))


def test_best_rank_beats_every_other_cut():
    matrix = torch.randn(20, 12, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(matrix)
    for rank in (0, 1, 5, 12):
        cut = analysis.best_rank(matrix, rank)
        assert torch.linalg.matrix_rank(cut) == rank
        error = (matrix - cut).norm().item()
        assert error == pytest.approx(values[rank:].norm().item(), abs=1e-5)  # Eckart-Young
        for seed in range(20):
            Q = orthonormal(20, rank, seed) if rank else torch.zeros(20, 1)
            assert (matrix - Q @ (Q.T @ matrix)).norm() >= error - 1e-5


def logits(model):
    with torch.no_grad():
        return model(IDS).logits


def test_rank_cut_goes_from_base_to_tuned_and_back():
    before, after = moved(ATTENTION)
    tuned = logits(after)
    cut = analysis.RankCut(before, after, ATTENTION)
    torch.testing.assert_close(logits(cut.set(0)), logits(before), atol=1e-6, rtol=0)
    errors = [(logits(cut.set(rank)) - tuned).norm().item() for rank in (0, 8, 24, 32)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 1e-4 < errors[-2]
    assert torch.equal(logits(cut.set(None)), tuned)


def test_rank_cut_equals_a_low_rank_change_made_by_hand():
    before, after = moved(["transformer.h.0.attn.c_proj"], rank=2)
    tuned = logits(after)
    cut = analysis.RankCut(before, after)
    torch.testing.assert_close(logits(cut.set(2)), tuned, atol=1e-5, rtol=0)
    assert (logits(cut.set(1)) - tuned).abs().max() > 1e-3


def test_rank_cut_refuses_lora_and_takes_it_merged():
    before = tiny_gpt2()
    after = apply_lora(copy.deepcopy(before), 2, 4.0, ["c_attn"])
    with pytest.raises(TypeError, match="unwrap_lora"):
        analysis.RankCut(before, after)
    merge_lora(after)
    analysis.RankCut(before, unwrap_lora(after))


def test_train_only():
    model = analysis.train_only(tiny_gpt2(), ATTENTION)
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert trained == [f"{name}.weight" for name in ATTENTION]


def test_input_directions_of_known_matrix():
    matrix, V = known([4.0, 2.0, 1.0])
    found = analysis.input_directions(matrix, 2)
    torch.testing.assert_close((found.T @ V[:, :2]).abs(), torch.eye(2), atol=1e-5, rtol=0)


def test_similarity_of_known_subspaces():
    Q = torch.eye(10)
    assert analysis.subspace_similarity(Q[:, :3], Q[:, :6]) == 1
    assert analysis.subspace_similarity(Q[:, :3], Q[:, 3:6]) == 0
    assert analysis.subspace_similarity(Q[:, :4], Q[:, 2:8]) == 0.5
    angle = math.pi / 3
    line = torch.zeros(10, 1)
    line[0], line[1] = math.cos(angle), math.sin(angle)
    assert analysis.subspace_similarity(Q[:, :1], line) == pytest.approx(0.25)


def test_random_similarity_is_the_mean_of_random_draws():
    n, i, j = 24, 3, 8
    draws = [
        analysis.subspace_similarity(orthonormal(n, i, 2 * seed), orthonormal(n, j, 2 * seed + 1))
        for seed in range(400)
    ]
    assert sum(draws) / len(draws) == pytest.approx(analysis.random_similarity(n, i, j), abs=0.01)


# --- random subspace


def dense_projection(space):
    """P as a dense matrix, column by column, from the module's effect on unit vectors."""
    columns = []
    for k in range(len(space.z)):
        with torch.no_grad():
            space.z.zero_()
            space.z[k] = 1
            moves = [(weight - space.start[name]).flatten() for name, weight in space.weights().items()]
        columns.append(torch.cat(moves))
    with torch.no_grad():
        space.z.zero_()
    return torch.stack(columns, dim=1)


class TwoLayers(nn.Module):
    def __init__(self):
        super().__init__()
        self.config = None
        self.first, self.second = Conv1D(8, 6), nn.Linear(8, 1)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


def test_subspace_is_a_count_sketch():
    torch.manual_seed(0)
    space = analysis.RandomSubspace(TwoLayers(), 10, seed=4)
    P = dense_projection(space)
    total = sum(p.numel() for p in space.start.values())
    assert P.shape == (total, 10)
    assert ((P.abs() > 1e-6).sum(dim=1) == 1).all()  # one coordinate per weight
    size = torch.full((total,), math.sqrt(10 / total))
    torch.testing.assert_close(P.abs().amax(dim=1), size, atol=1e-6, rtol=0)
    assert 0.2 < (P.sum(dim=1) > 0).float().mean() < 0.8


def test_subspace_gradient_is_p_transposed_times_the_full_gradient():
    torch.manual_seed(0)
    model = TwoLayers()
    plain = copy.deepcopy(model)
    space = analysis.RandomSubspace(model, 10, seed=4)
    P = dense_projection(space)
    x = torch.randn(5, 6)
    assert torch.equal(space(x), plain(x))
    space(x).square().sum().backward()
    plain(x).square().sum().backward()
    full = torch.cat([p.grad.flatten() for p in plain.parameters()])
    torch.testing.assert_close(space.z.grad, P.T @ full, atol=1e-5, rtol=1e-4)


def test_subspace_keeps_lengths():
    space = analysis.RandomSubspace(tiny_gpt2(), 100)
    with torch.no_grad():
        space.z.normal_(generator=torch.Generator().manual_seed(0))
        moved = torch.cat([(w - space.start[name]).flatten() for name, w in space.weights().items()])
    assert moved.norm().item() == pytest.approx(space.z.norm().item(), rel=0.05)


def test_subspace_trains_a_tied_model_through_z_alone():
    model = tiny_gpt2()
    space = analysis.RandomSubspace(model, 300)
    assert [name for name, p in space.named_parameters() if p.requires_grad] == ["z"]
    batch = {"input_ids": IDS, "attention_mask": torch.ones_like(IDS), "labels": IDS}
    losses = train(space, itertools.repeat(batch), steps=20, lr=0.05).column("loss")[1]
    assert losses[-1] < losses[0] - 0.1
    with torch.no_grad():
        trained = space(input_ids=IDS).logits
    written = space.write_back()
    assert written is model and written.lm_head.weight is written.transformer.wte.weight
    torch.testing.assert_close(logits(written), trained, atol=1e-6, rtol=0)


def test_subspace_repeats_with_its_seed():
    first, second, other = (analysis.RandomSubspace(TwoLayers(), 10, seed=seed) for seed in (4, 4, 5))
    assert torch.equal(first.coordinate, second.coordinate) and torch.equal(first.sign, second.sign)
    assert not torch.equal(first.coordinate, other.coordinate)


@pytest.mark.parametrize("dimension", [0, 10**6])
def test_subspace_dimension_must_fit(dimension):
    with pytest.raises(ValueError, match="dimension must be from 1 to 65"):
        analysis.RandomSubspace(TwoLayers(), dimension)
