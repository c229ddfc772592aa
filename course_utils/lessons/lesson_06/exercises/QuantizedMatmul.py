"""Lesson 06, QuantizedMatmul: the layer's backward pass."""

import weakref

import torch
import torch.nn.functional as F

from course_utils.checks.compare import Mistake, close, expect_tensor
from course_utils.checks.exercises import Exercise
from course_utils.memory import saved_bytes
from course_utils.methods.quantization import QuantizedMatmul


class _Layer:
    """Builds its weight [out, in] at every access, and tracks what becomes of it."""

    def __init__(self, n_in, n_out):
        self.values, self.made = torch.randn(n_out, n_in), []
        self.in_features, self.out_features = n_in, n_out

    @property
    def weight(self):
        W = self.values.clone()
        self.made.append(weakref.ref(W))
        return W

    @property
    def bias(self):
        raise Mistake("The function is x W^T alone; the layer around it adds the bias.")

    @property
    def asked(self):
        return len(self.made)

    def is_held(self):
        return any(W() is not None for W in self.made)


NEEDS_W = "The gradient of x is grad W, since y = x W^T."


def _check_matmul(cls):
    if not (isinstance(cls, type) and issubclass(cls, torch.autograd.Function)):
        raise Mistake("QuantizedMatmul should be a class that inherits from torch.autograd.Function.")
    for n_in, n_out, lead in ((5, 3, (4,)), (4, 4, (2, 3)), (6, 9, (1, 2, 2))):
        layer = _Layer(n_in, n_out)
        x = torch.randn(*lead, n_in, requires_grad=True)
        y = expect_tensor(cls.apply(x, layer), (*lead, n_out), "the output")
        _expect_output(y.detach(), x.detach(), layer.values)
        if y.grad_fn is None:
            raise Mistake("The output has no graph: call QuantizedMatmul.apply(x, layer).")
        if not layer.asked:
            raise Mistake("Ask the layer for its weight: layer.weight builds it from codes and scales.")
        grad = torch.randn(*lead, n_out)
        kept, W_size = _kept(cls, x, layer), layer.values.numel()
        if kept == layer.values.nbytes != x.nbytes:
            raise Mistake(KEEPS_W)
        if kept:
            raise Mistake(
                f"The forward pass keeps {kept} bytes for the backward pass. Neither x nor W is needed "
                "there: W is frozen, so it gets no gradient, and it can be built again, in any dtype."
            )
        on_ctx = [held for held in vars(y.grad_fn).values() if isinstance(held, torch.Tensor)]
        if any(held.numel() == W_size != x.numel() for held in on_ctx):
            raise Mistake(KEEPS_W)
        before = layer.asked
        of_x = _gradient(y, x, grad)
        _expect_gradient(of_x, grad, layer.values, lead)
        if layer.asked == before:
            raise Mistake(KEEPS_W)
    _expect_nothing_held(cls)
    _expect_low_precision(cls)
    _expect_small(cls)


def _gradient(y, x, grad):
    try:
        return torch.autograd.grad(y, x, grad, allow_unused=True)[0]
    except RuntimeError as error:
        if "number of gradients" in str(error):
            raise Mistake(
                "backward returns a gradient for each argument of forward: that of x, and None for the layer."
            ) from error
        if not any(word in str(error) for word in ("shape", "size")):
            raise
        raise Mistake(
            f"The shapes in backward do not fit ({str(error).splitlines()[0]}). {NEEDS_W} grad is [..., out] "
            "and stands on the left; W is [out, in]."
        ) from error


def _kept(cls, x, layer):
    return saved_bytes(lambda: cls.apply(x, layer))


KEEPS_W = (
    "The de-quantised W is kept from forward to backward, so all layers together keep the whole model in "
    "full precision. Keep the layer (ctx.layer = layer) and use its weight again in backward."
)


def _expect_output(y, x, W):
    if close(y, x @ W.T):
        return
    if W.shape[0] == W.shape[1] and close(y, x @ W):
        raise Mistake("forward multiplies by W. The weight is [out, in]: y = x W^T.")
    raise Mistake("The output should be x W^T, with W = layer.weight.")


def _expect_gradient(of_x, grad, W, lead):
    if of_x is None:
        raise Mistake(f"x gets no gradient: return it first. {NEEDS_W} The layers below need it to learn.")
    right = grad @ W
    expect_tensor(of_x, right.shape, "the gradient of x")
    if close(of_x, right):
        return
    if not of_x.any():
        raise Mistake(f"The gradient of x is zero: the layers below would not learn. {NEEDS_W}")
    if W.shape[0] == W.shape[1] and close(of_x, grad @ W.T):
        raise Mistake(f"The backward pass transposes W. {NEEDS_W} Other shapes would raise an error.")
    for message, wrong in (
        ("The sign of the gradient is wrong: the optimiser itself steps downhill.", -right),
        ("You return grad unchanged. Multiply it by W.", grad if grad.shape == right.shape else None),
        ("You divide the gradient by the number of rows. It is not a mean.", right / lead[0]),
        ("The gradient is twice too large.", 2 * right),
    ):
        if wrong is not None and close(of_x, wrong):
            raise Mistake(message)
    raise Mistake(f"The gradient of x is not right. {NEEDS_W}")


def _expect_low_precision(cls):
    """In bf16, the weight must be cast to the dtype of the other factor."""
    layer = _Layer(8, 6)
    x = torch.randn(3, 8).bfloat16().requires_grad_()
    try:
        y = cls.apply(x, layer)
        (of_x,) = torch.autograd.grad(y, x, torch.ones_like(y))
    except RuntimeError as error:
        raise Mistake(
            "With x in bfloat16 it stops: the weight is in fp32. Cast it to the dtype of the other factor, "
            "layer.weight.to(x.dtype)."
        ) from error
    if y.dtype != torch.bfloat16 or of_x.dtype != torch.bfloat16:
        raise Mistake("With x in bfloat16, the output and the gradient of x should be bfloat16, too.")


def _expect_nothing_held(cls):
    """Attributes of ctx or of the layer count as kept, too."""
    layer = _Layer(6, 5)
    x = 2 * torch.randn(3, 6, requires_grad=True)
    watched = weakref.ref(x)
    y = cls.apply(x, layer)
    del x
    if layer.is_held():
        raise Mistake(KEEPS_W)
    if watched() is not None:
        raise Mistake(
            "The forward pass keeps x. The backward pass does not need x: W is frozen, and the gradient of x "
            "depends only on W."
        )
    del y


def _expect_small(cls):
    """The weight is used at most once per pass."""
    layer, x = _Layer(6, 5), torch.randn(2, 6, requires_grad=True)
    cls.apply(x, layer).sum().backward()
    if layer.asked > 2:
        raise Mistake(
            f"The weight was de-quantised {layer.asked} times; once forward and once backward is enough."
        )


def _matmul(backward, forward=None):
    """A QuantizedMatmul with another backward(layer, grad), or another forward(ctx, x, layer)."""

    class Changed(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, layer):
            ctx.layer = layer
            return (forward or (lambda ctx, x, layer: x @ layer.weight.to(x.dtype).T))(ctx, x, layer)

        @staticmethod
        def backward(ctx, grad):
            return backward(ctx, grad)

    Changed.__name__ = "QuantizedMatmul"
    return Changed


def _right_backward(ctx, grad):
    return grad @ ctx.layer.weight.to(grad.dtype), None


def _keeps_w(ctx, x, layer):
    ctx.W = layer.weight.to(x.dtype)
    return x @ ctx.W.T


def _saves_w(ctx, x, layer):
    W = layer.weight.to(x.dtype)
    ctx.save_for_backward(W)
    return x @ W.T


def _saves_w_in_bf16(ctx, x, layer):
    W = layer.weight
    ctx.save_for_backward(W.bfloat16())
    return x @ W.to(x.dtype).T


def _keeps_w_in_bf16(ctx, x, layer):
    ctx.W = layer.weight.bfloat16()
    return x @ layer.weight.to(x.dtype).T


def _saves_x(ctx, x, layer):
    ctx.save_for_backward(x)
    return x @ layer.weight.to(x.dtype).T


def _x_on_ctx(ctx, x, layer):
    ctx.x = x
    return x @ layer.weight.to(x.dtype).T


def _w_on_the_layer(ctx, x, layer):
    layer.kept = layer.weight
    return x @ layer.kept.to(x.dtype).T


def _flat_einsum(ctx, grad):
    return torch.einsum("...o,oi->...i", grad, ctx.layer.weight.to(grad.dtype)), None


def _up_and_back(ctx, x, layer):
    return (x.float() @ layer.weight.T).to(x.dtype)


def _up_and_back_backward(ctx, grad):
    return (grad.float() @ ctx.layer.weight).to(grad.dtype), None


class _Plain:
    @staticmethod
    def apply(x, layer):
        return x @ layer.weight.T


MATMUL_WRONG = [
    (_matmul(lambda ctx, grad: (grad @ ctx.layer.weight.to(grad.dtype).T, None)), "stands on the left"),
    (_matmul(lambda ctx, grad: (ctx.layer.weight.to(grad.dtype).T @ grad, None)), "stands on the left"),
    (_matmul(lambda ctx, grad: (ctx.layer.weight.to(grad.dtype) @ grad, None)), "stands on the left"),
    (_matmul(lambda ctx, grad: (-grad @ ctx.layer.weight.to(grad.dtype), None)), "sign of the gradient"),
    (
        _matmul(lambda ctx, grad: (0 * (grad @ ctx.layer.weight.to(grad.dtype)), None)),
        "gradient of x is zero",
    ),
    (_matmul(lambda ctx, grad: (None, None)), "x gets no gradient"),
    (_matmul(lambda ctx, grad: (2 * grad @ ctx.layer.weight.to(grad.dtype), None)), "twice too large"),
    (_matmul(lambda ctx, grad: (grad @ ctx.W, None), _keeps_w), "kept from forward to backward"),
    (
        _matmul(lambda ctx, grad: (grad @ ctx.saved_tensors[0], None), _saves_w),
        "kept from forward to backward",
    ),
    (
        _matmul(lambda ctx, grad: (grad @ ctx.saved_tensors[0].to(grad.dtype), None), _saves_w_in_bf16),
        "it can be built again, in any dtype",
    ),
    (
        _matmul(lambda ctx, grad: (grad @ ctx.W.to(grad.dtype), None), _keeps_w_in_bf16),
        "kept from forward to backward",
    ),
    (_matmul(_right_backward, _saves_x), "bytes for the backward pass"),
    (_matmul(_right_backward, _x_on_ctx), "The forward pass keeps x"),
    (_matmul(_right_backward, _w_on_the_layer), "kept from forward to backward"),
    (_matmul(lambda ctx, grad: (grad @ ctx.layer.weight, None)), "With x in bfloat16"),
    (_matmul(lambda ctx, grad: grad @ ctx.layer.weight.to(grad.dtype)), "and None for the layer"),
    (
        _matmul(_right_backward, lambda ctx, x, layer: F.linear(x, layer.weight.to(x.dtype), layer.bias)),
        "adds the bias",
    ),
    (_matmul(_right_backward, lambda ctx, x, layer: x @ layer.weight.to(x.dtype)), "Your code stopped"),
    (_matmul(_right_backward, lambda ctx, x, layer: 2 * x @ layer.weight.to(x.dtype).T), "should be x W^T"),
    (
        _matmul(lambda ctx, grad: (grad @ (ctx.layer.weight + 0 * ctx.layer.weight).to(grad.dtype), None)),
        "de-quantised 3 times",
    ),
    (_Plain, "inherits from torch.autograd.Function"),
]

EXERCISE = Exercise(
    name="QuantizedMatmul",
    lesson="06",
    minutes=12,
    difficulty=3,
    reference=QuantizedMatmul,
    check=_check_matmul,
    wrong=MATMUL_WRONG,
    right=[
        _matmul(_flat_einsum),
        _matmul(_up_and_back_backward, _up_and_back),
        _matmul(lambda ctx, grad: (F.linear(grad, ctx.layer.weight.to(grad.dtype).T), None)),
    ],
    hints=(
        "y = x W^T, so a change of x by d changes the loss by the sum of grad * (d W^T): the gradient of "
        "x is grad W. What can be computed again need not be kept.",
        "forward: ctx.layer = layer; return x @ layer.weight.to(x.dtype).T. backward returns a gradient "
        "for each argument of forward: grad @ ctx.layer.weight.to(grad.dtype), and None for the layer.",
    ),
    then="The 4-bit model below trains through your class. Run the cells below again.",
)
