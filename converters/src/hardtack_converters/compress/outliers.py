"""Two planes for the weights of a layer: few are large, and would make the grid coarse for all.

    W = W_L + 256 W_H    W_L int8, W_H int8 and nearly all 0

The scale of each output channel follows from its largest weights but a few, which reach beyond
int8 and get a part in W_H. How many, channel by channel: such that the layer has a `share` of them
in all, and its weights the least noise. The noise of a channel of n weights that are not 0 is
n scale^2 / 12, so the share goes where a few weights make the scale most. W_H is stored as sparse,
two bytes for each outlier and one for each 256 weights of a row, and devices sum it beside W_L:

    acc = bias + in . W_L + 256 (in . W_H)

That costs instructions: with 0.5 % of outliers a layer takes 8 to 10 % more on a Cortex-M4, and 54
to 59 % more on a Cortex-M55, whose vectors have no part in it.

Zero stays exactly zero. Depthwise and grouped layers, and those of one output, have no kernel for
it. What lies on a grid already, as after `share` or training, is left alone, and so is by `round`
what this has changed.

Source: Park 2018, outlier-aware low-precision computation (ISCA).
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hardtack_converters import query
from hardtack_converters.compress.bench import Bench, Changed
from hardtack_converters.compress.layers import chosen_layers, count_of, layer_name
from hardtack_converters.compress.settings import Outliers
from hardtack_converters.passes.linear import Linear
from hardtack_converters.ranges import lies_on_grid, outlier_scale
from hardtack_runtime.errors import ConfigError

SHARE = "hardtack.outliers"
"""Key, in a node's metadata, of the share of its weights that may be outliers."""


def outliers(model: ir.Model, settings: Outliers, bench: Bench | None = None) -> Changed:
    """Let quantising give layers two planes; the float model stays as it is.

    Args:
        model: Prepared float model, changed in place.
        settings: Which layers, and what share of their weights.
        bench: Not needed.

    Raises:
        ConfigError: HT110, a name in `layers` matches nothing; HT104, a layer has groups.
    """
    changed = wide = total = 0
    for layer in chosen_layers(model, settings.layers, can_split):
        if not can_split(layer):
            raise ConfigError(
                "HT104", layer_name(layer.node), "groups, or a single output, have no second plane",
                "leave it out of `layers`",
            )  # fmt: skip
        weights = layer.weights.astype(np.float32)
        if lies_on_grid(weights, layer.out_axis):
            continue
        scale = outlier_scale(weights, layer.out_axis, settings.share)
        spread = scale.reshape(
            [-1 if axis == layer.out_axis else 1 for axis in range(weights.ndim)]
        )
        found = int((np.abs(weights) > 127.5 * spread).sum())
        if found:
            layer.node.metadata_props[SHARE] = repr(settings.share)
            changed, wide, total = changed + 1, wide + found, total + weights.size
    if not changed:
        return Changed(0, "no weights reach beyond int8, but for those with a grid of their own")
    return Changed(
        changed, f"{wide:,} of {total:,} weights of {count_of(changed)} reach beyond int8"
    )


def can_split(layer: Linear) -> bool:
    """Say whether there is a kernel for two planes."""
    return query.int_attribute(layer.node, "group", 1) == 1 and layer.outputs > 1


def share_of(node: ir.Node) -> float:
    """Return the share of a node's weights that may be outliers; 0 unless the pass has run."""
    return float(node.metadata_props.get(SHARE, "0"))
