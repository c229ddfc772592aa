"""Reward models: a language model's body with one score per sequence, trained on pairs (Bradley-Terry).

Scores are read at the last real token, found by the attention mask with padding on either side, even if the
pad token is the end of text. Only score differences have a meaning; `centre` fixes their zero.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.data import Batch, Example, chunks_by_length, collate, collate_pairs, shuffled_batches
from course_utils.home import written_aside
from course_utils.model_files import ModelError, check_sums, write_checksums
from course_utils.models import eval_mode, load_checked, load_tokenizer, model_errors, read_config
from course_utils.training import History, train

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

HEAD_FILE = "reward_head.safetensors"
LEARNING_RATE = 1e-3
BATCH = 16  # pairs
ScoredPairs = Sequence[tuple[Any, Any]]  # of Examples, or of inputs of the last block
MIN_STEPS = 50


class RewardModel(nn.Module):
    """A language model's body and a linear head on its last hidden state, minus a centre."""

    centre: Tensor

    def __init__(self, body: PreTrainedModel) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Linear(body.config.hidden_size, 1, bias=False)
        nn.init.zeros_(self.head.weight)
        self.register_buffer("centre", torch.zeros(()))

    @property
    def config(self) -> PretrainedConfig:
        return self.body.config

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return score(self, input_ids, attention_mask)


def last_token(attention_mask: Tensor) -> Tensor:
    """Column of the last real token of each row, [batch]; attention_mask [batch, tokens], 1 where real."""
    positions = torch.arange(attention_mask.shape[1], device=attention_mask.device)
    return (positions * attention_mask).argmax(1)


def score(model: RewardModel, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """One score per sequence, [batch], read at its last real token; padded on the left or on the right."""
    position_ids = (attention_mask.cumsum(1) - 1).clamp(min=0)
    hidden = model.body(
        input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, use_cache=False
    ).last_hidden_state  # (batch, tokens, width)
    rows = torch.arange(len(hidden), device=hidden.device)
    last = hidden[rows, last_token(attention_mask)]  # (batch, width)
    return model.head(last).squeeze(1) - model.centre


def from_language_model(language_model: PreTrainedModel) -> RewardModel:
    """A reward model that starts from a copy of a causal model's body; all its scores are 0.

    The last block, the final norm and the head are trained; the frozen part below needs no backward pass, and
    its output can be computed once for all epochs.
    """
    model = RewardModel(copy.deepcopy(language_model.base_model))
    model.to(next(language_model.parameters()).device)
    model.body.requires_grad_(False)
    for module in last_modules(model.body):
        module.requires_grad_(True)
    return model.eval()


def last_modules(body: PreTrainedModel) -> tuple[nn.Module, nn.Module]:
    """The last transformer block of a body and the norm after it."""
    blocks = next(
        child
        for child in body.children()
        if isinstance(child, nn.ModuleList) and len(child) == body.config.num_hidden_layers
    )
    norm = [child for child in body.children() if "norm" in type(child).__name__.lower()][-1]
    return blocks[-1], norm


def bradley_terry_loss(chosen: Tensor, rejected: Tensor, centring: float = 0.0) -> Tensor:
    """Mean of -log sigmoid(chosen - rejected), scores [pairs] (Bradley and Terry 1952).

    centring: weight of the mean square of the pair's sum, which keeps scores near 0 (Eisenstein et al., arXiv
    2312.09244).
    """
    loss = -F.logsigmoid(chosen - rejected).mean()
    return loss + centring * (chosen + rejected).square().mean()


def pair_loss(model: RewardModel, batch: Batch) -> tuple[Tensor, int]:
    """Summed Bradley-Terry loss of a batch of pairs, the chosen in its first half; the number of pairs."""
    scores = score(model, batch["input_ids"], batch["attention_mask"])
    chosen, rejected = scores.chunk(2)
    return bradley_terry_loss(chosen, rejected) * len(chosen), len(chosen)


def epoch_steps(pairs: int, batch_size: int = BATCH) -> int:
    """Steps of an epoch over this many pairs, at least MIN_STEPS."""
    return max(MIN_STEPS, round(pairs / batch_size))


def fit(
    model: RewardModel,
    pairs: ScoredPairs,
    *,
    pad_id: int,
    steps: int | None = None,
    seed: int = 0,
    batch_size: int = BATCH,
    **options: Any,
) -> History:
    """Train the reward model on encoded or prepared pairs, in place, and centre it on a hundred of them.

    steps: default epoch_steps. options: of training.train.
    """
    if not pairs:
        raise ValueError("no pairs to train the reward model on")
    pairs = prepare_pairs(model, pairs, pad_id)
    if _prepared(pairs):
        stream = shuffled_batches(pairs, batch_size, seed, collate_states, lambda pair: max(map(len, pair)))
        loss_fn = state_pair_loss
    else:
        stream = shuffled_batches(
            pairs,
            batch_size,
            seed,
            lambda chunk: collate_pairs(chunk, pad_id),
            lambda pair: max(len(example.input_ids) for example in pair),
        )
        loss_fn = pair_loss
    steps = steps or epoch_steps(len(pairs), batch_size)
    options = {"label": "reward model", "lr": LEARNING_RATE, **options}
    history = train(model, stream, steps=steps, loss_fn=loss_fn, seed=seed, **options)
    centre(model, pairs[:100], pad_id)
    return history


# ------------------------------------------------------- training the last block on stored states


def can_reuse_states(model: RewardModel) -> bool:
    """Whether the body is a plain GPT-2, frozen up to its last block, without dropout."""
    from transformers import GPT2Model

    body = model.body
    if type(body) is not GPT2Model or body.config._attn_implementation != "sdpa":
        return False
    frozen = [body.wte, body.wpe, *body.h[:-1]]
    plain = body.config.scale_attn_weights and not body.config.scale_attn_by_inverse_layer_idx
    dropout = any(module.p > 0 for module in body.modules() if isinstance(module, nn.Dropout))
    trained = any(p.requires_grad for module in frozen for p in module.parameters())
    return plain and not dropout and not trained


@torch.no_grad()
def frozen_states(
    model: RewardModel, examples: Sequence[Example], pad_id: int, batch_size: int = 64
) -> list[torch.Tensor]:
    """The input of the last block for each example, [tokens, width]."""
    body, device = model.body, next(model.parameters()).device
    result = [torch.empty(0)] * len(examples)
    for chunk in chunks_by_length(examples, batch_size, lambda example: len(example.input_ids)):
        ids = collate([examples[index] for index in chunk], pad_id)["input_ids"].to(device)
        x = body.wte(ids) + body.wpe(torch.arange(ids.shape[1], device=device))  # (batch, tokens, width)
        for block in body.h[:-1]:
            x = block(x)  # padding is on the right, where causal attention does not look
        for index, row in zip(chunk, x, strict=True):
            result[index] = row[: len(examples[index].input_ids)].clone()
    return result


def prepare_pairs(
    model: RewardModel, pairs: ScoredPairs, pad_id: int, known: dict | None = None
) -> ScoredPairs:
    """Encoded pairs as inputs of the last block, computed once for all models with the same frozen part.

    Prepared pairs are returned as they are, and so are all pairs for a model that is not a GPT-2 frozen below
    its last block. known: a dict that caches states by token ids, for repeated answers.
    """
    if _prepared(pairs) or not can_reuse_states(model):
        return pairs
    known = {} if known is None else known
    new = {tuple(e.input_ids): e for pair in pairs for e in pair if tuple(e.input_ids) not in known}
    known.update(zip(new, frozen_states(model, list(new.values()), pad_id), strict=True))
    return [tuple(known[tuple(e.input_ids)] for e in pair) for pair in pairs]


def _prepared(pairs: ScoredPairs) -> bool:
    return bool(pairs) and isinstance(pairs[0][0], torch.Tensor)


def collate_states(pairs: Sequence[tuple[Tensor, Tensor]]) -> dict[str, torch.Tensor]:
    """Stored states of pairs: states [2 * pairs, tokens, width], the chosen first, and attention_mask."""
    rows = [chosen for chosen, _ in pairs] + [rejected for _, rejected in pairs]
    lengths = torch.tensor([len(row) for row in rows])
    states = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    mask = (torch.arange(states.shape[1]) < lengths[:, None]).long()
    return {"states": states, "attention_mask": mask.to(states.device)}


def score_states(model: RewardModel, states: Tensor, attention_mask: Tensor) -> Tensor:
    """Scores from inputs of the last block, [batch, tokens, width].

    Keys and values are computed for all tokens; the query and all that follows only for the last real token.
    """
    body, heads = model.body, model.config.n_head
    block, attention = body.h[-1], body.h[-1].attn
    rows = torch.arange(len(states), device=states.device)
    last = last_token(attention_mask)
    width = states.shape[-1]
    weight, bias = attention.c_attn.weight, attention.c_attn.bias
    normed = block.ln_1(states)
    query = normed[rows, last] @ weight[:, :width] + bias[:width]  # (batch, width)
    both = normed @ weight[:, width:] + bias[width:]  # (batch, tokens, 2 * width)
    key, value = both.view(*both.shape[:2], 2, heads, -1).permute(2, 0, 3, 1, 4)
    mixed = F.scaled_dot_product_attention(
        query.view(len(states), heads, 1, -1), key, value, attn_mask=attention_mask.bool()[:, None, None]
    )  # (batch, heads, 1, width / heads)
    x = states[rows, last] + attention.c_proj(mixed.reshape(len(states), width))
    x = x + block.mlp(block.ln_2(x))
    return model.head(body.ln_f(x)).squeeze(1) - model.centre


@torch.no_grad()
def _state_scores(model: RewardModel, pairs: ScoredPairs, batch_size: int = 64) -> tuple[Tensor, Tensor]:
    device = next(model.parameters()).device
    both = []
    for start in range(0, len(pairs), batch_size):
        batch = collate_states(pairs[start : start + batch_size])
        batch = {name: value.to(device) for name, value in batch.items()}
        both.append(score_states(model, **batch).view(2, -1).float().cpu())
    chosen, rejected = torch.cat(both, 1)
    return chosen, rejected


def state_pair_loss(model: RewardModel, batch: Batch) -> tuple[Tensor, int]:
    """pair_loss on stored states."""
    chosen, rejected = score_states(model, batch["states"], batch["attention_mask"]).chunk(2)
    return bradley_terry_loss(chosen, rejected) * len(chosen), len(chosen)


@torch.no_grad()
def scores(
    model: RewardModel, examples: Sequence[Example], pad_id: int, batch_size: int = 64
) -> torch.Tensor:
    """The score of each example, [examples], on the CPU. Restores the model's mode."""
    device = next(model.parameters()).device
    result = torch.zeros(len(examples))
    with eval_mode(model):
        for chunk in chunks_by_length(examples, batch_size, lambda example: len(example.input_ids)):
            batch = collate([examples[index] for index in chunk], pad_id)
            inputs = (batch[name].to(device) for name in ("input_ids", "attention_mask"))
            result[chunk] = score(model, *inputs).float().cpu()
    return result


def pair_scores(model: RewardModel, pairs: ScoredPairs, pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores of the chosen and of the rejected answers of encoded or prepared pairs, [pairs] each."""
    if _prepared(pairs):
        return _state_scores(model, pairs)
    both = scores(model, [c for c, _ in pairs] + [r for _, r in pairs], pad_id)
    chosen, rejected = both.chunk(2)
    return chosen, rejected


def centre(model: RewardModel, pairs: ScoredPairs, pad_id: int) -> None:
    """Shift the model's scores so that their mean over the pairs' answers is 0; differences are unchanged."""
    model.centre += torch.cat(pair_scores(model, pairs, pad_id)).mean().to(model.centre.device)


def accuracy(chosen: Tensor, rejected: Tensor) -> float:
    """Share of pairs in which the chosen answer has the higher score; ties count half."""
    ties = (chosen == rejected).float()
    return ((chosen > rejected).float() + 0.5 * ties).mean().item()


def calibration_curve(chosen: Tensor, rejected: Tensor, bins: int = 8) -> list[dict]:
    """How often the answer that the model prefers is the chosen one, by the probability it gives to that.

    Rows of "predicted" and "observed" (means) and "pairs", over bins of about equally many pairs.
    """
    margin = (chosen - rejected).float()
    order = margin.abs().argsort()
    rows = []
    for part in order.tensor_split(min(bins, len(order))):
        predicted, right = torch.sigmoid(margin[part].abs()), (margin[part] > 0).float()
        right += 0.5 * (margin[part] == 0)
        rows.append(
            {"predicted": predicted.mean().item(), "observed": right.mean().item(), "pairs": len(part)}
        )
    return rows


def save_reward_model(model: RewardModel, tokenizer: PreTrainedTokenizerBase, folder: Path | str) -> Path:
    """Save body, head and tokenizer as safetensors and JSON, with checksums; returns the folder."""
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    model.body.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    with written_aside(folder / HEAD_FILE) as part:
        save_file({"weight": model.head.weight.detach().cpu(), "centre": model.centre.cpu()}, part)
    write_checksums(folder)
    return folder


def load_reward_model(folder: Path | str, device: torch.device | str = "cpu") -> tuple:
    """(reward model in eval mode, tokenizer) from a folder of save_reward_model; else ModelError."""
    from safetensors.torch import load_file
    from transformers import AutoModel

    folder = Path(folder)
    if not (folder / HEAD_FILE).is_file():
        raise ModelError(f"{folder} has no {HEAD_FILE}: not a reward model that save_reward_model wrote.")
    check_sums(folder)
    model = RewardModel(load_checked(folder, AutoModel, read_config(folder)))
    tokenizer = load_tokenizer(folder)
    with model_errors(folder, HEAD_FILE):
        head = load_file(folder / HEAD_FILE)
    shapes = {name: list(tensor.shape) for name, tensor in head.items()}
    expected = {"weight": [1, model.config.hidden_size], "centre": []}
    if shapes != expected or not all(tensor.isfinite().all() for tensor in head.values()):
        raise ModelError(
            f"{folder / HEAD_FILE} holds {shapes}, or values that are not finite; the body beside it needs "
            f"{expected}. Save the reward model again."
        )
    with torch.no_grad():
        model.head.weight.copy_(head["weight"])
        model.centre.copy_(head["centre"])
    return model.to(device).eval(), tokenizer
