"""The stored DPO runs at test size: which pairs, what is measured, what the controls do."""

import pytest
import torch
from helpers import small_policy_parts

from course_utils import preferences, reach
from course_utils.data import DATA
from course_utils.lessons.lesson_12 import experiments as of_ppo
from course_utils.lessons.lesson_12 import judging
from course_utils.lessons.lesson_13 import experiments, splits, stories
from course_utils.methods import rollouts
from course_utils.preferences import Pair, Preferences, load_preferences, request

WORDS = ("a cat", "Paris", "the mat", "helpful", "France", "the capital", "You", "a mat sat")


def told(prompt, count):
    """Pairs of one prompt: chosen answers begin with a cat."""
    asked = [{"role": "user", "content": f"is {prompt}"}]
    return [Pair(asked, f"a cat {WORDS[n % 8]}", WORDS[(n + 3) % 8]) for n in range(count)]


@pytest.fixture
def small(monkeypatch):
    """The experiments on a small model, 16 pairs, four steps; experiments.encoded forgets afterwards."""
    parts = small_policy_parts()
    train = [pair for prompt in WORDS for pair in told(prompt, 4)]
    pairs = Preferences(train, [*told("one", 4), *told("two", 3), *told("few", 2)], told("three", 5))
    monkeypatch.setattr(preferences, "load_preferences", lambda: pairs)
    for module in (experiments, of_ppo):
        monkeypatch.setattr(module, "policy_parts", lambda: parts)
        monkeypatch.setattr(module, "tuned_parts", lambda: parts[:3])
    sampling_of = rollouts.sampling_of
    for module in (rollouts, judging, stories):
        monkeypatch.setattr(module, "sampling_of", lambda tokenizer, most=5: sampling_of(tokenizer, 5))
    for name, value in {"PAIRS": 16, "BATCH": 4, "STEPS": 4, "LOOKS": (2, 4), "PART": 1, "SHOWN": 12}.items():
        monkeypatch.setattr(experiments, name, value)
    monkeypatch.setattr(splits, "VALIDATION_PROMPTS", 3)
    experiments.encoded.cache_clear()
    yield parts
    experiments.encoded.cache_clear()


def point(loss="dpo", beta=0.1):
    return {"loss": loss, "beta": beta, "lr": 3e-3}


def test_the_parts_share_no_prompt():
    split = splits.split_pairs(load_preferences())
    asked = [{request(pair.prompt) for pair in part} for part in split]
    assert not asked[0] & asked[1] and not (asked[0] | asked[1]) & asked[2]
    assert len(asked[1]) == splits.VALIDATION_PROMPTS and len(asked[2]) == 44
    assert len(split.train) >= experiments.PAIRS and len(split.held_out) == 44 * splits.EACH
    for start in range(0, len(split.held_out), splits.EACH):
        assert len({request(p.prompt) for p in split.held_out[start : start + splits.EACH]}) == 1


def test_prompts_with_too_few_pairs_are_left_out():
    pairs = [*told("one", 2), *told("two", 4), *told("one", 1)]
    kept = splits.of_each_prompt(pairs, 3)
    assert [request(pair.prompt) for pair in kept] == ["is one"] * 3 + ["is two"] * 3


def test_a_run_sees_every_pair_once_and_is_followed(small):
    run = experiments.dpo(point(), 0)
    assert of_ppo.iterations_of(run) == [0, 2, 4] and run["kl_0"] == 0 < run["kl_4"] == run["kl"]
    assert run["training_1_loss"] == pytest.approx(0.69315, abs=1e-4) and "training_4_chosen_reward" in run
    assert len(run["held_losses"]) == 2 and sum(run["held_losses"]) / 2 == pytest.approx(
        run["held_loss"], abs=1e-3
    )
    assert len(run["trained_chosen_each"]) == 12
    assert run["trained_chosen"] > run["trained_rejected"] + 0.1, "it learns what it is trained on"
    assert 0 <= run["longer"] <= 1


@pytest.mark.parametrize("loss", ["mean", "ipo", "simpo"])
def test_its_relatives_learn_too(small, loss):
    run = experiments.dpo_relatives(point(loss, 5.0), 0)
    assert run["trained_chosen"] > run["trained_rejected"] + 0.1 and run["kl_4"] > 0


def test_rates_are_chosen_on_validation_pairs(small):
    found = experiments.dpo_rates(point(), 5)
    assert set(found) == {"validation_loss", "validation_accuracy", "validation_margin"}
    pairs, reference = experiments.encoded("validation")
    assert len(pairs) == 3 * splits.EACH == len(reference)


@pytest.mark.parametrize(("dpo", "tuning"), [(1, 0), (1, 1), (0, 1)])
def test_the_tuning_is_added_to_dpo_or_stands_alone(small, monkeypatch, dpo, tuning):
    monkeypatch.setattr(experiments, "TUNED_PAIRS", 16)
    run = experiments.dpo_tuned({"dpo": dpo, "tuning": tuning, "lr": 3e-3}, 0)
    assert run["trained_chosen"] > run["trained_rejected"] + (0.1 if dpo else 0)
    if tuning:
        assert run["trained_chosen"] > 0
    assert {"gold_before", "sound_after", "golds_after"} <= set(run)


def test_intervals_over_prompts_are_wider_where_pairs_of_a_prompt_agree():
    pairs = [*told("one", 2), *told("two", 2)]
    mean, low, high = splits.over_prompts(torch.tensor([1.0, 1.0, 0.0, 0.0]), pairs)
    assert mean == 0.5 and high - mean == pytest.approx(1.96 * 2**0.5 / 4) == mean - low
    _, low, high = splits.over_prompts(torch.tensor([1.0, 0.0, 1.0, 0.0]), pairs)
    assert low == high == 0.5


def test_the_control_learns_the_labels_it_is_given(small):
    turned = [number % 2 == 0 for number in range(16)]
    policy, history = experiments.trained(point(), 0, turned=turned)
    assert history.rows[0]["loss"] == pytest.approx(0.69315, abs=1e-4), "its reference is turned with it"
    as_given = experiments.on_trained(policy, turned)
    as_labelled = experiments.on_trained(policy)
    assert as_given["trained_chosen"] > as_given["trained_rejected"]
    for place, other in enumerate(turned[:12]):
        sides = ("rejected", "chosen") if other else ("chosen", "rejected")
        for side, found in zip(("chosen", "rejected"), sides, strict=True):
            assert as_given[f"trained_{side}_each"][place] == as_labelled[f"trained_{found}_each"][place]
    assert {"held_loss", "gold_4"} <= set(experiments.dpo_labels(point(), 0))


def test_noise_is_as_long_as_asked_and_moves_the_answers(small):
    _, model, *_ = small
    noisy = experiments.with_noise(model, 0.06, 0)
    for weight, changed in zip(model.parameters(), noisy.parameters(), strict=True):
        assert (changed - weight).norm() == pytest.approx(0.06 * weight.norm().item(), rel=1e-3)
    run = experiments.dpo_noise({"noise": 0.06}, 0)
    assert run["held_loss"] > 0 and run["trained_chosen"] != 0


def test_stored_runs_rest_on_the_pairs_and_their_modules():
    names = {path.relative_to(DATA).parts[0] for path in reach.files_read(experiments.dpo)}
    assert {"preferences", "conversations", "pocket-gpt2", "source"} <= names
    modules = {module for module, _ in reach.reach(experiments.dpo).names}
    wanted = ("methods.dpo", "methods.rollouts", "methods.reward", "methods.sft", "training", "generation")
    wanted += (
        "log_probs",
        "preferences",
        "world.gold",
        "lessons.lesson_12.judging",
        "lessons.lesson_13.splits",
    )
    assert {f"course_utils.{name}" for name in wanted} <= modules
