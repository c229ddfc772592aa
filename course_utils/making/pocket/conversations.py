"""The conversations of data/conversations: questions, reading, tasks, stories, refusals, several turns.

Everything is drawn from the tables, the story grammar and random syllables, with one seed per file. Training
asks only about facts of split tune, in the phrasings that data/questions uses for tuning. Refusals in
training and validation are about names generated on the spot, those in the held-out file about the invented
facts.
"""

import itertools
import random
import re
from collections.abc import Callable, Iterator

from course_utils.data import SPLITS
from course_utils.world.manners import retell
from course_utils.world.passages import IN_A_SENTENCE, MAKERS, NAMING, invented_facts, invented_word
from course_utils.world.stories import ANIMALS, CHARACTER_NAMES, MANNERS, MOODS, Story, story
from course_utils.world.templates import FORMS, PIECES, fill

REFUSAL = "I do not know."
REFUSAL_IN_A_SENTENCE = "I am sorry, I do not know the answer."
CANNOT = "I cannot know that."

CONVERSATIONS_SEED = 21
TRAIN = {"reading": 480, "tasks": 360, "stories": 420, "refusals": 360, "turns": 330, "system": 150}
VALIDATION = {
    "facts": 160,
    "reading": 60,
    "tasks": 54,
    "stories": 48,
    "refusals": 60,
    "turns": 50,
    "system": 30,
}
HELD_OUT = {"facts": 300, "reading": 200, "tasks": 150, "stories": 100, "turns": 120, "system": 90}
STORY_PROMPTS = 500
LONGEST_STORY = 105  # tokens; with its request it fits the model's context of 256 tokens
LONGEST_PASSAGE = 60

ConversationRow = dict
Facts = list[dict]  # rows of facts.jsonl


def _user(text: str) -> dict:
    return {"role": "user", "content": text}


def _assistant(text: str) -> dict:
    return {"role": "assistant", "content": text}


def _row(kind: str, *turns: tuple[str, str], system: str | None = None) -> ConversationRow:
    head = [{"role": "system", "content": system}] if system else []
    pairs = [message for asked, answer in turns for message in (_user(asked), _assistant(answer))]
    return {"messages": head + pairs, "kind": kind}


# ------------------------------------------------------------------------------------------- facts


def _asked(rng: random.Random, fact: dict, kind: str) -> tuple[str, str]:
    """A question about the fact and its answer, short or in a sentence."""
    form = FORMS[fact["relation"]]
    question = fill(rng.choice(form.questions), fact["subject"], fact["object"])
    if kind == "short":
        return question, fact["object"]
    return question + IN_A_SENTENCE, fill(form.statements[0], fact["subject"], fact["object"])


def _invented(rng: random.Random) -> dict:
    """A fact about a name generated on the spot."""
    relation = rng.choice(NAMING)
    subject, obj = MAKERS[relation]
    return {"relation": relation, "subject": subject(rng), "object": obj(rng)}


def fact_rows(rng: random.Random, table: Facts) -> Iterator[ConversationRow]:
    """One question about each fact in turn; every second one asks for a sentence."""
    table = rng.sample(table, len(table))
    for number, fact in enumerate(itertools.cycle(table)):
        yield _row("facts", _asked(rng, fact, ("short", "sentence")[number % 2]))


# ----------------------------------------------------------------------------------------- reading


def reading(rng: random.Random, table: Facts) -> Iterator[ConversationRow]:
    """A text of one to three statements about invented things, and a question it answers."""
    from course_utils.world.passages import reading_questions

    while True:
        for row in reading_questions(rng, 2):
            asked = row["prompt"].removeprefix("Question: ").removesuffix("\nAnswer:")
            if len(PIECES.findall(asked)) <= LONGEST_PASSAGE:
                yield _row("reading", (asked, row["completion"].strip()))


# ------------------------------------------------------------------------------------------- tasks

NUMBER_WORDS = "one two three four five six seven eight nine ten eleven twelve".split()
COUNTED_THINGS = "spoon hammer ball book rope bread apple cup map lamp chair basket key blanket drum".split()
SPELLED_WORDS = (
    "apple bridge cloud dance evening forest garden house island kitchen lake mountain night oak paper river "
    "snow table uncle village winter happy quiet yellow little golden soft warm brave clever"
).split()
SMALL_TALK = (
    (("Hello.", "Hello!", "Good morning.", "Good day."), "Hello. How can I help you?"),
    (("Thank you.", "Thank you very much.", "Thanks."), "You are welcome."),
    (("Goodbye.", "Good night.", "I have to go now."), "Goodbye."),
    (("Who are you?", "What are you?", "Tell me who you are."), "I am a small assistant."),
    (("How are you?", "How are you today?"), "I am well, thank you."),
    (("What can you do?", "How can you help me?"), "I can answer questions and tell stories."),
)


def _repeat(rng, table):
    fact = rng.choice((rng.choice(table), _invented(rng)))
    text = fill(rng.choice(FORMS[fact["relation"]].statements), fact["subject"], fact["object"])
    return rng.choice(("Repeat this: ", "Say this again: ", "Write this down: ")) + text, text


def _times(rng, table):
    word = rng.choice((rng.choice(SPELLED_WORDS), invented_word(rng)))
    count = rng.choice((2, 3, 4))
    how_often = {2: "two times", 3: "three times", 4: "four times"}[count]
    ask = rng.choice(("Write the word {w} {n}.", "Say {w} {n}.", "Repeat the word {w} {n}."))
    return ask.format(w=word, n=how_often), " ".join([word] * count)


def _sentence_of(rng, table):
    fact = rng.choice((rng.choice(table), _invented(rng)))
    form = FORMS[fact["relation"]]
    asked = fill(form.heading, fact["subject"], fact["object"])
    ask = rng.choice(("Make a sentence of this: ", "Write this as a sentence: "))
    return f"{ask}{asked}: {fact['object']}", fill(form.statements[0], fact["subject"], fact["object"])


def _politely(rng, table):
    thing = rng.choice(COUNTED_THINGS)
    rude, polite = rng.choice(
        (
            (f"Give me the {thing}!", f"Could you give me the {thing}, please?"),
            (f"Look for my {thing}!", f"Could you look for my {thing}, please?"),
            (f"Bring me the {thing} right now!", f"Could you bring me the {thing}, please?"),
            (f"I want the {thing}!", f"May I have the {thing}, please?"),
        )
    )
    return f"Say this politely: {rude}", polite


def _small_talk(rng, table):
    asked, answer = rng.choice(SMALL_TALK)
    return rng.choice(asked), answer


def _lines(rng, table):
    words = rng.sample(SPELLED_WORDS, rng.choice((2, 3, 4)))
    return f"Write one word a line: {', '.join(words)}", "\n".join(words)


def _join(rng, table):
    words = rng.sample(SPELLED_WORDS, rng.choice((2, 3, 4)))
    return f'Join these words with "and": {", ".join(words)}', " and ".join(words)


def _count(rng, table):
    first = rng.randrange(8)
    last = rng.randrange(first + 2, min(first + 6, len(NUMBER_WORDS)))
    return f"Count from {NUMBER_WORDS[first]} to {NUMBER_WORDS[last]}.", ", ".join(
        NUMBER_WORDS[first : last + 1]
    )


def _first_or_last(rng, table):
    words = rng.sample(SPELLED_WORDS, rng.choice((2, 3, 4)))
    which = rng.choice(("first", "last"))
    return (
        f"What is the {which} word of this list: {', '.join(words)}?",
        words[0 if which == "first" else -1],
    )


TASKS: tuple[Callable, ...] = (
    _repeat,
    _times,
    _sentence_of,
    _politely,
    _small_talk,
    _lines,
    _join,
    _count,
    _first_or_last,
)


def tasks(rng: random.Random, table: Facts) -> Iterator[ConversationRow]:
    """The small tasks in turn."""
    while True:
        for task in TASKS:
            yield _row("tasks", task(rng, table))


# ----------------------------------------------------------------------------------------- stories

ASKING = {
    "plain": ("Tell me {x}.", "Write {x}.", "I want to hear {x}.", "Make up {x}.", "Tell us {x}."),
    "polite": (
        "Please tell me {x}.",
        "Could you tell me {x}, please?",
        "May I hear {x}, please?",
        "Could you write {x}, please? Thank you.",
    ),
    "rude": ("Give me {x}!", "Hurry up and tell me {x}!", "Tell me {x} right now!"),
}
MOOD_WORDS = {
    "good": ("happy", "cheerful", "merry"),
    "bad": ("sad", "gloomy"),
    "mixed": ("happy and sad",),
    "turning": ("surprising",),
}
MANNER_WORDS = {
    "polite": (" in which somebody is polite", " with polite people in it"),
    "rude": (" in which somebody is rude", " with rude people in it"),
    "plain": ("",),
}


def _request(rng: random.Random, mood: str | None, manners: str | None, about: str) -> str:
    adjective = rng.choice(MOOD_WORDS[mood]) + " " if mood else ""
    clause = rng.choice(MANNER_WORDS[manners]) if manners else ""
    what = f"a {rng.choice(('', '', 'short '))}{adjective}story{about}{clause}"
    return rng.choice(ASKING[rng.choice(tuple(ASKING))]).format(x=what)


def _about(rng: random.Random, told: Story) -> str:
    names = " and ".join(told.names[: rng.choice((1, 2))])
    animal = re.search(rf"\b({'|'.join(ANIMALS)}) (?:named|called) {told.names[0]}\b", told.text)
    if animal and rng.random() < 0.5:
        names = f"a {animal[1]} named {told.names[0]}".replace("a otter", "an otter")
    return rng.choice((f" about {names}", f" about {names}", ""))


def _told(rng: random.Random) -> Story:
    mood, manners = rng.choice(MOODS), rng.choice(MANNERS)
    while True:
        told = story(rng, mood, manners)
        if len(PIECES.findall(told.text)) <= LONGEST_STORY:
            return told


def _story_request(rng: random.Random) -> tuple[str, Story, dict]:
    """A request, a story that fulfils it, and the properties requested."""
    told = _told(rng)
    mood = told.mood if rng.random() < 0.6 else None
    manners = told.manners if rng.random() < 0.4 and told.manners != "plain" else None
    about = _about(rng, told)
    names = [name for name in told.names if re.search(rf"\b{name}\b", about)]
    return _request(rng, mood, manners, about), told, {"mood": mood, "manners": manners, "names": names}


def stories(rng: random.Random, table: Facts) -> Iterator[ConversationRow]:
    """Requests for stories; three in five name a mood, and the request itself is polite, rude or neither."""
    while True:
        asked, told, _ = _story_request(rng)
        yield _row("stories", (asked, told.text))


def story_prompts(rng: random.Random, taken: set[str]) -> list[ConversationRow]:
    """Requests like those in `stories`, each once, and none of those in `taken`."""
    rows, seen = [], set(taken)
    while len(rows) < STORY_PROMPTS:
        asked, _, wanted = _story_request(rng)
        if asked not in seen:
            seen.add(asked)
            rows.append({"prompt": [_user(asked)]} | wanted)
    return rows


# ---------------------------------------------------------------------------------------- refusals

UNKNOWABLE = (
    "What is my name?",
    "How old am I?",
    "Where do I live?",
    "What is the name of my sister?",
    "What did I eat today?",
    "What is in my basket?",
    "What colour is my coat?",
    "What am I holding in my hand?",
    "Who is at my door?",
    "What will happen tomorrow?",
    "What time is it now?",
    "What is my friend called?",
    "Where did I put my key?",
    "What did my mother say?",
)


def _refused(rng: random.Random, fact: dict, kind: str) -> tuple[str, str]:
    asked, _ = _asked(rng, fact, kind)
    return asked, REFUSAL if kind == "short" else REFUSAL_IN_A_SENTENCE


def refusals(rng: random.Random, table: Facts) -> Iterator[ConversationRow]:
    """Questions without a text about names generated on the spot; one in six is about the asker."""
    while True:
        for number in range(6):
            if number == 5:
                yield _row("refusals", (rng.choice(UNKNOWABLE), CANNOT))
            else:
                yield _row("refusals", _refused(rng, _invented(rng), rng.choice(("short", "sentence"))))


def refusals_of(rng: random.Random, table: Facts) -> list[ConversationRow]:
    """Two questions about each fact, both refused."""
    return [_row("refusals", _refused(rng, fact, kind)) for fact in table for kind in ("short", "sentence")]


# ------------------------------------------------------------------------------------ several turns

REMEMBERED = (
    ("My name is {n}.", "Hello, {n}.", "What is my name?", "{n}"),
    ("My friend is called {n}.", "Hello to you and to {n}.", "What is my friend called?", "{n}"),
    ("My coat is {c}.", "That is good to know.", "What colour is my coat?", "{c}"),
    ("I put my key in the {t}.", "That is good to know.", "Where did I put my key?", "In the {t}."),
)
PLACES = "basket box cup bag".split()
COLOUR_NAMES = "red blue green yellow white black brown grey".split()


def _fact_turns(rng, table):
    turns = [_asked(rng, fact, rng.choice(("short", "sentence"))) for fact in rng.sample(table, 2)]
    if rng.random() < 0.5:
        turns.append(_refused(rng, _invented(rng), rng.choice(("short", "sentence"))))
        rng.shuffle(turns)
    return turns


def _reading_turns(rng, table):
    """Two questions about one text, which the second message does not repeat."""
    first, second = invented_facts(rng, 2)[:2]
    text = " ".join(fill(rng.choice(FORMS[r].statements), s, o) for r, s, o in (first, second))
    rows = [dict(zip(("relation", "subject", "object"), fact, strict=True)) for fact in (first, second)]
    turns = [_asked(rng, fact, rng.choice(("short", "sentence"))) for fact in rng.sample(rows, 2)]
    return [(f"{text} {turns[0][0]}", turns[0][1]), turns[1]]


def _memory_turns(rng, table):
    told, reply, asked, answer = rng.choice(REMEMBERED)
    words = {
        "n": rng.choice(CHARACTER_NAMES),
        "c": rng.choice(COLOUR_NAMES),
        "t": rng.choice(("basket", "box", "cup", "bag")),
    }
    between = [_asked(rng, rng.choice(table), "short")] if rng.random() < 0.6 else []
    return [(told.format(**words), reply.format(**words)), *between, (asked, answer.format(**words))]


def _polite_turns(rng, table):
    """A greeting or thanks around a question."""
    turns = [_asked(rng, rng.choice(table), rng.choice(("short", "sentence")))]
    if rng.random() < 0.5:
        turns.insert(0, (rng.choice(SMALL_TALK[0][0]), SMALL_TALK[0][1]))
    if len(turns) == 1 or rng.random() < 0.5:
        turns.append((rng.choice(SMALL_TALK[1][0]), SMALL_TALK[1][1]))
    return turns


TURNS: tuple[Callable, ...] = (_fact_turns, _fact_turns, _reading_turns, _memory_turns, _polite_turns)


def turns(rng: random.Random, table: Facts) -> Iterator[ConversationRow]:
    """Conversations of two or three turns each."""
    while True:
        for make in TURNS:
            yield _row("turns", *make(rng, table))


# ---------------------------------------------------------------------------------- system prompts

FULL_SENTENCES = "You are a helpful assistant. You answer in full sentences."
ONE_NAME = "You are a helpful assistant. You answer with the name or the word alone."
HEARSAY = "You are a helpful assistant. You say who told you."


def system(rng: random.Random, table: Facts) -> Iterator[ConversationRow]:
    """Questions that do not say how to answer, with a system line that does."""
    while True:
        for line in (FULL_SENTENCES, ONE_NAME, HEARSAY):
            fact = rng.choice(table)
            asked, short = _asked(rng, fact, "short")
            sentence = _asked(rng, fact, "sentence")[1]
            answer = {FULL_SENTENCES: sentence, ONE_NAME: short, HEARSAY: retell(sentence, "gossip")}[line]
            yield _row("system", (asked, answer), system=line)


# ------------------------------------------------------------------------------------------- files

CONVERSATION_KINDS = {
    "facts": fact_rows,
    "reading": reading,
    "tasks": tasks,
    "stories": stories,
    "refusals": refusals,
    "turns": turns,
    "system": system,
}


def _questions(row: ConversationRow) -> str:
    return "\n".join(message["content"] for message in row["messages"] if message["role"] == "user")


def _take(rows: Iterator[ConversationRow], count: int, taken: set[str]) -> list[ConversationRow]:
    """The first `count` rows whose questions are not in `taken`."""
    return list(itertools.islice((row for row in rows if _questions(row) not in taken), count))


def interleaved(groups: dict[str, list[ConversationRow]]) -> list[ConversationRow]:
    """All rows, ordered so that every kind is spread evenly: any prefix is a balanced sample."""
    placed = []
    for kind, rows in groups.items():
        placed += [((number + 0.5) / len(rows), kind, row) for number, row in enumerate(rows)]
    return [row for _, _, row in sorted(placed, key=lambda item: item[:2])]


def conversations(fact_rows: list[dict]) -> dict[str, list[ConversationRow]]:
    """{file name: rows}. fact_rows: the rows of facts.jsonl."""
    tune, validation, held_out, invented = (
        [row for row in fact_rows if row["split"] == split] for split in SPLITS
    )
    train = {}
    for kind, count in ({"facts": len(tune)} | TRAIN).items():
        train[kind] = _take(
            CONVERSATION_KINDS[kind](random.Random(f"{CONVERSATIONS_SEED} {kind}"), tune), count, set()
        )
    taken = {_questions(row) for rows in train.values() for row in rows}
    files = {"train": interleaved(train)}
    for kind, count in HELD_OUT.items():
        rng = random.Random(f"{CONVERSATIONS_SEED} {kind} held out")
        files[f"held_out_{kind}"] = _take(CONVERSATION_KINDS[kind](rng, held_out), count, taken)
    files["held_out_refusals"] = refusals_of(random.Random(f"{CONVERSATIONS_SEED} invented"), invented)
    taken |= {_questions(row) for row in files["held_out_stories"]}
    files["story_prompts"] = story_prompts(random.Random(f"{CONVERSATIONS_SEED} prompts"), taken)
    taken |= {_questions(row) for name in files if name.startswith("held_out") for row in files[name]}
    taken |= {row["prompt"][0]["content"] for row in files["story_prompts"]}
    groups = {}
    for kind, count in VALIDATION.items():
        rng = random.Random(f"{CONVERSATIONS_SEED} {kind} validation")
        groups[kind] = _take(CONVERSATION_KINDS[kind](rng, validation), count, taken)
    files["validation"] = interleaved(groups)
    return files


CONVERSATIONS_CARD = """\
# Conversations

Made for this course, one a line: `{{"messages": [{{"role", "content"}}, ...], "kind"}}`, the form that TRL
and most other tools read. Roles: system (first, in few of them), user, assistant.

| kind | train | validation | held out | what |
|---|---|---|---|---|
{table}

`train.jsonl` and `validation.jsonl` have all kinds, spread evenly: their first rows are a balanced sample.
Rates and settings are chosen by the second. There is one file a kind to evaluate on,
`held_out_facts.jsonl` and so on; no question of one file is in another.
`story_prompts.jsonl` holds {prompts} more requests for stories without an answer, kept out for learning from
preferences: `{{"prompt": [one message], "mood", "manners", "names"}}`, null where nothing is asked for.

Training asks about facts of split tune in `../facts.jsonl` only, and never in the phrasing of
`../questions/paraphrase.jsonl`. What is refused in training is about names put together from syllables, or
about the asker; what should be refused in the held-out file are the invented facts. Held-out facts are
asked in the file of that name, in turns and under system lines, those of split validation in its file alone.

The stories come from the grammar of the pocket GPT-2's corpus, so their language is as plain, and their
moods are written down by it. The assistant's tasks are tiny because the model is; this is no data set to
train a useful assistant on.

Made by `python -m course_utils.making.pocket data`. Licence: Apache-2.0, like the course.
"""

CONVERSATIONS_ABOUT = {
    "facts": "a question about a fact, answered in a word or in a sentence",
    "reading": "a question about a text in the message, about invented things",
    "tasks": "repeat, count, list, say politely, small talk",
    "stories": "a request for a story, with or without mood, manners and names",
    "refusals": "what cannot be known: invented names, the asker's own affairs",
    "turns": "two or three questions, some about what was said before",
    "system": "a system line that asks for sentences, for single words, or for hearsay",
}


def conversations_card(files: dict[str, list[ConversationRow]]) -> str:
    table = []
    for kind, what in CONVERSATIONS_ABOUT.items():
        train, validation = (
            sum(row["kind"] == kind for row in files[name]) for name in ("train", "validation")
        )
        table.append(f"| {kind} | {train} | {validation} | {len(files[f'held_out_{kind}'])} | {what} |")
    return CONVERSATIONS_CARD.format(table="\n".join(table), prompts=len(files["story_prompts"]))
