"""Bring means over the whole image into one form: GlobalAveragePool."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hardtack_converters import query
from hardtack_converters.passes.linear import drop_node


def normalise_mean(model: ir.Model) -> int:
    """Rewrite means over all image axes.

    ReduceMean(x, axes=2.., keepdims=1)           =  GlobalAveragePool(x)
    ReduceMean(x, axes=2.., keepdims=0)           =  Reshape(GlobalAveragePool(x))
    AveragePool whose one window is the image     =  GlobalAveragePool(x)
    """
    changed = 0
    for node in tuple(model.graph):
        if node.inputs and node.inputs[0] is not None and _covers_image(node):
            changed += _replace(model.graph, node, node.inputs[0])
    return changed


def _covers_image(node: ir.Node) -> bool:
    value = node.inputs[0]
    if value is None or node.op_type not in ("ReduceMean", "AveragePool"):
        return False
    shape = query.shape_of(value)
    if len(shape) not in (3, 4):
        return False
    if node.op_type == "ReduceMean":
        return query.axes_of(node, len(shape)) == tuple(range(2, len(shape)))
    kernel = query.ints_attribute(node, "kernel_shape", ())
    pads = query.ints_attribute(node, "pads", ())
    one = all(size == 1 for size in query.shape_of(node.outputs[0])[2:])
    return kernel == shape[2:] and one and not any(pads)


def _replace(graph: ir.Graph, node: ir.Node, value: ir.Value) -> int:
    shape = query.shape_of(value)
    out = query.shape_of(node.outputs[0])
    name = node.name or str(node.outputs[0].name)
    pool = ir.node("GlobalAveragePool", [value], name=name)
    query.describe_like(pool.outputs[0], [*shape[:2], *(1,) * (len(shape) - 2)], value)
    graph.insert_before(node, pool)
    last = pool
    if len(out) != len(shape):
        target = query.set_constant(graph, f"{name}_shape", np.array(out, np.int64))
        last = ir.node("Reshape", [pool.outputs[0], target], name=f"{name}_squeezed")
        query.describe_like(last.outputs[0], out, value)
        graph.insert_before(node, last)
    drop_node(graph, node, last.outputs[0])
    return 1
