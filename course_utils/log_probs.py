"""Log-probabilities of labels per token, by plain tensors and by a fast path through a frozen head."""

import torch
import torch.nn.functional as F

from course_utils.data import IGNORE
from course_utils.kernels import fast_hidden, is_gpt2, is_plain, is_unhooked


def token_losses(logits, labels):
    """Cross-entropy of every next token, [batch, tokens - 1], in nats; 0 where the label is -100.

    logits: [batch, tokens, vocabulary]; labels: [batch, tokens], not shifted: position t predicts label
    t + 1.
    """
    predictions = logits[:, :-1].flatten(0, 1)  # (batch * (tokens - 1), vocabulary)
    losses = F.cross_entropy(predictions.float(), labels[:, 1:].flatten(), reduction="none")
    return losses.view(len(labels), -1)


def log_probs_of(logits, tokens):
    """Log-probability of each token: logits [..., T, V] of its own position, tokens [..., T] -> [..., T]."""
    chosen = logits.gather(-1, tokens[..., None]).squeeze(-1)  # (..., T)
    return chosen - logits.logsumexp(-1)


def token_log_probs(model, batch):
    """Log-probability of every answer token given all before it, [rows, tokens - 1]; 0 elsewhere."""
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    return -token_losses(logits, batch["labels"])


def fast_token_log_probs(model, batch):
    """token_log_probs without a mask tensor, computing vocabulary logits only where a token is scored."""
    targets = batch["labels"][:, 1:]
    scored = targets != IGNORE
    values = head_log_probs(model.get_output_embeddings(), scored_hidden(model, batch), targets[scored])
    return values.new_zeros(targets.shape).masked_scatter(scored, values)


def answer_log_probs(logits, labels):
    """Log-probability of each row's answer, [rows]. logits [rows, T, V], labels [rows, T], not shifted."""
    log_probs = logits[:, :-1].float().log_softmax(-1)  # (rows, T - 1, V)
    targets = labels[:, 1:]  # (rows, T - 1)
    chosen = log_probs.gather(-1, targets.clamp(min=0)[..., None]).squeeze(-1)
    return (chosen * (targets != IGNORE)).sum(1)


def sequence_log_probs(model, batch):
    """answer_log_probs of a model on a batch, [rows]."""
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    return answer_log_probs(logits, batch["labels"])


def fast_sequence_log_probs(model, batch):
    """sequence_log_probs by the fast path."""
    return fast_token_log_probs(model, batch).sum(1)


def last_hidden(model, batch):
    """The output head's input, [rows, tokens, width]. Padding on the right needs no mask."""
    mask = needed_mask(batch["attention_mask"])
    if is_gpt2(model.base_model):
        return fast_hidden(model.base_model, batch["input_ids"], mask=mask)
    return model.base_model(
        input_ids=batch["input_ids"], attention_mask=mask, use_cache=False
    ).last_hidden_state


def needed_mask(mask):
    """The mask [rows, tokens], or None if all padding is on the right, where no token attends to it."""
    return None if (mask[:, :-1] >= mask[:, 1:]).all() else mask


def scored_hidden(model, batch):
    """The output head's input where the next token has a label, [scored, width], row by row."""
    scored = F.pad(batch["labels"][:, 1:] != IGNORE, (0, 1))  # (rows, tokens)
    if is_gpt2(model.base_model):
        mask = needed_mask(batch["attention_mask"])
        return fast_hidden(model.base_model, batch["input_ids"], mask=mask, keep=scored)
    return last_hidden(model, batch)[scored]


def scored_log_probs(model, hidden, labels):
    """Log-probabilities of the labelled tokens from hidden [rows, tokens - 1, width]; 0 elsewhere."""
    targets = labels[:, 1:]
    scored = targets != IGNORE
    head = model.get_output_embeddings()
    values = head_log_probs(head, hidden[scored], targets[scored])
    return values.new_zeros(targets.shape).masked_scatter(scored, values)


def head_log_probs(head, hidden, targets):
    """log softmax(head(hidden))[target] for hidden [n, width] and targets [n]: [n], in fp32."""
    frozen = not head.weight.requires_grad or not torch.is_grad_enabled()
    if frozen and head.bias is None and is_plain(head, hidden) and is_unhooked(head):
        return FrozenHeadLogProbs.apply(hidden, head.weight, targets)
    return -F.cross_entropy(head(hidden).float(), targets, reduction="none")


class FrozenHeadLogProbs(torch.autograd.Function):
    """Log-probabilities of targets [n] from hidden [n, d] through a frozen head [vocabulary, d].

    Only hidden needs a gradient, head[target] - softmax @ head for each row. It is computed in the forward
    pass, in slices of rows, so that no logits are kept.
    """

    @staticmethod
    def forward(ctx, hidden, head, targets):
        result = torch.empty_like(targets, dtype=hidden.dtype)
        grad = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        rows = min(max(128, 2**20 // len(head)), len(hidden))
        room = hidden.new_empty(rows, len(head))  # buffer for the logits of every slice
        for start in range(0, len(hidden), rows):
            part = slice(start, start + rows)
            logits = torch.mm(hidden[part], head.T, out=room[: len(hidden[part])])  # (rows, vocabulary)
            largest = logits.amax(1, keepdim=True)
            chosen = logits.gather(1, targets[part, None])
            total = logits.sub_(largest).exp_().sum(1, keepdim=True)
            result[part] = (chosen - largest - total.log()).squeeze(1)
            if grad is not None:
                grad[part] = head[targets[part]] - (logits @ head).div_(total)
        ctx.save_for_backward(grad)
        return result

    @staticmethod
    def backward(ctx, grad_result):
        return grad_result[:, None] * ctx.saved_tensors[0], None, None
