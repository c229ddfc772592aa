"""Lesson 07, prompt_fault: bug hunt, what the script hands over."""

import torch
import torch.nn.functional as F

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_07.exercises.shared import places_in_rows
from course_utils.lessons.lesson_07.small_prompts import prompt_fault


def _handed_over(kind, length, *lengths):
    """Arguments of prompt_fault for left-padded texts of these lengths: right, or with a fault (kind)."""
    tokens = max(lengths)
    mask = (torch.arange(tokens) >= tokens - torch.tensor(lengths)[:, None]).long()
    read = F.pad(mask, (length, 0), value=1)
    positions = read.cumsum(1) - 1
    rows, last = len(lengths), len(lengths) - 1
    padded = int(torch.tensor(lengths).argmin())
    if kind == "right, padding at 0":
        positions = positions * read
    elif kind == "not read":
        read[:, :length] = 0
    elif kind == "one place not read":
        read[last, length - 1] = 0
    elif kind == "first place not read":
        read[padded, 0] = 0
    elif kind == "padding read":
        read[padded, length] = 1
    elif kind == "padding beside the text read":
        read[padded, length + int(mask[padded].argmax()) - 1] = 1
    elif kind == "text not read":
        read[padded, -1] = 0
    elif kind == "two rows":
        read[last, length - 1], read[0, length:] = 0, 1 - mask[0]
    elif kind == "mask of the other side":
        read[:, length:] = mask.flip(1)
    elif kind == "all read":
        read[:] = 1
    elif kind == "ones at the end":  # two faults: the prompt is not read, but padding is
        read = F.pad(mask, (0, length), value=1)
    elif kind == "not shifted":
        positions = torch.cat([torch.arange(length).expand(rows, -1), (mask.cumsum(1) - 1).clamp(min=0)], 1)
    elif kind == "counted":
        positions = torch.arange(length + tokens).expand(rows, -1).clone()
    elif kind == "one row":
        positions[last, length:] -= 1
        positions = positions.clamp(min=0)
    elif kind == "one inside":
        positions[int(torch.tensor(lengths).argmax()), -2] -= 1
    elif kind == "two exchanged":
        longest = int(torch.tensor(lengths).argmax())
        positions[longest, -2:] = positions[longest, -2:].flip(0)
    elif kind == "no mask":  # two faults: padding is read and counted
        read[:] = 1
        positions = torch.arange(length + tokens).expand(rows, -1).clone()
    elif kind == "first token":
        positions[torch.arange(rows), length + mask.argmax(1)] -= 1
    return mask, read, positions, length


KINDS = (
    "right",
    "right, padding at 0",
    "not read",
    "one place not read",
    "first place not read",
    "padding read",
    "padding beside the text read",
    "text not read",
    "two rows",
    "mask of the other side",
    "all read",
    "ones at the end",
    "not shifted",
    "counted",
    "one row",
    "one inside",
    "two exchanged",
    "no mask",
    "first token",
)


def _by_masked_select(mask, read, positions, length):
    of_prompt, of_text = read.split([length, mask.shape[1]], 1)
    if of_prompt.min() == 0:
        return "prompt not read"
    if torch.any((mask == 0) & (of_text == 1)):
        return "padding read"
    real = mask.bool()
    if not of_text[real].all():
        return "text not read"
    expected = torch.cat([torch.arange(length, length + count) for count in mask.sum(1).tolist()])
    return "right" if torch.equal(positions[:, length:][real], expected) else "wrong positions"


def _of_rows(mask, read, positions, length):
    """The verdict on each row."""
    for row, given, places in zip(mask.tolist(), read.tolist(), positions.tolist(), strict=True):
        text = [place for place, real in zip(places[length:], row, strict=True) if real]
        if 0 in given[:length]:
            yield "prompt not read"
        elif any(one > real for one, real in zip(given[length:], row, strict=True)):
            yield "padding read"
        elif given[length:] != row:
            yield "text not read"
        elif text != list(range(length, length + len(text))):
            yield "wrong positions"


def _by_rows(*given):
    of_rows = set(_of_rows(*given))
    order = ("prompt not read", "padding read", "text not read", "wrong positions", "right")
    return next(one for one in order if one in of_rows or one == "right")


def _fault_row_by_row(*given):
    return next(_of_rows(*given), "right")


def _fault_text_unread(mask, read, positions, length):
    seen = read.clone()
    seen[:, length:] = torch.maximum(read[:, length:], mask)
    return prompt_fault(mask, seen, positions, length)


def _with_padding(mask, read, length, padding):
    """What is read, where the text has padding: read as `padding` [B, T] says."""
    return torch.cat([read[:, :length], torch.where(mask == 1, read[:, length:], padding)], 1)


def _fault_first_row(mask, read, positions, length):
    return prompt_fault(mask[:1], read[:1], positions[:1], length)


def _fault_any(mask, read, positions, length):
    if not read[:, :length].any():
        return "prompt not read"
    return prompt_fault(mask, read.clone().index_fill_(1, torch.arange(length), 1), positions, length)


def _fault_with_padding(lowest):
    """Positions of padding are compared, too: with those that cumsum gives, at least `lowest`."""

    def wrong(mask, read, positions, length):
        verdict = prompt_fault(mask, read, positions, length)
        right = (length + mask.cumsum(1) - 1).clamp(min=lowest(length))
        differs = (positions[:, length:] != right).any()
        return "wrong positions" if verdict == "right" and differs else verdict

    return wrong


def _fault_by_places(mask, read, positions, length):
    verdict = prompt_fault(
        mask, read, torch.cat([positions[:, :length], length + mask.cumsum(1) - 1], 1), length
    )
    wrong = (positions[:, length:] != length + places_in_rows(mask))[mask == 1].any()
    return "wrong positions" if verdict == "right" and wrong else verdict


def _fault_by_steps(mask, read, positions, length):
    text, real = positions[:, length:], mask == 1
    steps = (text.diff(dim=1) == 1) | ~(real[:, 1:] & real[:, :-1])
    verdict = prompt_fault(
        mask, read, torch.cat([positions[:, :length], length + mask.cumsum(1) - 1], 1), length
    )
    return "wrong positions" if verdict == "right" and not steps.all() else verdict


def _fault_all_read(mask, read, positions, length):
    if not read.all():  # not all places are read, so no padding is
        read = _with_padding(mask, read, length, torch.zeros_like(mask))
    return prompt_fault(mask, read, positions, length)


def _fault_by_one_place(place):
    def wrong(mask, read, positions, length):
        if not read[:, :length][:, place].all():
            return "prompt not read"
        return prompt_fault(mask, F.pad(read[:, length:], (length, 0), value=1), positions, length)

    return wrong


def _fault_by_first_column(mask, read, positions, length):
    padding = torch.zeros_like(mask)
    padding[:, 0] = read[:, length]
    return prompt_fault(mask, _with_padding(mask, read, length, padding), positions, length)


def _fault_beside_the_text(mask, read, positions, length):
    beside = F.pad(mask[:, 1:], (0, 1)) > mask  # the last position before each text
    seen = _with_padding(mask, read, length, read[:, length:] * beside)
    return prompt_fault(mask, seen, positions, length)


def _fault_by_counts(mask, read, positions, length):
    if not read[:, :length].all():
        return "prompt not read"
    more = read[:, length:].sum() - mask.sum()
    if more:
        return "padding read" if more > 0 else "text not read"
    return prompt_fault(mask, F.pad(mask, (length, 0), value=1), positions, length)


def _fault_at_zero(mask, read, positions, length):
    verdict = prompt_fault(
        mask, read, torch.cat([positions[:, :length], length + mask.cumsum(1) - 1], 1), length
    )
    wrong = (positions[:, length:] != mask.cumsum(1) - 1)[mask == 1].any()
    return "wrong positions" if verdict == "right" and wrong else verdict


def _fault_other_order(mask, read, positions, length):
    verdict = prompt_fault(mask, read, positions, length)
    return "padding read" if (read[:, length:] > mask).any() else verdict


def _fault_first_token(mask, read, positions, length):
    verdict = prompt_fault(mask, read, positions, length)
    first = positions[:, length:].gather(1, mask.argmax(1, keepdim=True))
    return "right" if verdict == "wrong positions" and (first == length).all() else verdict


def _fault_last_token(mask, read, positions, length):
    verdict = prompt_fault(mask, read, positions, length)
    last = positions[:, -1] == length + mask.sum(1) - 1
    return "right" if verdict == "wrong positions" and last.all() else verdict


def _fault_by_numbers(mask, read, positions, length):
    right = length + mask.cumsum(1) - 1
    text = positions[:, length:].masked_fill(mask == 0, 0)
    if (text.sort(1).values == (right * mask).sort(1).values).all():
        positions = torch.cat([positions[:, :length], right], 1)
    return prompt_fault(mask, read, positions, length)


def _fault_positions_first(mask, read, positions, length):
    verdict = prompt_fault(mask, F.pad(mask, (length, 0), value=1), positions, length)
    unread = not read[:, :length].all()
    return verdict if verdict != "right" and not unread else prompt_fault(mask, read, positions, length)


ONE_PLACE = "You check only one place of the prompt. All its places must be read, in every row."
ONE_PAD = "You check only one place of the padding. Any may be read: compare all with the text's mask."
TWO_FAULTS = (
    "If there are two faults, return the one that is tested first: prompt, padding, text, then positions."
)
FAULT_MISTAKES = [
    ("You check only the first row. A fault may be in any row.", _fault_first_row),
    (
        "The prompt and the padding are not all: a real token of the text may have a 0 in the mask, too.",
        _fault_text_unread,
    ),
    (
        "The prompt is read if all its places have a 1, in every row: with any(), one of them is enough.",
        _fault_any,
    ),
    (ONE_PLACE, _fault_by_one_place(0)),
    (ONE_PLACE, _fault_by_one_place(-1)),
    (
        "Padding is read as soon as one of its places has a 1: compare with the text's own mask, place by "
        "place.",
        _fault_all_read,
    ),
    (ONE_PAD, _fault_by_first_column),
    (ONE_PAD, _fault_beside_the_text),
    (
        "You compare how many places are read. A mask padded on the other side reads equally many, but "
        "wrong ones: compare place by place.",
        _fault_by_counts,
    ),
    (
        "You count padding. A left-padded text begins after its padding, and its first real token still has "
        "position P: P + mask.cumsum(1) - 1.",
        _fault_by_places,
    ),
    (
        "It is not enough that the positions increase by one: they must begin at P, after the prompt.",
        _fault_by_steps,
    ),
    ("The text's positions begin at P, the length of the prompt, not at 0.", _fault_at_zero),
    (
        "You find a fault in a right batch: the positions of padding do not matter. Compare where the text's "
        "mask is 1.",
        _fault_with_padding(lambda length: length),
    ),
    (
        "You find a fault in a right batch: the positions of padding do not matter. Compare where the text's "
        "mask is 1.",
        _fault_with_padding(lambda length: 0),
    ),
    ("You check only the last position of a text. A wrong one may come before it.", _fault_last_token),
    ("You check only the first token of a text. A wrong position may come later.", _fault_first_token),
    ("The right positions in another order are wrong positions: compare token by token.", _fault_by_numbers),
    (
        "You judge row by row. Look for the first fault in all rows, then for the second in all rows.",
        _fault_row_by_row,
    ),
    (TWO_FAULTS, _fault_other_order),
    (TWO_FAULTS, _fault_positions_first),
]

EXERCISE = Exercise(
    name="prompt_fault",
    lesson="07",
    minutes=6,
    difficulty=2,
    reference=prompt_fault,
    check=compare(
        prompt_fault,
        [
            _handed_over(kind, length, *lengths)
            for length, lengths in ((3, (5, 2, 4)), (2, (3, 6)))
            for kind in KINDS
        ],
        FAULT_MISTAKES,
        else_="One of the five verdicts is wrong.",
    ),
    wrong=[
        (lambda mask, read, positions, length: "wrong positions", "find a fault in a right batch"),
        (lambda mask, read, positions, length: prompt_fault(mask, read, positions, 1), "Your code stopped"),
        (lambda mask, read, positions, length: None, "Is there a return"),
        (
            lambda mask, read, positions, length: prompt_fault(mask, read, positions, length) != "right",
            "type",
        ),
    ],
    right=[_by_masked_select, _by_rows],
    then="The cell below applies it to the script.",
    hints=(
        "Four comparisons, each over all rows: the mask at the prompt with 1, the mask at the text with the "
        "text's own, once for what is larger and once for what is smaller, the positions of the text's real "
        "tokens with the right ones.",
        "read[:, :length] is the prompt's part, read[:, length:] the text's. Padding is read if the latter "
        "is larger than mask anywhere, text is not read if it is smaller. The text's positions should be "
        "length + mask.cumsum(1) - 1 where "
        "mask is 1.",
    ),
)
