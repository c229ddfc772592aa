"""What a learner sees of checks and hints, and what they record."""

import inspect
import json
import multiprocessing
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import matplotlib.pyplot as plt
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell

from course_utils.checks import Mistake, hint, mine, progress
from course_utils.checks.buttons import stub_of
from course_utils.checks.exercises import exercises_of, find, folded_until_tried, registry, verdict, was_tried
from course_utils.checks.summary import summary
from course_utils.lessons.lesson_00 import check
from course_utils.lessons.lesson_00.exercises.greedy_next_token import greedy_next_token
from course_utils.widgets import WIDGET


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("course_utils.session._current", None)
    monkeypatch.setattr(progress, "_open", "00")
    monkeypatch.setattr("course_utils.checks.exercises._hints_given", {})
    monkeypatch.setattr(mine, "__dict__", {})
    return tmp_path / "home"


def stub(logits):
    """Says what it should do."""
    ...


def crash(logits):
    position = 99
    return logits[:, position].argmax(-1)


def wrong(logits):
    return logits.argmax(-1)


def right(logits):
    return logits[:, -1, :].argmax(-1)


class StubOfAClass:
    def __init__(self):
        self.rank = 1

    def forward(self, x): ...


class StubOfAStaticMethod:
    @staticmethod
    def forward(ctx, x):
        return x

    @staticmethod
    def backward(ctx, grad): ...


class StaticMethods:
    @staticmethod
    def forward(ctx, x):
        return x


def test_stub_goes_on_with_the_reference(capsys):
    assert check.greedy_next_token(stub) is greedy_next_token
    out = capsys.readouterr().out
    assert "not attempted" in out and 'hint("greedy_next_token")' in out
    assert summary()["00"]["exercises"] == {}


def test_code_left_beside_the_dots_is_an_attempt(capsys):
    def half(logits):
        ...
        return logits.argmax(-1)

    check.greedy_next_token(half)
    assert "after every position" in capsys.readouterr().out


def test_a_class_with_an_empty_method_is_a_stub():
    from course_utils.checks.exercises import is_stub

    assert is_stub(StubOfAClass) and is_stub(StubOfAStaticMethod)
    assert not is_stub(progress.FileLock) and not is_stub(StaticMethods)


def test_right_answer_is_used_and_recorded(capsys):
    assert check.greedy_next_token(right) is right
    assert capsys.readouterr().out == (
        "greedy_next_token: passed\n1 of the 3 exercises of lesson 00 passed: ●○○\n"
    )
    assert summary()["00"]["passed"] == 1


def test_wrong_answer_is_named_and_the_reference_used(capsys):
    assert check.greedy_next_token(wrong) is greedy_next_token
    assert "after every position" in capsys.readouterr().out
    row = summary()["00"]["exercises"]["greedy_next_token"]
    assert (row["attempts"], row["status"]) == (1, "failed")
    assert "after every position" in row["mistake"]


def test_a_value_in_place_of_the_function_is_named(capsys):
    assert check.greedy_next_token(greedy_next_token(torch.zeros(1, 2, 3))) is greedy_next_token
    out = capsys.readouterr().out
    assert "without calling it: check.greedy_next_token(greedy_next_token)" in out


def test_the_learners_function_stays_at_hand(capsys):
    check.greedy_next_token(wrong)
    assert mine.greedy_next_token is wrong
    assert "the course's solution; yours is mine.greedy_next_token." in capsys.readouterr().out
    with pytest.raises(AttributeError, match="run its cell first"):
        mine.never_checked  # noqa: B018


def test_exception_is_one_line_with_its_place(capsys):
    assert check.greedy_next_token(crash) is greedy_next_token
    out = capsys.readouterr().out
    line = crash.__code__.co_firstlineno + 2
    assert f"stopped in line {line} with IndexError" in out
    assert f"{line}: return logits[:, position].argmax(-1)" in out
    assert "Traceback" not in out


def test_passed_stays_passed_and_attempts_count():
    check.greedy_next_token(right)
    check.greedy_next_token(wrong)
    row = summary()["00"]["exercises"]["greedy_next_token"]
    assert (row["attempts"], row["status"]) == (2, "passed")


def test_each_try_is_kept_with_its_time_and_its_mistake(monkeypatch):
    check.greedy_next_token(wrong)
    check.greedy_next_token(right)
    row = summary()["00"]["exercises"]["greedy_next_token"]
    first, second = row["tries"]
    assert "after every position" in first["mistake"] and second["mistake"] == ""
    assert [first["at"], second["at"]] == [row["first"], row["last"]]
    monkeypatch.setattr(progress, "MOST_TRIES", 3)
    for number in range(5):
        progress.record_attempt(
            "00", "greedy_next_token", "", f"mistake {number}", at="2026-01-01T10:00:00+00:00"
        )
    row = summary()["00"]["exercises"]["greedy_next_token"]
    assert [one["mistake"] for one in row["tries"]] == ["mistake 2", "mistake 3", "mistake 4"]
    assert row["last"] == "2026-01-01T10:00:00+00:00" and row["attempts"] == 7


def test_the_same_text_and_a_hint_are_no_attempts(monkeypatch):
    check.greedy_next_token(wrong)
    hint("greedy_next_token")
    monkeypatch.setattr(progress, "datetime", None)  # the times stay, too
    check.greedy_next_token(wrong)
    assert summary()["00"]["exercises"]["greedy_next_token"]["attempts"] == 1


def asks_inside(logits):
    hint("greedy_next_token")
    return logits.argmax(-1)


def asks_instead(logits):
    """Says what it should do."""
    hint("greedy_next_token")
    ...


def test_a_hint_asked_for_inside_the_function_is_no_other_answer(monkeypatch):
    source = inspect.getsource(asks_inside)
    check.greedy_next_token(asks_inside)
    without = source.replace('    hint("greedy_next_token")\n', "")
    monkeypatch.setattr("course_utils.checks.exercises.inspect.getsource", lambda fn: without)
    check.greedy_next_token(asks_inside)
    assert summary()["00"]["exercises"]["greedy_next_token"]["attempts"] == 1
    other = without.replace("-1", "1")
    monkeypatch.setattr("course_utils.checks.exercises.inspect.getsource", lambda fn: other)
    check.greedy_next_token(asks_inside)
    assert summary()["00"]["exercises"]["greedy_next_token"]["attempts"] == 2


def test_a_hint_asked_for_instead_of_an_answer_is_no_attempt():
    assert check.greedy_next_token(asks_instead) is greedy_next_token
    assert summary()["00"]["exercises"] == {}


def test_a_passed_exercise_says_what_happens_next(monkeypatch, capsys):
    exercise = exercises_of("00")["greedy_next_token"]
    verdict(replace(exercise, then="Generation below calls it: run the two cells below again."), right)
    assert capsys.readouterr().out == (
        "greedy_next_token: passed\n1 of the 3 exercises of lesson 00 passed: ●○○\n"
        "Generation below calls it: run the two cells below again.\n"
    )


def test_the_last_exercise_says_that_all_have_passed(capsys):
    for name in exercises_of("00"):
        progress.record_attempt("00", name, "", None)
    check.greedy_next_token(right)
    assert "All 3 exercises of lesson 00 passed: ●●●\n" in capsys.readouterr().out


def test_times_and_the_last_mistake_are_recorded():
    check.greedy_next_token(crash)
    first = summary()["00"]["exercises"]["greedy_next_token"]
    assert datetime.fromisoformat(first["first"]).utcoffset() == timedelta(0)
    assert first["first"] == first["last"] and "IndexError" in first["mistake"]
    check.greedy_next_token(wrong)
    check.greedy_next_token(right)
    last = summary()["00"]["exercises"]["greedy_next_token"]
    assert last["first"] == first["first"] <= last["last"] and "after every position" in last["mistake"]


def test_solutions_are_put_in_and_failures_raise(monkeypatch, capsys):
    monkeypatch.setenv("COURSE_SOLUTIONS", "1")
    assert check.greedy_next_token(stub) is greedy_next_token
    assert "passed" in capsys.readouterr().out
    with pytest.raises(Mistake, match="after every position"):
        check.greedy_next_token(wrong)
    with pytest.raises(Mistake, match="IndexError"):
        check.greedy_next_token(crash)
    assert summary()["00"]["passed"] == 0


def test_a_check_leaves_random_numbers_alone():
    def draws():
        return torch.rand(1).item(), random.random()

    torch.manual_seed(5)
    random.seed(5)
    expected = draws()
    torch.manual_seed(5)
    random.seed(5)
    check.greedy_next_token(lambda logits: (torch.rand(3), random.random(), right(logits))[2])
    assert draws() == expected


def test_unknown_exercise_names_the_close_ones():
    with pytest.raises(AttributeError, match="Did you mean greedy_next_token"):
        check.greedy_token  # noqa: B018


def test_hints_unfold_in_three_steps(capsys):
    for _ in range(4):
        hint("greedy_next_token")
    out = capsys.readouterr().out
    assert [f"hint {n} of 3" in out for n in (1, 2, 3)] == [True] * 3
    assert out.count("return logits[:, -1].argmax(dim=-1)") == 2
    (hints,) = summary()["00"]["hints"].values()
    assert hints["steps"] == 3 and datetime.fromisoformat(hints["last"]).tzinfo is UTC
    hint("greedy_next_token", 1)
    assert "hint 1 of 3" in capsys.readouterr().out
    with pytest.raises(ValueError, match="numbers 1"):
        hint("greedy_next_token", 4)


def test_a_verdict_lets_the_notebook_call_hint_without_importing_it():
    shell = InteractiveShell.instance()
    check.greedy_next_token(stub)
    assert shell.user_ns["hint"] is hint
    assert shell.user_ns["mine"] is mine
    shell.user_ns["hint"] = "the learner's own"
    check.greedy_next_token(stub)
    assert shell.user_ns["hint"] == "the learner's own"


@pytest.fixture
def page(monkeypatch):
    """The bundles that a page with a kernel gets."""
    bundles = []
    shell = InteractiveShell.instance()
    monkeypatch.setenv("COURSE_STRICT", "0")
    monkeypatch.setattr(shell, "kernel", object(), raising=False)
    monkeypatch.setattr(shell.display_pub, "publish", lambda data, *_, **__: bundles.append(data))
    return bundles


@pytest.fixture
def buttons(page, monkeypatch):
    """(the buttons under a wrong answer, what they were sent)"""
    made, sent = [], []
    monkeypatch.setattr("course_utils.checks.buttons.publish_view", lambda view: made.append(view))
    check.greedy_next_token(wrong)
    [view] = made
    monkeypatch.setattr(view, "send", sent.append)
    return lambda act: view._handle_custom_msg({"act": act}, []), view, sent


def test_buttons_give_two_hints_and_the_solution_and_progress_knows(buttons):
    press, view, sent = buttons
    exercise = exercises_of("00")["greedy_next_token"]
    for step in (1, 2, 2):
        press("hint")
        assert view.shown["text"] == exercise.hints[step - 1] and view.shown["step"] == step
    assert summary()["00"]["hints"]["greedy_next_token"]["steps"] == 2
    for _ in range(2):  # an answer comes to the second press, too
        press("solution")
    assert view.shown["code"] == exercise.solution and sent == [{}] * 5
    assert summary()["00"]["hints"]["greedy_next_token"]["steps"] == 3
    assert summary()["00"]["exercises"]["greedy_next_token"]["attempts"] == 1


def test_start_over_brings_the_lesson_s_own_cell(buttons):
    press, _, sent = buttons
    press("restart")
    [message] = sent
    assert message["stub"].startswith("def greedy_next_token") and "..." in message["stub"]


@pytest.mark.parametrize("exercise", registry().values(), ids=list(registry()))
def test_every_exercise_has_a_cell_to_start_over_from(exercise):
    assert "..." in stub_of(exercise.name, exercise.lesson)


def test_there_are_no_buttons_where_nobody_clicks(page, monkeypatch):
    check.greedy_next_token(stub)
    assert WIDGET in page[-1]
    monkeypatch.setenv("COURSE_STRICT", "1")
    check.greedy_next_token(stub)
    monkeypatch.setenv("COURSE_SOLUTIONS", "1")
    check.greedy_next_token(stub)
    assert sum(WIDGET in bundle for bundle in page) == 1


def test_an_earlier_run_counts_as_a_trial_except_in_a_strict_one(monkeypatch):
    exercise = find("greedy_next_token")
    progress.record_attempt(exercise.lesson, exercise.name, "", "wrong")
    assert not was_tried(exercise), "tests are strict"
    monkeypatch.setenv("COURSE_STRICT", "0")
    assert was_tried(exercise)


def shows_the_answer():
    with folded_until_tried("greedy_next_token"):
        print("the answer & more")
        plt.plot([1, 2])


def test_what_shows_the_answer_is_folded_until_one_has_tried(page, capsys):
    plt.close("all")  # other tests' figures
    shows_the_answer()
    [bundle] = page
    assert bundle["text/html"].startswith("<details><summary>This shows the answer of greedy_next_token")
    assert "<pre>the answer &amp; more\n</pre>" in bundle["text/html"] and plt.get_fignums() == []
    assert "the answer & more" in bundle["text/plain"] and "the answer" not in capsys.readouterr().out
    check.greedy_next_token(stub)
    shows_the_answer()
    assert "<details>" in page[-1]["text/html"], "a stub is no trial"
    check.greedy_next_token(wrong)
    shows_the_answer()
    assert "the answer & more\n" in capsys.readouterr().out and len(plt.get_fignums()) == 1
    plt.close("all")


def test_a_folded_picture_has_an_alternative_text(page):
    from course_utils.checks.show import fold_outputs

    fold_outputs("open", ["x < 1", SimpleNamespace(data={"image/png": b"x", "text/plain": 'a "line"'})])
    assert '<pre>x &lt; 1</pre><img alt="a &quot;line&quot;" src=' in page[-1]["text/html"]


def test_a_trial_of_an_earlier_run_counts(page, capsys, monkeypatch):
    check.greedy_next_token(wrong)
    monkeypatch.delattr(mine, "greedy_next_token")
    shows_the_answer()
    plt.close("all")
    assert "the answer" in capsys.readouterr().out


def _many(name):
    for _ in range(20):
        progress.record_attempt("00", name, "", mistake="wrong")


def test_progress_survives_several_kernels():
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_many, args=(name,)) for name in ("a", "a", "b")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    rows = summary()["00"]["exercises"]
    assert (rows["a"]["attempts"], rows["b"]["attempts"]) == (40, 20)
    assert [path.name for path in progress.path().parent.glob(".progress-*")] == []


def test_damaged_progress_file_is_set_aside(own_home, capsys):
    own_home.mkdir()
    (own_home / "progress.json").write_text("{ not json")
    check.greedy_next_token(right)
    assert "was moved to" in capsys.readouterr().out
    assert (own_home / "progress.damaged.json").read_text() == "{ not json"
    assert json.loads((own_home / "progress.json").read_text())["lessons"]["00"]


@pytest.mark.parametrize(
    "damage",
    [
        [],
        {"lessons": []},
        {"lessons": {"00": 3}},
        {"lessons": {"00": {"exercises": ["greedy_next_token"]}}},
        {"lessons": {"00": {"exercises": {"greedy_next_token": "passed"}}}},
        {
            "lessons": {
                "00": {"exercises": {"greedy_next_token": {"attempts": "many", "sources": 1, "first": 2}}}
            }
        },
        {"lessons": {"00": {"hints": {"greedy_next_token": {"steps": "all"}}}}},
        {"lessons": {"00": {"predictions": {"Q?": {"right": "yes"}}}}},
        {"lessons": {"00": {"jokes": {}}}},
    ],
)
def test_a_file_changed_by_hand_stops_nothing(damage, own_home, capsys):
    own_home.mkdir()
    damage = {**damage, "more": 1} if isinstance(damage, dict) else damage
    if isinstance(damage, dict) and isinstance(damage["lessons"], dict):
        damage["lessons"]["01"] = {"exercises": {"kept": {"status": "passed"}}}
    (own_home / "progress.json").write_text(json.dumps(damage))
    assert check.greedy_next_token(right) is right
    hint("greedy_next_token")
    done = summary()
    assert done["00"]["exercises"]["greedy_next_token"]["attempts"] == 1
    if isinstance(damage, dict) and damage["lessons"]:
        assert done["01"]["passed"] == 1
    assert json.loads((own_home / "progress.damaged.json").read_text()) == damage
    assert capsys.readouterr().out.count("was moved to") == 1


def test_home_that_cannot_be_written_costs_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "file" / "home"))
    monkeypatch.setattr(progress, "_warned", False)
    assert check.greedy_next_token(right) is right
    assert check.greedy_next_token(right) is right
    assert capsys.readouterr().out.count("Progress is not recorded") == 1


def test_clear_forgets():
    check.greedy_next_token(right)
    progress.clear()
    assert summary()["00"]["passed"] == 0


def test_clear_keeps_a_file_that_the_course_did_not_write(own_home):
    own_home.mkdir()
    (own_home / "progress.json").write_text('{"my thesis": "42 pages"}')
    progress.clear()
    assert (own_home / "progress.damaged.json").read_text() == '{"my thesis": "42 pages"}'
    assert not (own_home / "progress.json").exists()


@pytest.mark.parametrize("what", ["folder", "[" * 100_000, '{"lessons": {"00": 3}}', "\0"])
def test_no_damaged_progress_file_stops_a_lesson_and_each_is_kept(own_home, capsys, what):
    own_home.mkdir()
    for number in range(2):
        progress.path().unlink(missing_ok=True)
        if what == "folder":
            progress.path().mkdir()
        else:
            progress.path().write_text(what)
        progress.record_attempt("00", "softmax", f"a text {number}", "Is there a return?")
        assert summary()["00"]["exercises"]["softmax"]["status"] == "failed"
        assert "The progress file was damaged; it was moved to" in capsys.readouterr().out
    assert len(list(own_home.glob("progress.damaged*"))) == 2


def test_a_home_that_cannot_be_used_costs_the_record_and_is_named(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(progress, "_warned", False)
    progress.record_attempt("00", "softmax", "a text", None)
    assert "Progress is not recorded" in capsys.readouterr().out
    with pytest.raises(OSError, match=r"progress\.json cannot be used \(.*Set COURSE_HOME"):
        summary()
