"""gap-huff: the values that are not zero, and gaps between them or between the zeros (SPEC 1.7).

Gaps are counted between the rarer kind of element: a gap of none costs a bit, so it must not be
what most elements have. This is the plain reader and writer; the device decodes with
`csrc/src/ht_huffman_gap.c` and `csrc/src/ht_gaps_between_*.c`.
"""

from __future__ import annotations

import struct

import numpy as np

from hardtack_runtime import huffman
from hardtack_runtime.errors import BundleError
from hardtack_runtime.huffman import MAX_LENGTH, STREAMS_FROM, Int8Array, IntArray, Table, Windows

_SYMBOLS = 56
"""Of gaps below 2^28, as tensors are."""
_Tables = tuple[Windows, Windows]


def histograms(codes: Int8Array) -> tuple[IntArray, IntArray]:
    """Return how often each gap symbol and each value symbol comes, int64 [256] each.

    A tensor without zeros has no gaps and counts one of 0: a table has a symbol at least.
    """
    gaps = np.bincount(symbols(_gaps(codes.reshape(-1)))[0], minlength=256)
    gaps[0] += not gaps.any()
    return gaps, np.bincount(_values(codes), minlength=256)


def build_tables(codes: Int8Array) -> tuple[Table, Table]:
    """Return the best tables of gaps and of values for a tensor that is not all zeros."""
    gaps, values = histograms(codes)
    return huffman.build_table(gaps), huffman.build_table(values)


def _is_mostly_values(nonzeros: int, elements: int) -> bool:
    return 2 * nonzeros > elements


def _gaps(flat: Int8Array) -> IntArray:
    """Return how many of the more frequent kind stand before each element of the rarer one."""
    mostly_values = _is_mostly_values(int(np.count_nonzero(flat)), flat.size)
    rarer = np.flatnonzero((flat == 0) == mostly_values)
    gaps: IntArray = np.diff(rarer, prepend=-1) - 1
    return gaps


def _values(codes: Int8Array) -> IntArray:
    values: IntArray = codes[codes != 0].astype(np.int64) + 128
    return values


def symbols(gaps: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Split gaps into symbol, extra bits and their number (SPEC section 1.7)."""
    safe = np.maximum(gaps, 4)
    exponent = np.floor(np.log2(safe)).astype(np.int64) - 1
    small = gaps < 4
    symbol = np.where(small, gaps, 2 * (exponent + 1) + (safe >> exponent & 1))
    width = np.where(small, 0, exponent)
    return symbol, np.where(small, 0, safe & ((1 << exponent) - 1)), width


def encode(codes: Int8Array, gap_table: Table, value_table: Table) -> bytes:
    """Write the number of values, the gaps and the values."""
    flat = codes.reshape(-1)
    nonzeros = int(np.count_nonzero(flat))
    head = struct.pack("<I", nonzeros)
    if not _is_mostly_values(nonzeros, flat.size):
        return head + _encode_between_values(flat, gap_table, value_table)
    words, widths = _words(_gaps(flat), gap_table)
    stream = huffman.pack_bits(words.reshape(-1), widths.reshape(-1))
    values = huffman.encode_dense(flat[flat != 0], value_table)
    return head + struct.pack("<I", len(stream)) + stream + values


def _words(gaps: IntArray, table: Table) -> tuple[IntArray, IntArray]:
    """Return the code and the extra bits of each gap, and how many bits that is."""
    symbol, extra, width = symbols(gaps)
    lengths = table.lengths.astype(np.int64)
    words = np.stack([table.codes[symbol], extra], axis=1)
    return words, np.stack([lengths[symbol], width], axis=1)


def _encode_between_values(flat: Int8Array, gap_table: Table, value_table: Table) -> bytes:
    """Write one stream or four of gaps and values in turns."""
    gaps, values = _gaps(flat), _values(flat)
    words, widths = _words(gaps, gap_table)
    words = np.c_[words, value_table.codes[values]]
    widths = np.c_[widths, value_table.lengths.astype(np.int64)[values]]
    if len(values) < STREAMS_FROM:
        return huffman.pack_bits(words.reshape(-1), widths.reshape(-1))
    shares = huffman.shares(len(values))
    streams = [huffman.pack_bits(words[cut].reshape(-1), widths[cut].reshape(-1)) for cut in shares]
    ends = np.cumsum(gaps + 1)[[cut.stop - 1 for cut in shares[:3]]]
    return huffman.join_streams(streams, struct.pack("<3I", *ends))


def decode(stored: bytes, count: int, gap_table: Table, value_table: Table) -> Int8Array:
    """Read `count` elements; the inverse of `encode`.

    Raises:
        BundleError: HT212, a table has a symbol that is no gap or no value, the streams are not
            exactly as long as their codes, a value lies behind the tensor's end, or a stream ends
            elsewhere than the next begins.
    """
    if gap_table.lengths[_SYMBOLS:].any() or value_table.lengths[128]:
        raise BundleError("HT212", "HUFF", "a table of gap-huff has a symbol that it cannot have")
    nonzeros = _leading(stored)
    if nonzeros > count:
        raise BundleError("HT212", "DATA", "a gap-huff tensor has more values than elements")
    if _is_mostly_values(nonzeros, count):
        return _decode_between_zeros(stored[4:], nonzeros, count, gap_table, value_table)
    tables = huffman.window_table(gap_table), huffman.window_table(value_table)
    return _decode_between_values(stored[4:], nonzeros, count, tables)


def _leading(stored: bytes) -> int:
    if len(stored) < 4:
        raise BundleError("HT212", "DATA", "a gap-huff tensor is cut short")
    return int.from_bytes(stored[:4], "little")


def _decode_between_zeros(
    stored: bytes, nonzeros: int, count: int, gap_table: Table, value_table: Table
) -> Int8Array:
    size = _leading(stored)
    if size > len(stored) - 4:
        raise BundleError("HT212", "DATA", "a gap-huff tensor is cut short")
    values = huffman.decode_dense(stored[4 + size :], nonzeros, value_table)
    reader, codes = _Reader(stored[4 : 4 + size]), huffman.window_table(gap_table)
    before = np.cumsum([reader.gap(codes) for _ in range(count - nonzeros)], dtype=np.int64)
    reader.close()
    if before.size and before[-1] > nonzeros:
        raise BundleError("HT212", "DATA", "a gap-huff element is outside its tensor")
    return np.insert(values, before, 0)


def _decode_between_values(stored: bytes, nonzeros: int, count: int, tables: _Tables) -> Int8Array:
    out = np.zeros(count, np.int8)
    if nonzeros < STREAMS_FROM:
        _read_between_values(stored, nonzeros, 0, out, tables)
        return out
    streams = huffman.split_streams(stored, 24)
    starts = (0, *struct.unpack_from("<3I", stored, 12))
    if max(starts) > count:
        raise BundleError("HT212", "DATA", "a stream begins outside its tensor")
    ends = [
        _read_between_values(stream, share.stop - share.start, start, out, tables)
        for stream, share, start in zip(streams, huffman.shares(nonzeros), starts, strict=True)
    ]
    if ends[:3] != list(starts[1:]):
        raise BundleError("HT212", "DATA", "a stream does not end where the next one begins")
    return out


def _read_between_values(
    stream: bytes, nonzeros: int, start: int, out: Int8Array, tables: _Tables
) -> int:
    """Write the values of one stream from element `start` on; return the one behind the last."""
    reader, at = _Reader(stream), start
    for _ in range(nonzeros):
        at += reader.gap(tables[0])
        if at >= len(out):
            raise BundleError("HT212", "DATA", "a gap-huff element is outside its tensor")
        out[at] = reader.symbol(tables[1]) - 128
        at += 1
    reader.close()
    return at


class _Reader:
    """Bits of a stream, most significant first; refuses to read behind the end."""

    def __init__(self, stream: bytes) -> None:
        self._stream = stream
        self._windows = huffman.windows_of(stream).tolist()
        self._at = 0
        self._end = 8 * len(stream)

    def gap(self, codes: Windows) -> int:
        symbol = self.symbol(codes)
        if symbol < 4:
            return symbol
        exponent = symbol // 2 - 1
        return (2 + symbol % 2 << exponent) | self._bits(exponent)

    def symbol(self, codes: Windows) -> int:
        window = self._windows[self._at]
        length = int(codes[1][window])
        if length > MAX_LENGTH:
            raise BundleError("HT212", "DATA", "a code stream holds an unknown code")
        self._advance(length)
        return int(codes[0][window])

    def close(self) -> None:
        huffman.require_end(self._stream, self._at)

    def _advance(self, width: int) -> None:
        self._at += width
        if self._at > self._end:
            raise BundleError("HT212", "DATA", "a code stream ends early")

    def _bits(self, width: int) -> int:
        value = 0
        while width > 0:
            take = min(width, MAX_LENGTH)
            window = self._windows[self._at]
            self._advance(take)
            value = value << take | window >> (MAX_LENGTH - take)
            width -= take
        return value
