"""Lowering of Conv, Gemm and MatMul: weights, biases and one multiplier per output channel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from hardtack_converters import query
from hardtack_converters.fixed_point import quantize_multiplier
from hardtack_converters.lower.assembler import Activation, Assembler, Grid
from hardtack_converters.lower.order import channels_last, identity
from hardtack_converters.lower.reading import (
    Codes,
    activation_of,
    bind,
    codes_of,
    grid_or_refuse,
    target_of,
)
from hardtack_converters.lower.window import window_of
from hardtack_converters.query import label
from hardtack_converters.ranges import WIDEST
from hardtack_runtime.errors import UnsupportedOpError
from hardtack_runtime.operators import twin
from hardtack_runtime.program import Conv2D, DepthwiseConv2D, Dims, FullyConnected

IntArray = npt.NDArray[np.int64]
ACC_LIMIT = (1 << 31) - 1
MOST_WIDE = 0.15
"""Share of weights that may be beyond int8: their high plane is sparse."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Weights of one operator, outputs first.

    Attributes:
        codes: int64 [O, ...], within [-128, 127], or +-WIDEST where there is a high plane.
        scale: float32 [O] or [1].
    """

    codes: IntArray
    scale: npt.NDArray[np.float32]

    @property
    def is_wide(self) -> bool:
        """True if there are codes beyond int8: codes = low + 256 * high."""
        return bool(self.codes.max(initial=0) > 127 or self.codes.min(initial=0) < -128)

    @property
    def low(self) -> IntArray:
        """The low plane, within int8."""
        return self.codes - 256 * self.high

    @property
    def high(self) -> IntArray:
        """The high plane, within int8; zeros unless wide."""
        return np.asarray((self.codes + 128) >> 8 if self.is_wide else np.zeros_like(self.codes))


def filter_of(node: ir.Node, value: ir.Value | None, out_axis: int) -> Filter:
    """Return the weights of a node with the output axis first.

    Raises:
        UnsupportedOpError: HT302 not a constant, HT303 not int8 around zero, one scale per output.
    """
    weights = codes_of(value, node)
    if weights is None:
        raise UnsupportedOpError(
            "HT302", label(node), "its weights are not a quantised constant",
            "both factors computed at run time have no int8 kernel",
        )  # fmt: skip
    largest = np.abs(weights.codes).max(initial=0)
    outliers = np.count_nonzero(np.abs(weights.codes) > 128)
    few = outliers < MOST_WIDE * weights.codes.size and weights.codes.shape[out_axis] > 1
    splits = few and query.int_attribute(node, "group", 1) == 1
    if weights.zero_point != 0 or largest > (WIDEST if splits else 128):
        raise UnsupportedOpError(
            "HT303", label(node), "its weights are not int8 with zero point 0",
            "quantise weights to symmetric int8",
        )  # fmt: skip
    if weights.scale.size > 1 and weights.axis != out_axis % weights.codes.ndim:
        raise UnsupportedOpError(
            "HT303", label(node), f"its weight scales run along axis {weights.axis}",
            "quantise weights per output channel",
        )  # fmt: skip
    return Filter(np.moveaxis(weights.codes, out_axis, 0), weights.scale)


def bias_of(
    node: ir.Node, value: ir.Value | None, scale: npt.NDArray[np.float64], outputs: int
) -> IntArray:
    """Return the bias as int32 codes of width `scale` = input scale * weight scale.

    A bias kept on that grid is taken as it is; any other is rounded to it.
    """
    if value is None:
        return np.zeros(outputs, np.int64)
    kept = codes_of(value, node)
    if kept is not None and _same_grid(kept, scale):
        return kept.codes.ravel()
    real = query.constant(value) if kept is None else query.dequantized(value)
    if real is None:
        raise UnsupportedOpError("HT302", label(node), "its bias is not a constant")
    flat = np.broadcast_to(real.astype(np.float64).ravel(), (outputs,))
    return np.rint(flat / scale).astype(np.int64)


def _same_grid(bias: Codes, scale: npt.NDArray[np.float64]) -> bool:
    return bias.zero_point == 0 and bool(np.allclose(bias.scale, scale, rtol=1e-4, atol=0))


def product_scale(
    grid: Grid, scale: npt.NDArray[np.float32], *, single: bool
) -> npt.NDArray[np.float64]:
    """Return input scale * weight scale as the reference multiplies them.

    Args:
        grid: Grid of the input.
        scale: float32 [O] or [1].
        single: True for one scale of a fully connected layer: the product is float32 there.
    """
    if single:
        return (np.float32(grid.scale) * scale).astype(np.float64)
    return np.asarray(grid.scale * scale.astype(np.float64))


def multipliers(
    node: ir.Node, product: npt.NDArray[np.float64], out: Grid, bits: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int8]]:
    """Return `mult` of so many bits and `shift` per output channel, or one of each."""
    try:
        pairs = [quantize_multiplier(float(p) / out.scale, bits) for p in product]
    except ValueError as error:
        raise UnsupportedOpError("HT303", label(node), str(error)) from error
    mult = np.array([m for m, _ in pairs], np.int32)
    shift = np.array([s for _, s in pairs], np.int8)
    return mult, shift


def fold_zero_point(node: ir.Node, bias: IntArray, weights: Filter, grid: Grid) -> IntArray:
    """Return bias - zero_point * sum(weights), having checked that no sum can leave int32.

    Args:
        node: For the message.
        bias: int64 [O].
        weights: Of the node.
        grid: Of the input.

    Raises:
        UnsupportedOpError: HT304.
    """
    rows = weights.codes.reshape(len(weights.codes), -1)
    folded: IntArray = bias - grid.zero_point * rows.sum(axis=1)
    # Every code and weight may be -128, and kernels add in any order: what readers check too. Of
    # int16, the weights are looked at one by one.
    most = np.abs(rows).sum(axis=1) << 15 if grid.wide else np.int64(rows.shape[1] << 14)
    worst = np.abs(folded) + most
    worst += int(np.abs(weights.high.reshape(rows.shape)).sum(axis=1).max(initial=0)) << 15
    if worst.max(initial=0) > ACC_LIMIT:
        channel = int(worst.argmax())
        raise UnsupportedOpError(
            "HT304", label(node),
            f"the sum of output channel {channel} can reach {int(worst[channel])}, over 2**31 - 1",
            "retrain with weight decay, or split the layer",
        )  # fmt: skip
    return folded


def lower_conv(asm: Assembler, node: ir.Node) -> None:
    """Lower Conv in one or two dimensions; depthwise when every group has one input channel."""
    value = activation_of(asm, node, 0)
    weights = filter_of(node, query.input_at(node, 1), 0)
    window = window_of(node, value.shape, weights.codes.shape[2:])
    target = target_of(asm, node)
    out = grid_or_refuse(target, node)
    product = product_scale(value.grid, weights.scale, single=False)
    outputs = weights.codes.shape[0]
    bias = bias_of(node, query.input_at(node, 2), product, outputs)
    channels, group = value.shape[1], query.int_attribute(node, "group", 1)
    depthwise = group == channels > 1 and weights.codes.shape[1] == 1
    is_wide = _is_wide(node, weights, value.grid, out)
    folded = fold_zero_point(node, bias, weights, value.grid)
    value = asm.arrange(value, channels_last(value.shape), node)
    if depthwise and is_wide and not value.grid.wide:
        value = asm.wide(value, str(node.name))
        folded = fold_zero_point(node, bias, weights, value.grid)
    source = asm.view(value.tensor, (1, window.height, window.width, channels))
    shape = query.shape_of(node.outputs[0])
    dims: Dims = (1, window.out_height, window.out_width, outputs)
    result = asm.arena(str(node.outputs[0].name), dims, wide=out.wide)

    def arranged(codes: IntArray) -> npt.NDArray[np.int8]:
        kernels = codes.reshape(outputs, -1, window.kernel_h, window.kernel_w).astype(np.int8)
        return kernels[:, 0].transpose(1, 2, 0) if depthwise else kernels.transpose(0, 2, 3, 1)

    mult, shift = multipliers(node, product, out, asm.multiplier_bits)
    kind = twin(DepthwiseConv2D if depthwise else Conv2D, wide=is_wide)
    asm.emit(
        kind(
            source,
            asm.constant(f"{node.name}:weights", arranged(weights.low)),
            asm.constant(f"{node.name}:bias", folded.astype(np.int32)),
            asm.scaling(f"{node.name}:mult", mult),
            asm.scaling(f"{node.name}:shift", shift),
            result,
            *(window.stride_h, window.stride_w, window.dilation_h, window.dilation_w),
            *(window.pad_top, window.pad_left, value.grid.zero_point, out.zero_point),
            *target.code_bounds(out),
            high=_plane(asm, node, weights, arranged),
        ),
        str(node.name),
    )
    bind(asm, target, Activation(result, shape, channels_last(shape), out))


def _is_wide(node: ir.Node, weights: Filter, source: Grid, out: Grid) -> bool:
    """Say whether a layer reads or writes int16.

    Raises:
        UnsupportedOpError: HT303, and its weights have two planes.
    """
    is_wide = source.wide or out.wide
    if is_wide and weights.is_wide:
        raise UnsupportedOpError(
            "HT303", label(node), "weights beyond int8 and activations of int16",
            "only one of the two has a kernel: leave the layer out of one pass",
        )  # fmt: skip
    return is_wide


def _plane(
    asm: Assembler,
    node: ir.Node,
    weights: Filter,
    arranged: Callable[[IntArray], npt.NDArray[np.int8]],
) -> int | None:
    """Add the high plane of weights that have one."""
    if not weights.is_wide:
        return None
    return asm.constant(f"{node.name}:high", arranged(weights.high))


def lower_gemm(asm: Assembler, node: ir.Node) -> None:
    """Lower Gemm and MatMul by constant weights to fully_connected.

    One row may lie in any order: the columns of the weights are put in the same order instead.
    """
    value = activation_of(asm, node, 0)
    transposed = node.op_type == "Gemm" and query.int_attribute(node, "transB", 0) == 1
    _check_gemm(node)
    weights = filter_of(node, query.input_at(node, 1), 0 if transposed else 1)
    outputs, inputs = weights.codes.shape
    if not value.shape or value.shape[-1] != inputs:
        raise UnsupportedOpError(
            "HT302", label(node), f"{value.shape} times {inputs} x {outputs} does not match"
        )
    target = target_of(asm, node)
    out = grid_or_refuse(target, node)
    single = weights.scale.size == 1
    product = product_scale(value.grid, weights.scale, single=single)
    bias = bias_of(node, query.input_at(node, 2), product, outputs)
    is_wide = _is_wide(node, weights, value.grid, out)
    folded = fold_zero_point(node, bias, weights, value.grid)
    rows = value.order.size // inputs
    if rows > 1:
        value = asm.row_major(value, node)
    places = value.order.reshape(rows, inputs)[0]

    def arranged(codes: IntArray) -> npt.NDArray[np.int8]:
        columns = np.empty(codes.shape, np.int8)
        columns[:, places] = codes
        return columns

    shape = query.shape_of(node.outputs[0])
    result = asm.arena(str(node.outputs[0].name), (1, 1, rows, outputs), wide=out.wide)
    mult, shift = multipliers(node, product, out, asm.multiplier_bits)
    kind = twin(FullyConnected, wide=is_wide)
    asm.emit(
        kind(
            value.tensor,
            asm.constant(f"{node.name}:weights", arranged(weights.low)),
            asm.constant(f"{node.name}:bias", folded.astype(np.int32)),
            asm.scaling(f"{node.name}:mult", mult),
            asm.scaling(f"{node.name}:shift", shift),
            result,
            out.zero_point,
            *target.code_bounds(out),
            high=_plane(asm, node, weights, arranged),
        ),
        str(node.name),
    )
    bind(asm, target, Activation(result, shape, identity(rows * outputs), out))


def _check_gemm(node: ir.Node) -> None:
    weights = query.input_at(node, 1)
    rank = len(query.shape_of(weights)) if weights is not None else 0
    if rank != 2:
        raise UnsupportedOpError("HT302", label(node), f"weights of {rank} dimensions, not 2")
    if node.op_type == "MatMul":
        return
    if query.int_attribute(node, "transA", 0):
        raise UnsupportedOpError("HT302", label(node), "transA = 1")
    for name in ("alpha", "beta"):
        if query.float_attribute(node, name, 1.0) != 1.0:
            raise UnsupportedOpError("HT302", label(node), f"{name} other than 1")
