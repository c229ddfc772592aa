"""Exercises of lesson 08: labels by marker and by position, packing, reading ChatML back."""

from __future__ import annotations

import re

import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.data import IGNORE


def last_answer_labels(input_ids, attention_mask, header, end):
    """Labels [batch, tokens]: loss on each row's last answer and its end, else -100.

    header: the ids after which an answer begins; end: the id that ends it.
    input_ids and attention_mask: [batch, tokens].
    """
    labels = torch.full_like(input_ids, -100)
    for row, ids in enumerate(input_ids.tolist()):
        places = range(len(header), len(ids) + 1)
        starts = [place for place in places if ids[place - len(header) : place] == header]
        if starts:
            start = starts[-1]
            stop = ids.index(end, start) + 1 if end in ids[start:] else len(ids)
            labels[row, start:stop] = input_ids[row, start:stop]
    return labels.masked_fill(attention_mask == 0, -100)


def _conversation(header, end, *turns):
    """Ids of turns: a number is an answer of that many tokens, a list a user's turn of these ids."""
    start, user, newline = header[0], 6, header[-1]
    ids = []
    for turn in turns:
        own = turn if isinstance(turn, list) else torch.randint(40, 90, (turn,)).tolist()
        ids += [start, user, newline] if isinstance(turn, list) else header
        ids += [*own, end, newline]
    return ids


def _padded(rows, pad, header, end):
    width = max(map(len, rows)) + 1
    ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return ids, mask, header, end


def _chats(header, end, pad):
    """The word assistant in users' turns, several answers, a last turn of the user's, an answer cut off."""
    word = header[1:]
    rows = [
        _conversation(header, end, [30, *word, 31], 2),
        _conversation(header, end, [41], 3, [42, 0], 4),
        _conversation(header, end, [43], 2, [*word, 44]),
        _conversation(header, end, [45, 46], 5)[:-3],
    ]
    rows[1][-4] = 0  # a token of the answer
    return _padded(rows, pad, list(header), end)


CHATML = [1, 7, 8], 2  # <|im_start|>assistant newline, <|im_end|>
SHORT = [11, 4], 3


def _no_answer():
    header, end = CHATML
    rows = [_conversation(header, end, [41], 2), _conversation(header, end, [42, 43, 44])]
    return _padded(rows, 0, list(header), end)


def _answers(ids, real, header, end):
    """(start, stop) of every answer among the row's real tokens, and whether it has its end."""
    found = []
    for start in range(len(header), real + 1):
        if ids[start - len(header) : start] == header:
            ended = end in ids[start:real]
            found.append((start, ids.index(end, start) + 1 if ended else real, ended))
    return found


def _learning(spans):
    """A wrong last_answer_labels: spans(a row's answers, its tokens, header) -> (start, stop)s."""

    def wrong(input_ids, attention_mask, header, end):
        labels = torch.full_like(input_ids, IGNORE)
        for row, ids in enumerate(input_ids.tolist()):
            answers = _answers(ids, int(attention_mask[row].sum()), header, end)
            for start, stop in spans(answers, ids, header):
                labels[row, start:stop] = input_ids[row, start:stop]
        return labels

    return wrong


def _last(change):
    """A wrong last_answer_labels: change(start, stop, ended, length of the header) of the last answer."""
    return _learning(lambda answers, ids, header: [change(*answers[-1], len(header))] if answers else [])


def _by_word(input_ids, attention_mask, header, end):
    return last_answer_labels(input_ids, attention_mask, header[1:], end)


def _padding_too(input_ids, attention_mask, header, end):
    return last_answer_labels(input_ids, torch.ones_like(attention_mask), header, end)


def _without(token):
    """A wrong last_answer_labels: token(input_ids, attention_mask) is taken for padding."""

    def wrong(input_ids, attention_mask, header, end):
        labels = last_answer_labels(input_ids, attention_mask, header, end)
        return labels.masked_fill(input_ids == token(input_ids), IGNORE)

    return wrong


def _only_first_row(input_ids, attention_mask, header, end):
    labels = last_answer_labels(input_ids, attention_mask, header, end)
    labels[1:] = IGNORE
    return labels


def _shifted(*arguments):
    return torch.roll(last_answer_labels(*arguments), -1, 1)


def _raising(error):
    """A wrong last_answer_labels that stops at a row without an answer."""

    def wrong(input_ids, attention_mask, header, end):
        for row, mask in zip(input_ids.tolist(), attention_mask, strict=True):
            if not _answers(row, int(mask.sum()), header, end):
                raise error
        return last_answer_labels(input_ids, attention_mask, header, end)

    return wrong


def _row_before(input_ids, attention_mask, header, end):
    labels = torch.full_like(input_ids, IGNORE)
    for row, ids in enumerate(input_ids.tolist()):
        for start, stop, _ in _answers(ids, int(attention_mask[row].sum()), header, end):
            span = start, stop
        labels[row, slice(*span)] = input_ids[row, slice(*span)]
    return labels


def _ids_in_place(input_ids, attention_mask, header, end):
    labels = last_answer_labels(input_ids, attention_mask, header, end)
    return input_ids.copy_(labels)


def _by_windows(input_ids, attention_mask, header, end):
    labels = torch.full_like(input_ids, IGNORE)
    windows = input_ids.unfold(1, len(header), 1)  # (batch, places, len(header))
    for row, found in enumerate((windows == torch.tensor(header)).all(-1)):
        if not found.any():
            continue
        place = int(found.nonzero()[-1]) + len(header)
        while place < input_ids.shape[1] and attention_mask[row, place]:
            labels[row, place] = input_ids[row, place]
            if input_ids[row, place] == end:
                break
            place += 1
    return labels


def _from_the_end(input_ids, attention_mask, header, end):
    size, rows = len(header), []
    for ids, real in zip(input_ids.tolist(), attention_mask.sum(1).tolist(), strict=True):
        row = [IGNORE] * len(ids)
        for start in reversed(range(size, real + 1)):
            if ids[start - size : start] == header:
                stop = next((place + 1 for place in range(start, real) if ids[place] == end), real)
                row[start:stop] = ids[start:stop]
                break
        rows.append(row)
    return torch.tensor(rows)


NO_ANSWER = "A row without an answer has no labels: -100 everywhere, and no error."
LAST_MISTAKES = [
    ("Only row 0 has labels. A batch has as many rows as it has conversations.", _only_first_row),
    (
        "There is loss on padding. The answer of the last row is cut off, so it has no end marker; it ends "
        "where attention_mask does.",
        _padding_too,
    ),
    (
        "The labels are one place too early: they are not shifted here. The label at a position is the token "
        "at that position; the loss does the shift.",
        _shifted,
    ),
    (
        "The header carries loss. The model never has to write <|im_start|>assistant: whoever serves it puts "
        "that there.",
        _last(lambda start, stop, ended, header: (start - header, stop)),
    ),
    (
        "Off by one: the last token of the header carries loss too.",
        _last(lambda start, stop, ended, header: (start - 1, stop)),
    ),
    (
        "Rows have two answers, and the first answer carries loss. Only the last one should.",
        _learning(lambda answers, ids, header: [span[:2] for span in answers[:1]]),
    ),
    (
        "Rows have two answers, and every answer carries loss. Only the last one should.",
        _learning(lambda answers, ids, header: [span[:2] for span in answers]),
    ),
    (
        "Off by one: the first token of the answer carries no loss.",
        _last(lambda start, stop, ended, header: (start + 1, stop)),
    ),
    (
        "The end marker carries no loss. A model trained on that never stops.",
        _last(lambda start, stop, ended, header: (start, stop - ended)),
    ),
    (
        "There is loss on what comes after the end marker. Nobody lets the model write that.",
        _last(lambda start, stop, ended, header: (start, stop + ended)),
    ),
    (
        "There is loss in a system line or question. The word assistant occurs there as an ordinary token; "
        "the header is the whole sequence of ids.",
        _by_word,
    ),
    (
        "With the end marker as the padding token the labels change. Tell padding by attention_mask, not by "
        "id.",
        _without(lambda ids: ids[0, -1]),
    ),
    ("Token 0 is taken for padding. Tell padding by attention_mask, not by id.", _without(lambda ids: 0)),
    (NO_ANSWER, _raising(IndexError())),
    (NO_ANSWER, _raising(ValueError())),
    (NO_ANSWER, _raising(TypeError())),
]


def labels_by_position(input_ids, prompt_lengths, lengths):
    """Labels [batch, tokens] of right-padded rows: -100 at prompts and padding.

    prompt_lengths, lengths [batch]: tokens of the prompt, of prompt and completion.
    """
    position = torch.arange(input_ids.shape[1])
    learn = (position >= prompt_lengths[:, None]) & (position < lengths[:, None])  # (batch, tokens)
    return input_ids.masked_fill(~learn, -100)


def _completions(pad, prompts, lengths):
    """Rows whose last real token is the padding's id, as where the end marker pads; token 0 among them."""
    prompts, lengths = torch.tensor(prompts), torch.tensor(lengths)
    ids = torch.randint(20, 90, (len(lengths), int(lengths.max())))
    ids[0, prompts[0] + 1], ids[1, prompts[1] + 1] = 0, pad
    ids.masked_fill_(torch.arange(ids.shape[1]) >= lengths[:, None] - 1, pad)
    return ids, prompts, lengths


def _with(begin, stop):
    def wrong(input_ids, prompt_lengths, lengths):
        position = torch.arange(input_ids.shape[1])
        learn = (position >= begin(prompt_lengths)[:, None]) & (position < stop(lengths)[:, None])
        return input_ids.masked_fill(~learn, IGNORE)

    return wrong


def _masked_by_id(token):
    def wrong(input_ids, prompt_lengths, lengths):
        labels = labels_by_position(input_ids, prompt_lengths, lengths)
        return labels.masked_fill(input_ids == token(input_ids), IGNORE)

    return wrong


def _position_in_place(input_ids, prompt_lengths, lengths):
    right = labels_by_position(input_ids, prompt_lengths, lengths)
    return input_ids.copy_(right)


def _row_slices(input_ids, prompt_lengths, lengths):
    labels = torch.full_like(input_ids, IGNORE)
    for row in range(len(input_ids)):
        learnt = slice(int(prompt_lengths[row]), int(lengths[row]))
        labels[row, learnt] = input_ids[row, learnt]
    return labels


def _by_where(input_ids, prompt_lengths, lengths):
    place = torch.ones_like(input_ids).cumsum(1)
    hidden = (place <= prompt_lengths.view(-1, 1)) | (place > lengths.view(-1, 1))
    return torch.where(hidden, torch.tensor(IGNORE), input_ids)


POSITION_MISTAKES = [
    (
        "The end of every answer is masked. Here the padding has the id of the end marker (pad = eos), and "
        "you mask by id: the model would never learn to stop. Mask by position.",
        _masked_by_id(lambda ids: ids[0, -1]),
    ),
    ("Token 0 is masked: you mask by id. Mask by position.", _masked_by_id(lambda ids: 0)),
    (
        "There is loss on padding: positions from `lengths` on carry none.",
        _with(lambda p: p, lambda n: n * 0 + n.max()),
    ),
    (
        "There is loss on the prompts: positions before `prompt_lengths` carry none.",
        _with(lambda p: p * 0, lambda n: n),
    ),
    (
        "Off by one: the last token of the prompt carries loss. Labels are not shifted here; the loss "
        "function does that.",
        _with(lambda p: p - 1, lambda n: n),
    ),
    (
        "Off by one: the first token of the completion carries no loss. Labels are not shifted here; the "
        "loss function does that.",
        _with(lambda p: p + 1, lambda n: n),
    ),
    (
        "The last token of every completion is masked: the end marker, as a rule.",
        _with(lambda p: p, lambda n: n - 1),
    ),
    ("Every row got the lengths of row 0.", _with(lambda p: p * 0 + p[0], lambda n: n * 0 + n[0])),
    ("Nothing is masked.", lambda ids, prompts, lengths: ids),
    (
        "`lengths` counts prompt and completion together; it is not added to `prompt_lengths`.",
        lambda ids, prompts, lengths: labels_by_position(ids, prompts, prompts + lengths),
    ),
    (
        "The mask is turned round: the completions are masked, and the rest carries loss.",
        lambda ids, prompts, lengths: torch.where(
            labels_by_position(ids, prompts, lengths) == IGNORE, ids, IGNORE
        ),
    ),
]


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


def _packed(*rows):
    """Documents of these lengths in each row, padded to the longest one."""
    width = max(map(sum, rows))
    numbered = [[i for i, length in enumerate(row, 1) for _ in range(length)] for row in rows]
    return (torch.tensor([row + [0] * (width - len(row)) for row in numbered]),)


def _padding_as_document(documents):
    return packed_positions(documents.masked_fill(documents == 0, int(documents.max()) + 1))


def _row_0_everywhere(documents):
    return packed_positions(documents)[0].expand_as(documents).contiguous()


def _flattened(documents):
    return packed_positions(documents.reshape(1, -1)).view_as(documents)


def _documents_in_place(documents):
    right = packed_positions(documents)
    documents.mul_(2)
    return right


def _counting(documents):
    rows = []
    for row in documents.tolist():
        seen = {}
        rows.append([])
        for document in row:
            rows[-1].append(seen.get(document, 0) if document else 0)
            seen[document] = seen.get(document, 0) + 1
    return torch.tensor(rows)


def _by_comparing(documents):
    same = documents[:, :, None] == documents[:, None, :]  # (batch, tokens, tokens)
    return (same.long().tril(-1).sum(-1) * (documents > 0)).int()


PACKED_MISTAKES = [
    (
        "The positions run on from one document into the next. Each should begin at 0, as if it were alone: "
        "the model has learnt what stands at position 0.",
        lambda d: torch.arange(d.shape[1]).expand_as(d).contiguous(),
    ),
    (
        "The positions run on from one document into the next. Each should begin at 0, as if it were alone: "
        "the model has learnt what stands at position 0.",
        lambda d: torch.arange(d.shape[1]).expand_as(d) * (d > 0),
    ),
    ("The positions begin at 1. GPT-2's begin at 0.", lambda d: packed_positions(d) + 1),
    ("The positions begin at 1. GPT-2's begin at 0.", lambda d: (packed_positions(d) + 1) * (d > 0)),
    ("The documents are right, and padding is not: give it 0.", _padding_as_document),
    (
        "The documents are right, and padding is not: give it 0.",
        lambda d: packed_positions(d).masked_fill(d == 0, 9),
    ),
    (
        "The documents are right, and padding is not: give it 0.",
        lambda d: packed_positions(d).masked_fill(d == 0, -1),
    ),
    ("Row 0 is right, the others are not: each row has boundaries of its own.", _row_0_everywhere),
    ("A row's first document is counted on from the row before: every row begins at 0.", _flattened),
    (
        "Positions are whole numbers: they are looked up in an embedding.",
        lambda d: packed_positions(d).float(),
    ),
    ("These are the documents' numbers. Count each one's tokens from 0.", lambda d: d),
]


def parse_chatml(text):
    """Messages of ChatML text, as {"role", "content"}; the last may be unfinished."""
    messages = []
    for block in text.split("<|im_start|>")[1:]:
        role, _, rest = block.partition("\n")
        content, _, _ = rest.partition("<|im_end|>")
        messages.append({"role": role, "content": content})
    return messages


def _chatml(*messages):
    return "".join(f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in messages)


FIRST_TEXT = _chatml(
    ("system", "You are a helpful assistant."),
    ("user", "Write two lines.\nThe user waits."),
    ("assistant", "One.\nTwo."),
    ("user", "Is 1 < 2 | 3?"),
)
SECOND_TEXT = _chatml(("user", "Call it: user\n\nnow"), ("tool", '{"user": 7}'), ("assistant", "")) + (
    "<|im_start|>user\nNothing follows.<|im_end|>"
)
UNFINISHED = (
    "An answer that is still being written has no <|im_end|> yet. Its message should be there, with what "
    "there is, if only an empty content."
)


def _parse(change):
    def wrong(text):
        return change(parse_chatml(text), text)

    return wrong


def _contents(change):
    return _parse(lambda messages, text: [m | {"content": change(m["content"])} for m in messages])


def _finished_only(text):
    return [
        {"role": role, "content": content}
        for role, content in re.findall(r"<\|im_start\|>(\w+)\n(.*?)<\|im_end\|>", text, re.DOTALL)
    ]


def _without_empty_turn(text):
    return [
        message for message in parse_chatml(text) if message["content"] or f"{message['role']}\n<" in text
    ]


def _ended_by_newline(text):
    blocks = [block.removesuffix("<|im_end|>\n") for block in text.split("<|im_start|>")[1:]]
    return [dict(zip(("role", "content"), block.split("\n", 1), strict=True)) for block in blocks]


def _by_pattern(text):
    pattern = r"<\|im_start\|>([^\n]*)\n(.*?)(?:<\|im_end\|>|\Z)"
    return [{"role": m[1], "content": m[2]} for m in re.finditer(pattern, text, re.DOTALL)]


def _by_find(text):
    messages, place = [], text.find("<|im_start|>")
    while place >= 0:
        line = text.index("\n", place)
        stop = text.find("<|im_end|>", line)
        role = text[place + len("<|im_start|>") : line]
        messages.append(dict(content=text[line + 1 : stop if stop >= 0 else None], role=role))
        place = text.find("<|im_start|>", line)
    return messages


MARKER_LEFT = "There is a marker left in a role or content."
PARSE_MISTAKES = [
    (
        "There is a marker left in a content: it ends before <|im_end|>, whether a newline follows or not.",
        _ended_by_newline,
    ),
    (MARKER_LEFT, _contents(lambda content: content + "<|im_end|>\n")),
    (MARKER_LEFT, _contents(lambda content: content + "<|im_end|>")),
    (
        MARKER_LEFT,
        _parse(lambda messages, text: [m | {"role": "<|im_start|>" + m["role"]} for m in messages]),
    ),
    (
        "The first message is empty: what stands before the first <|im_start|> is no message.",
        _parse(lambda messages, text: [{"role": "", "content": ""}, *messages]),
    ),
    ("The first message is missing, whoever speaks it.", _parse(lambda messages, text: messages[1:])),
    (
        "The system line is missing. It is a message as the others are.",
        _parse(lambda messages, text: [m for m in messages if m["role"] != "system"]),
    ),
    (
        "Only the first line of a content is kept. It ends at <|im_end|>, not at a newline.",
        _contents(lambda content: content.split("\n")[0]),
    ),
    ("The newline after <|im_end|> got into a content.", _contents(lambda content: content + "\n")),
    ("The newline before a content got into it.", _contents(lambda content: "\n" + content)),
    (
        "The roles differ: the role is what stands between <|im_start|> and the first newline.",
        _parse(lambda messages, text: [m | {"role": "user"} for m in messages]),
    ),
    (
        "A message with an empty content is missing.",
        _parse(lambda messages, text: [m for m in messages if m["content"]]),
    ),
    (
        'Return a list of {"role": ..., "content": ...}.',
        _parse(lambda messages, text: [m["content"] for m in messages]),
    ),
    (
        'Return a list of {"role": ..., "content": ...}.',
        _parse(lambda messages, text: [(m["role"], m["content"]) for m in messages]),
    ),
]


EXERCISES = [
    Exercise(
        name="last_answer_labels",
        lesson="08",
        minutes=15,
        difficulty=3,
        reference=last_answer_labels,
        check=compare(
            last_answer_labels,
            lambda: [_chats(*CHATML, pad=0), _chats(*SHORT, pad=3)],
            LAST_MISTAKES,
            else_="The last answer of each row and its end marker have their ids as labels, all else -100.",
            extremes=[(NO_ANSWER, lambda: [_no_answer()])],
        ),
        wrong=[
            (_row_before, "A row without an answer"),
            (lambda ids, mask, header, end: None, "Is there a return"),
            (_ids_in_place, "changes its argument input_ids in place"),
            (
                lambda ids, mask, header, end: last_answer_labels(ids, mask, [1, 7, 8], 2),
                "The last answer of",
            ),
            (lambda ids, mask, header, end: ids, "The last answer of"),
        ],
        right=[_by_windows, _from_the_end],
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
        check=compare(
            labels_by_position,
            lambda: [_completions(2, [2, 4, 2], [5, 7, 4]), _completions(9, [3, 1], [6, 9])],
            POSITION_MISTAKES,
            else_="Positions from prompt_lengths up to lengths keep their ids, all others have -100.",
        ),
        wrong=[
            (_position_in_place, "changes its argument input_ids in place"),
            (lambda ids, prompts, lengths: torch.zeros_like(ids), "Positions from prompt_lengths"),
            (
                lambda ids, prompts, lengths: torch.roll(labels_by_position(ids, prompts, lengths), -1, 1),
                "Positions from prompt_lengths",
            ),
            (
                lambda ids, prompts, lengths: labels_by_position(ids, prompts, lengths) != IGNORE,
                "should have the dtype",
            ),
        ],
        right=[_row_slices, _by_where],
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
        check=compare(
            packed_positions,
            [_packed([3, 2, 1], [1, 4], [5, 2]), _packed([8], [8], [2, 1, 1, 4], [4]), _packed([2, 2])],
            PACKED_MISTAKES,
            else_="A token's position is its distance from the beginning of its document.",
        ),
        wrong=[
            (_documents_in_place, "changes its argument documents in place"),
            (lambda d: torch.zeros_like(d), "distance from the beginning"),
            (lambda d: None, "Is there a return"),
        ],
        right=[_counting, _by_comparing],
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
        check=compare(
            parse_chatml,
            [(FIRST_TEXT,), (SECOND_TEXT,)],
            PARSE_MISTAKES,
            else_="Each message has a role, up to the first newline, and a content, up to <|im_end|>.",
            extremes=[
                (
                    UNFINISHED,
                    [
                        (FIRST_TEXT + "<|im_start|>assistant\nOnly",),
                        (FIRST_TEXT + "<|im_start|>assistant\n",),
                    ],
                )
            ],
        ),
        wrong=[
            (_finished_only, "still being written"),
            (_without_empty_turn, "still being written"),
            (_parse(lambda messages, text: None), "Is there a return"),
            (_parse(lambda messages, text: [m | {"end": True} for m in messages]), "should have the keys"),
            (_parse(lambda messages, text: messages[::-1]), "Each message has a role"),
        ],
        right=[_by_pattern, _by_find],
        hints=(
            "Every message begins with <|im_start|>: split there first, and take each part apart.",
            "For each part after the first <|im_start|>: the role goes up to the first newline, the "
            "content from there up to <|im_end|>. str.partition splits once and does not mind a missing "
            "mark.",
        ),
    ),
]
