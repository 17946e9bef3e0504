"""The section PROG of a bundle: ports and operator records (SPEC section 1.4)."""

from __future__ import annotations

import dataclasses
import math
import struct
from typing import Any

from hardtack_runtime.errors import BundleError
from hardtack_runtime.operators import OPS
from hardtack_runtime.program import (
    Concat,
    Conv2D,
    FullyConnected,
    Op,
    Port,
    Program,
    Tensor,
)

_COUNTS = struct.Struct("<HBB")
_PORT = struct.Struct("<Hhf")
_RECORD = struct.Struct("<BBH")
_FIELD = {1: "b", 2: "h", 4: "i"}
"""Formats of a field, by the bytes it takes."""
_WITH_PLANES = (Conv2D, FullyConnected)
_FIELD_COUNTS = {
    kind: {len(fields) - is_short for is_short in ((0, 1) if kind in _WITH_PLANES else (0,))}
    for kind in OPS.values()
    for fields in [
        [f for f in dataclasses.fields(kind) if f.name != "high" or kind in _WITH_PLANES]
    ]
}
"""How many fields an operator may have: a high plane is named, or it is not."""


def encode_program(program: Program) -> bytes:
    """Write the PROG section (SPEC section 1.4)."""
    out = bytearray(_COUNTS.pack(len(program.ops), len(program.inputs), len(program.outputs)))
    for port in (*program.inputs, *program.outputs):
        out += _PORT.pack(port.tensor, port.zero_point, port.scale)
    for op in program.ops:
        words = op.words()
        width = _narrowest(words)
        out += _RECORD.pack(op.opcode, width, len(words))
        out += struct.pack(f"<{len(words)}{_FIELD[width]}", *words)
    return bytes(out)


def _narrowest(words: list[int]) -> int:
    """Return in how many bytes each of the numbers fits."""
    limit = max((word if word >= 0 else ~word for word in words), default=0)
    return 1 if limit < 1 << 7 else 2 if limit < 1 << 15 else 4


def decode_program(
    section: bytes, tensors: tuple[Tensor, ...], arena_size: int, layers: tuple[str, ...] = ()
) -> Program:
    """Read the PROG section; the inverse of `encode_program`.

    Raises:
        BundleError: HT212, the section is cut short, or a count, port, operator or tensor index
            is none that SPEC section 1.4 allows.
    """
    try:
        return _decode(section, tensors, arena_size, layers)
    except struct.error as error:
        raise BundleError("HT212", "PROG", "the section ends inside a record") from error


def _decode(
    section: bytes, tensors: tuple[Tensor, ...], arena_size: int, layers: tuple[str, ...]
) -> Program:
    op_count, input_count, output_count = _COUNTS.unpack_from(section)
    counts_fit = op_count <= 4096 and 1 <= input_count <= 8 and 1 <= output_count <= 8
    if not counts_fit or len(layers) not in (0, op_count):
        met = f"{op_count} operators ({len(layers)} named), {input_count} inputs"
        raise BundleError("HT212", "PROG", f"{met}, {output_count} outputs")
    at = _COUNTS.size
    ports = []
    for index in range(input_count + output_count):
        tensor, zero_point, scale = _PORT.unpack_from(section, at)
        port = Port(tensor, scale, zero_point)
        _check_port(port, index, tensors, is_input=index < input_count)
        ports.append(port)
        at += _PORT.size
    ops = []
    for index in range(op_count):
        op, at = _decode_op(section, at, index)
        if not all(0 <= tensor < len(tensors) for tensor in op.tensors()):
            raise BundleError("HT212", f"PROG operator {index}", "names a tensor there is not")
        ops.append(op)
    if at != len(section):
        raise BundleError("HT212", "PROG", f"{len(section) - at} bytes after the last operator")
    return Program(
        tensors, tuple(ops), tuple(ports[:input_count]), tuple(ports[input_count:]),
        arena_size, layers,
    )  # fmt: skip


def _check_port(port: Port, index: int, tensors: tuple[Tensor, ...], *, is_input: bool) -> None:
    tensor = tensors[port.tensor] if port.tensor < len(tensors) else None
    is_place = tensor is not None and not tensor.is_constant and not (tensor.wide and is_input)
    zeros = range(1) if tensor is not None and tensor.wide else range(-128, 128)
    if not is_place or not 0 < port.scale < math.inf or port.zero_point not in zeros:
        raise BundleError("HT212", f"PROG port {index}", f"impossible fields {port}")


def _decode_op(section: bytes, at: int, index: int) -> tuple[Op, int]:
    opcode, width, count = _RECORD.unpack_from(section, at)
    where = f"PROG operator {index}"
    kind = OPS.get(opcode)
    if kind is None:
        raise BundleError("HT212", where, f"unknown opcode {opcode}")
    if width not in _FIELD:
        raise BundleError("HT212", where, f"has fields of {width} bytes")
    words = list(struct.unpack_from(f"<{count}{_FIELD[width]}", section, at + _RECORD.size))
    fields: list[Any] = words
    if issubclass(kind, Concat):
        fields = [*words[:2], tuple(words[2:])]
    if len(fields) not in _FIELD_COUNTS[kind]:
        raise BundleError("HT212", where, f"{count} fields for {kind.__name__}")
    return kind(*fields), at + _RECORD.size + width * count
