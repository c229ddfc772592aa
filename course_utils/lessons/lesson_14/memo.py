"""The decision on one page: as Markdown, and as HTML."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from course_utils.home import write_whole
from course_utils.lessons.lesson_14 import guide
from course_utils.lessons.lesson_14.guide import Case, Option, money
from course_utils.ownership import own_file, real, standing
from course_utils.templates import templates
from course_utils.terminal import plain_line

OTHER_FOLDER = "Name another folder"
LABELS = {"baseline": "score first", "choose": "take", "then": "then", "later": "not now", "no": "no"}


@dataclass(frozen=True)
class Memo:
    """The content of the page: rows of tables are tuples of strings."""

    title: str
    decision: str
    situation: list[tuple[str, str]]
    prices: list[tuple[str, ...]]  # option, labels, training, serving, total
    verdicts: list[tuple[str, str, list[str]]]  # option, verdict, reasons with basis and source
    before: list[str]
    change: list[str]


def make_memo(case: Case, options: Sequence[Option]) -> Memo:
    """The memo of a case and its options."""
    named = {option.name: option for option in options}
    return Memo(
        title=f"{case.model} lacks {guide.GOALS[case.goal]}: which method?",
        decision=_decision(case, options),
        situation=_situation(case),
        prices=[_price_row(case, named[name]) for name in guide.OPTIONS if _is_open(named[name])],
        verdicts=[
            (option.name, LABELS[option.verdict], _reasons(option))
            for option in sorted(options, key=lambda option: list(LABELS).index(option.verdict))
        ],
        before=_before(case, options),
        change=_change(case, options),
    )


def _is_open(option):
    return option.verdict != "no"


def _decision(case, options):
    by_verdict = {name: [o.name for o in options if o.verdict == name] for name in LABELS}
    if not by_verdict["choose"]:
        if by_verdict["baseline"]:
            return "Stay with a prompt for now. The reasons against the others are below."
        return "No method is possible at present. The reasons against each method are below."
    chosen = by_verdict["choose"][0]
    cost = next(option.cost for option in options if option.name == chosen)
    first = "Score a prompt first. Then take" if by_verdict["baseline"] else "Take"
    after = f" After that {' and '.join(by_verdict['then'])}." if by_verdict["then"] else ""
    counted = f"{money(cost.total, case)} in {case.days} days, hours of work not counted"
    return f"{first} {guide.in_a_sentence(chosen)}: {counted}.{after}"


def _situation(case):
    """The questions and their answers."""

    def yes(flag):
        return "yes" if flag else "no"

    return [
        ("Lacking", guide.GOALS[case.goal]),
        (
            "Labelled examples",
            f"{case.examples:,} at hand; one more costs {case.label_price:g} {case.currency}",
        ),
        ("Answers can be verified", yes(case.verifiable)),
        ("A larger model does it", yes(case.larger_works)),
        ("Traffic", f"{case.answers_a_day:,} answers a day, {case.days} days"),
        (
            "Tokens",
            f"{case.instructions:,} of instructions, {case.question:,} a question, {case.answer:,} an answer",
        ),
        ("Latency", f"{case.seconds:g} s for a whole answer"),
        ("Privacy", "no text may leave the house" if case.private else "texts may be sent out"),
        (
            "Licences",
            f"weights allow the use: {yes(case.licence_weights)}; "
            f"the larger model's answers may be trained on: {yes(case.licence_answers)}",
        ),
        ("Model and card", f"{case.model} on {case.card}, {case.card_price:g} {case.currency} an hour"),
        (
            "The larger model",
            f"{case.read_price:g} and {case.write_price:g} {case.currency} a million tokens read and written",
        ),
        ("Trainings", f"{case.runs}, the sweep included"),
        ("Tasks, and the rest", f"{case.tasks}; all else must stay as good: {yes(case.keep)}"),
        ("Budget", money(case.budget, case)),
    ]


def _price_row(case, option):
    cost = option.cost
    parts = (cost.labels, cost.training, cost.serving, cost.total)
    return option.name, *(money(part, case) for part in parts)


def _reasons(option):
    """All reasons of a possible option; of the others, the reason against them."""
    return [_reason(reason) for reason in option.reasons[: None if _is_open(option) else 1]]


def _reason(reason):
    source = f"; {reason.source}" if reason.source else ""
    return f"{reason.text} ({reason.basis}{source})"


def _before(case, options):
    """What to do before anything is trained."""
    needed = guide.questions_needed(case.points)
    judge = "the program verifies" if case.verifiable else "with labels that no training sees"
    items = [
        f"Set {needed:,} questions aside to judge by ({judge}): they show a difference of {case.points:g} "
        "points in four of five repetitions, if two methods disagree about a quarter of them.",
        "Choose rates on other questions, with the same number of runs for each method.",
        "Score the answers that must not get worse: other tasks, known facts, refusals.",
    ]
    if any(option.name == "larger model" and _is_open(option) for option in options):
        items.append("Time the larger model: how fast it answers stands on no price list.")
    return items


def _change(case, options):
    """What would change the decision."""
    found = []
    if any(option.name == "larger model" and _is_open(option) for option in options):
        number = guide.break_even_a_day(case)
        if number is None:
            found.append("At these prices the larger model stays cheaper than a tuned one at any traffic.")
        else:
            found.append(
                f"From about {number:,.0f} answers a day on, a tuned {case.model} costs no more than the "
                f"larger model; now there are {case.answers_a_day:,}."
            )
    found += [
        "A prompt that scores within the interval of what is chosen: then stay with the prompt.",
        "Twice the price of a label, or twice the traffic: fill in the guide again.",
    ]
    return found


def to_markdown(memo: Memo) -> str:
    """The memo as Markdown."""
    lines = [f"# {memo.title}", "", f"**{memo.decision}**", "", "## The situation", ""]
    lines += [f"- {name}: {value}" for name, value in memo.situation]
    lines += ["", "## What it costs", "", "| | labels | training and sweep | serving | total |"]
    lines += ["|---|---:|---:|---:|---:|"]
    lines += [f"| {' | '.join(row)} |" for row in memo.prices]
    lines += ["", "## Why", ""]
    lines += [f"- **{name}: {verdict}.** {' '.join(reasons)}" for name, verdict, reasons in memo.verdicts]
    for heading, items in (("Before you begin", memo.before), ("What would change this", memo.change)):
        lines += ["", f"## {heading}", "", *(f"- {item}" for item in items)]
    return "\n".join(lines) + "\n"


def to_html(memo: Memo) -> str:
    """The memo as an HTML page."""
    return templates.get_template("memo.html").render(memo=memo)


def write_memo(memo: Memo, folder: Path) -> list[Path]:
    """Write memo.md and memo.html, with today's date. FileExistsError if such files are not the course's."""
    memo = replace(memo, situation=[("Written on", date.today().isoformat()), *memo.situation])
    paths = [real(folder) / "memo.md", own_file(Path(folder) / "memo.html", OTHER_FOLDER, None)]
    if standing(paths[0]) and not standing(paths[1]):
        raise FileExistsError(f"{plain_line(paths[0])} is not the course's. {OTHER_FOLDER}.")
    paths[0].parent.mkdir(parents=True, exist_ok=True)
    for path, text in zip(paths, (to_markdown(memo), to_html(memo)), strict=True):
        write_whole(path, text)
    return paths
