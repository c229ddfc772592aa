"""The pages of `room`: learners and where they are stuck for the teacher, predictions for the projector."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime, timedelta

from course_utils.checks.lesson_texts import exercise_texts, questions, titles
from course_utils.templates import templates

STUCK = 8  # minutes on one exercise without passing it
AWAY = 30  # minutes without activity; longer gaps end a stretch of work
QUORUM = 4  # the projector shows the latest question that one learner in so many has answered
MOST = 3  # mistakes shown per exercise


def room_page(learners: dict[str, dict], now: datetime, hidden: bool, notes: list[str], nonce: str) -> str:
    """The teacher's page. learners: {name: progress}, from Room; hidden: show numbers instead of names."""
    names = {
        name: f"Learner {number}" if hidden else name for number, name in enumerate(sorted(learners), start=1)
    }
    rows = [{"name": names[name], **whereabouts(learners[name], now)} for name in sorted(learners)]
    rows.sort(key=lambda row: (not row["stuck"], -row["minutes"] if row["stuck"] else 0, row["away"]))
    return templates.get_template("room.html").render(
        rows=rows,
        stuck=[row for row in rows if row["stuck"]],
        where=sorted(Counter(row["lesson"] for row in rows if row["lesson"] and not row["away"]).items()),
        titles=titles(),
        mistakes=mistakes(learners),
        predictions=predictions(learners),
        notes=notes,
        hidden=hidden,
        nonce=nonce,
        time=now.astimezone().strftime("%H:%M:%S"),
        limit=STUCK,
        away=AWAY,
        projector=False,
        answers=True,
    )


def projector_page(learners: dict[str, dict], answers: bool, nonce: str) -> str:
    """The room's question of now in large type, without names, earlier ones folded; answers on request."""
    found = predictions(learners)
    now = next((one for one in found if one["count"] * QUORUM >= len(learners)), found[0] if found else None)
    return templates.get_template("room_projector.html").render(
        now=now, others=[one for one in found if one is not now], answers=answers, nonce=nonce
    )


# -------------------------------------------------------------------------------------- where a learner is


def signs(progress: dict) -> list[tuple[datetime, str, str, str]]:
    """(time, lesson, "exercises" or "predictions", name) of all entries with a time, sorted; hints count for
    their exercise."""
    found = []
    for lesson, kinds in progress.items():
        for kind, entries in kinds.items():
            for name, fields in entries.items():
                times = [fields.get("first"), fields.get("last"), fields.get("chosen")]
                times += [one["at"] for one in _tries(fields)]
                of = "predictions" if kind == "predictions" else "exercises"
                found += [(time, lesson, of, name) for time in map(_time, times) if time]
    return sorted(set(found))


def _tries(fields: dict) -> list[dict]:
    """The well-formed tries of an exercise."""
    return [
        one
        for one in fields.get("tries", [])
        if isinstance(one, dict) and isinstance(one.get("at"), str) and isinstance(one.get("mistake"), str)
    ]


def _time(text: object) -> datetime | None:
    try:
        time = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def whereabouts(progress: dict, now: datetime) -> dict:
    """Where a learner is: {"lesson", "at", "minutes" there, "silent" minutes, "stuck", "away", "passed",
    "of", "tries", "hints", "mistake"}; lesson "" if no entry has a time."""
    seen = signs(progress)
    row = {"lesson": "", "at": "", "minutes": 0, "silent": 0, "stuck": False, "away": True}
    row |= {"passed": 0, "of": 0, "tries": 0, "hints": 0, "mistake": ""}
    if not seen:
        return row
    last, lesson, kind, name = seen[-1]
    entry = progress[lesson].get(kind, {}).get(name, {})
    silent = _minutes(now - last)
    here = [time for time, *at in seen if at == [lesson, kind, name]]
    start = last
    for time in reversed(here):
        if start - time > timedelta(minutes=AWAY):
            break
        start = time
    minutes, away = _minutes(now - start), silent > AWAY
    trying = kind == "exercises" and entry.get("status") == "failed"
    of = exercise_texts(lesson) if lesson in titles() else {}
    done = progress[lesson].get("exercises", {})
    return row | {
        "lesson": lesson,
        "at": _title(lesson, kind, name),
        "minutes": minutes,
        "silent": silent,
        "stuck": trying and minutes > STUCK and not away,
        "away": away,
        "passed": sum(fields.get("status") == "passed" for fields in done.values()),
        "of": len(of),
        "tries": len(_tries(entry)) or entry.get("attempts", 0),
        "hints": progress[lesson].get("hints", {}).get(name, {}).get("steps", 0),
        "mistake": entry.get("mistake", "") if trying else "",
    }


def _minutes(span: timedelta) -> int:
    return max(0, int(span.total_seconds() // 60))


def _title(lesson: str, kind: str, name: str) -> str:
    """An exercise's title as in its heading, or a prediction's question."""
    if kind == "predictions":
        return f"predicted: {name}"
    task = exercise_texts(lesson).get(name) if lesson in titles() else None
    return f"{task.number.removeprefix('Exercise ')}: {task.title}" if task else name


# --------------------------------------------------------------------------------- mistakes and predictions


def mistakes(learners: dict[str, dict]) -> list[dict]:
    """For each exercise with a mistake: {"lesson", "name", "title", "passed", "tried", "rows"}; rows are
    {"message", "learners", "tries"}, the mistake of most learners first."""
    who: dict[tuple[str, str], dict[str, list[tuple[str, str]]]] = {}
    tried: Counter = Counter()
    passed: Counter = Counter()
    for learner, progress in learners.items():
        for lesson, kinds in progress.items():
            for name, fields in kinds.get("exercises", {}).items():
                tried[lesson, name] += 1
                passed[lesson, name] += fields.get("status") == "passed"
                messages = [one["mistake"] for one in _tries(fields) if one["mistake"]]
                for message in messages or filter(None, [fields.get("mistake")]):
                    first = message.strip().partition("\n")[0]
                    who.setdefault((lesson, name), {}).setdefault(kind_of(first), []).append((learner, first))
    return [
        {
            "lesson": lesson,
            "name": name,
            "title": _title(lesson, "exercises", name),
            "passed": passed[lesson, name],
            "tried": tried[lesson, name],
            "rows": _most_frequent(who[lesson, name]),
        }
        for lesson, name in sorted(who, key=_order)
    ]


def kind_of(message: str) -> str:
    """The message with its numbers removed: a key for messages that differ only in numbers."""
    return re.sub(r"\d+(\.\d+)?(e[-+]?\d+)?", "#", message)


def _most_frequent(kinds: dict[str, list[tuple[str, str]]]) -> list[dict]:
    rows = [
        {
            "message": Counter(message for _, message in found).most_common(1)[0][0],
            "learners": len({learner for learner, _ in found}),
            "tries": len(found),
        }
        for found in kinds.values()
    ]
    rows.sort(key=lambda row: (-row["learners"], -row["tries"], row["message"]))
    return rows[:MOST]


def _order(at: tuple[str, str]) -> tuple:
    """Sort key: by lesson, then in the notebook's order of exercises."""
    lesson, name = at
    there = list(exercise_texts(lesson)) if lesson in titles() else []
    return lesson, there.index(name) if name in there else len(there), name


def predictions(learners: dict[str, dict]) -> list[dict]:
    """For each prediction made: {"lesson", "question", "count", "bars"}, the latest first; bars are {"label",
    "count", "share" of the highest bar, "right"}."""
    chosen: dict[tuple[str, str], list] = {}
    latest: dict[tuple[str, str], str] = {}
    answers: dict[tuple[str, str], object] = {}
    for progress in learners.values():
        for lesson, kinds in progress.items():
            for question, fields in kinds.get("predictions", {}).items():
                at = lesson, question
                if fields.get("answer") is not None:
                    answers[at] = fields["answer"]
                if isinstance(fields.get("choice"), str):
                    chosen.setdefault(at, []).append(fields["choice"])
                    latest[at] = max(latest.get(at, ""), fields.get("chosen", ""))
    found = []
    for lesson, question in sorted(chosen, key=lambda at: latest[at], reverse=True):
        known = questions(lesson).get(question, {}) if lesson in titles() else {}
        answer = answers.get((lesson, question), known.get("answer"))
        bars = histogram(chosen[lesson, question], known.get("options", []), answer)
        count = len(chosen[lesson, question])
        found.append({"lesson": lesson, "question": question, "count": count, "bars": bars})
    return found


def histogram(choices: list[str], options: list[str], answer: object) -> list[dict]:
    """A bar for each option, including those nobody chose."""
    counts = Counter({option: 0 for option in options})
    counts.update(choices)
    highest = max(counts.values())
    return [
        {"label": label, "count": count, "share": count / highest, "right": label == str(answer)}
        for label, count in counts.items()
    ]
