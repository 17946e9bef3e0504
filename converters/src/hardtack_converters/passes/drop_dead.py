"""Remove units that do nothing: layers that pruning or training emptied really get smaller.

A unit (a row of a Gemm, an output channel of a Conv) goes when nothing weighs its result, or when
it weighs nothing itself: then its result is a constant, which the next layer's bias takes in.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from hardtack_converters import query
from hardtack_converters.passes.linear import FloatArray, Linear, linear_of, set_linear

_FUNCTIONS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Tanh": np.tanh,
}
_KEEPING = frozenset({"Flatten", "GlobalAveragePool", "Identity", "MaxPool", "Reshape"})
"""Operators that give a constant channel as it is; AveragePool does too, where it pads nothing."""


@dataclass(frozen=True, slots=True)
class _Pair:
    """A layer, the one behind it, and what lies between them.

    Attributes:
        first: Whose units are looked at.
        between: Elementwise operators, pools and views, in order.
        second: The only layer that reads them.
        share: Columns of `second` that belong to one unit.
    """

    first: Linear
    between: tuple[ir.Node, ...]
    second: Linear
    share: int


def drop_dead(model: ir.Model) -> int:
    """Remove dead units until there are none; return how many went."""
    dropped = 0
    while True:
        found = sum(_shrink(model.graph, node) for node in tuple(model.graph))
        dropped += found
        if not found:
            return dropped


def _shrink(graph: ir.Graph, node: ir.Node) -> int:
    pair = _pair_from(node)
    if pair is None:
        return 0
    incoming = np.moveaxis(pair.first.weights, pair.first.out_axis, 0)
    outgoing = _columns(pair)
    silent = ~incoming.reshape(len(incoming), -1).any(axis=1)
    constants = _constants(pair)
    if _pads(pair.second.node):  # at the border the constant would count less often
        silent &= constants == 0
    unread = ~outgoing.any(axis=(0, 2))
    kept: npt.NDArray[np.bool_] = np.logical_not(silent | unread)
    if not kept.any():
        kept[0] = True
    if kept.all():
        return 0
    _apply(graph, pair, kept, constants)
    return int((~kept).sum())


def _pair_from(node: ir.Node) -> _Pair | None:
    first = linear_of(node)
    if first is None or query.int_attribute(node, "group", 1) != 1:
        return None
    between: list[ir.Node] = []
    reader = query.only_reader(node.outputs[0])
    while reader is not None and _keeps_channels(reader, first.outputs):
        between.append(reader)
        reader = query.only_reader(reader.outputs[0])
    second = linear_of(reader)
    if second is None or query.int_attribute(second.node, "group", 1) != 1:
        return None
    if reader is None or reader.inputs[0] is not (between[-1] if between else node).outputs[0]:
        return None  # it reads them as weights or bias
    columns = second.weights.shape[1 - second.out_axis]
    share, rest = divmod(columns, first.outputs)
    return None if rest else _Pair(first, tuple(between), second, share)


def _keeps_channels(node: ir.Node, channels: int) -> bool:
    """Return whether channel c of the result depends on channel c alone, constants kept."""
    if node.op_type in _FUNCTIONS or query.clip_bounds(node) is not None:
        return True
    if node.op_type == "AveragePool":
        return not _pads(node)
    if node.op_type not in _KEEPING:
        return False
    source = node.inputs[0]
    if node.op_type not in ("Flatten", "Reshape") or source is None:
        return True
    before, after = query.shape_of(source), query.shape_of(node.outputs[0])
    return before[:2] == (1, channels) and after == (1, math.prod(before))


def _pads(node: ir.Node) -> bool:
    auto = query.string_attribute(node, "auto_pad", "NOTSET")
    return any(query.ints_attribute(node, "pads", ())) or auto.startswith("SAME")


def _columns(pair: _Pair) -> FloatArray:
    """Return what weighs each unit: [outputs, units, weights of a unit]."""
    rows = np.moveaxis(pair.second.weights, pair.second.out_axis, 0)
    return rows.reshape(len(rows), pair.first.outputs, -1)


def _constants(pair: _Pair) -> FloatArray:
    """Return what each unit gives when all its weights are zero."""
    value = pair.first.bias.copy()
    for node in pair.between:
        bounds = query.clip_bounds(node)
        if bounds is not None:
            value = np.clip(value, *bounds)
        elif node.op_type in _FUNCTIONS:
            value = _FUNCTIONS[node.op_type](value)
    return value


def _apply(
    graph: ir.Graph, pair: _Pair, kept: npt.NDArray[np.bool_], constants: FloatArray
) -> None:
    first, second = pair.first, pair.second
    outgoing = _columns(pair)
    gone = ~kept
    # Nothing weighs an unread unit, so its constant, whatever it is, adds nothing.
    moved = (outgoing[:, gone] * constants[gone][None, :, None]).sum(axis=(1, 2))
    weights = np.compress(kept, first.weights, axis=first.out_axis)
    set_linear(graph, first, weights, first.bias[kept])
    columns = np.repeat(kept, pair.share)
    narrower = np.compress(columns, second.weights, axis=1 - second.out_axis)
    set_linear(graph, second, narrower, second.bias + moved)
    units = int(kept.sum())
    for node in (first.node, *pair.between):
        _narrow(graph, node, first.outputs, units)


def _narrow(graph: ir.Graph, node: ir.Node, before: int, units: int) -> None:
    """Give a result as many channels as are left."""
    result = node.outputs[0]
    _, channels, *rest = query.shape_of(result)
    shape = [1, channels // before * units, *rest]
    result.shape = ir.Shape(shape)
    if node.op_type == "Reshape":
        name = f"{node.name or result.name}_shape"
        node.replace_input_with(1, query.set_constant(graph, name, np.array(shape, np.int64)))
