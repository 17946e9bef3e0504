"""Few values stand for all weights of a layer, so that an entropy coder meets few symbols.

The values are the optimal one-dimensional k-means of the layer's weights (Han 2015,
arXiv 1510.00149), zeros apart: what was pruned stays zero. They are rounded to one int8 grid for
the whole layer, so a layer of 4 bits has at most 16 codes on the device too. Weights must be shared
before they are rounded to int8, and after they are pruned.

Sharing by itself costs accuracy where layers have one scale per output channel, since all of them
get one grid; it pays on large layers, and after pruning. Depthwise layers are left alone unless
`layers` names them.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hardtack_converters.compress.bench import Bench, Changed
from hardtack_converters.compress.clusters import centroids, codebook_bits, nearest
from hardtack_converters.compress.layers import chosen_layers, count_of, is_depthwise
from hardtack_converters.compress.settings import Share
from hardtack_converters.passes.linear import FloatArray, set_linear

LARGEST_CODE = 127


def share(model: ir.Model, settings: Share, _bench: Bench | None = None) -> Changed:
    """Replace the weights of each layer by at most 2 ** bits values.

    Args:
        model: Prepared float model, changed in place.
        settings: How many values, and which layers.

    Raises:
        ConfigError: HT110, a name in `layers` matches nothing.
    """
    changed, before, after = 0, 0, 0
    for layer in chosen_layers(model, settings.layers, lambda layer: not is_depthwise(layer)):
        shared = shared_weights(layer.weights, settings.bits)
        if np.array_equal(shared, layer.weights):
            continue
        set_linear(model.graph, layer, shared, layer.bias)
        changed += 1
        before += 8 * layer.weights.size
        after += codebook_bits(layer.weights.size, len(np.unique(shared)), 8)
    summary = f"{count_of(changed)} of at most {2**settings.bits} values"
    if changed:
        summary += f": {before / after:.1f}x by indices alone"
    return Changed(changed, summary)


def shared_weights(weights: FloatArray, bits: int) -> FloatArray:
    """Return weights of at most 2 ** bits values on one grid of codes -127..127.

    Args:
        weights: Finite; zeros stay zeros, and are then one of the values.
        bits: 1 to 8.
    """
    alive = weights != 0
    count = 2**bits - int(not alive.all())
    if not alive.any():
        return weights
    book = centroids(weights[alive], count)
    if not book.any():  # one value for weights that are as often negative
        book = np.abs(weights[alive]).mean(keepdims=True)
    step = float(np.abs(book).max()) / LARGEST_CODE
    codes = np.rint(book / step)
    # A value that rounds to zero would be pruned by accident: its weights are small, not none.
    codes = np.where(codes == 0, np.where(book < 0, -1, 1), codes)
    made = np.zeros_like(weights)
    made[alive] = codes[nearest(weights[alive], book)] * step
    return made.astype(np.float32).astype(np.float64)
