"""Stored experiments with PPO, its relatives and best-of-n: proxy and gold score over the distance.

The tuned model, the reward model and the pairs are those of the pocket model at quick scale and seed 0; a
run's seed is that of its training and of its samples.
"""

import copy
import functools

from course_utils.stored_runs import few, sweep

BATCHES_OF = {"batch_size": 32, "rows": 8}
LR = 1e-4  # of PPO, with and without the penalty
LONG, SHORT, GROUP_ITERATIONS = 20, 6, 12  # iterations
LOOKS = (2, 4, 6, 8, 12, 16, 20)  # iterations after which a long run is measured
SELDOM = (4, 8, 12, 16)
NO_LIMIT = 1e9  # of a clip that is to do nothing
GUARDS = {"value_clip": 0.2, "kl_limit": 0.1}  # the switches of train_ppo that the long runs have on
PASSES = 4  # over a batch, in the runs that try the clips
TOKENS = 150  # of an answer at most
KEPT = 32  # training prompts that a run leaves out where it chooses a rate
ANSWERS, CHOICES = 8, (1, 2, 4, 8)  # sampled to each held-out prompt; best of n
ON_HELD_OUT = ("kl", "proxy", "gold", "tokens", "distinct", "reference_loss")  # of evaluate_policy
PARTS = ("mood", "politeness", "sound", "fresh", "on_prompt")  # of the gold score
BEFORE_TRAINING = ("_0",)  # how the names of what comes out again on another processor end
IN_TRAINING = ("entropy", "clipped", "value_loss", "moved", "length")  # of train_ppo's rows


@functools.cache
def tuned_parts():
    """(session, tuned model, tokenizer), for all runs."""
    from course_utils.artifacts import sft_model
    from course_utils.session import start

    session = start("pocket", "quick", 0)
    model, tokenizer = sft_model(session)
    return session, model.requires_grad_(False), tokenizer


@functools.cache
def policy_parts():
    """(session, tuned model, tokenizer, reward model, training prompts, held-out prompts), for all runs."""
    from course_utils.artifacts import reward_model
    from course_utils.world.annotator import neutral_prompts

    session, model, tokenizer = tuned_parts()
    judge, _ = reward_model(session)
    prompts = neutral_prompts()
    cut = len(prompts) // 5  # as preferences.make_preferences splits them
    return (session, model, tokenizer, judge.requires_grad_(False), prompts[cut:], prompts[:cut])


@sweep(
    "ppo",
    points=[{"beta": 0.0, "lr": LR}, {"beta": 0.1, "lr": LR}],
    sampled=True,
    early=BEFORE_TRAINING,
    short=(1,),
)
def ppo(point: dict, seed: int) -> dict:
    """PPO at one rate without and with the penalty, 20 iterations: see followed_ppo.

    kept: optional in a point, of followed_ppo.
    """
    return followed_ppo(seed, LOOKS, iterations=LONG, **GUARDS, **point)


@sweep(
    "ppo_rates",
    points=[{"beta": 0.0, "lr": 5e-5}, {"beta": 0.0, "lr": 3e-5}, {"beta": 0.1, "lr": 5e-5}],
    sampled=True,
    early=BEFORE_TRAINING,
)
def ppo_rates(point: dict, seed: int) -> dict:
    """The runs of `ppo` at lower rates: as many iterations and samples, smaller steps."""
    return followed_ppo(seed, LOOKS, iterations=LONG, **GUARDS, **point)


@sweep(
    "ppo_controls",
    points=[
        {"reward": "proxy", "beta": 0.1, "lr": 2 * LR, "iterations": 8},
        {"reward": "gold", "beta": 0.0, "lr": LR, "iterations": 16},
        {"reward": "gold", "beta": 0.0, "lr": 2 * LR, "iterations": 16},
    ],
    seeds=range(3),
    sampled=True,
    early=BEFORE_TRAINING,
    short=(1,),
)
def ppo_controls(point: dict, seed: int) -> dict:
    """The penalty at twice the rate, and the gold score itself as the reward: see followed_ppo."""
    return followed_ppo(seed, SELDOM, **GUARDS, **point)


@sweep(
    "ppo_parts",
    points=[
        {"lam": 0.95},
        {"value_weight": 0.0},  # the values stay at zero
    ],
    seeds=range(3),
    sampled=True,
    early=BEFORE_TRAINING,
)
def ppo_parts(point: dict, seed: int) -> dict:
    """One part of PPO changed at a time, with the penalty of 0.1, six iterations.

    Nothing stops a pass early. The unchanged run is that of `ppo`.
    """
    settings = {"iterations": SHORT, "beta": 0.1, "lr": LR, "value_clip": GUARDS["value_clip"]}
    return followed_ppo(seed, (SHORT,), **settings, **point)


@sweep(
    "ppo_clips",
    points=[
        {"clip": 0.2, "value_clip": None},  # the plain path
        {"clip": NO_LIMIT, "value_clip": None},
        {"clip": 0.2, "value_clip": 0.2},
        {"clip": NO_LIMIT, "value_clip": 0.2},
    ],
    seeds=range(3),
    sampled=True,
    early=BEFORE_TRAINING,
    short=(0, 3),
)
def ppo_clips(point: dict, seed: int) -> dict:
    """The clip of the policy and that of the values, each on and off: four passes, with the penalty of 0.1.

    Six iterations, measured after each. Nothing stops a pass early, so that the clips stand alone.
    """
    looks = range(1, SHORT + 1)
    return followed_ppo(seed, looks, iterations=SHORT, beta=0.1, lr=LR, epochs=PASSES, **point)


@sweep(
    "group_methods",
    points=[
        {"method": method, "lr": times * LR, "beta": beta}
        for times, beta in ((2, 0.0), (4, 0.0), (1, 0.0), (1, 0.1), (2, 0.1))
        for method in ("rloo", "grpo")
    ],
    seeds=range(3),
    sampled=True,
    early=BEFORE_TRAINING,
    short=(1,),
)
def group_methods(point: dict, seed: int) -> dict:
    """RLOO and GRPO, groups of four, 12 iterations; without a penalty and with one of 0.1.

    One update a batch where PPO makes four, at its rate, at two and at four times its rate.
    """
    from course_utils.methods.reinforce import train_group

    follow, policy, reward, prompts, sampling = followed(seed, SELDOM)
    _, model, *_ = policy_parts()
    train_group(
        policy,
        model,
        reward,
        prompts,
        sampling,
        **point,
        iterations=few(GROUP_ITERATIONS),
        batch_size=few(BATCHES_OF["batch_size"], 16),
        seed=seed,
        on_iteration=follow,
    )
    return follow.found


def followed_ppo(seed, looks, *, iterations, reward="proxy", epochs=1, kept=0, **settings):
    """A run of PPO from the tuned model, as numbers by name.

    Of an answer to each held-out prompt before training and after the iterations in `looks`: kl_4, proxy_4,
    gold_4 and its parts, golds_4 for each prompt, and text_4, a sample; the last ones stand as kl, proxy and
    gold too. Of each iteration's training: entropy_4, clipped_4 and so on. kept: the last training prompts,
    this many, are left out; with them "validation", minus the mean proxy of two answers to each at the end.
    """
    from course_utils.methods.ppo import PPOSettings, train_ppo

    follow, policy, judged, prompts, sampling = followed(seed, looks, reward)
    _, model, *_ = policy_parts()
    prompts, left_out = prompts[: len(prompts) - kept], few(policy_parts()[4][-kept:], 4) if kept else []
    sizes = BATCHES_OF | {"batch_size": few(BATCHES_OF["batch_size"], 16)}
    rows = train_ppo(
        policy,
        model,
        judged,
        prompts,
        sampling,
        PPOSettings(iterations=few(iterations), epochs=epochs, **sizes, **settings, seed=seed),
        on_iteration=follow,
        label=f"PPO, {settings}, seed {seed}",
    )
    training = {
        f"{name}_{row['iteration']}": round(row[name], 5)
        for row in rows
        for name in IN_TRAINING
        if name in row
    }
    found = follow.found | training
    return found | {"validation": -mean_proxy(policy, 2 * left_out, seed)} if left_out else found


def mean_proxy(policy, prompts, seed):
    """The reward model's mean score of the policy's answers, one to each prompt."""
    from course_utils.lessons.lesson_12 import judging

    _, model, tokenizer, judge, *_ = policy_parts()
    options = {"seed": 100 * seed, "max_new_tokens": few(TOKENS, 24)}
    return judging.evaluate_policy(policy, model, judge, tokenizer, prompts, **options)[0]["proxy"]


def followed(seed, looks, reward="proxy"):
    """(what to call after each iteration, the policy, a reward, prompts, settings of its sampling)."""
    from course_utils.lessons.lesson_12 import judging
    from course_utils.methods import rollouts

    _, model, tokenizer, judge, prompts, _ = policy_parts()
    policy = copy.deepcopy(model)
    rewards = {"proxy": judging.proxy_reward(judge), "gold": judging.gold_reward(tokenizer)}
    return (
        Follower(policy, seed, looks),
        policy,
        rewards[reward],
        rollouts.encode_prompts(tokenizer, prompts),
        rollouts.sampling_of(tokenizer, few(TOKENS, 24)),
    )


class Follower:
    """Measures a policy on the held-out prompts, before training and after the iterations in `looks`."""

    def __init__(self, policy, seed, looks):
        self.policy, self.seed, self.looks, self.found = policy, seed, looks, {}
        self.look(0)

    def __call__(self, row):
        if row["iteration"] in self.looks:
            self.look(row["iteration"])

    def look(self, iteration):
        from course_utils.lessons.lesson_12 import judging

        _, model, tokenizer, judge, _, prompts = policy_parts()
        seed = 100 * self.seed + iteration
        prompts, options = few(prompts, 4), {"seed": seed, "max_new_tokens": few(TOKENS, 24)}
        means, texts = judging.evaluate_policy(self.policy, model, judge, tokenizer, prompts, **options)
        parts = [judging.parts(*pair) for pair in zip(prompts, texts, strict=True)]
        golds = [part["gold"] for part in parts]
        means |= {name: sum(part[name] for part in parts) / len(parts) for name in PARTS}
        middle = sorted(range(len(golds)), key=golds.__getitem__)[len(golds) // 2]
        self.found |= {f"{name}_{iteration}": round(means[name], 5) for name in ON_HELD_OUT + PARTS}
        self.found |= {name: round(means[name], 5) for name in ("kl", "proxy", "gold")}
        self.found[f"golds_{iteration}"] = [round(gold, 3) for gold in golds]
        self.found[f"text_{iteration}"] = judging.titled(prompts[middle], texts[middle], golds[middle])


@sweep("best_of_n", points=[{"answers": ANSWERS}], sampled=True, short=())
def best_of_n(point: dict, seed: int) -> dict:
    """Mean proxy and gold score of the best of n by the reward model; kl: the bound on its distance."""
    import torch

    from course_utils.lessons.lesson_12 import judging
    from course_utils.methods import rollouts
    from course_utils.methods.reward import score
    from course_utils.preferences import request
    from course_utils.world.gold import gold_score

    _, model, tokenizer, judge, _, prompts = policy_parts()
    prompts, generator = few(prompts, 8), torch.Generator().manual_seed(seed)
    sampling = rollouts.sampling_of(tokenizer, few(TOKENS, 24))
    proxy, gold = [], []
    for start in range(0, len(prompts), 4):
        asked = [prompt for prompt in prompts[start : start + 4] for _ in range(point["answers"])]
        batch = rollouts.rollout(
            model, rollouts.encode_prompts(tokenizer, asked), generator=generator, **sampling
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


def by_method(names=("PPO", "DPO", "best of n")):
    """The stored runs: {method: points}, a point being the runs of one setting."""
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


def runs_of(name, **point):
    """The results of a stored sweep's runs whose point has these values."""
    from course_utils.stored_runs import runs_like

    return [result for _, result in runs_like(name, point)]


def iterations_of(run, name="kl"):
    """The iterations at which a run's number of that name was measured, in order."""
    return sorted(int(key.removeprefix(f"{name}_")) for key in run if key.startswith(f"{name}_"))
