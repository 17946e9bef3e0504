"""Rows and columns of weights that are all zero, left out of the code (SPEC section 1.7).

Trained nets have dead channels: a filter whose weights are all zero, or an input that no filter
listens to. A Huffman code spends bits on each of their zeros; two bit masks do not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hardtack_runtime.errors import BundleError

Int8Array = npt.NDArray[np.int8]
Dims = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Mask:
    """Which rows and columns hold anything.

    Attributes:
        rows: bool [R], R output channels.
        columns: bool [C], C innermost elements.
    """

    rows: npt.NDArray[np.bool_]
    columns: npt.NDArray[np.bool_]

    @property
    def size(self) -> int:
        """Bytes of both masks."""
        return -(-len(self.rows) // 8) + -(-len(self.columns) // 8)

    def encode(self) -> bytes:
        """Write both masks, lowest bit first, each padded to a byte."""
        masks = (np.packbits(mask, bitorder="little") for mask in (self.rows, self.columns))
        return b"".join(mask.tobytes() for mask in masks)


def view(dims: Dims) -> tuple[int, int, int]:
    """Return [R, K, C] of a tensor: R = N, or H * W when N is 1; C is the innermost."""
    n, h, w, c = dims
    return (n, h * w, c) if n > 1 else (h * w, 1, c)


def find(codes: Int8Array) -> Mask | None:
    """Return the mask of an int8 [N, H, W, C] tensor, or None when it would leave out nothing."""
    folded = codes.reshape(view(codes.shape)) != 0
    mask = Mask(folded.any(axis=(1, 2)), folded.any(axis=(0, 1)))
    dead = not (mask.rows.all() and mask.columns.all())
    return mask if dead and mask.rows.any() else None


def compact(codes: Int8Array, mask: Mask) -> Int8Array:
    """Return the live elements in order."""
    folded = codes.reshape(view(codes.shape))
    return folded[mask.rows][:, :, mask.columns].reshape(-1)


def read(stored: bytes, dims: Dims) -> tuple[Mask, int]:
    """Read the masks; the inverse of `Mask.encode`.

    Returns:
        The mask and the number of bytes it took.

    Raises:
        BundleError: HT212, cut short, empty, or bits set behind the last row or column.
    """
    rows, _, columns = view(dims)
    masks, at = [], 0
    for count in (rows, columns):
        size = -(-count // 8)
        if at + size > len(stored):
            raise BundleError("HT212", "DATA", "a mask is cut short")
        bits = np.unpackbits(np.frombuffer(stored, np.uint8, size, at), bitorder="little")
        if bits[count:].any() or not bits.any():
            raise BundleError("HT212", "DATA", "a mask is empty or has bits set behind its end")
        masks.append(bits[:count].astype(np.bool_))
        at += size
    return Mask(masks[0], masks[1]), at


def expand(live: Int8Array, mask: Mask, dims: Dims) -> Int8Array:
    """Put the live elements back among zeros; the inverse of `compact`."""
    rows, inner, columns = view(dims)
    out = np.zeros((rows, inner, columns), np.int8)
    shape = (int(mask.rows.sum()), inner, int(mask.columns.sum()))
    out[np.ix_(mask.rows, np.ones(inner, np.bool_), mask.columns)] = live.reshape(shape)
    return out.reshape(dims)
