"""Take channels out of a graph: narrower weights, constants and shapes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from hardtack_converters import query
from hardtack_converters.passes.channels import (
    BINARY,
    Channels,
    IntArray,
    Layer,
    channel_axis,
    first_along,
)
from hardtack_converters.passes.linear import set_linear


def narrow(graph: ir.Graph, found: Channels, gone: Iterable[int]) -> None:
    """Take channels out of every weight, constant and shape of the graph.

    What a removed channel always is goes into the biases of the layers that read it.

    Args:
        graph: Changed in place.
        found: Its channels.
        gone: Numbers of those to remove; at least one stays of what each layer makes.
    """
    dead = np.array(sorted(gone), np.int64)
    for layer in found.layers:
        _narrow_layer(graph, layer, dead)
    for value, elements in found.elements.items():
        _narrow_value(graph, value, elements.channel, dead)


def _narrow_layer(graph: ir.Graph, layer: Layer, dead: IntArray) -> None:
    linear = layer.linear
    rows, columns = ~np.isin(layer.made, dead), ~np.isin(layer.read, dead)
    if rows.all() and columns.all():
        return
    weights = np.moveaxis(linear.weights, linear.out_axis, 0)
    bias = linear.bias
    if layer.depthwise:
        linear.node.attributes["group"] = ir.AttrInt64("group", int(columns.sum()))
    else:
        lost = weights[:, ~columns].sum(axis=tuple(range(2, weights.ndim)))
        # Nothing weighs an unread channel, so what it is, known or not, adds nothing.
        steady = np.where(np.isnan(layer.constants[~columns]), 0, layer.constants[~columns])
        bias = bias + lost @ steady
        weights = weights[:, columns]
    set_linear(graph, linear, np.moveaxis(weights[rows], 0, linear.out_axis), bias[rows])


def _narrow_value(graph: ir.Graph, value: ir.Value, numbers: IntArray, dead: IntArray) -> None:
    kept = ~np.isin(numbers, dead)
    axis = channel_axis(numbers)
    if kept.all() or axis is None:
        return
    left = first_along(kept, axis).ravel()
    shape = [int(left.sum()) if a == axis else size for a, size in enumerate(numbers.shape)]
    value.shape = ir.Shape(shape)
    node = value.producer()
    if node is None:
        return
    if node.op_type == "Reshape":
        name = f"{node.name or value.name}_shape"
        made = np.array(query.shape_of(value), np.int64)
        node.replace_input_with(1, query.set_constant(graph, name, made))
    if node.op_type in BINARY:
        _narrow_operands(graph, node, axis - numbers.ndim, left)


def _narrow_operands(
    graph: ir.Graph, node: ir.Node, axis: int, left: npt.NDArray[np.bool_]
) -> None:
    """Take channels out of constant operands; `axis` counts from the end."""
    for index, value in enumerate(node.inputs):
        numbers = query.constant(value)
        if numbers is None or numbers.ndim < -axis or numbers.shape[axis] != len(left):
            continue
        made = np.compress(left, numbers, axis=axis)
        name = f"{node.name or node.outputs[0].name}_constant"
        node.replace_input_with(index, query.set_constant(graph, name, made))
