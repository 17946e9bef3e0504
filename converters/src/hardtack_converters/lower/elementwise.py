"""Lowering of Add, Sub and Mul, of two activations or one and a constant."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from hardtack_converters import query
from hardtack_converters.fixed_point import quantize_multiplier
from hardtack_converters.lower.assembler import Activation, Assembler, Grid
from hardtack_converters.lower.order import buffer_axes, permuted
from hardtack_converters.lower.reading import (
    activation_of,
    bind,
    codes_of,
    grid_or_refuse,
    target_of,
)
from hardtack_converters.query import label
from hardtack_converters.ranges import LARGEST_WIDE
from hardtack_runtime.errors import UnsupportedOpError
from hardtack_runtime.operators import twin
from hardtack_runtime.program import Add, Dims, Mul

ADD_LEFT_SHIFT = 20
"""Headroom TFLite gives int8 additions: 9 bits of input, 20 of fraction, 2 of sum."""
WIDE_LEFT_SHIFT = 15
"""And int16: 16 bits of input, 15 of fraction; operands are halved before they are added."""


def lower_binary(asm: Assembler, node: ir.Node) -> None:
    """Lower Add, Sub or Mul, numpy broadcasting included; of int16 if anything about it is."""
    shape = query.shape_of(node.outputs[0])
    target = target_of(asm, node)
    wanted = grid_or_refuse(target, node)
    known = [asm.activations[value] for value in node.inputs if value in asm.activations]
    wide = wanted.wide or any(value.grid.wide for value in known)
    out = wanted.widened() if wide else wanted
    operands = [_operand(asm, node, index, wide=wide) for index in range(2)]
    axes = _common_axes(asm, node, operands, shape)
    (a, a_grid), (b, b_grid) = (_placed(asm, node, o, shape, axes) for o in operands)
    dims = _dims([shape[axis] for axis in axes], [False] * len(axes), node)
    result = asm.arena(str(node.outputs[0].name), _broadcast(asm, a, b) or dims, wide=wide)
    low, high = target.code_bounds(out)
    try:
        if node.op_type == "Mul":
            mult, shift = quantize_multiplier(a_grid.scale * b_grid.scale / out.scale)
            zeros = (a_grid.zero_point, b_grid.zero_point)
            op: Add | Mul = twin(Mul, wide=wide)(
                a, b, result, *zeros, mult, shift, out.zero_point, low, high
            )
        else:
            sign = -1 if node.op_type == "Sub" else 1
            op = twin(Add, wide=wide)(
                a, b, result, *add_fields(a_grid, b_grid, out), low, high, sign
            )
    except ValueError as error:
        raise UnsupportedOpError("HT303", label(node), str(error)) from error
    asm.emit(op, str(node.name))
    made = Activation(result, shape, permuted(shape, axes), out)
    bind(asm, target, asm.on_grid(made, wanted, f"{node.name}:requantize"))


AddFields = tuple[int, int, int, int, int, int, int, int, int, int]


def add_fields(a: Grid, b: Grid, out: Grid) -> AddFields:
    """Return a_zero .. out_shift of an addition, as TFLite prepares it."""
    left = WIDE_LEFT_SHIFT if out.wide else ADD_LEFT_SHIFT
    twice_max = 2 * max(a.scale, b.scale)
    a_mult, a_shift = quantize_multiplier(a.scale / twice_max)
    b_mult, b_shift = quantize_multiplier(b.scale / twice_max)
    out_mult, out_shift = quantize_multiplier(twice_max / ((1 << left) * out.scale))
    return (
        *(a.zero_point, a_mult, a_shift, b.zero_point, b_mult, b_shift),
        *(left, out.zero_point, out_mult, out_shift),
    )


def _operand(
    asm: Assembler, node: ir.Node, index: int, *, wide: bool
) -> Activation | tuple[npt.NDArray[np.int64], Grid]:
    """Return an input: an activation, or the codes of a constant and their grid."""
    value = query.input_at(node, index)
    known = codes_of(value, node)
    if known is not None and known.scale.size == 1:
        moved = known.codes - known.zero_point if wide else known.codes
        if np.abs(moved).max(initial=0) <= (LARGEST_WIDE if wide else 128):
            return moved, Grid(float(known.scale[0]), 0 if wide else known.zero_point, wide)
    real = query.constant(value) if value is not None else None
    if known is not None and value is not None:
        real = query.dequantized(value)
    if real is None:
        found = activation_of(asm, node, index)
        return asm.wide(found, f"{node.name}:{index}") if wide else found
    peak, largest = float(np.abs(real).max(initial=0)), LARGEST_WIDE if wide else 127
    grid = Grid(float(np.float32(peak / largest if peak > 0 else 1.0)), 0, wide)
    return np.clip(np.rint(real / grid.scale), -largest, largest).astype(np.int64), grid


def _common_axes(
    asm: Assembler, node: ir.Node, operands: Sequence[object], shape: tuple[int, ...]
) -> tuple[int, ...]:
    """Return the buffer order of the result: that of an input which already has its shape."""
    for value in operands:
        if isinstance(value, Activation) and _aligned(value.shape, shape) == shape:
            axes = buffer_axes(value.order, shape)
            if axes is not None:
                return axes
    return tuple(range(len(shape))) if len(shape) < 3 else (0, *range(2, len(shape)), 1)


def _aligned(inner: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    return (1,) * (len(shape) - len(inner)) + inner


def _placed(
    asm: Assembler,
    node: ir.Node,
    operand: Activation | tuple[npt.NDArray[np.int64], Grid],
    shape: tuple[int, ...],
    axes: tuple[int, ...],
) -> tuple[int, Grid]:
    """Return the operand as a tensor whose dims broadcast against the result's, and its grid."""
    if isinstance(operand, Activation):
        inner = _aligned(operand.shape, shape)
        value = asm.arrange(operand, permuted(inner, axes), node)
        narrow = [inner[axis] == 1 for axis in axes]
        dims = _dims([shape[axis] for axis in axes], narrow, node)
        return asm.view(value.tensor, dims), operand.grid
    codes, grid = operand
    buffer = codes.reshape(_aligned(codes.shape, shape)).transpose(axes)
    narrow = [size == 1 for size in buffer.shape]
    dims = _dims([shape[axis] for axis in axes], narrow, node)
    stored = buffer.reshape(dims)
    data = stored.astype(np.int16) if grid.wide else stored.astype(np.int8)
    return asm.constant(f"{node.name}:constant", data), grid


def _dims(sizes: list[int], narrow: list[bool], node: ir.Node) -> Dims:
    """Merge neighbouring axes that are broadcast alike until four remain."""
    merged: list[tuple[int, bool]] = []
    for size, is_narrow in zip(sizes, narrow, strict=True):
        if size == 1:
            continue
        merged.append((size, is_narrow))
    dims = [1 if is_narrow else size for size, is_narrow in merged]
    if len(dims) > 4:
        raise UnsupportedOpError("HT302", label(node), "more than four axes", "squeeze the model")
    n, h, w, c = [1] * (4 - len(dims)) + dims
    return n, h, w, c


def _broadcast(asm: Assembler, a: int, b: int) -> Dims | None:
    """Return the dims of the result of two tensors."""
    pairs = zip(asm.tensors[a].dims, asm.tensors[b].dims, strict=True)
    n, h, w, c = (max(pair) for pair in pairs)
    return n, h, w, c
