"""The program: operators in order on tensors, integers only (SPEC sections 1.4, 1.5 and 2)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy.typing as npt

Dims = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Tensor:
    """A place for numbers: a region of the arena, or a constant.

    Attributes:
        name: For people; not stored in the bundle.
        dims: N H W C; shorter shapes have 1 in front.
        data: The constant, int8, int16 or int32 of shape `dims`; None in the arena.
        offset: Byte offset in the arena, a multiple of 16; 0 for constants.
        wide: True for int16 codes in the arena.
    """

    name: str
    dims: Dims
    data: npt.NDArray[Any] | None = None
    offset: int = 0
    wide: bool = False

    @property
    def elements(self) -> int:
        """Number of elements."""
        n, h, w, c = self.dims
        return n * h * w * c

    @property
    def nbytes(self) -> int:
        """Bytes of all elements, unpacked."""
        size = self.data.itemsize if self.data is not None else 2 if self.wide else 1
        return self.elements * size

    @property
    def code_type(self) -> Literal["int8", "int16"]:
        """Type of the codes in the arena."""
        return "int16" if self.wide else "int8"

    @property
    def is_constant(self) -> bool:
        """True for weights, biases and tables; False for activations."""
        return self.data is not None


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of the program: real = scale * (code - zero_point)."""

    tensor: int
    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True)
class Op:
    """One operator; its fields, in order, are the words of its record (SPEC section 2)."""

    opcode: ClassVar[int]
    operands: ClassVar[int]
    """How many of the leading fields are tensor indices."""

    def words(self) -> list[int]:
        """Return the fields as 32-bit words, a tuple spread at its place, what is None left out."""
        values: list[int] = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None:
                values.extend(value if isinstance(value, tuple) else (value,))
        return values

    def tensors(self) -> list[int]:
        """Return the tensors it names, read or written."""
        return [*self.words()[: self.operands], *self.planes()]

    def planes(self) -> list[int]:
        """Return the high plane of its weights, or nothing."""
        return []


@dataclass(frozen=True, slots=True)
class Conv2D(Op):
    """Convolution; `bias` already holds -in_zero * sum(weights).

    A weight is its element of `weights`, and 256 times that of `high` if there is one.
    """

    opcode: ClassVar[int] = 1
    operands: ClassVar[int] = 6
    input: int
    weights: int
    bias: int
    mult: int
    shift: int
    output: int
    stride_h: int
    stride_w: int
    dilation_h: int
    dilation_w: int
    pad_top: int
    pad_left: int
    in_zero: int
    out_zero: int
    act_min: int
    act_max: int
    high: int | None = None

    def planes(self) -> list[int]:
        """Return the high plane of its weights, or nothing."""
        return [] if self.high is None else [self.high]


@dataclass(frozen=True, slots=True)
class DepthwiseConv2D(Conv2D):
    """Convolution of each channel by its own kernels; they have no high plane."""

    opcode: ClassVar[int] = 2


@dataclass(frozen=True, slots=True)
class FullyConnected(Op):
    """Matrix product; `bias` already holds -in_zero * sum(weights).

    A weight is its element of `weights`, and 256 times that of `high` if there is one.
    """

    opcode: ClassVar[int] = 3
    operands: ClassVar[int] = 6
    input: int
    weights: int
    bias: int
    mult: int
    shift: int
    output: int
    out_zero: int
    act_min: int
    act_max: int
    high: int | None = None

    def planes(self) -> list[int]:
        """Return the high plane of its weights, or nothing."""
        return [] if self.high is None else [self.high]


@dataclass(frozen=True, slots=True)
class Add(Op):
    """Sum (sign = 1) or difference (sign = -1) of two tensors, with broadcasting."""

    opcode: ClassVar[int] = 4
    operands: ClassVar[int] = 3
    a: int
    b: int
    output: int
    a_zero: int
    a_mult: int
    a_shift: int
    b_zero: int
    b_mult: int
    b_shift: int
    left_shift: int
    out_zero: int
    out_mult: int
    out_shift: int
    act_min: int
    act_max: int
    sign: int


@dataclass(frozen=True, slots=True)
class Mul(Op):
    """Product of two tensors, with broadcasting."""

    opcode: ClassVar[int] = 5
    operands: ClassVar[int] = 3
    a: int
    b: int
    output: int
    a_zero: int
    b_zero: int
    mult: int
    shift: int
    out_zero: int
    act_min: int
    act_max: int


@dataclass(frozen=True, slots=True)
class Concat(Op):
    """Inputs [outer][n_i] side by side; all share one scale and zero point."""

    opcode: ClassVar[int] = 6
    operands: ClassVar[int] = 1
    output: int
    outer: int
    inputs: tuple[int, ...]

    def tensors(self) -> list[int]:
        """Return the tensors it names, read or written."""
        return [self.output, *self.inputs]


@dataclass(frozen=True, slots=True)
class Pad(Op):
    """Surround with `value`; what follows the data comes from the output's dims."""

    opcode: ClassVar[int] = 7
    operands: ClassVar[int] = 2
    input: int
    output: int
    before_n: int
    before_h: int
    before_w: int
    before_c: int
    value: int


@dataclass(frozen=True, slots=True)
class MaxPool2D(Op):
    """Largest value of each window, clipped to the image."""

    opcode: ClassVar[int] = 8
    operands: ClassVar[int] = 2
    input: int
    output: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    pad_top: int
    pad_left: int
    act_min: int
    act_max: int


@dataclass(frozen=True, slots=True)
class AveragePool2D(MaxPool2D):
    """Mean of each window, clipped to the image."""

    opcode: ClassVar[int] = 9


@dataclass(frozen=True, slots=True)
class Mean(Op):
    """Mean over the middle axis of [outer][count][inner]."""

    opcode: ClassVar[int] = 10
    operands: ClassVar[int] = 2
    input: int
    output: int
    outer: int
    count: int
    inner: int
    in_zero: int
    mult: int
    shift: int
    out_zero: int


@dataclass(frozen=True, slots=True)
class Transpose(Op):
    """Output dim i is input dim perm_i."""

    opcode: ClassVar[int] = 11
    operands: ClassVar[int] = 2
    input: int
    output: int
    perm_0: int
    perm_1: int
    perm_2: int
    perm_3: int


@dataclass(frozen=True, slots=True)
class Softmax(Op):
    """TFLite's int8 softmax over the last axis: [rows][depth]."""

    opcode: ClassVar[int] = 12
    operands: ClassVar[int] = 2
    input: int
    output: int
    rows: int
    depth: int
    mult: int
    shift: int
    diff_min: int


@dataclass(frozen=True, slots=True)
class Lookup(Op):
    """Any function of one int8 value: out = table[in + 128]."""

    opcode: ClassVar[int] = 13
    operands: ClassVar[int] = 3
    input: int
    table: int
    output: int


@dataclass(frozen=True, slots=True)
class Program:
    """What the interpreter runs.

    Attributes:
        tensors: All tensors; operators and ports name them by index.
        ops: Operators in the order they run.
        inputs: Where the caller writes int8 codes.
        outputs: Where the caller reads int8 codes.
        arena_size: Bytes of working memory, a multiple of 16.
        layers: Name of each operator, for people.
    """

    tensors: tuple[Tensor, ...]
    ops: tuple[Op, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    arena_size: int
    layers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GoldenVector:
    """An input and the bits that must come out (SPEC section 1.8).

    Attributes:
        seed: Of the input generator, or 0 when `samples` holds the input.
        samples: The inputs' codes as bytes, one per input; empty when seeded.
        crcs: CRC-32 of each operator's output.
        final: CRC-32 of all outputs in order.
    """

    seed: int
    samples: tuple[bytes, ...]
    crcs: tuple[int, ...]
    final: int
