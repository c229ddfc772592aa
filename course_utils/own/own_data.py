"""Your own data file: every line checked, duplicates and near duplicates found, split without leaks.

Conversations are JSON Lines of {"messages": [{"role", "content"}, ...]} or CSV with the columns question and
answer; preferences are JSON Lines of {"prompt", "chosen", "rejected"}, texts or messages.
"""

import csv
import json
import math
import os
import re
import sys
import unicodedata
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from course_utils.chatml import encode_content
from course_utils.data import DATA, conversation_fault, encode
from course_utils.methods.chat import count_tokens
from course_utils.own.chat_forms import HALF, NO_TOOLS, is_text, plain_messages
from course_utils.preferences import Pair, as_pair, pair_fault
from course_utils.terminal import plain_lines

EXAMPLES = DATA / "examples"
SHOWN = 20  # bad lines listed in a message
NEAR = 0.8  # word overlap at which two prompts count as one question
SAME = 0.9  # word overlap at which, with the same answer, the later of two conversations is left out
LINKING = 3  # a turn of fewer words ("And Peru?") does not identify a question by itself
TABLES = {".csv": ",;\t", ".tsv": "\t"}
LONGEST = 2**20  # bytes of a line: far more than any model here reads, and tokenised in a second
OTHER_FILES = {  # {first bytes: what the file is and what to do}
    b"\x1f\x8b": "compressed (gzip); unpack it first",
    b"BZh": "compressed (bzip2); unpack it first",
    b"\xfd7zXZ\0": "compressed (xz); unpack it first",
    b"\x28\xb5\x2f\xfd": "compressed (zstd); unpack it first",
    b"PK\x03\x04": "a zip archive or a spreadsheet (xlsx, ods); unpack it, or save the table as CSV",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "a spreadsheet of old Excel (xls); save the table as CSV",
    b"PAR1": "a Parquet table; write it as JSON Lines, with pandas: "
    'pandas.read_parquet("in.parquet").to_json("out.jsonl", orient="records", lines=True)',
    b"%PDF-": "a PDF; save its questions and answers as a table, in CSV",
    b"\xff\xfe\0\0": "UTF-32 text; save the file as UTF-8",
    b"\0\0\xfe\xff": "UTF-32 text; save the file as UTF-8",
    b"\xff\xfe": "UTF-16 text; save the file as UTF-8",
    b"\xfe\xff": "UTF-16 text; save the file as UTF-8",
}


@dataclass(frozen=True)
class Fault:
    """A line that cannot be used, and why."""

    line: int
    reason: str


class DataError(ValueError):
    """A file that cannot be used for training. `faults`: all bad lines; the message names the first ones."""

    def __init__(self, message: str, faults: Sequence[Fault] = ()):
        super().__init__(plain_lines(message))
        self.faults = list(faults)


@dataclass(frozen=True)
class Conversation:
    """A conversation, its line in the file, and the conversions made in reading it."""

    line: int
    messages: list[dict]
    notes: tuple[str, ...] = ()

    @property
    def asked(self) -> list[str]:
        """The user's turns."""
        return [message["content"] for message in self.messages if message["role"] == "user"]

    @property
    def answers(self) -> list[str]:
        return [message["content"] for message in self.messages if message["role"] == "assistant"]


@dataclass(frozen=True)
class Preference:
    """A pair, its prompt as messages, and its line in the file."""

    line: int
    pair: Pair

    @property
    def asked(self) -> list[str]:
        """The user's turns."""
        return [message["content"] for message in self.pair.prompt if message["role"] == "user"]

    @property
    def conversations(self) -> list[Conversation]:
        """The prompt with each of the two answers."""
        answers = [{"role": "assistant", "content": text} for text in (self.pair.chosen, self.pair.rejected)]
        return [Conversation(self.line, [*self.pair.prompt, answer]) for answer in answers]


# ------------------------------------------------------------------------------------------ reading


def read_conversations(path) -> list[Conversation]:
    """The conversations of a .jsonl or .csv file. DataError naming the bad lines, FileNotFoundError."""
    conversations, faults = scan_conversations(path)
    _raise_for(path, faults, len(conversations), "conversations")
    return conversations


def read_preferences(path) -> list[Preference]:
    """The pairs of a .jsonl file; a text prompt becomes the user's message. Errors as above."""
    preferences, faults = scan_preferences(path)
    _raise_for(path, faults, len(preferences), "pairs")
    return preferences


def scan_conversations(path) -> tuple[list[Conversation], list[Fault]]:
    """(usable conversations, faults of all other lines) of a file."""
    path = Path(path)
    _check_file(path, (".jsonl", ".ndjson", *TABLES))
    if path.suffix.lower() in TABLES:
        return _scan(_table_rows(path), _conversation_row_fault, _conversation)
    return _scan(_json_rows(path), _conversation_row_fault, _conversation)


def scan_preferences(path) -> tuple[list[Preference], list[Fault]]:
    """(usable pairs, faults of all other lines) of a file."""
    path = Path(path)
    _check_file(path, (".jsonl", ".ndjson"))
    return _scan(_json_rows(path), _preference_row_fault, _preference)


def _scan(rows, fault_of, make):
    good, faults = [], []
    for line, row in rows:
        reason = row if isinstance(row, str) else fault_of(row)
        if reason:
            faults.append(Fault(line, reason))
        else:
            good.append(make(line, row))
    return good, faults


def _raise_for(path, faults, good, what):
    if faults:
        shown = [f"  line {fault.line}: {fault.reason}" for fault in faults[:SHOWN]]
        if len(faults) > SHOWN:
            others = ", ".join(_ranges([fault.line for fault in faults[SHOWN:]]))
            shown.append(f"  ... and {len(faults) - SHOWN} more: line {others}")
        lines = "1 line" if len(faults) == 1 else f"{len(faults)} lines"
        raise DataError(
            f"{path}: {lines} of {good + len(faults)} cannot be used, and nothing was trained.\n"
            + "\n".join(shown)
            + "\nCorrect these lines or take them out, and start again.",
            faults,
        )
    if not good:
        raise DataError(f"{path}: the file has no {what}")


def _ranges(lines):
    """Line numbers in order, with consecutive ones as a range: "4", "7 to 9"."""
    starts = [n for place, n in enumerate(lines) if place == 0 or n != lines[place - 1] + 1]
    ends = [n for place, n in enumerate(lines) if place + 1 == len(lines) or lines[place + 1] != n + 1]
    return [str(a) if a == b else f"{a} to {b}" for a, b in zip(starts, ends, strict=True)]


def _check_file(path, known):
    """FileNotFoundError, or DataError unless it is a text file with a known ending."""
    if os.path.isdir(path):
        raise DataError(f"{path}: this is a folder; name a file in it")
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such file. A relative path starts at the current folder.")
    if not path.is_file():
        raise DataError(f"{path}: this is a pipe or a device; save what it gives as a file")
    with path.open("rb") as file:
        start = file.read(8)
    for mark, what in OTHER_FILES.items():
        if start.startswith(mark):
            raise DataError(f"{path}: this is {what}")
    if b"\0" in start[:4]:
        raise DataError(f"{path}: this is UTF-16 or UTF-32 text, or no text at all; save the file as UTF-8")
    if path.suffix.lower() not in known:
        raise DataError(f"{path}: give a file that ends in {' or '.join(known)}; one JSON object per line")


def _json_rows(path) -> Iterator[tuple[int, dict | str]]:
    """(line number, object, or the line's fault as text); blank lines are skipped."""
    content = _read(path)
    lines = content.split(b"\n")
    first, *others = [line for line in lines if line.strip()] or [b""]
    if first.lstrip()[:1] == b"[" and not ((others or b"{" not in first) and _is_json(first)):
        raise DataError(f"{path}: this is one JSON array; write one object per line (JSON Lines)")
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield number, _json_row(line)


def _json_row(line):
    if len(line) > LONGEST:
        return f"the line has {len(line):,} bytes, the limit is {LONGEST:,}; shorten or split its texts"
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return f"not UTF-8 text, at byte {error.start + 1}; save the file as UTF-8"
    except json.JSONDecodeError as error:
        return f"column {error.colno}: not JSON ({error.msg})"
    except ValueError:
        return f"not JSON that can be read: a number has more than {sys.get_int_max_str_digits():,} digits"
    except RecursionError:
        return "not JSON that can be read: nested too deeply"
    if not isinstance(row, dict):
        return f"expected an object, {{...}}, got {str(row)[:60]}"
    return row if is_text(row) else f"a text has {HALF}"


def line_list(lines: Sequence[int]) -> str:
    """Line numbers for a note, only the first ones: "3, 8", "none"."""
    return (", ".join(map(str, lines[:SHOWN])) or "none") + " and others" * (len(lines) > SHOWN)


def _is_json(line):
    try:
        json.loads(line)
    except ValueError:
        return False
    except RecursionError:
        return True
    return True


def _read(path):
    content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    return content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _table_rows(path) -> Iterator[tuple[int, dict | str]]:
    """A table's rows as conversations, with the number of each row's first line."""
    raw = _read(path).split(b"\n")
    lines = []
    for number, line in enumerate(raw, start=1):
        try:
            lines.append(line.decode("utf-8") + "\n")
        except UnicodeDecodeError as error:
            yield number, f"not UTF-8 text, at byte {error.start + 1}; save the file as UTF-8"
    if len(lines) < len(raw):
        return
    delimiter, names = _header(path, lines[0])
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    next(reader)
    while True:
        first = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield first, f"not a table from here on ({_table_error(error)}); is a quotation mark left open?"
            return
        if cells:
            yield first, _table_row(names, cells)


def _table_error(error):
    if "field limit" in str(error):
        return f"a cell has more than {csv.field_size_limit():,} characters, the maximum"
    return error


def _header(path, line):
    for delimiter in TABLES[path.suffix.lower()]:
        cells = csv.reader([line[: csv.field_size_limit()]], delimiter=delimiter)
        names = [name.strip().lower() for name in next(cells, [])]
        if {"question", "answer"} <= set(names):
            if twice := [name for name in ("question", "answer") if names.count(name) > 1]:
                raise DataError(f"{path}: the first line names the column {twice[0]} twice; rename one")
            return delimiter, names
    raise DataError(
        f"{path}: the first line must name the columns question and answer, got {line.strip()[:80]!r}"
    )


def _table_row(names, cells):
    if len(cells) != len(names):
        return (
            f"{len(cells)} cells where the first line has {len(names)}; a text that holds the separator "
            "needs quotation marks around it"
        )
    row = dict(zip(names, cells, strict=True))
    for name in ("question", "answer"):
        if not row[name].strip():
            return f"the {name} is empty"
    roles = (("user", row["question"]), ("assistant", row["answer"]))
    return {"messages": [{"role": role, "content": content} for role, content in roles]}


OTHER_FORMS = {  # {fields of other formats: what to do}
    ("conversations",): 'this is the ShareGPT form; write "messages" with "role" and "content" instead of '
    '"conversations" with "from" and "value"',
    ("instruction", "output"): 'this is the Alpaca form; write "messages" with a user\'s and an '
    "assistant's turn",
    ("prompt", "chosen", "rejected"): "this is a preference pair; give the file as PAIRS",
    ("prompt", "completion"): "write \"messages\" with a user's and an assistant's turn instead",
    ("question", "answer"): 'write "messages", or save the file as CSV',
}


def _conversation_row_fault(row):
    if "messages" not in row:
        for fields, advice in OTHER_FORMS.items():
            if all(field in row for field in fields):
                return f'no "messages": {advice}'
        return f'no "messages"; the line has {", ".join(map(repr, row)) or "no fields"}'
    if not isinstance(row["messages"], list):
        return conversation_fault(row["messages"])
    try:
        messages, _ = plain_messages(row["messages"])
    except ValueError as fault:
        return str(fault)
    return conversation_fault(messages) or _turns_fault(messages)


def _turns_fault(messages):
    roles = [message["role"] for message in messages if message["role"] != "system"]
    if roles[0] != "user":
        return "the assistant speaks first; put the user's turn before it"
    if roles[-1] != "assistant":
        return "it ends with a turn of the user that is not answered; take the turn out or add the answer"
    return None


def _conversation(line, row):
    messages, notes = plain_messages(row["messages"])
    return Conversation(line, messages, (*notes, *([NO_TOOLS] if row.get("tools") else [])))


def _preference_row_fault(row):
    if "messages" in row and "chosen" not in row:
        return "this is a conversation; give the file as DATA"
    if fault := pair_fault(row):
        return fault
    pair = _preference(0, row).pair
    fault = conversation_fault([*pair.prompt, {"role": "assistant", "content": pair.chosen}])
    return f'"prompt": {fault}' if fault else None


def _preference(line, row):
    pair = as_pair(row)
    if isinstance(pair.prompt, str):
        pair = Pair([{"role": "user", "content": pair.prompt}], pair.chosen, pair.rejected)
    return Preference(line, pair)


def chosen_conversations(preferences: Sequence[Preference]) -> list[Conversation]:
    """The prompts with their chosen answers, each once: for tuning if there are only pairs."""
    found = {}
    for preference in preferences:
        pair = preference.pair
        messages = [*pair.prompt, {"role": "assistant", "content": pair.chosen}]
        found.setdefault(json.dumps(messages), Conversation(preference.line, messages))
    return list(found.values())


# ------------------------------------------------------------------------------------------ lengths


def token_counts(tokenizer, messages: Sequence[dict]) -> tuple[int, int]:
    """(tokens of the conversation in ChatML, tokens with loss), whatever its length."""
    total = count_tokens(tokenizer, messages) - 1 - len(encode(tokenizer, "assistant\n"))
    answers = [message["content"] for message in messages if message["role"] == "assistant"]
    return total, sum(len(encode_content(tokenizer, answer)) + 1 for answer in answers)


def marker_lines(tokenizer, conversations: Sequence[Conversation]) -> list[int]:
    """Lines with a special token's text typed in them.

    Here it is encoded as ordinary characters; programs that render a conversation by its template and encode
    the result, as TRL and most servers do, turn it into the token.
    """
    markers = tokenizer.get_added_vocab()
    return [
        row.line
        for row in conversations
        if any(marker in message["content"] for message in row.messages for marker in markers)
    ]


def shorten(messages: list[dict], length, limit: int) -> list[dict] | None:
    """The conversation without its oldest exchanges, as many as needed for length(messages) <= limit.

    The system message and the last exchange stay. None if these alone are too long.
    """
    head = messages[:1] if messages[0]["role"] == "system" else []
    turns = messages[len(head) :]
    before = [None, *(message["role"] for message in turns)]
    starts = [start for start, turn in enumerate(turns) if turn["role"] == "user" and before[start] != "user"]
    first = bisect_left(starts, True, key=lambda start: length(head + turns[start:]) <= limit)
    return head + turns[starts[first] :] if first < len(starts) else None


def fit_conversations(conversations: Sequence[Conversation], tokenizer, limit: int):
    """(conversations of at most `limit` tokens, shortened lines, dropped lines)."""
    kept, shortened, left_out = [], [], []
    for conversation in conversations:
        messages = shorten(conversation.messages, lambda m: token_counts(tokenizer, m)[0], limit)
        if messages is None:
            left_out.append(conversation.line)
            continue
        if len(messages) < len(conversation.messages):
            shortened.append(conversation.line)
        kept.append(replace(conversation, messages=messages))
    return kept, shortened, left_out


def fit_preferences(preferences: Sequence[Preference], tokenizer, limit: int):
    """The same for pairs; the longer answer decides, and both get the same prompt."""
    kept, shortened, left_out = [], [], []
    for preference in preferences:
        pair = preference.pair

        def length(messages, pair=pair):
            answers = [{"role": "assistant", "content": text} for text in (pair.chosen, pair.rejected)]
            return max(token_counts(tokenizer, [*messages, answer])[0] for answer in answers)

        prompt = shorten(pair.prompt, length, limit)
        if prompt is None:
            left_out.append(preference.line)
            continue
        if len(prompt) < len(pair.prompt):
            shortened.append(preference.line)
        kept.append(Preference(preference.line, Pair(prompt, pair.chosen, pair.rejected)))
    return kept, shortened, left_out


# --------------------------------------------------------------------------------------- duplicates


WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")  # or one CJK character
COURTESY = re.compile(  # in languages that separate words, or in any
    r"\b(?:(?:hello|hi|hey)(?:\s+there)?|good\s+(?:morning|day|afternoon|evening)|please|tell|me|thanks"
    r"|thank\s+you)\b",
    re.I,
)
GREETINGS = {"there", "good", "day", "morning", "afternoon", "evening"}  # in addition to courtesies


def split_words(text: str) -> list[str]:
    """The text's words in order, without case and punctuation, in one Unicode form."""
    return WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def question_words(text: str) -> list[str]:
    """The words of the question, without greetings and courtesies unless nothing else is left."""
    return _without_courtesies(text) or split_words(text)


def _without_courtesies(text):
    return COURTESY.sub("", " ".join(split_words(text))).split()


def question_key(text: str) -> str:
    """A key shared by different spellings of one question."""
    return " ".join(question_words(text)) or " ".join(text.split())


def word_weights(texts: Sequence[set[str]]) -> dict[str, float]:
    """{word: log((1 + texts) / texts with the word)}: a word in every text has nearly no weight."""
    counts = Counter(word for text in texts for word in text)
    return {word: math.log((1 + len(texts)) / count) for word, count in counts.items()}


def overlap(a: set[str], b: set[str], weight: dict[str, float]) -> float:
    """Weight of the shared words over weight of all words: 1 for the same words, 0 for none in common."""
    either = math.fsum(weight[word] for word in a | b)
    return math.fsum(weight[word] for word in a & b) / either if either else 0.0


def near_pairs(texts: Sequence[set[str]], threshold: float = NEAR) -> list[tuple[int, int]]:
    """All (i, j), i < j, whose overlap is at least the threshold, without comparing all with all.

    A pair that overlaps so much shares one of the heaviest words of each: those before the rest weighs less
    than threshold times the whole (prefix filtering, Chaudhuri and others, ICDE 2006).
    """
    weight = word_weights(texts)
    index, found = defaultdict(list), []
    for j, text in enumerate(texts):
        rest = math.fsum(weight[word] for word in text)
        needed = threshold * rest - 1e-9
        candidates = set()
        for word in sorted(text, key=lambda word: (-weight[word], word)):
            if rest < needed:
                break
            candidates.update(index[word])
            index[word].append(j)
            rest -= weight[word]
        found += [(i, j) for i in candidates if overlap(texts[i], text, weight) >= threshold]
    return sorted(found)


def repeats(keys: Sequence[Hashable]) -> list[int]:
    """Positions of keys that occurred before."""
    seen, again = set(), []
    for position, key in enumerate(keys):
        if key in seen:
            again.append(position)
        seen.add(key)
    return again


def exact_key(conversation: Conversation) -> tuple:
    """Roles and contents, ignoring white space and Unicode form."""
    return tuple(
        (message["role"], " ".join(unicodedata.normalize("NFC", message["content"]).split()))
        for message in conversation.messages
    )


def pair_key(preference: Preference) -> tuple:
    """The same for a pair."""
    texts = [message["content"] for message in preference.pair.prompt]
    return tuple(
        " ".join(text.split()) for text in (*texts, preference.pair.chosen, preference.pair.rejected)
    )


def without_duplicates(conversations: Sequence[Conversation]):
    """(conversations, lines of exact copies left out, lines of near copies left out); first ones stay.

    A near copy has the same answers to nearly the same words.
    """
    copies = set(repeats([exact_key(conversation) for conversation in conversations]))
    exact = [conversations[position].line for position in sorted(copies)]
    conversations = [row for position, row in enumerate(conversations) if position not in copies]
    near = near_copies(conversations)
    lines = [conversations[position].line for position in sorted(near)]
    return [row for position, row in enumerate(conversations) if position not in near], exact, lines


def near_copies(conversations: Sequence[Conversation]) -> set[int]:
    """Positions of rows with an earlier row's answers to nearly the same words and the same system message.

    Rows with the same words are compared once: a question that occurs 10,000 times would give 50 million
    pairs of rows.
    """
    first, near = defaultdict(dict), set()  # {words: {system message and answers: its first row}}
    for position, row in enumerate(conversations):
        system = tuple(message["content"] for message in row.messages if message["role"] == "system")
        answers = system, tuple(split_words("\n".join(row.answers)) or row.answers)
        text = frozenset(split_words(" ".join(row.asked)))
        if first[text].setdefault(answers, position) < position and text:
            near.add(position)
    rows = list(first.values())
    for i, j in near_pairs(list(first), SAME):
        near |= {max(rows[i][answers], rows[j][answers]) for answers in rows[i].keys() & rows[j].keys()}
    return near


def contradictions(preferences: Sequence[Preference]) -> list[int]:
    """Lines of pairs that prefer what an earlier line rejected in its favour."""
    earlier, lines = set(), []
    for preference in preferences:
        *prompt, chosen, rejected = pair_key(preference)
        if (*prompt, rejected, chosen) in earlier:
            lines.append(preference.line)
        earlier.add((*prompt, chosen, rejected))
    return lines


# -------------------------------------------------------------------------------------------- split


def from_opening(turns: Sequence[str]) -> Sequence[str]:
    """The user's turns without greetings before the first question."""
    start = next(
        (n for n, turn in enumerate(turns) if not GREETINGS.issuperset(_without_courtesies(turn))), 0
    )
    return turns[start:]


REFERRING = frozenset("it its that this these those they them their he him his she her one".split())


def refers_back(turn: str) -> bool:
    """Whether a later turn refers to earlier ones, as in "And how long does that take?" (English words)."""
    words = question_words(turn)
    return words[:1] in (["and"], ["or"], ["but"], ["then"], ["so"]) or not REFERRING.isdisjoint(words)


def _questions(turns):
    """(keys of self-contained turns, keys of turns that refer back).

    The opening is self-contained; so is a later turn of at least LINKING words that does not refer back.
    """
    first, *later = from_opening(turns)
    keys = {question_key(turn): turn for turn in later if _without_courtesies(turn)}
    long = {key for key, turn in keys.items() if len(key.split()) >= LINKING and not refers_back(turn)}
    alone = {question_key(first), *long}
    return alone, keys.keys() - alone


def question_groups(asked: Sequence[Sequence[str]]) -> list[int]:
    """A number for each row of user turns: equal for rows that ask the same, or nearly the same.

    Rows belong together if they share a question or the words of two questions overlap; this is transitive. A
    turn that refers back ("And what does it cost?") is a question only if another row opens with it.
    """
    return linked(len(asked), question_links(asked))


def question_links(asked: Sequence[Sequence[str]]) -> list[tuple[int, int]]:
    """Pairs of rows that belong together by their questions, sufficient for question_groups."""
    first, pairs = {}, []
    questions = [_questions(turns) for turns in asked]
    for row, (alone, _) in enumerate(questions):
        pairs += [(first.setdefault(key, row), row) for key in alone]
    for row, (_, on) in enumerate(questions):
        pairs += [(first[key], row) for key in on if key in first]
    texts = {}
    for row, turns in enumerate(asked):
        if text := frozenset(question_words(" ".join(turns))):
            pairs.append((texts.setdefault(text, row), row))
    rows = list(texts.values())
    return pairs + [(rows[i], rows[j]) for i, j in near_pairs(list(texts))]


def linked(count: int, pairs: Sequence[tuple[int, int]]) -> list[int]:
    """For each of 0 .. count - 1, the smallest number connected to it by the pairs."""
    parent = list(range(count))

    def root(row):
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for a, b in pairs:
        a, b = sorted((root(a), root(b)))
        parent[b] = a
    return [root(row) for row in range(count)]


def leaks(held_out: Sequence, train: Sequence) -> list[int]:
    """Positions of held-out rows of which a question, in some spelling, is asked in training."""
    known, known_on = set(), set()
    for row in train:
        alone, on = _questions(row.asked)
        known |= alone
        known_on |= on

    def leaky(row):
        alone, on = _questions(row.asked)
        return not (known | known_on).isdisjoint(alone) or not known.isdisjoint(on)

    return [position for position, row in enumerate(held_out) if leaky(row)]
