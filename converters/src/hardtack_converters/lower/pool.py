"""Lowering of pooling and means."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from hardtack_converters import query
from hardtack_converters.activation_groups import WIDE_SUM
from hardtack_converters.fixed_point import quantize_multiplier
from hardtack_converters.lower.assembler import Activation, Assembler, Grid
from hardtack_converters.lower.order import buffer_axes, channels_last, identity
from hardtack_converters.lower.reading import Target, activation_of, bind, target_of
from hardtack_converters.lower.window import window_of
from hardtack_converters.query import label
from hardtack_runtime.errors import UnsupportedOpError
from hardtack_runtime.operators import twin
from hardtack_runtime.program import AveragePool2D, Dims, MaxPool2D, Mean


def most_summed(grid: Grid) -> int:
    """Return how many codes a pool or mean may sum in int32 (SPEC section 2)."""
    return WIDE_SUM if grid.wide else 1 << 22


def lower_pool(asm: Assembler, node: ir.Node) -> None:
    """Lower MaxPool and AveragePool.

    The kernels keep the grid. Where the graph asks for another one, a table follows; for an
    average over the whole image the mean kernel does both with one rounding.
    """
    value = activation_of(asm, node, 0)
    target = target_of(asm, node)
    window = window_of(node, value.shape, query.ints_attribute(node, "kernel_shape", ()))
    _check_pool(node, padded=window.padded)
    most = most_summed(value.grid)
    if window.kernel_h * window.kernel_w > most:
        raise UnsupportedOpError("HT304", label(node), f"a window of over {most} values")
    covers = (window.kernel_h, window.kernel_w) == (window.height, window.width)
    one = (window.out_height, window.out_width) == (1, 1)
    average = node.op_type == "AveragePool"
    if average and covers and one and target.grid not in (None, value.grid):
        _emit_mean(asm, node, value, tuple(range(2, len(value.shape))), target)
        return
    value = asm.arrange(value, channels_last(value.shape), node)
    channels = value.shape[1]
    source = asm.view(value.tensor, (1, window.height, window.width, channels))
    dims: Dims = (1, window.out_height, window.out_width, channels)
    result = asm.arena(str(node.outputs[0].name), dims, wide=value.grid.wide)
    kind = twin(AveragePool2D if average else MaxPool2D, wide=value.grid.wide)
    same = target.grid in (None, value.grid)
    # Bounds that belong to another grid are met by the table behind, which is monotonic.
    low, high = target.code_bounds(value.grid)
    asm.emit(
        kind(
            source,
            result,
            *(window.kernel_h, window.kernel_w, window.stride_h, window.stride_w),
            *(window.pad_top, window.pad_left, low, high),
        ),
        str(node.name),
    )
    shape = query.shape_of(node.outputs[0])
    pooled = Activation(result, shape, channels_last(shape), value.grid)
    if not same and target.grid is not None:
        pooled = asm.on_grid(pooled, target.grid, f"{node.name}:requantize")
    bind(asm, target, pooled)


def _check_pool(node: ir.Node, *, padded: bool) -> None:
    if len(node.outputs) > 1 and node.outputs[1].uses():
        raise UnsupportedOpError("HT302", label(node), "its second output, Indices, is used")
    if any(d != 1 for d in query.ints_attribute(node, "dilations", ())):
        raise UnsupportedOpError("HT302", label(node), "a dilated pool")
    counts_pads = query.int_attribute(node, "count_include_pad", 0) == 1
    if node.op_type == "AveragePool" and padded and counts_pads:
        raise UnsupportedOpError(
            "HT302", label(node), "count_include_pad = 1 with padding",
            "put a Pad before the pool, or export with count_include_pad = 0",
        )  # fmt: skip


def lower_mean(asm: Assembler, node: ir.Node) -> None:
    """Lower GlobalAveragePool and ReduceMean over axes that lie side by side in the buffer."""
    value = activation_of(asm, node, 0)
    rank = len(value.shape)
    every = node.op_type == "GlobalAveragePool"
    axes = tuple(range(2, rank)) if every else query.axes_of(node, rank)
    target = target_of(asm, node, fuse=False)
    _emit_mean(asm, node, value, axes, target)


def _emit_mean(
    asm: Assembler, node: ir.Node, value: Activation, axes: tuple[int, ...], target: Target
) -> None:
    if target.grid is not None and target.grid.wide:
        value = asm.wide(value, str(node.name))
    kept = [axis for axis in range(len(value.shape)) if axis not in axes]
    places = buffer_axes(value.order, value.shape)
    run = _reduced_run(places, axes, value.shape) if places is not None else None
    if places is None or run is None:
        value, places = asm.row_major(value, node), tuple(range(len(value.shape)))
        run = _reduced_run(places, axes, value.shape)
    if run is None:
        raise UnsupportedOpError(
            "HT302", label(node), f"the mean over axes {list(axes)} of {list(value.shape)}",
            "only neighbouring axes have a kernel",
        )  # fmt: skip
    outer, count, inner = run
    if count > most_summed(value.grid):
        raise UnsupportedOpError("HT304", label(node), f"a mean of {count} values")
    out = target.grid or value.grid
    grid = out.widened() if value.grid.wide else out
    mult, shift = mean_multiplier(value.grid, grid, count)
    shape = tuple(1 if axis in axes else size for axis, size in enumerate(value.shape))
    order = _order_without(places, kept, shape)
    result = asm.arena(str(node.outputs[0].name), _image_dims(shape), wide=grid.wide)
    kind = twin(Mean, wide=grid.wide)
    asm.emit(
        kind(
            value.tensor, result, outer, count, inner,
            value.grid.zero_point, mult, shift, grid.zero_point,
        ),
        str(node.name),
    )  # fmt: skip
    reduced = Activation(result, query.shape_of(node.outputs[0]), order, grid)
    reduced = asm.on_grid(reduced, out, f"{node.name}:requantize")
    bind(asm, target, _clipped(asm, reduced, target, str(node.name)))


def _clipped(asm: Assembler, value: Activation, target: Target, layer: str) -> Activation:
    """Apply a fused bound by a table, or a rescale: the mean kernel has none."""
    low, high = target.code_bounds(value.grid)
    if (low, high) == value.grid.bounds:
        return value
    if value.grid.wide:
        return asm.rescaled(value, value.grid, (low, high), f"{layer}:clip")
    table = np.clip(np.arange(-128, 128), low, high).astype(np.int8)
    return asm.through_table(value, table, value.grid, f"{layer}:clip")


def mean_multiplier(source: Grid, out: Grid, count: int) -> tuple[int, int]:
    """Return mult and shift that hold source/out and 1/count (TFLite's QuantizedMeanOrSum).

    The division is done on as many bits as the multiplier can spare.
    """
    mult, shift = quantize_multiplier(source.scale / out.scale)
    spare = min(63 - (64 - count.bit_length()), 32, 31 + shift)
    return (mult << spare) // count, shift - spare


def _reduced_run(
    places: tuple[int, ...], axes: tuple[int, ...], shape: tuple[int, ...]
) -> tuple[int, int, int] | None:
    """Return (outer, count, inner) if the reduced axes are neighbours in the buffer."""
    wide = [axis for axis in places if shape[axis] > 1]
    at = [index for index, axis in enumerate(wide) if axis in axes]
    if not at:
        return math.prod(shape), 1, 1
    if at != list(range(at[0], at[-1] + 1)):
        return None
    sizes = [shape[axis] for axis in wide]
    first, last = at[0], at[-1] + 1
    return math.prod(sizes[:first]), math.prod(sizes[first:last]), math.prod(sizes[last:])


def _order_without(
    places: tuple[int, ...], kept: list[int], shape: tuple[int, ...]
) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Return the order of the reduced activation: kept axes in the buffer order they had."""
    axes = [axis for axis in places if axis in kept]
    sizes = [shape[axis] for axis in axes]
    buffer = identity(math.prod(sizes)).reshape(sizes)
    flat = buffer.transpose(np.argsort(axes)).ravel() if axes else buffer.ravel()
    return np.asarray(flat, np.int64)


def _image_dims(shape: tuple[int, ...]) -> Dims:
    return 1, 1, 1, math.prod(shape)
