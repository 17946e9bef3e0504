"""A prepared float graph as a torch module, and back: same nodes, same names, same numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardtack_converters import query
from hardtack_converters.training.grid import Grid
from hardtack_runtime.errors import UnsupportedOpError

WEIGHTED = frozenset({"Conv", "Gemm", "MatMul"})


class GraphModule(nn.Module):
    """Runs the nodes of a graph with torch.

    Constant operands are parameters: the weights of Conv, Gemm and MatMul behind a `Grid`, all
    other float constants as they are.

    Args:
        model: A float model that `passes.prepare` has seen; `write_back` changes it.

    Raises:
        UnsupportedOpError: HT303, a node that has no torch counterpart here.
    """

    def __init__(self, model: ir.Model) -> None:
        super().__init__()
        self.model = model
        self.grids = nn.ModuleDict()
        self.others = nn.ParameterDict()
        self._names: dict[ir.Value, str] = {}
        for node in model.graph:
            if node.op_type not in _RUN:
                raise UnsupportedOpError(
                    "HT303", query.label(node), "cannot be trained: it has no counterpart in torch",
                    "train the model where it was made, then convert it",
                )  # fmt: skip
            for index, value in enumerate(node.inputs):
                self._adopt(node, index, value)

    def _adopt(self, node: ir.Node, index: int, value: ir.Value | None) -> None:
        numbers = query.constant(value)
        if value is None or numbers is None or numbers.dtype != np.float32 or value in self._names:
            return
        if node.op_type not in WEIGHTED and node.op_type not in _ADDITIVE:
            return
        name = f"p{len(self._names)}"
        self._names[value] = name
        tensor = torch.from_numpy(numbers.copy())
        if node.op_type in WEIGHTED and index == 1:
            self.grids[name] = Grid(tensor)
        else:
            self.others[name] = nn.Parameter(tensor)

    def forward(self, x: Tensor) -> Tensor:
        """Return the first output for a batch.

        Args:
            x: float32 [batch, *input shape without its batch].
        """
        (source,) = (v for v in self.model.graph.inputs)
        values: dict[ir.Value, Tensor] = {source: x}
        for node in self.model.graph:
            given = [self._operand(value, values) for value in node.inputs]
            values[node.outputs[0]] = _RUN[node.op_type](node, given)
        return values[self.model.graph.outputs[0]]

    def _operand(self, value: ir.Value | None, values: dict[ir.Value, Tensor]) -> Any:
        if value is None:
            return None
        if value in values:
            return values[value]
        name = self._names.get(value)
        if name is None:
            return torch.from_numpy(np.array(query.constant(value)))
        return self.grids[name]() if name in self.grids else self.others[name]

    def grid_of(self, node: ir.Node) -> Grid | None:
        """Return the grid of a node's weights, if they are constant."""
        value = query.input_at(node, 1)
        name = self._names.get(value) if value is not None else None
        grid = self.grids[name] if name is not None and name in self.grids else None
        return grid if isinstance(grid, Grid) else None

    def write_back(self) -> None:
        """Put the parameters, weights on their grids, into the graph's initializers."""
        for value, name in self._names.items():
            parameter = self.grids[name]() if name in self.grids else self.others[name]
            numbers = parameter.detach().numpy().astype(np.float32)
            value.const_value = ir.tensor(numbers, name=value.name)


_ADDITIVE = frozenset({"Add", "Sub", "Mul"})
Operation = Callable[[ir.Node, Sequence[Any]], Tensor]


def _padded(node: ir.Node, x: Tensor, value: float) -> Tensor:
    pads = query.ints_attribute(node, "pads", (0, 0, 0, 0))
    top, left, bottom, right = pads
    return F.pad(x, (left, right, top, bottom), value=value) if any(pads) else x


def _conv(node: ir.Node, given: Sequence[Any]) -> Tensor:
    x, weights, *bias = given
    return F.conv2d(
        _padded(node, x, 0.0), weights, bias[0] if bias else None,
        stride=query.ints_attribute(node, "strides", (1, 1)),
        dilation=query.ints_attribute(node, "dilations", (1, 1)),
        groups=query.int_attribute(node, "group", 1),
    )  # fmt: skip


def _gemm(node: ir.Node, given: Sequence[Any]) -> Tensor:
    x, weights, *bias = given
    transposed = query.int_attribute(node, "transB", 0) == 1
    product = x @ (weights.t() if transposed else weights)
    return product + bias[0] if bias and bias[0] is not None else product


def _max_pool(node: ir.Node, given: Sequence[Any]) -> Tensor:
    return F.max_pool2d(
        _padded(node, given[0], -float("inf")),
        query.ints_attribute(node, "kernel_shape", (1, 1)),
        query.ints_attribute(node, "strides", (1, 1)),
    )


def _average_pool(node: ir.Node, given: Sequence[Any]) -> Tensor:
    return F.avg_pool2d(
        given[0],
        query.ints_attribute(node, "kernel_shape", (1, 1)),
        query.ints_attribute(node, "strides", (1, 1)),
    )


def _flatten(node: ir.Node, given: Sequence[Any]) -> Tensor:
    return torch.flatten(given[0], query.int_attribute(node, "axis", 1))


def _reshape(node: ir.Node, given: Sequence[Any]) -> Tensor:
    _, *rest = given[1].tolist()  # the first is the batch, 1 in the graph
    x: Tensor = given[0].reshape(len(given[0]), *rest)
    return x


def _clip(node: ir.Node, given: Sequence[Any]) -> Tensor:
    low, high = query.clip_bounds(node) or (None, None)
    return torch.clamp(given[0], low, high)


def _mean(node: ir.Node, given: Sequence[Any]) -> Tensor:
    axes = tuple(given[1].tolist()) if len(given) > 1 else query.ints_attribute(node, "axes", ())
    keep = query.int_attribute(node, "keepdims", 1) == 1
    x: Tensor = given[0]
    return x.mean(dim=axes, keepdim=keep)


_RUN: dict[str, Operation] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": lambda node, given: given[0] @ given[1],
    "Add": lambda node, given: given[0] + given[1],
    "Sub": lambda node, given: given[0] - given[1],
    "Mul": lambda node, given: given[0] * given[1],
    "Relu": lambda node, given: F.relu(given[0]),
    "Clip": _clip,
    "Sigmoid": lambda node, given: torch.sigmoid(given[0]),
    "Tanh": lambda node, given: torch.tanh(given[0]),
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": lambda node, given: given[0].mean(dim=(2, 3), keepdim=True),
    "ReduceMean": _mean,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Transpose": lambda node, given: given[0].permute(query.ints_attribute(node, "perm", ())),
    "Softmax": lambda node, given: torch.softmax(given[0], -1),
}
