"""Claims and identities: how they are judged, shown together at a cell's end, and stored."""

import json
import re

import nbformat
import numpy as np
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from nbformat.v4 import new_code_cell, new_notebook

from course_utils.checks import ClaimFailed, assert_same, claim, claims
from course_utils.checks.claims import Claim, LessonClaims
from course_utils.making.notebooks import execute


@pytest.fixture(autouse=True)
def no_session(monkeypatch):
    monkeypatch.setattr("course_utils.session._current", None)


@pytest.fixture
def shell(monkeypatch):
    """(a separate IPython shell, what it displays: (bundle, metadata) each)."""
    displayed = []
    shell = InteractiveShell.instance()
    publish = lambda data, metadata=None, **_: displayed.append((data, metadata))  # noqa: E731
    monkeypatch.setattr(shell.display_pub, "publish", publish)
    shell.run_cell("from course_utils.checks import claim")
    yield shell, displayed
    claims._waiting.clear()


@pytest.mark.parametrize(
    "bounds, holds",
    [
        ({"at_most": 2}, True),
        ({"at_most": 1.5}, True),
        ({"at_most": 1.4}, False),
        ({"at_least": 1.5}, True),
        ({"at_least": 1.6}, False),
        ({"at_least": 1, "at_most": 2}, True),
        ({"at_least": 1.6, "at_most": 2}, False),
        ({"equals": 1.5}, True),
        ({"equals": 1.6}, False),
        ({"equals": 1.6, "tolerance": 0.11}, True),
        ({"equals": 1.65, "tolerance": 0.11}, False),  # between one tolerance and two
    ],
)
def test_claim_judges(bounds, holds, capsys, monkeypatch):
    monkeypatch.setenv("COURSE_STRICT", "0")
    claim("It is so.", torch.tensor(1.5), **bounds)
    out = capsys.readouterr().out
    assert out.startswith("Claim: It is so. Measured 1.5; ")
    assert ("DOES NOT HOLD" not in out) == holds


@pytest.mark.parametrize(
    "value, unit, shown",
    [
        (1, "points", "1 point"),
        (1.0, "nats a token", "1 nat a token"),
        (11, "points", "11 points"),
        (0.1, "nats", "0.1 nats"),
        (1.0, "times", "1 times"),
    ],
)
def test_one_of_a_unit_is_no_plural(value, unit, shown):
    assert claims.quantity(value, unit) == shown


def test_a_share_is_shown_as_per_cent_with_its_bound_room_origin_and_what_it_excludes(capsys):
    excludes = {"the change is not transposed": 1.0}
    claim("Little is kept", 0.05, at_most=0.2, unit="%", stored=True, headline=True, excludes=excludes)
    assert capsys.readouterr().out == (
        "Headline (stored runs): Little is kept. Measured 5%; at most 20% (75% margin), "
        "excludes the change is not transposed (100%): holds\n"
    )


@pytest.mark.parametrize(
    "value, bounds, margin",
    [
        (1.0, {"at_most": 4}, 0.75),
        (4.0, {"at_least": 1}, 0.75),
        (4.0, {"at_least": 1, "at_most": 5}, 0.2),
        (-1.0, {"at_most": 0}, 1.0),
        (1.5, {"equals": 1.0, "tolerance": 2.0}, 0.75),
        (1.0, {"equals": 1.0}, None),
        (9.0, {"at_most": 4}, None),
    ],
)
def test_margin_is_the_way_to_the_nearer_bound(value, bounds, margin, shell, monkeypatch):
    monkeypatch.setenv("COURSE_STRICT", "0")
    claim("It is so", value, **bounds)
    assert claims._waiting[0]["margin"] == margin


def test_claim_that_does_not_hold_raises_when_strict(capsys):
    with pytest.raises(ClaimFailed, match="measured 3 nats, which should be at most 2 nats"):
        claim("The loss is low", 3, at_most=2, unit="nats")
    assert "DOES NOT HOLD" in capsys.readouterr().out


def test_nan_holds_nowhere():
    for bounds in ({"at_most": 1}, {"at_least": 1}, {"equals": 1.0}, {"equals": 1.0, "tolerance": 0.1}):
        with pytest.raises(ClaimFailed):
            claim("It is a number", float("nan"), **bounds)


def test_claim_only_shows_at_smoke_scale_and_on_other_models(monkeypatch, capsys):
    monkeypatch.setenv("COURSE_SCALE", "smoke")
    claim("x", 3, at_most=2)
    assert "not judged at smoke scale" in capsys.readouterr().out
    monkeypatch.setenv("COURSE_SCALE", "full")
    monkeypatch.setenv("COURSE_MODEL", "gpt2")
    claim("x", 3, at_most=2)
    assert "the bound is for pocket" in capsys.readouterr().out
    with pytest.raises(ClaimFailed):
        claim("x", 3, at_most=2, models=("pocket", "gpt2"))
    with pytest.raises(ClaimFailed):
        claim("x", 3, at_most=2, models="any")


def test_claim_without_a_bound_is_an_error():
    with pytest.raises(ValueError, match="needs at_most"):
        claim("x", 3)


def test_a_claim_of_a_cell_is_a_box(shell):
    shell, displayed = shell
    shell.run_cell("claim('One is small', 1, at_most=2, unit='nats'); before = True")
    [(bundle, metadata)] = displayed
    assert bundle["text/plain"].count("\n") == 0 and bundle["text/html"].count("course-claim") == 1
    [record] = metadata["course"]["claims"]
    assert (record["text"], record["shown"], record["bound"]) == ("One is small", "1 nat", "at most 2 nats")
    assert (record["at_most"], record["headline"], record["stored"]) == (2, False, False)


def test_a_record_is_json_whatever_was_measured(shell):
    shell, displayed = shell
    shell.run_cell("inf = float('inf'); claim('It has no end', inf, equals=inf, seeds=[inf, 1.0])")
    [(_, metadata)] = displayed
    [record] = json.loads(json.dumps(metadata, allow_nan=False))["course"]["claims"]
    assert (record["value"], record["equals"], record["seeds"]) == ("inf", "inf", ["inf", 1.0])


def test_several_claims_of_a_cell_stand_together_and_the_next_cell_starts_anew(shell):
    shell, displayed = shell
    for cell in (
        "claim('One is small', 1, at_most=2); claim('<b> is', 'x', equals='x')",
        "claim('c', 1, at_most=2)",
    ):
        shell.run_cell(cell)
    (both, metadata), (line, _) = displayed
    assert both["text/html"].count("course-claim") == 2 and "&lt;b&gt; is" in both["text/html"]
    assert len(metadata["course"]["claims"]) == len(both["text/plain"].splitlines()) == 2
    assert "One is small" not in line["text/plain"]


def test_what_was_collected_is_shown_where_the_cell_fails(shell, capsys):
    shell, displayed = shell
    shell.run_cell("claim('One is small', 1, at_most=2); 1 / 0")
    assert "One is small" in displayed[0][0]["text/plain"]


def test_a_strict_claim_that_fails_shows_what_was_collected_and_ends_the_cell(shell, capsys):
    shell, displayed = shell
    result = shell.run_cell("claim('a', 1, at_most=2); claim('b', 3, at_most=2); claim('c', 1, at_most=2)")
    assert isinstance(result.error_in_exec, ClaimFailed)
    [(bundle, metadata)] = displayed
    assert [record["holds"] for record in metadata["course"]["claims"]] == [True, False]
    assert "border-left" in bundle["text/html"]


@pytest.mark.slow
def test_claims_stand_below_their_cell_s_figure_and_are_read_back(tmp_path):
    source = (
        "import matplotlib.pyplot as plt\nfrom course_utils.checks import claim\n"
        "claim('a', .5, at_most=1, unit='%')\nplt.plot([1, 2])\nclaim('b', 1, at_most=2)"
    )
    notebook = new_notebook(cells=[new_code_cell(source), new_code_cell("claim('c', 1, at_most=2)\n1 / 0")])
    with pytest.raises(Exception, match="ZeroDivisionError"):
        execute(notebook, tmp_path)
    kinds = [list(output.get("data", {})) for output in notebook.cells[0].outputs]
    assert "image/png" in kinds[-2] and kinds[-1] == ["text/plain", "text/html"]
    saved = nbformat.reads(nbformat.writes(notebook), 4)
    assert [record["text"] for record in claims.read(saved)] == ["a", "b", "c"]


SAME = [
    (1, 1),
    ("a", "a"),
    ([1, 2], (1, 2)),
    (torch.Size([2, 3]), [2, 3]),
    (0.1 + 0.2, 0.3),
    (torch.tensor([1.0, 1e-9]), torch.tensor([1 + 5e-6, 0.0])),
    (torch.tensor(1.0), torch.tensor(1.01, dtype=torch.bfloat16)),
    (np.float64(2.0), torch.tensor(2)),
    (float("nan"), float("nan")),
    (torch.zeros(0), torch.zeros(0)),
    (torch.tensor([True]), [True]),
]
DIFFERENT = [
    (1, 2, "2 was expected and 1 came"),
    ("a", "b", "'b' was expected and 'a' came"),
    (torch.zeros(2), torch.zeros(3), r"the shape \[3\] was expected and \[2\] came"),
    (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.001]), r"2.001 was expected at \[1\] and 2 came"),
    (torch.tensor(1.0, dtype=torch.float64), torch.tensor(1 + 1e-9, dtype=torch.float64), "is allowed"),
    (torch.tensor([1e-8]), torch.tensor([0.0]), "is allowed"),
    (torch.tensor([1000001]), torch.tensor([1000000]), "the largest difference is 1,"),
    (float("inf"), 1.0, "inf came"),
    (float("nan"), 1.0, "nan came"),
    (True, False, "0 was expected"),
]


@pytest.mark.parametrize("actual, expected", SAME)
def test_what_is_the_same_up_to_its_dtype_s_rounding_says_nothing(actual, expected, capsys):
    assert_same(actual, expected, "Two ways give one value")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("actual, expected, part", DIFFERENT)
def test_what_differs_raises_when_strict_and_else_is_a_line(actual, expected, part, capsys, monkeypatch):
    with pytest.raises(AssertionError, match=f"Two ways give one value: this does not hold here, .*{part}"):
        assert_same(actual, expected, "Two ways give one value.")
    monkeypatch.setenv("COURSE_STRICT", "0")
    assert_same(actual, expected, "Two ways give one value.")
    assert capsys.readouterr().out.startswith("Two ways give one value: this does not hold here, ")


def test_a_tolerance_is_absolute():
    assert_same(torch.tensor([1e-6]), 0 * torch.ones(1), "The mean is zero", tolerance=1e-5)
    with pytest.raises(AssertionError):
        assert_same(torch.tensor([1e-4]), 0 * torch.ones(1), "The mean is zero", tolerance=1e-5)


LISTED = [
    Claim(
        "higher_rate",
        "LoRA needs the higher rate",
        at_least=5,
        unit="times",
        excludes={"full fine-tuning": None, "equal rates": 1.0},
        seeds=[8.0, 9.5, 7.5],
        published="ten times (2106.09685)",
    ),
    Claim("on_any_model", "It is small", at_most=2, unit="nats", models="any"),
]


@pytest.fixture
def lesson(monkeypatch):
    """The claims of a made-up lesson."""
    monkeypatch.setattr(claims, "claims_of", lambda lesson: {each.name: each for each in LISTED})
    return LessonClaims("03")


def record_of(shown, make):
    """The record and the HTML that `make` shows in the shell."""
    _, displayed = shown
    make()
    claims._show_waiting()
    bundle, metadata = displayed[-1]
    [record] = metadata["course"]["claims"]
    return record, bundle["text/html"]


def test_a_listed_claim_is_made_by_name_with_what_the_notebook_computed(lesson, shell):
    record, html = record_of(shell, lambda: lesson.higher_rate(8.2, excludes=1.5))
    assert record["name"] == "higher_rate" and record["holds"]
    assert record["excludes"] == {"full fine-tuning": 1.5, "equal rates": 1.0}
    assert record["seeds"] == [8.0, 9.5, 7.5] and record["at_least"] == 5
    assert "Published: ten times (2106.09685)." in html
    record, _ = record_of(shell, lambda: lesson.higher_rate(8.2, excludes=[1.5], seeds=[8.5]))
    assert record["seeds"] == [8.5]
    record, _ = record_of(shell, lambda: lesson.higher_rate(8.2, excludes={"full fine-tuning": 2.0}))
    assert record["excludes"]["full fine-tuning"] == 2.0


def test_it_is_judged_as_one_with_a_text_is(lesson, shell):
    listed, _ = record_of(shell, lambda: lesson.on_any_model(1.0))
    loose, _ = record_of(shell, lambda: lesson("It is small", 1.0, at_most=2, unit="nats", models="any"))
    assert {**listed, "name": ""} == loose


def test_another_s_file_is_shown_only(lesson, shell):
    record, html = record_of(shell, lambda: lesson.on_any_model(3.0, models=("the example",)))
    assert not record["binding"] and record["outcome"] == "shown only; the bound is for the example"
    assert "✓" not in html and "✗" not in html


@pytest.mark.parametrize("values", [(), [1.0, 2.0], {"equal rates": 2.0}, {}])
def test_values_of_what_is_excluded_have_to_fit(lesson, values):
    with pytest.raises(ValueError, match=r"takes excludes= with 1 values \(full fine-tuning\), not "):
        lesson.higher_rate(8.0, excludes=values)


def test_a_name_that_is_not_listed_names_the_close_ones(lesson):
    with pytest.raises(AttributeError, match=r"no claim 'higher_rates'\. Did you mean higher_rate"):
        lesson.higher_rates(1)
    assert dir(lesson) == ["higher_rate", "on_any_model"]


def lefts(html):
    """Positions of a bar's marks, in per cent of its width, by their sign or style."""
    bar = html.partition('aria-hidden="true"')[2].partition("<details")[0]
    found = {}
    for style, sign in re.findall(r'<div style="([^"]*)">([^<]*)</div>', bar):
        kind = sign or ("bound" if "2px solid" in style else "seed" if "1px solid" in style else "zone")
        found.setdefault(kind, []).append(float(re.search(r"(?<!-)left:([-\d.]+)", style)[1]))
        if kind == "zone" and "width" in style:
            found["width"] = float(re.search(r"width:([-\d.]+)", style)[1])
    return found


def test_the_bar_has_value_bound_seeds_and_the_nearest_control_in_their_order(lesson, shell):
    _, html = record_of(shell, lambda: lesson.higher_rate(8.25, excludes=3.0))
    marks = lefts(html)
    [control], [bound], [value] = marks["✕"], marks["bound"], marks["●"]
    assert control == 4 and bound == pytest.approx(4 + 92 * (5 - 3) / (9.5 - 3), abs=0.1)
    assert value == pytest.approx(4 + 92 * (8.25 - 3) / (9.5 - 3), abs=0.1)
    assert max(marks["seed"]) == 96 and len(marks["seed"]) == 3
    assert marks["zone"][-1] == bound and bound + marks["width"] == pytest.approx(100, abs=0.2)
    assert "excluded: full fine-tuning (3 times)" in html and "3 seeds: 7.5 to 9.5 times" in html
    assert "equal rates" not in html.partition("<details")[0], "only the nearest stands outside"


@pytest.mark.parametrize(
    "value, bounds, sign, bar",
    [
        (1.0, {"at_most": 2}, "✓", True),
        (3.0, {"at_most": 2}, "✗", True),
        (1.5, {"equals": 1.0, "tolerance": 0.6}, "✓", True),
        ("a", {"equals": "a"}, "✓", False),
        (0, {"equals": 0}, "✓", False),
        (float("inf"), {"at_least": 2}, "✓", False),
        (True, {"equals": True}, "✓", False),
    ],
)
def test_a_box_says_how_it_stands_and_has_a_bar_where_there_is_a_scale(
    shell, monkeypatch, value, bounds, sign, bar
):
    monkeypatch.delenv("COURSE_STRICT", raising=False)
    _, html = record_of(shell, lambda: claim("It is so", value, unit="nats", **bounds))
    assert sign in html and ("position:relative" in html) == bar
