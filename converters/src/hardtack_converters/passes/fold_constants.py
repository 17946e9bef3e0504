"""Compute what does not depend on the input."""

from __future__ import annotations

import onnx_ir as ir

from hardtack_converters import query
from hardtack_runtime.errors import ModelImportError

KEEP = frozenset({"QuantizeLinear", "DequantizeLinear"})
FOLDED_BYTES = 1 << 26
"""Largest constant that folding may make."""


def fold_constants(model: ir.Model) -> int:
    """Replace nodes whose inputs are all known by their results (onnxscript's optimizer).

    f(c) = c'        Shape(x) = c where the shape of x is fixed

    Quantised constants stay as they are: their codes are the point.

    Raises:
        ModelImportError: HT208, the optimizer failed on it.
    """
    from onnx_ir.passes.common import LiftConstantsToInitializersPass
    from onnxscript import optimizer

    before = sum(1 for _ in model.graph)
    try:
        optimizer.optimize_ir(
            model,
            input_size_limit=FOLDED_BYTES,
            output_size_limit=FOLDED_BYTES,
            should_fold=lambda node: False if node.op_type in KEEP else None,
        )
    except Exception as error:
        # It evaluates nodes with ONNX's reference code, which raises whatever it meets.
        detail = next(iter(str(error).splitlines()), type(error).__name__)[:160]
        raise ModelImportError(
            "HT208", "model", f"a constant part of it cannot be computed: {detail}",
            "simplify the model before export",
        ) from error  # fmt: skip
    LiftConstantsToInitializersPass(lift_all_constants=True)(model)
    return before - sum(1 for _ in model.graph)


def fold_dequantized(model: ir.Model) -> int:
    """Return quantised weights of a float model to real numbers.

    DequantizeLinear(c, s, z) = s * (c - z)

    Such models (dynamic range) compute in float: new ranges make their weights int8 again.
    """
    folded = 0
    for node in tuple(model.graph):
        real = query.dequantized(node.outputs[0]) if node.op_type in KEEP else None
        if real is None:
            continue
        value = query.set_constant(model.graph, f"{node.outputs[0].name}_folded", real)
        query.replace_value(node.outputs[0], value)
        model.graph.remove(node, safe=True)
        folded += 1
    return folded
