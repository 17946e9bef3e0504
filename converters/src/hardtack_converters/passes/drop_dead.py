"""Remove channels that do nothing: layers that pruning or training emptied really get smaller.

A channel (a row of a Gemm, an output of a Conv, and all that goes with it through residual
connections, depthwise Convs, concatenations and pools) goes when no layer that reads it weighs it,
or when what it gives is a constant, which the biases of those layers then take in.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from hardtack_converters.passes.channels import Channels, Layer, channels_of
from hardtack_converters.passes.narrow import narrow


def drop_dead(model: ir.Model) -> int:
    """Remove dead channels until there are none; return how many rows of layers went."""
    dropped = 0
    while True:
        found = channels_of(model)
        dead = _dead(found)
        if not dead:
            return dropped
        narrow(model.graph, found, dead)
        dropped += sum(
            int(np.isin(layer.made, list(dead)).sum())
            for layer in found.layers if not layer.depthwise
        )  # fmt: skip


def _dead(found: Channels) -> set[int]:
    """Return the channels that may go; one of each layer stays."""
    dead = set(found.removable().tolist())
    for layer in found.layers:
        if not layer.depthwise:
            dead -= set(layer.read[_needed(layer)].tolist())
    for layer in found.layers:
        if dead.issuperset(layer.made.tolist()):
            dead.discard(int(layer.made[0]))
    return dead


def _needed(layer: Layer) -> npt.NDArray[np.bool_]:
    """Return which inputs a layer weighs, and cannot take into its bias."""
    weights = np.moveaxis(layer.linear.weights, layer.linear.out_axis, 0)
    weighed = weights.any(axis=tuple(a for a in range(weights.ndim) if a != 1))
    if layer.pads:  # at the border a constant would count less often
        return np.asarray(weighed & (layer.constants != 0))
    return np.asarray(weighed & np.isnan(layer.constants))
