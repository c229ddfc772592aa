"""The course's code timed against what a user would pick instead: one process, in turns, ratio of medians."""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence

import torch

ROWS = {}
PEAKS = {}  # name: targets of memory.measure_peak, ours and the library's


def row(name: str):
    """Decorator that registers a function which returns two callables: (ours, the library's)."""

    def register(build: Callable[[], tuple[Callable, Callable]]):
        ROWS[name] = build
        return build

    return register


@row("sampling against generate(): batch 32, 8 + 32 tokens")
def sampling():
    return _continuations(do_sample=True)


@row("greedy against generate(): batch 32, 8 + 32 tokens")
def greedy():
    return _continuations(do_sample=False)


@row("tuning step against labels= and AdamW: 16 questions")
def tuning_step():
    from course_utils.data import batches, encode_prompt_completion, load_questions
    from course_utils.models import load_model
    from course_utils.training import accumulated_step, adamw, fast_lm_loss

    model, tokenizer = load_model("pocket")
    examples = [
        encode_prompt_completion(tokenizer, q["prompt"], q["completion"])
        for q in load_questions("tune")[:256]
    ]
    batch = next(batches(examples, 16, 0, tokenizer.pad_token_id))
    mine, theirs = adamw(model, lr=1e-6), torch.optim.AdamW(model.parameters(), lr=1e-6)

    def ours():
        model.zero_grad()
        accumulated_step(model, [batch], fast_lm_loss)
        mine.step()

    def library():
        model.zero_grad()
        model(**batch).loss.backward()
        theirs.step()

    return ours, library


def _continuations(do_sample):
    from course_utils.generation import pad_left, sample_tokens
    from course_utils.models import load_model

    model, _ = load_model("pocket")
    generator = torch.Generator().manual_seed(0)
    rows = [
        torch.randint(1, model.config.vocab_size, (5 + i % 4,), generator=generator).tolist()
        for i in range(32)
    ]
    ids, mask = pad_left(rows, 0)
    sampling = {"do_sample": True, "top_k": 0} if do_sample else {"do_sample": False}

    def ours():
        sample_tokens(model, ids, mask, max_new_tokens=32, temperature=float(do_sample))

    def library():
        model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=32,
            eos_token_id=None,
            pad_token_id=0,
            **sampling,
        )

    return ours, library


def compare(ours: Callable, library: Callable, rounds: int) -> dict:
    """Medians in milliseconds and their ratio, ours over the library's; one round of warm-up."""
    times = {ours: [], library: []}
    for _ in range(rounds + 1):
        for run, taken in times.items():
            began = time.perf_counter()
            run()
            taken.append(time.perf_counter() - began)
    mine, theirs = (statistics.median(taken[1:]) for taken in times.values())
    return {"ours_ms": 1000 * mine, "library_ms": 1000 * theirs, "ratio": mine / theirs}


def compare_peaks(ours: Callable, library: Callable) -> dict:
    """Growth of memory during a step in MiB, each in a process of its own, and the ratio."""
    from course_utils.memory import measure_peak

    mine, theirs = (measure_peak(target).growth / 2**20 for target in (ours, library))
    return {"ours_mib": mine, "library_mib": theirs, "ratio": mine / theirs}


def main(argv: Sequence[str] = ()) -> int:
    """`python -m course_utils bench [WORD ...] [--json]`: all rows, or those whose name contains a word."""
    import course_utils.bench_lora
    import course_utils.bench_preferences
    import course_utils.bench_quantization  # noqa: F401  all register their rows

    parser = argparse.ArgumentParser(
        "python -m course_utils bench", description="Time ours against the libraries'."
    )
    parser.add_argument("words", nargs="*", metavar="WORD", help="rows whose name contains it; default all")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    names = [*ROWS, *PEAKS]
    chosen = [name for name in names if not arguments.words or any(word in name for word in arguments.words)]
    if not chosen:
        raise ValueError(f"no row contains {' or '.join(arguments.words)}; there are: {'; '.join(names)}")
    threads = torch.get_num_threads()
    results = []
    for name in chosen:
        if name in ROWS:
            figures, unit = compare(*ROWS[name](), arguments.rounds), "ms"
        else:
            figures, unit = compare_peaks(*PEAKS[name]), "MiB"
        results.append({"name": name, "threads": threads, **figures})
        if not arguments.json:
            mine, theirs, ratio = figures.values()
            print(f"{ratio:.2f}  {mine:.1f} / {theirs:.1f} {unit}  {name}", flush=True)
    if arguments.json:
        print(json.dumps(results, indent=1))
    else:
        print(f"Ratio, ours over the library's, of medians of {arguments.rounds} rounds; threads: {threads}.")
    return 0
