"""Zeros where weights matter least: a coding by zero runs stores them in a fraction of a bit.

The least important are those of smallest magnitude (Han 2015, arXiv 1506.02626).

- `unstructured`: single weights, each layer the same share, or (`scope = "global"`) the least of
  all layers by LAMP (Lee 2021, arXiv 2010.07611). Smallest at the same accuracy.
- `n:m`: n of every m weights along the input channels stay (2:4: Mishra 2021, arXiv 2104.08378).
- `vector`: `size` weights in a row along the input channels go together.
- `channel`: whole channels go (Li 2017, arXiv 1608.08710), with every weight that makes or reads
  them; where a residual Add, a depthwise Conv or a concatenation ties channels, they go together
  (Fang 2023, arXiv 2301.12900). Every kernel gets faster and the arena smaller; n:m and vector
  patterns are for devices whose kernels know them, and cost more accuracy than single weights.

Depthwise layers are left alone unless `layers` names them: they have few weights and need them.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hardtack_converters.compress.bench import Bench, Changed
from hardtack_converters.compress.layers import chosen_layers, is_depthwise
from hardtack_converters.compress.masks import Mask, block_masks, n_of_m_mask
from hardtack_converters.compress.prune_channels import prune_channels
from hardtack_converters.compress.settings import Prune
from hardtack_converters.passes.linear import FloatArray, Linear, set_linear


def prune(model: ir.Model, settings: Prune, bench: Bench | None = None) -> Changed:
    """Zero the least important weights.

    Args:
        model: Prepared float model, changed in place.
        settings: What goes.
        bench: Needed by `sensitivity`.

    Raises:
        ConfigError: HT110, a name in `layers` matches nothing; HT104, no bench.
    """
    if settings.pattern == "channel":
        return prune_channels(model, settings, bench)
    layers = chosen_layers(model, settings.layers, lambda layer: not is_depthwise(layer))
    masks = _masks([by_output(layer) for layer in layers], settings)
    changed = [zero_out(model.graph, *pair) for pair in zip(layers, masks, strict=True)]
    after = chosen_layers(model, settings.layers, lambda layer: not is_depthwise(layer))
    total = sum(layer.weights.size for layer in after)
    zeros = total - sum(int(np.count_nonzero(layer.weights)) for layer in after)
    share = 100 * zeros / max(total, 1)
    return Changed(sum(changed), f"{share:.1f} % of {total:,} weights are zero")


def _masks(tensors: list[FloatArray], settings: Prune) -> list[Mask]:
    if settings.kept_of is not None:
        return [n_of_m_mask(tensor, *settings.kept_of) for tensor in tensors]
    return block_masks(
        tensors, settings.share, size=settings.size if settings.pattern == "vector" else 1,
        together=settings.scope == "global",
    )  # fmt: skip


def by_output(layer: Linear) -> FloatArray:
    """Return the weights as [outputs, inputs, ...]."""
    return np.moveaxis(layer.weights, layer.out_axis, 0)


def zero_out(graph: ir.Graph, layer: Linear, mask: Mask) -> bool:
    """Zero the weights that a mask [outputs, inputs, ...] does not keep; return if any was not."""
    kept = np.moveaxis(mask, 0, layer.out_axis)
    set_linear(graph, layer, np.where(kept, layer.weights, 0), layer.bias)
    return bool(layer.weights[~kept].any())
