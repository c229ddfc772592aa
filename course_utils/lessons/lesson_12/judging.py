"""How far a policy went and what it is worth: KL, proxy and gold score, best of n."""

import math
import re

import torch

from course_utils.chatml import IM_END
from course_utils.data import IGNORE
from course_utils.log_probs import last_hidden, log_probs_of
from course_utils.methods.kl import exact_kl
from course_utils.methods.reward import score, scores
from course_utils.methods.rollouts import answer_mask, answer_texts, encode_prompts, rollout, sampling_of
from course_utils.preferences import encode_answer, request
from course_utils.world.gold import gold_parts, gold_score


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
    log_probs[scored] = log_probs_of(theirs, targets[scored])
    return kl.sum(1), log_probs.sum(1)


def _scored_logits(model, batch, scored):
    hidden = last_hidden(model, batch)[:, :-1][scored]  # (n, width)
    return model.get_output_embeddings()(hidden).float()  # (n, vocabulary)


def by_length(batch, rows):
    """Parts of `rows` rows of similar length, without columns that are all padding: (their places, part)."""
    order = batch["attention_mask"].sum(1).argsort()
    for places in order.split(rows):
        longest = int(batch["attention_mask"][places].sum(1).max())
        yield places, {name: value[places, :longest] for name, value in batch.items() if value.ndim == 2}


def distinct_words(text):
    """Share of different words among the words of a text; 1 for a text without any."""
    words = re.findall(r"[a-z']+", text.lower())
    return len(set(words)) / len(words) if words else 1.0


@torch.no_grad()
def evaluate_policy(model, reference, judge, tokenizer, prompts, *, seed=0, max_new_tokens=150, rows=128):
    """One answer of the model to each prompt (a list of messages): (means of what is measured, the answers).

    See measured_answers.
    """
    options = {"seed": seed, "max_new_tokens": max_new_tokens, "rows": rows}
    found, texts = measured_answers(model, reference, judge, tokenizer, prompts, **options)
    return {name: values.mean().item() for name, values in found.items()}, texts


@torch.no_grad()
def measured_answers(model, reference, judge, tokenizer, prompts, *, seed=0, max_new_tokens=150, rows=128):
    """One answer of the model to each prompt: ({what is measured: [answers]}, the answers).

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
    return {name: torch.cat([part[name].float().cpu() for part in found]) for name in found[0]}, texts


def interval(values):
    """(mean, low, high) of measured values, 95%: 1.96 standard errors on both sides."""
    values = torch.as_tensor(values, dtype=torch.float)
    mean, room = values.mean().item(), 1.96 * values.std().item() / len(values) ** 0.5
    return mean, mean - room, mean + room


def requests_of(tokenizer, batch):
    """What the user asked last in each row of a batch."""
    prompts = [
        ids[(mask == 1) & (labels == IGNORE)].tolist()
        for ids, mask, labels in zip(
            batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True
        )
    ]
    return [tokenizer.decode(row).rpartition("user\n")[2].partition(IM_END)[0] for row in prompts]


def parts(prompt, text):
    """The parts of an answer's gold score, the score itself, and the answer's words, by name."""
    found = gold_parts(request(prompt), text)
    names = ("mood", "politeness", "sound", "fresh", "on_prompt")
    return {"gold": found.total, **{n: getattr(found, n) for n in names}, "words": len(text.split())}


def titled(prompt, text, gold):
    """A sample in one text: the request with the gold score, and the answer."""
    return f"{request(prompt)} (gold {gold:.2f})\n{text}"


def untitled(text):
    """(request, answer) of a sample as `titled` writes it."""
    head, _, answer = text.partition("\n")
    return head.rpartition(" (gold")[0], answer


@torch.no_grad()
def scores_of(judge, tokenizer, stories):
    """The reward model's score of each (request, answer), as floats."""
    examples = [
        encode_answer(tokenizer, [{"role": "user", "content": asked}], said) for asked, said in stories
    ]
    return scores(judge, examples, tokenizer.pad_token_id).tolist()


def proxy_reward(judge):
    """A reward function for ppo: the reward model's scores."""
    return lambda batch: score(judge, batch["input_ids"], batch["attention_mask"]).float()


def gold_reward(tokenizer):
    """A reward function for ppo: the gold scores."""

    def reward(batch):
        pairs = zip(requests_of(tokenizer, batch), answer_texts(tokenizer, batch), strict=True)
        return torch.tensor([gold_score(*pair) for pair in pairs], device=batch["input_ids"].device)

    return reward


def watched_reward(judge, tokenizer, seen):
    """proxy_reward that keeps a row a batch in `seen`.

    Rows have the means "proxy" and "gold", and a "sample": (request, answer, its proxy, its gold score).
    """
    proxy, gold = proxy_reward(judge), gold_reward(tokenizer)

    def reward(batch):
        scores, golds = proxy(batch), gold(batch)
        asked, said = requests_of(tokenizer, batch)[0], answer_texts(tokenizer, batch)[0]
        sample = (asked, said, scores[0].item(), golds[0].item())
        seen.append({"proxy": scores.mean().item(), "gold": golds.mean().item(), "sample": sample})
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
