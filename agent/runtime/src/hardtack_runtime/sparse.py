"""The codings `sparse` and `sparse-columns`: weights used where they lie (SPEC section 1.7)."""

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
OUTPUTS = 256
"""Outputs of a block of columns."""
_COLUMNS_HEAD = 4


def _pieces(rows: int, taps: int) -> Iterator[tuple[int, int, int]]:
    """Yield row, first tap and taps of each piece, in the order in which they are stored."""
    for first in range(0, rows, ROWS):
        for tap in range(0, taps, TAPS):
            for row in range(first, min(first + ROWS, rows)):
                yield row, tap, min(TAPS, taps - tap)


def _columns(rows: int, taps: int) -> Iterator[tuple[int, int, int]]:
    """Yield first output, input and outputs of each piece, in the order they are stored."""
    for first in range(0, rows, OUTPUTS):
        for tap in range(taps):
            yield first, tap, min(OUTPUTS, rows - first)


def encode(codes: Int8Array) -> bytes | None:
    """Write an int8 [N, H, W, C] tensor; None where a block is full, which is not sparse."""
    flat = codes.reshape(view(codes.shape)[0], -1)
    pieces = [_entries(flat[row, tap : tap + n]) for row, tap, n in _pieces(*flat.shape)]
    return None if None in pieces else b"".join(piece or b"" for piece in pieces)


def encode_columns(codes: Int8Array, skipped: int) -> bytes | None:
    """Write a tensor by columns, input codes `skipped` to be passed over; None as above."""
    flat = codes.reshape(view(codes.shape)[0], -1)
    sums: bytes = flat.sum(axis=1, dtype=np.int64).astype("<i4").tobytes()
    pieces = [_entries(flat[at : at + n, tap]) for at, tap, n in _columns(*flat.shape)]
    if None in pieces:
        return None
    head = skipped.to_bytes(1, "little", signed=True) + bytes(_COLUMNS_HEAD - 1)
    return head + sums + b"".join(piece or b"" for piece in pieces)


def _entries(piece: Int8Array) -> bytes | None:
    (index,) = np.nonzero(piece)
    if len(index) > 255:
        return None
    entries = np.stack([index.astype(np.uint8), piece[index].view(np.uint8)], axis=1)
    return bytes([len(index)]) + bytes(entries.tobytes())


def decode(stored: bytes, dims: Dims) -> Int8Array:
    """Read a tensor of these dims; the inverse of `encode`.

    Raises:
        BundleError: HT212, cut short, too long, an index outside its block or out of order, or a
            value of 0.
    """
    rows, inner, columns = view(dims)
    taps = inner * columns
    _require_pieces(stored, 0, rows * -(-taps // TAPS))
    out = np.zeros((rows, taps), np.int8)
    at = 0
    for row, tap, size in _pieces(rows, taps):
        at = _read(stored, at, out[row, tap : tap + size])
    _require_end(stored, at)
    return out.reshape(dims)


def decode_columns(stored: bytes, dims: Dims) -> Int8Array:
    """Read a tensor of these dims; the inverse of `encode_columns`.

    Raises:
        BundleError: HT212, as `decode`, or a sum that is not that of its row.
    """
    rows, inner, columns = view(dims)
    taps = inner * columns
    at = _COLUMNS_HEAD + 4 * rows
    _require_pieces(stored, at, taps * -(-rows // OUTPUTS))
    out = np.zeros((rows, taps), np.int8)
    for first, tap, size in _columns(rows, taps):
        at = _read(stored, at, out[first : first + size, tap])
    _require_end(stored, at)
    sums = np.frombuffer(stored, "<i4", rows, _COLUMNS_HEAD)
    if any(stored[1:_COLUMNS_HEAD]) or (out.sum(axis=1, dtype=np.int64) != sums).any():
        raise BundleError("HT212", "DATA", "a sum of sparse weights is not that of its row")
    return out.reshape(dims)


def _require_pieces(stored: bytes, at: int, pieces: int) -> None:
    """Refuse what is too short before any memory is asked for."""
    if len(stored) < at + pieces:
        raise BundleError("HT212", "DATA", "sparse weights are cut short")


def _read(stored: bytes, at: int, out: Int8Array) -> int:
    """Read the entries that begin at a place into a piece of zeros; return where they end."""
    end = at + 1 + 2 * stored[at] if at < len(stored) else len(stored) + 1
    if end > len(stored):
        raise BundleError("HT212", "DATA", "sparse weights are cut short")
    entries = np.frombuffer(stored, np.uint8, end - at - 1, at + 1).reshape(-1, 2)
    index, values = entries[:, 0].astype(np.int64), entries[:, 1]
    if len(index) and (index[-1] >= len(out) or (np.diff(index) < 1).any() or not values.all()):
        raise BundleError("HT212", "DATA", "sparse weights are malformed")
    out[index] = values.view(np.int8)
    return end


def _require_end(stored: bytes, at: int) -> None:
    if at != len(stored):
        raise BundleError("HT212", "DATA", "bytes after the last of sparse weights")
