"""Controls of lesson 14: the guide, and the table of methods."""

from __future__ import annotations

from course_utils.lessons.lesson_14.guide import MISSING, Step, fitting, guide
from course_utils.widgets import control


def show_steps(steps: list[Step]) -> None:
    """Print the steps, numbered, with reason, basis and lessons."""
    for number, step in enumerate(steps, start=1):
        lessons = f"lesson{'s' if len(step.lessons) > 1 else ''} {', '.join(step.lessons)}"
        print(f"{number}. {step.what}\n   {step.why}\n   ({step.basis}; see {lessons})")


def show_guide(
    missing: str = "behaviour",
    examples: int = 500,
    model: str = "Llama-3.1-8B",
    card: str = "RTX 4090",
    variants: int = 1,
    keep: bool = True,
) -> None:
    """Print the guide's advice; what fits the card is worked out by the calculator."""
    room = fitting(model, card)
    names = {"full": "full fine-tuning", "lora": "LoRA", "qlora": "QLoRA", "none": "none of the three"}
    print(f"{model} on {card}: {names[room]} fits")
    show_steps(guide(missing, examples, room, variants, keep))


def guide_box() -> None:
    """Choices for the five questions over `show_guide`."""
    from course_utils.budget import KNOWN_MODELS, cards_here

    numbers = [10, 100, 500, 2000, 20_000]
    control(
        show_guide,
        missing={text: name for name, text in MISSING.items()},
        examples={f"{number:,}": number for number in numbers},
        model=list(KNOWN_MODELS),
        card=cards_here(),
        variants={str(number): number for number in (1, 5, 50)},
        keep=True,
    )


def memory_plan(
    model: str = "Llama-3.1-8B",
    method: str = "qlora",
    batch_size: int = 4,
    tokens: int = 1024,
    card: str = "RTX 4090",
    price: float = 1.0,
    checkpointing: bool = True,
) -> None:
    """Print whether training fits a card, the largest batch that does, and time and cost; draw the parts.

    price is that of an hour of the card; time and cost are for three epochs of 10,000 examples.
    """
    from course_utils import plots
    from course_utils.budget import GIB, plan

    found = plan(model, method, batch_size, tokens, card, price, checkpointing=checkpointing)
    need = found.need
    verdict = "fits" if found.fits else "does not fit"
    print(
        f"{model}, {need.parameters:,} parameters, {need.trainable:,} trained: {verdict}. "
        f"{found.used_bytes / GIB:.1f} of {found.card_bytes / GIB:.0f} GiB; largest batch "
        f"{found.largest_batch or 'none'}"
    )
    print(f"3 epochs of 10,000 examples: about {found.hours:.1f} hours, cost {found.cost:,.2f}")
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
        tokens=[256, 512, 1024],
        card=cards_here(),
        price=(0.0, 10.0, 0.25),
        checkpointing=True,
    )
