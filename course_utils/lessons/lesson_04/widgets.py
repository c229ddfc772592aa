"""A change of one layer and its best cut, by layer and rank."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from course_utils import plots


def cutter(changes: Mapping[str, Tensor], best_rank: Callable[[Tensor, int], Tensor]) -> Callable:
    """show_cut(layer, rank) for the changes [out, in] of some layers, cut by best_rank(matrix, rank)."""

    def show_cut(layer, rank=8):
        """A corner of a layer's change, of its cut and of what the cut leaves out."""
        change = changes[layer]
        cut = best_rank(change, rank)
        error = (change - cut).norm() / change.norm()
        print(f"rank {rank} of {min(change.shape)}: error {error:.2f} of the norm")
        print(f"{rank * sum(change.shape):,} numbers in its columns and rows, {change.numel():,} in full")
        shown = {"the change": change, f"rank {rank}": cut, "left out": change - cut}
        corner = {name: matrix[:48, :48] for name, matrix in shown.items()}
        plots.heatmaps(corner, "The first 48 outputs and inputs of the layer", float(change.abs().max()) / 2)
        plots.caption(
            "A corner of the change, of its best cut, and of what the cut leaves out.",
            seen="the cut has the stripes of the change; what is left out looks like noise",
        )

    return show_cut
