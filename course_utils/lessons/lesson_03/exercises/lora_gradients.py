"""Lesson 03, lora_gradients: both gradients."""

import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise


def lora_gradients(x, grad, A, B, scale):
    """Gradients of A [r, in] and B [out, r] for y = W x + scale * B A x; x [n, in], grad of y [n, out]."""
    low = x @ A.T  # (n, r)
    grad_low = grad @ B  # (n, r)
    return scale * grad_low.T @ x, scale * grad.T @ low


def _layer(n, n_in, n_out, rank, scale):
    shapes = (n, n_in), (n, n_out), (rank, n_in), (n_out, rank)
    return *(torch.randn(shape) for shape in shapes), scale


def _layers():
    """Three layers; in the second everything is square, so that no shape tells a transpose."""
    return [_layer(6, 5, 4, 2, 3.0), _layer(3, 3, 3, 3, 0.5), _layer(4, 2, 7, 1, -1.5)]


def _untrained():
    x, grad, A, B, scale = _layer(3, 4, 2, 2, 2.0)
    return [(x, grad, A, torch.zeros_like(B), scale)]


def _gradients(fault):
    """A wrong lora_gradients: fault(right gradients and what they are made of)."""

    def wrong(x, grad, A, B, scale):
        return fault(*lora_gradients(x, grad, A, B, scale), x, grad, A, B, scale)

    return wrong


def _gradients_in_place(x, grad, A, B, scale):
    grad *= scale
    return lora_gradients(x, grad, A, B, 1.0)


def _over_the_norm_of_B(x, grad, A, B, scale):
    of_A, of_B = lora_gradients(x, grad, A, B, scale)
    return of_A / B.norm() * B.norm(), of_B


def _by_einsum_of_both(x, grad, A, B, scale):
    of_A = scale * torch.einsum("no,or,ni->ri", grad, B, x)
    return [of_A, scale * torch.einsum("no,ni,ri->or", grad, x, A)]


def _by_autograd(x, grad, A, B, scale):
    A, B = A.detach().clone().requires_grad_(), B.detach().clone().requires_grad_()
    with torch.enable_grad():
        change = scale * (x @ A.T) @ B.T
    return torch.autograd.grad(change, (A, B), grad_outputs=grad)


def _from_the_gradient_of_W(x, grad, A, B, scale):
    of_W = scale * grad.mT @ x
    return B.mT @ of_W, of_W @ A.mT


BOTH_SCALES = "The scale is missing in the gradient of A and in that of B: y depends on both through it."
ADD_UP = (
    "divided by the number of rows. The rows' parts add up: a mean, if there is one, is in `grad` already."
)
LORA_GRADIENT_MISTAKES = [
    (BOTH_SCALES, _gradients(lambda of_A, of_B, x, grad, A, B, scale: (of_A / scale, of_B / scale))),
    (
        "The scale is missing in the gradient of A.",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (of_A / scale, of_B)),
    ),
    (
        "The scale is missing in the gradient of B.",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (of_A, of_B / scale)),
    ),
    (
        "The scale is in both gradients twice.",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (scale * of_A, scale * of_B)),
    ),
    (
        "The scale is in the gradient of A twice.",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (scale * of_A, of_B)),
    ),
    (
        "The scale is in the gradient of B twice.",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (of_A, scale * of_B)),
    ),
    (
        "A and B are swapped: the gradient of A comes first.",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (of_B, of_A)),
    ),
    (
        "Both are transposed. A gradient has the shape of its parameter: [r, in] and [out, r].",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (of_A.T, of_B.T)),
    ),
    (
        "The gradient of A is transposed. A gradient has the shape of its parameter: [r, in].",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (of_A.T, of_B)),
    ),
    (
        "The gradient of B is transposed. A gradient has the shape of its parameter: [out, r].",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (of_A, of_B.T)),
    ),
    (
        f"Both gradients are {ADD_UP}",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (of_A / len(x), of_B / len(x))),
    ),
    (
        f"The gradient of A is {ADD_UP}",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (of_A / len(x), of_B)),
    ),
    (
        f"The gradient of B is {ADD_UP}",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (of_A, of_B / len(x))),
    ),
    (
        "Both have the wrong sign. The optimiser goes against the gradient by itself.",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (-of_A, -of_B)),
    ),
    (
        "The first is the gradient of W. A stands before B: its gradient comes back through B, grad B.",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (scale * grad.T @ x, of_B)),
    ),
    (
        "The second is the gradient of W. What goes into B is not x but low = x A^T.",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (of_A, scale * grad.T @ x)),
    ),
    (
        "Return two tensors: the gradient of A and the gradient of B.",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: of_A),
    ),
    (
        "Return two tensors: the gradient of A and the gradient of B.",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: of_B),
    ),
]

EXERCISE = Exercise(
    name="lora_gradients",
    lesson="03m",
    minutes=12,
    difficulty=3,
    reference=lora_gradients,
    check=compare(
        lora_gradients,
        _layers,
        LORA_GRADIENT_MISTAKES,
        else_="With low = x A^T, the output's change is scale * low B^T: the gradient of B needs low, "
        "that of A needs grad B.",
        extremes=[("With B = 0 the gradient of A should be 0: it reaches A only through B.", _untrained)],
    ),
    wrong=[
        (_gradients(lambda of_A, of_B, x, grad, A, B, scale: (of_A, of_B + 1)), "of B needs low"),
        (_gradients(lambda of_A, of_B, x, grad, A, B, scale: (0 * of_A, 0 * of_B)), "of A needs grad B"),
        (_over_the_norm_of_B, "only through B"),
        (_gradients_in_place, "changes its argument grad in place"),
        (lambda x, grad, A, B, scale: (scale * x.T @ grad @ A, scale * grad.T @ x), "Your code stopped"),
        (lambda x, grad, A, B, scale: None, "Is there a return?"),
    ],
    right=[_by_einsum_of_both, _by_autograd, _from_the_gradient_of_W],
    hints=(
        "Go through the layer in two steps, low = x A^T and change = scale * low B^T. Each is a "
        "matrix product, and for y = x M^T the gradients are grad^T x for M and grad M for x. W is "
        "not needed: it is frozen.",
        "low = x @ A.T is [n, r]. Gradient of B: scale * grad.T @ low, [out, r]. Back through B: "
        "grad @ B is [n, r]; gradient of A: scale * (grad @ B).T @ x, [r, in].",
    ),
    then="The next cell puts your gradients of the layer above beside those of autograd: run it again.",
)
