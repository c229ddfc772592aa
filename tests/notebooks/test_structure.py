"""Every saved lesson keeps the rules, and each rule detects a notebook that breaks it."""

from functools import partial

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from course_utils.making import notebooks
from course_utils.making.notebooks import (
    from_scratch_faults,
    import_faults,
    normal_form,
    optional_faults,
    picture_faults,
    proof_faults,
    saved_faults,
    structure_faults,
)
from course_utils.notebook_files import (
    MORE,
    is_companion,
    lesson_key,
    lesson_of,
    lessons,
    read_notebook,
    tags,
)

LESSONS = lessons(more=True)
each_lesson = pytest.mark.parametrize("path", LESSONS, ids=[path.stem for path in LESSONS])


@each_lesson
def test_structure(path):
    assert structure_faults(read_notebook(path), lesson_key(path)) == []


@each_lesson
def test_saved_outputs(path):
    assert saved_faults(read_notebook(path)) == []


@each_lesson
def test_imports_stand_in_one_cell(path):
    assert import_faults(read_notebook(path)) == []


@each_lesson
def test_optional_sections_can_be_skipped(path):
    assert optional_faults(read_notebook(path)) == []


@each_lesson
def test_pictures_have_words(path):
    assert picture_faults(read_notebook(path)) == []


@each_lesson
def test_from_scratch_cells_equal_the_package(path):
    assert from_scratch_faults(read_notebook(path)) == []


@each_lesson
def test_saved_as_normalised(path):
    assert nbformat.writes(normal_form(read_notebook(path))) + "\n" == path.read_text(encoding="utf-8")


COMPANIONS = [path for path in LESSONS if is_companion(lesson_key(path))]


@pytest.mark.parametrize("path", COMPANIONS, ids=[path.stem for path in COMPANIONS])
def test_a_lesson_leads_to_its_companion(path):
    [lesson] = lessons([lesson_of(lesson_key(path))])
    text = "\n".join(cell.source for cell in read_notebook(lesson).cells if cell.cell_type == "markdown")
    assert f"]({MORE}/{path.name}#" in text


@pytest.mark.parametrize("lesson", map(lesson_key, lessons()))
def test_a_lesson_or_its_companion_has_a_control(lesson):
    cells = [cell for path in lessons([lesson], more=True) for cell in read_notebook(path).cells]
    assert any("widget" in tags(cell) for cell in cells)


@pytest.mark.timing
@pytest.mark.parametrize("path", COMPANIONS, ids=[path.stem for path in COMPANIONS])
def test_the_proof_of_a_companion_takes_ten_seconds_at_most(path):
    notebook = read_notebook(path)
    with notebooks.conditions():
        notebooks.execute(notebook)
    assert proof_faults(notebook) == []


SKIPPED = """# Lesson
x = 1
## Optional: more
def double(value): return 2 * value
### Part of it
y = [double(n) for n in range(x)]
## Back
z = {y: x for y in "ab"}
def later(): return double(x)
"""


def test_a_name_of_an_optional_section_is_found_in_a_core_cell():
    cells = [
        (new_markdown_cell if line.startswith("#") else new_code_cell)(line) for line in SKIPPED.splitlines()
    ]
    (fault,) = optional_faults(new_notebook(cells=cells))
    assert "def later" in fault and "uses double, which only 'Optional: more' defines" in fault
    assert optional_faults(new_notebook(cells=cells[:-1])) == []


VIEW = notebooks.WIDGET_MIMES[0]
PARAMETERS = "\n".join(f'{name} = os.environ["COURSE_{name}"]' for name in ("MODEL", "SCALE", "SEED"))


def good():
    """The smallest notebook that keeps every rule."""

    def code(source, *tags, outputs=()):
        return new_code_cell(source, metadata={"tags": list(tags)} if tags else {}, outputs=list(outputs))

    exercises = [code("def fn(x):\n    ...\nfn = check.fn(fn)", "exercise") for _ in range(3)]
    cells = [
        code(PARAMETERS, "parameters"),
        code("start(MODEL, SCALE, SEED)", "nbval-ignore-output"),
        *exercises,
        code("claim.x(1)"),
        code('p = predict("?", ["a", "b"])'),
        code("control(f)", "widget", "nbval-ignore-output"),
    ]
    for count, cell in enumerate(cells, 1):
        cell.execution_count = count
    return normal_form(new_notebook(cells=[new_markdown_cell("# 03 Title"), *cells]))


def good_companion():
    """The smallest companion that keeps every rule."""
    notebook = good()
    first, second, exercise, *_, claim, _, widget = notebooks.code_cells(notebook)
    for live in (exercise, widget):
        live.metadata.tags = [*live.metadata.get("tags", []), notebooks.NOT_COMPARED]
    title = new_markdown_cell("# 03m Title\n\nOf [this](../03_lora_from_scratch.ipynb#Merging).")
    proof, further = (
        new_markdown_cell("## Is it so?"),
        new_markdown_cell("Words.\n\n## Further\n\n### A part"),
    )
    notebook.cells = [title, first, second, proof, claim, further, exercise, widget]
    for count, cell in enumerate(notebooks.code_cells(notebook), 1):
        cell.execution_count = count
    return normal_form(notebook)


def faults(notebook, key="03"):
    rules = (
        partial(structure_faults, key=key),
        saved_faults,
        from_scratch_faults,
        import_faults,
        picture_faults,
    )
    return [fault for rule in rules for fault in rule(notebook)]


def test_the_smallest_good_notebook_has_no_faults():
    assert faults(good()) == []


def test_a_folded_cell_of_imports_and_a_picture_with_words_are_no_faults():
    notebook = good()
    _imports(notebook, "# What is imported\n")
    _shows(
        notebook, new_output("display_data", {"text/html": '<img width="3" alt="A loss falls" src="data:,">'})
    )
    assert faults(notebook) == []


def _code(notebook, index):
    return notebooks.code_cells(notebook)[index]


def _shows(notebook, output):
    _code(notebook, 4).outputs = [output]


def untitled(nb):
    nb.cells[0].source = "no title"


def no_parameters(nb):
    _code(nb, 0).metadata.tags = []


def parameters_late(nb):
    _code(nb, 6).metadata.tags = ["parameters"]


def no_environment(nb):
    _code(nb, 0).source = "MODEL = 1"


def no_start(nb):
    _code(nb, 1).source = "session = None"


def long_cell(nb):
    _code(nb, 5).source += "\n" * 30 + "x"


def long_cell_that_also_imports(nb):
    _code(nb, 5).source = "import math\nimport re\n" + _code(nb, 5).source + "\n" * 28 + "x"


def semicolon(nb):
    _code(nb, 5).source += "\nplt.plot(x);"


def unchecked_exercise(nb):
    _code(nb, 2).source = "def fn(): ..."


def two_exercises(nb):
    _code(nb, 2).metadata.tags = []


def no_claim(nb):
    _code(nb, 5).source = "x"


def no_prediction(nb):
    _code(nb, 6).source = "x"


def not_executed(nb):
    _code(nb, 4).execution_count = None


def out_of_order(nb):
    _code(nb, 4).execution_count = 1


def no_kernelspec(nb):
    del nb.metadata["kernelspec"]


def widget_state(nb):
    nb.metadata["widgets"] = {}


def times(nb):
    _code(nb, 4).metadata["execution"] = {"iopub.status.busy": "2026"}


def error(nb):
    _shows(nb, new_output("error", ename="ValueError", evalue="no", traceback=[]))


def stderr(nb):
    _shows(nb, new_output("stream", name="stderr", text="warning"))


def large(nb):
    _shows(nb, new_output("stream", text="x" * 620_001))


def mostly_ignored(nb):
    for index in (2, 3, 4):
        _code(nb, index).metadata.tags = ["exercise", "nbval-ignore-output"]


def widget_view(nb):
    _shows(nb, new_output("display_data", {VIEW: {"model_id": "1"}}))


def scattered_imports(nb):
    for index in (4, 5):
        _code(nb, index).source = f"import json\n{_code(nb, index).source}"


def _imports(nb, source, folded=True):
    _code(nb, 5).source = source + "\n".join(f"import m{number}" for number in range(9))
    _code(nb, 5).metadata["jupyter"] = {"source_hidden": folded}
    _code(nb, 6).source += "\nclaim.x(1)"


def open_imports(nb):
    _imports(nb, "# What is imported\n", folded=False)


def uncommented_imports(nb):
    _imports(nb, "")


def code_among_folded_imports(nb):
    _imports(nb, "# What is imported\nx = 1\n")


def picture_without_words(nb):
    _shows(nb, new_output("display_data", {"text/html": '<figure><img alt="" src="data:,"></figure>'}))


def bare_picture(nb):
    _shows(nb, new_output("display_data", {"image/png": "", "text/plain": "<Figure>"}))


def defines_nothing(nb):
    _code(nb, 6).metadata.tags = ["from-scratch"]


def unknown_definition(nb):
    _code(nb, 6).metadata.tags = ["from-scratch"]
    _code(nb, 6).source += "\ndef nothing_of_the_package(): return 1"


@pytest.mark.parametrize(
    "spoil, message",
    [
        (untitled, "not a title"),
        (no_parameters, "must have the tag"),
        (parameters_late, "must have the tag"),
        (no_environment, "no defaults"),
        (no_start, "does not call start"),
        (long_cell, "31 lines"),
        (long_cell_that_also_imports, "31 lines"),
        (semicolon, "semicolon"),
        (unchecked_exercise, "without fn = check.NAME"),
        (two_exercises, "2 exercises"),
        (no_claim, "0 claims"),
        (no_prediction, "0 predictions"),
        (not_executed, "not all executed"),
        (out_of_order, "not all executed"),
        (no_kernelspec, "no kernelspec"),
        (widget_state, "widget state"),
        (times, "has times"),
        (error, "shows an error"),
        (stderr, "stderr"),
        (large, "more than 620 kB"),
        (mostly_ignored, "3 of 8"),
        (widget_view, "widget view"),
        (unknown_definition, "not in the package"),
        (defines_nothing, "defines nothing"),
        (scattered_imports, "in 2 cells"),
        (open_imports, "more than 8 lines"),
        (uncommented_imports, "more than 8 lines"),
        (code_among_folded_imports, "more than 8 lines"),
        (picture_without_words, "without words"),
        (bare_picture, "image/png"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_each_rule_is_enforced(spoil, message):
    notebook = good()
    spoil(notebook)
    found = faults(notebook)
    assert len(found) == 1 and message in found[0], found


def test_the_smallest_good_companion_has_no_faults():
    assert faults(good_companion(), "03m") == []
    notebook = good_companion()
    notebook.cells = [cell for cell in notebook.cells if "Is it so" not in cell.source]
    assert faults(notebook, "03m") == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("# 03m Title", "# 03 Title", "not a title (# 03m ...)"),
        ("## Is it so?", "## Is it?", "headings of the second level are Is it?, Further"),
        ("### A part", "## A part", "headings of the second level are Is it so?, Further, A part"),
        ("../03_lora_from_scratch.ipynb", "../04_how.ipynb", "no link leads back to lesson 03"),
        ("claim.x(", "train_dpo(model)\nclaim.x(", "calls train_dpo: 'Is it so?' reads stored runs"),
        ("claim.x(", "session.load_model()\nclaim.x(", "calls load_model: 'Is it so?' reads stored runs"),
        (
            "claim.x(",
            "from course_utils.lessons.lesson_03 import claim, figures\nclaim.x(",
            "import them from lessons.lesson_03.more",
        ),
    ],
)
def test_each_rule_of_a_companion_is_enforced(old, new, message):
    notebook = good_companion()
    for cell in notebook.cells:
        cell.source = cell.source.replace(old, new)
    (found,) = faults(notebook, "03m")
    assert message in found


def test_the_parts_of_a_companion_are_compared_and_not():
    notebook = good_companion()
    _code(notebook, 2).metadata.tags, _code(notebook, 3).metadata.tags = (
        [notebooks.NOT_COMPARED],
        ["exercise"],
    )
    proof, further = faults(notebook, "03m")
    assert "code cell 2 (claim." in proof and "is compared whole; take the tag" in proof
    assert "code cell 3 (def fn(x):): a live cell" in further


def test_a_proof_that_takes_long_is_named():
    def taking(seconds):
        notebook = good_companion()
        times = ("10:00:00.5Z", f"10:00:{seconds}.5Z")
        for cell in notebooks.code_cells(notebook):
            names = ("iopub.execute_input", "shell.execute_reply")
            cell.metadata["execution"] = {
                n: f"2026-01-01T{time}" for n, time in zip(names, times, strict=True)
            }
        return notebook

    assert proof_faults(taking(10)) == []
    (fault,) = proof_faults(taking(12))
    assert fault == "'Is it so?' took 12 s, more than 10: read stored runs, or store one"


def test_from_scratch_sees_a_changed_constant_and_not_a_comment(monkeypatch):
    source = "def smooth(values, share=0.05):\n    return share * len(values)"
    monkeypatch.setattr(
        notebooks,
        "_package_definitions",
        lambda: {"smooth": {"course_utils.x": notebooks._definitions(source)["smooth"]}},
    )
    notebook = good()
    cell = _code(notebook, 6)
    cell.metadata.tags = ["from-scratch"]
    cell.source = (
        'p = predict("?", ["a"])\n'
        'def smooth(values, share=0.05):\n    """Words."""\n    # why\n'
        "    return (share\n            * len(values))"
    )
    assert faults(notebook) == []
    cell.source = cell.source.replace("0.05", "0.06")
    assert "-def smooth(values, share=0.05)" in faults(notebook)[0]


def test_normalising_twice_changes_nothing_and_drops_what_differs_between_runs():
    notebook = good()
    cell = _code(notebook, 4)
    cell.metadata["execution"] = {"iopub.status.busy": "2026"}
    cell.outputs = [
        new_output("stream", name="stdout", text="1%\r"),
        new_output("stream", name="stdout", text="2%\n"),
        new_output("display_data", {VIEW: {"model_id": "1"}, "text/plain": "text"}),
    ]
    notebook.metadata["widgets"] = {"state": {}}
    normal_form(notebook)
    contents = [output.get("text", output.get("data")) for output in cell.outputs]
    assert contents == ["2%\n", {"text/plain": "text"}]
    assert faults(notebook) == []
    once = nbformat.writes(notebook)
    assert nbformat.writes(normal_form(notebook)) == once
