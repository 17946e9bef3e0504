"""Lowering of functions of one value: activations, softmax, arithmetic with one number."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from hardtack_converters import query
from hardtack_converters.fixed_point import input_radius, quantize_multiplier
from hardtack_converters.lower import tables
from hardtack_converters.lower.assembler import Activation, Assembler, Grid
from hardtack_converters.lower.order import buffer_axes, permuted
from hardtack_converters.lower.reading import (
    activation_of,
    bind,
    grid_or_refuse,
    narrow_of,
    target_of,
)
from hardtack_converters.query import label
from hardtack_runtime.errors import UnsupportedOpError
from hardtack_runtime.program import Softmax

Real = npt.NDArray[np.float64]

SOFTMAX_DEPTH = 4095
"""Most classes whose exponentials sum within int32 (SPEC section 2)."""


def _sigmoid(x: Real) -> Real:
    return np.asarray(1 / (1 + np.exp(-x)))


def _elu(x: Real, alpha: float) -> Real:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _erf(x: Real) -> Real:
    return np.array([math.erf(v) for v in x])


PLAIN: dict[str, Callable[[Real], Real]] = {
    "Abs": np.abs,
    "Ceil": np.ceil,
    "Cos": np.cos,
    "Erf": _erf,
    "Exp": np.exp,
    "Floor": np.floor,
    "Gelu": lambda x: x * (1 + _erf(x / math.sqrt(2))) / 2,
    "HardSwish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "Log": np.log,
    "Mish": lambda x: x * np.tanh(np.logaddexp(0, x)),
    "Neg": np.negative,
    "Reciprocal": np.reciprocal,
    "Round": np.rint,
    "Sigmoid": _sigmoid,
    "Sign": np.sign,
    "Sin": np.sin,
    "Softplus": lambda x: np.logaddexp(0, x),
    "Softsign": lambda x: x / (1 + np.abs(x)),
    "Sqrt": np.sqrt,
    "Swish": lambda x: x * _sigmoid(x),
    "Tanh": np.tanh,
}
"""ONNX functions without parameters, in float64."""


def _hard_sigmoid(node: ir.Node, x: Real) -> Real:
    slope = query.float_attribute(node, "alpha", 0.2)
    return np.clip(slope * x + query.float_attribute(node, "beta", 0.5), 0, 1)


def _selu(node: ir.Node, x: Real) -> Real:
    alpha = query.float_attribute(node, "alpha", 1.67326319217681884765625)
    return query.float_attribute(node, "gamma", 1.05070102214813232421875) * _elu(x, alpha)


def _leaky_relu(node: ir.Node, x: Real) -> Real:
    return np.where(x >= 0, x, query.float_attribute(node, "alpha", 0.01) * x)


def _celu(node: ir.Node, x: Real) -> Real:
    alpha = query.float_attribute(node, "alpha", 1.0)
    return np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(np.minimum(x, 0) / alpha))


PARAMETRIC: dict[str, Callable[[ir.Node, Real], Real]] = {
    "Celu": _celu,
    "Elu": lambda node, x: _elu(x, query.float_attribute(node, "alpha", 1.0)),
    "HardSigmoid": _hard_sigmoid,
    "LeakyRelu": _leaky_relu,
    "Selu": _selu,
    "ThresholdedRelu": lambda node, x: np.where(
        x > query.float_attribute(node, "alpha", 1.0), x, 0.0
    ),
}
"""ONNX functions with parameters, in float64."""


def real_function(node: ir.Node) -> Callable[[Real], Real]:
    """Return what a unary node computes, vectorised over float64."""
    if node.op_type in PLAIN:
        return PLAIN[node.op_type]
    return functools.partial(PARAMETRIC[node.op_type], node)


def natural_grid(node: ir.Node) -> Grid | None:
    """Return the grid a function's range fixes, if any."""
    fixed = tables.fixed_grid(node)
    return None if fixed is None else Grid(*fixed)


def unary_table(node: ir.Node, source: Grid, out: Grid) -> npt.NDArray[np.int8]:
    """Return the table of a unary node, TFLite Micro's arithmetic where it has a kernel."""
    grids = (source.scale, source.zero_point, out.scale, out.zero_point)
    op = node.op_type
    if op == "Sigmoid" and out == natural_grid(node):
        return tables.logistic_table(source.scale, source.zero_point)
    if op == "Tanh" and out == natural_grid(node):
        return tables.tanh_table(source.scale, source.zero_point)
    if op == "HardSwish":
        return tables.hard_swish_table(*grids)
    if op == "LeakyRelu":
        alpha = query.float_attribute(node, "alpha", 0.01)
        if alpha >= 0:
            return tables.leaky_relu_table(*grids, alpha)
    return tables.function_table(real_function(node), *grids)


def lower_unary(asm: Assembler, node: ir.Node) -> None:
    """Lower a function of one value to a table."""
    value = narrow_of(asm, node, 0)
    target = target_of(asm, node, fuse=False)
    out = target.grid or natural_grid(node) or grid_or_refuse(target, node)
    table = unary_table(node, value.grid, out)
    bind(asm, target, asm.through_table(value, table, out, str(node.name)))


def lower_clip(asm: Assembler, node: ir.Node) -> None:
    """Lower a Relu or Clip that no operator before it could take in."""
    bounds = query.clip_bounds(node)
    if bounds is None:
        raise UnsupportedOpError("HT302", label(node), "its bounds are not constant")
    value = activation_of(asm, node, 0)
    target = target_of(asm, node)
    out = target.grid or value.grid
    own = replace(target, low=max(bounds[0], target.low), high=min(bounds[1], target.high))
    low, high = own.code_bounds(out)
    source = value.grid
    if source.wide or out.wide:
        bind(asm, target, asm.rescaled(value, out, (low, high), str(node.name)))
        return
    table = tables.clip_table(source.scale, source.zero_point, out.scale, out.zero_point, low, high)
    bind(asm, target, asm.through_table(value, table, out, str(node.name)))


COMPARE: dict[str, Callable[[Real, float], npt.NDArray[np.bool_]]] = {
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
}
"""What each of `query.CONDITIONS` says."""

SCALAR: dict[str, Callable[[Real, Real], Real]] = {
    "Div": lambda x, c: x / c,
    "Max": np.maximum,
    "Min": np.minimum,
    "Pow": np.power,
    "PRelu": lambda x, c: np.where(x >= 0, x, c * x),
}
"""Binary operators with kernels only where the second operand is one constant."""


def lower_scalar(asm: Assembler, node: ir.Node) -> None:
    """Lower an operator between an activation and one number to a table.

    Raises:
        UnsupportedOpError: HT302, the other operand is no single number.
    """
    number = query.number(node, 1)
    swapped = number is None
    if swapped:
        number = query.number(node, 0)
    if number is None:
        raise UnsupportedOpError(
            "HT302", label(node), "only one number as the other operand has a kernel"
        )
    constant_number, function = number, SCALAR[node.op_type]
    value = narrow_of(asm, node, 0 if not swapped else 1)
    target = target_of(asm, node, fuse=False)
    out = grid_or_refuse(target, node)

    def evaluate(x: Real) -> Real:
        fixed = np.full_like(x, constant_number)
        return function(fixed, x) if swapped else function(x, fixed)

    table = tables.function_table(
        evaluate, value.grid.scale, value.grid.zero_point, out.scale, out.zero_point
    )
    bind(asm, target, asm.through_table(value, table, out, str(node.name)))


def lower_condition(asm: Assembler, node: ir.Node) -> None:
    """Leave a comparison to the Where that reads it.

    Raises:
        UnsupportedOpError: HT302, something else reads it.
    """
    readers = [use.node for use in node.outputs[0].uses()]
    if node.outputs[0].is_graph_output() or any(query.step_of(one) is None for one in readers):
        raise UnsupportedOpError(
            "HT302", label(node), "only a Where between two numbers, by a third, has a kernel"
        )


def lower_where(asm: Assembler, node: ir.Node) -> None:
    """Lower a step from one number to another to a table.

    Raises:
        UnsupportedOpError: HT302, it is none.
    """
    step = query.step_of(node)
    if step is None:
        raise UnsupportedOpError(
            "HT302", label(node), "only a choice between two numbers, by a third, has a kernel"
        )
    compare = COMPARE[step.condition.op_type]
    value = activation_of(asm, step.condition, 0)
    target = target_of(asm, node, fuse=False)
    out = target.grid or natural_grid(node) or grid_or_refuse(target, node)

    def evaluate(x: Real) -> Real:
        return np.where(compare(x, step.limit), step.chosen, step.otherwise)

    table = tables.function_table(
        evaluate, value.grid.scale, value.grid.zero_point, out.scale, out.zero_point
    )
    bind(asm, target, asm.through_table(value, table, out, str(node.name)))


def lower_softmax(asm: Assembler, node: ir.Node) -> None:
    """Lower Softmax over the last axis, or over the only axis there is."""
    value = narrow_of(asm, node, 0)
    axis = query.int_attribute(node, "axis", -1) % len(value.shape)
    depth = value.shape[axis]
    rows = value.order.size // depth
    if depth > SOFTMAX_DEPTH:
        raise UnsupportedOpError("HT302", label(node), f"{depth} classes, over {SOFTMAX_DEPTH}")
    if rows > 1:
        axes = buffer_axes(value.order, value.shape)
        last = [a for a in axes or () if value.shape[a] > 1][-1:]
        if last != [axis]:
            rest = [a for a in range(len(value.shape)) if a != axis]
            value = asm.arrange(value, permuted(value.shape, (*rest, axis)), node)
    real = min(value.grid.scale * (1 << 26), (1 << 31) - 1.0)
    mult, shift = _wide_multiplier(real)
    target = target_of(asm, node, fuse=False)
    grid = Grid(*tables.UNIT_GRID)
    result = asm.arena(str(node.outputs[0].name), asm.tensors[value.tensor].dims)
    diff_min = -input_radius(5, shift)
    fields = (rows, depth, mult, shift, diff_min)
    asm.emit(Softmax(value.tensor, result, *fields), str(node.name))
    soft = Activation(result, value.shape, value.order, grid)
    bind(asm, target, asm.on_grid(soft, target.grid or grid, f"{node.name}:requantize"))


def _wide_multiplier(real: float) -> tuple[int, int]:
    """QuantizeMultiplier for multipliers up to 2**31."""
    mult, shift = quantize_multiplier(real / 4)
    return mult, shift + 2
