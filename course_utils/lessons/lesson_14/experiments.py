"""Stored experiments with every method on one task: settings first, then each at its best, and memory.

Every method gets four settings with two seeds, which are not among the five reported seeds.
"""

import functools
import statistics

from course_utils.lessons.lesson_14.calls import WORDINGS
from course_utils.lessons.lesson_14.comparison import METHODS, SETTINGS, STEPS
from course_utils.lessons.lesson_14.on_top import DPO_STEPS, GRPO_RUN, ON_TOP, ON_TOP_RATES
from course_utils.stored_runs import CHOICE, few, sweep

_CHOICE = (5, 6)  # seeds for choosing settings
# the highest scores on the choosing lists in method_settings, finer_rates and on_top_settings; of equal
# ones the lowest loss
BEST = {"prompting": 2, "prompt tuning": 0.1, "LoRA": 1e-2, "QLoRA": 1e-2, "full": 5e-4}
BEST_ON_TOP = {"DPO": 3e-5, "GRPO": 3e-5}
LONGER = 3 * STEPS  # steps of LoRA that take about as long as LoRA and GRPO
FINER = {"full": 5e-4, "LoRA": 5e-3, "QLoRA": 5e-3}  # rates between two of SETTINGS
RATES_LONGER = (3e-4, 5e-4, 1e-3)  # of full fine-tuning after LONGER steps
BEST_LONGER = 5e-4  # the highest score on the choosing lists in rates_longer


@functools.cache
def task_parts():
    """(task, source texts as examples, the untuned model's loss on them)."""
    from course_utils.data import encode_text, load_source_texts
    from course_utils.evaluation import mean_loss
    from course_utils.lessons.lesson_14.comparison import task
    from course_utils.models import load_model

    model, tokenizer = load_model("pocket")
    source = [encode_text(tokenizer, text) for text in load_source_texts()[: few(60, 4)]]
    return task(few(100, 8), few(200, 8)), source, mean_loss(model, source)


def made(point: dict, seed: int):
    """(model, tokenizer, text before each request, seconds of training)."""
    from course_utils.lessons.lesson_14.comparison import examples_in_front, train_with
    from course_utils.models import load_model

    model, tokenizer = load_model("pocket")
    lists = task_parts()[0].tune
    if point["method"] == "prompting":
        return model, tokenizer, examples_in_front(lists, int(point["setting"]), seed), 0.0
    options = {"lr": point["setting"], "seed": seed, "steps": few(point.get("steps", STEPS))}
    model, seconds = train_with(model, tokenizer, point["method"], lists, **options)
    return model, tokenizer, "", seconds


def list_scores(model, tokenizer, lists, in_front="") -> dict:
    """answers: one digit per list, 1 if right; right: their mean; loss: nats per token of the right answer.

    The end of the answer is not in the loss: a prompt cannot teach it.
    """
    from course_utils.evaluation import mean_loss
    from course_utils.lessons.lesson_14.comparison import answers_alone, answers_to, right_answers

    right = right_answers(answers_to(model, tokenizer, lists, in_front), lists)
    return {
        "right": statistics.mean(right),
        "loss": mean_loss(model, answers_alone(tokenizer, lists, in_front)),
        "answers": "".join(map(str, right)),
    }


def forgotten(model) -> float:
    """Increase of the loss on source texts, after the soft prompt if there is one; nats per token."""
    from course_utils.evaluation import forgetting, mean_loss

    _, source, before = task_parts()
    return forgetting(before, mean_loss(model, source))


@sweep(
    "method_settings",
    points=[{"method": method, "setting": setting} for method in METHODS for setting in SETTINGS[method]],
    seeds=_CHOICE,
    short=(2, 10),
)
def method_settings(point: dict, seed: int) -> dict:
    """setting: examples in the prompt, or learning rate. right, loss: on the choosing lists.

    right_judged: on the judging lists, to see the effect of choosing by them.
    """
    model, tokenizer, in_front, _ = made(point, seed)
    found = list_scores(model, tokenizer, task_parts()[0].choose, in_front)
    judged = list_scores(model, tokenizer, task_parts()[0].judge, in_front)
    result = {"right": found["right"], "loss": found["loss"], "right_judged": judged["right"]}
    return result | ({"forgetting": forgotten(model)} if point["method"] != "prompting" else {})


@sweep(
    "finer_rates",
    points=[{"method": method, "setting": rate} for method, rate in FINER.items()],
    seeds=_CHOICE,
)
def finer_rates(point: dict, seed: int) -> dict:
    """The measures of method_settings, at a finer rate for each method that names lists.

    The rule, written before the runs: LoRA's lead is the coarse grid's if at the rates chosen with these the
    interval of the difference in `methods` holds 0. QLoRA got its rate later, for equal effort.
    """
    return method_settings(point, seed)


@sweep(
    "rates_longer",
    points=[{"method": "full", "setting": rate, "steps": LONGER} for rate in RATES_LONGER],
    seeds=CHOICE,
    sampled=True,  # as lora_longer
)
def rates_longer(point: dict, seed: int) -> dict:
    """The measures of method_settings after LONGER steps of full fine-tuning.

    LoRA keeps the rate of STEPS in lora_longer, so the effort favours full fine-tuning.
    """
    return method_settings(point, seed)


@sweep("methods", points=[{"method": method, "setting": BEST[method]} for method in METHODS], short=(1, 3, 4))
def methods(point: dict, seed: int) -> dict:
    """Every method at its best setting, on the judging lists: `list_scores`, and its costs.

    measured_seconds: of the training steps, on one thread of this machine.
    """
    from course_utils.lessons.lesson_14.comparison import file_bytes
    from course_utils.methods.lora import count_trainable

    model, tokenizer, in_front, seconds = made(point, seed)
    trains = point["method"] != "prompting"
    return {
        **list_scores(model, tokenizer, task_parts()[0].judge, in_front),
        "forgetting": forgotten(model) if trains else 0.0,
        "trained": count_trainable(model)[0] if trains else 0,
        "tokens_in_front": tokens_in_front(model, tokenizer, in_front),
        "file_bytes": file_bytes(model, point["method"], in_front),
        "measured_seconds": seconds,
    }


@sweep("prompt_wordings", points=[{"wording": wording} for wording in WORDINGS], seeds=range(1))
def prompt_wordings(point: dict, seed: int) -> dict:
    """The untrained model, one call per fact. right: on the choosing lists; all else: on the judging lists.

    right_unread: with raw completions, including articles and quotation marks. Nothing is random, so there is
    one run per wording.
    """
    from course_utils.lessons.lesson_14.calls import completions, right_lists
    from course_utils.models import load_model

    model, tokenizer = load_model("pocket")
    task = task_parts()[0]
    chosen = completions(model, tokenizer, task.choose, point["wording"])
    judged = completions(model, tokenizer, task.judge, point["wording"])
    right = right_lists(judged, task.judge)
    return {
        "right": statistics.mean(right_lists(chosen, task.choose)),
        "right_unread": statistics.mean(right_lists(judged, task.judge, str)),
        "right_judged": statistics.mean(right),
        "answers": "".join(map(str, right)),
    }


def tokens_in_front(model, tokenizer, in_front: str) -> int:
    """Tokens that every request has in addition to its own."""
    from course_utils.data import encode

    return len(getattr(model, "prompt", ())) + len(encode(tokenizer, in_front))


@sweep("method_memory", points=[{"method": method} for method in METHODS], seeds=range(1), short=())
def method_memory(point: dict, seed: int) -> dict:
    """Peak memory of a process without its libraries, 16 x 64 tokens: in training, or in answering."""
    from course_utils.lessons.lesson_14.comparison import method_step
    from course_utils.memory import measure_peak

    peak = measure_peak(method_step, method=point["method"])
    return {"measured_total": peak.total, "measured_growth": peak.growth}


def tuned_on(point: dict, seed: int):
    """(model, tokenizer, seconds) after LoRA at its best rate and one of ON_TOP at the point's rate."""
    from course_utils.lessons.lesson_14.on_top import on_top

    model, tokenizer, _, before = made({"method": "LoRA", "setting": BEST["LoRA"]}, seed)
    lists = few(task_parts()[0].tune, 32)
    model, seconds = on_top(
        model,
        tokenizer,
        point["method"],
        lists,
        lr=point["setting"],
        seed=seed,
        dpo_steps=few(DPO_STEPS),
        iterations=few(GRPO_RUN["iterations"]),
    )
    return model, tokenizer, before + seconds


@sweep(
    "on_top_settings",
    points=[{"method": method, "setting": lr} for method in ON_TOP for lr in ON_TOP_RATES[method]],
    seeds=_CHOICE,
    sampled=True,
    short=(0,),
)
def on_top_settings(point: dict, seed: int) -> dict:
    """right, loss: on the choosing lists, as in method_settings."""
    model, tokenizer, _ = tuned_on(point, seed)
    found = list_scores(model, tokenizer, task_parts()[0].choose)
    return {"right": found["right"], "loss": found["loss"]}


@sweep(
    "methods_on_top",
    points=[{"method": method, "setting": BEST_ON_TOP[method]} for method in ON_TOP],
    sampled=True,
    short=(1,),
)
def methods_on_top(point: dict, seed: int) -> dict:
    """The measures of methods(), after LoRA with DPO or GRPO on top; the seconds include both.

    trained: by the method on top. file_bytes: of two adapters after DPO, because the first is in its base.
    """
    from course_utils.lessons.lesson_14.comparison import file_bytes
    from course_utils.methods.lora import count_trainable

    model, tokenizer, seconds = tuned_on(point, seed)
    adapters = point["method"] == "DPO"
    return {
        **list_scores(model, tokenizer, task_parts()[0].judge),
        "forgetting": forgotten(model),
        "trained": count_trainable(model)[0],
        "tokens_in_front": 0,
        "file_bytes": 2 * file_bytes(model, "LoRA") if adapters else file_bytes(model, "full"),
        "measured_seconds": seconds,
    }


# 180 steps at a high rate differ between processors as much as between seeds
@sweep("lora_longer", points=[{"steps": LONGER}], sampled=True)
def lora_longer(point: dict, seed: int) -> dict:
    """LoRA at its best rate with more steps: the control for the methods on top."""
    from course_utils.lessons.lesson_14.comparison import train_with
    from course_utils.models import load_model

    model, tokenizer = load_model("pocket")
    lists, lr, steps = task_parts()[0].tune, BEST["LoRA"], few(point["steps"])
    model, seconds = train_with(model, tokenizer, "LoRA", lists, lr=lr, seed=seed, steps=steps)
    found = list_scores(model, tokenizer, task_parts()[0].judge)
    return {**found, "forgetting": forgotten(model), "measured_seconds": seconds}


@sweep("full_longer", points=[{"steps": LONGER, "setting": BEST_LONGER}], seeds=range(3), sampled=True)
def full_longer(point: dict, seed: int) -> dict:
    """The measures of lora_longer for full fine-tuning, at its best rate of rates_longer.

    The rule, written before the runs: LoRA's lead is a matter of the 60 steps if here the interval of the
    difference holds 0.
    """
    model, tokenizer, _, seconds = made({"method": "full", **point}, seed)
    found = list_scores(model, tokenizer, task_parts()[0].judge)
    return {**found, "forgetting": forgotten(model), "measured_seconds": seconds}


@sweep("on_top_memory", points=[{"method": method} for method in ON_TOP], seeds=range(1), short=())
def on_top_memory(point: dict, seed: int) -> dict:
    """Like method_memory: 16 pairs of 2 x 64 tokens for DPO, 16 answers of 64 with their prompts for GRPO."""
    from course_utils.lessons.lesson_14.on_top import on_top_step
    from course_utils.memory import measure_peak

    peak = measure_peak(on_top_step, method=point["method"])
    return {"measured_total": peak.total, "measured_growth": peak.growth}
