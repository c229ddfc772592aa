"""Lesson 11: verdicts on answers; the training for the score; the hunt's penalty; what claims exclude."""

import copy
import functools
import random

import matplotlib.pyplot as plt
import pytest
import torch
from helpers import draws_of, feed, tiny_model, tiny_tokenizer

from course_utils import artifacts
from course_utils.chatml import add_chat_tokens
from course_utils.lessons.lesson_11 import experiments, figures, runaway, stored, suspects
from course_utils.lessons.lesson_11.small_kl import mean_sequence_kl, rewards_by_token
from course_utils.log_probs import log_probs_of
from course_utils.methods.kl import completion_log_probs, completion_logits, exact_kl, k1, rlhf_kl_penalty
from course_utils.methods.reward import from_language_model
from course_utils.stored_runs import short_form
from course_utils.world import annotator


@pytest.mark.parametrize("exercise, seed", draws_of("11"))
def test_answers_get_their_verdicts(exercise, seed):
    feed(exercise, seed)


PROMPTS = [[{"role": "user", "content": text}] for text in ("a cat", "is the mat", "Paris", "the capital")]


@pytest.fixture(scope="module")
def parts():
    """(policy, tokenizer, reward model) of a tiny model with ChatML tokens."""
    tokenizer = tiny_tokenizer()
    model = tiny_model(vocab_size=len(tokenizer))
    add_chat_tokens(model, tokenizer)
    reward_model = from_language_model(model)
    torch.manual_seed(0)
    torch.nn.init.normal_(reward_model.head.weight)
    return model.requires_grad_(False), tokenizer, reward_model.requires_grad_(False)


def run(parts, iterations=3, **options):
    model, tokenizer, reward_model = parts
    policy = copy.deepcopy(model)
    options = {"beta": 0.5, "lr": 1e-3, **options}
    rows = runaway.train_for_score(
        policy, model, reward_model, tokenizer, PROMPTS, iterations=iterations, max_new_tokens=8, **options
    )
    return policy, rows


def test_the_penalty_is_charged_where_it_stands_and_the_score_at_the_end(parts):
    seen = []

    def watched(scores, penalties, mask):
        seen.append((scores, penalties, mask))
        return rewards_by_token(scores, penalties, mask)

    _, rows = run(parts, rewards=watched)
    assert torch.allclose(seen[0][1], torch.zeros(()), atol=1e-5), "the policy is the reference at first"
    scores, penalties, mask = seen[2]
    assert penalties[mask].abs().max() > 1e-4 and not penalties[~mask].any()
    assert rows[2]["kl"] == pytest.approx(penalties.sum(-1).mean().item() / 0.5, rel=1e-3)
    assert rows[2]["proxy"] == pytest.approx(scores.mean().item(), rel=1e-4)


def test_the_distance_that_is_told_is_the_learners(parts):
    _, rows = run(parts, distance=lambda now, before, mask: torch.tensor(7.0))
    assert [row["kl"] for row in rows] == [7.0] * 3


def test_texts_stand_with_their_scores(parts):
    model, tokenizer, _ = parts
    _, _, new, mask = runaway.sample(model, tokenizer, PROMPTS, 0, 8)
    proxy, gold = torch.tensor([0.0, 1.0, 2.0, 3.0]), torch.tensor([0.1, 0.2, 0.3, 0.4])
    texts, told = (
        runaway.texts_of(tokenizer, new, mask),
        runaway.texts_and_scores(tokenizer, new, mask, proxy, gold, [2, 0]),
    )
    assert told == [
        f"{texts[2]}\n\n[proxy 2.00, gold score 0.30]",
        f"{texts[0]}\n\n[proxy 0.00, gold score 0.10]",
    ]
    assert runaway.with_error(proxy) == pytest.approx(
        (1.5, 1.5 - proxy.std().item(), 1.5 + proxy.std().item())
    )


def test_a_stored_run_is_measured_when_it_has_ended(parts, monkeypatch):
    model, tokenizer, reward_model = parts
    train = functools.partial(runaway.train_for_score, lr=1e-3)
    monkeypatch.setattr(artifacts, "sft_model", lambda session: (copy.deepcopy(model), tokenizer))
    monkeypatch.setattr(artifacts, "reward_model", lambda session: (reward_model, tokenizer))
    monkeypatch.setattr(annotator, "neutral_prompts", lambda: PROMPTS * 2)
    monkeypatch.setattr(runaway, "train_for_score", train)
    with short_form():
        ours, theirs = (experiments.run({"beta": 0.5, "penalty": p}, 0) for p in ("right", "flipped"))
        free, early = (
            experiments.run({"beta": 0.0, "penalty": "right"}, 0),
            experiments.stop_early({"beta": 0.0}, 0),
        )
        by_chance = experiments.shuffle_scores({"beta": 0.0}, 1)
        own = experiments.run({"beta": 0.0, "penalty": "right"}, 1)
    assert early == {f"{name}_after_2": free[name] for name in ("proxy", "gold", "kl")}
    assert ours["kl_1"] == pytest.approx(0, abs=1e-4) and abs(ours["kl"]) > 1e-3
    assert ours.keys() == {f"{n}{end}" for n in ("proxy", "gold", "kl") for end in ("", "_1", "_2")}
    assert ours["proxy_1"] == theirs["proxy_1"] and ours["kl"] != theirs["kl"]
    assert by_chance.keys() == own.keys() and by_chance["kl"] != own["kl"]
    assert all(by_chance[f"{name}_1"] == own[f"{name}_1"] for name in ("proxy", "gold", "kl"))


def test_scores_are_dealt_out_whole_and_anew_for_each_batch(parts, monkeypatch):
    """What becomes the rewards is a permutation of the batch's scores, another one each time."""
    model, tokenizer, reward_model = parts
    seen = []

    def train(policy, *arguments, rewards, **options):
        scores, mask = torch.arange(12.0), torch.ones(12, 3).bool()
        seen.extend(rewards(scores, torch.zeros(12, 3), mask) for _ in range(2))
        return []

    monkeypatch.setattr(artifacts, "sft_model", lambda session: (copy.deepcopy(model), tokenizer))
    monkeypatch.setattr(artifacts, "reward_model", lambda session: (reward_model, tokenizer))
    monkeypatch.setattr(annotator, "neutral_prompts", lambda: PROMPTS * 2)
    monkeypatch.setattr(runaway, "train_for_score", train)
    with short_form():
        experiments.shuffle_scores({"beta": 0.0}, 0)
    one, other = (each[:, -1] for each in seen)
    assert one.sort().values.tolist() == other.sort().values.tolist() == list(range(12))
    assert one.tolist() != other.tolist() and one.tolist() != list(range(12))


def test_an_update_follows_the_policy_gradient(parts):
    """Adam's first step has the sign of the gradient, computed here by hand."""
    model, tokenizer, reward_model = parts
    asked = random.Random(0).sample(PROMPTS, 4)
    batch = runaway.sample(model, tokenizer, asked, 0, 8)
    ids, ids_mask, new, mask = batch
    proxy, _ = runaway.proxy_and_gold(reward_model, tokenizer, asked, *batch)
    fresh = copy.deepcopy(model).requires_grad_(True)
    log_probs = completion_log_probs(fresh, ids, ids_mask, new)
    to_come = proxy[:, None].expand_as(log_probs)[mask]  # without a penalty, only the score
    weights = (to_come - to_come.mean()) / to_come.std()
    (weights * log_probs[mask]).mean().backward()
    policy, _ = run(parts, iterations=1, beta=0.0, lr=1e-5)
    gradient = torch.cat([p.grad.flatten() for p in fresh.parameters()])
    moved = torch.cat(
        [(a - b).flatten() for a, b in zip(policy.parameters(), model.parameters(), strict=True)]
    )
    strong = gradient.abs() > gradient.abs().quantile(0.9)
    assert (moved[strong].sign() == gradient[strong].sign()).float().mean() > 0.99


def test_answers_and_masks_end_with_the_stop(parts):
    model, tokenizer, _ = parts
    ids, ids_mask, new, mask = runaway.sample(model, tokenizer, PROMPTS, 1, 8)
    assert ids.shape == ids_mask.shape and new.shape == mask.shape and mask[:, 0].all()
    assert len(runaway.texts_of(tokenizer, new, mask)) == 4


def test_their_penalty_is_ours_turned_round():
    torch.manual_seed(0)
    now, before = -torch.rand(2, 3, 4)
    mask = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]]).bool()
    assert torch.allclose(
        suspects.their_penalty(now, before, 0.3, mask), -rlhf_kl_penalty(now, before, 0.3, mask)
    )


def test_the_answer_of_the_hunt_has_its_numbers(capsys):
    suspects.show_answer(5.44, -5.57, 2.84)
    told = capsys.readouterr().out
    assert "here 5.44" in told and "Theirs is -5.57" in told and "2.8 times" in told
    right, turned = stored.ends("no penalty"), stored.ends("their penalty")
    assert sum(b["kl"] / a["kl"] for a, b in zip(right, turned, strict=True)) / 5 > 2, "they left farther"


def test_what_the_lesson_says_of_the_stopped_runs():
    ours, stopped = stored.ends("our penalty"), stored.stopped_as_near()
    proxy = stored.differences("proxy", ours, stopped)
    assert f"{sum(proxy) / 5:.2f}" == "0.13" and sum(each < 0 for each in proxy) == 2
    ends = [sum(run["proxy"] for run in stored.ends(f"{which} penalty")) / 5 for which in ("no", "our")]
    assert [f"{each:.2f}" for each in ends] == ["0.59", "0.54"]


def test_the_mean_of_the_log_ratios_is_the_exact_kl(parts):
    model, tokenizer, _ = parts
    policy, _ = run(parts, lr=3e-3)
    ids, ids_mask, new, mask = runaway.sample(policy, tokenizer, PROMPTS * 100, 0, 4)
    with torch.no_grad():
        logits = [completion_logits(each, ids, ids_mask, new) for each in (policy, model)]
    now, before = (log_probs_of(each, new) for each in logits)
    exact = torch.where(mask, exact_kl(*logits), 0.0).sum(-1)
    sampled = torch.where(mask, k1(now, before), 0.0).sum(-1)
    error = (sampled - exact).std().item() / len(exact) ** 0.5
    assert exact.mean() > 5 * error, "the policy has moved"
    assert mean_sequence_kl(now, before, mask).item() == pytest.approx(exact.mean().item(), abs=4 * error)


def test_stored_claims_have_their_controls_on_the_other_side():
    without, ours, theirs = (stored.ends(f"{whose} penalty") for whose in ("no", "our", "their"))
    assert [len(each) for each in (without, ours, theirs)] == [5, 5, 5]
    right, turned = (stored.differences("gold", each, without) for each in (ours, theirs))
    assert max(turned) < 0.05 < 0.1 < min(right), "the headline refuses a turned sign"

    def share(ends):
        return [one["kl"] / other["kl"] for one, other in zip(ends, without, strict=True)]

    assert max(share(ours)) < 0.6 < 1 < min(share(theirs))


def test_a_run_is_stopped_where_its_kl_is_nearest(monkeypatch):
    def run(*kls):
        return [{"kl": kl, "gold": 0.1 * kl, "updates": step} for step, kl in enumerate(kls, 3)]

    monkeypatch.setattr(stored, "stopped_runs", lambda: [run(3, 9, 20), run(1, 2, 3)])
    monkeypatch.setattr(stored, "ends", lambda setting: [{"kl": 14.0}, {"kl": 50.0}])
    assert [(each["kl"], each["updates"]) for each in stored.stopped_as_near()] == [(9, 4), (3, 5)]
    assert stored.differences("kl", [{"kl": 3}], [{"kl": 5}]) == [-2]


def test_a_stopped_run_is_that_of_the_headline(parts, monkeypatch):
    """Measuring on the way changes nothing, and what is measured after the last update is the end."""
    seen = []
    _, rows = run(parts, beta=0.0, after_update=seen.append)
    assert seen == [1, 2, 3] and rows == run(parts, beta=0.0)[1]
    first = [
        sum(each) / 5 for each in zip(*[(r["kl"], r["gold"]) for r in stored.ends("no penalty")], strict=True)
    ]
    last = [
        sum(each) / 5
        for each in zip(*[(r[-1]["kl"], r[-1]["gold"]) for r in stored.stopped_runs()], strict=True)
    ]
    assert last[0] < first[0] and last[1] > first[1], "seven updates leave it nearer than ten"


def test_a_figure_has_a_mean_for_each_setting_and_a_line_a_run_where_runs_are_many():
    one = [{"proxy": 0.1 * step, "gold": 0.5, "kl": step} for step in range(4)]
    other = [{"proxy": 0.1 * step, "gold": 0.5, "kl": 3 * step} for step in range(4)]
    figures.runs_over_iterations({"one": [one], "many": [one, other]}, "title")
    axes = plt.gcf().axes
    assert [len(ax.lines) for ax in axes] == [4, 4, 4]
    assert [line.get_ydata()[-1] for line in axes[2].lines] == [3, 6, 3, 9]
    plt.close("all")
