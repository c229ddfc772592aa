"""A decision between nine methods: its questions, each method's costs, and the reasons for and against.

`decide` returns the options of a case with their verdicts, reasons and costs; memo.py writes them down.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache

from course_utils.budget import (
    CARDS,
    NF4_BITS,
    TRAINING_METHODS,
    UTILISATION,
    fits,
    training_flop,
    training_hours,
    training_need,
)
from course_utils.lessons.lesson_14.market import SHEETS

GOALS = {
    "facts that change": "facts that change or must be cited",
    "facts that stay": "facts that stay as they are",
    "behaviour": "a task, a format or a tone",
    "ability": "right answers to problems that it gets wrong",
    "preference": "nothing, but some of its answers are better than others",
}
TUNED = ("LoRA", "QLoRA", "full")
OPTIONS = ("prompting", "retrieval", "larger model", *TUNED, "distillation", "DPO", "GRPO")
FITTING = {"full": "full", "lora": "LoRA", "qlora": "QLoRA"}  # budget's names

# rules of thumb
FEW, ENOUGH, MANY = 50, 500, 10_000  # examples: the minimum, for a first run, for full fine-tuning
PAIRS, PROBLEMS, TEACHER_ANSWERS = 1000, 500, 5000  # for DPO, GRPO and distillation
EPOCHS, GROUP = 3, 8
NEAR = 0.05  # of a cost: a difference that is not decisive
PASSAGE = 300  # tokens of a passage
DISAGREE = 0.25  # share of the questions that exactly one of two methods gets right
# assumptions about serving
AT_ONCE = 8  # answers that a card generates at the same time
SAMPLED_AT_ONCE = 64  # and in GRPO's sampling
PATIENCE = 60  # seconds: answers that may take so long need no card on standby

MEASURED, COMPUTED, RULE = "measured here on 4.8M", "computed from your answers", "a rule of thumb"


@dataclass(frozen=True)
class Case:
    """What must be known before the choice. Prices are in `currency`."""

    goal: str = "behaviour"  # what the model lacks, one of GOALS
    examples: int = 500  # available labelled answers, or pairs if a preference is lacking
    verifiable: bool = False  # a program can verify answers
    larger_works: bool = True  # a larger model does the task with a prompt
    tasks: int = 1  # that the one model must serve
    keep: bool = True  # all its other abilities must stay as good
    private: bool = False  # no text may leave the house
    licence_weights: bool = True  # the model's licence allows your use
    licence_answers: bool = True  # the larger model's terms allow training on its answers; many restrict it
    answers_a_day: int = 2000
    days: int = 365  # over which the costs are summed
    instructions: int = 800  # tokens before each question: instructions and examples
    question: int = 150  # tokens
    answer: int = 150  # tokens
    seconds: float = 10.0  # allowed for a whole answer
    points: float = 5.0  # smallest difference that would change the decision, percentage points
    model: str = "Qwen3-8B"
    card: str = "RTX 4090"
    runs: int = 9  # trainings: a sweep of four rates with two seeds, and the final one
    budget: float = 20_000.0
    card_price: float = 0.5  # per hour
    read_price: float = 1.0  # per million tokens that the larger model reads
    write_price: float = 4.0  # and writes
    label_price: float = 2.0  # per labelled answer or pair
    currency: str = "EUR"

    def __post_init__(self):
        if self.goal not in GOALS:
            raise ValueError(f"goal must be one of {', '.join(GOALS)}; got {self.goal!r}")
        if self.card not in CARDS:
            raise ValueError(f"unknown card {self.card!r}; choose one of {', '.join(CARDS)}")
        # field.type is a type only without `from __future__ import annotations`
        numbers = [field.name for field in fields(self) if field.type in (int, float)]
        for name in numbers:
            value = getattr(self, name)
            low = 1 if name in ("tasks", "days", "question", "answer", "runs") else 0
            if not (math.isfinite(value) and value >= low):
                raise ValueError(f"{name} must be a number of at least {low}; got {value!r}")
        if not (self.seconds and 0 < self.points <= 100 * DISAGREE):
            raise ValueError(f"seconds must be above 0, points above 0 and at most {100 * DISAGREE:g}")


@dataclass(frozen=True)
class Reason:
    """A sentence, its basis, and its source."""

    text: str
    basis: str
    source: str = ""


@dataclass(frozen=True)
class Cost:
    """Costs of labels, training with its sweep, and serving for the days of the case."""

    labels: float = 0.0
    training: float = 0.0
    serving: float = 0.0

    @property
    def total(self) -> float:
        return self.labels + self.training + self.serving


@dataclass(frozen=True)
class Option:
    """verdict: baseline, choose, then (after the chosen one), later, or no; the first reason explains it."""

    name: str
    verdict: str
    reasons: tuple[Reason, ...]
    cost: Cost


def questions_needed(points: float, disagree: float = DISAGREE) -> int:
    """Number of questions that show a difference of `points` percentage points with 80% power, at 95%.

    Both methods answer the same questions; on the share `disagree`, one of them is right and the other wrong.
    The standard deviation of a difference d over questions is then sqrt(disagree - d^2).
    """
    d = points / 100
    if not (0 < d <= disagree <= 1 and d < 1):
        raise ValueError(f"0 < points / 100 <= disagree <= 1 is required; got {points} and {disagree}")
    return math.ceil((1.96 + 0.84) ** 2 * (disagree - d**2) / d**2)


# ---------------------------------------------------------------------------- what fits, how fast, how dear


def fitting(model: str, card: str, tokens: int = 1024) -> list[str]:
    """Which of full, LoRA and QLoRA fit, by the calculator, with one example at a time and checkpointing."""
    return [FITTING[method] for method in TRAINING_METHODS if fits(model, method, 1, tokens, card)]


@cache
def parameters_of(model: str) -> int:
    return training_need(model, "lora", 1, 8, "mixed").parameters


def seconds_an_answer(case: Case, front: int) -> float:
    """Seconds to read the prompt and the question, and then to read all weights once per token."""
    size, tflops = CARDS[case.card]
    parameters = parameters_of(case.model)
    half = 2 * parameters
    weights = half if half < 0.8 * size * 2**30 else parameters * NF4_BITS / 8  # 4 bits if 16 do not fit
    reading = 2 * parameters * (front + case.question) / (tflops * 1e12 * UTILISATION)
    bandwidth = SHEETS[case.card].bandwidth if case.card in SHEETS else 50  # this machine's: assumed
    return reading + case.answer * weights / (bandwidth * 1e9)


def own_serving(case: Case, front: int) -> float:
    """The card's hours times their price; all hours, if an answer must come at once."""
    busy = case.answers_a_day * case.days * seconds_an_answer(case, front) / 3600 / AT_ONCE
    waiting = 24 * case.days if case.seconds < PATIENCE else 0
    return case.card_price * max(busy, waiting)


def asked_serving(case: Case, answers: float) -> float:
    """Price of a larger model that is paid per token."""
    read, write = case.instructions + case.question, case.answer
    return answers * (read * case.read_price + write * case.write_price) / 1e6


def judging(case: Case) -> float:
    """Price of the labels for evaluation; 0 if a program verifies."""
    return 0.0 if case.verifiable else questions_needed(case.points) * case.label_price


def training(case: Case, method: str, examples: int, passes: float = 1.0) -> float:
    """Price of all runs of a training on these examples; passes: cost of a token relative to tuning."""
    tokens = max(examples, ENOUGH) * EPOCHS * (case.question + case.answer) * passes
    flop = training_flop(parameters_of(case.model), tokens, method != "full", checkpointing=True)
    return case.runs * training_hours(flop, case.card) * case.card_price


def sampling_price(case: Case) -> float:
    """Price of GRPO's samples in all runs: each token reads all weights once for a batch of answers."""
    answers = PROBLEMS * EPOCHS * GROUP
    hours = answers * seconds_an_answer(case, 0) / SAMPLED_AT_ONCE / 3600
    return case.runs * hours * case.card_price


def costs(case: Case) -> dict[str, Cost]:
    """{option: its cost}. DPO and GRPO start from a tuned model and include its cost."""
    judged = judging(case)
    missing = max(0, ENOUGH - case.examples) * case.label_price if case.goal != "preference" else 0.0
    after = own_serving(case, 0)
    found = {
        "prompting": Cost(judged, 0, own_serving(case, case.instructions)),
        "retrieval": Cost(judged, 0, own_serving(case, case.instructions + PASSAGE)),
        "larger model": Cost(judged, 0, asked_serving(case, case.answers_a_day * case.days)),
    }
    for method in TUNED:
        found[method] = Cost(judged + missing, training(case, method, case.examples), after)
    base = found[_tuned_name(case)]
    taught = judged + asked_serving(case, TEACHER_ANSWERS)
    found["distillation"] = Cost(taught, training(case, _tuned_name(case), TEACHER_ANSWERS), after)
    pairs = max(0, PAIRS - case.examples) * case.label_price
    # two answers per pair, and the reference reads both, at a third of the cost of forward and backward
    on_pairs = training(case, _tuned_name(case), PAIRS, passes=2 * 4 / 3)
    found["DPO"] = Cost(base.labels + pairs, base.training + on_pairs, after)
    on_samples = training(case, _tuned_name(case), PROBLEMS, passes=GROUP) + sampling_price(case)
    found["GRPO"] = Cost(base.labels, base.training + on_samples, after)
    return found


def _tuned_name(case):
    """The tuned method that the others start from: LoRA, or QLoRA if only that fits."""
    room = fitting(case.model, case.card)
    return "LoRA" if "LoRA" in room or not room else "QLoRA"


def break_even_a_day(case: Case) -> float | None:
    """Answers per day from which tuning costs no more than the larger model; None: never.

    The larger model is paid per answer, one's own card per hour.
    """
    one = asked_serving(case, 1) * case.days
    once = costs(case)[_tuned_name(case)].total - own_serving(case, 0) - judging(case)
    waiting = own_serving(replace(case, answers_a_day=0), 0)
    each = case.card_price * case.days * seconds_an_answer(case, 0) / 3600 / AT_ONCE
    if one == 0:
        return None
    answers = (once + waiting) / one  # while the card is mostly idle
    if each * answers <= waiting:
        return answers
    return once / (one - each) if one > each else None


# ---------------------------------------------------------------------------- the decision

REGRET = "Schulman and others, LoRA without regret, thinkingmachines.ai/blog/lora"
KNOWN = {  # what is known about each option in any case
    "prompting": (
        Reason("Every other method has to beat it, and it takes an afternoon.", RULE),
        Reason(
            "Learning from examples in a prompt comes with size.", "published at 175B", "arXiv 2005.14165"
        ),
    ),
    "retrieval": (
        Reason("It adds facts better than tuning on them does.", "published at 7B", "arXiv 2312.05934"),
        Reason(
            "Passages that are always shown degrade what the model knows: show them only above a threshold.",
            MEASURED,
            "lesson 15",
        ),
        Reason(
            "Training with distractors helps the model to ignore them.", "published at 7B", "arXiv 2403.10131"
        ),
    ),
    "larger model": (Reason("Nothing is trained, and a better one may come by itself.", RULE),),
    "LoRA": (
        Reason(
            "On all linear layers it reaches full fine-tuning as long as the data fit its values.",
            "published at 1B to 8B",
            REGRET,
        ),
    ),
    "QLoRA": (
        Reason(
            "An adapter on a 4-bit base reaches one on a 16-bit base.", "published at 7B", "arXiv 2305.14314"
        ),
    ),
    "full": (
        Reason(
            "If there is much to learn, it learns more and forgets more.",
            "published at 7B",
            "arXiv 2405.09673",
        ),
    ),
    "distillation": (
        Reason(
            "Small models tuned on a large one's answers beat their own reinforcement learning.",
            "published at 32B",
            "arXiv 2501.12948",
        ),
    ),
    "DPO": (
        Reason(
            "It needs one loss on stored pairs, and no reward model.", "published at 6B", "arXiv 2305.18290"
        ),
    ),
    "GRPO": (
        Reason("It needs only a program that verifies.", "published at 671B", "arXiv 2501.12948"),
        Reason(
            "It makes answers likelier that some samples already get right: check 16 samples first.",
            "published at 7B",
            "arXiv 2504.13837",
        ),
        Reason("Tuning on right samples was better: try it first.", MEASURED, "lesson 18"),
    ),
}


def decide(case: Case, findings: Mapping[str, Reason] | None = None) -> list[Option]:
    """The nine options of a case in the order of OPTIONS. findings: {option: measured results}."""
    prices, obstacles = costs(case), _obstacles(case)
    for name, cost in prices.items():
        if name not in obstacles and cost.total > case.budget:
            text = f"It costs {money(cost.total, case)}, above the budget of {money(case.budget, case)}."
            obstacles[name] = Reason(text, COMPUTED)
    verdicts = _verdicts(case, prices, obstacles)
    options = []
    for name in OPTIONS:
        verdict, reason = verdicts[name]
        measured = [findings[name]] if name in (findings or {}) else []
        options.append(Option(name, verdict, (reason, *measured, *KNOWN[name]), prices[name]))
    return options


def in_a_sentence(name: str) -> str:
    """An option's name, with its article if it needs one."""
    return "the larger model" if name == "larger model" else name


def money(value: float, case: Case) -> str:
    return f"{value:,.0f} {case.currency}" if value >= 0.5 or value == 0 else f"under 1 {case.currency}"


def _obstacles(case):
    """{option: why it cannot be chosen}"""
    found = {}

    def no(names, text, basis=RULE, source=""):
        for name in names:
            found.setdefault(name, Reason(text, basis, source))

    room = fitting(case.model, case.card)
    trained = (*TUNED, "distillation", "DPO", "GRPO")
    if not case.licence_weights:
        no([name for name in OPTIONS if name != "larger model"], "The model's licence forbids your use.")
    if case.private:
        no(
            ["larger model", "distillation"],
            "No text may leave the house. (A larger model of your own may do.)",
        )
    if not case.larger_works:
        no(["larger model", "distillation"], "No larger model does the task either.")
    if not case.licence_answers:
        no(["distillation"], "The larger model's terms forbid training on its answers.")
    for method in TUNED:
        if method not in room:
            no([method], f"{case.model} with {method} does not fit {case.card}.", COMPUTED)
    if not room:
        no(
            trained,
            f"No training of {case.model} fits {case.card}: use a smaller model or more cards.",
            COMPUTED,
        )
    _too_slow(case, no)
    if case.goal.startswith("facts"):
        no(["distillation", "DPO", "GRPO"], "The model lacks facts.")
    else:
        no(["retrieval"], "What is lacking is no fact.")
    if case.goal == "facts that change":
        no(TUNED, "Every change of a fact would need another training.")
    if case.examples < FEW:
        no([*TUNED, "DPO"], f"With fewer than {FEW} examples you cannot even evaluate: collect more first.")
    if case.goal != "preference":
        no(["DPO"], "Right answers can be written down, so tune on them; pairs say less.")
    if not case.verifiable:
        no(["GRPO"], "No program can say whether an answer is right.")
    elif case.goal == "preference":
        no(["GRPO"], "A program verifies what is right, not what is better.")
    if case.examples < MANY or case.tasks > 1 or case.keep:
        needs = f"{MANY:,} examples or more, one task, and nothing else to keep"
        no(["full"], f"It is for {needs}; here LoRA's values suffice, and it can be switched off.")
    if "LoRA" in room:
        no(["QLoRA"], "LoRA fits in 16 bits, and de-quantising takes time.", COMPUTED)
    return found


def _too_slow(case, no):
    """Exclude own models if even the bare question takes too long."""
    bare, full = seconds_an_answer(case, 0), seconds_an_answer(case, case.instructions)
    text = f"An answer takes about {{:.1f}} s on {case.card}, but only {case.seconds:g} s are allowed."
    if bare > case.seconds:
        no([name for name in OPTIONS if name != "larger model"], text.format(bare), COMPUTED)
    elif full > case.seconds:
        no(["prompting", "retrieval"], text.format(full), COMPUTED)


def _verdicts(case, prices, obstacles):
    """{option: (verdict, the reason for it)}"""
    verdicts = {name: ("no", obstacles[name]) for name in obstacles}
    open_ = [name for name in OPTIONS if name not in obstacles]
    if "prompting" in open_:
        verdicts["prompting"] = "baseline", Reason("Score it first, on the questions to judge by.", RULE)
    chosen = _chosen(prices, open_)
    if chosen:
        verdicts[chosen] = "choose", _why(case, chosen, prices)
    for name in open_:
        if name not in verdicts:
            verdicts[name] = _other(case, name, chosen, prices)
    return verdicts


def _chosen(prices, open_):
    """The option to choose, or None: the cheapest candidate, with labels, sweep and serving."""
    if "retrieval" in open_:
        return "retrieval"
    if "full" in open_:
        return "full"
    candidates = [name for name in ("larger model", "LoRA", "QLoRA", "distillation") if name in open_]
    without = "GRPO" if "GRPO" in open_ else None
    return min(candidates, key=lambda name: prices[name].total, default=without)


def _why(case, chosen, prices):
    if chosen == "retrieval":
        return Reason("A document can be changed and cited without any training.", RULE)
    if chosen == "full":
        return Reason("There is much to learn, one task, enough memory and nothing else to keep.", RULE)
    if chosen == "GRPO":
        return Reason("It needs problems and a program that verifies, but no written answers.", RULE)
    total = money(prices[chosen].total, case)
    return Reason(f"Of what goes beyond a prompt it costs least: {total} in {case.days} days.", COMPUTED)


def _other(case, name, chosen, prices):
    """(verdict, reason) of an option that is possible but not chosen."""
    if name in ("DPO", "GRPO"):
        if chosen not in (*TUNED, "distillation"):
            return "later", Reason("It starts from a tuned model, and there is none yet.", RULE)
        steps = "DPO on the pairs" if name == "DPO" else "GRPO on problems that the tuning has not seen"
        return "then", Reason(f"After {chosen}: {steps}, against as much more of {chosen}.", RULE)
    if case.goal == "facts that stay" and name == _tuned_name(case):
        return "then", Reason(
            "Train on the facts, too, in many wordings and with replayed text, and evaluate both together.",
            MEASURED,
            "lesson 15",
        )
    if chosen is None:
        return "later", Reason("Nothing else is possible; collect examples first.", RULE)
    more = prices[name].total - prices[chosen].total
    words = "more" if more >= 0 else "less"
    near = ": so little that the scores should decide" if abs(more) < NEAR * prices[chosen].total else ""
    text = f"It costs {money(abs(more), case)} {words} than {in_a_sentence(chosen)}{near}."
    return "later", Reason(text, COMPUTED)
