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
LABELS = {
    "baseline": "score first",
    "choose": "take",
    "tie": "or take",
    "then": "then",
    "later": "not now",
    "no": "no",
}


@dataclass(frozen=True)
class Memo:
    """The content of the page: rows of tables are tuples of strings."""

    title: str
    currency: str
    decision: str
    situation: list[tuple[str, str]]
    options: list[tuple[str, ...]]  # option, points, people, labels and training, serving, its place, total
    verdicts: list[tuple[str, str, list[str]]]  # options, verdict, reasons with basis and source
    before: list[str]
    change: list[str]


HEAD = (
    "",
    "points over a prompt",
    "people (days: rule of thumb)",
    "labels, training",
    "serving",
    "by",
    "total",
)


def make_memo(case: Case, options: Sequence[Option]) -> Memo:
    """The memo of a case and its options."""
    ordered = sorted(options, key=lambda option: list(LABELS).index(option.verdict))
    return Memo(
        title=f"{case.model} lacks {guide.GOALS[case.goal]}: which method?",
        currency=case.currency,
        decision=_decision(case, options),
        situation=_situation(case),
        options=[_row(case, option) for option in ordered if _is_open(option)],
        verdicts=_verdicts(ordered),
        before=_before(case, options),
        change=_change(case, options),
    )


def _is_open(option):
    return option.verdict != "no"


def _names(options, verdict):
    return [guide.in_a_sentence(option.name) for option in options if option.verdict == verdict]


def _decision(case, options):
    chosen = next((option for option in options if option.verdict == "choose"), None)
    if chosen is None:
        return "No method is possible at present. The reasons against each method are below."
    total = f"{money(chosen.cost.total, case)} in {case.days} days, people included"
    after = f" After that {' and '.join(_names(options, 'then'))}." if _names(options, "then") else ""
    if chosen.name == "prompting":
        return f"Stay with a prompt for now: {total}. The reasons against the others are below."
    name = guide.in_a_sentence(chosen.name)
    if ties := _names(options, "tie"):
        rivals = " or ".join([name, *ties])
        cheapest = f"the cheapest is {name}, {total}"
        return f"Score a prompt first. Then it is a tie: {rivals}. Try them all; {cheapest}.{after}"
    return f"Score a prompt first. Then take {name}: {total}.{after}"


def _situation(case):
    """The questions and their answers."""

    def yes(flag):
        return "yes" if flag else "no"

    facts = case.goal.startswith("facts")
    return [
        ("Lacking", guide.GOALS[case.goal]),
        *([("Documents", f"{case.documents:,} tokens")] if facts else []),
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
        (
            "Prices",
            f"in {case.currency}: {case.card} {case.card_price:g} an hour; a million tokens of {case.model} "
            f"{case.host_price:g}, of the larger model {case.read_price:g} read, {case.write_price:g} "
            f"written; a person's day {case.person_day:g}",
        ),
        ("Trainings", f"{case.runs}, the sweep included"),
        ("Tasks, and the rest", f"{case.tasks}; all else must stay as good: {yes(case.keep)}"),
        ("Budget", money(case.budget, case)),
    ]


def _row(case, option):
    cost = option.cost
    days = round(cost.people / case.person_day) if case.person_day else 0
    parts = (cost.people, cost.labels + cost.training, cost.serving, cost.total)
    people, before, serving, total = (f"{part:,.0f}" for part in parts)
    people += f" ({days})" if days else ""
    return option.name, guide.gain(option.quality), people, before, serving, option.place, total


def _verdicts(ordered):
    """A row for each possible option; those that are not share a row if they share the reason."""
    rows = [(option.name, LABELS[option.verdict], _reasons(option)) for option in ordered if _is_open(option)]
    against = {}
    for option in ordered:
        if not _is_open(option):
            against.setdefault(_reason(option.reasons[0]), []).append(option.name)
    return rows + [(", ".join(names), LABELS["no"], [reason]) for reason, names in against.items()]


def _reasons(option):
    """The reasons of a possible option, with the source of its points."""
    said = [_reason(reason) for reason in option.reasons]
    given = option.quality
    return [*said, f"Points: {_basis(given)}."] if given.points else said


def _reason(reason):
    return f"{reason.text} ({_basis(reason)})"


def _basis(found):
    """The basis of a reason or of points, with its source."""
    return f"{found.basis}; {found.source}" if found.source else found.basis


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
    if any(option.place == "the provider" and _is_open(option) for option in options):
        items.append("Time what answers by the token: how fast it is stands on no price list.")
    return items


def _change(case, options):
    """What would break a tie, what turns the advice, and what may happen to it."""
    found = []
    if ties := _names(options, "tie"):
        rivals = " and ".join([*_names(options, "choose"), *ties])
        found.append(
            f"The tie breaks where a trial shows {case.points:g} points between {rivals}: give `scores`."
        )
    moved = guide.flips(case)
    said = f"Each input moved by a third, alone: {len(moved.turned)} of {moved.moves} moves turn the advice"
    said += f", {moved.nearly} more make or break a tie" if moved.nearly else ""
    found.append(". ".join([said, "; ".join(moved.turned)]).strip(". ") + ".")
    if any(option.place == "the provider" and _is_open(option) for option in options):
        taken = guide.advice(guide.decide(guide.with_smallest(case)))
        if taken != guide.advice(options):
            rivals = " or ".join(sorted(guide.in_a_sentence(name) for name in taken))
            found.append(f"If a provider's smallest model does it, too, a tenth as dear: {rivals}.")
    chosen = next((option.name for option in options if option.verdict == "choose"), None)
    if chosen and len(served := guide.serving_places(case, chosen)) > 1:
        here, there = served
        more = there.price - here.price + (there.days - here.days) * case.person_day
        days = f"{there.days:.0f} days of a person" if there.days else "no days of a person"
        price = f"{money(there.price, case)} and {days}, {money(more, case)} more in all"
        found.append(f"Served elsewhere, {there.place}: {price}.")
    found.append("A prompt that scores within the interval of what is chosen: then stay with the prompt.")
    taken = [option for option in options if option.verdict in ("choose", "tie") and option.risk]
    return found + list(dict.fromkeys(option.risk for option in taken))


def to_markdown(memo: Memo) -> str:
    """The memo as Markdown."""
    lines = [f"# {memo.title}", "", f"**{memo.decision}**", "", "## The situation", ""]
    lines += [f"- {name}: {value}" for name, value in memo.situation]
    lines += [
        "",
        f"## What it gives and costs ({memo.currency})",
        "",
        f"| {' | '.join(HEAD)} |",
        "|---|---:|---:|---:|---:|---|---:|",
    ]
    lines += [f"| {' | '.join(row)} |" for row in memo.options]
    lines += ["", "## Why", ""]
    lines += [f"- **{name}: {verdict}.** {' '.join(reasons)}" for name, verdict, reasons in memo.verdicts]
    for heading, items in (("Before you begin", memo.before), ("What would change this", memo.change)):
        lines += ["", f"## {heading}", "", *(f"- {item}" for item in items)]
    return "\n".join(lines) + "\n"


def to_html(memo: Memo) -> str:
    """The memo as an HTML page."""
    return templates.get_template("memo.html").render(memo=memo, head=HEAD)


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
