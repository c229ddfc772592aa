"""Rules for the visible parts of a lesson: its claims, predictions and exercises.

python -m course_utils.making.lints 03      violations, and headings as they should be
python -m course_utils.making.lints --measures      the lessons' lengths; ! marks values beyond their limit
"""

from __future__ import annotations

import argparse
import ast
import builtins
import io
import math
import re
import statistics
import sys
import tokenize
from collections.abc import Callable, Iterator

from nbformat import NotebookNode

from course_utils.checks import claims
from course_utils.checks.claims import claims_of
from course_utils.checks.exercises import Exercise, exercises_of
from course_utils.making.claims import calls_of, claim_calls, claim_names, source_text
from course_utils.making.measures import as_lines, measure_faults, measures, plain_titles, visible_lines
from course_utils.notebook_files import (
    code_cells,
    global_names,
    handle,
    imports_of,
    is_companion,
    is_folded,
    lesson_key,
    lessons,
    read_notebook,
    tags,
)
from course_utils.terminal import Parser

MOST_CLAIMS = 12
MOST_PREDICTIONS = 3
SIGHT = 30  # visible lines: about a screen
NOT_MEASURED = {"session", "SEED", "options", "base", "tokenizer", "model", *dir(builtins)}
DEVIATIONS = 3  # required distance of the seeds' mean from the bound, in standard deviations
PER_CENT = re.compile(
    r"\b(shares?|fractions?|accurac(y|ies)|proportions?|probabilit(y|ies)|per cent)\b", re.I
)
CLAIM_VERBS = set(  # present tense; without forms that lessons use as nouns
    """
    accept accepts add adds agree agrees are beat beats become becomes begin begins belong
    belongs break breaks bring brings calls can cannot carries carry catch catches changes closes come
    comes copies costs could crosses decide decides depend depends differ differs disagree
    disagrees do does doubles drops ends equals exceed exceeds explain explains falls find finds
    fit fits follow follows forget forgets get gets give gives go goes grow grows halves has have helps
    hide hides hold holds hurts ignore ignores improve improves include includes increases is joins keep
    keeps know knows lack lacks leaks learn learns leave leaves let lets lie lies lifts lose loses 
    lowers make makes matches may meet meets merge merges might miss misses moves must needs outweigh
    outweighs overfit overfits pass passes pays picks predict predicts prefer prefers produce produces
    raise raises reach reaches reads recall recalls recover recovers reduce reduces refuse refuses
    reject rejects remain remains remove removes repeats restore restores reverses rises save saves
    say says see sees selects send sends separates settles should show shows shrink shrinks
    sounds spend spends spreads stand stands starts stay stays stops survive survives swaps take takes
    tell tells touches tracks trains transfers triples turns uses vanish vanishes varies vary was weighs
    were will win wins works worsen worsens would write writes yields
    """.split()
)
# words that begin a clause with its own verb
CLAUSES = set("that which who whose what where when while how if because since".split())
STOP_WORDS = set(
    """
    a an and are as at be been but by can does do for from had has have in into is it its more most much
    no not of on one or other out so than that the their them then there they this to was were what
    which will with
    """.split()
)


def registry_faults(notebook: NotebookNode, lesson: str) -> list[str]:
    """A lesson makes each of its claims once, by name; its outputs have the text and bounds of claims.py."""
    made = [name for cell in code_cells(notebook) for name in claim_names(cell.source)]
    faults = [f"claim.{name} is not in its claims.py" for name in made if name not in claims_of(lesson)]
    for name in claims_of(lesson):
        if made.count(name) != 1:
            faults.append(f"claim.{name} is made {made.count(name)} times; it is to be made once")
    for record in claims.read(notebook):
        listed = claims_of(lesson).get(record["name"])
        if listed and (record["text"] != listed.text or _limits_of(record) != _limits_of(listed.bounds)):
            faults.append(f"claim.{listed.name} is saved with another text or bound: execute the lesson")
    loose = sum(len(calls_of(cell.source, "claim")) for cell in code_cells(notebook))
    return faults + ["a claim is made without a name: list it in claims.py"] * loose


def _limits_of(bounds: dict) -> dict:
    names = ("at_most", "at_least", "equals", "tolerance")
    return {name: bounds[name] for name in names if bounds.get(name) is not None}


def verb_faults(notebook: NotebookNode, lesson: str) -> list[str]:
    """A claim is a sentence: it has a verb outside its subordinate clauses."""
    return [
        f"claim.{claim.name} has no verb (or one that CLAIM_VERBS lacks): {claim.text}"
        for claim in claims_of(lesson).values()
        if not is_sentence(claim.text)
    ]


def is_sentence(text: str) -> bool:
    words = re.findall(r"[a-z]+", re.sub(r"\bto \w+", "", text.lower()))
    return sum(word in CLAIM_VERBS for word in words) > sum(word in CLAUSES for word in words)


def unit_faults(notebook: NotebookNode, lesson: str) -> list[str]:
    """A claim has a unit; shares are in per cent."""
    faults = []
    for claim in claims_of(lesson).values():
        if not claim.unit and not isinstance(claim.equals, str):
            faults.append(f"claim.{claim.name} has no unit: {claim.text}")
        elif PER_CENT.search(claim.text) and claim.unit != "%":
            faults.append(f'claim.{claim.name} is about a share and its unit is not "%": {claim.text}')
    return faults


def false_faults(notebook: NotebookNode, lesson: str) -> list[str]:
    """No claim holds by measuring False."""
    return [
        f"claim.{claim.name} equals False: say what is true: {claim.text}"
        for claim in claims_of(lesson).values()
        if claim.equals is False
    ]


def number_of_claims_faults(notebook: NotebookNode, lesson: str) -> list[str]:
    """At most twelve claims per lesson."""
    count = max(len(claims_of(lesson)), len(claims.read(notebook)))
    return [f"{count} claims, more than {MOST_CLAIMS}"] if count > MOST_CLAIMS else []


def headline_faults(notebook: NotebookNode, lesson: str) -> list[str]:
    """Exactly one claim is the headline."""
    count = sum(claim.headline for claim in claims_of(lesson).values())
    return [] if count == 1 else [f"{count} claims are marked headline=True; one is to be"]


def margin_faults(notebook: NotebookNode, lesson: str) -> list[str]:
    """A bound lies between the right run's seeds, or their mean, at three deviations, and every control."""
    return [
        f"{fault}: {record['text']}"
        for record in claims.read(notebook)
        if record["seeds"] or record["stored"]
        for fault in _margin(record)
    ]


def _margin(record: dict) -> Iterator[str]:
    seeds, excluded = record["seeds"], record["excludes"]
    if len(seeds) < 3 or not isinstance(excluded, dict) or not excluded:
        yield "a claim on stored seeds needs three of them (seeds=) and the values of what it excludes"
        return
    low, high = float(record.get("at_least", "-inf")), float(record.get("at_most", "inf"))
    if "equals" in record:
        low, high = record["equals"] - record["tolerance"], record["equals"] + record["tolerance"]
    mean, spread = statistics.mean(seeds), DEVIATIONS * statistics.stdev(seeds)
    if math.isclose(record["value"], mean):  # the claim is on the mean
        spread /= math.sqrt(len(seeds))
    if not low <= mean - spread <= mean + spread <= high:
        yield f"the bound is less than {DEVIATIONS} deviations from the seeds' mean {mean:.4g} ± {spread:.2g}"
    for name, value in excluded.items():
        if low <= value <= high:
            yield f"the bound lets {name} ({value:.4g}) pass"


def number_of_predictions_faults(notebook: NotebookNode, lesson: str) -> list[str]:
    """At most three predictions per lesson."""
    count = sum(len(calls_of(cell.source, "predict")) for cell in code_cells(notebook))
    return [f"{count} predictions, more than {MOST_PREDICTIONS}"] if count > MOST_PREDICTIONS else []


def option_faults(notebook: NotebookNode, lesson: str) -> list[str]:
    """A prediction has three or four options."""
    faults = []
    for call in (call for cell in code_cells(notebook) for call in calls_of(cell.source, "predict")):
        given = [*call.args[1:2], *(word.value for word in call.keywords if word.arg == "options")]
        if given and isinstance(given[0], ast.List) and len(given[0].elts) not in (3, 4):
            count = len(given[0].elts)
            faults.append(f"{count} options, where three or four are needed: {source_text(call.args[0])}")
    return faults


def sentence_faults(notebook: NotebookNode, lesson: str) -> list[str]:
    """A reveal has a sentence for each option."""
    return [
        f"{ast.unparse(call.func)} has no sentence for each option (because={{option: ...}})"
        for cell in code_cells(notebook)
        for call in _reveals(cell)
        if not any(word.arg == "because" and not _is_text(word.value) for word in call.keywords)
    ]


def _is_text(expression: ast.expr) -> bool:
    return isinstance(expression, ast.JoinedStr | ast.Constant)


def _reveals(cell: NotebookNode) -> list[ast.Call]:
    calls = [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Call)]
    return [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "reveal"]


def spoiler_faults(notebook: NotebookNode, lesson: str) -> list[str]:
    """Nothing visible between a question and its answer gives the answer away."""
    faults = []
    for name, question, begin, end in _predictions(notebook):
        between = [one for one in notebook.cells[begin + 1 : end] if not is_folded(one)]
        faults += [f"{name}: {fault}" for fault in _spoilers(question, between, notebook.cells[end])]
    return faults


def _predictions(notebook: NotebookNode) -> Iterator[tuple[str, str, int, int]]:
    """(name, question, index of its cell, index of the revealing cell) of each prediction."""
    asked: dict[str, tuple[str, int]] = {}
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Assign) and (calls := calls_of(ast.unparse(node.value), "predict")):
                asked[ast.unparse(node.targets[0])] = source_text(calls[0].args[0]), index
        for call in _reveals(cell):
            name = ast.unparse(call.func.value)
            if name in asked:
                question, begin = asked.pop(name)
                yield name, question, begin, index


def _spoilers(question: str, between: list[NotebookNode], cell: NotebookNode) -> Iterator[str]:
    if not is_folded(cell):
        yield "the cell of its reveal is not folded (jupyter.source_hidden)"
    words = _words_of_the_answer(question, cell)
    for one in between:
        if one.cell_type == "code" and (title := _plot_title(one)):
            yield f"a figure above its answer has a title that is seen before (use {{name}}.title): {title}"
        told = [wanted for wanted in words if wanted <= _words(_prose(one))]
        if told:
            yield f"{', '.join(sorted(told[0]))} stands before its answer: {one.source[:60]!r}"


def given_away_faults(notebook: NotebookNode, lesson: str) -> list[str]:
    """Within sight below an open question, no claim is about its answer, and no text has the answer's words.

    A claim is about the answer if it or its cell reads a variable that the answer depends on, folded or not,
    since its output stays visible. Texts above the reveal are checked by `spoiler_faults`; below it, a single
    word does not count as the answer.
    """
    faults = []
    for name, question, begin, end in _predictions(notebook):
        measured = _measured(notebook, begin, end) - {name}
        words, above = _words_of_the_answer(question, notebook.cells[end]), 0
        for index, cell in enumerate(notebook.cells[begin + 1 :], begin + 1):
            if above >= SIGHT:
                break
            where = f"{above} visible lines below the question"
            if cell.cell_type == "code" and any(read & measured for read in _read_by_claims(cell)):
                faults.append(f"{name}: a claim on what it asks for stands {where}")
            if index > end and not is_folded(cell):
                seen = _words(_prose(cell, SIGHT - above))
                told = [sorted(wanted) for wanted in words if len(wanted) > 1 and wanted <= seen]
                faults += [f"{name}: {', '.join(each)} stands {where}" for each in told]
            above += visible_lines(cell)
    return faults


def _measured(notebook: NotebookNode, begin: int, end: int) -> set[str]:
    """Variables that an answer depends on: bound between question and reveal, or read by the reveal."""
    functions = set().union(*(_functions(cell) for cell in code_cells(notebook)))
    between = [cell for cell in notebook.cells[begin + 1 : end] if cell.cell_type == "code"]
    bound, read = global_names(notebook.cells[end].source)
    return bound.union(read, *(global_names(cell.source)[0] for cell in between)) - functions - NOT_MEASURED


def _functions(cell: NotebookNode) -> set[str]:
    """The names a cell imports, and the functions and classes it defines."""
    body = ast.parse(cell.source).body
    return _imported(cell) | {node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def _imported(cell: NotebookNode) -> set[str]:
    names = [name for statement in imports_of(cell.source) for name in statement.names]
    return {(name.asname or name.name).partition(".")[0] for name in names}


def _read_by_claims(cell: NotebookNode) -> Iterator[set[str]]:
    """The variables each claim of a cell reads, directly or through variables bound in the cell."""
    for call in claim_calls(cell.source):
        _, read = global_names(ast.unparse(call))
        for statement in reversed(ast.parse(cell.source).body):
            bound, needed = global_names(ast.unparse(statement))
            if statement.lineno < call.lineno and bound & read:
                read |= needed
        yield read


def _plot_title(cell: NotebookNode) -> str:
    """A cell's first figure title in plain text that has at least four words."""
    titles = (
        text for function, text in plain_titles(cell) if function not in ("plots.caption", "show_table")
    )
    return next((text for text in titles if len(text.split()) >= 4), "")


def _words_of_the_answer(question: str, cell: NotebookNode) -> list[set[str]]:
    """Word sets of the option and of its sentence; a text with all words of one set tells the answer."""
    records = [output.get("metadata", {}).get("course", {}).get("prediction") for output in cell.outputs]
    for record in filter(None, records):
        if record["question"] == question:
            others = [
                _words(f"{key} {why}") for key, why in record["reasons"].items() if key != record["answer"]
            ]
            common = set().union(_words(question), *others)
            option = _words(str(record["answer"])) - common
            sentence = _words(record["reasons"].get(record["answer"], "")) - common
            return [words for words in (option, sentence) if words]
    return []


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+|\d[\d.,]*\d|\d", text.lower())) - STOP_WORDS


def _prose(cell: NotebookNode, lines: int | None = None) -> str:
    """A cell's prose: a text cell's source (its first lines), a code cell's texts and comments."""
    if cell.cell_type != "code":
        return "\n".join(cell.source.splitlines()[:lines])
    texts = [node.value for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Constant)]
    tokens = tokenize.generate_tokens(io.StringIO(cell.source).readline)
    comments = [token.string for token in tokens if token.type == tokenize.COMMENT]
    return " ".join([*(text for text in texts if isinstance(text, str)), *comments])


def heading_faults(notebook: NotebookNode, lesson: str) -> list[str]:
    """Every exercise has its own heading directly above it, with number, minutes and difficulty."""
    faults = []
    for pattern, name, above in _exercise_cells(notebook, lesson):
        wanted = pattern("TITLE")
        lines = above.source.splitlines() if above.cell_type == "markdown" else []
        right = re.escape(wanted).replace("TITLE", r"\S.*")
        if not any(re.fullmatch(rf"#{{2,4}} {right}", line) for line in lines):
            faults.append(f"{name} has no heading above it: ### {wanted}")
    return faults


def _exercise_cells(
    notebook: NotebookNode, lesson: str
) -> Iterator[tuple[Callable[[str], str], str, NotebookNode]]:
    """(heading by title, name, cell above) of each exercise of a lesson."""
    every = exercises_of(lesson)
    cells = [index for index, cell in enumerate(notebook.cells) if "exercise" in tags(cell)]
    for number, index in enumerate(cells, 1):
        name = re.search(r"check\.(\w+)\(", notebook.cells[index].source)[1]
        yield (
            lambda title, number=number, name=name: heading(every[name], number, len(cells), title),
            name,
            notebook.cells[index - 1],
        )


def heading(exercise: Exercise, number: int, count: int, title: str) -> str:
    """An exercise's heading, without the # signs."""
    return (
        f"Exercise {number} of {count}: {title}, {exercise.minutes} min, "
        f"difficulty {exercise.difficulty} of 3"
    )


def handle_faults(notebook: NotebookNode, lesson: str) -> list[str]:
    """A folded cell begins with a comment that says what it contains."""
    cells = [cell for cell in code_cells(notebook) if is_folded(cell)]
    return [
        f"a folded cell has no comment in its first line: {cell.source[:60]!r}"
        for cell in cells
        if not handle(cell)
    ]


def folded_name_faults(notebook: NotebookNode, lesson: str) -> list[str]:
    """Names defined in folded cells are used in visible cells only if a text has mentioned them.

    The folded cell's first line or any text above may do so. Imported names need no mention.
    """
    faults, folded, said = [], {}, ""
    for cell in notebook.cells:
        if cell.cell_type == "code" and is_folded(cell):
            defined = global_names(cell.source)[0] - _imported(cell)
            folded |= dict.fromkeys(defined, cell.source.partition("\n")[0])
            said += f" {handle(cell)} "
            continue
        if cell.cell_type == "code":
            bound, read = global_names(cell.source)
            named = read - bound
        else:
            bound, named = set(), set(re.findall(r"`(\w+)[`(\[.]", cell.source))
        for name in sorted(named & folded.keys()):
            if not re.search(rf"\b{name}\b", said):
                faults.append(
                    f"{name} is named in sight, and folded under {folded.pop(name)!r} without a word on it"
                )
        folded = {name: where for name, where in folded.items() if name not in bound}
        if cell.cell_type == "markdown":
            said += cell.source
    return faults


RULES: dict[str, Callable[[NotebookNode, str], list[str]]] = {
    "verb": verb_faults,
    "unit": unit_faults,
    "false": false_faults,
    "registry": registry_faults,
    "number of claims": number_of_claims_faults,
    "headline": headline_faults,
    "margin": margin_faults,
    "number of predictions": number_of_predictions_faults,
    "options": option_faults,
    "sentence for each option": sentence_faults,
    "spoilers": spoiler_faults,
    "headings": heading_faults,
    "handles": handle_faults,
    "folded names": folded_name_faults,
    "measures": measure_faults,
    "given away": given_away_faults,
}
OF_LESSONS = {"number of claims", "headline", "number of predictions", "measures"}  # not for companions


def rules_of(lesson: str) -> dict[str, Callable[[NotebookNode, str], list[str]]]:
    """The rules for the lesson or companion of that key."""
    exempt = OF_LESSONS if is_companion(lesson) else set()
    return {rule: faults_of for rule, faults_of in RULES.items() if rule not in exempt}


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(
        prog="python -m course_utils.making.lints",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("lesson", nargs="*", help="01, or 01_why_fine_tuning_works; default: all")
    parser.add_argument("--measures", action="store_true", help="only print their lengths")
    options = parser.parse_args(arguments)
    if options.measures:
        measured = {lesson_key(path): path for path in lessons(options.lesson)}
        print(as_lines({key: measures(read_notebook(path), key) for key, path in measured.items()}))
        return 0
    found = 0
    for path in lessons(options.lesson, more=True):
        key, notebook = lesson_key(path), read_notebook(path)
        for rule, faults_of in rules_of(key).items():
            faults = faults_of(notebook, key)
            found += len(faults)
            print("".join(f"{key} {rule}: {fault}\n" for fault in faults), end="")
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
