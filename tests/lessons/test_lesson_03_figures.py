"""The pictures of lesson 03: a LoRA layer's two ways, and matrices on one scale."""

import matplotlib.pyplot as plt
import torch
from matplotlib.colors import to_hex

from course_utils import plots
from course_utils.drawing import MEANINGS
from course_utils.lessons.lesson_03 import figures


def test_heatmaps_share_one_scale_around_zero_and_name_the_shapes():
    plots.heatmaps({"small": torch.tensor([[0.5, -1.0]]), "large": torch.tensor([[3.0], [-4.0]])}, "title")
    axes = plt.gcf().axes[:2]
    assert [ax.images[0].get_clim() for ax in axes] == [(-4.0, 4.0)] * 2
    assert [ax.get_xlabel() for ax in axes] == ["small [1, 2]", "large [2, 1]"]


def test_heatmaps_take_a_limit_and_survive_zeros():
    plots.heatmaps({"zero": torch.zeros(2, 2)}, "title")
    assert plt.gcf().axes[0].images[0].get_clim() == (-1.0, 1.0)
    plots.heatmaps({"cut": torch.tensor([[5.0]])}, "title", limit=0.1)
    assert plt.gcf().axes[0].images[0].get_clim() == (-0.1, 0.1)


def test_lora_picture_names_both_matrices_and_their_start():
    figures.lora_paths()
    written = "\n".join(text.get_text() for text in plt.gcf().axes[0].texts)
    grounds = [to_hex(patch.get_facecolor()).upper() for patch in plt.gcf().axes[0].patches]
    assert grounds.count(MEANINGS["frozen"].ground) == 1, "W"
    assert grounds.count(MEANINGS["trained"].ground) == 2, "A and B"
    for part in ("W [out, in]\n\nfrozen", "A [r, in]\nrandom", "B [out, r]\nzero", r"$\alpha / r$"):
        assert part in written
