"""Which rows of a file are held out: whole templates or questions, of every kind, and the report."""

import random

import pytest
from support_desk import desk_chats

from course_utils.lessons.lesson_17.desk import TEMPLATES, support_chats
from course_utils.lessons.lesson_17.exercises.leak_of import leak_of
from course_utils.own.hold_out import held_out_rows
from course_utils.own.own_data import EXAMPLES, Conversation, read_conversations
from course_utils.own.split import leak_free_split, split_rows


@pytest.mark.parametrize("seed", range(5))
def test_no_group_is_on_both_sides_and_shares_are_kept(seed):
    rng = random.Random(seed)
    groups = [rng.randrange(60) for _ in range(300)] + [999] * 100
    kinds = [rng.choice(["conversation", "pair"]) for _ in groups]
    held_out = leak_free_split(groups, kinds, share=0.2, seed=seed)
    inside = {groups[position] for position in held_out}
    assert all((group in inside) == (position in held_out) for position, group in enumerate(groups))
    for kind, (low, high) in zip(dict.fromkeys(kinds), [(0.17, 0.205), (0.1, 0.3)], strict=True):
        assert low < sum(kinds[p] == kind for p in held_out) / kinds.count(kind) < high
    assert 999 not in inside
    assert held_out != leak_free_split(groups, kinds, share=0.2, seed=seed + 1)


def test_pairs_that_ask_what_no_conversation_asks_are_held_out_too():
    groups, kinds = [*range(40), *range(100, 160)], ["conversation"] * 40 + ["pair"] * 60
    held_out = leak_free_split(groups, kinds, share=0.2)
    assert [sum(kinds[p] == kind for p in held_out) for kind in ("conversation", "pair")] == [12, 12]


@pytest.mark.parametrize("count, expected", [(5, 1), (9, 3), (30, 10), (40, 12), (70, 12), (100, 15)])
def test_of_few_rows_a_larger_share_is_held_out(count, expected):
    assert len(leak_free_split(list(range(count)), ["chat"] * count)) == expected


def test_few_rows_give_one_and_many_at_most_two_hundred():
    assert len(leak_free_split(list(range(5)), ["chat"] * 5)) == 1
    assert len(leak_free_split(list(range(5000)), ["chat"] * 5000)) == 200


def test_what_is_given_draws():
    drawn = []

    def first(keys, share, seed):
        drawn.append((list(keys), share, seed))
        return {0}

    assert leak_free_split([7, 8, 7, 9], ["a"] * 4, share=0.5, seed=3, hold_out=first) == [0, 2]
    assert drawn == [([7, 8, 7, 9], 0.5, 3)]


def split_of(rows, seed=0):
    return split_rows(rows, ["conversation"] * len(rows), seed, held_out_rows)


@pytest.mark.parametrize("seed", range(3))
def test_a_file_that_a_program_filled_in_is_split_by_template(seed):
    rows, templates = support_chats(seed)
    split = split_of(rows, seed)
    judged, trained = (
        {templates[place] for place in range(len(rows)) if (place in split.held_out) == inside}
        for inside in (True, False)
    )
    assert split.by == "template" and not judged & trained and len(judged | trained) == len(TEMPLATES)
    assert split.known == 0 and "is one of training but for numbers, names, one word or, in a" in split.note
    desk = [Conversation(n, messages) for n, messages in enumerate(desk_chats())]
    assert split_of(desk).by == "template" and len(split_of(desk).held_out) >= 12


@pytest.mark.parametrize("greeting", ["Hi", "Good morning!", "Hello there", "\N{WAVING HAND SIGN}"])
def test_a_greeting_is_no_template(greeting):
    """Equally many questions that have nothing in common: their words are random letters."""
    rng, rows = random.Random(0), []
    for line in range(150):
        words = ["".join(rng.choices("abcdefghijkl", k=6)) for _ in range(6)]
        said = [greeting, "Hello.", " ".join(words), "So."]
        roles = ["user", "assistant"] * 2
        messages = [{"role": role, "content": text} for role, text in zip(roles, said, strict=True)]
        rows.append(Conversation(line, messages))
    split = split_of(rows)
    assert (split.by, split.groups, len(split.held_out), split.known) == ("template", 150, 22, 0)


def test_one_template_that_is_most_of_a_file_is_named():
    asked = [f"Where is order {n} of mine?" for n in range(60)] + [
        f"Who sells {'x' * n}?" for n in range(1, 9)
    ]
    rows = [Conversation(n, [{"role": "user", "content": text}]) for n, text in enumerate(asked)]
    note = split_of(rows).note
    assert "By template was not possible: 60 of 68 rows would have to stay on one side" in note


def test_a_file_of_a_few_forms_of_questions_is_split_by_question_and_says_so():
    rows = read_conversations(EXAMPLES / "conversations.jsonl")
    split = split_of(rows)
    assert split.by == "question" and split.known > 0.7 * len(split.held_out)
    assert f"{split.known} of {len(split.held_out)} held-out rows have a template that is" in split.note
    first = [row.asked[0] for row in rows]
    inside = [first[place] for place in split.held_out]
    outside = [one for place, one in enumerate(first) if place not in split.held_out]
    assert leak_of(inside, outside) == "template"


@pytest.mark.parametrize("by", ["template", "question"])
def test_the_seed_reaches_each_draw(by):
    rows = support_chats(0)[0] if by == "template" else read_conversations(EXAMPLES / "conversations.jsonl")
    seeds = []

    def drawing(keys, share, seed):
        seeds.append(seed)
        return held_out_rows(keys, share, seed)

    drawn = [split_rows(rows, ["conversation"] * len(rows), seed, drawing) for seed in (7, 8)]
    assert [split.by for split in drawn] == [by, by] and drawn[0].held_out != drawn[1].held_out
    assert seeds == ([7, 8] if by == "template" else [7, 7, 8, 8])
