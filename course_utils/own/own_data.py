"""Your own data file: every line checked, duplicates and near duplicates found, split without leaks.

Conversations are JSON Lines of {"messages": [{"role", "content"}, ...]} or a table with the columns question
and answer; preferences are in one of the forms of pair_forms. A field or column "group" is kept with its row.
"""

import json
import math
import re
import unicodedata
from array import array
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from course_utils.chatml import encode_content
from course_utils.data import DATA, conversation_fault, encode
from course_utils.methods.chat import count_tokens
from course_utils.own.chat_forms import NO_TOOLS, plain_messages
from course_utils.own.courtesies import bare_question
from course_utils.own.pair_forms import KNOWN, NO_PREFERENCE, names_pair, plain_pair
from course_utils.own.rows import (
    DataError,
    Fault,
    check_file,
    is_table,
    json_rows,
    line_list,
    quoted_list,
    raise_for,
    table_rows,
)
from course_utils.preferences import Pair, as_pair, pair_fault
from course_utils.training import ProgressBar

EXAMPLES = DATA / "examples"
NEAR = 0.8  # word overlap at which two prompts count as one question
SAME = 0.9  # word overlap at which, with the same answer, the later of two conversations is left out
LINKING = 3  # a turn of fewer words ("And Peru?") does not identify a question by itself
MANY = 5_000  # rows: from here on a progress line is shown
LONGEST_KEY = 200  # letters of a question in which a mistyped letter is recognised


@dataclass(frozen=True)
class Conversation:
    """A conversation, its line in the file, and the conversions made in reading it.

    group: the file's own name for rows that stay on one side of the split.
    """

    line: int
    messages: list[dict]
    notes: tuple[str, ...] = ()
    group: str = ""

    @property
    def asked(self) -> list[str]:
        """The user's turns."""
        return [message["content"] for message in self.messages if message["role"] == "user"]

    @property
    def answers(self) -> list[str]:
        return [message["content"] for message in self.messages if message["role"] == "assistant"]


@dataclass(frozen=True)
class Preference:
    """A pair, its prompt as messages, its line in the file, and how it was read."""

    line: int
    pair: Pair
    form: str = ""
    group: str = ""

    @property
    def asked(self) -> list[str]:
        """The user's turns."""
        return [message["content"] for message in self.pair.prompt if message["role"] == "user"]

    @property
    def answers(self) -> list[str]:
        """The answer that is preferred."""
        return [self.pair.chosen]

    @property
    def conversations(self) -> list[Conversation]:
        """The prompt with each of the two answers."""
        answers = [{"role": "assistant", "content": text} for text in (self.pair.chosen, self.pair.rejected)]
        return [Conversation(self.line, [*self.pair.prompt, answer]) for answer in answers]


# ------------------------------------------------------------------------------------------ reading


def read_conversations(path, columns: dict[str, str] | None = None) -> list[Conversation]:
    """The conversations of a .jsonl or .csv file. DataError naming the bad lines, FileNotFoundError.

    columns: {"question": ..., "answer": ...}, if the file names them otherwise.
    """
    conversations, faults = scan_conversations(path, columns)
    raise_for(path, faults, len(conversations), "conversations")
    return conversations


def read_preferences(path, columns: dict[str, str] | None = None) -> list[Preference]:
    """The pairs of a .jsonl or .csv file; a text prompt becomes the user's message. Errors as above."""
    return read_pairs_of(path, columns)[0]


def read_pairs_of(path, columns: dict[str, str] | None = None) -> tuple[list[Preference], list[str]]:
    """The same with notes: which columns were read as what, and the lines without a preference."""
    preferences, faults, undecided = scan_preferences(path, columns)
    raise_for(path, faults, len(preferences) + len(undecided) if faults else len(preferences), "pairs")
    forms = Counter(preference.form for preference in preferences)
    notes = [f"{count} pairs of {Path(path).name}: {form}." for form, count in forms.items()]
    if undecided:
        notes.append(f"{NO_PREFERENCE}, left out: {len(undecided)}, lines {line_list(undecided)}.")
    return preferences, notes


def scan_conversations(path, columns=None) -> tuple[list[Conversation], list[Fault]]:
    """(usable conversations, faults of all other lines) of a file."""
    path = Path(path)
    check_file(path)
    question, answer = ((columns or {}).get(name, name) for name in ("question", "answer"))
    if is_table(path):
        wanted = [question.lower(), answer.lower()]
        rows = table_rows(
            path,
            lambda names: set(wanted) <= set(names),
            f"the first line must name the columns {question} and {answer} (or say which: "
            'COLUMNS = "question=..., answer=...")',
        )
        return _scan(rows, partial(_exchange_fault, wanted), partial(_exchange, wanted))
    if columns and {"question", "answer"} <= columns.keys():
        wanted = [question, answer]
        return _scan(json_rows(path), partial(_exchange_fault, wanted), partial(_exchange, wanted))
    return _scan(json_rows(path), _conversation_row_fault, _conversation)


def scan_preferences(path, columns=None) -> tuple[list[Preference], list[Fault], list[int]]:
    """(usable pairs, faults of other lines, lines without a preference) of a file.

    DataError if the first row has none of the known forms.
    """
    path = Path(path)
    check_file(path)
    if is_table(path):
        columns = {name: column.lower() for name, column in (columns or {}).items()}
        rows = table_rows(path, lambda names: names_pair(names, columns), KNOWN)
    else:
        rows = json_rows(path)
    good, faults, undecided, first = [], [], [], True
    for line, row in rows:
        if isinstance(row, str):
            faults.append(Fault(line, row))
            continue
        if first and not names_pair(row, columns) and "messages" not in row:
            raise DataError(f"{path}: {KNOWN}; line {line} has {quoted_list(row)}")
        first = False
        try:
            plain, form = plain_pair(row, columns)
        except ValueError as fault:
            faults.append(Fault(line, str(fault)))
            continue
        if plain is None:
            undecided.append(line)
        elif reason := _pair_row_fault(plain):
            faults.append(Fault(line, reason if '"rejected" from' in form else f"{reason} ({form})"))
        else:
            good.append(_preference(line, plain, form + _left(row, form), _group(row)))
    return good, faults, undecided


def _scan(rows, fault_of, make):
    good, faults = [], []
    for line, row in rows:
        reason = row if isinstance(row, str) else fault_of(row)
        if reason:
            faults.append(Fault(line, reason))
        else:
            good.append(make(line, row))
    return good, faults


def _exchange_fault(wanted, row):
    for name, column in zip(("question", "answer"), wanted, strict=True):
        if column not in row:
            return f'no "{column}"; the line has {quoted_list(row)}'
        if not isinstance(row[column], str):
            return f'"{column}" must be a text, got {str(row[column])[:60]}'
        if not row[column].strip():
            return f"the {name} is empty"
    return None


def _exchange(wanted, line, row):
    turns = zip(("user", "assistant"), wanted, strict=True)
    messages = [{"role": role, "content": row[column]} for role, column in turns]
    return Conversation(line, messages, _not_read(row, *wanted), _group(row))


def _left(row, form):
    """Words for the fields of a pair's row that its form does not name."""
    others = [name for name in row if f'"{name}"' not in form and name not in ("group", "line", "left_out")]
    return f"; not read: {', '.join(others)}" if others else ""


def _not_read(row, *read):
    """A note that names a row's other fields, if there are any."""
    others = [name for name in row if name not in (*read, "group", "line", "left_out")]
    return (f"not read of a row: {', '.join(others)}",) if others else ()


def _group(row):
    """What a row names as its group: a text or a whole number."""
    group = row.get("group")
    return str(group).strip() if isinstance(group, str | int) else ""


OTHER_FORMS = {  # {fields of other formats: what to do}
    ("conversations",): 'this is the ShareGPT form; write "messages" with "role" and "content" instead of '
    '"conversations" with "from" and "value"',
    ("instruction", "output"): 'this is the Alpaca form; write "messages" with a user\'s and an '
    "assistant's turn",
    ("prompt", "chosen", "rejected"): "this is a preference pair; give the file as PAIRS",
    ("prompt", "completion"): "write \"messages\" with a user's and an assistant's turn instead",
    ("question", "answer"): 'write "messages", or give COLUMNS = "question=question, answer=answer"',
}


def _conversation_row_fault(row):
    if "messages" not in row:
        for fields, advice in OTHER_FORMS.items():
            if all(field in row for field in fields):
                return f'no "messages": {advice}'
        return f'no "messages"; the line has {quoted_list(row)}'
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
        return (
            f"it ends with a turn of the user that is not answered ({messages[-1]['content'][:40]!r}); take "
            "the turn out or add the answer"
        )
    return None


def _conversation(line, row):
    messages, notes = plain_messages(row["messages"])
    notes = (*notes, *([NO_TOOLS] if row.get("tools") else []), *_not_read(row, "messages", "tools"))
    return Conversation(line, messages, notes, _group(row))


def _pair_row_fault(row):
    if fault := pair_fault(row):
        return fault
    pair = _preference(0, row).pair
    fault = conversation_fault([*pair.prompt, {"role": "assistant", "content": pair.chosen}])
    return f'"prompt": {fault}' if fault else None


def _preference(line, row, form="", group=""):
    pair = as_pair(row)
    if isinstance(pair.prompt, str):
        pair = Pair([{"role": "user", "content": pair.prompt}], pair.chosen, pair.rejected)
    return Preference(line, pair, form, group)


def chosen_conversations(preferences: Sequence[Preference]) -> list[Conversation]:
    """The prompts with their chosen answers, each once: for tuning if there are only pairs."""
    found = {}
    for preference in preferences:
        pair = preference.pair
        messages = [*pair.prompt, {"role": "assistant", "content": pair.chosen}]
        conversation = Conversation(preference.line, messages, group=preference.group)
        found.setdefault(json.dumps(messages), conversation)
    return list(found.values())


# ------------------------------------------------------------------------------------------ lengths


def token_counts(tokenizer, messages: Sequence[dict]) -> tuple[int, int]:
    """(tokens of the conversation in ChatML, tokens with loss), whatever its length."""
    answers = [message["content"] for message in messages if message["role"] == "assistant"]
    sizes = [len(encode_content(tokenizer, answer)) for answer in answers]
    others = [
        message | {"content": ""} if message["role"] == "assistant" else message for message in messages
    ]
    around = count_tokens(tokenizer, others) - 1 - len(encode(tokenizer, "assistant\n"))
    return around + sum(sizes), sum(sizes) + len(sizes)


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


def all_token_counts(tokenizer, conversations: Sequence[Conversation]) -> list[tuple[int, int]]:
    """token_counts of each conversation, with a progress line if there are many."""
    rows = watched(conversations, "tokens counted")
    return [token_counts(tokenizer, row.messages) for row in rows]


def fit_conversations(
    conversations: Sequence[Conversation], tokenizer, limit: int, counts: Sequence[tuple[int, int]] = ()
):
    """(conversations of at most `limit` tokens, shortened lines, dropped lines).

    counts: the conversations' token_counts, if they are known.
    """
    kept, shortened, left_out = [], [], []
    counts = counts or all_token_counts(tokenizer, conversations)
    for conversation, (total, _) in zip(conversations, counts, strict=True):
        if total <= limit:
            kept.append(conversation)
            continue
        messages = shorten(conversation.messages, lambda m: token_counts(tokenizer, m)[0], limit)
        if messages is None:
            left_out.append(conversation.line)
            continue
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
        kept.append(replace(preference, pair=Pair(prompt, pair.chosen, pair.rejected)))
    return kept, shortened, left_out


def watched(rows: Sequence, label: str) -> Iterator:
    """The rows, one after the other, with a progress line if there are many."""
    if len(rows) < MANY:
        yield from rows
        return
    with ProgressBar(len(rows), label) as bar:
        for done, row in enumerate(rows, start=1):
            yield row
            bar.update(done)


# --------------------------------------------------------------------------------------- duplicates


VOWEL_SIGNS = "".join(
    filter(lambda sign: unicodedata.category(sign)[0] == "M", map(chr, range(0x300, 0x10000)))
)
_LETTER = r"[^\W\u3040-\u30ff\u3400-\u9fff]"
# a word with its vowel signs, or one CJK character
WORD = re.compile(rf"[\u3040-\u30ff\u3400-\u9fff]|{_LETTER}+(?:[{VOWEL_SIGNS}]+{_LETTER}*)*")
WORD_OR_SIGN = re.compile(rf"{WORD.pattern}|[+*=<>×÷]|(?<=\w)#|(?<=\d)[-/](?=\d)|!(?==)")  # C++, 7-5, !=
WORD_OF_FOUR = re.compile(r"[^\W\d_]{4,}")
COURTESY = re.compile(  # in languages that separate words, or in any
    r"\b(?:(?:hello|hi|hey)(?:\s+there)?|good\s+(?:morning|day|afternoon|evening)|please|tell|me|thanks"
    r"|thank\s+you)\b",
    re.I,
)
GREETINGS = {"there", "good", "day", "morning", "afternoon", "evening"}  # in addition to courtesies


def split_words(text: str, pattern: re.Pattern = WORD) -> list[str]:
    """The text's words in order, without case and punctuation, in one Unicode form."""
    return pattern.findall(unicodedata.normalize("NFKC", text).casefold())


def question_words(text: str) -> list[str]:
    """The words of the question, without greetings and courtesies unless nothing else is left."""
    return _without_courtesies(text) or split_words(text, WORD_OR_SIGN)


def _without_courtesies(text):
    return COURTESY.sub("", " ".join(split_words(bare_question(text), WORD_OR_SIGN))).split()


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
    copies = set(repeats([hash(exact_key(conversation)) for conversation in conversations]))
    exact = [conversations[position].line for position in sorted(copies)]
    conversations = [row for position, row in enumerate(conversations) if position not in copies]
    near = near_copies(conversations)
    lines = [conversations[position].line for position in sorted(near)]
    return [row for position, row in enumerate(conversations) if position not in near], exact, lines


def without_copied_pairs(preferences: Sequence[Preference]) -> tuple[list[Preference], list[int]]:
    """(pairs, lines of exact copies left out); the first ones stay."""
    copies = set(repeats([hash(pair_key(preference)) for preference in preferences]))
    kept = [row for position, row in enumerate(preferences) if position not in copies]
    return kept, [preferences[position].line for position in sorted(copies)]


def near_copies(conversations: Sequence[Conversation]) -> set[int]:
    """Positions of rows with an earlier row's answers to nearly the same words and the same system message.

    Words of courtesy do not count, nor a mistyped letter in a word of four or more.

    Rows with the same words are compared once: a question that occurs 10,000 times would give 50 million
    pairs of rows.
    """
    first, near, keys = defaultdict(dict), set(), {}  # {words: {system message and answers: its first row}}
    for position, row in enumerate(conversations):
        system = tuple(message["content"] for message in row.messages if message["role"] == "system")
        said = " ".join(split_words("\n".join(row.answers), WORD_OR_SIGN))
        answers = hash((system, said or tuple(row.answers)))
        words = [word for turn in row.asked for word in question_words(turn)]
        text = frozenset(words)
        keys.setdefault(" ".join(words), text)
        if first[text].setdefault(answers, position) < position and text:
            near.add(position)
    rows, places = list(first.values()), {text: n for n, text in enumerate(first)}
    misspelt = misspelt_links({key: places[text] for key, text in keys.items() if text})
    for i, j in near_pairs(list(first), SAME) + misspelt:
        near |= {max(rows[i][answers], rows[j][answers]) for answers in rows[i].keys() & rows[j].keys()}
    return near


def different_answers(conversations: Sequence[Conversation]) -> list[list[int]]:
    """Lines of conversations that answer one question differently, for each such question.

    Compared are an assistant's turn and all that the user and the system said before it, without case,
    punctuation and courtesies.
    """
    found = defaultdict(dict)  # {what was said before: {answer: its first line}}
    for row in conversations:
        before = []
        for message in row.messages:
            if message["role"] == "assistant":
                answer = hash(question_key(message["content"]))
                found[hash(tuple(before))].setdefault(answer, row.line)
            else:
                before.append((message["role"], question_key(message["content"])))
    lines = (list(dict.fromkeys(answers.values())) for answers in found.values())
    return [each for each in lines if len(each) > 1]


def contradictions(preferences: Sequence[Preference]) -> list[int]:
    """Lines of pairs that prefer what an earlier line rejected in its favour, whatever the spelling."""
    earlier, lines = set(), []
    for preference in preferences:
        *prompt, chosen, rejected = map(question_key, pair_key(preference))
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
    questions = [_questions(turns) for turns in watched(asked, "questions compared")]
    for row, (alone, _) in enumerate(questions):
        pairs += [(first.setdefault(key, row), row) for key in alone]
    for row, (_, on) in enumerate(questions):
        pairs += [(first[key], row) for key in on if key in first]
    pairs += misspelt_links(first)
    texts = {}
    for row, turns in enumerate(asked):
        if text := frozenset(question_words(" ".join(turns))):
            pairs.append((texts.setdefault(text, row), row))
    rows = list(texts.values())
    return pairs + [(rows[i], rows[j]) for i, j in near_pairs(list(texts))]


def misspelt_links(rows: dict[str, int]) -> list[tuple[int, int]]:
    """Pairs of the rows of questions that differ by spaces, or by one letter of a word; rows: {key: row}.

    The letter is left out, added, exchanged or swapped with its neighbour, in a word of four letters or more:
    two such questions are equal once a letter of each is left out (Mor and Fraenkel, CACM 1982).
    """
    codes, places = array("q"), array("q")
    for key, row in rows.items():
        forms = {hash(key), hash(key.replace(" ", ""))}
        if len(key) <= LONGEST_KEY:
            for word in WORD_OF_FOUR.finditer(key):
                forms |= {hash(key[:n] + key[n + 1 :]) for n in range(*word.span())}
        codes.extend(forms)
        places.extend([row] * len(forms))
    return equal_links(codes, places)


def equal_links(codes: array, rows: array) -> list[tuple[int, int]]:
    """Pairs of rows, enough to connect all rows that share a code."""
    codes, rows = np.asarray(codes, np.int64), np.asarray(rows, np.int64)
    order = np.lexsort((rows, codes))
    codes, rows = codes[order], rows[order]
    same = np.flatnonzero(codes[1:] == codes[:-1])
    pairs = np.unique(np.stack([rows[same], rows[same + 1]], axis=1), axis=0)
    return [(a, b) for a, b in pairs.tolist() if a != b]


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
