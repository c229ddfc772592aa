"""Stored experiments with 4-bit weights: effects of their error, LoRA over them, merging, a step's memory."""

import functools

import torch

from course_utils.lessons.lesson_06.loss_terms import loss_terms
from course_utils.memory import random_batch
from course_utils.methods.lora import apply_lora, is_conv1d
from course_utils.methods.quantization import quantize_model
from course_utils.stored_runs import CHOICE, few, sweep
from course_utils.training import adamw, scored_lm_loss

DIRECTIONS = {  # of errors: size relative to NF4's; the small ones change the logits as much as NF4 does
    "random": 1,
    "inputs": 1,
    "inputs/13": 1 / 13,
    "gradient": 1,
    "gradient/50": 1 / 50,
    "coin": 1,
    "coin/2.5": 1 / 2.5,
}
FOUR_BIT_TABLES = ("nf4", "int4-16", "fp4-e2m1", "int4-15", "fp4-bnb")
SAMPLE_TEXTS = 40  # per sample: the held-out source texts make five samples
QLORA_STEPS = 60  # of LoRA, in batches of 16 questions
RANK, ALPHA = 8, 16.0
QLORA_PLACES = {  # LoRA's layers, rank and alpha; the last has as many values as the first
    "all": (None, RANK, ALPHA),
    "c_attn": (["c_attn"], RANK, ALPHA),
    "c_attn, rank 32": (["c_attn"], 4 * RANK, 4 * ALPHA),
}
QLORA_RATES = (1e-3, 3e-3, 1e-2, 3e-2)
QLORA_BASES = (
    ("fp32", "all"),
    ("fp32", "c_attn, rank 32"),
    ("nf4", "all"),
    *(("nf2", place) for place in QLORA_PLACES),
)
BEST_QLORA_RATES = {  # of QLORA_RATES, by validation loss in qlora_rates
    ("fp32", "all"): 3e-3,
    ("fp32", "c_attn, rank 32"): 3e-3,
    ("nf4", "all"): 3e-3,
    ("nf2", "all"): 3e-3,
    ("nf2", "c_attn"): 1e-2,
    ("nf2", "c_attn, rank 32"): 3e-3,
}


# --- where the error goes


@sweep(
    "weight_errors",
    points=[
        *({"error": levels} for levels in (*FOUR_BIT_TABLES, "nf3", "nf2")),
        *({"error": direction} for direction in DIRECTIONS),
    ],
    short=(0, 9, 10, 12),
)
def weight_errors(point: dict, seed: int) -> dict:
    """The base model with an error in its linear layers, on the sample of 40 texts with the seed as index.

    error: from rounding to these levels in blocks of 64; or of NF4's size in each layer, but random
    ("random"), the layer's inputs in the next sample times noise ("inputs"; also a 13th of the size),
    along the gradient of the loss on the next sample ("gradient"; also a 50th), or NF4's own magnitudes with
    one random sign for all weights of an output ("coin"; also two fifths). The rule for "coin", set before
    it ran: the signs matter if it moves the logits at least twice as far as NF4 on each sample; that it does
    not see the loss keeps it cheap if at two fifths it costs less than half of what "gradient/50" costs.
    weights, layers, logits, centred: relative errors; layers: mean over the layers' outputs. rise: of the
    loss, nats per token; reflected: the rise with the error's sign reversed; first, second: terms of the
    rise, from the logits; alike: the second with all words equally likely.
    """
    model, base, names = *_models(), _names()
    batch, targets = _batch(seed)
    before, outputs = _logits_and_inputs(base, names, batch)
    errors = weight_error(point["error"], seed)  # in the layers' layout
    weights, layers = [], []
    for name in names:
        W, x = base.get_submodule(name).weight, outputs[name]
        weights.append((errors[name].norm() / W.norm()).item())
        layers.append(((x @ errors[name]).norm() / (x @ W).norm()).item())
    after, turned = (_moved_logits(model, base, names, errors, sign, batch) for sign in (1, -1))
    first, second = loss_terms(before, after - before, targets)
    start = _loss(before, targets)
    moved = _centred(after - before).norm() / _centred(before).norm()
    return {
        "loss": start,
        "rise": _loss(after, targets) - start,
        "reflected": _loss(turned, targets) - start,
        "first": first.mean().item(),
        "second": second.mean().item(),
        "alike": (after - before).var(-1, correction=0).mean().item() / 2,
        "weights": sum(weights) / len(weights),
        "layers": sum(layers) / len(layers),
        "logits": ((after - before).norm() / before.norm()).item(),
        "centred": moved.item(),
    }


@sweep(
    "table_blocks",
    points=[{"error": table, "block_size": size} for table in ("nf4", "fp4-e2m1") for size in (48, 56, 72)],
)
def table_blocks(point: dict, seed: int) -> dict:
    """rise: of the loss by rounding in blocks of another size, so that other weights share a scale."""
    model, base, names = *_models(), _names()
    batch, targets = _batch(seed)
    errors = _rounding_error(point["error"], point["block_size"])
    before, after = (_moved_logits(model, base, names, errors, size, batch) for size in (0, 1))
    return {"rise": _loss(after, targets) - _loss(before, targets)}


def weight_error(kind: str, seed: int) -> dict:
    """{layer: error in its weight, in the layer's layout}: from rounding, or in one of DIRECTIONS."""
    names, generator = _names(), torch.Generator().manual_seed(seed)
    if kind not in DIRECTIONS:
        return _rounding_error(kind)
    rounded = _rounding_error("nf4")
    if kind == "random":
        raw = {name: torch.randn(rounded[name].shape, generator=generator) for name in names}
    elif kind.startswith("inputs"):  # a gradient with noise instead of the loss's backward signal
        _, inputs = _logits_and_inputs(_models()[1], names, _batch((seed + 1) % 5)[0])
        raw = {
            name: x.T @ torch.randn(len(x), rounded[name].shape[1], generator=generator)
            for name, x in inputs.items()
        }
    elif kind.startswith("coin"):
        raw = {name: _one_sign_per_output(error, generator) for name, error in rounded.items()}
    else:
        raw = _gradients((seed + 1) % 5)
    return {n: DIRECTIONS[kind] * raw[n] * rounded[n].norm() / raw[n].norm() for n in names}


def _one_sign_per_output(error, generator):
    """The magnitudes of an error [in, out] with one random sign for each output."""
    return error.abs() * (2 * torch.randint(2, (1, error.shape[1]), generator=generator) - 1)


@functools.cache
def _rounding_error(levels, block_size=64):
    from course_utils.methods.quantization import dequantize_model
    from course_utils.models import load_model

    base, rounded = load_model("pocket")[0], load_model("pocket")[0]
    dequantize_model(quantize_model(rounded, levels, block_size))
    with torch.no_grad():
        return {n: rounded.get_submodule(n).weight - base.get_submodule(n).weight for n in _names()}


def _gradients(sample):
    from course_utils.training import lm_loss

    model, names = _models()[0], _names()
    loss, count = lm_loss(model, _batch(sample)[0])
    weights = [model.get_submodule(name).weight for name in names]
    return dict(zip(names, torch.autograd.grad(loss / count, weights), strict=True))


def _models():
    """(a model to change, the base)."""
    from course_utils.models import load_model

    return load_model("pocket")[0], load_model("pocket")[0]


@functools.cache
def _names():
    from course_utils.methods.lora_analysis import linear_layers
    from course_utils.models import load_model

    return linear_layers(load_model("pocket")[0])


def _batch(sample):
    """(a sample of the texts as a batch, its target tokens [n])."""
    from course_utils.data import IGNORE, collate, encode_text, load_source_texts
    from course_utils.models import load_model

    tokenizer = load_model("pocket")[1]
    texts = load_source_texts()[sample * SAMPLE_TEXTS : (sample + 1) * SAMPLE_TEXTS]
    batch = collate([encode_text(tokenizer, text) for text in few(texts, 4)], 0)
    labels = batch["labels"][:, 1:]
    return batch, labels[labels != IGNORE]


@torch.no_grad()
def _logits_and_inputs(model, names, batch):
    """(logits at the scored positions [n, vocabulary], {layer: its inputs [tokens, in]})."""
    inputs, real = {}, batch["attention_mask"].bool()

    def keeping(name):
        def keep(module, given, output):
            inputs[name] = given[0][real]

        return keep

    hooks = [model.get_submodule(name).register_forward_hook(keeping(name)) for name in names]
    logits = _scored_logits(model, batch)
    for hook in hooks:
        hook.remove()
    return logits, inputs


@torch.no_grad()
def _moved_logits(model, base, names, errors, sign, batch):
    for name in names:
        model.get_submodule(name).weight.copy_(base.get_submodule(name).weight + sign * errors[name])
    return _scored_logits(model, batch)


def _scored_logits(model, batch):
    from course_utils.data import IGNORE

    scored = batch["labels"][:, 1:] != IGNORE
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    return logits[:, :-1][scored]  # (n, vocabulary)


def _loss(logits, targets):
    return torch.nn.functional.cross_entropy(logits, targets).item()


def _centred(logits):
    return logits - logits.mean(-1, keepdim=True)


# --- LoRA over it


@sweep(
    "qlora_rates",
    points=[{"base": base, "place": place, "lr": lr} for base, place in QLORA_BASES for lr in QLORA_RATES],
    seeds=CHOICE,
)
def qlora_rates(point: dict, seed: int) -> dict:
    """Used to choose rates, at a separate seed. validation: loss on 150 validation questions."""
    from course_utils.evaluation import mean_loss
    from course_utils.lessons.lesson_03.experiments import question_examples

    model = lora_over(point["base"], point["place"], point["lr"], seed)
    return {"validation": mean_loss(model, question_examples("validation", sample=150))}


@sweep(
    "qlora",
    points=[{"base": base, "place": place, "lr": lr} for (base, place), lr in BEST_QLORA_RATES.items()],
    short=(2,),
)
def qlora(point: dict, seed: int) -> dict:
    """LoRA over a base with these levels, 60 steps. before, loss: on 100 held-out questions, nats per token.

    validation, if the point asks for it: on 150 validation questions.

    Over NF4, also the merges: loss, apart (relative distance of the logits from the trained model's), kept
    (how much of BA is in the weights: the projection of weight - W_hat on BA).
    """
    from course_utils.data import collate
    from course_utils.evaluation import mean_loss
    from course_utils.lessons.lesson_03.experiments import question_examples

    scored = question_examples("held_out", sample=100)
    model = lora_over(point["base"], point["place"], point["lr"], seed).eval()
    result = {"before": mean_loss(_base(point["base"]), scored), "loss": mean_loss(model, scored)}
    if point.get("validation"):
        result["validation"] = mean_loss(model, question_examples("validation", sample=150))
    if point["base"] != "nf4":
        return result
    plain, base = _models()
    with torch.no_grad():
        batch = collate(scored[:32], 0)
        trained = _scored_logits(model, batch)
        for merge, weights in merged_weights(model, base).items():
            for name, weight in weights.items():
                layer = plain.get_submodule(name)
                layer.weight.copy_(weight.T if is_conv1d(layer) else weight)
            apart = (_scored_logits(plain, batch) - trained).norm() / trained.norm()
            result |= {f"{merge}: loss": mean_loss(plain, scored), f"{merge}: apart": apart.item()}
            result[f"{merge}: kept"] = adapter_kept(model, weights)
    return result


MERGES = ("W_hat + BA", "W + BA", "W_hat + BA again", "W + BA again")  # again: quantised to NF4 again


@torch.no_grad()
def merged_weights(model, base):
    """{merge: {layer: weight [out, in]}} of a model with LoRA over NF4, for each of MERGES."""
    from course_utils.methods.lora import lora_layers
    from course_utils.methods.lora_analysis import weight_matrix

    found = {merge: {} for merge in MERGES}
    for name, layer in lora_layers(model).items():
        change = layer.scale * layer.lora_B @ layer.lora_A  # (out, in)
        sums = layer.original.weight + change, weight_matrix(base.get_submodule(name)) + change
        for merge, weight in zip(MERGES, (*sums, *map(_rounded, sums)), strict=True):
            found[merge][name] = weight
    return found


@torch.no_grad()
def adapter_kept(model, weights):
    """The projection of weight - W_hat on BA over all layers: 1 if BA is kept, 0 if it is lost."""
    from course_utils.methods.lora import lora_layers

    inside = size = 0.0
    for name, layer in lora_layers(model).items():
        change = layer.scale * layer.lora_B @ layer.lora_A
        inside += ((weights[name] - layer.original.weight) * change).sum().item()
        size += change.square().sum().item()
    return inside / size


def _rounded(weight):
    from course_utils.methods.quantization import QuantizedLinear

    layer = torch.nn.Linear(*weight.shape[::-1], bias=False, device=weight.device).requires_grad_(False)
    with torch.no_grad():
        layer.weight.copy_(weight)
    return QuantizedLinear(layer).weight


def _base(levels):
    from course_utils.models import load_model

    model = load_model("pocket")[0]
    return model if levels == "fp32" else quantize_model(model, levels)


def lora_over(levels, place, lr, seed):
    """LoRA over a base with these levels, at one of QLORA_PLACES, after 60 steps."""
    from course_utils.data import batches
    from course_utils.lessons.lesson_03.experiments import question_examples
    from course_utils.methods.lora_fast import speed_up
    from course_utils.training import train

    model = _base(levels)
    torch.manual_seed(seed)
    modules, rank, alpha = QLORA_PLACES[place]
    speed_up(apply_lora(model, rank, alpha, modules))
    stream = batches(question_examples("tune"), 16, seed, pad_id=0)
    label = f"{levels}, {place}, rate {lr:g}, seed {seed}"
    train(model, stream, steps=few(QLORA_STEPS), lr=lr, loss_fn=scored_lm_loss, seed=seed, label=label)
    return model


# --- memory of a step


def lora_step_gpt2_small(quantised, layers=12, rows=1, tokens=32):
    """For memory.measure_peak: a LoRA step on random weights with GPT-2 small's shapes, in fp32 or NF4."""
    from transformers import GPT2Config, GPT2LMHeadModel
    from transformers.initialization import no_init_weights

    with no_init_weights():  # without it, the weights are drawn twice
        config = GPT2Config(n_layer=layers, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
        model = GPT2LMHeadModel(config)
    model.tie_weights()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    batch = random_batch(model, rows, tokens)
    if quantised:
        quantize_model(model)
    apply_lora(model, RANK, ALPHA)
    optimizer = adamw(model, lr=1e-4)

    def step():
        optimizer.zero_grad()
        total, count = scored_lm_loss(model, batch)
        (total / count).backward()
        optimizer.step()

    return step
