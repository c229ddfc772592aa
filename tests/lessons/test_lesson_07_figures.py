import matplotlib.pyplot as plt
from matplotlib.colors import to_rgba

from course_utils.drawing import MEANINGS
from course_utils.lessons.lesson_07 import figures


def test_a_prompt_is_trained_in_one_row_and_a_prefix_in_every_layer():
    figures.prompt_and_prefix(length=3, tokens=4, layers=5)
    counts = {}
    for ax in plt.gcf().axes:
        rows, frozen = (
            [round(cell.get_y()) for cell in ax.patches if cell.get_facecolor() == to_rgba(ground)]
            for ground in (MEANINGS["trained"].ground, MEANINGS["frozen"].ground)
        )
        counts[ax.get_title(loc="left")] = (sorted(set(rows)), len(rows), len(rows) + len(frozen))
    assert counts == {"prompt tuning": ([0], 3, 7 * 6), "prefix tuning": ([1, 2, 3, 4, 5], 15, 7 * 6 - 3)}


def test_every_seed_has_a_dot():
    groups = {"50 steps": {"prompt": [0.2, 0.3], "LoRA": [0.1, 0.1]}, "250 steps": {"prompt": [0.1, 0.2]}}
    figures.seeds_by_method(groups, "The prompt is behind")
    dots = [
        [tuple(round(y, 3) for _, y in each.get_offsets()) for each in ax.collections]
        for ax in plt.gcf().axes
    ]
    assert dots == [[(0.2, 0.3), (0.1, 0.1)], [(0.1, 0.2)]]
    assert all(ax.get_ylim()[0] == 0 for ax in plt.gcf().axes)
