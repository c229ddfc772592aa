"""Exercises of lesson 05: an adapter on disk, a batch of several adapters, sums, cutting a sum."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from types import SimpleNamespace

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers.pytorch_utils import Conv1D

from course_utils.checks.compare import Mistake, compare, unchanged
from course_utils.checks.exercises import Exercise, close, expect_tensor
from course_utils.checks.largest import Largest
from course_utils.lessons.lesson_05.parts import mixed_lora, save_adapter, stacked_sum
from course_utils.methods.lora import apply_lora, get_adapter, is_conv1d, lora_layers
from course_utils.methods.lora_files import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    adapter_config,
    peft_tensors,
    read_adapter,
)
from course_utils.methods.lora_files import save_adapter as package_save_adapter


class _Block(nn.Module):
    """Two linear layers whose names end alike in two places, as c_proj does in GPT-2."""

    def __init__(self, layer):
        super().__init__()
        self.attn = nn.ModuleDict({"c_attn": layer(6, 9), "c_proj": layer(6, 6)})
        self.mlp = nn.ModuleDict({"c_fc": layer(6, 10), "c_proj": layer(10, 6)})


class _Blocks(nn.Module):
    name_or_path = "small-model"
    config = SimpleNamespace(name_or_path=name_or_path, _name_or_path=name_or_path)

    def __init__(self, layer):
        super().__init__()
        self.h = nn.ModuleList(_Block(layer) for _ in range(2))


def _adapted(layer, targets, **options):
    """A small model with filled adapters on layers made by layer(in, out)."""
    model = apply_lora(_Blocks(layer), target_modules=targets, **options)
    for wrapped in lora_layers(model).values():
        nn.init.normal_(wrapped.lora_B)
    return model


def _conv1d(n_in, n_out):
    return Conv1D(n_out, n_in)


def _check_save_adapter(fn):
    _expect_saved(fn, _adapted(_conv1d, ["attn.c_proj"], rank=2, alpha=6.0))
    _expect_saved(fn, _adapted(nn.Linear, ["c_attn", "c_fc"], rank=3, alpha=4.5, dropout=0.1))
    _expect_saved(fn, _adapted(_conv1d, ["c_attn", "c_proj", "c_fc"], rank=4, alpha=8.0, rslora=True))


def _expect_saved(fn, model):
    with tempfile.TemporaryDirectory() as place:
        folder, settings = Path(place) / "adapters" / "one", _settings(model)
        with unchanged(model=model):
            try:
                result = fn(model, folder)
            except FileNotFoundError as error:
                raise Mistake(
                    "The folder, or one above it, does not exist yet: make it with "
                    "folder.mkdir(parents=True, exist_ok=True)."
                ) from error
        for name, value in _settings(model).items():
            if value != settings.get(name):
                raise Mistake(
                    f"{name or 'The model'} is set otherwise after the save. The model may be in use or in "
                    "training: leave its layers, enabled, scale, dropout, mode and requires_grad as they are."
                )
        _expect_files(folder)
        _expect_config(json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8")), model)
        _expect_named(load_file(folder / WEIGHTS_FILE), model)
        try:
            read_adapter(folder)
        except ValueError as error:
            said = str(error).replace(str(folder), "the folder")
            raise Mistake(f"The course's reader refuses what you wrote: {said}") from error
        if result is None or Path(result) != folder:
            raise Mistake(f"Return the folder; you return {result!r}.")
        for wrapped in lora_layers(model).values():
            nn.init.normal_(wrapped.lora_B)  # another adapter, for the same folder
        try:
            fn(model, str(folder))
        except FileExistsError as error:
            raise Mistake("A second save into the same folder stops: mkdir needs exist_ok=True.") from error
        except TypeError as error:
            raise Mistake("The folder may come as a text too: take Path(folder) first.") from error
        stored = load_file(folder / WEIGHTS_FILE)
        if not all(close(stored[name], B) for name, B in peft_tensors(get_adapter(model).tensors).items()):
            raise Mistake("A second adapter was saved into the folder of the first, which is still there.")


def _settings(model):
    """What state_dict does not have: each module's kind, mode and plain attributes, and what may learn."""
    plain = bool | int | float | str
    modules = {
        name: (type(module), {key: value for key, value in vars(module).items() if isinstance(value, plain)})
        for name, module in model.named_modules()
    }
    return modules | {name: parameter.requires_grad for name, parameter in model.named_parameters()}


def _expect_files(folder):
    for file in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / file).is_file():
            found = sorted(path.name for path in folder.glob("*")) if folder.is_dir() else []
            raise Mistake(f"There is no {file} in the folder; it has {found or 'no files'}.")
    try:
        is_object = isinstance(json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8")), dict)
    except ValueError:
        is_object = False
    if not is_object:
        raise Mistake(f"{CONFIG_FILE} does not hold a JSON object: write json.dumps(config) as its text.")


NEEDED = {
    "task_type": 'PEFT asks it what the model is for, a causal language model: "CAUSAL_LM".',
    "peft_type": 'PEFT asks it which kind of adapter this is: "LORA".',
    "r": "Nobody knows the rank otherwise.",
    "lora_alpha": "The factor before B A is not in the tensors.",
    "target_modules": "PEFT has to know which layers it wraps.",
}


def _expect_config(config, model):
    layers = lora_layers(model)
    first = next(iter(layers.values()))
    for name, reason in NEEDED.items():
        if config.get(name) is None:
            raise Mistake(f"{CONFIG_FILE} lacks {name!r}. {reason}")
    if config["peft_type"] != "LORA":
        raise Mistake(f'peft_type should be "LORA", and is {config["peft_type"]!r}.')
    if config["r"] != first.rank:
        raise Mistake(f"r should be the rank, {first.rank}, and is {config['r']!r}.")
    if config["lora_alpha"] != first.alpha:
        is_scale = isinstance(config["lora_alpha"], int | float) and close(config["lora_alpha"], first.scale)
        raise Mistake(
            "lora_alpha holds the scale. PEFT divides alpha by the rank itself: write alpha."
            if is_scale
            else f"lora_alpha should be {first.alpha}, and is {config['lora_alpha']!r}."
        )
    if bool(config.get("use_rslora")) != first.rslora:
        raise Mistake(
            "This adapter has the scale alpha / sqrt(r), and the config does not say so: use_rslora."
            if first.rslora
            else "use_rslora is set for an adapter whose scale is alpha / r."
        )
    if bool(config.get("fan_in_fan_out")) != any(is_conv1d(layer.original) for layer in layers.values()):
        raise Mistake(
            "fan_in_fan_out says whether the layers store their weight as [in, out], as Conv1D does: "
            "True for it, False for nn.Linear."
        )
    dropout = getattr(first.dropout, "p", 0.0)
    if config.get("lora_dropout", dropout) != dropout:
        raise Mistake(
            f"lora_dropout should be that of the layers, {dropout}, and is {config['lora_dropout']!r}: who "
            "trains the adapter on would do it otherwise. You may leave this entry out."
        )
    if config.get("base_model_name_or_path") not in (None, model.name_or_path):
        raise Mistake(
            f"base_model_name_or_path should be the model's own name, {model.name_or_path!r}, and is "
            f"{config['base_model_name_or_path']!r}. You may leave this entry out."
        )
    _expect_target_modules(config["target_modules"], model, list(layers))


def _expect_target_modules(targets, model, names):
    if not isinstance(targets, list) or not all(isinstance(target, str) for target in targets):
        raise Mistake(f"target_modules should be a list of names, and is {str(targets)[:60]}.")
    ends = tuple(f".{target}" for target in targets)
    every = [name for name, _ in model.named_modules()]
    reached = [name for name in every if name in targets or name.endswith(ends)]
    if missing := [name for name in names if name not in reached]:
        raise Mistake(f"target_modules do not reach {missing[0]}, which has an adapter.")
    if more := [name for name in reached if name not in names]:
        raise Mistake(
            f"target_modules reach {more[0]} too, which has no adapter. short_targets(model, names) gives "
            "the shortest ends that reach the right layers alone."
        )


def _expect_named(result, model):
    tensors = get_adapter(model).tensors
    right = peft_tensors(tensors)
    names = sorted(result)
    if len(result) > len(right):
        raise Mistake(
            f"The file has {len(result)} tensors, and should have {len(right)}: A and B of each adapted "
            "layer. The frozen weights stay with the base model."
        )
    if len(result) < len(right):
        raise Mistake(
            f"Each layer has an A and a B: {len(right)} tensors. Yours are {len(result)}. Is one name used "
            "for several?"
        )
    if any(".default" in name for name in names):
        raise Mistake(
            '"default" is the adapter\'s name while it is in a PeftModel. The file does not have '
            "it: one file, one adapter."
        )
    if not all(name.startswith("base_model.model.") for name in names):
        raise Mistake(
            'Every name begins with "base_model.model.": PEFT wraps the model twice, and the '
            "names are those of the wrapped one."
        )
    if not all(name.endswith(".weight") for name in names):
        raise Mistake(
            'The names end with ".weight": in PEFT lora_A and lora_B are nn.Linear layers, and '
            "this is their weight."
        )
    if set(names) != set(right):
        wrong = next(name for name in names if name not in right)
        raise Mistake(
            f"{wrong!r} is no name that PEFT looks for. It wants base_model.model.LAYER"
            ".lora_A.weight, and the same with lora_B."
        )
    scale = next(iter(lora_layers(model).values())).scale
    for name, tensor in right.items():
        value = result[name]
        other = right[name.replace(".lora_A.", ".lora_?.").replace(".lora_B.", ".lora_A.").replace("?", "B")]
        if value.shape == other.shape and close(value, other):
            raise Mistake(f"A and B are swapped: {name} holds the other one of the pair.")
        if value.shape == tensor.T.shape and close(value, tensor.T):
            raise Mistake(
                "The matrices are transposed. PEFT stores A as [rank, in] and B as [out, rank] for "
                "Conv1D too; only the layer's own weight lies the other way."
            )
        if value.shape == tensor.shape and close(value, scale * tensor):
            raise Mistake(
                f"{name} has the scale in it. PEFT multiplies by alpha / r itself: it would come in twice."
            )
        if value.shape != tensor.shape or value.dtype != tensor.dtype or not close(value, tensor):
            raise Mistake(f"{name} should be the layer's own tensor, unchanged, in {tensor.dtype}.")


def _saved(config=None, tensors=None):
    """A wrong save_adapter: config(dict, model) and tensors(dict, model) change what is written."""

    def save(model, folder):
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        entries = adapter_config(model)
        named = peft_tensors(get_adapter(model).tensors)
        entries = config(entries, model) if config else entries
        named = tensors(named, model) if tensors else named
        (folder / CONFIG_FILE).write_text(json.dumps(entries), encoding="utf-8")
        save_file({name: value.contiguous() for name, value in named.items()}, folder / WEIGHTS_FILE)
        return folder

    return save


def _without(key):
    return _saved(config=lambda entries, model: {k: v for k, v in entries.items() if k != key})


def _with(**changes):
    return _saved(config=lambda entries, model: entries | changes)


def _renamed(change):
    return _saved(tensors=lambda named, model: {change(name): value for name, value in named.items()})


def _other_pairs(change):
    """A wrong save_adapter: change(A, B) gives the two tensors to store."""
    return _saved(
        tensors=lambda named, model: peft_tensors(
            {name: change(A, B) for name, (A, B) in get_adapter(model).tensors.items()}
        )
    )


def _scale_of(model):
    return next(iter(lora_layers(model).values())).scale


def _scaled_in_place(model, folder):
    for layer in lora_layers(model).values():
        layer.lora_B.data.mul_(layer.scale)
    return save_adapter(model, folder)


def _leaving(change):
    """A wrong save_adapter: it writes well, and leaves every layer as change(layer) makes it."""

    def save(model, folder):
        save_adapter(model, folder)
        for layer in lora_layers(model).values():
            change(layer)
        return folder

    return save


def _first_stays(model, folder):
    return folder if Path(folder).exists() else save_adapter(model, folder)


def _without_folder(model, folder):
    (Path(folder) / CONFIG_FILE).write_text("{}", encoding="utf-8")


def _new_folder_only(model, folder):
    Path(folder).mkdir(parents=True)
    return save_adapter(model, folder)


def _text_refused(model, folder):
    return save_adapter(model, folder / "")


def _pickled(model, folder):
    save_adapter(model, folder)
    (Path(folder) / WEIGHTS_FILE).unlink()
    torch.save(peft_tensors(get_adapter(model).tensors), Path(folder) / "adapter_model.bin")


def _config_as_python(model, folder):
    save_adapter(model, folder)
    (Path(folder) / CONFIG_FILE).write_text(str(adapter_config(model)), encoding="utf-8")


def _returns_nothing(model, folder):
    save_adapter(model, folder)


def _last_parts(model, names):
    return sorted({name.rpartition(".")[2] for name in names})


def _two_loops(model, folder):
    folder = Path(folder)
    os.makedirs(folder, exist_ok=True)
    tensors = {}
    for letter in "AB":
        for name, layer in lora_layers(model).items():
            key = ".".join(["base_model", "model", name, f"lora_{letter}", "weight"])
            tensors[key] = getattr(layer, f"lora_{letter}").data
    save_file(tensors, str(folder / WEIGHTS_FILE), metadata={"format": "pt"})
    with open(folder / CONFIG_FILE, "w", encoding="utf-8") as file:
        json.dump(adapter_config(model) | {"target_modules": list(lora_layers(model))}, file, indent=2)
    return str(folder)


def _requests(b, t, n, r, n_in, n_out, scale, which):
    """A batch of b rows for n adapters of rank r, in mixed_lora's order."""
    tensors = torch.randn(b, t, n_in), torch.randn(n, r, n_in), torch.randn(n, n_out, r)
    return *tensors, torch.tensor(which), scale


def _mixed_batches():
    """More rows than adapters, more adapters than rows, and one in which all sizes of a matrix are equal."""
    return [
        _requests(4, 3, 3, 2, 5, 6, 0.4, [2, 0, 2, 1]),
        _requests(2, 5, 4, 1, 6, 3, -1.5, [3, 1]),
        _requests(3, 3, 3, 3, 3, 3, 2.0, [1, 2, 1]),
    ]


def _mixed(fault):
    """A wrong mixed_lora: another choice of adapters, fault(which, number of adapters)."""
    return lambda x, A, B, which, scale: mixed_lora(x, A, B, fault(which, len(A)), scale)


def _of_all_adapters(x, A, B, which, scale):
    return sum(scale * x @ a.mT @ b.mT for a, b in zip(A, B, strict=True))


def _first_adapters_rows(x, A, B, which, scale):
    return scale * x @ A[which].mT @ B[: len(which)].mT


def _mixed_in_place(x, A, B, which, scale):
    x *= scale
    return mixed_lora(x, A, B, which, 1.0)


def _row_by_row(x, A, B, which, scale):
    rows = [scale * x[row] @ A[number].T @ B[number].T for row, number in enumerate(which.tolist())]
    return torch.stack(rows)


def _adapter_by_adapter(x, A, B, which, scale):
    result = x.new_zeros(len(x), x.shape[1], B.shape[1])
    for number in range(len(A)):
        rows = which == number
        result[rows] = (x[rows] @ A[number].T) @ (scale * B[number].T)
    return result


def _picked_last(x, A, B, which, scale):
    low = torch.einsum("bti,nri->bntr", x, A)[torch.arange(len(x)), which]
    return scale * low @ B[which].mT


def _mixed_by_einsum(x, A, B, which, scale):
    return scale * torch.einsum("bti,bri,bor->bto", x, A[which], B[which])


ALL_ADAPTERS = "This adds all adapters up for every row. Each row wants one of them: which[row]."
SOME_ROWS = "Some rows are right and some are not. Row i wants adapter which[i]."
NO_TRANSPOSE = (
    "A or B is not transposed. A is [r, in] and B [out, r]: x [t, in] meets A.mT [in, r], then B.mT "
    "[r, out]. .mT turns the last two dimensions of each matrix of a batch."
)
MIXED_MISTAKES = [
    ("The scale is missing.", lambda x, A, B, which, scale: mixed_lora(x, A, B, which, 1.0)),
    (
        "The scale is there twice: once for the product.",
        lambda x, A, B, which, scale: mixed_lora(x, A, B, which, scale**2),
    ),
    (
        "Every row gets the first row's adapter. Each has its own: which[row].",
        _mixed(lambda which, n: which[:1].expand(len(which))),
    ),
    (
        "Every row gets the first adapter. Each has its own: which[row].",
        _mixed(lambda which, n: torch.zeros_like(which)),
    ),
    (ALL_ADAPTERS, _of_all_adapters),
    (ALL_ADAPTERS, lambda x, A, B, which, scale: _of_all_adapters(x, A, B, which, scale) / len(A)),
    (
        "The rows get the adapters in turn. It is `which` that says whose adapter a row wants.",
        _mixed(lambda which, n: torch.arange(len(which)) % n),
    ),
    (SOME_ROWS, _mixed(lambda which, n: which.sort().values)),
    (SOME_ROWS, _mixed(lambda which, n: which.flip(0))),
    ("which counts from 0: adapter 0 is the first.", _mixed(lambda which, n: which - 1)),
    (NO_TRANSPOSE, lambda x, A, B, which, scale: scale * x @ A[which] @ B[which]),
    (NO_TRANSPOSE, lambda x, A, B, which, scale: scale * x @ A[which] @ B[which].mT),
    (NO_TRANSPOSE, lambda x, A, B, which, scale: scale * x @ A[which].mT @ B[which]),
    (
        "A and B have changed places: first down with A, [t, r], then up with B, [t, out].",
        lambda x, A, B, which, scale: scale * x @ B[which].mT @ A[which].mT,
    ),
    (
        "x is added. What is asked is the change alone; the frozen matrix gives its part elsewhere.",
        lambda x, A, B, which, scale: x + mixed_lora(x, A, B, which, scale),
    ),
]


MIXED = compare(
    mixed_lora,
    _mixed_batches,
    MIXED_MISTAKES,
    else_="Row i should be scale * (x[i] A^T) B^T, with A = A[which[i]] and B = B[which[i]].",
    gradient=("x", "A", "B"),
    extremes=[
        ("In a batch of one row:", lambda: [_requests(1, 3, 2, 2, 5, 4, 0.5, [1])]),
        ("With one adapter for all rows:", lambda: [_requests(3, 2, 1, 2, 4, 5, 0.5, [0, 0, 0])]),
        ("With one token a row, as generation has it:", lambda: [_requests(2, 1, 3, 2, 5, 4, 0.5, [2, 0])]),
    ],
)


def _check_mixed(fn):
    MIXED(fn)
    n_in, n_out = 40, 50
    arguments = _requests(3, 4, 2, 2, n_in, n_out, 0.5, [0, 1, 1])
    with Largest() as largest:
        fn(*arguments)
    if largest.values >= n_in * n_out:
        raise Mistake(
            "The values are right, and you form B A, which is as large as the weight, for every row. Go from "
            "the left: x A^T first, then B^T on its r numbers."
        )
    n, t, r = 60, 50, 2
    with Largest() as largest:
        fn(*_requests(2, t, n, r, 40, 50, 0.5, [7, 0]))
    if largest.values >= 2 * n * t * r:
        raise Mistake(
            "The values are right, and every row goes through all adapters before you pick one. A server has "
            "thousands of them: pick first, A[which], then multiply."
        )


def _one_adapter_only(x, A, B, which, scale):
    if len(x) == 1:
        which = torch.zeros_like(which)
    return mixed_lora(x, A, B, which, scale)


def _pair(result):
    if result is None:
        raise Mistake("the result is None. Is there a return?")
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise Mistake("Return two tensors: A and B.")
    for value in result:
        if expect_tensor(value).dtype != torch.float32:
            raise Mistake(f"A and B should keep the dtype torch.float32, and one has {value.dtype}.")
    return list(result)


def _check_stacked_sum(fn):
    _expect_sum(fn, 6, 5, (2, 2), (0.7, -1.5))
    _expect_sum(fn, 8, 7, (2, 3), (-0.4, 2.5))
    _expect_sum(fn, 9, 3, (4, 1), (1.0, 0.3))


def _expect_sum(fn, n_in, n_out, ranks, weights):
    (r1, r2), (w1, w2), rank = ranks, weights, sum(ranks)
    A1, A2 = torch.randn(r1, n_in), torch.randn(r2, n_in)
    B1, B2 = torch.randn(n_out, r1), torch.randn(n_out, r2)
    with unchanged(A1=A1, B1=B1, A2=A2, B2=B2):
        result = fn(A1, B1, A2, B2, w1, w2)
    A, B = _pair(result)
    if A.shape == (n_out, rank) and B.shape == (rank, n_in):
        raise Mistake("A and B are swapped: A [r, in] comes first, then B [out, r].")
    if r1 == r2 and A.shape == (r1, n_in) and B.shape == (n_out, r1):
        raise Mistake(
            "You add the A's and the B's. Their product then has cross terms, B1 A2 and B2 A1, "
            f"that neither adapter knows. The result needs the rank {r1} + {r2}: stack them."
        )
    if A.shape == (n_out, n_in) or B.shape == (n_out, n_in):
        raise Mistake(
            "One of the two is the whole matrix [out, in]. Keep it thin: rank "
            f"{r1} and rank {r2} make rank {rank}."
        )
    if A.shape != (rank, n_in) or B.shape != (n_out, rank):
        raise Mistake(
            f"A should be [{rank}, {n_in}] and B [{n_out}, {rank}] for adapters of rank {r1} and {r2}; yours "
            f"are {list(A.shape)} and {list(B.shape)}. A grows by rows, B by columns."
        )
    if r1 == r2 and any(
        close(B @ A, wrong) for wrong in (w1 * B1 @ A2 + w2 * B2 @ A1, w1 * B2 @ A1 + w2 * B1 @ A2)
    ):
        raise Mistake("The order in A and in B differs, so that B1 meets A2. Stack both in the same order.")
    _expect_product(B @ A, B1 @ A1, B2 @ A2, w1, w2)


def _expect_product(made, first, second, w1, w2):
    if not made.isfinite().all():
        raise Mistake("B A is not a number: a weight may be negative, and has no root then.")
    right = w1 * first + w2 * second
    known = [
        ("The weights have no effect.", first + second),
        (
            "The weights are in A and in B, so the product has their squares. Put them into one of the two.",
            w1**2 * first + w2**2 * second,
        ),
        ("The weights have changed places.", w2 * first + w1 * second),
        ("The first weight is missing.", first + w2 * second),
        ("The second weight is missing.", w1 * first + second),
        ("This is the first weight for both.", w1 * (first + second)),
        ("The sign of a weight is lost.", abs(w1) * first + abs(w2) * second),
        ("Only the first adapter is there.", w1 * first),
        ("Only the second adapter is there.", w2 * second),
        ("The weights need not add up to 1: do not divide by their sum.", right / (w1 + w2)),
        ("w2 need not be 1 - w1: take it as it comes.", w1 * first + (1 - w1) * second),
    ]
    for message, wrong in known:
        if not close(wrong, right) and close(made, wrong):
            raise Mistake(message)
    if not close(made, right):
        raise Mistake("B A should be w1 B1 A1 + w2 B2 A2.")


def _as_pair(change):
    """A wrong stacked_sum: change(A, B) of the right one."""
    return lambda *arguments: change(*stacked_sum(*arguments))


def _squared_weights(A1, B1, A2, B2, w1, w2):
    return torch.cat([w1 * A1, w2 * A2]), torch.cat([w1 * B1, w2 * B2], 1)


def _roots_in_both(A1, B1, A2, B2, w1, w2):
    r1, r2 = torch.tensor(w1).sqrt(), torch.tensor(w2).sqrt()
    return torch.cat([r1 * A1, r2 * A2]), torch.cat([r1 * B1, r2 * B2], 1)


def _of_rank_two(A1, B1, A2, B2, w1, w2):
    return stacked_sum(A1[:2], B1[:, :2], A2[:2], B2[:, :2], w1, w2)


def _weights_in_place(A1, B1, A2, B2, w1, w2):
    B1 *= w1
    B2 *= w2
    return torch.cat([A1, A2]), torch.cat([B1, B2], 1)


def _weights_in_A(A1, B1, A2, B2, w1, w2):
    return [torch.vstack([w2 * A2, w1 * A1]), torch.hstack([B2, B1])]


def _filled(A1, B1, A2, B2, w1, w2):
    r = len(A1)
    A, B = A1.new_empty(r + len(A2), A1.shape[1]), B1.new_empty(len(B1), r + len(A2))
    A[:r], A[r:] = A1, A2
    B[:, :r], B[:, r:] = w1 * B1, w2 * B2
    return A, B


def cut_product(A, B, rank):
    """The best approximation of B A by a smaller rank, as (A [rank, in], B [out, rank])."""
    Q_B, R_B = torch.linalg.qr(B)  # (out, r), (r, r)
    Q_A, R_A = torch.linalg.qr(A.T)  # (in, r), (r, r)
    U, S, Vh = torch.linalg.svd(R_B @ R_A.T)  # of an r x r matrix
    return Vh[:rank] @ Q_A.T, Q_B @ (U[:, :rank] * S[:rank])


def _factors(n_in, n_out, r):
    """A and B whose product has the singular values 3, 1.8, 1.08, ...; no cut hangs on rounding."""
    Q_A, Q_B = torch.linalg.qr(torch.randn(n_in, r)).Q, torch.linalg.qr(torch.randn(n_out, r)).Q
    left, right = torch.linalg.qr(torch.randn(2, r, r)).Q
    lengths = torch.linspace(0.5, 2, r)
    mixed, back = left * lengths @ right, right.T / lengths @ left.T  # each the other's inverse
    return back @ Q_A.T, Q_B * (3 * 0.6 ** torch.arange(r)) @ mixed


def _check_cut_product(fn):
    _expect_cut(fn, 40, 50, 5, 2)
    _expect_cut(fn, 32, 24, 4, 3)
    _expect_cut(fn, 20, 30, 3, 1)
    _expect_cut(fn, 18, 22, 4, 4)


def _expect_cut(fn, n_in, n_out, r, rank):
    A, B = _factors(n_in, n_out, r)
    with unchanged(A=A, B=B), Largest() as largest:
        result = fn(A, B, rank)
    A_cut, B_cut = _pair(result)
    if A_cut.shape == (n_out, rank) or B_cut.shape == (rank, n_in):
        raise Mistake("A and B are swapped: A [rank, in] comes first, then B [out, rank].")
    if A_cut.shape != (rank, n_in) or B_cut.shape != (n_out, rank):
        raise Mistake(
            f"A should be [{rank}, {n_in}] and B [{n_out}, {rank}]; yours are {list(A_cut.shape)} "
            f"and {list(B_cut.shape)}."
        )
    _expect_best(B_cut @ A_cut, A, B, rank)
    if largest.values >= n_in * n_out:
        raise Mistake(
            "The values are right, and you make a matrix as large as [out, in] on the way. In a "
            "large model that is the whole weight: bring it down to r x r with two QR "
            "decompositions first (torch.linalg.qr(B), torch.linalg.qr(A.T))."
        )


def _expect_best(made, A, B, rank):
    r = len(A)
    U, S, Vh = torch.linalg.svd(B @ A, full_matrices=False)
    best = U[:, :rank] * S[:rank] @ Vh[:rank]
    known = [
        ("The singular values are missing: scale one of the two factors by them.", U[:, :rank] @ Vh[:rank]),
        (
            "The singular values are in A and in B: their product has the squares. Put them into "
            "one, or their roots into both.",
            U[:, :rank] * S[:rank].square() @ Vh[:rank],
        ),
        (
            "You keep the weakest directions. The SVD gives the strongest first.",
            U[:, r - rank : r] * S[r - rank : r] @ Vh[r - rank : r],
        ),
        (
            "These are the first rows of A and the first columns of B. They stand in no order of "
            "importance: an SVD is needed.",
            B[:, :rank] @ A[:rank],
        ),
        (
            "This is the best cut of B alone. What is cut is the product: the lengths of A's rows count too.",
            _cut_of_B(A, B, rank)[1] @ _cut_of_B(A, B, rank)[0],
        ),
        (
            "This is the best cut of A alone. What is cut is the product: B counts too.",
            _cut_of_A(A, B, rank)[1] @ _cut_of_A(A, B, rank)[0],
        ),
        (
            "R_A is not transposed: A is R_A^T Q_A^T, so R_B R_A^T stands in the middle.",
            _untransposed(A, B, rank)[1] @ _untransposed(A, B, rank)[0],
        ),
        (
            "You take columns of Vh. It is V transposed already: direction k is its row k, Vh[k].",
            _columns_of_Vh(A, B, rank)[1] @ _columns_of_Vh(A, B, rank)[0],
        ),
        ("The sign is turned: this is minus the best approximation.", -best),
    ]
    for message, wrong in known:
        if close(made, wrong, 1e-4) and not close(wrong, best, 1e-4):
            raise Mistake(message)
    if not close(made, best, 1e-4):
        raise Mistake(
            f"B A differs from the best approximation of rank {rank}: its error is "
            f"{(made - B @ A).norm() / (best - B @ A).norm():.3g} times the smallest possible one."
        )


def _by_svd(A, B, rank, keep=slice(None), power=(0.0, 1.0)):
    """cut_product by the SVD of the whole product, with the faults of the wrong answers."""
    U, S, Vh = torch.linalg.svd(B @ A, full_matrices=False)
    U, S, Vh = U[:, : len(A)][:, keep][:, :rank], S[: len(A)][keep][:rank], Vh[: len(A)][keep][:rank]
    return S[:, None] ** power[0] * Vh, U * S ** power[1]


def _cut_of_B(A, B, rank):
    U, S, Vh = torch.linalg.svd(B, full_matrices=False)
    return Vh[:rank] @ A, U[:, :rank] * S[:rank]


def _cut_of_A(A, B, rank):
    U, S, Vh = torch.linalg.svd(A, full_matrices=False)
    return Vh[:rank], B @ (U[:, :rank] * S[:rank])


def _without_the_last(A, B, rank):
    """Drops the last r - rank directions by a negative end, which drops all of them where none is cut."""
    A_whole, B_whole = cut_product(A, B, len(A))
    cut = len(A) - rank
    return A_whole[:-cut], B_whole[:, :-cut]


def _untransposed(A, B, rank):
    Q_B, R_B = torch.linalg.qr(B)
    Q_A, R_A = torch.linalg.qr(A.T)
    U, S, Vh = torch.linalg.svd(R_B @ R_A)
    return Vh[:rank] @ Q_A.T, Q_B @ (U[:, :rank] * S[:rank])


def _columns_of_Vh(A, B, rank):
    Q_B, R_B = torch.linalg.qr(B)
    Q_A, R_A = torch.linalg.qr(A.T)
    U, S, Vh = torch.linalg.svd(R_B @ R_A.T)
    return Vh[:, :rank].T @ Q_A.T, Q_B @ (U[:, :rank] * S[:rank])


def _cut_in_place(A, B, rank):
    A_cut, B_cut = cut_product(A, B, rank)
    A[:rank], B[:, :rank] = A_cut, B_cut
    return A_cut, B_cut


def _by_two_svds(A, B, rank):
    U_B, S_B, V_B = torch.linalg.svd(B, full_matrices=False)
    U_A, S_A, V_A = torch.linalg.svd(A, full_matrices=False)
    U, S, Vh = torch.linalg.svd(S_B[:, None] * (V_B @ U_A) * S_A)
    roots = S[:rank].sqrt()
    return roots[:, None] * Vh[:rank] @ V_A, U_B @ U[:, :rank] * roots


def _values_in_A(A, B, rank):
    Q, R = torch.linalg.qr(B)
    U, S, Vh = torch.linalg.svd(R @ A, full_matrices=False)
    return [torch.diag(S[:rank]) @ Vh[:rank], Q @ U[:, :rank]]


EXERCISES = [
    Exercise(
        name="save_adapter",
        lesson="05",
        minutes=15,
        difficulty=2,
        reference=save_adapter,
        check=_check_save_adapter,
        wrong=[
            (_without("peft_type"), "lacks 'peft_type'"),
            (_without("task_type"), "lacks 'task_type'"),
            (_with(task_type=None), "lacks 'task_type'"),
            (_without("r"), "lacks 'r'"),
            (_without("lora_alpha"), "lacks 'lora_alpha'"),
            (_without("target_modules"), "lacks 'target_modules'"),
            (_without("use_rslora"), "alpha / sqrt(r)"),
            (_without("fan_in_fan_out"), "fan_in_fan_out says"),
            (_with(fan_in_fan_out=True), "fan_in_fan_out says"),
            (_with(use_rslora=True), "use_rslora is set"),
            (_with(peft_type="lora"), 'should be "LORA"'),
            (_with(r=8), "r should be the rank"),
            (_with(lora_alpha=16), "lora_alpha should be"),
            (_saved(config=lambda c, m: c | {"lora_alpha": _scale_of(m)}), "lora_alpha holds the scale"),
            (
                _saved(config=lambda c, m: c | {"target_modules": _last_parts(m, lora_layers(m))}),
                "which has no adapter",
            ),
            (_with(target_modules=["c_attn"]), "do not reach"),
            (_with(target_modules="all-linear"), "a list of names"),
            (_renamed(lambda name: name.removeprefix("base_model.model.")), "begins with"),
            (_renamed(lambda name: name.removesuffix(".weight")), "end with"),
            (_renamed(lambda name: name.replace(".weight", ".default.weight")), "one file, one adapter"),
            (_renamed(lambda name: name.replace(".lora_", ".weight.lora_")), "no name that PEFT looks for"),
            (_renamed(lambda name: name.split(".lora_")[1]), "Is one name used"),
            (_other_pairs(lambda A, B: (B, A)), "A and B are swapped"),
            (_other_pairs(lambda A, B: (A.T, B.T)), "transposed"),
            (_other_pairs(lambda A, B: (A, B + 1)), "the layer's own tensor"),
            (_other_pairs(lambda A, B: (A.half(), B.half())), "unchanged, in torch.float32"),
            (_with(bias="all"), "refuses what you wrote: the folder uses bias"),
            (_with(use_dora=True), "refuses what you wrote: the folder uses use_dora"),
            (_with(task_type="SEQ_CLS"), "task_type cannot be 'SEQ_CLS'"),
            (_returns_nothing, "Return the folder"),
            (
                _saved(
                    tensors=lambda named, m: {
                        k: v * _scale_of(m) if "lora_B" in k else v for k, v in named.items()
                    }
                ),
                "has the scale in it",
            ),
            (_saved(tensors=lambda named, m: named | dict(m.state_dict())), "stay with the base model"),
            (_scaled_in_place, "model was changed"),
            (_with(lora_dropout=0.5), "lora_dropout should be that of the layers"),
            (_with(base_model_name_or_path="gpt2"), "the model's own name"),
            (_leaving(lambda layer: setattr(layer, "enabled", False)), "is set otherwise"),
            (_leaving(lambda layer: setattr(layer, "dropout", nn.Dropout(0.5))), "is set otherwise"),
            (_leaving(lambda layer: layer.requires_grad_(False)), "is set otherwise"),
            (_leaving(lambda layer: layer.train(not layer.training)), "is set otherwise"),
            (_first_stays, "which is still there"),
            (_without_folder, "does not exist yet"),
            (_new_folder_only, "A second save"),
            (_text_refused, "may come as a text"),
            (_pickled, "no adapter_model.safetensors"),
            (_config_as_python, "a JSON object"),
            (lambda model, folder: None, "no adapter_config.json"),
        ],
        right=[_two_loops, package_save_adapter],
        then="From here on your function writes the adapters of this lesson. Run the cells below again.",
        hints=(
            "Two files. The config says what the tensors alone do not: the rank, alpha, the kind of scale, "
            "the layers, and how these store their weight. The other file has A and B of each layer, "
            "untouched, under PEFT's names.",
            'Loop over lora_layers(model).items(). The keys are f"base_model.model.{name}.lora_A.weight" '
            "[r, in] and the same with lora_B [out, r]. The first layer knows rank, alpha and rslora. "
            "json.dumps(config) is the text of adapter_config.json; save_file(tensors, path) writes the "
            "other file.",
        ),
    ),
    Exercise(
        name="mixed_lora",
        lesson="05",
        minutes=10,
        difficulty=2,
        reference=mixed_lora,
        check=_check_mixed,
        wrong=[
            *((wrong, message) for message, wrong in MIXED_MISTAKES),
            (lambda x, A, B, which, scale: scale * x @ (B[which] @ A[which]).mT, "as large as the weight"),
            (_picked_last, "through all adapters"),
            (_one_adapter_only, "In a batch of one row"),
            (
                lambda x, A, B, which, scale: mixed_lora(x, A, B, which, scale).squeeze(1),
                "With one token a row",
            ),
            (lambda x, A, B, which, scale: 2 * mixed_lora(x, A, B, which, scale), "Row i should be"),
            (lambda x, A, B, which, scale: mixed_lora(x, A, B, which, scale).sum(1), "shape"),
            (_mixed_in_place, "changes its argument x in place"),
            (lambda x, A, B, which, scale: mixed_lora(x, A, B, which, scale).detach(), "has no graph"),
            (lambda x, A, B, which, scale: mixed_lora(x, A.detach(), B, which, scale), "A gets no gradient"),
            (lambda x, A, B, which, scale: torch.zeros(len(x), x.shape[1], B.shape[1]), "Row i should be"),
        ],
        right=[_row_by_row, _adapter_by_adapter, _mixed_by_einsum],
        hints=(
            "A[which] picks an A for every row of the batch: [b, r, in]. `@` multiplies matrices pairwise "
            "along the first dimension.",
            "x [b, t, in] @ A[which].mT [b, in, r] is [b, t, r]; that @ B[which].mT [b, r, out] is "
            "[b, t, out]. Times scale.",
        ),
    ),
    Exercise(
        name="stacked_sum",
        lesson="05",
        minutes=10,
        difficulty=2,
        reference=stacked_sum,
        check=_check_stacked_sum,
        wrong=[
            (lambda A1, B1, A2, B2, w1, w2: (A1 + A2, w1 * B1 + w2 * B2), "cross terms"),
            (lambda A1, B1, A2, B2, w1, w2: stacked_sum(A1, B1, A2, B2, 1, 1), "weights have no effect"),
            (_squared_weights, "their squares"),
            (_roots_in_both, "has no root"),
            (lambda A1, B1, A2, B2, w1, w2: stacked_sum(A1, B1, A2, B2, w2, w1), "changed places"),
            (lambda A1, B1, A2, B2, w1, w2: stacked_sum(A1, B1, A2, B2, 1, w2), "first weight is missing"),
            (lambda A1, B1, A2, B2, w1, w2: stacked_sum(A1, B1, A2, B2, w1, 1), "second weight is missing"),
            (lambda A1, B1, A2, B2, w1, w2: stacked_sum(A1, B1, A2, B2, abs(w1), abs(w2)), "is lost"),
            (
                lambda A1, B1, A2, B2, w1, w2: (torch.cat([A2, A1]), torch.cat([w1 * B1, w2 * B2], 1)),
                "B1 meets A2",
            ),
            (
                lambda A1, B1, A2, B2, w1, w2: stacked_sum(A1, B1, A2, B2, w1 / (w1 + w2), w2 / (w1 + w2)),
                "divide by their sum",
            ),
            (lambda A1, B1, A2, B2, w1, w2: stacked_sum(A1, B1, A2, B2, w1, 1 - w1), "need not be 1 - w1"),
            (_as_pair(lambda A, B: (B, A)), "are swapped"),
            (_as_pair(lambda A, B: (torch.eye(A.shape[1]), B @ A)), "whole matrix"),
            (_as_pair(lambda A, B: B @ A), "Return two tensors"),
            (_as_pair(lambda A, B: (A.half(), B.half())), "keep the dtype"),
            (
                lambda A1, B1, A2, B2, w1, w2: (torch.cat([A1, A2], 1), torch.cat([w1 * B1, w2 * B2], 1)),
                "A grows by rows",
            ),
            (_as_pair(lambda A, B: (A, -B)), "B A should be"),
            (_as_pair(lambda A, B: None), "Is there a return"),
            (_of_rank_two, "A grows by rows"),
            (_weights_in_place, "B1 was changed"),
        ],
        right=[_weights_in_A, _filled, _as_pair(lambda A, B: (A.flip(0), B.flip(1)))],
        hints=(
            "A product of matrices is a sum over the inner dimension. Put the inner dimensions of the two "
            "products one after the other, and the product is the sum of both.",
            "[B1 B2] times [A1; A2] is B1 A1 + B2 A2: torch.cat([A1, A2]) is [r1 + r2, in], "
            "torch.cat([..., ...], dim=1) is [out, r1 + r2]. The weights go into one of the two only.",
        ),
    ),
    Exercise(
        name="cut_product",
        lesson="05",
        minutes=15,
        difficulty=3,
        reference=cut_product,
        check=_check_cut_product,
        wrong=[
            (_by_svd, "as large as [out, in]"),
            (lambda A, B, rank: _by_svd(A, B, rank, power=(0.0, 0.0)), "singular values are missing"),
            (lambda A, B, rank: _by_svd(A, B, rank, power=(1.0, 1.0)), "in A and in B"),
            (lambda A, B, rank: _by_svd(A, B, rank, keep=slice(-rank, None)), "weakest directions"),
            (lambda A, B, rank: (A[:rank], B[:, :rank]), "no order"),
            (lambda A, B, rank: _by_svd(A, B, rank, keep=slice(1, None)), "the smallest possible one"),
            (lambda A, B, rank: cut_product(A, B, rank)[::-1], "are swapped"),
            (lambda A, B, rank: cut_product(A, B, rank + 1), "A should be [2, 40]"),
            (lambda A, B, rank: cut_product(A, B, 2), "A should be [3, 32]"),
            (lambda A, B, rank: B @ A, "Return two tensors"),
            (_cut_of_B, "the best cut of B alone"),
            (_cut_of_A, "the best cut of A alone"),
            (_without_the_last, "A should be [4, 18]"),
            (_untransposed, "R_A is not transposed"),
            (_columns_of_Vh, "columns of Vh"),
            (_cut_in_place, "A was changed"),
            (lambda A, B, rank: (cut_product(A, B, rank)[0], -cut_product(A, B, rank)[1]), "sign is turned"),
            (lambda A, B, rank: None, "Is there a return"),
        ],
        right=[_by_two_svds, _values_in_A],
        hints=(
            "The SVD of B A is what the cut needs (lesson 04), and B A has at most r singular values that "
            "are not zero. An orthonormal basis of B's columns and one of A's rows change neither them "
            "nor the norm: what is left between the two bases is r x r.",
            "Q_B, R_B = qr(B) and Q_A, R_A = qr(A.T) give B A = Q_B (R_B R_A^T) Q_A^T. SVD of the r x r "
            "matrix in the middle: B_new = Q_B U[:, :rank] * S[:rank] is [out, rank], A_new = Vh[:rank] "
            "Q_A^T is [rank, in].",
        ),
    ),
]
