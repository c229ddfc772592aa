"""Lesson 04, sketch_transpose: the way back."""

import torch

from course_utils.checks.compare import Mistake, compare
from course_utils.checks.exercises import Exercise
from course_utils.checks.largest import Largest


def sketch_transpose(grad, coordinate, sign, dimension):
    """Gradient of z [d] from that of the weights [D]: every weight's, signed, added to its coordinate."""
    return grad.new_zeros(dimension).index_add_(0, coordinate, grad * sign)


def _sketches():
    """Gradient, coordinates, signs and dimension; some coordinates have no weight."""
    fixed = (
        torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0]),
        torch.tensor([0, 2, 0, 2, 2]),
        torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0]),
        4,
    )
    coordinate = torch.tensor([5, 1, 1, 3, 5, 5, 3, 1, 5])
    scaled = 0.6 * (torch.randint(0, 2, (9,)) * 2.0 - 1)
    scaled[0], scaled[1] = 0.6, -0.6
    return [fixed, (torch.randn(9), coordinate, scaled, 6)]


def _long_sketch():
    return torch.randn(300), torch.randint(40, (300,)), torch.randint(0, 2, (300,)) * 2.0 - 1, 40


def _dense(grad, coordinate, sign, dimension):
    P = torch.zeros(len(grad), dimension)
    P[torch.arange(len(grad)), coordinate] = sign
    return P.T @ grad


def _one_hot(grad, coordinate, sign, dimension):
    return (grad * sign) @ torch.nn.functional.one_hot(coordinate, dimension).to(grad)


def _last_wins(grad, coordinate, sign, dimension):
    result = grad.new_zeros(dimension)
    result[coordinate] += grad * sign
    return result


def _mean_of_each(grad, coordinate, sign, dimension):
    return grad.new_zeros(dimension).scatter_reduce_(0, coordinate, grad * sign, "mean", include_self=False)


def _signs_alone(grad, coordinate, sign, dimension):
    return sketch_transpose(grad, coordinate, sign.sign(), dimension)


def _gradient_in_place(grad, coordinate, sign, dimension):
    grad *= sign
    return grad.new_zeros(dimension).index_add_(0, coordinate, grad)


def _by_bincount(grad, coordinate, sign, dimension):
    return torch.bincount(coordinate, weights=grad * sign, minlength=dimension)


def _weight_by_weight(grad, coordinate, sign, dimension):
    result = torch.zeros(dimension)
    for n in range(len(grad)):
        result[coordinate[n]] += sign[n] * grad[n]
    return result


def _by_autograd(grad, coordinate, sign, dimension):
    z = torch.zeros(dimension, requires_grad=True)
    return torch.autograd.grad((z[coordinate] * sign * grad).sum(), z)[0]


ONE_A_WEIGHT = (
    "You return one value per weight, [D]. The gradient of z has one per coordinate, [d]: add up the "
    "gradients of the weights that follow it."
)
SKETCH_MISTAKES = [
    (
        "Only the last weight of each coordinate has an effect. Indexing with = or += writes every "
        "coordinate once, even if it occurs several times; index_add_ adds them all.",
        _last_wins,
    ),
    (
        "The signs are missing: a weight that moves against its coordinate must push it the other way.",
        lambda g, c, s, d: g.new_zeros(d).index_add_(0, c, g),
    ),
    (
        "You use only the sign of `sign`. It is a factor, and in a scaled sketch its size is not 1: grad * "
        "sign.",
        _signs_alone,
    ),
    ("This is the mean over the weights of a coordinate. The transpose of a sum is a sum.", _mean_of_each),
    (
        "The direction is reversed: this is minus the gradient. The optimiser itself goes downhill.",
        lambda g, c, s, d: -sketch_transpose(g, c, s, d),
    ),
    (ONE_A_WEIGHT, lambda g, c, s, d: g[c] * s),
    (ONE_A_WEIGHT, lambda g, c, s, d: g * s),
    (
        "A coordinate that no weight follows is missing. Start from a vector of `dimension` zeros.",
        lambda g, c, s, d: torch.bincount(c, weights=g * s),
    ),
]
SKETCH = compare(
    sketch_transpose,
    _sketches,
    SKETCH_MISTAKES,
    else_="Entry k is the sum of grad * sign over the weights whose coordinate is k.",
)


def _check_sketch_transpose(fn):
    SKETCH(fn)
    grad, coordinate, sign, dimension = _long_sketch()
    with Largest() as largest:
        fn(grad, coordinate, sign, dimension)
    if largest.values >= len(grad) * dimension:
        raise Mistake(
            "The values are right, but you create a matrix as large as P, [D, d]. With millions of weights "
            "it would not fit into any memory. Add each weight's gradient to its coordinate: index_add_."
        )


EXERCISE = Exercise(
    name="sketch_transpose",
    lesson="04m",
    minutes=10,
    difficulty=2,
    reference=sketch_transpose,
    check=_check_sketch_transpose,
    wrong=[
        *((wrong, message) for message, wrong in SKETCH_MISTAKES),
        (_dense, "as large as P"),
        (_one_hot, "as large as P"),
        (_gradient_in_place, "changes its argument grad in place"),
        (lambda g, c, s, d: g.new_zeros(d), "Entry k is the sum"),
        (lambda g, c, s, d: sketch_transpose(g, c, s, 4), "stopped"),
    ],
    right=[_by_bincount, _weight_by_weight, _by_autograd],
    hints=(
        "Weight number n moves by sign[n] * z[coordinate[n]]. If z[k] changes a little, every weight that "
        "follows k moves by that times its sign: by the chain rule, their signed gradients add up.",
        "grad, coordinate and sign are [D], the result is [dimension]. Start with zeros and add grad * sign "
        "at the indices in coordinate, which can repeat: index_add_(0, coordinate, ...).",
    ),
)
