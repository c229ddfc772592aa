import itertools
import math
import random

import pytest
import torch
from helpers import tiny_model

from course_utils.data import IGNORE
from course_utils.log_probs import fast_token_log_probs
from course_utils.methods import grpo, ppo, reinforce, rollouts
from course_utils.methods.kl import AdaptiveKL
from course_utils.methods.rollouts import answer_mask, frozen_copy, rollout

MASK = torch.tensor([[0.0, 1, 1, 1, 0], [1, 1, 1, 1, 1], [0, 0, 0, 1, 0]])


@pytest.fixture
def tensors():
    torch.manual_seed(0)
    return torch.randn(3, 5), torch.randn(3, 5)


def test_rewards_have_the_kl_everywhere_and_the_score_at_the_end(tensors):
    current, reference = tensors
    scores = torch.tensor([1.0, -2.0, 3.0])
    rewards = ppo.per_token_rewards(scores, current, reference, MASK, beta=0.1)
    for row, last in enumerate((3, 4, 3)):
        for t in range(5):
            kl = 0.1 * (current[row, t] - reference[row, t]) * MASK[row, t]
            score = scores[row] if t == last else 0.0
            assert rewards[row, t].item() == pytest.approx(float(score - kl))


def test_an_answer_without_an_end_loses_the_penalty():
    scores = ppo.penalise_no_end(torch.tensor([1.0, 2.0]), torch.tensor([True, False]), 1.5)
    assert scores.tolist() == [1.0, 0.5]


def test_gae_by_its_sum(tensors):
    """A_t = sum over l of (gamma lam)^l delta_{t+l}, each delta written out."""
    rewards, values = tensors[0] * MASK, tensors[1]
    gamma, lam = 0.9, 0.7
    advantages, targets = ppo.gae(rewards, values, MASK, gamma, lam)
    for row, (first, last) in enumerate(((1, 3), (0, 4), (3, 3))):
        steps = range(first, last + 1)
        delta = {
            t: rewards[row, t] + gamma * (values[row, t + 1] if t < last else 0) - values[row, t]
            for t in steps
        }
        for t in range(5):
            expected = (
                sum((gamma * lam) ** (u - t) * delta[u] for u in steps if u >= t) if t in steps else 0.0
            )
            assert advantages[row, t].item() == pytest.approx(float(expected), abs=1e-6)
            assert targets[row, t].item() == pytest.approx(
                float(expected + values[row, t]) if t in steps else 0.0, abs=1e-6
            )


def test_gae_at_its_two_ends(tensors):
    """lam = 1: the rewards to go minus the value. lam = 0: the one-step error."""
    rewards, values = tensors[0] * MASK, tensors[1] * MASK
    to_come = rewards.flip(1).cumsum(1).flip(1) * MASK
    advantages, targets = ppo.gae(rewards, values, MASK, 1.0, 1.0)
    assert torch.allclose(advantages, to_come - values, atol=1e-6)
    assert torch.allclose(targets, to_come, atol=1e-6)
    following = torch.cat([values[:, 1:], torch.zeros(3, 1)], 1)
    assert torch.allclose(ppo.gae(rewards, values, MASK, 1.0, 0.0)[0], (rewards + following - values) * MASK)


def test_gae_of_the_true_values_is_zero_on_average():
    """Two tokens, two choices each, exact values: the policy's expected advantage vanishes for every lam."""
    p, reward = 0.3, torch.tensor([[1.0, 4.0], [-2.0, 0.5]])
    second = reward @ torch.tensor([p, 1 - p])  # value after the first token
    first = torch.tensor([p, 1 - p]) @ second
    for lam in (0.0, 0.5, 1.0):
        total = torch.zeros(2)
        for a, b in itertools.product(range(2), repeat=2):
            rewards, values = torch.tensor([[0.0, reward[a, b]]]), torch.tensor([[first, second[a]]])
            weight = (p if a == 0 else 1 - p) * (p if b == 0 else 1 - p)
            total += weight * ppo.gae(rewards, values, torch.ones(1, 2), 1.0, lam)[0][0]
        assert torch.allclose(total, torch.zeros(2), atol=1e-6)


def test_whitening_counts_the_answers_only(tensors):
    values = torch.where(MASK.bool(), tensors[0], torch.tensor(100.0))
    result = ppo.whiten(values, MASK)
    kept = result[MASK.bool()]
    assert kept.mean().item() == pytest.approx(0, abs=1e-6)
    assert kept.var(unbiased=False).item() == pytest.approx(1, abs=1e-5)
    assert (result[~MASK.bool()] == 0).all()
    inside = values[MASK.bool()]
    assert torch.allclose(kept, (inside - inside.mean()) / inside.std(unbiased=False), atol=1e-5)


@pytest.mark.parametrize(
    ("advantage", "ratio", "loss", "slope"),
    [
        (2.0, 1.1, -2.2, True),
        (2.0, 1.5, -2.4, False),  # beyond the clip: no gradient
        (2.0, 0.5, -1.0, True),  # moved the wrong way: full gradient
        (-2.0, 0.5, 1.6, False),
        (-2.0, 1.5, 3.0, True),
    ],
)
def test_the_clip_takes_the_gradient_only_where_there_is_nothing_to_gain(advantage, ratio, loss, slope):
    log_probs = torch.tensor([[math.log(ratio)]], requires_grad=True)
    value, clipped = ppo.clipped_policy_loss(
        log_probs, torch.zeros(1, 1), torch.tensor([[advantage]]), torch.ones(1, 1), clip=0.2
    )
    assert value.item() == pytest.approx(loss)
    assert clipped.item() == (abs(ratio - 1) > 0.2)
    gradient = torch.autograd.grad(value, log_probs)[0].item()
    assert gradient == pytest.approx(-advantage * ratio if slope else 0.0)


def test_at_the_start_the_policy_loss_is_the_policy_gradient(tensors):
    """Ratio 1: value -mean(A), gradient that of -mean(A log pi)."""
    log_probs, advantages = tensors[0].requires_grad_(), tensors[1]
    loss, _ = ppo.clipped_policy_loss(log_probs, log_probs.detach(), advantages, MASK)
    plain = -(advantages * log_probs * MASK).sum() / MASK.sum()
    assert loss.item() == pytest.approx(-(advantages * MASK).sum().item() / 9, abs=1e-6)
    assert torch.allclose(*(torch.autograd.grad(x, log_probs)[0] for x in (loss, plain)), atol=1e-7)


@pytest.mark.parametrize(
    ("value", "target", "loss"), [(0.1, 1.0, 0.405), (0.9, 1.0, 0.32), (-0.9, 1.0, 1.805)]
)
def test_the_value_loss_takes_the_worse_of_two(value, target, loss):
    """Old value 0, clip 0.2: 0.1 is inside; 0.9 counts as 0.2; -0.9 is worse than -0.2 and counts fully."""
    result = ppo.clipped_value_loss(
        torch.tensor([[value]]), torch.zeros(1, 1), torch.tensor([[target]]), torch.ones(1, 1), clip=0.2
    )
    assert result.item() == pytest.approx(loss, abs=1e-6)


def test_approx_kl_is_right_on_average():
    torch.manual_seed(0)
    old, new = torch.randn(6).log_softmax(0), torch.randn(6).log_softmax(0)
    each = ppo.approx_kl(new[:, None], old[:, None], old.exp()[:, None])  # weighted by the sampling policy
    assert each.item() == pytest.approx((old.exp() * (old - new)).sum().item(), abs=1e-6)
    assert ppo.approx_kl(old[None], old[None], torch.ones(1, 6)).item() == 0


def test_baselines_by_hand():
    scores = torch.tensor([1.0, 2.0, 6.0, 0.0, 4.0, 5.0])
    assert reinforce.leave_one_out_advantages(scores, 3).tolist() == [-3.0, -1.5, 4.5, -4.5, 1.5, 3.0]
    group = grpo.group_advantages(scores, 3).view(2, 3)
    assert torch.allclose(group.mean(1), torch.zeros(2), atol=1e-6)
    assert torch.allclose(group.std(1), torch.ones(2), atol=1e-3)
    assert reinforce.reinforce_advantages(scores).tolist() == (scores - 3).tolist()
    equal = grpo.group_advantages(torch.ones(4), 2)
    assert (equal == 0).all()


def test_reinforce_is_the_policy_gradient_on_average():
    """Over all pairs of draws from three answers of one token: the mean is half of the true gradient."""
    logits = torch.tensor([0.2, -0.5, 0.9], dtype=torch.double, requires_grad=True)
    reward = torch.tensor([1.0, 3.0, -1.0], dtype=torch.double)
    true = torch.autograd.grad((logits.softmax(0) * reward).sum(), logits)[0]
    total = 0.0
    for draw in itertools.product(range(3), repeat=2):
        drawn = torch.tensor(draw)
        log_probs = logits.log_softmax(0)[drawn][:, None]  # (rows, tokens)
        loss = reinforce.reinforce_loss(log_probs, reward[drawn], torch.ones(2, 1, dtype=torch.double))
        total = total - log_probs.sum().exp().detach() * torch.autograd.grad(loss, logits)[0]
    assert torch.allclose(total, true / 2, atol=1e-12)  # the batch's mean contains the answer itself


def test_reinforce_sums_over_an_answers_tokens(tensors):
    log_probs, returns = tensors[0], torch.tensor([1.0, 2.0, 6.0])
    by_hand = sum((returns[i] - 3) * sum(log_probs[i, t] for t in range(5) if MASK[i, t]) for i in range(3))
    assert reinforce.reinforce_loss(log_probs, returns, MASK).item() == pytest.approx(
        -by_hand.item() / 3, abs=1e-6
    )


def test_leave_one_out_is_unbiased_and_the_group_mean_is_not():
    """Exact over all pairs of draws from three answers: the mean gradient is that of the expected reward."""
    logits = torch.tensor([0.2, -0.5, 0.9], dtype=torch.double, requires_grad=True)
    reward = torch.tensor([1.0, 3.0, -1.0], dtype=torch.double)
    log_probs = logits.log_softmax(0)
    true = torch.autograd.grad((log_probs.exp() * reward).sum(), logits)[0]
    estimates = {"loo": 0.0, "mean": 0.0}
    for draw in itertools.product(range(3), repeat=2):
        drawn = torch.tensor(draw)
        weight = log_probs[drawn].sum().exp().detach()
        scores = reward[drawn]
        for name, advantage in (
            ("loo", reinforce.leave_one_out_advantages(scores, 2)),
            ("mean", scores - scores.mean()),
        ):
            surrogate = (advantage * logits.log_softmax(0)[drawn]).mean()
            estimates[name] = estimates[name] + weight * torch.autograd.grad(surrogate, logits)[0]
    assert torch.allclose(estimates["loo"], true, atol=1e-12)
    assert torch.allclose(estimates["mean"], true / 2, atol=1e-12)  # (k - 1) / k of it


def settings_of(**options):
    return ppo.PPOSettings(**{"iterations": 1, "beta": 0.2, "lr": 1e-2} | options)


def sampled(model, rows=6, generator=None):
    prompts = [[5, 6, 7], [8], [9, 10]] * (rows // 3)
    return rollout(
        model,
        prompts,
        max_new_tokens=8,
        stop_ids=range(0, 400, 9),
        pad_id=0,
        generator=generator or torch.Generator().manual_seed(0),
    )


def test_policy_and_value_start_as_the_model_and_zero():
    model = tiny_model()
    batch = sampled(model)
    log_probs, values = ppo.PolicyWithValue(model)(batch)
    assert torch.allclose(log_probs, fast_token_log_probs(model, batch), atol=1e-6)
    assert log_probs.shape == values.shape and (values == 0).all()


def test_experience_joins_the_parts():
    model, reference = tiny_model(), tiny_model(seed=1).requires_grad_(False)
    batch, row = ppo.experience(
        ppo.PolicyWithValue(model),
        reference,
        lambda b: b["ended"].float(),
        sampled(model),
        beta=0.2,
        settings=settings_of(no_end_penalty=0.5),
    )
    mask = answer_mask(batch)
    log_ratio = (batch["log_probs"] - fast_token_log_probs(reference, batch)) * mask
    score = torch.where(batch["ended"], 1.0, -0.5)
    rewards = ppo.per_token_rewards(
        score, batch["log_probs"], fast_token_log_probs(reference, batch), mask, 0.2
    )
    assert torch.allclose(rewards.sum(1), score - 0.2 * log_ratio.sum(1), atol=1e-4)
    assert row["kl"] == pytest.approx(log_ratio.sum(1).mean().item(), abs=1e-4)
    assert row["score"] == pytest.approx(batch["ended"].float().mean().item())
    assert batch["advantages"][mask.bool()].mean().item() == pytest.approx(0, abs=1e-5)


def test_the_reward_of_experience_has_the_penalty_for_no_end():
    """With values of zero and lam = 1, the targets are the rewards to go, written out token by token."""
    model, reference = tiny_model(), tiny_model(seed=1).requires_grad_(False)
    given = torch.tensor([1.0, -2.0, 0.5, 3.0, 0.0, 1.5])
    batch, row = ppo.experience(
        ppo.PolicyWithValue(model),
        reference,
        lambda b: given,
        sampled(model),
        beta=0.2,
        settings=settings_of(no_end_penalty=0.7),
    )
    mask, ended = answer_mask(batch), batch["ended"]
    assert ended.any() and not ended.all(), "both kinds of answers are seen"
    log_ratio = fast_token_log_probs(model, batch) - fast_token_log_probs(reference, batch)
    for i in range(6):
        places = mask[i].nonzero().flatten().tolist()
        to_come = given[i].item() - (0.0 if ended[i] else 0.7)
        for t in reversed(places):
            to_come -= 0.2 * log_ratio[i, t].item()
            assert batch["targets"][i, t].item() == pytest.approx(to_come, abs=1e-4)
    assert row["score"] == pytest.approx(given.mean().item()), "the number shown is without the penalty"
    entropy = -(batch["log_probs"] * mask).sum() / mask.sum()
    assert row["entropy"] == pytest.approx(entropy.item(), abs=1e-5)


@pytest.mark.parametrize("lam", [0.0, 0.3])
def test_experience_uses_the_lambda_of_the_settings(lam):
    model = tiny_model()
    policy = ppo.PolicyWithValue(model)
    torch.nn.init.normal_(policy.value.weight)
    batch, _ = ppo.experience(
        policy, frozen_copy(model), lambda b: torch.ones(6), sampled(model), 0.0, settings_of(lam=lam)
    )
    values, mask = batch["values"], answer_mask(batch)
    scores = torch.where(batch["ended"], 1.0, 0.0)  # the penalty is 1
    for i in range(6):
        places = mask[i].nonzero().flatten().tolist()
        following = carried = 0.0
        for t in reversed(places):
            reward = scores[i].item() if t == places[-1] else 0.0
            carried = reward + following - values[i, t].item() + lam * carried
            following = values[i, t].item()
            assert batch["targets"][i, t].item() == pytest.approx(carried + following, abs=1e-4)


def made_up(model, shift, advantage, targets):
    """Experience with these numbers at every token; the ratio is exp(-shift) before the first step."""
    policy = ppo.PolicyWithValue(model)
    batch, _ = ppo.experience(
        policy, frozen_copy(model), lambda b: torch.ones(6), sampled(model), 0.0, settings_of()
    )
    mask = batch["mask"]
    batch["log_probs"] = batch["log_probs"] + shift * mask
    batch["advantages"], batch["targets"] = advantage * mask, targets * mask
    return policy, batch


def moved_by(policy, batch, update=ppo.update, **options):
    """(largest change of the model's weights, change of the value's bias), one step of SGD at rate 1."""
    settings = settings_of(epochs=1, rows=6, **options)
    before = {name: p.detach().clone() for name, p in policy.named_parameters()}
    update(policy, torch.optim.SGD(policy.parameters(), lr=1.0), batch, random.Random(0), settings)
    change = {name: p.detach() - before[name] for name, p in policy.named_parameters()}
    model = max(c.abs().max().item() for name, c in change.items() if name.startswith("model."))
    return model, change["value.bias"].item()


@pytest.mark.parametrize(
    ("ratio", "advantage", "moves"),
    [(1.5, 1.0, False), (0.5, 1.0, True), (1.5, -1.0, True), (0.5, -1.0, False)],
)
def test_the_update_clips(ratio, advantage, moves):
    policy, batch = made_up(tiny_model(), -math.log(ratio), advantage, 0.0)
    moved, _ = moved_by(policy, batch, value_weight=0.0, clip=0.2)
    assert (moved > 1e-4) if moves else moved == 0


def test_the_clip_of_the_settings_is_the_one_that_holds():
    policy, batch = made_up(tiny_model(), -math.log(1.5), 1.0, 0.0)
    assert moved_by(policy, batch, value_weight=0.0, clip=0.6)[0] > 1e-4


def test_the_values_learn_the_targets():
    """With zero advantages only the value loss remains; the bias moves by weight * mean(targets - values)."""
    policy, batch = made_up(tiny_model(), 0.0, 0.0, 0.08)
    _, bias = moved_by(policy, batch, value_weight=0.1, clip=0.2)
    assert bias == pytest.approx(0.1 * 0.08, rel=1e-3)
    policy, batch = made_up(tiny_model(), 0.0, 0.0, 0.08)
    assert moved_by(policy, batch, value_weight=0.0) == (0.0, 0.0)


@pytest.mark.parametrize("value_clip, moves", [(0.2, False), (0.6, True), (None, True)])
def test_the_values_have_a_clip_of_their_own(value_clip, moves):
    """A value that has already risen by 0.5, towards an even higher return."""
    policy, batch = made_up(tiny_model(), 0.0, 0.0, 1.0)
    batch["values"] = batch["values"] - 0.5 * batch["mask"]
    _, bias = moved_by(policy, batch, ppo.guarded_update, clip=9.0, value_clip=value_clip)
    assert (bias > 1e-4) == moves


def test_the_answers_of_a_group_have_one_prompt():
    prompts = [[5, 6], [7], [8, 9, 10], [11, 12]]
    seen = []

    def step(batch, rng):
        opened = [
            ids[(mask == 1) & (labels == IGNORE)].tolist()
            for ids, mask, labels in zip(
                batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True
            )
        ]
        seen.extend(opened[start : start + 3] for start in range(0, 12, 3))
        return {"score": 0.0, "kl": 0.0}

    rollouts.learn(tiny_model(), prompts, step, SAMPLING, iterations=4, batch_size=12, group=3, label="")
    assert len(seen) == 16 and all(group == [group[0]] * 3 for group in seen)
    assert len({tuple(group[0]) for group in seen}) > 1


@pytest.mark.parametrize(
    ("method", "advantages"),
    [
        ("rloo", [-3.0, -1.5, 4.5, -4.5, 1.5, 3.0]),
        ("reinforce", [-2.0, -1.0, 3.0, -3.0, 1.0, 2.0]),
        ("grpo", [-2 / 7**0.5, -1 / 7**0.5, 3 / 7**0.5, -3 / 7**0.5, 1 / 7**0.5, 2 / 7**0.5]),
    ],
)
def test_the_group_loss_pushes_by_the_advantage_within_the_group(method, advantages):
    """At the start the gradient is that of -mean(A log pi), with each group's advantages by hand."""
    model = tiny_model()
    batch = sampled(model)
    batch["scores"] = torch.tensor([1.0, 2.0, 6.0, 0.0, 4.0, 5.0])
    batch["reference"] = fast_token_log_probs(model, batch).detach()
    loss, _ = reinforce.group_loss(model, batch, method, 0.3, 3)
    log_probs, mask = fast_token_log_probs(model, batch), answer_mask(batch)
    plain = -(torch.tensor(advantages)[:, None] * log_probs * mask).sum() / mask.sum()
    weights = [p for p in model.parameters() if p.requires_grad]
    for ours, expected in zip(*(torch.autograd.grad(x, weights) for x in (loss, plain)), strict=True):
        assert torch.allclose(ours, expected, atol=1e-4)


def test_minibatches_hold_every_row_and_lose_padding_alone():
    model = tiny_model()
    batch = sampled(model, rows=12)
    batch["mask"] = answer_mask(batch)
    seen = []
    for part in ppo.shuffled(batch, 4, random.Random(0)):
        assert part["mask"].shape == (4, part["input_ids"].shape[1] - 1)
        assert part["attention_mask"].any(0).all() and torch.equal(part["mask"], answer_mask(part))
        seen += [
            ids[mask == 1].tolist()
            for ids, mask in zip(part["input_ids"], part["attention_mask"], strict=True)
        ]
    whole = [
        ids[mask == 1].tolist() for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)
    ]
    assert sorted(seen) == sorted(whole)


def test_update_stops_where_the_policy_has_moved_too_far():
    model = tiny_model()
    policy = ppo.PolicyWithValue(model)
    settings = settings_of(epochs=4, rows=6, no_end_penalty=0.0, kl_limit=1e-4)
    batch, _ = ppo.experience(
        policy, frozen_copy(model), lambda b: torch.randn(6), sampled(model), 0.1, settings
    )
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    row = ppo.guarded_update(policy, optimizer, batch, random.Random(0), settings)
    assert row["stopped"] == 1 and row["moved"] < 1e-9  # one step was made; the second found the KL too large


def passed_over(update, **options):
    """(the weights after four passes over one batch, what the update reported)."""
    model = tiny_model()
    policy, settings = ppo.PolicyWithValue(model), settings_of(epochs=4, rows=3, **options)
    scores = torch.tensor([1.0, -2.0, 0.5, 3.0, 0.0, 1.5])
    batch, _ = ppo.experience(policy, frozen_copy(model), lambda b: scores, sampled(model), 0.1, settings)
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-3)
    return list(policy.parameters()), update(policy, optimizer, batch, random.Random(0), settings)


def test_without_its_switches_the_guarded_update_is_the_plain_one():
    plain, row = passed_over(ppo.update)
    guarded, other = passed_over(ppo.guarded_update)
    for one, its in zip(plain, guarded, strict=True):
        assert torch.allclose(one, its, atol=1e-6)
    assert other["stopped"] == 0 and {name: other[name] for name in row} == pytest.approx(row, abs=1e-5)
    clipped, _ = passed_over(ppo.guarded_update, value_clip=1e-3)
    assert any(not torch.allclose(one, its, atol=1e-4) for one, its in zip(plain, clipped, strict=True))


@pytest.mark.parametrize(
    ("switch", "chosen"),
    [({}, "update"), *(({name: 1.0}, "guarded_update") for name in ("value_clip", "kl_limit"))],
)
def test_each_switch_turns_the_guards_on(monkeypatch, switch, chosen):
    called = []
    for name in ("update", "guarded_update"):
        monkeypatch.setattr(ppo, name, lambda *_, name=name: called.append(name) or {})
    model = tiny_model()
    settings = settings_of(iterations=1, beta=0.1, **SETTINGS, **switch)
    ppo.train_ppo(model, frozen_copy(model), good_tokens, PROMPTS, SAMPLING, settings)
    assert called == [chosen]


def good_tokens(batch):
    """A reward that can be learned in seconds: the share of even tokens in the answer."""
    answer = batch["labels"] != IGNORE
    return (answer & (batch["labels"] % 2 == 0)).sum(1) / answer.sum(1)


SAMPLING = {"max_new_tokens": 4, "stop_ids": [0], "pad_id": 0}
SETTINGS = {"lr": 1e-2, "no_end_penalty": 0.0}
PROMPTS = [[5, 6], [7], [8, 9, 10]]


def test_ppo_learns_and_beta_holds_it_back():
    ends = {}
    for beta in (0.0, 1.0):
        model = tiny_model()
        reference = frozen_copy(model)
        rows = ppo.train_ppo(
            model, reference, good_tokens, PROMPTS, SAMPLING, settings_of(iterations=8, beta=beta, **SETTINGS)
        )
        ends[beta] = rows[-1]
        assert len(rows) == 8 and rows[0]["kl"] == pytest.approx(0, abs=1e-3)
        assert sum(p.requires_grad for p in reference.parameters()) == 0
    assert ends[0.0]["score"] > 0.75 and ends[0.0]["score"] > ends[1.0]["score"] + 0.1
    assert ends[1.0]["kl"] < 0.5 * ends[0.0]["kl"]


@pytest.mark.parametrize("method", reinforce.GROUP_METHODS)
def test_the_relatives_learn_too(method):
    model = tiny_model()
    rows = reinforce.train_group(
        model,
        frozen_copy(model),
        good_tokens,
        PROMPTS,
        SAMPLING,
        method=method,
        iterations=10,
        beta=0.01,
        group=4,
        **SETTINGS,
    )
    assert rows[-1]["score"] > rows[0]["score"] + 0.15
    with pytest.raises(ValueError, match="reinforce, rloo, grpo"):
        reinforce.train_group(
            model, model, good_tokens, PROMPTS, SAMPLING, method="a", iterations=1, beta=0, **SETTINGS
        )


def test_the_coefficient_may_follow_the_kl():
    model = tiny_model()
    beta = AdaptiveKL(0.5, target=1.0, gain=0.5, clip=1.0)
    seen = []
    rows = ppo.train_ppo(
        model,
        frozen_copy(model),
        good_tokens,
        PROMPTS,
        SAMPLING,
        settings_of(iterations=3, beta=beta, **SETTINGS),
        on_iteration=seen.append,
    )
    assert seen == rows
    for before, after in itertools.pairwise(rows):
        error = min(max(before["kl"] - 1, -1), 1)
        assert after["beta"] == pytest.approx(before["beta"] * (1 + 0.5 * error))


def test_an_interrupt_keeps_what_there_is(shell, capsys):
    model = tiny_model()

    def stop(row):
        if row["iteration"] == 2:
            raise KeyboardInterrupt

    def train():
        settings = settings_of(iterations=5, beta=0.1, **SETTINGS)
        return ppo.train_ppo(
            model, frozen_copy(model), good_tokens, PROMPTS, SAMPLING, settings, on_iteration=stop
        )

    shell.push({"train": train})
    rows = shell.run_cell("train()").result
    assert [row["iteration"] for row in rows] == [1, 2]
    assert "interrupted after 1 of 5" in capsys.readouterr().out
    with pytest.raises(KeyboardInterrupt):
        train()
