"""Which channels of a graph belong together, so that they can only go together.

Every element of every activation bears the number of its channel. A Conv or a Gemm begins new
numbers and reads others; what lies between hands numbers on (pools, depthwise Convs, views), joins
two into one (Add, Mul), or fixes them: graph inputs and outputs, and operators that are not known
here. Beside the numbers go the values of those elements that do not depend on the input.

Source: the dependency graph of Fang 2023, arXiv 2301.12900.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from hardtack_converters import query
from hardtack_converters.passes.linear import FloatArray, Linear, linear_of

IntArray = npt.NDArray[np.int64]

_FUNCTIONS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "Identity": lambda x: x,
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Tanh": np.tanh,
}
_ELEMENTWISE = frozenset(
    {"Abs", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Neg", "Relu",
     "Selu", "Softplus", "Softsign", "Sqrt"}
)  # fmt: skip
BINARY: dict[str, Callable[[FloatArray, FloatArray], FloatArray]] = {
    "Add": np.add,
    "Mul": np.multiply,
    "Sub": np.subtract,
}
"""Operators on two activations, or on one and a constant."""
_POOLS = frozenset({"AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"})
_VIEWS = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze"})


@dataclass(frozen=True, slots=True)
class Elements:
    """The elements of an activation.

    Attributes:
        channel: Number of each element's channel; shaped as the activation.
        constant: What each element always is; NaN where that depends on the input.
    """

    channel: IntArray
    constant: FloatArray


@dataclass(frozen=True, slots=True)
class Layer:
    """A Conv or Gemm, and whose channels it makes and reads.

    Attributes:
        linear: Itself.
        made: Number of each output's channel.
        read: Number of each input's channel; of a depthwise Conv those that it hands on.
        constants: What each input always is, or NaN.
        depthwise: It mixes no channels.
        pads: It reads zeros around its input.
    """

    linear: Linear
    made: IntArray
    read: IntArray
    constants: FloatArray
    depthwise: bool
    pads: bool


@dataclass(slots=True)
class Channels:
    """The channels of a graph.

    Attributes:
        layers: All Convs and Gemms that make channels, in order.
        elements: Of each activation.
        fixed: Numbers of channels that must stay.
    """

    layers: list[Layer] = field(default_factory=list)
    elements: dict[ir.Value, Elements] = field(default_factory=dict)
    fixed: set[int] = field(default_factory=set)
    _leader: list[int] = field(default_factory=list)

    def new(self, count: int, *, fixed: bool = False) -> IntArray:
        """Return numbers that nobody bears yet."""
        first = len(self._leader)
        self._leader.extend(range(first, first + count))
        if fixed:
            self.fixed.update(range(first, first + count))
        return np.arange(first, first + count)

    def join(self, one: IntArray, other: IntArray) -> None:
        """Make pairs of numbers mean the same channel."""
        pairs = np.unique(np.stack([one.ravel(), other.ravel()], axis=1), axis=0)
        for a, b in pairs.tolist():
            first, second = sorted((self._find(a), self._find(b)))
            self._leader[second] = first

    def _find(self, number: int) -> int:
        while self._leader[number] != number:
            self._leader[number] = self._leader[self._leader[number]]
            number = self._leader[number]
        return number

    def settle(self) -> None:
        """Replace every number by the first that means the same channel."""
        same = np.array([self._find(number) for number in range(len(self._leader))], np.int64)
        self.layers = [
            replace(layer, made=same[layer.made], read=same[layer.read]) for layer in self.layers
        ]
        for value, found in self.elements.items():
            self.elements[value] = Elements(same[found.channel], found.constant)
        self.fixed = {int(same[number]) for number in self.fixed}

    def removable(self) -> IntArray:
        """Return the channels that nothing fixes, and that some layer reads."""
        read = [layer.read for layer in self.layers if not layer.depthwise]
        made = [layer.made for layer in self.layers if not layer.depthwise]
        if not read:
            return np.zeros(0, np.int64)
        both = np.intersect1d(np.concatenate(read), np.concatenate(made))
        return np.setdiff1d(both, np.array(sorted(self.fixed), np.int64))


def channels_of(model: ir.Model) -> Channels:
    """Number the channels of a prepared float graph of static shapes."""
    found = Channels()
    for value in model.graph.inputs:
        found.elements[value] = _unknown(found, value)
    for node in model.graph:
        _visit(found, node)
    for value in model.graph.outputs:
        if value in found.elements:
            found.fixed.update(np.unique(found.elements[value].channel).tolist())
    found.settle()
    for elements in found.elements.values():
        if channel_axis(elements.channel) is None:
            found.fixed.update(np.unique(elements.channel).tolist())
    return found


def channel_axis(numbers: IntArray) -> int | None:
    """Return the only axis that channels change along; None if it takes two."""
    for axis in (1, *range(numbers.ndim)):
        if axis < numbers.ndim and (numbers == first_along(numbers, axis)).all():
            return int(axis)
    return None


def first_along(array: npt.NDArray[Any], axis: int) -> npt.NDArray[Any]:
    """Return the elements along an axis, the first of all other axes, which become 1."""
    return array[tuple(slice(None) if a == axis else slice(0, 1) for a in range(array.ndim))]


def pads(node: ir.Node) -> bool:
    """Return whether a window reads beyond the border."""
    auto = query.string_attribute(node, "auto_pad", "NOTSET")
    return any(query.ints_attribute(node, "pads", ())) or auto.startswith("SAME")


def _unknown(found: Channels, value: ir.Value) -> Elements:
    shape = query.shape_of(value)
    number = found.new(1, fixed=True)
    return Elements(np.broadcast_to(number, shape), np.full(shape, np.nan))


def _visit(found: Channels, node: ir.Node) -> None:
    """Number the elements of a node's results; what is not known keeps its channels."""
    try:
        made = _HANDLERS.get(node.op_type, _simple)(found, node)
    except ValueError:  # of numpy: shapes that a damaged file declares and do not go together
        made = None
    if made is not None and made.channel.shape == query.shape_of(node.outputs[0]):
        found.elements[node.outputs[0]] = made
        return
    for value in node.inputs:
        if value in found.elements:
            found.fixed.update(np.unique(found.elements[value].channel).tolist())
    for value in node.outputs:
        found.elements[value] = _unknown(found, value)


def _source(found: Channels, node: ir.Node) -> Elements | None:
    value = query.input_at(node, 0)
    return None if value is None or len(node.outputs) != 1 else found.elements.get(value)


def _simple(found: Channels, node: ir.Node) -> Elements | None:
    """Return the elements behind an operator on single values."""
    source = _source(found, node)
    known = node.op_type in _FUNCTIONS or node.op_type in _ELEMENTWISE
    if source is None or not (known or query.clip_bounds(node) is not None):
        return None
    return Elements(source.channel, _applied(node, source.constant))


def _view(found: Channels, node: ir.Node) -> Elements | None:
    source = _source(found, node)
    if source is None:
        return None
    shape = query.shape_of(node.outputs[0])
    return Elements(source.channel.reshape(shape), source.constant.reshape(shape))


def _transpose(found: Channels, node: ir.Node) -> Elements | None:
    source = _source(found, node)
    if source is None:
        return None
    order = query.ints_attribute(node, "perm", tuple(reversed(range(source.channel.ndim))))
    return Elements(source.channel.transpose(order), source.constant.transpose(order))


def _concat(found: Channels, node: ir.Node) -> Elements | None:
    given = [found.elements[value] for value in node.inputs if value in found.elements]
    if len(given) != len(node.inputs):
        return None
    axis = query.int_attribute(node, "axis", 1)
    return Elements(
        np.concatenate([elements.channel for elements in given], axis),
        np.concatenate([elements.constant for elements in given], axis),
    )


def _applied(node: ir.Node, constant: FloatArray) -> FloatArray:
    bounds = query.clip_bounds(node)
    if bounds is not None:
        return np.asarray(np.clip(constant, *bounds))
    known = _FUNCTIONS.get(node.op_type)
    return np.full(constant.shape, np.nan) if known is None else known(constant)


def _binary(found: Channels, node: ir.Node) -> Elements | None:
    apply, shape = BINARY[node.op_type], query.shape_of(node.outputs[0])
    sides: list[Elements | None] = []
    values: list[FloatArray] = []
    for value in node.inputs:
        number = query.constant(value)
        known = found.elements.get(value) if value is not None else None
        if known is None and number is None:
            return None
        sides.append(known)
        values.append(known.constant if known is not None else np.asarray(number, np.float64))
    numbers = [np.broadcast_to(side.channel, shape) for side in sides if side is not None]
    if not numbers:
        return None
    if len(numbers) == 2:
        found.join(*numbers)
    return Elements(numbers[0], np.broadcast_to(apply(*values), shape))


def _window(found: Channels, node: ir.Node) -> Elements | None:
    """Return the elements behind a pool or a Pad: channel by channel."""
    source = _source(found, node)
    line = None if source is None else _uniform(source)
    shape = query.shape_of(node.outputs[0])
    if line is None or shape[:2] != (1, len(line[0])):
        return None
    number, constant = line
    if node.op_type == "AveragePool" and pads(node):
        constant = np.where(constant == 0, 0.0, np.nan)
    if node.op_type == "Pad":
        filled = query.constant(query.input_at(node, 2))
        plain = query.string_attribute(node, "mode", "constant") == "constant"
        fill = 0.0 if filled is None else float(filled.ravel()[0])
        constant = np.where(constant == (fill if plain else np.nan), constant, np.nan)
    return _spread(number, constant, shape)


def _spread(number: IntArray, constant: FloatArray, shape: tuple[int, ...]) -> Elements:
    """Return elements that are alike all over a channel, axis 1."""
    line = (1, -1, *[1] * (len(shape) - 2))
    return Elements(
        np.broadcast_to(number.reshape(line), shape), np.broadcast_to(constant.reshape(line), shape)
    )


def _uniform(source: Elements) -> tuple[IntArray, FloatArray] | None:
    """Return number and constant of each channel along axis 1; None if positions differ."""
    if source.channel.ndim < 2:
        return None
    number, constant = first_along(source.channel, 1), first_along(source.constant, 1)
    if not (source.channel == number).all():
        return None
    others = tuple(axis for axis in range(number.ndim) if axis != 1)
    alike = (source.constant == constant).all(axis=others)
    return number.ravel(), np.where(alike, constant.ravel(), np.nan)


def _layer(found: Channels, node: ir.Node) -> Elements | None:
    source, linear = _source(found, node), linear_of(node)
    line = None if source is None else _uniform(source)
    if linear is None or line is None or any(v in found.elements for v in node.inputs[1:]):
        return None
    shape = query.shape_of(node.outputs[0])
    if query.int_attribute(node, "group", 1) > 1:
        return _depthwise(found, linear, line, shape)
    number, constant = line
    weights = np.moveaxis(linear.weights, linear.out_axis, 0)
    if weights.shape[1] != len(number):
        return None
    made = found.new(linear.outputs)
    found.layers.append(Layer(linear, made, number, constant, False, pads(node)))
    return _spread(made, _silent(weights, linear.bias), shape)


def _silent(weights: FloatArray, bias: FloatArray) -> FloatArray:
    """Return what outputs that weigh nothing always are; NaN for the others."""
    return np.where(weights.reshape(len(weights), -1).any(axis=1), np.nan, bias)


def _depthwise(
    found: Channels, linear: Linear, line: tuple[IntArray, FloatArray], shape: tuple[int, ...]
) -> Elements | None:
    number, constant = line
    each, rest = divmod(linear.outputs, len(number))
    groups = query.int_attribute(linear.node, "group", 1)
    if groups != len(number) or rest or linear.weights.shape[1] != 1:
        return None
    made, before = np.repeat(number, each), np.repeat(constant, each)
    if pads(linear.node):
        before = np.where(before == 0, 0.0, np.nan)
    after = before * linear.weights.reshape(linear.outputs, -1).sum(axis=1) + linear.bias
    silent = _silent(linear.weights, linear.bias)
    found.layers.append(Layer(linear, made, number, constant, True, pads(linear.node)))
    return _spread(made, np.where(np.isnan(silent), after, silent), shape)


_HANDLERS: dict[str, Callable[[Channels, ir.Node], Elements | None]] = {
    **dict.fromkeys(("Conv", "Gemm"), _layer),
    **dict.fromkeys(BINARY, _binary),
    **dict.fromkeys(_POOLS, _window),
    **dict.fromkeys(_VIEWS, _view),
    "Concat": _concat,
    "Pad": _window,
    "Transpose": _transpose,
}
