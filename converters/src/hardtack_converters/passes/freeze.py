"""Drop what only training needs."""

from __future__ import annotations

import onnx_ir as ir

from hardtack_converters import query
from hardtack_converters.query import label
from hardtack_runtime.errors import UnsupportedOpError

TRAINING_ONLY = frozenset({"Dropout", "Identity"})


def freeze(model: ir.Model) -> int:
    """Replace training nodes by what they do at inference: nothing.

    Dropout(x) = x        Identity(x) = x        Cast(x: float32 -> float32) = x

    An Identity between the model's own input and output stays: something must compute it.

    Raises:
        UnsupportedOpError: HT302, the mask of a Dropout is read.
    """
    removed = 0
    for node in tuple(model.graph):
        if not _does_nothing(node):
            continue
        source, result = node.inputs[0], node.outputs[0]
        if source is None or (result.is_graph_output() and _is_end(source)):
            continue
        if any(output.uses() or output.is_graph_output() for output in node.outputs[1:]):
            raise UnsupportedOpError(
                "HT302", label(node), "its mask is read", "export in eval mode"
            )
        _take_place(model.graph, source, result)
        model.graph.remove(node, safe=True)
        removed += 1
    return removed


def _does_nothing(node: ir.Node) -> bool:
    if node.op_type == "Cast":
        source = node.inputs[0]
        target = query.int_attribute(node, "to", 0)
        return source is not None and source.dtype is not None and source.dtype.value == target
    return node.op_type in TRAINING_ONLY and node.domain == ""


def _is_end(value: ir.Value) -> bool:
    return value.is_graph_input() or value.is_graph_output() or value.is_initializer()


def _take_place(graph: ir.Graph, source: ir.Value, result: ir.Value) -> None:
    """Let `source` stand for `result`; an output of the model keeps its name."""
    if result.is_graph_output():
        name = result.name
        result.name = f"{name}_removed"
        source.name = name
        source.shape = source.shape or result.shape
    query.replace_value(result, source)
