"""The rules for claims, predictions and exercises of a lesson; each detects a notebook that breaks it."""

import json
from dataclasses import replace

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from course_utils.checks import claim, claims
from course_utils.checks.claims import Claim
from course_utils.making import lints
from course_utils.making.claims import claims_in, past_the_bound
from course_utils.making.claims import main as print_claims
from course_utils.making.lints import is_sentence, rules_of
from course_utils.making.notebooks import normal_form
from course_utils.notebook_files import lesson_key, lessons, read_notebook

LESSONS = lessons(more=True)


@pytest.mark.parametrize("path", LESSONS, ids=[path.stem for path in LESSONS])
def test_lesson(path):
    assert found(read_notebook(path), lesson_key(path)) == {}


def code(source, *, folded=False, exercise=False, outputs=()):
    cell = new_code_cell(source, outputs=list(outputs))
    if folded:
        cell.metadata["jupyter"] = {"source_hidden": True}
    if exercise:
        cell.metadata["tags"] = ["exercise"]
    return cell


def shown(kind, value):
    return new_output("display_data", {"text/plain": ""}, metadata={"course": {kind: value}})


REASONS = {"red": "Blood is.", "green": "Grass would be.", "blue": "Short waves scatter more."}
ANSWER = shown("prediction", {"question": "Which colour?", "answer": "blue", "reasons": REASONS})
HEADINGS = [
    "### Exercise 1 of 2: what the script did, 7 min, difficulty 2 of 3",
    "### Exercise 2 of 2: merge, 8 min, difficulty 3 of 3",
]


@pytest.fixture
def record(monkeypatch):
    """Make the record of a claim as stored in a notebook."""
    published = []
    monkeypatch.setattr(claims, "shell", lambda: None)
    monkeypatch.setattr(claims, "publish_note", lambda text, html, metadata: published.append(metadata))

    def make(**options):
        given = {"at_most": 2.0, "seeds": [1.0, 1.1, 0.9], "excludes": {"transposed": 3.0}, "stored": True}
        claim("The loss falls", 1.0, **{**given, **options})
        return published[-1]["course"]["claims"][0]

    return make


@pytest.fixture
def registered(monkeypatch):
    """The claims of the made-up lesson, by name; a test may change them."""
    listed = [
        Claim("gain_kept", "LoRA keeps the gain", at_least=0.5, unit="%", headline=True),
        Claim("loss_falls", "The loss falls by seeds", at_most=2, unit="nats", stored=True),
    ]
    by_name = {claim.name: claim for claim in listed}
    monkeypatch.setattr("course_utils.making.lints.claims_of", lambda lesson: by_name)
    for rule in ("measures", "given away"):  # the made-up lesson is too short
        monkeypatch.delitem(lints.RULES, rule)
    return by_name


def notebook_of(*cells):
    return normal_form(new_notebook(cells=list(cells)))


ASKED = 'guess = predict("Which colour?", ["red", "green", "blue"])'
REVEALED = "# The answer\nguess.reveal(colour, because=REASONS)"


def good(record):
    """The smallest notebook that keeps every rule, of lesson 03, with the minutes of its exercises."""
    return notebook_of(
        code("claim.gain_kept(0.9)"),
        code("claim.loss_falls(1, seeds=seeds, excludes=3)", outputs=[shown("claims", [record()])]),
        code(ASKED),
        new_markdown_cell("We look at the sky."),
        code("# the wave lengths\nplots.bars(x, guess.title)\nlong = 12"),
        code(REVEALED, folded=True, outputs=[ANSWER]),
        code('predict("How many?", ["one", "two", "three"])'),
        new_markdown_cell(f"{HEADINGS[0]}\nText."),
        code("merge_fault = check.merge_fault(merge_fault)", exercise=True),
        new_markdown_cell(HEADINGS[1]),
        code("merge_lora = check.merge_lora(merge_lora)", exercise=True),
    )


def found(notebook, lesson="03"):
    return {
        rule: faults
        for rule, faults_of in rules_of(lesson).items()
        if (faults := faults_of(notebook, lesson))
    }


def test_the_smallest_good_notebook_has_no_faults(record, registered):
    assert found(good(record)) == {}


def test_a_companion_is_exempt_from_the_measures_of_a_lesson_and_from_no_other_rule(record, registered):
    notebook = good(record)
    registered["gain_kept"] = replace(registered["gain_kept"], headline=False)
    many_claims_in_a_loop(notebook, record)
    many_predictions(notebook, record)
    notebook.cells = notebook.cells[:-4]  # its exercises are the lesson's
    assert found(notebook, "03m") == {}
    registered["gain_kept"] = replace(registered["gain_kept"], text="the gain that is kept")
    assert list(found(notebook, "03m")) == ["verb"]


def replaced(old, new):
    """A function that spoils a notebook: it replaces `old` in every cell's source."""

    def spoil(notebook, record):
        cells = [cell for cell in notebook.cells if old in cell.source]
        assert cells, old
        for cell in cells:
            cell.source = cell.source.replace(old, new)

    return spoil


def many_claims_in_a_loop(notebook, record):
    notebook.cells[1].outputs[0].metadata["course"]["claims"] *= 13


def many_predictions(notebook, record):
    notebook.cells[6].source += "\n" + "\n".join(ASKED.replace("guess", f"guess_{n}") for n in range(2))


def records(**options):
    def spoil(notebook, record):
        notebook.cells[1].outputs = [shown("claims", [record(**options)])]

    return spoil


def saved(**changes):
    """The output of claim.loss_falls as it is listed, but for the changes."""

    def spoil(notebook, record):
        listed = {"name": "loss_falls", "text": "The loss falls by seeds"}
        notebook.cells[1].outputs = [shown("claims", [record() | listed | changes])]

    return spoil


def unfolded(notebook, record):
    notebook.cells[5].metadata.pop("jupyter")


def numbered_wrongly(notebook, record):
    notebook.cells[7].source = HEADINGS[0].replace("1 of 2", "1 of 3")


def too_far_above(notebook, record):
    notebook.cells.insert(8, new_markdown_cell("More text."))


@pytest.mark.parametrize(
    "spoil, rule, message",
    [
        (many_claims_in_a_loop, "number of claims", "13 claims, more than 12"),
        (replaced("claim.gain_kept(0.9)", "pass"), "registry", "claim.gain_kept is made 0 times"),
        (replaced("(0.9)", "(0.9)\nclaim.gain_kept(1)"), "registry", "claim.gain_kept is made 2 times"),
        (replaced("(0.9)", "(0.9)\nclaim.gains(1)"), "registry", "claim.gains is not in its claims.py"),
        (replaced("(0.9)", "(0.9)\nclaim('It falls', 1)"), "registry", "made without a name"),
        (saved(), None, ""),
        (saved(text="The loss rises"), "registry", "loss_falls is saved with another text or bound"),
        (saved(at_most=2.5), "registry", "loss_falls is saved with another text or bound"),
        (records(seeds=[1.0, 1.1]), "margin", "needs three of them"),
        (records(excludes="transposed"), "margin", "needs three of them"),
        (records(seeds=[1.1, 1.5, 0.7]), "margin", "less than 3 deviations from the seeds' mean 1.1 ± 1.2"),
        (records(seeds=[1.0, 1.4, 0.6]), None, ""),
        (records(excludes={"transposed": 3.0, "no scale": 1.9}), "margin", "lets no scale (1.9) pass"),
        (records(at_most=None, at_least=0.0, excludes={"a": -1.0}), None, ""),
        (records(at_most=None, at_least=0.0), "margin", "lets transposed (3) pass"),
        (records(at_most=None, at_least=0.9), "margin", "less than 3 deviations"),
        (records(at_most=None, equals=1.0, tolerance=0.5), None, ""),
        (records(at_most=None, equals=1.0, tolerance=0.1), "margin", "less than 3 deviations"),
        (records(at_most=None, equals=1.0, tolerance=2.0), "margin", "lets transposed (3) pass"),
        (records(stored=False, seeds=[], excludes=""), None, ""),
        (many_predictions, "number of predictions", "4 predictions, more than 3"),
        (replaced('["red", "green", "blue"]', '["red", "blue"]'), "options", "2 options"),
        (replaced("because=REASONS", 'because="It is."'), "sentence for each option", "guess.reveal has no"),
        (replaced(", because=REASONS", ""), "sentence for each option", "guess.reveal has no"),
        (unfolded, "spoilers", "guess: the cell of its reveal is not folded"),
        (
            replaced("guess.title", '"The short waves scatter more"'),
            "spoilers",
            "has a title that is seen before",
        ),
        (replaced("guess.title", '"Scattering"'), None, ""),
        (
            replaced("the wave lengths", "all of it is blue"),
            "spoilers",
            "guess: blue stands before its answer",
        ),
        (
            replaced("We look at the sky.", "Short waves may scatter more."),
            "spoilers",
            "scatter, short, waves stands",
        ),
        (replaced("We look at the sky.", "Waves of short length."), None, ""),
        (
            replaced("what the script did, 7", "what the script did, 8"),
            "headings",
            "merge_fault has no heading",
        ),
        (replaced("difficulty 3", "difficulty 2"), "headings", "merge_lora has no heading"),
        (replaced("### Exercise 2", "**Exercise 2**"), "headings", "merge_lora has no heading"),
        (numbered_wrongly, "headings", "above it: ### Exercise 1 of 2: TITLE, 7 min, difficulty 2 of 3"),
        (too_far_above, "headings", "merge_fault has no heading"),
    ],
    ids=lambda value: getattr(value, "__name__", "").replace("spoil", "") or str(value)[:30],
)
def test_each_rule_is_enforced(spoil, rule, message, record, registered):
    notebook = good(record)
    spoil(notebook, record)
    faults = found(notebook)
    assert list(faults) == ([rule] if rule else []), faults
    assert not rule or message in faults[rule][0]


@pytest.mark.parametrize(
    "name, changes, rule, message",
    [
        ("gain_kept", {"text": "share of the gain that is kept"}, "verb", "claim.gain_kept has no verb"),
        ("loss_falls", {"unit": ""}, "unit", "claim.loss_falls has no unit"),
        ("gain_kept", {"text": "LoRA keeps its share"}, None, ""),
        ("loss_falls", {"text": "The loss keeps its share"}, "unit", 'its unit is not "%"'),
        ("loss_falls", {"at_most": None, "equals": False}, "false", "claim.loss_falls equals False"),
        ("gain_kept", {"headline": False}, "headline", "0 claims are marked"),
        ("loss_falls", {"headline": True}, "headline", "2 claims are marked"),
    ],
)
def test_each_rule_for_listed_claims_is_enforced(name, changes, rule, message, record, registered):
    registered[name] = replace(registered[name], **changes)
    faults = found(good(record))
    assert list(faults) == ([rule] if rule else []), faults
    assert not rule or message in faults[rule][0]


def test_at_most_twelve_claims_are_listed(record, registered):
    more = {f"claim_{n}": replace(registered["loss_falls"], name=f"claim_{n}") for n in range(11)}
    registered.update(more)
    notebook = good(record)
    notebook.cells[0].source += "".join(f"\nclaim.{name}(1)" for name in more)
    assert found(notebook) == {"number of claims": ["13 claims, more than 12"]}


@pytest.mark.parametrize(
    "text, expected",
    [
        ("LoRA keeps the gain", True),
        ("Both agree", True),
        ("The change that is merged transposed loses what was learnt", True),
        ("share of the gain that is kept", False),
        ("failures to find", False),
        ("largest difference of the logits", False),
    ],
)
def test_a_sentence_has_a_verb_outside_its_clauses(text, expected):
    assert is_sentence(text) == expected


def test_texts_of_claims_are_printed_with_values_past_their_bounds(capsys, monkeypatch, tmp_path):
    listed = [
        Claim("kept", "It keeps all", at_least=0.5, at_most=0.9, unit="%"),
        Claim("zero", "It is zero", at_most=0),
        Claim("letter", "It is b", equals="b"),
    ]
    monkeypatch.setattr(
        "course_utils.making.claims.claims_of", lambda lesson: {claim.name: claim for claim in listed}
    )
    cells = [new_markdown_cell("# Claims"), code("claim.zero(x)\nclaim.letter(y)"), code("claim.kept(z)")]
    (tmp_path / "42_test.ipynb").write_text(json.dumps(new_notebook(cells=cells)))
    monkeypatch.setattr("course_utils.notebook_files.NOTEBOOKS", tmp_path)
    assert print_claims(["42"]) == 0
    assert [line.strip() for line in capsys.readouterr().out.splitlines()] == [
        "42_test",
        "zero  It is zero: 0.1",
        "letter  It is b: anything but b",
        "kept  It keeps all: 99% or 45%",
    ]


def test_every_claim_of_the_lessons_can_be_moved_past_a_bound():
    made = [each for path in LESSONS for each in claims_in(read_notebook(path), lesson_key(path))]
    assert len(made) > 150 and all(map(past_the_bound, made))
