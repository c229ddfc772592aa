"""Stored experiments with DPO."""

import copy
import functools

from course_utils.lessons.lesson_12.experiments import measured, policy_parts
from course_utils.stored_runs import sweep

DPO_BETAS = (0.03, 0.1, 0.5)
DPO = {"steps": 48, "lr": 1e-4, "batch_size": 4}


@sweep("dpo_mean", points=[{"loss": "mean", "beta": 0.1}], sampled=True)
@sweep("dpo", points=[{"loss": "dpo", "beta": beta} for beta in DPO_BETAS], sampled=True)
def dpo(point: dict, seed: int) -> dict:
    """DPO from the tuned model on 192 pairs; margin, accuracy and log-probabilities of 60 held-out pairs.

    longer: share of the controlled pairs, equal but for their length, in which the implicit reward likes the
    longer answer.
    """
    from course_utils.methods.dpo import dpo_loss, mean_dpo_loss, pair_metrics, train_dpo

    _, model, tokenizer, *_ = policy_parts()
    policy = copy.deepcopy(model).requires_grad_(True)
    pad = tokenizer.pad_token_id
    (train, of_train), (held_out, of_held_out), (controlled, of_controlled) = encoded_pairs()
    loss = {"dpo": dpo_loss, "mean": mean_dpo_loss}[point["loss"]]
    settings = {"beta": point["beta"], "pad_id": pad, "loss": loss, "seed": seed}
    train_dpo(
        policy,
        train,
        of_train,
        label=f"{point['loss']}, beta {point['beta']:g}, seed {seed}",
        **settings,
        **DPO,
    )
    metrics = pair_metrics(policy, held_out, of_held_out, point["beta"], pad, loss=loss)
    longer = pair_metrics(policy, controlled, of_controlled, point["beta"], pad)["accuracy"]
    reference = {"reference_chosen": of_held_out[:, 0], "reference_rejected": of_held_out[:, 1]}
    return {
        **measured(policy, seed),
        **metrics,
        "longer": longer,
        **{name: value.mean().item() for name, value in reference.items()},
    }


@functools.cache
def encoded_pairs():
    """(pairs, reference log-probabilities) of 192 training, 60 held-out and 60 controlled pairs."""
    from course_utils.artifacts import preference_pairs
    from course_utils.methods.dpo import reference_log_probs
    from course_utils.preferences import encode_pairs

    session, model, tokenizer, *_ = policy_parts()
    pairs = preference_pairs(session)
    chosen = [
        encode_pairs(tokenizer, part)
        for part in (pairs.train[:192], pairs.held_out[:60], pairs.controlled[:60])
    ]
    return [(part, reference_log_probs(model, part, tokenizer.pad_token_id)) for part in chosen]
