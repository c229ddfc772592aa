import copy
import json

import pytest
import torch
from helpers import tiny_gpt2, tiny_llama
from safetensors.torch import save_file

from course_utils.data import Example, encode_prompt_completion
from course_utils.evaluation import mean_loss
from course_utils.generation import generate, sample_tokens
from course_utils.methods import prompt_tuning
from course_utils.methods.lora import count_trainable
from course_utils.methods.prompt_tuning import PrefixTuning, PromptTuning, prefix_of_prompt, prompt_from_words
from course_utils.training import train

IDS = torch.randint(1, 64, (3, 10), generator=torch.Generator().manual_seed(1))
WORDS = [5, 60, 17, 5]


@pytest.fixture(params=[tiny_gpt2, tiny_llama])
def base(request):
    return request.param()


def tuned_models(base, length=6, seed=0):
    """A prompt and a prefix of the same length, random, each on a copy of the model."""
    torch.manual_seed(seed)
    prefix = torch.randn(length, prompt_tuning.prefix_width(base.config))
    prompt = prompt_tuning.random_prompt(base, length)
    return PromptTuning(copy.deepcopy(base), prompt), PrefixTuning(copy.deepcopy(base), prefix)


@torch.no_grad()
def logits(model, ids=IDS, **options):
    return model(ids, **options).logits


def test_a_prompt_of_words_is_the_words(base):
    text = torch.cat([torch.tensor(WORDS).expand(len(IDS), -1), IDS], 1)
    prompt = prompt_from_words(base, WORDS, len(WORDS))
    expected = logits(base, text)[:, len(WORDS) :]
    torch.testing.assert_close(logits(PromptTuning(base, prompt)), expected, atol=1e-6, rtol=0)
    assert (expected - logits(base)).abs().max() > 1e-3


def test_a_prompts_keys_and_values_are_a_prefix(base):
    prompted, _ = tuned_models(base)
    prefixed = PrefixTuning(copy.deepcopy(base), prefix_of_prompt(base, prompted.prompt))
    torch.testing.assert_close(logits(prefixed), logits(prompted), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", [0, 1])
def test_padding_on_either_side_changes_nothing(base, kind):
    tuned = tuned_models(base)[kind]
    alone = logits(tuned, IDS[:1, :7])
    padded, mask = IDS[:1].clone(), torch.ones(1, 10, dtype=torch.long)
    mask[:, 7:] = 0
    right = logits(tuned, padded, attention_mask=mask)[:, :7]
    torch.testing.assert_close(right, alone, atol=1e-5, rtol=0)
    padded = torch.cat([IDS[:1, :3], IDS[:1, :7]], 1)
    mask = torch.tensor([[0] * 3 + [1] * 7])
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    left = logits(tuned, padded, attention_mask=mask, position_ids=positions)[:, 3:]
    torch.testing.assert_close(left, alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", [0, 1])
def test_sampling_with_a_cache_is_sampling_without(base, kind):
    tuned = tuned_models(base)[kind]
    ids, mask = IDS.clone(), torch.ones_like(IDS)
    mask[1, :4] = 0
    new = sample_tokens(tuned, ids, mask, max_new_tokens=8, temperature=0)
    for row in range(3):
        seen = ids[row][mask[row].bool()].tolist()
        for token in new[row].tolist():
            assert token == int(logits(tuned, torch.tensor([seen]))[0, -1].argmax())
            seen.append(token)


@pytest.mark.parametrize("kind", [0, 1])
def test_logits_asked_for_are_those_of_the_text(base, kind):
    tuned = tuned_models(base)[kind]
    every = logits(tuned)
    assert every.shape == (3, 10, 64)
    some = logits(tuned, logits_to_keep=torch.tensor([2, 7]))
    torch.testing.assert_close(some, every[:, [2, 7]], atol=1e-6, rtol=0)
    torch.testing.assert_close(logits(tuned, logits_to_keep=1), every[:, -1:], atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", [0, 1])
def test_training_moves_the_prompt_alone(base, kind):
    tuned = tuned_models(base)[kind]
    before = copy.deepcopy(tuned.state_dict())
    batch = {"input_ids": IDS, "attention_mask": torch.ones_like(IDS), "labels": IDS}
    history = train(tuned, iter([batch] * 30), steps=30, lr=0.1, label="tiny")
    losses = history.column("loss")[1]
    assert losses[-1] < losses[0]
    moved = {name for name, value in tuned.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"prefix" if kind else "prompt"}


def test_without_its_prompt_the_model_is_the_base(base):
    plain = logits(base)
    prompted, _ = tuned_models(base)
    assert torch.equal(logits(prompted.model), plain)


@pytest.mark.parametrize("kind", [0, 1])
def test_gradient_against_differences(kind):
    base = tiny_gpt2().double()
    tuned = tuned_models(base, length=2)[kind].double()
    values = tuned.prefix if kind else tuned.prompt

    def loss():
        return tuned(IDS).logits.logsumexp(-1).mean()

    loss().backward()
    rng = torch.Generator().manual_seed(0)
    for _ in range(5):
        row, column = (int(torch.randint(0, size, (), generator=rng)) for size in values.shape)
        with torch.no_grad():
            values[row, column] += 1e-5
            above = loss()
            values[row, column] -= 2e-5
            below = loss()
            values[row, column] += 1e-5
        assert float((above - below) / 2e-5) == pytest.approx(float(values.grad[row, column]), abs=1e-8)


def test_the_courses_functions_take_a_prompted_model(model, tokenizer):
    prompted, prefixed = tuned_models(model)
    question, answers = "Question: is the", (" cat", " Paris.")
    examples = [encode_prompt_completion(tokenizer, question, answer) for answer in answers]
    prompt = len(prompted.prompt)
    expected = []
    for example in examples:  # one by one, with transformers' own loss over prompt, question and answer
        embeddings = model.get_input_embeddings()(torch.tensor([example.input_ids]))
        embeddings = torch.cat([prompted.prompt[None], embeddings], 1)
        labels = torch.tensor([[-100] * prompt + example.labels])
        count = (labels != -100).sum()
        expected += [(model(inputs_embeds=embeddings, labels=labels).loss * count).item(), int(count)]
    mean = sum(expected[::2]) / sum(expected[1::2])
    assert mean_loss(prompted, examples) == pytest.approx(mean, abs=1e-5)
    texts = ["Question: is the", "cat sat on the mat", ""]
    for tuned in (prompted, prefixed):
        together = generate(tuned, tokenizer, texts, max_new_tokens=6)
        assert together == [generate(tuned, tokenizer, [text], max_new_tokens=6)[0] for text in texts]


def test_counts_of_gpt2_small():
    """Lester et al.: a prompt of 20 tokens has 20 * 768 values; a prefix has keys and values in 12 layers."""
    from transformers import GPT2Config, GPT2LMHeadModel

    with torch.device("meta"):
        model = GPT2LMHeadModel(GPT2Config())
        prompt, prefix = torch.empty(20, 768), torch.empty(20, prompt_tuning.prefix_width(model.config))
    assert count_trainable(PromptTuning(model, prompt))[0] == 15_360
    assert count_trainable(PrefixTuning(model, prefix))[0] == 20 * 12 * 2 * 768


def test_starts(base):
    table = base.get_input_embeddings().weight.detach()
    words = prompt_from_words(base, WORDS, 6)
    assert torch.equal(words, table[[5, 60, 17, 5, 5, 60]])
    words += 1
    assert not torch.equal(words[0], table[5])
    torch.manual_seed(0)
    assert prompt_tuning.random_prompt(base, 500).detach().std() == pytest.approx(
        float(table.std()), rel=0.05
    )
    assert prompt_tuning.random_prompt(base, 500, std=1.0).std() == pytest.approx(1, rel=0.05)
    with pytest.raises(ValueError, match="at least one token"):
        prompt_from_words(base, [], 4)


def test_nearest_words():
    table = torch.tensor([[1.0, 0.0], [0.0, 5.0], [-1.0, 0.1], [0.1, 0.1]])
    similarity, ids = prompt_tuning.nearest_words(torch.tensor([[0.0, 0.01], [-7.0, 0.0]]), table, k=2)
    assert ids.tolist() == [[1, 3], [2, 1]]
    assert similarity[0].tolist() == pytest.approx([1, 0.5**0.5])


def test_keys_and_values():
    """Value number layer * 2 * width + part * width + head * size + i of a token, by hand."""
    layers, heads, size, length = 2, 3, 4, 5
    flat = torch.arange(length * layers * 2 * heads * size).view(length, -1)
    split = prompt_tuning.keys_and_values(flat, layers, heads)
    assert split.shape == (layers, 2, heads, length, size)
    assert split[1, 0, 2, 4, 3] == flat[4, 1 * 2 * 12 + 0 * 12 + 2 * 4 + 3]
    assert split[0, 1, 1, 2, 0] == flat[2, 0 * 2 * 12 + 1 * 12 + 1 * 4 + 0]


@pytest.mark.parametrize("kind", [0, 1])
def test_saved_and_loaded(base, kind, tmp_path):
    tuned = tuned_models(base)[kind]
    folder = prompt_tuning.save_prompt(tuned, tmp_path / "a" / "b")
    assert sorted(path.name for path in folder.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    loaded = prompt_tuning.load_prompt(copy.deepcopy(base), folder)
    assert torch.equal(logits(loaded), logits(tuned))
    assert count_trainable(loaded)[0] == (tuned.prefix if kind else tuned.prompt).numel()


def test_other_weights_are_refused(base, tmp_path):
    prompt_tuning.save_prompt(tuned_models(base)[0], tmp_path)
    other = copy.deepcopy(base)
    next(iter(other.parameters())).data += 1e-3
    with pytest.raises(ValueError, match="trained with other weights"):
        prompt_tuning.load_prompt(other, tmp_path)
    prompt_tuning.load_prompt(other, tmp_path, check_base=False)


def edit(folder, **changes):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# fmt: off
def no_config(folder): (folder / "adapter_config.json").unlink()
def no_weights(folder): (folder / "adapter_model.safetensors").unlink()
def not_json(folder): (folder / "adapter_config.json").write_text("{")
def torn(folder): (folder / "adapter_model.safetensors").write_bytes(b"torn")
def lora(folder): edit(folder, peft_type="LORA")
def stored(folder, **tensors): save_file(tensors, folder / "adapter_model.safetensors")
def two(folder): stored(folder, b=torch.zeros(1), prompt_embeddings=torch.zeros(6, 32))
def narrow(folder): stored(folder, prompt_embeddings=torch.zeros(6, 7))
def long(folder): stored(folder, prompt_embeddings=torch.zeros(32, 32))
# fmt: on


@pytest.mark.parametrize(
    "spoil, error, message",
    [
        (no_config, FileNotFoundError, "has no adapter_config.json"),
        (no_weights, FileNotFoundError, "has no adapter_model.safetensors"),
        (not_json, ValueError, "is damaged"),
        (torn, ValueError, "is damaged"),
        (lora, ValueError, "holds a LORA adapter"),
        (two, ValueError, r"only prompt_embeddings, not \['b'"),
        (narrow, ValueError, r"vectors of 32 values, \[P, 32\]; got \[6, 7\]"),
        (long, ValueError, "leaves no room in a context of 32"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_bad_folders(tmp_path, spoil, error, message):
    prompt_tuning.save_prompt(tuned_models(tiny_gpt2())[0], tmp_path)
    spoil(tmp_path)
    with pytest.raises(error, match=message):
        prompt_tuning.load_prompt(tiny_gpt2(), tmp_path)


@pytest.mark.parametrize("prompt", [torch.zeros(4, 31), torch.zeros(32), torch.zeros(0, 32)])
def test_a_prompt_of_another_width_is_refused(prompt):
    with pytest.raises(ValueError, match="vectors of 32 values"):
        PromptTuning(tiny_gpt2(), prompt)
    with pytest.raises(ValueError, match="vectors of 128 values"):
        PrefixTuning(tiny_gpt2(), prompt)


def test_what_is_left_of_the_context(model, tokenizer):
    prompted, _ = tuned_models(model, length=28)  # of 128
    with pytest.raises(ValueError, match="the model's context of 100"):
        generate(prompted, tokenizer, ["a"], max_new_tokens=100)
    assert model.config.max_position_embeddings == 128
    long = Example([1] * 101, [1] * 101)
    batch = {
        name: torch.tensor([row])
        for name, row in {
            "input_ids": long.input_ids,
            "labels": long.labels,
            "attention_mask": [1] * 101,
        }.items()
    }
    with pytest.raises(ValueError, match=r"101 tokens .* the model reads 100 at most"):
        train(prompted, iter([batch]), steps=1, lr=0.1, label="tiny")


def test_points_of_the_sweep_are_what_they_say(model, tokenizer):
    from course_utils.lessons.lesson_07.experiments import START_WORDS, prepared

    point = {"method": "prompt", "size": 16, "start": "words", "lr": 0.1}
    ids = tokenizer(START_WORDS)["input_ids"]
    assert len(ids) > 16
    table = model.get_input_embeddings().weight.detach()
    prompted = prepared(copy.deepcopy(model), tokenizer, point)[0]
    assert torch.equal(prompted.prompt, table[ids[:16]])
    noise = prepared(copy.deepcopy(model), tokenizer, point | {"start": "random"})[0]
    assert noise.prompt.std().item() == pytest.approx(float(table.std()), rel=0.2)
    lora = {"method": "LoRA", "size": 1, "start": ""}
    adapted = prepared(copy.deepcopy(model), tokenizer, lora)[0]
    assert count_trainable(adapted)[0] == 2 * (32 + 96)
