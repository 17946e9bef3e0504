"""From a float graph and ranges to standard QDQ ONNX, for any runtime to run.

Activations: int8, one scale and zero point. Weights: int8, symmetric, one scale per output
channel. Biases: int32 of width input scale * weight scale.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from hardtack_converters import query
from hardtack_converters.activation_groups import (
    SAME_GRID,
    WIDE,
    Group,
    groups_of,
    is_wide,
    quantized_values,
    reads_wide,
)
from hardtack_converters.compress.outliers import share_of
from hardtack_converters.lower.tables import fixed_grid
from hardtack_converters.passes.pipeline import drop_unused
from hardtack_converters.ranges import (
    Range,
    affine_grid,
    channel_steps,
    grid_step,
    outlier_scale,
    scale_within_sums,
    symmetric_grid,
    weight_codes,
    weight_scale,
    wide_codes,
    wide_constant,
    widened_for_bias,
)
from hardtack_runtime.errors import ModelImportError


@dataclass(frozen=True, slots=True)
class Grid:
    """Scale and zero point of an activation, and the type of its codes."""

    scale: float
    zero_point: int
    dtype: type[np.int8 | np.int16] = np.int8


COARSER = "hardtack.coarser"
"""Key, in the metadata of a quantised layer: how many channels have coarser weights for sums."""
INT16_OPSET = 21
"""Of ONNX: the first whose QuantizeLinear gives int16."""
CODES = {np.int8: ir.DataType.INT8, np.int16: ir.DataType.INT16}

CONSTANT_OPERANDS = frozenset({"Add", "Mul", "Sub"})


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
            _quantize_constants(made.graph, node, grids)
    for value in values:
        _quantize_value(made.graph, value, grids[value], ranges)
    if any(grid.dtype == np.int16 for grid in grids.values()):
        made.graph.opset_imports[""] = max(made.graph.opset_imports[""], INT16_OPSET)
    drop_unused(made)
    return made


def _grids(values: list[ir.Value], ranges: Mapping[str, Range]) -> dict[ir.Value, Grid]:
    """Return the grid of each value; values that share one get the union of their ranges."""
    return {
        value: grid for group in groups_of(values) for value, grid in _group_grid(group, ranges)
    }


def _group_grid(group: Group, ranges: Mapping[str, Range]) -> Iterable[tuple[ir.Value, Grid]]:
    producers = [value.producer() for value in group]
    kinds = {node.op_type if node else "" for node in producers} - SAME_GRID
    if len(kinds) == 1:
        makers = [node for node in producers if node is not None and node.op_type in kinds]
        fixed = {fixed_grid(node) for node in makers}
        if len(fixed) == 1 and (known := fixed.pop()) is not None:
            return [(value, Grid(*known)) for value in group]
    whole: Range | None = None
    for value in group:
        found = ranges.get(str(value.name))
        if found is None:
            raise ModelImportError(
                "HT224", f"value {value.name}", "no range was observed",
                "calibrate with samples of the model's inputs",
            )  # fmt: skip
        whole = found if whole is None else whole.joined(found)
    whole = whole or Range(0, 0)
    if is_wide(group):
        return [(value, Grid(*symmetric_grid(whole), np.int16)) for value in group]
    grid = Grid(*affine_grid(whole))
    return [(value, grid) for value in group]


def _quantize_value(
    graph: ir.Graph, value: ir.Value, grid: Grid, ranges: Mapping[str, Range]
) -> None:
    """Give a value its codes; of int16 ones those that have no kernel for them read int8."""
    readers, name = [use.node for use in value.uses()], str(value.name)
    real = _insert_pair(graph, value, grid, name)
    if grid.dtype == np.int16 and not all(map(reads_wide, readers)):
        narrow = Grid(*affine_grid(ranges[name]))
        _insert_pair(graph, real, narrow, f"{name}_real", only=lambda node: not reads_wide(node))


def _insert_pair(
    graph: ir.Graph,
    value: ir.Value,
    grid: Grid,
    name: str,
    only: Callable[[ir.Node], bool] | None = None,
) -> ir.Value:
    """Put QuantizeLinear and DequantizeLinear between a value and its readers; return its real.

    Args:
        graph: Of the value.
        value: Float.
        grid: Its codes.
        name: What the names of all that is new begin with; those of an output stay.
        only: Which readers; none: all, the model's caller included.
    """
    scale = query.set_constant(graph, f"{name}_scale", np.asarray(np.float32(grid.scale)))
    zero = query.set_constant(graph, f"{name}_zero_point", np.asarray(grid.dtype(grid.zero_point)))
    quantize_node = ir.node("QuantizeLinear", [value, scale, zero], name=f"{name}_quantize")
    codes = quantize_node.outputs[0]
    dequantize = ir.node("DequantizeLinear", [codes, scale, zero], name=f"{name}_dequantize")
    real = dequantize.outputs[0]
    codes.name, codes.shape, codes.dtype = f"{name}_codes", value.shape, CODES[grid.dtype]
    real.name, real.shape, real.dtype = f"{name}_real", value.shape, ir.DataType.FLOAT
    was_output = value.is_graph_output() and only is None
    readers = [
        (use.node, use.idx)
        for use in value.uses()
        if use.node is not quantize_node and (only is None or only(use.node))
    ]
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
    return real


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
    share = share_of(node) if used is not None and not _touches_wide(node, grids) else 0.0
    if share > 0:
        scale = outlier_scale(real, axis, share)
    input_scale = grids[source].scale
    bias = query.constant(query.input_at(node, 2))
    name = node.name or str(node.outputs[0].name)
    if bias is not None:
        _refuse_unreal(node, bias)
        flat = np.broadcast_to(bias.astype(np.float64).ravel(), (weights.shape[axis],))
        scale = widened_for_bias(scale, flat, input_scale)
    if grids[source].dtype == np.int16 or _is_widened(node):
        scale = _within_sums(
            node, (real, scale, used), axis, None if bias is None else flat / input_scale
        )
    used = axis if scale.size > 1 else used
    if bias is not None:
        width = (np.float32(input_scale) * scale).astype(np.float32)
        codes = np.rint(flat / width.astype(np.float64)).astype(np.int32)
        node.replace_input_with(2, _dequantized(graph, node, f"{name}_bias", codes, width, 0))
    wide = wide_codes(real, scale, axis) if share > 0 else None
    coded = wide if wide is not None else weight_codes(real, scale, used)
    node.replace_input_with(1, _dequantized(graph, node, f"{name}_weights", coded, scale, axis))


def _touches_wide(node: ir.Node, grids: Mapping[ir.Value, Grid]) -> bool:
    """Say whether it reads or may write int16: two planes of weights have no kernel for it."""
    source = node.inputs[0]
    if source is None:
        return False
    return WIDE in node.metadata_props or (source in grids and grids[source].dtype == np.int16)


def _is_widened(node: ir.Node) -> bool:
    """Say whether inputs in int8 are put into int16: grouped kernels that write it read it."""
    return WIDE in node.metadata_props and query.int_attribute(node, "group", 1) > 1


def _within_sums(
    node: ir.Node,
    weights: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], int | None],
    axis: int,
    bias: npt.NDArray[np.float64] | None,
) -> npt.NDArray[np.float32]:
    """Return weight scales at which sums of int16 stay within int32, and note what that took."""
    real, scale, used = weights
    if used is None:
        scale = np.broadcast_to(scale, real.shape[axis]).astype(np.float32)
    wide = scale_within_sums(real, scale, axis, bias)
    coarser = int((wide > scale).sum())
    if coarser:
        node.metadata_props[COARSER] = f"{coarser} of {len(scale)}"
    return wide if coarser or used is not None else wide[:1]


def coarser_layers(model: ir.Model) -> tuple[str, ...]:
    """Say of each layer of a quantised model whose weights had to be coarser how many channels."""
    return tuple(
        f"{query.label(node)}: {node.metadata_props[COARSER]} channels have coarser weights, "
        "for sums of int16 to stay within 32 bits"
        for node in model.graph if COARSER in node.metadata_props
    )  # fmt: skip


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


def _quantize_constants(graph: ir.Graph, node: ir.Node, grids: Mapping[ir.Value, Grid]) -> None:
    """Replace a constant operand of Add, Sub or Mul by symmetric codes, one scale for all."""
    wide = _touches_wide(node, grids) or any(
        value is not None and value in grids and grids[value].dtype == np.int16
        for value in node.inputs
    )
    for index, value in enumerate(node.inputs):
        real = query.constant(value)
        if real is None or real.dtype.kind != "f":
            continue
        _refuse_unreal(node, real)
        exact = real.astype(np.float32)
        scale = weight_scale(exact, None)
        codes: npt.NDArray[np.int8 | np.int16] = weight_codes(exact, scale, None)
        if wide:
            scale, codes = wide_constant(exact)
        name = f"{node.name or node.outputs[0].name}_constant"
        node.replace_input_with(index, _dequantized(graph, node, name, codes, scale, 0))


def _dequantized(
    graph: ir.Graph,
    before: ir.Node,
    name: str,
    codes: npt.NDArray[Any],
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
