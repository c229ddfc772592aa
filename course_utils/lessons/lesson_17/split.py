"""Which rows are held out: whole templates where the file has enough of them, else whole questions."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from course_utils.lessons.lesson_17.exercises import held_out_rows
from course_utils.lessons.lesson_17.own_data import question_groups
from course_utils.lessons.lesson_17.template_groups import template_groups, template_leaks

SHARE, MOST = 0.15, 200  # of the rows of a kind; at most so many rows
ENOUGH = 0.5  # of what is asked for: less held out is too little to judge by


def leak_free_split(
    groups: Sequence[int],
    kinds: Sequence[str],
    *,
    share: float = SHARE,
    seed: int = 0,
    hold_out: Callable = held_out_rows,
) -> list[int]:
    """Positions to hold out: whole groups, about a share of each kind of rows, at most MOST of one.

    kinds says what each row is: conversations and pairs are split together. The first kind's groups are
    drawn by hold_out(keys, share, seed); of the next kind only groups that the first has no row of. A group
    that is too large stays in training.
    """
    held_out, seen = set(), set()
    for kind in dict.fromkeys(kinds):
        rows = zip(groups, kinds, strict=True)
        keys = [group for group, its in rows if its == kind and group not in seen]
        if keys:
            part = max(1.5 / len(keys), min(share, MOST / len(keys)))  # a row at the least
            held_out |= {keys[int(place)] for place in hold_out(keys, part, seed)}
            seen |= set(keys)
    return [position for position, group in enumerate(groups) if group in held_out]


@dataclass(frozen=True)
class FileSplit:
    """Positions that are held out, what was kept together ("template" or "question"), and what that means."""

    by: str
    held_out: frozenset[int]
    groups: int
    known: int  # held-out rows whose template is trained on

    @property
    def note(self) -> str:
        """For the report: what the score on the held-out rows can say."""
        count = len(self.held_out)
        if self.by == "template":
            return (
                f"Split by template ({self.groups} of them): no held-out question's template is trained on."
            )
        return (
            f"Split by question ({self.groups} of them), since the file has too few templates to hold some "
            f"out: {self.known} of {count} held-out rows have a template that is trained on. The scores say "
            "nothing about questions of another kind."
        )


def split_rows(
    rows: Sequence, kinds: Sequence[str], seed: int, hold_out: Callable = held_out_rows
) -> FileSplit:
    """A split by template; by question where one template, or what hangs together, is half of the file."""
    asked = [row.asked for row in rows]
    for by, grouped in (("template", template_groups), ("question", question_groups)):
        groups = grouped(asked)
        held_out = frozenset(leak_free_split(groups, kinds, seed=seed, hold_out=hold_out))
        largest = max(Counter(groups).values())
        wanted = min(SHARE * len(rows), MOST)
        if by == "question" or (2 * largest <= len(rows) and len(held_out) >= ENOUGH * wanted):
            break
    inside = [row for position, row in enumerate(rows) if position in held_out]
    outside = [row for position, row in enumerate(rows) if position not in held_out]
    known = len(template_leaks(inside, outside)) if inside else 0
    return FileSplit(by, held_out, len(set(groups)), known)
