"""Questions asked of an ONNX graph (`onnx_ir`): constants, shapes, attributes, readers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from hardtack_runtime.errors import ModelImportError

AnyArray = npt.NDArray[Any]


def constant(value: ir.Value | None) -> AnyArray | None:
    """Return the value's numbers if they are known before the model runs, else None."""
    if value is None:
        return None
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else np.asarray(tensor.numpy())


def shape_of(value: ir.Value) -> tuple[int, ...]:
    """Return the static shape of a value.

    Raises:
        ModelImportError: HT205, a dimension is unknown.
    """
    if value.shape is None:
        raise ModelImportError(
            "HT205", f"value {value.name}", "its shape could not be inferred",
            "pin the inputs in deploy.toml: [input] shape = [1, ...] (input_shapes in Python)",
        )  # fmt: skip
    dims = []
    for axis, dim in enumerate(value.shape):
        if not isinstance(dim, int):
            raise ModelImportError(
                "HT205", f"value {value.name}", f"dimension {axis} ({dim}) is not fixed",
                "pin the inputs in deploy.toml: [input] shape = [1, ...] (input_shapes in Python)",
            )  # fmt: skip
        dims.append(dim)
    return tuple(dims)


def label(node: ir.Node) -> str:
    """Return how messages name a node: operator and name."""
    name = node.name or (node.outputs[0].name if node.outputs else "") or "unnamed"
    return f"{node.op_type} '{name}'"


def int_attribute(node: ir.Node, name: str, default: int) -> int:
    """Return an integer attribute."""
    value = node.attributes.get_int(name, default)
    return default if value is None else int(value)


def float_attribute(node: ir.Node, name: str, default: float) -> float:
    """Return a float attribute."""
    value = node.attributes.get_float(name, default)
    return default if value is None else float(value)


def ints_attribute(node: ir.Node, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    """Return an attribute that is a list of integers."""
    value = node.attributes.get_ints(name, default)
    return default if value is None else tuple(int(v) for v in value)


def string_attribute(node: ir.Node, name: str, default: str) -> str:
    """Return a text attribute."""
    value = node.attributes.get_string(name, default)
    return default if value is None else str(value)


def input_at(node: ir.Node, index: int) -> ir.Value | None:
    """Return an input, or None where an optional one is absent."""
    return node.inputs[index] if index < len(node.inputs) else None


def axes_of(node: ir.Node, rank: int) -> tuple[int, ...]:
    """Return the axes of a reduction, squeeze or unsqueeze, attribute or second input.

    Absent axes mean all of them. Negative ones count from the end.
    """
    given = constant(input_at(node, 1))
    axes = tuple(int(a) for a in given.ravel()) if given is not None else None
    if axes is None:
        axes = ints_attribute(node, "axes", tuple(range(rank)))
    return tuple(sorted(axis % rank if rank else 0 for axis in axes))


def only_reader(value: ir.Value) -> ir.Node | None:
    """Return the node that reads the value, if there is exactly one and no other use."""
    if value.is_graph_output():
        return None
    uses = value.uses()
    return next(iter(uses)).node if len(uses) == 1 else None


def clip_bounds(node: ir.Node) -> tuple[float, float] | None:
    """Return the bounds of a Relu or Clip with constant bounds; None for any other node."""
    if node.op_type == "Relu":
        return 0.0, np.inf
    if node.op_type != "Clip":
        return None
    bounds = [float_attribute(node, "min", -np.inf), float_attribute(node, "max", np.inf)]
    for index in (1, 2):
        value = input_at(node, index)
        if value is None:
            continue
        known = constant(value)
        if known is None:
            known = dequantized(value)
        if known is None or known.size != 1:
            return None
        bounds[index - 1] = float(known.ravel()[0])
    return bounds[0], bounds[1]


def dequantized(value: ir.Value) -> AnyArray | None:
    """Return the real numbers of `DequantizeLinear(constant)`, float32; None if not that."""
    node = value.producer()
    if node is None or node.op_type != "DequantizeLinear":
        return None
    codes, scale = constant(node.inputs[0]), constant(node.inputs[1])
    if codes is None or scale is None:
        return None
    zero = constant(input_at(node, 2))
    zeros = np.zeros(scale.shape, np.int64) if zero is None else zero.astype(np.int64)
    if scale.size > 1:
        spread = [1] * codes.ndim
        spread[int_attribute(node, "axis", 1) % codes.ndim] = -1
        scale, zeros = scale.reshape(spread), zeros.reshape(spread)
    real = (codes.astype(np.int64) - zeros) * scale.astype(np.float32)
    return np.asarray(real, np.float32)


def describe_like(value: ir.Value, shape: Sequence[int], like: ir.Value) -> None:
    """Give a new value its shape, and the element type of another one."""
    value.shape = ir.Shape([int(size) for size in shape])
    value.type = like.type


def set_constant(graph: ir.Graph, name: str, array: AnyArray) -> ir.Value:
    """Add an initializer under a name not yet taken; return its value."""
    taken = graph.initializers
    unique, count = name, 1
    while unique in taken:
        unique, count = f"{name}_{count}", count + 1
    tensor = ir.tensor(array, name=unique)
    value = ir.Value(
        name=unique, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype),
        const_value=tensor,
    )  # fmt: skip
    graph.register_initializer(value)
    return value


def replace_value(old: ir.Value, new: ir.Value) -> None:
    """Let every reader of `old`, the model's caller included, read `new`."""
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)


CONDITIONS = frozenset({"Greater", "GreaterOrEqual", "Less", "LessOrEqual"})
"""Comparisons that a Where may choose by."""


@dataclass(frozen=True, slots=True)
class Step:
    """A Where that chooses between two numbers by comparing a value with a third.

    Attributes:
        condition: The comparison; its first input is the value.
        limit: What that is compared with.
        chosen: Where it holds.
        otherwise: Where it does not.
    """

    condition: ir.Node
    limit: float
    chosen: float
    otherwise: float


def step_of(node: ir.Node) -> Step | None:
    """Return what a Where computes if it is a function of one value with two results."""
    condition = node.inputs[0].producer() if node.op_type == "Where" and node.inputs[0] else None
    if condition is None or condition.op_type not in CONDITIONS:
        return None
    numbers = [number(condition, 1), number(node, 1), number(node, 2)]
    if any(one is None for one in numbers):
        return None
    return Step(condition, *(one for one in numbers if one is not None))


def number(node: ir.Node, index: int) -> float | None:
    """Return an input that is a single number known before the model runs, else None."""
    value = input_at(node, index)
    if value is None:
        return None
    known = constant(value)
    if known is None:
        known = dequantized(value)
    return float(known.ravel()[0]) if known is not None and known.size == 1 else None
