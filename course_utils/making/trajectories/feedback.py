"""Learning from preferences and rewards: reward model, PPO and its relatives, GRPO, DPO, distillation."""

import functools

import torch

from course_utils.chatml import IM_END
from course_utils.data import encode
from course_utils.lessons.lesson_11 import runaway
from course_utils.lessons.lesson_12 import judging
from course_utils.lessons.lesson_18 import task
from course_utils.lessons.lesson_19 import students
from course_utils.log_probs import token_log_probs
from course_utils.making.trajectories.pieces import (
    Noted,
    chat_start,
    columns,
    every,
    moved,
    replayed,
    weights,
)
from course_utils.making.trajectories.stored import digest, trajectory
from course_utils.making.trajectories.tuning import joined, written_out
from course_utils.methods import distillation, dpo, grpo, kl, ppo, reinforce, reward
from course_utils.methods.rollouts import encode_prompts, frozen_copy, rollout, sampling_of
from course_utils.preferences import encode_pairs, load_preferences

NEW_TOKENS = 24


def pairs_of(count, part="train"):
    """`count` pairs of the shipped preferences, each with a different prompt."""
    return every(getattr(load_preferences(), part), count)


def judge_of(model):
    """A reward model on the language model, with a randomly initialised head."""
    judge = reward.from_language_model(model)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        judge.head.weight.copy_(0.1 * torch.randn(judge.head.weight.shape, generator=generator))
    return judge.requires_grad_(False)


def stories_answered(tokenizer, count=6):
    """(requests for stories as messages, {prompt: the shipped answers as token ids})."""
    pairs, end = pairs_of(count), tokenizer.convert_tokens_to_ids(IM_END)
    prompts = [pair.prompt for pair in pairs]
    texts = [[pair.chosen, pair.rejected] for pair in pairs]
    return prompts, _answers(tokenizer, prompts, texts, end)


def lists_answered(tokenizer, count=6):
    """(rows that ask for lists, {prompt: right and wrong answers as token ids})."""
    rows, end = task.tune_lists("practice", 40)[:count], tokenizer.convert_tokens_to_ids(IM_END)
    texts = []
    for row, other in zip(rows, rows[1:] + rows[:1], strict=True):
        right = ", ".join(row["answers"]) + "."
        texts.append([right, ", ".join(other["answers"]) + ".", right, ", ".join(row["answers"][::-1])])
    return rows, _answers(tokenizer, [row["prompt"] for row in rows], texts, end)


def _answers(tokenizer, prompts, texts, end):
    return {
        tuple(prompt): [[*encode(tokenizer, text), end] for text in group]
        for prompt, group in zip(encode_prompts(tokenizer, prompts), texts, strict=True)
    }


def numbers_of(replay, model, before, history, *names):
    """The numbers of a training run on replayed answers."""
    close = columns(history, *names) | {"sampler": replay.log_probs, "moved": moved(model, before)}
    return {"exact": {"asked": replay.asked}, "close": close}


@trajectory("reward", reward.fit, reward.score)
def _reward_models():
    language_model, tokenizer = chat_start()
    pairs = encode_pairs(tokenizer, pairs_of(24))
    exact = {"pairs": written_out([answer for pair in pairs for answer in pair])}
    found = {}
    for name, steps in (("last block", 8), ("all", 3)):
        model = reward.from_language_model(language_model)
        if name == "all":
            model.body.requires_grad_(True)
        before = weights(model)
        history = reward.fit(model, pairs, pad_id=tokenizer.pad_token_id, steps=steps, batch_size=4)
        chosen, rejected = reward.pair_scores(model, pairs, tokenizer.pad_token_id)
        apart = (chosen - rejected)[:8].tolist()
        close = columns(history.rows, "loss", "grad_norm") | {"apart": apart, "moved": moved(model, before)}
        close["centre"] = [model.centre.item(), reward.accuracy(chosen, rejected)]
        found[name] = {"exact": {}, "close": close}
    return joined(found | {"": {"exact": exact, "close": {}}})


@trajectory("dpo", dpo.train_dpo, dpo.reference_log_probs)
def _direct_preferences():
    found = {}
    for name, loss, beta, steps, lr in (
        ("DPO", dpo.dpo_loss, 0.1, 8, 1e-5),
        ("mean", dpo.mean_dpo_loss, 5.0, 2, 1e-4),
        ("IPO", dpo.ipo_loss, 5.0, 2, 1e-4),
        ("SimPO", dpo.simpo_loss, 5.0, 2, 1e-4),
    ):
        model, tokenizer = chat_start()
        pairs = encode_pairs(tokenizer, pairs_of(16))
        reference = dpo.reference_log_probs(model, pairs, tokenizer.pad_token_id)
        before = weights(model)
        options = {"beta": beta, "pad_id": tokenizer.pad_token_id, "batch_size": 4, "loss": loss}
        history = dpo.train_dpo(model, pairs, reference, steps=steps, lr=lr, **options)
        names = ("loss", "grad_norm", "chosen_log_prob")
        held = encode_pairs(tokenizer, pairs_of(6, "held_out"))
        values = dpo.pair_metrics(model, held, dpo.reference_log_probs(model, held, 0), beta, 0, loss=loss)
        close = columns(history.rows, *names) | {"moved": moved(model, before)}
        rows = history.rows[name != "SimPO" :]  # against a reference the first step's are the rounding of 0
        close |= columns(rows, "chosen_reward", "rejected_reward")
        if name in ("DPO", "SimPO"):  # those of two steps nearly cancel
            close |= columns(rows, "margin")
        close |= {"reference": reference.flatten().tolist(), "held out": list(values.values())}
        stream = Noted(dpo.pair_batches(pairs, reference, 4, 0, tokenizer.pad_token_id))
        for _, _ in zip(range(steps), stream, strict=False):
            pass
        exact = {"pairs": written_out([answer for pair in pairs for answer in pair])}
        found[name] = {"exact": exact | {"batches": stream.digests}, "close": close}
    return joined(found)


@trajectory("kl", kl.exact_kl, kl.estimator_moments, kl.rlhf_kl_penalty)
def _divergences():
    model, tokenizer = chat_start()
    other = frozen_copy(model)
    with torch.no_grad():
        other.lm_head.weight.mul_(1.1)
    prompts, answers = stories_answered(tokenizer, 4)
    with replayed(answers) as replay:
        batch = runaway.sample(model, tokenizer, prompts, 0, NEW_TOKENS)
    with torch.no_grad():
        logits = [kl.completion_logits(each, *batch[:3]) for each in (model, other)]
        logs = [kl.completion_log_probs(each, *batch[:3]) for each in (model, other)]
    mask, adaptive = batch[3], kl.AdaptiveKL(0.1, 6.0)
    moments = {
        name: [moment[mask].mean().item() for moment in kl.estimator_moments(*logits, estimator)]
        for name, estimator in kl.ESTIMATORS.items()
    }
    close = {
        "exact": kl.exact_kl(*logits)[mask].tolist()[:20],
        **moments,
        "penalty": kl.rlhf_kl_penalty(*logs, 0.1, mask).sum(1).tolist(),
        "adaptive": [adaptive.update(value) for value in (1.0, 5.0, 7.0, 30.0)],
        "sampler": replay.log_probs,
    }
    return {"exact": {"asked": replay.asked, "mask": digest(mask.tolist())}, "close": close}


@trajectory("ppo", ppo.train_ppo, ppo.gae)
def _proximal():
    found = _trained_by_ppo(value_clip=0.2, kl_limit=1e9)
    generator = torch.Generator().manual_seed(0)
    rewards, values = torch.randn(2, 3, 6, generator=generator)
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [0, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 0]]).float()
    advantages, targets = ppo.gae(rewards, values, mask)
    found["close"] |= {"gae": advantages.flatten().tolist(), "returns": targets.flatten().tolist()}
    return found


@trajectory("ppo_plain", ppo.update)
def _proximal_without_switches():
    return _trained_by_ppo()


def _trained_by_ppo(**switches):
    model, tokenizer = chat_start()
    judge, reference = judge_of(model), frozen_copy(model)
    prompts, answers = stories_answered(tokenizer)
    before = weights(model)
    settings = ppo.PPOSettings(iterations=3, beta=0.1, lr=1e-5, batch_size=4, rows=2, epochs=2, **switches)
    with replayed(answers) as replay:
        history = ppo.train_ppo(
            model,
            reference,
            judging.proxy_reward(judge),
            encode_prompts(tokenizer, prompts),
            sampling_of(tokenizer, NEW_TOKENS),
            settings,
        )
    names = ["score", "kl", "entropy", "policy_loss", "value_loss", *["moved"] * bool(switches), "length"]
    return numbers_of(replay, model, before, history, *names)


@trajectory("group_methods", reinforce.train_group)
def _groups():
    found = {}
    for method in reinforce.GROUP_METHODS:
        model, tokenizer = chat_start()
        reference, before = frozen_copy(model), weights(model)
        rows, answers = lists_answered(tokenizer)
        with replayed(answers) as replay:
            history = reinforce.train_group(
                model,
                reference,
                task.verifier(tokenizer, rows),
                encode_prompts(tokenizer, [row["prompt"] for row in rows]),
                sampling_of(tokenizer, NEW_TOKENS),
                method=method,
                iterations=3,
                beta=0.1,
                lr=1e-5,
                batch_size=8,
            )
        found[method] = numbers_of(replay, model, before, history, "score", "kl")
    return joined(found)


@trajectory("grpo", grpo.train_grpo)
def _grpo_on_lists():
    found = {}
    for name, settings in {
        "reference": {"beta": 0.1, "updates": 2},
        "KL in the reward": {"beta": 0.1, "kl_in": "reward", "loss_type": "dr_grpo"},
        "DAPO": {"loss_type": "dapo", "clip_high": 0.3, "updates": 2},
    }.items():
        model, tokenizer = chat_start()
        reference, before = frozen_copy(model) if "beta" in settings else None, weights(model)
        rows, answers = lists_answered(tokenizer)
        with replayed(answers) as replay:
            history = grpo.train_grpo(
                model,
                task.verifier(tokenizer, rows),
                encode_prompts(tokenizer, [row["prompt"] for row in rows]),
                sampling_of(tokenizer, NEW_TOKENS),
                grpo.GRPOSettings(iterations=3, lr=1e-5, batch_size=8, group=4, **settings),
                reference=reference,
                advantages=grpo.centred_advantages if name == "DAPO" else grpo.group_advantages,
            )
        found[name] = numbers_of(replay, model, before, history, "score", "silent", "entropy", "length", "kl")
    return joined(found)


@trajectory("runaway", runaway.train_for_score)
def _for_score():
    model, tokenizer = chat_start()
    judge, reference = judge_of(model), frozen_copy(model)
    prompts, answers = stories_answered(tokenizer)
    before = weights(model)
    with replayed(answers) as replay:
        history = runaway.train_for_score(
            model,
            reference,
            judge,
            tokenizer,
            prompts,
            beta=0.1,
            iterations=3,
            lr=1e-5,
            max_new_tokens=NEW_TOKENS,
        )
    model.requires_grad_(True)
    return numbers_of(replay, model, before, history, "proxy", "gold", "kl")


@trajectory("distillation", distillation.train_distillation)
def _towards_a_teacher():
    found = {}
    for name, direction, step in (
        ("reverse", "reverse", distillation.distillation_step),
        ("forward", "forward", distillation.distillation_step),
        ("soft labels", "forward", students.step_on_the_teachers(students.soft_labels)),
        ("hard labels", "forward", students.step_on_the_teachers(students.hard_labels)),
    ):
        student, tokenizer = chat_start()
        teacher = students.at_temperature(student, 0.8).eval().requires_grad_(False)
        rows, answers = lists_answered(tokenizer)
        before = weights(student)
        with replayed(answers) as replay:
            history = distillation.train_distillation(
                student,
                teacher,
                encode_prompts(tokenizer, [row["prompt"] for row in rows]),
                sampling_of(tokenizer, NEW_TOKENS),
                steps=3,
                lr=1e-5,
                batch_size=6,
                step=step,
                divergence=functools.partial(distillation.token_kl, direction=direction),
            )
        found[name] = numbers_of(replay, student, before, history, "loss", "tokens")
        with replayed(answers):
            batch = students.written_by(student, tokenizer, rows[:3], 2)
        found[name]["close"] |= {
            "near": [students.mean_kl(student, teacher, batch), students.answer_entropy(student, batch)]
        }
    return joined(found)


@trajectory("policies", judging.evaluate_policy, rollout)
def _policies():
    model, tokenizer = chat_start()
    judge, reference = judge_of(model), frozen_copy(model)
    with torch.no_grad():
        model.transformer.ln_f.weight.mul_(1.05)
    prompts, answers = stories_answered(tokenizer, 4)
    with replayed(answers) as replay:
        means, texts = judging.evaluate_policy(model, reference, judge, tokenizer, prompts, max_new_tokens=60)
    with replayed(answers):
        batch = rollout(model, encode_prompts(tokenizer, prompts), **sampling_of(tokenizer, 12))
    with torch.no_grad():
        log_probs = token_log_probs(model, batch).sum(1).tolist()
    parts_of_gold = [list(judging.parts(*pair).values()) for pair in zip(prompts, texts, strict=True)]
    close = {name: [value] for name, value in means.items()} | {"answers": log_probs}
    close |= {"gold's parts": [value for row in parts_of_gold for value in row], "sampler": replay.log_probs}
    return {"exact": {"asked": replay.asked, "texts": digest(texts), "batch": digest(batch)}, "close": close}
