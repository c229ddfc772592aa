"""The script of lesson 07's bug hunt, and the loop in which it answers. Read it after the hunt."""

import torch
import torch.nn.functional as F

from course_utils.data import encode
from course_utils.generation import pad_left


def inputs_of_script(prompt, embeddings, mask):
    """Embeddings, mask and positions of a left-padded batch behind a prompt, as a script makes them."""
    rows, length = len(embeddings), len(prompt)
    embeddings = torch.cat([prompt.expand(rows, -1, -1), embeddings], 1)
    read = torch.cat([mask.new_ones(rows, length), mask], 1)
    of_prompt = torch.arange(length, device=mask.device).expand(rows, -1)
    of_text = (mask.cumsum(1) - 1).clamp(min=0)  # as without a prompt
    return embeddings, read, torch.cat([of_prompt, of_text], 1)


@torch.no_grad()
def answers_behind(prompt, inputs, model, tokenizer, questions, new=8):
    """Greedy answers behind a prompt [P, d]; inputs(prompt, embeddings, mask) is what the model is given.

    There is no cache: for each of the `new` tokens the whole batch is read again.
    """
    table = model.get_input_embeddings().weight
    rows = [encode(tokenizer, question["prompt"]) for question in questions]
    ids, mask = pad_left(rows, tokenizer.pad_token_id, model.device)
    begin = ids.shape[1]
    for _ in range(new):
        embeddings, read, positions = inputs(prompt, table[ids], mask)
        given = {"attention_mask": read, "position_ids": positions, "logits_to_keep": 1}  # the last place
        token = model(inputs_embeds=embeddings, **given).logits[:, -1].argmax(-1, keepdim=True)
        ids, mask = torch.cat([ids, token], 1), F.pad(mask, (0, 1), value=1)
    texts = tokenizer.batch_decode(ids[:, begin:])
    return [text.split(tokenizer.eos_token)[0].strip() for text in texts]
