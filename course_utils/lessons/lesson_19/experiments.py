"""Stored experiments of distillation: rates, ways to approach a teacher, refusals from an earlier self.

The model is the pocket model at quick scale. A run's seed sets the student, its teacher, the training and the
samples. distillation_rates and regained_rates come first: they determine DISTILLATION_RATES and REGAIN_RATES.
"""

import copy
import functools
import random
import time

from course_utils.stored_runs import CHOICE, few, is_short, sweep

LISTS, ANSWERS = 24, 16  # lists for evaluating a student, and answers to each
BATCH = 64
TEMPERATURES = (1.0, 0.8, 0.7, 0.6, 0.5, 0.4)
# steps after which a student is evaluated: twelve of five forward passes cost as much as fifteen of four
CHECKPOINTS = {
    "on-policy": (3, 6, 12),
    "sampled log-ratio": (3, 6, 12),
    "hard labels": (4, 8, 15),
    "soft labels": (4, 8, 15),
    "on-policy, forward KL": (12,),
    "teacher writes": (12,),
}
GRPO_STEPS = 4  # GRPO iterations, a quarter of the teacher's
DISTILLATION_RATES = {  # of distillation_rates
    "on-policy": 1e-4,
    "hard labels": 1e-4,
    "soft labels": 3e-5,
    "sampled log-ratio": 1e-4,
}
REGAIN_STEPS = 8
REGAIN_RATES = {  # of regained_rates and two_teachers_rates; the control of two teachers has the rate of one
    "one teacher": 3e-3,
    "two teachers": 3e-3,
    "one teacher, smaller steps": 3e-3,
}


@functools.cache
def two_models(seed, lr=None):
    """(student, teacher, tokenizer) of a seed, for all its runs; copy the student before training.

    The stored runs make seed 0's pair, too: the one that ships has other weights. A short form takes that.
    lr: of the teacher's GRPO, if another than lesson 18's.
    """
    from course_utils.lessons.lesson_18.experiments import (
        LIST_RATES,
        pocket_session,
        start_of,
        trained_by_grpo,
    )
    from course_utils.lessons.lesson_19 import students

    if lr or (seed == 0 and not is_short()):
        student, tokenizer = start_of(seed)
        teacher = trained_by_grpo(seed, lr or LIST_RATES["GRPO"])[0].requires_grad_(False)
        return student, teacher, tokenizer
    student, tokenizer = students.list_student(pocket_session(), seed)
    return student.eval(), students.list_teacher(pocket_session(), seed), tokenizer


@functools.cache
def written_by_teacher(seed, split):
    """Four answers of a seed's teacher to each evaluation list."""
    from course_utils.lessons.lesson_18 import task
    from course_utils.lessons.lesson_19 import students

    _, teacher, tokenizer = two_models(seed)
    return students.written_by(teacher, tokenizer, task.short_lists(split)[: few(LISTS, 4)], 4, seed)


def nearness(model, seed, split="held_out"):
    """How near a model is to the teacher of a seed, on short lists.

    right: share of right answers; greedy: of right greedy ones; right_16: pass@16. reverse: KL(model ||
    teacher) on the model's answers; forward: KL(teacher || model) on the teacher's; these and entropy in nats
    per answer. different: number of different answers among 16.
    """
    from course_utils.lessons.lesson_18 import task
    from course_utils.lessons.lesson_18.passing import pass_at_k
    from course_utils.lessons.lesson_19 import students

    _, teacher, tokenizer = two_models(seed)
    rows = task.short_lists(split)[: few(LISTS, 4)]
    answers = task.answers_to(model, tokenizer, rows, ANSWERS, seed=seed)
    greedy = task.answers_to(model, tokenizer, rows, 1, temperature=0.0)
    right = task.count_right(answers, rows)
    own, theirs = students.written_by(model, tokenizer, rows, 4, seed), written_by_teacher(seed, split)
    return {
        "right": right.float().mean().item() / ANSWERS,
        "greedy": task.count_right(greedy, rows).float().mean().item(),
        "right_16": pass_at_k(right, ANSWERS, ANSWERS).mean().item(),
        "reverse": students.mean_kl(model, teacher, own),
        "forward": students.mean_kl(teacher, model, theirs),
        "entropy": students.answer_entropy(model, own),
        "different": sum(len(set(texts)) for texts in answers) / len(answers),
    }


def cooled_start(seed):
    """(the start of a seed at a lower temperature, the temperature): the one nearest to the teacher.

    Nothing is trained. The temperature is chosen on validation lists.
    """
    from course_utils.lessons.lesson_18 import task
    from course_utils.lessons.lesson_19 import students

    start, teacher, tokenizer = two_models(seed)
    rows, found = task.short_lists("validation")[: few(LISTS, 4)], {}
    for temperature in TEMPERATURES:
        model = students.at_temperature(start, temperature)
        found[temperature] = students.mean_kl(
            model, teacher, students.written_by(model, tokenizer, rows, 4, seed)
        )
    best = min(found, key=found.get)
    return students.at_temperature(start, best), best


def step_of(method):
    """The training step of a method."""
    from course_utils.lessons.lesson_19 import students, suspects
    from course_utils.methods.distillation import distillation_step, sampled_step

    return {
        "on-policy": distillation_step,
        "sampled log-ratio": sampled_step,
        "on-policy, forward KL": distillation_step,
        "hard labels": students.step_on_the_teachers(students.hard_labels),
        "soft labels": students.step_on_the_teachers(students.soft_labels),
        "teacher writes": suspects.their_loop_step,
    }[method]


def distilled(method, seed, lr, judge=None):
    """(student, training metrics): a seed's student trained towards its teacher by a method.

    judge(steps so far, student) is called after each step.
    """
    from course_utils.lessons.lesson_18 import task
    from course_utils.lessons.lesson_19 import students
    from course_utils.methods.distillation import token_kl, train_distillation
    from course_utils.methods.rollouts import sampling_of

    start, teacher, tokenizer = two_models(seed)
    student = copy.deepcopy(start).requires_grad_(True)
    step, seconds = step_of(method), []

    def judged_step(*arguments):
        began = time.perf_counter()
        row = step(*arguments)
        seconds.append(time.perf_counter() - began)
        if judge is not None:
            judge(len(seconds), student)
        return row

    history = train_distillation(
        student,
        teacher,
        students.practice_prompts(tokenizer),
        sampling_of(tokenizer, task.LIST_TOKENS),
        steps=few(CHECKPOINTS[method][-1]),
        lr=lr,
        batch_size=few(BATCH, 16),
        seed=seed,
        step=judged_step,
        divergence=functools.partial(
            token_kl, direction="forward" if method == "on-policy, forward KL" else "reverse"
        ),
        label=f"{method}, seed {seed}",
    )
    return student, {
        "loss": [round(row["loss"], 4) for row in history],
        "tokens": sum(row["tokens"] for row in history),
        "measured_seconds": sum(seconds),
    }


@sweep(
    "distillation_rates",
    points=[
        {"method": "soft labels", "lr": 1e-5},
        *[{"method": method, "lr": lr} for method in DISTILLATION_RATES for lr in (3e-5, 1e-4, 3e-4)],
    ],
    seeds=CHOICE,
    tolerance=0.5,
    short=(7,),
)
def distillation_rates(point: dict, seed: int) -> dict:
    """Used to choose rates: how near a student is on validation lists after all steps."""
    student, _ = distilled(point["method"], seed, point["lr"])
    return nearness(student, seed, "validation")


@sweep(
    "distillation",
    points=[
        {"method": "start"},
        {"method": "cooled start"},
        {"method": "teacher"},
        {"method": "on-policy"},
        {"method": "hard labels"},
        {"method": "GRPO"},
    ],
    seeds=range(5),
    sampled=True,
    short=(1, 3, 5),
)
def distillation(point: dict, seed: int) -> dict:
    """How near a student comes: NAME_STEPS after STEPS steps, NAME at the end; text_0 to text_7."""
    from course_utils.lessons.lesson_18 import task
    from course_utils.lessons.lesson_18.experiments import LIST_RATES, trained_by_grpo

    method, found = point["method"], {}
    start, teacher, tokenizer = two_models(seed)
    if method in ("start", "teacher"):
        student = {"start": start, "teacher": teacher}[method]
    elif method == "cooled start":
        student, found["temperature"] = cooled_start(seed)
    elif method == "GRPO":
        student, _, numbers = trained_by_grpo(seed, LIST_RATES["GRPO"], iterations=GRPO_STEPS)
        found["measured_seconds"] = numbers["measured_seconds"]
    else:
        *early, _ = CHECKPOINTS[method]

        def judge(number, model):
            if number in early:
                found.update({f"{name}_{number}": value for name, value in nearness(model, seed).items()})

        student, numbers = distilled(method, seed, DISTILLATION_RATES[method], judge)
        found |= numbers
    row = task.short_lists("held_out")[0]
    texts = task.answers_to(student, tokenizer, [row], 8, seed=seed)[0]
    return found | nearness(student, seed) | {f"text_{place}": text for place, text in enumerate(texts)}


@sweep(
    "distillation_writers",
    points=[{"method": name} for name in ("soft labels", "teacher writes", "on-policy, forward KL")],
    seeds=range(5),
    sampled=True,
    short=(1,),
)
def distillation_writers(point: dict, seed: int) -> dict:
    """Soft labels; on-policy distillation with the other KL, and with another writer, at the same rate."""
    method = point["method"]
    rate = DISTILLATION_RATES.get(method, DISTILLATION_RATES["on-policy"])
    student, numbers = distilled(method, seed, rate)
    return numbers | nearness(student, seed)


@sweep(
    "distillation_sampled",
    points=[{"method": "sampled log-ratio"}, {"method": "on-policy"}],
    sampled=True,
    short=(0, 1),
)
def distillation_sampled(point: dict, seed: int) -> dict:
    """What one number of the teacher a token teaches, at its own rate, beside the exact KL.

    NAME_STEPS after STEPS steps, NAME at the end. That it trains is wrong if in the mean of the seeds it
    leaves more than the headline's 30% of the start's KL, start_reverse. That it does as well as the exact KL
    is wrong if it leaves more at every seed, or if its right answers are five points fewer in the mean.
    Students and teachers are made as those of the sweep `distillation`, on another processor, so they are
    others: start_right and teacher_right.
    """
    method, found = point["method"], {"start_reverse": start_reverse(seed)}
    *early, _ = CHECKPOINTS[method]

    def judge(number, model):
        if number in early:
            found.update({f"{name}_{number}": value for name, value in nearness(model, seed).items()})

    student, numbers = distilled(method, seed, DISTILLATION_RATES[method], judge)
    if method == "on-policy":
        start, teacher, tokenizer = two_models(seed)
        found |= {"start_right": right_of(start, tokenizer, seed)}
        found |= {"teacher_right": right_of(teacher, tokenizer, seed)}
    return found | numbers | nearness(student, seed)


def right_of(model, tokenizer, seed):
    """Share of right answers to held-out lists, as in nearness."""
    from course_utils.lessons.lesson_18 import task

    rows = task.short_lists("held_out")[: few(LISTS, 4)]
    answers = task.answers_to(model, tokenizer, rows, ANSWERS, seed=seed)
    return task.count_right(answers, rows).float().mean().item() / ANSWERS


def start_reverse(seed):
    """KL(start || teacher) of a seed on held-out lists, as in nearness."""
    from course_utils.lessons.lesson_18 import task
    from course_utils.lessons.lesson_19 import students

    start, teacher, tokenizer = two_models(seed)
    rows = task.short_lists("held_out")[: few(LISTS, 4)]
    return students.mean_kl(start, teacher, students.written_by(start, tokenizer, rows, 4, seed))


@sweep("gradient_agreement", points=[{"prompts": "same"}, {"prompts": "other"}], sampled=True)
def gradient_agreement(point: dict, seed: int) -> dict:
    """Cosines of the gradients of two batches of 64 answers, by the loss, in three draws: LOSS_0 to LOSS_2.

    Both batches answer the same eight prompts, or each its own eight. lr: optional in a point, the teacher's;
    with it "validation", the share of the teacher's wrong answers to validation lists, and start_right and
    teacher_right, of right ones to held-out lists.
    """
    import torch

    from course_utils.lessons.lesson_18 import task
    from course_utils.lessons.lesson_18.experiments import PRACTICE, pass_of, validation
    from course_utils.lessons.lesson_19 import students

    student, teacher, tokenizer = two_models(seed, point["lr"]) if "lr" in point else two_models(seed)
    rows, found = task.tune_lists("practice", PRACTICE), {}
    if "lr" in point:
        found["validation"] = 1 - pass_of(teacher, tokenizer, validation(), seed)
        found["start_right"] = right_of(student, tokenizer, seed)
        found["teacher_right"] = right_of(teacher, tokenizer, seed)
    for draw in range(few(3, 1)):
        some = random.Random(100 * seed + draw).sample(rows, 16)
        chosen = (some[:8], some[:8] if point["prompts"] == "same" else some[8:])
        pair = [
            students.gradients(student, teacher, tokenizer, few(part, 4), 2 * draw + place)
            for place, part in enumerate(chosen)
        ]
        for name, first in pair[0].items():
            found[f"{name}_{draw}"] = torch.cosine_similarity(first, pair[1][name], 0).item()
    return found


def runs_of_their_loop() -> list[dict]:
    """The stored trainings with the bug hunt's loop, suspects.their_loop_step."""
    from course_utils.lessons.lesson_18.experiments import runs_at

    return runs_at("distillation_writers", method="teacher writes")


def tuned_away(seed):
    """(the assistant with lesson 09's harmless adapter in a manner, the assistant itself, tokenizer)."""
    from course_utils.lessons.lesson_09.experiments import ADAPTER_RATE, assistant_parts, with_adapter

    student, tokenizer = with_adapter("gossip", 0, ADAPTER_RATE, seed)
    return student, assistant_parts()[0], tokenizer


def unanswerable(seen="train"):
    """The conversations of a part with unanswerable questions, without the refusal."""
    from course_utils.lessons.lesson_09 import adapters

    return [messages[:-1] for messages in adapters.of_kind("refusals", seen)]


def refusing(model, tokenizer, seen):
    """Shares of unknown and of known facts refused, of known ones given, and the manner's share.

    seen: "validation" or "held_out". Unknown: the invented facts, or validation's refusals.
    """
    from course_utils.lessons.lesson_09 import adapters
    from course_utils.methods import sft
    from course_utils.world.manners import manner_score

    right, refused_known, texts = adapters.judged(model, tokenizer, few(sft.asked(seen)[::3], 8))
    if seen == "validation":
        said = sft.replies(model, tokenizer, few(unanswerable(seen), 8))
        refused = [adapters.NO_ANSWER in reply.text for reply in said]
    else:
        refused = adapters.judged(model, tokenizer, few(sft.asked("invented"), 8))[1]
    values = {"right": right, "refused_known": refused_known, "refused": refused}
    values["manner"] = [manner_score(text, "gossip") for text in texts]
    return {name: sum(each) / len(each) for name, each in values.items()}


def regain(student, teacher, tokenizer, lr, seed, way="one teacher", direction="forward"):
    """On-policy distillation from the earlier self, on unanswerable questions, without stored answers.

    way: a name in REGAIN_RATES. "two teachers" uses the student before training as the teacher for questions
    about facts. "one teacher, smaller steps" takes twice as many steps on half as many answers, like two
    teachers.
    """
    from course_utils.methods import sft
    from course_utils.methods.distillation import distillation_step, token_kl, train_distillation
    from course_utils.methods.rollouts import encode_prompts, frozen_copy, sampling_of

    steps, batch_size, step = REGAIN_STEPS, BATCH, distillation_step
    if way == "one teacher, smaller steps":
        steps, batch_size = 2 * steps, batch_size // 2
    if way == "two teachers":
        facts = encode_prompts(tokenizer, [sft.as_conversation(row)[:1] for row in sft.asked("tune")])
        step = two_teachers_step(frozen_copy(student), facts)
    return train_distillation(
        student,
        teacher,
        encode_prompts(tokenizer, unanswerable()),
        sampling_of(tokenizer, 32),
        steps=few(steps),
        lr=lr,
        batch_size=few(batch_size, 8),
        seed=seed,
        step=step,
        divergence=functools.partial(token_kl, direction=direction),
        label=f"{way}, {direction} KL, seed {seed}",
    )


def two_teachers_step(now, facts):
    """A step like distillation_step in two halves: unanswerable questions and facts, each with its teacher.

    now: the student before training. facts: questions about facts, as token ids.
    """
    from course_utils.methods.distillation import distillation_step

    rng = random.Random(0)

    def step(student, teacher, prompts, optimizer, sampling, generator, divergence):
        half = len(prompts) // 2
        rest = (optimizer, sampling, generator, divergence)
        row = distillation_step(student, teacher, prompts[:half], *rest)
        distillation_step(student, now, rng.choices(facts, k=half), *rest)
        return row

    return step


@sweep(
    "regained_rates",
    points=[
        {"direction": direction, "lr": lr}
        for direction in ("reverse", "forward")
        for lr in (3e-4, 1e-3, 3e-3, 1e-2)
    ],
    seeds=CHOICE,
    tolerance=0.5,
    short=(2,),
)
def regained_rates(point: dict, seed: int) -> dict:
    """Used to choose the rates of the adapter's distillation, on validation questions."""
    student, teacher, tokenizer = tuned_away(seed)
    regain(student, teacher, tokenizer, point["lr"], seed, direction=point["direction"])
    return refusing(student, tokenizer, "validation")


@sweep(
    "two_teachers_rates", points=[{"lr": lr} for lr in (3e-4, 1e-3, 3e-3, 1e-2)], seeds=CHOICE, tolerance=0.5
)
def two_teachers_rates(point: dict, seed: int) -> dict:
    """Like regained_rates, with two teachers."""
    student, teacher, tokenizer = tuned_away(seed)
    regain(student, teacher, tokenizer, point["lr"], seed, "two teachers")
    return refusing(student, tokenizer, "validation")


@sweep("regained", points=[{"way": name} for name in REGAIN_RATES], seeds=range(5), sampled=True, short=(1,))
def regained(point: dict, seed: int) -> dict:
    """Shares of `refusing`: earlier_NAME for the assistant, before_NAME and after_NAME for the distillation.

    never_said: the adapter model's probability of the assistant's likeliest first token, mean over
    validation's unanswerable questions before the distillation.
    """
    student, teacher, tokenizer = tuned_away(seed)
    found = {"never_said": chance_of_favourite(student, teacher, tokenizer)}
    found |= {f"earlier_{name}": share for name, share in refusing(teacher, tokenizer, "held_out").items()}
    found |= {f"before_{name}": share for name, share in refusing(student, tokenizer, "held_out").items()}
    regain(student, teacher, tokenizer, REGAIN_RATES[point["way"]], seed, point["way"])
    after = refusing(student, tokenizer, "held_out")
    return found | {f"after_{name}": share for name, share in after.items()}


def chance_of_favourite(student, teacher, tokenizer):
    """The student's mean probability of the teacher's likeliest first token, on unanswerable questions."""
    import torch

    from course_utils.methods.rollouts import encode_prompts

    prompts = encode_prompts(tokenizer, few(unanswerable("validation"), 8))
    chances = []
    with torch.no_grad():
        for prompt in prompts:
            ids = torch.tensor([prompt], device=next(student.parameters()).device)
            mine, theirs = (model(input_ids=ids).logits[0, -1] for model in (student, teacher))
            chances.append(mine.softmax(-1)[theirs.argmax()].item())
    return sum(chances) / len(chances)
