"""Which method: five questions, and what to do first, next and last, each with its reason and its lessons."""

from dataclasses import dataclass

MISSING = {
    "facts": "facts that change or must be cited",
    "behaviour": "a task, a format or a tone",
    "preference": "nothing, but some of its answers are better than others",
}
ROOM = ("full", "lora", "qlora", "none")  # the first of them that fits; then so do those behind it
FEW, MANY, VARIANTS = 50, 10_000, 20  # rules of thumb


@dataclass(frozen=True)
class Step:
    """A piece of advice. basis: measured in the course, published, computed, or a rule of thumb."""

    what: str
    why: str
    basis: str
    lessons: tuple[str, ...]


def guide(missing: str, examples: int, room: str, variants: int = 1, keep: bool = True) -> list[Step]:
    """Steps in the order in which to take them.

    missing: what the model lacks (MISSING). examples: how many there are, pairs if it is a preference. room:
    the most demanding of full, lora and qlora that the machine has memory for, or none. variants: tasks that
    one model is to serve. keep: whether all else that it can do must stay as good.
    """
    for name, value, known in (("missing", missing, MISSING), ("room", room, ROOM)):
        if value not in known:
            raise ValueError(f"{name} is one of {', '.join(known)}; got {value!r}")
    if examples < 0 or variants < 1:
        raise ValueError(f"need examples >= 0 and variants >= 1; got {examples} and {variants}")
    if missing == "facts":
        return [PROMPT, RETRIEVE]
    if examples < FEW:
        return [PROMPT, COLLECT]
    if room == "none":
        return [PROMPT, SMALLER]
    steps = [PROMPT, _training(examples, room, variants, keep)]
    if missing == "preference":
        steps += [PAIRS, ONLINE]
    return [*steps, REMEDY] if keep else steps


def _training(examples, room, variants, keep):
    """What to train."""
    if room == "qlora":
        return QLORA
    if room == "full" and examples >= MANY and variants == 1 and not keep:
        return FULL_TUNING
    return LORA_OR_PROMPTS if variants >= VARIANTS else LORA


def fitting(model, card: str, tokens: int = 1024) -> str:
    """What to answer for `room`: by the calculator, one example at a time, with checkpointing."""
    from course_utils.budget import fits

    return next((method for method in ROOM[:-1] if fits(model, method, 1, tokens, card)), "none")


PROMPT = Step(
    "Write a prompt, with examples in it, and score it on questions that you keep for judging.",
    "It costs an afternoon, and any other method has to beat it.",
    "a rule of thumb",
    ("00", "14"),
)
RETRIEVE = Step(
    "Retrieve the facts and put them into the prompt.",
    "A document can be changed and cited. Tuning teaches facts slowly, and new ones bring errors elsewhere.",
    "published: arXiv 2312.05934, 2405.05904",
    ("15",),
)
COLLECT = Step(
    f"Collect examples: {FEW} at the very least, some hundred for a start.",
    "With so few you could not tell a better model from a luckier one, let alone train it.",
    "a rule of thumb",
    ("09", "14"),
)
SMALLER = Step(
    "Take a smaller model, or share this one among several cards.",
    "Not even its 4-bit weights with an adapter fit.",
    "computed by the calculator",
    ("14", "16"),
)
LORA = Step(
    "LoRA; sweep its learning rate.",
    "About a point behind full fine-tuning on our questions; a small file for each task; it can be "
    "switched off.",
    "measured in lesson 14",
    ("03", "04", "05"),
)
LORA_OR_PROMPTS = Step(
    "LoRA; sweep its learning rate. Try soft prompts beside it.",
    "For so many tasks it counts that one batch can mix prompts. On our small model they lose in quality; "
    "larger ones are said to close the gap.",
    "measured in lessons 07 and 14; published: arXiv 2104.08691",
    ("05", "07"),
)
QLORA = Step(
    "QLoRA; sweep its learning rate.",
    "The base does not fit in 16 bits and does in 4. What rounding costs, the adapter mostly makes good.",
    "measured in lessons 06 and 14",
    ("06",),
)
FULL_TUNING = Step(
    "Full fine-tuning; sweep its learning rate.",
    "Much to learn, one model to serve, memory enough and nothing to keep: LoRA's rank could hold it back.",
    "published: arXiv 2405.09673",
    ("02",),
)
PAIRS = Step(
    "Then DPO on pairs of a better and a worse answer.",
    "One loss on stored pairs; no reward model, and no sampling while it trains.",
    "built in lesson 13",
    ("10", "13"),
)
ONLINE = Step(
    "PPO only where any new answer can be scored, and where stored pairs no longer help.",
    "It learns from its own answers and holds up to four models. Watch a score that it is not trained on.",
    "built in lesson 12",
    ("11", "12"),
)
REMEDY = Step(
    "Measure what it forgets; mix in an eighth of text like the old if that is too much.",
    "Every method that was trained here raised the loss on other text.",
    "measured in lessons 02 and 14",
    ("02", "15"),
)
