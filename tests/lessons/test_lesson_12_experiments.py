"""What the lessons draw from the stored runs, on runs made up for the test."""

import pytest
from helpers import small_policy_parts

from course_utils import reach, stored_runs
from course_utils.data import DATA
from course_utils.lessons.lesson_12 import experiments, judging
from course_utils.lessons.lesson_12.experiments import CHOICES
from course_utils.methods import rollouts


def stored(monkeypatch, rows):
    monkeypatch.setattr(stored_runs, "load_sweep", lambda name: {"rows": rows[name]})


def test_runs_are_found_by_a_part_of_their_point(monkeypatch):
    rows = [
        {"point": {"beta": b, "lr": 0.1}, "seed": s, "result": {"x": b + s}}
        for b in (0.0, 1.0)
        for s in (0, 1)
    ]
    stored(monkeypatch, {"ppo": rows})
    assert experiments.runs_of("ppo", beta=1.0) == [{"x": 1.0}, {"x": 2.0}]
    assert len(experiments.runs_of("ppo")) == 4 and experiments.runs_of("ppo", beta=2.0) == []


def test_checkpoints_are_told_from_other_numbers():
    run = {"kl": 1.0, "kl_0": 0.0, "kl_10": 3.0, "kl_4": 2.0, "golds_0": [], "gold_0": 0.5, "gold": 0.5}
    assert experiments.iterations_of(run) == [0, 4, 10]
    assert experiments.iterations_of(run, "gold") == [0]


def test_stored_runs_rest_on_the_pairs_the_conversations_and_their_modules():
    names = {path.relative_to(DATA).parts[0] for path in reach.files_read(experiments.ppo)}
    assert {"preferences", "conversations", "pocket-gpt2", "source"} <= names
    modules = {module for module, _ in reach.reach(experiments.ppo).names}
    wanted = ("methods.ppo", "methods.kl", "methods.rollouts", "methods.reward", "methods.sft", "training")
    wanted += ("generation", "kernels", "data", "chatml", "log_probs", "models", "world.gold", "preferences")
    wanted += ("lessons.lesson_12.judging", "lessons.lesson_12.experiments")
    assert {f"course_utils.{name}" for name in wanted} <= modules


def test_methods_are_grouped_by_setting_from_near_to_far(monkeypatch):
    def run(point, kl):
        return {"point": point, "result": {"kl": kl, "proxy": 0, "gold": 0}}

    best = {f"{name}_{n}": n for n in CHOICES for name in ("kl", "proxy", "gold")}
    stored(
        monkeypatch,
        {
            "ppo": [run({"beta": 0.0}, 50), run({"beta": 0.2}, 4), run({"beta": 0.2}, 6)],
            "dpo": [run({"loss": "dpo", "beta": 0.1}, 9)],
            "best_of_n": [{"point": {}, "result": best}],
        },
    )
    found = experiments.by_method()
    assert [[one["kl"] for one in runs] for runs in found["PPO"]] == [[4, 6], [50]]
    assert [[one["kl"] for one in runs] for runs in found["DPO"]] == [[9]]
    assert [runs[0]["kl"] for runs in found["best of n"]] == list(CHOICES)


@pytest.fixture
def small_parts(monkeypatch):
    """experiments.policy_parts of a small model, answers of five tokens; the prompts."""
    parts = small_policy_parts()
    monkeypatch.setattr(experiments, "policy_parts", lambda: parts)
    sampling_of = rollouts.sampling_of

    def short(tokenizer, max_new_tokens=5):
        return sampling_of(tokenizer, 5)

    monkeypatch.setattr(rollouts, "sampling_of", short)
    monkeypatch.setattr(judging, "sampling_of", short)
    return parts[-1]


def test_a_run_is_followed_on_the_held_out_prompts_and_not_disturbed(small_parts):
    run = experiments.followed_ppo(3, (2, 4), iterations=4, beta=0.1, lr=1e-3)
    assert experiments.iterations_of(run) == [0, 2, 4] and run["kl_0"] == 0 < run["kl_4"] == run["kl"]
    assert experiments.iterations_of(run, "entropy") == [1, 2, 3, 4]
    for i in (0, 2, 4):
        assert len(run[f"golds_{i}"]) == len(small_parts)
        assert run[f"gold_{i}"] == pytest.approx(sum(run[f"golds_{i}"]) / 2, abs=1e-3)
        assert any(run[f"text_{i}"].startswith(prompt[0]["content"]) for prompt in small_parts)
    rarely = experiments.followed_ppo(3, (4,), iterations=4, beta=0.1, lr=1e-3)
    assert all(run[key] == value for key, value in rarely.items()), "looking on the way changes nothing"


def test_other_rewards_and_methods_are_followed_too(small_parts):
    by_gold = experiments.followed_ppo(0, (1,), iterations=1, beta=0.0, lr=1e-3, reward="gold")
    assert experiments.iterations_of(by_gold) == [0, 1]
    for method in ("rloo", "grpo"):
        run = experiments.group_methods({"method": method, "lr": 1e-3, "beta": 0.1}, 0)
        assert experiments.iterations_of(run) == [0, 4, 8, 12] and run["kl_12"] > 0


def test_a_sample_is_taken_apart_as_it_was_joined():
    prompt = [{"role": "user", "content": "Tell me (gold or not) a story."}]
    text = judging.titled(prompt, "Once.\nTwice.", 0.25)
    assert judging.untitled(text) == ("Tell me (gold or not) a story.", "Once.\nTwice.")


def test_an_interval_has_the_standard_error_of_the_mean():
    middle, low, high = judging.interval([1.0, 2.0, 3.0, 6.0])
    deviation = (14 / 3) ** 0.5  # around the mean 3
    assert middle == 3 and (low + high) / 2 == pytest.approx(3)
    assert high - low == pytest.approx(2 * 1.96 * deviation / 2)


def test_answers_are_measured_one_by_one_and_their_means_are_those_of_the_policy(small_parts):
    _, model, tokenizer, judge, _, prompts = experiments.policy_parts()
    found, texts = judging.measured_answers(model, model, judge, tokenizer, prompts)
    means, same = judging.evaluate_policy(model, model, judge, tokenizer, prompts)
    assert texts == same and all(len(values) == len(prompts) for values in found.values())
    assert means == {name: pytest.approx(values.mean().item()) for name, values in found.items()}
    said = [(prompt[-1]["content"], text) for prompt, text in zip(prompts, texts, strict=True)]
    assert len(judging.scores_of(judge, tokenizer, said)) == len(prompts)
