"""The coding `sparse`: weights that kernels use where they lie (SPEC section 1.7)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from hardtack_runtime.errors import BundleError
from hardtack_runtime.masking import view

Int8Array = npt.NDArray[np.int8]
Dims = tuple[int, int, int, int]

ROWS, TAPS = 32, 256
"""Rows of a set, taps of a block."""


def _pieces(rows: int, taps: int) -> Iterator[tuple[int, int, int]]:
    """Yield row, first tap and taps of each piece, in the order in which they are stored."""
    for first in range(0, rows, ROWS):
        for tap in range(0, taps, TAPS):
            for row in range(first, min(first + ROWS, rows)):
                yield row, tap, min(TAPS, taps - tap)


def encode(codes: Int8Array) -> bytes | None:
    """Write an int8 [N, H, W, C] tensor; None where a block is full, which is not sparse."""
    flat = codes.reshape(view(codes.shape)[0], -1)
    out = bytearray()
    for row, tap, size in _pieces(*flat.shape):
        piece = flat[row, tap : tap + size]
        (index,) = np.nonzero(piece)
        if len(index) > 255:
            return None
        entries = np.stack([index.astype(np.uint8), piece[index].view(np.uint8)], axis=1)
        out += bytes([len(index)]) + entries.tobytes()
    return bytes(out)


def decode(stored: bytes, dims: Dims) -> Int8Array:
    """Read a tensor of these dims; the inverse of `encode`.

    Raises:
        BundleError: HT212, cut short, too long, an index outside its block or out of order, or a
            value of 0.
    """
    rows, inner, columns = view(dims)
    if len(stored) < rows * -(-inner * columns // TAPS):  # asked before any memory is
        raise BundleError("HT212", "DATA", "a row of sparse weights is cut short")
    out = np.zeros((rows, inner * columns), np.int8)
    at = 0
    for row, tap, size in _pieces(*out.shape):
        end = at + 1 + 2 * stored[at] if at < len(stored) else len(stored) + 1
        if end > len(stored):
            raise BundleError("HT212", "DATA", "a row of sparse weights is cut short")
        entries = np.frombuffer(stored, np.uint8, end - at - 1, at + 1).reshape(-1, 2)
        index, values = entries[:, 0].astype(np.int64), entries[:, 1]
        if len(index) and (index[-1] >= size or (np.diff(index) < 1).any() or not values.all()):
            raise BundleError("HT212", "DATA", f"row {row} of sparse weights is malformed")
        out[row, tap + index] = values.view(np.int8)
        at = end
    if at != len(stored):
        raise BundleError("HT212", "DATA", "bytes after the last row of sparse weights")
    return out.reshape(dims)
