"""Single weights, n of m, and vectors: zeros in tensors that keep their shape."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from hardtack_converters.compress.bench import Bench
from hardtack_converters.compress.layers import (
    chosen_layers,
    is_depthwise,
    layer_name,
    weighted_layers,
)
from hardtack_converters.compress.masks import Mask, block_masks, n_of_m_mask
from hardtack_converters.compress.reconstruct import can_reconstruct, refit
from hardtack_converters.compress.settings import Prune
from hardtack_converters.passes.linear import FloatArray, Linear, set_linear


def prunable(model: ir.Model, settings: Prune, place: str = "layers") -> list[Linear]:
    """Return the layers that settings name; by default all but depthwise ones.

    Raises:
        ConfigError: HT110, a name in `layers` matches nothing.
    """
    return chosen_layers(model, settings.layers, lambda layer: not is_depthwise(layer), place)


def by_output(layer: Linear) -> FloatArray:
    """Return the weights as [outputs, inputs, ...]."""
    return np.moveaxis(layer.weights, layer.out_axis, 0)


def zero_weights(
    model: ir.Model,
    settings: Prune,
    shares: Mapping[str, float] | None = None,
    bench: Bench | None = None,
) -> int:
    """Zero the least important weights; return how many layers have other weights now.

    Args:
        model: Changed in place.
        settings: What goes.
        shares: Share that goes by name of the layer; None: what the settings say of all.
        bench: Samples, for the weights that are left to make up for the others; None: they stay
            as they are.
    """
    layers = prunable(model, settings)
    if shares is None:
        masks = _masks([by_output(layer) for layer in layers], settings, settings.share)
    else:
        layers = [layer for layer in layers if layer_name(layer.node) in shares]
        masks = [
            _masks([by_output(layer)], settings, shares[layer_name(layer.node)])[0]
            for layer in layers
        ]
    source = model.clone()
    originals = {layer_name(layer.node): layer for layer in weighted_layers(source)}
    changed = 0
    for index, (layer, mask) in enumerate(zip(layers, masks, strict=True)):
        if not by_output(layer)[~mask].any():
            continue
        if bench is not None and can_reconstruct(layer):
            refit(model, layer, mask, (source, originals[layer_name(layer.node)]), bench.samples)
            bench.progress(index + 1, len(layers))
        else:
            kept = np.moveaxis(mask, 0, layer.out_axis)
            set_linear(model.graph, layer, np.where(kept, layer.weights, 0), layer.bias)
        changed += 1
    return changed


def _masks(tensors: list[FloatArray], settings: Prune, share: float) -> list[Mask]:
    if settings.kept_of is not None:
        return [n_of_m_mask(tensor, *settings.kept_of) for tensor in tensors]
    return block_masks(
        tensors, share, size=settings.size if settings.pattern == "vector" else 1,
        together=settings.scope == "global",
    )  # fmt: skip
