"""Stored experiments with PPO, DPO and best-of-n: proxy and gold score over the distance from the reference.

The tuned model, the reward model and the pairs are those of the pocket model at quick scale and seed 0; a
run's seed is that of its training and of its samples.
"""

import copy
import functools

from course_utils.sweeps import sweep

PPO = {"iterations": 12, "batch_size": 32, "rows": 8, "epochs": 1}
PPO_POINTS = [
    {"beta": 0.1, "lr": 2e-4},
    {"beta": 0.0, "lr": 4e-4},  # without a penalty: also faster
    {"beta": 0.3, "lr": 2e-4},
]
DPO_BETAS = (0.03, 0.1, 0.5)
DPO = {"steps": 48, "lr": 1e-4, "batch_size": 4}
ANSWERS, CHOICES = 8, (1, 2, 4, 8)  # sampled to each held-out prompt; best of n


@functools.cache
def parts():
    """(session, tuned model, tokenizer, reward model, training prompts, held-out prompts), for all runs."""
    from course_utils.artifacts import reward_model, sft_model
    from course_utils.preferences import neutral_prompts
    from course_utils.session import start

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


@sweep("ppo", points=PPO_POINTS, tolerance=0.5)
def ppo(point: dict, seed: int) -> dict:
    """PPO from the tuned model: what evaluate_policy measures at the end, proxy, gold and kl by iteration."""
    from course_utils import policies
    from course_utils.ppo import train_ppo

    _, model, tokenizer, judge, prompts, _ = parts()
    policy, diary = copy.deepcopy(model), []
    rows = train_ppo(
        policy,
        model,
        policies.watched_reward(judge, tokenizer, diary),
        policies.encode_prompts(tokenizer, prompts),
        policies.sampling_of(tokenizer),
        **point,
        seed=seed,
        label=f"PPO, beta {point['beta']:g}, seed {seed}",
        **PPO,
    )
    course = {}
    for row, seen in zip(rows[1:], diary[1:], strict=True):  # at the first, the policy is the reference
        numbers = {"kl": row["kl"], "proxy": seen["proxy"], "gold": seen["gold"]}
        course |= {f"{name}_{row['iteration']}": value for name, value in numbers.items()}
    return {**measured(policy, seed), **course}


@sweep("dpo_mean", points=[{"loss": "mean", "beta": 0.1}], seeds=range(3))
@sweep("dpo", points=[{"loss": "dpo", "beta": beta} for beta in DPO_BETAS])
def dpo(point: dict, seed: int) -> dict:
    """DPO from the tuned model on 192 pairs; margin, accuracy and log-probabilities of 60 held-out pairs.

    longer: share of the controlled pairs, equal but for their length, in which the implicit reward likes the
    longer answer.
    """
    from course_utils.dpo import pair_metrics, train_dpo

    _, model, tokenizer, *_ = parts()
    policy = copy.deepcopy(model).requires_grad_(True)
    pad = tokenizer.pad_token_id
    (train, of_train), (held_out, of_held_out), (controlled, of_controlled) = encoded_pairs()
    settings = {"beta": point["beta"], "pad_id": pad, "loss": point["loss"], "seed": seed}
    train_dpo(
        policy,
        train,
        of_train,
        label=f"{point['loss']}, beta {point['beta']:g}, seed {seed}",
        **settings,
        **DPO,
    )
    metrics = pair_metrics(policy, held_out, of_held_out, point["beta"], pad, loss=point["loss"])
    longer = pair_metrics(policy, controlled, of_controlled, point["beta"], pad)["accuracy"]
    reference = {"reference_chosen": of_held_out[:, 0], "reference_rejected": of_held_out[:, 1]}
    return {
        **measured(policy, seed),
        **metrics,
        "longer": longer,
        **{name: value.mean().item() for name, value in reference.items()},
    }


@sweep("best_of_n", points=[{"answers": ANSWERS}])
def best_of_n(point: dict, seed: int) -> dict:
    """Mean proxy and gold score of the best of n by the reward model; kl: the bound on its distance."""
    import torch

    from course_utils import policies
    from course_utils.gold import gold_score
    from course_utils.preferences import request
    from course_utils.reward import score

    _, model, tokenizer, judge, _, prompts = parts()
    generator = torch.Generator().manual_seed(seed)
    proxy, gold = [], []
    for start in range(0, len(prompts), 4):
        asked = [prompt for prompt in prompts[start : start + 4] for _ in range(point["answers"])]
        batch = policies.rollout(
            model,
            policies.encode_prompts(tokenizer, asked),
            generator=generator,
            **policies.sampling_of(tokenizer),
        )
        with torch.no_grad():
            proxy.append(score(judge, batch["input_ids"], batch["attention_mask"]))
        pairs = zip(asked, policies.answer_texts(tokenizer, batch), strict=True)
        gold.append(torch.tensor([gold_score(request(prompt), text) for prompt, text in pairs]))
    proxy, gold = (torch.cat(part).view(len(prompts), -1) for part in (proxy, gold))
    result = {}
    for n in CHOICES:
        result[f"kl_{n}"] = policies.best_of_n_kl(n)
        result[f"proxy_{n}"] = policies.best_of_n_mean(proxy, proxy, n).item()
        result[f"gold_{n}"] = policies.best_of_n_mean(proxy, gold, n).item()
    return result


@functools.cache
def encoded_pairs():
    """(pairs, reference log-probabilities) of 192 training, 60 held-out and 60 controlled pairs."""
    from course_utils.artifacts import preference_pairs
    from course_utils.dpo import reference_log_probs
    from course_utils.preferences import encode_pairs

    session, model, tokenizer, *_ = parts()
    pairs = preference_pairs(session)
    chosen = [
        encode_pairs(tokenizer, part)
        for part in (pairs.train[:192], pairs.held_out[:60], pairs.controlled[:60])
    ]
    return [(part, reference_log_probs(model, part, tokenizer.pad_token_id)) for part in chosen]


def measured(policy, seed):
    """evaluate_policy on an answer to each held-out prompt."""
    from course_utils.policies import evaluate_policy

    _, model, tokenizer, judge, _, prompts = parts()
    return evaluate_policy(policy, model, judge, tokenizer, prompts, seed=seed)[0]


def by_method(names=("PPO", "DPO", "best of n")):
    """The stored runs for plots.over_distance: {method: points}, a point being the runs of one setting."""
    from course_utils.sweeps import load_sweep

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
    """{beta: {"kl", "proxy", "gold": means over the seeds, from iteration 2 on}} of the stored runs."""
    from course_utils.sweeps import load_sweep

    runs = {}
    for row in load_sweep("ppo")["rows"]:
        runs.setdefault(row["point"]["beta"], []).append(row["result"])
    iterations = range(2, PPO["iterations"] + 1)
    return {
        beta: {
            name: [sum(run[f"{name}_{i}"] for run in results) / len(results) for i in iterations]
            for name in ("kl", "proxy", "gold")
        }
        for beta, results in runs.items()
    }
