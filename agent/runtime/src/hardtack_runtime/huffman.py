"""Canonical, length-limited Huffman codes, and dense-huff (SPEC sections 1.6, 1.7).

This is the plain reader and writer; the device decodes with `csrc/src/ht_huffman*.c`.
"""

from __future__ import annotations

import heapq
import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hardtack_runtime.errors import BundleError

MAX_LENGTH = 12
STREAMS_FROM = 4096
"""From so many elements on, four streams are decoded side by side."""

Int8Array = npt.NDArray[np.int8]
IntArray = npt.NDArray[np.int64]
Windows = tuple[IntArray, IntArray]
_CHAIN = 64
"""Symbols per step of the vectorised decoder's walk."""


@dataclass(frozen=True, slots=True)
class Table:
    """A canonical code.

    Attributes:
        lengths: Code length per symbol, uint8 [256]; 0 = absent, at most 12.
    """

    lengths: npt.NDArray[np.uint8]

    @property
    def codes(self) -> IntArray:
        """Return the code words, int64 [256]: shorter first, then smaller symbols first."""
        codes = np.zeros(256, np.int64)
        code, previous = 0, 0
        used = np.flatnonzero(self.lengths)
        for symbol in used[np.argsort(self.lengths[used], kind="stable")]:
            length = int(self.lengths[symbol])
            code <<= length - previous
            codes[symbol] = code
            code, previous = code + 1, length
        return codes

    def encode(self) -> bytes:
        """Write `first last lengths...`, two lengths to a byte (SPEC section 1.6)."""
        used = np.flatnonzero(self.lengths)
        first, last = int(used[0]), int(used[-1])
        span = self.lengths[first : last + 1]
        padded = np.append(span, np.zeros(len(span) % 2, np.uint8))
        return bytes((first, last)) + (padded[0::2] | padded[1::2] << 4).astype(np.uint8).tobytes()


def build_table(histogram: npt.NDArray[np.int64]) -> Table:
    """Return the best code whose words have at most 12 bits.

    Args:
        histogram: Count per symbol, int64 [256], at least one of them positive.

    Source: Larmore and Hirschberg, "A fast algorithm for optimal length-limited Huffman
    codes", 1990 (package-merge).
    """
    symbols = np.flatnonzero(histogram)
    lengths = np.zeros(256, np.uint8)
    if len(symbols) == 1:
        lengths[symbols[0]] = 1
        return Table(lengths)
    leaves = sorted((int(histogram[s]), (int(s),)) for s in symbols)
    packages: list[tuple[int, tuple[int, ...]]] = []
    for _ in range(MAX_LENGTH):
        merged = list(heapq.merge(leaves, packages))
        packages = [
            (a[0] + b[0], a[1] + b[1]) for a, b in zip(merged[0::2], merged[1::2], strict=False)
        ]
    for _, members in packages[: len(symbols) - 1]:
        for symbol in members:
            lengths[symbol] += 1
    return Table(lengths)


def read_table(section: bytes, at: int) -> tuple[Table, int]:
    """Read one table of the HUFF section; the inverse of `Table.encode`.

    Returns:
        The table and the offset after it.

    Raises:
        BundleError: HT212, cut short, lengths above 12, `first` or `last` not in use, or no
            complete prefix code.
    """
    if at + 2 > len(section):
        raise BundleError("HT212", "HUFF", "a table is cut short")
    first, last = section[at], section[at + 1]
    count = last - first + 1
    end = at + 2 + (count + 1) // 2
    if count < 1 or end > len(section):
        raise BundleError("HT212", "HUFF", "a table is cut short")
    packed = np.frombuffer(section, np.uint8, (count + 1) // 2, at + 2)
    nibbles = np.stack([packed & 15, packed >> 4], axis=1).reshape(-1)
    lengths = np.zeros(256, np.uint8)
    lengths[first : last + 1] = nibbles[:count]
    used = lengths[lengths > 0].astype(np.int64)
    ends_used = lengths[first] > 0 and lengths[last] > 0
    alone = first == last and lengths[first] == 1
    complete = used.size > 0 and int((1 << (MAX_LENGTH - np.minimum(used, 12))).sum()) == 1 << 12
    padded = not nibbles[count:].any() and not (lengths > MAX_LENGTH).any()
    if not (padded and ends_used and (alone or complete)):
        raise BundleError("HT212", "HUFF", "code lengths do not form a prefix code")
    return Table(lengths), end


def pack_bits(values: IntArray, widths: IntArray) -> bytes:
    """Write each value in so many bits, most significant first, padded to a byte."""
    ends = np.cumsum(widths)
    total = int(ends[-1]) if len(ends) else 0
    owner = np.repeat(np.arange(len(widths)), widths)
    remaining = ends[owner] - 1 - np.arange(total)
    return np.packbits((values[owner] >> remaining & 1).astype(np.uint8)).tobytes()


def encode_dense(codes: Int8Array, table: Table) -> bytes:
    """Write one symbol per element (SPEC section 1.7, dense-huff)."""
    symbols = codes.reshape(-1).astype(np.int64) + 128
    words, widths = table.codes[symbols], table.lengths.astype(np.int64)[symbols]
    if len(symbols) < STREAMS_FROM:
        return pack_bits(words, widths)
    return join_streams([pack_bits(words[cut], widths[cut]) for cut in shares(len(symbols))])


def decode_dense(stored: bytes, count: int, table: Table) -> Int8Array:
    """Read `count` elements; the inverse of `encode_dense`.

    Raises:
        BundleError: HT212, the streams are not exactly as long as their codes, or hold a code
            that is none.
    """
    if count < STREAMS_FROM:
        return _decode_stream(stored, count, table)
    streams = zip(split_streams(stored, 12), shares(count), strict=True)
    return np.concatenate(
        [_decode_stream(stream, share.stop - share.start, table) for stream, share in streams]
    )


def shares(count: int) -> list[slice]:
    """Return which of so many things each of four streams holds: equal shares, in order."""
    share = -(-count // 4)
    return [slice(i * share, min((i + 1) * share, count)) for i in range(4)]


def join_streams(streams: list[bytes], between: bytes = b"") -> bytes:
    """Write the lengths of all streams but the last, what stands between, and the streams."""
    lengths = struct.pack("<3I", *(len(stream) for stream in streams[:3]))
    return lengths + between + b"".join(streams)


def split_streams(stored: bytes, head: int) -> list[bytes]:
    """Find the four streams behind so many bytes that begin with the lengths of three.

    Raises:
        BundleError: HT212, they do not lie in the stored bytes.
    """
    if len(stored) < head:
        raise BundleError("HT212", "DATA", "a tensor is cut short")
    ends = np.cumsum((head, *struct.unpack_from("<3I", stored)))
    if ends[-1] > len(stored):
        raise BundleError("HT212", "DATA", "a stream ends outside its tensor")
    return [stored[a:b] for a, b in zip(ends, (*ends[1:], len(stored)), strict=True)]


def window_table(table: Table) -> Windows:
    """Return symbol and length for every 12-bit window; length 13 where no code fits."""
    symbols, lengths = np.zeros(1 << MAX_LENGTH, np.int64), np.full(1 << MAX_LENGTH, 13, np.int64)
    codes = table.codes
    for symbol in np.flatnonzero(table.lengths):
        length = int(table.lengths[symbol])
        start = int(codes[symbol]) << (MAX_LENGTH - length)
        span = slice(start, start + (1 << (MAX_LENGTH - length)))
        symbols[span], lengths[span] = symbol, length
    return symbols, lengths


def windows_of(stream: bytes) -> IntArray:
    """Return the 12 bits that begin at every bit of the stream, zeros after its end."""
    padded = np.frombuffer(stream + bytes(4), np.uint8).astype(np.int64)
    wide = padded[:-3] << 16 | padded[1:-2] << 8 | padded[2:-1]
    shifts = 12 - np.arange(8)
    return (wide[:, None] >> shifts & 0xFFF).reshape(-1)


def _decode_stream(stream: bytes, count: int, table: Table) -> Int8Array:
    """Decode by pointer jumping: every bit position knows where the next code would begin."""
    if count > 8 * len(stream):  # a code has a bit at least: refuse before memory is taken
        raise BundleError("HT212", "DATA", "a code stream ends early")
    symbols, lengths = window_table(table)
    windows = windows_of(stream)
    limit = len(windows) - 1
    follow = np.minimum(np.arange(len(windows)) + lengths[windows], limit)
    jumps = [follow]
    while 1 << len(jumps) <= _CHAIN:
        jumps.append(jumps[-1][jumps[-1]])
    starts, at = np.empty(-(-count // _CHAIN), np.int64), 0
    long_jump = jumps[-1].tolist()
    for index in range(len(starts)):
        starts[index] = at
        at = long_jump[at]
    positions = starts[:, None]
    for jump in jumps[:-1]:
        positions = np.concatenate([positions, jump[positions]], axis=1)
    positions = positions.reshape(-1)[:count]
    used = windows[positions]
    end = int(positions[-1] + lengths[used[-1]])
    if (lengths[used] > MAX_LENGTH).any():
        raise BundleError("HT212", "DATA", "a code stream holds an unknown code")
    require_end(stream, end)
    return (symbols[used] - 128).astype(np.int8)


def require_end(stream: bytes, end: int) -> None:
    """Check that only the zero bits that complete the last byte follow bit `end`."""
    left = 8 * len(stream) - end
    if not 0 <= left < 8 or (left and stream[-1] & ((1 << left) - 1)):
        raise BundleError("HT212", "DATA", "a code stream does not end with its last code")
