"""Predictions that are given away, and folded cells."""

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from course_utils.making.lints import folded_name_faults, given_away_faults, handle_faults


def folded(source, outputs=()):
    return new_code_cell(source, metadata={"jupyter": {"source_hidden": True}}, outputs=list(outputs))


REASONS = {"red": "Blood is.", "blue": "Short waves scatter more."}
RECORD = {"question": "Which colour?", "answer": "blue", "reasons": REASONS}
ANSWER = new_output("display_data", metadata={"course": {"prediction": RECORD}})
ASKED = new_code_cell('guess = predict("Which colour?", ["red", "blue"])')
MEASURED = new_code_cell("waves = measure(sky)\nshare = waves / all_waves")
REVEALED = folded("# The answer\nguess.reveal(colour_of(share), because=REASONS)", [ANSWER])
ON_IT = new_code_cell("claim.blue_wins(share)")
BELOW = new_markdown_cell("line\n" * 28)


def asked_with(*cells):
    sky = new_code_cell("from course_utils import measure\nsky, session = 1, 2\ndef colour_of(x): ...")
    return new_notebook(cells=[sky, ASKED, *cells])


@pytest.mark.parametrize(
    "cells, fault",
    [
        ([MEASURED, REVEALED], ""),
        ([MEASURED, REVEALED, ON_IT], "a claim on what it asks for stands 2 visible lines below"),
        ([MEASURED, ON_IT, REVEALED], "a claim on what it asks for stands 2 visible lines below"),
        ([MEASURED, REVEALED, folded("# c\nclaim.blue(waves)")], "a claim on what it asks for"),
        ([MEASURED, REVEALED, new_code_cell("two = 2 * share\nclaim.blue(two)")], "a claim on what it asks"),
        ([MEASURED, REVEALED, new_code_cell("claim.blue(1, seeds=[share])")], "a claim on what it asks"),
        ([MEASURED, REVEALED, new_code_cell("claim.other(sky, session)")], ""),
        ([MEASURED, REVEALED, new_code_cell("print(share)")], ""),
        ([MEASURED, REVEALED, BELOW, ON_IT], ""),
        (
            [MEASURED, REVEALED, new_markdown_cell("Short waves scatter more, as we saw.")],
            "scatter, short, wav",
        ),
        ([MEASURED, REVEALED, new_markdown_cell("It is blue.")], ""),
        ([MEASURED, REVEALED, BELOW, new_markdown_cell("Short waves scatter more.")], ""),
    ],
)
def test_a_prediction_that_is_given_away_is_found(cells, fault):
    faults = given_away_faults(asked_with(*cells), "01")
    assert len(faults) == bool(fault) and fault in "".join(faults)


def test_lines_are_counted_to_the_cell_of_a_claim():
    late = new_code_cell("x = 1\n" * 3 + "claim.blue_wins(share)")
    above = new_markdown_cell("line\n" * 27)
    assert given_away_faults(asked_with(MEASURED, REVEALED, above, late), "01") == [
        "guess: a claim on what it asks for stands 29 visible lines below the question"
    ]


HELPERS = folded("# Helpers\nimport math\ndef spread(x): ...\nrates = [1, 2]")


@pytest.mark.parametrize(
    "cells, names",
    [
        ([HELPERS, new_code_cell("spread([1])\nmath.pi")], ["spread"]),
        ([HELPERS, new_code_cell("rates[0], spread(rates)")], ["rates", "spread"]),
        ([HELPERS, new_markdown_cell("See `spread(x)` above.")], ["spread"]),
        ([HELPERS, new_markdown_cell("Rates spread.")], []),
        (
            [HELPERS, new_markdown_cell("`spread` is mean and range."), new_code_cell("x = spread")],
            ["spread"],
        ),
        ([new_markdown_cell("`spread` gives the range."), HELPERS, new_code_cell("x = spread")], []),
        ([HELPERS, new_markdown_cell("The function spread gives."), new_code_cell("x = spread")], []),
        ([folded("# spread: mean and range\ndef spread(x): ..."), new_code_cell("spread(1)")], []),
        ([HELPERS, folded("# t\nspread(1)")], []),
        ([HELPERS, new_code_cell("rates = [3]"), new_code_cell("rates[0]")], []),
        ([new_code_cell("def spread(x): ..."), new_code_cell("spread(1)")], []),
    ],
)
def test_what_is_folded_and_named_in_sight_needs_a_word(cells, names):
    faults = folded_name_faults(new_notebook(cells=cells), "01")
    assert [fault.split(" is named")[0] for fault in faults] == names


def test_a_folded_cell_has_a_handle():
    cells = [folded("# The figure\nplot()"), folded("plot()"), new_code_cell("plot()")]
    assert len(handle_faults(new_notebook(cells=cells), "01")) == 1
