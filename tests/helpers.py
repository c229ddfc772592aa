"""Shared by tests: small random models, steps of known memory, the claims of a lesson at a seed."""

import itertools
import os
import random
import shutil
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from matplotlib.patches import FancyArrowPatch
from matplotlib.path import Path
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from course_utils import memory
from course_utils.budget import load_config
from course_utils.chatml import add_chat_tokens
from course_utils.checks import claims
from course_utils.checks.exercises import exercises_around, find_fault
from course_utils.methods.lora import apply_lora
from course_utils.methods.quantization import quantize_model
from course_utils.methods.reward import from_language_model
from course_utils.models import untrained_gpt2
from course_utils.notebook_files import global_names, lessons

CONTEXT = 128
EOS = "<|endoftext|>"
TEXT = "You are a helpful assistant. Question: is the capital of France Paris? Answer: a cat sat on the mat"


def tiny_tokenizer():
    rng = random.Random(0)
    text = [" ".join(rng.choices(TEXT.split(), k=12)) + ".\n" for _ in range(200)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(text, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=EOS,
        eos_token=EOS,
        unk_token=EOS,
        pad_token=EOS,
        model_max_length=CONTEXT,
    )


def tiny_model(seed=0, vocab_size=400):
    torch.manual_seed(seed)
    return untrained_gpt2(
        n_layer=2,
        n_head=2,
        n_embd=32,
        vocab_size=vocab_size,
        n_positions=CONTEXT,
        initializer_range=0.2,
        pad_token_id=0,
    )


def tiny_gpt2(seed=0):
    """A smaller one with narrow layers, for tests of their matrices."""
    torch.manual_seed(seed)
    return untrained_gpt2(n_layer=2, n_head=2, n_embd=32, vocab_size=64, n_positions=32)


def tiny_llama(seed=0, attention_bias=False, vocab_size=64):
    torch.manual_seed(seed)
    config = LlamaConfig(
        num_hidden_layers=2,
        hidden_size=32,
        intermediate_size=48,
        num_attention_heads=2,
        num_key_value_heads=1,
        vocab_size=vocab_size,
        max_position_embeddings=32,
        attention_bias=attention_bias,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config).eval()


def put_in_cache(folder, cache, repo):
    """Store a model in the cache like the hub's client; returns the snapshot folder."""
    place = cache / f"models--{repo.replace('/', '--')}"
    shutil.copytree(folder, place / "snapshots" / "abc123")
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("abc123")
    return place / "snapshots" / "abc123"


def small_policy_parts():
    """Lesson 12's experiments.policy_parts for a small model: three prompts, two of them held out."""
    tokenizer = tiny_tokenizer()
    model = tiny_model(vocab_size=len(tokenizer))
    add_chat_tokens(model, tokenizer)
    judge = from_language_model(model).requires_grad_(False)
    torch.nn.init.normal_(judge.head.weight)
    prompts = [[{"role": "user", "content": text}] for text in ("a cat", "Is the mat in Paris?", "sat")]
    return None, model.requires_grad_(False), tokenizer, judge, prompts, prompts[:2]


def known(keep_mb, use_mb):
    """For measure_peak: a step that needs at least use_mb in addition to keep_mb."""
    kept = torch.ones(keep_mb, 2**18)  # 2**18 floats are one MiB

    def step():
        return (torch.ones(use_mb, 2**18) + kept[:1]).sum()

    return step


@contextmanager
def logging_hub(monkeypatch):
    """A list that collects the paths requested from the hub; new processes may request anything."""
    paths = []

    class Log(BaseHTTPRequestHandler):
        def do_GET(self):
            paths.append(self.path)
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_POST = do_GET

        def log_message(self, *arguments):
            pass

    forbid = ("CI", "DO_NOT_TRACK", "DISABLE_TELEMETRY")  # with these, TRL and the hub's library send nothing
    for name in [name for name in os.environ if name.startswith("HF_") or name in forbid]:
        monkeypatch.delenv(name)
    with ThreadingHTTPServer(("127.0.0.1", 0), Log) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        yield paths
        server.shutdown()


def failing():
    raise ValueError("no such luck")


def claims_at(lesson: str, seed: int, folder) -> dict[str, float]:
    """{text: measured value} of a lesson run on the pocket model at quick scale. Raises if a claim fails."""
    import papermill

    parameters = {"MODEL": "pocket", "SCALE": "quick", "SEED": seed}
    done = papermill.execute_notebook(
        lessons([lesson])[0],
        folder / f"seed{seed}.ipynb",
        parameters,
        kernel_name="python3",
        progress_bar=False,
        cwd=str(folder),
    )
    records = claims.read(done)
    assert records and all(record["holds"] and record["binding"] for record in records)
    return {record["text"]: record["value"] for record in records}


def config_step(source="pocket", method="full", batch_size=8, tokens=128, rank=8):
    """For measure_peak: the step of training_need's estimate, on random weights of the configuration."""
    model = AutoModelForCausalLM.from_config(load_config(source), dtype=torch.float32)
    if method != "full":
        apply_lora(model, rank)
    if method == "qlora":
        quantize_model(model)
    return memory.step_with_adamw(model, memory.random_batch(model, batch_size, tokens))


def vanishing():
    os._exit(9)


# exercises whose check trains or samples at length
LONG = {
    *("difference_interval", "filter_logits", "prompt_fault", "score", "script_fault", "sees_future"),
    *("warmup_cosine", "which_fault", "writer_of"),
}


def draws_of(lesson: str) -> list:
    """(exercise, seed) of a lesson and its companion for parametrize: one draw by day, two more at night."""
    return [
        pytest.param(
            exercise,
            seed,
            id=f"{name}-{seed}",
            marks=[pytest.mark.night] * (seed > 0) + [pytest.mark.slow] * (name in LONG),
        )
        for name, exercise in exercises_around(lesson).items()
        for seed in range(3)
    ]


def feed(exercise, seed: int) -> None:
    """Assert the verdict on every right and every wrong answer of an exercise."""
    for number, fn in enumerate([exercise.reference, *exercise.right]):
        assert find_fault(exercise, fn, seed) is None, f"right answer {number}"
    messages = set()
    for number, (fn, part) in enumerate(exercise.wrong):
        fault = find_fault(exercise, fn, seed)
        assert fault is not None, f"wrong answer {number} passes"
        assert part in fault[0], f"wrong answer {number} gets: {fault[0]}"
        messages.add(fault[0])
    assert len(messages) >= 3, "three different messages at least"


def needed_for(sources: list[str], last: int) -> list[int]:
    """Indices of the code cells that one needs, itself included: per name, the last cell that bound it."""
    kept, (_, wanted) = [last], global_names(sources[last])
    for number in range(last - 1, -1, -1):
        bound, read = global_names(sources[number])
        if bound & wanted:
            kept.append(number)
            wanted = wanted - bound | read
    return kept[::-1]


HEAD = 1.5  # pixels: half the width of an arrow's head on a phone


def faults_of(draw, dpi):
    """layout_faults of the figure that draw() makes, as a lesson shows it."""
    import matplotlib.pyplot as plt

    from course_utils import plots

    draw()
    plots.make_legible(plt.gcf())
    return layout_faults(plt.gcf(), dpi)


def layout_faults(figure, dpi):
    """Layout errors of a picture made with `drawing`, in words.

    A text may leave the picture, or overlap another text, an arrow, or the edge of a box.
    """
    figure.set_dpi(dpi)
    figure.draw_without_rendering()
    return [fault for axes in figure.axes for fault in _faults_of(axes)]


def _faults_of(axes):
    figure, boxes, arrows = axes.figure, [], []
    for patch in axes.patches:
        if isinstance(patch, FancyArrowPatch):
            arrows.append(Path(patch._posA_posB).transformed(axes.transData))
        else:
            boxes.append(patch.get_window_extent().extents.tolist())
    texts = [(text.get_text(), text.get_window_extent()) for text in axes.texts]
    faults = [f"{text!r} on an arrow" for text, at in texts if any(_crosses(arrow, at) for arrow in arrows)]
    texts = [(text, at.extents.tolist()) for text, at in texts]
    faults += [f"{text!r} leaves" for text, at in texts if not _holds(figure.bbox.extents.tolist(), at)]
    for (text, at), (other, there) in itertools.combinations(texts, 2):
        if _overlap(at, there):
            faults.append(f"{text!r} on {other!r}")
    for text, at in texts:
        if any(_overlap(at, box) and not _holds(box, at) for box in boxes):
            faults.append(f"{text!r} across an edge")
    return faults


def _crosses(arrow, at):
    return arrow.intersects_bbox(at.padded(HEAD), filled=False)


def _holds(outer, inner, slack=0.5):
    """Whether a box (left, low, right, high) contains another, to half a pixel."""
    return all(outer[i] - slack <= inner[i] and inner[i + 2] <= outer[i + 2] + slack for i in (0, 1))


def _overlap(one, other):
    return all(one[i] < other[i + 2] and other[i] < one[i + 2] for i in (0, 1))


def texts(bold=False):
    """The texts of the current figure's first axes, or only the bold ones."""
    import matplotlib.pyplot as plt

    shown = plt.gcf().axes[0].texts
    return [text.get_text() for text in shown if not bold or text.get_weight() == "bold"]


def row(name, length):
    """The texts that follow a picture's row name."""
    found = texts()
    start = found.index(name) + 1
    return found[start : start + length]
