import pytest
import torch

from course_utils import generation
from course_utils.generation import filter_logits, generate, pad_left, sample_from, sample_tokens
from course_utils.models import load_model

PROMPTS = [
    "a cat sat",
    "Question: is the capital of France Paris?\nAnswer:",
    "the",
    "on the mat: a helpful cat",
]


def plain_greedy(model, ids, steps):
    """The definition: no cache, no batch, no padding."""
    ids = list(ids)
    for _ in range(steps):
        ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[-steps:]


def sampled(model, rows, **settings):
    return sample_tokens(model, *pad_left(rows, 0), **settings)


def test_top_k_and_top_p_keep_what_the_definition_keeps():
    probabilities = torch.tensor([[0.1, 0.4, 0.3, 0.15, 0.05], [0.05, 0.05, 0.05, 0.05, 0.8]])

    def kept(**rules):
        return [
            [i for i, x in enumerate(row) if x > -torch.inf]
            for row in filter_logits(probabilities.log(), **rules).tolist()
        ]

    assert kept(top_k=2)[0] == [1, 2]
    assert kept(top_p=0.5) == [[1, 2], [4]]  # the token that crosses the mass stays
    assert kept(top_p=0.69)[0] == [1, 2]
    assert kept(top_p=0.71)[0] == [1, 2, 3]
    assert kept(top_p=1e-9) == [[1], [4]]
    assert kept(top_k=3, top_p=0.8)[0] == [1, 2]  # .4 + .3 of the .85 that top-k leaves
    assert kept(top_k=100) == kept() == [[0, 1, 2, 3, 4]] * 2


def test_temperature_divides_the_logits():
    logits = torch.tensor([[1.0, 2.0, 4.0]])
    torch.testing.assert_close(filter_logits(logits, temperature=0.5), 2 * logits)


def test_sampling_follows_the_distribution():
    probabilities = torch.tensor([0.0, 0.5, 0.0, 0.2, 0.3, 0.0])
    generator = torch.Generator().manual_seed(0)
    draws = sample_from(probabilities.expand(100_000, -1), generator)
    shares = torch.bincount(draws, minlength=6) / len(draws)
    assert shares[probabilities == 0].sum() == 0
    torch.testing.assert_close(shares, probabilities, atol=0.006, rtol=0)  # four standard deviations


def test_sampling_never_leaves_what_is_possible(monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.zeros(shape))  # rand's smallest value
    assert sample_from(torch.tensor([[0.0, 0.0, 0.7, 0.3]])).item() == 2
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.full(shape, 1 - 2**-24))  # and its largest
    for scale in (0.1, 1.0, 1.9999999):
        assert sample_from(torch.tensor([[0.3, 0.7, 0.0]]) * scale).item() == 1


def test_greedy_with_cache_and_padding_equals_the_plain_loop(model, tokenizer):
    rows = [tokenizer(prompt)["input_ids"] for prompt in PROMPTS]
    new = sampled(model, rows, max_new_tokens=12, temperature=0)
    assert new.tolist() == [plain_greedy(model, row, 12) for row in rows]


def test_a_row_repeats_its_stop_token_and_the_loop_ends_early(model, tokenizer):
    rows = [tokenizer(prompt)["input_ids"] for prompt in PROMPTS]
    free = sampled(model, rows, max_new_tokens=10, temperature=0).tolist()
    stops = [free[0][2], free[1][4]]
    new = sampled(model, rows[:2], max_new_tokens=10, temperature=0, stop_ids=stops).tolist()
    ends = [next(i for i, token in enumerate(row) if token in stops) for row in free[:2]]
    assert len(new[0]) == max(ends) + 1 < 10
    for row, full, end in zip(new, free, ends, strict=False):
        assert row == full[: end + 1] + [full[end]] * (len(row) - end - 1)


def test_continuation_is_text_without_prompt_and_stop(model, tokenizer):
    rows = [tokenizer(prompt)["input_ids"] for prompt in PROMPTS]
    expected = [tokenizer.decode(plain_greedy(model, row, 8)) for row in rows]
    assert generate(model, tokenizer, PROMPTS, max_new_tokens=8, stop=(), batch_size=3) == expected
    assert generate(model, tokenizer, rows, max_new_tokens=8, stop=()) == expected
    free = plain_greedy(model, rows[0], 8)
    cut = tokenizer.decode(free[: free.index(free[5])])
    assert generate(model, tokenizer, PROMPTS[:1], max_new_tokens=8, stop=(free[5],)) == [cut]


def test_a_text_that_stops_cuts_where_it_comes_first():
    pocket = load_model("pocket")
    (whole,) = generate(*pocket, ["Once there was a"], max_new_tokens=24, stop=())
    words = whole.split()
    first, later = " ".join(words[2:4]), " ".join(words[6:8])
    assert 0 < whole.find(first) < whole.find(later)
    cut = whole[: whole.find(first)]
    for stop in (first, (first, later), (later, first)):
        assert generate(*pocket, ["Once there was a"], max_new_tokens=24, stop=stop) == [cut]


def test_eos_stops_and_an_empty_prompt_starts_a_document(model, tokenizer):
    with torch.no_grad():
        model.transformer.ln_f.weight.zero_()
        model.transformer.ln_f.bias.copy_(model.transformer.wte.weight[tokenizer.eos_token_id])
    assert generate(model, tokenizer, ["", "a cat"]) == ["", ""]


def test_the_seed_decides_and_batching_keeps_greedy(model, tokenizer):
    def run(seed):
        return generate(model, tokenizer, PROMPTS, max_new_tokens=8, temperature=1.5, seed=seed)

    state = torch.get_rng_state()
    assert run(1) == run(1) != run(2)
    assert torch.equal(torch.get_rng_state(), state)


def test_generate_leaves_the_mode(model, tokenizer):
    model.train()
    generate(model, tokenizer, PROMPTS[:1], max_new_tokens=2)
    assert model.training


def test_no_prompts_no_answers(model, tokenizer):
    assert generate(model, tokenizer, []) == []


@pytest.mark.parametrize(
    ("prompts", "settings", "error", "message"),
    [
        ("a cat", {}, TypeError, r"write \[prompt\]"),
        (["a cat"], {"max_new_tokens": 0}, ValueError, "max_new_tokens must be at least 1"),
        (
            ["the", "cat" + " cat" * 120],
            {"max_new_tokens": 20},
            ValueError,
            "'cat cat .* and 20 new ones .* context of 128",
        ),
        (["a cat"], {"temperature": -1}, ValueError, "temperature >= 0"),
        (["a cat"], {"top_p": 0}, ValueError, "0 < top_p <= 1"),
    ],
)
def test_bad_requests_are_named(model, tokenizer, prompts, settings, error, message):
    with pytest.raises(error, match=message):
        generate(model, tokenizer, prompts, **settings)


def test_next_tokens_is_greedy_at_zero():
    assert generation.next_tokens(torch.tensor([[0.0, 3.0, 1.0]]), temperature=0).tolist() == [1]


@pytest.mark.parametrize("rules", [{}, {"temperature": 1.0, "top_p": 0.9}])
def test_a_stream_gives_the_tokens_of_the_batch(model, tokenizer, rules):
    ids = torch.tensor([tokenizer(PROMPTS[1])["input_ids"]])
    whole = sample_tokens(
        model,
        ids,
        torch.ones_like(ids),
        max_new_tokens=12,
        stop_ids=(0,),
        generator=torch.Generator().manual_seed(1),
        **{"temperature": 0.0, **rules},
    )
    stream = generation.stream_tokens(
        model, ids, max_new_tokens=12, stop_ids=(0,), generator=torch.Generator().manual_seed(1), **rules
    )
    assert list(stream) == whole[0].tolist()
