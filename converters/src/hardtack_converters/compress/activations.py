"""What activations are like on calibration samples, channel by channel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import onnx_ir as ir

from hardtack_converters.calibrate import open_session
from hardtack_converters.passes.linear import FloatArray
from hardtack_converters.samples import Samples

SAMPLES = 128
"""Enough for means and peaks; more would only take time."""


def channel_means(
    model: ir.Model, names: Sequence[str], samples: Samples, limit: int = SAMPLES
) -> dict[str, FloatArray]:
    """Return the means of values over samples and all axes but the second.

    Args:
        model: Standard ONNX, float or QDQ.
        names: Of values of at least two dimensions.
        samples: What to feed it.
        limit: Samples used, at most.
    """
    sums: dict[str, FloatArray] = {}
    for name, mean in _reduced(model, names, samples, limit, lambda value, axes: value.mean(axes)):
        sums[name] = sums.get(name, np.zeros_like(mean)) + mean
    return {name: total / min(limit, samples.count) for name, total in sums.items()}


def channel_peaks(
    model: ir.Model, names: Sequence[str], samples: Samples, limit: int = SAMPLES
) -> dict[str, FloatArray]:
    """Return the largest magnitudes of values over samples and all axes but the second."""
    peaks: dict[str, FloatArray] = {}
    found = _reduced(model, names, samples, limit, lambda value, axes: np.abs(value).max(axes))
    for name, peak in found:
        peaks[name] = np.maximum(peaks.get(name, np.zeros_like(peak)), peak)
    return peaks


def _reduced(
    model: ir.Model,
    names: Sequence[str],
    samples: Samples,
    limit: int,
    reduce: Callable[[FloatArray, tuple[int, ...]], FloatArray],
) -> Iterator[tuple[str, FloatArray]]:
    """Yield each value of each sample, reduced to its second axis."""
    for values in sample_values(model, names, samples, limit):
        for name, value in values.items():
            yield name, reduce(value, tuple(axis for axis in range(value.ndim) if axis != 1))


def sample_values(
    model: ir.Model, names: Sequence[str], samples: Samples, limit: int
) -> Iterator[dict[str, FloatArray]]:
    """Yield the values of some names for each sample, float64, those of inputs included.

    Args:
        model: Standard ONNX, float or QDQ.
        names: Of values.
        samples: What to feed it.
        limit: Samples used, at most, from all over: files are often sorted by class.
    """
    names = list(dict.fromkeys(names))
    wanted = [name for name in names if name not in samples.arrays]
    session = open_session(model, wanted)
    for index in np.linspace(0, samples.count - 1, min(limit, samples.count)).astype(int):
        feeds = {name: array[index] for name, array in samples.arrays.items()}
        results = session.run(wanted, feeds) if wanted else []
        values = feeds | dict(zip(wanted, results, strict=True))
        yield {name: np.asarray(values[name], np.float64) for name in names}
