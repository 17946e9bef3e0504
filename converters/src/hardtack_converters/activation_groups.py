"""Which values of a float graph get codes, which of them share a grid, and which may be int16."""

from __future__ import annotations

import math
from collections.abc import Sequence

import onnx_ir as ir

from hardtack_converters import query

Group = list[ir.Value]

CLAMPING = frozenset({"Add", "AveragePool", "Conv", "Gemm", "MatMul", "Mul", "Sub"})
"""Operators whose kernel clamps its result: a Relu or Clip behind costs nothing."""

SAME_GRID = frozenset(
    {"AveragePool", "Concat", "Flatten", "MaxPool", "Pad", "Reshape", "Squeeze", "Transpose",
     "Unsqueeze"}
)  # fmt: skip
"""Operators that only move or compare codes: result and inputs share one grid."""

WIDE_READERS = frozenset(
    {"Add", "AveragePool", "Clip", "Conv", "Gemm", "GlobalAveragePool", "MatMul", "Mul",
     "ReduceMean", "Relu", "Sub"}
)  # fmt: skip
"""Operators that compute, and have a kernel that reads and one that writes int16."""

WIDE_SUM = 1 << 15
"""Most values of int16 that a pool or mean may sum in int32 (SPEC section 2.2)."""

WIDE = "hardtack.wide_activations"
"""Key, in the metadata of nodes, that says that their results are to be int16."""
WITH_OUTPUTS = "with outputs"
"""What it says where that holds for results that are the model's outputs, too."""


def quantized_values(model: ir.Model) -> list[ir.Value]:
    """Return the activations that get codes: all but those inside a fused operator."""
    values = [value for value in model.graph.inputs if value.dtype == ir.DataType.FLOAT]
    for node in model.graph:
        for output in node.outputs:
            is_real = output.dtype in (None, ir.DataType.FLOAT)
            is_read = bool(output.uses()) or output.is_graph_output()
            if is_real and is_read and not _is_inside(node, output):
                values.append(output)
    return values


def _is_inside(node: ir.Node, value: ir.Value) -> bool:
    reader = query.only_reader(value)
    if reader is None or node.op_type not in CLAMPING:
        return False
    return query.clip_bounds(reader) is not None


def groups_of(values: Sequence[ir.Value]) -> list[Group]:
    """Return the values that share a grid together."""
    leader: dict[ir.Value, ir.Value] = {value: value for value in values}

    def find(value: ir.Value) -> ir.Value:
        while leader[value] is not value:
            value = leader[value]
        return value

    for value in values:
        for other in _sharers(value):
            if other in leader:
                leader[find(value)] = find(other)
    groups: dict[ir.Value, Group] = {}
    for value in values:
        groups.setdefault(find(value), []).append(value)
    return list(groups.values())


def _sharers(value: ir.Value) -> list[ir.Value]:
    node = value.producer()
    if node is None or node.op_type not in SAME_GRID:
        return []
    sources = node.inputs if node.op_type == "Concat" else node.inputs[:1]
    return [source for source in sources if source is not None]


def reads_wide(node: ir.Node) -> bool:
    """Say whether a node has a kernel that reads int16."""
    known = node.op_type in WIDE_READERS or node.op_type in SAME_GRID
    return known and _averaged(node) <= WIDE_SUM


def _averaged(node: ir.Node) -> int:
    """Return how many values a mean is taken of; 1 for other operators."""
    source = query.input_at(node, 0)
    if node.op_type == "AveragePool":
        return math.prod(query.ints_attribute(node, "kernel_shape", ()))
    if node.op_type not in ("GlobalAveragePool", "ReduceMean") or source is None:
        return 1
    shape = query.shape_of(source)
    is_global = node.op_type == "GlobalAveragePool"
    axes = range(2, len(shape)) if is_global else query.axes_of(node, len(shape))
    return math.prod(shape[axis] for axis in axes)


def can_widen(group: Group, *, outputs: bool = False) -> bool:
    """Say whether values may be int16, and something could tell.

    Inputs of the model are int8, and so is what a table gives. Where nothing but tables reads the
    values, they are int8 without loss.

    Args:
        group: Values that share a grid.
        outputs: Whether outputs of the model may be int16.
    """
    producers = [value.producer() for value in group]
    inner = all(node is not None and reads_wide(node) for node in producers)
    readers = {use.node.op_type for v in group for use in v.uses() if reads_wide(use.node)}
    is_end = any(value.is_graph_output() for value in group)
    return inner and (outputs if is_end else bool(readers & WIDE_READERS))


def is_wide(group: Group) -> bool:
    """Say whether values are to be int16."""
    makers = [value.producer() for value in group]
    said = {node.metadata_props[WIDE] for node in makers if node and WIDE in node.metadata_props}
    return bool(said) and can_widen(group, outputs=WITH_OUTPUTS in said)
