"""Shared parts of trajectories: a start, rows at fixed indices, recorded batches, replayed tokens."""

import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import torch

from course_utils import generation
from course_utils.chatml import add_chat_tokens
from course_utils.making.trajectories.stored import digest
from course_utils.models import load_model


def chat_start():
    """(the pocket model with the chat markers, its tokenizer)."""
    model, tokenizer = load_model("pocket")
    add_chat_tokens(model, tokenizer)
    return model, tokenizer


def every(rows: Sequence, count: int) -> list:
    """`count` of the rows, evenly spaced."""
    return list(rows[:: len(rows) // count][:count])


class Noted:
    """A stream of batches that records a digest of the integers in each."""

    def __init__(self, stream):
        self.stream, self.digests = stream, []

    def __iter__(self):
        for batch in self.stream:
            self.digests.append(digest(batch))
            yield batch


def weights(model) -> dict:
    """A copy of the trained weights."""
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def moved(model, before: Mapping) -> list[float]:
    """The norm of the change of each trained matrix."""
    now = dict(model.named_parameters())
    return [(now[name] - old).norm().item() for name, old in before.items() if old.ndim > 1]


def columns(rows: Sequence[Mapping], *names: str) -> dict[str, list[float]]:
    """{name: its number in each row}"""
    return {name: [float(row[name]) for row in rows if name in row] for name in names}


class Replay:
    """Tokens that replace sampled ones, with a record of the sampling.

    answers: for each prompt (token ids), the answers it gets in turn. asked: a digest of the prompts of each
    rollout. log_probs: the sampler's mean log-probability of the answers' tokens, in nats.
    """

    def __init__(self, answers: Mapping[Sequence[int], Sequence[Sequence[int]]]):
        self.answers = {tuple(prompt): itertools.cycle(texts) for prompt, texts in answers.items()}
        self.asked, self.log_probs = [], []

    def sample_tokens(self, real, model, input_ids, attention_mask, **sampling):
        prompts = [ids[mask.bool()].tolist() for ids, mask in zip(input_ids, attention_mask, strict=True)]
        self.asked.append(digest(prompts))
        rows = [next(self.answers[tuple(prompt)]) for prompt in prompts]
        places, scores = itertools.count(), []
        draw = generation.next_tokens

        def forced(logits, temperature=1.0, top_k=0, top_p=1.0, generator=None):
            draw(logits, temperature, top_k, top_p, generator)
            place = next(places)
            tokens = torch.tensor([row[min(place, len(row) - 1)] for row in rows])
            log_probs = generation.filter_logits(logits, temperature, top_k, top_p).log_softmax(-1)
            chosen = log_probs.gather(1, tokens[:, None]).squeeze(1)
            scores.extend(score for score, row in zip(chosen.tolist(), rows, strict=True) if place < len(row))
            return tokens

        with patch.object(generation, "next_tokens", forced):
            new = real(model, input_ids, attention_mask, **sampling)
        self.log_probs.append(sum(scores) / len(scores))
        return new


@contextmanager
def replayed(answers) -> Iterator[Replay]:
    """Replace sampled tokens by these in the block: after a truly sampled token nothing could be compared."""
    replay, real = Replay(answers), generation.sample_tokens

    def sample_tokens(*arguments, **sampling):
        return replay.sample_tokens(real, *arguments, **sampling)

    with ExitStack() as stack:
        for name, module in list(sys.modules.items()):
            if name.startswith("course_utils.") and getattr(module, "sample_tokens", None) is real:
                stack.enter_context(patch.object(module, "sample_tokens", sample_tokens))
        yield replay
