"""Lesson 13's bug hunt: three scripts that score different tokens of a pair. Read it after the hunt."""

import copy

import torch

from course_utils.data import IGNORE, Example
from course_utils.methods.dpo import mean_dpo_loss, pair_metrics, reference_log_probs, train_dpo
from course_utils.models import untrained_gpt2

PAD = 0
BETA = 10.0  # for means over tokens


def answer_scored(example):
    """As in the lesson: the labels are the answer's tokens."""
    return example


def everything_scored(example):
    """Labels as in language-model training: the prompt's tokens are included."""
    return Example(example.input_ids, list(example.input_ids))


def end_not_scored(example):
    """The token that ends the answer has no label."""
    return Example(example.input_ids, [*example.labels[:-1], IGNORE])


SCRIPTS = {"A": everything_scored, "B": answer_scored, "C": end_not_scored}
VERDICTS = {"A": "prompt too", "B": "sound", "C": "end not"}


def scored_by(script, pairs):
    """The pairs with a script's labels."""
    return [(script(chosen), script(rejected)) for chosen, rejected in pairs]


def scored_fault(theirs, answers, prompts, ends):
    """Which tokens a script scores: "prompt too", "end not" or "sound".

    theirs: its log-probabilities of some rows, [rows]; answers, prompts and ends: those of the rows' whole
    answers, of their prompts, and of the tokens that end the answers, [rows] each.
    """
    for verdict, expected in {
        "sound": answers,
        "prompt too": answers + prompts,
        "end not": answers - ends,
    }.items():
        if (theirs - expected).abs().max() < 1e-2:
            return verdict
    raise ValueError("none of the three hypotheses gives these log-probabilities")


START, END = 1, 2  # tokens that begin the prompt of every row, and that end every answer


def small_pairs(count, seed):
    """Pairs of tokens for a small model. Chosen answers have even tokens and are longer, as in our data.

    Every prompt has eight tokens, of which the first five are always the same, as in a chat format.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(low, high, length):
        return torch.randint(low, high, (length,), generator=generator).tolist()

    pairs = []
    for _ in range(count):
        prompt = [START, 3, 4, 5, 6, *draw(7, 64, 3)]
        even, any_tokens = draw(4, 32, draw(6, 11, 1)[0]), draw(7, 64, draw(2, 6, 1)[0])
        chosen, rejected = [*(2 * token for token in even), END], [*any_tokens, END]
        pairs.append(
            tuple(
                Example([*prompt, *answer], [IGNORE] * len(prompt) + answer) for answer in (chosen, rejected)
            )
        )
    return pairs


def small_model(seed):
    """An untrained GPT-2, for the hunt."""
    torch.manual_seed(seed)
    return untrained_gpt2(
        n_layer=2, n_head=2, n_embd=32, vocab_size=64, n_positions=32, initializer_range=0.2, pad_token_id=PAD
    ).eval()


def trained_by(script, model, pairs, steps, seed, label):
    """(the policy, the history) of DPO with means over tokens and a script's labels."""
    policy, scored = copy.deepcopy(model), scored_by(script, pairs)
    reference = reference_log_probs(model, scored, PAD)
    settings = {"beta": BETA, "pad_id": PAD, "seed": seed, "loss": mean_dpo_loss, "label": label}
    return policy, train_dpo(policy, scored, reference, steps=steps, lr=1e-3, batch_size=16, **settings)


def judged_by(script, policy, model, pairs):
    """Means of DPO's metrics on new pairs with a script's labels."""
    scored = scored_by(script, pairs)
    reference = reference_log_probs(model, scored, PAD)
    return pair_metrics(policy, scored, reference, BETA, PAD, loss=mean_dpo_loss)
