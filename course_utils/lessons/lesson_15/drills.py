"""Facts taught to the assistant, as sentences or as questions, and what a model knows before and after."""

import copy
import itertools
import random
import re
from collections.abc import Callable, Iterator, Sequence

import torch

from course_utils.data import (
    Fact,
    batches,
    collate,
    encode_text,
    load_conversations,
    load_facts,
    load_source_texts,
)
from course_utils.evaluation import mean_loss, question_text
from course_utils.lessons.lesson_09.adapters import NO_ANSWER, objects_of, states
from course_utils.lessons.lesson_15.knowledge import made_up, questions_about, statement_examples
from course_utils.lessons.lesson_15.libraries import shelf, threshold_for, training_pairs, write_down
from course_utils.methods.lora import apply_lora
from course_utils.methods.lora_fast import speed_up
from course_utils.methods.retrieval import Index, ask_with_passage, bm25_scores, mean_hidden, text_batch
from course_utils.methods.sft import as_conversation, encode_all, replies
from course_utils.stored_runs import few
from course_utils.training import History, scored_lm_loss, train
from course_utils.world.passages import NAMING

REPLAYED = ("facts", "reading", "refusals", "turns")  # kinds of old conversations that are replayed
REPLAY_ROWS = 12  # of them per step


def draw_facts(taught: int, tested: int, seed: int) -> dict[str, list[Fact]]:
    """{"invented", "control": `taught` facts a relation; "elsewhere", "strangers": `tested` a relation}"""
    rng = random.Random(seed)
    drawn = {"invented": [], "control": [], "elsewhere": []}
    for relation in NAMING:
        drawn["invented"] += rng.sample(load_facts("invented", relation), taught)
        real = rng.sample(load_facts("held_out", relation), taught + tested)
        drawn["control"] += real[:taught]
        drawn["elsewhere"] += real[taught:]
    return drawn | {"strangers": made_up(tested, seed)}


def more_known(drawn: dict[str, list[Fact]], count: int, seed: int) -> list[Fact]:
    """`count` held-out facts that draw_facts left, equally many of each of its relations."""
    rng = random.Random(f"more known facts {seed}")
    used, chosen = {*drawn["control"], *drawn["elsewhere"]}, []
    for relation in NAMING:
        left = [fact for fact in load_facts("held_out", relation) if fact not in used]
        chosen += rng.sample(left, count // len(NAMING))
    return chosen


def answers_to(model, tokenizer, questions: Sequence[dict], index=None, threshold: float = 0.0) -> list[str]:
    """The model's answers; with an index the best passage stands before each question."""
    asked = [question_text(row) for row in questions]
    if index is not None:
        asked = [ask_with_passage(index, question, threshold) for question in asked]
    said = replies(model, tokenizer, [[{"role": "user", "content": question}] for question in asked])
    return [reply.text for reply in said]


def outcomes(
    model, tokenizer, questions: Sequence[dict], index=None, threshold: float = 0.0
) -> tuple[list[bool], list[bool]]:
    """For each question, whether its fact is given, and whether it is refused."""
    return judged(answers_to(model, tokenizer, questions, index, threshold), questions)


def judged(texts: Sequence[str], questions: Sequence[dict]) -> tuple[list[bool], list[bool]]:
    """For each answer to a question, whether the fact is given, and whether it is refused."""
    right = [gives(text, row) for text, row in zip(texts, questions, strict=True)]
    return right, [NO_ANSWER in text for text in texts]


def answers_behind(
    model, tokenizer, questions: Sequence[dict], before: Callable[[str], str]
) -> tuple[list[str], list[str]]:
    """(the texts that `before` puts before the questions, the model's answers)"""
    asked = [question_text(row) for row in questions]
    shown = [before(question) for question in asked]
    turns = [" ".join(filter(None, pair)) for pair in zip(shown, asked, strict=True)]
    said = replies(model, tokenizer, [[{"role": "user", "content": turn}] for turn in turns])
    return shown, [reply.text for reply in said]


def gives(text: str, row: dict) -> bool:
    """Whether an answer gives the question's fact by lesson 09's rule (the object, and no rival)."""
    return states(text, row, objects_of(row["relation"]))


def names_one(text: str, names: Sequence[str]) -> bool:
    """Whether one of the names stands in the text, as whole words, in capitals or not."""
    return any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE) for name in names)


def share(marks: Sequence[bool]) -> float:
    """The share that is true."""
    return sum(marks) / len(marks)


def read_facts(
    model, tokenizer, facts: Sequence[Fact], way: str, *, rounds: int, seed: int, **options
) -> History:
    """Train on sentences in place, with loss on all tokens; each step states every fact once."""
    stream = statement_examples(tokenizer, facts, way, seed)

    def rounds_of():
        while True:
            yield collate(list(itertools.islice(stream, len(facts))), tokenizer.pad_token_id)

    settings = {"lr": 1e-3, "loss_fn": scored_lm_loss, "label": way, **options}
    return train(model, rounds_of(), steps=rounds, seed=seed, **settings)


def by_policy(model, tokenizer, facts, seed: int, score=bm25_scores) -> dict[str, dict[str, list[bool]]]:
    """{policy: {"invented", "elsewhere": given; "strangers": refused}}, each question in both kinds.

    Policies: nothing shown, always shown, shown above the threshold. The library has the invented facts, but
    not the strangers.
    """
    index = Index(write_down(shelf(seed), seed), score)
    policies = {
        "nothing shown": (None, 0.0),
        "always shown": (index, 0.0),
        "shown above the threshold": (index, threshold_for(seed, score)),
    }
    found = {}
    for policy, (library, threshold) in policies.items():
        found[policy] = {}
        for kind in ("invented", "elsewhere", "strangers"):
            rows = [
                row
                for answer in ("short", "sentence")
                for row in few(questions_about(facts[kind], answer, new_words=True), 4)
            ]
            right, refused = outcomes(model, tokenizer, rows, library, threshold)
            found[policy][kind] = refused if kind == "strangers" else right
    return found


def old_conversations() -> list[list[dict]]:
    """Conversations to replay, from the assistant's training."""
    return [row["messages"] for row in load_conversations("train") if row["kind"] in REPLAYED]


def drill(
    model,
    tokenizer,
    facts: Sequence[Fact],
    *,
    rounds: int,
    lr: float,
    seed: int,
    replay: Sequence[list[dict]] = (),
    **options,
) -> History:
    """Train on questions about the facts in place; each step has as many questions as there are facts.

    replay: old conversations, of which each step also sees REPLAY_ROWS.
    """
    rows = questions_about(facts, "short") + questions_about(facts, "sentence")
    stream: Iterator = batches(
        encode_all(tokenizer, map(as_conversation, rows)), len(facts), seed, tokenizer.pad_token_id
    )
    if replay:
        old = batches(encode_all(tokenizer, replay), REPLAY_ROWS, seed, tokenizer.pad_token_id)
        stream = itertools.chain.from_iterable(zip(stream, old, strict=True))
    settings = {"loss_fn": scored_lm_loss, "label": "drill", "accumulate": 2 if replay else 1, **options}
    return train(model, stream, steps=rounds, lr=lr, seed=seed, **settings)


def add_lora(model, seed: int):
    """LoRA of rank 16 on all linear layers of the model, in place."""
    torch.manual_seed(seed)
    return speed_up(apply_lora(model, 16, 16.0))


@torch.no_grad()
def distance_moved(model, start) -> float:
    """Norm of the change of all weights divided by the norm of the initial weights."""
    pairs = list(zip(model.parameters(), start.parameters(), strict=True))
    change = sum(((now - before).double() ** 2).sum() for now, before in pairs)
    return float(change / sum((before.double() ** 2).sum() for _, before in pairs)) ** 0.5


def source_rise(model, start, tokenizer) -> float:
    """Increase of the loss on text like that of pre-training, in nats per token."""
    texts = [encode_text(tokenizer, text) for text in load_source_texts()[: few(24, 4)]]
    return mean_loss(model, texts) - mean_loss(start, texts)


def moved_on(facts: Sequence[Fact]) -> list[Fact]:
    """The facts with the objects of each relation shifted by one."""
    changed = []
    for relation in dict.fromkeys(fact.relation for fact in facts):
        group = [fact for fact in facts if fact.relation == relation]
        for fact, other in zip(group, group[1:] + group[:1], strict=True):
            changed.append(Fact(relation, fact.subject, other.object, "changed"))
    return changed


def train_embedding(
    model, tokenizer, facts, *, loss, steps: int, seed: int, lr: float = 1e-3, rows: int = 24
):
    """A copy of the model whose mean hidden states find passages, trained with loss(questions, passages)."""
    model = copy.deepcopy(model)
    rng = random.Random(f"embedding {seed}")

    def drawn():
        while True:
            questions, passages = training_pairs(rng.sample(facts, rows), rng)
            yield text_batch(tokenizer, [*questions, *passages])

    def summed(model, batch):
        hidden = mean_hidden(model, batch)  # (2 rows, width)
        half = len(hidden) // 2
        count = torch.tensor(half)
        return loss(hidden[:half], hidden[half:]) * count, count

    history = train(model, drawn(), steps=steps, lr=lr, seed=seed, loss_fn=summed, label="embedding")
    return model, history
