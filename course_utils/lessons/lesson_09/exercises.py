"""Exercises of lesson 09: the loss of a mixture and its shares, answers without an end, paired errors,
answering or refusing, a full context.
"""

from __future__ import annotations

import random
import statistics
from collections import Counter, deque

import numpy as np
import torch
import torch.nn.functional as F

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.data import IGNORE, Example
from course_utils.lessons.lesson_09.mixture import loss_share, sft_loss
from course_utils.log_probs import token_losses
from course_utils.methods.chat import fit_context


def _batch(seed, lengths, vocabulary=7, first=False):
    """(logits, labels) of conversations, padded on the right; lengths: of prompt and answer in each row.

    first: the first token of the first row has a label, which nothing predicts.
    """
    generator = torch.Generator().manual_seed(seed)
    width = max(map(sum, lengths)) + 1
    logits = 2 * torch.randn(len(lengths), width, vocabulary, generator=generator)
    labels = torch.full((len(lengths), width), IGNORE)
    for row, (prompt, answer) in enumerate(lengths):
        labels[row, prompt : prompt + answer] = torch.randint(0, vocabulary, (answer,), generator=generator)
        labels[row, prompt] = 0  # token 0 is a token
    if first:
        labels[0, 0] = 1
    return logits, labels


def _batches_to_weigh():
    return [
        _batch(1, [(2, 3), (4, 1)]),
        (*_batch(2, [(1, 6), (3, 2), (2, 1)]), torch.tensor([0.5, 2.0, 1.0])),
        _batch(3, [(3, 2), (1, 1), (2, 5), (1, 3)], vocabulary=11, first=True),
        (*_batch(4, [(2, 2), (1, 7)]), torch.tensor([3.0, 0.25])),
    ]


def _of_rows(fault):
    """A wrong sft_loss: fault(losses [rows, tokens - 1], scored, weights [rows], labels)."""

    def wrong(logits, labels, weights=None):
        weights = logits.new_ones(len(labels)) if weights is None else weights
        return fault(token_losses(logits, labels), labels[:, 1:] != IGNORE, weights, labels)

    return wrong


def _not_shifted(logits, labels, weights=None):
    return sft_loss(logits, F.pad(labels[:, :-1], (1, 0), value=IGNORE), weights)


def _shifted_twice(logits, labels, weights=None):
    return sft_loss(logits, F.pad(labels[:, 1:], (0, 1), value=IGNORE), weights)


def _prompts_too(logits, labels, weights=None):
    return sft_loss(logits, labels.clamp(min=0), weights)


def _without_token_0(logits, labels, weights=None):
    return sft_loss(logits, labels.masked_fill(labels == 0, IGNORE), weights)


def _without_last(logits, labels, weights=None):
    last = F.pad(labels[:, 1:], (0, 1), value=IGNORE) == IGNORE
    return sft_loss(logits, labels.masked_fill(last, IGNORE), weights)


def _soft_then_log(logits, labels, weights=None):
    weights = logits.new_ones(len(labels)) if weights is None else weights
    targets = labels[:, 1:]
    chosen = logits[:, :-1].softmax(-1).gather(-1, targets.clamp(min=0)[..., None]).squeeze(-1)
    losses = torch.where(targets == IGNORE, 0.0, -chosen.log())
    return (weights[:, None] * losses).sum(), (weights[:, None] * (targets != IGNORE)).sum()


def _by_gather(logits, labels, weights=None):
    total, count = 0.0, 0.0
    for row, (scores, targets) in enumerate(zip(logits[:, :-1], labels[:, 1:], strict=True)):
        kept = targets != -100
        weight = 1.0 if weights is None else weights[row]
        chosen = scores.log_softmax(-1)[kept].gather(1, targets[kept][:, None])
        total, count = total - weight * chosen.sum(), count + weight * kept.sum()
    return total, count


def _by_cross_entropy(logits, labels, weights=None):
    losses = F.cross_entropy(logits[:, :-1].transpose(1, 2), labels[:, 1:], reduction="none")
    scored = labels[:, 1:].ne(-100)
    if weights is None:
        return losses.sum(), scored.sum()
    return weights @ losses.sum(1), weights @ scored.sum(1).float()


SFT_MISTAKES = [
    ("Position t predicts token t + 1: compare logits[:, :-1] with labels[:, 1:].", _not_shifted),
    ("The labels are shifted twice: a position is asked for the token after the next one.", _shifted_twice),
    (
        "Questions and padding have loss here. Where the label is -100 there is none, and nothing to count.",
        _prompts_too,
    ),
    ("Token 0 has no loss here. Only the label -100 marks what has none.", _without_token_0),
    (
        "The last token of every answer has no loss here. It is the end marker, and it is learned as any "
        "other.",
        _without_last,
    ),
    (
        "This is the mean already. Return the sum, and beside it what the sum is to be divided by.",
        _of_rows(
            lambda x, s, w, y: ((w[:, None] * x).sum() / (w[:, None] * s).sum(), (w[:, None] * s).sum())
        ),
    ),
    (
        "The divisor leaves out tokens with the loss 0. One that is predicted with certainty counts too: ask "
        "for the labels that are not -100.",
        _of_rows(lambda x, s, w, y: ((w[:, None] * x).sum(), (w[:, None] * (x > 0)).sum())),
    ),
    (
        "The divisor counts padding and questions. Count the tokens with a label.",
        _of_rows(lambda x, s, w, y: ((w[:, None] * x).sum(), (w[:, None] * torch.ones_like(x)).sum())),
    ),
    (
        "The divisor counts a label of the first token. Nothing predicts it: count labels[:, 1:].",
        _of_rows(lambda x, s, w, y: ((w[:, None] * x).sum(), (w[:, None] * (y != IGNORE)).sum())),
    ),
    ("The weights are not used.", _of_rows(lambda x, s, w, y: (x.sum(), s.sum()))),
    (
        "The weights are in the sum and not in the divisor, so they would change the rate as well.",
        _of_rows(lambda x, s, w, y: ((w[:, None] * x).sum(), s.sum())),
    ),
    (
        "You take the mean of each conversation first, so that a word of a short answer counts more than one "
        "of a long one. Sum the tokens.",
        _of_rows(lambda x, s, w, y: ((w * x.sum(1) / s.sum(1)).sum(), w.sum())),
    ),
    (
        "The graph is cut, so nothing can learn from it.",
        lambda logits, labels, weights=None: sft_loss(logits.detach(), labels, weights),
    ),
]
LARGE = (
    "With large logits exp overflows, or a probability is 0 and its logarithm infinite. Use cross_entropy or "
    "log_softmax."
)


def _large():
    logits, labels = _batch(5, [(2, 4), (1, 2)])
    return [(300 * logits, labels), (300 * logits, labels, torch.tensor([1.0, 0.5]))]


CERTAIN = "A token that is predicted with certainty has the loss 0, and counts."


def _certain():
    logits, labels = _batch(6, [(2, 3), (1, 2)])
    logits[0, 1] = 0
    logits[0, 1, labels[0, 2]] = 200
    return [(logits, labels), (logits, labels, torch.tensor([0.5, 2.0]))]


def _example(prompt, answer):
    """An example of so many tokens; token 0 is among its targets."""
    ids = [(7 * i + prompt) % 5 for i in range(prompt + answer - 1)] + [0]
    return Example(ids, [-100] * prompt + ids[prompt:])


def _mixtures():
    facts = [_example(6, 1), _example(2, 12), _example(8, 2), _example(5, 1)]
    others = [_example(3, 4), _example(9, 5), _example(4, 10), _example(1, 2), _example(2, 3)]
    kinds = ["facts", "stories", "facts", "facts"]
    mixed = ["tasks", "tasks", "refusals", "chat", "refusals"]
    return [(facts, kinds), (others, mixed), (facts, kinds, [0, 1, 1, 0]), (others, mixed, [2, 0, 0, 1, 2])]


def _share(count):
    """A wrong loss_share: count(example) is summed by kind, within the steps."""

    def wrong(examples, kinds, steps=None):
        steps = [0] * len(examples) if steps is None else steps
        totals = Counter()
        for example, step in zip(examples, steps, strict=True):
            totals[step] += count(example)
        shares = dict.fromkeys(kinds, 0.0)
        for example, kind, step in zip(examples, kinds, steps, strict=True):
            shares[kind] += count(example) / totals[step] / len(totals)
        return shares

    return wrong


def _targets(example):
    return sum(label != -100 for label in example.labels)


def _scaled(factor):
    """A wrong loss_share: the right one times factor(examples, steps)."""

    def wrong(examples, kinds, steps=None):
        shares = loss_share(examples, kinds, steps)
        return {kind: factor(examples, steps) * share for kind, share in shares.items()}

    return wrong


def _tokens_of(examples):
    return sum(map(_targets, examples))


def _mean_share(examples, kinds, steps=None):
    means = {}
    for kind in kinds:
        counts = [_targets(e) for e, k in zip(examples, kinds, strict=True) if k == kind]
        means[kind] = sum(counts) / len(counts)
    return {kind: value / sum(means.values()) for kind, value in means.items()}


def _last_share(examples, kinds, steps=None):
    counts = {kind: _targets(example) for example, kind in zip(examples, kinds, strict=True)}
    return {kind: value / sum(counts.values()) for kind, value in counts.items()}


def _by_conversations_of_a_step(examples, kinds, steps=None):
    if steps is None:
        return loss_share(examples, kinds)
    return _share(lambda example: 1)(examples, kinds, steps)


def _by_counter(examples, kinds, steps=None):
    counts = Counter()
    steps = list(range(1)) * len(examples) if steps is None else steps
    sizes = Counter()
    for example, step in zip(examples, steps, strict=True):
        sizes[step] += len(example.labels) - example.labels.count(-100)
    for example, kind, step in zip(examples, kinds, steps, strict=True):
        counts[kind] += (len(example.labels) - example.labels.count(-100)) / sizes[step]
    return {kind: np.float32(count / counts.total()) for kind, count in counts.items()}


def _by_tensors(examples, kinds, steps=None):
    targets = torch.tensor([(torch.tensor(example.labels) != -100).sum() for example in examples]).float()
    steps = torch.zeros(len(examples)) if steps is None else torch.tensor(steps)
    for step in steps.unique():
        targets[steps == step] /= targets[steps == step].sum()
    shares = targets / targets.sum()
    return {kind: shares[[k == kind for k in kinds]].sum() for kind in set(kinds)}


SHARE_MISTAKES = [
    ("You count conversations. The loss is a sum over tokens: count those.", _share(lambda example: 1)),
    (
        "You count all tokens. The questions have no loss: count the labels that are not -100.",
        _share(lambda example: len(example.input_ids)),
    ),
    (
        "Token 0 does not count here. Only the label -100 marks what has no loss.",
        _share(lambda example: sum(label > 0 for label in example.labels)),
    ),
    (
        "The steps are not used. Each step divides by its own target tokens, and all steps count alike.",
        lambda examples, kinds, steps=None: loss_share(examples, kinds),
    ),
    ("Within a step you count conversations. Count target tokens there too.", _by_conversations_of_a_step),
    (
        "The shares add up to the number of steps. Divide by it.",
        _scaled(lambda examples, steps: len(set(steps or [0]))),
    ),
    (
        "These are numbers of tokens. Divide by the number of all target tokens.",
        _scaled(lambda examples, steps: _tokens_of(examples)),
    ),
    ("These are per cent. Return shares, which add up to 1.", _scaled(lambda examples, steps: 100)),
    (
        "You divide by the number of all tokens. Divide by that of all target tokens.",
        _scaled(
            lambda examples, steps: _tokens_of(examples) / sum(len(example.labels) for example in examples)
        ),
    ),
    (
        "You take the mean of a kind's examples. What counts is the sum: a kind with many short answers "
        "weighs as much as all of them together.",
        _mean_share,
    ),
    ("An example replaces the earlier ones of its kind. Add to what is there.", _last_share),
]


def why_no_end(example, end_id, stop_ids, end_probability):
    """Why a run's answers do not end: "end marker without loss", "stop id", "too little training", "sound".

    example: a conversation as the run encodes it. stop_ids: the ids at which its generation stops.
    end_probability(ids): its model's probability that the end marker comes after these ids.
    """
    ids, labels = example.input_ids, example.labels
    ends = [i for i in range(1, len(ids)) if ids[i] == end_id and labels[i - 1] != IGNORE]
    if any(labels[i] == IGNORE for i in ends):
        return "end marker without loss"
    if end_id not in stop_ids:
        return "stop id"
    return "sound" if end_probability(ids[: ends[-1]]) > 0.5 else "too little training"


START_ID, END_ID, EOS_ID, LINE = 8, 9, 7, 2


def _encoded(answers, unlearned=()):
    """A conversation as an Example; unlearned: the turns whose end marker has no loss."""
    ids, labels = [START_ID, 1, 3, END_ID, LINE], [IGNORE] * 5
    for turn, answer in enumerate(answers):
        ids += [START_ID, 4, 5 + turn % 2, END_ID, LINE, START_ID, 6]
        labels += [IGNORE] * 7
        ids += [*answer, END_ID, LINE]
        labels += [*answer, IGNORE if turn in unlearned else END_ID, IGNORE]
    return Example(ids, labels)


def _probability(example, before, right, behind):
    """A model's probability of the end marker: one token early, after the last answer, behind its end."""
    last = len(example.input_ids) - 1 - example.input_ids[::-1].index(END_ID)
    places = {last - 1: before, last: right, last + 1: behind}

    def end_probability(ids):
        ids = torch.as_tensor(ids).flatten().tolist()
        return places.get(len(ids), 0.1) if ids == example.input_ids[: len(ids)] else 0.1

    return end_probability


def _runs():
    one, two, zero = _encoded([[3, 5]]), _encoded([[5], [4, 3, 5]]), _encoded([[0, 0], [0]])
    lost, first_lost = _encoded([[3, 5]], [0]), _encoded([[5], [4, 3]], [0])
    both, last_lost = (END_ID, EOS_ID), _encoded([[5], [4, 3]], [1])
    cases = [
        (one, both, (0.1, 0.97, 0.1)),
        (one, both, (0.9, 0.02, 0.1)),
        (one, both, (0.1, 0.6, 0.1)),
        (one, (EOS_ID,), (0.1, 0.97, 0.1)),
        (lost, both, (0.1, 0.02, 0.1)),
        (lost, (EOS_ID,), (0.1, 0.02, 0.1)),
        (two, both, (0.1, 0.97, 0.9)),
        (two, both, (0.1, 0.3, 0.9)),
        (two, (EOS_ID,), (0.1, 0.97, 0.1)),
        (first_lost, both, (0.1, 0.97, 0.1)),
        (last_lost, both, (0.1, 0.02, 0.1)),
        (zero, both, (0.1, 0.97, 0.1)),
        (one, (EOS_ID, END_ID), (0.1, 0.97, 0.1)),
        (one, (END_ID,), (0.1, 0.97, 0.1)),
    ]
    return [(example, END_ID, stops, _probability(example, *each)) for example, stops, each in cases]


def _why(unlearned, place=None, likely=lambda p: p > 0.5, names=None):
    """A wrong why_no_end: unlearned(ids, labels, end) and place(ids, labels, end) look elsewhere."""

    def wrong(example, end_id, stop_ids, end_probability):
        ids, labels = example.input_ids, example.labels
        last = len(ids) - 1 - ids[::-1].index(end_id)
        if unlearned(ids, labels, end_id):
            return "end marker without loss"
        if end_id not in stop_ids:
            return "stop id"
        cut = last if place is None else place(last)
        return "sound" if likely(end_probability(ids[:cut])) else "too little training"

    return wrong


def _any_end(ids, labels, end):
    return any(label == IGNORE for token, label in zip(ids, labels, strict=True) if token == end)


def _first_end(ids, labels, end):
    return labels[ids.index(end)] == IGNORE


def _last_end(ids, labels, end):
    return labels[len(ids) - 1 - ids[::-1].index(end)] == IGNORE


def _learned_ends(ids, labels, end):
    return any(
        token == end and label == IGNORE and before != IGNORE
        for token, label, before in zip(ids[1:], labels[1:], labels, strict=False)
    )


def _no_loss_on_token_0(ids, labels, end):
    return any(
        token == end and label == IGNORE and before > 0
        for token, label, before in zip(ids[1:], labels[1:], labels, strict=False)
    ) or not any(token == end and before > 0 for token, before in zip(ids[1:], labels, strict=False))


def _model_first(example, end_id, stop_ids, end_probability):
    last = len(example.input_ids) - 1 - example.input_ids[::-1].index(end_id)
    if end_probability(example.input_ids[:last]) < 0.5:
        return "too little training"
    return why_no_end(example, end_id, stop_ids, end_probability)


def _stops_first(example, end_id, stop_ids, end_probability):
    return why_no_end(example, end_id, stop_ids, end_probability) if end_id in stop_ids else "stop id"


def _model_not_asked(example, end_id, stop_ids, end_probability):
    return why_no_end(example, end_id, stop_ids, lambda ids: 1.0)


def _first_stop_id(example, end_id, stop_ids, end_probability):
    return why_no_end(example, end_id, stop_ids[:1], end_probability)


def _why_by_masks(example, end_id, stop_ids, end_probability):
    ids, labels = torch.tensor(example.input_ids), torch.tensor(example.labels)
    after_answer = F.pad(labels[:-1] != -100, (1, 0))
    ends = (ids == end_id) & after_answer
    if (labels[ends] == -100).any():
        return "end marker without loss"
    if end_id not in set(stop_ids):
        return "stop id"
    place = int(ends.nonzero()[-1])
    return "too little training" if end_probability(ids[:place]) < 0.5 else "sound"


def _why_by_spans(example, end_id, stop_ids, end_probability):
    spans, open_at = [], None
    for i, label in enumerate([*example.labels, -100]):
        if label != -100 and open_at is None:
            open_at = i
        elif label == -100 and open_at is not None:
            spans.append((open_at, i))
            open_at = None
    if any(example.labels[stop - 1] != end_id for _, stop in spans):
        return "end marker without loss"
    if all(stop != end_id for stop in stop_ids):
        return "stop id"
    probability = end_probability(list(example.input_ids[: spans[-1][1] - 1]))
    return "sound" if probability >= 0.5 else "too little training"


EVERY_END = (
    "You look at every end marker, or at the first. Those of system line and questions have no loss in a "
    "sound run. Look at those that come after an answer's token."
)
WHY_MISTAKES = [
    (EVERY_END, _why(_any_end)),
    (EVERY_END, _why(_first_end)),
    (
        "The verdict is exchanged: a high probability of the end marker is what a sound run has.",
        _why(_learned_ends, likely=lambda p: p < 0.5),
    ),
    ("The model is not asked: a run may be sound but for too few steps.", _model_not_asked),
    (
        "The labels are not looked at: in one of the runs the end marker has no loss.",
        _why(lambda ids, labels, end: False),
    ),
    (
        "A run whose end marker had no loss is no case of too little training: look at the labels first.",
        _model_first,
    ),
    (
        "A run may have two faults. Go through the table from its top: the labels come before the stop ids.",
        _stops_first,
    ),
    ("You look at the last answer alone. An earlier answer may have lost its end marker.", _why(_last_end)),
    (
        "You ask after the end marker. Ask for its probability where it should come: after all that stands "
        "before it.",
        _why(_learned_ends, lambda last: last + 1),
    ),
    (
        "You ask one token too early, before the answer's last token.",
        _why(_learned_ends, lambda last: last - 1),
    ),
    (
        "Token 0 is taken for a token without loss. Only the label -100 marks what has none.",
        _why(_no_loss_on_token_0),
    ),
    (
        "The ids at which generation stops are not looked at.",
        lambda example, end_id, stop_ids, p: why_no_end(example, end_id, (end_id,), p),
    ),
    (
        "The probability is asked for in another place. Call end_probability once, on all that stands before "
        "the last end marker.",
        _why(_learned_ends, lambda last: 1),
    ),
    (
        "Take one half as the limit: above it the end marker is likelier than all other tokens together.",
        _why(_learned_ends, likely=lambda p: p > 0.9),
    ),
]


def paired_difference(before, after):
    """(accuracy after minus accuracy before, its standard error) for the same questions: lists of bools."""
    differences = [int(b) - int(a) for a, b in zip(before, after, strict=True)]
    n = len(differences)
    mean = sum(differences) / n
    variance = sum((d - mean) ** 2 for d in differences) / (n - 1)
    return mean, (variance / n) ** 0.5


def _outcomes(both, gained, lost, neither):
    """Answers of two models to the same questions, in any order; many, so that n - 1 or n does not matter."""
    pairs = [(1, 1)] * both + [(0, 1)] * gained + [(1, 0)] * lost + [(0, 0)] * neither
    random.shuffle(pairs)
    return [bool(a) for a, _ in pairs], [bool(b) for _, b in pairs]


def _error(fault):
    """A wrong paired_difference: fault(difference, variance of the differences, p before, p after, n)."""

    def wrong(before, after):
        mean, error = paired_difference(before, after)
        n = len(before)
        return fault(mean, error**2 * n, sum(before) / n, sum(after) / n, n)

    return wrong


def _by_numpy(before, after):
    differences = np.array(after, dtype=np.float32) - np.array(before, dtype=np.float32)
    return [differences.mean(), differences.std() / np.sqrt(np.float32(len(differences)))]


def _by_torch(before, after):
    differences = torch.tensor(after).float() - torch.tensor(before).float()
    return differences.mean(), differences.std() / len(differences) ** 0.5


def _by_statistics(before, after):
    differences = [b - a for a, b in zip(before, after, strict=True)]
    return statistics.mean(differences), statistics.stdev(differences) / len(before) ** 0.5


ONE_ACCURACY = "This is the error of one of the two accuracies, not of their difference."
PAIRED_MISTAKES = [
    (
        "This is the error of two independent samples. The questions are the same: take the difference of "
        "every question first, then the error of those.",
        _error(lambda d, v, p, q, n: (d, ((p * (1 - p) + q * (1 - q)) / n) ** 0.5)),
    ),
    (
        "This is the standard deviation of a single difference. That of their mean is smaller by the root of "
        "their number.",
        _error(lambda d, v, p, q, n: (d, v**0.5)),
    ),
    (
        "This is the variance of the mean. The standard error is its root.",
        _error(lambda d, v, p, q, n: (d, v / n)),
    ),
    (
        "The mean is not subtracted: a standard deviation is taken around the mean of the numbers.",
        lambda before, after: (
            paired_difference(before, after)[0],
            sum(a != b for a, b in zip(before, after, strict=True)) ** 0.5 / len(before),
        ),
    ),
    (ONE_ACCURACY, _error(lambda d, v, p, q, n: (d, (p * (1 - p) / n) ** 0.5))),
    (ONE_ACCURACY, _error(lambda d, v, p, q, n: (d, (q * (1 - q) / n) ** 0.5))),
    (
        "The difference is taken for a share: d * (1 - d) is not the variance of numbers -1, 0 and 1.",
        _error(lambda d, v, p, q, n: (d, (abs(d) * (1 - abs(d)) / n) ** 0.5)),
    ),
    (
        "The sign is the other way round: after minus before.",
        _error(lambda d, v, p, q, n: (-d, (v / n) ** 0.5)),
    ),
    (
        "The sign is lost: where the accuracy falls, the difference is negative.",
        _error(lambda d, v, p, q, n: (abs(d), (v / n) ** 0.5)),
    ),
    (
        "This is a number of questions. Divide by how many there are.",
        _error(lambda d, v, p, q, n: (d * n, (v / n) ** 0.5)),
    ),
    (
        "This is a share of the questions that changed: losses count too, as -1.",
        lambda before, after: (
            sum(a != b for a, b in zip(before, after, strict=True)) / len(before),
            paired_difference(before, after)[1],
        ),
    ),
    (
        "The error comes first here. Return the difference, then its standard error.",
        lambda before, after: paired_difference(before, after)[::-1],
    ),
    (
        "Return two numbers: the difference and its standard error.",
        lambda before, after: paired_difference(before, after)[0],
    ),
]


def selective_accuracy(right, refused):
    """(share of questions answered, accuracy of those answers); nan for the second if all were refused."""
    answered = [r for r, no in zip(right, refused, strict=True) if not no]
    accuracy = sum(answered) / len(answered) if answered else float("nan")
    return len(answered) / len(refused), accuracy


def _asked(right, wrong, refused_right, refused_wrong):
    """Outcomes in any order; a refusal counts as right where the question was to be refused."""
    rows = [(True, False)] * right + [(False, False)] * wrong
    rows += [(True, True)] * refused_right + [(False, True)] * refused_wrong
    random.shuffle(rows)
    return [a for a, _ in rows], [b for _, b in rows]


def _selective(fault):
    """A wrong selective_accuracy: fault(right answers, answers, right in all, questions)."""

    def wrong(right, refused):
        answered = [r for r, no in zip(right, refused, strict=True) if not no]
        return fault(sum(answered), len(answered), sum(right), len(right))

    return wrong


def _selective_by_torch(right, refused):
    right, answered = torch.tensor(right), ~torch.tensor(refused)
    return answered.float().mean(), right[answered].float().mean()


def _selective_by_loop(right, refused):
    answers = hits = 0
    for was_right, no in zip(right, refused, strict=True):
        answers += not no
        hits += was_right and not no
    return [answers / len(refused), np.float32(hits / answers if answers else np.nan)]


ALL_REFUSED = (
    "Where everything is refused, the share answered is 0, and nothing is known about the answers: return "
    "float('nan') for the second number."
)
SELECTIVE_MISTAKES = [
    (
        "The first number is the share refused. Return the share answered.",
        _selective(lambda hits, answers, right, n: (1 - answers / n, hits / max(1, answers))),
    ),
    (
        "You divide by all questions. The second number is about the answers alone: leave the refused ones "
        "out.",
        _selective(lambda hits, answers, right, n: (answers / n, hits / n)),
    ),
    (
        "You divide by all questions. The second number is about the answers alone: leave the refused ones "
        "out.",
        _selective(lambda hits, answers, right, n: (answers / n, right / n)),
    ),
    (
        "A refusal that counts as right is no answer: look only at the questions that were answered, above "
        "and below the line of the fraction.",
        _selective(lambda hits, answers, right, n: (answers / n, right / max(1, answers))),
    ),
    (
        "These are numbers of questions. Return shares.",
        _selective(lambda hits, answers, right, n: (answers, hits)),
    ),
    (
        "The accuracy comes first here. Return the share answered, then the accuracy of the answers.",
        _selective(lambda hits, answers, right, n: (hits / max(1, answers), answers / n)),
    ),
    (
        "Return two numbers: the share answered, and the accuracy of the answers.",
        _selective(lambda hits, answers, right, n: hits / max(1, answers)),
    ),
    (
        f"Your function divides by zero. {ALL_REFUSED}",
        _selective(lambda hits, answers, right, n: (answers / n, hits / answers)),
    ),
]


def _turns(*contents, system=None):
    roles = ("user", "assistant")
    spoken = [{"role": roles[i % 2], "content": text} for i, text in enumerate(contents)]
    return ([{"role": "system", "content": system}] if system else []) + spoken


def _letters(messages):
    return sum(len(message["content"]) for message in messages)


def _with_headers(messages):
    return 3 + sum(4 + len(message["content"]) for message in messages)


LONG = _turns("a" * 10, "b" * 5, "c" * 5, "d" * 5, "e" * 5, system="s" * 6)
CHATTY = _turns("a" * 9, "b" * 20, "c" * 7, "d" * 8, "e" * 3, "f" * 6, "g" * 4)
QUIET_FIRST = _turns("a" * 2, "b" * 3, "c" * 15, "d" * 9, "e" * 4, "f" * 6, "g" * 4, system="s" * 5)
CONVERSATIONS = [
    (_turns("aa", "b", "cc"), _letters, 20),
    (LONG, _letters, 30),
    (LONG, _letters, 36),  # it fits exactly
    (LONG, _letters, 21),  # it fits exactly without the first exchange
    (LONG, _with_headers, 40),
    (CHATTY, _letters, 15),
    (CHATTY, _with_headers, 37),
    (QUIET_FIRST, _letters, 44),
    (QUIET_FIRST, _letters, 30),  # the first exchange would fit, were it not for the second
    (_turns("a"), _letters, 5),
]


def _drop(fault):
    """A wrong fit_context: fault(system, turns) gives a shorter conversation, until it fits."""

    def wrong(messages, length, limit):
        while length(messages) > limit and len(messages) > 1:
            start = messages[0]["role"] == "system"
            messages = fault(messages[:start], messages[start:])
        return messages

    return wrong


def _at_least_once(messages, length, limit):
    start = messages[0]["role"] == "system"
    if len(messages) < start + 3:
        return messages
    return fit_context(messages[:start] + messages[start + 2 :], length, limit)


def _in_place(messages, length, limit):
    start = int(messages[0]["role"] == "system")
    while length(messages) > limit and len(messages) > start + 2:
        del messages[start : start + 2]
    return messages


def _system_not_counted(messages, length, limit):
    head = messages[:1] if messages[0]["role"] == "system" else []
    return head + fit_context(messages[len(head) :], length, limit)


def _first_stays(messages, length, limit):
    head, turns = messages[:1], messages[1:]
    while len(turns) > 2 and length(head + turns) > limit:
        turns = turns[2:]
    return head + turns


def _strictly(messages, length, limit):
    return fit_context(messages, lambda turns: length(turns) + 0.5, limit)


def _longest_first(messages, length, limit):
    head = messages[:1] if messages[0]["role"] == "system" else []
    turns = messages[len(head) :]
    while length(head + turns) > limit and len(turns) > 2:
        sizes = [_letters(turns[place : place + 2]) for place in range(0, len(turns) - 1, 2)]
        place = 2 * sizes.index(max(sizes))
        turns = turns[:place] + turns[place + 2 :]
    return head + turns


def _with_a_hole(messages, length, limit):
    head = messages[:1] if messages[0]["role"] == "system" else []
    turns = messages[len(head) :]
    kept = turns[-1:]
    for place in range(len(turns) - 3, -1, -2):
        if length(head + turns[place : place + 2] + kept) <= limit:
            kept = turns[place : place + 2] + kept
    return head + kept


def _only_once(messages, length, limit):
    start = messages[0]["role"] == "system"
    if length(messages) <= limit or len(messages) < start + 3:
        return messages
    return messages[:start] + messages[start + 2 :]


def _too_much(messages, length, limit):
    return fit_context(messages, length, limit if length(messages) <= limit else limit / 2)


def _nothing_left(messages, length, limit):
    kept = fit_context(messages, length, limit)
    return kept if length(kept) <= limit else kept[:-1]


def _refusing(messages, length, limit):
    kept = fit_context(messages, length, limit)
    if length(kept) > limit:
        raise ValueError("too long")
    return kept


def _by_places(messages, length, limit):
    start = int(messages[0]["role"] == "system")
    for place in range(start, len(messages), 2):
        kept = [*messages[:start], *messages[place:]]
        if length(kept) <= limit:
            return kept
    return [*messages[:start], messages[-1]]


def _by_queue(messages, length, limit):
    system = [message for message in messages if message["role"] == "system"]
    turns = deque(message for message in messages if message["role"] != "system")
    while length(system + list(turns)) > limit and len(turns) >= 3:
        turns.popleft()
        turns.popleft()
    return [dict(message) for message in (*system, *turns)]


ALONE = (
    "The last turn alone is longer than the limit. Return it all the same: it is for the encoding to refuse "
    "it."
)
CONTEXT_MISTAKES = [
    (
        "The system line is gone. It stays, and the oldest exchange goes.",
        _drop(lambda head, turns: (head + turns)[2:]),
    ),
    (
        "The system line is gone. It stays, and the oldest exchange goes.",
        _drop(lambda head, turns: turns[2:]),
    ),
    (
        "The first message stays here whoever speaks it. It is a system line only where its role is system.",
        _first_stays,
    ),
    (
        "The conversation now begins with an answer whose question is gone. Take out question and answer "
        "together.",
        _drop(lambda head, turns: head + turns[1:]),
    ),
    (
        "The user's last turn is gone: that is the one to be answered.",
        _drop(lambda head, turns: head + turns[:-2]),
    ),
    ("A conversation that fits as it is should stay as it is.", _at_least_once),
    ("A conversation of exactly the limit fits: take out exchanges while the length is larger.", _strictly),
    (
        "Use the argument length: it knows what a conversation takes up, not only its contents' letters.",
        lambda messages, length, limit: fit_context(messages, _letters, limit),
    ),
    ("The result is longer than the limit: take out as many exchanges as it needs, not one.", _only_once),
    ("The result is longer than the limit: nothing was taken out.", lambda messages, length, limit: messages),
    ("The result is longer than the limit. Is the system line counted?", _system_not_counted),
    ("The conversation that was given has changed. Its owner still shows it: make a new list.", _in_place),
    ("Take out no more than needed, the oldest first.", _too_much),
    ("The longest exchange goes first here. Take out the oldest.", _longest_first),
    (
        "An exchange is left out, and an older one stays. Going back from the newest, stop at the first that "
        "does not fit.",
        _with_a_hole,
    ),
    (ALONE, _nothing_left),
    (ALONE, _refusing),
]


EXERCISES = [
    Exercise(
        name="sft_loss",
        lesson="09",
        minutes=12,
        difficulty=2,
        reference=sft_loss,
        check=compare(
            sft_loss,
            _batches_to_weigh,
            SFT_MISTAKES,
            else_="Sum the cross-entropy of the tokens with a label, each times the weight of its "
            "conversation; count the same tokens with the same weights.",
            gradient=["logits"],
            extremes=[(LARGE, _large), (CERTAIN, _certain)],
        ),
        wrong=[
            (lambda logits, labels, weights=None: None, "Is there a return"),
            (lambda logits, labels, weights=None: sft_loss(logits, labels, weights)[0], "should be a tuple"),
            (lambda logits, labels, weights=None: (1.0, 2.0), "Sum the cross-entropy"),
            (_soft_then_log, "log_softmax"),
        ],
        right=[_by_gather, _by_cross_entropy],
        hints=(
            "It is the loss of lesson 01 on the tokens whose label is not -100. The weight of a conversation "
            "multiplies the loss of each of its tokens, and each of its tokens where they are counted.",
            "token_losses(logits, labels) gives [rows, tokens - 1], with 0 where there is no loss. "
            "labels[:, 1:] != IGNORE has the same shape. weights[:, None] multiplies both; without weights "
            "take ones. Return the two sums.",
        ),
        then="The one-skill run and the mixture below train on it. After a change run their cells again.",
    ),
    Exercise(
        name="loss_share",
        lesson="09",
        minutes=8,
        difficulty=2,
        reference=loss_share,
        check=compare(
            loss_share,
            _mixtures,
            SHARE_MISTAKES,
            else_="A kind's share is that of its target tokens in each step, averaged over the steps.",
        ),
        wrong=[
            (lambda e, k, steps=None: list(loss_share(e, k, steps).values()), "should be a dictionary"),
            (lambda e, k, steps=None: dict.fromkeys(k, 0.25), "A kind's share is"),
            (lambda e, k, steps=None: {"facts": 0.25, "stories": 0.75}, "should have the keys"),
            (lambda e, k, steps=None: None, "Is there a return"),
        ],
        right=[_by_counter, _by_tensors],
        hints=(
            "Every target token adds one term to the loss of its step, and the step divides by the number of "
            "its target tokens. So within a step a kind has a share, and these are averaged over the steps.",
            "Count the labels that are not -100 in each example. Sum them by step. Then add to a kind, for "
            "each of its examples, count / (the sum of its step) / (the number of steps).",
        ),
        then="The figure of the shares below is drawn with it.",
    ),
    Exercise(
        name="why_no_end",
        lesson="09",
        minutes=8,
        difficulty=2,
        reference=why_no_end,
        check=compare(
            why_no_end,
            _runs,
            WHY_MISTAKES,
            else_="First the labels of the end markers that end an answer, then the ids at which generation "
            "stops, then the probability of the end marker after the last answer.",
        ),
        wrong=[
            (lambda example, end_id, stop_ids, p: None, "Is there a return"),
            (lambda example, end_id, stop_ids, p: "sound", "The model is not asked"),
            (lambda example, end_id, stop_ids, p: "all is well", "First the labels"),
            (_first_stop_id, "ids at which"),
            (lambda example, end_id, stop_ids, p: True, "should be of type str"),
        ],
        right=[_why_by_masks, _why_by_spans],
        hints=(
            "Three places can be at fault: the labels that training saw, the ids at which generation stops, "
            "and the model. The first two are read without a model.",
            "The end markers that count are those whose preceding token has a label. If one of them has the "
            "label -100, that is the fault. If end_id is not in stop_ids, that is. Else ask "
            "end_probability(ids before the last end marker): is it above one half?",
        ),
        then="The table of the hunt below is made with it.",
    ),
    Exercise(
        name="paired_difference",
        lesson="09",
        minutes=10,
        difficulty=2,
        reference=paired_difference,
        check=compare(
            paired_difference,
            lambda: [_outcomes(100, 44, 12, 44), _outcomes(150, 18, 57, 75)],
            PAIRED_MISTAKES,
            else_="Give each question 1, 0 or -1; the mean of these, and their standard deviation over the "
            "root of their number.",
            tolerance=2e-3,
        ),
        wrong=[
            (lambda before, after: (0.16, 0.0357), "Give each question"),
            (_error(lambda d, v, p, q, n: (100 * d, 100 * (v / n) ** 0.5)), "Give each question"),
            (_error(lambda d, v, p, q, n: (d, 0.0)), "Give each question"),
        ],
        right=[_by_numpy, _by_torch, _by_statistics],
        hints=(
            "Most questions have the same outcome both times, and say nothing about the difference. Give "
            "every question a number: 1 for won, -1 for lost, 0 for the same.",
            "The difference of the accuracies is the mean of these n numbers. The standard error of a "
            "mean is the standard deviation of the numbers over the root of n.",
        ),
    ),
    Exercise(
        name="selective_accuracy",
        lesson="09",
        minutes=5,
        difficulty=1,
        reference=selective_accuracy,
        check=compare(
            selective_accuracy,
            lambda: [_asked(7, 1, 1, 1), _asked(5, 6, 3, 6), _asked(3, 2, 0, 0), _asked(0, 4, 1, 2)],
            SELECTIVE_MISTAKES,
            else_="The share of questions that were answered, and the share of right ones among those.",
            extremes=[(ALL_REFUSED, [([False, True, False], [True, True, True])])],
        ),
        wrong=[
            (_selective(lambda hits, answers, right, n: (answers / n, hits / max(1, answers))), "is refused"),
            (
                _selective(lambda hits, answers, right, n: answers and (answers / n, hits / answers)),
                "is refused",
            ),
            (
                _selective(lambda hits, answers, right, n: (answers / n, hits / answers if hits else np.nan)),
                "The share of questions",
            ),
            (lambda right, refused: (0.8, 7 / 8), "The share of questions"),
            (lambda right, refused: None, "Is there a return"),
        ],
        right=[_selective_by_torch, _selective_by_loop],
        hints=(
            "Two questions: how often does it answer at all, and how good is it when it does? The second "
            "looks at the answered questions only.",
            "Keep the entries of `right` where `refused` is False. The first number is how many they are "
            "over how many questions there are, the second their mean; float('nan') if there are none.",
        ),
    ),
    Exercise(
        name="fit_context",
        lesson="09",
        minutes=10,
        difficulty=2,
        reference=fit_context,
        check=compare(
            fit_context,
            CONVERSATIONS,
            CONTEXT_MISTAKES,
            else_="Take out the oldest question with its answer while length(messages) is above the limit; "
            "the system line and the last turn stay.",
            extremes=[(ALONE, [(_turns("a" * 5, "b" * 5, "c" * 50), _letters, 20), (LONG, _letters, 8)])],
        ),
        wrong=[
            (lambda messages, length, limit: None, "Is there a return"),
            (lambda messages, length, limit: messages[-1:], "should have 3 entries"),
        ],
        right=[_by_places, _by_queue],
        hints=(
            "Split off the system line, if the first message is one. Of the rest, which two go first? And "
            "which one must never go?",
            "head = the system line or nothing; turns = the rest. While length(head + turns) is above the "
            "limit and there are more than two turns, drop turns[0] and turns[1]. Return a new list.",
        ),
    ),
]
