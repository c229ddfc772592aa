import pytest
import torch

from course_utils.data import Example, collate
from course_utils.training import accumulated_step, lm_loss

EXAMPLES = [
    Example([3, 4, 5, 6, 0], [-100, -100, 5, 6, 0]),
    Example([7, 8, 9], [7, 8, 9]),
    Example([9, 8, 7, 6], [-100, -100, -100, 6]),
]


@pytest.mark.parametrize("name", ["model", "llama"])
def test_loss_and_gradients_equal_those_of_labels(name, request):
    model = request.getfixturevalue(name)
    batch = collate(EXAMPLES, 0)
    loss, _ = accumulated_step(model, [batch])
    gradients = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    expected = model(**batch).loss
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-6)
    for mine, parameter in zip(gradients, model.parameters(), strict=True):
        torch.testing.assert_close(mine, parameter.grad, atol=1e-6, rtol=1e-6)


def test_accumulation_equals_num_items_in_batch(model):
    """transformers' own remedy for unequal micro-batches: the count of the whole step."""
    parts = [collate(EXAMPLES[:1], 0), collate(EXAMPLES[1:], 0)]
    count = sum(int(lm_loss(model, part)[1]) for part in parts)
    expected = sum(model(**part, num_items_in_batch=count).loss for part in parts)
    assert accumulated_step(model, parts)[0] == pytest.approx(expected.item(), rel=1e-6)
