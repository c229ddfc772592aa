"""The rows of a data file, JSON Lines or a table: each with its line, or with what is wrong with it.

A file is read line by line, twice at most, and never held in memory as a whole.
"""

import csv
import json
import os
import string
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from course_utils.own.chat_forms import HALF, is_text
from course_utils.terminal import plain_lines

SHOWN = 20  # bad lines listed in a message
JSON_LINES = (".jsonl", ".ndjson")
TABLES = {".csv": ",;\t", ".tsv": "\t"}
LONGEST = 2**20  # bytes of a line: far more than any model here reads, and tokenised in a second
OTHER_FILES = {  # {first bytes: what the file is and what to do}
    b"\x1f\x8b": "compressed (gzip); unpack it first",
    b"BZh": "compressed (bzip2); unpack it first",
    b"\xfd7zXZ\0": "compressed (xz); unpack it first",
    b"\x28\xb5\x2f\xfd": "compressed (zstd); unpack it first",
    b"PK\x03\x04": "a zip archive or a spreadsheet (xlsx, ods); unpack it, or save the table as CSV",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "a spreadsheet of old Excel (xls); save the table as CSV",
    b"PAR1": "a Parquet table; write it as JSON Lines, with pandas: "
    'pandas.read_parquet("in.parquet").to_json("out.jsonl", orient="records", lines=True)',
    b"%PDF-": "a PDF; save its questions and answers as a table, in CSV",
    b"\xff\xfe\0\0": "UTF-32 text; save the file as UTF-8",
    b"\0\0\xfe\xff": "UTF-32 text; save the file as UTF-8",
    b"\xff\xfe": "UTF-16 text; save the file as UTF-8",
    b"\xfe\xff": "UTF-16 text; save the file as UTF-8",
}


@dataclass(frozen=True)
class Fault:
    """A line that cannot be used, and why."""

    line: int
    reason: str


class DataError(ValueError):
    """A file that cannot be used for training. `faults`: all bad lines; the message names the first ones."""

    def __init__(self, message: str, faults: Sequence[Fault] = ()):
        super().__init__(plain_lines(message))
        self.faults = list(faults)


def raise_for(path, faults: Sequence[Fault], good: int, what: str) -> None:
    """DataError if there are faults, or no good row; what: the rows' name, such as "pairs"."""
    if faults:
        shown = [f"  line {fault.line}: {fault.reason}" for fault in faults[:SHOWN]]
        if len(faults) > SHOWN:
            others = ", ".join(_ranges([fault.line for fault in faults[SHOWN:]]))
            shown.append(f"  ... and {len(faults) - SHOWN} more: line {others}")
        lines = "1 line" if len(faults) == 1 else f"{len(faults)} lines"
        raise DataError(
            f"{path}: {lines} of {good + len(faults)} cannot be used, and nothing was trained.\n"
            + "\n".join(shown)
            + "\nCorrect these lines or take them out, and start again.",
            faults,
        )
    if not good:
        raise DataError(f"{path}: the file has no {what}")


def _ranges(lines):
    """Line numbers in order, with consecutive ones as a range: "4", "7 to 9"."""
    starts = [n for place, n in enumerate(lines) if place == 0 or n != lines[place - 1] + 1]
    ends = [n for place, n in enumerate(lines) if place + 1 == len(lines) or lines[place + 1] != n + 1]
    return [str(a) if a == b else f"{a} to {b}" for a, b in zip(starts, ends, strict=True)]


def line_list(lines: Sequence[int]) -> str:
    """Line numbers for a note, only the first ones: "3, 8", "none"."""
    return (", ".join(map(str, lines[:SHOWN])) or "none") + " and others" * (len(lines) > SHOWN)


def quoted_list(names: Sequence[str]) -> str:
    """Names for a message: "'a', 'b'", or "no fields"."""
    return ", ".join(map(repr, names)) or "no fields"


def is_table(path: Path) -> bool:
    return path.suffix.lower() in TABLES


def check_file(path: Path) -> None:
    """FileNotFoundError, or DataError unless it is a text file with a known ending."""
    if os.path.isdir(path):
        raise DataError(f"{path}: this is a folder; name a file in it")
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such file. A relative path starts at the current folder.")
    if not path.is_file():
        raise DataError(f"{path}: this is a pipe or a device; save what it gives as a file")
    with path.open("rb") as file:
        start = file.read(8)
    for mark, what in OTHER_FILES.items():
        if start.startswith(mark):
            raise DataError(f"{path}: this is {what}")
    if b"\0" in start[:4]:
        raise DataError(f"{path}: this is UTF-16 or UTF-32 text, or no text at all; save the file as UTF-8")
    known = (*JSON_LINES, *TABLES)
    if path.suffix.lower() not in known:
        raise DataError(f"{path}: give a file that ends in {' or '.join(known)}; one JSON object per line")


def _lines(path) -> Iterator[tuple[int, bytes]]:
    """(number, content) of the lines that are not blank; a line ends in any system's way."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline=None) as file:
        for number, line in enumerate(file, start=1):
            if line.strip(string.whitespace):
                yield number, line.removesuffix("\n").encode("utf-8", errors="surrogateescape")


# ------------------------------------------------------------------------------------- JSON Lines


def json_rows(path: Path) -> Iterator[tuple[int, dict | str]]:
    """(line number, object, or the line's fault as text); blank lines are skipped."""
    if _is_array(path):
        raise DataError(f"{path}: this is one JSON array; write one object per line (JSON Lines)")
    for number, line in _lines(path):
        yield number, _json_row(line)


def _is_array(path):
    """Whether the file begins with an array that is not a line of its own among others."""
    lines = _lines(path)
    first = next(lines, (0, b""))[1]
    if first.lstrip()[:1] != b"[":
        return False
    return not ((next(lines, None) or b"{" not in first) and _is_json(first))


def _is_json(line):
    try:
        json.loads(line)
    except ValueError:
        return False
    except RecursionError:
        return True
    return True


def _json_row(line):
    if len(line) > LONGEST:
        return f"the line has {len(line):,} bytes, the limit is {LONGEST:,}; shorten or split its texts"
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return f"not UTF-8 text, at byte {error.start + 1}; save the file as UTF-8"
    except json.JSONDecodeError as error:
        return f"column {error.colno}: not JSON ({error.msg})"
    except ValueError:
        return f"not JSON that can be read: a number has more than {sys.get_int_max_str_digits():,} digits"
    except RecursionError:
        return "not JSON that can be read: nested too deeply"
    if not isinstance(row, dict):
        return f"expected an object, {{...}}, got {str(row)[:60]}"
    return row if is_text(row) else f"a text has {HALF}"


# ----------------------------------------------------------------------------------------- tables


def table_rows(path: Path, knows: Callable[[list[str]], bool], needed: str) -> Iterator:
    """(number of a row's first line, {column in lower case: cell} or the row's fault as text).

    knows(columns): whether these are enough; else DataError with what is needed.
    """
    bad = False
    for number, line in _lines(path):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            bad = True
            yield number, f"not UTF-8 text, at byte {error.start + 1}; save the file as UTF-8"
    if bad:
        return
    with path.open(encoding="utf-8-sig", newline=None) as file:
        delimiter, names = _header(path, file.readline(), knows, needed)
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        while True:
            first = reader.line_num + 2
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                reason = _table_error(error)
                yield first, f"not a table from here on ({reason}); is a quotation mark left open?"
                return
            if cells:
                yield first, _table_row(names, cells)


def _table_error(error):
    if "field limit" in str(error):
        return f"a cell has more than {csv.field_size_limit():,} characters, the maximum"
    return error


def _header(path, line, knows, needed):
    for delimiter in TABLES[path.suffix.lower()]:
        cells = csv.reader([line[: csv.field_size_limit()]], delimiter=delimiter)
        names = [name.strip().lower() for name in next(cells, [])]
        if knows(names):
            if twice := [name for name in names if name and names.count(name) > 1]:
                raise DataError(f"{path}: the first line names the column {twice[0]} twice; rename one")
            return delimiter, names
    raise DataError(f"{path}: {needed}; its first line is {line.strip()[:120]!r}")


def _table_row(names, cells):
    if len(cells) != len(names):
        return (
            f"{len(cells)} cells where the first line has {len(names)}; a text that holds the separator "
            "needs quotation marks around it"
        )
    return dict(zip(names, cells, strict=True))
