"""A decision between twelve methods: what each gives, what it costs with people's days, and how sure that is.

`decide` strikes what is not possible, then what is clearly worse, and takes the cheapest of the rest; what
costs nearly as little is a tie. `advice` names what it takes, `flips` what turns it. memo.py writes it down.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import NamedTuple

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
from course_utils.lessons.lesson_14 import prices
from course_utils.lessons.lesson_14.evidence import (
    COMPUTED,
    DAYS,
    GOALS,
    KNOWN,
    MEASURED,
    OPTIONS,
    QUALITY,
    RISKS,
    RULE,
    TRAINED,
    TUNED,
    YOURS,
    Quality,
    Reason,
)
from course_utils.lessons.lesson_14.market import SHEETS

FITTING = {"full": "full", "lora": "LoRA", "qlora": "QLoRA"}  # budget's names

# rules of thumb
ENOUGH, MANY = 500, 10_000  # examples: for a first run, for full fine-tuning
PAIRS, PROBLEMS, TEACHER_ANSWERS = 1000, 500, 5000  # for DPO, GRPO and right samples, distillation
EPOCHS, GROUP = 3, 8
CARD_DAYS, UPKEEP = 3, 6  # days to set up a server of one's own, and a year
THIRD = 1 / 3  # nobody knows days, traffic and prices better: what costs less than this more is a tie
PASSAGES = 300  # tokens that retrieval shows
DISAGREE = 0.25  # share of the questions that exactly one of two methods gets right
# assumptions about serving
AT_ONCE = 8  # answers that a card generates at the same time
SAMPLED_AT_ONCE = 64  # and in the sampling of right samples and GRPO
PATIENCE = 60  # seconds: answers that may take so long need no card on standby
OWN_LONGEST = 32_000  # tokens of documents before each question on a card of one's own
OFTEN = 100  # answers a day from which a repeated beginning is still kept when the next question comes


@dataclass(frozen=True)
class Case:
    """What must be known before the choice. Prices are in `currency`; prices.py has their sources."""

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
    documents: int = 1_000_000  # tokens of what holds the facts
    instructions: int = 800  # tokens before each question: instructions and examples
    question: int = 150  # tokens
    answer: int = 150  # tokens
    seconds: float = 10.0  # allowed for a whole answer
    points: float = 5.0  # smallest difference that would change the decision, percentage points
    scores: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # {option: measured (points, +-)}
    model: str = "Qwen3-8B"
    card: str = "RTX 4090"
    runs: int = 9  # trainings: a sweep of four rates with two seeds, and the final one
    budget: float = 30_000.0
    card_price: float | None = None  # per hour; None: the one in prices.py
    host_price: float | None = None  # per million tokens of the model on shared hardware; None: prices.py's
    read_price: float = prices.READ.value  # per million tokens that the larger model reads
    read_again_price: float = prices.READ_AGAIN.value  # and reads again, at the beginning of each prompt
    write_price: float = prices.WRITE.value  # and writes
    label_price: float = prices.LABEL.value  # per labelled answer or pair
    person_day: float = prices.PERSON_DAY.value
    currency: str = "USD"

    def __post_init__(self):
        if self.goal not in GOALS:
            raise ValueError(f"goal must be one of {', '.join(GOALS)}; got {self.goal!r}")
        if self.card not in CARDS:
            raise ValueError(f"unknown card {self.card!r}; choose one of {', '.join(CARDS)}")
        if self.card_price is None:
            if self.card not in prices.CARDS:
                raise ValueError(f"prices.py has no price of {self.card}: give card_price, per hour")
            object.__setattr__(self, "card_price", prices.CARDS[self.card].value)
        if self.host_price is None:
            object.__setattr__(self, "host_price", prices.hosted(parameters_of(self.model)).value)
        # field.type is a type only without `from __future__ import annotations`
        numbers = [one.name for one in fields(self) if one.type in (int, float, float | None)]
        for name in numbers:
            value = getattr(self, name)
            low = 1 if name in ("tasks", "days", "question", "answer", "runs") else 0
            if not (math.isfinite(value) and value >= low):
                raise ValueError(f"{name} must be a number of at least {low}; got {value!r}")
        if not (self.seconds and 0 < self.points <= 100 * DISAGREE):
            raise ValueError(f"seconds must be above 0, points above 0 and at most {100 * DISAGREE:g}")
        if unknown := set(self.scores) - set(OPTIONS):
            raise ValueError(f"scores names {sorted(unknown)}; options are {', '.join(OPTIONS)}")


@dataclass(frozen=True)
class Cost:
    """Costs of labels, training with its sweep, a person's days, and serving for the days of the case."""

    labels: float = 0.0
    training: float = 0.0
    people: float = 0.0
    serving: float = 0.0

    @property
    def total(self) -> float:
        return self.labels + self.training + self.people + self.serving


@dataclass(frozen=True)
class Option:
    """verdict: choose, tie (costs nearly as little), then (after the chosen one), baseline, later, or no.

    The first reason explains it. place: where it is served. risk: what may happen to it.
    """

    name: str
    verdict: str
    reasons: tuple[Reason, ...]
    cost: Cost
    quality: Quality
    place: str
    risk: str


def questions_needed(points: float, disagree: float = DISAGREE) -> int:
    """Number of questions that show a difference of `points` percentage points with 80% power, at 95%.

    Both methods answer the same questions; on the share `disagree`, one of them is right and the other wrong.
    The standard deviation of a difference d over questions is then sqrt(disagree - d^2).
    """
    d = points / 100
    if not (0 < d <= disagree <= 1 and d < 1):
        raise ValueError(f"0 < points / 100 <= disagree <= 1 is required; got {points} and {disagree}")
    return math.ceil((1.96 + 0.84) ** 2 * (disagree - d**2) / d**2)


# ---------------------------------------------------------------------------- what each gives


def quality(case: Case, name: str) -> Quality:
    """What an option gives: your measurement, else what was measured or published, else 0."""
    if name in case.scores:
        return Quality(*case.scores[name], YOURS)
    return QUALITY[case.goal].get(name, Quality(0, 0, RULE))


def clearly_worse(one: Quality, other: Quality, points: float) -> bool:
    """Whether `other` is ahead by `points` or more, and by more than both may be off."""
    ahead = other.points - one.points
    return ahead >= points and ahead > math.hypot(one.spread, other.spread)


# ---------------------------------------------------------------------------- what fits, how fast, how dear


def fitting(model: str, card: str, tokens: int = 1024) -> list[str]:
    """Which of full, LoRA and QLoRA fit, by the calculator, with one example at a time and checkpointing."""
    return [FITTING[method] for method in TRAINING_METHODS if fits(model, method, 1, tokens, card)]


@cache
def parameters_of(model: str) -> int:
    return training_need(model, "lora", 1, 8, "mixed").parameters


def seconds_an_answer(case: Case, front: int) -> float:
    """Seconds to read the prompt and the question, and then to read all weights once per token.

    math.inf if the card does not hold the weights in 4 bits.
    """
    size, tflops = CARDS[case.card]
    parameters = parameters_of(case.model)
    room, half, quarter = 0.8 * size * 2**30, 2 * parameters, parameters * NF4_BITS / 8
    if quarter >= room:
        return math.inf
    weights = half if half < room else quarter
    reading = 2 * parameters * (front + case.question) / (tflops * 1e12 * UTILISATION)
    bandwidth = SHEETS[case.card].bandwidth if case.card in SHEETS else 50  # this machine's: assumed
    return reading + case.answer * weights / (bandwidth * 1e9)


def own_serving(case: Case, front: int) -> float:
    """The card's hours times their price; all hours, if an answer must come at once."""
    busy = case.answers_a_day * case.days * seconds_an_answer(case, front) / 3600 / AT_ONCE
    waiting = 24 * case.days if case.seconds < PATIENCE else 0
    return case.card_price * max(busy, waiting)


def asked_serving(case: Case, answers: float, front: int | None = None) -> float:
    """Price of a larger model that is paid per token; front: tokens before the question."""
    front = case.instructions if front is None else front
    again = front >= prices.REPEATS and case.answers_a_day >= OFTEN
    begun = front * (case.read_again_price if again else case.read_price)
    return answers * (begun + case.question * case.read_price + case.answer * case.write_price) / 1e6


class Serving(NamedTuple):
    """Price of all answers, a person's days for it, and the place."""

    price: float
    days: float
    place: str


def serving_places(case: Case, name: str) -> list[Serving]:
    """The places that can serve an option, the cheapest first, their days counted."""
    answers = case.answers_a_day * case.days
    front = {"prompting": case.instructions, "retrieval": case.instructions + PASSAGES}.get(name, 0)
    asked = case.instructions + (case.documents if name == "long context" else 0)
    found = []
    if name in ("larger model", "long context"):
        if case.larger_works and not case.private and asked <= prices.LONGEST:
            found.append(Serving(asked_serving(case, answers, asked), 0, "the provider"))
    elif name != "full" and not case.private and case.licence_weights:
        tokens = front + case.question + case.answer
        found.append(Serving(answers * tokens * case.host_price / 1e6, 0, "shared, by the token"))
    if name == "long context":  # a server keeps what begins every prompt
        front = case.instructions if case.documents <= OWN_LONGEST else math.inf
    own = name != "larger model" and front < math.inf and case.licence_weights
    if own and seconds_an_answer(case, front) <= case.seconds:
        days = CARD_DAYS + UPKEEP * case.days / 365
        found.append(Serving(own_serving(case, front), days, "a card of its own"))
    return sorted(found, key=lambda one: one.price + one.days * case.person_day)


def judging(case: Case) -> float:
    """Price of the labels for evaluation, the same for every option; 0 if a program verifies."""
    return 0.0 if case.verifiable else questions_needed(case.points) * case.label_price


def training(case: Case, method: str, examples: int, passes: float = 1.0) -> float:
    """Price of all runs of a training on these examples; passes: cost of a token relative to tuning."""
    tokens = max(examples, ENOUGH) * EPOCHS * (case.question + case.answer) * passes
    flop = training_flop(parameters_of(case.model), tokens, method != "full", checkpointing=True)
    return case.runs * training_hours(flop, case.card) * case.card_price


def sampling_price(case: Case) -> float:
    """Price of GROUP samples of each problem in all runs: a token reads all weights once for a batch."""
    answers = PROBLEMS * EPOCHS * GROUP
    hours = answers * seconds_an_answer(case, 0) / SAMPLED_AT_ONCE / 3600
    return case.runs * hours * case.card_price


def labels_and_training(case: Case, name: str) -> tuple[float, float]:
    """Prices of the labels that are missing, and of the trainings. GRPO starts from right samples."""
    tuned = _tuned_name(case)
    if name in TUNED:
        missing = max(0, ENOUGH - case.examples) if case.goal != "preference" else 0
        return missing * case.label_price, training(case, name, case.examples)
    if name == "right samples":
        return 0.0, training(case, tuned, PROBLEMS) + sampling_price(case)
    if name == "distillation":
        return asked_serving(case, TEACHER_ANSWERS), training(case, tuned, TEACHER_ANSWERS)
    if name == "DPO":  # two answers a pair; the reference reads both, at a third of forward and backward
        pairs = max(0, PAIRS - case.examples) * case.label_price
        return pairs, training(case, tuned, max(PAIRS, case.examples), passes=2 * 4 / 3)
    if name == "GRPO":
        before = training(case, tuned, PROBLEMS) + sampling_price(case)
        return 0.0, before + training(case, tuned, PROBLEMS, passes=GROUP) + sampling_price(case)
    return 0.0, 0.0


def costs(case: Case) -> dict[str, tuple[Cost, str]]:
    """{option: its cost and the place that serves it}, without those that no place can serve."""
    found = {}
    for name in OPTIONS:
        if name != "provider's tuning" and (served := serving_places(case, name)):
            place = served[0]
            labels, trained = labels_and_training(case, name)
            people = (DAYS[name] + place.days) * case.person_day
            found[name] = Cost(judging(case) + labels, trained, people, place.price), place.place
    return found


def _tuned_name(case):
    """The tuned method that the others start from: LoRA, or QLoRA if only that fits."""
    room = fitting(case.model, case.card)
    return "LoRA" if "LoRA" in room or not room else "QLoRA"


# ---------------------------------------------------------------------------- the decision


def decide(case: Case, findings: Mapping[str, Reason] | None = None) -> list[Option]:
    """The options of a case in the order of OPTIONS. findings: {option: measured results}."""
    priced, obstacles = costs(case), _obstacles(case)
    for name in OPTIONS:
        if name in obstacles:
            continue
        if name not in priced:
            obstacles[name] = _no_place(case)
        elif priced[name][0].total > case.budget:
            total, budget = money(priced[name][0].total, case), money(case.budget, case)
            obstacles[name] = Reason(f"It costs {total}, above the budget of {budget}.", COMPUTED)
    verdicts = _verdicts(case, {name: cost for name, (cost, _) in priced.items()}, obstacles)
    options = []
    for name in OPTIONS:
        verdict, reason = verdicts[name]
        cost, place = priced.get(name, (Cost(), ""))
        measured = [findings[name]] if name in (findings or {}) else []
        known = KNOWN.get(name, ()) if verdict != "later" else ()
        reasons, risk = (reason, *measured, *known), RISKS.get(place, "")
        options.append(Option(name, verdict, reasons, cost, quality(case, name), place, risk))
    return options


def advice(options: Sequence[Option]) -> set[str]:
    """Names of what is taken: the chosen option and those that tie with it."""
    return {option.name for option in options if option.verdict in ("choose", "tie")}


def in_short(case: Case) -> str:
    """What is taken, and what comes after it, in a line."""
    options = decide(case)

    def named(*verdicts):
        ordered = (option.name for verdict in verdicts for option in options if option.verdict == verdict)
        return [in_a_sentence(name) for name in ordered]

    after = named("then")
    return " or ".join(named("choose", "tie")) + (f", then {after[0]}" if after else "")


MOVED = (
    *("answers_a_day", "examples", "documents", "instructions", "question", "answer", "label_price"),
    *("person_day", "card_price", "host_price", "read_price", "write_price"),
)


class Flips(NamedTuple):
    """`turned`: moves after which the chosen option is not even tied, as "input, a third less: others".

    nearly: number of the others that make or break a tie; moves: number of all.
    """

    turned: list[str]
    nearly: int
    moves: int


def flips(case: Case) -> Flips:
    """What turns the advice when one input, or the points of one possible option, moves by a third."""
    options = decide(case)
    chosen = {option.name for option in options if option.verdict == "choose"}
    moves = {}
    for factor, words in ((1 - THIRD, "a third less"), (1 + THIRD, "a third more")):
        for name in MOVED:
            if name == "documents" and not case.goal.startswith("facts"):
                continue
            value = getattr(case, name)
            moves[f"{name.replace('_', ' ')}, {words}"] = {name: type(value)(value * factor)}
        for option in options:
            if option.verdict != "no" and (old := option.quality).points:
                scores = {**case.scores, option.name: (old.points * factor, old.spread)}
                moves[f"points of {option.name}, {words}"] = {"scores": scores}
    after = {text: advice(decide(replace(case, **change))) for text, change in moves.items()}
    turned = {text: taken for text, taken in after.items() if not (chosen <= taken if chosen else not taken)}
    nearly = sum(taken != advice(options) for taken in after.values()) - len(turned)
    said = [f"{text}: {' or '.join(sorted(taken)) or 'nothing'}" for text, taken in turned.items()]
    return Flips(said, nearly, len(moves))


def with_smallest(case: Case) -> Case:
    """The case with the provider's smallest model in the larger one's place."""
    read, again, write = (price.value for price in prices.SMALLEST)
    return replace(case, read_price=read, read_again_price=again, write_price=write)


def in_a_sentence(name: str) -> str:
    """An option's name, with its article if it needs one."""
    return {"larger model": "the larger model", "right samples": "its own right samples"}.get(name, name)


def money(value: float, case: Case) -> str:
    return f"{value:,.0f} {case.currency}" if value >= 0.5 or value == 0 else f"under 1 {case.currency}"


def _no_place(case):
    seconds = seconds_an_answer(case, 0)
    if seconds == math.inf:
        return Reason(f"{case.card} does not hold {case.model}, and nobody else may serve it.", COMPUTED)
    allowed = f"only {case.seconds:g} s are allowed, and nobody else may serve it"
    return Reason(f"An answer takes {seconds:.1f} s or more on {case.card}, but {allowed}.", COMPUTED)


def _obstacles(case):
    """{option: why it cannot be chosen}"""
    found = {}

    def no(names, text, basis=RULE, source=""):
        for name in names:
            found.setdefault(name, Reason(text, basis, source))

    room = fitting(case.model, case.card)
    closing = prices.TUNING
    no(
        ["provider's tuning"],
        f"OpenAI, for one, takes no new trainings after {closing.new}; tuned GPT-4o and GPT-4.1 end on "
        f"{closing.models}.",
        "announced",
        closing.source,
    )
    if not case.licence_weights:
        no(["prompting", "retrieval", *TRAINED], "The model's licence forbids your use.")
        if case.private or not case.larger_works:
            no(["long context"], "The model's licence forbids your use.")
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
            TRAINED,
            f"No training of {case.model} fits {case.card}: use a smaller model or more cards.",
            COMPUTED,
        )
    if case.goal.startswith("facts"):
        no(["right samples", "distillation", "DPO", "GRPO"], "The model lacks facts.")
        no(["larger model"], "It does not know your facts either.")
        if case.documents > (OWN_LONGEST if case.private else prices.LONGEST):
            no(["long context"], f"{case.documents:,} tokens do not fit in a prompt.", COMPUTED)
    else:
        no(["retrieval", "long context"], "What is lacking is no fact.")
    if case.goal == "facts that change":
        no(TUNED, "Every change of a fact would need another training.")
    if case.goal == "behaviour" and case.examples >= ENOUGH / 2:
        no(["distillation"], "Your own answers show your way; a larger model's show another.")
    if case.goal == "preference":
        no(["right samples", "distillation", "GRPO"], "What is right is not what is lacking.")
    else:
        no(["DPO"], "Right answers can be written down, so tune on them; pairs say less.")
    if not case.verifiable:
        no(["right samples", "GRPO"], "No program can say whether an answer is right.")
    if case.examples < MANY or case.tasks > 1 or case.keep:
        needs = f"{MANY:,} examples or more, one task, and nothing else to keep"
        no(["full"], f"It is for {needs}; here LoRA's values suffice, and it can be switched off.")
    if "LoRA" in room:
        no(["QLoRA"], "LoRA fits in 16 bits, and de-quantising takes time.", COMPUTED)
    return found


def _verdicts(case, costs_of, obstacles):
    """{option: (verdict, the reason for it)}"""
    verdicts = {name: ("no", obstacles[name]) for name in obstacles}
    open_ = [name for name in OPTIONS if name not in obstacles]
    given = {name: quality(case, name) for name in open_}
    better = {
        name: next((other for other in open_ if clearly_worse(given[name], given[other], case.points)), None)
        for name in open_
    }
    left = sorted((name for name in open_ if not better[name]), key=lambda name: costs_of[name].total)
    chosen = left[0] if left else None
    for name in open_:
        verdicts[name] = _verdict(case, name, chosen, better[name], costs_of)
    return verdicts


def _verdict(case, name, chosen, better, costs_of):
    """(verdict, reason) of an option that is possible."""
    cost = costs_of[name].total
    if name == chosen:
        total = money(cost, case)
        return "choose", Reason(
            f"Nothing is clearly better, and nothing as good costs less than {total}.", COMPUTED
        )
    if name == "prompting":
        return "baseline", Reason("Score it first, with as much effort for it as for the rest.", RULE)
    if name == "GRPO" and chosen in TRAINED:
        steps = "on problems that it has not seen, against as much more of the same"
        return "then", Reason(f"When the model no longer gains: {steps}.", RULE)
    if case.goal == "facts that stay" and name == _tuned_name(case):
        return "then", Reason(
            "Train on the facts, too, in many wordings and with replayed text, and evaluate both together.",
            MEASURED,
            "lesson 15",
        )
    if better:
        here, there = quality(case, name), quality(case, better)
        text = f"It gives {gain(here)} points over a prompt, {in_a_sentence(better)} {gain(there)}."
        return "later", Reason(text, there.basis, there.source)
    more = cost - costs_of[chosen].total
    if more < THIRD * (cost - judging(case)):
        text = (
            f"It costs {money(more, case)} more than {in_a_sentence(chosen)}: less than costs are known to."
        )
        return "tie", Reason(text, COMPUTED)
    return "later", Reason(f"It costs {money(more, case)} more than {in_a_sentence(chosen)}.", COMPUTED)


def gain(given: Quality) -> str:
    """Points and their spread, as text."""
    return f"{given.points:.0f} ± {given.spread:.0f}" if given.spread else f"{given.points:.0f}"
