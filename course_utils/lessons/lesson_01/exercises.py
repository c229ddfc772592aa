"""Exercises of lesson 01: the loss of a language model, perplexity, and how far weights move."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from course_utils.checks.exercises import Exercise, Mistake, close, expect_tensor


def shifted_loss(logits, labels):
    """Loss of every next token in nats, 0 where its label is -100. [B, T, V], [B, T] -> [B, T - 1]."""
    targets = labels[:, 1:]  # (B, T - 1): position t predicts token t + 1
    log_probabilities = logits[:, :-1].log_softmax(dim=-1)  # (B, T - 1, V)
    ids = targets.clamp(min=0).unsqueeze(-1)  # (B, T - 1, 1): any valid id where the label is -100
    losses = -log_probabilities.gather(-1, ids).squeeze(-1)
    return losses.masked_fill(targets == -100, 0.0)


def _check_shifted_loss(fn):
    generator = torch.Generator().manual_seed(1)
    logits = 3 * torch.randn(2, 6, 5, generator=generator)
    labels = torch.randint(0, 5, (2, 6), generator=generator)
    expected = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="none")
    expected = expected.view(2, 5)
    losses = fn(logits.clone(), labels.clone())
    if isinstance(losses, torch.Tensor) and losses.shape == (2, 6):
        raise Mistake(
            "You return a loss for all 6 positions of 6 tokens. The last position has no next "
            "token in the sequence, and the first token is predicted by none: 5 losses are left."
        )
    if isinstance(losses, torch.Tensor) and losses.ndim == 0:
        raise Mistake(
            "You return one number. Return the loss of every token, [B, T - 1]; the mean comes later."
        )
    if isinstance(losses, torch.Tensor) and losses.shape == (2, 4):
        raise Mistake("You return 4 losses for 6 tokens: two shifts. Shift once, by one position.")
    expect_tensor(losses, (2, 5), "the result")
    _name_wrong_losses(losses, expected, logits, labels)
    large = logits * 100
    if not close(fn(large.clone(), labels.clone()), shifted_loss(large, labels)):
        raise Mistake(
            "With large logits the result is not finite or not exact: the probability rounds to 0 "
            "and its logarithm is -inf. Use log_softmax, which never forms the probability."
        )
    _check_ignored(fn, logits, labels, expected)


def _name_wrong_losses(losses, expected, logits, labels):
    if close(losses, expected):
        return
    cross_entropy = F.cross_entropy(logits.transpose(1, 2), labels, reduction="none")  # [2, 6], not shifted
    backwards = F.cross_entropy(logits[:, 1:].transpose(1, 2), labels[:, :-1], reduction="none")
    known = [
        (-expected, "Your losses are negative: these are the log-probabilities. The loss is minus them."),
        (
            cross_entropy[:, :-1],
            "You compare position t with token t, which it has just read. Position t predicts token t + 1.",
        ),
        (
            cross_entropy[:, 1:],
            "You compare position t with token t, which it has just read. Position t predicts token t + 1.",
        ),
        (
            backwards,
            "The shift goes the wrong way: you compare position t + 1 with token t. Drop the last "
            "position of the logits and the first of the labels.",
        ),
        (
            -logits[:, :-1].gather(-1, labels[:, 1:, None]).squeeze(-1),
            "These are logits with a minus. Turn them into log-probabilities first: log_softmax over the "
            "vocabulary.",
        ),
        (-torch.exp(-expected), "These are probabilities with a minus. The loss is minus their logarithm."),
        (torch.exp(-expected), "These are probabilities. The loss is minus their logarithm."),
        (
            -logits[:, :-1].log_softmax(1).gather(-1, labels[:, 1:, None]).squeeze(-1),
            "Your softmax runs over the positions. It runs over the vocabulary, the last dimension.",
        ),
    ]
    for values, message in known:
        if close(losses, values):
            raise Mistake(message)
    raise Mistake(
        f"For the first token to be predicted the loss should be {expected[0, 0]:.4f}, and is "
        f"{losses[0, 0]:.4f}."
    )


def _check_ignored(fn, logits, labels, expected):
    labels = labels.clone()
    labels[0, :3] = -100
    labels[1, 4:] = -100
    given = labels.clone()
    expected = expected.masked_fill(labels[:, 1:] == -100, 0.0)
    try:
        losses = fn(logits.clone(), given)
    except (RuntimeError, IndexError) as error:
        raise Mistake(
            "Without -100 among the labels your losses are right; with it, gather stops: -100 is "
            "no token id. Look up any valid id in its place, and set that loss to 0 afterwards. "
            f"({str(error).splitlines()[0]})"
        ) from None
    if not torch.equal(given, labels):
        raise Mistake("Your function changes the labels that it is given. Work on a copy (clamp makes one).")
    expect_tensor(losses, (2, 5), "the result with -100 among the labels")
    if close((losses == 0).float(), (labels[:, :-1] == -100).float()):
        raise Mistake(
            "You go by the label of the token just read. Whether a loss is 0 goes by the label of "
            "the token that is predicted: labels[:, 1:]."
        )
    if not close(losses[expected == 0], torch.zeros(4)):
        raise Mistake("Where the label is -100 the loss should be 0, and you return something else.")
    if not close(losses, expected):
        raise Mistake("With -100 among the labels, the losses of the other tokens changed.")


def batch_perplexity(losses, labels):
    """Perplexity of a padded batch. losses [B, T - 1], 0 where not counted; labels [B, T] -> a number."""
    tokens = (labels[:, 1:] != -100).sum()
    return torch.exp(losses.sum() / tokens).item()


def _check_batch_perplexity(fn):
    labels = torch.tensor([[5, 7, 2, 9, 4, 1], [3, 8, -100, -100, -100, -100]])
    losses = torch.tensor([[1.0, 2.0, 3.0, 2.0, 1.0], [6.0, 0.0, 0.0, 0.0, 0.0]])
    value = fn(losses.clone(), labels.clone())
    if value is None:
        raise Mistake("the result is None. Is there a return?")
    value = torch.as_tensor(value)
    if value.numel() != 1:
        raise Mistake(f"The perplexity of a batch is one number; you return {value.numel()}.")
    value = float(value)
    right = math.exp(15 / 6)
    means = torch.tensor([9 / 5, 6.0])
    known = [
        (15 / 6, "This is the mean loss in nats. Perplexity is exp of it."),
        (2 ** (15 / 6), "The losses are in nats (natural logarithm), so the power is of e, not of 2."),
        (
            math.exp(15 / 10),
            "You divide by all 10 positions, padding too. Divide by the number of tokens that are counted.",
        ),
        (
            math.exp(15 / 8),
            "You divide by 8, the labels that are not -100. The first label of each row is "
            "predicted by nobody: count in labels[:, 1:].",
        ),
        (math.exp(15 / 7), "You divide by 7: count the labels that are not -100 in labels[:, 1:]."),
        (
            math.exp(float(means.mean())),
            "You take the mean of each row and then the mean of the rows: a "
            "token of a short row weighs more than one of a long row. Sum all "
            "losses and divide once by all tokens.",
        ),
        (
            float(means.exp().mean()),
            "You average the perplexities of the rows. Average the losses, over all "
            "tokens, and take exp once.",
        ),
        (
            float(losses[losses > 0].exp().mean()),
            "You average exp of the losses. Average the losses first, then take exp once.",
        ),
        (math.exp(15), "You did not divide by the number of tokens."),
        (
            math.exp(-15 / 6),
            "The sign is turned: losses are positive already, so perplexity is exp(+mean loss).",
        ),
    ]
    for number, message in known:
        if close(value, number, 1e-4) and not close(value, right, 1e-4):
            raise Mistake(message)
    if not close(value, right, 1e-4):
        raise Mistake(
            f"Six tokens with losses that sum to 15 have the perplexity {right:.3f}; you return {value:.3f}."
        )
    certain = fn(torch.zeros(1, 2), torch.tensor([[4, 4, -100]]))
    if not close(float(certain), 1.0, 1e-4):
        raise Mistake(
            "A token predicted with certainty has a loss of 0, and counts: the perplexity here is "
            "1. Count the labels that are not -100, not the losses above 0."
        )


def relative_change(before, after):
    """Norm of the change over norm of the weights, all tensors of the two lists taken as one vector."""
    change = sum((new - old).square().sum() for old, new in zip(before, after, strict=True))
    size = sum(old.square().sum() for old in before)
    return (change / size).sqrt().item()


def _check_relative_change(fn):
    generator = torch.Generator().manual_seed(2)
    before = [torch.randn(4, 3, generator=generator), torch.randn(3, generator=generator), torch.ones(2, 2)]
    after = [
        old + scale * torch.randn(old.shape, generator=generator)
        for old, scale in zip(before, (0.1, 0.5, 0.3), strict=True)
    ]
    kept = [tensor.clone() for tensor in before + after]
    value = fn(before, after)
    if value is None:
        raise Mistake("the result is None. Is there a return?")
    if not all(torch.equal(tensor, old) for tensor, old in zip(before + after, kept, strict=True)):
        raise Mistake(
            "Your function changes the weights that it is given (an operation in place). Make new tensors."
        )
    if isinstance(value, list | tuple) or torch.as_tensor(value).numel() != 1:
        raise Mistake("One number is asked for: take all tensors of a list together, as one long vector.")
    value = float(value)
    old, new = (torch.cat([tensor.flatten() for tensor in tensors]) for tensors in (before, after))
    right = float((new - old).norm() / old.norm())
    pairs = list(zip(before, after, strict=True))
    changes, sizes = [(b - a).norm() for a, b in pairs], [a.norm() for a, _ in pairs]
    known = [
        (right**2, "This is the square of the answer: the root is missing."),
        (
            (new.norm() - old.norm()) / old.norm(),
            "This is the change of the norm. Weights that turn and keep "
            "their length have moved too: take the norm of the change.",
        ),
        (
            (new.norm() - old.norm()).abs() / old.norm(),
            "This is the change of the norm. Weights that turn "
            "and keep their length have moved too: take the norm "
            "of the change.",
        ),
        (
            (new - old).norm() / new.norm(),
            "You divide by the norm of the new weights. Divide by that of the old.",
        ),
        ((new - old).norm(), "This is the norm of the change. Divide it by the norm of the weights before."),
        (
            sum(c / s for c, s in zip(changes, sizes, strict=True)) / 3,
            "You average the ratios of the tensors: a bias of 3 numbers counts as much as a matrix of 12. "
            "Sum the squares over all tensors first.",
        ),
        (
            sum(changes) / sum(sizes),
            "You add up norms. Norms of parts do not add, their squares do: sum the "
            "squares over all tensors, then take the root.",
        ),
        (((new - old) / old).norm(), "You divide element by element. Divide the norm by the norm."),
        (
            ((new - old) / old).abs().mean(),
            "You divide element by element, and small weights then dominate. Divide the norm by the norm.",
        ),
    ]
    for number, message in known:
        if close(value, float(number)):
            raise Mistake(message)
    if not close(value, right):
        raise Mistake(f"For the test's weights the answer is {right:.4f}; you return {value:.4f}.")


def gpt2_parameters(vocabulary, positions, width, layers):
    """Number of parameters of a GPT-2 of these sizes; the head shares the token embedding."""
    embeddings = vocabulary * width + positions * width
    norm = 2 * width
    attention = (width * 3 * width + 3 * width) + (width * width + width)
    mlp = (width * 4 * width + 4 * width) + (4 * width * width + width)
    return embeddings + layers * (norm + attention + norm + mlp) + norm


def _check_gpt2_parameters(fn):
    sizes = (1000, 64, 48, 3)
    vocabulary, positions, width, layers = sizes
    count = fn(*sizes)
    if count is None:
        raise Mistake("the result is None. Is there a return?")
    right = gpt2_parameters(*sizes)
    head, final = vocabulary * width, 2 * width
    known = {
        head: "Your count has the head's matrix beside the token embedding. They are one matrix (tied): "
        "count it once.",
        -head: "The token embedding is missing.",
        -positions * width: "The position embedding is missing: one vector for each position.",
        -final: "The last layer norm, after the blocks, is missing.",
        -layers * 2 * final: "The two layer norms of each block are missing: a scale and a shift for each "
        "feature.",
        -layers * 2 * final - final: "The layer norms are missing: a scale and a shift for each feature.",
        -layers * final: "Each block has two layer norms, before the attention and before the MLP.",
        -layers * 9 * width: "The biases of the four matrices of each block are missing: 3, 1, 4 and 1 times "
        "the width.",
        -layers * (9 * width + 4 * width) - final: "The biases and the layer norms are missing.",
        -layers * width * width: "In each block the attention's output projection is missing (width x "
        "width).",
        -layers * (width * width + width): "In each block the attention's output projection is missing.",
        -layers * 4 * width * width: "The MLP has two matrices, up to 4 times the width and back.",
    }
    if count == right:
        smaller = (7, 5, 4, 1)
        if fn(*smaller) != gpt2_parameters(*smaller):
            raise Mistake(f"Right for {sizes}, not for {smaller}: do you use all four sizes?")
        return
    if count - right in known:
        raise Mistake(known[count - right])
    raise Mistake(
        f"For vocabulary, positions, width, layers = {sizes} there are {right:,} parameters; you "
        f"count {count:,}."
    )


def _mean_of_rows(losses, labels):
    counts = (labels[:, 1:] != -100).sum(1)
    return (losses.sum(1) / counts).mean().exp()


EXERCISES = [
    Exercise(
        name="gpt2_parameters",
        lesson="01",
        minutes=10,
        difficulty=2,
        reference=gpt2_parameters,
        check=_check_gpt2_parameters,
        wrong=[
            (lambda v, p, d, n: gpt2_parameters(v, p, d, n) + v * d, "They are one matrix (tied)"),
            (lambda v, p, d, n: v * d + p * d + n * 12 * d * d, "biases and the layer norms are missing"),
            (lambda v, p, d, n: gpt2_parameters(v, p, d, n) - p * d, "position embedding is missing"),
            (lambda v, p, d, n: gpt2_parameters(v, p, d, n) - 2 * d, "last layer norm"),
            (lambda v, p, d, n: gpt2_parameters(v, p, d, n) - n * 9 * d, "biases of the four matrices"),
            (lambda v, p, d, n: v * d, "there are"),
        ],
        hints=(
            "Count the matrices and vectors of one block, multiply by the number of blocks, add what "
            "stands before and after the blocks. The head is the token embedding again and adds nothing.",
            "With width d: embeddings V d and P d; in a block two layer norms (2 d each), c_attn d x 3d "
            "with a bias of 3d, c_proj d x d with d, the MLP d x 4d with 4d and 4d x d with d; at the end "
            "a layer norm.",
        ),
    ),
    Exercise(
        name="shifted_loss",
        lesson="01",
        minutes=10,
        difficulty=2,
        reference=shifted_loss,
        check=_check_shifted_loss,
        wrong=[
            (lambda logits, labels: shifted_loss(logits[:, 1:], labels[:, :-1]), "two shifts"),
            (
                lambda logits, labels: F.cross_entropy(logits.transpose(1, 2), labels, reduction="none"),
                "all 6 positions",
            ),
            (
                lambda logits, labels: F.cross_entropy(logits.transpose(1, 2), labels, reduction="none")[
                    :, :-1
                ],
                "which it has just read",
            ),
            (
                lambda logits, labels: F.cross_entropy(
                    logits[:, 1:].transpose(1, 2), labels[:, :-1], reduction="none"
                ),
                "wrong way",
            ),
            (lambda logits, labels: -shifted_loss(logits, labels), "negative"),
            (
                lambda logits, labels: -logits[:, :-1].gather(-1, labels[:, 1:, None])[..., 0],
                "logits with a minus",
            ),
            (
                lambda logits, labels: (
                    -logits.log_softmax(-1)[:, :-1].gather(-1, labels[:, 1:, None])[..., 0]
                ),
                "-100 is no token id",
            ),
            (
                lambda logits, labels: (
                    -logits[:, :-1].log_softmax(-1).gather(-1, labels[:, 1:, None].clamp(min=0))[..., 0]
                ),
                "should be 0",
            ),
            (
                lambda logits, labels: (
                    -logits[:, :-1].softmax(-1).gather(-1, labels[:, 1:, None].clamp(min=0))[..., 0].log()
                ),
                "Use log_softmax",
            ),
            (lambda logits, labels: shifted_loss(logits, labels).mean(), "one number"),
            (
                lambda logits, labels: shifted_loss(logits, labels.clamp(min=0)).masked_fill(
                    labels[:, :-1] == -100, 0.0
                ),
                "the token just read",
            ),
        ],
        hints=(
            "Position t has read tokens 0 to t and predicts token t + 1. So the logits lose their last "
            "position and the labels their first; then minus the log-probability of the label is picked "
            "out.",
            "logits[:, :-1].log_softmax(-1) is [B, T - 1, V]; gather(-1, ids) wants ids [B, T - 1, 1] and "
            "gives [B, T - 1, 1]: unsqueeze before, squeeze after. -100 is no id: clamp it to 0, and put "
            "0 into the losses with masked_fill where the label is -100.",
        ),
    ),
    Exercise(
        name="batch_perplexity",
        lesson="01",
        minutes=5,
        difficulty=1,
        reference=batch_perplexity,
        check=_check_batch_perplexity,
        wrong=[
            (lambda losses, labels: losses.mean().exp().item(), "padding too"),
            (_mean_of_rows, "weighs more"),
            (lambda losses, labels: (losses.sum() / (labels != -100).sum()).exp(), "predicted by nobody"),
            (lambda losses, labels: losses.sum() / (labels[:, 1:] != -100).sum(), "exp of it"),
            (lambda losses, labels: 2 ** (losses.sum() / (labels[:, 1:] != -100).sum()), "not of 2"),
            (lambda losses, labels: losses[losses > 0].mean().exp(), "not the losses above 0"),
            (lambda losses, labels: losses.exp(), "one number"),
        ],
        hints=(
            "Perplexity is exp of the mean loss, and the mean is over tokens: every counted token weighs "
            "the same, whichever row it stands in.",
            "The sum of losses [B, T - 1] is right as it stands, because ignored tokens are 0. Divide it "
            "by the number of labels[:, 1:] that are not -100, then exp, then .item().",
        ),
    ),
    Exercise(
        name="relative_change",
        lesson="01",
        minutes=10,
        difficulty=2,
        reference=relative_change,
        check=_check_relative_change,
        wrong=[
            (lambda before, after: relative_change(before, after) ** 2, "root is missing"),
            (
                lambda before, after: (
                    sum(relative_change([a], [b]) for a, b in zip(before, after, strict=True)) / len(before)
                ),
                "average the ratios",
            ),
            (
                lambda before, after: (
                    sum((b - a).norm() for a, b in zip(before, after, strict=True))
                    / sum(a.norm() for a in before)
                ),
                "add up norms",
            ),
            (lambda before, after: relative_change(after, before), "norm of the new weights"),
            (
                lambda before, after: (
                    relative_change(before, after) * torch.cat([tensor.flatten() for tensor in before]).norm()
                ),
                "Divide it by the norm",
            ),
            (
                lambda before, after: [relative_change([a], [b]) for a, b in zip(before, after, strict=True)],
                "One number",
            ),
        ],
        hints=(
            "Think of all tensors of a list laid end to end as one vector. The norm of that vector is the "
            "root of the sum of all squares.",
            "Sum (new - old).square().sum() over the pairs, sum old.square().sum() over the old ones, "
            "divide, take the root, .item().",
        ),
    ),
]
