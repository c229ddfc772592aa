"""data/checksums.json: the SHA-256 of each data file, which the loaders check."""

import hashlib
import json
from pathlib import Path

from course_utils.data import DATA_SUMS
from course_utils.home import write_whole


def data_sums(folder: Path = DATA_SUMS.parent) -> dict[str, str]:
    """{file below the folder: SHA-256} of the JSONL, CSV and text files; the model has its own checksums."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".jsonl", ".csv", ".txt"))
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


def write_sums() -> None:
    """Write data/checksums.json."""
    write_whole(DATA_SUMS, json.dumps(data_sums(), indent=1) + "\n")
