"""Weights of few codes: int4, ternary, binary.

On the device they are int8 codes of a small range, so every kernel runs them as it is, as fast as
int8, and a coding stores them in the bits that they are worth. Only where inputs are binary too are
binary weights faster: that takes training (`binary`, see [training](../training.md)).

- `bits = 3` to `7`: codes -(2^(bits-1) - 1) to 2^(bits-1) - 1.
- `"ternary"`: -1, 0, 1 (Li 2016, arXiv 1605.04711).
- `"binary"`: -1, 1, times the mean magnitude (Rastegari 2016, arXiv 1603.05279).

Each output has the scale that is best for its weights in least squares: the largest few are
clipped. What rounding loses is made up for, layer after layer and with the inputs that the layers
before now give: with `gptq` by the weights of the same output not yet rounded and by the bias, with
`adaround` by the choice of up or down (see [round](round.md)). Zeros stay zeros, so it may follow
`prune`; `equalise` comes before it, `round` leaves its layers alone.

Depthwise layers are left alone unless `layers` names them: they have few weights and need them. A
classifier's first and last layer often need more bits than the others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from hardtack_converters.compress.adaround import adarounded
from hardtack_converters.compress.bench import Bench, Changed, needed
from hardtack_converters.compress.layers import chosen_layers, count_of, is_depthwise, layer_name
from hardtack_converters.compress.outliers import share_of
from hardtack_converters.compress.reconstruct import (
    Settle,
    can_reconstruct,
    compensated,
    joint_moments,
    loss_of_rows,
    refitted,
)
from hardtack_converters.compress.settings import Bits, LowBit, largest_code
from hardtack_converters.passes.linear import FloatArray, Linear, linear_of, set_linear

CANDIDATES = 64
PARTS = (2.0, 0.05)
"""Of the scale at which the largest weight has the largest code: scales between are tried."""
REFINEMENTS = 4


def low_bit(model: ir.Model, settings: LowBit, bench: Bench | None = None) -> Changed:
    """Put the weights of layers on grids of few codes.

    Args:
        model: Prepared float model, changed in place.
        settings: How many codes, and which layers.
        bench: Samples; not needed by the method `nearest`.

    Raises:
        ConfigError: HT110, a name in `layers` matches nothing; HT104, no bench.
    """
    if settings.method != "nearest":
        bench = needed(bench, "low_bit")
    source = model.clone()
    sources = {layer_name(node): node for node in source.graph}
    layers = changeable(model, settings.layers)
    for index, layer in enumerate(layers):
        original = linear_of(sources[layer_name(layer.node)])
        assert original is not None
        lay_on_grid(model, layer, settings, (source, original), bench)
        if bench is not None:
            bench.progress(index + 1, len(layers))
    weights = sum(layer.weights.size for layer in layers)
    largest = settings.largest
    codes = f"-{largest}, {largest}" if settings.bits == "binary" else f"-{largest}..{largest}"
    return Changed(len(layers), f"{weights:,} weights in {count_of(len(layers))}: codes {codes}")


def changeable(model: ir.Model, patterns: Sequence[str]) -> list[Linear]:
    """Return the layers named that can have few codes: by default all but depthwise ones.

    Raises:
        ConfigError: HT110, a pattern matches nothing.
    """
    layers = chosen_layers(model, patterns, lambda layer: not is_depthwise(layer))
    return [one for one in layers if one.weights.any() and share_of(one.node) == 0]


def lay_on_grid(
    model: ir.Model,
    layer: Linear,
    settings: LowBit,
    source: tuple[ir.Model, Linear],
    bench: Bench | None,
) -> None:
    """Give one layer of a model few codes.

    Args:
        model: Changed in place.
        layer: Of `model`.
        settings: How.
        source: The model before any change, and its layer.
        bench: Samples; None: to the nearest code.
    """
    weights = np.moveaxis(layer.weights, layer.out_axis, 0)
    rows, bias = weights.reshape(len(weights), -1), layer.bias
    if settings.method == "nearest" or bench is None or not can_reconstruct(layer):
        made = snapped(rows, grid_scales(rows, settings.bits), settings.bits)
    elif settings.method == "adaround":
        scales = grid_scales(rows, settings.bits)
        made, bias = adarounded(model, layer, source, bench.samples, settings, scales)
    else:
        moments = joint_moments(model, layer, source, bench.samples, settings.samples)
        made, bias = made_up_for(rows, bias, settings.bits, *moments)
    shaped = np.moveaxis(made.reshape(weights.shape), 0, layer.out_axis)
    set_linear(model.graph, layer, shaped, bias)


def made_up_for(
    rows: FloatArray, bias: FloatArray, bits: Bits, moments: FloatArray, cross: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return weights of few codes and a bias that keep the outputs.

    Args:
        rows: Weights [outputs, columns]; zeros stay zeros.
        bias: [outputs].
        bits: Which codes.
        moments: H of `joint_moments`.
        cross: C of `joint_moments`.
    """
    wide = np.column_stack([rows, bias])
    alive = np.column_stack([rows != 0, np.ones(len(rows), bool)])
    wanted = refitted(wide, alive, moments, cross)
    each = len(rows) // len(moments)
    scales = grid_scales(wanted[:, :-1], bits)
    turns = [
        compensated(
            wanted[at : at + each],
            moment,
            _settle(rows[at : at + each], scales[at : at + each], bits),
        )
        for at, moment in zip(range(0, len(rows), each), moments, strict=True)
    ]
    made = np.concatenate(turns)
    nearest = np.column_stack([snapped(wanted[:, :-1], scales, bits), wanted[:, -1]])
    better = loss_of_rows(made - wanted, moments) < loss_of_rows(nearest - wanted, moments)
    made = np.where(better[:, None], made, nearest)
    return made[:, :-1], made[:, -1]


def _settle(rows: FloatArray, scales: FloatArray, bits: Bits) -> Settle:
    def settle(column: int, best: FloatArray) -> FloatArray:
        if column == rows.shape[1]:  # the bias, which is not rounded
            return best
        codes = snapped(best[:, None], scales, bits)[:, 0]
        return np.where(rows[:, column] == 0, 0.0, codes)

    return settle


def snapped(rows: FloatArray, scales: FloatArray, bits: Bits) -> FloatArray:
    """Return the nearest weights of few codes; zeros stay zeros.

    Args:
        rows: [outputs, columns].
        scales: [outputs].
        bits: Which codes.
    """
    if bits == "binary":
        return np.sign(rows) * scales[:, None]
    largest = largest_code(bits)
    codes = np.clip(np.rint(rows / scales[:, None]), -largest, largest)
    return np.asarray(codes * scales[:, None])


def grid_scales(rows: FloatArray, bits: Bits) -> FloatArray:
    """Return the scale of each output at which its nearest codes are off least, in squares.

    Args:
        rows: [outputs, columns]; an output of zeros gets 1.
        bits: Which codes.

    Returns:
        float64 [outputs], all > 0.
    """
    size = np.abs(rows)
    alive = size.max(axis=1) > 0
    if bits == "binary":
        scales = size.sum(axis=1) / np.maximum((size > 0).sum(axis=1), 1)
        return np.where(alive, scales, 1.0)
    whole = np.where(alive, size.max(axis=1), 1.0) / largest_code(bits)
    best, least = whole, np.full(len(rows), np.inf)
    for part in np.linspace(*PARTS, CANDIDATES):
        scales = _refined(rows, whole * part, bits)
        loss = ((snapped(rows, scales, bits) - rows) ** 2).sum(axis=1)
        best, least = np.where(loss < least, scales, best), np.minimum(loss, least)
    return best


def _refined(rows: FloatArray, scales: FloatArray, bits: Bits) -> FloatArray:
    """Return the scale that suits the codes, which suit the scale, and so on."""
    for _ in range(REFINEMENTS):
        codes = snapped(rows, scales, bits) / scales[:, None]
        power = (codes**2).sum(axis=1)
        better = (codes * rows).sum(axis=1) / np.maximum(power, 1)
        scales = np.where(power > 0, better, scales)
    return scales
