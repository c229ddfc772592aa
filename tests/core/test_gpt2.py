"""GPT-2 written out, compared with transformers': logits, gradients, replaced layers, greedy text."""

import copy

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from course_utils.generation import pad_left
from course_utils.gpt2 import gpt2_hidden, gpt2_logits
from course_utils.methods.lora import apply_lora, lora_layers
from course_utils.methods.prompt_tuning import PromptTuning
from course_utils.methods.quantization import quantize_model
from course_utils.models import load_model

IDS = torch.randint(1, 200, (3, 11), generator=torch.Generator().manual_seed(0))
LENGTHS = torch.tensor([11, 7, 4])
RIGHT = (torch.arange(11) < LENGTHS[:, None]).long()
LEFT = RIGHT.flip(1)


def close(mine, theirs):
    torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("mask", [None, RIGHT, LEFT], ids=["no padding", "right", "left"])
@pytest.mark.parametrize("counted", [False, True], ids=["given positions", "counted"])
def test_logits_and_gradients_are_those_of_transformers(model, mask, counted):
    real = torch.ones(3, 11) if mask is None else mask
    positions = None if counted else (real.cumsum(1) - 1).clamp(min=0).long()
    other = copy.deepcopy(model)
    mine = gpt2_logits(model, IDS, positions=positions, mask=mask)[real.bool()]
    theirs = other(input_ids=IDS, attention_mask=mask, position_ids=positions).logits[real.bool()]
    close(mine, theirs)
    weight = torch.linspace(-1, 1, mine.numel()).view_as(mine)
    (mine.log_softmax(-1) * weight).mean().backward()
    (theirs.log_softmax(-1) * weight).mean().backward()
    for (name, ours), their in zip(model.named_parameters(), other.parameters(), strict=True):
        assert their.grad.abs().max() > 0, name
        close(ours.grad, their.grad)


def test_the_shipped_model_with_its_padding():
    model, tokenizer = load_model("pocket")
    texts = ["The capital of France is", "Once there was a girl who had a small red boat. One day", "Hello"]
    batch = tokenizer(texts, return_tensors="pt", padding=True)
    ids, mask = batch["input_ids"], batch["attention_mask"]
    with torch.no_grad():
        mine, theirs = gpt2_logits(model, ids, mask=mask), model(input_ids=ids, attention_mask=mask).logits
    real = mask.bool()
    largest = theirs[real].abs().max()
    close(mine[real] / largest, theirs[real] / largest)


def test_a_past_gives_what_one_pass_gives(model):
    positions = (LEFT.cumsum(1) - 1).clamp(min=0)
    whole = gpt2_logits(model, IDS, positions=positions, mask=LEFT)
    past = {}
    for start, end in ((0, 6), (6, 7), (7, 11)):
        part = slice(start, end)
        logits = gpt2_logits(model, IDS[:, part], positions=positions[:, part], mask=LEFT[:, :end], past=past)
        real = LEFT[:, part].bool()
        close(logits[real], whole[:, part][real])
    past = {}
    counted = [gpt2_logits(model, IDS[:, part], past=past) for part in (slice(0, 6), slice(6, 11))]
    close(torch.cat(counted, 1), model(IDS).logits)


def test_an_untied_head_other_scales_and_another_inner_width():
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=400,
        n_positions=64,
        n_embd=24,
        n_layer=3,
        n_head=3,
        n_inner=40,
        activation_function="relu",
        initializer_range=0.2,
        scale_attn_by_inverse_layer_idx=True,
        scale_attn_weights=False,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = GPT2LMHeadModel(config).eval()
    assert model.lm_head.weight is not model.transformer.wte.weight
    close(gpt2_logits(model, IDS), model(IDS).logits)


@pytest.mark.parametrize("name", ["embd_pdrop", "resid_pdrop", "attn_pdrop"])
def test_dropout_draws_what_transformers_draws(model, name):
    config = copy.deepcopy(model.config)
    setattr(config, name, 0.3)
    dropping = GPT2LMHeadModel(config).train()
    dropping.load_state_dict(model.state_dict())
    torch.manual_seed(1)
    mine = gpt2_logits(dropping, IDS)
    torch.manual_seed(1)
    close(mine, dropping(IDS).logits)
    assert not torch.allclose(mine, model(IDS).logits, atol=1e-2)


def test_what_stands_in_the_layers_places_is_called(model):
    quantize_model(apply_lora(model, 4, 8.0, ["c_attn", "attn.c_proj", "c_fc", "mlp.c_proj"]))
    for layer in lora_layers(model).values():
        torch.nn.init.normal_(layer.lora_B, std=0.1)
    other = copy.deepcopy(model)
    mine, theirs = gpt2_logits(model, IDS, mask=RIGHT), other(input_ids=IDS, attention_mask=RIGHT).logits
    close(mine[RIGHT.bool()], theirs[RIGHT.bool()])
    mine[RIGHT.bool()].logsumexp(-1).mean().backward()
    theirs[RIGHT.bool()].logsumexp(-1).mean().backward()
    for (name, layer), other_layer in zip(
        lora_layers(model).items(), lora_layers(other).values(), strict=True
    ):
        assert layer.lora_A.grad.abs().max() > 0, name
        close(layer.lora_A.grad, other_layer.lora_A.grad)
        close(layer.lora_B.grad, other_layer.lora_B.grad)


def test_a_soft_prompt_is_embeddings_before_the_text(model):
    prompt = torch.randn(4, 32, generator=torch.Generator().manual_seed(2))
    tuned = PromptTuning(model, prompt)
    text = model.get_input_embeddings()(IDS)
    embeddings = torch.cat([prompt.expand(3, -1, -1), text], 1)
    close(gpt2_logits(model, embeddings=embeddings)[:, 4:], tuned(IDS).logits)


def test_the_hidden_states_are_what_the_head_reads(model):
    close(gpt2_hidden(model.transformer, IDS), model.transformer(IDS).last_hidden_state)


def test_greedy_text_is_that_of_generate():
    model, tokenizer = load_model("pocket")
    prompts = ["The capital of France is", "Once there was a", "Question: Where is Lima?\nAnswer:"]
    ids, mask = pad_left([tokenizer(prompt)["input_ids"] for prompt in prompts], 0)
    theirs = model.generate(
        input_ids=ids,
        attention_mask=mask,
        max_new_tokens=24,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )[:, ids.shape[1] :]
    past, mine, current = {}, [], ids
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        for _ in range(24):
            logits = gpt2_logits(model, current, positions=positions, mask=mask, past=past)
            mine.append(logits[:, -1].argmax(-1))
            current, positions = mine[-1][:, None], positions[:, -1:] + 1
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
    assert torch.stack(mine, 1).tolist() == theirs.tolist()
