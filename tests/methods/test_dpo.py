import copy
import functools
import math

import pytest
import torch
from helpers import tiny_model, tiny_tokenizer

from course_utils.data import IGNORE, collate_pairs
from course_utils.log_probs import fast_sequence_log_probs, sequence_log_probs
from course_utils.methods import dpo
from course_utils.methods.lora import adapter_off, apply_lora, lora_layers
from course_utils.methods.rollouts import frozen_copy
from course_utils.preferences import Pair, encode_pairs

ROWS = [
    {"prompt": "Question: is the cat", "chosen": " sat on a mat", "rejected": " helpful"},
    {"prompt": "You are", "chosen": " a cat", "rejected": " the capital of France is Paris"},
    {"prompt": "a", "chosen": " mat", "rejected": " cat"},
    {"prompt": "Answer: the", "chosen": " cat sat", "rejected": " mat sat on"},
]


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer()


@pytest.fixture
def model(tokenizer):
    return tiny_model(vocab_size=len(tokenizer))


@pytest.fixture(scope="module")
def pairs(tokenizer):
    return encode_pairs(tokenizer, [Pair(**row) for row in ROWS])


def test_loss_and_its_gradient_in_closed_form():
    logs = [torch.tensor(v, dtype=torch.double, requires_grad=True) for v in (-3.0, -5.0, -4.0, -4.5)]
    beta = 0.3
    loss, chosen, rejected = dpo.dpo_loss(*logs, beta)
    margin = beta * ((-3 + 4) - (-5 + 4.5))
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-margin)))
    assert chosen.item() == pytest.approx(0.3) and rejected.item() == pytest.approx(-0.15)
    gradients = torch.autograd.grad(loss, logs)
    weight = beta / (1 + math.exp(margin))
    for gradient, expected in zip(gradients, (-weight, weight, weight, -weight), strict=True):
        assert gradient.item() == pytest.approx(expected)


def test_the_policy_that_a_reward_makes_optimal_has_that_reward_as_its_implicit_one():
    """pi = reference * exp(r / beta) / Z: the margin is the difference of the rewards, whatever Z."""
    torch.manual_seed(0)
    reference, reward, beta = torch.randn(6).double().log_softmax(0), torch.randn(6).double(), 0.7
    policy = (reference + reward / beta).log_softmax(0)
    loss, chosen, rejected = dpo.dpo_loss(policy[2], policy[4], reference[2], reference[4], beta)
    assert (chosen - rejected).item() == pytest.approx((reward[2] - reward[4]).item())
    assert loss.item() == pytest.approx(-torch.sigmoid(reward[2] - reward[4]).log().item())


def test_the_loss_starts_at_log_2(model, pairs):
    reference = dpo.reference_log_probs(frozen_copy(model), pairs, 0, batch_size=3)
    batch = dpo.with_reference(collate_pairs(pairs, 0), reference)
    losses, metrics = dpo.batch_loss(model, batch, beta=0.5)
    assert torch.allclose(losses, torch.full((4,), math.log(2)), atol=1e-6)
    assert abs(metrics["margin"]) < 1e-5


def test_log_probs_are_sums_over_the_answer(model, pairs):
    batch = collate_pairs(pairs, 0)
    with torch.no_grad():
        sums = sequence_log_probs(model, batch)
        rows = [answer for side in (0, 1) for answer in (pair[side] for pair in pairs)]
        for value, answer in zip(sums, rows, strict=True):
            logs = model(torch.tensor([answer.input_ids])).logits[0].log_softmax(-1)
            scored = [i for i, label in enumerate(answer.labels) if label != IGNORE]
            assert value.item() == pytest.approx(
                sum(logs[i - 1, answer.input_ids[i]].item() for i in scored), abs=1e-4
            )
        assert torch.allclose(sums, fast_sequence_log_probs(model, batch), atol=1e-4)


def test_the_reference_of_an_adapter_is_the_model_without_it(model, pairs):
    plain = dpo.reference_log_probs(model, pairs, 0)
    apply_lora(model, rank=2, alpha=4.0)
    for layer in lora_layers(model).values():
        torch.nn.init.normal_(layer.lora_B)
    assert not torch.allclose(dpo.reference_log_probs(model, pairs, 0), plain, atol=0.1)
    with adapter_off(model):
        assert torch.allclose(dpo.reference_log_probs(model, pairs, 0), plain, atol=1e-5)


def test_batches_hold_every_pair_with_its_own_reference(pairs):
    reference = torch.tensor([[float(i), -float(i)] for i in range(4)])
    stream = dpo.pair_batches(pairs, reference, 2, seed=0, pad_id=0)
    seen = []
    for _ in range(2):
        batch = next(stream)
        chosen, rejected = batch["reference"].chunk(2)
        assert (chosen == -rejected).all()
        for row, index in enumerate(chosen.int().tolist()):
            for side in (0, 1):
                ids = pairs[index][side].input_ids
                assert batch["input_ids"][row + 2 * side, : len(ids)].tolist() == ids
        seen += chosen.int().tolist()
    assert sorted(seen) == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="4 pairs are too few for a batch of 5"):
        next(dpo.pair_batches(pairs, reference, 5, seed=0, pad_id=0))


def test_ipo_divides_by_the_lengths_and_pulls_towards_its_target():
    logs = [torch.tensor([v], dtype=torch.double) for v in (-3.0, -5.0, -4.0, -4.5)]
    loss, *_ = dpo.ipo_loss(*logs, beta=0.25, lengths=torch.tensor([[2.0], [5.0]]))
    assert loss.item() == pytest.approx((1 / 2 - (-0.5 / 5) - 2) ** 2)


def test_tuned_dpo_adds_the_loss_of_the_chosen_answer_per_token():
    logs = [torch.tensor([v], dtype=torch.double) for v in (-3.0, -5.0, -4.0, -4.5)]
    plain, tuned = dpo.dpo_loss(*logs, 0.3), dpo.tuned_dpo_loss(*logs, 0.3, torch.tensor([[2.0], [5.0]]))
    assert tuned[0].item() == pytest.approx(plain[0].item() + 3 / 2)
    assert tuned[1:] == plain[1:]


def test_orpo_is_tuning_plus_beta_times_the_log_odds():
    logs = [torch.tensor([v], dtype=torch.double) for v in (-3.0, -5.0, 0.0, 0.0)]
    loss, chosen, rejected = dpo.orpo_loss(*logs, beta=0.25, lengths=torch.tensor([[2.0], [5.0]]))
    p, q = math.exp(-1.5), math.exp(-1.0)
    odds = (p / (1 - p)) / (q / (1 - q))
    assert loss.item() == pytest.approx(1.5 - 0.25 * math.log(odds / (1 + odds)))
    assert (chosen.item(), rejected.item()) == pytest.approx((-0.375, -0.25))


def test_kto_counts_rewards_from_the_other_side_s_mean_and_at_least_0():
    zeros, sigmoid = torch.zeros(2), lambda x: 1 / (1 + math.exp(-x))
    loss, *_ = dpo.kto_loss(torch.tensor([2.0, 1.0]), torch.tensor([-1.0, -2.0]), zeros, zeros, 1.0)
    expected = [1 - (sigmoid(c) + sigmoid(1.5 - r)) / 2 for c, r in ((2, -1), (1, -2))]
    assert loss.tolist() == pytest.approx(expected)
    moved = torch.tensor([2.0, 1.0], requires_grad=True)
    dpo.kto_loss(moved, torch.tensor([1.0, -2.0]), zeros, zeros, 1.0)[0][0].backward()
    assert moved.grad[1] == 0, "the point is a constant"


@pytest.mark.parametrize("loss", ["dpo", "ipo"])
def test_training_raises_the_margin_and_records_it(model, pairs, loss):
    reference = dpo.reference_log_probs(model, pairs, 0)
    history = dpo.train_dpo(
        model,
        pairs,
        reference,
        beta=0.1,
        steps=8,
        lr=2e-3,
        pad_id=0,
        batch_size=2,
        loss=getattr(dpo, f"{loss}_loss"),
        held_out=(pairs, reference),
        eval_every=4,
    )
    steps, margins = history.column("held_out_margin")
    assert steps == [0, 4, 8] and margins[0] == pytest.approx(0, abs=1e-5) and margins[-1] > 0.05
    assert len(history.column("chosen_log_prob")[1]) == 8 and history.rows[-1]["held_out_accuracy"] == 1
    assert not model.training


def test_dropout_stays_off(tokenizer, pairs):
    model = tiny_model(vocab_size=len(tokenizer))
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    reference = dpo.reference_log_probs(model, pairs, 0)
    history = dpo.train_dpo(
        model.train(), pairs, reference, beta=0.1, steps=1, lr=1e-4, pad_id=0, batch_size=4
    )
    assert history.rows[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert model.training


def test_the_mean_is_dpos_loss_on_log_probs_divided_by_their_lengths(model, pairs):
    reference = torch.full((4, 2), -10.0)
    batch = collate_pairs(pairs, 0) | {"reference": reference.T.flatten()}
    losses, metrics = dpo.batch_loss(model, batch, beta=2.0, loss=dpo.mean_dpo_loss)
    lengths = torch.tensor([[sum(label != IGNORE for label in e.labels) for e in pair] for pair in pairs])
    logs = sequence_log_probs(model, batch).view(2, 4).T
    margin = (2.0 * (logs - reference) / lengths) @ torch.tensor([1.0, -1.0])
    assert torch.allclose(losses, -torch.nn.functional.logsigmoid(margin), atol=1e-5)
    assert metrics["chosen_log_prob"] == pytest.approx(logs[:, 0].mean().item(), abs=1e-4)


def test_simpo_has_no_reference_and_asks_for_a_gap():
    chosen, rejected, of_chosen, of_rejected = (torch.tensor([v]) for v in (-3.0, -5.0, -40.0, -4.5))
    lengths, beta = torch.tensor([[2.0], [10.0]]), 2.0
    loss, *rewards = dpo.simpo_loss(chosen, rejected, of_chosen, of_rejected, beta, lengths)
    margin = beta * (-3 / 2 + 5 / 10) - dpo.SIMPO_GAP * beta
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-margin)))
    assert [reward.item() for reward in rewards] == pytest.approx([-3.0, -1.0])


def test_a_reference_comes_in_the_order_of_the_rows():
    log_probs = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    assert dpo.with_reference({"x": 0}, log_probs)["reference"].tolist() == [1, 3, 5, 2, 4, 6]


def test_values_of_pairs_stand_in_the_order_of_the_pairs(model, pairs):
    reference = torch.arange(8.0).view(4, 2) - 20
    whole = dpo.values_of_pairs(model, pairs, reference, 0.3, 0, batch_size=3)
    for place, pair in enumerate(pairs):
        alone = dpo.with_reference(collate_pairs([pair], 0), reference[[place]])
        for name, value in dpo.pair_values(model, alone, 0.3).items():
            assert whole[name][place].item() == pytest.approx(value.item(), abs=1e-4), name
    means = dpo.pair_metrics(model, pairs, reference, 0.3, 0)
    assert means == pytest.approx({name: value.mean().item() for name, value in whole.items()}, abs=1e-4)


def test_values_of_pairs_have_no_noise_of_dropout(model, pairs):
    apply_lora(model, 2, 4.0, dropout=0.5)
    for layer in lora_layers(model).values():
        torch.nn.init.normal_(layer.lora_B)
    reference = torch.zeros(4, 2)
    calm = dpo.values_of_pairs(model.eval(), pairs, reference, 0.3, 0)["chosen_log_prob"]
    values = dpo.values_of_pairs(model.train(), pairs, reference, 0.3, 0)["chosen_log_prob"]
    assert torch.equal(values, calm) and model.training


def test_a_training_is_looked_at_and_not_disturbed(model, pairs):
    reference = dpo.reference_log_probs(model, pairs, 0)
    settings = {"beta": 0.1, "steps": 4, "lr": 2e-3, "pad_id": 0, "batch_size": 2}
    looked_at, plain, seen = copy.deepcopy(model), copy.deepcopy(model), []

    def look():
        seen.append(next(looked_at.parameters()).detach().clone())
        torch.rand(3)

    history = dpo.train_dpo(looked_at, pairs, reference, look=look, eval_every=2, **settings)
    dpo.train_dpo(plain, pairs, reference, **settings)
    assert len(seen) == 3 and [row["step"] for row in history.rows] == [0, 1, 2, 3, 4]
    assert torch.equal(seen[0], next(model.parameters())) and not torch.equal(seen[1], seen[2])
    assert all(map(torch.equal, looked_at.parameters(), plain.parameters()))


def trained_by(model, pairs, loss, beta=0.5):
    """(history, weights) of three steps with a loss, always from the same start."""
    policy = copy.deepcopy(model)
    reference = dpo.reference_log_probs(model, pairs, 0)
    settings = {"beta": beta, "steps": 3, "lr": 2e-3, "pad_id": 0, "batch_size": 2, "loss": loss}
    history = dpo.train_dpo(policy, pairs, reference, held_out=(pairs, reference), **settings)
    return history, torch.cat([weight.flatten() for weight in policy.parameters()])


def own_ipo(chosen, rejected, reference_chosen, reference_rejected, beta, lengths):
    difference = (chosen - reference_chosen) / lengths[0] - (rejected - reference_rejected) / lengths[1]
    zero = torch.zeros_like(difference)
    return (difference - 1 / (2 * beta)) ** 2, beta * difference, zero


def own_dpo(chosen, rejected, reference_chosen, reference_rejected, beta):
    margin = beta * (chosen - reference_chosen - rejected + reference_rejected)
    return torch.nn.functional.softplus(-margin), margin, 0 * margin


@pytest.mark.parametrize(
    "own, packaged",
    [
        (own_dpo, dpo.dpo_loss),
        (lambda c, r, of_c, of_r, beta: dpo.dpo_loss(c, r, of_c, of_r, beta), dpo.dpo_loss),
        (own_ipo, dpo.ipo_loss),
        (functools.partial(dpo.ipo_loss), dpo.ipo_loss),
        (functools.partial(dpo.simpo_loss, gap=dpo.SIMPO_GAP), dpo.simpo_loss),
        (lambda *logs_and_beta, lengths: dpo.mean_dpo_loss(*logs_and_beta, lengths), dpo.mean_dpo_loss),
    ],
    ids=["function", "lambda", "own IPO", "partial", "partial with a gap", "lambda with lengths"],
)
def test_a_loss_of_ones_own_trains_as_the_packages_does(model, pairs, own, packaged):
    history, weights = trained_by(model, pairs, own)
    expected, expected_weights = trained_by(model, pairs, packaged)
    assert (weights - expected_weights).abs().mean() < 1e-5
    assert history.column("loss")[1] == pytest.approx(expected.column("loss")[1], rel=1e-5)
    assert history.column("held_out_margin")[1] == pytest.approx(
        expected.column("held_out_margin")[1], abs=1e-5
    )


def orpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta, lengths):
    """Hong et al. 2024, arXiv 2403.07691: the chosen answer's loss plus the odds of mean probabilities."""
    good, bad = chosen / lengths[0], rejected / lengths[1]
    odds = torch.logit(good.exp()), torch.logit(bad.exp())
    return -good - beta * torch.nn.functional.logsigmoid(odds[0] - odds[1]), *odds


def orpo_by_hand(answers, beta):
    losses = []
    for pair in answers:
        good, bad = (math.prod(own) ** (1 / len(own)) for own, _ in pair)
        ratio = good / (1 - good) / (bad / (1 - bad))
        losses.append(-math.log(good) - beta * math.log(ratio / (1 + ratio)))  # sigmoid of log x: x / (1 + x)
    return losses


def kto_loss(chosen, rejected, reference_chosen, reference_rejected, beta):
    """Ethayarajh et al. 2024, arXiv 2402.01306: good and bad answers against a point of the batch."""
    good, bad = chosen - reference_chosen, rejected - reference_rejected
    point = (torch.cat([good, bad]).mean().clamp(min=0)).detach()
    loss = 2 - torch.sigmoid(beta * (good - point)) - torch.sigmoid(beta * (point - bad))
    return loss, beta * good, beta * bad


def kto_by_hand(answers, beta):
    good, bad = (
        [math.log(math.prod(own) / math.prod(other)) for own, other in side]
        for side in zip(*answers, strict=True)
    )
    point = max(0.0, sum(good + bad) / (2 * len(good)))
    values = [
        (1 / (1 + math.exp(-beta * (g - point))), 1 / (1 + math.exp(-beta * (point - b))))
        for g, b in zip(good, bad, strict=True)
    ]
    return [(1 - of_good) + (1 - of_bad) for of_good, of_bad in values]


def probabilities(model, answer):
    """Probabilities of each token of the answer, given all before it."""
    with torch.no_grad():
        shares = model(torch.tensor([answer.input_ids])).logits[0].double().softmax(-1).tolist()
    scored = [place for place, label in enumerate(answer.labels) if label != IGNORE]
    return [shares[place - 1][answer.input_ids[place]] for place in scored]


@pytest.mark.parametrize("loss, by_hand", [(orpo_loss, orpo_by_hand), (kto_loss, kto_by_hand)])
def test_other_methods_of_the_field_fit_the_call(tokenizer, model, pairs, loss, by_hand):
    other = tiny_model(seed=1, vocab_size=len(tokenizer))
    answers = [[(probabilities(model, each), probabilities(other, each)) for each in pair] for pair in pairs]
    reference = dpo.reference_log_probs(other, pairs, 0)
    expected = pytest.approx(by_hand(answers, 0.5), rel=1e-4)
    assert dpo.values_of_pairs(model, pairs, reference, 0.5, 0, loss=loss)["loss"].tolist() == expected
    settings = {"beta": 0.5, "steps": 1, "lr": 0.0, "pad_id": 0, "batch_size": 4, "loss": loss}
    row = dpo.train_dpo(model, pairs, reference, **settings).rows[0]
    assert row["loss"] == pytest.approx(sum(by_hand(answers, 0.5)) / 4, rel=1e-4)
    history, _ = trained_by(model, pairs, loss)
    losses, margins = history.column("held_out_loss")[1], history.column("held_out_margin")[1]
    assert losses[-1] < losses[0] and margins[-1] > margins[0]


def test_a_gap_of_ones_own_changes_simpos_loss_by_what_it_says():
    logs = [torch.tensor([v]) for v in (-3.0, -5.0, 0.0, 0.0)]
    loss, *_ = functools.partial(dpo.simpo_loss, gap=1.5)(*logs, 2.0, torch.tensor([[2.0], [10.0]]))
    assert loss.item() == pytest.approx(math.log(1 + math.exp(2.0 * (3 / 2 - 5 / 10) + 1.5 * 2.0)))
