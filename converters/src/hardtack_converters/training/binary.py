"""Layers whose weights and inputs are signs (XNOR-Net, arXiv 1603.05279).

The gradient of a sign of an input is taken as 1 where the input is within -1..1, that of a sign of
a weight as 1 everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch
from torch import Tensor, nn

from hardtack_converters import query
from hardtack_converters.compress.layers import chosen_layers, is_depthwise, layer_name
from hardtack_converters.passes.linear import linear_of
from hardtack_converters.ranges import TELLING
from hardtack_runtime.errors import ConfigError

ORDER_KEEPING = frozenset(
    {"Flatten", "Identity", "MaxPool", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
)
"""Operators in front of which a Relu may stand for one behind them."""
PLACE = "[train] binary"
TOLERANCE = 1e-4
"""Of a magnitude: weights that were folded are products of float32."""


class _InputSign(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        context.save_for_backward(x)
        return torch.sign(x)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        (x,) = context.saved_tensors
        return gradient * (x.abs() <= 1)


class _WeightSign(torch.autograd.Function):
    @staticmethod
    def forward(_context: object, x: Tensor) -> Tensor:
        return torch.where(x < 0, -1.0, 1.0)

    @staticmethod
    def backward(_context: object, gradient: Tensor) -> Tensor:
        return gradient


def sign(x: Tensor) -> Tensor:
    """Return -1, 0 or 1, with a gradient."""
    made: Tensor = _InputSign.apply(x)
    return made


class Binary(nn.Module):
    """A weight tensor of signs times the mean magnitude of what is behind them, by output.

    Args:
        weights: float32, where training begins.
        out_axis: Axis that the outputs run along.
    """

    def __init__(self, weights: Tensor, out_axis: int) -> None:
        super().__init__()
        spread = float(weights.abs().mean())
        self.spread = spread if spread > 0 else 1.0
        self.relative = nn.Parameter(weights / self.spread)
        self._others = tuple(axis for axis in range(weights.dim()) if axis != out_axis)

    def codes(self) -> Tensor:
        """Return -1 and 1, with a gradient."""
        made: Tensor = _WeightSign.apply(self.relative)
        return made

    def forward(self) -> Tensor:
        """Return the weights as devices will have them."""
        scales = self.relative.abs().mean(dim=self._others, keepdim=True)
        return self.codes() * (scales * self.spread)


def out_axis_of(node: ir.Node) -> int:
    """Return the axis of a Conv's, Gemm's or MatMul's weights that the outputs run along."""
    by_rows = node.op_type == "Conv" or query.int_attribute(node, "transB", 0) == 1
    return 0 if by_rows else 1


def is_binary(weights: npt.NDArray[np.float32], out_axis: int) -> bool:
    """Say whether the weights of each output have one magnitude."""
    if weights.ndim < 2:
        return False
    sizes = np.abs(np.moveaxis(weights, out_axis, 0)).reshape(weights.shape[out_axis], -1)
    low, high = sizes.min(axis=1), sizes.max(axis=1)
    return sizes.shape[1] >= TELLING and bool(
        (low > 0).all() and (low > high - TOLERANCE * high).all()
    )


def insert_signs(model: ir.Model, patterns: Sequence[str]) -> frozenset[str]:
    """Put a Sign in front of layers; a Relu or Clip there makes way, which would leave one sign.

    Args:
        model: Prepared float model, changed in place.
        patterns: Names of layers, or patterns.

    Returns:
        The names of the layers.

    Raises:
        ConfigError: HT110, a pattern matches nothing, or a depthwise layer, which has no use of it.
    """
    if not patterns:
        return frozenset()
    layers = chosen_layers(model, patterns, place=PLACE)
    for layer in layers:
        why = "is depthwise" if is_depthwise(layer) else "reads the model's input"
        if is_depthwise(layer) or _is_first(model, layer.node):
            met = f"{layer_name(layer.node)!r} {why} and cannot be binary"
            raise ConfigError("HT110", PLACE, met, "name other layers")
        _insert_sign(model.graph, layer.node)
    return frozenset(layer_name(layer.node) for layer in layers)


def _is_first(model: ir.Model, node: ir.Node) -> bool:
    """Say whether no layer is in front: signs of the model's input say too little."""
    before = query.input_at(node, 0)
    while before is not None and (maker := before.producer()) is not None:
        if linear_of(maker) is not None:
            return False
        before = query.input_at(maker, 0)
    return before in model.graph.inputs


def _insert_sign(graph: ir.Graph, node: ir.Node) -> None:
    value = node.inputs[0]
    assert value is not None
    producer = value.producer()
    if producer is not None and producer.op_type == "Sign":
        return
    clamp = _clamp_before(value)
    if clamp is not None and clamp.inputs[0] is not None:
        query.replace_value(clamp.outputs[0], clamp.inputs[0])
        graph.remove(clamp, safe=True)
        value = node.inputs[0]
        assert value is not None
    made = ir.node("Sign", [value], name=f"{layer_name(node)}_sign")
    made.outputs[0].name = f"{layer_name(node)}_sign"
    query.describe_like(made.outputs[0], query.shape_of(value), value)
    graph.insert_before(node, made)
    node.replace_input_with(0, made.outputs[0])


def _clamp_before(value: ir.Value) -> ir.Node | None:
    """Return the Relu or Clip that a layer's input alone comes from, be it pooled or reshaped."""
    node = value.producer()
    while node is not None and query.only_reader(node.outputs[0]) is not None:
        if query.clip_bounds(node) is not None:
            return node
        if node.op_type not in ORDER_KEEPING or node.inputs[0] is None:
            return None
        node = node.inputs[0].producer()
    return None
