"""The lesson's runs: tuning against a random change, pre-trained against random weights, over learning rates.

Also its controls: training on shuffled answers, and random weights that train longer.
"""

from __future__ import annotations

import copy
import math
import random
import re

import torch

from course_utils.data import (
    IGNORE,
    Example,
    batches,
    encode,
    encode_prompt_completion,
    encode_text,
    load_facts,
    load_questions,
    load_source_texts,
)
from course_utils.evaluation import answer_questions, mean_loss, normalise, score_answers
from course_utils.generation import generate
from course_utils.lessons.lesson_01.weights_and_loss import colleagues_loss, relative_change
from course_utils.models import load_model
from course_utils.stored_runs import few, load_sweep, sweep
from course_utils.training import fast_lm_loss, train
from course_utils.world.tables import TAKES_THE
from course_utils.world.templates import FORMS, fill

RATE = 2e-4  # between the best rates for the two starts
CONTROLS = {
    "right": {"start": "pre-trained", "answers": "right", "steps": 80, "lr": RATE},
    "exchanged": {"start": "pre-trained", "answers": "shuffled", "steps": 80, "lr": RATE},
    "random": {"start": "random", "answers": "right", "steps": 320, "lr": 4e-4},  # fits its training data
}

DISTANCES = {
    "tuning": (0.25, 0.5, 1, 2, 4),
    "random": (0.25, 1, 3, 10, 30),
    "tuning's singular values": (0.25, 1, 3, 10, 30),
}


def short_questions(split, count, seed, relations=None):
    """`count` of a split's questions whose answer is the object alone, drawn with the seed.

    relations: allowed relations; None: all.
    """
    questions = [row for row in load_questions(split) if row["kind"] == "short"]
    questions = [row for row in questions if relations is None or row["relation"] in relations]
    return random.Random(f"{split} {seed}").sample(questions, min(count, len(questions)))


def many_answers():
    """The relations of the invented facts: each has many possible answers."""
    return {row["relation"] for row in load_questions("invented")}


def held_out_facts(count, seed):
    """`count` of the held-out facts, drawn with the seed."""
    return random.Random(seed).sample(load_facts("held_out"), count)


def answers_shuffled(questions, seed):
    """The questions in order, each with the answer of another question about the same relation.

    The only question of a relation keeps its answer; if few answers are possible, the two may be equal.
    """
    shuffled, generator = list(questions), random.Random(f"shuffled {seed}")
    for relation in sorted({row["relation"] for row in questions}):
        places = [place for place, row in enumerate(questions) if row["relation"] == relation]
        generator.shuffle(places)
        for place, other in zip(places, places[1:] + places[:1], strict=True):
            answer = {key: questions[other][key] for key in ("object", "completion")}
            shuffled[place] = questions[place] | answer
    return shuffled


def wrong_answers(questions, seed):
    """Like answers_shuffled, without questions whose answer is right."""
    pairs = zip(questions, answers_shuffled(questions, seed), strict=True)
    return [shuffled for row, shuffled in pairs if shuffled["object"] != row["object"]]


def of_the_kind(answers, questions):
    """Share of the answers that name an object of the question's relation, the right one or another."""
    names = {(fact.relation, normalise(fact.object)) for fact in load_facts()}
    pairs = zip(answers, questions, strict=True)
    return sum((row["relation"], normalise(answer)) in names for answer, row in pairs) / len(questions)


def statement_loss(model, tokenizer, facts):
    """Mean loss on the objects that complete the facts' statements, in nats per token."""
    examples = []
    for fact in facts:
        start = encode(tokenizer, fill(FORMS[fact.relation].probe, fact.subject, fact.object))
        wanted = encode(tokenizer, (" the " if fact.object in TAKES_THE else " ") + fact.object)
        examples.append(Example(start + wanted, [IGNORE] * len(start) + wanted))
    return mean_loss(model, examples)


def statements_completed(model, tokenizer, facts):
    """Share of the facts whose statement the model completes with the object, greedily."""
    prompts = [fill(FORMS[fact.relation].probe, fact.subject, fact.object) for fact in facts]
    texts = generate(model, tokenizer, prompts, max_new_tokens=14, batch_size=128)
    pairs = zip(facts, texts, strict=True)
    right = [re.match(rf"{re.escape(normalise(fact.object))}(?!\w)", normalise(text)) for fact, text in pairs]
    return sum(map(bool, right)) / len(facts)


def untrained(model, seed):
    """A model of the same architecture with random weights."""
    torch.manual_seed(seed)
    return type(model)(model.config).to(model.device).eval()


def random_change(model, before, after, seed, size=1.0):
    """Add noise to the model in place; its norm in every tensor is `size` times that of after - before."""
    generator = torch.Generator().manual_seed(seed)
    tensors = zip(model.parameters(), before.parameters(), after.parameters(), strict=True)
    with torch.no_grad():
        for parameter, old, new in tensors:
            noise = torch.randn(old.shape, generator=generator).to(old.device)
            parameter += size * noise * (new - old).norm() / noise.norm()
    return model


def moved_along(model, before, after, size):
    """Add `size` times after - before to the model, in place."""
    tensors = zip(model.parameters(), before.parameters(), after.parameters(), strict=True)
    with torch.no_grad():
        for parameter, old, new in tensors:
            parameter += size * (new - old)
    return model


def rotated_change(model, before, after, seed, size=1.0):
    """Like random_change; a matrix's noise has the singular values of after - before."""
    generator = torch.Generator().manual_seed(seed)
    tensors = zip(model.parameters(), before.parameters(), after.parameters(), strict=True)
    with torch.no_grad():
        for parameter, old, new in tensors:
            change = (new - old).cpu()
            if change.ndim == 2:
                values = torch.linalg.svdvals(change)
                left, right = (
                    torch.linalg.qr(torch.randn(side, len(values), generator=generator))[0]
                    for side in change.shape
                )
                noise = (left * values) @ right.T
            else:
                noise = torch.randn(change.shape, generator=generator)
                noise *= change.norm() / noise.norm()
            parameter += size * noise.to(parameter.device)
    return model


def norm(tensors):
    """Norm of several tensors, taken as one vector."""
    return math.sqrt(sum(tensor.square().sum().item() for tensor in tensors))


@sweep(
    "start_and_rate",
    points=[
        *[
            {"start": start, "lr": lr, "shifts": 1}
            for start, rates in (("pre-trained", (5e-5, 1e-4, RATE, 4e-4)), ("random", (RATE, 4e-4, 8e-4)))
            for lr in rates
        ],
        {"start": "pre-trained", "lr": RATE, "shifts": 2},
    ],
    short=(2, 4, 7),
)
def start_and_rate(point: dict, seed: int) -> dict:
    """80 steps on whole texts, 16 of 96 questions each; answer losses in nats per token, distances, shares.

    shifts: of the labels; 2 is a mistake. At RATE, also answered_and_kept; from pre-trained weights, also
    that of the base, and of the base with a random change of the same size.
    """
    base, tokenizer = load_model("pocket")
    before = base if point["start"] == "pre-trained" else untrained(base, seed)
    after, questions = copy.deepcopy(before), short_questions("tune", 96, seed)
    texts = [encode_text(tokenizer, row["prompt"] + row["completion"]) for row in questions]
    stream = batches(texts, 16, seed, tokenizer.pad_token_id)
    loss_fn = colleagues_loss if point["shifts"] == 2 else fast_lm_loss
    steps, lr = few(80), point["lr"]
    train(after, stream, steps=steps, lr=lr, loss_fn=loss_fn, seed=seed, label=f"{point}, seed {seed}")
    old, new = list(before.parameters()), list(after.parameters())
    relative = relative_change(old, new)
    result = {"relative": relative, "moved": relative * norm(old)}
    for split in ("tune", "validation", "held_out"):
        asked = questions if split == "tune" else short_questions(split, few(200, 8), seed)
        result[f"{split}_loss"] = answer_loss(after, tokenizer, asked)
    if point["lr"] == RATE:
        result |= answered_and_kept(after, tokenizer, seed)
    if point == {"start": "pre-trained", "lr": RATE, "shifts": 1}:
        shaken = random_change(copy.deepcopy(base), base, after, seed)
        for name, model in (("base", base), ("random_change", shaken)):
            result |= {
                f"{name}_{key}": value for key, value in answered_and_kept(model, tokenizer, seed).items()
            }
    return result


def answer_loss(model, tokenizer, questions):
    """Mean loss on the answers, in nats per token."""
    rows = [encode_prompt_completion(tokenizer, row["prompt"], row["completion"]) for row in questions]
    return mean_loss(model, rows)


def answered_and_kept(model, tokenizer, seed):
    """A model's answers on stated and on invented facts, and what it has kept from pre-training."""
    invented = short_questions("invented", few(84, 8), seed)
    kinds = {row["relation"] for row in invented}
    asked = {
        "held_out": short_questions("held_out", few(200, 8), seed),
        "same_kinds": short_questions("held_out", few(200, 8), seed, kinds),
        "invented": invented,
    }
    result = {}
    for name, questions in asked.items():
        answers = answer_questions(model, tokenizer, questions, max_new_tokens=10)
        result[f"{name}_answered"] = score_answers(answers, questions)[0]
    for name in ("same_kinds", "invented"):
        result[f"{name}_loss"] = answer_loss(model, tokenizer, asked[name])
    texts = [encode_text(tokenizer, text) for text in load_source_texts()[: few(100, 4)]]
    return result | {
        "statements": statements_completed(model, tokenizer, held_out_facts(few(200, 8), seed)),
        "perplexity": math.exp(mean_loss(model, texts)),
    }


@sweep("two_directions", points=[{"steps": 80, "lr": RATE}])
def two_directions(point: dict, seed: int) -> dict:
    """Distances from the base, 1 being tuning's, along tuning's change and two random ones.

    "DIRECTION DISTANCE NAME": share of 100 held-out questions answered, loss of their answers in nats per
    token, perplexity on texts; DIRECTION: a name in DISTANCES. "base NAME": the base's.
    """
    base, tokenizer = load_model("pocket")
    tuned, questions = copy.deepcopy(base), short_questions("tune", 96, seed)
    texts = [encode_text(tokenizer, row["prompt"] + row["completion"]) for row in questions]
    stream = batches(texts, 16, seed, tokenizer.pad_token_id)
    steps, lr = few(point["steps"]), point["lr"]
    train(tuned, stream, steps=steps, lr=lr, loss_fn=fast_lm_loss, seed=seed, label=f"seed {seed}")
    asked = short_questions("held_out", few(100), seed)
    source = [encode_text(tokenizer, text) for text in load_source_texts()[: few(50)]]

    def measured(model):
        answers = answer_questions(model, tokenizer, asked, max_new_tokens=10)
        return {
            "answered": score_answers(answers, asked)[0],
            "answer_loss": answer_loss(model, tokenizer, asked),
            "perplexity": math.exp(mean_loss(model, source)),
        }

    result = {f"base {name}": value for name, value in measured(base).items()}
    for direction, distances in DISTANCES.items():
        for distance in few(list(distances)):
            model = copy.deepcopy(base)
            if direction == "tuning":
                moved_along(model, base, tuned, distance)
            elif direction == "random":
                random_change(model, base, tuned, seed, distance)
            else:
                rotated_change(model, base, tuned, seed, distance)
            result |= {f"{direction} {distance:g} {name}": value for name, value in measured(model).items()}
    return result


@sweep("what_teaches", points=list(CONTROLS.values()))
def what_teaches(point: dict, seed: int) -> dict:
    """`steps` on whole texts, 16 of 96 questions each; shares answered, losses in nats per token.

    answers: the training answers, right or shuffled within each relation. With CONTROLS["right"], also the
    values of the base and of the base with a random change of tuning's norm.
    """
    base, tokenizer = load_model("pocket")
    before = base if point["start"] == "pre-trained" else untrained(base, seed)
    after, questions = copy.deepcopy(before), short_questions("tune", 96, seed)
    if point["answers"] == "shuffled":
        questions = answers_shuffled(questions, seed)
    texts = [encode_text(tokenizer, row["prompt"] + row["completion"]) for row in questions]
    stream = batches(texts, 16, seed, tokenizer.pad_token_id)
    steps, lr = few(point["steps"]), point["lr"]
    train(after, stream, steps=steps, lr=lr, loss_fn=fast_lm_loss, seed=seed, label=f"{point}, seed {seed}")
    old = list(before.parameters())
    relative = relative_change(old, list(after.parameters()))
    result = {"relative": relative, "moved": relative * norm(old)}
    result["tune_loss"] = answer_loss(after, tokenizer, questions)
    result |= brought_out(after, tokenizer, seed)
    if point == CONTROLS["right"]:
        shaken = random_change(copy.deepcopy(base), base, after, seed)
        for name, model in (("base", base), ("random_change", shaken)):
            result |= {f"{name}_{key}": value for key, value in brought_out(model, tokenizer, seed).items()}
    return result


def brought_out(model, tokenizer, seed):
    """On held-out facts: the shares answered, and losses of right answers, wrong answers and statements."""
    held_out = short_questions("held_out", few(200, 8), seed)
    answers = answer_questions(model, tokenizer, held_out, max_new_tokens=10)
    same_kinds = short_questions(
        "held_out", few(200, 8), seed, {row["relation"] for row in load_questions("invented")}
    )
    return {
        "answered": score_answers(answers, held_out)[0],
        "of_the_kind": of_the_kind(answers, held_out),
        "held_out_loss": answer_loss(model, tokenizer, held_out),
        "right_loss": answer_loss(model, tokenizer, same_kinds),
        "wrong_loss": answer_loss(model, tokenizer, wrong_answers(same_kinds, seed)),
        "statement_loss": statement_loss(model, tokenizer, held_out_facts(few(200, 8), seed)),
    }


def of_control(name, control):
    """One number of the stored controls, one value per seed; control: a name in CONTROLS."""
    rows = load_sweep("what_teaches")["rows"]
    return [row["result"][name] for row in rows if row["point"] == CONTROLS[control]]


def of_direction(direction, distance, name):
    """One number of the stored directions, one value per seed; of the base: "base", None, name."""
    key = f"{direction} {name}" if distance is None else f"{direction} {distance:g} {name}"
    return [row["result"][key] for row in load_sweep("two_directions")["rows"]]


def of_seeds(name, start="pre-trained", lr=RATE, shifts=1):
    """One number of the stored runs, one value per seed."""
    point = {"start": start, "lr": lr, "shifts": shifts}
    return [row["result"][name] for row in load_sweep("start_and_rate")["rows"] if row["point"] == point]


def falls_of(answers):
    """How much further the loss of right answers fell than that of exchanged ones; a value per seed.

    answers: those that it trained on, "right" or "exchanged".
    """
    before = zip(of_control("base_right_loss", "right"), of_control("base_wrong_loss", "right"), strict=True)
    after = zip(of_control("right_loss", answers), of_control("wrong_loss", answers), strict=True)
    return [(wrong - right) - (b - a) for (a, b), (right, wrong) in zip(before, after, strict=True)]
