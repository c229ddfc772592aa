"""What a policy says, how likely it finds it, and how far it is from the reference: shared by PPO and DPO.

A batch here is that of lesson 02: right-padded input_ids, attention_mask and labels [rows, tokens], labels
-100 but on the answer. Per-token results are [rows, tokens - 1]: entry t belongs to token t + 1.
"""

import copy
import math
import re

import torch
import torch.nn.functional as F

from course_utils.chatml import IM_END, encode_conversation
from course_utils.data import IGNORE, Example, collate
from course_utils.generation import pad_left, sample_tokens
from course_utils.gold import gold_score
from course_utils.kl import exact_kl
from course_utils.kl import token_log_probs as token_log_probs_of
from course_utils.preferences import request
from course_utils.reward import score
from course_utils.training import token_losses


def frozen_copy(model):
    """The model as it is now, in eval mode and without gradients: a reference that stays where it is."""
    return copy.deepcopy(model).eval().requires_grad_(False)


def answer_mask(batch):
    """1 where the next token belongs to the answer, [rows, tokens - 1]."""
    return (batch["labels"][:, 1:] != IGNORE).float()


def token_log_probs(model, batch):
    """Log-probability of every token of the answer given all before it, [rows, tokens - 1]; 0 elsewhere."""
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    return -token_losses(logits, batch["labels"])


def fast_token_log_probs(model, batch):
    """token_log_probs, without a mask tensor and with the vocabulary only where a token is scored."""
    hidden = last_hidden(model, batch)[:, :-1]  # (rows, tokens - 1, width)
    return scored_log_probs(model, hidden, batch["labels"])


def last_hidden(model, batch):
    """What the output head reads, [rows, tokens, width]. No mask: causality hides padding on the right."""
    return model.base_model(input_ids=batch["input_ids"], use_cache=False).last_hidden_state


def scored_log_probs(model, hidden, labels):
    """Log-probabilities of the labelled tokens from hidden [rows, tokens - 1, width]; 0 elsewhere."""
    targets = labels[:, 1:]
    scored = targets != IGNORE
    head = model.get_output_embeddings()
    values = head_log_probs(head, hidden[scored], targets[scored])
    return values.new_zeros(targets.shape).masked_scatter(scored, values)


def head_log_probs(head, hidden, targets):
    """log softmax(head(hidden))[target] for hidden [n, width] and targets [n]: [n], in fp32."""
    plain = hidden.dtype == head.weight.dtype == torch.float32 and head.bias is None
    frozen = not head.weight.requires_grad or not torch.is_grad_enabled()
    if plain and frozen and not torch.is_autocast_enabled(hidden.device.type):
        return FrozenHeadLogProbs.apply(hidden, head.weight, targets)
    return -F.cross_entropy(head(hidden).float(), targets, reduction="none")


class FrozenHeadLogProbs(torch.autograd.Function):
    """Log-probabilities of targets [n] from hidden [n, d] through a frozen head [vocabulary, d].

    Only hidden needs a gradient, head[target] - softmax @ head for each row. It is made in the forward
    pass, a slice of rows at a time, so no logits are kept.
    """

    @staticmethod
    def forward(ctx, hidden, head, targets):
        result = torch.empty_like(targets, dtype=hidden.dtype)
        grad = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        rows = max(128, 2**20 // len(head))
        for start in range(0, len(hidden), rows):
            part = slice(start, start + rows)
            logits = hidden[part] @ head.T  # (rows, vocabulary)
            largest = logits.amax(1, keepdim=True)
            chosen = logits.gather(1, targets[part, None])
            total = logits.sub_(largest).exp_().sum(1, keepdim=True)
            result[part] = (chosen - largest - total.log()).squeeze(1)
            if grad is not None:
                grad[part] = head[targets[part]] - logits.div_(total) @ head
        ctx.save_for_backward(grad)
        return result

    @staticmethod
    def backward(ctx, grad_result):
        return grad_result[:, None] * ctx.saved_tensors[0], None, None


@torch.no_grad()
def rollout(model, prompts, *, max_new_tokens, stop_ids, pad_id, temperature=1.0, generator=None):
    """One sampled answer for each prompt (a list of token ids), as a batch with labels on the answer.

    An answer ends with the first of stop_ids, which belongs to it; "ended" [rows] is False where none came
    within max_new_tokens.
    """
    ids, mask = pad_left(prompts, pad_id, next(model.parameters()).device)
    new = sample_tokens(
        model,
        ids,
        mask,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        stop_ids=stop_ids,
        generator=generator,
    )
    stops, examples, ended = set(stop_ids), [], []
    for prompt, row in zip(prompts, new.tolist(), strict=True):
        end = next((place + 1 for place, token in enumerate(row) if token in stops), None)
        examples.append(Example([*prompt, *row[:end]], [IGNORE] * len(prompt) + row[:end]))
        ended.append(end is not None)
    batch = {name: value.to(ids.device) for name, value in collate(examples, pad_id).items()}
    return batch | {"ended": torch.tensor(ended, device=ids.device)}


def answer_texts(tokenizer, batch):
    """The answers of a batch as texts, without special tokens, stripped."""
    rows = [[token for token in row if token != IGNORE] for row in batch["labels"].tolist()]
    return [tokenizer.decode(row, skip_special_tokens=True).strip() for row in rows]


@torch.no_grad()
def sequence_kl(policy, reference, batch):
    """KL(policy || reference) of each answer in nats, [rows]: exact over the vocabulary at every position.

    The mean over answers that the policy sampled estimates the KL of the two distributions over answers, with
    less spread than the mean of the log-ratio.
    """
    return distance(policy, reference, batch)[0]


@torch.no_grad()
def distance(policy, reference, batch):
    """(sequence_kl, log-probability of each answer under the reference), [rows] each."""
    targets = batch["labels"][:, 1:]
    scored = targets != IGNORE
    mine, theirs = (_scored_logits(model, batch, scored) for model in (policy, reference))
    kl, log_probs = (torch.zeros(scored.shape, device=scored.device) for _ in range(2))
    kl[scored] = exact_kl(mine, theirs)
    log_probs[scored] = token_log_probs_of(theirs, targets[scored])
    return kl.sum(1), log_probs.sum(1)


def _scored_logits(model, batch, scored):
    hidden = last_hidden(model, batch)[:, :-1][scored]  # (n, width)
    return model.get_output_embeddings()(hidden).float()  # (n, vocabulary)


def by_length(batch, rows):
    """Parts of `rows` rows of similar length, less the columns that are all padding: (their places, part)."""
    order = batch["attention_mask"].sum(1).argsort()
    for places in order.split(rows):
        longest = int(batch["attention_mask"][places].sum(1).max())
        yield places, {name: value[places, :longest] for name, value in batch.items() if value.ndim == 2}


def distinct_words(text):
    """Share of different words among the words of a text; 1 for a text without any."""
    words = re.findall(r"[a-z']+", text.lower())
    return len(set(words)) / len(words) if words else 1.0


def sampling_of(tokenizer, max_new_tokens=150):
    """What rollout takes beside model and prompts, for answers in ChatML."""
    stop = tokenizer.convert_tokens_to_ids(IM_END)
    return {"max_new_tokens": max_new_tokens, "stop_ids": [stop], "pad_id": tokenizer.pad_token_id}


def encode_prompts(tokenizer, prompts):
    """Lists of messages as token ids that end where the assistant begins to speak."""
    return [encode_conversation(tokenizer, messages, True).input_ids for messages in prompts]


@torch.no_grad()
def evaluate_policy(model, reference, judge, tokenizer, prompts, *, seed=0, max_new_tokens=150, rows=128):
    """One answer of the model to each prompt (a list of messages): (means of what is measured, the answers).

    proxy: the reward model's score; gold: the true one; kl: from the reference, nats an answer; tokens;
    ended: share that came to an end; distinct: share of different words; reference_loss: nats a token that
    the reference loses on the answers, low for fluent text and for text that repeats itself.
    """
    ids, sampling = encode_prompts(tokenizer, prompts), sampling_of(tokenizer, max_new_tokens)
    generator = torch.Generator(next(model.parameters()).device).manual_seed(seed)
    texts, found = [], []
    for start in range(0, len(ids), rows):
        batch = rollout(model, ids[start : start + rows], generator=generator, **sampling)
        tokens = answer_mask(batch).sum(1)
        said = answer_texts(tokenizer, batch)
        asked = [request(prompt) for prompt in prompts[start : start + rows]]
        texts += said
        proxy, kl, log_probs = (torch.zeros_like(tokens) for _ in range(3))
        for places, part in by_length(batch, 16):
            proxy[places] = score(judge, part["input_ids"], part["attention_mask"]).float()
            kl[places], log_probs[places] = distance(model, reference, part)
        found.append(
            {
                "proxy": proxy,
                "gold": torch.tensor([gold_score(*pair) for pair in zip(asked, said, strict=True)]),
                "kl": kl,
                "tokens": tokens,
                "ended": batch["ended"].float(),
                "distinct": torch.tensor([distinct_words(text) for text in said]),
                "reference_loss": -log_probs / tokens,
            }
        )
    means = {name: torch.cat([part[name].float().cpu() for part in found]).mean().item() for name in found[0]}
    return means, texts


def requests_of(tokenizer, batch):
    """What the user asked last in each row of a batch."""
    prompts = [
        ids[(mask == 1) & (labels == IGNORE)].tolist()
        for ids, mask, labels in zip(
            batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True
        )
    ]
    return [tokenizer.decode(row).rpartition("user\n")[2].partition(IM_END)[0] for row in prompts]


def watched_reward(judge, tokenizer, seen):
    """A reward function for ppo: the reward model's scores; what it sees is kept in `seen`, a row a batch.

    Rows have the means "proxy" and "gold", and a "sample": (request, answer, its proxy, its gold score).
    """

    def reward(batch):
        scores = score(judge, batch["input_ids"], batch["attention_mask"]).float()
        asked, said = requests_of(tokenizer, batch), answer_texts(tokenizer, batch)
        gold = [gold_score(*pair) for pair in zip(asked, said, strict=True)]
        sample = (asked[0], said[0], scores[0].item(), gold[0])
        seen.append({"proxy": scores.mean().item(), "gold": sum(gold) / len(gold), "sample": sample})
        return scores

    return reward


def best_of_n_kl(n):
    """What the KL of the best of n from the sampled distribution is at most, in nats: log n - (n - 1) / n."""
    return math.log(n) - (n - 1) / n


def best_of_n_mean(judge, scores, n):
    """Mean score of the answer that `judge` likes best among n of the N of a prompt, over all such choices.

    judge, scores [prompts, N]. With N > n this has far less spread than drawing n once (Nakano et al. 2021,
    arXiv 2112.09332): in the judge's order, answer i (from 0) is the best in C(i, n - 1) of C(N, n) choices.
    """
    total = judge.shape[1]
    if not 1 <= n <= total:
        raise ValueError(f"the best of n needs 1 <= n <= {total} answers a prompt, got n = {n}")
    weights = scores.new_tensor([math.comb(i, n - 1) / math.comb(total, n) for i in range(total)])
    ordered = scores.gather(1, judge.argsort(1))
    return (ordered * weights).sum(1).mean()
