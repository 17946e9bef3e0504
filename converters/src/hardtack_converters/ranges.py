"""Grids: how a real range, or a weight, is laid on int8 codes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

CODES = 255
"""Steps between the smallest and the largest of 256 codes."""
SMALLEST_SCALE = float(np.finfo(np.float32).tiny) * 128
GRID_TOLERANCE = 0.01
"""Of a step: float32 products of step and code, scaled by the input's normalisation, are nearer."""
BIAS_LIMIT = 1 << 30
"""Largest bias code: it leaves as much again to the products."""
TELLING = 4
"""Weights of an output that tell whether it lies on a grid: fewer often do so by chance."""


@dataclass(frozen=True, slots=True)
class Range:
    """The real values a tensor takes.

    Attributes:
        low: Smallest, finite.
        high: Largest, finite, >= low.
    """

    low: float
    high: float

    def joined(self, other: Range) -> Range:
        """Return the range that holds both."""
        return Range(min(self.low, other.low), max(self.high, other.high))


def affine_grid(values: Range) -> tuple[float, int]:
    """Return scale and zero point that spread a range, widened to hold 0, over -128..127.

    0.0 is a code exactly: padding and Relu are exact. -10..30 gives -10 -> -128, 30 -> 127,
    10 -> 0: TFLite's example of 0, 255, 128, moved by 128.

    Returns:
        A float32 scale > 0 and a zero point in -128..127.
    """
    low, high = min(values.low, 0.0), max(values.high, 0.0)
    scale = float(np.float32((high - low) / CODES))
    if scale < SMALLEST_SCALE:
        return 1.0, 0
    zero = int(np.clip(np.rint(-128 - low / scale), -128, 127))
    assert scale * (zero - zero) == 0.0
    return scale, zero


_MOST_SUMMED = (1 << 31) - 4096
"""Of a sum of int16: less than what fits by what float32 scales may round a bias by."""
LARGEST_WIDE = 32767
"""Largest code of int16 activations; the least is as far from 0."""


def symmetric_grid(values: Range) -> tuple[float, int]:
    """Return scale and zero point that lay a range on -32767..32767, 0 being 0 exactly."""
    scale = float(np.float32(max(abs(values.low), abs(values.high)) / LARGEST_WIDE))
    return (1.0, 0) if scale < SMALLEST_SCALE else (scale, 0)


def wide_constant(real: FloatArray) -> tuple[FloatArray, npt.NDArray[np.int16]]:
    """Return the scale [1] and the int16 codes of a constant operand."""
    peak = float(np.abs(real).max(initial=0))
    scale, _ = symmetric_grid(Range(-peak, peak))
    codes = np.rint(real.astype(np.float64) / scale).clip(-LARGEST_WIDE, LARGEST_WIDE)
    return np.array([scale], np.float32), codes.astype(np.int16)


def scale_within_sums(
    weights: FloatArray, scale: FloatArray, axis: int, bias: npt.NDArray[np.float64] | None
) -> FloatArray:
    """Return scales at which sum |w| * 2^15 + |bias| < 2^31, coarser ones where that takes it.

    Args:
        weights: float32, finite.
        scale: float32 [size of axis], of the weights.
        axis: Of the output channels.
        bias: float64 [size of axis], over the scale of the input; None for 0.
    """
    found = scale.astype(np.float32)
    for _ in range(100):
        codes = np.moveaxis(weight_codes(weights, found, axis), axis, 0).reshape(len(found), -1)
        sums = np.abs(codes.astype(np.int64)).sum(axis=1) << 15
        if bias is not None:
            sums += np.abs(np.rint(bias / found)).astype(np.int64)
        over = sums / _MOST_SUMMED
        if (over <= 1).all():
            break
        found = np.where(over > 1, found * np.maximum(over, 1.0001), found).astype(np.float32)
    return found


def weight_scale(weights: FloatArray, axis: int | None) -> FloatArray:
    """Return the symmetric scales of a weight: peak / 127.

    Channels of zeros, or of subnormals, get scale 1 and codes 0.

    Args:
        weights: float32, finite.
        axis: Of the output channels; None for one scale for all.

    Returns:
        float32 [size of axis] or [1], all > 0.
    """
    others = tuple(a for a in range(weights.ndim) if a != axis)
    peak = np.abs(weights).max(axis=others if axis is not None else None, initial=0)
    peak = np.atleast_1d(peak).astype(np.float64)
    return np.where(peak > 127 * SMALLEST_SCALE, peak / 127, 1).astype(np.float32)


WIDEST = 127 + 256 * 127
"""Largest code of a weight in two planes."""
_MOST_OUTLIERS = 255
"""Of one output channel: so many are sparse in any case."""


def outlier_scale(weights: FloatArray, axis: int, share: float) -> FloatArray:
    """Return scales at which a share of the codes, at most, is beyond -127..127, within +-WIDEST.

    With j outliers, a channel's scale is its (j + 1)-th largest weight / 127, its noise
    n scale^2 / 12 for n weights that are not 0. The numbers j that have the least sum of noise are
    those that have, for some price, the least sum of noise and price * j, channel by channel.

    Args:
        weights: float32, finite.
        axis: Of the output channels.
        share: Of all weights, in (0, 1).

    Returns:
        float32 [size of axis], all > 0.
    """
    rows = np.abs(np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1))
    count = min(rows.shape[1], _MOST_OUTLIERS + 1)
    largest = -np.sort(-rows, axis=1)[:, :count].astype(np.float64)
    scales = np.maximum(largest / 127, largest[:, :1] / WIDEST)
    noise = np.count_nonzero(rows, axis=1)[:, None] * scales**2 / 12
    steps = np.arange(count)
    budget = int(share * rows.size)

    def outliers_at(price: float) -> npt.NDArray[np.int64]:
        return np.asarray((noise + price * steps).argmin(axis=1))

    low, high = 0.0, float(noise.max(initial=0)) + 1.0
    for _ in range(60):
        price = (low + high) / 2
        low, high = (low, price) if outliers_at(price).sum() <= budget else (price, high)
    chosen = scales[np.arange(len(rows)), outliers_at(high)]
    return np.where(chosen > SMALLEST_SCALE, chosen, 1).astype(np.float32)


def grid_step(weights: FloatArray) -> float | None:
    """Return the step of the grid that all weights already lie on, codes within -127..127.

    Training on a grid leaves such weights; laying them on another grid would change them, and
    would spread their few values over many codes. None where there is no such grid.

    Args:
        weights: float32, finite.
    """
    sizes = np.unique(np.abs(weights[weights != 0]).astype(np.float64))
    if len(sizes) == 0 or sizes[-1] > 127.5 * sizes[0] or sizes[0] <= SMALLEST_SCALE:
        return None
    few = sizes[:: max(1, len(sizes) // 64)]  # most tensors lie on no grid, and few tell that
    for largest in range(int(sizes[-1] / sizes[0]), 128):
        if _fits(few, sizes[-1] / largest) and _fits(sizes, sizes[-1] / largest):
            codes = np.rint(sizes * largest / sizes[-1])
            # The largest codes tell the step most exactly.
            return float(sizes @ codes / (codes @ codes))
    return None


def channel_steps(weights: FloatArray, axis: int) -> FloatArray | None:
    """Return the step of each output's own grid, 1 for outputs of zeros; None if any has none.

    As `grid_step`, for layers whose outputs were laid on grids of few codes one by one.

    Args:
        weights: float32, finite.
        axis: Of the output channels.
    """
    rows = np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1)
    if rows.shape[1] < TELLING or not rows.any():
        return None
    steps = np.ones(len(rows), np.float32)
    for index, row in enumerate(rows):
        if row.any():
            step = grid_step(row)
            if step is None:
                return None
            steps[index] = step
    return steps


def lies_on_grid(weights: FloatArray, axis: int) -> bool:
    """Return whether weights keep their codes: one grid for all, or one for each output."""
    return grid_step(weights) is not None or channel_steps(weights, axis) is not None


def _fits(sizes: npt.NDArray[np.float64], step: float) -> bool:
    """Return whether all sizes are whole steps, as nearly as 127 steps to the peak would be."""
    codes = sizes / step
    slack = GRID_TOLERANCE * codes.max() / 127
    return bool(np.abs(codes - np.rint(codes)).max() < slack and codes.min() > 0.5)


def weight_codes(weights: FloatArray, scale: FloatArray, axis: int | None) -> npt.NDArray[np.int8]:
    """Return round(weights / scale) within -127..127: dropping -128 keeps the range symmetric."""
    return np.clip(_rounded(weights, scale, axis), -127, 127).astype(np.int8)


def wide_codes(weights: FloatArray, scale: FloatArray, axis: int) -> npt.NDArray[np.int32]:
    """Return round(weights / scale) within +-WIDEST, for two planes."""
    return np.clip(_rounded(weights, scale, axis), -WIDEST, WIDEST).astype(np.int32)


def _rounded(weights: FloatArray, scale: FloatArray, axis: int | None) -> npt.NDArray[np.float64]:
    spread = [1] * weights.ndim
    if axis is not None:
        spread[axis] = -1
    return np.rint(weights.astype(np.float64) / scale.astype(np.float64).reshape(spread))


def widened_for_bias(
    scale: FloatArray, bias: npt.NDArray[np.float64], input_scale: float
) -> FloatArray:
    """Return weight scales large enough for the bias to fit int32 at input_scale * scale."""
    needed = np.abs(bias) / (BIAS_LIMIT * input_scale)
    least = needed if scale.size > 1 else needed.max(initial=0, keepdims=True)
    return np.maximum(scale, least.astype(np.float32))
