"""Stored experiment with reward models: number of pairs, noise of the labels, bias to longer answers."""

from course_utils.stored_runs import sweep

_states = {}  # token ids -> what the frozen blocks make of them, the same in all runs


@sweep(
    "reward_pairs",
    points=[
        *({"pairs": count, "noise": 0.1, "longer": 0.75} for count in (50, 200, 800)),
        *({"pairs": 800, "noise": noise, "longer": 0.5} for noise in (0.0, 0.1, 0.4)),
        {"pairs": 2400, "noise": 0.1, "longer": 0.75},
    ],
    tolerance=0.12,  # shares of some hundred pairs, after the training of two models
)
def reward_pairs(point: dict, seed: int) -> dict:
    """A reward model on so many training pairs, `longer` of them with the longer answer chosen.

    gold: accuracy on held-out pairs by the gold score; labels, ceiling: accuracy on labels of this noise, and
    what the gold score itself would reach; shortcut: share of pairs of equal gold score in which the longer
    answer scores higher.
    """
    import torch

    from course_utils import preferences
    from course_utils.artifacts import preference_pairs, sft_model
    from course_utils.methods import reward
    from course_utils.session import Session
    from course_utils.world import annotator

    session = Session("pocket", "quick", 0, torch.device("cpu"), torch.float32)
    language_model, tokenizer = sft_model(session)
    train, held_out, controlled = preference_pairs(session)
    pairs = annotator.with_longer_share(train, point["longer"], seed, point["pairs"])
    if point["noise"] != annotator.NOISE:
        pairs = annotator.relabel(pairs, point["noise"], seed)
    better = annotator.relabel(held_out, 0, seed=0)
    labelled = annotator.relabel(better, point["noise"], seed=1000 + seed)

    model = reward.from_language_model(language_model)

    def states(pairs):
        encoded = preferences.encode_pairs(tokenizer, pairs)
        return reward.prepare_pairs(model, encoded, tokenizer.pad_token_id, _states)

    stored = states(pairs)
    reward.fit(model, stored, pad_id=tokenizer.pad_token_id, seed=seed, label=f"{point}, seed {seed}")

    def scored(pairs):
        return reward.pair_scores(model, states(pairs), tokenizer.pad_token_id)

    return {
        "gold": reward.accuracy(*scored(better)),
        "labels": reward.accuracy(*scored(labelled)),
        "ceiling": annotator.ceiling(better, point["noise"]),
        "shortcut": reward.accuracy(*scored(controlled)),
    }
