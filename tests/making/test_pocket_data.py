"""The committed data files: equal to the generator's, split without leaks."""

import itertools
import re

import pytest

from course_utils.data import DATA, load_facts, read_jsonl
from course_utils.making.pocket.datasets import data_files
from course_utils.world.tables import RELATIONS, bare

QUESTION_FILES = ("tune", "validation", "held_out", "invented", "paraphrase", "reading")


def rows(name):
    return read_jsonl(DATA / "questions" / f"{name}.jsonl")


@pytest.mark.slow
def test_committed_files_are_what_the_generator_writes():
    for name, content in data_files().items():
        assert (DATA / name).read_text(encoding="utf-8") == content, (
            f"{name}: run python -m course_utils.making.pocket data"
        )


def test_half_of_every_relation_is_tuned_on_and_a_third_of_the_rest_is_for_choosing():
    for relation, table in RELATIONS.items():
        tune, validation, held_out = (
            [fact for fact in load_facts(relation=relation) if fact.split == split]
            for split in ("tune", "validation", "held_out")
        )
        assert {(f.subject, f.object) for f in tune + validation + held_out} == set(table)
        assert abs(len(tune) - len(validation + held_out)) <= 2
        assert abs(len(held_out) - 2 * len(validation)) <= 4


def test_no_fact_is_in_two_splits():
    splits = {}
    for fact in load_facts():
        splits.setdefault((fact.relation, fact.subject), set()).add(fact.split)
    assert all(len(found) == 1 for found in splits.values())


def test_both_directions_of_a_pair_of_opposites_are_in_one_split():
    split = {(fact.subject, fact.object): fact.split for fact in load_facts(relation="opposite")}
    assert all(split[b, a] == s for (a, b), s in split.items())


def test_there_are_enough_facts_and_the_invented_ones_are_new():
    facts = load_facts()
    real = {(f.relation, f.subject) for f in facts if f.split != "invented"}
    invented = {(f.relation, f.subject) for f in facts if f.split == "invented"}
    assert len(real) >= 1800
    assert len(invented) >= 60
    assert not real & invented


def test_tuning_asks_about_tune_facts_only():
    about = {name: {(r["relation"], r["subject"]) for r in rows(name)} for name in QUESTION_FILES}
    for one, other in itertools.combinations(("tune", "validation", "held_out", "invented"), 2):
        assert about[one] and not about[one] & about[other]
    assert about["held_out"] == about["paraphrase"]
    for name in ("validation", "held_out", "invented", "paraphrase"):
        assert not {r["prompt"] for r in rows("tune")} & {r["prompt"] for r in rows(name)}
    assert not {r["prompt"] for r in rows("held_out")} & {r["prompt"] for r in rows("paraphrase")}


@pytest.mark.parametrize("name", QUESTION_FILES)
def test_form_of_questions(name):
    for row in rows(name):
        assert re.fullmatch(r"Question: .*[?.]\nAnswer:", row["prompt"])
        assert row["completion"].startswith(" ") and not row["completion"].startswith("  ")
        if row["kind"] == "short":
            assert row["completion"] == f" {row['object']}"
        else:
            assert "Answer in a sentence." in row["prompt"]
            assert re.search(rf"(?<!\w){re.escape(row['object'])}(?!\w)", row["completion"])
            assert row["completion"].endswith(".")
        if name == "reading":
            text = row["prompt"].lower()
            assert row["object"].lower() in text and bare(row["subject"]).lower() in text
    kinds = [row["kind"] for row in rows(name)]
    assert kinds.count("short") == kinds.count("sentence")
