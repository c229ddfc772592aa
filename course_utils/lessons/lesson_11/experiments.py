"""Stored experiments: policies trained for the proxy, with or without the penalty, or for chance."""

from course_utils.stored_runs import few, sweep

BETA = 0.1
ANSWERS = 88  # to held-out prompts, after a run
STOPS = (3, 4, 5, 6, 7)  # updates after which a run without a penalty is measured


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

    from course_utils.lessons.lesson_11.runaway import ITERATIONS, MAX_NEW_TOKENS, measured, train_for_score
    from course_utils.lessons.lesson_11.suspects import their_penalty
    from course_utils.methods.kl import rlhf_kl_penalty

    model, parts, held_out, asked = _parts()
    penalty = rlhf_kl_penalty if point["penalty"] == "right" else their_penalty
    policy = copy.deepcopy(model)
    iterations, tokens = few(ITERATIONS), few(MAX_NEW_TOKENS, 24)
    options = {"iterations": iterations, "seed": seed, "penalty": penalty, "max_new_tokens": tokens}
    rows = train_for_score(policy, *parts, asked, beta=point["beta"], **options)
    end = measured(policy, *parts, (held_out * 2)[: few(ANSWERS, 8)], seed, tokens)
    found = {f"{name}_{number}": row[name] for number, row in enumerate(rows, 1) for name in row}
    return found | {name: values.mean().item() for name, values in end.items()}


@sweep("stopped_early", points=[{"beta": 0.0}], sampled=True)
def stop_early(point: dict, seed: int) -> dict:
    """The runs of "runaway" without a penalty, measured after 3 to 7 of their ten updates.

    kl_after_3, proxy_after_3, gold_after_3 and so on: over answers to held-out prompts, as at a run's end.

    Rule, written before the runs: of each seed take the number of updates after which the KL is nearest to
    that of the penalised run of this seed at its end. If the penalty does more than to keep the policy near,
    the penalised runs have a gold score that is higher by more than 0.1, on the mean of five seeds: the
    bound of the claim against the runs that are not stopped.
    """
    import copy

    from course_utils.lessons.lesson_11.runaway import MAX_NEW_TOKENS, measured, train_for_score

    model, parts, held_out, asked = _parts()
    policy, found = copy.deepcopy(model), {}
    iterations, tokens = few(STOPS[-1]), few(MAX_NEW_TOKENS, 24)

    def measure(done):
        if done in (*STOPS, iterations):
            end = measured(policy, *parts, (held_out * 2)[: few(ANSWERS, 8)], seed, tokens)
            found.update({f"{name}_after_{done}": values.mean().item() for name, values in end.items()})

    options = {"iterations": iterations, "seed": seed, "max_new_tokens": tokens, "after_update": measure}
    train_for_score(policy, *parts, asked, beta=point["beta"], **options)
    return found


@sweep("shuffled_scores", points=[{"beta": 0.0}], sampled=True)
def shuffle_scores(point: dict, seed: int) -> dict:
    """The runs of "runaway" without a penalty, with each batch's proxies dealt out to its answers at random.

    So the steps are as large, and the reward model says nothing. What these runs lose of the gold score is
    not lost to its mistakes. The numbers are those of "runaway" and of "stopped_early"; proxy is an answer's
    own, not the one that was dealt to it.
    """
    import copy

    import torch

    from course_utils.lessons.lesson_11.runaway import ITERATIONS, MAX_NEW_TOKENS, measured, train_for_score
    from course_utils.lessons.lesson_11.small_kl import rewards_by_token

    model, parts, held_out, asked = _parts()
    policy, found = copy.deepcopy(model), {}
    tokens, chance = few(MAX_NEW_TOKENS, 24), torch.Generator().manual_seed(seed)

    def means():
        end = measured(policy, *parts, (held_out * 2)[: few(ANSWERS, 8)], seed, tokens)
        return {name: values.mean().item() for name, values in end.items()}

    def measure(done):
        if done in STOPS:
            found.update({f"{name}_after_{done}": value for name, value in means().items()})

    def dealt_out(scores, penalties, mask):
        return rewards_by_token(scores[torch.randperm(len(scores), generator=chance)], penalties, mask)

    options = {"iterations": few(ITERATIONS), "seed": seed, "max_new_tokens": tokens, "rewards": dealt_out}
    rows = train_for_score(policy, *parts, asked, beta=point["beta"], after_update=measure, **options)
    found |= {f"{name}_{number}": row[name] for number, row in enumerate(rows, 1) for name in row}
    return found | means()


def _parts():
    """(the tuned model, (reference, reward model, tokenizer), held-out prompts, prompts for the training)."""
    import torch

    from course_utils.artifacts import reward_model, sft_model
    from course_utils.session import Session
    from course_utils.world.annotator import neutral_prompts

    session = Session("pocket", "quick", 0, torch.device("cpu"), torch.float32)
    model, tokenizer = sft_model(session)
    scorer, _ = reward_model(session)
    prompts = neutral_prompts()
    held_out, asked = prompts[: len(prompts) // 5], prompts[len(prompts) // 5 :]
    return model, (model.requires_grad_(False), scorer.requires_grad_(False), tokenizer), held_out, asked
