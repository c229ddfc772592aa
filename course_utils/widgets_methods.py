"""Controls of lesson 14: the guide, and the table of methods."""

from __future__ import annotations

from course_utils.guide import MISSING, Step, fitting, guide
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
    from course_utils.calculator import cards_here
    from course_utils.memory import KNOWN_MODELS

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
