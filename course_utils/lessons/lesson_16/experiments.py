"""Stored experiments: training in shares against one process, rightly and wrongly divided."""

from functools import cache

from course_utils.stored_runs import CHOICE, few, sweep

ROUNDING = 1e-5  # nats a token
WRONG = ("own means", "own means, not averaged", "all tokens, averaged", "one share for all")


def model_and_batches(seed: int) -> tuple:
    """The pocket model in train mode, and batches of 16 questions."""
    from course_utils.data import batches
    from course_utils.lessons.lesson_03.experiments import question_examples
    from course_utils.models import load_model

    model, tokenizer = load_model("pocket")
    return model.train(), batches(question_examples("tune"), 16, seed, tokenizer.pad_token_id)


@cache
def losses_of_one(seed: int, steps: int) -> list[float]:
    """The losses of the same training in one process."""
    from course_utils.methods.distributed import train_alone

    return train_alone(*model_and_batches(seed), steps, 5e-4)[2]


@sweep(
    "shares",
    points=[
        *[{"rule": rule, "world": 2} for rule in ("all tokens", *WRONG)],
        *[{"rule": rule, "world": 8} for rule in ("all tokens", "own means")],
    ],
    short=(0, 1, 2, 3, 4),
)
def shares_beside_one(point: dict, seed: int) -> dict:
    """Eight steps of lesson 16's training in `world` shares of each batch, and in one: how far losses differ.

    first, far: the distance before the first step, and the largest, in nats a token. lightest, heaviest: the
    weight of a token in its share, where 1 is that in the whole batch. Distances up to ROUNDING are stored as
    ROUNDING.
    """
    from course_utils.lessons.lesson_16.shares import train_in_shares

    steps, world = few(8), point["world"]
    losses, weights = train_in_shares(*model_and_batches(seed), steps, 5e-4, world, point["rule"])
    apart = [abs(a - b) for a, b in zip(losses, losses_of_one(seed, steps), strict=True)]
    apart = [max(distance, ROUNDING) for distance in apart]
    return {"first": apart[0], "far": max(apart), "lightest": min(weights), "heaviest": max(weights)}


def after_shares(point: dict, seed: int):
    """The pocket model after 60 steps of 16 questions in four shares, divided by the point's rule."""
    from course_utils.lessons.lesson_16.shares import train_in_shares

    model, stream = model_and_batches(seed)
    train_in_shares(model, stream, few(60), point["lr"], 4, point["rule"])
    return model.eval()


def _points(rates):
    return [{"rule": rule, "lr": lr} for rule in ("all tokens", "own means") for lr in rates]


@sweep("shares_rates", points=_points((2e-5, 6e-5, 2e-4, 6e-4)), seeds=CHOICE)
def shares_rates(point: dict, seed: int) -> dict:
    """Chooses rates, at a seed of its own. validation: loss on 150 questions, nats a token."""
    from course_utils.evaluation import mean_loss
    from course_utils.lessons.lesson_03.experiments import question_examples

    return {"validation": mean_loss(after_shares(point, seed), question_examples("validation", sample=150))}
