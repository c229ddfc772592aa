import json
import random

import pytest

from course_utils.lessons.lesson_10.labelling import Labelling
from course_utils.preferences import Pair, read_pairs, swapped


@pytest.fixture
def pairs():
    def prompt(i):
        return [{"role": "user", "content": f"Story {i}, please."}]

    return [Pair(prompt(i), f"good {i}", f"bad {i}") for i in range(10)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "labels.jsonl"


def test_pairs_are_shown_blind_and_in_random_order(pairs, path):
    orders, sides = set(), []
    for seed in range(20):
        labelling = Labelling(pairs, seed, path)
        order = tuple(pair.prompt[0]["content"] for pair in labelling.shown)
        orders.add(order)
        assert sorted(order) == sorted(pair.prompt[0]["content"] for pair in pairs)
        sides += [pair.chosen.startswith("good") for pair in labelling.shown]
    assert len(orders) == 20
    assert 0.35 < sum(sides) / len(sides) < 0.65, "the annotator's choice stands on either side"


def test_labels_of_another_seed_or_of_other_pairs_are_kept(pairs, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    kept = {}
    for others, seed in ((pairs, 0), (pairs, 1), (pairs[:8], 0)):
        labelling = Labelling(others, seed)
        assert not labelling.labels
        for _ in range(5):
            labelling.choose("left")
        kept[len(others), seed] = labelling.labels
    assert Labelling(pairs, 0).labels == kept[10, 0] and Labelling(pairs, 1).labels == kept[10, 1]
    assert Labelling(pairs[:8], 0).labels == kept[8, 0]


def test_labels_are_those_of_the_side_chosen(pairs, path):
    labelling = Labelling(pairs, path=path)
    rng = random.Random(0)
    for _ in pairs:
        asked, left, right = labelling.current
        side = rng.choice(["left", "right"])
        labelling.choose(side)
        label = labelling.labels[-1]
        assert (label.chosen, label.rejected) == ((left, right) if side == "left" else (right, left))
        assert label.prompt[0]["content"] == asked
    assert labelling.current is None
    labelling.choose("left")
    assert len(labelling.labels) == 10


def test_saved_as_it_goes_and_taken_up_again(pairs, path):
    labelling = Labelling(pairs, path=path)
    for _ in range(3):
        labelling.choose("right")
        assert read_pairs(path) == labelling.labels
    again = Labelling(pairs, path=path)
    assert again.labels == labelling.labels and again.current == labelling.current
    other = [*pairs[:5], *(Pair("x", f"a{i}", f"b{i}") for i in range(5))]
    assert len(Labelling(other, path=path).labels) < 3, "labels of other pairs are not taken for these"


def test_undo(pairs, path):
    labelling = Labelling(pairs, path=path)
    first = labelling.current
    labelling.undo()
    labelling.choose("left")
    labelling.choose("left")
    labelling.undo()
    assert len(read_pairs(path)) == 1
    labelling.undo()
    assert labelling.current == first and not path.exists()


def test_simulated_labels_stand_in(pairs, path, capsys):
    labelling = Labelling(pairs, path=path)
    assert sorted(p.chosen for p in labelling.result()) == sorted(p.chosen for p in pairs)
    assert "No label is yours yet" in capsys.readouterr().out
    for _ in range(4):
        labelling.choose("left")
    result = labelling.result()
    assert result[:4] == labelling.labels and len(result) == 10
    assert {frozenset((p.chosen, p.rejected)) for p in result} == {
        frozenset((p.chosen, p.rejected)) for p in pairs
    }
    assert all(pair.chosen.startswith("good") for pair in result[4:])
    assert "4 of 10 labels are yours" in capsys.readouterr().out


def test_sides_have_names(pairs, path):
    with pytest.raises(ValueError, match="left"):
        Labelling(pairs, path=path).choose("both")


def test_without_a_kernel_it_is_text(pairs, path, capsys):
    labelling = Labelling(pairs, path=path)
    labelling.show()
    shown = capsys.readouterr().out
    assert "Pair 1 of 10" in shown and labelling.current[1] in shown and labelling.current[2] in shown


def test_the_page_sends_and_gets_what_it_needs(pairs, path):
    from course_utils.lessons.lesson_10.labelling import _view

    labelling = Labelling(pairs, path=path)
    view = _view(labelling)
    assert view.state["left"] == labelling.current[1] and not view.state["done"]
    for act in ("left", "right", "undo"):
        view._handle_custom_msg({"act": act}, [])
    assert len(labelling.labels) == 1 and view.state["labelled"] == 1
    for _ in range(9):
        view._handle_custom_msg({"act": "left"}, [])
    assert view.state["done"] and json.dumps(view.state)
    assert swapped(labelling.shown[0]) not in labelling.labels
