"""Bring matrix products into one form: Gemm with transB = 1 and a bias."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from hardtack_converters import query
from hardtack_converters.passes.linear import drop_node


def normalise_gemm(model: ir.Model) -> int:
    """Rewrite products by a constant matrix.

    MatMul(x, W) [+ b]             =  Gemm(x, W^T, b, transB=1)
    alpha * x W + beta * b         =  Gemm(x, alpha W^T, beta b, transB=1)
    MatMul of [..., I] by [I, O]   =  Reshape, Gemm, Reshape: each row is a product of its own
    """
    changed = 0
    for node in tuple(model.graph):
        if node.op_type == "MatMul" and node.domain == "":
            changed += _from_matmul(model.graph, node)
        elif node.op_type == "Gemm":
            changed += _plain_gemm(model.graph, node)
    return changed


def _plain_gemm(graph: ir.Graph, node: ir.Node) -> int:
    alpha = query.float_attribute(node, "alpha", 1.0)
    beta = query.float_attribute(node, "beta", 1.0)
    transposed = query.int_attribute(node, "transB", 0) == 1
    weights = query.constant(query.input_at(node, 1))
    bias_value = query.input_at(node, 2)
    bias = query.constant(bias_value)
    if weights is None or (bias_value is not None and bias is None):
        return 0
    if transposed and alpha == 1.0 and (beta == 1.0 or bias is None):
        return 0
    rows = (weights if transposed else weights.T) * np.float32(alpha)
    name = node.name or str(node.outputs[0].name)
    node.replace_input_with(1, query.set_constant(graph, f"{name}_rows", rows))
    if bias is not None:
        scaled = bias * np.float32(beta)
        node.replace_input_with(2, query.set_constant(graph, f"{name}_scaled_bias", scaled))
    for attribute, value in (("alpha", 1.0), ("beta", 1.0)):
        node.attributes[attribute] = ir.AttrFloat32(attribute, value)
    node.attributes["transB"] = ir.AttrInt64("transB", 1)
    return 1


def _from_matmul(graph: ir.Graph, node: ir.Node) -> int:
    value, weights = node.inputs[0], query.constant(node.inputs[1])
    if value is None or weights is None or weights.ndim != 2 or query.constant(value) is not None:
        return 0
    shape = query.shape_of(value)
    if len(shape) < 2:
        return 0
    outputs = weights.shape[1]
    name = node.name or str(node.outputs[0].name)
    last, bias = _bias_behind(node, outputs)
    inputs = [value, query.set_constant(graph, f"{name}_rows", weights.T)]
    if bias is not None:
        inputs.append(query.set_constant(graph, f"{name}_bias", bias))
    made = []
    if len(shape) > 2:
        flat = np.array([math.prod(shape[:-1]), shape[-1]], np.int64)
        made.append(_reshape(graph, inputs[0], flat, f"{name}_flat"))
        inputs[0] = made[0].outputs[0]
    gemm = ir.node("Gemm", inputs, {"transB": 1}, name=name)
    made.append(gemm)
    rows = math.prod(shape[:-1])
    query.describe_like(gemm.outputs[0], [rows, outputs], value)
    if len(shape) > 2:
        full = np.array([*shape[:-1], outputs], np.int64)
        made.append(_reshape(graph, gemm.outputs[0], full, f"{name}_full"))
    for new in made:
        graph.insert_before(node, new)
    if last is not node:
        drop_node(graph, last, node.outputs[0])
    drop_node(graph, node, made[-1].outputs[0])
    return 1


def _bias_behind(node: ir.Node, outputs: int) -> tuple[ir.Node, query.AnyArray | None]:
    """Return the Add of a constant row behind a product and its bias, if there is one."""
    reader = query.only_reader(node.outputs[0])
    if reader is None or reader.op_type != "Add":
        return node, None
    known = [query.constant(value) for value in reader.inputs]
    bias = known[0] if known[0] is not None else known[1]
    if (
        bias is None
        or bias.size not in (1, outputs)
        or bias.shape[-1:] not in ((outputs,), (1,), ())
    ):
        return node, None
    if bias.ndim > len(query.shape_of(node.outputs[0])):
        return node, None
    return reader, np.broadcast_to(bias.ravel(), (outputs,)).astype(np.float32)


def _reshape(graph: ir.Graph, value: ir.Value, shape: query.AnyArray, name: str) -> ir.Node:
    node = ir.node("Reshape", [value, query.set_constant(graph, f"{name}_shape", shape)], name=name)
    query.describe_like(node.outputs[0], [int(v) for v in shape], value)
    return node
