"""The script of lesson 07's bug hunt. Read it after the hunt."""

import torch


def inputs_of_script(prompt, embeddings, mask):
    """Embeddings, mask and positions of a left-padded batch behind a prompt, as a script makes them."""
    rows, length = len(embeddings), len(prompt)
    embeddings = torch.cat([prompt.expand(rows, -1, -1), embeddings], 1)
    read = torch.cat([mask.new_ones(rows, length), mask], 1)
    of_prompt = torch.arange(length, device=mask.device).expand(rows, -1)
    of_text = (mask.cumsum(1) - 1).clamp(min=0)  # as without a prompt
    return embeddings, read, torch.cat([of_prompt, of_text], 1)
