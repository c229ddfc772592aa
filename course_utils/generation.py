"""Sampling from a causal language model: the rules, a batched loop with a KV cache, text in and text out."""

import inspect
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F

from course_utils.data import chunks_by_length
from course_utils.models import eval_mode


def filter_logits(logits, temperature=1.0, top_k=0, top_p=1.0):
    """Divides by the temperature and sets to -inf what the rules exclude, [batch, vocabulary].

    top_k keeps the k likeliest tokens (0: all). top_p keeps the likeliest tokens whose probabilities add up
    to top_p, the one that crosses it included (nucleus sampling, Holtzman et al. 2019).
    """
    logits = logits / temperature
    if top_k:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]  # (batch, 1)
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p < 1:
        ordered, order = logits.sort(descending=True)
        probabilities = ordered.softmax(-1)
        before = probabilities.cumsum(-1) - probabilities  # the mass of all likelier tokens
        excluded = (before >= top_p).scatter(-1, order, before >= top_p)
        logits = logits.masked_fill(excluded, -torch.inf)
    return logits


def sample_from(probabilities, generator=None):
    """One index a row of [batch, vocabulary], by the inverse cumulative sum: faster than multinomial."""
    cumulative = probabilities.cumsum(-1)
    uniform = torch.rand(len(probabilities), 1, generator=generator, device=probabilities.device)
    # right: of equal sums the last, so that a token of probability 0 is never drawn
    return torch.searchsorted(cumulative, uniform * cumulative[:, -1:], right=True).squeeze(1)


def next_tokens(logits, temperature=1.0, top_k=0, top_p=1.0, generator=None):
    """The next token of each row from its logits [batch, vocabulary]; temperature 0 takes the likeliest."""
    if temperature == 0:
        return logits.argmax(-1)
    return sample_from(filter_logits(logits.float(), temperature, top_k, top_p).softmax(-1), generator)


@torch.no_grad()
def sample_tokens(
    model,
    input_ids,
    attention_mask,
    *,
    max_new_tokens,
    temperature=1.0,
    top_k=0,
    top_p=1.0,
    stop_ids=(),
    generator=None,
):
    """Continues a left-padded batch: input_ids and attention_mask [batch, tokens] -> new ids [batch, new].

    A row ends with the first of its stop ids; the rest of it repeats that id. `new` is at most
    max_new_tokens, less when all rows have ended. generator: a torch.Generator on the model's device.
    """
    rows = len(input_ids)
    mask = torch.cat([attention_mask, attention_mask.new_ones(rows, max_new_tokens)], 1)
    forward = _gpt2_forward(model, mask) if _is_plain_gpt2(model) else _cached_forward(model, mask)
    positions = (attention_mask.cumsum(1) - 1).clamp(min=0)
    stops = torch.tensor(list(stop_ids), dtype=torch.long, device=input_ids.device)
    ended = torch.zeros(rows, dtype=torch.bool, device=input_ids.device)
    new = input_ids.new_zeros(rows, max_new_tokens)
    current = input_ids
    for step in range(max_new_tokens):
        logits = forward(current, positions)  # (rows, vocabulary)
        token = next_tokens(logits, temperature, top_k, top_p, generator)
        if len(stops):
            token = torch.where(ended, new[:, step - 1], token)
            ended = torch.isin(token, stops)
        new[:, step] = token
        if ended.all():
            return new[:, : step + 1]
        current, positions = token[:, None], positions[:, -1:] + 1
    return new


def _cached_forward(model, mask):
    """Logits of the last position for any causal model; keys and values are kept from call to call."""
    from transformers import DynamicCache

    cache = {cache_name(): DynamicCache(config=model.config)}
    seen = 0

    def forward(ids, positions):
        nonlocal seen
        seen += ids.shape[1]
        output = model(
            input_ids=ids,
            attention_mask=mask[:, :seen],
            position_ids=positions,
            use_cache=True,
            logits_to_keep=1,
            **cache,
        )
        return output.logits[:, -1]

    return forward


def cache_name():
    """transformers renamed the argument in 5.24."""
    from transformers import GPT2LMHeadModel

    return "cache" if "cache" in inspect.signature(GPT2LMHeadModel.forward).parameters else "past_key_values"


def _is_plain_gpt2(model):
    from transformers import GPT2LMHeadModel

    plain = type(model) is GPT2LMHeadModel and not model.training
    return plain and model.config.scale_attn_weights and not model.config.scale_attn_by_inverse_layer_idx


def _gpt2_forward(model, mask):
    """The same for GPT-2, faster: its blocks written out, keys and values in one piece of memory a layer."""
    body, heads = model.transformer, model.config.n_head
    rows, total = mask.shape
    real = None if mask.all() else mask.bool()[:, None, None]  # (rows, 1, 1, total)
    keys, values = [None] * len(body.h), [None] * len(body.h)
    seen = 0

    def attend(layer, attention, x, visible):
        query, key, value = attention.c_attn(x).view(*x.shape[:2], 3, heads, -1).permute(2, 0, 3, 1, 4)
        if keys[layer] is None:
            keys[layer] = key.new_empty(rows, heads, total, key.shape[-1])
            values[layer] = torch.empty_like(keys[layer])
        keys[layer][:, :, seen - x.shape[1] : seen] = key
        values[layer][:, :, seen - x.shape[1] : seen] = value
        past = keys[layer][:, :, :seen], values[layer][:, :, :seen]
        mixed = F.scaled_dot_product_attention(
            query, *past, attn_mask=visible, is_causal=visible is None and x.shape[1] > 1
        )
        return attention.c_proj(mixed.transpose(1, 2).reshape(x.shape))

    def forward(ids, positions):
        nonlocal seen
        seen += ids.shape[1]
        visible = None if real is None else real[..., :seen]
        if visible is not None and ids.shape[1] > 1:
            earlier = torch.ones(seen, seen, dtype=torch.bool, device=ids.device).tril()
            itself = torch.eye(seen, dtype=torch.bool, device=ids.device)
            visible = visible & earlier | itself  # padding sees itself: a row with nothing to see gives nan
        x = body.wte(ids) + body.wpe(positions)  # (rows, tokens, width)
        for layer, block in enumerate(body.h):
            x = x + attend(layer, block.attn, block.ln_1(x), visible)
            x = x + block.mlp(block.ln_2(x))
        return model.lm_head(body.ln_f(x[:, -1]))

    return forward


def generate(
    model,
    tokenizer,
    prompts: Sequence[str | Sequence[int]],
    *,
    max_new_tokens=40,
    temperature=0.0,
    top_k=0,
    top_p=1.0,
    stop=("eos",),
    seed=0,
    batch_size=32,
) -> list[str]:
    """The continuation of each prompt, without the prompt and without what stopped it.

    prompts: texts or lists of token ids; an empty one starts a new document. temperature 0 is greedy. stop:
    token ids, texts at which the continuation is cut, or "eos". Leaves the model's mode as it was.
    """
    if isinstance(prompts, str):
        raise TypeError("prompts is a list of texts; for a single one write [prompt]")
    ids = [_prompt_ids(tokenizer, prompt) for prompt in prompts]
    _check_room(model, prompts, ids, max_new_tokens)
    if temperature < 0 or top_k < 0 or not 0 < top_p <= 1:
        raise ValueError(
            f"need temperature >= 0, top_k >= 0, 0 < top_p <= 1; got {temperature}, {top_k}, {top_p}"
        )
    stop_ids, stop_texts = _stops(tokenizer, stop)
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    answers = [""] * len(ids)
    with eval_mode(model):
        for chunk in chunks_by_length(ids, batch_size, len):
            batch = pad_left([ids[index] for index in chunk], tokenizer.pad_token_id, device)
            new = sample_tokens(
                model,
                *batch,
                max_new_tokens=max_new_tokens,
                temperature=temperature,
                top_k=top_k,
                top_p=top_p,
                stop_ids=stop_ids,
                generator=generator,
            )
            for index, row in zip(chunk, new.tolist(), strict=True):
                answers[index] = _text(tokenizer, row, stop_ids, stop_texts)
    return answers


def pad_left(rows: Sequence[Sequence[int]], pad_id: int, device="cpu"):
    """Token ids and attention mask, [batch, tokens] each; every row ends at the right edge."""
    width = max(len(row) for row in rows)
    ids = torch.tensor([[pad_id] * (width - len(row)) + list(row) for row in rows], device=device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
    return ids, mask


def _prompt_ids(tokenizer, prompt):
    if isinstance(prompt, str):
        prompt = tokenizer(prompt, add_special_tokens=False, verbose=False)["input_ids"]
    return list(prompt) or [tokenizer.eos_token_id]


def _check_room(model, prompts, ids, max_new_tokens):
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens must be at least 1, got {max_new_tokens}")
    context = getattr(model.config, "max_position_embeddings", None)
    for prompt, row in zip(prompts, ids, strict=True):
        if context is not None and len(row) + max_new_tokens > context:
            raise ValueError(
                f"a prompt of {len(row)} tokens ({str(prompt)[:40]!r}...) and {max_new_tokens} new ones are "
                f"more than the model's context of {context}; shorten the prompt or lower max_new_tokens"
            )


def _stops(tokenizer, stop: Iterable[str | int]):
    """Ids that end a row, and texts at which an answer is cut. A text that is one token does both."""
    ids, texts = set(), []
    for entry in [stop] if isinstance(stop, str | int) else stop:
        if entry == "eos":
            ids.add(tokenizer.eos_token_id)
        elif isinstance(entry, int):
            ids.add(entry)
        else:
            texts.append(entry)
            tokens = tokenizer(entry, add_special_tokens=False)["input_ids"]
            ids.update(tokens if len(tokens) == 1 else [])
    return sorted(ids), texts


def _text(tokenizer, row, stop_ids, stop_texts):
    end = next((position for position, token in enumerate(row) if token in stop_ids), len(row))
    text = tokenizer.decode(row[:end], clean_up_tokenization_spaces=False)
    return text[: min([text.find(stop) for stop in stop_texts if stop in text], default=len(text))]


@torch.no_grad()
def stream_tokens(
    model, input_ids, *, max_new_tokens, temperature=0.0, top_k=0, top_p=1.0, stop_ids=(), generator=None
):
    """Yields the new tokens of one sequence, [1, tokens], as they are made; the stop id is the last.

    The model stays in its mode; sample_tokens gives the same tokens all at once.
    """
    mask = input_ids.new_ones(1, input_ids.shape[1] + max_new_tokens)
    forward = _gpt2_forward(model, mask) if _is_plain_gpt2(model) else _cached_forward(model, mask)
    current = input_ids
    positions = torch.arange(input_ids.shape[1], device=input_ids.device)[None]
    for _ in range(max_new_tokens):
        token = next_tokens(forward(current, positions), temperature, top_k, top_p, generator)
        yield token.item()
        if token.item() in stop_ids:
            return
        current, positions = token[:, None], positions[:, -1:] + 1
