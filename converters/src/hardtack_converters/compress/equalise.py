"""Channels of like range between two layers, so that one grid suits them all.

Relu lets a positive factor through: relu(s x) = s relu(x). So channel c of one layer may be divided
by s, and the weights that read it multiplied by s, and the model computes the same. s is chosen so
that what both sides have of the channel is alike:

    s = sqrt(r / q)    r: largest |activation| of the channel
                       q: largest |weight| that reads it, in units of the largest of its output

Nagel 2019, arXiv 1906.04721, takes the weights that make the channel for r, for one scale per
tensor. Weights here have a scale per output channel, so it is the activations, which share one
grid, that lose most (Xiao 2022, arXiv 2211.10438); they are observed on the calibration samples.

Each weight of a depthwise layer has a scale to itself, so there q is 1 and s is r.

Pairs are layers with only Relu, pools and views between them, depthwise ones included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from hardtack_converters import query
from hardtack_converters.compress.activations import channel_peaks
from hardtack_converters.compress.bench import Bench, Changed, needed
from hardtack_converters.compress.layers import chosen_layers, is_depthwise
from hardtack_converters.compress.settings import Equalise
from hardtack_converters.passes.channels import Channels, Layer, channels_of
from hardtack_converters.passes.linear import FloatArray, linear_of, per_output, set_linear

LARGEST_FACTOR = 64.0
"""Factors beyond, up or down, say more of dead channels than of live ones."""
_HOMOGENEOUS = frozenset(
    {"AveragePool", "Flatten", "GlobalAveragePool", "Identity", "MaxPool", "Relu", "Reshape",
     "Squeeze", "Transpose", "Unsqueeze"}
)  # fmt: skip
"""Operators f with f(s x) = s f(x), channel by channel."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two layers and what the first hands to the second.

    Attributes:
        first: Whose outputs are divided.
        second: Whose weights are multiplied.
        handed: Name of the value that the second reads.
        share: Columns of the second that read one channel.
    """

    first: Layer
    second: Layer
    handed: str
    share: int


def equalise(model: ir.Model, settings: Equalise, bench: Bench | None = None) -> Changed:
    """Scale channels between layers; the float model computes the same.

    Args:
        model: Prepared float model, changed in place.
        settings: Which layers may be the first of a pair.
        bench: Samples for the ranges of activations.

    Raises:
        ConfigError: HT110, a name in `layers` matches nothing; HT104, no bench.
    """
    named = {layer.node for layer in chosen_layers(model, settings.layers)}
    pairs = [pair for pair in pairs_of(channels_of(model)) if pair.first.linear.node in named]
    peaks = channel_peaks(model, [pair.handed for pair in pairs], needed(bench, "equalise").samples)
    spread = 1.0
    for pair in pairs:
        factors = factors_for(pair, peaks)
        spread = max(spread, float(factors.max() / factors.min()))
        _scale(model.graph, pair, factors)
    return Changed(len(pairs), f"{len(pairs)} pairs of layers, factors up to {spread:.1f} apart")


def pairs_of(found: Channels) -> list[Pair]:
    """Return the pairs of a graph, in order."""
    layers = {layer.linear.node: layer for layer in found.layers}
    pairs = []
    for first in found.layers:
        value = first.linear.node.outputs[0]
        reader = query.only_reader(value)
        while reader is not None and reader.op_type in _HOMOGENEOUS:
            value = reader.outputs[0]
            reader = query.only_reader(value)
        second = layers.get(reader) if reader is not None else None
        if second is None or second.linear.node.inputs[0] is not value:
            continue
        share, rest = divmod(len(second.read), len(first.made))
        columns = second.read.reshape(share, -1)
        in_turn = rest == 0 and (columns == first.made).all()  # as NHWC views leave them
        if in_turn or (rest == 0 and (second.read == np.repeat(first.made, share)).all()):
            pairs.append(Pair(first, second, str(value.name), -share if in_turn else share))
    return pairs


def factors_for(pair: Pair, peaks: Mapping[str, FloatArray]) -> FloatArray:
    """Return what each channel of the first layer is divided by; 1 for dead ones."""
    rows = np.abs(np.moveaxis(pair.second.linear.weights, pair.second.linear.out_axis, 0))
    read = np.ones(len(pair.second.read))
    if not is_depthwise(pair.second.linear):
        others = tuple(range(1, rows.ndim))
        row_peaks = np.maximum(rows.max(axis=others, keepdims=True), np.finfo(np.float32).tiny)
        read = (rows / row_peaks).max(axis=tuple(a for a in range(rows.ndim) if a != 1))
    active = _by_channel(peaks[pair.handed], pair.share)
    weighed = _by_channel(read, pair.share)
    alive = (active > 0) & (weighed > 0)
    factors = np.ones(len(active))
    factors[alive] = np.sqrt(active[alive] / weighed[alive])
    if is_depthwise(pair.second.linear):
        factors[alive] = active[alive]
    if alive.any():  # only their ratios matter
        factors[alive] /= np.exp(np.log(factors[alive]).mean())
    return np.clip(factors, 1 / LARGEST_FACTOR, LARGEST_FACTOR)


def _by_channel(columns: FloatArray, share: int) -> FloatArray:
    """Return the largest of the columns of each channel."""
    if share < 0:
        return np.asarray(columns.reshape(-share, -1).max(axis=0))
    return np.asarray(columns.reshape(-1, share).max(axis=1))


def _scale(graph: ir.Graph, pair: Pair, factors: FloatArray) -> None:
    first = linear_of(pair.first.linear.node)  # earlier pairs have changed it
    assert first is not None
    weights = first.weights / per_output(first, factors)
    set_linear(graph, first, weights, first.bias / factors)
    second = linear_of(pair.second.linear.node)
    assert second is not None
    columns = np.tile(factors, -pair.share) if pair.share < 0 else np.repeat(factors, pair.share)
    rows = np.moveaxis(second.weights, second.out_axis, 0)
    if is_depthwise(second):
        each = len(rows) // len(columns)
        scaled = rows * np.repeat(columns, each).reshape(-1, *[1] * (rows.ndim - 1))
    else:
        scaled = rows * columns.reshape(1, -1, *[1] * (rows.ndim - 2))
    set_linear(graph, second, np.moveaxis(scaled, 0, second.out_axis), second.bias)
