"""How each constant is stored: whichever coding is smallest (SPEC sections 1.5 to 1.7).

Code tables cost up to 130 bytes, which is much for a small tensor; tensors with similar
histograms therefore share one. Groups are merged greedily while that saves bytes, and a table
that does not earn its bytes back is left out.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from itertools import combinations
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from hardtack_runtime import codebook, context, gap_huff, huffman, masking, sparse
from hardtack_runtime.huffman import IntArray, Table

Constant = npt.NDArray[Any]


class Coding(IntEnum):
    """How a tensor's bytes are stored; the numbers are those of the tensor table."""

    RAW = 1
    DENSE_HUFF = 2
    GAP_HUFF = 3
    MASKED_HUFF = 4
    NARROW = 5
    CTX = 6
    FOLDED = 7
    SPARSE = 8
    PACKED = 9
    SPARSE_COLUMNS = 10
    MANTISSA = 11

    @property
    def label(self) -> str:
        """The name used in reports and in the specification."""
        return self.name.lower().replace("_", "-")

    @property
    def is_in_place(self) -> bool:
        """True for codings of weights that kernels use where they lie."""
        return Coding.SPARSE <= self <= Coding.SPARSE_COLUMNS

    @property
    def is_unpacked(self) -> bool:
        """True for codings that take memory to be used."""
        return self != Coding.RAW and not self.is_in_place


_ENCODERS: dict[Coding, Callable[[Constant], bytes | None]] = {
    Coding.SPARSE: sparse.encode,
    Coding.PACKED: codebook.encode,
}


@dataclass(frozen=True, slots=True)
class Stored:
    """A constant as it lies in DATA.

    Attributes:
        coding: Which coding.
        data: The stored bytes, without length and padding.
        table: Index of the table of its values; 0 when it has none.
        gap_table: Index of the table of its gaps; 0 unless gap-huff.
        sizes: Bytes by each coding (tables apart), for reports.
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


@dataclass(frozen=True, slots=True)
class _Option:
    """One way to store one tensor."""

    coding: Coding
    data: bytes
    tables: tuple[int, ...] = ()


def pack_constants(
    constants: list[Constant],
    unpack_limit: int | None = None,
    *,
    codings: Mapping[int, Coding] = MappingProxyType({}),
    biases: Collection[int] = (),
    weights: Collection[int] = (),
    in_place: Collection[Coding] = (Coding.SPARSE, Coding.PACKED),
    skipped: Mapping[int, int] = MappingProxyType({}),
    smallest: bool = False,
    rows: int = 0,
) -> Packed:
    """Choose the smallest coding for every constant.

    Args:
        constants: int8, int16 or int32 arrays of four dimensions.
        unpack_limit: Bytes of memory a device has for unpacked tensors; those that save least
            per byte of it are then used where they lie, raw or in a coding made for that. None:
            as much as it takes.
        codings: By index, what some constants are to have: RAW, or a coding that is used where
            it lies, which falls back on RAW where the constant does not suit it.
        biases: Indices of biases that may be folded: the constant before is their weights.
        weights: Indices of weights that kernels can use where they lie.
        in_place: Codings beside RAW that weights may have for which there is no memory.
        skipped: By index, the input code that sparse-columns passes over; others cannot have it.
        smallest: Try ctx too, which takes a hundred times as long to unpack.
        rows: Rows of the tensor table: each names its tables as soon as there is one.
    """
    streams = [_Streams(c) if c.dtype == np.int8 else None for c in constants]
    coded = [s for s in streams if s]
    tables: list[Table] = []
    for kind in ("dense", "gaps", "values"):
        _share([getattr(s, kind) for s in coded], kind, coded, tables)
    before = [constants[i - 1] if i in biases else None for i in range(len(constants))]
    options = [
        _narrow_options(constant, last) if s is None else s.options(constant, tables, smallest)
        for constant, last, s in zip(constants, before, streams, strict=True)
    ]
    fixed = {i: _in_place(constants[i], coding, skipped.get(i)) for i, coding in codings.items()}
    options = _fix(options, fixed)
    costs = [len(table.encode()) for table in tables]
    chosen = _choose(options, costs, rows)
    if unpack_limit is not None:
        over = _beyond(chosen, constants, unpack_limit)
        fixed = {
            i: _smallest_in_place(constants[i], in_place if i in weights else ()) for i in over
        } | fixed
        chosen = _choose(_fix(options, fixed), costs, rows)
    used = sorted({t for option in chosen for t in option.tables})
    place = {table: index for index, table in enumerate(used)}
    stored = [_stored(pick, every, place) for pick, every in zip(chosen, options, strict=True)]
    return Packed(tuple(tables[t] for t in used), tuple(stored))


def _stored(pick: _Option, every: list[_Option], place: dict[int, int]) -> Stored:
    first, second = (*(place[table] for table in pick.tables), 0, 0)[:2]
    sizes = {option.coding.label: len(option.data) for option in every}
    return Stored(pick.coding, pick.data, first, second, sizes)


class _Streams:
    """The symbol streams of one int8 tensor, and the tables they were given."""

    def __init__(self, constant: Constant) -> None:
        empty = np.zeros(256, np.int64)
        self.dense = _histogram(constant)
        self.mask = masking.find(constant)
        if self.mask is not None:
            live = _histogram(masking.compact(constant, self.mask))
            if _cost(live) + self.mask.size < _cost(self.dense):
                self.dense = live
            else:
                self.mask = None
        # with fewer zeros dense-huff takes as few bytes, and decodes faster
        sparse = 0 < np.count_nonzero(constant) * 4 < constant.size * 3
        self.gaps, self.values = gap_huff.histograms(constant) if sparse else (empty, empty)
        self.tables: dict[str, int] = {}

    def options(self, constant: Constant, tables: list[Table], smallest: bool) -> list[_Option]:
        """Encode the tensor every way there is a table for."""
        found = [_Option(Coding.RAW, constant.tobytes())]
        dense, gap, value = (self.tables.get(kind) for kind in ("dense", "gaps", "values"))
        if dense is not None and self.mask is None:
            data = huffman.encode_dense(constant, tables[dense])
            found.append(_Option(Coding.DENSE_HUFF, data, (dense,)))
        if dense is not None and self.mask is not None:
            live = huffman.encode_dense(masking.compact(constant, self.mask), tables[dense])
            found.append(_Option(Coding.MASKED_HUFF, self.mask.encode() + live, (dense,)))
        if gap is not None and value is not None:
            data = gap_huff.encode(constant, tables[gap], tables[value])
            found.append(_Option(Coding.GAP_HUFF, data, (value, gap)))
        if smallest and (stream := context.encode(constant)) is not None:
            found.append(_Option(Coding.CTX, stream))
        return found


def _narrow_options(constant: Constant, before: Constant | None) -> list[_Option]:
    """Return an int16 tensor as it is; an int32 one so, and in as few bytes as all elements need.

    A bias holds -in_zero * sum(weights), which is often all it holds, and often too large for a
    byte: the constant before it, its weights, says how much of it that is.
    """
    if constant.dtype == np.int16:
        return [_Option(Coding.RAW, constant.astype("<i2").tobytes())]
    flat = constant.astype("<i4").reshape(-1)
    found = [_Option(Coding.RAW, flat.tobytes())]
    narrow = _narrow(flat)
    if 0 < len(narrow) < flat.nbytes:
        found.append(_Option(Coding.NARROW, narrow))
    if (width := _mantissa_bytes(flat)) is not None:
        high = (flat >> 31 - 8 * width).astype("<i4")
        lowest = high.reshape(-1, 1).view(np.uint8)[:, :width].tobytes()
        found.append(_Option(Coding.MANTISSA, lowest))
    if before is not None and before.size % flat.size == 0:
        sums = row_sums(before, flat.size)
        peak, zero = min((_peak(flat + zero * sums), zero) for zero in range(-128, 128))
        if peak < 1 << 23:
            found.append(_Option(Coding.FOLDED, _folded(flat + zero * sums, zero)))
    return found


def _mantissa_bytes(numbers: Constant) -> int | None:
    """Return how many bytes hold all bits below the sign that are in use; None for four or more.

    Multipliers that were normalised to few bits are such numbers: their lowest bits are 0.
    """
    used = int(np.bitwise_or.reduce(numbers))
    fitting = (width for width in (1, 2, 3) if used & (1 << 31 - 8 * width) - 1 == 0)
    return next(fitting, None) if used > 0 else None


def row_sums(weights: Constant, rows: int) -> IntArray:
    """Return the sum of each of so many equal parts of the weights."""
    sums: IntArray = weights.reshape(rows, -1).sum(axis=1, dtype=np.int64)
    return sums


def _folded(rest: IntArray, zero: int) -> bytes:
    return struct.pack("<b", zero) + (_narrow(rest.astype("<i4")) if rest.any() else b"")


def _peak(numbers: IntArray) -> int:
    """Return what decides how many bytes each takes."""
    return int(np.where(numbers < 0, ~numbers, numbers).max())


def _narrow(numbers: Constant) -> bytes:
    """Return the lowest bytes of each, as many as all of them need."""
    peak = _peak(numbers)
    width = next(width for width in (1, 2, 3, 4) if peak < 1 << (8 * width - 1))
    return numbers.reshape(-1, 1).view(np.uint8)[:, :width].tobytes()


def _histogram(codes: Constant) -> IntArray:
    symbols = codes.reshape(-1).astype(np.int64) + 128
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


def _share(
    histograms: list[IntArray], kind: str, owners: list[_Streams], tables: list[Table]
) -> None:
    """Give each stream of a kind its table."""
    for table, members in share_tables(histograms):
        for member in members:
            owners[member].tables[kind] = len(tables)
        tables.append(table)


def share_tables(histograms: list[IntArray]) -> list[tuple[Table, list[int]]]:
    """Return tables for all streams that have symbols, shared where that saves bytes.

    Args:
        histograms: Of each stream, the count per symbol, int64 [256].

    Returns:
        Each table, and the indices of the streams it is for.
    """
    groups = {i: ([i], h, _cost(h)) for i, h in enumerate(histograms) if h.any()}
    gains = {pair: _gain(groups, *pair) for pair in combinations(groups, 2)}
    while gains:
        first, second = max(gains, key=gains.__getitem__)
        if gains[first, second] <= 0:
            break
        one, other = groups[first], groups.pop(second)
        histogram = one[1] + other[1]
        groups[first] = (one[0] + other[0], histogram, _cost(histogram))
        gains = {pair: gain for pair, gain in gains.items() if not {first, second} & {*pair}}
        gains |= {(first, i): _gain(groups, first, i) for i in groups if i != first}
    return [(huffman.build_table(counts), members) for members, counts, _ in groups.values()]


def _gain(groups: dict[int, tuple[list[int], IntArray, float]], first: int, second: int) -> float:
    """Return the bytes that one table for both groups saves."""
    one, other = groups[first], groups[second]
    return one[2] + other[2] - _cost(one[1] + other[1])


def _choose(options: list[list[_Option]], costs: list[int], rows: int) -> list[_Option]:
    """Pick an option per tensor so that bytes and the tables they need are fewest.

    Starts with every table and drops one after another while that saves bytes; having none at all
    is tried too.
    """
    allowed = set(range(len(costs)))
    chosen, total = _best(options, allowed, costs, rows)
    bare, least = _best(options, (), costs, rows)
    while True:
        without = [(_best(options, allowed - {table}, costs, rows), table) for table in allowed]
        better = [(size, table, pick) for (pick, size), table in without if size < total]
        if not better:
            return bare if least < total else chosen
        total, dropped, chosen = min(better, key=lambda one: one[:2])
        allowed.discard(dropped)


def _fix(options: list[list[_Option]], fixed: Mapping[int, _Option]) -> list[list[_Option]]:
    """Leave one option to some constants, and unfolded biases behind those used where they lie."""
    in_place = {i for i, option in fixed.items() if option.coding.is_in_place}
    return [
        [fixed[i]]
        if i in fixed
        else [o for o in every if o.coding != Coding.FOLDED or i - 1 not in in_place]
        for i, every in enumerate(options)
    ]


def _in_place(constant: Constant, coding: Coding, skipped: int | None = None) -> _Option:
    """Return the constant in a coding that needs no memory; raw where that cannot hold it."""
    data = None
    if coding in _ENCODERS:
        data = _ENCODERS[coding](constant)
    elif coding == Coding.SPARSE_COLUMNS and skipped is not None:
        data = sparse.encode_columns(constant, skipped)
    if data is not None:
        return _Option(coding, data)
    return _Option(Coding.RAW, constant.astype(constant.dtype.newbyteorder("<")).tobytes())


def smallest_in_place(constant: Constant, codings: Collection[Coding]) -> Coding:
    """Return which of these codings that are used in place, or RAW, takes fewest bytes."""
    return _smallest_in_place(constant, codings).coding


def _smallest_in_place(constant: Constant, codings: Collection[Coding]) -> _Option:
    options = (_in_place(constant, coding) for coding in (Coding.RAW, *codings))
    return min(options, key=_stored_size)


def _beyond(chosen: list[_Option], constants: list[Constant], unpack_limit: int) -> set[int]:
    """Return the coded tensors that save least per byte they unpack to and have no room."""

    def saved_per_byte(index: int) -> float:
        saved = constants[index].nbytes - _stored_size(chosen[index])
        return saved / unpacked_bytes(constants[index])

    coded = [i for i, option in enumerate(chosen) if option.coding.is_unpacked]
    left, over = unpack_limit, set[int]()
    for index in sorted(coded, key=saved_per_byte, reverse=True):
        size = unpacked_bytes(constants[index])
        if size <= left:
            left -= size
        else:
            over.add(index)
    return over


def unpacked_bytes(constant: Constant) -> int:
    """Return the memory a coded constant takes once unpacked: its bytes, to a multiple of 16."""
    return -(-int(constant.nbytes) // 16) * 16


def _best(
    options: list[list[_Option]], allowed: Iterable[int], costs: list[int], rows: int
) -> tuple[list[_Option], int]:
    usable = set(allowed)
    chosen = [
        min((o for o in every if usable.issuperset(o.tables)), key=_stored_size)
        for every in options
    ]
    used = {table for option in chosen for table in option.tables}
    named = 2 * rows if used else 0
    return chosen, named + sum(map(_stored_size, chosen)) + sum(costs[table] for table in used)


def _stored_size(option: _Option) -> int:
    return stored_size(option.coding, option.data)


def stored_size(coding: Coding, data: bytes) -> int:
    """Return the bytes it takes in DATA, where lengths have two bytes: there it counts."""
    if coding != Coding.RAW:
        return 2 + len(data)
    return len(data) + (-len(data) % 4 if len(data) >= 4 else 0)
