"""Which real values each activation takes, observed on samples.

min-max      the smallest and the largest value seen
percentile   the values between which `percentile` % of them lie
entropy      the threshold whose 128 levels lose least information (Kullback-Leibler divergence),
             among those that keep 99.9 % of the values

Source: Migacz, "8-bit inference with TensorRT", 2017 (entropy).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from hardtack_converters.activation_groups import quantized_values
from hardtack_converters.ranges import Range
from hardtack_converters.samples import Samples
from hardtack_runtime.errors import ConfigError, ModelImportError

Method = Literal["min-max", "percentile", "entropy"]
FloatArray = npt.NDArray[np.float64]
Progress = Callable[[int, int], None]
"""Called with samples done and samples in all."""

RUN_IR_VERSION = 10
"""Newest file version that every ONNX Runtime we know of opens."""

BINS = 2048
LEVELS = 128
BLOCK = 32
SETTLED_BLOCKS = 2
SETTLED_SHARE = 0.01
ENTROPY_KEPT = 0.999
"""Share of the values that the entropy method never cuts off."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Ranges, and how they came about.

    Attributes:
        ranges: By name of the value.
        samples: How many samples were used.
        settled: True if it stopped before the last sample.
    """

    ranges: dict[str, Range]
    samples: int
    settled: bool


@dataclass
class _Observed:
    """What was seen of one activation: its limits, then counts of its values."""

    low: float = np.inf
    high: float = -np.inf
    counts: npt.NDArray[np.int64] | None = None

    def widen(self, values: npt.NDArray[Any]) -> bool:
        """Take in values; return whether the range grew by over 1 % of its width."""
        low, high = float(values.min()), float(values.max())
        width = self.high - self.low
        grown = max(self.low - low, high - self.high, 0.0)
        self.low, self.high = min(self.low, low), max(self.high, high)
        return not np.isfinite(width) or grown > SETTLED_SHARE * width

    def count(self, values: npt.NDArray[Any]) -> None:
        """Add values to the histogram between the limits."""
        limits = (self.low, max(self.high, self.low + 1e-12))
        found, _ = np.histogram(values, bins=BINS, range=limits)
        self.counts = found if self.counts is None else self.counts + found


def calibrate(
    model: ir.Model,
    samples: Samples,
    *,
    method: Method = "min-max",
    percentile: float = 99.99,
    progress: Progress | None = None,
) -> Calibration:
    """Observe the ranges of all activations that quantisation needs.

    Stops early when the last 64 samples (2 blocks of 32) widened no range by over 1 % of its
    width: more samples would change nothing.

    Args:
        model: Prepared float model.
        samples: What to feed it.
        method: How ranges follow from what was seen.
        percentile: For `percentile`: share of values kept, over 50, at most 100.
        progress: Told after every sample.

    Raises:
        ConfigError: HT105, onnxruntime is not installed.
        ModelImportError: HT208 the model cannot be run, HT222 it yields NaN or infinity.
    """
    names = [str(value.name) for value in quantized_values(model)]
    session = open_session(model, names)
    observed = {name: _Observed() for name in names}
    used, settled = _observe_limits(session, samples, observed, progress)
    if method != "min-max":
        for _, values in _run(session, samples, observed, used):
            for name, seen in observed.items():
                seen.count(values[name])
    ranges = {name: _range(seen, method, percentile) for name, seen in observed.items()}
    return Calibration(ranges, used, settled)


def _observe_limits(
    session: Any, samples: Samples, observed: dict[str, _Observed], progress: Progress | None
) -> tuple[int, bool]:
    quiet = 0
    grew = False
    for index, values in _run(session, samples, observed, samples.count):
        for name, seen in observed.items():
            if not np.isfinite(values[name]).all():
                raise ModelImportError(
                    "HT222", f"value {name}", f"NaN or infinity on sample {index}",
                    "check the model's weights and the range of its inputs",
                )  # fmt: skip
            grew = seen.widen(values[name]) or grew
        if progress is not None:
            progress(index + 1, samples.count)
        if (index + 1) % BLOCK == 0:
            quiet, grew = (0 if grew else quiet + 1), False
            if quiet >= SETTLED_BLOCKS and index + 1 < samples.count:
                return index + 1, True
    return samples.count, False


def _run(
    session: Any, samples: Samples, observed: dict[str, _Observed], count: int
) -> Iterator[tuple[int, dict[str, npt.NDArray[Any]]]]:
    """Yield every observed value of each sample."""
    inputs = set(samples.arrays)
    wanted = [name for name in observed if name not in inputs]
    for index in range(count):
        feeds = {name: array[index] for name, array in samples.arrays.items()}
        try:
            results = session.run(wanted, feeds)
        except Exception as error:
            raise _refused(error) from error
        yield index, feeds | dict(zip(wanted, results, strict=True))


def open_session(model: ir.Model, names: Sequence[str] = ()) -> Any:
    """Open a float model in ONNX Runtime, one thread, exactly as written.

    Args:
        model: Standard ONNX.
        names: Values to make outputs, besides those it has.

    Returns:
        An `onnxruntime.InferenceSession`.

    Raises:
        ConfigError: HT105, onnxruntime is not installed.
        ModelImportError: HT208, it refuses the model.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(
            "HT105", "calibration", "running the float model needs the package onnxruntime",
            "pip install 'hardtack-converters[calibrate]'",
        ) from error  # fmt: skip
    from onnx import TensorProto, helper

    proto = ir.to_proto(model)
    # The onnx package writes newer files than ONNX Runtime opens; the operators are older ones.
    proto.ir_version = min(proto.ir_version, RUN_IR_VERSION)
    present = {output.name for output in proto.graph.output}
    fed = {value.name for value in proto.graph.input}
    for name in names:
        if name not in present | fed:
            made = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            proto.graph.output.append(made)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise _refused(error) from error


def _refused(error: Exception) -> ModelImportError:
    """Say what ONNX Runtime has said; its exceptions share no base class but Exception."""
    detail = (str(error).splitlines() or [type(error).__name__])[0][:200]
    return ModelImportError("HT208", "model", f"ONNX Runtime refuses it: {detail}")


def _range(seen: _Observed, method: Method, percentile: float) -> Range:
    limits = Range(seen.low, seen.high)
    if seen.counts is None or seen.high <= seen.low:
        return limits
    if method == "percentile":
        return percentile_range(seen.counts, limits, percentile)
    return entropy_range(seen.counts, limits)


def percentile_range(counts: npt.NDArray[np.int64], limits: Range, percentile: float) -> Range:
    """Return the range that leaves out (100 - percentile) % of the values, half at each end.

    Args:
        counts: Histogram over `limits`, bins of equal width.
        limits: Smallest and largest value.
        percentile: Over 50, at most 100.
    """
    share = np.cumsum(counts) / counts.sum()
    edges = np.linspace(limits.low, limits.high, counts.size + 1)
    tail = (1 - percentile / 100) / 2
    first = int(np.searchsorted(share, tail, side="right"))
    last = int(np.searchsorted(share, 1 - tail - 1e-12, side="left"))
    return Range(float(edges[first]), float(edges[min(last + 1, counts.size)]))


def entropy_range(counts: npt.NDArray[np.int64], limits: Range) -> Range:
    """Return `limits` cut at the threshold T of least divergence: [max(low, -T), min(high, T)].

    At least 99.9 % of the values stay within.

    Args:
        counts: Histogram over `limits`, bins of equal width.
        limits: Smallest and largest value.
    """
    edges = np.linspace(limits.low, limits.high, counts.size + 1)
    centres = np.abs((edges[:-1] + edges[1:]) / 2)
    peak = max(abs(limits.low), abs(limits.high))
    magnitude, _ = np.histogram(centres, bins=BINS, range=(0, peak), weights=counts)
    # A spike, such as an even background, hides the loss of all else: it must not cut off more.
    share = np.cumsum(magnitude) / magnitude.sum()
    least = int(np.searchsorted(share, ENTROPY_KEPT)) + 1
    # The zeros of a Relu would outweigh all else and pull the threshold down to them.
    magnitude[0] = magnitude[1]
    best, kept = np.inf, BINS
    for length in range(max(LEVELS, least), BINS + 1, 8):
        divergence = _divergence(magnitude, length)
        if divergence < best:
            best, kept = divergence, length
    threshold = peak * kept / BINS
    return Range(max(limits.low, -threshold), min(limits.high, threshold))


def _divergence(magnitude: FloatArray, length: int) -> float:
    """Return KL(p || q) of the first `length` bins, q being p on 128 levels."""
    p = magnitude[:length].astype(np.float64).copy()
    level = np.minimum(np.arange(length) * LEVELS // length, LEVELS - 1)
    filled = p > 0
    totals = np.bincount(level, weights=p, minlength=LEVELS)
    sizes = np.bincount(level, weights=filled, minlength=LEVELS)
    q = np.where(filled, (totals / np.maximum(sizes, 1))[level], 0.0)
    # What lies beyond the threshold is clipped onto the last bin: p has it, q does not.
    p[-1] += magnitude[length:].sum()
    if p.sum() == 0 or q.sum() == 0:
        return np.inf
    p, q = p / p.sum(), q / q.sum()
    both = p > 0
    return float((p[both] * np.log(p[both] / np.maximum(q[both], 1e-10))).sum())
