import itertools
import math

import pytest
import torch
from helpers import tiny_model, tiny_tokenizer

from course_utils.chatml import add_chat_tokens
from course_utils.data import IGNORE, Example, collate, encode_prompt_completion
from course_utils.lessons.lesson_12 import experiments, judging
from course_utils.log_probs import FrozenHeadLogProbs, fast_token_log_probs, token_log_probs
from course_utils.methods import rollouts
from course_utils.methods.reward import from_language_model
from course_utils.world.gold import gold_score


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer()


@pytest.fixture(scope="module")
def model(tokenizer):
    return tiny_model(vocab_size=len(tokenizer))


@pytest.fixture(scope="module")
def batch(tokenizer):
    texts = [("Question: is the cat", " sat on a mat"), ("You are", " helpful"), ("a", " mat of the capital")]
    return collate([encode_prompt_completion(tokenizer, *text) for text in texts], tokenizer.pad_token_id)


def by_hand(model, example):
    """Log-probability of the labelled tokens of one unpadded sequence, one forward pass per token."""
    result = []
    for place in range(1, len(example.input_ids)):
        if example.labels[place] != IGNORE:
            logits = model(torch.tensor([example.input_ids[:place]])).logits[0, -1].double()
            result.append((logits - logits.logsumexp(0))[example.input_ids[place]])
    return torch.stack(result)


def test_log_probs_are_those_of_one_token_after_another(model, tokenizer, batch):
    with torch.no_grad():
        values = token_log_probs(model, batch)
        for row, (ids, mask, labels) in enumerate(
            zip(batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True)
        ):
            length = int(mask.sum())
            example = Example(ids[:length].tolist(), labels[:length].tolist())
            expected = by_hand(model, example)
            scored = labels[1:] != IGNORE
            assert torch.allclose(values[row][scored].double(), expected, atol=1e-5)
            assert (values[row][~scored] == 0).all()


@pytest.mark.parametrize("frozen", [False, True])
def test_the_fast_path_gives_the_same_values_and_gradients(model, batch, frozen):
    model.requires_grad_(True)
    model.lm_head.weight.requires_grad_(not frozen)
    weights = torch.rand(batch["labels"][:, 1:].shape)
    chosen = [p for p in model.parameters() if p.requires_grad]
    results = []
    for function in (token_log_probs, fast_token_log_probs):
        values = function(model, batch)
        results.append((values, torch.autograd.grad((weights * values).sum(), chosen)))
    assert torch.allclose(results[0][0], results[1][0], atol=1e-5)
    for slow, fast in zip(results[0][1], results[1][1], strict=True):
        assert torch.allclose(slow, fast, atol=2e-5)


def test_a_frozen_head_is_sliced_by_rows():
    torch.manual_seed(0)
    head, hidden = torch.randn(2**14, 4), torch.randn(300, 4, requires_grad=True)
    targets = torch.randint(0, 2**14, (300,))
    values = FrozenHeadLogProbs.apply(hidden, head, targets)
    expected = (hidden @ head.T).log_softmax(-1)[range(300), targets]
    assert torch.allclose(values, expected, atol=1e-4)
    weights = torch.rand(300)
    gradients = [torch.autograd.grad((weights * v).sum(), hidden)[0] for v in (values, expected)]
    assert torch.allclose(*gradients, atol=1e-4)


def test_a_rollout_is_a_right_padded_batch_that_ends_at_the_stop(model, tokenizer):
    prompts = [tokenizer(text)["input_ids"] for text in ("Question:", "You are a helpful", "a")]
    stops = list(range(0, 400, 7))
    generator = torch.Generator().manual_seed(1)
    batch = rollouts.rollout(model, prompts, max_new_tokens=12, stop_ids=stops, pad_id=0, generator=generator)
    for row, prompt in enumerate(prompts):
        length = int(batch["attention_mask"][row].sum())
        ids, labels = batch["input_ids"][row].tolist(), batch["labels"][row].tolist()
        answer = ids[len(prompt) : length]
        assert ids[: len(prompt)] == prompt and set(batch["attention_mask"][row, :length].tolist()) == {1}
        assert labels == [IGNORE] * len(prompt) + answer + [IGNORE] * (len(ids) - length)
        assert bool(batch["ended"][row]) == (answer[-1] in stops)
        assert not set(answer[:-1]) & set(stops) and 1 <= len(answer) <= 12
        assert batch["ended"][row] or len(answer) == 12


def test_rollouts_follow_the_models_distribution(model):
    """The first token of many answers, compared with its probabilities."""
    rows = 4000
    batch = rollouts.rollout(
        model,
        [[5, 6]] * rows,
        max_new_tokens=1,
        stop_ids=[0],
        pad_id=0,
        generator=torch.Generator().manual_seed(0),
    )
    counts = batch["input_ids"][:, 2].bincount(minlength=model.config.vocab_size) / rows
    probabilities = model(torch.tensor([[5, 6]])).logits[0, -1].softmax(-1)
    spread = (probabilities * (1 - probabilities) / rows).sqrt()
    assert ((counts - probabilities).abs() < 5 * spread + 1e-3).all()


def test_answer_texts_leave_out_prompt_and_end(tokenizer, batch):
    assert rollouts.answer_texts(tokenizer, batch) == ["sat on a mat", "helpful", "mat of the capital"]


def test_distance_gives_the_references_log_probability_too(tokenizer, model, batch):
    other = tiny_model(seed=1, vocab_size=len(tokenizer))
    kl, of_reference = judging.distance(model, other, batch)
    assert torch.equal(kl, judging.sequence_kl(model, other, batch))
    assert torch.allclose(of_reference, token_log_probs(other, batch).sum(1), atol=1e-4)


def test_parts_by_length_have_every_row_once_and_no_empty_column(batch):
    seen = []
    for places, part in judging.by_length(batch, 2):
        width = part["input_ids"].shape[1]
        assert part["attention_mask"].sum(1).max() == width
        for name in ("input_ids", "labels", "attention_mask"):
            assert torch.equal(part[name], batch[name][places, :width])
        seen += places.tolist()
    assert sorted(seen) == [0, 1, 2]


def test_sequence_kl_is_exact_on_every_position(tokenizer, model, batch):
    other = tiny_model(seed=1, vocab_size=len(tokenizer))
    with torch.no_grad():
        mine, theirs = (m(batch["input_ids"]).logits[:, :-1].double().log_softmax(-1) for m in (model, other))
    kl = (mine.exp() * (mine - theirs)).sum(-1) * rollouts.answer_mask(batch)
    assert torch.allclose(judging.sequence_kl(model, other, batch).double(), kl.sum(1), atol=1e-4)
    assert (judging.sequence_kl(model, model, batch) == 0).all()


def test_the_reference_stays_where_it_is(tokenizer):
    model = tiny_model(vocab_size=len(tokenizer)).train()
    reference = rollouts.frozen_copy(model)
    before = [p.clone() for p in reference.parameters()]
    with torch.no_grad():
        for p in model.parameters():
            p.add_(1)
    assert all((a == b).all() for a, b in zip(before, reference.parameters(), strict=True))
    assert not reference.training and not any(p.requires_grad for p in reference.parameters())
    assert model.training and all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_best_of_n_is_the_mean_over_all_choices(n):
    torch.manual_seed(0)
    judge, scores = torch.rand(3, 5, dtype=torch.double), torch.rand(3, 5, dtype=torch.double)
    chosen = [
        max(choice, key=lambda i: judge[row, i])
        for row in range(3)
        for choice in itertools.combinations(range(5), n)
    ]
    rows = [row for row in range(3) for _ in range(math.comb(5, n))]
    assert judging.best_of_n_mean(judge, scores, n).item() == pytest.approx(
        scores[rows, chosen].mean().item()
    )


def test_best_of_n_refuses_more_than_there_are():
    with pytest.raises(ValueError, match="n = 6"):
        judging.best_of_n_mean(torch.rand(3, 5), torch.rand(3, 5), 6)


def test_best_of_n_kl_bounds_the_exact_one():
    """For a uniform distribution over K values, the best of n is known; its KL rises to the bound."""
    for n in (1, 2, 8, 64):
        bounds = []
        for K in (10, 1000):
            i = torch.arange(1, K + 1, dtype=torch.double)
            p = (i / K) ** n - ((i - 1) / K) ** n
            bounds.append((p * (p * K).clamp(min=1e-300).log()).sum().item())
        assert bounds[0] <= bounds[1] + 1e-12 <= judging.best_of_n_kl(n) + 1e-9
        assert judging.best_of_n_kl(n) == pytest.approx(bounds[1], abs=0.01)


def test_distinct_words():
    assert judging.distinct_words("The cat, the CAT and a dog") == 5 / 7
    assert judging.distinct_words("") == 1.0


@pytest.fixture(scope="module")
def chat():
    """(model, tokenizer) with the markers, both small."""
    tokenizer, model = tiny_tokenizer(), tiny_model(vocab_size=len(tiny_tokenizer()))
    add_chat_tokens(model, tokenizer)
    return model, tokenizer


PROMPTS = [[{"role": "user", "content": text}] for text in ("a cat", "Is the mat in Paris?", "sat")]


def test_a_batch_tells_what_was_asked(chat):
    model, tokenizer = chat
    batch = rollouts.rollout(
        model,
        rollouts.encode_prompts(tokenizer, PROMPTS),
        **rollouts.sampling_of(tokenizer, max_new_tokens=5),
    )
    assert judging.requests_of(tokenizer, batch) == [prompt[0]["content"] for prompt in PROMPTS]


def test_the_watched_reward_is_the_models_score_and_keeps_the_gold_one(chat):
    model, tokenizer = chat
    judge = from_language_model(model)
    torch.nn.init.normal_(judge.head.weight)
    batch = rollouts.rollout(
        model,
        rollouts.encode_prompts(tokenizer, PROMPTS),
        **rollouts.sampling_of(tokenizer, max_new_tokens=5),
    )
    seen = []
    with torch.no_grad():
        scores = judging.watched_reward(judge, tokenizer, seen)(batch)
        assert torch.equal(scores, judge(batch["input_ids"], batch["attention_mask"]))
    texts = rollouts.answer_texts(tokenizer, batch)
    golds = [gold_score(p[0]["content"], text) for p, text in zip(PROMPTS, texts, strict=True)]
    assert seen == [
        {
            "proxy": scores.mean().item(),
            "gold": pytest.approx(sum(golds) / 3),
            "sample": ("a cat", texts[0], scores[0].item(), pytest.approx(golds[0])),
        }
    ]


def test_the_parts_of_an_answer_have_the_score_and_the_words():
    prompt = [{"role": "user", "content": "Tell me a story about Mia."}]
    text = "Mia was happy. Mia was happy."
    parts = judging.parts(prompt, text)
    assert parts["gold"] == gold_score("Tell me a story about Mia.", text) and parts["words"] == 6
    assert set(parts) == {"gold", *experiments.PARTS, "words"}
    assert judging.titled(prompt, text, 0.123) == "Tell me a story about Mia. (gold 0.12)\n" + text


def test_the_reward_may_be_the_gold_score(chat):
    model, tokenizer = chat
    batch = rollouts.rollout(
        model,
        rollouts.encode_prompts(tokenizer, PROMPTS),
        **rollouts.sampling_of(tokenizer, max_new_tokens=5),
    )
    texts = rollouts.answer_texts(tokenizer, batch)
    golds = [judging.parts(*pair)["gold"] for pair in zip(PROMPTS, texts, strict=True)]
    assert judging.gold_reward(tokenizer)(batch).tolist() == pytest.approx(golds)


def test_evaluating_samples_at_temperature_one(chat, monkeypatch):
    """The first tokens of many answers, compared with the probabilities used for the KL."""
    model, tokenizer = chat
    batches = []

    def kept(*arguments, **options):
        batches.append(rollouts.rollout(*arguments, **options))
        return batches[-1]

    monkeypatch.setattr(judging, "rollout", kept)
    judging.evaluate_policy(
        model, model, from_language_model(model), tokenizer, PROMPTS[:1] * 1000, max_new_tokens=1, rows=1000
    )
    drawn = batches[0]["labels"][batches[0]["labels"] != IGNORE]
    ids = torch.tensor(rollouts.encode_prompts(tokenizer, PROMPTS[:1]))
    with torch.no_grad():
        p = model(ids).logits[0, -1].softmax(-1)
    expected, spread = (p**2).sum(), (p * (p - (p**2).sum()).square()).sum().sqrt()  # of p of the drawn token
    sharper = p ** (1 / 0.7) / (p ** (1 / 0.7)).sum()
    room = 4 * spread / 1000**0.5
    assert (sharper * p).sum() - expected > 2 * room, "a temperature of .7 would be seen"
    assert (p[drawn].mean() - expected).abs() < room


def test_evaluating_measures_each_prompts_answer_however_it_is_batched(chat):
    model, tokenizer = chat
    other = tiny_model(seed=1, vocab_size=len(tiny_tokenizer()))
    add_chat_tokens(other, tiny_tokenizer())
    judge = from_language_model(model)
    torch.nn.init.normal_(judge.head.weight)
    means, texts = judging.evaluate_policy(model, other, judge, tokenizer, PROMPTS, max_new_tokens=6, rows=2)
    assert means["tokens"] <= 6 and means["kl"] > 0 and means["reference_loss"] > 0
    golds = [gold_score(p[0]["content"], text) for p, text in zip(PROMPTS, texts, strict=True)]
    assert means["gold"] == pytest.approx(sum(golds) / 3) and 0 <= means["ended"] <= 1
    same, _ = judging.evaluate_policy(model, model, judge, tokenizer, PROMPTS, max_new_tokens=6, rows=2)
    assert same["kl"] == 0 and same["proxy"] == pytest.approx(means["proxy"])
