"""Controls of lesson 14: the guide with its memo, and the memory calculator."""

from __future__ import annotations

from course_utils.lessons.lesson_14 import prices
from course_utils.lessons.lesson_14.guide import GOALS, Case, decide
from course_utils.lessons.lesson_14.memo import make_memo, to_markdown
from course_utils.widgets import control


def show_memo(findings=None, **answers) -> None:
    """Print the memo of a case; answers: fields of guide.Case."""
    case = Case(**answers)
    print(to_markdown(make_memo(case, decide(case, findings))))


def guide_box(findings=None) -> None:
    """Controls for `show_memo`: the guide's questions."""
    from course_utils.budget import KNOWN_MODELS

    def ask(
        goal: str = "behaviour",
        examples: int = 500,
        verifiable: bool = False,
        larger_works: bool = True,
        private: bool = False,
        licence: bool = True,
        traffic: int = 2000,
        seconds: float = 10.0,
        model: str = "Qwen3-8B",
        card: str = "RTX 4090",
        documents: int = 1_000_000,
        person_day: int = 600,
        budget: int = 30_000,
    ) -> None:
        show_memo(
            findings,
            goal=goal,
            examples=examples,
            verifiable=verifiable,
            larger_works=larger_works,
            private=private,
            licence_answers=licence,
            answers_a_day=traffic,
            seconds=seconds,
            model=model,
            card=card,
            documents=documents,
            person_day=person_day,
            budget=budget,
        )

    def numbers(*values):
        return {f"{value:,}": value for value in values}

    control(
        ask,
        goal={text: name for name, text in GOALS.items()},
        examples=numbers(10, 100, 500, 2000, 20_000),
        verifiable=False,
        larger_works=True,
        private=False,
        licence=True,
        traffic=numbers(50, 2000, 20_000, 200_000),
        seconds={"2": 2.0, "10": 10.0, "an hour": 3600.0},
        model=list(KNOWN_MODELS),
        card=list(prices.CARDS),
        documents=numbers(8000, 100_000, 1_000_000),
        person_day=numbers(0, 300, 600, 1200),
        budget=numbers(1000, 5000, 30_000, 200_000),
    )


def memory_plan(
    model: str = "Qwen3-8B",
    method: str = "qlora",
    batch_size: int = 4,
    tokens: int = 1024,
    card: str = "RTX 4090",
    price: float = 0.5,
    checkpointing: bool = True,
) -> None:
    """Print whether training fits a card, the largest batch that does, and time and cost; plot the parts.

    price: per hour of the card; time and cost are for three epochs of 10,000 examples.
    """
    from course_utils import plots
    from course_utils.budget import GIB, plan, training_precision
    from course_utils.lessons.lesson_14.market import load_context

    if tokens > (context := load_context(model)):
        print(f"{tokens:,} tokens exceed the model's context of {context:,}: choose fewer.")
        return
    found = plan(model, method, batch_size, tokens, card, price, checkpointing=checkpointing)
    need = found.need
    verdict = "fits" if found.fits else "does not fit"
    print(
        f"{model}, {need.parameters:,} parameters, {need.trainable:,} trained: {verdict}. "
        f"{found.used_bytes / GIB:.1f} of {found.card_bytes / GIB:.0f} GiB; largest batch "
        f"{found.largest_batch or 'none'}"
    )
    print(f"3 epochs of 10,000 examples: about {found.hours:.1f} hours, cost {found.cost:,.2f}")
    if training_precision(card) == "fp32":
        print(f"No bf16 on {card}: everything is computed for fp32.")
    fig, ax = plots.figure(f"{model} with {method}: {verdict} on {card}", "memory (GiB)", "")
    fig.set_figheight(2.8)
    parts = {
        "weights": need.weights,
        "gradients": need.gradients,
        "moments": need.moments,
        "activations and working space": need.step,
    }
    parts["driver and fragments (assumed)"] = found.used_bytes - need.total
    left = 0.0
    for (name, size), colour in zip(parts.items(), plots.COLOURS, strict=False):
        ax.barh([0], [size / GIB], left=left, color=colour, label=name, height=0.5)
        left += size / GIB
    ax.axvline(found.card_bytes / GIB, color=plots.INK, linestyle="--", label=card)
    ax.set(yticks=[], ylim=(-0.5, 1.6), xlim=(0, 1.08 * max(left, found.card_bytes / GIB)))
    ax.legend(ncols=2, loc="upper left")


def memory_calculator() -> None:
    """Controls for `memory_plan`: model, method, batch, length, card or machine, price and checkpointing."""
    from course_utils.budget import KNOWN_MODELS, TRAINING_METHODS, cards_here

    control(
        memory_plan,
        model=list(KNOWN_MODELS),
        method=list(TRAINING_METHODS),
        batch_size=[1, 2, 4, 8, 16, 32],
        tokens=[256, 512, 1024, 4096],
        card=cards_here(),
        price=(0.0, 10.0, 0.25),
        checkpointing=True,
    )
