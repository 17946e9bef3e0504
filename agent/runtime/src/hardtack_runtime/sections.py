"""The sections TENS, HUFF, DATA and GOLD of a bundle (SPEC sections 1.5 to 1.8)."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hardtack_runtime import huffman, masking
from hardtack_runtime.errors import BundleError, UnsupportedOpError
from hardtack_runtime.packing import Coding, Packed, frame, unpacked_bytes
from hardtack_runtime.program import Dims, GoldenVector, Program, Tensor

_TENSOR = struct.Struct("<BBBB4HI")
ARENA = 0
"""The coding of a tensor without stored bytes."""
MAX_DIM = 65535
_DTYPES: dict[int, np.dtype[Any]] = {1: np.dtype("<i1"), 2: np.dtype("<i4")}


def round_up(size: int, unit: int) -> int:
    """Return the smallest multiple of `unit` that is not below `size`."""
    return -(-size // unit) * unit


def unpacked_size(program: Program, packed: Packed) -> int:
    """Return the bytes of memory that coded tensors need once unpacked."""
    constants = [t.data for t in program.tensors if t.data is not None]
    return sum(
        unpacked_bytes(data)
        for data, stored in zip(constants, packed.constants, strict=True)
        if stored.coding != Coding.RAW
    )


def lay_out(packed: Packed) -> tuple[bytes, list[int]]:
    """Concatenate stored constants, equal ones once; return DATA and each one's offset."""
    data, offsets, seen = bytearray(), [], dict[bytes, int]()
    for stored in packed.constants:
        framed = frame(stored.coding, stored.data)
        if framed not in seen:
            seen[framed] = len(data)
            data += framed
        offsets.append(seen[framed])
    return bytes(data), offsets


def tensor_row(
    tensor: Tensor, coding: int, offset: int, table: int = 0, gap_table: int = 0
) -> bytes:
    """Write one row of the tensor table.

    Raises:
        UnsupportedOpError: HT302, a dimension above 65535.
    """
    if max(tensor.dims) > MAX_DIM:
        raise UnsupportedOpError(
            "HT302", tensor.name, f"has shape {list(tensor.dims)}: a dimension above {MAX_DIM}"
        )
    dtype = 2 if tensor.data is not None and tensor.data.dtype == np.int32 else 1
    return _TENSOR.pack(dtype, coding, table, gap_table, *tensor.dims, offset)


def encode_tensors(tensors: tuple[Tensor, ...], packed: Packed, offsets: list[int]) -> bytes:
    """Write the TENS section."""
    out, constant = bytearray(struct.pack("<I", len(tensors))), 0
    for tensor in tensors:
        if not tensor.is_constant:
            out += tensor_row(tensor, ARENA, tensor.offset)
            continue
        stored = packed.constants[constant]
        out += tensor_row(tensor, stored.coding, offsets[constant], stored.table, stored.gap_table)
        constant += 1
    return bytes(out)


@dataclass(frozen=True, slots=True)
class StoredAs:
    """How one constant was stored, for reports."""

    coding: Coding
    size: int


def decode_tensors(
    section: bytes, data: bytes, tables: list[huffman.Table]
) -> tuple[tuple[Tensor, ...], tuple[StoredAs, ...]]:
    """Read the TENS section: the tensors, constants unpacked, and how those were stored."""
    (count,) = struct.unpack_from("<I", section)
    if len(section) != 4 + _TENSOR.size * count:
        raise BundleError("HT212", "TENS", f"{len(section)} bytes for {count} tensors")
    tensors, stored = [], []
    for index in range(count):
        row = _TENSOR.unpack_from(section, 4 + _TENSOR.size * index)
        tensor, how = _decode_tensor(f"TENS tensor {index}", row, data, tables)
        tensors.append(tensor)
        if how is not None:
            stored.append(how)
    return tuple(tensors), tuple(stored)


def _decode_tensor(
    where: str, row: tuple[int, ...], data: bytes, tables: list[huffman.Table]
) -> tuple[Tensor, StoredAs | None]:
    dtype, coding, table, gap_table, n, h, w, c, offset = row
    dims: Dims = (n, h, w, c)
    elements = n * h * w * c
    if dtype not in _DTYPES or coding > Coding.NARROW or not 0 < elements < 1 << 28:
        raise BundleError("HT212", where, f"impossible fields {row}")
    name = f"tensor_{where.rsplit(' ', 1)[1]}"
    if coding == ARENA:
        return Tensor(name, dims, None, offset), None
    if (dtype == 2) != (coding == Coding.NARROW) and coding != Coding.RAW:
        raise BundleError("HT212", where, f"coding {coding} of type {dtype}")
    stored = _stored_bytes(where, data, offset, coding, elements * _DTYPES[dtype].itemsize)
    used = [tables[i] for i in (table, gap_table) if i < len(tables)]
    values = _decode_constant(where, stored, dims, Coding(coding), dtype, used)
    return Tensor(name, dims, values.reshape(dims)), StoredAs(Coding(coding), len(stored))


def _stored_bytes(where: str, data: bytes, offset: int, coding: int, raw_size: int) -> bytes:
    size = raw_size
    if coding != Coding.RAW:
        (size,) = struct.unpack_from("<I", data, offset)
        offset += 4
    if offset % 4 or offset + size > len(data):
        raise BundleError("HT212", where, "lies outside DATA")
    return data[offset : offset + size]


def _decode_constant(
    where: str, stored: bytes, dims: Dims, coding: Coding, dtype: int, tables: list[huffman.Table]
) -> npt.NDArray[Any]:
    """Unpack one constant; `tables` holds its value and gap table."""
    elements = math.prod(dims)
    if coding == Coding.RAW:
        return np.frombuffer(stored, _DTYPES[dtype])
    if coding == Coding.NARROW:
        return _widen(where, stored, elements)
    if len(tables) < 2:
        raise BundleError("HT212", where, "names a missing code table")
    if coding == Coding.GAP_HUFF:
        return huffman.decode_gap(stored, elements, tables[1], tables[0])
    if coding == Coding.DENSE_HUFF:
        return huffman.decode_dense(stored, elements, tables[0])
    mask, at = masking.read(stored, dims)
    live = int(mask.rows.sum()) * masking.view(dims)[1] * int(mask.columns.sum())
    return masking.expand(huffman.decode_dense(stored[at:], live, tables[0]), mask, dims)


def _widen(where: str, stored: bytes, elements: int) -> npt.NDArray[np.int32]:
    """Extend the sign of elements of 1, 2 or 3 bytes."""
    width = len(stored) // elements
    if width not in (1, 2, 3) or len(stored) != width * elements:
        raise BundleError("HT212", where, f"{len(stored)} bytes for {elements} narrow elements")
    wide = np.zeros((elements, 4), np.uint8)
    wide[:, 4 - width :] = np.frombuffer(stored, np.uint8).reshape(elements, width)
    return wide.view("<i4").reshape(-1) >> (32 - 8 * width)


def encode_tables(packed: Packed) -> bytes:
    """Write the HUFF section."""
    body = struct.pack("<I", len(packed.tables)) + b"".join(t.encode() for t in packed.tables)
    return body + bytes(-len(body) % 4)


def decode_tables(section: bytes) -> list[huffman.Table]:
    """Read the HUFF section."""
    (count,) = struct.unpack_from("<I", section)
    tables, at = [], 4
    for _ in range(count):
        table, at = huffman.read_table(section, at)
        tables.append(table)
    if len(section) - at >= 4 or any(section[at:]):
        raise BundleError("HT212", "HUFF", "bytes after the last table")
    return tables


def encode_golden(golden: tuple[GoldenVector, ...], op_count: int) -> bytes:
    """Write the GOLD section."""
    out = bytearray(struct.pack("<II", len(golden), op_count))
    for vector in golden:
        out += struct.pack("<I", vector.seed)
        for sample in vector.samples:
            out += sample + bytes(-len(sample) % 4)
        out += struct.pack(f"<{op_count + 1}I", *vector.crcs, vector.final)
    return bytes(out)


def decode_golden(
    section: bytes, layers: int | None, sizes: Sequence[int]
) -> tuple[GoldenVector, ...]:
    """Read the GOLD section.

    Args:
        section: Its bytes.
        layers: Number of operators; None takes the section's word for it.
        sizes: Elements of each input.

    Raises:
        BundleError: HT212, it is of another program, or malformed.
    """
    count, op_count = struct.unpack_from("<II", section)
    if layers is not None and op_count != layers:
        raise BundleError("HT212", "GOLD", f"{op_count} layers, the program has {layers}")
    at, vectors = 8, []
    for _ in range(count):
        (seed,) = struct.unpack_from("<I", section, at)
        at += 4
        samples = []
        for size in sizes if seed == 0 else ():
            samples.append(section[at : at + size])
            at += round_up(size, 4)
        *crcs, final = struct.unpack_from(f"<{op_count + 1}I", section, at)
        at += 4 * (op_count + 1)
        vectors.append(GoldenVector(seed, tuple(samples), tuple(crcs), final))
    if at != len(section):
        raise BundleError("HT212", "GOLD", "bytes after the last vector")
    return tuple(vectors)
