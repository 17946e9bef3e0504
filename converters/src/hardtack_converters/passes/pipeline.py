"""Which passes run on which graph, in which order."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from hardtack_converters import query
from hardtack_converters.passes.drop_dead import drop_dead
from hardtack_converters.passes.fold_batchnorm import fold_batchnorm
from hardtack_converters.passes.fold_constants import fold_constants, fold_dequantized
from hardtack_converters.passes.freeze import freeze
from hardtack_converters.passes.fuse_pad import fuse_pad
from hardtack_converters.passes.normalise_gemm import normalise_gemm
from hardtack_converters.passes.normalise_mean import normalise_mean

Pass = Callable[[ir.Model], int]

ANY_PASSES: tuple[Pass, ...] = (freeze, fold_constants)
FLOAT_PASSES: tuple[Pass, ...] = (
    fold_dequantized,
    normalise_gemm,
    fuse_pad,
    fold_batchnorm,
    normalise_mean,
    fold_constants,
    drop_dead,
)


def is_quantized(model: ir.Model) -> bool:
    """Return whether the graph quantises its activations already."""
    return any(
        node.op_type in ("QuantizeLinear", "DequantizeLinear")
        and query.constant(node.inputs[0]) is None
        for node in model.graph
    )


def drop_unused(model: ir.Model) -> None:
    """Remove nodes and constants that nothing reads."""
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    RemoveUnusedNodesPass()(model)


def prepare(model: ir.Model) -> dict[str, int]:
    """Bring a model into the form that calibration and lowering read.

    A graph that is quantised already is only frozen: its grids belong to its nodes as they are.

    Returns:
        How many places each pass changed, by its name.
    """
    passes = ANY_PASSES if is_quantized(model) else (*ANY_PASSES, *FLOAT_PASSES)
    counts: dict[str, int] = {}
    for apply in passes:
        counts[apply.__name__] = counts.get(apply.__name__, 0) + apply(model)
    drop_unused(model)
    return counts
