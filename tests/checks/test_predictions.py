"""Predictions: the first choice counts and comes back, and no answer is shown before a choice."""

from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest
from IPython.core.interactiveshell import InteractiveShell

from course_utils.checks import predict, progress
from course_utils.checks.summary import summary
from course_utils.widgets import WIDGET

REASONS = {"a": "It would have to be small.", "b": "It is large.", "c": "It would have to be blue."}


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COURSE_STRICT", "0")
    monkeypatch.setattr("course_utils.session._current", None)
    monkeypatch.setattr(progress, "_open", "00")


@pytest.fixture
def page(monkeypatch):
    """What a page with a kernel gets: (bundle, its other arguments) each."""
    displayed = []
    shell = InteractiveShell.instance()
    monkeypatch.setattr(shell, "kernel", SimpleNamespace(), raising=False)
    monkeypatch.setattr(
        shell.display_pub, "publish", lambda data, metadata=None, **more: displayed.append((data, more))
    )
    return displayed


def test_a_prediction_is_compared_and_recorded_with_its_time(capsys):
    prediction = predict("Which is it?", ["a", "b", "c"])
    assert capsys.readouterr().out == "Your prediction: Which is it?\n  ( ) a\n  ( ) b\n  ( ) c\n"
    prediction.choose("a")
    prediction.reveal("b", because=REASONS)
    out = capsys.readouterr().out
    assert out.startswith("Answer: b (you predicted: a)\n") and all(
        reason in out for reason in REASONS.values()
    )
    row = summary()["00"]["predictions"]["Which is it?"]
    assert datetime.fromisoformat(row.pop("chosen")).utcoffset() == timedelta(0)
    assert row == {"choice": "a", "answer": "b", "right": False}
    assert (summary()["00"]["right"], summary()["00"]["wrong"]) == (0, 1)
    with pytest.raises(ValueError, match="not among the options"):
        prediction.reveal("d")


def test_the_first_choice_counts_and_comes_back_after_a_restart(capsys, monkeypatch):
    first = predict("Which is it?", ["a", "b"])
    first.choose("b")
    chosen = progress.prediction("00", "Which is it?")["chosen"]
    monkeypatch.setattr("course_utils.checks.progress.datetime", None)  # a second choice has no time
    with pytest.raises(AttributeError):
        predict("Another?", ["a", "b"]).choose("a")
    first.choose("a")
    again = predict("Which is it?", ["a", "b"])  # as after a kernel restart
    assert capsys.readouterr().out.endswith("  ( ) a\n  (x) b\n")
    again.choose("a")
    again.reveal("b")
    assert "as you predicted" in capsys.readouterr().out
    assert progress.prediction("00", "Which is it?") == {
        "choice": "b",
        "chosen": chosen,
        "answer": "b",
        "right": True,
    }


def test_the_first_of_two_kernels_choices_counts():
    one, other = predict("Which is it?", ["a", "b"]), predict("Which is it?", ["a", "b"])
    one.choose("b")
    other.choose("a")
    assert other.choice == "b" and progress.prediction("00", "Which is it?")["choice"] == "b"


def test_a_choice_that_is_no_option_any_more_makes_way():
    before = predict("Which is it?", ["a", "b"])
    before.choose("a")
    before.reveal("b")
    again = predict("Which is it?", ["b", "c"])
    assert again.choice is None
    again.choose("b")
    row = progress.prediction("00", "Which is it?")
    assert row["choice"] == "b" and "right" not in row
    again.reveal("b")
    row = progress.prediction("00", "Which is it?")
    assert (row["choice"], row["answer"], row["right"]) == ("b", "b", True)
    assert predict("Which is it?", ["b", "c"]).choice == "b"


def test_without_a_choice_the_answer_is_folded_and_counts_as_skipped(page):
    prediction = predict("Which is it?", ["a", "b", "c"])
    prediction.reveal("b", because=REASONS)
    html = page[-1][0]["text/html"]
    summary_text, _, inside = html.partition("</summary>")
    assert summary_text == "<details><summary>You have not predicted yet: choose above, or open this"
    assert "Answer: b" in inside and inside.endswith("</details>")
    assert summary()["00"]["skipped"] == 1


def test_choosing_after_the_reveal_opens_the_answer_below(page):
    prediction = predict("Which is it?", ["a", "b", "c"])
    prediction.reveal("b", because=REASONS)
    prediction.choose("b")
    (_, shown), (opened, changed) = page[-2:]
    assert changed["update"] and changed["transient"] == shown["transient"]
    assert "details" not in opened["text/html"] and "as you predicted" in opened["text/plain"]
    prediction.choose("a")
    assert page[-1][0] is opened, "the first choice counts"
    row = summary()["00"]
    assert (row["right"], row["wrong"], row["skipped"]) == (1, 0, 0)


def test_nobody_skips_in_a_strict_run(monkeypatch):
    monkeypatch.setenv("COURSE_STRICT", "1")
    predict("Which is it?", ["a", "b"]).reveal("a")
    assert summary()["00"]["predictions"] == {}


def test_the_title_of_a_figure_says_the_answer_once_it_is_revealed():
    prediction = predict("Which is it?", ["a", "b", "c"])
    assert prediction.title == "Which is it?"
    prediction.reveal("b", because=REASONS)
    assert prediction.title == "It is large"
    prediction.reveal("b")
    assert prediction.title == "b"


def test_reasons_are_needed_for_all_options_and_no_others():
    with pytest.raises(
        ValueError, match=r"a sentence for each of \['a', 'b', 'c'\], and has them for \['a'\]"
    ):
        predict("Which is it?", ["a", "b", "c"]).reveal("a", because={"a": "It is."})


@pytest.mark.parametrize("options", [["a"], ["a", "a"], ["a", "b", "a"], []])
def test_options_are_two_or_more_and_differ(options):
    with pytest.raises(ValueError, match="two or more different options"):
        predict("Which is it?", options)


def test_a_prediction_knows_its_lesson():
    from course_utils.lessons.lesson_03 import check  # noqa: F401  as the notebook of lesson 03 does

    predict("Q?", ["a", "b"]).choose("a")
    assert summary()["03"]["predictions"]["Q?"]["choice"] == "a"


def test_the_page_s_controls_commit_and_are_locked(page):
    prediction = predict("Which is it?", ["a", "b"])
    [(bundle, _)] = page
    view = prediction._view
    assert bundle[WIDGET]["model_id"] == view.model_id and bundle["text/plain"].startswith("Your prediction:")
    assert (view.question, view.options, view.choice, view.locked) == ("Which is it?", ["a", "b"], "", False)
    view._handle_custom_msg({"choice": "b"}, [])
    assert (view.choice, view.locked, prediction.choice) == ("b", True, "b")
    assert predict("Which is it?", ["a", "b"])._view.choice == "b"
    assert page[-1][0]["text/plain"].endswith("( ) a\n  (x) b")


def test_a_home_that_cannot_be_used_costs_only_the_record(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(progress, "_warned", False)
    prediction = predict("Which is it?", ["a", "b"])
    prediction.choose("a")
    prediction.reveal("a")
    out = capsys.readouterr().out
    assert out.count("Progress is not recorded") == 1 and "as you predicted" in out
