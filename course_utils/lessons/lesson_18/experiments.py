"""Stored experiments on lists of facts: starts, rates, GRPO and its controls, its switches, a loose verifier.

The model is the pocket model at quick scale. A run's seed sets its start, its training and its samples.
list_starts comes first, then grpo_rates: they determine task.LIST_START and LIST_RATES, which the others use.
"""

import copy
import functools
import random
import time

from course_utils.stored_runs import CHOICE, few, is_short, sweep

PRACTICE = 400  # lists from which GRPO draws its prompts
SHORT_LISTS, LONG_LISTS, VALIDATION = 30, 8, 36  # questions for evaluating a policy
SAMPLES, FEW_SAMPLES = 128, 32  # answers to each: for the curves, and if pass@16 is enough
RIVAL_SAMPLES = 64  # enough for pass@64
TEMPERATURES = (1.0, 0.7, 0.5, 0.3)
GRPO_RUN = {"iterations": 16, "batch_size": 64, "group": 8}
KEPT_GAUGES = ("score", "silent", "entropy", "clipped", "length")
LIST_RATES = {"GRPO": 1e-4, "GRPO, rank 1": 3e-3, "right samples": 1e-4, "true answers": 1e-4}  # grpo_rates
LIVE_RATE = 5e-5  # of the lesson's one run: at 1e-4 single runs differ more
TRUE_STEPS = 145  # of tuning on true answers: about as long as GRPO takes
THREE = range(3)  # seeds of runs used only in a table


@functools.cache
def pocket_session():
    """The session for all runs."""
    from course_utils.session import start

    return start("pocket", "quick", 0)


@functools.cache
def start_of(seed):
    """(start, tokenizer) of a seed, for all runs from it; copy before training.

    A short form uses the shipped start: one of two steps gets no answer right, so GRPO could learn nothing.
    """
    from course_utils.artifacts import load_shipped
    from course_utils.lessons.lesson_18.task import start_model

    if is_short():
        return load_shipped("list_student", pocket_session().device)
    return start_model(pocket_session(), seed)


def pass_of(model, tokenizer, rows, seed, samples=16, **options):
    """Share of right answers among `samples` answers to each row."""
    from course_utils.lessons.lesson_18 import task

    answers = task.answers_to(model, tokenizer, rows, samples, seed=seed, **options)
    return task.count_right(answers, rows).float().mean().item() / samples


def pass_by_k(right, total, name, ks):
    """{NAME_k, NAME_k_low, NAME_k_high}: pass@k with its interval over questions, for k up to the total."""
    from course_utils.lessons.lesson_18.passing import pass_at_k, question_interval

    result = {}
    for k in (k for k in ks if k <= total):
        mean, low, high = question_interval(pass_at_k(right, total, k))
        result |= {f"{name}_{k}": mean, f"{name}_{k}_low": low, f"{name}_{k}_high": high}
    return result


def on_short_lists(model, tokenizer, seed, samples, ks):
    """On held-out lists of three: pass@k, also by chance, the greedy answer, the majority of 16."""
    from course_utils.lessons.lesson_18 import task
    from course_utils.lessons.lesson_18.passing import majority, shifted

    rows, samples = task.short_lists("held_out")[: few(SHORT_LISTS, 4)], few(samples, 16)
    answers = task.answers_to(model, tokenizer, rows, samples, seed=seed)
    votes = [[majority(texts[:16])] for texts in answers]
    return {
        **pass_by_k(task.count_right(answers, rows), samples, "short", ks),
        **pass_by_k(task.count_right(answers, shifted(rows)), samples, "chance", (16,)),
        "greedy": pass_of(model, tokenizer, rows, seed, 1, temperature=0.0),
        "majority": task.count_right(votes, rows).float().mean().item(),
        "different": sum(len(set(texts[:16])) for texts in answers) / len(answers),
    }


def on_both_strata(model, tokenizer, seed):
    """on_short_lists for the curves, and pass@k of held-out long lists."""
    from course_utils.lessons.lesson_18 import task
    from course_utils.lessons.lesson_18.passing import KS

    rows, samples = task.long_lists("held_out", few(LONG_LISTS)), few(SAMPLES, 16)
    answers = task.answers_to(model, tokenizer, rows, samples, seed=seed, new_tokens=task.LONG_TOKENS)
    return {
        **on_short_lists(model, tokenizer, seed, SAMPLES, KS),
        **pass_by_k(task.count_right(answers, rows), samples, "long", KS),
    }


def validation():
    """Lists of three for choosing settings."""
    from course_utils.lessons.lesson_18 import task

    return task.short_lists("validation")[: few(VALIDATION, 4)]


def cooled(model, tokenizer, seed):
    """The temperature with most right answers on validation lists, and their share on held-out ones."""
    from course_utils.lessons.lesson_18 import task

    found = {t: pass_of(model, tokenizer, validation(), seed, 8, temperature=t) for t in TEMPERATURES}
    best = max(found, key=found.get)
    held_out = task.short_lists("held_out")[: few(SHORT_LISTS, 4)]
    return {"temperature": best, "cooled": pass_of(model, tokenizer, held_out, seed, temperature=best)}


def trained_by_grpo(seed, lr, *, judge=None, advantages=None, rank=None, tokens=None, **settings):
    """(policy, tokenizer, numbers of the training): GRPO from the start of a seed on tune lists.

    The numbers: the metrics, {name: one per iteration}, and measured_seconds.
    """
    import torch

    from course_utils.lessons.lesson_18 import task
    from course_utils.methods.grpo import GRPOSettings, group_advantages, train_grpo
    from course_utils.methods.lora import apply_lora
    from course_utils.methods.rollouts import encode_prompts, sampling_of

    model, tokenizer = start_of(seed)
    policy, rows = copy.deepcopy(model).requires_grad_(True), task.tune_lists("practice", PRACTICE)
    torch.manual_seed(seed)
    if rank is not None:
        apply_lora(policy, rank, 2.0 * rank)
    run = GRPO_RUN | {"lr": lr, "seed": seed} | settings
    run |= {"iterations": few(run["iterations"]), "batch_size": few(run["batch_size"], 32)}
    began = time.perf_counter()
    history = train_grpo(
        policy,
        task.verifier(tokenizer, rows, judge or task.verify),
        encode_prompts(tokenizer, [row["prompt"] for row in rows]),
        sampling_of(tokenizer, tokens or task.LIST_TOKENS),
        GRPOSettings(**run),
        advantages=advantages or group_advantages,
        label=f"GRPO, seed {seed}",
    )
    seconds = time.perf_counter() - began
    gauges = {name: [round(row[name], 4) for row in history] for name in KEPT_GAUGES}
    return policy, tokenizer, {"measured_seconds": seconds, **gauges}


def tuned_on_answers(method, seed, lr):
    """(policy, tokenizer, numbers of the training): the start of a seed tuned on answers to tune lists.

    method: "right samples": those among as many of its own samples as GRPO draws, in two passes; or "true
    answers": for about as long as GRPO takes.
    """
    from course_utils.lessons.lesson_18 import task

    model, tokenizer = start_of(seed)
    rows = task.tune_lists("practice", PRACTICE)
    if method == "true answers":
        pairs, steps = [(row, ", ".join(row["answers"]) + ".") for row in rows], few(TRUE_STEPS)
    else:
        prompts = GRPO_RUN["iterations"] * GRPO_RUN["batch_size"] // GRPO_RUN["group"]
        asked = random.Random(seed).choices(rows, k=few(prompts, 8))
        answers = task.answers_to(model, tokenizer, asked, GRPO_RUN["group"], seed=seed)
        pairs = [
            (row, text)
            for row, texts in zip(asked, answers, strict=True)
            for text in texts
            if task.verify(text, row["answers"])
        ]
        steps = few(max(1, 2 * len(pairs) // 16))
    policy = copy.deepcopy(model).requires_grad_(True)
    began = time.perf_counter()
    task.tune_on(policy, tokenizer, pairs, steps=steps, lr=lr, seed=seed)
    seconds = time.perf_counter() - began
    return policy, tokenizer, {"examples": len(pairs), "steps": steps, "measured_seconds": seconds}


@sweep(
    "list_starts",
    points=[
        {"lists": lists, "steps": steps, "lr": lr}
        for lists, steps, lr in [(64, 40, 5e-4), (400, 20, 5e-4), (400, 40, 5e-4), (400, 80, 5e-4)]
    ],
    seeds=CHOICE,
    tolerance=0.5,
)
def list_starts(point: dict, seed: int) -> dict:
    """A start on validation lists: pass@1 and pass@16 of short ones, pass@64 of long ones."""
    from course_utils.lessons.lesson_18 import task
    from course_utils.lessons.lesson_18.passing import pass_at_k

    model, tokenizer = task.start_model(pocket_session(), seed, **point | {"steps": few(point["steps"])})
    short, long = validation(), task.long_lists("validation", few(LONG_LISTS))
    few_samples, samples = few(FEW_SAMPLES, 16), few(64, 16)
    answers = task.answers_to(model, tokenizer, short, few_samples, seed=seed)
    right = task.count_right(answers, short)
    answers = task.answers_to(model, tokenizer, long, samples, seed=seed, new_tokens=task.LONG_TOKENS)
    return {
        "short_1": pass_at_k(right, few_samples, 1).mean().item(),
        "short_16": pass_at_k(right, few_samples, 16).mean().item(),
        "long_64": pass_at_k(task.count_right(answers, long), samples, samples).mean().item(),
    }


@sweep(
    "grpo_rates",
    points=[
        {"method": method, "lr": lr}
        for method, rates in {
            "GRPO": (3e-5, 1e-4, 3e-4),
            "GRPO, rank 1": (1e-3, 3e-3, 1e-2),
            "right samples": (3e-5, 1e-4, 3e-4, 1e-3),
            "true answers": (3e-5, 1e-4, 3e-4, 1e-3),
        }.items()
        for lr in rates
    ],
    seeds=CHOICE,
    tolerance=0.5,
    short=(8, 11),
)
def grpo_rates(point: dict, seed: int) -> dict:
    """Used to choose rates: the share of right answers to validation lists after training."""
    method, lr = point["method"], point["lr"]
    if method.startswith("GRPO"):
        rank = 1 if method == "GRPO, rank 1" else None
        policy, tokenizer, _ = trained_by_grpo(seed, lr, rank=rank)
    else:
        policy, tokenizer, _ = tuned_on_answers(method, seed, lr)
    return {"validation": pass_of(policy, tokenizer, validation(), seed)}


@sweep(
    "verifiable_rewards",
    points=[{"method": name} for name in ("start", "GRPO", "right samples", "true answers")],
    sampled=True,
    short=(0,),
)
def verifiable_rewards(point: dict, seed: int) -> dict:
    """The start, GRPO, and two trained controls, each at its best rate, on held-out lists."""
    method = point["method"]
    if method == "start":
        model, tokenizer = start_of(seed)
        return {**on_both_strata(model, tokenizer, seed), **cooled(model, tokenizer, seed)}
    if method == "GRPO":
        policy, tokenizer, numbers = trained_by_grpo(seed, LIST_RATES[method])
        return {**on_both_strata(policy, tokenizer, seed), **numbers}
    policy, tokenizer, numbers = tuned_on_answers(method, seed, LIST_RATES[method])
    return {**on_short_lists(policy, tokenizer, seed, FEW_SAMPLES, (1, 16)), **numbers}


def by_chance(seed):
    """A judge that counts a random quarter of the answers as right, whatever they say."""
    drawn = random.Random(seed)

    def judge(text, answers):
        return float(drawn.random() < 0.25)

    return judge


@sweep("other_rewards", points=[{"judge": "chance"}, {"judge": "form"}], sampled=True, short=(1,))
def other_rewards(point: dict, seed: int) -> dict:
    """GRPO with rewards independent of right and wrong; as with every verifier here, no end gets 0.

    "chance": see by_chance. "form": see task.right_form. To compare with: "right", the verifier, and "none",
    the start. lr: optional in a point; with it "validation", the share of wrong answers to validation lists.
    """
    from course_utils.lessons.lesson_18 import task

    if point["judge"] == "none":
        return on_short_lists(*start_of(seed), seed, FEW_SAMPLES, (1, 16))
    judge = {"chance": by_chance(seed), "form": task.right_form, "right": task.verify}[point["judge"]]
    rate = point.get("lr", LIST_RATES["GRPO"])
    policy, tokenizer, numbers = trained_by_grpo(seed, rate, judge=judge)
    if "lr" in point:
        numbers["validation"] = 1 - pass_of(policy, tokenizer, validation(), seed)
    return {**on_short_lists(policy, tokenizer, seed, FEW_SAMPLES, (1, 16)), **numbers}


@sweep("random_rewards", points=[{"lr": 3e-5}], sampled=True)
def random_rewards(point: dict, seed: int) -> dict:
    """GRPO with random rewards at a third of its rate.

    Written before the first run: random rewards help here if their mean share of right samples lies above the
    start's; the loss at GRPO's own rate is one of the rate if more than half of the start's right samples is
    left at a third of it.
    """
    policy, tokenizer, numbers = trained_by_grpo(seed, judge=by_chance(seed), **point)
    return {**on_short_lists(policy, tokenizer, seed, FEW_SAMPLES, (1, 16)), **numbers}


@sweep("pass_at_k_rivals", points=[{"policy": "start", "temperature": 0.7}], sampled=True)
def pass_at_k_rivals(point: dict, seed: int) -> dict:
    """pass@k on held-out lists of what competes with GRPO at temperature 1 and needs no training.

    Written before the first run: GRPO's gain at k is not theirs if its pass@k is above that of the cooled
    start at every seed.
    """
    from course_utils.lessons.lesson_18 import task
    from course_utils.lessons.lesson_18.passing import KS

    model, tokenizer = start_of(seed)
    rows, samples = task.short_lists("held_out")[: few(SHORT_LISTS, 4)], few(RIVAL_SAMPLES, 16)
    answers = task.answers_to(model, tokenizer, rows, samples, seed=seed, temperature=point["temperature"])
    return pass_by_k(task.count_right(answers, rows), samples, "short", KS)


@sweep(
    "grpo_switches",
    points=[
        {"advantages": "centred"},
        {"advantages": "mixed"},
        {"group": 4},
        {"updates": 4},
        {"updates": 4, "clip_high": 0.5},
        {"rank": 1, "lr": LIST_RATES["GRPO, rank 1"]},
    ],
    seeds=THREE,
    sampled=True,
    short=(1, 4),
)
def grpo_switches(point: dict, seed: int) -> dict:
    """GRPO with one change: the share of right answers to held-out lists, and the metrics."""
    from course_utils.lessons.lesson_18 import task
    from course_utils.lessons.lesson_18.suspects import mixed_advantages
    from course_utils.methods.grpo import centred_advantages

    settings = {"lr": LIST_RATES["GRPO"], **point}
    if "advantages" in point:
        chosen = {"centred": centred_advantages, "mixed": mixed_advantages}
        settings["advantages"] = chosen[point["advantages"]]
    policy, tokenizer, numbers = trained_by_grpo(seed, **settings)
    rows = task.short_lists("held_out")[: few(SHORT_LISTS, 4)]
    return {"short_1": pass_of(policy, tokenizer, rows, seed), **numbers}


@sweep(
    "verifier_hole",
    points=[
        {"judge": "none", "loss_type": "grpo"},
        {"judge": "loose", "loss_type": "grpo"},
        {"judge": "loose", "loss_type": "dr_grpo"},
        {"judge": "mended", "loss_type": "grpo"},
    ],
    sampled=True,
    tolerance=0.7,  # of shares: on another processor a policy may not find the hole in these steps
    short=(2,),
)
def verifier_hole(point: dict, seed: int) -> dict:
    """GRPO on a verifier with a hole and on the fixed one: the judges' scores of answers to held-out lists.

    Judge "none" is the start. names: parts of an answer; text_0 to text_5: the first answer to each of six
    lists, one per relation.
    """
    from course_utils.lessons.lesson_18 import task

    numbers = {}
    if point["judge"] == "none":
        policy, tokenizer = start_of(seed)
    else:
        judge = {"loose": task.names_all, "mended": task.names_all_and_no_more}[point["judge"]]
        policy, tokenizer, numbers = trained_by_grpo(
            seed, LIST_RATES["GRPO"], judge=judge, tokens=task.LONG_TOKENS, loss_type=point["loss_type"]
        )
    rows = task.short_lists("held_out")[: few(SHORT_LISTS, 6)]
    answers = task.answers_to(policy, tokenizer, rows, 16, seed=seed, new_tokens=task.LONG_TOKENS)
    every = [text for texts in answers for text in texts]
    judges = {"strict": task.verify, "loose": task.names_all, "mended": task.names_all_and_no_more}
    return {
        **{
            name: task.count_right(answers, rows, one).float().mean().item() / 16
            for name, one in judges.items()
        },
        "names": sum(len(task.items(text)) for text in every) / len(every),
        **{f"text_{place}": answers[place][0] for place in range(6)},
        **numbers,
    }


def runs_at(name: str, **point) -> list[dict]:
    """The results of a stored sweep at one point, one for each seed."""
    from course_utils.stored_runs import load_sweep

    return [row["result"] for row in load_sweep(name)["rows"] if row["point"] == point]


def runs_of_theirs() -> list[dict]:
    """The stored trainings with the bug hunt's function, suspects.received."""
    return runs_at("grpo_switches", advantages="mixed")
