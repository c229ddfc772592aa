"""The task: naming lists of facts; a start that can half do it, and programs that judge answers."""

import functools
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from course_utils.artifacts import RESTS_ON, conditions_of, is_shipped, load_shipped, sft_model
from course_utils.data import DATA, batches, read_jsonl
from course_utils.home import cached
from course_utils.lessons.lesson_12.judging import requests_of
from course_utils.methods.rollouts import answer_texts, encode_prompts, rollout, sampling_of
from course_utils.methods.sft import encode_all, instruction_tune
from course_utils.models import load_model, save_model
from course_utils.session import check_not_stopped
from course_utils.training import scored_lm_loss, train
from course_utils.world.lists import RELATIONS, items, list_row, load_lists, make_lists, verify

LIST_START = {"lists": 400, "steps": 40, "lr": 5e-4}  # chosen in the sweep list_starts
LIST_TOKENS = 24  # maximum per answer; all right answers to held-out lists have fewer
LONG_FACTS, LONG_TOKENS = 6, 40  # facts in a long list, and the maximum tokens of its answer


def list_conversation(row: dict) -> list[dict]:
    """A row of data/lists as a request and its right answer."""
    return [*row["prompt"], {"role": "assistant", "content": ", ".join(row["answers"]) + "."}]


def short_lists(split: str) -> list[dict]:
    """The rows of data/lists that ask for three facts of one relation."""
    return load_lists(split, "one")


def request_of(row: dict) -> str:
    """The user's request in a row."""
    return row["prompt"][-1]["content"]


def long_lists(split: str, count: int, facts: int = LONG_FACTS) -> list[dict]:
    """Requests for `facts` facts of as many relations: rows like those of data/lists.

    No model is tuned on them. They are always the same for a split.
    """
    rng = random.Random(f"long lists {split}")
    known = [row for row in read_jsonl(DATA / "facts.jsonl") if row["split"] == split]
    tables = {name: [row for row in known if row["relation"] == name] for name in RELATIONS}
    return [
        list_row([rng.choice(tables[name]) for name in rng.sample(RELATIONS, facts)]) for _ in range(count)
    ]


def tune_lists(half: str, count: int) -> list[dict]:
    """Lists of three facts of a relation, from one half of the tune facts: "told" or "practice".

    The start is tuned on the answers to lists of the first half. GRPO practises on the second: the start has
    seen these facts no more than held-out ones.
    """
    facts = [row for row in read_jsonl(DATA / "facts.jsonl") if row["split"] == "tune"]
    facts = [row for row in facts if row["relation"] in RELATIONS]
    random.Random("halves").shuffle(facts)
    chosen = {"told": facts[::2], "practice": facts[1::2]}[half]
    return [row for row in make_lists(chosen, count, f"lists {half}") if row["kind"] == "one"]


def start_model(
    session, seed=None, *, lists=LIST_START["lists"], steps=LIST_START["steps"], lr=LIST_START["lr"]
):
    """The assistant of lesson 09 after a little more tuning, on lists: (model, tokenizer).

    It knows the form of an answer, but is often wrong.
    """
    model, tokenizer = sft_model(session)
    rows = tune_lists("told", lists)
    instruction_tune(
        model,
        tokenizer,
        [list_conversation(row) for row in rows],
        steps=session.steps(quick=steps, full=steps),
        lr=lr,
        seed=session.seed if seed is None else seed,
        autocast=session.autocast,
        label="the start",
    )
    return model.eval(), tokenizer


def list_student(session, seed=None):
    """The start, lesson 19's student, (model, tokenizer): shipped, or made once per session and seed."""
    seed = session.seed if seed is None else seed
    if seed == 0 and is_shipped("list_student", session):
        return load_shipped("list_student", session.device)

    def make(folder: Path) -> None:
        model, tokenizer = start_model(session, seed)
        check_not_stopped()
        save_model(model, tokenizer, folder)

    inputs = conditions_of(session) | {"start": seed}
    return load_model(str(cached("list_student", inputs, make, RESTS_ON["list_student"])), session.device)


def tune_on(model, tokenizer, pairs: Sequence[tuple[dict, str]], *, steps, lr, seed):
    """Supervised fine-tuning on (row, answer) pairs, in place."""
    conversations = [[*row["prompt"], {"role": "assistant", "content": text}] for row, text in pairs]
    stream = batches(encode_all(tokenizer, conversations), 16, seed, tokenizer.pad_token_id)
    settings = {"loss_fn": scored_lm_loss, "label": "tuning on answers"}
    train(model, stream, steps=steps, lr=lr, seed=seed, **settings)
    model.eval()


def names_all(text: str, answers: Sequence[str]) -> float:
    """1 if every right name occurs anywhere in the answer: a verifier with a hole."""
    return float(all(name in text for name in answers))


def names_all_and_no_more(text: str, answers: Sequence[str]) -> float:
    """1 if the right names occur, in any order, and as many parts as asked for: the hole is fixed."""
    return float(sorted(items(text)) == sorted(answers))


def verifier(tokenizer, rows: Sequence[dict], judge: Callable = verify) -> Callable:
    """A reward for train_grpo: judge(text, answers) of each answer of a batch, 0 if it did not end.

    rows: the source of the prompts; an answer is judged by the row with its request.
    """
    wanted = {request_of(row): row["answers"] for row in rows}

    def reward(batch):
        pairs = zip(requests_of(tokenizer, batch), answer_texts(tokenizer, batch), strict=True)
        scores = torch.tensor([judge(text, wanted[asked]) for asked, text in pairs])
        return scores.to(batch["ended"].device) * batch["ended"]

    return reward


def answers_to(
    model, tokenizer, rows: Sequence[dict], count: int, *, temperature=1.0, seed=0, new_tokens=LIST_TOKENS
) -> list[list[str]]:
    """`count` sampled answers to each row; "" if one did not end. temperature 0: the greedy answer."""
    prompts = encode_prompts(tokenizer, [row["prompt"] for row in rows])
    sampling = sampling_of(tokenizer, new_tokens) | {"temperature": temperature}
    generator = torch.Generator(next(model.parameters()).device).manual_seed(seed)
    wanted = sorted(
        (place for place in range(len(rows)) for _ in range(count)), key=lambda i: len(prompts[i])
    )
    found: list[list[str]] = [[] for _ in rows]
    for start in range(0, len(wanted), 256):
        places = wanted[start : start + 256]
        batch = rollout(model, [prompts[place] for place in places], generator=generator, **sampling)
        texts = answer_texts(tokenizer, batch)
        for place, text, ended in zip(places, texts, batch["ended"].tolist(), strict=True):
            found[place].append(text if ended else "")
    return found


def count_right(answers: Sequence[Sequence[str]], rows: Sequence[dict], judge: Callable = verify):
    """Right answers to each row, [rows]."""
    return torch.tensor(
        [sum(judge(text, row["answers"]) for text in texts) for row, texts in zip(rows, answers, strict=True)]
    )


@functools.cache
def _names_by_relation() -> dict[str, set[str]]:
    rows = [row for row in read_jsonl(DATA / "facts.jsonl") if row["relation"] in RELATIONS]
    return {name: {row["object"] for row in rows if row["relation"] == name} for name in RELATIONS}


def right_form(text: str, answers: Sequence[str]) -> float:
    """1 for the right number of different names of the relation, whichever: the form, not the facts."""
    given = items(text)
    of_a_kind = any({*given, *answers} <= names for names in _names_by_relation().values())
    return float(len(given) == len(answers) and len({*given}) >= len({*answers}) and of_a_kind)
