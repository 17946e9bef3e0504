"""From a float graph and ranges to standard QDQ ONNX, for any runtime to run.

Activations: int8, one scale and zero point. Weights: int8, symmetric, one scale per output
channel. Biases: int32 of width input scale * weight scale.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from hardtack_converters import query
from hardtack_converters.compress.outliers import share_of
from hardtack_converters.lower.tables import fixed_grid
from hardtack_converters.passes.pipeline import drop_unused
from hardtack_converters.ranges import (
    Range,
    affine_grid,
    channel_steps,
    grid_step,
    outlier_scale,
    weight_codes,
    weight_scale,
    wide_codes,
    widened_for_bias,
)
from hardtack_runtime.errors import ModelImportError

Grid = tuple[float, int]

CLAMPING = frozenset({"Add", "AveragePool", "Conv", "Gemm", "MatMul", "Mul", "Sub"})
"""Operators whose kernel clamps its result: a Relu or Clip behind costs nothing."""

SAME_GRID = frozenset(
    {"AveragePool", "Concat", "Flatten", "MaxPool", "Pad", "Reshape", "Squeeze", "Transpose",
     "Unsqueeze"}
)  # fmt: skip
"""Operators that only move or compare codes: result and inputs share one grid."""

CONSTANT_OPERANDS = frozenset({"Add", "Mul", "Sub"})


def quantized_values(model: ir.Model) -> list[ir.Value]:
    """Return the activations that get codes: all but those inside a fused operator."""
    values = [value for value in model.graph.inputs if value.dtype == ir.DataType.FLOAT]
    for node in model.graph:
        for output in node.outputs:
            is_real = output.dtype in (None, ir.DataType.FLOAT)
            is_read = bool(output.uses()) or output.is_graph_output()
            if is_real and is_read and not _is_inside(node, output):
                values.append(output)
    return values


def _is_inside(node: ir.Node, value: ir.Value) -> bool:
    reader = query.only_reader(value)
    if reader is None or node.op_type not in CLAMPING:
        return False
    return query.clip_bounds(reader) is not None


def quantize(model: ir.Model, ranges: Mapping[str, Range], *, per_channel: bool = True) -> ir.Model:
    """Put a float model into QDQ form.

    Args:
        model: Prepared float model; not changed.
        ranges: Range of each value of `quantized_values`, by name.
        per_channel: One weight scale per output channel, or one per tensor.

    Returns:
        A new model, opset 18 or later.

    Raises:
        ModelImportError: HT224, a value has no range.
    """
    made = model.clone()
    values = quantized_values(made)
    grids = _grids(values, ranges)
    for node in tuple(made.graph):
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            _quantize_weights(made.graph, node, grids, per_channel=per_channel)
        elif node.op_type in CONSTANT_OPERANDS:
            _quantize_constants(made.graph, node)
    for value in values:
        _insert_pair(made.graph, value, grids[value])
    drop_unused(made)
    return made


def _grids(values: list[ir.Value], ranges: Mapping[str, Range]) -> dict[ir.Value, Grid]:
    """Return the grid of each value; values that share one get the union of their ranges."""
    leader: dict[ir.Value, ir.Value] = {value: value for value in values}

    def find(value: ir.Value) -> ir.Value:
        while leader[value] is not value:
            value = leader[value]
        return value

    for value in values:
        for other in _sharers(value):
            if other in leader:
                leader[find(value)] = find(other)
    groups: dict[ir.Value, list[ir.Value]] = {}
    for value in values:
        groups.setdefault(find(value), []).append(value)
    return {value: grid for group in groups.values() for value, grid in _group_grid(group, ranges)}


def _sharers(value: ir.Value) -> list[ir.Value]:
    node = value.producer()
    if node is None or node.op_type not in SAME_GRID:
        return []
    sources = node.inputs if node.op_type == "Concat" else node.inputs[:1]
    return [source for source in sources if source is not None]


def _group_grid(
    group: list[ir.Value], ranges: Mapping[str, Range]
) -> Iterable[tuple[ir.Value, Grid]]:
    producers = [value.producer() for value in group]
    kinds = {node.op_type if node else "" for node in producers} - SAME_GRID
    if len(kinds) == 1:
        makers = [node for node in producers if node is not None and node.op_type in kinds]
        fixed = {fixed_grid(node) for node in makers}
        if len(fixed) == 1 and (grid := fixed.pop()) is not None:
            return [(value, grid) for value in group]
    whole: Range | None = None
    for value in group:
        found = ranges.get(str(value.name))
        if found is None:
            raise ModelImportError(
                "HT224", f"value {value.name}", "no range was observed",
                "calibrate with samples of the model's inputs",
            )  # fmt: skip
        whole = found if whole is None else whole.joined(found)
    grid = affine_grid(whole or Range(0, 0))
    return [(value, grid) for value in group]


def _insert_pair(graph: ir.Graph, value: ir.Value, grid: Grid) -> None:
    """Put QuantizeLinear and DequantizeLinear between a value and all its readers."""
    name = str(value.name)
    scale = query.set_constant(graph, f"{name}_scale", np.asarray(np.float32(grid[0])))
    zero = query.set_constant(graph, f"{name}_zero_point", np.asarray(np.int8(grid[1])))
    quantize_node = ir.node("QuantizeLinear", [value, scale, zero], name=f"{name}_quantize")
    codes = quantize_node.outputs[0]
    dequantize = ir.node("DequantizeLinear", [codes, scale, zero], name=f"{name}_dequantize")
    real = dequantize.outputs[0]
    codes.name, codes.shape, codes.dtype = f"{name}_codes", value.shape, ir.DataType.INT8
    real.name, real.shape, real.dtype = f"{name}_real", value.shape, ir.DataType.FLOAT
    was_output = value.is_graph_output()
    readers = [(use.node, use.idx) for use in value.uses() if use.node is not quantize_node]
    for reader, index in readers:
        reader.replace_input_with(index, real)
    if was_output:
        for index, output in enumerate(graph.outputs):
            if output is value:
                graph.outputs[index] = real
        value.name, real.name = f"{name}_float", name
    producer = value.producer()
    if producer is None:
        graph.insert_before(graph[0], [quantize_node, dequantize])
    else:
        graph.insert_after(producer, [quantize_node, dequantize])


def _quantize_weights(
    graph: ir.Graph, node: ir.Node, grids: Mapping[ir.Value, Grid], *, per_channel: bool
) -> None:
    """Replace weights and bias by codes behind DequantizeLinear."""
    weights = query.constant(query.input_at(node, 1))
    source = node.inputs[0]
    if weights is None or source is None or source not in grids or weights.dtype.kind != "f":
        return
    transposed = node.op_type == "Gemm" and query.int_attribute(node, "transB", 0) == 1
    axis = 0 if node.op_type == "Conv" or transposed else weights.ndim - 1
    real = weights.astype(np.float32)
    _refuse_unreal(node, real)
    scale, used = _weight_scale(real, axis if per_channel else None)
    share = share_of(node) if used is not None else 0.0
    if share > 0:
        scale = outlier_scale(real, axis, share)
    input_scale = grids[source][0]
    bias = query.constant(query.input_at(node, 2))
    name = node.name or str(node.outputs[0].name)
    if bias is not None:
        _refuse_unreal(node, bias)
        flat = np.broadcast_to(bias.astype(np.float64).ravel(), (weights.shape[axis],))
        scale = widened_for_bias(scale, flat, input_scale)
        width = (np.float32(input_scale) * scale).astype(np.float32)
        codes = np.rint(flat / width.astype(np.float64)).astype(np.int32)
        node.replace_input_with(2, _dequantized(graph, node, f"{name}_bias", codes, width, 0))
    wide = wide_codes(real, scale, axis) if share > 0 else None
    coded = wide if wide is not None else weight_codes(real, scale, used)
    node.replace_input_with(1, _dequantized(graph, node, f"{name}_weights", coded, scale, axis))


def _weight_scale(
    real: npt.NDArray[np.float32], axis: int | None
) -> tuple[npt.NDArray[np.float32], int | None]:
    """Return the scale of each output and their axis, or one for all and None.

    Weights that lie on a grid keep it; others have that of their peak.
    """
    step = grid_step(real)
    if step is not None or axis is None:
        return weight_scale(real, None) if step is None else np.array([step], np.float32), None
    steps = channel_steps(real, axis)
    return weight_scale(real, axis) if steps is None else steps, axis


def _refuse_unreal(node: ir.Node, numbers: npt.NDArray[np.floating]) -> None:
    if not np.isfinite(numbers).all():
        raise ModelImportError(
            "HT208", query.label(node), "its weights hold NaN or infinity",
            "the training diverged: export another checkpoint",
        )  # fmt: skip


def _quantize_constants(graph: ir.Graph, node: ir.Node) -> None:
    """Replace a constant operand of Add, Sub or Mul by symmetric codes, one scale for all."""
    for index, value in enumerate(node.inputs):
        real = query.constant(value)
        if real is None or real.dtype.kind != "f":
            continue
        _refuse_unreal(node, real)
        scale = weight_scale(real.astype(np.float32), None)
        codes = weight_codes(real.astype(np.float32), scale, None)
        name = f"{node.name or node.outputs[0].name}_constant"
        node.replace_input_with(index, _dequantized(graph, node, name, codes, scale, 0))


def _dequantized(
    graph: ir.Graph,
    before: ir.Node,
    name: str,
    codes: npt.NDArray[np.int8] | npt.NDArray[np.int32],
    scale: npt.NDArray[np.float32],
    axis: int,
) -> ir.Value:
    """Add codes and the DequantizeLinear that reads them; return its result."""
    per_axis = scale.size > 1
    inputs = [
        query.set_constant(graph, f"{name}_codes", codes),
        query.set_constant(graph, f"{name}_scale", scale if per_axis else scale.reshape(())),
    ]
    node = ir.node(
        "DequantizeLinear", inputs, {"axis": axis} if per_axis else {}, name=f"{name}_dequantize"
    )
    real = node.outputs[0]
    real.name, real.shape, real.dtype = f"{name}_real", ir.Shape(codes.shape), ir.DataType.FLOAT
    graph.insert_before(before, node)
    return real
