"""The held-out rows: whole templates if the file has enough of them, else whole questions."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from course_utils.own.both_sides import Shared, shared_with
from course_utils.own.hold_out import held_out_rows
from course_utils.own.own_data import leaks, linked, question_groups
from course_utils.own.rows import DataError
from course_utils.own.template_groups import template_groups, template_leaks

SHARE, MOST = 0.15, 200  # share of the rows of a kind, and its maximum
WANTED, LARGEST = 12, 1 / 3  # minimum number of rows even of a small kind, but at most this share of it
ENOUGH = 0.5  # of the wanted number: fewer held-out rows are too few to judge by
RECOGNISED = (
    "Recognised as one question: other case, punctuation and English courtesies, a mistyped letter, nearly "
    'the same words, rows of one "group". Not recognised: other words for it, another '
    "language, a long signature or a quoted mail below it."
)


def leak_free_split(
    groups: Sequence[int],
    kinds: Sequence[str],
    *,
    share: float = SHARE,
    seed: int = 0,
    hold_out: Callable = held_out_rows,
) -> list[int]:
    """Positions to hold out: whole groups, about a share of each kind of rows, at most MOST per kind.

    Of few rows a larger share is taken, since fewer than ten cannot show an improvement.

    kinds: the kind of each row, since conversations and pairs are split together. The first kind's groups are
    drawn by hold_out(keys, share, seed); the next kind's only from groups without rows of the first. A group
    that is too large stays in training.
    """
    held_out, seen = set(), set()
    for kind in dict.fromkeys(kinds):
        rows = zip(groups, kinds, strict=True)
        keys = [group for group, its in rows if its == kind and group not in seen]
        if keys:
            part = max(share, min(LARGEST, WANTED / kinds.count(kind)))
            part = max(1.5 / len(keys), min(part, MOST / len(keys)))  # at least one row
            held_out |= {keys[int(place)] for place in hold_out(keys, part, seed)}
            seen |= set(keys)
    return [position for position, group in enumerate(groups) if group in held_out]


@dataclass(frozen=True)
class FileSplit:
    """The held-out positions, the unit kept together ("template" or "question"), and what that implies."""

    by: str
    held_out: frozenset[int]
    groups: int
    drawn: int  # groups that are held out
    known: int  # held-out rows whose template is trained on
    shared: Shared  # what the check afterwards found
    why: str = ""  # why not by template

    def parts(self, rows: Sequence, kinds: Sequence[str], kind: str) -> tuple[list, list]:
        """(rows to train on, held-out rows) of one kind."""
        of_kind = [(n, row) for n, (row, its) in enumerate(zip(rows, kinds, strict=True)) if its == kind]
        train, held_out = (
            [row for n, row in of_kind if (n in self.held_out) == side] for side in (False, True)
        )
        return train, held_out

    @property
    def note(self) -> str:
        """For the report and the card: what the score on the held-out rows implies."""
        if self.by == "template":
            drawn = (
                f"Split by template ({self.groups} of them, {self.drawn} held out): no held-out "
                f"question is one of training but for "
                "numbers, names, one word or, in a longer one, two neighbours. Rows that differ in two "
                'places can be missed: give them one "group".'
            )
        else:
            drawn = (
                f"Split by question ({self.groups} of them, {self.drawn} held out). By template was "
                f"not possible: {self.why}. "
                f"{self.known} of {len(self.held_out)} held-out rows have a template that is trained on, or "
                "one that differs in one place: read their scores as scores on new questions of known forms."
            )
        return f"{drawn} {RECOGNISED}"


def split_rows(
    rows: Sequence, kinds: Sequence[str], seed: int, hold_out: Callable = held_out_rows
) -> FileSplit:
    """A split by template; by question if one template, or a connected group, has more than half of the rows.

    Rows that name one "group" stay together. DataError if the split leaks: a held-out row asks something that
    is trained on, by the split's own keys or by its letters.
    """
    asked = [row.asked for row in rows]
    by, groups, why = "template", _with_named(template_groups(asked), rows), ""
    largest = max(Counter(groups).values())
    held_out = frozenset(leak_free_split(groups, kinds, seed=seed, hold_out=hold_out))
    together = (
        f"{largest} of {len(rows)} rows would have to stay on one side, joined by one template or by "
        "conversations that have two"
    )
    if 2 * largest > len(rows):
        why = together
    elif len(held_out) < ENOUGH * min(SHARE * len(rows), MOST):
        why = f"{together}; of the others only {len(held_out)} could be held out"
    if why:
        by, groups = "question", _with_named(question_groups(asked), rows)
        held_out = frozenset(leak_free_split(groups, kinds, seed=seed, hold_out=hold_out))
    inside, outside = ([n for n in range(len(rows)) if (n in held_out) == side] for side in (True, False))
    sides = [rows[n] for n in inside], [rows[n] for n in outside]
    shared, known = shared_with(*sides), template_leaks(*sides)
    if found := sorted({*leaks(*sides), *shared.same}) or (not why and known):
        raise DataError(_leak(rows, kinds, [inside[n] for n in found], outside))
    drawn = len({groups[n] for n in held_out})
    return FileSplit(by, held_out, len(set(groups)), drawn, len(known), shared, why)


def _with_named(groups, rows):
    """The groups, joined where rows name the same group; a group's number is one of its rows."""
    first, pairs = {}, list(enumerate(groups))
    for position, row in enumerate(rows):
        if row.group:
            pairs.append((first.setdefault(row.group, position), position))
    return linked(len(groups), pairs)


def _leak(rows, kinds, leaking, outside):
    """A message: which row leaks, where it is trained on, and what to do."""
    one, *more = leaking
    known = next(
        (n for n in outside if leaks([rows[one]], [rows[n]]) or shared_with([rows[one]], [rows[n]]).same),
        None,
    )
    by = "its template"
    if known is not None:
        by = f"its question, from the {kinds[known]} of line {rows[known].line}"
    also = f"; {len(more)} more leak" if more else ""
    return (
        f"the split leaks: the {kinds[one]} of line {rows[one].line} is held out, and training knows {by}"
        f"{also}. Nothing was trained. Write such rows in the same words, or take them out of the file"
    )
