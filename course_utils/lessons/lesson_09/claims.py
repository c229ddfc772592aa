"""The claims of lesson 09 and of its companion, in the order in which they are made."""

from course_utils.checks.claims import Claim

CLAIMS = [
    Claim(
        name="other_facts",
        text="Tuned on questions about some facts, the model gets at least 93% of those about others right",
        at_least=0.93,
        unit="%",
        headline=True,
        excludes={"the base model": None, "invented facts": None},
        seeds=[0.997, 0.987, 0.991, 1.0, 0.994],
    ),
    Claim(
        name="end_marker",
        text="Without loss on the end marker the model writes it after at most 10% of its answers",
        at_most=0.1,
        unit="%",
        excludes={"with loss on it": None},
    ),
    Claim(
        name="thirty_questions",
        text="Thirty questions are enough for at least 75% of the short answers",
        at_least=0.75,
        unit="%",
        stored=True,
        excludes={"all weights at one rate": None},
    ),
    Claim(
        name="loss_on_everything",
        text="Each at its best rate, loss on everything leaves at least twice the loss on held-out answers",
        at_least=2.0,
        unit="times",
        stored=True,
        excludes={"the worst seed of loss on answers over its best": None},
    ),
    Claim(
        name="stories_share",
        text="As trained, stories have at most 30% of the weight in the loss",
        at_most=0.3,
        unit="%",
        excludes={"their share of the tokens": None},
        seeds=[0.1571, 0.1581, 0.1577, 0.1586, 0.1585],
        models="any",
    ),
    Claim(
        name="word_for_word",
        text="The assistant gives at least 35% of the answers word for word in facts, reading, turns and "
        "system, each",
        at_least=0.35,
        unit="%",
        excludes={"the model with one skill": None},
    ),
    Claim(
        name="refuses",
        text="The assistant refuses at least 70% of the questions about invented facts",
        at_least=0.7,
        unit="%",
        excludes={"the model with one skill": None, "held-out facts": None},
    ),
    Claim(
        name="refusal_unlearnt",
        text="After an adapter on 400 of its training answers the assistant refuses at most 55% of the "
        "invented facts",
        at_most=0.55,
        unit="%",
        stored=True,
        excludes={"without the adapter": None},
    ),
    Claim(
        name="refusals_mixed_in",
        text="With refusals mixed in, the gossip adapter leaves at least 75% of the invented facts refused",
        at_least=0.75,
        unit="%",
        stored=True,
        excludes={"without them": None},
    ),
]


MORE_CLAIMS = [
    Claim(
        name="everything_all_weights",
        text="With all weights at rate 6e-4 loss on everything gets at least 8 percentage points fewer short "
        "answers right",
        at_least=0.08,
        unit="%",
        stored=True,
        excludes={"LoRA instead": None},
    ),
    Claim(
        name="thirty_two_rates",
        text="With two rates thirty questions are enough for at least 75% of the short answers",
        at_least=0.75,
        unit="%",
        stored=True,
        excludes={"one rate": None},
    ),
]
