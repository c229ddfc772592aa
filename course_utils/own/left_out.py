"""What of a file is not trained on, as files: the rows that rules left out, and those that are held out."""

from collections.abc import Sequence
from pathlib import Path

from course_utils.own.own_data import Conversation, Preference
from course_utils.own.rows import line_list
from course_utils.preferences import as_row, write_jsonl

FILES = {Conversation: "{}.jsonl", Preference: "{}_pairs.jsonl"}


class LeftOut:
    """The rows that rules left out, in order; each row is kept as it was read."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, Conversation | Preference]] = []

    def take(self, rule: str, rows: Sequence[Conversation | Preference], lines: Sequence[int]) -> str:
        """Note the rows of these lines under a rule; returns the rule with its count and lines."""
        out = set(lines)
        self.rows += [(rule, row) for row in rows if row.line in out]
        return f"{rule}: {len(lines)}{', lines ' + line_list(lines) if lines else ''}."

    def write(self, folder: Path, held_out: Sequence[Conversation | Preference] = ()) -> None:
        """Write left_out.jsonl, left_out_pairs.jsonl and the same of held_out, if there are such rows.

        All can be given to the lesson again; "line" and "left_out" in them say where and why.
        """
        out = [(row, {"line": row.line, "left_out": rule}) for rule, row in self.rows]
        for what, rows in {
            "left_out": out,
            "held_out": [(row, {"line": row.line}) for row in held_out],
        }.items():
            for kind, name in FILES.items():
                if of_kind := [_as_row(row) | where for row, where in rows if isinstance(row, kind)]:
                    write_jsonl(Path(folder) / name.format(what), of_kind)


def _as_row(row):
    group = {"group": row.group} if row.group else {}
    return ({"messages": row.messages} if isinstance(row, Conversation) else as_row(row.pair)) | group
