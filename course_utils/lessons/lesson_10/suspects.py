"""The program of the bug hunt, which serves a reward model. Read it after the hunt."""

import torch

from course_utils.data import collate


@torch.no_grad()
def served_scores(model, examples, pad_id, batch_size):
    """Scores [examples] in batches of this size, as the server computes them."""
    scores, device = [], next(model.parameters()).device
    for start in range(0, len(examples), batch_size):
        batch = collate(examples[start : start + batch_size], pad_id)
        ids, mask = batch["input_ids"].to(device), batch["attention_mask"].to(device)
        hidden = model.body(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        scores.append(model.head(hidden[:, -1]).squeeze(1) - model.centre)
    return torch.cat(scores).cpu()
