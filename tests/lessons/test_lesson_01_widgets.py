"""The picture of a text's losses shows the model's losses, token by token."""

import itertools
import math

import matplotlib.pyplot as plt
import pytest
import torch
from helpers import tiny_model, tiny_tokenizer

from course_utils import plots
from course_utils.lessons.lesson_01 import widgets


def test_coloured_text_is_darker_where_the_loss_is_higher():
    plots.coloured_text(["A", " $5", "\n", " cat"], [None, 0.5, 2.0, 9.0], "title", width=8)
    [ax] = plt.gcf().axes
    red, green, blue, _ = zip(*(patch.get_facecolor() for patch in ax.patches), strict=True)
    brightness = [sum(colour) for colour in zip(red, green, blue, strict=True)]
    assert brightness == sorted(brightness, reverse=True) and brightness[0] == 3
    assert [text.get_text() for text in ax.texts] == ["A", r"·\$5", "0.5", r"\n", "2.0", "·cat", "9.0"]
    lines = [round(patch.get_y() + 0.28) for patch in ax.patches]
    assert lines == [0, 0, 1, 2]  # lines wrap at the width and at a line end
    plt.gcf().canvas.draw()


def test_the_losses_below_short_tokens_stand_apart():
    tokens = list("abcdefghijklmn") * 2
    _, (above, below) = plt.subplots(2, 1, figsize=(plots.WIDTH, 4.4))
    plots.coloured_text(tokens, [None, *[0.5, 13.7, 10.2] * 9], "", ax=above, width=60)
    plots.bars({"<|endoftext|>": 0.2}, "", "", ax=below)  # its label narrows both
    above.figure.canvas.draw()
    labels = [text for text in above.texts if "." in text.get_text()]
    for left, right in itertools.pairwise(text.get_window_extent() for text in labels):
        assert right.x0 - left.x1 > 2 or right.y1 < left.y0


def test_loss_of_text_prints_the_mean_over_the_predicted_tokens(capsys):
    tokenizer, models = tiny_tokenizer(), {"one": tiny_model(0), "two": tiny_model(1)}
    text = "Question: is the capital of France a cat?"
    ids = tokenizer(text)["input_ids"]
    for name, model in models.items():
        with torch.no_grad():
            probabilities = model(torch.tensor([ids])).logits[0].double().softmax(-1)
        losses = [-math.log(probabilities[t, ids[t + 1]]) for t in range(len(ids) - 1)]
        mean = sum(losses) / len(losses)
        widgets.loss_of_text(models, tokenizer, text, name)
        out = capsys.readouterr().out
        assert f"{len(ids)} tokens, {len(ids) - 1} predicted: mean loss {mean:.2f} nats" in out
        assert f"perplexity {math.exp(mean):.1f}." in out
        worst = max(range(len(losses)), key=losses.__getitem__)
        assert f"Least expected: {tokenizer.decode([ids[worst + 1]])!r}" in out
        assert f"Model: {name}." in plt.gcf().get_suptitle()
        below = plt.gcf().axes[1]
        assert below.patches[0].get_width() == pytest.approx(probabilities[-1].max().item(), abs=1e-5)


def test_loss_of_text_says_what_it_cannot_do():
    tokenizer, models = tiny_tokenizer(), {"one": tiny_model()}
    with pytest.raises(ValueError, match="two tokens or more"):
        widgets.loss_of_text(models, tokenizer, "a", "one")
    with pytest.raises(ValueError, match="Shorten it"):
        widgets.loss_of_text(models, tokenizer, "the cat " * 100, "one")
