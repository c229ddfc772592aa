"""`python -m course_utils bench`: ours against what a user would pick instead."""

import argparse
import json
from collections.abc import Sequence

import torch

from course_utils.making.bench.timing import PEAKS, ROWS, compare_peaks, compare_times


def main(argv: Sequence[str] = ()) -> int:
    """`python -m course_utils bench [WORD ...] [--json]`: all rows, or those whose name contains a word."""
    import course_utils.making.bench.generation
    import course_utils.making.bench.lora
    import course_utils.making.bench.preferences
    import course_utils.making.bench.quantization  # noqa: F401  all register their rows

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
            figures, unit = compare_times(*ROWS[name](), arguments.rounds), "ms"
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
