"""docs/symptoms.md: each symptom has test, mend, lesson, thread; its snippet runs and tells a fault apart."""

import copy
import re

import pytest
import torch
from helpers import EOS, tiny_gpt2, tiny_model, tiny_tokenizer
from torch.nn import functional as F
from transformers import GPT2Config, GPT2ForSequenceClassification

from course_utils.chatml import add_chat_tokens
from course_utils.home import ROOT
from course_utils.making import links
from course_utils.methods.quantization import dequantize, normal_levels, quantize
from course_utils.models import load_model
from course_utils.training import adamw

NAME = "docs/symptoms.md"
PAGE = (ROOT / NAME).read_text(encoding="utf-8")
THREAD = re.compile(r"\[([\w-]+)#(\d+)\]\(https://github\.com/[\w-]+/([\w-]+)/(?:issues|pull)/(\d+)\)")
SNIPPET = re.compile(r"```python\n(.*?)```", re.DOTALL)
IDS = torch.tensor([[9, 40, 17, 200, 31, 8]])


def sections():
    """{heading: text} of the symptoms."""
    parts = re.split(r"^### (.*)\n", PAGE, flags=re.MULTILINE)
    return {head: text.split("\n## ")[0] for head, text in zip(parts[1::2], parts[2::2], strict=True)}


SYMPTOMS = sections()


def test_each_symptom_has_a_test_a_mend_a_lesson_and_a_thread():
    assert len(SYMPTOMS) >= 25
    for heading, text in SYMPTOMS.items():
        assert len(SNIPPET.findall(text)) == 1, heading
        usual, test, mend, lesson, threads = re.split(r"\*\*(?:Test|Mend|Lesson|Threads):\*\*", text)
        assert usual.strip() and "```python" in test and mend.strip(), heading
        assert "](../notebooks/" in lesson and THREAD.findall(threads), heading


def test_links_to_lessons_and_within_the_page_lead_somewhere():
    assert [fault for fault in links.internal_faults(links.texts()) if fault.startswith(NAME)] == []
    of_contents = re.findall(r"\]\(#([^)]+)\)", PAGE.split("\n## ")[0])
    assert len(of_contents) == len(SYMPTOMS) == len(set(of_contents))


def test_threads_are_named_as_their_address_says():
    for name, number, repository, addressed in THREAD.findall(PAGE):
        assert (name.lower(), number) == (repository.lower(), addressed)
    assert PAGE.count("https://") == len(THREAD.findall(PAGE))


def test_the_page_is_short():
    text = re.sub(r"\]\([^)]*\)", "]", SNIPPET.sub("", PAGE))
    assert len(text.split()) <= 2700


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def in_peft(seed=0, trained=True, **settings):
    """A tiny GPT-2 with LoRA in PEFT, its B as after a training, or zero."""
    from peft import LoraConfig, get_peft_model

    settings = {"target_modules": ["c_attn"], "fan_in_fan_out": True, "task_type": "CAUSAL_LM"} | settings
    model = get_peft_model(tiny_model(seed), LoraConfig(init_lora_weights=not trained, **settings))
    return model.eval()


def example(answer="Paris"):
    """input_ids and labels of a question with its answer and the end of text."""
    tokenizer = tiny_tokenizer()
    prompt, completion = (tokenizer(text).input_ids for text in ("the capital of France is ", answer))
    ids = [*prompt, *completion, tokenizer.eos_token_id]
    return ids, [-100] * len(prompt) + ids[len(prompt) :]


def never_stops(fault):
    ids, labels = example()
    model = tiny_model()
    if fault == "waits":
        model.generation_config.eos_token_id = 5
    if fault == "learned":
        labels[-1] = -100
    if fault != "likely":
        likelier(model, ids)
    return {"input_ids": ids, "labels": labels, "model": model}


def likelier(model, *texts):
    """The model after some steps on these texts, lists of ids."""
    optimizer = adamw(model, 1e-2)
    for _ in range(8):
        for ids in map(torch.tensor, texts):
            model(ids[None], labels=ids[None]).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def encoded(text):
    return tiny_tokenizer()(text).input_ids


def own_pad(fault):
    tokenizer = tiny_tokenizer()
    if not fault:
        tokenizer.add_special_tokens({"pad_token": "<|pad|>"})
    return {"tokenizer": tokenizer}


def cut_off(fault):
    _, labels = example()
    return {"labels": [labels, labels[:4] if fault else labels]}


def shifted(fault):
    def your_loss(model, ids):
        return model(ids, labels=F.pad(ids[:, 1:], (0, 1), value=-100) if fault else ids).loss

    return {"your_loss": your_loss}


def masked(fault):
    ids, labels = example()
    return {"input_ids": ids, "labels": [-100, *labels[:-1]] if fault else labels}


def on_the_server(fault):
    model, tokenizer = tiny_model(), tiny_tokenizer()
    add_chat_tokens(model, tokenizer)
    messages = [{"role": "user", "content": "a cat"}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    served = tokenizer(text + (" " if fault else ""), add_special_tokens=False).input_ids
    return {"tokenizer": tokenizer, "messages": messages, "served": served}


def with_new_token(fault):
    return {"model": in_peft(trained=False, **({} if fault else {"trainable_token_indices": [399]}))}


def split(fault):
    held_out = ["Who sat?", "  what IS a mat" if fault else "Is it a cat?"]
    return {"train": ["What is a mat?", "Where is Paris?"], "held_out": held_out}


def in_parts(fault):
    """Rows with other numbers of target tokens, or with the same."""
    labels = torch.tensor([[-100, 5, 6, 7, 8, 9], [-100, -100, -100, -100, -100 if fault else 8, 9]])
    if not fault:
        labels[1] = labels[0]
    ids = torch.arange(12).view(2, 6) + 3
    whole = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
    return {
        "whole": whole,
        "parts": [{name: value[[row]] for name, value in whole.items()} for row in (0, 1)],
    }


def resumed(fault):
    model = tiny_gpt2()
    first = adamw(model, 1e-3)
    model(IDS % 64, labels=IDS % 64).loss.backward()
    first.step()
    optimizer = adamw(model, 1e-3)
    if not fault:
        optimizer.load_state_dict(first.state_dict())
    return {"optimizer": optimizer}


def tuned(fault):
    """Tuned on another text, alone or beside the old one."""
    old, new = "a cat sat on the mat", [5, 6, 7, 8] * 3
    base = likelier(tiny_model(), encoded(old))
    model = likelier(copy.deepcopy(base), new, *([] if fault else [encoded(old)]))
    return {"base": base, "model": model, "texts": [old]}


def in_circles(fault):
    """A model with one favourite after each token, or one with none."""
    model = tiny_model()
    model.generation_config.pad_token_id, model.generation_config.eos_token_id = 0, None
    if fault:
        likelier(model, [5, 6, 7, 8] * 6)
    return {"prompt": "a cat", "model": model}


def never_learns(fault):
    model = in_peft(trained=False)
    for name, value in model.named_parameters():
        if fault == "frozen":
            value.requires_grad_(False)
        if fault == "both zero" and "lora_" in name:
            value.data.zero_()
    if fault == "detached":
        for name, layer in model.named_modules():
            if name.endswith(("lora_A.default", "lora_B.default")):
                layer.forward = torch.no_grad()(layer.forward)
    return {"model": model, "ids": IDS}


def loaded(fault, folder):
    from peft import PeftModel, get_peft_model
    from safetensors.torch import load_file

    trained = in_peft()
    trained.save_pretrained(folder)
    if fault:
        model = get_peft_model(tiny_model(), trained.peft_config["default"])
        for name, value in model.named_parameters():
            if "lora_B" in name:
                value.data.zero_()
    else:
        model = PeftModel.from_pretrained(tiny_model(), folder)
    return {"model": model.eval(), "ids": IDS, "saved": load_file(folder / "adapter_model.safetensors")}


def handed_over(fault):
    model = in_peft()
    merged = tiny_model() if fault else copy.deepcopy(model).merge_and_unload()
    return {"model": model, "merged": merged, "ids": IDS}


def four_bits(fault):
    """One layer of QLoRA: W rounded, and the sum rounded again, from the rounded or from the unrounded W."""
    W, change = torch.randn(64, 64), torch.randn(64, 4) @ torch.randn(4, 64) / 60

    def rounded(weight):
        levels = normal_levels()
        return dequantize(*quantize(weight, levels), levels).view(weight.shape)

    base = rounded(W)
    return {"base": base, "merged": rounded((base if fault else W) + change), "change": change}


def scored_groups(fault):
    return {
        "rewards": torch.tensor([[1.0, 1, 1, 1], [0, 0, 0, 0]] if fault else [[1.0, 0, 0, 0], [0, 1, 1, 0]])
    }


def completed(fault):
    end = tiny_model(vocab_size=len(tiny_tokenizer())).generation_config.eos_token_id
    return {"completions": [[5, 6, end], [5, 6, 7 if fault else end]]}


def paired(fault):
    """Tuned on another text, which makes both answers less likely, or on the chosen answer."""
    prompt, chosen, rejected = "the mat", " sat a cat", " on Paris"
    reference = likelier(tiny_model(), *(encoded(prompt + answer) for answer in (chosen, rejected)))
    model = likelier(copy.deepcopy(reference), [5, 6, 7, 8] * 3 if fault else encoded(prompt + chosen))
    texts = {"prompt": prompt, "chosen": chosen, "rejected": rejected}
    return {"reference": reference, "model": model, **texts}


def ran_away(fault):
    reference = tiny_model()
    text = "Paris Paris mat mat is is a Question"
    model = likelier(copy.deepcopy(reference), encoded(text)) if fault else reference
    return {"reference": reference, "model": model, "samples": [text]}


def sampled(fault):
    """Tokens of a policy that would end sooner than the reference and is surer than it."""
    reference = torch.randn(50)
    policy = 1.5 * reference
    policy[0] = policy.logsumexp(0) + 2  # the end
    draws = {"forced length": policy.index_fill(0, torch.tensor(0), -torch.inf), "temperature": policy / 4}
    drawn = draws.get(fault, policy).softmax(-1).multinomial(2000, replacement=True)
    names = {"log_probs": policy, "reference_log_probs": reference}
    return {name: logits.log_softmax(-1)[drawn] for name, logits in names.items()}


def reward_model(fault):
    tokenizer = tiny_tokenizer()
    tokenizer.padding_side = "right"
    sizes = {"n_layer": 2, "n_head": 2, "n_embd": 32, "vocab_size": 401, "n_positions": 128}
    model = GPT2ForSequenceClassification(GPT2Config(num_labels=1, pad_token_id=0, **sizes)).eval()

    def score(texts):
        batch = tokenizer(texts, padding=True, return_tensors="pt")
        scores = model.score(model.transformer(**batch).last_hidden_state)[..., 0]
        last = batch["attention_mask"].sum(1) - 1
        return scores[:, -1].tolist() if fault else scores[torch.arange(len(texts)), last].tolist()

    return {"score": score}


def on_a_card(fault):
    return {"model": tiny_model().requires_grad_() if fault else in_peft()}


def checkpointed(fault):
    model = in_peft(modules_to_save=["ln_f"] if fault == "silent" else None)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": bool(fault)})
    if fault:
        model.disable_input_require_grads()  # the libraries of today make the call themselves
    return {"model": model, "ids": IDS}


# heading: (what is given with a fault or without, what the snippet finds in its names, the faults)
def in_half_precision(fault):
    """A model whose trained weights are in fp16, or one with an activation that fp16 cannot hold."""
    model = tiny_model()
    if fault == "activations":
        model.transformer.h[0].mlp.c_fc.bias.data.fill_(7e4)
    return {"model": model.half() if fault == "weights" else model, "ids": IDS}


def enlarged(fault):
    """An adapter with the rows of two new tokens, and the base with them or, as loaded anew, without."""
    tokenizer = tiny_tokenizer()
    before = len(tokenizer)
    tokenizer.add_tokens(["<one>", "<two>"])
    saved = {"base_model.model.transformer.wte.weight": torch.zeros(len(tokenizer), 8)}
    model = tiny_model(vocab_size=before if fault else len(tokenizer))
    return {"model": model, "tokenizer": tokenizer, "saved": saved}


TOLD = {
    "The model never stops": (
        never_stops,
        lambda found: [found["waits"], found["learned"], found["likely"] > 0.5],
        ["waits", "learned", "likely"],
    ),
    "pad_token = eos_token": (own_pad, lambda found: found["last"] != -100),
    "The loss is nan (or 0) from the first step": (cut_off, lambda found: 0 not in found["counts"]),
    "The loss starts at 10 instead of 2": (
        shifted,
        lambda found: abs(found["by_hand"] - found["yours"]) < 1e-3,
    ),
    "Loss goes down, answers get worse": (masked, lambda found: found["scored"] == "Paris" + EOS),
    "Good in the notebook, bad on the server": (
        on_the_server,
        lambda found: found["trained"] == found["served"],
    ),
    "New special tokens are never written": (with_new_token, lambda found: all(found["trains"].values())),
    "Validation is too good": (split, lambda found: found["leaked"] == 0),
    "Gradient accumulation or more GPUs change the loss": (
        in_parts,
        lambda found: abs(found["of_means"] - found["by_tokens"]) < 1e-4,
    ),
    "Resume gives another result": (resumed, lambda found: found["kept"] == len(found["parameters"])),
    "It forgets what it knew": (tuned, lambda found: found["forgotten"] < 0.1),
    "The model repeats itself": (in_circles, lambda found: found["repeated"]["greedy"] < 0.5),
    "LoRA learns nothing": (
        never_learns,
        lambda found: found["found"]["lora_B"]["trainable"] and found["found"]["lora_B"]["gradient"],
        ["frozen", "detached", "both zero"],
    ),
    "The loss becomes nan later": (
        in_half_precision,
        lambda found: torch.float16 not in found["kept"] and found["largest"][found["place"]] < 1e4,
        ["weights", "activations"],
    ),
    "size mismatch for embed_tokens or lm_head": (
        enlarged,
        lambda found: found["in_file"] <= {found["has"]} and len(found["tokenizer"]) == found["has"],
    ),
    "The adapter loads and does nothing": (
        loaded,
        lambda found: found["in_file"] > 0 and found["effect"] > 0.01,
    ),
    "Answers change after merge_and_unload": (
        handed_over,
        lambda found: found["apart"] < 0.01 * found["effect"],
    ),
    "4-bit base: the merged model answers otherwise": (four_bits, lambda found: found["left"] > 0.8),
    "The reward stays flat, reward_std is 0": (scored_groups, lambda found: found["silent"] == 0),
    "Every completion is cut, clipped_ratio is 1": (completed, lambda found: found["cut"] == 0),
    "DPO: both log-probabilities fall": (paired, lambda found: found["rose"][found["chosen"]] > 0),
    "The reward rises, the text breaks": (ran_away, lambda found: found["of_reference"] - found["own"] < 0.1),
    "KL is negative": (
        sampled,
        lambda found: found["mean"] > -3 * found["error"],
        ["forced length", "temperature"],
    ),
    "A reward depends on the batch": (
        reward_model,
        lambda found: abs(found["alone"] - found["beside"]) < 1e-3,
    ),
    "CUDA out of memory at the first step": (on_a_card, lambda found: found["need"] < 2 * found["weights"]),
    "Gradient checkpointing: element 0 of tensors does not require grad": (
        checkpointed,
        lambda found: found["reached"] == len(found["trained"]),
        ["error", "silent"],
    ),
}
CASES = [
    (heading, fault)
    for heading, (_, _, *more) in TOLD.items()
    for fault in ["", *(more[0] if more else ["broken"])]
]


def found_by(heading, given):
    """The names that a snippet leaves."""
    tokenizer = tiny_tokenizer()
    names = {"torch": torch, "tokenizer": tokenizer, "model": tiny_model(vocab_size=len(tokenizer))} | given
    [code] = SNIPPET.findall(SYMPTOMS[heading])
    exec(compile(code, heading, "exec"), names)
    return names


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("heading, fault", CASES)
def test_a_snippet_tells_a_fault_apart(heading, fault, tmp_path, capsys):
    setting, finds = TOLD[heading][:2]
    given = setting(fault, tmp_path) if setting is loaded else setting(fault)
    if setting is not never_stops:
        assert bool(finds(found_by(heading, given))) == (not fault)
    else:
        wrong = dict(zip(["waits", "learned", "likely"], finds(found_by(heading, given)), strict=True))
        assert [name for name, right in wrong.items() if not right] == ([fault] if fault else [])
    assert capsys.readouterr().out.strip()


def test_left_padding_moves_a_row_unless_positions_count_real_tokens(capsys):
    found = found_by("Answers in a left-padded batch differ from one by one", {})
    assert found["off"] > 0.1 and found["mended"] < 1e-4


def test_greedy_text_of_the_pocket_model_goes_in_circles(capsys):
    model, tokenizer = load_model("pocket")
    given = {"model": model.eval(), "tokenizer": tokenizer, "prompt": "The capital of France is"}
    repeated = found_by("The model repeats itself", given)["repeated"]
    assert round(repeated["greedy"], 2) == 0.42 and repeated["sampled"] < 0.2


def test_a_loaded_adapter_is_frozen_unless_it_is_to_be_trained(tmp_path, capsys):
    from peft import PeftModel

    in_peft().save_pretrained(tmp_path)
    for trained in (False, True):
        model = PeftModel.from_pretrained(tiny_model(), tmp_path, is_trainable=trained)
        assert (
            found_by("LoRA learns nothing", {"model": model, "ids": IDS})["found"]["lora_B"]["trainable"]
            == trained
        )


def test_grpos_loss_is_0_and_its_gradient_is_not_unless_all_groups_are_silent(capsys):
    loud, silent = (found_by("GRPO loss is 0", scored_groups(fault)) for fault in (False, True))
    assert abs(loud["loss"].item()) < 1e-6 and loud["log_probs"].grad.any()
    assert abs(silent["loss"].item()) < 1e-6 and not silent["log_probs"].grad.any()


def test_every_snippet_is_run():
    of_their_own = {"Answers in a left-padded batch differ from one by one", "GRPO loss is 0"}
    assert set(TOLD) | of_their_own == set(SYMPTOMS)
