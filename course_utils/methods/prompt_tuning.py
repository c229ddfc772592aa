"""Soft prompts (Lester et al. 2021, arXiv 2104.08691) and prefixes (Li and Liang 2021, arXiv 2101.00190).

The model is frozen. A soft prompt [P, d] precedes its input embeddings; a prefix gives every layer the keys
and values of P tokens directly.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.generation import cache_name
from course_utils.methods.lora import base_fingerprint
from course_utils.methods.lora_files import (
    WEIGHTS_FILE,
    portable_name,
    read_adapter_files,
    write_adapter_files,
)

if TYPE_CHECKING:
    from transformers import DynamicCache, PretrainedConfig, PreTrainedModel

TENSOR = "prompt_embeddings"


class PromptTuning(nn.Module):
    """A frozen causal model behind a trainable prompt [P, d]; to be called like the model alone.

    T tokens in, logits of T positions out: the prompt's own positions are left out.
    """

    def __init__(self, model: PreTrainedModel, prompt: Tensor) -> None:
        super().__init__()
        check_width(model, prompt)
        self.model = model.requires_grad_(False)
        self.prompt = nn.Parameter(prompt.detach().clone())  # (P, d)
        self.config = shorter_context(model.config, len(prompt))

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        **options: Any,
    ) -> Any:
        rows, tokens = input_ids.shape
        length = len(self.prompt)
        embeddings = self.model.get_input_embeddings()(input_ids)  # (rows, tokens, d)
        starts = cached_tokens(options) == 0
        if starts:
            prompt = self.prompt.to(embeddings.dtype).expand(rows, -1, -1)
            embeddings = torch.cat([prompt, embeddings], 1)  # (rows, P + tokens, d)
            logits_to_keep = positions_behind(length, tokens, logits_to_keep)
        if attention_mask is not None:
            attention_mask = F.pad(attention_mask, (length, 0), value=1)
        if position_ids is not None:
            position_ids = position_ids + length
            if starts:
                before = torch.arange(length, device=position_ids.device)
                position_ids = torch.cat([before.expand(rows, -1), position_ids], 1)
        extended = {"attention_mask": attention_mask, "position_ids": position_ids}
        return self.model(inputs_embeds=embeddings, logits_to_keep=logits_to_keep, **extended, **options)


class PrefixTuning(nn.Module):
    """A frozen causal model whose layers see keys and values of P extra tokens; called like the model.

    prefix: [P, layers * 2 * heads * head size] in PEFT's layout: layer by layer, keys before values.
    """

    def __init__(self, model: PreTrainedModel, prefix: Tensor) -> None:
        super().__init__()
        check_width(model, prefix, prefix_width(model.config))
        self.model = model.requires_grad_(False)
        self.prefix = nn.Parameter(prefix.detach().clone())  # (P, layers * 2 * heads * head size)
        self.config = shorter_context(model.config, len(prefix))

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        **options: Any,
    ) -> Any:
        rows, length = len(input_ids), len(self.prefix)
        if cached_tokens(options) == 0:
            options[cache_name()] = self.fill(options.get(cache_name()), rows)
        if attention_mask is not None:
            attention_mask = F.pad(attention_mask, (length, 0), value=1)
        if position_ids is not None:
            position_ids = position_ids + length
        return self.model(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, **options
        )

    def fill(self, cache: DynamicCache | None, rows: int) -> DynamicCache:
        """The cache (None: a new one) with the prefix in every layer, for each row."""
        from transformers import DynamicCache

        cache = DynamicCache(config=self.model.config) if cache is None else cache
        layers, heads, _ = attention_shape(self.model.config)
        for layer, (key, value) in enumerate(keys_and_values(self.prefix, layers, heads)):
            cache.update(key.expand(rows, -1, -1, -1), value.expand(rows, -1, -1, -1), layer)
        return cache


def check_width(model: PreTrainedModel, prompt: Tensor, width: int | None = None) -> None:
    """ValueError unless the prompt is [P, width], P at least 1; None: the width of the embeddings."""
    width = width or model.get_input_embeddings().weight.shape[1]
    if prompt.ndim != 2 or len(prompt) == 0 or prompt.shape[1] != width:
        shape = list(prompt.shape)
        raise ValueError(f"This model needs vectors of {width} values, [P, {width}]; got {shape}.")


def shorter_context(config: PretrainedConfig, length: int) -> PretrainedConfig:
    """A copy of the model's configuration with a context shorter by the prompt, which is left for text."""
    config = copy.deepcopy(config)
    context = getattr(config, "max_position_embeddings", None)
    if context is not None:
        if length >= context:
            raise ValueError(f"A prompt of {length} tokens leaves no room in a context of {context}.")
        config.max_position_embeddings = context - length
    return config


def cached_tokens(options: dict[str, Any]) -> int:
    """Number of tokens in the cache given among a call's options, 0 without one."""
    cache = options.get(cache_name())
    return 0 if cache is None else cache.get_seq_length()


def positions_behind(length: int, tokens: int, logits_to_keep: int | Tensor) -> int | Tensor:
    """Positions of the text after a prompt: the requested ones, or all (0). An int keeps the last ones."""
    if torch.is_tensor(logits_to_keep):
        return logits_to_keep + length
    return logits_to_keep or torch.arange(length, length + tokens)


def attention_shape(config: PretrainedConfig) -> tuple[int, int, int]:
    """(layers, key-value heads, head size)."""
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    return config.num_hidden_layers, heads, size


def prefix_width(config: PretrainedConfig) -> int:
    """Number of prefix values per token."""
    layers, heads, size = attention_shape(config)
    return layers * 2 * heads * size


def keys_and_values(prefix: Tensor, layers: int, heads: int) -> Tensor:
    """[layers, 2, heads, P, head size] from PEFT's [P, layers * 2 * heads * head size]."""
    return prefix.view(len(prefix), layers, 2, heads, -1).permute(1, 2, 3, 0, 4)


def random_prompt(model: PreTrainedModel, length: int, std: float | None = None) -> Tensor:
    """[length, d], normal; std None: the standard deviation of the model's own embeddings."""
    table = model.get_input_embeddings().weight.detach()
    return torch.randn(length, table.shape[1], device=table.device) * (table.std() if std is None else std)


def prompt_from_words(model: PreTrainedModel, ids: Sequence[int], length: int) -> Tensor:
    """[length, d]: copies of these tokens' embeddings, repeated and cut to the length."""
    if not len(ids):
        raise ValueError("a prompt from words needs at least one token")
    repeated = [ids[place % len(ids)] for place in range(length)]
    return model.get_input_embeddings().weight.detach()[repeated].clone()


@torch.no_grad()
def prefix_of_prompt(model: PreTrainedModel, prompt: Tensor) -> Tensor:
    """The prefix [P, ...] equivalent to a prompt [P, d]: its keys and values in every layer."""
    from transformers import DynamicCache

    cache = DynamicCache(config=model.config)
    model(inputs_embeds=prompt[None], use_cache=True, **{cache_name(): cache})
    layers = [torch.stack([layer.keys[0], layer.values[0]]) for layer in cache.layers]  # (2, heads, P, size)
    return torch.stack(layers).permute(3, 0, 1, 2, 4).flatten(1)


def nearest_words(prompt: Tensor, table: Tensor, k: int = 1) -> tuple[Tensor, ...]:
    """(cosine similarities, token ids), [P, k] each, nearest first; prompt [P, d], table [V, d]."""
    return tuple((F.normalize(prompt, dim=-1) @ F.normalize(table, dim=-1).T).topk(k))


def save_prompt(tuned: PromptTuning | PrefixTuning, folder: Path | str) -> Path:
    """Write adapter_config.json and adapter_model.safetensors in PEFT's format; returns the folder."""
    prefix = isinstance(tuned, PrefixTuning)
    values = (tuned.prefix if isinstance(tuned, PrefixTuning) else tuned.prompt).detach()
    layers, heads, size = attention_shape(tuned.config)
    config = {
        "peft_type": "PREFIX_TUNING" if prefix else "PROMPT_TUNING",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": portable_name(tuned.model),
        "num_virtual_tokens": len(values),
        "token_dim": heads * size if prefix else values.shape[1],
        "num_attention_heads": heads if prefix else tuned.config.num_attention_heads,
        "num_layers": layers,
        "num_transformer_submodules": 1,
        "inference_mode": True,
    }
    return write_adapter_files(folder, config, {TENSOR: values}, fingerprint(tuned.model))


def fingerprint(model: nn.Module) -> str:
    """SHA-256 of all weights, since a prompt depends on the whole model."""
    names = [name for name, module in model.named_modules() if "weight" in module._parameters]
    return base_fingerprint(model, names)


def load_prompt(
    model: PreTrainedModel, folder: Path | str, check_base: bool = True
) -> PromptTuning | PrefixTuning:
    """PromptTuning or PrefixTuning from a folder of PEFT's format, around the model, which is frozen.

    FileNotFoundError or ValueError if it cannot be read, does not fit, or was saved from other weights (which
    PEFT's own files do not record).
    """
    folder = Path(folder)
    config, values, made_for = read_adapter_files(folder)
    kinds: dict[str, Any] = {"PROMPT_TUNING": PromptTuning, "PREFIX_TUNING": PrefixTuning}
    kind, base = config.get("peft_type"), config.get("base_model_name_or_path")
    if kind not in kinds:
        raise ValueError(f"{folder} holds a {kind} adapter; load_prompt reads {' and '.join(kinds)}.")
    if list(values) != [TENSOR]:
        raise ValueError(f"{folder / WEIGHTS_FILE} should hold only {TENSOR}, not {sorted(values)[:3]}.")
    if check_base and made_for not in (None, fingerprint(model)):
        raise ValueError(
            f"The prompt in {folder} was trained with other weights than this model's"
            f"{f' (its base was {base})' if base else ''}. Load that base, or, if it is the same model in "
            "another precision, pass check_base=False."
        )
    try:
        return kinds[kind](model, values[TENSOR].to(next(model.parameters()).device))
    except ValueError as error:
        raise ValueError(f"The prompt in {folder} does not fit: {error}") from None
