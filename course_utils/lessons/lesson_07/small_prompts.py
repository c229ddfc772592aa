"""Prompt tuning in small, as the learner writes it: the batch after a prompt, the models trained on it.

`methods.prompt_tuning` is complete: its modules sample with a cache, and can be saved and loaded.
"""

import torch
import torch.nn.functional as F
from torch import nn
from transformers import DynamicCache

from course_utils.data import IGNORE
from course_utils.generation import cache_name
from course_utils.log_probs import token_losses
from course_utils.methods.prompt_tuning import attention_shape, keys_and_values


def start_from_words(model, ids, length):
    """Freeze the model; a trainable prompt [length, d] of these tokens' embeddings, repeated and cut."""
    model.requires_grad_(False)
    table = model.get_input_embeddings().weight  # (V, d)
    repeated = [ids[place % len(ids)] for place in range(length)]
    return nn.Parameter(table[repeated].clone())


def with_prompt(prompt, embeddings, mask, labels):
    """A batch behind a prompt [P, d]: embeddings [B, P + T, d]; mask, labels and positions [B, P + T]."""
    rows, length = len(embeddings), len(prompt)
    embeddings = torch.cat([prompt.expand(rows, -1, -1), embeddings], 1)
    mask = torch.cat([mask.new_ones(rows, length), mask], 1)
    labels = torch.cat([labels.new_full((rows, length), -100), labels], 1)
    positions = mask.cumsum(1) - 1  # how many tokens are read before this one
    return embeddings, mask, labels, positions


class SoftPrompt(nn.Module):
    """A frozen model behind a trainable prompt [P, d]; `in_front` puts the prompt before a batch."""

    def __init__(self, model, prompt, in_front=with_prompt):
        super().__init__()
        self.model, self.in_front = model.requires_grad_(False), in_front
        self.prompt = nn.Parameter(prompt.detach().clone())  # (P, d)
        self.config = model.config

    def forward(self, input_ids, attention_mask, labels):
        embeddings = self.model.get_input_embeddings()(input_ids)  # (B, T, d)
        embeddings, mask, labels, positions = self.in_front(self.prompt, embeddings, attention_mask, labels)
        logits = self.model(inputs_embeds=embeddings, attention_mask=mask, position_ids=positions).logits
        return logits, labels  # (B, P + T, V), (B, P + T)


class SoftPrefix(nn.Module):
    """A frozen model whose cache begins filled: prefix [P, layers * 2 * heads * size], cut by `split`."""

    def __init__(self, model, prefix, split=keys_and_values):
        super().__init__()
        self.model, self.split = model.requires_grad_(False), split
        self.prefix = nn.Parameter(prefix.detach().clone())
        self.config = model.config

    def forward(self, input_ids, attention_mask, labels):
        rows, cache = len(input_ids), DynamicCache(config=self.model.config)
        layers, heads, _ = attention_shape(self.model.config)
        for layer, (keys, values) in enumerate(self.split(self.prefix, layers, heads)):
            cache.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1), layer)
        mask = F.pad(attention_mask, (len(self.prefix), 0), value=1)
        positions = (mask.cumsum(1) - 1)[:, len(self.prefix) :]  # the text's: its first token has P
        given = {"attention_mask": mask, "position_ids": positions, cache_name(): cache}
        return self.model(input_ids=input_ids, **given).logits, labels  # (B, T, V), (B, T)


def prompt_loss(tuned, batch):
    """Summed loss of a right-padded batch behind what is trained, and the number of its targets."""
    logits, labels = tuned(**batch)
    return token_losses(logits, labels).sum(), (labels[:, 1:] != IGNORE).sum()


def prompt_fault(mask, read, positions, length):
    """What is wrong with a left-padded batch behind a prompt: "prompt not read", "padding read", "text not
    read", "wrong positions" or "right". mask [B, T] of the text; read (the mask given) and positions,
    [B, length + T].
    """
    if not read[:, :length].all():
        return "prompt not read"
    if (read[:, length:] > mask).any():
        return "padding read"
    if (read[:, length:] < mask).any():
        return "text not read"
    right = length + mask.cumsum(1) - 1
    text = positions[:, length:]
    if (text != right)[mask == 1].any():
        return "wrong positions"
    return "right"
