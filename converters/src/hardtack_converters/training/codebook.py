"""Weights of few values that are learnt: trained centroids (Han 2015, arXiv 1510.00149, 3.3).

Which weight has which value is set once, by the optimal one-dimensional k-means of the pass
`share`. The gradient of a value is the sum of those of its weights.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from hardtack_converters.compress.share import LARGEST_CODE, shared_weights
from hardtack_converters.training.grid import rounded


class Codebook(nn.Module):
    """A weight tensor of at most 2 ** bits values on one grid of codes -127..127.

    Args:
        weights: float32, where training begins. Zeros stay zeros.
        bits: 1 to 8.
    """

    def __init__(self, weights: Tensor, bits: int) -> None:
        super().__init__()
        shared = shared_weights(weights.double().numpy(), bits)
        values, places = np.unique(shared, return_inverse=True)
        spread = float(weights.std()) if weights.numel() > 1 else float(weights.abs().max())
        self.spread = spread if spread > 0 else 1.0
        self.values = nn.Parameter(torch.from_numpy(values / self.spread).float())
        self.register_buffer("places", torch.from_numpy(places.reshape(shared.shape)))
        self.register_buffer("mask", torch.from_numpy(shared != 0).float())
        self.places: Tensor
        self.mask: Tensor

    @property
    def step(self) -> Tensor:
        """Distance of two grid points in units of the spread."""
        peak = self.values.detach().abs().max()
        return torch.where(peak > 0, peak, torch.ones(())) / LARGEST_CODE

    def codes(self) -> Tensor:
        """Return the codes, whole numbers whose gradient is that of w / step."""
        return rounded(self.values / self.step)[self.places] * self.mask

    def forward(self) -> Tensor:
        """Return the weights as devices will have them."""
        return self.codes() * (self.step * self.spread)

    def rate(self, _structure: float = 1.0) -> Tensor:
        """Return no bits: the indices, which cost them, do not change."""
        return torch.zeros(())
