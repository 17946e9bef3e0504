"""The coding `ctx`: adaptive binary decisions, by the C runtime (SPEC section 1.9)."""

from __future__ import annotations

import ctypes

import numpy as np
import numpy.typing as npt

from hardtack_runtime._library import check, opened
from hardtack_runtime.masking import Dims, view

Int8Array = npt.NDArray[np.int8]
LARGEST_LAG = 65535
_NO_ROOM = -15


def encode(codes: Int8Array) -> bytes | None:
    """Return the shortest stream over all lags worth a try, or None when none is shorter than raw.

    Args:
        codes: int8 [N, H, W, C].
    """
    rows, columns = _fold(codes.shape)
    flat = np.array(codes, np.int8, order="C")  # a copy: C is given memory it could write
    found = [_encode(flat, rows, columns, lag) for lag in lags(codes)]
    return min((data for data in found if data is not None), key=len, default=None)


def decode(stored: bytes, dims: Dims) -> Int8Array:
    """Return the codes, int8 [elements].

    Raises:
        BundleError: HT212, no encoder wrote this.
    """
    rows, columns = _fold(dims)
    out = np.zeros(rows * columns, np.int8)
    status = opened().ht_ctx_decode(stored, len(stored), rows, columns, out.ctypes.data)
    check(status, "DATA")
    return out


def lags(codes: Int8Array) -> list[int]:
    """Return the distances at which the elements of a row may resemble each other.

    They are those of neighbouring taps of a filter, and that at which non-zero elements coincide
    most often: the width of the picture which a dense layer looks at, for example.
    """
    rows, columns = _fold(codes.shape)
    _, _, width, channels = codes.shape
    wanted = {2, channels, width * channels}
    nonzero = (codes.reshape(rows, columns) != 0).astype(np.float32)
    if columns >= 8:
        spectrum = np.fft.rfft(nonzero - nonzero.mean(), 2 * columns, axis=1)
        alike = np.fft.irfft((np.abs(spectrum) ** 2).sum(axis=0))
        wanted.add(2 + int(np.argmax(alike[2 : columns // 2 + 1])))
    return sorted(lag for lag in wanted if 2 <= lag <= min(columns, LARGEST_LAG) or lag == 2)


def _fold(dims: tuple[int, ...]) -> tuple[int, int]:
    """Return rows and columns of a tensor: an output channel is a row."""
    n, h, w, c = dims
    rows, inner, columns = view((n, h, w, c))
    return rows, inner * columns


def _encode(codes: Int8Array, rows: int, columns: int, lag: int) -> bytes | None:
    room = codes.size
    out = ctypes.create_string_buffer(room)
    size = ctypes.c_size_t()
    status = opened().ht_ctx_encode(
        codes.ctypes.data, rows, columns, lag, out, room, ctypes.byref(size)
    )
    if status == _NO_ROOM:
        return None
    check(status)
    return out.raw[: size.value]
