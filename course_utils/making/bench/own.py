"""A benchmark row for lesson 17: a large file of one's own, read and checked."""

import itertools
import json
import random
import tempfile
from collections import Counter
from pathlib import Path

from course_utils.making.bench.timing import row
from course_utils.own.own_data import read_conversations

BENCH_ROWS = 5_000


def write_large_file(path: Path, count: int = BENCH_ROWS, words: int = 350) -> None:
    """`count` conversations of about 2 kB, drawn from the words of the course's source texts."""
    from course_utils.data import load_source_texts

    rng = random.Random(0)
    counts = Counter(word for text in load_source_texts("replay") for word in text.split())
    known, weights = list(counts), list(itertools.accumulate(counts.values()))

    def text(size):
        return " ".join(rng.choices(known, cum_weights=weights, k=size))

    with path.open("w", encoding="utf-8") as file:
        for _ in range(count):
            asked, said = text(rng.randint(8, 40)), text(words)
            turns = [{"role": "user", "content": f"{asked}?"}, {"role": "assistant", "content": said}]
            file.write(json.dumps({"messages": turns}) + "\n")


@row(f"reading and checking {BENCH_ROWS:,} conversations of 2 kB against datasets' Dataset.from_json")
def large_own_file():
    import datasets

    datasets.disable_progress_bars()
    path = Path(tempfile.mkdtemp()) / "large.jsonl"
    write_large_file(path)

    def ours():
        read_conversations(path)

    def library():
        with tempfile.TemporaryDirectory() as cache:  # else the second time reads its cache
            datasets.Dataset.from_json(str(path), cache_dir=cache, keep_in_memory=True).to_list()

    return ours, library
