"""Lesson 05, save_adapter: save an adapter."""

import json
import os
import tempfile
from pathlib import Path
from types import SimpleNamespace

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers.pytorch_utils import Conv1D

from course_utils.checks.compare import Mistake, unchanged
from course_utils.checks.exercises import Exercise, close
from course_utils.lessons.lesson_05.small_adapters import save_adapter
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
    """Two linear layers whose name suffix occurs in two places, like c_proj in GPT-2."""

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
            except (FileNotFoundError, SafetensorError) as error:
                if folder.is_dir():
                    raise
                raise Mistake(
                    "The folder, or a parent, does not exist yet: make it with folder.mkdir(parents=True, "
                    "exist_ok=True)."
                ) from error
        for name, value in _settings(model).items():
            if value != settings.get(name):
                raise Mistake(
                    f"{name or 'The model'} has other settings after the save. The model may be in use or in "
                    "training: do not change its layers, enabled, scale, dropout, mode and requires_grad."
                )
        _expect_files(folder)
        _expect_config(json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8")), model)
        _expect_named(load_file(folder / WEIGHTS_FILE), model)
        try:
            read_adapter(folder)
        except ValueError as error:
            said = str(error).replace(str(folder), "the folder")
            raise Mistake(f"The course's reader rejects what you wrote: {said}") from error
        if result is None or Path(result) != folder:
            raise Mistake(f"Return the folder; you return {result!r}.")
        for wrapped in lora_layers(model).values():
            nn.init.normal_(wrapped.lora_B)  # another adapter, for the same folder
        try:
            fn(model, str(folder))
        except FileExistsError as error:
            raise Mistake("A second save into the same folder fails: mkdir needs exist_ok=True.") from error
        except TypeError as error:
            raise Mistake("The folder may be a string, too: use Path(folder).") from error
        stored = load_file(folder / WEIGHTS_FILE)
        if not all(close(stored[name], B) for name, B in peft_tensors(get_adapter(model).tensors).items()):
            raise Mistake("A second adapter was saved into the folder of the first, which is still there.")


def _settings(model):
    """What state_dict lacks: each module's type, mode and attributes, and the parameters' requires_grad."""
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
            raise Mistake(f"The folder has no {file}; it has {found or 'no files'}.")
    try:
        is_object = isinstance(json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8")), dict)
    except ValueError:
        is_object = False
    if not is_object:
        raise Mistake(f"{CONFIG_FILE} does not contain a JSON object: write json.dumps(config) as its text.")


NEEDED = {
    "task_type": 'It tells PEFT the task; for a causal language model it is "CAUSAL_LM".',
    "peft_type": 'It tells PEFT the kind of adapter: "LORA".',
    "r": "PEFT needs the rank.",
    "lora_alpha": "The factor before B A is not in the tensors.",
    "target_modules": "PEFT needs the names of the layers to wrap.",
}


def _expect_config(config, model):
    layers = lora_layers(model)
    first = next(iter(layers.values()))
    for name, reason in NEEDED.items():
        if config.get(name) is None:
            raise Mistake(f"{CONFIG_FILE} lacks {name!r}. {reason}")
    if config["peft_type"] != "LORA":
        raise Mistake(f'peft_type should be "LORA", but is {config["peft_type"]!r}.')
    if config["r"] != first.rank:
        raise Mistake(f"r should be the rank, {first.rank}, but is {config['r']!r}.")
    if config["lora_alpha"] != first.alpha:
        is_scale = isinstance(config["lora_alpha"], int | float) and close(config["lora_alpha"], first.scale)
        raise Mistake(
            "lora_alpha has the scale. PEFT itself divides alpha by the rank: write alpha."
            if is_scale
            else f"lora_alpha should be {first.alpha}, but is {config['lora_alpha']!r}."
        )
    if bool(config.get("use_rslora")) != first.rslora:
        raise Mistake(
            "This adapter has the scale alpha / sqrt(r), but the config does not say so: set use_rslora."
            if first.rslora
            else "use_rslora is set, but this adapter's scale is alpha / r."
        )
    if bool(config.get("fan_in_fan_out")) != any(is_conv1d(layer.original) for layer in layers.values()):
        raise Mistake(
            "fan_in_fan_out says whether the layers store their weight as [in, out], as Conv1D does: "
            "True for Conv1D, False for nn.Linear."
        )
    dropout = getattr(first.dropout, "p", 0.0)
    if config.get("lora_dropout", dropout) != dropout:
        raise Mistake(
            f"lora_dropout should be that of the layers, {dropout}, but is {config['lora_dropout']!r}: "
            "further training would use another dropout. You may leave this entry out."
        )
    if config.get("base_model_name_or_path") not in (None, model.name_or_path):
        raise Mistake(
            f"base_model_name_or_path should be the model's own name, {model.name_or_path!r}, but is "
            f"{config['base_model_name_or_path']!r}. You may leave this entry out."
        )
    _expect_target_modules(config["target_modules"], model, list(layers))


def _expect_target_modules(targets, model, names):
    if not isinstance(targets, list) or not all(isinstance(target, str) for target in targets):
        raise Mistake(f"target_modules should be a list of names, but is {str(targets)[:60]}.")
    ends = tuple(f".{target}" for target in targets)
    every = [name for name, _ in model.named_modules()]
    reached = [name for name in every if name in targets or name.endswith(ends)]
    if missing := [name for name in names if name not in reached]:
        raise Mistake(f"target_modules do not match {missing[0]}, which has an adapter.")
    if more := [name for name in reached if name not in names]:
        raise Mistake(
            f"target_modules also match {more[0]}, which has no adapter. short_targets(model, names) gives "
            "the shortest suffixes that match only the right layers."
        )


def _expect_named(result, model):
    tensors = get_adapter(model).tensors
    right = peft_tensors(tensors)
    names = sorted(result)
    if len(result) > len(right):
        raise Mistake(
            f"The file has {len(result)} tensors but should have {len(right)}: A and B of each adapted "
            "layer. The frozen weights stay with the base model."
        )
    if len(result) < len(right):
        raise Mistake(
            f"Each layer has an A and a B: {len(right)} tensors. Yours are {len(result)}. Is one name used "
            "for several?"
        )
    if any(".default" in name for name in names):
        raise Mistake(
            '"default" is the adapter\'s name inside a PeftModel. The names in the file do not '
            "have it: one file, one adapter."
        )
    if not all(name.startswith("base_model.model.") for name in names):
        raise Mistake(
            'Every name begins with "base_model.model.": PEFT wraps the model twice, and the '
            "names are those of the wrapped model."
        )
    if not all(name.endswith(".weight") for name in names):
        raise Mistake(
            'The names end with ".weight": in PEFT lora_A and lora_B are nn.Linear layers, and '
            "this is their weight."
        )
    if set(names) != set(right):
        wrong = next(name for name in names if name not in right)
        raise Mistake(
            f"{wrong!r} is not a name that PEFT looks for. Use base_model.model.LAYER"
            ".lora_A.weight, and the same with lora_B."
        )
    scale = next(iter(lora_layers(model).values())).scale
    for name, tensor in right.items():
        value = result[name]
        other = right[name.replace(".lora_A.", ".lora_?.").replace(".lora_B.", ".lora_A.").replace("?", "B")]
        if value.shape == other.shape and close(value, other):
            raise Mistake(f"A and B are swapped: {name} has the other tensor of the pair.")
        if value.shape == tensor.T.shape and close(value, tensor.T):
            raise Mistake(
                "The matrices are transposed. PEFT stores A as [rank, in] and B as [out, rank] also for "
                "Conv1D; only the layer's own weight is transposed."
            )
        if value.shape == tensor.shape and close(value, scale * tensor):
            raise Mistake(
                f"{name} includes the scale. PEFT itself multiplies by alpha / r, so the scale would be "
                "applied twice."
            )
        if value.shape != tensor.shape or value.dtype != tensor.dtype or not close(value, tensor):
            raise Mistake(f"{name} should be the layer's own tensor, unchanged, in {tensor.dtype}.")


def _saved(config=None, tensors=None):
    """A wrong save_adapter: config(dict, model) and tensors(dict, model) change what it writes."""

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
    """A wrong save_adapter: it stores the two tensors change(A, B)."""
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
    """A wrong save_adapter: it writes the right files, but changes every layer by change(layer)."""

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


def _tensors_without_folder(model, folder):
    save_file(peft_tensors(get_adapter(model).tensors), Path(folder) / WEIGHTS_FILE)


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


EXERCISE = Exercise(
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
        (_saved(config=lambda c, m: c | {"lora_alpha": _scale_of(m)}), "lora_alpha has the scale"),
        (
            _saved(config=lambda c, m: c | {"target_modules": _last_parts(m, lora_layers(m))}),
            "which has no adapter",
        ),
        (_with(target_modules=["c_attn"]), "do not match"),
        (_with(target_modules="all-linear"), "a list of names"),
        (_renamed(lambda name: name.removeprefix("base_model.model.")), "begins with"),
        (_renamed(lambda name: name.removesuffix(".weight")), "end with"),
        (_renamed(lambda name: name.replace(".weight", ".default.weight")), "one file, one adapter"),
        (_renamed(lambda name: name.replace(".lora_", ".weight.lora_")), "not a name that PEFT looks for"),
        (_renamed(lambda name: name.split(".lora_")[1]), "Is one name used"),
        (_other_pairs(lambda A, B: (B, A)), "A and B are swapped"),
        (_other_pairs(lambda A, B: (A.T, B.T)), "transposed"),
        (_other_pairs(lambda A, B: (A, B + 1)), "the layer's own tensor"),
        (_other_pairs(lambda A, B: (A.half(), B.half())), "unchanged, in torch.float32"),
        (_with(bias="all"), "rejects what you wrote: the folder uses bias"),
        (_with(use_dora=True), "rejects what you wrote: the folder uses use_dora"),
        (_with(task_type="SEQ_CLS"), "task_type cannot be 'SEQ_CLS'"),
        (_returns_nothing, "Return the folder"),
        (
            _saved(
                tensors=lambda named, m: {
                    k: v * _scale_of(m) if "lora_B" in k else v for k, v in named.items()
                }
            ),
            "includes the scale",
        ),
        (_saved(tensors=lambda named, m: named | dict(m.state_dict())), "stay with the base model"),
        (_scaled_in_place, "model was changed"),
        (_with(lora_dropout=0.5), "lora_dropout should be that of the layers"),
        (_with(base_model_name_or_path="gpt2"), "the model's own name"),
        (_leaving(lambda layer: setattr(layer, "enabled", False)), "has other settings"),
        (_leaving(lambda layer: setattr(layer, "dropout", nn.Dropout(0.5))), "has other settings"),
        (_leaving(lambda layer: layer.requires_grad_(False)), "has other settings"),
        (_leaving(lambda layer: layer.train(not layer.training)), "has other settings"),
        (_first_stays, "which is still there"),
        (_without_folder, "does not exist yet"),
        (_tensors_without_folder, "does not exist yet"),
        (_new_folder_only, "A second save"),
        (_text_refused, "may be a string"),
        (_pickled, "no adapter_model.safetensors"),
        (_config_as_python, "a JSON object"),
        (lambda model, folder: None, "no adapter_config.json"),
    ],
    right=[_two_loops, package_save_adapter],
    then="From here on your function writes the adapters of this lesson. Run the cells below again.",
    hints=(
        "Two files. The config has what the tensors do not say: the rank, alpha, the kind of scale, the "
        "layers, and how these store their weight. The other file has A and B of each layer, unchanged, "
        "under PEFT's names.",
        'Loop over lora_layers(model).items(). The keys are f"base_model.model.{name}.lora_A.weight" '
        "[r, in] and the same with lora_B [out, r]. The first layer has rank, alpha and rslora. "
        "json.dumps(config) is the text of adapter_config.json; save_file(tensors, path) writes the "
        "other file.",
    ),
)
