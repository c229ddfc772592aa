"""The steps of a run before training: each returns what goes on, and the notes for the report."""

import random
from collections.abc import Sequence

from course_utils.own import own_data, own_run, remarks
from course_utils.own.left_out import LeftOut
from course_utils.own.own_data import Conversation, Preference
from course_utils.own.rows import DataError, line_list

NOTHING_FOUND = (
    "Nothing was found that has the form of an e-mail address, of an account, card or telephone number, of a "
    "key, or of damaged text."
)


def looked_through(
    files: own_run.Files, conversations: Sequence[Conversation], preferences: Sequence[Preference]
) -> list[str]:
    """Notes on personal data, keys and damaged text, by file; texts are not quoted."""
    read = {
        "DATA": conversations if files.data else [],
        "PAIRS": [row for pair in preferences for row in pair.conversations],
    }
    return [
        f"To be looked at in {name}: {line}."
        for name, rows in read.items()
        for line in remarks.remark_summary(remarks.remarks(rows))
    ] or [NOTHING_FOUND]


def without_copies(
    conversations: Sequence[Conversation], preferences: Sequence[Preference], out: LeftOut
) -> tuple[list[Conversation], list[Preference], list[str]]:
    """(conversations, pairs, notes) without copies, which `out` keeps. DataError if too few are left."""
    different, copies, near = own_data.without_duplicates(conversations)
    pairs, copied = own_data.without_copied_pairs(preferences)
    answered = [lines[0] for lines in own_data.different_answers(different)]
    opposed = own_data.contradictions(preferences)
    longer = sum(len(pair.pair.chosen) > len(pair.pair.rejected) for pair in pairs)
    own_run.enough(different)
    notes = [
        out.take("Exact copies left out", conversations, copies),
        out.take("Near copies left out", conversations, near),
        out.take("Exact copies of pairs left out", preferences, copied),
        f"Questions with different answers: {len(answered)}, first in lines {line_list(answered)}.",
        f"Pairs that contradict an earlier one: {len(opposed)}, lines {line_list(opposed)}.",
        f"Pairs whose chosen answer is the longer one: {longer} of {len(pairs)}; length is learned too.",
    ]
    return different, pairs, notes


def fitted(
    conversations: Sequence[Conversation],
    preferences: Sequence[Preference],
    tokenizer,
    limit: int,
    counts: Sequence[tuple[int, int]],
    out: LeftOut,
) -> tuple[list[Conversation], list[Preference], list[str]]:
    """(conversations, pairs, notes) of at most `limit` tokens; longer ones lose their oldest exchanges.

    counts: the conversations' token_counts. DataError if none fits.
    """
    kept, shortened, too_long = own_data.fit_conversations(conversations, tokenizer, limit, counts)
    pairs, *of_pairs = own_data.fit_preferences(preferences, tokenizer, limit)
    if not kept:
        raise DataError(
            f"no conversation's last exchange fits into {limit} tokens: "
            "shorten it, or choose a BASE that reads more"
        )
    notes = [
        f"Shortened to {limit} tokens: {len(shortened)}, lines {line_list(shortened)}; "
        f"of the pairs {len(of_pairs[0])}, lines {line_list(of_pairs[0])}.",
        out.take("Too long even so, left out", conversations, too_long),
        out.take("Pairs that are too long, left out", preferences, of_pairs[1]),
    ]
    if typed := own_data.marker_lines(tokenizer, kept):
        notes.append(
            f"Markers typed as text, lines {line_list(typed)}: plain characters here. A program that "
            "encodes the rendered template makes control tokens of them."
        )
    if systems := sum(row.messages[0]["role"] == "system" for row in kept):
        notes.append(
            f"{systems} of {len(kept)} conversations have a system line: ask such questions with it."
        )
    return kept, pairs, notes


def drawn_questions(held_out: Sequence[Conversation], most: int, tokenizer, limit: int, seed: int):
    """(own_run.to_ask of at most `most` held-out conversations, drawn at random; notes)."""
    rows = random.Random(seed).sample(list(held_out), min(most, len(held_out)))
    rows = sorted(rows, key=lambda row: row.line)
    notes = []
    if len(rows) < len(held_out):
        notes.append(f"Asked: {len(rows)} of {len(held_out)} held-out conversations, drawn at random.")
    questions = own_run.to_ask(rows, tokenizer, limit)
    if no_room := [row.line for row in rows if row.line not in questions[2]]:
        lines = line_list(no_room)
        notes.append(f"Drawn, and not asked, since question and answer have no room: lines {lines}.")
    return questions, notes
