"""The coding `packed`: weights of few values that kernels use where they lie (SPEC section 1.7)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hardtack_runtime.errors import BundleError
from hardtack_runtime.masking import view

Int8Array = npt.NDArray[np.int8]
Dims = tuple[int, int, int, int]

WIDTHS = (1, 2, 4)
"""Bits that an index may have."""


def encode(codes: Int8Array) -> bytes | None:
    """Write an int8 [N, H, W, C] tensor; None where it has more than 16 values."""
    flat = codes.reshape(view(codes.shape)[0], -1)
    values, indices = np.unique(flat, return_inverse=True)
    width = next((width for width in WIDTHS if len(values) <= 1 << width), None)
    if width is None:
        return None
    book = np.zeros(1 << width, np.int8)
    book[: len(values)] = values
    places = indices.reshape(*flat.shape, 1).astype(np.uint8)
    bits = (places >> np.arange(width, dtype=np.uint8) & 1).reshape(len(flat), -1)
    rows = np.packbits(bits, axis=1, bitorder="little")
    return bytes([width]) + book.tobytes() + rows.tobytes()


def decode(stored: bytes, dims: Dims) -> Int8Array:
    """Read a tensor of these dims; the inverse of `encode`.

    Raises:
        BundleError: HT212, an unknown width of indices, cut short, too long, or padding that is
            not zero.
    """
    rows, inner, columns = view(dims)
    taps = inner * columns
    width = stored[0] if stored else 0
    row_bytes = -(-taps * width // 8)
    if width not in WIDTHS or len(stored) != 1 + (1 << width) + rows * row_bytes:
        raise BundleError("HT212", "DATA", f"packed weights of {len(stored)} bytes are malformed")
    book = np.frombuffer(stored, np.int8, 1 << width, 1)
    packed = np.frombuffer(stored, np.uint8, offset=1 + len(book)).reshape(rows, row_bytes)
    bits = np.unpackbits(packed, axis=1, bitorder="little")
    if bits[:, taps * width :].any():
        raise BundleError("HT212", "DATA", "the padding of packed weights is not zero")
    places = bits[:, : taps * width].reshape(rows, taps, width) << np.arange(width, dtype=np.uint8)
    return np.asarray(book[places.sum(axis=2)].reshape(dims))
