import pytest
import torch

from course_utils.data import Example, collate
from course_utils.methods.packing import pack_examples, packed_lm_loss, packed_mask
from course_utils.training import lm_loss


def example(*ids):
    return Example(list(ids), [-100, *ids[1:]])


EXAMPLES = [example(3, 4, 5), example(6, 7, 8, 9, 10), example(11, 12), example(13, 14, 15, 16)]


def test_rows_are_filled_and_every_example_is_in_one_of_them():
    batch = pack_examples(EXAMPLES, 8, pad_id=0)
    assert batch["input_ids"].tolist() == [[6, 7, 8, 9, 10, 3, 4, 5], [13, 14, 15, 16, 11, 12, 0, 0]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 3, 4, 0, 1, 2], [0, 1, 2, 3, 0, 1, 0, 0]]
    assert batch["documents"].tolist() == [[1, 1, 1, 1, 1, 2, 2, 2], [1, 1, 1, 1, 2, 2, 0, 0]]


def test_nothing_is_predicted_from_another_example():
    whole = [Example(e.input_ids, e.input_ids) for e in EXAMPLES]  # with a label on the first token
    labels = pack_examples(whole, 8, pad_id=0)["labels"]
    assert labels.tolist() == [[-100, 7, 8, 9, 10, -100, 4, 5], [-100, 14, 15, 16, -100, 12, -100, -100]]


def test_loss_and_gradients_equal_those_of_a_padded_batch(model):
    loss, count = lm_loss(model, collate(EXAMPLES, 0))
    loss.backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    packed, packed_count = packed_lm_loss(model, pack_examples(EXAMPLES, 8, 0))
    packed.backward()
    assert count == packed_count == 10
    torch.testing.assert_close(packed, loss, atol=1e-5, rtol=1e-5)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], atol=1e-5, rtol=1e-4)


def test_transformers_packs_alike_from_the_positions(model):
    """Without a mask and a cache, transformers finds the boundaries where positions restart."""
    batch = pack_examples([EXAMPLES[0], EXAMPLES[1]], 8, 0)
    with torch.no_grad():
        ours = model(
            input_ids=batch["input_ids"],
            position_ids=batch["position_ids"],
            attention_mask=packed_mask(batch["documents"]),
        ).logits
        inputs = {"input_ids": batch["input_ids"], "position_ids": batch["position_ids"]}
        theirs = model(**inputs, use_cache=False).logits
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_an_example_that_does_not_fit_is_named():
    with pytest.raises(ValueError, match="an example of 5 tokens does not fit into 4"):
        pack_examples(EXAMPLES, 4, 0)
