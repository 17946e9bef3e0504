"""Reading the QDQ form: which codes a value has, on which grid, and where a result goes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from hardtack_converters import query
from hardtack_converters.lower.assembler import Activation, Assembler, Grid
from hardtack_converters.lower.order import Order
from hardtack_converters.query import label
from hardtack_runtime.errors import UnsupportedOpError

VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity"})
"""Operators that move no number: they only change how a buffer is read."""


@dataclass(frozen=True, slots=True)
class Codes:
    """A quantised constant.

    Attributes:
        codes: int64 array; within int8 for weights, int32 for biases.
        scale: float32 [1] or [size of `axis`], all > 0.
        zero_point: One for all, 0 for weights.
        axis: Axis of `codes` that the scales run along.
    """

    codes: npt.NDArray[np.int64]
    scale: npt.NDArray[np.float32]
    zero_point: int
    axis: int


@dataclass(frozen=True, slots=True)
class Target:
    """Where the result of an operator goes.

    Attributes:
        values: Graph values that hold it.
        grid: Grid of its codes; None when the graph does not say.
        low: Lower real bound of a fused activation, or -inf.
        high: Upper bound, or inf.
        views: Views between the operator and the QuantizeLinear, in order.
    """

    values: tuple[ir.Value, ...]
    grid: Grid | None
    low: float
    high: float
    views: tuple[ir.Node, ...]

    def code_bounds(self, grid: Grid) -> tuple[int, int]:
        """Return the clamp of the codes: TFLite's CalculateActivationRangeQuantized."""
        least, largest = grid.bounds
        low = least if self.low == -np.inf else grid.code(self.low)
        high = largest if self.high == np.inf else grid.code(self.high)
        return min(max(low, least), largest), min(max(high, least), largest)


def _scale_of(node: ir.Node) -> npt.NDArray[np.float32]:
    scale = query.constant(query.input_at(node, 1))
    if scale is None or not scale.size:
        raise UnsupportedOpError("HT303", label(node), "its scale is not a constant")
    flat = scale.astype(np.float32).ravel()
    if not (np.isfinite(flat).all() and (flat > 0).all()):
        raise UnsupportedOpError("HT303", label(node), "a scale is not a positive number")
    return flat


def grid_of(node: ir.Node) -> Grid:
    """Return the grid of a QuantizeLinear or DequantizeLinear of an activation.

    Raises:
        UnsupportedOpError: HT303, it is per channel, not constant, of another width than 8 bits,
            or of 16 bits and not symmetric.
    """
    scale = _scale_of(node)
    zero = query.constant(query.input_at(node, 2))
    if scale.size != 1:
        raise UnsupportedOpError(
            "HT303", label(node), f"an activation has {scale.size} scales",
            "quantise activations per tensor",
        )  # fmt: skip
    # Without a zero point, ONNX quantises to uint8 around 0.
    kind: np.dtype[Any] = np.dtype(np.uint8) if zero is None else zero.dtype
    if kind not in (np.dtype(np.int8), np.dtype(np.uint8), np.dtype(np.int16)):
        raise UnsupportedOpError(
            "HT303", label(node), f"activations of type {kind}",
            "quantise activations to 8 bits, or to symmetric int16",
        )  # fmt: skip
    point = 0 if zero is None else int(zero.ravel()[0])
    if kind == np.int16:
        if point != 0:
            raise UnsupportedOpError(
                "HT303", label(node), f"int16 activations with zero point {point}",
                "quantise int16 activations symmetrically",
            )  # fmt: skip
        return Grid(float(scale[0]), 0, wide=True)
    return Grid(float(scale[0]), point - 128 if kind == np.uint8 else point)


def codes_of(value: ir.Value | None, node: ir.Node) -> Codes | None:
    """Return a constant that is read through DequantizeLinear; None if it is not one.

    Raises:
        UnsupportedOpError: HT303, its parameters fit no kernel.
    """
    producer = value.producer() if value is not None else None
    if producer is None or producer.op_type != "DequantizeLinear":
        return None
    codes = query.constant(producer.inputs[0])
    if codes is None:
        return None
    scale = _scale_of(producer)
    zeros = query.constant(query.input_at(producer, 2))
    points = np.zeros(1, np.int64) if zeros is None else zeros.astype(np.int64).ravel()
    shifted = codes.astype(np.int64)
    if codes.dtype == np.uint8:
        shifted, points = shifted - 128, points - 128
    if (points != points[0]).any():
        raise UnsupportedOpError(
            "HT303", label(node), "zero points differ from channel to channel",
            "quantise weights symmetrically",
        )  # fmt: skip
    axis = query.int_attribute(producer, "axis", 1)
    return Codes(shifted, scale, int(points[0]), axis % codes.ndim if codes.ndim else 0)


def activation_of(asm: Assembler, node: ir.Node, index: int) -> Activation:
    """Return what an input of the node became.

    Raises:
        UnsupportedOpError: HT303, it was never quantised.
    """
    value = query.input_at(node, index)
    if value is not None and value in asm.activations:
        return asm.activations[value]
    name = value.name if value is not None else f"input {index}"
    raise UnsupportedOpError(
        "HT303", label(node), f"its input {name} is not quantised",
        "put QuantizeLinear and DequantizeLinear around every tensor, or convert the float model",
    )  # fmt: skip


def narrow_of(asm: Assembler, node: ir.Node, index: int) -> Activation:
    """Return what an input of a node became that has no kernel for int16.

    Raises:
        UnsupportedOpError: HT303, it was never quantised, or to 16 bits.
    """
    value = activation_of(asm, node, index)
    if value.grid.wide:
        raise UnsupportedOpError(
            "HT303", label(node), "it reads int16, and has a kernel for int8 only",
            "put a QuantizeLinear to 8 bits and its DequantizeLinear before it",
        )  # fmt: skip
    return value


def target_of(asm: Assembler, node: ir.Node, *, fuse: bool = True) -> Target:
    """Follow the result of a node to the QuantizeLinear that gives its grid.

    Views, and with `fuse` also Relu and Clip, on the way are marked as absorbed.
    """
    value, low, high = node.outputs[0], -np.inf, np.inf
    views: list[ir.Node] = []
    while True:
        uses = value.uses()
        readers = [use.node for use in uses]
        if readers and all(r.op_type == "QuantizeLinear" for r in readers):
            grids = [grid_of(reader) for reader in readers]
            if all(grid == grids[0] for grid in grids):
                outputs = tuple(reader.outputs[0] for reader in readers)
                return Target(outputs, grids[0], low, high, tuple(views))
        reader = query.only_reader(value)
        if reader is None:
            return Target((value,), None, low, high, tuple(views))
        bounds = query.clip_bounds(reader) if fuse else None
        if bounds is not None:
            low, high = max(low, bounds[0]), min(high, bounds[1])
        elif reader.op_type in VIEWS and reader.inputs[0] is value:
            views.append(reader)
        else:
            return Target((value,), None, low, high, tuple(views))
        asm.absorbed.add(reader)
        value = reader.outputs[0]


def grid_or_refuse(target: Target, node: ir.Node) -> Grid:
    """Return the target's grid.

    Raises:
        UnsupportedOpError: HT303, the graph does not quantise this result.
    """
    if target.grid is None:
        raise UnsupportedOpError(
            "HT303", label(node), "its result is not quantised",
            "put QuantizeLinear and DequantizeLinear behind it, or convert the float model",
        )  # fmt: skip
    return target.grid


def viewed(value: Activation, node: ir.Node) -> Activation:
    """Return the activation as a view operator shows it."""
    shape = query.shape_of(node.outputs[0])
    if node.op_type != "Transpose":
        return value.with_shape(shape)
    reverse = tuple(reversed(range(len(value.shape))))
    perm = query.ints_attribute(node, "perm", reverse)
    order: Order = value.order.reshape(value.shape).transpose(perm).ravel()
    return replace(value, shape=shape, order=order)


def bind(asm: Assembler, target: Target, value: Activation) -> None:
    """Record what the values of a target became."""
    for view in target.views:
        value = viewed(value, view)
    for output in target.values:
        asm.activations[output] = value
