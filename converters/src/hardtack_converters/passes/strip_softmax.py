"""Leave out a last softmax."""

from __future__ import annotations

import onnx_ir as ir

PASSED = frozenset({"QuantizeLinear", "DequantizeLinear", "Identity"})


def strip_softmax(model: ir.Model) -> int:
    """Let the model return the softmax's input, wherever an output is a softmax.

    argmax(softmax(x)) = argmax(x), for softmax grows with each of its inputs.

    Behind it only Quantize, Dequantize and Identity are looked through. The output keeps its name
    and, where it is int8, stays int8.
    """
    stripped = 0
    graph = model.graph
    for index, output in enumerate(graph.outputs):
        softmax = _softmax_behind(output)
        logits = softmax.inputs[0] if softmax is not None else None
        if logits is None:
            continue
        if output.dtype not in (None, ir.DataType.FLOAT):
            node = logits.producer()
            if node is None or node.op_type != "DequantizeLinear" or node.inputs[0] is None:
                continue
            logits = node.inputs[0]
        name = output.name
        output.name = f"{name}_stripped"
        graph.outputs[index] = logits
        logits.name = name
        stripped += 1
    if stripped:
        from onnx_ir.passes.common import RemoveUnusedNodesPass

        RemoveUnusedNodesPass()(model)
    return stripped


def _softmax_behind(value: ir.Value) -> ir.Node | None:
    node = value.producer()
    while node is not None and node.op_type in PASSED:
        value_before = node.inputs[0]
        node = value_before.producer() if value_before is not None else None
    return node if node is not None and node.op_type == "Softmax" else None
