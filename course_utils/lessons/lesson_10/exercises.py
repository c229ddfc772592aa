"""Exercises of lesson 10: preferences and the reward model."""

import math

import torch
import torch.nn.functional as F

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.methods.reward import last_token


def best_accuracy(first, second, noise):
    """The accuracy on this annotator's labels that no judge exceeds; gold scores first, second [pairs]."""
    probability = torch.sigmoid((first - second) / noise)  # that the annotator prefers the first
    return torch.maximum(probability, 1 - probability).mean()


def _gold(pairs, noise, sign):
    """Gold scores and noise: a pair of each sign, a tie, then pairs whose difference has this sign."""
    second = torch.rand(pairs)
    first = second + sign * torch.rand(pairs) / 2
    first[:3], second[:3] = torch.tensor([0.7, 0.1, 0.5]), torch.tensor([0.2, 0.8, 0.5])
    return first, second, noise


def _certain(fault):
    """A wrong best_accuracy: fault(probabilities that the annotator prefers the first)."""
    return lambda first, second, noise: fault(torch.sigmoid((first - second) / noise))


def _scores_in_place(first, second, noise):
    first -= second
    return torch.sigmoid(first.abs() / noise).mean()


def _by_floats(first, second, noise):
    shares = [
        1 / (1 + math.exp(-abs(a - b) / noise)) for a, b in zip(first.tolist(), second.tolist(), strict=True)
    ]
    return sum(shares) / len(shares)


def _half_plus(first, second, noise):
    return (0.5 + (torch.sigmoid((first - second) / noise) - 0.5).abs()).mean().item()


BEST_MISTAKES = [
    (
        "This is how often the annotator prefers the first answer. The best judge takes the second one where "
        "the annotator prefers that more often.",
        _certain(lambda p: p.mean()),
    ),
    (
        "The maximum is taken after the mean. The best judge decides pair by pair.",
        _certain(lambda p: torch.maximum(p.mean(), 1 - p.mean())),
    ),
    (
        "This is the easiest pair. The accuracy is the mean over all pairs.",
        _certain(lambda p: torch.maximum(p, 1 - p).max()),
    ),
    (
        "This is the worst judge: it takes the answer that is preferred less often.",
        _certain(lambda p: torch.minimum(p, 1 - p).mean()),
    ),
    (
        "The difference is multiplied by the noise. More noise must bring the probability nearer to a half: "
        "divide.",
        lambda first, second, noise: best_accuracy(first, second, 1 / noise),
    ),
    (
        "The noise has no effect: divide the difference by it.",
        lambda first, second, noise: best_accuracy(first, second, 1.0),
    ),
    (
        "The best judge knows which answer is better, and is still wrong wherever the annotator errs.",
        lambda first, second, noise: torch.ones(()),
    ),
    ("One number for each pair: take the mean.", _certain(lambda p: torch.maximum(p, 1 - p))),
    (
        "This is the share of pairs whose first answer is better.",
        lambda first, second, noise: (first > second).float().mean(),
    ),
]


MASKS = [
    (torch.tensor([[1, 1, 1, 0, 0], [0, 0, 1, 1, 1], [1, 1, 1, 1, 1], [0, 1, 1, 1, 0]]),),
    (torch.tensor([[1, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 1], [0, 1, 0, 0, 0, 0, 0]]),),
    (torch.tensor([[1, 1, 0]]),),
]


def _mask_in_place(mask):
    right = last_token(mask)
    mask.mul_(torch.arange(mask.shape[1]))
    return right


def _from_behind(mask):
    return mask.shape[1] - 1 - mask.flip(1).argmax(1)


def _row_by_row(mask):
    return torch.stack([row.nonzero()[-1, 0] for row in mask]).int()


LAST_MISTAKES = [
    (
        "You count the real tokens. With padding on the left the last one stands further right.",
        lambda mask: mask.sum(1) - 1,
    ),
    (
        "You look for the first padding and go one back. Where there is none that gives -1, and where "
        "padding is on the left it stands before the text.",
        lambda mask: mask.argmin(1) - 1,
    ),
    (
        "That is the last column, which is padding where a row is padded on the right.",
        lambda mask: torch.full((len(mask),), mask.shape[1] - 1),
    ),
    (
        "That is the last column, which is padding where a row is padded on the right.",
        lambda mask: torch.full((len(mask),), -1),
    ),
    ("That is the first real token: argmax gives the first of equal values.", lambda mask: mask.argmax(1)),
    ("One too far: positions are counted from 0.", lambda mask: last_token(mask) + 1),
    (
        "These are places counted from the end of the row. Count from its beginning, from 0.",
        lambda mask: last_token(mask) - mask.shape[1],
    ),
    (
        "These are places counted from the end of the row. Count from its beginning, from 0.",
        lambda mask: mask.flip(1).argmax(1),
    ),
    ("Positions are whole numbers: they will be used as an index.", lambda mask: last_token(mask).float()),
    (
        "This is the largest position of the batch. Each row has a last token of its own.",
        lambda mask: last_token(mask).max().expand(len(mask)),
    ),
]


def pair_batch(chosen, rejected, pad_id):
    """Lists of token ids -> input_ids and attention_mask [2 * pairs, tokens], padded right, chosen first."""
    rows = [*chosen, *rejected]
    width = max(len(row) for row in rows)
    ids = torch.tensor([[*row, *[pad_id] * (width - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return ids, mask


# chosen, rejected and pad, which is the end of text too: at the end of rows, and in one of them elsewhere
PAIRS = [
    ([[5, 6, 7, 0], [8, 0]], [[5, 9, 0], [8, 0, 4, 2, 0]], 0),
    ([[1, 2, 9], [3, 0, 3, 4, 9, 7], [9]], [[1, 9], [6, 5, 9], [3, 4]], 9),
]


def _check_pair_batch(fn):
    PAIR_CHECK(_whole_mask(fn))


def _whole_mask(fn):
    """fn with a mask of whole numbers: True and False, or 1.0 and 0.0, serve the model as well."""

    def batch(chosen, rejected, pad_id):
        result = fn(chosen, rejected, pad_id)
        if isinstance(result, tuple | list) and len(result) == 2 and isinstance(result[1], torch.Tensor):
            return result[0], result[1].long()
        return result

    return batch


def _pairs(fault):
    """A wrong pair_batch: fault(input_ids, attention_mask, pad_id)."""
    return lambda chosen, rejected, pad_id: fault(*pair_batch(chosen, rejected, pad_id), pad_id)


def _reordered(order):
    """A wrong pair_batch: order(number of pairs) gives the rows."""

    def wrong(chosen, rejected, pad_id):
        return tuple(value[order(len(chosen))] for value in pair_batch(chosen, rejected, pad_id))

    return wrong


def _alternating(pairs):
    return [row for pair in range(pairs) for row in (pair, pairs + pair)]


def _rejected_first(pairs):
    return [*range(pairs, 2 * pairs), *range(pairs)]


def _left(chosen, rejected, pad_id):
    ids, mask = pair_batch([row[::-1] for row in chosen], [row[::-1] for row in rejected], pad_id)
    return ids.flip(1), mask.flip(1)


def _lengthened(chosen, rejected, pad_id):
    ids, mask = pair_batch(chosen, rejected, pad_id)
    for row in [*chosen, *rejected]:
        row.extend([pad_id] * (ids.shape[1] - len(row)))
    return ids, mask


def _filled(chosen, rejected, pad_id):
    rows = chosen + rejected
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.full((len(rows), int(lengths.max())), pad_id)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.tensor(row)
    return [ids, torch.arange(ids.shape[1]) < lengths[:, None]]


def _by_pad_sequence(chosen, rejected, pad_id):
    rows = [torch.tensor(row) for row in (*chosen, *rejected)]
    pad = torch.nn.utils.rnn.pad_sequence
    ids = pad(rows, batch_first=True, padding_value=pad_id)
    return ids, pad([torch.ones(len(row)) for row in rows], batch_first=True)


TWO_ROWS = (
    "Half of the rows are missing: chosen and rejected go into one batch, four rows for two pairs, so that "
    "one forward pass scores them all."
)
SHIFTED = "The mask is shifted by one: it is 1 over each row's own tokens, neither one less nor one more."
PAIR_MISTAKES = [
    (
        "The mask is made from the ids: pad is the end of text here, and the real end of every answer is "
        "masked too. The score would be read one token early. Mask by position.",
        _pairs(lambda ids, mask, pad: (ids, (ids != pad).long())),
    ),
    (
        "Chosen and rejected alternate. All chosen ones come first, then all rejected ones: the scores are "
        "cut in the middle.",
        _reordered(_alternating),
    ),
    ("The rejected answers come first: the loss would learn to prefer them.", _reordered(_rejected_first)),
    (TWO_ROWS, lambda chosen, rejected, pad: pair_batch(chosen, [], pad)),
    (TWO_ROWS, lambda chosen, rejected, pad: pair_batch([], rejected, pad)),
    (
        "The mask is turned round: 1 is a real token, 0 is padding.",
        _pairs(lambda ids, mask, pad: (ids, 1 - mask)),
    ),
    (
        "The mask is 1 everywhere: padding would be read as text.",
        _pairs(lambda ids, mask, pad: (ids, torch.ones_like(mask))),
    ),
    (SHIFTED, _pairs(lambda ids, mask, pad: (ids, F.pad(mask, (1, -1))))),
    (SHIFTED, _pairs(lambda ids, mask, pad: (ids, F.pad(mask, (1, -1), value=1)))),
    (SHIFTED, _pairs(lambda ids, mask, pad: (ids, F.pad(mask, (-1, 1))))),
    (SHIFTED, _pairs(lambda ids, mask, pad: (ids, mask.roll(1, 1)))),
    ("This is padded on the left; on the right is asked for.", _left),
    (
        "The lists that were given have changed: extend, append and += lengthen them, and the next batch "
        "begins with their padding. row + [pad_id] makes a new list.",
        _lengthened,
    ),
    ("pad_id is an argument: pad with it.", lambda chosen, rejected, pad: pair_batch(chosen, rejected, 0)),
    (
        "Swapped: the input_ids come first, then the attention_mask.",
        _pairs(lambda ids, mask, pad: (mask, ids)),
    ),
    ("Return two tensors: input_ids and attention_mask.", _pairs(lambda ids, mask, pad: ids)),
]
PAIR_CHECK = compare(
    pair_batch,
    PAIRS,
    PAIR_MISTAKES,
    else_="Rows: the chosen, then the rejected, each padded with pad_id up to the longest of all; the mask "
    "is 1 over each row's own tokens.",
)


def preference_loss(chosen, rejected):
    """Mean Bradley-Terry loss of scores chosen [pairs] and rejected [pairs]."""
    return -torch.nn.functional.logsigmoid(chosen - rejected).mean()


def _loss(fault):
    """A wrong preference_loss: fault(margins)."""
    return lambda chosen, rejected: fault(chosen - rejected)


def _loss_in_place(chosen, rejected):
    chosen -= rejected
    return -F.logsigmoid(chosen).mean()


def _by_cross_entropy(chosen, rejected):
    scores = torch.stack([chosen, rejected], 1)
    return F.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.long))


TURNED_ROUND = "The difference is turned round: this loss is small where the rejected answer scores higher."
OWN_SIGMOID = "Each score goes through a sigmoid of its own. Only the difference of the two is to."
NO_LOG = "The log is missing. Without it a pair that is badly wrong has hardly any gradient."
LARGE = (
    "Right, but not for a difference of -400: exp overflows there and sigmoid rounds to 0, so that the loss "
    "is infinite, or, with a small number added or a clamp, has no gradient. torch.nn.functional.logsigmoid "
    "computes both at once."
)
LOSS_MISTAKES = [
    (TURNED_ROUND, lambda chosen, rejected: preference_loss(rejected, chosen)),
    (
        "The sign is turned: the log of a probability is negative, and minimising this would make the chosen "
        "answer less and less likely.",
        lambda chosen, rejected: -preference_loss(chosen, rejected),
    ),
    (
        "This is the sum; the mean does not depend on the size of the batch.",
        _loss(lambda margin: -F.logsigmoid(margin).sum()),
    ),
    (NO_LOG, _loss(lambda margin: -torch.sigmoid(margin).mean())),
    (NO_LOG, _loss(lambda margin: 1 - torch.sigmoid(margin).mean())),
    ("One loss a pair: take the mean.", _loss(lambda margin: -F.logsigmoid(margin))),
    (
        "The mean is taken before the log: each pair has a loss of its own, and these are averaged.",
        _loss(lambda margin: -torch.log(torch.sigmoid(margin).mean())),
    ),
    (
        "The mean is taken of the differences: each pair has a loss of its own, and these are averaged.",
        _loss(lambda margin: -F.logsigmoid(margin.mean())),
    ),
    (OWN_SIGMOID, lambda chosen, rejected: -(F.logsigmoid(chosen) - F.logsigmoid(rejected)).mean()),
    (OWN_SIGMOID, lambda chosen, rejected: -(F.logsigmoid(chosen) + F.logsigmoid(-rejected)).mean()),
    (
        "This is the difference of the scores, without -log sigmoid around it.",
        _loss(lambda margin: -margin.mean()),
    ),
]


EXERCISES = [
    Exercise(
        name="best_accuracy",
        lesson="10",
        minutes=8,
        difficulty=2,
        reference=best_accuracy,
        check=compare(
            best_accuracy,
            lambda: [_gold(4, 0.2, 1), _gold(7, 0.5, -1), _gold(5, 2.5, 1)],
            BEST_MISTAKES,
            else_="For each pair take the larger of the two probabilities, then the mean.",
        ),
        wrong=[
            (lambda a, b, n: torch.sigmoid((a - b).abs() / n).mean() + 0.01, "larger of the two"),
            (_scores_in_place, "changes its argument first in place"),
            (lambda a, b, n: None, "Is there a return"),
        ],
        right=[_by_floats, _half_plus],
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
        check=compare(
            last_token,
            MASKS,
            LAST_MISTAKES,
            else_="The position of the rightmost 1 of each row, for padding on either side.",
        ),
        wrong=[
            (_mask_in_place, "changes its argument attention_mask in place"),
            (lambda mask: torch.zeros(len(mask), dtype=torch.long), "the rightmost 1"),
            (lambda mask: torch.tensor([2, 4, 4, 3]), "should have the shape"),
            (lambda mask: last_token(mask)[:, None], "should have the shape"),
            (lambda mask: last_token(mask).tolist(), "should be a tensor"),
        ],
        right=[_from_behind, _row_by_row, lambda mask: mask.cumsum(1).argmax(1)],
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
            *((wrong, message) for message, wrong in PAIR_MISTAKES),
            (lambda chosen, rejected, pad: None, "Is there a return"),
            (_pairs(lambda ids, mask, pad: (ids.float(), mask)), "should have the dtype"),
            (_pairs(lambda ids, mask, pad: (F.pad(ids, (0, 1)), F.pad(mask, (0, 1)))), "have the shape"),
            (_pairs(lambda ids, mask, pad: (ids, torch.zeros_like(mask))), "Rows: the chosen"),
            (_pairs(lambda ids, mask, pad: (ids.flip(0), mask.flip(0))), "Rows: the chosen"),
        ],
        right=[_filled, _by_pad_sequence],
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
        check=compare(
            preference_loss,
            lambda: [(torch.randn(3), torch.randn(3) - 0.5), (2 * torch.randn(5) - 1, torch.randn(5))],
            LOSS_MISTAKES,
            else_="It is the mean over pairs of -log sigmoid(chosen - rejected).",
            gradient=("chosen", "rejected"),
            extremes=[
                (LARGE, [(torch.tensor([-200.0, 1.0]), torch.tensor([200.0, 0.5]))]),
                (LARGE, [(torch.tensor([-20.0]), torch.tensor([15.0]))]),
            ],
        ),
        wrong=[
            (_loss(lambda margin: -torch.log(torch.sigmoid(margin)).mean()), "is infinite"),
            (_loss(lambda margin: torch.log1p(torch.exp(-margin)).mean()), "exp overflows"),
            (_loss(lambda margin: -torch.log(torch.sigmoid(margin) + 1e-12).mean()), "has no gradient"),
            (_loss(lambda margin: -margin.sigmoid().clamp(min=1e-8).log().mean()), "has no gradient"),
            (
                _loss(lambda margin: F.binary_cross_entropy(margin.sigmoid(), torch.ones_like(margin))),
                "has no gradient",
            ),
            (
                lambda chosen, rejected: preference_loss(chosen, rejected.detach()),
                "rejected gets no gradient",
            ),
            (lambda chosen, rejected: preference_loss(chosen, rejected).detach(), "has no graph"),
            (lambda chosen, rejected: preference_loss(chosen, rejected).item(), "has no graph"),
            (_loss_in_place, "changes its argument chosen in place"),
            (_loss(lambda margin: margin.square().mean()), "It is the mean over pairs"),
            (lambda chosen, rejected: None, "Is there a return"),
        ],
        right=[
            _by_cross_entropy,
            _loss(lambda margin: F.softplus(-margin).mean()),
            _loss(lambda margin: F.binary_cross_entropy_with_logits(margin, torch.ones_like(margin))),
        ],
        hints=(
            "The model says that the chosen answer wins with probability sigmoid(chosen - rejected). The "
            "loss of a probability of what did happen is minus its log.",
            "margin = chosen - rejected is [pairs]; minus torch.nn.functional.logsigmoid of it, then the "
            "mean, a single number.",
        ),
    ),
]
