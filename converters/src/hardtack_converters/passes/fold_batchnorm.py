"""Fold BatchNormalization, and products and sums by constants, into the layer before."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hardtack_converters import query
from hardtack_converters.passes.linear import (
    FloatArray,
    channel_vector,
    drop_node,
    linear_of,
    per_output,
    set_linear,
)

Affine = tuple[FloatArray, FloatArray]


def fold_batchnorm(model: ir.Model) -> int:
    """Fold y = a * x + c per channel into the Conv or Gemm that computes x.

    BatchNormalization:  a = gamma / sqrt(var + eps)    c = beta - a * mean
    Mul by a constant:   a = constant                   c = 0
    Add, Sub:            a = 1                          c = +-constant
    a * (W x + b) + c  =  (a W) x + (a b + c)

    Only where nothing else reads x. A BatchNormalization with no such layer before it becomes a
    1 x 1 depthwise Conv of its own: the same affine map, and there is a kernel for it.
    """
    folded = 0
    for node in tuple(model.graph):
        folded += _fold(model.graph, node)
    for node in tuple(model.graph):
        if node.op_type == "BatchNormalization":
            folded += _as_depthwise(model.graph, node)
    return folded


def _fold(graph: ir.Graph, node: ir.Node) -> int:
    found = _affine_of(node)
    if found is None:
        return 0
    value, (scale, offset) = found
    linear = linear_of(value.producer())
    if linear is None or query.only_reader(value) is not node or linear.outputs != scale.size:
        return 0
    weights = linear.weights * per_output(linear, scale)
    set_linear(graph, linear, weights, linear.bias * scale + offset)
    drop_node(graph, node, value)
    return 1


def _affine_of(node: ir.Node) -> tuple[ir.Value, Affine] | None:
    """Return the activation an affine node reads, and its factor and offset per channel."""
    if node.op_type == "BatchNormalization":
        value, affine = node.inputs[0], batchnorm_affine(node)
        return (value, affine) if value is not None and affine is not None else None
    if node.op_type not in ("Mul", "Add", "Sub"):
        return None
    known = [query.constant(value) for value in node.inputs]
    at = 0 if known[0] is not None else 1
    value = node.inputs[1 - at]
    # c - x would need the layer negated: that is left to the kernel of Sub.
    if value is None or known[1 - at] is not None or (node.op_type == "Sub" and at == 0):
        return None
    vector = _per_channel(known[at], value, node)
    if vector is None:
        return None
    if node.op_type == "Mul":
        return value, (vector, np.zeros_like(vector))
    return value, (np.ones_like(vector), -vector if node.op_type == "Sub" else vector)


def _per_channel(
    constant: query.AnyArray | None, value: ir.Value, node: ir.Node
) -> FloatArray | None:
    """Return a constant operand as one number per channel of the value, if it is that."""
    if constant is None or value.shape is None:
        return None
    shape = query.shape_of(value)
    if len(shape) < 2 or query.shape_of(node.outputs[0]) != shape:
        return None
    return channel_vector(constant, len(shape), shape[1])


def batchnorm_affine(node: ir.Node) -> Affine | None:
    """Return factor and offset per channel of a BatchNormalization at inference."""
    statistics = [query.constant(query.input_at(node, index)) for index in range(1, 5)]
    if any(s is None for s in statistics) or query.int_attribute(node, "training_mode", 0):
        return None
    gamma, beta, mean, variance = (s.astype(np.float64) for s in statistics if s is not None)
    factor = gamma / np.sqrt(variance + query.float_attribute(node, "epsilon", 1e-5))
    return factor, beta - factor * mean


def _as_depthwise(graph: ir.Graph, node: ir.Node) -> int:
    affine, value = batchnorm_affine(node), node.inputs[0]
    if affine is None or value is None or len(query.shape_of(value)) not in (3, 4):
        return 0
    spatial = len(query.shape_of(value)) - 2
    factor, offset = affine
    name = node.name or str(node.outputs[0].name)
    weights = factor.astype(np.float32).reshape(-1, 1, *(1,) * spatial)
    conv = ir.node(
        "Conv",
        [
            value,
            query.set_constant(graph, f"{name}_weights", weights),
            query.set_constant(graph, f"{name}_bias", offset.astype(np.float32)),
        ],
        {"group": factor.size, "kernel_shape": [1] * spatial},
        name=name,
    )
    query.describe_like(conv.outputs[0], query.shape_of(value), value)
    graph.insert_before(node, conv)
    drop_node(graph, node, conv.outputs[0])
    return 1
