"""The lists of facts: split without leaks, verified strictly."""

import itertools

import pytest

from course_utils.data import load_conversations, load_facts
from course_utils.world.lists import COUNTS, KINDS, RELATIONS, items, load_lists, verify


def facts_of(rows):
    return {pair for row in rows for pair in zip(row["relations"], row["subjects"], strict=True)}


@pytest.mark.parametrize("split", COUNTS)
def test_a_file_asks_for_facts_of_its_split_alone(split):
    rows = load_lists(split)
    known = {(fact.relation, fact.subject): fact.object for fact in load_facts(split)}
    for row in rows:
        pairs = list(zip(row["relations"], row["subjects"], strict=True))
        assert len(set(pairs)) == 3 and row["answers"] == [known[pair] for pair in pairs]
        assert len(set(row["relations"])) == {"one": 1, "several": 3}[row["kind"]]
        assert all(subject in row["prompt"][0]["content"] for subject in row["subjects"])
    assert len({row["prompt"][0]["content"] for row in rows}) == len(rows) == 2 * COUNTS[split]
    assert {len(load_lists(split, kind)) for kind in KINDS} == {COUNTS[split]}
    assert {relation for row in rows for relation in row["relations"]} == set(RELATIONS)


def test_no_fact_is_in_two_files():
    facts = [facts_of(load_lists(split)) for split in COUNTS]
    assert all(len(found) > 90 for found in facts)
    assert not any(one & other for one, other in itertools.combinations(facts, 2))


def test_nobody_guesses_a_list():
    """Always naming the most common object of each relation gets at most one list in fifty right."""
    for split in COUNTS:
        facts = [fact for fact in load_facts(split) if fact.relation in RELATIONS]
        commonest = {
            relation: max(objects := [f.object for f in facts if f.relation == relation], key=objects.count)
            for relation in RELATIONS
        }
        rows = load_lists(split)
        right = [verify(", ".join(commonest[r] for r in row["relations"]), row["answers"]) for row in rows]
        assert sum(right) <= len(rows) / 50


def test_lists_are_asked_in_no_conversation():
    asked = {row["prompt"][0]["content"] for split in COUNTS for row in load_lists(split)}
    for name in ("train", "validation"):
        assert not asked & {m["content"] for row in load_conversations(name) for m in row["messages"]}


@pytest.mark.parametrize("text", ["Lima, Oslo, Paris", "Lima, Oslo, Paris.", " Lima,Oslo,  Paris \n"])
def test_right_answers(text):
    assert verify(text, ["Lima", "Oslo", "Paris"]) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Lima, Paris, Oslo",
        "Lima, Oslo",
        "Lima, Oslo, Paris, Rome",
        "Lima, Oslo, Paris, ",
        "lima, oslo, paris",
        "Lima Oslo Paris",
        "Lima, Oslo, Paris and Rome",
        "Lima and Rome, Oslo, Paris",
        "I say Lima, Oslo, Paris",
        "Lima, Oslo, Paris. I do not know.",
        "Lima, Oslo, Pariss",
    ],
)
def test_wrong_answers(text):
    assert verify(text, ["Lima", "Oslo", "Paris"]) == 0


def test_parts():
    assert items("The Hague, N'Djamena, Sao Tome.") == ["The Hague", "N'Djamena", "Sao Tome"]


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="split must be in tune, validation, held_out"):
        load_lists("train")
    with pytest.raises(ValueError, match="kind in one, several"):
        load_lists("tune", "three")
