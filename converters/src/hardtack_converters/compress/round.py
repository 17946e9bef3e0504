"""Rounding that keeps the layer's output: each weight goes up or down, and the next make up for it.

Rounding to the nearest code is best for single weights and not for their sum. So, layer by layer:

- `gptq`: with the second moment of the layer's inputs on calibration samples, columns of weights
  are rounded in turn, and what a column has lost is added to those that are not rounded yet
  (Frantar 2022, arXiv 2210.17323). Closed form: seconds.
- `adaround`: gradient descent chooses up or down for all weights at once, so that what comes out of
  the layer's activation stays (Nagel 2020, arXiv 2004.10568). Minutes, for `iterations` steps.

Scales stay: the largest weight of each output keeps its code. Zeros stay zeros, so it may follow
`prune`; what lies on a grid already, as after `share`, `low_bit` or training, is left alone.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hardtack_converters.compress.adaround import adarounded
from hardtack_converters.compress.bench import Bench, Changed, needed
from hardtack_converters.compress.layers import chosen_layers, layer_name
from hardtack_converters.compress.outliers import share_of
from hardtack_converters.compress.reconstruct import (
    Settle,
    can_reconstruct,
    compensated,
    input_moments,
    loss_of_rows,
)
from hardtack_converters.compress.settings import LARGEST_CODE, Round
from hardtack_converters.passes.linear import FloatArray, linear_of, set_linear
from hardtack_converters.ranges import lies_on_grid, weight_scale


def round_weights(model: ir.Model, settings: Round, bench: Bench | None = None) -> Changed:
    """Put weights on the grids that quantising will give them.

    Args:
        model: Prepared float model, changed in place.
        settings: Which layers, and how many samples.
        bench: Samples.

    Raises:
        ConfigError: HT110, a name in `layers` matches nothing; HT104, no bench.
    """
    bench = needed(bench, "round")
    source = model.clone()  # every layer sees the inputs that it was trained with
    sources = {layer_name(node): node for node in source.graph}
    changed = moved = total = 0
    layers = chosen_layers(model, settings.layers, can_reconstruct)
    for index, layer in enumerate(layers):
        on_grid = lies_on_grid(layer.weights.astype(np.float32), layer.out_axis)
        if on_grid or share_of(layer.node) > 0 or not can_reconstruct(layer):
            continue
        original = linear_of(sources[layer_name(layer.node)])
        assert original is not None
        weights = np.moveaxis(layer.weights, layer.out_axis, 0)
        rows, bias = weights.reshape(len(weights), -1), layer.bias
        if settings.method == "adaround":
            pair = (source, original)
            flat, bias = adarounded(model, layer, pair, bench.samples, settings, _scales(rows))
        else:
            flat = rounded(rows, input_moments(source, original, bench.samples, settings.samples))
        made, nearest = flat.reshape(weights.shape), _nearest(rows).reshape(weights.shape)
        moved += int((np.abs(made - nearest) > 1e-6 * np.abs(nearest).max()).sum())
        changed, total = changed + 1, total + made.size
        set_linear(model.graph, layer, np.moveaxis(made, 0, layer.out_axis), bias)
        bench.progress(index + 1, len(layers))
    if not changed:
        return Changed(0, "no layer whose weights have no grid of their own yet")
    share = 100 * moved / total
    return Changed(changed, f"{share:.1f} % of {total:,} weights are not at the nearest code")


def rounded(rows: FloatArray, moments: FloatArray) -> FloatArray:
    """Return weights [outputs, columns] on the grid of each output.

    An output that would lose more than by rounding to the nearest code is rounded so.
    """
    nearest = _nearest(rows)
    each = len(rows) // len(moments)
    turns = [
        compensated(rows[at : at + each], moment, _settle(rows[at : at + each]))
        for at, moment in zip(range(0, len(rows), each), moments, strict=True)
    ]
    in_turn = np.concatenate(turns)
    better = loss_of_rows(in_turn - rows, moments) < loss_of_rows(nearest - rows, moments)
    return np.where(better[:, None], in_turn, nearest)


def _settle(rows: FloatArray) -> Settle:
    scales = _scales(rows)
    peaks, nearest = np.abs(rows).argmax(axis=1), _nearest(rows)

    def settle(column: int, best: FloatArray) -> FloatArray:
        codes = np.clip(np.rint(best / scales), -LARGEST_CODE, LARGEST_CODE)
        # The scale follows from the largest weight, so that one must keep its code.
        keep = (peaks == column) | (rows[:, column] == 0)
        return np.asarray(np.where(keep, nearest[:, column], codes * scales))

    return settle


def _scales(rows: FloatArray) -> FloatArray:
    return weight_scale(rows.astype(np.float32), 0).astype(np.float64)


def _nearest(rows: FloatArray) -> FloatArray:
    scales = _scales(rows)[:, None]
    return np.asarray(np.rint(rows / scales) * scales)
