"""Whole channels: what makes them, what reads them, and all that lies between gets smaller."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from hardtack_converters.compress.bench import Bench, Changed
from hardtack_converters.compress.layers import chosen_layers, layer_name, weighted_layers
from hardtack_converters.compress.masks import Mask
from hardtack_converters.compress.reconstruct import refit
from hardtack_converters.compress.settings import Prune
from hardtack_converters.passes.channels import Channels, IntArray, channels_of
from hardtack_converters.passes.drop_dead import drop_dead
from hardtack_converters.passes.linear import FloatArray, Linear, set_linear

Families = dict[tuple[int, ...], list[int]]
"""Channels by the layers that make them: those of one family can stand for each other."""


def prune_channels(model: ir.Model, settings: Prune, bench: Bench | None) -> Changed:
    """Remove the least important channels.

    A channel's importance is the norm of the rows that make it times the norm of the columns that
    read it, each in units of its layer's. With a bench, the layers that read channels are fitted to
    those that are left.

    Args:
        model: Prepared float model, changed in place.
        settings: With the pattern `channel`.
        bench: Samples to fit on.
    """
    named = {layer.node for layer in chosen_layers(model, settings.layers)}
    found = channels_of(model)
    families = _families(found, named)
    scores = _scores(found)
    if settings.scope == "global":
        gone = _least_of_all(families, scores, settings.share)
    else:
        gone = {c for f in families.values() for c in _least(f, scores, settings.share)}
    source = model.clone()
    originals = {layer_name(layer.node): layer for layer in weighted_layers(source)}
    for index, layer in enumerate(found.layers):
        kept = ~np.isin(layer.read, list(gone))
        if layer.depthwise or kept.all():
            continue
        linear = layer.linear
        mask = _of_columns(linear, kept)
        if bench is not None and settings.reconstruct:
            refit(model, linear, mask, (source, originals[layer_name(linear.node)]), bench.samples)
            bench.progress(index + 1, len(found.layers))
        else:
            zeroed = np.where(np.moveaxis(mask, 0, linear.out_axis), linear.weights, 0)
            set_linear(model.graph, linear, zeroed, linear.bias)
    drop_dead(model)
    total = sum(map(len, families.values()))
    return Changed(len(gone), f"{len(gone):,} of {total:,} channels are gone")


def _families(found: Channels, named: set[ir.Node]) -> Families:
    """Return the channels that may go, all of whose makers are among the layers named."""
    makers: dict[int, list[int]] = {}
    for index, layer in enumerate(found.layers):
        for number in np.unique(layer.made).tolist() if not layer.depthwise else ():
            makers.setdefault(number, []).append(index)
    families: Families = {}
    for number in found.removable().tolist():
        if all(found.layers[index].linear.node in named for index in makers[number]):
            families.setdefault(tuple(makers[number]), []).append(number)
    return families


def _scores(found: Channels) -> dict[int, float]:
    made: dict[int, list[float]] = {}
    read: dict[int, list[float]] = {}
    for layer in found.layers:
        if layer.depthwise:
            continue
        weights = np.moveaxis(layer.linear.weights, layer.linear.out_axis, 0)
        _note(made, layer.made, weights)
        _note(read, layer.read, np.moveaxis(weights, 1, 0))
    return {
        number: float(np.mean(made[number]) * np.mean(read[number]))
        for number in made if number in read
    }  # fmt: skip


def _note(into: dict[int, list[float]], numbers: IntArray, rows: FloatArray) -> None:
    """Add the mean square of each channel's rows, in units of the tensor's."""
    squares = (rows.reshape(len(rows), -1) ** 2).mean(axis=1)
    unit = squares.mean() or 1.0
    for number in np.unique(numbers).tolist():
        into.setdefault(number, []).append(float(squares[numbers == number].mean() / unit))


def _least(family: list[int], scores: Mapping[int, float], share: float) -> list[int]:
    """Return the channels of least score; one of a family stays."""
    count = min(round(share * len(family)), len(family) - 1)
    return sorted(family, key=lambda number: scores[number])[:count]


def _least_of_all(families: Families, scores: Mapping[int, float], share: float) -> set[int]:
    """Return the channels of least score, wherever they are."""
    spared = {max(family, key=lambda number: scores[number]) for family in families.values()}
    every = [number for family in families.values() for number in family]
    ranked = sorted((n for n in every if n not in spared), key=lambda number: scores[number])
    return set(ranked[: round(share * len(every))])


def _of_columns(linear: Linear, kept: Mask) -> Mask:
    """Return a mask [outputs, inputs, ...] of the inputs that stay."""
    shape = np.moveaxis(linear.weights, linear.out_axis, 0).shape
    return np.broadcast_to(kept.reshape(1, -1, *[1] * (len(shape) - 2)), shape)
