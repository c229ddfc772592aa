"""Which card works on what under each way to split a training, and the timetable of a pipeline."""

from __future__ import annotations

Owners = list[list[str]]  # a matrix of the numbers of the cards that work on a cell
KEEPS = {
    "data parallel": "each keeps all",
    "sharded": "each keeps half",
    "tensor": "each keeps half",
    "pipeline": "each keeps half",
    "context": "each keeps all",
}


def _owned(of_cell) -> Owners:
    """[2, 2]: the cards 0 and 1 for which of_cell(row, column, card) holds."""
    return [
        [" ".join(str(card) for card in range(2) if of_cell(row, column, card)) for column in range(2)]
        for row in range(2)
    ]


def owners() -> dict[str, list[Owners]]:
    """{split: who works on tokens [row, place], and on the weights [in, out] of two layers}."""
    both = _owned(lambda row, column, card: True)
    by_row = _owned(lambda row, column, card: row == card)
    by_column = _owned(lambda row, column, card: column == card)
    first, second = (_owned(lambda row, column, card, own=own: card == own) for own in range(2))
    return {
        "data parallel": [by_row, both, both],
        "sharded": [by_row, both, both],
        "tensor": [both, by_column, by_row],
        "pipeline": [both, first, second],
        "context": [by_column, both, both],
    }


def pipeline_jobs(cards: int, batches: int) -> list[list[str | None]]:
    """What each card of a pipeline does in each unit of time, as [card][time]: F0, B0 and so on, or None.

    All forward passes come first, then all backward passes (GPipe); each takes a unit on each card.
    """
    half = batches + cards - 1
    jobs: list[list[str | None]] = [[None] * 2 * half for _ in range(cards)]
    for batch in range(batches):
        for card in range(cards):
            jobs[card][batch + card] = f"F{batch}"
            jobs[card][half + batch + cards - 1 - card] = f"B{batch}"
    return jobs


def waiting(jobs: list[list[str | None]]) -> float:
    """The share of the time in which cards wait."""
    return sum(job is None for row in jobs for job in row) / sum(map(len, jobs))
