"""Exercises of lesson 08: labels by marker and by position, packing, reading ChatML back."""

from __future__ import annotations

import torch

from course_utils.checks.exercises import Exercise, Mistake, expect_tensor

IGNORE = -100


def last_answer_labels(input_ids, attention_mask, header, end):
    """Labels [batch, tokens]: loss on each row's last answer and its end, else -100.

    header: the ids after which an answer begins; end: the id that ends it.
    input_ids and attention_mask: [batch, tokens].
    """
    labels = torch.full_like(input_ids, -100)
    for row, ids in enumerate(input_ids.tolist()):
        places = range(len(header), len(ids) + 1)
        start = [place for place in places if ids[place - len(header) : place] == header][-1]
        stop = ids.index(end, start) + 1 if end in ids[start:] else len(ids)
        labels[row, start:stop] = input_ids[row, start:stop]
    return labels.masked_fill(attention_mask == 0, -100)


# Ids of a small ChatML: 1 <|im_start|>, 2 <|im_end|>, 5 system, 6 user, 7 assistant, 8 newline, 0 padding
HEADER, END = [1, 7, 8], 2
ROWS = [
    [1, 5, 8, 30, 7, 8, 31, 2, 8, 1, 6, 8, 40, 2, 8, 1, 7, 8, 50, 51, 2, 8],  # "assistant" in the system line
    [1, 6, 8, 41, 2, 8, 1, 7, 8, 52, 53, 2, 8, 1, 6, 8, 42, 2, 8, 1, 7, 8, 54, 55, 2, 8],  # two answers
    [1, 6, 8, 43, 2, 8, 1, 7, 8, 56, 57, 58],  # cut off inside the answer
]
LEARNT = [(18, 21), (22, 25), (9, 12)]


def _batch(fill=0):
    width = max(map(len, ROWS)) + 1
    ids = torch.tensor([row + [fill] * (width - len(row)) for row in ROWS])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ROWS])
    return ids, mask


def _spans(ids, spans):
    labels = torch.full_like(ids, IGNORE)
    for row, (start, stop) in enumerate(spans):
        labels[row, start:stop] = ids[row, start:stop]
    return labels


def _check_last_answer(fn):
    ids, mask = _batch()
    given = ids.clone()
    labels = expect_tensor(fn(ids, mask, list(HEADER), END), ids.shape, "the labels")
    if not torch.equal(ids, given):
        raise Mistake("Your function changes the input_ids it is given. Make a new tensor.")
    right = _spans(ids, LEARNT)
    learn, wanted = labels != IGNORE, right != IGNORE
    if torch.equal(labels, right):
        _check_end_as_padding(fn, right)
        return
    if not learn[1:].any() and learn[0].any():
        raise Mistake("Only row 0 has labels. A batch has as many rows as it has conversations.")
    if (learn & (mask == 0)).any():
        raise Mistake(
            "There is loss on padding. The answer of the last row is cut off, so it has no "
            "end marker; it ends where attention_mask does."
        )
    if torch.equal(learn, torch.roll(wanted, -1, 1)):
        raise Mistake(
            "The labels are one place too early: they are not shifted here. The label at a "
            "position is the token at that position; the loss does the shift."
        )
    if any(learn[row, start - 3 : start].all() for row, (start, _) in enumerate(LEARNT)):
        raise Mistake(
            "The header carries loss. The model never has to write <|im_start|>assistant: whoever "
            "serves it puts that there."
        )
    if any(learn[row, start - 1] and learn[row, start] for row, (start, _) in enumerate(LEARNT)):
        raise Mistake("Off by one: the last token of the header carries loss too.")
    if learn[1, 9:12].any():
        which = "the first answer" if not learn[1, 22:25].any() else "every answer"
        raise Mistake(f"Row 1 has two answers, and {which} carries loss. Only the last one should.")
    if not any(learn[row, start] for row, (start, _) in enumerate(LEARNT)) and learn[0, 19]:
        raise Mistake("Off by one: the first token of the answer carries no loss.")
    if not learn[0, 20] and learn[0, 19]:
        raise Mistake("The end marker carries no loss. A model trained on that never stops.")
    if learn[0, 21]:
        raise Mistake("There is loss on what comes after the end marker. Nobody lets the model write that.")
    if learn[0, 5:16].any():
        raise Mistake(
            "Row 0 has loss in its system line or question. The word assistant occurs there as "
            "an ordinary token; the header is the whole sequence of ids."
        )
    places = learn[0].nonzero().flatten().tolist()
    raise Mistake(f"Row 0 should have loss at positions 18 to 20, yours has it at {places}.")


def _check_end_as_padding(fn, right):
    ids, mask = _batch(fill=END)
    labels = expect_tensor(fn(ids, mask, list(HEADER), END), ids.shape, "the labels")
    if not torch.equal(labels, right):
        raise Mistake(
            "With the end marker as the padding token the labels change. Tell padding by "
            "attention_mask, not by id."
        )


def labels_by_position(input_ids, prompt_lengths, lengths):
    """Labels [batch, tokens] of right-padded rows: -100 at prompts and padding.

    prompt_lengths, lengths [batch]: tokens of the prompt, of prompt and completion.
    """
    position = torch.arange(input_ids.shape[1])
    learn = (position >= prompt_lengths[:, None]) & (position < lengths[:, None])  # (batch, tokens)
    return input_ids.masked_fill(~learn, -100)


def _check_by_position(fn):
    ids = torch.tensor([[3, 4, 5, 6, 2, 2, 2], [7, 8, 9, 10, 11, 12, 15], [13, 2, 14, 2, 2, 2, 2]])
    prompts, lengths = torch.tensor([2, 4, 2]), torch.tensor([5, 7, 4])
    given = ids.clone()
    labels = expect_tensor(fn(ids, prompts, lengths), ids.shape, "the labels")
    if not torch.equal(ids, given):
        raise Mistake("Your function changes the input_ids it is given. masked_fill makes a new tensor.")
    position = torch.arange(7)
    start, stop = prompts[:, None], lengths[:, None]

    def learnt(begin, end):
        return ids.masked_fill(~((position >= begin) & (position < end)), IGNORE)

    if torch.equal(labels, learnt(start, stop)):
        return
    for wrong, message in (
        (
            learnt(start, stop).masked_fill(ids == 2, IGNORE),
            "The end of every answer is masked. Here the padding has the id of the end marker (pad = eos), "
            "and you mask by id: the model would never learn to stop. Mask by position.",
        ),
        (learnt(start, 7), "There is loss on padding: positions from `lengths` on carry none."),
        (learnt(0, stop), "There is loss on the prompts: positions before `prompt_lengths` carry none."),
        (
            learnt(start - 1, stop),
            "Off by one: the last token of the prompt carries loss. Labels are not "
            "shifted here; the loss function does that.",
        ),
        (
            learnt(start + 1, stop),
            "Off by one: the first token of the completion carries no loss. Labels "
            "are not shifted here; the loss function does that.",
        ),
        (learnt(start, stop - 1), "The last token of every completion is masked: the end marker, as a rule."),
        (learnt(prompts[0], lengths[0]), "Every row got the lengths of row 0."),
    ):
        if torch.equal(labels, wrong):
            raise Mistake(message)
    wrong = (labels != learnt(start, stop)).any(1).nonzero()[0].item()
    right = learnt(start, stop)[wrong].tolist()
    raise Mistake(f"Row {wrong} should be {right}, yours is {labels[wrong].tolist()}.")


def packed_positions(documents):
    """Position ids [batch, tokens] of packed rows: from 0 in every document.

    documents [batch, tokens]: 1, 1, 1, 2, 2, ... in each row, and 0 at padding, whose
    position is 0 too.
    """
    position = torch.arange(documents.shape[1]).expand_as(documents)
    first = torch.ones_like(documents, dtype=torch.bool)
    first[:, 1:] = documents[:, 1:] != documents[:, :-1]
    start = torch.where(first, position, 0).cummax(1).values  # (batch, tokens)
    return (position - start).masked_fill(documents == 0, 0)


def _check_packed_positions(fn):
    documents = torch.tensor([[1, 1, 1, 2, 2, 3, 0], [1, 2, 2, 2, 2, 0, 0]])
    right = torch.tensor([[0, 1, 2, 0, 1, 0, 0], [0, 0, 1, 2, 3, 0, 0]])
    given = documents.clone()
    answer = expect_tensor(fn(documents), documents.shape, "the positions")
    if not torch.equal(documents, given):
        raise Mistake("Your function changes the tensor it is given.")
    if answer.is_floating_point():
        raise Mistake("Positions are whole numbers: they are looked up in an embedding.")
    if torch.equal(answer, right):
        return
    real = documents > 0
    if torch.equal(answer[real], torch.arange(7).expand(2, 7)[real]):
        raise Mistake(
            "The positions run on from one document into the next. Each should begin at 0, as "
            "if it were alone: the model has learnt what stands at position 0."
        )
    if torch.equal(answer[real], right[real] + 1):
        raise Mistake("The positions begin at 1. GPT-2's begin at 0.")
    if torch.equal(answer[real], right[real]):
        raise Mistake("The documents are right, and padding is not: give it 0.")
    if torch.equal(answer[0], right[0]) or torch.equal(answer[1], right[0]):
        raise Mistake("Row 0 is right, the others are not: each row has boundaries of its own.")
    raise Mistake(f"Row 0 should be {right[0].tolist()}, yours is {answer[0].tolist()}.")


def parse_chatml(text):
    """Messages of ChatML text, as {"role", "content"}; the last may be unfinished."""
    messages = []
    for block in text.split("<|im_start|>")[1:]:
        role, _, rest = block.partition("\n")
        content, _, _ = rest.partition("<|im_end|>")
        messages.append({"role": role, "content": content})
    return messages


def _check_parse_chatml(fn):
    messages = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "Write two lines.\nThe user waits."},
        {"role": "assistant", "content": "One.\nTwo."},
        {"role": "user", "content": "Is 1 < 2 | 3?"},
    ]
    text = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages)
    answer = fn(text)
    if not isinstance(answer, list) or not all(isinstance(message, dict) for message in answer):
        raise Mistake('Return a list of {"role": ..., "content": ...}.')
    if any(set(message) != {"role", "content"} for message in answer):
        raise Mistake('Each message has two keys: "role" and "content".')
    if any("<|im_" in message["content"] or "<|im_" in message["role"] for message in answer):
        raise Mistake("There is a marker left in a role or content.")
    if answer and answer[0] == {"role": "", "content": ""}:
        raise Mistake("The first message is empty: what stands before the first <|im_start|> is no message.")
    if len(answer) == 3 and answer == messages[1:]:
        raise Mistake("The system line is missing. It is a message as the others are.")
    if len(answer) != len(messages):
        raise Mistake(f"There are {len(messages)} messages; you found {len(answer)}.")
    if [message["role"] for message in answer] != [message["role"] for message in messages]:
        raise Mistake("The roles differ: the role is what stands between <|im_start|> and the first newline.")
    if any(
        ours["content"].splitlines()[0] == its["content"] != ours["content"]
        for ours, its in zip(messages, answer, strict=True)
    ):
        raise Mistake("Only the first line of a content is kept. It ends at <|im_end|>, not at a newline.")
    if any(its["content"] == ours["content"] + "\n" for ours, its in zip(messages, answer, strict=True)):
        raise Mistake("The newline after <|im_end|> got into a content.")
    if answer != messages:
        wrong = next(i for i, (ours, its) in enumerate(zip(messages, answer, strict=True)) if ours != its)
        raise Mistake(f"Message {wrong} should be {messages[wrong]}, yours is {answer[wrong]}.")
    unfinished = fn(text + "<|im_start|>assistant\nOnly")
    if not unfinished or unfinished[-1] != {"role": "assistant", "content": "Only"}:
        raise Mistake(
            "An answer that is still being written has no <|im_end|> yet. Its message should be "
            "there, with what there is."
        )


def _last(change):
    """A wrong last_answer_labels: change(the spans' starts and stops, row) -> spans."""

    def wrong(input_ids, attention_mask, header, end):
        return _spans(input_ids, change(LEARNT))

    return wrong


def _every_answer(ids):
    labels = _spans(ids, LEARNT)
    labels[1, 9:12] = ids[1, 9:12]
    return labels


def _by_id(input_ids, attention_mask, header, end):
    """Right, but it takes the padding's id for padding."""
    labels = _spans(input_ids, LEARNT)
    pad = input_ids[2, -1]
    return labels.masked_fill(input_ids == pad, IGNORE) if pad == end else labels


def _with(begin, stop):
    def wrong(input_ids, prompt_lengths, lengths):
        position = torch.arange(input_ids.shape[1])
        learn = (position >= begin(prompt_lengths)[:, None]) & (position < stop(lengths)[:, None])
        return input_ids.masked_fill(~learn, IGNORE)

    return wrong


def _masked_by_id(input_ids, prompt_lengths, lengths):
    labels = labels_by_position(input_ids, prompt_lengths, lengths)
    return labels.masked_fill(input_ids == input_ids[0, -1], IGNORE)


def _parse(change):
    def wrong(text):
        return change(parse_chatml(text), text)

    return wrong


def _contents(change):
    return _parse(lambda messages, text: [m | {"content": change(m["content"])} for m in messages])


def _finished_only(text):
    import re

    return [
        {"role": role, "content": content}
        for role, content in re.findall(r"<\|im_start\|>(\w+)\n(.*?)<\|im_end\|>", text, re.DOTALL)
    ]


EXERCISES = [
    Exercise(
        name="last_answer_labels",
        lesson="08",
        minutes=15,
        difficulty=3,
        reference=last_answer_labels,
        check=_check_last_answer,
        wrong=[
            (_last(lambda spans: spans[:1]), "Only row 0"),
            (_last(lambda spans: [(a - 3, b) for a, b in spans]), "The header carries loss"),
            (_last(lambda spans: [(a - 1, b) for a, b in spans]), "the last token of the header"),
            (_last(lambda spans: [(a + 1, b) for a, b in spans]), "the first token of the answer"),
            (_last(lambda spans: [(a, b - (a > 12)) for a, b in spans]), "end marker carries no"),
            (_last(lambda spans: [(a, b + (a > 12)) for a, b in spans]), "after the end marker"),
            (_last(lambda spans: [*spans[:2], (9, 27)]), "loss on padding"),
            (_last(lambda spans: [spans[0], (9, 12), spans[2]]), "the first answer"),
            (lambda ids, mask, header, end: _every_answer(ids), "every answer"),
            (_last(lambda spans: [(6, 8), *spans[1:]]), "in its system line or question"),
            (lambda ids, mask, header, end: torch.roll(_spans(ids, LEARNT), -1, 1), "not shifted here"),
            (_by_id, "not by id"),
            (lambda ids, mask, header, end: None, "Is there a return"),
        ],
        hints=(
            "Go through the rows one by one. In each, find the last place where the header's ids stand "
            "together; the answer begins right after them and ends with the next end marker.",
            "For row ids: starts = the places p with ids[p - len(header) : p] == header, take the last. "
            "stop = one after the next `end`, or the row's length. Copy input_ids[row, start:stop] into "
            "labels filled with -100, and put -100 where attention_mask is 0.",
        ),
    ),
    Exercise(
        name="labels_by_position",
        lesson="08",
        minutes=8,
        difficulty=2,
        reference=labels_by_position,
        check=_check_by_position,
        wrong=[
            (_masked_by_id, "you mask by id"),
            (_with(lambda p: p, lambda n: n * 0 + 7), "loss on padding"),
            (_with(lambda p: p * 0, lambda n: n), "loss on the prompts"),
            (_with(lambda p: p - 1, lambda n: n), "the last token of the prompt"),
            (_with(lambda p: p + 1, lambda n: n), "the first token of the completion"),
            (_with(lambda p: p, lambda n: n - 1), "last token of every completion"),
            (_with(lambda p: p * 0 + p[0], lambda n: n * 0 + n[0]), "lengths of row 0"),
            (lambda ids, prompts, lengths: ids, "Row 0 should be"),
        ],
        hints=(
            "Number the positions 0, 1, 2, ... and compare the numbers with the two lengths of each row.",
            "position = torch.arange(tokens) is [tokens]; prompt_lengths[:, None] is [batch, 1]; "
            "comparing them gives [batch, tokens]. input_ids.masked_fill(~learn, -100).",
        ),
    ),
    Exercise(
        name="packed_positions",
        lesson="08",
        minutes=10,
        difficulty=2,
        reference=packed_positions,
        check=_check_packed_positions,
        wrong=[
            (lambda d: torch.arange(d.shape[1]).expand_as(d).contiguous(), "run on"),
            (lambda d: packed_positions(d) + 1, "begin at 1"),
            (lambda d: packed_positions(d).masked_fill(d == 0, 9), "padding is not"),
            (lambda d: packed_positions(d)[:1].expand_as(d).contiguous(), "Row 0 is right"),
            (lambda d: packed_positions(d).float(), "whole numbers"),
            (lambda d: d, "Row 0 should be"),
        ],
        hints=(
            "A document begins where the number differs from the one before. A token's position is its "
            "distance from the beginning of its document.",
            "first = documents[:, 1:] != documents[:, :-1], and True in column 0. Write the column's "
            "number where first is True and 0 elsewhere; the running maximum (cummax over dim 1) is each "
            "token's beginning. Take it off the column's number.",
        ),
    ),
    Exercise(
        name="parse_chatml",
        lesson="08",
        minutes=8,
        difficulty=1,
        reference=parse_chatml,
        check=_check_parse_chatml,
        wrong=[
            (_parse(lambda messages, text: messages[1:]), "system line is missing"),
            (_parse(lambda messages, text: [{"role": "", "content": ""}, *messages]), "first message is"),
            (_contents(lambda content: content + "<|im_end|>\n"), "marker left"),
            (_contents(lambda content: content + "\n"), "newline after"),
            (_contents(lambda content: content.split("\n")[0]), "Only the first line"),
            (_parse(lambda messages, text: [m | {"role": "user"} for m in messages]), "roles differ"),
            (_parse(lambda messages, text: [m["content"] for m in messages]), "Return a list of"),
            (_finished_only, "still being written"),
        ],
        hints=(
            "Every message begins with <|im_start|>: split there first, and take each part apart.",
            "For each part after the first <|im_start|>: the role goes up to the first newline, the "
            "content from there up to <|im_end|>. str.partition splits once and does not mind a missing "
            "mark.",
        ),
    ),
]
