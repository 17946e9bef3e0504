"""Weights on a grid whose step is learnt, and what their codes will cost (EPR, arXiv 1906.06624).

The gradient of the rounding is taken as 1. The rate of a code k is log2(1 + |k| / 0.05) bits: zero
costs nothing, and small codes little, as in a coder that adapts.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from hardtack_converters.ranges import grid_step

LARGEST_CODE = 127
SOFTNESS = 0.05
FIRST_STEP = 0.25
"""Of the weights' standard deviation."""
FINEST = 0.06
"""Of the same: a grid that is finer is that of int8, not one that was learnt, and steps learn
slowly."""


class _Round(torch.autograd.Function):
    @staticmethod
    def forward(_context: object, x: Tensor) -> Tensor:
        return torch.round(x)

    @staticmethod
    def backward(_context: object, gradient: Tensor) -> Tensor:
        return gradient


def rounded(x: Tensor) -> Tensor:
    """Return whole numbers, with the gradient of x."""
    result: Tensor = _Round.apply(x)
    return result


class Grid(nn.Module):
    """A weight tensor w = step * round(w / step), codes within -127..127.

    Args:
        weights: float32, where training begins; if they lie on a coarse grid, it is that one.

    Where `mask` is 0 the weight is 0 and stays so: no gradient reaches it.
    """

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        # In units of their spread, so that one learning rate suits the weights of any layer.
        spread = float(weights.std()) if weights.numel() > 1 else float(weights.abs().max())
        self.spread = spread if spread > 0 else 1.0
        self.relative = nn.Parameter(weights / self.spread)
        known = grid_step(np.asarray(weights.numpy()))
        first = FIRST_STEP if known is None else known / self.spread
        if first < FINEST:
            first = FIRST_STEP
        self.log_step = nn.Parameter(torch.tensor(math.log(first)))
        self.register_buffer("mask", torch.ones_like(weights))
        self.mask: Tensor

    @property
    def step(self) -> Tensor:
        """Distance of two grid points in units of the spread; codes reach to 127 of them."""
        peak = self.relative.detach().abs().max() / LARGEST_CODE
        return torch.maximum(self.log_step.exp(), peak)

    def codes(self) -> Tensor:
        """Return the codes, whole numbers whose gradient is that of w / step."""
        return rounded(self.relative / self.step) * self.mask

    def forward(self) -> Tensor:
        """Return the weights as devices will have them."""
        return self.codes() * (self.step * self.spread)

    def rate(self, structure: float = 1.0) -> Tensor:
        """Return the bits that the codes will take, roughly, with a gradient.

        A unit, a row of the weights, costs as much as some more codes that are the sum of its own:
        what is left empty is dropped, and its bias with it. So does an input, a column: one that
        no unit reads lets the layer before drop a unit.

        Args:
            structure: How many codes a unit counts for, and an input.
        """
        sizes = (self.relative / self.step).abs() * self.mask / SOFTNESS
        units = sizes.flatten(1).sum(dim=1)
        inputs = sizes.transpose(0, 1).flatten(1).sum(dim=1)
        groups = torch.log2(1 + units).sum() + torch.log2(1 + inputs).sum()
        return torch.log2(1 + sizes).sum() + structure * groups
