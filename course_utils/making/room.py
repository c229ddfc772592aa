"""Simulates a room of learners for trying `room`: progress files made from the registry.

python -m course_utils.making.room FOLDER            ten learners in the middle of lessons 00, 01 and 03
python -m course_utils room FOLDER                   the page

Each learner has reached some exercise. The earlier ones were passed after some wrong answers; this one has
only wrong answers so far. The messages are those of the checks for these answers.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from course_utils.checks.exercises import Exercise, exercises_of, find_fault
from course_utils.checks.lesson_texts import exercise_texts, questions
from course_utils.home import write_whole
from course_utils.terminal import Parser, course_command

NAMES = (
    "Ada",
    "Björn",
    "Chen",
    "Dalia",
    "Emeka",
    "Farah",
    "Grace",
    "Hiro",
    "Ines",
    "Jakub",
    "Kamala",
    "Luis",
)
LESSONS = ("00", "01", "03")
AT_WORK = 120  # minutes since a learner began
FAVOURITES = 3  # wrong answers per exercise that most learners choose from
STAYS = 3  # learners who are still trying at the end


def simulate(folder: Path, now: datetime, learners: int = 10, seed: int = 0) -> None:
    """Write FOLDER/NAME/progress.json for each learner, as the course would."""
    rng = random.Random(seed)
    for number in range(learners):
        name = NAMES[number] if number < len(NAMES) else f"Learner {number + 1}"
        minutes = AT_WORK * (0.35 + 0.65 * rng.random())
        lessons = progress_after(minutes, now, rng, stays=number < STAYS)
        write_whole(
            folder / name / "progress.json", json.dumps({"lessons": lessons}, indent=1, sort_keys=True)
        )


def progress_after(minutes: float, now: datetime, rng: random.Random, stays: bool) -> dict:
    """{lesson: {kind: {name: fields}}} of a learner who began `minutes` ago and is now at an exercise.

    stays: the learner first tried it more than eight minutes ago.
    """
    clock = now - timedelta(minutes=minutes)
    pace = 0.6 + 0.8 * rng.random()
    lessons: dict = {}
    for lesson, kind, name in steps():
        here = lessons.setdefault(lesson, {})
        if kind == "predictions":
            clock += timedelta(minutes=pace * (1 + 2 * rng.random()))
            if clock < now:
                asked = questions(lesson)[name]
                entry = {
                    "choice": random_choice(asked, rng),
                    "chosen": stamp(clock),
                    "answer": asked["answer"],
                }
                here.setdefault(kind, {})[name] = entry
            continue
        exercise = exercises_of(lesson)[name]
        took = pace * exercise.minutes * (0.5 + rng.random())
        if clock + timedelta(minutes=took + 6) < now:
            here.setdefault(kind, {})[name] = tried(exercise, clock, took, rng)
            clock += timedelta(minutes=took)
            continue
        since = rng.uniform(13, 24) if stays else rng.uniform(2, 7)
        start = now - timedelta(minutes=since)
        here.setdefault(kind, {})[name] = tried(exercise, start, since - 1, rng, passes=False)
        if stays:
            here["hints"] = {name: {"steps": rng.randint(1, 2), "last": stamp(now - timedelta(minutes=3))}}
        break
    return lessons


@cache
def steps() -> list[tuple[str, str, str]]:
    """(lesson, kind, name) of predictions and exercises, alternating while both last."""
    found = []
    for lesson in LESSONS:
        asked, todo = list(questions(lesson)), list(exercise_texts(lesson))
        for place in range(max(len(asked), len(todo))):
            found += [(lesson, "predictions", name) for name in asked[place : place + 1]]
            found += [(lesson, "exercises", name) for name in todo[place : place + 1]]
    return found


def random_choice(asked: dict, rng: random.Random) -> str:
    """One of the options, the right one somewhat more often."""
    weights = [1.5 if option == asked["answer"] else 1.0 for option in asked["options"]]
    return rng.choices(asked["options"], weights)[0]


def tried(
    exercise: Exercise, start: datetime, minutes: float, rng: random.Random, passes: bool = True
) -> dict:
    """The record of an exercise after some wrong answers and, if it passes, a right one."""
    most = 4 if passes or minutes > 8 else 2
    wrong = rng.choices(
        messages(exercise.name, exercise.lesson), k=rng.randint(0 if passes else most - 1, most)
    )
    given = [*wrong, ""] if passes else wrong
    times = [start + timedelta(minutes=minutes * share) for share in moments(len(given))]
    tries = [{"at": stamp(at), "mistake": mistake} for at, mistake in zip(times, given, strict=True)]
    entry = {"attempts": len(tries), "first": tries[0]["at"], "last": tries[-1]["at"], "tries": tries}
    entry |= {"sources": [f"{number:08x}" for number in range(len(tries))]}
    entry |= {"mistake": wrong[-1]} if wrong else {}
    return entry | {"status": "passed" if passes else "failed"}


def moments(count: int) -> Iterator[float]:
    """The times of `count` tries as fractions of the total, the last at its end."""
    return ((number + 1) / count for number in range(count))


@cache
def messages(name: str, lesson: str) -> list[str]:
    """The check's messages for some typical wrong answers, the first ones more often."""
    exercise = exercises_of(lesson)[name]
    found = [find_fault(exercise, wrong)[0] for wrong, _ in exercise.wrong[: 2 * FAVOURITES]]
    return found[:FAVOURITES] * 3 + found


def stamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds")


def main(argv: Sequence[str] | None = None) -> None:
    parser = Parser(
        "python -m course_utils.making.room", description="Write progress files of simulated learners."
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--learners", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(argv)
    simulate(chosen.folder, datetime.now(UTC), chosen.learners, chosen.seed)
    print(course_command("room", chosen.folder))


if __name__ == "__main__":
    main()
