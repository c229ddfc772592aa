"""Stored experiments on lists of facts: starts, GRPO and its controls, its switches, a verifier with a hole.

The model is the pocket model at quick scale; a run's seed is that of its start, its training and its samples.
"""

import copy
import functools
import time

from course_utils.stored_runs import sweep

PRACTICE = 400  # lists that GRPO draws its prompts from
LIST_SAMPLES = 128  # answers to each held-out question
SHORT_LISTS, LONG_LISTS = 40, 16  # held-out questions of the two strata
GRPO_RUN = {"iterations": 20, "batch_size": 64, "group": 8}
GRPO_RATE = 1e-4  # chosen in the sweep grpo_rates
SFT_RATE = 3e-4

LIST_STARTS = [
    {"lists": lists, "steps": steps, "lr": lr}
    for lists, steps, lr in [
        (64, 40, 5e-4),
        (400, 20, 5e-4),
        (400, 40, 2e-4),
        (400, 40, 5e-4),
        (400, 80, 5e-4),
    ]
]
GRPO_RATES = [{"lr": lr} for lr in (3e-5, 1e-4, 3e-4)]
GRPO_CONTROLS = [{"method": name} for name in ("start", "grpo", "right samples", "true answers")]
GRPO_SWITCHES = [
    {"advantages": "centred"},
    {"advantages": "mixed"},
    {"group": 4},
    {"group": 16},
    {"updates": 4},
    {"updates": 4, "clip_high": 0.5},
]
VERIFIER_HOLES = [
    {"judge": "all names occur", "loss_type": "grpo"},
    {"judge": "all names occur", "loss_type": "dr_grpo"},
    {"judge": "and no more", "loss_type": "grpo"},
]


@functools.cache
def pocket_session():
    """The session of all runs."""
    from course_utils.session import start

    return start("pocket", "quick", 0)


@functools.cache
def start_of(seed):
    """(start, tokenizer) of a seed, for all runs from it; copy before training."""
    from course_utils.lessons.lesson_18.task import start_model

    return start_model(pocket_session(), seed)


def questions():
    """(held-out lists of three, held-out long lists): the two strata."""
    from course_utils.lessons.lesson_18.task import long_lists, short_lists

    return short_lists("held_out")[:SHORT_LISTS], long_lists("held_out", LONG_LISTS)


def validation():
    """Lists of three to choose settings by."""
    from course_utils.lessons.lesson_18.task import short_lists

    return short_lists("validation")


def passing(right, total, name, ks):
    """{NAME_k, NAME_k_low, NAME_k_high}: pass@k with its interval over questions."""
    from course_utils.lessons.lesson_18.passing import bootstrap_interval, pass_at_k

    result = {}
    for k in ks:
        mean, low, high = bootstrap_interval(pass_at_k(right, total, k))
        result |= {f"{name}_{k}": mean, f"{name}_{k}_low": low, f"{name}_{k}_high": high}
    return result


def passes_of(model, tokenizer, seed):
    """pass@k of both strata and of chance; the greedy answer and the majority of 16 on short lists."""
    from course_utils.lessons.lesson_18 import task
    from course_utils.lessons.lesson_18.passing import KS, shifted

    short, long = questions()
    answers = task.answers_to(model, tokenizer, short, LIST_SAMPLES, seed=seed)
    harder = task.answers_to(model, tokenizer, long, LIST_SAMPLES, seed=seed, new_tokens=task.LONG_TOKENS)
    return {
        **passing(task.count_right(answers, short), LIST_SAMPLES, "short", KS),
        **passing(task.count_right(harder, long), LIST_SAMPLES, "long", KS),
        **passing(task.count_right(answers, shifted(short)), LIST_SAMPLES, "chance", (16,)),
        **without_training(model, tokenizer, answers),
    }


CONTROL_SAMPLES = 32


def passes_of_control(model, tokenizer, seed):
    """pass@1 and pass@16 of short lists, the greedy answer and the majority of 16: for controls."""
    from course_utils.lessons.lesson_18 import task

    short, _ = questions()
    answers = task.answers_to(model, tokenizer, short, CONTROL_SAMPLES, seed=seed)
    right = task.count_right(answers, short)
    return {
        **passing(right, CONTROL_SAMPLES, "short", (1, 16)),
        **without_training(model, tokenizer, answers),
    }


def without_training(model, tokenizer, answers):
    """Shares of short lists that the greedy answer and the majority of 16 get right; different answers."""
    from course_utils.lessons.lesson_18 import task
    from course_utils.lessons.lesson_18.passing import majority

    short, _ = questions()
    greedy = task.answers_to(model, tokenizer, short, 1, temperature=0.0)
    votes = [[majority(texts[:16])] for texts in answers]
    return {
        "greedy": task.count_right(greedy, short).float().mean().item(),
        "majority": task.count_right(votes, short).float().mean().item(),
        "different": sum(len(set(texts[:16])) for texts in answers) / len(answers),
    }


def pass_1(model, tokenizer, rows, seed, samples=16, **options):
    """Share of right answers among `samples` to each row."""
    from course_utils.lessons.lesson_18 import task

    answers = task.answers_to(model, tokenizer, rows, samples, seed=seed, **options)
    return task.count_right(answers, rows).float().mean().item() / samples


def trained_by_grpo(seed, judge=None, advantages=None, policy_loss=None, **settings):
    """(policy, tokenizer, rows of the training, seconds): GRPO from the start of a seed on tune lists."""
    from course_utils.lessons.lesson_18 import task
    from course_utils.methods.grpo import GRPOSettings, grpo_loss, train_grpo
    from course_utils.methods.ppo import group_advantages
    from course_utils.methods.rollouts import encode_prompts, sampling_of

    model, tokenizer = start_of(seed)
    policy, rows = copy.deepcopy(model).requires_grad_(True), task.tune_lists("practice", PRACTICE)
    began = time.perf_counter()
    history = train_grpo(
        policy,
        task.verifier(tokenizer, rows, judge or task.verify),
        encode_prompts(tokenizer, [row["prompt"] for row in rows]),
        sampling_of(tokenizer, task.LIST_TOKENS if judge is None else task.LONG_TOKENS),
        GRPOSettings(**{**GRPO_RUN, "lr": GRPO_RATE, "seed": seed, **settings}),
        advantages=advantages or group_advantages,
        policy_loss=policy_loss or grpo_loss,
        label=f"GRPO, seed {seed}",
    )
    return policy, tokenizer, history, time.perf_counter() - began


def ends(history, names=("score", "silent", "all_right", "entropy", "length", "clipped"), count=4):
    """Means of the first and the last iterations: {NAME_first, NAME_last}."""
    result = {}
    for place, rows in (("first", history[:count]), ("last", history[-count:])):
        result |= {f"{name}_{place}": sum(row[name] for row in rows) / len(rows) for name in names}
    return result


@sweep("list_starts", points=LIST_STARTS, seeds=range(1), tolerance=0.5)
def list_starts(point: dict, seed: int) -> dict:
    """A start on validation lists: pass@1 and pass@16 of short ones, pass@64 of long ones, greedy, chance."""
    from course_utils.lessons.lesson_18 import task
    from course_utils.lessons.lesson_18.passing import pass_at_k, shifted

    model, tokenizer = task.start_model(pocket_session(), seed, **point)
    short, long = validation()[:50], task.long_lists("validation", 20)
    answers = task.answers_to(model, tokenizer, short, 32, seed=seed)
    greedy = task.answers_to(model, tokenizer, short, 1, temperature=0.0)
    harder = task.answers_to(model, tokenizer, long, 64, seed=seed, new_tokens=task.LONG_TOKENS)
    right, by_chance = task.count_right(answers, short), task.count_right(answers, shifted(short))
    return {
        "greedy": task.count_right(greedy, short).float().mean().item(),
        "short_1": pass_at_k(right, 32, 1).mean().item(),
        "short_16": pass_at_k(right, 32, 16).mean().item(),
        "long_64": pass_at_k(task.count_right(harder, long), 64, 64).mean().item(),
        "chance_16": pass_at_k(by_chance, 32, 16).mean().item(),
    }


@sweep("grpo_rates", points=GRPO_RATES, seeds=range(1), tolerance=0.5)
def grpo_rates(point: dict, seed: int) -> dict:
    """pass@1 on validation lists after GRPO at one rate."""

    policy, tokenizer, history, _ = trained_by_grpo(seed, **point)
    rows = validation()
    return {"pass_1": pass_1(policy, tokenizer, rows, seed), **ends(history)}


@sweep("verifiable_rewards", points=GRPO_CONTROLS, tolerance=0.5)
def verifiable_rewards(point: dict, seed: int) -> dict:
    """The start, GRPO, and two controls with the same samples or the same seconds."""
    from course_utils.lessons.lesson_18 import task

    model, tokenizer = start_of(seed)
    if point["method"] == "start":
        return {**passes_of(model, tokenizer, seed), **cooler(model, tokenizer, seed)}
    if point["method"] == "grpo":
        policy, _, history, seconds = trained_by_grpo(seed)
        return {**passes_of(policy, tokenizer, seed), "measured_seconds": seconds, **ends(history)}
    policy = copy.deepcopy(model).requires_grad_(True)
    rows, texts, steps = answers_for(point["method"], model, tokenizer, seed)
    began = time.perf_counter()
    task.tune_on(policy, tokenizer, rows, texts, steps=steps, lr=SFT_RATE, seed=seed)
    kept = {"examples": len(rows), "steps": steps, "measured_seconds": time.perf_counter() - began}
    return {**passes_of_control(policy, tokenizer, seed), **kept}


TEMPERATURES = (1.0, 0.7, 0.5, 0.3, 0.1)


def cooler(model, tokenizer, seed):
    """The temperature with the highest pass@1 on validation lists, and its pass@1 on held-out ones."""

    chosen_on = validation()
    found = {t: pass_1(model, tokenizer, chosen_on, seed, 8, temperature=t) for t in TEMPERATURES}
    best = max(found, key=found.get)
    held_out = pass_1(model, tokenizer, questions()[0], seed, temperature=best)
    return {"temperature": best, "cooled": held_out}


TRUE_STEPS = 130  # of tuning on true answers: about the seconds that GRPO takes


def answers_for(method, model, tokenizer, seed):
    """(rows, answers, steps) to tune on: the start's right samples, as many as GRPO draws; or the truth."""
    import random

    from course_utils.lessons.lesson_18 import task

    rows = task.tune_lists("practice", PRACTICE)
    if method == "true answers":
        return rows, [", ".join(row["answers"]) + "." for row in rows], TRUE_STEPS
    asked = random.Random(seed).choices(
        rows, k=GRPO_RUN["iterations"] * GRPO_RUN["batch_size"] // GRPO_RUN["group"]
    )
    found = task.answers_to(model, tokenizer, asked, GRPO_RUN["group"], seed=seed)
    pairs = [
        (row, text)
        for row, texts in zip(asked, found, strict=True)
        for text in texts
        if task.verify(text, row["answers"])
    ]
    rows, texts = zip(*pairs, strict=True)
    return rows, texts, max(1, 2 * len(rows) // 16)  # two passes


def mixed_advantages(scores, group):
    """A mistake: every group holds answers to different prompts."""
    grouped = scores.view(group, -1)
    return ((grouped - grouped.mean(0)) / (grouped.std(0) + 1e-4)).flatten()


@sweep("grpo_switches", points=GRPO_SWITCHES, tolerance=0.5)
def grpo_switches(point: dict, seed: int) -> dict:
    """GRPO with one thing changed: pass@1 on held-out lists, and what the training says of itself."""
    from course_utils.methods.grpo import centred_advantages

    chosen = {"centred": centred_advantages, "mixed": mixed_advantages}
    settings = {name: value for name, value in point.items() if name != "advantages"}
    policy, tokenizer, history, seconds = trained_by_grpo(
        seed, advantages=chosen.get(point.get("advantages")), **settings
    )
    return {
        "pass_1": pass_1(policy, tokenizer, questions()[0], seed),
        "measured_seconds": seconds,
        **ends(history),
    }


@sweep("verifier_hole", points=VERIFIER_HOLES, tolerance=0.5)
def verifier_hole(point: dict, seed: int) -> dict:
    """GRPO on a verifier with a hole, and on the mended one: what each judge says on held-out lists."""
    from course_utils.lessons.lesson_18 import task

    judges = {"all names occur": task.names_all, "and no more": task.names_all_and_no_more}
    policy, tokenizer, history, _ = trained_by_grpo(
        seed, judges[point["judge"]], loss_type=point["loss_type"]
    )
    rows = questions()[0]
    answers = task.answers_to(policy, tokenizer, rows, 16, seed=seed, new_tokens=task.LONG_TOKENS)
    every = [text for texts in answers for text in texts]
    return {
        "strict": task.count_right(answers, rows).float().mean().item() / 16,
        "loose": task.count_right(answers, rows, task.names_all).float().mean().item() / 16,
        "parts": sum(len(task.items(text)) for text in every) / len(every),
        **ends(history),
        **{f"text_{place}": text for place, text in enumerate(answers[0][:3])},
    }


def runs_by_point(name):
    """{point as text: results over the seeds} of a stored sweep."""
    from course_utils.stored_runs import load_sweep

    found = {}
    for row in load_sweep(name)["rows"]:
        key = ", ".join(str(value) for value in row["point"].values())
        found.setdefault(key, []).append(row["result"])
    return found
