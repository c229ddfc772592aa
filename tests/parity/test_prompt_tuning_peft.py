"""The same prompt or prefix in PEFT and in ours: logits, loss, gradients, greedy text, each other's files."""

import copy
import json
import warnings

import pytest
import torch

from course_utils.generation import sample_tokens
from course_utils.methods import prompt_tuning
from course_utils.methods.prompt_tuning import PrefixTuning, PromptTuning
from course_utils.training import fast_lm_loss

peft = pytest.importorskip("peft")

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*past_key_values"),
    pytest.mark.filterwarnings("ignore:Position ids are not supported"),
]
LENGTH = 5
IDS = torch.randint(1, 96, (3, 12), generator=torch.Generator().manual_seed(1))
MASK = torch.ones_like(IDS)
MASK[1, 9:] = 0
LABELS = IDS.masked_fill(MASK == 0, -100)
LABELS[:, :4] = -100  # PEFT's labels also count the first token behind the prompt
BATCH = {"input_ids": IDS, "attention_mask": MASK, "labels": LABELS}
KINDS = {"prompt": "PromptTuningConfig", "prefix": "PrefixTuningConfig"}


@pytest.fixture(params=["model", "llama"])
def base(request):
    """A random GPT-2, and a Llama with fewer heads for keys and values than for queries."""
    return request.getfixturevalue(request.param)


@pytest.fixture(params=KINDS)
def pair(request, base):
    """(ours, PEFT's) with the same values."""
    config = getattr(peft, KINDS[request.param])(num_virtual_tokens=LENGTH, task_type="CAUSAL_LM")
    torch.manual_seed(3)
    theirs = peft.get_peft_model(copy.deepcopy(base), config).eval()
    weight = theirs.prompt_encoder["default"].embedding.weight
    torch.nn.init.normal_(weight, std=0.5)
    kind = PrefixTuning if request.param == "prefix" else PromptTuning
    return kind(copy.deepcopy(base), weight), theirs


def values(ours):
    return ours.prefix if isinstance(ours, PrefixTuning) else ours.prompt


def their_logits(theirs):
    with torch.no_grad():
        return theirs(input_ids=IDS, attention_mask=MASK).logits[:, -IDS.shape[1] :][MASK.bool()]


def our_logits(ours):
    with torch.no_grad():
        return ours(input_ids=IDS, attention_mask=MASK).logits[MASK.bool()]


def test_logits(pair, base):
    ours, theirs = pair
    assert (our_logits(ours) - our_logits(base)).abs().max() > 0.1
    torch.testing.assert_close(our_logits(ours), their_logits(theirs), atol=1e-5, rtol=0)


def test_loss_and_gradients(pair):
    ours, theirs = pair
    loss, count = fast_lm_loss(ours, BATCH)
    (loss / count).backward()
    their_loss = theirs(**BATCH).loss
    their_loss.backward()
    torch.testing.assert_close(loss / count, their_loss, atol=5e-6, rtol=0)  # of 6: rounding
    gradient = theirs.prompt_encoder["default"].embedding.weight.grad
    assert gradient.abs().max() > 1e-4
    torch.testing.assert_close(values(ours).grad, gradient, atol=1e-6, rtol=0)
    assert all(parameter.grad is None for parameter in ours.model.parameters())


def test_counts(pair):
    from course_utils.methods.lora import count_trainable

    ours, theirs = pair
    assert count_trainable(ours)[0] == theirs.get_nb_trainable_parameters()[0]


def test_greedy_text(pair):
    """Against PEFT's generate() without a cache: with one, PEFT 0.21 puts the prompt in at every step."""
    ours, theirs = pair
    if isinstance(ours, PrefixTuning):
        pytest.skip("PEFT's generate() without a cache does not keep a prefix: no text to compare with")
    ids, mask = IDS[:2, :7].clone(), torch.ones(2, 7, dtype=torch.long)
    options = {"do_sample": False, "max_new_tokens": 6, "eos_token_id": None, "pad_token_id": 0}
    text = theirs.generate(input_ids=ids, attention_mask=mask, use_cache=False, **options)
    new = sample_tokens(ours, ids, mask, max_new_tokens=6, temperature=0)
    assert new.tolist() == text[:, -6:].tolist()


def test_padded_on_the_left_peft_counts_padding(pair):
    """Each of PEFT's rows is as alone at the places that it has in the batch, not from P on."""
    ours, theirs = pair
    if isinstance(ours, PrefixTuning):
        pytest.skip("the lesson speaks of prompts")
    mask = MASK.clone()
    mask[1] = mask[1].flip(0)
    given = {"attention_mask": torch.cat([torch.ones(3, LENGTH, dtype=torch.long), mask], 1)}
    given["position_ids"] = torch.arange(LENGTH + IDS.shape[1]).expand(3, -1)
    vectors = ours.model.get_input_embeddings()(IDS)
    with torch.no_grad():
        of_batch = theirs(input_ids=IDS, attention_mask=mask).logits[:, -1]
        counted = ours.model(inputs_embeds=torch.cat([ours.prompt.expand(3, -1, -1), vectors], 1), **given)
        alone = torch.stack(
            [ours(row[real == 1][None]).logits[0, -1] for row, real in zip(IDS, mask, strict=True)]
        )
    torch.testing.assert_close(of_batch, counted.logits[:, -1], atol=1e-5, rtol=0)
    off = (of_batch - alone).abs().amax(1)
    assert off[[0, 2]].max() < 1e-5
    assert off[1] > 1e-3


def test_peft_loads_ours(pair, base, tmp_path):
    ours, _ = pair
    prompt_tuning.save_prompt(ours, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        theirs = peft.PeftModel.from_pretrained(copy.deepcopy(base), tmp_path)
    torch.testing.assert_close(our_logits(ours), their_logits(theirs), atol=1e-5, rtol=0)


def test_ours_loads_peft(pair, base, tmp_path):
    ours, theirs = pair
    theirs.save_pretrained(tmp_path)
    loaded = prompt_tuning.load_prompt(copy.deepcopy(base), tmp_path)
    assert type(loaded) is type(ours)
    torch.testing.assert_close(our_logits(loaded), our_logits(ours), atol=0, rtol=0)


def test_ours_loads_a_projected_prefix(base, tmp_path):
    """PEFT saves the prefix that its small network computes, not the network."""
    config = peft.PrefixTuningConfig(
        num_virtual_tokens=LENGTH, task_type="CAUSAL_LM", prefix_projection=True, encoder_hidden_size=16
    )
    theirs = peft.get_peft_model(copy.deepcopy(base), config).eval()
    theirs.save_pretrained(tmp_path)
    loaded = prompt_tuning.load_prompt(copy.deepcopy(base), tmp_path)
    torch.testing.assert_close(our_logits(loaded), their_logits(theirs), atol=1e-5, rtol=0)


def test_files_agree_on_keys_shapes_and_settings(pair, tmp_path):
    from safetensors.torch import load_file

    ours, theirs = pair
    theirs.save_pretrained(tmp_path / "theirs")
    prompt_tuning.save_prompt(ours, tmp_path / "ours")
    files = [load_file(tmp_path / name / "adapter_model.safetensors") for name in ("ours", "theirs")]
    assert files[0].keys() == files[1].keys()
    assert all(torch.equal(files[0][key], files[1][key]) for key in files[0])
    our_config, their_config = (
        json.loads((tmp_path / name / "adapter_config.json").read_text()) for name in ("ours", "theirs")
    )
    their_config["base_model_name_or_path"] = (
        their_config["base_model_name_or_path"] or None
    )  # "" in some versions
    for key, value in our_config.items():
        assert their_config[key] == value, key


def test_words_start_as_in_peft(model, tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    text = "Question: is the capital of France Paris?"
    config = peft.PromptTuningConfig(
        num_virtual_tokens=30,
        task_type="CAUSAL_LM",
        prompt_tuning_init="TEXT",
        prompt_tuning_init_text=text,
        tokenizer_name_or_path=str(tmp_path),
    )
    theirs = peft.get_peft_model(copy.deepcopy(model), config)
    ours = prompt_tuning.prompt_from_words(model, tokenizer(text)["input_ids"], 30)
    assert torch.equal(ours, theirs.prompt_encoder["default"].embedding.weight)
