"""The claims of lesson 15 and of its companion, in the order in which they are made."""

from course_utils.checks.claims import Claim

CLAIMS = [
    Claim(
        name="always_shown",
        text="With a passage always shown, and asked for the name alone, it gives at most 30% of the facts"
        " elsewhere",
        at_most=0.3,
        unit="%",
        headline=True,
        excludes={"nothing shown": None},
    ),
    Claim(
        name="passages_read",
        text="With their passages shown, the assistant gives at least 35% of the invented facts",
        at_least=0.35,
        unit="%",
        excludes={"nothing shown": None},
    ),
    Claim(
        name="threshold",
        text="With a threshold the assistant gives at least 60% of the facts that it knows",
        at_least=0.6,
        unit="%",
        excludes={"always shown": None},
    ),
    Claim(
        name="distractors",
        text="With distractors in training the assistant gives at least 70% of known facts, a passage shown",
        at_least=0.7,
        unit="%",
        stored=True,
        excludes={"not trained": None, "all passages fit": None},
    ),
    Claim(
        name="one_direction",
        text="After many sentences in one direction a new one finds 60 points more of the facts than one "
        "backwards",
        at_least=0.6,
        unit="%",
        stored=True,
        excludes={"points more, after both directions": None, "no training": 0.0},
    ),
    Claim(
        name="new_facts_cost",
        text="After new facts at least 47% of the answers about facts elsewhere are wrong",
        at_least=0.47,
        unit="%",
        stored=True,
        excludes={"after known facts, moved at least as far": None},
    ),
    Claim(
        name="replay_keeps",
        text="Taught by LoRA with replay, the model still gives at least 55% of the facts elsewhere",
        at_least=0.55,
        unit="%",
        stored=True,
        excludes={"LoRA": None, "full": None},
    ),
    Claim(
        name="leaking_replay",
        text="The leaking replay keeps at least 10 points more of the tested facts than of others",
        at_least=0.1,
        unit="%",
        stored=True,
        excludes={"the clean replay": None},
    ),
]

MORE_CLAIMS = [
    Claim(
        name="new_passage",
        text="With the new passage the model says the old fact in at most 50% of its answers, however it "
        "was taught",
        at_most=0.5,
        unit="%",
        stored=True,
        excludes={"without a passage": None},
    ),
    Claim(
        name="trained_embedding",
        text="Without a shared word the trained embedding finds at least 40% of the documents",
        at_least=0.4,
        unit="%",
        stored=True,
        excludes={"words": None, "the base model's embedding": None},
    ),
    Claim(
        name="pieces_of_letters",
        text="Without a shared word, pieces of letters find at least 90% of the documents",
        at_least=0.9,
        unit="%",
        stored=True,
        excludes={"the trained embedding": None, "words": 0.0},
    ),
    Claim(
        name="step_by_step",
        text="Step by step the model gets at least 30 points more of the new two-hop questions right than "
        "directly",
        at_least=0.3,
        unit="%",
        stored=True,
        excludes={"no difference": 0.0},
    ),
]
