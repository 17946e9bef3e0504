"""The sections TENS, HUFF, DATA and GOLD of a bundle (SPEC sections 1.5 to 1.8)."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from hardtack_runtime import huffman
from hardtack_runtime.errors import BundleError
from hardtack_runtime.packing import Coding, Packed
from hardtack_runtime.program import Dims, GoldenVector, Program, Tensor

_TENSOR = struct.Struct("<BBBB4IIIBBH")
_DTYPES: dict[int, np.dtype[Any]] = {1: np.dtype("<i1"), 2: np.dtype("<i4")}


def round_up(size: int, unit: int) -> int:
    """Return the smallest multiple of `unit` that is not below `size`."""
    return -(-size // unit) * unit


def unpacked_size(program: Program, packed: Packed) -> int:
    """Return the bytes of memory that coded tensors need once unpacked."""
    constants = [t for t in program.tensors if t.is_constant]
    return sum(
        round_up(tensor.elements, 16)
        for tensor, stored in zip(constants, packed.constants, strict=True)
        if stored.coding != Coding.RAW
    )


def lay_out(packed: Packed) -> tuple[bytes, list[int]]:
    """Concatenate stored constants, equal ones once; return DATA and each one's offset."""
    data, offsets, seen = bytearray(), [], dict[bytes, int]()
    for stored in packed.constants:
        if stored.data not in seen:
            seen[stored.data] = len(data)
            data += stored.data + bytes(-len(stored.data) % 4)
        offsets.append(seen[stored.data])
    return bytes(data), offsets


def tensor_row(
    tensor: Tensor, coding: Coding, offset: int, size: int, table: int, gap_table: int
) -> bytes:
    """Write one row of the tensor table."""
    dtype = 2 if tensor.data is not None and tensor.data.dtype == np.int32 else 1
    place = 1 if tensor.is_constant else 0
    return _TENSOR.pack(dtype, place, coding, 0, *tensor.dims, offset, size, table, gap_table, 0)


def encode_tensors(tensors: tuple[Tensor, ...], packed: Packed, offsets: list[int]) -> bytes:
    """Write the TENS section."""
    out, constant = bytearray(struct.pack("<II", len(tensors), 0)), 0
    for tensor in tensors:
        if not tensor.is_constant:
            out += tensor_row(tensor, Coding.RAW, tensor.offset, 0, 0, 0)
            continue
        stored = packed.constants[constant]
        size = len(stored.data)
        out += tensor_row(
            tensor, stored.coding, offsets[constant], size, stored.table, stored.gap_table
        )
        constant += 1
    return bytes(out)


def decode_tensors(
    section: bytes, data: bytes, tables: list[huffman.Table]
) -> tuple[tuple[Tensor, ...], list[tuple[int, ...]]]:
    """Read the TENS section: the tensors, constants unpacked, and the rows they came from."""
    count, _ = struct.unpack_from("<II", section)
    if len(section) != 8 + 32 * count:
        raise BundleError("HT212", "TENS", f"{len(section)} bytes for {count} tensors")
    rows = [_TENSOR.unpack_from(section, 8 + 32 * i) for i in range(count)]
    return tuple(_decode_tensor(i, row, data, tables) for i, row in enumerate(rows)), rows


def _decode_tensor(
    index: int, row: tuple[int, ...], data: bytes, tables: list[huffman.Table]
) -> Tensor:
    dtype, place, coding, zero, n, h, w, c, offset, size, table, gap_table, reserved = row
    dims: Dims = (n, h, w, c)
    elements = n * h * w * c
    bad = dtype not in _DTYPES or place > 1 or coding > Coding.GAP_HUFF or zero or reserved
    if bad or not 0 < elements < 1 << 28 or (dtype == 2 and coding):
        raise BundleError("HT212", f"TENS tensor {index}", f"impossible fields {row[:8]}")
    name = f"tensor_{index}"
    if place == 0:
        return Tensor(name, dims, None, offset)
    if offset + size > len(data) or offset % 4:
        raise BundleError("HT212", f"TENS tensor {index}", "lies outside DATA")
    if coding != Coding.RAW and max(table, gap_table) >= len(tables):
        raise BundleError("HT212", f"TENS tensor {index}", "names a missing code table")
    stored = data[offset : offset + size]
    values = _decode_constant(index, stored, elements, coding, dtype, tables, (table, gap_table))
    return Tensor(name, dims, values.reshape(dims))


def _decode_constant(
    index: int, stored: bytes, elements: int, coding: int, dtype: int,
    tables: list[huffman.Table], used: tuple[int, int],
) -> npt.NDArray[Any]:  # fmt: skip
    if coding == Coding.DENSE_HUFF:
        return huffman.decode_dense(stored, elements, tables[used[0]])
    if coding == Coding.GAP_HUFF:
        return huffman.decode_gap(stored, elements, tables[used[1]], tables[used[0]])
    if len(stored) != elements * _DTYPES[dtype].itemsize:
        raise BundleError("HT212", f"TENS tensor {index}", "stored size and shape differ")
    return np.frombuffer(stored, _DTYPES[dtype])


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


def decode_golden(section: bytes, program: Program) -> tuple[GoldenVector, ...]:
    """Read the GOLD section."""
    count, op_count = struct.unpack_from("<II", section)
    if op_count != len(program.ops):
        raise BundleError("HT212", "GOLD", f"{op_count} layers, the program has {len(program.ops)}")
    at, vectors = 8, []
    sizes = [program.tensors[port.tensor].elements for port in program.inputs]
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
