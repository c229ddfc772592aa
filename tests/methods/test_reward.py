import copy
import math

import pytest
import torch
from helpers import tiny_model, tiny_tokenizer
from safetensors.torch import load_file, save_file

from course_utils.data import Example, collate, collate_pairs, shuffled_batches
from course_utils.methods import reward
from course_utils.model_files import ModelError, write_checksums

EOS = 0


def example(rng, length):
    ids = [rng.randrange(1, 300) for _ in range(length)]
    return Example(ids, ids)


@pytest.fixture
def rng():
    import random

    return random.Random(0)


@pytest.fixture
def model():
    model = reward.from_language_model(tiny_model())
    torch.manual_seed(1)
    torch.nn.init.normal_(model.head.weight)
    return model


def alone(model, ids):
    """The definition: the sequence by itself, no padding, the head on the last position."""
    hidden = model.body(torch.tensor([ids])).last_hidden_state
    return (model.head(hidden[0, -1]) - model.centre).item()


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pad_id", [EOS, 7])
def test_score_is_that_of_the_sequence_alone(model, rng, side, pad_id):
    texts = [example(rng, length).input_ids for length in (3, 9, 5)]
    texts[0] = [*texts[0], EOS]  # a real end of text, equal to the pad token
    texts[1][4] = EOS
    batch = collate([Example(ids, ids) for ids in texts], pad_id, side)
    batched = reward.score(model, batch["input_ids"], batch["attention_mask"])
    assert batched.shape == (3,)
    assert batched.tolist() == pytest.approx([alone(model, ids) for ids in texts], abs=1e-5)


def test_last_token():
    mask = torch.tensor([[1, 1, 0, 0], [0, 0, 1, 1], [1, 1, 1, 1], [0, 1, 1, 0]])
    assert reward.last_token(mask).tolist() == [1, 3, 3, 2]


def test_scores_keeps_order_and_mode(model, rng):
    examples = [example(rng, length) for length in (9, 3, 12, 5, 7)]
    model.train()
    values = reward.scores(model, examples, EOS, batch_size=2)
    assert model.training
    assert values.tolist() == pytest.approx([alone(model, e.input_ids) for e in examples], abs=1e-5)


def test_a_new_model_scores_zero_and_leaves_the_language_model_alone():
    language_model = tiny_model()
    before = copy.deepcopy(language_model.state_dict())
    model = reward.from_language_model(language_model)
    ids = torch.tensor([[1, 2, 3]])
    assert reward.score(model, ids, torch.ones_like(ids)).item() == 0
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    assert all(torch.equal(before[name], value) for name, value in language_model.state_dict().items())


def test_trained_are_the_last_block_the_norm_and_the_head():
    model = reward.from_language_model(tiny_model())
    trained = {name.rsplit(".", 1)[0] for name, p in model.named_parameters() if p.requires_grad}
    assert all(name.startswith(("body.h.1", "body.ln_f", "head")) for name in trained)
    assert {"body.ln_f", "head", "body.h.1.attn.c_attn", "body.h.1.mlp.c_fc"} <= trained


def test_other_architectures(rng):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
    )
    model = reward.from_language_model(LlamaForCausalLM(config))
    assert not reward.can_reuse_states(model)
    pairs = [(example(rng, 6), example(rng, 4)) for _ in range(4)]
    history = reward.fit(model, pairs, pad_id=EOS, steps=8, batch_size=4, lr=1e-2)
    assert history.rows[-1]["loss"] < math.log(2) - 0.05


def test_loss_is_bradley_and_terrys():
    chosen, rejected = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 1.0])
    p = [
        math.exp(c) / (math.exp(c) + math.exp(r))
        for c, r in zip(chosen.tolist(), rejected.tolist(), strict=True)
    ]
    expected = -(math.log(p[0]) + math.log(p[1])) / 2
    assert reward.bradley_terry_loss(chosen, rejected).item() == pytest.approx(expected, abs=1e-6)
    assert reward.bradley_terry_loss(chosen + 9, rejected + 9).item() == pytest.approx(expected, abs=1e-5)
    with_centring = reward.bradley_terry_loss(chosen, rejected, centring=0.1).item()
    assert with_centring == pytest.approx(expected + 0.1 * (1.5**2 + 1.0) / 2, abs=1e-6)
    assert reward.bradley_terry_loss(torch.tensor([-300.0]), torch.tensor([300.0])).item() == 600
    assert reward.bradley_terry_loss(torch.zeros(3), torch.zeros(3)).item() == pytest.approx(math.log(2))


def test_stored_states_give_the_same_loss_and_gradients(model, rng):
    assert reward.can_reuse_states(model)
    pairs = [(example(rng, a), example(rng, b)) for a, b in ((6, 11), (9, 3), (8, 8))]
    other = copy.deepcopy(model)
    loss, count = reward.pair_loss(model, collate_pairs(pairs, EOS))
    loss.backward()
    states = reward.frozen_states(other, [e for pair in pairs for e in pair], EOS)
    batch = reward.collate_states(list(zip(states[::2], states[1::2], strict=True)))
    fast, fast_count = reward.state_pair_loss(other, batch)
    fast.backward()
    assert fast.item() == pytest.approx(loss.item(), abs=1e-5) and count == fast_count == 3
    for (name, p), q in zip(model.named_parameters(), other.parameters(), strict=True):
        if p.requires_grad:
            assert torch.allclose(p.grad, q.grad, atol=1e-5), name


def test_scores_from_stored_states(model, rng):
    pairs = [(example(rng, a), example(rng, b)) for a, b in ((6, 11), (9, 3), (8, 8))]
    model.centre.fill_(0.5)
    stored = reward.prepare_pairs(model, pairs, EOS)
    assert isinstance(stored[0][0], torch.Tensor) and reward.prepare_pairs(model, stored, EOS) is stored
    for ours, plain in zip(
        reward.pair_scores(model, stored, EOS), reward.pair_scores(model, pairs, EOS), strict=True
    ):
        assert torch.allclose(ours, plain, atol=1e-5)


def test_known_answers_are_not_computed_again(model, rng, monkeypatch):
    a, b, c = (example(rng, length) for length in (5, 7, 6))
    known = {}
    first = reward.prepare_pairs(model, [(a, b), (a, c)], EOS, known)
    assert len(known) == 3 and first[0][0] is first[1][0]
    monkeypatch.setattr(reward, "frozen_states", lambda model, examples, pad_id: [None] * len(examples))
    again = reward.prepare_pairs(model, [(c, a)], EOS, known)
    assert again[0][0] is first[1][1] and again[0][1] is first[0][0]


def test_steps_are_one_epoch_and_fifty_at_least(model, rng):
    pairs = [(example(rng, 4), example(rng, 5)) for _ in range(8)]
    assert len(reward.fit(model, pairs, pad_id=EOS).rows) == 50
    assert len(reward.fit(model, 52 * pairs, pad_id=EOS, batch_size=8).rows) == 52


def test_states_are_not_reused_where_something_below_is_trained(model):
    model.body.h[0].requires_grad_(True)
    assert not reward.can_reuse_states(model)


def test_fit_learns_centres_and_is_the_same_again(rng):
    """Chosen answers end with token 1, rejected ones with token 2."""

    def pairs(count):
        def end(token):
            ids = [*example(rng, 6).input_ids, token]
            return Example(ids, ids)

        return [(end(1), end(2)) for _ in range(count)]

    train, held_out = pairs(48), pairs(16)
    runs = []
    for _ in range(2):
        model = reward.from_language_model(tiny_model())
        history = reward.fit(model, train, pad_id=EOS, steps=24, batch_size=8, lr=3e-3, seed=3)
        runs.append(history.column("loss")[1])
    assert runs[0] == runs[1]
    assert len(runs[0]) == 24 and runs[0][0] == pytest.approx(math.log(2), abs=1e-6)
    assert reward.accuracy(*reward.pair_scores(model, held_out, EOS)) == 1
    seen = reward.scores(model, [e for pair in train for e in pair], EOS)
    assert seen.mean().item() == pytest.approx(0, abs=1e-4) and seen.std() > 0.1


def test_centring_changes_no_difference(model, rng):
    examples = [example(rng, length) for length in (4, 9, 6, 3)]
    before = reward.scores(model, examples, EOS)
    reward.centre(model, [tuple(examples[:2]), tuple(examples[2:])], EOS)
    after = reward.scores(model, examples, EOS)
    assert after.mean().item() == pytest.approx(0, abs=1e-5)
    assert torch.allclose(before - before[0], after - after[0], atol=1e-5)


def test_every_pair_comes_once_an_epoch():
    pairs = [(f"c{i}", f"r{i}" * (i % 5)) for i in range(11)]
    stream = shuffled_batches(pairs, 4, 0, list, lambda pair: len(pair[1]))
    epoch = [next(stream) for _ in range(3)]
    assert sorted(pair for batch in epoch for pair in batch) == sorted(pairs)
    assert sorted(map(len, epoch)) == [3, 4, 4]


def test_accuracy_counts_ties_half():
    assert reward.accuracy(torch.tensor([1.0, 0.0, 2.0, 3.0]), torch.tensor([0.0, 1.0, 2.0, 1.0])) == 0.625


def test_calibration_of_a_model_that_knows_its_odds():
    torch.manual_seed(0)
    margin = 4 * torch.randn(20_000)
    won = torch.rand(20_000) < torch.sigmoid(margin)
    chosen = torch.where(won, margin, torch.zeros(()))
    rejected = torch.where(won, torch.zeros(()), margin)
    rows = reward.calibration_curve(chosen, rejected)
    assert len(rows) == 8 and sum(row["pairs"] for row in rows) == 20_000
    assert rows[0]["predicted"] < 0.7 and rows[-1]["predicted"] > 0.98
    assert all(row["observed"] == pytest.approx(row["predicted"], abs=0.03) for row in rows)
    too_sure = reward.calibration_curve(3 * chosen, 3 * rejected)
    assert all(row["observed"] < row["predicted"] for row in too_sure)
    turned = reward.calibration_curve(rejected, chosen)
    assert all(row["observed"] == pytest.approx(1 - row["predicted"], abs=0.03) for row in turned)


def test_saved_and_loaded(model, tmp_path, rng):
    tokenizer = tiny_tokenizer()
    model.centre.fill_(0.25)
    examples = [example(rng, 5), example(rng, 8)]
    before = reward.scores(model, examples, EOS)
    folder = reward.save_reward_model(model, tokenizer, tmp_path / "rm")
    assert not [path.name for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".part")]
    again, its_tokenizer = reward.load_reward_model(folder)
    assert not again.training and its_tokenizer.get_vocab() == tokenizer.get_vocab()
    assert torch.equal(reward.scores(again, examples, EOS), before)


def test_folders_that_are_no_reward_model(model, tmp_path):
    with pytest.raises(ModelError, match=r"has no reward_head\.safetensors"):
        reward.load_reward_model(tmp_path)
    folder = reward.save_reward_model(model, tiny_tokenizer(), tmp_path / "rm")
    head = load_file(folder / reward.HEAD_FILE)
    for spoilt in (
        {"weight": torch.zeros(1, 5)},
        {"weight": head["weight"] * torch.nan},
        {"centre": torch.tensor(torch.inf)},
        {"other": torch.zeros(())},
    ):
        save_file(head | spoilt, folder / reward.HEAD_FILE)
        with pytest.raises(ModelError, match=rf"{folder / reward.HEAD_FILE} is damaged"):
            reward.load_reward_model(folder)
        write_checksums(folder)
        with pytest.raises(ModelError, match=rf"{folder / reward.HEAD_FILE} holds .*the body"):
            reward.load_reward_model(folder)


def test_nothing_to_train_on(model):
    with pytest.raises(ValueError, match="no pairs"):
        reward.fit(model, [], pad_id=EOS)
