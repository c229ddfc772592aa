"""The task of lesson 18, its measures and its figures, without the pocket model if it is not needed."""

import itertools

import matplotlib.pyplot as plt
import pytest
import torch

from course_utils.lessons.lesson_18 import experiments, figures, passing, suspects, task
from course_utils.methods.grpo import group_advantages
from course_utils.world.lists import RELATIONS, load_lists, verify


def test_long_lists_ask_for_every_relation_once_and_always_the_same():
    rows = task.long_lists("held_out", 12)
    assert rows[:5] == task.long_lists("held_out", 5)
    known = {(fact["relation"], fact["subject"]) for fact in task.read_jsonl(task.DATA / "facts.jsonl")}
    for row in rows:
        assert sorted(row["relations"]) == sorted(RELATIONS)
        assert set(zip(row["relations"], row["subjects"], strict=True)) <= known
    others = task.long_lists("validation", 12)
    facts, theirs = (
        {pair for row in part for pair in zip(row["relations"], row["subjects"], strict=True)}
        for part in (rows, others)
    )
    assert not facts & theirs


def test_a_list_has_more_than_ten_thousand_possible_answers():
    facts = task.read_jsonl(task.DATA / "facts.jsonl")
    for relation in RELATIONS:
        names = {fact["object"] for fact in facts if fact["relation"] == relation}
        assert len(names) ** 3 > 10_000, relation


def test_the_start_and_the_training_ask_for_different_facts():
    told, practised = (
        {
            pair
            for row in task.tune_lists(half, 60)
            for pair in zip(row["relations"], row["subjects"], strict=True)
        }
        for half in ("told", "practice")
    )
    assert told and practised and not told & practised


def test_pass_at_k_is_the_mean_over_all_choices():
    for right, total, k in ((1, 5, 2), (3, 6, 4), (0, 4, 3), (4, 4, 1)):
        outcomes = [1] * right + [0] * (total - right)
        choices = list(itertools.combinations(outcomes, k))
        mean = sum(any(choice) for choice in choices) / len(choices)
        assert passing.pass_at_k(torch.tensor([right]), total, k).item() == pytest.approx(mean)


def test_the_interval_holds_the_mean_and_shrinks_with_more_questions():
    few, many = (torch.arange(2 * count) % 2 for count in (5, 500))
    for values in (few, many):
        mean, low, high = passing.question_interval(values)
        assert mean == 0.5 and low <= mean <= high
    assert passing.question_interval(many)[2] - passing.question_interval(many)[1] < 0.1
    assert passing.question_interval(few)[2] - passing.question_interval(few)[1] > 0.4


def test_votes_and_chance():
    assert passing.majority(["a", "b", "b"]) == "b"
    rows = load_lists("held_out", "one")[:14]  # six relations in turn, twice, and two more
    moved = passing.shifted(rows)
    assert [row["prompt"] for row in moved] == [row["prompt"] for row in rows]
    assert moved[0]["answers"] == rows[6]["answers"] and moved[6]["answers"] == rows[12]["answers"]
    assert moved[12]["answers"] == rows[0]["answers"], "the last of a relation gets its first"
    alone = passing.shifted(rows[:3])
    assert [row["answers"] for row in alone] == [row["answers"] for row in (rows[1], rows[2], rows[0])]


ANSWERS = ["Lima", "Oslo", "Paris"]


@pytest.mark.parametrize(
    "text, strict, loose, mended",
    [
        ("Lima, Oslo, Paris.", 1, 1, 1),
        ("Paris, Oslo, Lima.", 0, 1, 1),
        ("Lima, Oslo, Paris, Rome.", 0, 1, 0),
        ("Lima and Oslo and Paris", 0, 1, 0),
        ("Lima, Oslo, Oslo.", 0, 0, 0),
        ("", 0, 0, 0),
    ],
)
def test_verifiers_with_and_without_a_hole(text, strict, loose, mended):
    assert verify(text, ANSWERS) == strict
    assert task.names_all(text, ANSWERS) == loose
    assert task.names_all_and_no_more(text, ANSWERS) == mended


def test_the_suspects_of_the_bug_hunt_get_their_verdicts():
    """A group with equal scores gets advantages if prompts are mixed; it should get none."""
    assert suspects.mixed_advantages(torch.tensor([1.0, 1, 0, 0]), 2).abs().min() > 0
    verdicts = {
        "mixed": suspects.mixed_advantages,
        "whole batch": suspects.batch_advantages,
        "sound": group_advantages,
    }
    found = [suspects.group_fault(function) for function in verdicts.values()]
    assert found == list(verdicts)


@pytest.mark.parametrize(("prompts", "group"), [(3, 2), (4, 8), (8, 8), (24, 8)])
def test_the_function_of_the_hunt_compares_answers_in_the_same_place(prompts, group):
    """An advantage changes with a score in the same place of another prompt, and with no other one."""
    scores = torch.arange(prompts * group, dtype=torch.float).square()
    before = suspects.received(scores, group)
    for changed in range(1, len(scores)):
        other = scores.clone()
        other[changed] += 5
        alike = torch.equal(suspects.received(other, group)[0], before[0])
        assert alike == (changed % group != 0)


def test_figures_show_what_they_are_given():
    half = [0.5] * len(passing.KS)
    figures.curves({"short": half, "long": half, "chance": half}, "title")
    ax = plt.gcf().axes[0]
    assert [line.get_label() for line in ax.lines] == ["short", "long", "chance"]
    assert [int(text.get_text()) for text in ax.get_xticklabels()] == list(passing.KS)
    rows = [{name: i / 10 for name in figures.GAUGE_LABELS} for i in range(5)]
    figures.one_training(rows, "title")
    assert [ax.get_title("left") for ax in plt.gcf().axes] == list(figures.GAUGE_LABELS.values())[:2]
    figures.silent_share(4)
    assert plt.gcf().axes[0].lines[0].get_ydata()[[0, 50, 100]] == pytest.approx([1, 0.125, 1])
    runs = [{f"short_{k}": shift for k in passing.KS} for shift in (0.2, 0.4)]
    figures.curve_bands({"short": {"start": runs}}, "title")
    assert plt.gcf().axes[0].lines[0].get_ydata() == pytest.approx([0.3] * len(passing.KS))
    better = [{f"short_{k}": shift + 0.1 for k in passing.KS} for shift in (0.2, 0.4)]
    figures.gains({"GRPO": better}, runs, "title")
    assert plt.gcf().axes[0].lines[0].get_ydata() == pytest.approx([10] * len(passing.KS))
    runs = [{"entropy": [shift, 2 * shift], "length": [3, 4]} for shift in (0.2, 0.4)]
    figures.gauges_by_iteration({"a": runs}, "title", ("entropy", "length"))
    assert plt.gcf().axes[0].lines[0].get_ydata() == pytest.approx([0.3, 0.6])
    assert plt.gcf().axes[1].lines[0].get_xdata() == pytest.approx([1, 2])
    plt.close("all")


def test_runs_are_found_by_their_whole_point(monkeypatch):
    rows = [
        {"point": point, "result": number}
        for number, point in enumerate([{"updates": 4}, {"updates": 4, "clip_high": 0.5}, {"group": 4}])
    ]
    monkeypatch.setattr("course_utils.stored_runs.load_sweep", lambda name: {"rows": rows})
    assert experiments.runs_at("any", updates=4) == [0]
    assert experiments.runs_at("any", updates=4, clip_high=0.5) == [1]
    assert experiments.runs_at("any", group=4) == [2]


def test_answers_come_back_to_their_questions(monkeypatch):
    """They are sampled by length, 256 at a time; an answer that did not end is empty."""
    ids = {"long": [1, 2, 3], "short": [1]}
    monkeypatch.setattr(task, "encode_prompts", lambda tokenizer, asked: [ids[each] for each in asked])
    monkeypatch.setattr(task, "sampling_of", lambda tokenizer, tokens: {})
    monkeypatch.setattr(
        task,
        "rollout",
        lambda model, prompts, **_: {"ended": torch.tensor([len(p) > 1 for p in prompts]), "asked": prompts},
    )
    monkeypatch.setattr(task, "answer_texts", lambda tokenizer, batch: [str(ids) for ids in batch["asked"]])
    found = task.answers_to(torch.nn.Linear(1, 1), None, [{"prompt": "long"}, {"prompt": "short"}], 300)
    assert found == [["[1, 2, 3]"] * 300, [""] * 300]
    assert task.count_right(found, [{"answers": ["[1", "2", "3]"]}, {"answers": [""]}]).tolist() == [300, 300]


def test_an_answer_is_judged_by_the_row_with_its_request_and_only_if_it_ended(monkeypatch):
    rows = [
        {"prompt": [{"content": asked}], "answers": [answer]} for asked, answer in (("x", "a"), ("y", "b"))
    ]
    monkeypatch.setattr(task, "requests_of", lambda tokenizer, batch: batch["asked"])
    monkeypatch.setattr(task, "answer_texts", lambda tokenizer, batch: batch["texts"])
    batch = {"asked": ["x", "y", "y", "y"], "texts": ["a.", "b.", "a.", "b."]}
    batch["ended"] = torch.tensor([True, True, True, False])
    assert task.verifier(None, rows)(batch).tolist() == [1, 1, 0, 0]
    assert task.verifier(None, rows, lambda text, answers: 1.0)(batch).tolist() == [1, 1, 1, 0]
