"""The comparison of a learner's function with the course's solution."""

import numpy as np
import pytest
import torch
from torch import nn

from course_utils.checks import Mistake, call, close, compare, expect_gradients, unchanged
from course_utils.checks.compare import first_difference, two_numbers, wrong_kind
from course_utils.checks.exercises import Exercise, find_fault


def scaled(x, factor=2.0):
    return x * factor


INPUTS = [(torch.tensor([0.0, 1.0, -2.0]),), call(torch.tensor([[3.0], [0.5]]), factor=0.5)]
MISTAKES = [
    ("This adds.", lambda x, factor=2.0: x + factor),
    ("factor is ignored.", lambda x, factor=2.0: 2 * x),
    ("The sign is lost.", lambda x, factor=2.0: (x * factor).abs()),
]


def told(fn, reference=scaled, inputs=INPUTS, mistakes=MISTAKES, **settings):
    """The message that fn gets; None if it passes."""
    exercise = Exercise(
        "scaled", "00", 3, 1, reference, compare(reference, inputs, mistakes, **settings), ("", "")
    )
    fault = find_fault(exercise, fn)
    return fault and fault[0]


@pytest.mark.parametrize("message, wrong", MISTAKES)
def test_a_mistake_gets_its_message(message, wrong):
    assert told(wrong).splitlines()[0] == message


def test_a_mistake_is_shown_on_a_small_input():
    assert told(MISTAKES[0][1]).splitlines()[1:] == [
        "Given: x = [0, 1, -2]. Expected: [0, 2, -4]. Came: [2, 3, 0]."
    ]
    assert told(MISTAKES[1][1]).splitlines()[1:] == [
        "Given: x = [[3], [0.5]], factor = 0.5. Expected: [[1.5], [0.25]]. Came: [[6], [1]]."
    ], "of the first input where it shows"
    long = [(torch.arange(13.0),), (torch.arange(14.0),)]
    assert told(MISTAKES[0][1], inputs=long) == "This adds."


def test_an_example_with_small_results_is_preferred():
    call = compare(lambda n: [0] * n, [(90,), (2,)], mistakes=[("One too many.", lambda n: [0] * (n + 1))])
    with pytest.raises(Mistake, match=r"too many.\nGiven: n = 2. Expected: \[0, 0\]. Came: \[0, 0, 0\]."):
        call(lambda n: [0] * (n + 1))


def test_a_function_that_was_given_is_named():
    def doubled(x):
        return 2 * x

    call = compare(lambda x, rule: rule(x), [(1, doubled)], mistakes=[("Call the rule.", lambda x, rule: x)])
    with pytest.raises(Mistake, match=r"Given: x = 1, rule = doubled. Expected: 2. Came: 1."):
        call(lambda x, rule: x)


def test_what_came_is_shown_with_the_digits_that_tell_it_from_what_was_expected():
    near = told(lambda x, factor=2.0: x * factor + 1e-4, inputs=[(1.0,), (torch.ones(2),)], mistakes=[])
    assert near == "The result should be 2, and is 2.0001.\nGiven: x = 1."
    near = told(lambda x, factor=2.0: x * factor + 1e-4, inputs=[(torch.ones(2),), (1.0,)], mistakes=[])
    assert near.endswith("\nGiven: x = [1, 1]. Expected: [2, 2]. Came: [2.0001, 2.0001].")


def test_mistakes_are_the_wrong_answers():
    by_hand = (lambda x: None, "Is there a return")
    exercise = Exercise("scaled", "00", 3, 1, scaled, compare(scaled, INPUTS, MISTAKES), ("", ""), [by_hand])
    assert [part for _, part in exercise.wrong] == [
        *(message for message, _ in MISTAKES),
        "Is there a return",
    ]


def test_agreeing_with_a_mistake_by_accident_on_one_input_is_not_named():
    one_input_only = told(lambda x, factor=2.0: x + factor if x.ndim == 1 else x)
    assert "should be" in one_input_only and "adds" not in one_input_only


def test_fall_back_quotes_the_first_difference_and_the_input():
    assert told(lambda x, factor=2.0: x * factor + (x == -2), else_="Multiply.") == (
        "Multiply. The result[2] should be -4, and is -3."
        "\nGiven: x = [0, 1, -2]. Expected: [0, 2, -4]. Came: [0, 2, -3]."
    )


def test_two_numbers_are_never_shown_alike():
    assert two_numbers(0.16, 0.16 + 1e-9) == ("0.16", "0.160000001")
    for close_by in (1e-3, 1e-5, 1e-12):
        assert len(set(two_numbers(-5.114, -5.114 - close_by))) == 2


@pytest.mark.parametrize(
    "value, expected, shown",
    [
        (False, True, "The result should be True, and is False."),
        (np.bool_(True), torch.tensor(False), "The result should be False, and is True."),
        (0, True, "The result should be True, and is 0."),
        (
            torch.tensor([True, True]),
            torch.tensor([True, False]),
            "The result[1] should be False, and is True.",
        ),
        ([True, 2], (False, 2), "The result[0] should be False, and is True."),
        (1, 2, "The result should be 2, and is 1."),
    ],
)
def test_booleans_are_shown_as_words(value, expected, shown):
    text = first_difference(value, expected)
    assert text == shown


def test_a_boolean_that_came_is_shown_as_a_word():
    def positive(x):
        return bool((x > 0).all())

    inputs = [(torch.tensor([1.0, 2.0]),), (torch.tensor([1.0, -2.0, 3.0]),)]
    message = told(lambda x: True, positive, inputs, [("Some.", lambda x: bool((x > 0).any()))])
    assert message == "Some.\nGiven: x = [1, -2, 3]. Expected: False. Came: True."
    message = told(lambda x: False, positive, inputs, [])
    assert message == "The result should be True, and is False.\nGiven: x = [1, 2]."


@pytest.mark.parametrize(
    "fn, part",
    [
        (lambda x, factor=2.0: None, "Is there a return"),
        (lambda x, factor=2.0: (x * factor).sum(), "should have the shape [3], and has []"),
        (lambda x, factor=2.0: (x * factor).tolist(), "should be a tensor, and is of type list"),
        (lambda x, factor=2.0: (x * factor).to(torch.complex64), "should be real, and is complex"),
        (lambda x, factor=2.0: x * factor / (x != 0), "The result[0] should be 0, and is nan"),
        (lambda x, factor=2.0: x.mul_(factor), "changes its argument x in place"),
        (lambda x: x * 2, "should take the arguments (x, factor=2.0), and yours takes (x)"),
        (lambda x, factor=2.0: x @ torch.ones(99), "stopped in line"),
    ],
)
def test_the_first_test_that_fails_is_named(fn, part):
    assert part in told(fn)


@pytest.mark.parametrize(
    "value, expected, same",
    [
        (np.float32(0.16), torch.tensor(0.16), True),
        (0.16, torch.tensor(0.16), True),
        (torch.tensor(3), 3.0, True),
        ((1.0, 2), [torch.tensor(1.0), np.int64(2)], True),
        ({"a": [0.5]}, {"a": (0.5,)}, True),
        (torch.tensor([float("nan"), 1.0]), torch.tensor([float("nan"), 1.0]), True),
        (torch.tensor([1.0, 2.0]), torch.tensor([float("nan"), 2.0]), False),
        (float("inf"), -float("inf"), False),
        (1e-4, 1.01e-4, False),
        (124439809, 124439808, False),
        (124439809.0, 124439808, False),
        (torch.tensor(124439816.0), 124439808, True),  # the next float32
        (0.5, 0, False),
        (torch.tensor([1, 2]), torch.tensor([1.0, 2.0]), True),
        (torch.tensor([1.0, 2.0]), torch.tensor([1, 2]), False),
        (torch.tensor([1, 0]), torch.tensor([True, False]), False),
        (1 + 0j, 1.0, False),
        ([1, 2], [1, 2, 3], False),
        ({"a": 1}, {"b": 1}, False),
        ("yes", "no", False),
        (torch.ones(1), torch.tensor(1.0), False),
    ],
)
def test_what_is_taken_for_the_same(value, expected, same):
    text = wrong_kind(value, expected) or first_difference(value, expected)
    assert (text is None) == same


def test_a_float32_answer_in_another_order_is_right():
    numbers = 100 * torch.rand(10_000, generator=torch.Generator().manual_seed(0))
    assert close(numbers.sum(), numbers.double().sum())
    assert close(numbers.flip(0).cumsum(0)[-1].item(), numbers.sum())
    assert not close(numbers.sum(), numbers.sum() + 100)


def loss(x, y):
    return (x - y.detach()).square()


@pytest.mark.parametrize(
    "fn, part",
    [
        (lambda x, y: (x - y).square().detach(), "no graph"),
        (lambda x, y: (x.detach() - y).square(), "x gets no gradient"),
        (lambda x, y: (x - y).square(), "y should get no gradient"),
        (
            lambda x, y: (x - x.detach()) + (x - y.detach()).square().detach(),
            "The gradient of x[1] should be -4, and is 2",
        ),
    ],
)
def test_gradients_are_compared(fn, part):
    inputs = [(torch.tensor([1.0, 2.0]), torch.tensor([0.5, 3.0])), (torch.ones(3), torch.zeros(3))]
    assert part in told(fn, loss, inputs, [], gradient=("x", "y"))
    assert told(lambda x, y: (y.detach() - x) ** 2, loss, inputs, [], gradient=("x", "y")) is None


def test_extremes_come_last_with_their_own_message():
    def log_sum(x):
        return x.logsumexp(0)

    def naive(x):
        return x.exp().sum().log()

    inputs, far = [(torch.randn(3),), (torch.randn(5),)], [(torch.tensor([200.0, 1.0]),)]
    message = told(naive, log_sum, inputs, [], else_="Sum.", extremes=[("exp overflows.", far)])
    assert message == "exp overflows. The result should be 200, and is inf.\nGiven: x = [200, 1]."
    assert told(lambda x: x.sum(), log_sum, inputs, [], else_="Sum.", extremes=[("far", far)]).startswith(
        "Sum."
    )


def test_helpers_for_models():
    layer, base = nn.Linear(2, 2), nn.Linear(2, 2)
    x = torch.ones(1, 2)
    expect_gradients(layer(x) + base(x).detach(), {"layer": layer.weight}, {"base": base.weight})
    with pytest.raises(Mistake, match="base should stay as it is"):
        expect_gradients(layer(x) + base(x), {"layer": layer.weight}, {"base": base.weight})
    with pytest.raises(Mistake, match="layer gets no gradient"):
        expect_gradients(base(x), {"layer": layer.weight})
    with pytest.raises(Mistake, match="no graph"):
        expect_gradients(base(x).detach(), {"base": base.weight})
    with unchanged(base=base, x=x):
        base(x)
    with pytest.raises(Mistake, match="base was changed"), unchanged(base=base), torch.no_grad():
        base.weight += 1


def test_nan_is_told_before_a_wrong_value():
    found = told(lambda x, factor=2.0: torch.where(x == -2, torch.nan, x + 7))
    assert found.startswith("The result[2] should be -4, and is nan.")


def test_code_that_stops_on_another_input_is_told_where_it_stops():
    def ignores_and_stops(x, factor=2.0):
        return 2 * x.squeeze(1)[:, None]

    assert "factor is ignored" in told(lambda x, factor=2.0: 2 * x)
    assert "Dimension out of range" in told(ignores_and_stops)


def test_another_error_than_the_mistakes_is_told_itself():
    mistakes = [("Transpose it.", lambda x: x @ x)]
    inputs = [(torch.ones(2, 3),), (torch.ones(4, 5),)]

    def gram(x):
        return x @ x.T

    assert told(lambda x: x.matmul(x), gram, inputs, mistakes) == "Transpose it."
    assert "Boolean value" in told(lambda x: x @ x.T if x > 0 else x, gram, inputs, mistakes)
