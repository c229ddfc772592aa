"""Stored experiments with PPO, DPO and best-of-n: proxy and gold score over the distance from the reference.

The tuned model, the reward model and the pairs are those of the pocket model at quick scale and seed 0; a
run's seed is that of its training and of its samples.
"""

import copy
import functools

from course_utils.stored_runs import sweep

PPO_RUN = {"iterations": 12, "batch_size": 32, "rows": 8, "epochs": 1}
PPO_POINTS = [
    {"beta": 0.1, "lr": 2e-4},
    {"beta": 0.0, "lr": 4e-4},  # without a penalty: also faster
    {"beta": 0.3, "lr": 2e-4},
]


ANSWERS, CHOICES = 8, (1, 2, 4, 8)  # sampled to each held-out prompt; best of n


@functools.cache
def policy_parts():
    """(session, tuned model, tokenizer, reward model, training prompts, held-out prompts), for all runs."""
    from course_utils.artifacts import reward_model, sft_model
    from course_utils.session import start
    from course_utils.world.annotator import neutral_prompts

    session = start("pocket", "quick", 0)
    model, tokenizer = sft_model(session)
    judge, _ = reward_model(session)
    prompts = neutral_prompts()
    cut = len(prompts) // 5  # as preferences.make_preferences splits them
    return (
        session,
        model.requires_grad_(False),
        tokenizer,
        judge.requires_grad_(False),
        prompts[cut:],
        prompts[:cut],
    )


@sweep("ppo", points=PPO_POINTS, sampled=True)
def ppo(point: dict, seed: int) -> dict:
    """PPO from the tuned model: what evaluate_policy measures at the end, proxy, gold and kl by iteration."""
    from course_utils.lessons.lesson_12 import judging
    from course_utils.methods import rollouts
    from course_utils.methods.ppo import PPOSettings, train_ppo

    _, model, tokenizer, judge, prompts, _ = policy_parts()
    policy, diary = copy.deepcopy(model), []
    rows = train_ppo(
        policy,
        model,
        judging.watched_reward(judge, tokenizer, diary),
        rollouts.encode_prompts(tokenizer, prompts),
        rollouts.sampling_of(tokenizer),
        PPOSettings(**point, **PPO_RUN, seed=seed),
        label=f"PPO, beta {point['beta']:g}, seed {seed}",
    )
    course = {}
    for row, seen in zip(rows[1:], diary[1:], strict=True):  # at the first, the policy is the reference
        numbers = {"kl": row["kl"], "proxy": seen["proxy"], "gold": seen["gold"]}
        course |= {f"{name}_{row['iteration']}": value for name, value in numbers.items()}
    return {**measured(policy, seed), **course}


@sweep("best_of_n", points=[{"answers": ANSWERS}], sampled=True)
def best_of_n(point: dict, seed: int) -> dict:
    """Mean proxy and gold score of the best of n by the reward model; kl: the bound on its distance."""
    import torch

    from course_utils.lessons.lesson_12 import judging
    from course_utils.methods import rollouts
    from course_utils.methods.reward import score
    from course_utils.preferences import request
    from course_utils.world.gold import gold_score

    _, model, tokenizer, judge, _, prompts = policy_parts()
    generator = torch.Generator().manual_seed(seed)
    proxy, gold = [], []
    for start in range(0, len(prompts), 4):
        asked = [prompt for prompt in prompts[start : start + 4] for _ in range(point["answers"])]
        batch = rollouts.rollout(
            model,
            rollouts.encode_prompts(tokenizer, asked),
            generator=generator,
            **rollouts.sampling_of(tokenizer),
        )
        with torch.no_grad():
            proxy.append(score(judge, batch["input_ids"], batch["attention_mask"]))
        pairs = zip(asked, rollouts.answer_texts(tokenizer, batch), strict=True)
        gold.append(torch.tensor([gold_score(request(prompt), text) for prompt, text in pairs]))
    proxy, gold = (torch.cat(part).view(len(prompts), -1) for part in (proxy, gold))
    result = {}
    for n in CHOICES:
        result[f"kl_{n}"] = judging.best_of_n_kl(n)
        result[f"proxy_{n}"] = judging.best_of_n_mean(proxy, proxy, n).item()
        result[f"gold_{n}"] = judging.best_of_n_mean(proxy, gold, n).item()
    return result


def measured(policy, seed):
    """evaluate_policy on an answer to each held-out prompt."""
    from course_utils.lessons.lesson_12.judging import evaluate_policy

    _, model, tokenizer, judge, _, prompts = policy_parts()
    return evaluate_policy(policy, model, judge, tokenizer, prompts, seed=seed)[0]


def by_method(names=("PPO", "DPO", "best of n")):
    """The stored runs for plots.over_distance: {method: points}, a point being the runs of one setting."""
    from course_utils.stored_runs import load_sweep

    found = {}
    for name in names:
        rows = load_sweep(name.lower().replace(" ", "_"))["rows"]
        found[name] = (
            points_of(rows)
            if name != "best of n"
            else [
                [{key: row["result"][f"{key}_{n}"] for key in ("kl", "proxy", "gold")} for row in rows]
                for n in CHOICES
            ]
        )
    return found


def points_of(rows):
    """The results of a sweep's rows, grouped by point, nearest to the reference first."""
    grouped = {}
    for row in rows:
        grouped.setdefault(str(row["point"]), []).append(row["result"])
    return sorted(grouped.values(), key=lambda runs: sum(run["kl"] for run in runs) / len(runs))


def course_of_ppo():
    """{beta: {"kl", "proxy", "gold": {iteration: values over the seeds}}} of the stored runs.

    From iteration 2 on: at the first the policy is the reference.
    """
    from course_utils.stored_runs import load_sweep

    runs = {}
    for row in load_sweep("ppo")["rows"]:
        runs.setdefault(row["point"]["beta"], []).append(row["result"])
    iterations = range(2, PPO_RUN["iterations"] + 1)
    return {
        beta: {
            name: {i: [run[f"{name}_{i}"] for run in results] for i in iterations}
            for name in ("kl", "proxy", "gold")
        }
        for beta, results in sorted(runs.items())
    }
