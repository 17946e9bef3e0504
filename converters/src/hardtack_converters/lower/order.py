"""Where each number of an activation lies: the algebra of layouts.

ONNX says NCHW, the program NHWC. Each activation carries `order`: `order[i]` is the place in its
buffer of the element with row-major index `i` of its ONNX shape. Transposes and reshapes only
change `order`; a transpose is computed on the device only where an operator cannot take it so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Order = npt.NDArray[np.int64]


def identity(elements: int) -> Order:
    """Return the order of a row-major buffer."""
    return np.arange(elements, dtype=np.int64)


def channels_last(shape: Sequence[int]) -> Order:
    """Return the order of an [N, C, ...] activation whose buffer is [N, ..., C]."""
    return permuted(shape, (0, *range(2, len(shape)), 1))


def permuted(shape: Sequence[int], axes: Sequence[int]) -> Order:
    """Return the order of an activation whose buffer is row-major in the axes order given.

    Args:
        shape: Logical shape.
        axes: Logical axes from the slowest to the fastest in the buffer.
    """
    buffer = identity(math.prod(shape)).reshape([shape[a] for a in axes])
    return buffer.transpose(np.argsort(axes)).ravel()


def buffer_axes(order: Order, shape: Sequence[int]) -> tuple[int, ...] | None:
    """Return the logical axes from slowest to fastest in the buffer, or None if they are mixed.

    Axes of size 1 lie nowhere: they keep the place they have in the logical shape.
    """
    steps = order.reshape(shape)
    strides: dict[int, int] = {}
    for axis, size in enumerate(shape):
        if size > 1:
            first = steps[tuple(1 if a == axis else 0 for a in range(len(shape)))]
            strides[axis] = int(first - steps[(0,) * len(shape)])
    longest_first = iter(sorted(strides, key=lambda a: -strides[a]))
    axes = tuple(next(longest_first) if size > 1 else a for a, size in enumerate(shape))
    return axes if np.array_equal(permuted(shape, axes), order) else None


def digits(mapping: Order) -> list[tuple[int, int]] | None:
    """Write an index mapping as nested loops.

    Args:
        mapping: A permutation of 0..n-1: new place -> old place.

    Returns:
        `(length, stride in the old buffer)` of each loop, outermost first, or None when the
        mapping is not a transposition.
    """
    loops: list[tuple[int, int]] = []
    rest = mapping
    while rest.size > 1:
        stride = int(rest[1] - rest[0])
        breaks = np.flatnonzero(np.diff(rest) != stride)
        length = int(breaks[0]) + 1 if breaks.size else rest.size
        if rest.size % length:
            return None
        rows = rest.reshape(-1, length)
        if stride <= 0 or not np.array_equal(
            rows - rows[:, :1], np.arange(length) * stride + 0 * rows
        ):
            return None
        loops.insert(0, (length, stride))
        rest = rows[:, 0]
    return loops


def transposition(loops: list[tuple[int, int]]) -> tuple[list[int], list[int]] | None:
    """Return `(dims of the old buffer, perm)` so that new dim i is old dim perm[i].

    None when the loops do not tile the old buffer, or need more than four dims.
    """
    by_stride = sorted(range(len(loops)), key=lambda i: -loops[i][1])
    dims = [loops[i][0] for i in by_stride]
    expected = math.prod(dims)
    for loop in by_stride:
        length, stride = loops[loop]
        expected //= length
        if stride != expected:
            return None
    if len(dims) > 4:
        return None
    lead = 4 - len(dims)
    perm = [*range(lead), *(lead + by_stride.index(i) for i in range(len(loops)))]
    return [1] * lead + dims, perm
