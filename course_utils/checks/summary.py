"""A learner's progress, with the number of exercises of each lesson."""

import course_utils.checks.progress as progress
from course_utils.checks.exercises import registry


def summary() -> dict:
    """{lesson: {"exercises": {name: {"status", "attempts", "first", "last", "mistake", "tries"}},
    "predictions": {question: {"choice", "chosen", "answer", "right"}}, "hints": {name: {"steps", "last"}},
    "passed": int, "of": int, "right": int, "wrong": int, "skipped": int}}.

    first, last: times of the attempts, UTC, ISO 8601; chosen: the time of the first choice; mistake: the
    last message, if any; tries: [{"at": time, "mistake": message or ""}]. A prediction whose answer was
    shown without a choice is skipped. "of" counts all exercises of the lesson. Untouched lessons are
    included, with passed 0.
    """
    done = progress.recorded()
    totals: dict[str, int] = {}
    for exercise in registry().values():
        totals[exercise.lesson] = totals.get(exercise.lesson, 0) + 1
    result = {}
    for lesson in sorted({*done, *totals}):
        entry = done.get(lesson) or {kind: {} for kind in progress.RECORD_KINDS}
        for row in entry["exercises"].values():
            row.pop("sources", None)
        entry["passed"] = sum(row.get("status") == "passed" for row in entry["exercises"].values())
        entry["of"] = totals.get(lesson, 0)
        revealed = [row for row in entry["predictions"].values() if "answer" in row]
        entry["right"] = sum(row.get("right") is True for row in revealed)
        entry["wrong"] = sum(row.get("right") is False for row in revealed)
        entry["skipped"] = len(revealed) - entry["right"] - entry["wrong"]
        result[lesson] = entry
    return result
