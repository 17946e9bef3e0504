"""Few bits where a layer can spare them: the best choice for a number of bytes.

Each layer alone is given each of `choices` first, as by `low_bit`, and the int8 model packed, and
judged on [data] evaluate. Costs and savings are taken to add up; of all ways to come to `size` the
one of least cost is found exactly, by dynamic programming over bytes (Dong 2019, arXiv 1905.03696,
asks second derivatives instead). Then the layers are changed in order, each making up for those
before it, and the bundle is packed: where savings did not quite add up, more is asked for.

Codes of fewer bits are computed as fast as int8, so bytes are what there is to choose by. The
samples that judge choose: keep others for the final figure.

Depthwise layers keep their 8 bits unless `layers` names them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from hardtack_converters.compress.bench import Bench, Changed, needed, unmeasurable
from hardtack_converters.compress.layers import layer_name
from hardtack_converters.compress.low_bit import changeable, grid_scales, lay_on_grid, snapped
from hardtack_converters.compress.settings import Bits, LowBit, MixedPrecision, largest_code
from hardtack_converters.passes.linear import FloatArray, Linear, linear_of
from hardtack_runtime.errors import ConfigError

TIE = 1e-2
"""Accuracy that losing all of a layer's squared weights is taken to cost at least: accuracies of
few samples are often equal, and then the layers that lose less shall have fewer bits."""
TRIES = 6
"""Times that more is asked for, because savings did not add up."""

IntArray = npt.NDArray[np.int64]
Assignment = dict[str, Bits]
"""Bits of each layer that does not keep its 8."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What each layer alone would cost and save.

    Attributes:
        layers: Names.
        bits: Tried, fewer and fewer.
        costs: [layers, bits], accuracy lost and a little.
        savings: [layers, bits], bytes of the bundle.
        bytes: Of the bundle with all layers at 8 bits.
    """

    layers: tuple[str, ...]
    bits: tuple[Bits, ...]
    costs: FloatArray
    savings: IntArray
    bytes: int


def mixed_precision(
    model: ir.Model, settings: MixedPrecision, bench: Bench | None = None
) -> Changed:
    """Give layers few bits until the bundle has `size` bytes.

    Args:
        model: Prepared float model, changed in place.
        settings: How many bytes, and which bits and layers.
        bench: With samples to judge by.

    Raises:
        ConfigError: HT110, a name in `layers` matches nothing; HT104, nothing to judge by, or
            not even the fewest bits come to `size`.
    """
    bench = needed(bench, "mixed_precision")
    found = measure_choices(model, settings, bench)
    excess = found.bytes - settings.size
    if excess <= 0 or not found.layers:
        return Changed(0, f"it has {found.bytes:,} bytes")
    need, source = excess, model.clone()
    for _ in range(TRIES):
        wanted = cheapest(found, need)
        draft = source.clone()
        _assign(draft, wanted, source, bench)
        excess = bench.measure(draft, 1).bytes - settings.size
        if excess <= 0 or wanted == fewest(found):
            break
        need += excess
    if excess > 0:
        raise ConfigError(
            "HT104", "size", f"the bundle keeps {settings.size + excess:,} bytes",
            f"ask for no less than {settings.size + excess} B, or allow fewer bits in `choices`",
        )  # fmt: skip
    _assign(model, wanted, source, bench)
    told = " ".join(str(wanted.get(name, 8)) for name in found.layers)
    return Changed(len(wanted), f"bits of {len(found.layers)} layers, in order: {told}")


def measure_choices(model: ir.Model, settings: MixedPrecision, bench: Bench) -> Choices:
    """Give each layer alone each number of bits; pack and judge every time.

    Args:
        model: Prepared float model; not changed.
        settings: Layers, bits and number of samples.
        bench: With samples to judge by.

    Raises:
        ConfigError: HT110, HT104 as `mixed_precision`.
    """
    layers = changeable(model, settings.layers)
    names = tuple(layer_name(layer.node) for layer in layers)
    bits = tuple(sorted(set(settings.choices), key=_rank, reverse=True))
    before = bench.measure(model, settings.samples)
    if before.accuracy is None:
        raise unmeasurable("mixed_precision")
    costs, savings = np.zeros((len(names), len(bits))), np.zeros((len(names), len(bits)), np.int64)
    for row, layer in enumerate(layers):
        for column, few in enumerate(bits):
            draft = model.clone()
            _assign(draft, {names[row]: few}, model, bench)
            after = bench.measure(draft, settings.samples)
            costs[row, column] = max(before.accuracy - (after.accuracy or 0.0), 0.0)
            costs[row, column] += TIE * _lost(layer, few)
            savings[row, column] = before.bytes - after.bytes
            bench.progress(row * len(bits) + column + 1, len(names) * len(bits))
    return Choices(names, bits, np.maximum.accumulate(costs, axis=1), savings, before.bytes)


def _rank(bits: Bits) -> tuple[int, bool]:
    return largest_code(bits), bits != "binary"


def _lost(layer: Linear, bits: Bits) -> float:
    """Return the share of squared weights that rounding to the nearest codes is off."""
    weights = np.moveaxis(layer.weights, layer.out_axis, 0)
    rows = weights.reshape(len(weights), -1)
    off = snapped(rows, grid_scales(rows, bits), bits) - rows
    return float((off**2).sum() / (rows**2).sum())


def cheapest(found: Choices, need: int) -> Assignment:
    """Return the bits of layers that save at least `need` bytes at the least sum of costs.

    Args:
        found: Costs and savings.
        need: Bytes, at least 1; where no choice saves as much, the one that saves most is returned.
    """
    if found.savings.clip(0).max(axis=1).sum() <= need:
        return fewest(found)
    best = np.full(need + 1, np.inf)  # least cost of saving so many bytes or more
    best[0] = 0.0
    picks: list[IntArray] = []
    for costs, savings in zip(found.costs, found.savings, strict=True):
        here, pick = best.copy(), np.full(need + 1, -1)
        for column in np.flatnonzero(savings > 0):
            rest = np.maximum(np.arange(need + 1) - savings[column], 0)
            cost = best[rest] + costs[column]
            pick, here = np.where(cost < here, column, pick), np.minimum(cost, here)
        best = here
        picks.append(pick)
    return _traced(found, picks, need)


def _traced(found: Choices, picks: Sequence[IntArray], need: int) -> Assignment:
    """Return the choices behind the last entry of the table, from the last layer to the first."""
    wanted: Assignment = {}
    for row in reversed(range(len(picks))):
        column = int(picks[row][need])
        if column >= 0:
            wanted[found.layers[row]] = found.bits[column]
            need = max(need - int(found.savings[row, column]), 0)
    return wanted


def fewest(found: Choices) -> Assignment:
    """Return for each layer the bits that save most."""
    columns = found.savings.argmax(axis=1)
    return {
        name: found.bits[column]
        for name, column, savings in zip(found.layers, columns, found.savings, strict=True)
        if savings[column] > 0
    }


def _assign(model: ir.Model, wanted: Assignment, source: ir.Model, bench: Bench) -> None:
    """Give layers of a model their bits, in order."""
    originals = {layer_name(node): node for node in source.graph}
    for node in model.graph:
        name = layer_name(node)
        if name in wanted:
            layer, original = linear_of(node), linear_of(originals[name])
            assert layer is not None
            assert original is not None
            lay_on_grid(model, layer, LowBit(bits=wanted[name]), (source, original), bench)
