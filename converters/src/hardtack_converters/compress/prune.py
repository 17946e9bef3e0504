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

With `reconstruct`, the weights and biases that are left are fitted, layer after layer, so that each
layer's outputs on calibration samples stay as they can: exact least squares (He 2017,
arXiv 1707.06168, for channels; Frantar 2022, arXiv 2208.11580, for weights).

`sensitivity = true` prunes each layer alone to several sparsities first and judges the int8 model
every time (`hardtack sensitivity` shows the table); the layers then lose different shares that
come to the one asked for at the least sum of costs (as Han 2015 does by hand). The samples that
judge choose: keep others for the final figure.

Depthwise layers are left alone unless `layers` names them: they have few weights and need them.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hardtack_converters.compress.bench import Bench, Changed, needed
from hardtack_converters.compress.prune_channels import prune_channels
from hardtack_converters.compress.prune_weights import prunable, zero_weights
from hardtack_converters.compress.sensitivity import measure_sensitivity, shares_for
from hardtack_converters.compress.settings import Prune


def prune(model: ir.Model, settings: Prune, bench: Bench | None = None) -> Changed:
    """Zero the least important weights, or remove the least important channels.

    Args:
        model: Prepared float model, changed in place.
        settings: What goes.
        bench: Needed by `sensitivity`; without it nothing makes up for what goes.

    Raises:
        ConfigError: HT110, a name in `layers` matches nothing; HT104, no bench.
    """
    if settings.pattern == "channel":
        return prune_channels(model, settings, bench)
    shares = None
    if settings.sensitivity:
        found = measure_sensitivity(model, settings, needed(bench, "prune"))
        shares = shares_for(found, settings.share)
    changed = zero_weights(model, settings, shares, bench if settings.reconstruct else None)
    after = prunable(model, settings)
    total = sum(layer.weights.size for layer in after)
    zeros = total - sum(int(np.count_nonzero(layer.weights)) for layer in after)
    share = 100 * zeros / max(total, 1)
    return Changed(changed, f"{share:.1f} % of {total:,} weights are zero")
