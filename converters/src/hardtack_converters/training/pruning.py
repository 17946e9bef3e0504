"""Pruning while a model trains: zeros are set a few at a time, and stay.

The share of zeros rises with the epochs as 1 - (1 - t)^3, fast at first (Zhu 2017,
arXiv 1710.01878), over the first part of the epochs; the rest trains what is left. With a limit on
the accuracy that it may cost, it only rises after an epoch that kept to the limit: prune, train
until the accuracy is back, prune more, and stop where it does not come back (Han 2015,
arXiv 1506.02626).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from hardtack_converters.compress.masks import Mask, block_masks, n_of_m_mask
from hardtack_converters.compress.prune_weights import prunable
from hardtack_converters.compress.settings import Prune
from hardtack_converters.training.module import GraphModule
from hardtack_converters.training.options import Epoch

RISING = 0.6
"""Share of the epochs over which zeros become more."""


class Pruning:
    """The zeros of a module in training.

    Args:
        module: Whose grids get masks.
        settings: What goes in the end; of its layers, those on grids.
        epochs: How many there will be.
        unpruned: Error of the model before, which `max_drop` counts from.
    """

    def __init__(self, module: GraphModule, settings: Prune, epochs: int, unpruned: float) -> None:
        self.settings = settings
        self.steps = max(1, math.ceil(RISING * epochs))
        self.unpruned = unpruned
        layers = prunable(module.model, settings, "[train] prune, layers")
        found = [(layer, module.grid_of(layer.node)) for layer in layers]
        self._grids = [(layer.out_axis, grid) for layer, grid in found if grid is not None]
        for _, grid in self._grids:
            grid.mask = (grid.relative.detach() != 0).float()  # what came as zero stays zero
        self._alive = [grid.mask.clone() for _, grid in self._grids]

    def keeps(self, epoch: Epoch) -> bool:
        """Return whether an epoch cost no more accuracy than allowed."""
        limit = self.settings.max_drop
        return limit is None or epoch.error <= self.unpruned + limit + 1e-12

    def share_after(self, epochs: Sequence[Epoch]) -> float:
        """Return the share of zeros for the epoch that follows these."""
        step = 1 + sum(self.keeps(epoch) for epoch in epochs)
        left = 1 - min(1.0, step / self.steps)
        return self.settings.share * (1 - left**3)

    def zero(self, share: float) -> None:
        """Set masks: a share of the weights, as they are now, goes."""
        tensors = [
            np.moveaxis((grid.relative.detach() * grid.spread).double().numpy(), axis, 0)
            for axis, grid in self._grids
        ]
        for (axis, grid), alive, mask in zip(
            self._grids, self._alive, self._masks(tensors, share), strict=True
        ):
            kept = np.ascontiguousarray(np.moveaxis(mask, 0, axis))
            grid.mask = torch.from_numpy(kept).float() * alive

    def _masks(self, tensors: list[npt.NDArray[np.float64]], share: float) -> list[Mask]:
        kept_of = self.settings.kept_of
        if kept_of is not None:
            # The pattern is for all of a tensor at once: n grows less as the share rises.
            kept = max(kept_of[0], math.ceil((1 - share) * kept_of[1] - 1e-9))
            return [n_of_m_mask(tensor, kept, kept_of[1]) for tensor in tensors]
        return block_masks(
            tensors, share, size=self.settings.size if self.settings.pattern == "vector" else 1,
            together=self.settings.scope == "global",
        )  # fmt: skip
