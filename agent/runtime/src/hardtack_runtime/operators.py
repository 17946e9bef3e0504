"""All operators by opcode, and those of wide activations: int16 codes (SPEC section 2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeVar, cast

from hardtack_runtime.program import (
    Add,
    AveragePool2D,
    Concat,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Lookup,
    MaxPool2D,
    Mean,
    Mul,
    Op,
    Pad,
    Softmax,
    Transpose,
)


@dataclass(frozen=True, slots=True)
class Rescale(Op):
    """The same numbers on another grid, from int8 or int16 codes to either."""

    opcode: ClassVar[int] = 14
    operands: ClassVar[int] = 2
    input: int
    output: int
    in_zero: int
    mult: int
    shift: int
    out_zero: int
    act_min: int
    act_max: int


@dataclass(frozen=True, slots=True)
class Conv2DS16(Conv2D):
    """Conv2D from or to int16 codes; no high plane, no weights used where they lie."""

    opcode: ClassVar[int] = 15


@dataclass(frozen=True, slots=True)
class DepthwiseConv2DS16(DepthwiseConv2D):
    """DepthwiseConv2D from int16 codes to int16 or int8."""

    opcode: ClassVar[int] = 16


@dataclass(frozen=True, slots=True)
class FullyConnectedS16(FullyConnected):
    """FullyConnected from or to int16 codes, as Conv2DS16."""

    opcode: ClassVar[int] = 17


@dataclass(frozen=True, slots=True)
class AddS16(Add):
    """Add of int16 codes."""

    opcode: ClassVar[int] = 18


@dataclass(frozen=True, slots=True)
class MulS16(Mul):
    """Mul of int16 codes."""

    opcode: ClassVar[int] = 19


@dataclass(frozen=True, slots=True)
class ConcatS16(Concat):
    """Concat of int16 codes."""

    opcode: ClassVar[int] = 20


@dataclass(frozen=True, slots=True)
class PadS16(Pad):
    """Pad of int16 codes."""

    opcode: ClassVar[int] = 21


@dataclass(frozen=True, slots=True)
class MaxPool2DS16(MaxPool2D):
    """MaxPool2D of int16 codes."""

    opcode: ClassVar[int] = 22


@dataclass(frozen=True, slots=True)
class AveragePool2DS16(AveragePool2D):
    """AveragePool2D of int16 codes."""

    opcode: ClassVar[int] = 23


@dataclass(frozen=True, slots=True)
class MeanS16(Mean):
    """Mean of int16 codes."""

    opcode: ClassVar[int] = 24


@dataclass(frozen=True, slots=True)
class TransposeS16(Transpose):
    """Transpose of int16 codes."""

    opcode: ClassVar[int] = 25


_TWINS: tuple[type[Op], ...] = (
    Conv2DS16, DepthwiseConv2DS16, FullyConnectedS16, AddS16, MulS16, ConcatS16, PadS16,
    MaxPool2DS16, AveragePool2DS16, MeanS16, TransposeS16,
)  # fmt: skip
WIDE: dict[type[Op], type[Op]] = {op.__bases__[0]: op for op in _TWINS}
"""The twin of int16 codes of an operator, which has the same fields."""

_NARROW: tuple[type[Op], ...] = (
    Conv2D, DepthwiseConv2D, FullyConnected, Add, Mul, Concat, Pad, MaxPool2D, AveragePool2D,
    Mean, Transpose, Softmax, Lookup, Rescale,
)  # fmt: skip
OPS: dict[int, type[Op]] = {op.opcode: op for op in (*_NARROW, *_TWINS)}


Kind = TypeVar("Kind", bound=Op)


def twin(kind: type[Kind], *, wide: bool) -> type[Kind]:
    """Return the operator itself, or its twin of int16 codes, which is a kind of it."""
    return cast("type[Kind]", WIDE[kind]) if wide else kind


def is_wide(op: Op) -> bool:
    """Say whether an operator is one of int16 codes."""
    return type(op) in _TWINS
