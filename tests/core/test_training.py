import io
import itertools
import math
import os
import re
import signal
import subprocess
import sys
import textwrap

import pytest
import torch
import torch.nn.functional as F

from course_utils import training
from course_utils.data import Example, batches, collate
from course_utils.session import TrainingStopped, stopped
from course_utils.training import (
    TrainingDiverged,
    accumulated_step,
    lm_loss,
    load_checkpoint,
    save_checkpoint,
    token_losses,
    train,
    warmup_cosine,
)

EXAMPLES = [
    Example([i + 1, i + 2, i + 3, 5, 6][: 3 + i % 3], [-100, i + 2, i + 3, 5, 6][: 3 + i % 3])
    for i in range(12)
]


def data(seed=0, size=4):
    return batches(EXAMPLES, size, seed, 0)


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def equal(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def test_token_losses_are_minus_log_probabilities_of_the_next_token():
    logits = torch.randn(2, 3, 7)
    labels = torch.tensor([[1, 2, 3], [4, -100, 6]])
    losses = token_losses(logits, labels)
    log_probabilities = logits.log_softmax(-1)
    expected = -torch.stack([log_probabilities[0, 0, 2], log_probabilities[0, 1, 3]])
    torch.testing.assert_close(losses[0], expected)
    assert losses[1, 0] == 0
    torch.testing.assert_close(losses[1, 1], -log_probabilities[1, 1, 6])


def test_lm_loss_sums_and_counts_the_targets(model):
    batch = collate(EXAMPLES[:5], 0)
    loss, count = lm_loss(model, batch)
    assert int(count) == sum(label != -100 for example in EXAMPLES[:5] for label in example.labels[1:])
    alone = sum(lm_loss(model, collate([example], 0))[0] for example in EXAMPLES[:5])
    torch.testing.assert_close(loss, alone)


@pytest.mark.parametrize("examples", [EXAMPLES, EXAMPLES[:1], [Example([1, 2], [-100, -100])]])
def test_the_fast_loss_is_the_same_and_has_the_same_gradient(model, examples):
    batch = collate(examples, 0)
    loss, count = training.fast_lm_loss(model, batch)
    (loss / len(examples)).backward()
    gradients = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    expected, targets = lm_loss(model, batch)
    (expected / len(examples)).backward()
    assert int(count) == int(targets)
    torch.testing.assert_close(loss, expected)
    for gradient, parameter in zip(gradients, model.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad, atol=1e-6, rtol=1e-6)


def test_warmup_is_linear_and_the_cosine_reaches_its_floor():
    factors = [warmup_cosine(step, 100, 10, floor=0.1) for step in range(101)]
    assert factors[:10] == pytest.approx([0.1 * k for k in range(1, 11)])
    assert factors[10] == 1
    assert factors[55] == pytest.approx(0.55)  # halfway down
    assert factors[100] == pytest.approx(0.1)
    assert all(later < earlier for earlier, later in itertools.pairwise(factors[10:]))
    assert [warmup_cosine(step, 2, 0) for step in range(2)] == pytest.approx([1, 0.5])


def test_accumulated_step_equals_the_big_batch(model):
    unequal = [collate(EXAMPLES[:2], 0), collate(EXAMPLES[2:9], 0), collate(EXAMPLES[9:], 0)]
    loss, tokens = accumulated_step(model, unequal)
    gradients = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    whole, count = lm_loss(model, collate(EXAMPLES, 0))
    (whole / count).backward()
    assert (loss, tokens) == (pytest.approx((whole / count).item()), int(count))
    for gradient, parameter in zip(gradients, model.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad, atol=1e-6, rtol=0)


def test_training_learns_and_keeps_its_history(model):
    history = train(
        model,
        data(),
        steps=60,
        lr=1e-2,
        evaluate=lambda model: {"count": sum(1 for _ in model.parameters()), "training": model.training},
        eval_every=25,
    )
    steps, losses = history.column("loss")
    assert steps == list(range(1, 61))
    assert losses[-1] < 0.2 < 2 < losses[0]
    assert history.column("training") == ([0, 25, 50, 60], [False] * 4)
    assert history.column("lr")[1][5] == 1e-2
    assert set(history.rows[1]) == {"step", "loss", "lr", "grad_norm", "tokens", "seconds"}
    assert history.stopped is None
    assert not model.training
    assert all(p.grad is None for p in model.parameters())


def test_training_follows_a_loop_written_out(model):
    from copy import deepcopy

    start, other = deepcopy(model), deepcopy(model)
    train(model, data(), steps=5, lr=1e-3, accumulate=2, clip=0.5, weight_decay=0.1)
    decayed = [p for name, p in other.named_parameters() if "ln_" not in name and "bias" not in name]
    rest = [p for name, p in other.named_parameters() if "ln_" in name or "bias" in name]
    optimizer = torch.optim.AdamW(
        [{"params": decayed}, {"params": rest, "weight_decay": 0}], weight_decay=0.1
    )
    stream = data()
    for step in range(5):
        pair = [next(stream), next(stream)]
        optimizer.zero_grad()
        losses = [lm_loss(other, batch) for batch in pair]
        (sum(loss for loss, _ in losses) / sum(count for _, count in losses)).backward()
        torch.nn.utils.clip_grad_norm_(other.parameters(), 0.5)
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * 0.5 * (1 + math.cos(math.pi * step / 5))
        optimizer.step()
    triples = zip(model.named_parameters(), other.parameters(), start.parameters(), strict=True)
    for (name, mine), theirs, first in triples:
        if "c_attn.bias" not in name:  # a key's bias has only rounding as gradient, which Adam amplifies
            assert (mine - theirs).norm() < 3e-4 * (theirs - first).norm(), name


def test_only_parameters_that_require_gradients_change(model):
    model.requires_grad_(False)
    model.transformer.ln_f.weight.requires_grad_(True)
    model.transformer.wpe.weight.grad = torch.full_like(model.transformer.wpe.weight, 1e9)  # left from before
    before = weights(model)
    history = train(model, data(), steps=3, lr=1e-2)
    changed = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
    assert changed == ["transformer.ln_f.weight"]
    assert max(history.column("grad_norm")[1]) < 1e6


def test_evaluating_does_not_change_the_training(model):
    from copy import deepcopy

    other = deepcopy(model)
    for module in (*model.modules(), *other.modules()):
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.2
    train(model, data(), steps=6, lr=1e-2, seed=3)
    train(
        other,
        data(),
        steps=6,
        lr=1e-2,
        seed=3,
        evaluate=lambda _: {"noise": torch.rand(1).item()},
        eval_every=1,
    )
    assert equal(weights(model), weights(other))


class Stop(Exception):
    pass


@pytest.mark.parametrize("how", ["killed", "interrupted"])
def test_resume_is_bit_exact(tmp_path, how, tokenizer):
    from helpers import tiny_model

    def fresh():
        model = tiny_model(vocab_size=len(tokenizer))
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.2
        return model

    settings = {"steps": 10, "lr": 1e-2, "accumulate": 2, "seed": 5, "checkpoint_every": 3}
    whole = fresh()
    expected = train(whole, data(), **settings)
    calls = []

    def failing_loss(model, batch):
        calls.append(1)
        result = training.fast_lm_loss(model, batch)
        if len(calls) == 16:  # in the second half of step 8
            raise Stop if how == "killed" else KeyboardInterrupt
        return result

    path = tmp_path / "run.pt"
    first = fresh()
    with pytest.raises(Stop if how == "killed" else KeyboardInterrupt):
        train(first, data(), loss_fn=failing_loss, checkpoint=path, **settings)
    rows = torch.load(path)["progress"]["rows"]
    assert rows[-1]["step"] == (6 if how == "killed" else 7)
    resumed = fresh()
    history = train(resumed, data(), checkpoint=path, **settings)
    assert equal(weights(resumed), weights(whole))
    for name in ("step", "loss", "lr", "grad_norm", "tokens"):
        assert history.column(name) == expected.column(name)
    assert os.listdir(tmp_path) == ["run.pt"]
    assert train(resumed, data(), checkpoint=path, **settings).column("loss") == expected.column("loss")


def test_checkpoint_round_trip(model, tmp_path):
    optimizer = training.adamw(model, 1e-2)
    accumulated_step(model, [next(data())])
    optimizer.step()
    save_checkpoint(tmp_path / "a.pt", model, optimizer, {"step": 1})
    saved, noise = weights(model), torch.rand(3)
    moments = {k: v.clone() for k, v in optimizer.state[model.transformer.wte.weight].items()}
    accumulated_step(model, [next(data(1))])
    optimizer.step()
    assert not equal(weights(model), saved)
    assert load_checkpoint(tmp_path / "a.pt", model, optimizer) == {"step": 1}
    assert equal(weights(model), saved)
    assert torch.equal(torch.rand(3), noise)
    for name, value in optimizer.state[model.transformer.wte.weight].items():
        assert torch.equal(value, moments[name])


def test_a_checkpoint_that_does_not_fit_is_refused_and_nothing_changes(model, tmp_path):
    path = tmp_path / "run.pt"
    train(model, data(), steps=2, lr=1e-2, checkpoint=path)
    before = weights(model)
    with pytest.raises(
        ValueError, match=r"run.pt: a checkpoint of other settings \(lr=0.01 there, 0.02 now\). Delete it"
    ):
        train(model, data(), steps=2, lr=2e-2, checkpoint=path)
    others = {"steps": 3, "weight_decay": 0.1, "warmup": 0.5, "clip": 2.0, "accumulate": 2, "seed": 1}
    for name, value in others.items():
        with pytest.raises(ValueError, match=rf"other settings \({name}=.* there, {value} now\)"):
            train(model, data(), **{"steps": 2, "lr": 1e-2, name: value}, checkpoint=path)
    model.transformer.wte.weight.requires_grad_(False)
    with pytest.raises(ValueError, match="other trainable parameters"):
        train(model, data(), steps=2, lr=1e-2, checkpoint=path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="not a readable checkpoint"):
        train(model, data(), steps=2, lr=1e-2, checkpoint=path)
    assert equal(weights(model), before)


def _no_rows(state):
    state["progress"]["rows"] = []


def _no_settings(state):
    del state["progress"]["settings"]


def _settings_of_another_version(state):
    del state["progress"]["settings"]["clip"]


def _rows_of_numbers(state):
    state["progress"]["rows"] = [1, 2]


def _weights_as_numbers(state):
    state["weights"] = dict.fromkeys(state["weights"], 1.0)


def _nan(state):
    next(iter(state["weights"].values())).view(-1)[0] = math.nan


def _half_a_random_state(state):
    state["random"] = state["random"][:100].clone()


def _other_moments(state):
    state["optimizer"]["state"][0]["exp_avg"] = torch.zeros(3)


def _no_moments(state):
    state["optimizer"] = {}


@pytest.mark.parametrize(
    "spoil, message",
    [
        (_no_rows, "not a readable checkpoint"),
        (_no_settings, "not a readable checkpoint"),
        (_settings_of_another_version, "not a readable checkpoint"),
        (_rows_of_numbers, "not a readable checkpoint"),
        (_weights_as_numbers, "not a readable checkpoint"),
        (_nan, r"the values of \S+ are not finite"),
        (_half_a_random_state, "the optimiser's state does not fit"),
        (_other_moments, "the optimiser's state does not fit"),
        (_no_moments, "the optimiser's state does not fit"),
        (lambda state: state.clear(), "not a readable checkpoint"),
    ],
)
def test_a_checkpoint_of_other_contents_is_refused_and_nothing_changes(model, tmp_path, spoil, message):
    path = tmp_path / "run.pt"
    train(model, data(), steps=2, lr=1e-2, checkpoint=path)
    state, before = torch.load(path), weights(model)
    spoil(state)
    torch.save(state, path)
    with pytest.raises(ValueError, match=rf"run\.pt: {message}.*Delete it to start afresh"):
        train(model, data(), steps=2, lr=1e-2, checkpoint=path)
    assert equal(weights(model), before)


def test_a_flipped_bit_of_a_checkpoint_is_seen(model, tmp_path):
    path = tmp_path / "run.pt"
    train(model, data(), steps=2, lr=1e-2, checkpoint=path)
    whole, before, refused = path.read_bytes(), weights(model), 0
    for place in range(len(whole) // 20, len(whole), len(whole) // 20):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            train(model, data(), steps=2, lr=1e-2, checkpoint=path)  # a bit between the parts has no effect
        except ValueError as error:
            assert "run.pt: not a readable checkpoint" in str(error)
            refused += 1
        assert equal(weights(model), before)
    assert refused > 10


def test_a_failed_write_leaves_the_old_checkpoint(model, tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    path.write_text("old")

    def full_disk(state, target):
        target.write_text("half")
        raise RuntimeError("No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match=r"run.pt: the checkpoint could not be written .*is the disk full"):
        training._save(path, model, training.adamw(model, 1e-2), {})
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["run.pt"]


def diverging(at, value, where="loss"):
    calls = []

    def loss_fn(model, batch):
        calls.append(1)
        loss, count = lm_loss(model, batch)
        if len(calls) == at:
            loss = loss * value if where == "loss" else loss + 0 * torch.sqrt(0 * loss)
        return loss, count

    return loss_fn


@pytest.mark.parametrize(
    ("loss_fn", "message"),
    [
        (
            diverging(4, math.nan),
            r"stopped at step 4 of 10: loss nan, lr 0.000\d+. Likely cause: the loss had not risen",
        ),
        (diverging(1, math.inf), r"step 1 of 10: loss inf.*it is the first step, so look at the batch"),
        (diverging(4, 0, "gradient"), r"step 4 of 10: loss \d.*its gradient is not: look for a logarithm"),
    ],
)
def test_a_loss_that_is_not_a_number_stops_before_the_update(model, loss_fn, message):
    after = []

    def remember(model, batch):
        after.append(weights(model))
        return loss_fn(model, batch)

    with pytest.raises(TrainingDiverged, match=message) as error:
        train(model, data(), steps=10, lr=1e-3, loss_fn=remember)
    assert equal(weights(model), after[-1])
    assert len(error.value.history.rows) == len(after) - 1
    assert not model.training


def test_a_wild_learning_rate_is_named_as_the_cause(model):
    with pytest.raises(TrainingDiverged, match=r"step 2 of 20.*largest weight is \d.*e\+29 now\): lower lr"):
        train(model, data(), steps=20, lr=1e30)


def test_weights_that_are_not_finite_are_named(model):
    model.transformer.ln_f.bias.data[3] = math.nan
    with pytest.raises(
        TrainingDiverged, match=r"step 1 of 5.*weights were not finite to begin with: load the model again"
    ):
        train(model, data(), steps=5, lr=1e-3)


def pressing_stop(step):
    """lm_loss that presses Stop in this step of the first training."""
    calls = []

    def loss_fn(model, batch):
        calls.append(1)
        if len(calls) == step:
            signal.raise_signal(signal.SIGINT)
        return lm_loss(model, batch)

    return loss_fn


@pytest.mark.usefixtures("interruptible")
def test_stop_evaluates_once_and_halts_at_the_end_of_the_cell(model, shell, capsys):
    seen = []

    def evaluate(model):
        seen.append(weights(model))
        return {"held_out": float(len(seen))}

    shell.push({"model": model, "data": data, "train": train, "evaluate": evaluate, "stopped": stopped})
    shell.user_ns["settings"] = {"steps": 9, "lr": 1e-2, "evaluate": evaluate, "loss_fn": pressing_stop(5)}
    cell = """history = train(model, data(), **settings)
reason, held_out = stopped(), history.rows[-1]["held_out"]
"""
    result = shell.run_cell(cell)
    assert isinstance(result.error_in_exec, TrainingStopped)
    shown = capsys.readouterr().out
    assert shown.count("Stopped: training, interrupted at step 4 of 9. The model and its history are") == 1
    assert "Traceback" not in shown
    history = shell.user_ns["history"]
    assert history.stopped == "interrupted at step 4 of 9"
    assert history.column("step")[1] == [0, 1, 2, 3, 4]
    assert history.column("held_out") == ([0, 4], [1.0, 2.0])
    assert equal(seen[-1], weights(model)), "the evaluation is of the model that is left"
    assert shell.user_ns["reason"] == stopped() == "training was stopped"
    assert not model.training
    assert all(p.grad is None for p in model.parameters())
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    assert shell.run_cell("other = 1").success
    assert stopped(), "another cell's end does not make up for it"
    assert shell.run_cell(cell).success
    assert shell.user_ns["reason"] == stopped() == ""
    assert shell.user_ns["history"].stopped is None


@pytest.mark.usefixtures("interruptible")
def test_what_follows_a_stop_in_its_cell_fails_silently(model, shell, capsys):
    shell.push({"model": model, "data": data, "train": train})
    shell.user_ns["settings"] = {"steps": 9, "lr": 1e-2}
    for after in ("history.rows[-1]['held_out']", "train(model, data())"):
        shell.user_ns["settings"]["loss_fn"] = pressing_stop(3)
        result = shell.run_cell(f"history = train(model, data(), **settings)\n{after}")
        assert isinstance(result.error_in_exec, TrainingStopped)
        shown = capsys.readouterr().out
        assert shown.count("Stopped: training, interrupted at step 2 of 9") == 1
        assert "The rest of this cell did not run" in shown and "go on below" not in shown
        assert "Error" not in shown
    shell.run_cell("{}['missing']")
    assert "KeyError" in capsys.readouterr().out, "in the next cell errors are shown again"


@pytest.mark.usefixtures("interruptible")
def test_a_second_training_in_the_cell_does_not_begin(model, shell, capsys):
    calls, press = [], pressing_stop(3)

    def loss_fn(model, batch):
        calls.append(1)
        return press(model, batch)

    shell.push({"model": model, "data": data, "train": train, "loss_fn": loss_fn})
    loop = "for i in range(3): done[i] = train(model, data(), steps=9, lr=1e-2, loss_fn=loss_fn)"
    shell.run_cell(f"done = {{}}\n{loop}")
    assert len(calls) == 3
    shown = capsys.readouterr().out
    assert shown.count("Stopped: training, interrupted at step 2 of 9") == 1
    assert "cells below may lack what it makes: run it again to start over." in shown
    assert list(shell.user_ns["done"]) == [0]

    shell.run_cell("len(done)")
    assert "Another cell was stopped" not in capsys.readouterr().out
    shell.run_cell("done[2]")
    assert "KeyError" in (shown := capsys.readouterr().out)
    assert "Another cell was stopped before its end" in shown
    shell.run_cell(f"done = {{}}\n{loop}")
    capsys.readouterr()
    shell.run_cell("done[3]")
    assert "Another cell was stopped" not in capsys.readouterr().out, "it has run to its end"


def test_an_interrupt_that_code_raises_is_no_stop(model, shell):
    def interrupt(model, batch):
        raise KeyboardInterrupt

    shell.push({"model": model, "data": data, "train": train, "interrupt": interrupt})
    result = shell.run_cell("history = train(model, data(), steps=9, lr=1e-2, loss_fn=interrupt)")
    assert result.success and stopped() == ""
    assert shell.user_ns["history"].stopped == "interrupted at step 0 of 9"


@pytest.mark.usefixtures("interruptible")
def test_any_other_cell_that_is_stopped_counts_until_it_has_run(shell, capsys):
    shell.user_ns["signals"] = [signal.SIGINT]
    cell = "import signal; [signal.raise_signal(s) for s in signals]"
    shell.run_cell(cell)
    assert stopped() == "a cell was stopped before its end"
    shell.run_cell(cell + "; broken")
    assert stopped(), "another cell"
    shell.user_ns["signals"] = []
    shell.run_cell(cell)
    shell.run_cell(cell + "; broken")
    assert stopped(), "it has not come to its end"
    shell.user_ns["broken"] = 1
    shell.run_cell(cell + "; broken")
    assert stopped() == ""


@pytest.mark.usefixtures("interruptible")
def test_outside_a_notebook_an_interrupt_goes_on_when_the_bar_is_closed(model, capsys):
    with pytest.raises(KeyboardInterrupt):
        train(model, data(), steps=50, lr=1e-2, loss_fn=pressing_stop(5))
    assert re.search(
        r"training 4/50 · loss \S+ · \S+ s · interrupted at step 4 of 50", capsys.readouterr().out
    )
    assert not model.training
    assert train(model, data(), steps=2, lr=1e-2).stopped is None


@pytest.mark.usefixtures("interruptible")
def test_interrupt_in_an_update_waits_for_its_end(model, monkeypatch, tmp_path):
    steps = []
    update = torch.optim.AdamW.step

    def interrupted(self, *args, **kwargs):
        steps.append("begun")
        signal.raise_signal(signal.SIGINT)
        update(self, *args, **kwargs)
        steps.append("done")

    monkeypatch.setattr(torch.optim.AdamW, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(model, data(), steps=50, lr=1e-2, evaluate=lambda model: {}, checkpoint=tmp_path / "run.pt")
    assert steps == ["begun", "done"]
    assert torch.load(tmp_path / "run.pt")["progress"]["rows"][-1]["step"] == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(
    ("stream", "settings", "message"),
    [
        (iter([collate(EXAMPLES[:2], 0)]), {}, "batches ran out at step 2; pass an endless iterator"),
        (
            [collate([Example([3] * 130, [3] * 130), EXAMPLES[0]], 0)],
            {},
            r"example 0 of the batch of step 1 has 130 tokens",
        ),
        ([collate([Example([3, 4], [-100, -100])], 0)], {}, "no target tokens"),
        ([{"input_ids": torch.zeros(0, 4, dtype=torch.long)}], {}, "batch of step 1 is empty"),
        ([], {"steps": 0}, "steps and accumulate must be at least 1, got 0 and 1"),
    ],
)
def test_bad_batches_are_named(model, stream, settings, message):
    with pytest.raises(ValueError, match=message):
        train(model, stream, **{"steps": 3, "lr": 1e-3, **settings})
    assert not model.training


def test_a_frozen_model_is_refused(model):
    model.requires_grad_(False)
    with pytest.raises(ValueError, match="nothing to train"):
        train(model, data(), steps=1, lr=1e-3)


@pytest.mark.slow
def test_headless_progress_is_one_line_on_stdout():
    code = """
        import time
        from course_utils.training import ProgressBar
        bar = ProgressBar(3, "tuning")
        for step in range(3):
            time.sleep(0.3)
            bar.update(step + 1, f"loss {step}")
        bar.close()
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60
    )
    assert run.stderr == ""
    assert run.stdout.count("\n") == 1
    assert run.stdout.startswith("tuning 3/3 · loss 2 · ")


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_terminal_progress_redraws_one_line():
    import pty

    code = """
        import time
        from course_utils.training import ProgressBar
        bar = ProgressBar(2, "tuning")
        for step in range(2):
            time.sleep(0.3)
            bar.update(step + 1, "fine")
        bar.close("interrupted")
    """
    parent, child = pty.openpty()
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], stdout=child, check=True, timeout=60)
    os.close(child)
    shown = os.read(parent, 10_000).decode()
    os.close(parent)
    assert shown.count("\n") == 1
    assert "tuning 1/2 · fine\r" in shown and "tuning 2/2 · fine · 0 s left" in shown
    assert shown.rstrip().endswith("interrupted")


def test_notebook_progress_is_one_display_that_is_updated(monkeypatch):
    import IPython
    import IPython.display

    shown = []

    class Handle:
        def update(self, content, raw):
            shown.append(("update", content["text/plain"]))

    def display(content, raw, display_id):
        shown.append(("display", content["text/plain"]))
        assert "<progress" in content["text/html"]
        return Handle()

    class Shell:
        kernel = True

    monkeypatch.setattr(IPython, "get_ipython", Shell)
    monkeypatch.setattr(IPython.display, "display", display)
    clock = iter([0, 500, 510, 520, 530])
    monkeypatch.setattr(training.time, "perf_counter", lambda: next(clock))
    bar = training.ProgressBar(4, "tuning")
    for step in (1, 2, 4):
        bar.update(step)
    bar.close()
    assert shown == [
        ("display", "tuning 0/4"),
        ("update", "tuning 1/4"),
        ("update", "tuning 2/4 · 20 s left"),  # time before the first step's end is not counted
        ("update", "tuning 4/4 · 0 s left"),
        ("update", "tuning 4/4 · 530.0 s"),
    ]


def test_the_loss_is_that_of_cross_entropy(model):
    batch = collate(EXAMPLES[:1], 0)
    logits = model(**{k: batch[k] for k in ("input_ids", "attention_mask")}).logits
    expected = F.cross_entropy(logits[0, :-1], batch["labels"][0, 1:], reduction="sum")
    torch.testing.assert_close(lm_loss(model, batch)[0], expected)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_of_ascii_alone_costs_no_training(model, monkeypatch, terminal):
    raw = io.BytesIO()
    stdout = io.TextIOWrapper(raw, encoding="ascii")
    monkeypatch.setattr(stdout, "isatty", lambda: terminal)
    monkeypatch.setattr("sys.stdout", stdout)
    assert len(train(model, data(), steps=2, lr=1e-3, label="µ").rows) == 2
    stdout.flush()
    assert b"? 2/2 - loss " in raw.getvalue()
