"""The training loop shared by all lessons, and the parts from which lesson 02 builds it."""

import itertools
import math
import signal
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.data import IGNORE, Batch
from course_utils.home import written_aside
from course_utils.kernels import is_gpt2_lm
from course_utils.log_probs import fast_token_log_probs, scored_hidden, token_losses
from course_utils.session import check_not_stopped, in_cell, stop_here

LossFunction = Callable[[nn.Module, Batch], tuple[Tensor, Tensor | int]]  # (summed loss, number of summands)


def lm_loss(model, batch):
    """(summed loss, number of target tokens) of a right-padded batch."""
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    losses = token_losses(logits, batch["labels"])  # (batch, tokens - 1)
    return losses.sum(), (batch["labels"][:, 1:] != IGNORE).sum()


def fast_lm_loss(model, batch):
    """lm_loss, computing logits only at positions that predict a target.

    For models other than GPT-2: positions that do so in any row.
    """
    targets = batch["labels"][:, 1:]  # (batch, tokens - 1)
    scored = targets != IGNORE
    if is_gpt2_lm(model):
        logits = model.lm_head(scored_hidden(model, batch))  # (scored, vocabulary)
        return F.cross_entropy(logits.float(), targets[scored], reduction="sum"), scored.sum()
    positions = scored.any(0).nonzero().squeeze(1)
    inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    logits = model(
        **inputs, logits_to_keep=positions, use_cache=False
    ).logits  # (batch, positions, vocabulary)
    kept = targets[:, positions].flatten()
    return F.cross_entropy(logits.flatten(0, 1).float(), kept, reduction="sum"), scored.sum()


def scored_lm_loss(model, batch):
    """lm_loss with logits only where a token is scored; a frozen head keeps no logits."""
    return -fast_token_log_probs(model, batch).sum(), (batch["labels"][:, 1:] != IGNORE).sum()


def warmup_cosine(step, steps, warmup, floor=0.0):
    """Learning-rate factor of a step (from 0): linear to 1 over `warmup` steps, half a cosine to `floor`."""
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done))


def adamw(model, lr, weight_decay=0.01):
    """AdamW over the trainable parameters; matrices decay, biases and layer norms do not."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr, fused=True)


def accumulated_step(model, micro_batches, loss_fn=lm_loss):
    """Leaves the gradient of the mean loss over all target tokens of the micro-batches; (mean loss, tokens).

    Losses are summed and divided once: the mean of the micro-batches' means would weigh short ones too much.
    """
    total, tokens = 0.0, 0
    for batch in micro_batches:
        loss, count = loss_fn(model, batch)
        loss.backward()
        total, tokens = total + loss.item(), tokens + int(count)
    if tokens == 0:
        raise ValueError("this step has no target tokens: every label of its batches is -100")
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad /= tokens
    return total / tokens, tokens


def save_checkpoint(path, model, optimizer, progress):
    """Save trainable weights, optimiser, random state and `progress` (a dict), renamed into place."""
    state = {
        "weights": {name: p.detach() for name, p in model.named_parameters() if p.requires_grad},
        "optimizer": optimizer.state_dict(),
        "random": torch.get_rng_state(),
        "progress": progress,
    }
    with written_aside(Path(path)) as part:
        torch.save(state, part)


def load_checkpoint(path, model, optimizer):
    """Puts weights, optimiser and random state back, in place, and returns the saved `progress`."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in state["weights"].items():
            parameters[name].copy_(value)
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"])
    return state["progress"]


@dataclass
class History:
    """The record of a training, a row per step.

    step (1 is the first update; 0, the evaluation before it), loss (mean over the step's target tokens,
    before the update), lr, grad_norm (before clipping), tokens (target tokens), seconds (of the step, without
    evaluation), and the results of `evaluate`. `stopped`: why training ended early, if it did.
    """

    rows: list[dict] = field(default_factory=list)
    stopped: str | None = None

    def column(self, name):
        """(steps, values) of the rows that have this entry."""
        rows = [row for row in self.rows if name in row]
        return [row["step"] for row in rows], [row[name] for row in rows]


class TrainingDiverged(RuntimeError):
    """The loss or gradient was not finite; the weights are those before the bad step. Has a `history`."""

    def __init__(self, message, history):
        super().__init__(message)
        self.history = history


def train(
    model,
    batches,
    *,
    steps,
    lr,
    loss_fn=fast_lm_loss,
    weight_decay=0.01,
    warmup=0.1,
    clip=1.0,
    accumulate=1,
    evaluate=None,
    eval_every=None,
    checkpoint=None,
    checkpoint_every=None,
    seed=0,
    autocast=nullcontext,
    label="training",
) -> History:
    """Train the trainable parameters in place with AdamW; returns the history.

    batches: endless iterator of dicts of tensors, `accumulate` of them per step; loss_fn(model, batch)
    returns (summed loss, count). warmup: share of the steps. clip: maximum gradient norm (math.inf: none).
    evaluate(model) returns a dict of numbers; it is called before the first step, after every `eval_every`
    steps and after the last one. checkpoint: a file written every `checkpoint_every` steps and at the end; if
    it exists, training resumes from it, bit for bit on a CPU if `batches` starts again with the same seed.
    Raises TrainingDiverged if a loss or gradient is not finite. Stop in a notebook (Ctrl-C) evaluates once
    and returns the history so far; see ProgressBar.
    """
    if steps < 1 or accumulate < 1:
        raise ValueError(f"steps and accumulate must be at least 1, got {steps} and {accumulate}")
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError("no parameter of the model requires gradients, so there is nothing to train")
    settings = {"steps": steps, "lr": lr, "weight_decay": weight_decay, "warmup": warmup, "clip": clip}
    settings |= {"accumulate": accumulate, "seed": seed}
    torch.manual_seed(seed)
    batches = iter(batches)
    optimizer = adamw(model, lr, weight_decay)
    history = History()
    if checkpoint is not None and Path(checkpoint).exists():
        history.rows = _resume(checkpoint, model, optimizer, settings)
    start = history.rows[-1]["step"] if history.rows else 0
    for _ in range(start * accumulate):
        next(batches)

    def loss_here(model, batch):
        with autocast():
            return loss_fn(model, batch)

    def measure(row):
        if evaluate is not None:
            model.eval()
            with torch.random.fork_rng(devices=[]):  # evaluation must not change the training
                row.update(evaluate(model))
            measured.add(row["step"])
            model.train()

    was_training = model.training
    measured: set[int] = set()
    random_state = torch.get_rng_state()
    with ProgressBar(steps, label, start) as bar:
        if checkpoint is not None:
            bar.again = "to go on from its checkpoint"
        try:
            model.train()
            if not history.rows and evaluate is not None:
                history.rows.append({"step": 0})
                measure(history.rows[0])
            for step in range(start, steps):
                began = time.perf_counter()
                micro_batches = _take(batches, accumulate, model, step)
                model.zero_grad()
                loss, tokens = accumulated_step(model, micro_batches, loss_here)
                norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip).item()
                rate = lr * warmup_cosine(step, steps, int(warmup * steps))
                if not (math.isfinite(loss) and math.isfinite(norm)):
                    raise TrainingDiverged(_why_diverged(model, history, loss, rate, steps), history)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                row = {"step": step + 1, "loss": loss, "lr": rate, "grad_norm": norm, "tokens": tokens}
                with _interrupt_held_back():  # no partial update
                    optimizer.step()
                    history.rows.append(row)
                    random_state = torch.get_rng_state()
                    row["seconds"] = time.perf_counter() - began
                last = step + 1 == steps
                if last or (eval_every and (step + 1) % eval_every == 0):
                    measure(row)
                if checkpoint is not None and (
                    last or (checkpoint_every and (step + 1) % checkpoint_every == 0)
                ):
                    _save(checkpoint, model, optimizer, {"rows": history.rows, "settings": settings})
                bar.update(step + 1, f"loss {loss:.3f}")
        except KeyboardInterrupt:
            done = history.rows[-1]["step"] if history.rows else 0
            bar.done = done
            history.stopped = bar.note = f"interrupted at step {done} of {steps}"
            torch.set_rng_state(random_state)
            if checkpoint is not None and done:
                _save(checkpoint, model, optimizer, {"rows": history.rows, "settings": settings})
            if bar.keeps and history.rows and done not in measured:
                measure(history.rows[-1])
            raise
        finally:
            model.zero_grad()
            model.train(was_training)
    return history


def _take(batches, count, model, step):
    """The next batches, checked and on the model's device."""
    device = next(model.parameters()).device
    taken = list(itertools.islice(batches, count))
    if len(taken) < count:
        raise ValueError(
            f"the batches ran out at step {step + 1}; pass an endless iterator, as data.batches is"
        )
    for batch in taken:
        if "input_ids" in batch:
            _check_width(batch, model, step)
    return [{name: value.to(device) for name, value in batch.items()} for batch in taken]


def _check_width(batch, model, step):
    context = getattr(model.config, "max_position_embeddings", None)
    rows, width = batch["input_ids"].shape
    if rows == 0 or width == 0:
        raise ValueError(f"the batch of step {step + 1} is empty")
    if context is not None and width > context:
        lengths = batch["attention_mask"].sum(1)
        row = int(lengths.argmax())
        raise ValueError(
            f"example {row} of the batch of step {step + 1} has {int(lengths[row])} tokens (first ids "
            f"{batch['input_ids'][row, :8].tolist()}), the model reads {context} at most. "
            "Shorten it or split it."
        )


def _save(path, model, optimizer, progress):
    """save_checkpoint without leaving a partial file on failure. Raises OSError."""
    try:
        save_checkpoint(path, model, optimizer, progress)
    except (OSError, RuntimeError) as error:
        raise OSError(f"{path}: the checkpoint could not be written ({error}); is the disk full?") from error


def _resume(path, model, optimizer, settings):
    """Load a checkpoint and return its rows. ValueError, with nothing changed, if it does not fit."""
    advice = "Delete it to start afresh."
    try:
        state = _read_checkpoint(path)
        saved, weights = state["progress"]["settings"], state["weights"]
        differing = [
            f"{name}={saved[name]} there, {now} now" for name, now in settings.items() if saved[name] != now
        ]
        shapes = {name: weight.shape for name, weight in weights.items()}
        bad = [name for name, weight in weights.items() if not weight.isfinite().all()]
    except Exception as error:  # damaged zip or pickle files raise all kinds of errors
        raise ValueError(f"{path}: not a readable checkpoint ({type(error).__name__}). {advice}") from None
    if differing:
        raise ValueError(f"{path}: a checkpoint of other settings ({'; '.join(differing)}). {advice}")
    if shapes != {name: p.shape for name, p in model.named_parameters() if p.requires_grad}:
        raise ValueError(f"{path}: a checkpoint of a model with other trainable parameters. {advice}")
    if bad:
        raise ValueError(f"{path}: the values of {bad[0]} are not finite. {advice}")
    try:
        _check_state(state, optimizer)
    except Exception as error:
        raise ValueError(f"{path}: the optimiser's state does not fit ({error}). {advice}") from None
    return load_checkpoint(path, model, optimizer)["rows"]


def _read_checkpoint(path):
    """The content of a complete checkpoint with at least one step; any error otherwise.

    The file is a zip archive whose parts have a CRC-32, which torch.load does not check.
    """
    with zipfile.ZipFile(path) as archive:
        if damaged := archive.testzip():
            raise ValueError(damaged)
    state = torch.load(path, map_location="cpu", weights_only=True)
    if [row["step"] for row in state["progress"]["rows"]][-1] < 1:
        raise ValueError("no step was made")
    return state


def _check_state(state, optimizer):
    """Load moments and random state as a test; raises any error if they do not fit."""
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(state["random"])
    optimizer.load_state_dict(state["optimizer"])
    for parameter, moments in optimizer.state.items():
        if any(value.ndim and value.shape != parameter.shape for value in moments.values()):
            raise ValueError("moments of other parameters")


def _why_diverged(model, history, loss, rate, steps):
    """The message of TrainingDiverged: where, what, and the likely cause."""
    losses = history.column("loss")[1]
    largest = float(torch.stack([p.detach().abs().max() for p in model.parameters()]).max())  # nan if one is
    if not losses:
        cause = "it is the first step, so look at the batch and at loss_fn"
        if not math.isfinite(largest):
            cause = "the weights were not finite to begin with: load the model again"
    elif not largest < 1e4:
        cause = f"an update was too large (the largest weight is {largest:.3g} now): lower lr"
    elif losses[-1] > 1.5 * losses[0]:
        cause = (
            f"the learning rate is too high (loss {losses[0]:.2f} at first, {losses[-1]:.2f} now): lower lr"
        )
    elif math.isfinite(loss):
        cause = "the loss is finite and its gradient is not: look for a logarithm or a division in loss_fn"
    else:
        cause = "the loss had not risen before, so look at this step's batch and at loss_fn"
    step = len(losses) + 1
    return f"training stopped at step {step} of {steps}: loss {loss}, lr {rate:.3g}. Likely cause: {cause}."


@contextmanager
def _on_interrupt(act):
    """In the block, Ctrl-C calls act(handler, signal, frame) with the previous handler."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    signal.signal(signal.SIGINT, lambda *event: act(handler, *event))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


@contextmanager
def _interrupt_held_back():
    """Delay Ctrl-C to the end of the block."""
    caught = []
    with _on_interrupt(lambda *call: caught.append(call)):
        yield
    if caught:
        handler, *event = caught[-1]
        handler(*event)


class ProgressBar:
    """A progress line: redrawn in a notebook or a terminal, printed once at the end elsewhere.

    `with ProgressBar(total, label) as bar:` around a training loop. Stop in a notebook only ends the block:
    the cell continues with what there is, and Run All halts at the cell's end (session.stop_here). Elsewhere
    a KeyboardInterrupt propagates once the line is closed. `keeps`: whether the first case applies.
    """

    def __init__(self, total, label, done=0):
        check_not_stopped()
        self.total, self.label, self.done = total, label, done
        self.text, self.note, self.again = "", None, "to start over"
        self.began = self.drawn = time.perf_counter()
        self.first = None  # (done, time) after the first step, so that setup time is not counted
        shell = sys.modules.get("IPython") and sys.modules["IPython"].get_ipython()
        self.keeps = in_cell()
        self.notebook = shell is not None and hasattr(shell, "kernel")
        self.terminal = not self.notebook and sys.stdout.isatty()
        self.handle = None
        self._draw(self._line(""))

    def __enter__(self):
        self.pressed, self.watch = False, ExitStack()  # a KeyboardInterrupt raised by code is not a Stop
        self.watch.enter_context(_on_interrupt(self._interrupted))
        return self

    def _interrupted(self, handler, *event):
        self.pressed = True
        handler(*event)

    def __exit__(self, kind, error, trace):
        self.watch.close()
        stop = kind is not None and issubclass(kind, KeyboardInterrupt)
        self.note = self.note or (f"interrupted after {self.done} of {self.total}" if stop else None)
        self.close(self.note)
        if stop and self.keeps and self.pressed:
            stop_here(f"{self.label}, {self.note}", self.again)
        return stop and self.keeps

    def update(self, done, text=""):
        """Set `done` of the total, and a short status text."""
        self.done, self.text = done, text
        now = time.perf_counter()
        first, at = self.first = self.first or (done, now)
        if now - self.drawn > 0.25:
            self.drawn = now
            left = f"{(now - at) / (done - first) * (self.total - done):.0f} s left" if done > first else ""
            self._draw(self._line(left))

    def close(self, note=None):
        """Leave a final line."""
        self._draw(
            self._line(f"{time.perf_counter() - self.began:.1f} s") + (f" · {note}" if note else ""),
            last=True,
        )

    def _line(self, timing):
        return " · ".join(
            part for part in (f"{self.label} {self.done}/{self.total}", self.text, timing) if part
        )

    def _draw(self, line, last=False):
        if self.notebook:
            from IPython.display import display

            bar = f'<progress value="{self.done}" max="{self.total}"></progress> <code>{line}</code>'
            content = {"text/plain": line, "text/html": bar}
            if self.handle is None:
                self.handle = display(content, raw=True, display_id=True)
            else:
                self.handle.update(content, raw=True)
        elif self.terminal:
            filled = 20 * self.done // max(1, self.total)
            bar = _printable(f"{'█' * filled}{'░' * (20 - filled)} {line}")
            print(f"\r\033[K{bar}", end="\n" if last else "", flush=True)
        elif last:
            print(_printable(line))


def _printable(line):
    """The line in characters that stdout can encode: an ASCII terminal must not abort a training."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        line.encode(encoding)
    except UnicodeEncodeError:
        line = line.translate({ord("·"): "-", ord("█"): "#", ord("░"): "."})
    return line.encode(encoding, "replace").decode(encoding)
