"""Models by name: from disk first, safetensors only, in fp32, ready for fine-tuning."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from course_utils.data import DATA
from course_utils.home import home
from course_utils.machine import find_device
from course_utils.model_files import (
    GPT2_REPOS,
    ModelError,
    check_folder,
    count_weights,
    missing_weights,
    pickle_files,
    quiet,
    wrong_checksums,
)
from course_utils.ownership import restore_command
from course_utils.stored_runs import forget

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


Model = TypeVar("Model", bound="nn.Module")  # for functions that return the model they were given
MODEL_NAMES = ("auto", "pocket", "pocket-s", "pocket-l", "gpt2", "smollm2")
POCKET = DATA / "pocket-gpt2"
SHIPPED_MODELS = {"pocket": POCKET, "pocket-s": POCKET.with_name("pocket-s")}
# {models that are found in home()/models alone: how to get them}
MADE_OR_FETCHED = {
    "smollm2": "python -m course_utils fetch smollm2",
    "pocket-l": "make pocket SIZE=large (some five hours of two cores)",
}


_stand_ins: dict[str, str] = {}


@contextmanager
def standing_in(name: str, wanted: str = "pocket") -> Iterator[None]:
    """In this block `name` is loaded wherever code asks for `wanted`: experiments on another model."""
    forget()
    _stand_ins[wanted] = name
    try:
        yield
    finally:
        del _stand_ins[wanted]
        forget()


class Source(NamedTuple):
    """Where a model is, and why it was chosen."""

    kind: str  # pocket, pocket-s, pocket-l, gpt2, smollm2, folder or hub
    place: Path | str  # a folder on disk, or the hub id to download
    why: str

    @property
    def name(self) -> str:
        """The name with which load_model gets the same model again."""
        return self.kind if self.kind in MODEL_NAMES else str(self.place)


def untrained_gpt2(
    *, n_layer: int, n_head: int, n_embd: int, vocab_size: int, n_positions: int, **more: Any
) -> PreTrainedModel:
    """A randomly initialised GPT-2: eval mode, fp32, dropout 0, bos and eos token 0.

    more: further settings of transformers' GPT2Config.
    """
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        n_layer=n_layer,
        n_head=n_head,
        n_embd=n_embd,
        vocab_size=vocab_size,
        n_positions=n_positions,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
        **more,
    )
    return GPT2LMHeadModel(config).eval()


def load_model(
    name: str = "auto", device: str | torch.device = "cpu"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A fresh model and its tokenizer: eval mode, fp32, dropout 0, a pad token (eos if it has none).

    name: auto, pocket, pocket-s, pocket-l, gpt2, smollm2, a local folder or a hub id ("owner/name"). The hub
    is only asked for files that are not on disk. Raises ModelError.
    """
    source = resolve(name, device)
    folder = source.place if isinstance(source.place, Path) else _download(source)
    if source.kind in SHIPPED_MODELS or (folder / "checksums.json").is_file():
        _check_whole(folder, source.kind)
    return load_folder(folder, device)


def resolve(name: str = "auto", device: str | torch.device | None = None) -> Source:
    """Where to find `name`: (kind, place, why). Loads and downloads nothing. Raises ModelError."""
    name = _stand_ins.get(name, name)
    if name == "auto":
        return _choose(str(device or find_device()))
    if name in SHIPPED_MODELS:
        return Source(name, SHIPPED_MODELS[name], "shipped with the course")
    if name == "gpt2":
        return _find_gpt2() or Source("gpt2", GPT2_REPOS[0], "not on disk: loading it downloads 550 MB")
    if name in MADE_OR_FETCHED:
        folder = home() / "models" / name
        if not folder.is_dir():
            raise ModelError(
                f"{name} is not on disk (looked in {folder}). Get it with: {MADE_OR_FETCHED[name]}"
            )
        return Source(name, folder, "fetched before" if name == "smollm2" else "made before")
    folder = Path(name).expanduser()
    if name and os.path.isdir(folder):  # Path.is_dir raises for a name that is too long
        return Source("folder", folder.resolve(), "a local folder")
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name):
        raise _unknown(name)
    if cached := _cached_folder(name):
        return Source("hub", cached, "in the local hub cache")
    return Source("hub", name, "not on disk: loading it downloads it")


def _choose(device: str) -> Source:
    if device == "cpu":
        return Source("pocket", POCKET, "shipped; the default on a CPU")
    if gpt2 := _find_gpt2():
        return gpt2._replace(why=f"{gpt2.why}; the default with an accelerator")
    return Source("pocket", POCKET, "shipped; gpt2 is not on disk: python -m course_utils fetch gpt2")


def _find_gpt2() -> Source | None:
    fetched = home() / "models" / "gpt2"
    if fetched.is_dir():
        return Source("gpt2", fetched, "fetched before")
    for repo in GPT2_REPOS:
        if folder := _cached_folder(repo):
            return Source("gpt2", folder, "in the local hub cache")
    return None


def _cached_folder(repo: str) -> Path | None:
    """The snapshot of a hub repository in the local cache, or None if it is missing or incomplete."""
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(repo, "config.json")
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    return folder if not missing_weights(folder) or pickle_files(folder) else None


def _unknown(name: str) -> ModelError:
    near = difflib.get_close_matches(name.lower(), MODEL_NAMES, n=2, cutoff=0.5)
    if "/" in name or "\\" in name or name.startswith((".", "~")):
        what = f"There is no folder {Path(name).expanduser().resolve()}."
    else:
        what = f"Unknown model {name[:100]!r}." + (f" Did you mean {' or '.join(near)}?" if near else "")
    return ModelError(
        f"{what} Choose {', '.join(MODEL_NAMES)}, a local folder that exists, or a hub id of "
        "the form owner/name (MODEL in the first cell, or COURSE_MODEL)."
    )


def _download(source: Source) -> Path:
    from course_utils.fetch import fetch, fetch_hub

    return fetch("gpt2") if source.kind == "gpt2" else fetch_hub(str(source.place))


def _check_whole(folder: Path, kind: str) -> None:
    if faults := wrong_checksums(folder):
        restore = restore_command(folder) if kind in SHIPPED_MODELS else "copying or fetching it again"
        raise ModelError(f"The model is not whole: {'; '.join(faults)}. Restore it with: {restore}")


def load_folder(
    folder: Path, device: str | torch.device, tokenizer_folder: Path | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """load_model for a folder; the tokenizer may be in another one. Compares no checksums."""
    from transformers import AutoModelForCausalLM

    with quiet():
        config = read_config(folder)
        prepare_config(config)
        model = load_checked(folder, AutoModelForCausalLM, config)
        tokenizer = load_tokenizer(tokenizer_folder or folder)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model.to(device), tokenizer


def read_config(folder: Path) -> PretrainedConfig:
    """config.json of a folder with safetensors weights. Raises ModelError."""
    from transformers import AutoConfig

    check_folder(folder)
    with model_errors(folder, "config.json"):
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def load_checked(folder: Path, auto_class: Any, config: PretrainedConfig) -> PreTrainedModel:
    """A folder's model by one of transformers' Auto classes, fp32, eval mode.

    ModelError unless weights and configuration match and all values are finite.
    """
    import torch

    check_size(config, folder, auto_class)
    with model_errors(folder, "config.json"):
        model, info = auto_class.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # _check_weights reports them
        )
        _check_weights(model, info, folder)
        with torch.no_grad():
            model(input_ids=torch.tensor([[0]]))
    return model.eval()


def check_size(config: PretrainedConfig, folder: Path, auto_class: Any) -> None:
    """ModelError, before anything is built, if config.json describes a larger model than the weights hold."""
    import torch
    from transformers.initialization import no_init_weights

    with model_errors(folder, "the weight files"):
        tensors, values = count_weights(folder)
    layers = getattr(config, "num_hidden_layers", 0)
    fault = f"{layers} layers" if layers > tensors else ""
    if not fault:
        with model_errors(folder, "config.json"), no_init_weights(), torch.device("meta"):  # without memory
            asked = sum(p.numel() for p in auto_class.from_config(config).parameters())
        if asked > 2 * values:  # at most two 4-bit values per byte
            fault = f"{asked:,} values"
    if fault:
        raise ModelError(
            f"{folder / 'config.json'} asks for {fault}, the weights beside it have {tensors} tensors with "
            f"{values:,} values. Copy or fetch the model again."
        )


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """A folder's tokenizer, padding on the right. Raises ModelError."""
    from transformers import AutoTokenizer

    with model_errors(folder, "tokenizer.json"):
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    prepare_tokenizer(tokenizer, folder)
    return tokenizer


@contextmanager
def model_errors(folder: Path, file: str) -> Iterator[None]:
    """Turn any error into a ModelError that names the file: a file's content can cause every kind."""
    from safetensors import SafetensorError

    try:
        yield
    except ModelError:
        raise
    except SafetensorError as fault:
        raise ModelError(
            f"A weight file in {folder} is damaged ({fault}). Copy or fetch the model again."
        ) from fault
    except Exception as fault:
        raise ModelError(
            f"{folder} does not load as a language model; look at {file} in it "
            f"({type(fault).__name__}: {fault})."
        ) from fault


def _check_weights(model: PreTrainedModel, info: dict, folder: Path) -> None:
    """ModelError if the weights are not those that config.json describes, or not finite."""
    advice = "Copy or fetch the model again."
    if differing := sorted(info["mismatched_keys"]):
        name, found, expected = differing[0]
        raise ModelError(
            f"{folder}: {name} has the shape {list(found)}, config.json asks for {list(expected)}. {advice}"
        )
    if missing := sorted(info["missing_keys"]):
        raise ModelError(
            f"The weights in {folder} lack {len(missing)} tensor(s) that config.json asks for, "
            f"first {missing[0]}. {advice}"
        )
    if unexpected := sorted(info["unexpected_keys"]):
        raise ModelError(
            f"The weights in {folder} have {len(unexpected)} tensor(s) that config.json does not ask for, "
            f"first {unexpected[0]}. {advice}"
        )
    if bad := [name for name, value in model.named_parameters() if not value.isfinite().all()]:
        raise ModelError(f"The weights in {folder} are not finite, first those of {bad[0]}. {advice}")


def prepare_config(config: PretrainedConfig) -> None:
    """Set dropout to 0, and GPT-2's gelu_new to the faster gelu_pytorch_tanh, the same function."""
    for key, value in vars(config).items():
        if isinstance(value, float) and (key.endswith("_pdrop") or "dropout" in key):
            setattr(config, key, 0.0)
    if config.model_type == "gpt2" and config.activation_function == "gelu_new":
        config.activation_function = "gelu_pytorch_tanh"


def prepare_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Pad on the right, with the end-of-text token if there is no pad token."""
    if len(tokenizer) < 2:
        raise ModelError(
            f"The tokenizer in {folder} is empty: tokenizer.json is missing or damaged. "
            "Copy or fetch the model again."
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "right"


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path | str) -> None:
    """Write model and tokenizer, silently, into a folder that load_model can load."""
    with quiet():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


@contextmanager
def eval_mode(model) -> Iterator[None]:
    """Put the model in eval mode, and afterwards back in its previous mode."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
