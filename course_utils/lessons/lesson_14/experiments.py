"""Stored experiments with every method on one task: settings first, then all at their best, and memory."""

import functools
import statistics

from course_utils.lessons.lesson_14.comparison import METHODS, RATES, SHOTS, STEPS, TRAINED
from course_utils.lessons.lesson_14.on_top import ON_TOP, ON_TOP_RATES
from course_utils.stored_runs import sweep

# the lowest losses of method_settings, of prompting the most right answers; and of on_top_settings
BEST = {"prompting": 6, "prompt tuning": 0.03, "LoRA": 1e-2, "QLoRA": 1e-2, "full": 1.5e-4}
BEST_ON_TOP = {"DPO": 1e-4, "PPO": 2e-5}


@functools.cache
def task_parts():
    """(task, source texts as examples, loss of the untuned model on these)."""
    from course_utils.data import encode_text, load_source_texts
    from course_utils.evaluation import mean_loss
    from course_utils.lessons.lesson_14.comparison import task
    from course_utils.models import load_model

    model, tokenizer = load_model("pocket")
    source = [encode_text(tokenizer, text) for text in load_source_texts()[:60]]
    return task(), source, mean_loss(model, source)


def made(point: dict, seed: int):
    """(model, tokenizer, text in front of each question, seconds of training)."""
    from course_utils.lessons.lesson_14.comparison import examples_in_front, tune
    from course_utils.models import load_model

    model, tokenizer = load_model("pocket")
    questions = task_parts()[0].tune
    if point["method"] == "prompting":
        return model, tokenizer, examples_in_front(questions, int(point["setting"]), seed), 0.0
    model, seconds = tune(model, tokenizer, point["method"], questions, lr=point["setting"], seed=seed)
    return model, tokenizer, "", seconds


@sweep(
    "method_settings",
    points=[
        *[{"method": "prompting", "setting": shots} for shots in SHOTS],
        *[{"method": method, "setting": lr} for method in TRAINED for lr in RATES[method]],
    ],
    seeds=range(2),
)
def method_settings(point: dict, seed: int) -> dict:
    """setting: examples in the prompt, or learning rate. right, loss: on the questions to choose by.

    right_judged is on those to judge by, to see what choosing by them would do. Prompting has no loss: an
    untuned model does not end an answer with the end of text. forgetting: as in methods().
    """
    from course_utils.evaluation import forgetting, mean_loss
    from course_utils.lessons.lesson_14.comparison import encoded, right_answers

    model, tokenizer, in_front, _ = made(point, seed)
    task, source, before = task_parts()
    choose, judge = task.choose, task.judge
    result = {
        "right": statistics.mean(right_answers(model, tokenizer, choose, in_front)),
        "right_judged": statistics.mean(right_answers(model, tokenizer, judge, in_front)),
    }
    if point["method"] != "prompting":
        result["loss"] = mean_loss(model, encoded(tokenizer, choose))
        result["forgetting"] = forgetting(before, mean_loss(model, source))
    return result


@sweep("methods", points=[{"method": method, "setting": BEST[method]} for method in METHODS])
def methods(point: dict, seed: int) -> dict:
    """Every method at its best setting, judged on other questions. answers: one digit a question, 1 if right.

    forgetting: rise of the loss on source texts, the soft prompt in front, if there is one. measured_seconds:
    of the training's steps, one thread of the machine at hand.
    """
    from course_utils.evaluation import forgetting, mean_loss
    from course_utils.lessons.lesson_14.comparison import file_bytes, right_answers
    from course_utils.methods.lora import count_trainable

    model, tokenizer, in_front, seconds = made(point, seed)
    task, source, before = task_parts()
    right = right_answers(model, tokenizer, task.judge, in_front)
    trains = point["method"] != "prompting"
    return {
        "right": statistics.mean(right),
        "answers": "".join(map(str, right)),
        "forgetting": forgetting(before, mean_loss(model, source)) if trains else 0.0,
        "trained": count_trainable(model)[0] if trains else 0,
        "steps": STEPS if trains else 0,
        "tokens_in_front": tokens_in_front(model, tokenizer, in_front),
        "file_bytes": file_bytes(model, point["method"], in_front),
        "measured_seconds": seconds,
    }


def tokens_in_front(model, tokenizer, in_front: str) -> int:
    """Tokens that every question costs beyond its own."""
    from course_utils.data import encode

    return len(getattr(model, "prompt", ())) + len(encode(tokenizer, in_front))


@sweep("method_memory", points=[{"method": method} for method in METHODS], seeds=range(1))
def method_memory(point: dict, seed: int) -> dict:
    """Peak of a process beyond its libraries, 16 x 64 tokens: a model that trains, or that answers."""
    from course_utils.lessons.lesson_14.comparison import method_step
    from course_utils.memory import measure_peak

    peak = measure_peak(method_step, method=point["method"])
    return {"measured_total": peak.total, "measured_growth": peak.growth}


def judged(model, tokenizer) -> dict:
    """right, answers and forgetting of a trained model, as methods() gives them."""
    from course_utils.evaluation import forgetting, mean_loss
    from course_utils.lessons.lesson_14.comparison import right_answers

    task, source, before = task_parts()
    right = right_answers(model, tokenizer, task.judge)
    return {
        "right": statistics.mean(right),
        "answers": "".join(map(str, right)),
        "forgetting": forgetting(before, mean_loss(model, source)),
    }


def tuned_on(point: dict, seed: int):
    """(model, tokenizer, seconds) after LoRA at its best and one of ON_TOP at the point's learning rate."""
    from course_utils.lessons.lesson_14.on_top import on_top

    model, tokenizer, _, before = made({"method": "LoRA", "setting": BEST["LoRA"]}, seed)
    questions = task_parts()[0].tune
    model, seconds = on_top(model, tokenizer, point["method"], questions, lr=point["setting"], seed=seed)
    return model, tokenizer, before + seconds


@sweep(
    "on_top_settings",
    points=[{"method": method, "setting": lr} for method in ON_TOP for lr in ON_TOP_RATES[method]],
    seeds=range(2),
    sampled=True,
)
def on_top_settings(point: dict, seed: int) -> dict:
    """right, loss: on the questions to choose by, as in method_settings."""
    from course_utils.evaluation import mean_loss
    from course_utils.lessons.lesson_14.comparison import encoded, right_answers

    model, tokenizer, _ = tuned_on(point, seed)
    choose = task_parts()[0].choose
    return {
        "right": statistics.mean(right_answers(model, tokenizer, choose)),
        "loss": mean_loss(model, encoded(tokenizer, choose)),
    }


@sweep(
    "methods_on_top",
    points=[{"method": method, "setting": BEST_ON_TOP[method]} for method in ON_TOP],
    sampled=True,
)
def methods_on_top(point: dict, seed: int) -> dict:
    """What methods() measures, after LoRA and DPO or PPO on top; the seconds are those of both.

    trained: by what is on top. file_bytes: of two adapters after DPO, because the first is in its base.
    """
    from course_utils.lessons.lesson_14.comparison import file_bytes
    from course_utils.methods.lora import count_trainable

    model, tokenizer, seconds = tuned_on(point, seed)
    adapters = point["method"] == "DPO"
    return {
        **judged(model, tokenizer),
        "trained": count_trainable(model)[0],
        "tokens_in_front": 0,
        "file_bytes": 2 * file_bytes(model, "LoRA") if adapters else file_bytes(model, "full"),
        "measured_seconds": seconds,
    }


@sweep("lora_longer", points=[{"steps": 4 * STEPS}])
def lora_longer(point: dict, seed: int) -> dict:
    """LoRA at its best rate, about as many seconds as with PPO on top."""
    from course_utils.lessons.lesson_14.comparison import tune
    from course_utils.models import load_model

    model, tokenizer = load_model("pocket")
    questions, lr, steps = task_parts()[0].tune, BEST["LoRA"], point["steps"]
    model, seconds = tune(model, tokenizer, "LoRA", questions, lr=lr, seed=seed, steps=steps)
    return {**judged(model, tokenizer), "measured_seconds": seconds}


@sweep("on_top_memory", points=[{"method": method} for method in ON_TOP], seeds=range(1))
def on_top_memory(point: dict, seed: int) -> dict:
    """As method_memory: 16 pairs of 2 x 64 tokens for DPO, 16 answers of 64 with their prompts for PPO."""
    from course_utils.lessons.lesson_14.on_top import on_top_step
    from course_utils.memory import measure_peak

    peak = measure_peak(on_top_step, method=point["method"])
    return {"measured_total": peak.total, "measured_growth": peak.growth}
