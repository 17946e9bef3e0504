"""Conv and Gemm seen as y = W x + b, so that affine neighbours can be folded into them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from hardtack_converters import query

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Linear:
    """The constants of a Conv or Gemm.

    Attributes:
        node: Itself.
        weights: float64, as in the node.
        bias: float64 [O].
        out_axis: Axis of `weights` that the outputs run along.
    """

    node: ir.Node
    weights: FloatArray
    bias: FloatArray
    out_axis: int

    @property
    def outputs(self) -> int:
        """Number of output channels."""
        return int(self.weights.shape[self.out_axis])


def linear_of(node: ir.Node | None) -> Linear | None:
    """Return a Conv or Gemm with constant float weights and bias, else None."""
    if node is None or node.op_type not in ("Conv", "Gemm"):
        return None
    weights = query.constant(query.input_at(node, 1))
    value = query.input_at(node, 2)
    bias = query.constant(value)
    if weights is None or weights.dtype.kind != "f" or (value is not None and bias is None):
        return None
    if node.op_type == "Gemm" and not _is_plain_gemm(node):
        return None
    transposed = node.op_type == "Gemm" and query.int_attribute(node, "transB", 0) == 0
    out_axis = 1 if transposed else 0
    outputs = weights.shape[out_axis]
    flat = np.zeros(outputs) if bias is None else np.broadcast_to(bias.ravel(), (outputs,))
    return Linear(node, weights.astype(np.float64), flat.astype(np.float64), out_axis)


def _is_plain_gemm(node: ir.Node) -> bool:
    scales = [query.float_attribute(node, name, 1.0) for name in ("alpha", "beta")]
    return scales == [1.0, 1.0] and query.int_attribute(node, "transA", 0) == 0


def set_linear(graph: ir.Graph, linear: Linear, weights: FloatArray, bias: FloatArray) -> None:
    """Give a Conv or Gemm other constants of the same shapes."""
    node = linear.node
    name = node.name or node.outputs[0].name
    made = [
        query.set_constant(graph, f"{name}_weights", weights.astype(np.float32)),
        query.set_constant(graph, f"{name}_bias", bias.astype(np.float32)),
    ]
    if len(node.inputs) < 3:
        node.resize_inputs(3)
    node.replace_input_with(1, made[0])
    node.replace_input_with(2, made[1])


def per_output(linear: Linear, factor: FloatArray) -> FloatArray:
    """Return a vector per output channel, shaped to multiply the weights."""
    spread = [1] * linear.weights.ndim
    spread[linear.out_axis] = -1
    return factor.reshape(spread)


def channel_vector(constant: npt.NDArray[Any], rank: int, channels: int) -> FloatArray | None:
    """Return a constant as one number per channel (axis 1), if it broadcasts that way.

    Args:
        constant: Operand of an elementwise operator on an activation.
        rank: Dimensions of the activation.
        channels: Its size along axis 1.
    """
    if constant.ndim > rank:
        return None
    shape = (1,) * (rank - constant.ndim) + constant.shape
    if any(size != 1 for axis, size in enumerate(shape) if axis != 1):
        return None
    if shape[1] not in (1, channels):
        return None
    return np.broadcast_to(constant.astype(np.float64).ravel(), (channels,)).copy()


def drop_node(graph: ir.Graph, node: ir.Node, standing: ir.Value) -> None:
    """Remove a node, `standing` taking the place and the name of its result."""
    result = node.outputs[0]
    name = result.name
    result.name = f"{name}_folded"
    standing.name = name
    query.replace_value(result, standing)
    graph.remove(node, safe=True)
