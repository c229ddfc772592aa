"""Exercises of lesson 10: preferences and the reward model."""

import torch

from course_utils.checks.exercises import Exercise, Mistake, close, expect_tensor


def best_accuracy(first, second, noise):
    """The accuracy on this annotator's labels that no judge exceeds; gold scores first, second [pairs]."""
    probability = torch.sigmoid((first - second) / noise)  # that the annotator prefers the first
    return torch.maximum(probability, 1 - probability).mean()


def _check_best_accuracy(fn):
    first, second = torch.tensor([0.9, 0.2, 0.5, 0.4]), torch.tensor([0.7, 0.7, 0.5, 0.45])
    noise = 0.2
    p = torch.sigmoid((first - second) / noise)
    right = best_accuracy(first, second, noise)
    result = expect_tensor(fn(first, second, noise), ())
    if close(result, p.mean()):
        raise Mistake(
            "This is how often the annotator prefers the first answer. The best judge takes the "
            "second one where the annotator prefers that more often."
        )
    if close(result, torch.maximum(p.mean(), 1 - p.mean())):
        raise Mistake("The maximum is taken after the mean. The best judge decides pair by pair.")
    if close(result, torch.maximum(p, 1 - p).max()):
        raise Mistake("This is the easiest pair. The accuracy is the mean over all pairs.")
    if close(result, best_accuracy(first, second, 1 / noise)):
        raise Mistake(
            "The difference is multiplied by the noise. More noise must bring the probability "
            "nearer to a half: divide."
        )
    if close(result, best_accuracy(first, second, 1.0)):
        raise Mistake("The noise has no effect: divide the difference by it.")
    if close(result, torch.tensor(1.0)):
        raise Mistake(
            "The best judge knows which answer is better, and is still wrong wherever the annotator errs."
        )
    if not close(result, right):
        raise Mistake(
            f"For differences of 0.2, -0.5, 0 and -0.05 and noise 0.2 it should be {right:.3f}, "
            f"not {result:.3f}."
        )


def last_token(attention_mask):
    """Position of the last real token of each row, [batch]; attention_mask [batch, tokens]."""
    positions = torch.arange(attention_mask.shape[1], device=attention_mask.device)
    return (positions * attention_mask).argmax(1)


def _check_last_token(fn):
    mask = torch.tensor([[1, 1, 1, 0, 0], [0, 0, 1, 1, 1], [1, 1, 1, 1, 1], [0, 1, 1, 1, 0]])
    right = torch.tensor([2, 4, 4, 3])
    before = mask.clone()
    result = expect_tensor(fn(mask), (4,))
    if not torch.equal(mask, before):
        raise Mistake("The mask was changed in place; the model still needs it.")
    if result.is_floating_point():
        raise Mistake("Positions are whole numbers: they will be used as an index.")
    if torch.equal(result, mask.sum(1) - 1):
        raise Mistake(
            "You count the real tokens. With padding on the left the last one stands further "
            "right: row 2 ends at position 4, not 2."
        )
    if torch.equal(result, mask.argmin(1) - 1):
        raise Mistake(
            "You look for the first padding and go one back. There is none in row 3, which gives "
            "-1, and in row 2 it stands before the text."
        )
    if torch.equal(result, torch.full((4,), 4)):
        raise Mistake("That is the last column, which is padding where a row is padded on the right.")
    if torch.equal(result, mask.argmax(1)):
        raise Mistake("That is the first real token: argmax gives the first of equal values.")
    if torch.equal(result, right + 1):
        raise Mistake("One too far: positions are counted from 0.")
    if not torch.equal(result, right):
        raise Mistake(
            "For rows padded right, left, not at all and on both sides it should be "
            f"{right.tolist()}, not {result.tolist()}."
        )


def pair_batch(chosen, rejected, pad_id):
    """Lists of token ids -> input_ids and attention_mask [2 * pairs, tokens], padded right, chosen first."""
    rows = [*chosen, *rejected]
    width = max(len(row) for row in rows)
    ids = torch.tensor([[*row, *[pad_id] * (width - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return ids, mask


def _check_pair_batch(fn):
    pad = 0  # which is the end of text too
    chosen, rejected = [[5, 6, 7, 0], [8, 0]], [[5, 9, 0], [8, 3, 4, 2, 0]]
    ids, mask = pair_batch(chosen, rejected, pad)
    result = fn(chosen, rejected, pad)
    if result is None:
        raise Mistake("Nothing is returned.")
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise Mistake("Return two tensors: input_ids and attention_mask.")
    for name, value in zip(("input_ids", "attention_mask"), result, strict=True):
        if isinstance(value, torch.Tensor) and value.shape in ((2, 4), (2, 5)):
            raise Mistake(
                f"{name} has two rows: chosen and rejected go into one batch, four rows for two "
                "pairs, so that one forward pass scores them all."
            )
        expect_tensor(value, (4, 5), name)
    its_ids, its_mask = result
    if torch.equal(its_ids, ids[[0, 2, 1, 3]]):
        raise Mistake(
            "Chosen and rejected alternate. All chosen ones come first, then all rejected ones: "
            "the scores are cut in the middle."
        )
    if torch.equal(its_ids, ids[[2, 3, 0, 1]]):
        raise Mistake("The rejected answers come first: the loss would learn to prefer them.")
    if torch.equal(its_ids, torch.tensor([[pad] * (5 - len(row)) + row for row in chosen + rejected])):
        raise Mistake("This is padded on the left; on the right is asked for.")
    if torch.equal(its_ids, ids) and torch.equal(its_mask.long(), (ids != pad).long()):
        raise Mistake(
            "The mask is made from the ids: pad is the end of text here, and the real end of every "
            "answer is masked too. The score would be read one token early. Mask by position."
        )
    if torch.equal(its_mask.long(), 1 - mask):
        raise Mistake("The mask is turned round: 1 is a real token, 0 is padding.")
    if torch.equal(its_ids, ids) and bool((its_mask == 1).all()):
        raise Mistake("The mask is 1 everywhere: padding would be read as text.")
    if not torch.equal(its_ids, ids) or not torch.equal(its_mask.long(), mask):
        raise Mistake(
            "Rows: the chosen, then the rejected, each padded with pad_id up to the longest of "
            "all; the mask is 1 over each row's own tokens."
        )


def preference_loss(chosen, rejected):
    """Mean Bradley-Terry loss of scores chosen [pairs] and rejected [pairs]."""
    return -torch.nn.functional.logsigmoid(chosen - rejected).mean()


def _check_preference_loss(fn):
    chosen, rejected = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([0.5, 1.0, 0.5])
    margin = chosen - rejected
    log = torch.nn.functional.logsigmoid
    right = preference_loss(chosen, rejected)
    result = expect_tensor(fn(chosen, rejected))
    if result.shape == (3,):
        raise Mistake("One loss a pair: take the mean.")
    expect_tensor(result, ())
    if close(result, -log(-margin).mean()):
        raise Mistake(
            "The difference is turned round: this loss is small where the rejected answer scores higher."
        )
    if close(result, log(margin).mean()):
        raise Mistake(
            "The sign is turned: the log of a probability is negative, and minimising this would "
            "make the chosen answer less and less likely."
        )
    if close(result, -log(margin).sum()):
        raise Mistake("This is the sum; the mean does not depend on the size of the batch.")
    if close(result, -torch.sigmoid(margin).mean()) or close(result, 1 - torch.sigmoid(margin).mean()):
        raise Mistake("The log is missing. Without it a pair that is badly wrong has hardly any gradient.")
    if close(result, -log(chosen).mean() - log(-rejected).mean()) or close(
        result, -(log(chosen) - log(rejected)).mean()
    ):
        raise Mistake("Each score goes through a sigmoid of its own. Only the difference of the two is to.")
    if not close(result, right):
        raise Mistake(f"For differences of 1.5, -2 and 0 it should be {right:.4f}, not {result:.4f}.")
    extreme = fn(torch.tensor([-200.0]), torch.tensor([200.0]))
    if not bool(torch.isfinite(extreme).all()):
        raise Mistake(
            "Right, but for a difference of -400 it is infinite: sigmoid rounds to 0 and its log "
            "has no value. torch.nn.functional.logsigmoid computes both at once."
        )


EXERCISES = [
    Exercise(
        name="best_accuracy",
        lesson="10",
        minutes=8,
        difficulty=2,
        reference=best_accuracy,
        check=_check_best_accuracy,
        wrong=[
            (lambda a, b, n: torch.sigmoid((a - b) / n).mean(), "prefers the first answer"),
            (
                lambda a, b, n: torch.maximum(
                    torch.sigmoid((a - b) / n).mean(), 1 - torch.sigmoid((a - b) / n).mean()
                ),
                "pair by pair",
            ),
            (lambda a, b, n: torch.sigmoid((a - b).abs() / n).max(), "easiest pair"),
            (lambda a, b, n: torch.sigmoid((a - b).abs() * n).mean(), "multiplied by the noise"),
            (lambda a, b, n: torch.sigmoid((a - b).abs()).mean(), "has no effect"),
            (lambda a, b, n: torch.ones(()), "is still wrong"),
            (lambda a, b, n: torch.sigmoid((a - b).abs() / n).median(), "it should be"),
        ],
        hints=(
            "A judge who knows both gold scores says of each pair which answer is better. With what "
            "probability does the annotator say the same? That depends on how far the two are apart.",
            "probability = sigmoid((first - second) / noise), [pairs]. The judge is right with the "
            "larger of probability and 1 - probability; then the mean.",
        ),
    ),
    Exercise(
        name="last_token",
        lesson="10",
        minutes=8,
        difficulty=2,
        reference=last_token,
        check=_check_last_token,
        wrong=[
            (lambda mask: mask.sum(1) - 1, "count the real tokens"),
            (lambda mask: mask.argmin(1) - 1, "first padding"),
            (lambda mask: torch.full((len(mask),), mask.shape[1] - 1), "last column"),
            (lambda mask: mask.argmax(1), "first real token"),
            (lambda mask: last_token(mask) + 1, "One too far"),
            (lambda mask: last_token(mask).float(), "whole numbers"),
            (lambda mask: torch.zeros(len(mask), dtype=torch.long), "it should be"),
        ],
        hints=(
            "The rightmost 1 of each row. Numbers that grow to the right, kept where the mask is 1, are "
            "largest there.",
            "positions = torch.arange(tokens) is [tokens]; times attention_mask it is [batch, tokens], 0 "
            "at padding. Its argmax along dimension 1 is [batch].",
        ),
    ),
    Exercise(
        name="pair_batch",
        lesson="10",
        minutes=10,
        difficulty=2,
        reference=pair_batch,
        check=_check_pair_batch,
        wrong=[
            (
                lambda c, r, pad: (pair_batch(c, r, pad)[0], (pair_batch(c, r, pad)[0] != pad).long()),
                "Mask by position",
            ),
            (lambda c, r, pad: tuple(x[[0, 2, 1, 3]] for x in pair_batch(c, r, pad)), "alternate"),
            (
                lambda c, r, pad: tuple(x[[2, 3, 0, 1]] for x in pair_batch(c, r, pad)),
                "rejected answers come first",
            ),
            (lambda c, r, pad: pair_batch(c, [], pad), "two rows"),
            (lambda c, r, pad: (pair_batch(c, r, pad)[0], 1 - pair_batch(c, r, pad)[1]), "turned round"),
            (
                lambda c, r, pad: (pair_batch(c, r, pad)[0], torch.ones(4, 5, dtype=torch.long)),
                "1 everywhere",
            ),
            (
                lambda c, r, pad: (
                    torch.tensor([[pad] * (5 - len(x)) + x for x in c + r]),
                    pair_batch(c, r, pad)[1].flip(1),
                ),
                "padded on the left",
            ),
            (lambda c, r, pad: pair_batch(c, r, pad)[0], "Return two tensors"),
            (lambda c, r, pad: (pair_batch(c, r, 1)[0], pair_batch(c, r, 1)[1]), "padded with pad_id"),
        ],
        hints=(
            "First all chosen lists, then all rejected ones; the longest of them all gives the width. "
            "Whether a token is real is known from its row's length, not from its id.",
            "rows = [*chosen, *rejected]; width = max of their lengths. ids: row + [pad_id] * (width - "
            "len(row)); mask: [1] * len(row) + [0] * (width - len(row)); torch.tensor of each list of "
            "rows.",
        ),
    ),
    Exercise(
        name="preference_loss",
        lesson="10",
        minutes=8,
        difficulty=1,
        reference=preference_loss,
        check=_check_preference_loss,
        wrong=[
            (lambda c, r: preference_loss(r, c), "turned round"),
            (lambda c, r: -preference_loss(c, r), "sign is turned"),
            (lambda c, r: 3 * preference_loss(c, r), "This is the sum"),
            (lambda c, r: -torch.sigmoid(c - r).mean(), "log is missing"),
            (lambda c, r: -torch.nn.functional.logsigmoid(c - r), "take the mean"),
            (
                lambda c, r: -(torch.nn.functional.logsigmoid(c) - torch.nn.functional.logsigmoid(r)).mean(),
                "sigmoid of its own",
            ),
            (lambda c, r: -torch.log(torch.sigmoid(c - r)).mean(), "infinite"),
            (lambda c, r: (c - r).square().mean(), "it should be"),
        ],
        hints=(
            "The model says that the chosen answer wins with probability sigmoid(chosen - rejected). The "
            "loss of a probability of what did happen is minus its log.",
            "margin = chosen - rejected is [pairs]; minus torch.nn.functional.logsigmoid of it, then the "
            "mean, a single number.",
        ),
    ),
]
