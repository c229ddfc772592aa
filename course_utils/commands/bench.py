"""`python -m course_utils bench`: the course's code timed against the libraries a user would pick."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from course_utils.home import write_whole
from course_utils.making.bench.timing import (
    PEAKS,
    ROWS,
    compare_peaks,
    compare_times,
    machine_here,
    slower_rows,
)
from course_utils.model_files import ModelError
from course_utils.ownership import JSON_MARK, OTHER_FILE, OVERWRITE_HELP, own_file, read_regular
from course_utils.terminal import Parser, plain_line


def main(argv: Sequence[str] = ()) -> int:
    """`python -m course_utils bench [WORD ...]`: all rows, or those whose name contains a word.

    Writes bench.json. With --against FILE, an earlier one, the exit status is 1 if a row became slower.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # torch's profiler logs its starts on stderr
    import course_utils.making.bench.generation
    import course_utils.making.bench.lora
    import course_utils.making.bench.own
    import course_utils.making.bench.playground
    import course_utils.making.bench.preferences
    import course_utils.making.bench.quantization
    import course_utils.making.bench.sizes  # noqa: F401  registers all rows

    parser = Parser("python -m course_utils bench", description="Time ours against the libraries'.")
    parser.add_argument("words", nargs="*", metavar="WORD", help="rows whose name contains it; default all")
    parser.add_argument("--rounds", type=int, default=15, help="at least 2; default 15")
    parser.add_argument("--out", type=Path, default=Path("bench.json"), metavar="FILE")
    parser.add_argument("--against", type=Path, metavar="FILE", help="say what has become slower")
    parser.add_argument("--overwrite", action="store_true", help=OVERWRITE_HELP)
    arguments = parser.parse_args(argv)
    if arguments.rounds < 2:
        raise ValueError(f"quartiles need at least 2 rounds, got {arguments.rounds}")
    names = [*ROWS, *PEAKS]
    chosen = [name for name in names if not arguments.words or any(word in name for word in arguments.words)]
    if not chosen:
        asked = plain_line(" or ".join(arguments.words))
        raise ValueError(f"no row contains {asked}; there are: {'; '.join(names)}")
    out = own_file(arguments.out, OTHER_FILE, arguments.overwrite)
    before = _read(arguments.against) if arguments.against else None
    machine, results = machine_here(), []
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    print("ratio (quartiles), ours over the library's\n", flush=True)
    for name in chosen:
        try:
            figures = _figures(name, arguments.rounds)
        except ModelError as error:
            print(f"left out: {name}: {error}", flush=True)
            continue
        results.append({"name": name, **figures})
        print(_line(name, figures), flush=True)
    content = JSON_MARK | {"machine": machine, "rows": results}
    write_whole(out, json.dumps(content, indent=1) + "\n")
    return 0 if before is None else _compare(machine, results, before)


def _figures(name, rounds):
    return compare_times(*ROWS[name](), rounds) if name in ROWS else compare_peaks(*PEAKS[name])


def _line(name, row):
    spread = f" ({row['low']:.2f} to {row['high']:.2f})" if row["unit"] == "ms" else ""
    if row.get("floor"):
        spread += f", products alone {row['floor']:.2f}"
    return f"{row['ratio']:.2f}{spread}  {row['ours']:.1f} / {row['library']:.1f} {row['unit']}  {name}"


def _read(file):
    try:
        stored = json.loads(read_regular(file))
        figures = [row[name] for row in stored["rows"] for name in ("ratio", "low", "high")]
        named = all(isinstance(row["name"], str) for row in stored["rows"])
        if named and all(isinstance(value, int | float) for value in figures) and stored["machine"].keys():
            return stored
    except FileNotFoundError:
        raise FileNotFoundError(f"{plain_line(file)}: no such file; `make bench` writes bench.json") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    raise ValueError(f"{plain_line(file)} is not a file that `make bench` wrote")


def _compare(machine, results, before):
    differing = [name for name in machine if machine[name] != before["machine"].get(name)]
    if differing:
        print("\nMeasured under different conditions: " + ", ".join(differing))
    ratios = {row["name"]: row["ratio"] for row in before["rows"]}
    slower = slower_rows(results, before["rows"])
    for row in results:
        if row["name"] in slower:
            print(f"slower: {row['name']}: {ratios[row['name']]:.2f} before, {row['ratio']:.2f} now")
    known = sum(row["name"] in ratios for row in results)
    print(f"\n{len(slower)} of {known} rows became slower beyond the noise.")
    return int(bool(slower))
