"""How each constant is stored: raw, dense-huff or gap-huff, whichever is smallest (SPEC 1.5-1.7).

Code tables cost up to 130 bytes, which is much for a small tensor; tensors with similar
histograms therefore share one. Groups are merged greedily while that saves bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from hardtack_runtime import huffman
from hardtack_runtime.huffman import IntArray, Table

Constant = npt.NDArray[Any]


class Coding(IntEnum):
    """How a tensor's bytes are stored; the numbers are those of the tensor table."""

    RAW = 0
    DENSE_HUFF = 1
    GAP_HUFF = 2


@dataclass(frozen=True, slots=True)
class Stored:
    """A constant as it lies in DATA.

    Attributes:
        coding: raw, dense-huff or gap-huff.
        data: The stored bytes, without padding.
        table: Index of the table of its values; 0 when raw.
        gap_table: Index of the table of its gaps; 0 unless gap-huff.
        sizes: Bytes by each coding (tables apart), for the report.
    """

    coding: Coding
    data: bytes
    table: int
    gap_table: int
    sizes: dict[str, int]


@dataclass(frozen=True, slots=True)
class Packed:
    """All constants of a program and the tables they share."""

    tables: tuple[Table, ...]
    constants: tuple[Stored, ...]


def pack_constants(constants: list[Constant]) -> Packed:
    """Choose the smallest coding for every constant.

    Args:
        constants: int8 (coded) or int32 (always raw) arrays.
    """
    coded = [_Candidate(c) if c.dtype == np.int8 else None for c in constants]
    dense = _share([c.dense for c in coded if c])
    gaps = _share([c.gaps for c in coded if c])
    values = _share([c.values for c in coded if c])
    used: dict[bytes, int] = {}
    stored, index = [], 0
    for constant, candidate in zip(constants, coded, strict=True):
        if candidate is None:
            stored.append(_raw(constant))
            continue
        shared = (dense[index], gaps[index], values[index])
        stored.append(_smallest(constant, candidate, shared, used))
        index += 1
    tables = tuple(Table(np.frombuffer(lengths, np.uint8)) for lengths in used)
    return Packed(tables, tuple(stored))


class _Candidate:
    """The symbol streams of one int8 tensor."""

    def __init__(self, constant: Constant) -> None:
        self.dense = _histogram(constant.reshape(-1).astype(np.int64) + 128)
        gaps, values = huffman.split_gaps(constant)
        symbols, _, width = huffman.gap_symbols(gaps)
        sparse = len(values) * 4 < constant.size * 3
        empty = np.zeros(256, np.int64)
        self.gaps = _histogram(symbols) if sparse else empty
        self.values = _histogram(values) if sparse else empty
        self.gap_extra_bits = int(width.sum())


def _histogram(symbols: IntArray) -> IntArray:
    return np.bincount(symbols, minlength=256).astype(np.int64)


def _cost(histogram: IntArray) -> float:
    """Return the estimated bytes of a stream with its table."""
    used = np.flatnonzero(histogram)
    if len(used) == 0:
        return 0.0
    counts = histogram[used]
    bits = float((counts * np.maximum(np.log2(counts.sum() / counts), 1e-9)).sum())
    return bits / 8 + 2 + (int(used[-1]) - int(used[0]) + 2) // 2


def entropy_bytes(constant: Constant) -> float:
    """Return the order-0 entropy in bytes: no code of single bytes beats it."""
    counts = np.bincount(np.frombuffer(constant.tobytes(), np.uint8), minlength=256)
    used = counts[counts > 0]
    return float((used * np.log2(used.sum() / used)).sum()) / 8


def _share(histograms: list[IntArray]) -> list[Table | None]:
    """Return the table of each stream, shared where that saves bytes; None for empty streams."""
    groups = [([i], h) for i, h in enumerate(histograms) if h.any()]
    while len(groups) > 1:
        gain, first, second = _best_merge(groups)
        if gain <= 0:
            break
        merged = (groups[first][0] + groups[second][0], groups[first][1] + groups[second][1])
        groups = [g for i, g in enumerate(groups) if i not in (first, second)] + [merged]
    tables: list[Table | None] = [None] * len(histograms)
    for members, histogram in groups:
        table = huffman.build_table(histogram)
        for member in members:
            tables[member] = table
    return tables


def _best_merge(groups: list[tuple[list[int], IntArray]]) -> tuple[float, int, int]:
    costs = [_cost(histogram) for _, histogram in groups]
    best = (0.0, 0, 0)
    for i in range(len(groups)):
        for j in range(i + 1, len(groups)):
            gain = costs[i] + costs[j] - _cost(groups[i][1] + groups[j][1])
            best = max(best, (gain, i, j))
    return best


def _raw(constant: Constant) -> Stored:
    data = constant.astype(constant.dtype.newbyteorder("<")).tobytes()
    return Stored(Coding.RAW, data, 0, 0, {"raw": len(data)})


def _smallest(
    constant: Constant,
    candidate: _Candidate,
    shared: tuple[Table | None, Table | None, Table | None],
    used: dict[bytes, int],
) -> Stored:
    """Encode one tensor every way and keep the shortest; register the tables it needs."""
    dense, gaps, values = shared
    options = {Coding.RAW: _raw(constant).data}
    if dense is not None:
        options[Coding.DENSE_HUFF] = huffman.encode_dense(constant, dense)
    if gaps is not None and values is not None:
        options[Coding.GAP_HUFF] = huffman.encode_gap(constant, gaps, values)
    sizes = {coding.name.lower().replace("_", "-"): len(data) for coding, data in options.items()}
    coding = min(options, key=lambda c: (len(options[c]) + _new_tables(c, shared, used), c))
    needed = {Coding.RAW: (), Coding.DENSE_HUFF: (dense,), Coding.GAP_HUFF: (values, gaps)}[coding]
    indices = [used.setdefault(t.lengths.tobytes(), len(used)) for t in needed if t] + [0, 0]
    return Stored(coding, options[coding], indices[0], indices[1], sizes)


def _new_tables(
    coding: Coding,
    shared: tuple[Table | None, Table | None, Table | None],
    used: dict[bytes, int],
) -> int:
    """Return the bytes of the tables this coding would add."""
    dense, gaps, values = shared
    wanted = {Coding.RAW: (), Coding.DENSE_HUFF: (dense,), Coding.GAP_HUFF: (gaps, values)}[coding]
    return sum(len(t.encode()) for t in wanted if t and t.lengths.tobytes() not in used)
