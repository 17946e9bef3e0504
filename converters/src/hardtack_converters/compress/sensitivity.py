"""How much each layer can spare: accuracy after pruning one layer alone, by its sparsity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from hardtack_converters.compress.bench import Bench
from hardtack_converters.compress.layers import layer_name
from hardtack_converters.compress.prune_weights import prunable, zero_weights
from hardtack_converters.compress.settings import Prune
from hardtack_converters.passes.drop_dead import drop_dead
from hardtack_runtime.errors import ConfigError

LEVELS = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98)
"""Sparsities that are tried."""
TIE = 1e-2
"""Accuracy that losing all of a layer's squared weights is taken to cost at least: accuracies of
few samples are often equal, and then the smaller weights shall go."""
STEPS = 60
"""Halvings of the price of a weight."""


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What was measured.

    Attributes:
        layers: Names.
        weights: How many each has.
        levels: Sparsities tried.
        accuracy: [layers, levels], with only that layer pruned.
        lost: [layers, levels], share of the layer's squared weights that is not there any more.
        unpruned: Accuracy before.
    """

    layers: tuple[str, ...]
    weights: tuple[int, ...]
    levels: tuple[float, ...]
    accuracy: npt.NDArray[np.float64]
    lost: npt.NDArray[np.float64]
    unpruned: float


def measure_sensitivity(
    model: ir.Model, settings: Prune, bench: Bench, levels: Sequence[float] = LEVELS
) -> Sensitivity:
    """Prune each layer alone to each level, and judge the int8 model every time.

    The weights that are left stay as they are: fitting them would take long, and hide how much a
    layer depends on the others.

    Args:
        model: Prepared float model; not changed.
        settings: Pattern, layers and number of samples; its share is not used.
        bench: With samples to judge by.
        levels: Sparsities to try, rising.

    Raises:
        ConfigError: HT104, there is nothing to judge by; HT110, a layer that is not there.
    """
    layers = prunable(model, settings)
    unpruned = bench.accuracy(model, settings.samples)
    if unpruned is None:
        raise ConfigError(
            "HT104", "sensitivity", "there is nothing to measure accuracy on",
            'add [data] evaluate = { path = "test.npz" }, samples with their classes',
        )  # fmt: skip
    names = [layer_name(layer.node) for layer in layers]
    accuracy, lost = np.zeros((len(names), len(levels))), np.zeros((len(names), len(levels)))
    for row, name in enumerate(names):
        before = float((layers[row].weights ** 2).sum()) or 1.0
        for column, level in enumerate(levels):
            draft = model.clone()
            zero_weights(draft, settings, {name: level})
            after = prunable(draft, settings)[row]
            lost[row, column] = 1 - float((after.weights**2).sum()) / before
            drop_dead(draft)
            accuracy[row, column] = bench.accuracy(draft, settings.samples)
            bench.progress(row * len(levels) + column + 1, len(names) * len(levels))
    weights = tuple(layer.weights.size for layer in layers)
    return Sensitivity(tuple(names), weights, tuple(levels), accuracy, lost, unpruned)


def shares_for(found: Sensitivity, share: float) -> dict[str, float]:
    """Return the sparsity of each layer that comes to `share` of all weights at the least cost.

    Costs are taken to add up. A price per weight is found at which the layers, each choosing its
    best level for itself, come to the share; between the two prices next to it lies the answer.

    Args:
        found: The costs.
        share: Of the weights of all these layers together, below 1.
    """
    levels = np.array([0.0, *found.levels])
    drops = np.maximum.accumulate(np.maximum(found.unpruned - found.accuracy, 0), axis=1)
    costs = np.pad(drops + TIE * found.lost, ((0, 0), (1, 0)))
    weights = np.array(found.weights, np.float64)
    if share >= levels[-1]:
        return dict.fromkeys(found.layers, share)

    def chosen(price: float) -> npt.NDArray[np.float64]:
        best = np.argmin(costs - price * weights[:, None] * levels, axis=1)
        return np.asarray(levels[best])

    low, high = 0.0, 2 * float(costs.max() + 1) / float(weights.min() * np.diff(levels).min())
    for _ in range(STEPS):
        middle = (low + high) / 2
        if chosen(middle) @ weights < share * weights.sum():
            low = middle
        else:
            high = middle
    few, many = chosen(low), chosen(high)
    reach = (many - few) @ weights
    part = (share * weights.sum() - few @ weights) / reach if reach > 0 else 1.0
    made = few + float(np.clip(part, 0, 1)) * (many - few)
    return dict(zip(found.layers, map(float, made), strict=True))
