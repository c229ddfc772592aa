"""Own files: reports of bad lines, near copies compared with all pairs, splits without leaks."""

import bz2
import gzip
import itertools
import json
import lzma
import os
import random
import re
import time

import pytest

from course_utils.chatml import add_chat_tokens, encode_conversation
from course_utils.making import examples
from course_utils.own.own_data import (
    EXAMPLES,
    NEAR,
    Conversation,
    DataError,
    Preference,
    chosen_conversations,
    contradictions,
    exact_key,
    fit_conversations,
    fit_preferences,
    leaks,
    line_list,
    marker_lines,
    near_copies,
    near_pairs,
    overlap,
    question_groups,
    read_conversations,
    read_preferences,
    scan_conversations,
    scan_preferences,
    shorten,
    split_words,
    token_counts,
    without_duplicates,
    word_weights,
)
from course_utils.preferences import Pair


def talk(*turns, line=1, system=None):
    """A conversation: user, assistant, user, ..."""
    messages = [{"role": "system", "content": system}] if system else []
    roles = itertools.cycle(("user", "assistant"))
    messages += [{"role": role, "content": turn} for role, turn in zip(roles, turns, strict=False)]
    return Conversation(line, messages)


def line(*turns):
    return json.dumps({"messages": talk(*turns).messages})


GOOD = line("Who?", "Me.")


def faults_of(tmp_path, *lines, name="my.jsonl", scan=scan_conversations):
    path = tmp_path / name
    path.write_bytes(b"\n".join(part if isinstance(part, bytes) else part.encode() for part in lines))
    return {fault.line: fault.reason for fault in scan(path)[1]}


@pytest.mark.parametrize(
    "bad, reason",
    [
        ('{"messages": [}', "column 15: not JSON (Expecting value)"),
        ("[" * 100_000, "nested too deeply"),
        ('{"messages": ' + "9" * 5000 + "}", "a number has more than 4,300 digits"),
        (line("Who?", "me " * 400_000), "the line has 1,2"),
        (b'{"messages": "\xe9"}', "not UTF-8 text, at byte 15"),
        ('{"messages": "\\ud83d"}', "half of a surrogate pair"),
        ("17", "expected an object, {...}, got 17"),
        ("{}", "the line has no fields"),
        ('{"text": "a"}', "no \"messages\"; the line has 'text'"),
        ('{"conversations": []}', "ShareGPT"),
        ('{"instruction": "a", "input": "", "output": "b"}', "Alpaca"),
        ('{"prompt": "a", "chosen": "b", "rejected": "c"}', "give the file as PAIRS"),
        ('{"messages": []}', 'expected "messages"'),
        ('{"messages": [{"role": "bot", "content": "a"}]}', "message 1 has the role 'bot'"),
        (line("Who?"), "no assistant turn"),
        (line("Who?", "Me.", "Why?"), "ends with a turn of the user"),
        (line("Who?", "  "), "message 2 (assistant) is empty"),
        ('{"messages": [{"role": "assistant", "content": "Hello."}]}', "the assistant speaks first"),
    ],
)
def test_a_bad_line_is_named_with_its_reason(tmp_path, bad, reason):
    found = faults_of(tmp_path, GOOD, "", bad, GOOD)
    assert list(found) == [3] and reason in found[3]


def test_all_bad_lines_are_named_up_to_a_limit_and_nothing_is_returned(tmp_path):
    path = tmp_path / "my.jsonl"
    path.write_text("\n".join([GOOD, *(["{"] * 30)]))
    with pytest.raises(DataError) as error:
        read_conversations(path)
    message = str(error.value)
    assert "my.jsonl: 30 lines of 31 cannot be used, and nothing was trained" in message
    assert "line 2: " in message and "line 21: " in message and "line 22: " not in message
    assert "... and 10 more" in message and len(error.value.faults) == 30


def test_windows_files_are_read(tmp_path):
    path = tmp_path / "my.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + f"{GOOD}\r\n\r\n{GOOD}\r\n".encode())
    assert [row.line for row in read_conversations(path)] == [1, 3]
    path.write_bytes(GOOD.encode("utf-16"))
    with pytest.raises(DataError, match="UTF-16"):
        read_conversations(path)


def test_an_array_among_lines_is_one_bad_line(tmp_path):
    for lines in (["", '["Who?", "Me."]', GOOD], ['["Who?", "Me."]', "", GOOD], [GOOD, "[]"]):
        found = faults_of(tmp_path, *lines)
        assert ["expected an object" in reason for reason in found.values()] == [True]


def test_a_first_line_that_is_nested_deeply_is_named(tmp_path):
    found = faults_of(tmp_path, "[" * 200_000, GOOD)
    assert list(found) == [1] and "nested too deeply" in found[1]


@pytest.mark.parametrize("name", ["my.jsonl", "my.csv"])
@pytest.mark.parametrize(
    "content, message",
    [
        (gzip.compress(GOOD.encode()), r"compressed \(gzip\); unpack it"),
        (bz2.compress(GOOD.encode()), r"compressed \(bzip2\); unpack it"),
        (lzma.compress(GOOD.encode()), r"compressed \(xz\); unpack it"),
        (bytes.fromhex("28b52ffd2400010000"), r"compressed \(zstd\); unpack it"),
        (b"PK\x03\x04rest", r"a zip archive or a spreadsheet \(xlsx, ods\); unpack it, or save .* as CSV"),
        (bytes.fromhex("d0cf11e0a1b11ae1") + bytes(500), r"a spreadsheet of old Excel \(xls\); save"),
        (b"PAR1\x15\x04\x15rest", r"a Parquet table; .* pandas.read_parquet\(.*lines=True\)"),
        (b"%PDF-1.7\n", "a PDF; save its questions and answers as a table, in CSV"),
        (GOOD.encode("utf-32"), "UTF-32 text; save the file as UTF-8"),
        (GOOD.encode("utf-16-le"), "UTF-16 or UTF-32 text"),
        (GOOD.encode("utf-16-be"), "UTF-16 or UTF-32 text"),
        (GOOD.encode("utf-32-be"), "UTF-16 or UTF-32 text"),
    ],
    ids="gzip bzip2 xz zstd zip xls parquet PDF UTF-32 UTF-16-LE UTF-16-BE UTF-32-BE".split(),
)
def test_what_is_no_text_file_in_utf_8_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name}: this is {message}"):
        read_conversations(tmp_path / name)


def test_folders_pipes_and_archives_are_named(tmp_path):
    (tmp_path / "a.jsonl").mkdir()
    if os.name == "posix":
        os.mkfifo(tmp_path / "b.jsonl")
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(GOOD.encode()))
    for name, message in (
        ("a.jsonl", "a folder"),
        ("b.jsonl", "a pipe or a device"),
        ("c.jsonl.gz", r"compressed \(gzip\)"),
    ):
        if not (tmp_path / name).exists():
            continue  # only Unix has pipes among its files
        for read in (read_conversations, read_preferences):
            with pytest.raises(DataError, match=f"{name}: this is {message}"):
                read(tmp_path / name)


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n"])
def test_every_kind_of_line_end_is_read(tmp_path, end):
    (tmp_path / "t.csv").write_bytes(end.join([b"question,answer", b"a?,b", b"", b'c?,"d', b'e"', b"f?,g"]))
    assert [row.line for row in read_conversations(tmp_path / "t.csv")] == [2, 4, 6]
    (tmp_path / "t.jsonl").write_bytes(end.join([GOOD.encode()] * 3))
    assert [row.line for row in read_conversations(tmp_path / "t.jsonl")] == [1, 2, 3]


def test_cells_that_are_too_long_and_columns_named_twice(tmp_path):
    found = faults_of(tmp_path, "question,answer", "a?,b", "c?," + "d" * 140_000, name="t.csv")
    assert list(found) == [3] and "a cell has more than 131,072 characters" in found[3]
    for header in ("question,answer,Answer", "question,question,answer"):
        (tmp_path / "t.csv").write_text(f"{header}\na?,b,c\n")
        with pytest.raises(DataError, match=r"names the column (question|answer) twice"):
            read_conversations(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("q" * 140_000)
    with pytest.raises(DataError, match="columns question and answer"):
        read_conversations(tmp_path / "t.csv")


def test_other_files_are_refused_in_words(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_conversations(tmp_path / "none.jsonl")
    for name, content, message in (
        ("a.txt", GOOD, "ends in .jsonl"),
        ("a.jsonl", "", "no conversations"),
        ("a.jsonl", f"[\n{GOOD}\n]", "one JSON array"),
        ("a.jsonl", f"[{GOOD},\n{GOOD}]", "one JSON array"),
        ("a.jsonl", f"[{GOOD}, {GOOD}]", "one JSON array"),
        ("a.jsonl", f"\n [{GOOD}]\n\n", "one JSON array"),
        ("a.csv", "a,b\n1,2\n", "columns question and answer"),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(DataError, match=message):
            read_conversations(tmp_path / name)


@pytest.mark.parametrize(
    "delimiter, name", [(",", "t.csv"), (";", "t.csv"), ("\t", "t.csv"), ("\t", "t.tsv")]
)
def test_tables_with_quotes_and_line_breaks(tmp_path, delimiter, name):
    rows = [("Answer", "id", "Question "), ('a "b"', "1", f"x{delimiter} y?"), ("two\nlines", "2", "z?")]
    text = "\r\n".join(delimiter.join('"' + c.replace('"', '""') + '"' for c in row) for row in rows)
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
    found = read_conversations(tmp_path / name)
    assert [(row.line, row.asked, row.answers) for row in found] == [
        (2, [f"x{delimiter} y?"], ['a "b"']),
        (3, ["z?"], ["two\nlines"]),
    ]


def test_bad_rows_of_a_table(tmp_path):
    rows = ["question,answer", "a?,b", "c?,d, e", ",b", '"f\ng?",', "", 'h?,"i', "j?,k"]
    found = faults_of(tmp_path, *rows, name="t.csv")
    assert list(found) == [3, 4, 5, 8]
    for number, reason in (
        (3, "3 cells where the first line has 2"),
        (4, "the question is empty"),
        (5, "the answer is empty"),
        (8, "quotation mark left open"),
    ):
        assert reason in found[number]
    assert list(faults_of(tmp_path, "question,answer", b"a?,\xe9", name="t.csv")) == [2]


def test_pairs_as_text_and_as_messages(tmp_path):
    plain = {"prompt": "Who?", "chosen": "I.", "rejected": "Me."}
    chat = {
        "prompt": [{"role": "user", "content": "Who?"}],
        "chosen": [{"role": "assistant", "content": "I."}],
        "rejected": [{"role": "assistant", "content": "Me."}],
    }
    bad = [
        plain | {"chosen": "Me."},
        plain | {"prompt": " "},
        chat | {"chosen": 7},
        {"messages": []},
        {"prompt": "a"},
    ]
    rows = [plain, chat, *bad]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, rows)))
    good, faults, _ = scan_preferences(tmp_path / "p.jsonl")
    assert good[0].pair == good[1].pair and good[0].asked == ["Who?"]
    for fault, reason in zip(
        faults, ("same text", '"prompt"', "must be a text", "as DATA", "no chosen and"), strict=True
    ):
        assert reason in fault.reason
    assert [row.messages for row in chosen_conversations(good)] == [talk("Who?", "I.").messages]
    with pytest.raises(DataError, match="5 lines of 7"):
        read_preferences(tmp_path / "p.jsonl")


def test_contradicting_pairs_are_found(tmp_path):
    rows = [("a", "b", "c"), ("a", "c", "b"), ("x", "c", "b"), ("a", "b", "c")]
    text = [json.dumps(dict(zip(("prompt", "chosen", "rejected"), row, strict=True))) for row in rows]
    (tmp_path / "p.jsonl").write_text("\n".join(text))
    assert contradictions(read_preferences(tmp_path / "p.jsonl")) == [2, 4]


def test_token_counts_are_those_of_the_encoding(model, tokenizer):
    add_chat_tokens(model, tokenizer)
    for conversation in (
        talk("is Paris?", "a cat"),
        talk("a", "b", "is the cat?", "mat", system="Be brief."),
    ):
        example = encode_conversation(tokenizer, conversation.messages)
        targets = sum(label != -100 for label in example.labels)
        assert token_counts(tokenizer, conversation.messages) == (len(example.input_ids), targets)


def test_shorten_keeps_the_system_line_and_the_last_exchange():
    messages = talk("a", "b", "c", "d", "e", "f", system="s").messages
    for limit, kept in ((7, "sabcdef"), (6, "scdef"), (5, "scdef"), (4, "sef"), (3, "sef")):
        assert "".join(m["content"] for m in shorten(messages, len, limit)) == kept
    assert shorten(messages, len, 2) is None
    two = [{"role": "user", "content": c} for c in "xy"] + messages[1:]  # the user speaks twice
    for limit, kept in ((8, "xyabcdef"), (7, "cdef")):
        assert "".join(m["content"] for m in shorten(two, len, limit)) == kept


def test_what_does_not_fit_is_shortened_or_left_out_and_named(model, tokenizer):
    add_chat_tokens(model, tokenizer)
    rows = [talk("a", "b", line=1), talk(*["cat"] * 12, line=2), talk("cat " * 90, "b", line=3)]
    kept, shortened, left_out = fit_conversations(rows, tokenizer, 60)
    assert ([row.line for row in kept], shortened, left_out) == ([1, 2], [2], [3])
    assert all(len(encode_conversation(tokenizer, row.messages).input_ids) <= 60 for row in kept)
    assert kept[1].messages[-2:] == rows[1].messages[-2:] and len(kept[1].messages) < 12


def test_both_answers_of_a_pair_get_the_same_prompt(model, tokenizer, tmp_path):
    add_chat_tokens(model, tokenizer)
    prompt = talk("a", "b", "cat " * 20, "d", "e").messages
    answers = {
        name: [{"role": "assistant", "content": text}]
        for name, text in (("chosen", "x"), ("rejected", "cat " * 10))
    }
    (tmp_path / "p.jsonl").write_text(json.dumps({"prompt": prompt} | answers))
    kept, shortened, left_out = fit_preferences(read_preferences(tmp_path / "p.jsonl"), tokenizer, 60)
    assert [row.pair.prompt for row in kept] == [prompt[-1:]] and shortened == [1] and left_out == []
    assert fit_preferences(kept, tokenizer, 20)[2] == [1]


@pytest.mark.parametrize("long, short", [("chosen", "rejected"), ("rejected", "chosen")])
def test_the_longer_answer_of_a_pair_decides(model, tokenizer, long, short):
    add_chat_tokens(model, tokenizer)
    prompt = talk("cat " * 20, "b", "d").messages
    pair = Pair(prompt, **{long: "cat " * 30, short: "x"})
    size = token_counts(tokenizer, [*prompt, {"role": "assistant", "content": "cat " * 30}])[0]
    rows = [Preference(7, pair)]
    assert fit_preferences(rows, tokenizer, size) == (rows, [], [])
    [kept], *lines = fit_preferences(rows, tokenizer, size - 1)
    assert (kept.pair.prompt, kept.line, lines) == (prompt[-1:], 7, [[7], []])
    assert fit_preferences(rows, tokenizer, 30) == ([], [], [7])


def test_words_of_several_scripts():
    assert split_words("Don't  stop, CAF\u00c9 \uff11!") == ["don", "t", "stop", "café", "1"]
    assert split_words("東京tower") == ["東", "京", "tower"]


@pytest.mark.parametrize("threshold", [0.5, 0.8, 1.0])
def test_near_pairs_are_those_of_comparing_all_with_all(threshold):
    rng = random.Random(3)
    vocabulary = [f"w{n}" for n in range(40)]
    texts = [{*rng.choices(vocabulary, range(1, 41), k=rng.randint(1, 9))} for _ in range(150)]
    texts += [text ^ {rng.choice(vocabulary)} for text in texts[:50]]
    weight = word_weights(texts)
    pairs = itertools.combinations(range(len(texts)), 2)
    expected = [(i, j) for i, j in pairs if overlap(texts[i], texts[j], weight) >= threshold]
    assert len(expected) > 5
    assert near_pairs(texts, threshold) == expected


def test_rare_words_tell_templates_apart():
    places = ["Peru", "Cuba", "Chile", "Spain", "Malta", "Kenya", "Ghana", "Norway", "Italy", "Japan"]
    asked = [f"What is the capital city of the country that is called {place}?" for place in places]
    asked.append("please: what is the capital city of the country that is called Peru")
    asked += [f"Please do something else, number {n}." for n in range(10)]
    assert near_pairs([set(split_words(text)) for text in asked], NEAR) == [(0, 10)]
    plain = len(set(split_words(asked[0])) & set(split_words(asked[1]))) / len(
        set(split_words(asked[0])) | set(split_words(asked[1]))
    )
    assert plain > NEAR  # unweighted, all of them would be one question


def test_duplicates_are_left_out_and_named():
    polite = ("Please: where", "Where")
    filler = [talk(f"{polite[n % 2]} is place {n}?", f"In {n}.", line=10 + n) for n in range(20)]
    rows = [
        talk("What is the capital of Peru?", "Lima", line=1),
        talk("What is  the capital of Peru?", "Lima ", line=2),
        talk("Please, what is the capital of Peru", "Lima.", line=3),
        talk("What is the capital of Peru?", "Quito", line=4),
        talk("What is the capital of Cuba?", "Lima", line=5),
    ]
    kept, exact, near = without_duplicates(rows + filler)
    assert (exact, near) == ([2], [3])
    assert [row.line for row in kept] == [1, 4, 5, *range(10, 30)]
    assert exact_key(talk("a", "b")) != exact_key(talk("a b", ""))


def test_groups_and_leaks():
    asked = [
        ["What is the capital of Peru?"],
        ["what is the CAPITAL of Peru"],
        ["Hello.", "Where is the long road?"],
        ["Where is the long road?", "Thanks."],
        ["Thanks."],
        ["And Peru?"],
        ["Where is the short road?"],
        ["\N{SLIGHTLY SMILING FACE}"],
        ["!"],
    ]
    groups = question_groups(asked)
    assert groups[0] == groups[1] and groups[2] == groups[3]
    assert len({groups[i] for i in (0, 2, 4, 5, 6, 7, 8)}) == 7
    rows = [talk(*(part for turn in turns for part in (turn, "x"))) for turns in asked]
    assert leaks([rows[1], rows[3], rows[4], rows[6]], [rows[0], rows[2], rows[8]]) == [0, 1]


def test_courtesies_do_not_make_another_question():
    """Compared with the example file's source: its questions before courtesies were added."""
    rows, _ = scan_conversations(EXAMPLES / "conversations.jsonl")
    dressed = re.compile(r"^(please tell me|please|hello),?\s*")
    asked = [{dressed.sub("", turn.casefold()).rstrip("?. ") for turn in row.asked} for row in rows]
    groups = question_groups([row.asked for row in rows])
    of_question = {}
    for turns, group in zip(asked, groups, strict=True):
        for turn in turns:
            if len(turn.split()) >= 3:
                of_question.setdefault(turn, set()).add(group)
    assert len(of_question) > 200
    assert max(map(len, of_question.values())) == 1
    assert question_groups([["Thanks."], ["Hello."]]) == [0, 1]


def test_the_shipped_examples_are_what_the_program_makes_and_have_what_the_lesson_needs():
    for name, content in examples.files().items():
        assert (EXAMPLES / name).read_bytes() == content, name
    rows = read_conversations(EXAMPLES / "conversations.jsonl")
    kept, exact, near = without_duplicates(rows)
    assert len(exact) >= 10 and len(near) >= 5 and len(kept) > 250
    assert len(read_preferences(EXAMPLES / "pairs.jsonl")) == 200
    assert len(read_conversations(EXAMPLES / "questions.csv")) == 23
    good, faults = scan_conversations(EXAMPLES / "faulty.jsonl")
    assert [row.line for row in good] == [1, 9] and [fault.line for fault in faults] == [
        2,
        3,
        5,
        6,
        7,
        8,
        10,
        11,
    ]


def many(count, equal):
    """Rows of which a share asks the same question, all with different answers."""
    rng, names = random.Random(0), [f"w{n}" for n in range(count // 5)]
    asked = [" ".join(rng.choices(names, k=3)) if n % equal else "the capital of Peru" for n in range(count)]
    return [talk(f"What is {text}?", f"answer {n // 3}", line=n + 1) for n, text in enumerate(asked)]


@pytest.mark.timing
@pytest.mark.parametrize("count, seconds", [(20_000, 20), (100_000, 60)])
def test_equal_questions_do_not_cost_their_square(count, seconds):
    rows, began = many(count, 2 if count < 100_000 else 10), time.perf_counter()
    kept, _, near = without_duplicates(rows)
    assert near == []
    assert len(set(question_groups([row.asked for row in kept]))) > count / 4
    assert time.perf_counter() - began < seconds


def test_near_copies_are_those_that_all_pairs_of_rows_name():
    rng = random.Random(1)
    rows = [
        talk(
            f"What is the {rng.choice('abc')} of {rng.choice(['Peru', 'peru!', 'Chile'])}?", rng.choice("xy")
        )
        for _ in range(60)
    ] + [talk("?", "x"), talk("?", "x")]
    texts = [set(split_words(row.asked[0])) for row in rows]
    unique = list(dict.fromkeys(map(frozenset, texts)))
    weight = word_weights(unique)
    expected = {
        j
        for j, row in enumerate(rows)
        for i in range(j)
        if rows[i].answers == row.answers and overlap(texts[i], texts[j], weight) >= 0.9
    }
    assert near_copies(rows) == expected and 40 < len(expected) < 60
    assert near_copies(rows[-2:]) == set()


def test_a_long_conversation_is_measured_a_few_times():
    asked = []

    def length(messages):
        asked.append(len(messages))
        return sum(len(message["content"]) for message in messages)

    messages = talk(*["aaaa"] * 4000).messages
    assert len(shorten(messages, length, 40)) == 10 and len(asked) < 20


def test_another_system_line_makes_another_conversation():
    rows = [
        talk("What is the capital of Peru?", "Lima", line=1, system="Answer in one word."),
        talk("what is the capital of Peru", "Lima", line=2, system="Answer in French."),
        talk("what is the capital of Peru", "Lima", line=3, system="Answer in one word."),
    ]
    kept, copies, near = without_duplicates(rows)
    assert ([row.line for row in kept], copies, near) == ([1, 2], [], [3])


def test_a_list_of_lines_ends():
    assert (line_list([]), line_list([3, 8])) == ("none", "3, 8")
    assert line_list(range(1, 999)).endswith("19, 20 and others")


def test_lines_with_typed_markers_are_named(model, tokenizer):
    add_chat_tokens(model, tokenizer)
    rows = [talk("Who?", "Me.", line=n) for n in (1, 2)]
    rows += [talk("a<|im_end|>b", "Me.", line=4), talk("Who?", "x <|endoftext|>", line=5)]
    rows += [talk("<|im_end >", "im_end", line=6)]
    assert marker_lines(tokenizer, rows) == [4, 5]
