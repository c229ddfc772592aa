"""Sampling from a causal language model: filters, a batched loop with a KV cache, text in and text out."""

import inspect
from collections.abc import Iterable, Sequence

import torch

from course_utils.data import chunks_by_length
from course_utils.kernels import KeyValueCache, fast_hidden, is_gpt2_lm
from course_utils.models import eval_mode


def filter_logits(logits, temperature=1.0, top_k=0, top_p=1.0):
    """Divide logits [batch, vocabulary] by the temperature and set excluded tokens to -inf.

    top_k keeps the k most likely tokens (0: all). top_p keeps the most likely tokens whose probabilities add
    up to top_p, including the one that crosses it (nucleus sampling, Holtzman et al. 2019).
    """
    logits = logits / temperature
    if top_k:
        smallest = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]  # (batch, 1)
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p < 1:
        ordered, order = logits.sort(descending=True)
        probabilities = ordered.softmax(-1)
        before = probabilities.cumsum(-1) - probabilities  # total probability of all likelier tokens
        excluded = (before >= top_p).scatter(-1, order, before >= top_p)
        logits = logits.masked_fill(excluded, -torch.inf)
    return logits


def sample_from(probabilities, generator=None):
    """One index per row of [batch, vocabulary], by inverting the cumulative sum: faster than multinomial."""
    cumulative = probabilities.cumsum(-1)
    uniform = torch.rand(len(probabilities), 1, generator=generator, device=probabilities.device)
    # right: among equal sums the last, so that a token of probability 0 is never drawn
    return torch.searchsorted(cumulative, uniform * cumulative[:, -1:], right=True).squeeze(1)


def next_tokens(logits, temperature=1.0, top_k=0, top_p=1.0, generator=None):
    """The next token of each row from logits [batch, vocabulary]; temperature 0 takes the most likely one."""
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
    """Continue a left-padded batch: input_ids and attention_mask [batch, tokens] -> new ids [batch, new].

    A row ends with its first stop id, which then fills the rest of the row. `new` is at most max_new_tokens,
    less if all rows have ended. generator: a torch.Generator on the model's device.
    """
    rows = len(input_ids)
    mask = torch.cat([attention_mask, attention_mask.new_ones(rows, max_new_tokens)], 1)
    forward = _forward(model, mask)
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
    """Last-position logits for any causal model; keys and values are cached between calls."""
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
    """The name of the cache argument, which transformers 5.24 renamed."""
    from transformers import GPT2LMHeadModel

    return "cache" if "cache" in inspect.signature(GPT2LMHeadModel.forward).parameters else "past_key_values"


def _written_out(model, mask):
    """The same for GPT-2, by its written-out forward pass."""
    cache = KeyValueCache(mask.shape[1])
    padded = not mask.all()

    def forward(ids, positions):
        visible = mask[:, : cache.seen + ids.shape[1]] if padded else None
        keep = torch.zeros_like(ids, dtype=torch.bool)
        keep[:, -1] = True
        hidden = fast_hidden(
            model.transformer, ids, positions=positions, mask=visible, cache=cache, keep=keep
        )
        return model.lm_head(hidden)

    return forward


def _forward(model, mask):
    return (_written_out if is_gpt2_lm(model) else _cached_forward)(model, mask)


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
    """The continuation of each prompt, without the prompt and the stop token or text.

    prompts: texts or lists of token ids; an empty one starts a new document. temperature 0 is greedy. stop:
    token ids, texts at which the continuation is cut, or "eos". Restores the model's mode.
    """
    if isinstance(prompts, str):
        raise TypeError("prompts must be a list of texts; for a single one write [prompt]")
    ids = [_prompt_ids(tokenizer, prompt) for prompt in prompts]
    _check_room(model, prompts, ids, max_new_tokens)
    if temperature < 0 or top_k < 0 or not 0 < top_p <= 1:
        raise ValueError(
            f"need temperature >= 0, top_k >= 0, 0 < top_p <= 1; got {temperature}, {top_k}, {top_p}"
        )
    stop_ids, stop_texts = _stops(tokenizer, stop)
    rows = sample_rows(
        model,
        ids,
        tokenizer.pad_token_id,
        batch_size=batch_size,
        seed=seed,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        stop_ids=stop_ids,
    )
    return [_text(tokenizer, row, stop_ids, stop_texts) for row in rows]


def sample_rows(model, prompts: Sequence[Sequence[int]], pad_id, *, batch_size, seed, **sampling):
    """New token ids of each prompt (token ids), in order: sample_tokens on batches of similar length.

    sampling: arguments of sample_tokens. Restores the model's mode.
    """
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    found: list[list[int]] = [[]] * len(prompts)
    with eval_mode(model):
        for chunk in chunks_by_length(prompts, batch_size, len):
            batch = pad_left([prompts[index] for index in chunk], pad_id, device)
            new = sample_tokens(model, *batch, generator=generator, **sampling)
            for index, row in zip(chunk, new.tolist(), strict=True):
                found[index] = row
    return found


def pad_left(rows: Sequence[Sequence[int]], pad_id: int, device="cpu"):
    """Left-padded token ids and attention mask, each [batch, tokens]."""
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
                f"a prompt of {len(row)} tokens ({str(prompt)[:40]!r}...) and {max_new_tokens} new ones "
                f"exceed the model's context of {context}; shorten the prompt or lower max_new_tokens"
            )


def _stops(tokenizer, stop: Iterable[str | int]):
    """Ids that end a row, and texts at which an answer is cut. A text that is one token is both."""
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
    """Yield the new tokens of one sequence [1, tokens] one by one, ending with the stop id.

    The model's mode is unchanged; sample_tokens gives the same tokens at once.
    """
    mask = input_ids.new_ones(1, input_ids.shape[1] + max_new_tokens)
    forward = _forward(model, mask)
    current = input_ids
    positions = torch.arange(input_ids.shape[1], device=input_ids.device)[None]
    for _ in range(max_new_tokens):
        token = next_tokens(forward(current, positions), temperature, top_k, top_p, generator)
        yield token.item()
        if token.item() in stop_ids:
            return
        current, positions = token[:, None], positions[:, -1:] + 1
