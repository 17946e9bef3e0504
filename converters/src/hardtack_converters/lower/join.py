"""Lowering of Concat and Pad."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from hardtack_converters import query
from hardtack_converters.lower.assembler import Activation, Assembler
from hardtack_converters.lower.order import buffer_axes, channels_last, permuted
from hardtack_converters.lower.reading import activation_of, bind, target_of
from hardtack_converters.query import label
from hardtack_runtime.errors import UnsupportedOpError
from hardtack_runtime.operators import twin
from hardtack_runtime.program import Concat, Dims, Pad


def lower_concat(asm: Assembler, node: ir.Node) -> None:
    """Lower Concat: bring all inputs to one grid and one buffer order, then copy."""
    shape = query.shape_of(node.outputs[0])
    axis = query.int_attribute(node, "axis", 1) % len(shape)
    values = [activation_of(asm, node, index) for index in range(len(node.inputs))]
    target = target_of(asm, node, fuse=False)
    grid = target.grid or values[0].grid
    axes = buffer_axes(values[0].order, values[0].shape) or tuple(range(len(shape)))
    if len(shape) == 4 and any(
        np.array_equal(v.order, channels_last(v.shape)) and v.order.size > 1 for v in values
    ):
        axes = (0, 2, 3, 1)
    inputs = []
    for value in values:
        placed = asm.arrange(value, permuted(value.shape, axes), node)
        inputs.append(asm.on_grid(placed, grid, f"{node.name}:requantize").tensor)
    outer = math.prod(shape[a] for a in axes[: axes.index(axis)])
    dims: Dims = (1, 1, outer, math.prod(shape) // outer)
    result = asm.arena(str(node.outputs[0].name), dims, wide=grid.wide)
    kind = twin(Concat, wide=grid.wide)
    asm.emit(kind(result, outer, tuple(inputs)), str(node.name))
    bind(asm, target, Activation(result, shape, permuted(shape, axes), grid))


def lower_pad(asm: Assembler, node: ir.Node) -> None:
    """Lower Pad with a constant."""
    if query.string_attribute(node, "mode", "constant") != "constant":
        raise UnsupportedOpError("HT302", label(node), "a Pad mode other than constant")
    value = activation_of(asm, node, 0)
    rank = len(value.shape)
    shape = query.shape_of(node.outputs[0])
    before = _pads_before(node, rank)
    if rank > 4 or min((*before, *(o - i for o, i in zip(shape, value.shape, strict=True)))) < 0:
        raise UnsupportedOpError("HT302", label(node), "a negative pad or over four axes")
    fill = query.input_at(node, 2)
    real = query.constant(fill) if fill is not None else None
    if real is None and fill is not None:
        real = query.dequantized(fill)
    code = value.grid.code(float(real.ravel()[0]) if real is not None and real.size else 0.0)
    axes = buffer_axes(value.order, value.shape)
    if rank == 4:
        axes = (0, 2, 3, 1)
    if axes is None:
        axes = tuple(range(rank))
    value = asm.arrange(value, permuted(value.shape, axes), node)
    lead = (1,) * (4 - rank)
    n, h, w, c = (*lead, *(value.shape[a] for a in axes))
    source = asm.view(value.tensor, (n, h, w, c))
    n, h, w, c = (*lead, *(shape[a] for a in axes))
    result = asm.arena(str(node.outputs[0].name), (n, h, w, c), wide=value.grid.wide)
    b_n, b_h, b_w, b_c = (*(0,) * (4 - rank), *(before[a] for a in axes))
    least, largest = value.grid.bounds
    code = max(least, min(largest, code))
    kind = twin(Pad, wide=value.grid.wide)
    asm.emit(kind(source, result, b_n, b_h, b_w, b_c, code), str(node.name))
    target = target_of(asm, node, fuse=False)
    padded = Activation(result, shape, permuted(shape, axes), value.grid)
    bind(asm, target, asm.on_grid(padded, target.grid or value.grid, f"{node.name}:requantize"))


def _pads_before(node: ir.Node, rank: int) -> tuple[int, ...]:
    given = query.constant(query.input_at(node, 1))
    if given is None:
        raise UnsupportedOpError("HT302", label(node), "pads that are not constant")
    pads = [int(v) for v in given.ravel()]
    named = query.constant(query.input_at(node, 3))
    axes = range(rank) if named is None else [int(a) % rank for a in named.ravel()]
    before = [0] * rank
    for index, axis in enumerate(axes):
        before[axis] = pads[index]
    return tuple(before)
