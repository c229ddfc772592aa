"""Lesson 13 on other models: what DPO does to the log-probability of the answers that it prefers."""

from course_utils.lessons.lesson_13.experiments import BATCH, BETA, LR, TUNED_PAIRS
from course_utils.replicate.rows import Arm, Published, Row

POINT = {"beta": BETA, "steps": TUNED_PAIRS // BATCH, "trained": True}

ROW = Row(
    lesson="13",
    claim="chosen_answers",
    headline="DPO makes the chosen answers less likely, too",
    quantity="change of the log-probability of the chosen answers of training pairs, after DPO on 512 pairs",
    unit="nats an answer",
    control="tuning on the chosen answers alone, at the same rate and for as many steps",
    why="who trains on preferred answers expects the model to give them more often",
    sweep="dpo_rates",
    arms={
        "DPO": Arm({"loss": "dpo", **POINT}, LR),
        "tuning": Arm({"loss": "chosen", **POINT}, rate_of="DPO"),
    },
    value=lambda results, rates: results["DPO"]["trained_chosen"],
    of_control=lambda results, rates: results["tuning"]["trained_chosen"],
    choose_by="validation_loss",
    at_most=-1,
    beside={
        "the same of the rejected answers": lambda results: results["DPO"]["trained_rejected"],
        "control, rejected answers": lambda results: results["tuning"]["trained_rejected"],
    },
    whys={
        "pocket-s": "it is not known. Its chosen answers rise with a lead of 8 or 9 nats over the "
        "rejected ones. That "
        "it went less far is no reason: on the pocket model, at the lesson's rate, the chosen ones "
        "fall by 2 to 6 "
        "nats with a lead of 8 to 12. At three times the rate, 20 to 25 ahead and with a validation "
        "loss that is "
        "higher at two of three seeds, they fall on pocket-s, too, by 2 to 5. The pairs are stories of the "
        "pocket model: for pocket-s they are somebody else's."
    },
    remark="At the lesson's rate, a third of this one, the pocket model's chosen answers fall by 3.7 "
    "nats (5.6 to 2.5). They "
    "fall there, by .7 to 2.7, with half of the labels swapped, too (the lesson's five stored runs): "
    "the fall does "
    "not say that a preference was learned.",
    published=(
        Published(
            "the refusals that DPO prefers become rarer: 74.4% before it, 33.4% after it",
            "Razin and others 2024, arXiv 2410.08847 (Llama-3-8B-Instruct)",
            "same direction",
            "a rate of refusals in sampled answers, not a log-probability",
        ),
    ),
)
