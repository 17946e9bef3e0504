"""The sections TENS, HUFF and DATA of a bundle (SPEC sections 1.5 to 1.7)."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import astuple, dataclass
from enum import IntFlag
from typing import Any

import numpy as np
import numpy.typing as npt

from hardtack_runtime import codebook, context, gap_huff, huffman, masking, sparse
from hardtack_runtime.errors import BundleError, UnsupportedOpError
from hardtack_runtime.packing import Coding, Packed, row_sums, stored_size, unpacked_bytes
from hardtack_runtime.program import Dims, Program, Tensor

ARENA = 0
"""The coding of a tensor without stored bytes."""
MAX_DIM = 65535
MAX_TENSORS = 16384
MAX_TABLES = 256
_NARROW = 65535
"""Largest offset, and largest length, of two bytes."""
_HEAD = struct.Struct("<HBB")
_WITHOUT_TABLES: dict[int, Callable[[bytes, Dims], npt.NDArray[np.int8]]] = {
    Coding.CTX: context.decode,
    Coding.SPARSE: sparse.decode,
    Coding.PACKED: codebook.decode,
    Coding.SPARSE_COLUMNS: sparse.decode_columns,
}
_INT32 = (Coding.NARROW, Coding.FOLDED, Coding.MANTISSA)
_DTYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype("<i1"), 2: np.dtype("<i4"), 3: np.dtype("<i2"),
}  # fmt: skip


def round_up(size: int, unit: int) -> int:
    """Return the smallest multiple of `unit` that is not below `size`."""
    return -(-size // unit) * unit


def unpacked_size(program: Program, packed: Packed) -> int:
    """Return the bytes of memory that coded tensors need once unpacked."""
    constants = [t.data for t in program.tensors if t.data is not None]
    return sum(
        unpacked_bytes(data)
        for data, stored in zip(constants, packed.constants, strict=True)
        if stored.coding.is_unpacked
    )


class Layout(IntFlag):
    """What the rows of a tensor table have (SPEC section 1.5)."""

    WIDE_CHANNELS = 1
    WIDE_OTHERS = 2
    WIDE_OFFSET = 4
    TABLES = 8

    @property
    def row(self) -> struct.Struct:
        """Of a row: dtype and coding, the two tables if any, dims, offset."""
        tables = "BB" if Layout.TABLES in self else ""
        others = "HHH" if Layout.WIDE_OTHERS in self else "BBB"
        channels = "H" if Layout.WIDE_CHANNELS in self else "B"
        offset = "I" if Layout.WIDE_OFFSET in self else "H"
        return struct.Struct(f"<B{tables}{others}{channels}{offset}")


WIDEST = Layout.WIDE_CHANNELS | Layout.WIDE_OTHERS | Layout.WIDE_OFFSET | Layout.TABLES


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the tensor table (SPEC section 1.5)."""

    dtype: int
    coding: int
    table: int
    gap_table: int
    dims: Dims
    offset: int

    def encode(self, layout: Layout = WIDEST) -> bytes:
        """Write it; the layout must have room for it."""
        tables = (self.table, self.gap_table) if Layout.TABLES in layout else ()
        return layout.row.pack(self.dtype | self.coding << 4, *tables, *self.dims, self.offset)


def row_of(tensor: Tensor, coding: int, offset: int, table: int = 0, gap_table: int = 0) -> Row:
    """Return the row of a tensor.

    Raises:
        UnsupportedOpError: HT302, a dimension above 65535.
    """
    if max(tensor.dims) > MAX_DIM:
        raise UnsupportedOpError(
            "HT302", tensor.name, f"has shape {list(tensor.dims)}: a dimension above {MAX_DIM}"
        )
    size = tensor.nbytes // tensor.elements
    dtype = next(kind for kind, dtype in _DTYPES.items() if dtype.itemsize == size)
    return Row(dtype, coding, table, gap_table, tensor.dims, offset)


def encode_tensors(tensors: tuple[Tensor, ...], packed: Packed) -> tuple[bytes, bytes]:
    """Write the sections TENS and DATA, rows and lengths as short as all of them allow."""
    arena = max((t.offset for t in tensors if not t.is_constant), default=0)
    in_data = sum(stored_size(one.coding, one.data) for one in packed.constants)
    is_wide = max(arena, in_data) > _NARROW
    data, offsets = _lay_out(packed, is_wide)
    constants = iter(zip(packed.constants, offsets, strict=True))
    rows = []
    for tensor in tensors:
        if tensor.is_constant:
            stored, offset = next(constants)
            rows.append(row_of(tensor, stored.coding, offset, stored.table, stored.gap_table))
        else:
            rows.append(row_of(tensor, ARENA, tensor.offset))
    layout = Layout.WIDE_OFFSET if is_wide else Layout(0)
    if max(row.dims[3] for row in rows) > 255:
        layout |= Layout.WIDE_CHANNELS
    if max(max(row.dims[:3]) for row in rows) > 255:
        layout |= Layout.WIDE_OTHERS
    if packed.tables:
        layout |= Layout.TABLES
    table = _HEAD.pack(len(rows), layout, 0) + b"".join(row.encode(layout) for row in rows)
    return table, data


def _lay_out(packed: Packed, is_wide: bool) -> tuple[bytes, list[int]]:
    """Concatenate stored constants, equal ones once; return DATA and each one's offset.

    Those that are read by the word come first, then those that may be read by its half, so that no
    others have to be padded.
    """
    keys = [(stored.coding == Coding.RAW, stored.data) for stored in packed.constants]
    data, at = bytearray(), dict[tuple[bool, bytes], int]()
    for key in sorted(set(keys), key=lambda key: (_rank(*key), keys.index(key))):
        is_raw, content = key
        at[key] = len(data)
        data += b"" if is_raw else struct.pack("<I" if is_wide else "<H", len(content))
        data += content + bytes(-len(content) % 4 if _is_aligned(*key) else 0)
    return bytes(data), [at[key] for key in keys]


def _rank(is_raw: bool, content: bytes) -> int:
    return 0 if _is_aligned(is_raw, content) else 1 if is_raw and len(content) == 2 else 2


def _is_aligned(is_raw: bool, content: bytes) -> bool:
    return is_raw and len(content) >= 4


@dataclass(frozen=True, slots=True)
class StoredAs:
    """How one constant was stored, for reports."""

    coding: Coding
    size: int


def decode_tensors(
    section: bytes, data: bytes, tables: list[huffman.Table], arena_size: int, unpack_size: int
) -> tuple[tuple[Tensor, ...], tuple[StoredAs, ...]]:
    """Read the TENS section: the tensors, constants unpacked, and how those were stored.

    Args:
        section: Its bytes.
        data: The DATA section.
        tables: The code tables of HUFF.
        arena_size: As the header says: no tensor may leave the arena.
        unpack_size: As the header says: what coded tensors unpack to. It is compared before
            anything is unpacked, so a short file cannot ask for all memory.

    Raises:
        BundleError: HT212, naming the tensor.
    """
    count, flags, reserved = _HEAD.unpack_from(section)
    if not 1 <= count <= MAX_TENSORS or flags > WIDEST or reserved:
        raise BundleError("HT212", "TENS", f"{count} tensors, layout {flags}, reserved {reserved}")
    layout = Layout(flags)
    if len(section) != _HEAD.size + layout.row.size * count:
        raise BundleError("HT212", "TENS", f"{len(section)} bytes for {count} tensors")
    rows = [
        _decode_row(index, layout, fields, len(tables), arena_size)
        for index, fields in enumerate(layout.row.iter_unpack(section[_HEAD.size :]))
    ]
    coded = sum(round_up(row.raw_size, 16) for row in rows if row.is_unpacked)
    if coded != unpack_size:
        raise BundleError(
            "HT212", "TENS", f"unpacks to {coded} bytes, the header says {unpack_size}"
        )
    tensors, stored, before = list[Tensor](), [], None
    for row in rows:
        tensor, how = _decode_tensor(row, _stored_bytes(row, layout, data), tables, before)
        tensors.append(tensor)
        if how is not None:
            before = None if how.coding.is_in_place else tensor.data
        if how is not None:
            stored.append(how)
    return tuple(tensors), tuple(stored)


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of the tensor table, checked."""

    index: int
    dtype: np.dtype[Any]
    coding: int
    table: int
    gap_table: int
    dims: Dims
    offset: int

    @property
    def where(self) -> str:
        return f"TENS tensor {self.index}"

    @property
    def elements(self) -> int:
        return math.prod(self.dims)

    @property
    def is_unpacked(self) -> bool:
        return self.coding != ARENA and Coding(self.coding).is_unpacked

    @property
    def raw_size(self) -> int:
        return self.elements * self.dtype.itemsize


def _decode_row(
    index: int, layout: Layout, fields: tuple[int, ...], tables: int, arena_size: int
) -> _Row:
    kind, *named, n, h, w, c, offset = fields
    table, gap_table = named if Layout.TABLES in layout else (0, 0)
    kind, coding = kind & 15, kind >> 4
    row = _Row(
        index, _DTYPES.get(kind, np.dtype(object)), coding, table, gap_table, (n, h, w, c), offset
    )
    if kind not in _DTYPES or not 0 < row.elements < 1 << 28 or not _codes(row, tables):
        raise BundleError("HT212", row.where, f"impossible fields {(kind, *astuple(row)[2:])}")
    if coding == ARENA and (offset % 16 or offset + row.raw_size > arena_size):
        raise BundleError("HT212", row.where, f"lies outside the arena of {arena_size} bytes")
    return row


def _codes(row: _Row, tables: int) -> bool:
    """Say whether the coding suits the type, and names tables that are there."""
    if row.coding in (ARENA, Coding.RAW, *_INT32):
        suits = row.coding == Coding.RAW or (row.dtype.itemsize == 4) == (row.coding in _INT32)
        return suits and row.table == row.gap_table == 0
    if row.coding in _WITHOUT_TABLES:
        return row.dtype.itemsize == 1 and row.table == row.gap_table == 0
    known = row.table < tables and row.gap_table < tables
    gaps = row.coding == Coding.GAP_HUFF or row.gap_table == 0
    return row.coding in tuple(Coding) and row.dtype.itemsize == 1 and known and gaps


def _decode_tensor(
    row: _Row, stored: bytes, tables: list[huffman.Table], before: npt.NDArray[Any] | None
) -> tuple[Tensor, StoredAs | None]:
    name = f"tensor_{row.index}"
    if row.coding == ARENA:
        return Tensor(name, row.dims, None, row.offset, row.dtype.itemsize == 2), None
    if row.coding == Coding.FOLDED:
        values = _unfold(row, stored, before)
    else:
        values = _decode_constant(row, stored, tables)
    return Tensor(name, row.dims, values.reshape(row.dims)), StoredAs(
        Coding(row.coding), len(stored)
    )


def _stored_bytes(row: _Row, layout: Layout, data: bytes) -> bytes:
    """Return those of a constant; none of a tensor in the arena."""
    if row.coding == ARENA:
        return b""
    offset, size = row.offset, row.raw_size
    if row.coding == Coding.RAW:
        misplaced = offset % (4 if size >= 4 else row.dtype.itemsize) != 0
    else:
        length = struct.Struct("<I" if Layout.WIDE_OFFSET in layout else "<H")
        misplaced = offset + length.size > len(data)
        size = 0 if misplaced else length.unpack_from(data, offset)[0]
        offset += length.size
    if misplaced or offset + size > len(data):
        raise BundleError("HT212", row.where, "lies outside DATA")
    return data[offset : offset + size]


def _decode_constant(row: _Row, stored: bytes, tables: list[huffman.Table]) -> npt.NDArray[Any]:
    if row.coding == Coding.RAW:
        return np.frombuffer(stored, row.dtype)
    if row.coding in _FEW_BYTES:
        return _FEW_BYTES[row.coding](row.where, stored, row.elements)
    if row.coding in _WITHOUT_TABLES:
        return _WITHOUT_TABLES[row.coding](stored, row.dims)
    values = tables[row.table]
    if row.coding == Coding.GAP_HUFF:
        return gap_huff.decode(stored, row.elements, tables[row.gap_table], values)
    if row.coding == Coding.DENSE_HUFF:
        return huffman.decode_dense(stored, row.elements, values)
    mask, at = masking.read(stored, row.dims)
    live = int(mask.rows.sum()) * masking.view(row.dims)[1] * int(mask.columns.sum())
    return masking.expand(huffman.decode_dense(stored[at:], live, values), mask, row.dims)


def _unfold(row: _Row, stored: bytes, before: npt.NDArray[Any] | None) -> npt.NDArray[np.int32]:
    """Take from each element its share of what the constant before it sums up to, modulo 2^32."""
    if not stored or before is None or before.dtype != np.int8 or before.size % row.elements:
        raise BundleError("HT212", row.where, "is folded with weights that are not before it")
    (zero,) = struct.unpack_from("<b", stored)
    rest = _widen(row.where, stored[1:], row.elements) if len(stored) > 1 else np.int32(0)
    whole: npt.NDArray[np.int32] = (rest - zero * row_sums(before, row.elements)).astype(np.int32)
    return whole


def _widen(where: str, stored: bytes, elements: int) -> npt.NDArray[np.int32]:
    """Extend the sign of elements of 1, 2 or 3 bytes."""
    width = len(stored) // elements
    if width not in (1, 2, 3) or len(stored) != width * elements:
        raise BundleError("HT212", where, f"{len(stored)} bytes for {elements} narrow elements")
    wide = np.zeros((elements, 4), np.uint8)
    wide[:, 4 - width :] = np.frombuffer(stored, np.uint8).reshape(elements, width)
    return wide.view("<i4").reshape(-1) >> (32 - 8 * width)


def _raised(where: str, stored: bytes, elements: int) -> npt.NDArray[np.int32]:
    """Put elements of 1, 2 or 3 bytes directly below the sign."""
    width = len(stored) // elements
    if width not in (1, 2, 3) or len(stored) != width * elements:
        raise BundleError("HT212", where, f"{len(stored)} bytes for {elements} mantissas")
    padded = np.zeros((elements, 4), np.uint8)
    padded[:, :width] = np.frombuffer(stored, np.uint8).reshape(elements, width)
    numbers: npt.NDArray[np.int32] = padded.view("<i4").reshape(-1) << 31 - 8 * width
    return numbers


_FEW_BYTES: dict[int, Callable[[str, bytes, int], npt.NDArray[np.int32]]] = {
    Coding.NARROW: _widen,
    Coding.MANTISSA: _raised,
}


def encode_tables(packed: Packed) -> bytes:
    """Write the HUFF section."""
    body = struct.pack("<I", len(packed.tables)) + b"".join(t.encode() for t in packed.tables)
    return body + bytes(-len(body) % 4)


def decode_tables(section: bytes) -> list[huffman.Table]:
    """Read the HUFF section.

    Raises:
        BundleError: HT212, too many tables, a malformed one, or bytes that are no padding.
    """
    (count,) = struct.unpack_from("<I", section)
    if count > MAX_TABLES:
        raise BundleError("HT212", "HUFF", f"{count} tables; {MAX_TABLES} are the most")
    tables, at = [], 4
    for _ in range(count):
        table, at = huffman.read_table(section, at)
        tables.append(table)
    if len(section) != round_up(at, 4) or any(section[at:]):
        raise BundleError("HT212", "HUFF", "bytes after the last table")
    return tables
