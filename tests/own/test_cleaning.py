"""Own files before training: named faults, converted forms, what to inspect, splits by template."""

import json
import random
import re
import time

import pytest

from course_utils.home import home
from course_utils.lessons.lesson_17.desk import TEMPLATES, support_chats
from course_utils.own.chat_forms import CALLS, DEVELOPER, NO_TOOLS, PARTS
from course_utils.own.left_out import LeftOut
from course_utils.own.own_data import (
    EXAMPLES,
    Conversation,
    DataError,
    Preference,
    different_answers,
    fit_conversations,
    question_groups,
    read_conversations,
    read_preferences,
    scan_conversations,
    without_copied_pairs,
    without_duplicates,
)
from course_utils.own.own_run import Files, read_files
from course_utils.own.remarks import Remark, found_in, remark_summary, remarks
from course_utils.own.split import leak_free_split
from course_utils.own.template_groups import template_groups, template_leaks, templates_of
from course_utils.preferences import Pair


def turn(content, role="user", **more):
    return {"role": role, "content": content, **more}


def chat(*messages, **more):
    return json.dumps({"messages": list(messages), **more})


ASKED, ANSWER = turn("Who?"), turn("Me.", "assistant")
GOOD = chat(ASKED, ANSWER)


def call(name="find", arguments='{"x": 1}'):
    return {"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}


CALL = turn("", "assistant", tool_calls=[call()])
FAULTS = [
    ('{"messages": [}', "not JSON"),
    (b'{"messages": "\xe9"}', "not UTF-8 text"),
    ('{"messages": "\\ud83d"}', "half of a surrogate pair"),
    ("17", "expected an object"),
    ('{"text": "a"}', 'no "messages"'),
    ('{"conversations": []}', "ShareGPT"),
    ('{"instruction": "a", "input": "", "output": "b"}', "Alpaca"),
    ('{"prompt": "a", "chosen": "b", "rejected": "c"}', "give the file as PAIRS"),
    ('{"messages": []}', 'expected "messages"'),
    ('{"messages": {"role": "user"}}', 'expected "messages"'),
    (chat("Who?", ANSWER), "message 1 must be"),
    (chat(turn("Who?", "bot"), ANSWER), "message 1 has the role 'bot'"),
    (chat(ASKED), "no assistant turn"),
    (chat(ASKED, ANSWER, ASKED), "ends with a turn of the user"),
    (chat(ASKED, turn("  ", "assistant")), "message 2 (assistant) is empty"),
    (chat(ANSWER), "the assistant speaks first"),
    (
        chat({"role": "user", "contents": "Who?"}, ANSWER),
        "message 1 (user) has no \"content\"; its fields are 'role', 'contents'",
    ),
    (chat({"from": "human", "value": "Who?"}, ANSWER), "got {'from': 'human', 'value': 'Who?'}"),
    (chat(ASKED, ANSWER, turn("Be brief.", "developer"), ASKED, ANSWER), "message 3 is a system line"),
    (chat(ASKED, turn(None, "assistant")), "message 2 (assistant) has no content (null)"),
    (
        chat(turn([{"type": "image_url", "image_url": "x"}]), ANSWER),
        "message 1 has a part of type 'image_url'",
    ),
    (
        chat(ASKED, turn(None, "assistant", tool_calls=[call(arguments="{")])),
        "of the call of find are not JSON",
    ),
    (chat(ASKED, turn(None, "assistant", tool_calls=[{"id": "1"}])), "tool call without a function's name"),
    (chat(ASKED, turn("4", "tool"), ANSWER), "message 2 is the result of a tool, and no call"),
    (chat(ASKED, CALL, 7, turn("4", "tool"), ANSWER), "message 3 must be"),
    (chat(ASKED, CALL, [], turn("4", "function"), ANSWER), "message 3 must be"),
    (chat(ASKED, CALL, turn(5, "tool"), turn("4", "tool"), ANSWER), "message 3"),
    (chat(ASKED, CALL, {"role": "tool"}, turn("4", "tool"), ANSWER), "message 3"),
    (
        chat(ASKED, turn("", "assistant", tool_calls=[call(arguments='{"x": "\\ud83d"}')]), ANSWER),
        "message 2: the arguments of the call of find have half of a surrogate pair",
    ),
]


def test_forty_lines_of_twenty_kinds_of_faults_are_all_named_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    kinds = FAULTS[:10] + FAULTS[12:22]
    assert len(kinds) == 20
    lines = [*kinds, *kinds, *[(GOOD, None)] * 60]
    random.Random(4).shuffle(lines)
    path = tmp_path / "my.jsonl"
    path.write_bytes(b"\n".join(line if isinstance(line, bytes) else line.encode() for line, _ in lines))
    with pytest.raises(DataError) as error:
        read_files(Files(path, None))
    bad = {number: reason for number, (_, reason) in enumerate(lines, start=1) if reason}
    assert len(bad) == 40 and [fault.line for fault in error.value.faults] == list(bad)
    for fault in error.value.faults:
        assert bad[fault.line] in fault.reason
    message = str(error.value)
    assert "40 lines of 100 cannot be used, and nothing was trained" in message
    named = {int(number) for number in re.findall(r"line (\d+): ", message)}
    rest = re.search(r"and 20 more: line ([\d, to]+)\n", message)[1]
    for part in rest.split(", "):
        first, _, last = part.partition(" to ")
        named |= set(range(int(first), int(last or first) + 1))
    assert named == set(bad)
    assert [entry.name for entry in tmp_path.iterdir()] == ["my.jsonl"] and not home().exists()


@pytest.mark.parametrize("bad, reason", FAULTS)
def test_each_fault_is_named_alone(tmp_path, bad, reason):
    path = tmp_path / "my.jsonl"
    path.write_bytes(GOOD.encode() + b"\n" + (bad if isinstance(bad, bytes) else bad.encode()))
    rows, faults = scan_conversations(path)
    assert [row.line for row in rows] == [1]
    assert [fault.line for fault in faults] == [2] and reason in faults[0].reason


def read_one(tmp_path, text):
    (tmp_path / "one.jsonl").write_text(text, encoding="utf-8")
    [row] = read_conversations(tmp_path / "one.jsonl")
    return row


def test_a_developer_and_parts_of_text_are_read(tmp_path):
    parts = [{"type": "text", "text": "Who"}, {"type": "input_text", "text": "is it?"}]
    row = read_one(tmp_path, chat(turn("Be brief.", "developer"), turn(parts, name="Ann"), ANSWER))
    assert row.messages == [turn("Be brief.", "system"), turn("Who\nis it?"), ANSWER]
    assert row.notes == (DEVELOPER, PARTS, "fields of a message are left out: name")
    assert read_one(tmp_path, GOOD).notes == ()
    weighted = chat(ASKED, turn("Me.", "assistant", weight=0, refusal=None))
    assert read_one(tmp_path, weighted).notes == ("fields of a message are left out: weight",)


def test_tool_calls_and_their_results_become_text(tmp_path):
    calls = [call(), call("add", {"a": "é"})]
    messages = [
        ASKED,
        turn("Let me see.", "assistant", tool_calls=calls),
        turn("4", "tool", tool_call_id="1"),
        turn([{"type": "text", "text": "5"}], "tool", tool_call_id="2", name="add"),
        ANSWER,
        turn("And now?"),
        turn(None, "assistant", function_call={"name": "now", "arguments": ""}),
        turn("12:00", "function", name="now"),
        turn("Noon.", "assistant"),
    ]
    row = read_one(tmp_path, chat(*messages, tools=[{"type": "function"}]))
    called = (
        'Let me see.\n<tool_call>\n{"name": "find", "arguments": {"x": 1}}\n</tool_call>\n'
        '<tool_call>\n{"name": "add", "arguments": {"a": "é"}}\n</tool_call>'
    )
    results = "<tool_response>\n4\n</tool_response>\n<tool_response>\n5\n</tool_response>"
    assert row.messages == [
        ASKED,
        turn(called, "assistant"),
        turn(results),
        ANSWER,
        turn("And now?"),
        turn('<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>', "assistant"),
        turn("<tool_response>\n12:00\n</tool_response>"),
        turn("Noon.", "assistant"),
    ]
    assert row.notes == (CALLS, PARTS, NO_TOOLS)


def test_a_call_by_the_user_is_a_fault(tmp_path):
    (tmp_path / "a.jsonl").write_text(chat(turn("x", tool_calls=[call()]), ANSWER))
    with pytest.raises(DataError, match=r"line 1: message 1 \(user\) calls a tool; only the assistant can"):
        read_conversations(tmp_path / "a.jsonl")


def misread(text):
    """UTF-8 decoded as Windows-1252, as browsers do: undefined bytes stay control characters."""
    return "".join(bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in text.encode())


LOOK_AT = {
    "an e-mail address": ["write to ann.b+c@mail.example.org."],
    "an account number (IBAN)": ["DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432 is mine"],
    "a card number": ["4111 1111 1111 1111", "5500-0000-0000-0004."],
    "a telephone number": ["call +49 30 1234567", "(030) 123 45 67", "0171/1234567"],
    "a key or a password": [
        "sk-proj-abcdefghij1234567890ABCD",
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_" + "a1" * 18,
        "hf_" + "aB3" * 11,
        "-----BEGIN RSA PRIVATE KEY-----",
        "password: hunter22",
        "API_KEY = abc123def",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dBjftJeZ4CVPmB92K27uhbUJU1p1r",
    ],
    "damaged characters (UTF-8 read as another encoding)": [
        misread(text) for text in ("Café", "don’t", "naïve", "Привет", "東京の", "5 €")
    ]
    + ["a \ufffd b"],
}
FINE = [
    "Café, don’t, naïve, Привет, 東京, 5 €, «CAFÉ», „Spaß“, À la carte, voilà\u00a0», été\u00a0»",
    "on 2024-01-15 10:30, 01.02.2024 12:00, version 1.2.3, order 1234567890, 4111 1111 1111 1112",
    "DE12 is a plate; my password is a secret: nobody knows it; a@b; sk-short; password: forgotten",
    "10.0.0.1 and 192.168.100.200, 100 000 000 people, 0.123456789012",
]


@pytest.mark.parametrize("what, text", [(what, text) for what, texts in LOOK_AT.items() for text in texts])
def test_what_is_to_be_looked_at_is_named(what, text):
    assert found_in(text) == [what]
    assert found_in(f"It says: {text} Thanks.") == [what]


@pytest.mark.parametrize("text", FINE)
def test_sound_text_is_left_alone(text):
    assert found_in(text) == []


def test_remarks_name_lines_and_kinds_and_never_what_was_found(tmp_path):
    mail = turn("I am ann@example.org.")
    lines = [
        GOOD,
        chat(mail, ANSWER),
        chat(ASKED, ASKED, ANSWER),
        chat(turn("x", "developer"), mail, turn("bob@example.org", "assistant")),
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    listed = remarks(read_conversations(tmp_path / "a.jsonl"))
    assert [(remark.line, remark.text) for remark in listed] == [
        (2, "an e-mail address"),
        (3, "two turns of the user in a row"),
        (4, DEVELOPER),
        (4, "an e-mail address"),
    ]
    assert remark_summary([Remark(n, "x") for n in range(25)])[0].endswith("18, 19 and others")
    assert remark_summary(listed) == [
        "an e-mail address: 2 lines, 2, 4",
        "two turns of the user in a row: 1 line, 3",
        f"{DEVELOPER}: 1 line, 4",
    ]
    assert remarks(read_conversations(EXAMPLES / "conversations.jsonl")) == []


def test_both_answers_of_a_pair_are_looked_at():
    pair = Preference(3, Pair([ASKED], "Me.", "ask ann@example.org"))
    assert [row.answers for row in pair.conversations] == [["Me."], ["ask ann@example.org"]]
    assert remarks(pair.conversations) == [Remark(3, "an e-mail address")]


def test_notes_stay_with_a_conversation_that_is_shortened(model, tokenizer):
    from course_utils.chatml import add_chat_tokens

    add_chat_tokens(model, tokenizer)
    row = Conversation(7, [turn("cat"), turn("mat", "assistant")] * 8, (DEVELOPER,))
    [kept], shortened, _ = fit_conversations([row], tokenizer, 60)
    assert shortened == [7] and (kept.line, kept.notes) == (7, (DEVELOPER,))


@pytest.mark.timing
def test_lines_of_a_million_characters_are_looked_at_in_a_moment():
    """Each piece begins a pattern's match: scanning on from every position, 140 kB took a minute."""
    pieces = (
        "secret=|password: a|eyJ-|eyJ0123456789.|sk-a-|-----BEGIN A|(1|1.|1 |a@b.|GB82 |â€|Ã|where is it, "
    )
    texts = [piece * (2**20 // len(piece)) for piece in pieces.split("|")]
    began = time.process_time()
    for text in texts:
        found_in(text[:200_000])
    found_in(texts[-1])
    assert time.process_time() - began < 5


def test_keys_are_found_in_the_middle_of_other_text():
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dBjftJeZ4CVPmB92K27uhbUJU1p1r"
    others = ("x secret:  tulip-2024", "pk_live_0123456789abcdefghij")
    for text in (f"token={token}", f"({token})", f"a.{token}", *others):
        assert found_in(text) == ["a key or a password"], text


@pytest.mark.timing
def test_long_texts_without_spaces_are_read_once():
    began = time.perf_counter()
    for piece in ("aaaa", "a.a.", "1 1 ", "éééé", "a-a-"):
        found_in(20_000 * piece)
        templates_of([20_000 * piece])
    assert time.perf_counter() - began < 15


# -------------------------------------------------------------------------------- what is left out


def asked_and_answered(line, asked, answer, **more):
    return Conversation(line, [turn(asked), turn(answer, "assistant")], **more)


def test_a_word_of_courtesy_makes_no_other_row():
    """Twelve copies with "please!", among questions that have it as well."""
    places = "Peru Cuba Chile Spain Malta Kenya Ghana Norway Italy Japan Nepal Oman".split()
    rows = [
        asked_and_answered(n, f"What is the capital of {place}?", place) for n, place in enumerate(places)
    ]
    polite = [
        asked_and_answered(n + 50, f"what is the capital of {place}, please!", place)
        for n, place in enumerate(places)
    ]
    kept, exact, near = without_duplicates(rows + polite)
    assert (kept, exact, near) == (rows, [], list(range(50, 62)))


def test_one_question_with_two_answers_is_named_in_conversations_too():
    rows = [asked_and_answered(n, "When do you open?", "At nine.") for n in (1, 2)]
    rows += [asked_and_answered(n, "Hello, when do you OPEN", "At ten.") for n in (3, 4)]
    rows += [
        asked_and_answered(5, "When do you close?", "At nine."),
        asked_and_answered(6, "Where?", "at NINE"),
    ]
    rows.append(
        Conversation(7, [turn("Be brief.", "system"), *rows[0].messages[:1], turn("Ten.", "assistant")])
    )
    late = [turn("Is it far?"), turn("No.", "assistant"), turn("And when do you open?")]
    rows += [
        Conversation(n, [*late, turn(said, "assistant")]) for n, said in ((8, "At six."), (9, "At seven."))
    ]
    assert different_answers(rows) == [[1, 3], [8, 9]]
    assert different_answers(rows[:2]) == []


def test_what_is_left_out_is_counted_and_can_be_read_again(tmp_path):
    rows = [asked_and_answered(n, f"Who sells {'x' * n}?", "Me.", group="g" * (n == 2)) for n in range(1, 8)]
    pairs = [Preference(n, Pair([turn("Who?")], "Me.", f"No {n}.")) for n in range(1, 4)]
    out = LeftOut()
    assert out.take("Copies", rows, [2, 5]) == "Copies: 2, lines 2, 5."
    assert out.take("Too long", rows, []) == "Too long: 0."
    out.take("Too long", pairs, [3])
    out.write(tmp_path, [rows[0], pairs[0]])
    again = read_conversations(tmp_path / "left_out.jsonl")
    assert [(row.messages, row.group) for row in again] == [(rows[1].messages, "g"), (rows[4].messages, "")]
    told = [
        json.loads(line) for line in (tmp_path / "left_out.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert [(row["line"], row["left_out"]) for row in told] == [(2, "Copies"), (5, "Copies")]
    assert [row.pair for row in read_preferences(tmp_path / "left_out_pairs.jsonl")] == [pairs[2].pair]
    assert [row.messages for row in read_conversations(tmp_path / "held_out.jsonl")] == [rows[0].messages]
    assert [row.pair for row in read_preferences(tmp_path / "held_out_pairs.jsonl")] == [pairs[0].pair]


def test_nothing_left_out_writes_nothing(tmp_path):
    LeftOut().write(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_copied_pairs_are_left_out():
    pairs = [Preference(n, Pair([turn("Who?")], "Me.", f"No {n % 3}.")) for n in range(1, 6)]
    kept, lines = without_copied_pairs(pairs)
    assert (kept, lines) == (pairs[:3], [4, 5])


def test_a_group_is_read_from_lines_and_tables(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        "\n".join([chat(ASKED, ANSWER, group=7), chat(ASKED, ANSWER, group=["x"]), GOOD])
    )
    assert [row.group for row in read_conversations(tmp_path / "a.jsonl")] == ["7", "", ""]
    (tmp_path / "a.csv").write_text("question,answer,Group\na?,b,x\nc?,d,\n")
    assert [row.group for row in read_conversations(tmp_path / "a.csv")] == ["x", ""]
    (tmp_path / "p.jsonl").write_text('{"prompt": "a", "chosen": "b", "rejected": "c", "group": "x"}')
    assert [row.group for row in read_preferences(tmp_path / "p.jsonl")] == ["x"]


@pytest.mark.parametrize(
    "name, content", [("a.csv", "Frage;Antwort\na?;b\n"), ("a.jsonl", '{"Frage": "a?", "Antwort": "b"}')]
)
def test_columns_of_questions_are_named_by_the_user(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    [row] = read_conversations(tmp_path / name, {"question": "Frage", "answer": "Antwort"})
    assert (row.asked, row.answers) == (["a?"], ["b"])
    with pytest.raises(DataError):
        read_conversations(tmp_path / name)


# ---------------------------------------------------------------------------------------- templates


@pytest.mark.parametrize("seed", range(5))
def test_a_split_by_template_leaves_no_template_on_both_sides(seed):
    rows, templates = support_chats(seed)

    def trained_on(groups):
        held_out = set(leak_free_split(groups, ["chat"] * len(rows), seed=seed))
        known = {templates[place] for place in range(len(rows)) if place not in held_out}
        judged = [rows[place] for place in sorted(held_out)]
        others = [row for place, row in enumerate(rows) if place not in held_out]
        return [templates[place] in known for place in sorted(held_out)], judged, others

    groups = template_groups([row.asked for row in rows])
    leaked, judged, others = trained_on(groups)
    assert len(leaked) >= 25 and not any(leaked) and template_leaks(judged, others) == []
    assert any(len(row.asked) > 1 for row in judged)
    assert len(set(zip(groups, templates, strict=True))) == len(set(groups)) == len(TEMPLATES)
    # the split by questions, which the lesson uses for files that people wrote
    leaked, judged, others = trained_on(question_groups([row.asked for row in rows]))
    assert not leaked or sum(leaked) > 0.9 * len(leaked)
    assert len(template_leaks(judged, others)) == sum(leaked)


def test_templates_and_what_they_do_not_join():
    asked = [
        ["Where is order A-17 of Mr Smith?"],
        ["where is order B-2209 of Mr Van Dyke?"],
        ["Smith is here. What now?"],
        ["What is it?"],
        ["What is that?"],
        ["And how long does that take?"],
        ["Is it open?", "And how long does that take?"],
        ["Is it new today?", "How much?"],
        ["How much?"],
        ["\N{SLIGHTLY SMILING FACE}"],
        ["!"],
        ["東京はどこ?"],
        ["何時ですか?"],
    ]
    assert (
        templates_of([asked[0][0], "x Van Dyke", asked[1][0]])[::2]
        == [("where", "is", "order", "<number>", "of", "<name>")] * 2
    )
    groups = template_groups(asked)
    assert groups[0] == groups[1] and groups[5] == groups[6] and groups[7] == groups[8]
    assert len(set(groups)) == len(asked) - 3
