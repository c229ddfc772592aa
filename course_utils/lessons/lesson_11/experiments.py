"""Stored experiment: policies trained for the reward model's score, without a penalty, with it, flipped."""

from course_utils.stored_runs import few, sweep

BETA = 0.1
ANSWERS = 88  # to held-out prompts, after a run


@sweep(
    "runaway",
    points=[{"beta": 0.0, "penalty": "right"}, *({"beta": BETA, "penalty": p} for p in ("right", "flipped"))],
    sampled=True,
    short=(2,),
)
def run(point: dict, seed: int) -> dict:
    """A policy of runaway.train_for_score; all runs have the same rate and number of iterations.

    kl_1, proxy_1, gold_1 and so on: means over the answers of an iteration, sampled before its update; kl,
    proxy, gold: after the last update, over answers to held-out prompts.
    """
    import copy

    import torch

    from course_utils.artifacts import reward_model, sft_model
    from course_utils.lessons.lesson_11.runaway import ITERATIONS, MAX_NEW_TOKENS, measured, train_for_score
    from course_utils.lessons.lesson_11.suspects import their_penalty
    from course_utils.methods.kl import rlhf_kl_penalty
    from course_utils.session import Session
    from course_utils.world.annotator import neutral_prompts

    session = Session("pocket", "quick", 0, torch.device("cpu"), torch.float32)
    model, tokenizer = sft_model(session)
    judge, _ = reward_model(session)
    parts = (model.requires_grad_(False), judge.requires_grad_(False), tokenizer)
    prompts = neutral_prompts()
    held_out, asked = prompts[: len(prompts) // 5], prompts[len(prompts) // 5 :]
    penalty = rlhf_kl_penalty if point["penalty"] == "right" else their_penalty
    policy = copy.deepcopy(model)
    iterations, tokens = few(ITERATIONS), few(MAX_NEW_TOKENS, 24)
    options = {"iterations": iterations, "seed": seed, "penalty": penalty, "max_new_tokens": tokens}
    rows = train_for_score(policy, *parts, asked, beta=point["beta"], **options)
    end = measured(policy, *parts, (held_out * 2)[: few(ANSWERS, 8)], seed, tokens)
    found = {f"{name}_{number}": row[name] for number, row in enumerate(rows, 1) for name in row}
    return found | {name: values.mean().item() for name, values in end.items()}
