import os
from pathlib import Path

import helpers
import pytest
import torch
from helpers import tiny_model

from course_utils.data import Example, collate
from course_utils.memory import measure_peak, random_batch, saved_bytes, training_memory
from course_utils.training import accumulated_step, adamw, fast_lm_loss

MIB = 2**20


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(Path(helpers.__file__).parent), os.environ.get("PYTHONPATH", "")])
    )


@pytest.mark.slow
def test_growth_and_total_follow_what_the_step_uses():
    peak = measure_peak(helpers.known, keep_mb=96, use_mb=64)
    assert peak.growth == pytest.approx(128 * MIB, rel=0.1)  # the ones and the sum of the two
    assert peak.total == pytest.approx((96 + 128) * MIB, rel=0.1)


@pytest.mark.night
def test_a_failing_child_is_quoted():
    with pytest.raises(RuntimeError, match="measuring failing failed: ValueError: no such luck"):
        measure_peak(helpers.failing)


@pytest.mark.night
def test_a_child_that_is_killed_is_named_with_its_status():
    with pytest.raises(RuntimeError, match="measuring vanishing failed: exit status 9, as where memory"):
        measure_peak(helpers.vanishing)


def test_saved_bytes_of_a_known_graph():
    x = torch.ones(1000, requires_grad=True)
    assert saved_bytes(lambda: (x * 2).exp().sin(), [x]) == 4000  # exp's result is sin's input
    assert saved_bytes(lambda: (x * 2).exp().mul(2).exp(), [x]) == 8000
    assert saved_bytes(lambda: (x * x).sum(), [x]) == 0


def test_training_memory_counts_by_trainable_parameters():
    model = tiny_model()
    batch = collate([Example([1, 2, 3], [1, 2, 3])], 0)
    values = sum(p.numel() for p in model.parameters())
    parts = training_memory(model, batch)
    assert (parts["weights"], parts["gradients"], parts["moments"]) == (4 * values, 4 * values, 8 * values)
    model.requires_grad_(False)
    model.transformer.ln_f.weight.requires_grad_(True)
    frozen = training_memory(model, batch)
    assert frozen["gradients"] == 4 * model.config.n_embd
    assert 0 < frozen["activations"] < parts["activations"]


def test_moments_are_those_that_adamw_keeps():
    model = tiny_model()
    model.transformer.wte.requires_grad_(False)
    batch, optimizer = random_batch(model, 2, 8), adamw(model, lr=1e-3)
    accumulated_step(model, [batch], fast_lm_loss)
    optimizer.step()
    kept = [state[name] for state in optimizer.state.values() for name in ("exp_avg", "exp_avg_sq")]
    assert training_memory(model, batch)["moments"] == sum(moment.nbytes for moment in kept) > 0


def test_activations_grow_with_the_batch():
    model = tiny_model()
    small, large = (training_memory(model, random_batch(model, size, 32))["activations"] for size in (2, 4))
    assert large == pytest.approx(2 * small, rel=0.05)
