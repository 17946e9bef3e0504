"""Mean values of activations on calibration samples, channel by channel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from hardtack_converters.calibrate import open_session
from hardtack_converters.compress.layers import weighted_layers
from hardtack_converters.passes.linear import FloatArray
from hardtack_converters.samples import Samples

SAMPLES = 128
"""Enough for means; more would only take time."""


def input_means(model: ir.Model, samples: Samples, limit: int = SAMPLES) -> dict[str, FloatArray]:
    """Return the mean of each channel that a Conv or Gemm reads.

    Args:
        model: Float model.
        samples: What to feed it.
        limit: Samples used, at most.

    Returns:
        float64 [channels] by the name of the value.
    """
    sources = [layer.node.inputs[0] for layer in weighted_layers(model)]
    return means(model, [str(v.name) for v in sources if v is not None], samples, limit)


def means(
    model: ir.Model, names: Sequence[str], samples: Samples, limit: int = SAMPLES
) -> dict[str, FloatArray]:
    """Return the means of values over samples and all axes but the second.

    Args:
        model: Standard ONNX, float or QDQ.
        names: Of values of at least two dimensions.
        samples: What to feed it.
        limit: Samples used, at most.
    """
    names = list(dict.fromkeys(names))
    session = open_session(model, names)
    sums: dict[str, FloatArray] = {}
    count = min(limit, samples.count)
    for index in range(count):
        feeds = {name: array[index] for name, array in samples.arrays.items()}
        wanted = [name for name in names if name not in feeds]
        values = feeds | dict(zip(wanted, session.run(wanted, feeds), strict=True))
        for name in names:
            value = np.asarray(values[name], np.float64)
            mean = value.mean(axis=tuple(axis for axis in range(value.ndim) if axis != 1))
            sums[name] = sums.get(name, np.zeros_like(mean)) + mean
    return {name: total / count for name, total in sums.items()}
