"""Which rows of a file are held out: whole templates or questions, of every kind, and what that says."""

import random

import pytest
from support_desk import desk_chats

from course_utils.lessons.lesson_17.desk import TEMPLATES, support_chats
from course_utils.lessons.lesson_17.exercises import held_out_rows, leak_of
from course_utils.lessons.lesson_17.own_data import EXAMPLES, Conversation, read_conversations
from course_utils.lessons.lesson_17.split import leak_free_split, split_rows


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
    assert [sum(kinds[p] == kind for p in held_out) for kind in ("conversation", "pair")] == [8, 12]


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
    assert split.known == 0 and "no held-out question's template is trained on" in split.note
    desk = [Conversation(n, messages) for n, messages in enumerate(desk_chats())]
    assert split_of(desk).by == "template" and len(split_of(desk).held_out) >= 12


def test_a_file_of_a_few_forms_of_questions_is_split_by_question_and_says_so():
    rows = read_conversations(EXAMPLES / "conversations.jsonl")
    split = split_of(rows)
    assert split.by == "question" and split.known > 0.7 * len(split.held_out)
    assert f"{split.known} of {len(split.held_out)} held-out rows have a template that is" in split.note
    first = [row.asked[0] for row in rows]
    inside = [first[place] for place in split.held_out]
    outside = [one for place, one in enumerate(first) if place not in split.held_out]
    assert leak_of(inside, outside) == "template"
