"""Few bits where a layer can spare them: the best choice for a number of bytes.

Each layer alone is given each of `choices` first, as by `low_bit`, and the model packed. What that
costs is the noise in the model's outputs on calibration samples, relative to their power: it tells
far finer than accuracies of a few hundred samples, and needs no classes (Pandey 2023,
arXiv 2302.05397). Costs and savings are taken to add up; of all ways to come to `size` the one of
least cost is found exactly, by dynamic programming over bytes. Then the layers are changed in
order, each making up for those before it, and the bundle is packed: where savings did not quite
add up, more is asked for.

A `size` that not even the fewest bits come to is an error (HT104), `required` or not. One that the
bundle keeps already changes nothing, and is no error.

Codes of fewer bits are computed as fast as int8, so bytes are what there is to choose by.

Depthwise layers keep their 8 bits unless `layers` names them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from hardtack_converters.compress.activations import sample_values
from hardtack_converters.compress.bench import Bench, Changed, needed
from hardtack_converters.compress.layers import count_of, layer_name
from hardtack_converters.compress.low_bit import changeable, lay_on_grid
from hardtack_converters.compress.settings import Bits, LowBit, MixedPrecision, largest_code
from hardtack_converters.passes.linear import FloatArray, linear_of
from hardtack_runtime.errors import ConfigError

TRIES = 12
"""Times that more is asked for, because savings did not add up."""
LEAST_MORE = 200
"""Part of the size that is then asked for at least: a few bytes more would change no choice."""

IntArray = npt.NDArray[np.int64]
Picks = npt.NDArray[np.int8]
"""Columns of choices, -1 for none, for each number of bytes: there is one such array a layer."""
Assignment = dict[str, Bits]
"""Bits of each layer that does not keep its 8."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What each layer alone would cost and save.

    Attributes:
        layers: Names.
        bits: Tried, fewer and fewer.
        costs: [layers, bits], power of the noise in the outputs over that of the outputs.
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
        bench: Samples, and the way to a bundle.

    Raises:
        ConfigError: HT110, a name in `layers` matches nothing; HT104, no bench, or not even the
            fewest bits come to `size`.
    """
    bench = needed(bench, "mixed_precision")
    changeable(model, settings.layers)  # names that match nothing are an error in any case
    if bench.measure(model, 1).bytes <= settings.size:
        told = f"the limit of {settings.size:,} bytes was kept already"
        return Changed(0, told, satisfied=True)
    found = measure_choices(model, settings, bench)
    excess = found.bytes - settings.size
    need, source = excess, model.clone()
    for _ in range(TRIES):
        wanted = cheapest(found, need)
        draft = source.clone()
        _assign(draft, wanted, source, bench)
        excess = bench.measure(draft, 1).bytes - settings.size
        if excess <= 0 or wanted == fewest(found):
            break
        need += max(excess, settings.size // LEAST_MORE)
    if excess > 0:
        raise ConfigError(
            "HT104", "size", f"the bundle keeps {settings.size + excess:,} bytes",
            f"ask for no less than {settings.size + excess} B, or allow fewer bits in `choices`",
        )  # fmt: skip
    _assign(model, wanted, source, bench)
    told = " ".join(str(wanted.get(name, 8)) for name in found.layers)
    return Changed(len(wanted), f"bits of {count_of(len(found.layers))}, in order: {told}")


def measure_choices(model: ir.Model, settings: MixedPrecision, bench: Bench) -> Choices:
    """Give each layer alone each number of bits; pack, and compare outputs, every time.

    Args:
        model: Prepared float model; not changed.
        settings: Layers, bits and number of samples.
        bench: Samples, and the way to a bundle.

    Raises:
        ConfigError: HT110, a name in `layers` matches nothing.
    """
    layers = changeable(model, settings.layers)
    names = tuple(layer_name(layer.node) for layer in layers)
    bits = tuple(sorted(set(settings.choices), key=_rank, reverse=True))
    size, wanted = bench.measure(model, 1).bytes, _outputs(model, settings, bench)
    costs, savings = np.zeros((len(names), len(bits))), np.zeros((len(names), len(bits)), np.int64)
    for row in range(len(names)):
        for column, few in enumerate(bits):
            draft = model.clone()
            _assign(draft, {names[row]: few}, model, bench)
            costs[row, column] = _noise(wanted, _outputs(draft, settings, bench))
            savings[row, column] = size - bench.measure(draft, 1).bytes
            bench.progress(row * len(bits) + column + 1, len(names) * len(bits))
    return Choices(names, bits, costs, savings, size)


def _rank(bits: Bits) -> tuple[int, bool]:
    return largest_code(bits), bits != "binary"


def _outputs(model: ir.Model, settings: MixedPrecision, bench: Bench) -> list[FloatArray]:
    """Return each output of a model, before a softmax, [samples, elements]."""
    names = [_before_softmax(value) for value in model.graph.outputs]
    every = list(sample_values(model, names, bench.samples, settings.samples))
    return [np.stack([values[name].ravel() for values in every]) for name in names]


def _before_softmax(value: ir.Value) -> str:
    node = value.producer()
    source = node.inputs[0] if node is not None and node.op_type == "Softmax" else None
    return str((source or value).name)


def _noise(wanted: list[FloatArray], found: list[FloatArray]) -> float:
    """Return the squared differences of outputs over their variance, summed over outputs."""
    return sum(
        float(((one - other) ** 2).sum() / max(((one - one.mean()) ** 2).sum(), 1e-30))
        for one, other in zip(wanted, found, strict=True)
    )


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
    picks: list[Picks] = []
    for costs, savings in zip(found.costs, found.savings, strict=True):
        here, pick = best.copy(), np.full(need + 1, -1, np.int8)
        for column in np.flatnonzero(savings > 0):
            rest = np.maximum(np.arange(need + 1) - savings[column], 0)
            cost = best[rest] + costs[column]
            pick, here = np.where(cost < here, np.int8(column), pick), np.minimum(cost, here)
        best = here
        picks.append(pick)
    return _traced(found, picks, need)


def _traced(found: Choices, picks: Sequence[Picks], need: int) -> Assignment:
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
