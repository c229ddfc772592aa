"""Stored experiments with DPO: new pairs, the training pairs, and the policy's samples.

The tuned model, the reward model and the prompts are those of lesson 12's runs. All runs see the same 1,024
pairs once; a run's seed sets their order and the samples.
"""

import copy
import functools
import random

from course_utils.lessons.lesson_12.experiments import Follower, policy_parts, tuned_parts
from course_utils.stored_runs import CHOICE, few, sweep

PAIRS, BATCH = 1024, 8
TUNED_PAIRS = 512  # as many as the lesson trains on
STEPS = PAIRS // BATCH
LOOKS = (STEPS // 2, STEPS)  # steps after which a policy is measured
PART = STEPS // 8  # steps over which training metrics are averaged
BETA, LR = 0.1, 8e-5
TUNING_LR = 1e-3  # tuning wants a higher rate than DPO
TOKENS = 100  # typical length of an answer; a beta for means over tokens is larger by this factor
SHOWN = 128  # training pairs whose log-probabilities are measured
NOISE = 0.06  # in the weights, as a share of each tensor's norm
SIDES = ("chosen", "rejected")
IN_TRAINING = ("loss", "accuracy", "margin", "chosen_reward", "rejected_reward")  # of train_dpo's rows
EARLY = ("_loss", "_accuracy", "_margin", "_chosen", "_rejected", "_reward", "longer")  # without samples


@sweep(
    "dpo_rates",
    points=[{"loss": "dpo", "beta": BETA, "lr": lr} for lr in (2e-5, 4e-5, 8e-5, 1.6e-4)],
    seeds=CHOICE,
)
def dpo_rates(point: dict, seed: int) -> dict:
    """Used to choose the rate, at a separate seed: loss, accuracy and margin of validation pairs.

    Optional in a point: steps, fewer, on as many fewer pairs; trained: also on_trained.
    """
    policy, _ = trained(point, seed)
    values = values_on(policy, "validation", point)
    found = {f"validation_{name}": mean(values[name]) for name in ("loss", "accuracy", "margin")}
    return found | on_trained(policy) if point.get("trained") else found


@sweep(
    "dpo_sizes",
    points=[
        {"model": "pocket-s", "lr": 8e-5},
        {"model": "pocket-s", "lr": 8e-4},
        {"model": "pocket", "lr": 8e-5},
    ],
    seeds=range(3),
    short=(2,),  # the model of the other points starts from no artifact that ships
)
def dpo_sizes(point: dict, seed: int) -> dict:
    """Why the row of pocket-s differs: DPO of both models at lower and higher rates, see dpo_rates."""
    from course_utils.models import standing_in

    with standing_in(point["model"]):
        steps = TUNED_PAIRS // BATCH
        return dpo_rates(
            {"loss": "dpo", "beta": BETA, "lr": point["lr"], "steps": steps, "trained": True}, seed
        )


@sweep("dpo", points=[{"loss": "dpo", "beta": BETA, "lr": LR}], sampled=True, early=EARLY)
def dpo(point: dict, seed: int) -> dict:
    """DPO: see `followed`. longer: share of controlled pairs whose longer answer has the higher reward."""
    found, policy = followed(point, seed)
    return found | {"longer": mean(values_on(policy, "controlled", point)["accuracy"])}


@sweep("dpo_labels", points=[{"loss": "dpo", "beta": BETA, "lr": LR}], sampled=True, early=EARLY)
def dpo_labels(point: dict, seed: int) -> dict:
    """The control that learns nothing about preferences: DPO on the same pairs, half of them swapped.

    Measured as in `followed`, without the training batches.
    """
    turned, found = random.Random(seed).choices((False, True), k=len(encoded("train")[0])), {}
    policy, _ = trained(point, seed, found, turned)
    return found | on_held_out(policy, point) | on_trained(policy, turned)


@sweep("dpo_length", points=[{"loss": "dpo", "beta": BETA, "lr": LR}], sampled=True, early=EARLY)
def dpo_length(point: dict, seed: int) -> dict:
    """The control that can learn only length: DPO on the same pairs, with the longer answer always chosen.

    Measured as in dpo_labels.
    """
    turned, found = [_length(rejected) > _length(chosen) for chosen, rejected in encoded("train")[0]], {}
    policy, _ = trained(point, seed, found, turned)
    return found | on_held_out(policy, point) | on_trained(policy, turned)


@sweep("dpo_chosen", points=[{"lr": LR}])
def dpo_chosen(point: dict, seed: int) -> dict:
    """The control that trains on the chosen answers themselves: instruction tuning, equally many steps."""
    from course_utils.methods.dpo import train_dpo

    _, model, tokenizer, *_ = policy_parts()
    policy, settings = copy.deepcopy(model).requires_grad_(True), {"steps": few(STEPS), "batch_size": BATCH}
    settings |= {"beta": BETA, "pad_id": tokenizer.pad_token_id, "seed": seed, "loss": chosen_loss}
    train_dpo(policy, *encoded("train"), lr=point["lr"], **settings)
    return on_held_out(policy, {"loss": "dpo", "beta": BETA}) | on_trained(policy)


def chosen_loss(chosen, rejected, reference_chosen, reference_rejected, beta):
    """The loss of the chosen answers alone, with DPO's arguments and rewards."""
    from course_utils.methods.dpo import dpo_loss

    rewards = dpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta)[1:]
    return -chosen / TOKENS, *rewards


@sweep(
    "dpo_tuned",
    points=[{"dpo": dpo, "tuning": tuning, "lr": LR} for dpo, tuning in ((1, 0), (1, 1), (0, 1))],
    seeds=range(3),
    sampled=True,
    early=("accuracy", "chosen", "rejected"),
    short=(1,),
)
def dpo_tuned(point: dict, seed: int) -> dict:
    """DPO on 512 pairs, with and without instruction tuning on the chosen answers, and that alone.

    What would prove it wrong that the tuning makes the stories better: at a seed their gold score changes no
    more than with DPO alone, or the tuning alone does as much. Four stories at each held-out prompt, before
    and after: the means of the parts of their gold scores, and "golds", by prompt.
    """
    from course_utils.lessons.lesson_13.stories import told
    from course_utils.methods.dpo import dpo_loss, train_dpo, tuned_dpo_loss

    def loss(chosen, rejected, reference_chosen, reference_rejected, beta, lengths):
        given = (chosen, rejected, reference_chosen, reference_rejected, beta)
        of_dpo, *rewards = dpo_loss(*given)
        of_both, *_ = tuned_dpo_loss(*given, lengths)
        return point["dpo"] * of_dpo + point["tuning"] * (of_both - of_dpo), *rewards

    _, model, tokenizer, *_, prompts = policy_parts()
    policy, pairs = copy.deepcopy(model).requires_grad_(True), few(TUNED_PAIRS, 12)
    train, reference = (each[:pairs] for each in encoded("train"))
    settings = {"beta": BETA, "pad_id": tokenizer.pad_token_id, "seed": seed, "loss": loss}
    train_dpo(
        policy, train, reference, steps=few(pairs // BATCH), lr=point["lr"], batch_size=BATCH, **settings
    )
    found = on_trained(policy)
    found["held_accuracy"] = on_held_out(policy, {"loss": "dpo", "beta": BETA})["held_accuracy"]
    for name, each in {"before": model, "after": policy}.items():
        _, by_part = told(each, tokenizer, few(prompts), few(4), seed, few(150, 24))
        found |= {f"{part}_{name}": mean(values) for part, values in by_part.items()}
        found[f"golds_{name}"] = [round(value, 4) for value in by_part["gold"].tolist()]
    return found


@sweep(
    "dpo_tuned_faster",
    points=[{"dpo": 0, "tuning": 1, "lr": TUNING_LR}],
    seeds=range(3),
    sampled=True,
    early=("accuracy", "chosen", "rejected"),
)
def dpo_tuned_faster(point: dict, seed: int) -> dict:
    """The tuning alone at a rate that suits it, as in dpo_tuned.

    What would prove it wrong that only DPO orders pairs: it orders as many held-out pairs as DPO does.
    """
    return dpo_tuned(point, seed)


@sweep("dpo_noise", points=[{"noise": NOISE}])
def dpo_noise(point: dict, seed: int) -> dict:
    """The control without training: the reference with noise in its weights."""
    _, model, *_ = policy_parts()
    noisy = with_noise(model, point["noise"], seed)
    return on_held_out(noisy, {"loss": "dpo", "beta": BETA}) | on_trained(noisy)


@sweep(
    "dpo_relative_rates",
    points=[
        {"loss": loss, "beta": BETA * TOKENS, "lr": lr}
        for loss, rates in (("mean", (4e-5, 8e-5, 1.6e-4)), ("simpo", (4e-5, 8e-5, 1.6e-4, 3.2e-4)))
        for lr in rates
    ],
    seeds=CHOICE,
    short=(1,),
)
def dpo_relative_rates(point: dict, seed: int) -> dict:
    """The rates of two of DPO's relatives, tried as in dpo_rates.

    What would prove the rate of dpo_relatives wrong: another rate has the lower validation loss.
    """
    return dpo_rates(point, seed)


@sweep(
    "dpo_relatives",
    points=[
        *[{"loss": loss, "beta": BETA * TOKENS, "lr": LR} for loss in ("mean", "ipo", "simpo")],
        {"loss": "dpo", "beta": 5 * BETA, "lr": LR},
    ],
    seeds=range(3),
    sampled=True,
    early=EARLY,
    short=(1,),
)
def dpo_relatives(point: dict, seed: int) -> dict:
    """A larger beta, DPO with means over tokens at a matching beta, IPO and SimPO: see `followed`."""
    return followed(point, seed)[0]


def followed(point, seed):
    """(numbers by name, the policy) of a run.

    Before training and after the steps in LOOKS: lesson 12's measures on an answer to each held-out prompt
    (kl_64, gold_64, golds_64 and so on), the last ones also as kl, proxy and gold. During training, every
    PART steps: training_16_loss and so on. After training: on_held_out and on_trained.
    """
    found = {}
    policy, history = trained(point, seed, found)
    for step in range(PART, history.rows[-1]["step"] + 1, PART):
        rows = [row for row in history.rows if step - PART < row["step"] <= step]
        found |= {f"training_{step}_{name}": mean([row[name] for row in rows]) for name in IN_TRAINING}
    return found | on_held_out(policy, point) | on_trained(policy), policy


def trained(point, seed, found=None, turned=None):
    """(the policy, its history) after one pass over the pairs.

    found: a dictionary for the measures of lesson 12's Follower during training; None: no measures. turned:
    whether each pair is trained with its answers swapped. Optional in a point: steps, instead of STEPS, on
    as many pairs as they take.
    """
    from course_utils.methods.dpo import train_dpo

    _, model, tokenizer = tuned_parts()
    steps = point.get("steps", STEPS)
    pairs, reference = (each[: steps * BATCH] for each in encoded("train"))
    if turned is not None:
        pairs = [pair[::-1] if other else pair for pair, other in zip(pairs, turned, strict=True)]
        reference = turned_columns(reference, turned)
    policy = copy.deepcopy(model).requires_grad_(True)
    history = train_dpo(
        policy,
        pairs,
        reference,
        beta=point["beta"],
        steps=few(steps),
        lr=point["lr"],
        pad_id=tokenizer.pad_token_id,
        batch_size=BATCH,
        seed=seed,
        loss=losses()[point["loss"]],
        look=None if found is None else looking(policy, seed, found),
        eval_every=LOOKS[0],
        label=f"{point}, seed {seed}",
    )
    return policy, history


def looking(policy, seed, found):
    """train_dpo's callback: measures the policy like lesson 12, before training and after LOOKS steps."""
    follower, steps = Follower(policy, seed, LOOKS), iter((0, *LOOKS))
    found |= follower.found
    follower.found = found
    return lambda: follower({"iteration": next(steps)})


def losses():
    """The pair losses, by their names in a sweep's points."""
    from course_utils.methods.dpo import dpo_loss, ipo_loss, mean_dpo_loss, simpo_loss

    known = {"dpo": dpo_loss, "mean": mean_dpo_loss, "ipo": ipo_loss, "simpo": simpo_loss}
    return known | {"chosen": chosen_loss}


@functools.cache
def encoded(name):
    """(pairs, reference log-probabilities [pairs, 2]) of a part: "train", "validation", and so on.

    Of the shipped pairs, for a model in the pocket model's place, too: making its own takes hours.
    """
    from course_utils.lessons.lesson_13.splits import split_pairs
    from course_utils.methods.dpo import reference_log_probs
    from course_utils.preferences import encode_pairs, load_preferences

    _, model, tokenizer = tuned_parts()
    shipped = load_preferences()
    parts = split_pairs(shipped)._asdict() | {"controlled": shipped.controlled}
    pairs = encode_pairs(tokenizer, few(parts[name][:PAIRS], 12))
    return pairs, reference_log_probs(model, pairs, tokenizer.pad_token_id)


def values_on(policy, name, point):
    """methods.dpo.values_of_pairs on a part."""
    from course_utils.methods.dpo import values_of_pairs

    _, _, tokenizer = tuned_parts()
    loss = losses()[point["loss"]]
    return values_of_pairs(policy, *encoded(name), point["beta"], tokenizer.pad_token_id, loss=loss)


def on_held_out(policy, point):
    """On held-out pairs: held_loss, held_accuracy and held_margin; held_losses (and so on) per prompt.

    held_chosen and held_rejected: changes of the answers' log-probabilities, in nats.
    """
    from course_utils.lessons.lesson_13.splits import EACH

    values, found = values_on(policy, "held_out", point), {}
    for name, plural in {"loss": "losses", "accuracy": "accuracies", "margin": "margins"}.items():
        by_prompt = values[name].view(-1, EACH).mean(1)
        found[f"held_{name}"] = mean(by_prompt)
        found[f"held_{plural}"] = [round(value, 4) for value in by_prompt.tolist()]
    for side, before in zip(SIDES, encoded("held_out")[1].T, strict=True):
        found[f"held_{side}"] = mean(values[f"{side}_log_prob"] - before)
    return found


def on_trained(policy, turned=None):
    """Changes of the log-probabilities of the first SHOWN training pairs, in nats.

    trained_chosen and trained_rejected: means; trained_chosen_each and trained_rejected_each: per pair.
    turned: as in `trained`.
    """
    from course_utils.methods.dpo import reference_log_probs

    _, _, tokenizer = tuned_parts()
    pairs, before = (each[:SHOWN] for each in encoded("train"))
    change, found = reference_log_probs(policy, pairs, tokenizer.pad_token_id) - before, {}  # (pairs, 2)
    if turned is not None:
        change = turned_columns(change, turned[: len(change)])
    for side, column in zip(SIDES, change.T, strict=True):
        found[f"trained_{side}"] = mean(column)
        found[f"trained_{side}_each"] = [round(value, 2) for value in column.tolist()]
    return found


def _length(example):
    return len(example.input_ids)


def turned_columns(values, turned):
    """values [pairs, 2] with the columns swapped where a pair is turned."""
    import torch

    return torch.where(torch.tensor(turned)[:, None], values.flip(1), values)


def with_noise(model, share, seed):
    """A copy of the model with normal noise in every tensor; the noise's norm is `share` of the tensor's."""
    import torch

    noisy, generator = copy.deepcopy(model), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in noisy.parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight += (share * weight.norm() / noise.norm()) * noise
    return noisy


def mean(values):
    """The mean of a tensor or of numbers, rounded to five decimals."""
    return round(float(sum(values) / len(values)), 5)
