"""Does every answer of every exercise get the same verdict whatever the check draws?

python -m course_utils.making.draws [LESSON ...] [--draws 20]
"""

import sys

from course_utils.checks.exercises import find_fault, registry
from course_utils.notebook_files import lesson_key, lessons
from course_utils.terminal import Parser


def disagreements(exercise, draws):
    """Disagreements as text: right answers rejected, wrong ones accepted or given another message."""
    found = []
    for seed in range(draws):
        for number, fn in enumerate([exercise.reference, *exercise.right]):
            fault = find_fault(exercise, fn, seed)
            if fault:
                found.append(f"draw {seed}: right answer {number} gets: {fault[0]}")
        for number, (fn, part) in enumerate(exercise.wrong):
            fault = find_fault(exercise, fn, seed)
            if fault is None:
                found.append(f"draw {seed}: wrong answer {number} passes")
            elif part not in fault[0]:
                found.append(f"draw {seed}: wrong answer {number} ({part!r}) gets: {fault[0]}")
    return found


def main(argv=None):
    """Print the table; the exit status is 1 if any answers disagree."""
    parser = Parser(prog="python -m course_utils.making.draws", description=__doc__)
    parser.add_argument("lessons", nargs="*", metavar="LESSON", help="01, 1 or the file's name; default: all")
    parser.add_argument("--draws", type=int, default=20)
    arguments = parser.parse_args(argv)
    chosen = {lesson_key(path) for path in lessons(arguments.lessons, more=True)}
    total = 0
    print("lesson  exercise                      answers  draws  disagreements")
    for exercise in registry().values():
        if exercise.lesson not in chosen:
            continue
        found = disagreements(exercise, arguments.draws)
        total += len(found)
        answers = 1 + len(exercise.right) + len(exercise.wrong)
        row = f"{exercise.lesson:6}  {exercise.name:28}  {answers:7}  {arguments.draws:5}  {len(found):13}"
        print("\n".join([row, *(f"        {line}" for line in found)]))
    return int(total > 0)


if __name__ == "__main__":
    sys.exit(main())
