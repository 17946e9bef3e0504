"""A prepared float graph as a torch module, and back: same nodes, same names, same numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch
from torch import Tensor, nn

from hardtack_converters import query
from hardtack_converters.compress.layers import chosen_layers, is_depthwise, layer_name
from hardtack_converters.compress.settings import Share
from hardtack_converters.training.activations import Activation, coded_values
from hardtack_converters.training.binary import Binary, is_binary, out_axis_of
from hardtack_converters.training.codebook import Codebook
from hardtack_converters.training.grid import Grid
from hardtack_converters.training.operators import OPERATIONS
from hardtack_runtime.errors import ModelImportError

WEIGHTED = frozenset({"Conv", "Gemm", "MatMul"})
_ADDITIVE = frozenset({"Add", "Sub", "Mul"})


class GraphModule(nn.Module):
    """Runs the nodes of a graph with torch.

    Constant operands are parameters: the weights of Conv, Gemm and MatMul behind a `Grid`, or as
    `Binary` ones, all other float constants as they are.

    Args:
        model: A float model that `passes.prepare` has seen; `write_back` changes it.
        exact: Leave the weights off any grid: for a teacher.
        share: Which layers have few values, which are learnt, and how many.
        binary: Names of layers whose weights become binary; those that are binary stay so.
        activations: Learn the ranges of activations, and round those while `rounds` is set.

    Raises:
        ModelImportError: HT228, a node that has no torch counterpart here.
        ConfigError: HT110, a name in `share.layers` matches nothing.
    """

    def __init__(
        self,
        model: ir.Model,
        *,
        exact: bool = False,
        share: Share | None = None,
        binary: Collection[str] = (),
        activations: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.grids = nn.ModuleDict()
        self.others = nn.ParameterDict()
        self._names: dict[ir.Value, str] = {}
        self._exact, self._shared_bits = exact, _shared_bits(model, share)
        self._binary = binary
        if len(model.graph.inputs) != 1 or len(model.graph.outputs) != 1:
            raise untrainable("model", "it has several inputs or outputs")
        for node in model.graph:
            if node.op_type not in OPERATIONS:
                raise untrainable(query.label(node), "it has no counterpart in torch")
            for index, value in enumerate(node.inputs):
                self._adopt(node, index, value)
        self.rounds = False
        self.activations = nn.ModuleDict()
        self._coded = coded_values(model) if activations else {}
        for name, fixed in self._coded.values():
            self.activations[name] = Activation(fixed)

    def _adopt(self, node: ir.Node, index: int, value: ir.Value | None) -> None:
        numbers = query.constant(value)
        if value is None or numbers is None or numbers.dtype != np.float32 or value in self._names:
            return
        if node.op_type not in WEIGHTED and node.op_type not in _ADDITIVE:
            return
        if node.op_type in WEIGHTED and index == 2 and not numbers.any():
            return  # a bundle stores no bias of zeros, so it stays one
        name = f"p{len(self._names)}"
        self._names[value] = name
        tensor = torch.from_numpy(numbers.copy())
        if node.op_type in WEIGHTED and index == 1 and not self._exact:
            self.grids[name] = self._weights(node, tensor)
        else:
            self.others[name] = nn.Parameter(tensor)

    def _weights(self, node: ir.Node, tensor: Tensor) -> Grid | Binary | Codebook:
        """Return weights as they are to be learnt."""
        axis, bits = out_axis_of(node), self._shared_bits.get(node)
        if layer_name(node) in self._binary or (bits is None and is_binary(tensor.numpy(), axis)):
            return Binary(tensor, axis)
        return Grid(tensor) if bits is None else Codebook(tensor, bits)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output for a batch.

        Args:
            x: float32 [batch, *input shape without its batch].
        """
        return self._run(x)[self.model.graph.outputs[0]]

    def logits(self, x: Tensor) -> Tensor:
        """Return what goes into a last softmax, or the output where there is none."""
        value: ir.Value | None = self.model.graph.outputs[0]
        node = value.producer() if value is not None else None
        if node is not None and node.op_type == "Softmax":
            value = node.inputs[0]
        assert value is not None
        return self._run(x)[value]

    def _run(self, x: Tensor) -> dict[ir.Value, Tensor]:
        source = self.model.graph.inputs[0]
        values: dict[ir.Value, Tensor] = {source: self._rounded(source, x)}
        for node in self.model.graph:
            given = [self._operand(value, values) for value in node.inputs]
            made = OPERATIONS[node.op_type](node, given)
            values[node.outputs[0]] = self._rounded(node.outputs[0], made)
        return values

    def _rounded(self, value: ir.Value, x: Tensor) -> Tensor:
        if value not in self._coded:
            return x
        activation = self.activations[self._coded[value][0]]
        assert isinstance(activation, Activation)
        return activation(x, rounds=self.rounds)

    def _operand(self, value: ir.Value | None, values: dict[ir.Value, Tensor]) -> Any:
        if value is None:
            return None
        if value in values:
            return values[value]
        name = self._names.get(value)
        if name is None:
            constant = torch.from_numpy(np.array(query.constant(value)))
            real = values[self.model.graph.inputs[0]].dtype
            return constant.to(real) if constant.is_floating_point() else constant
        return self.grids[name]() if name in self.grids else self.others[name]

    def all_grids(self) -> list[Grid | Codebook]:
        """Return the grids of all weights but binary ones."""
        return [grid for grid in self.grids.values() if isinstance(grid, Grid | Codebook)]

    def grid_of(self, node: ir.Node) -> Grid | None:
        """Return the grid of a node's weights, if they are on one and not binary."""
        value = query.input_at(node, 1)
        name = self._names.get(value) if value is not None else None
        grid = self.grids[name] if name is not None and name in self.grids else None
        return grid if isinstance(grid, Grid) else None

    def weight_codes(self) -> Iterator[npt.NDArray[np.int8]]:
        """Give the codes of each weight tensor as a bundle has them: [N, H, W, C], rows outputs."""
        for node in self.model.graph:
            value = query.input_at(node, 1)
            name = self._names.get(value) if value is not None else None
            if node.op_type not in WEIGHTED or name is None or name not in self.grids:
                continue
            codes = self.grids[name].codes().detach().numpy().astype(np.int8)
            if node.op_type == "Conv":
                images = codes if codes.ndim == 4 else codes[:, :, None]
                yield np.ascontiguousarray(images.transpose(0, 2, 3, 1))
            else:
                by_output = query.int_attribute(node, "transB", 0) == 1
                yield np.ascontiguousarray(codes if by_output else codes.T)[None, None]

    def write_back(self) -> None:
        """Put the parameters, weights on their grids, into the graph's initializers."""
        for value, name in self._names.items():
            parameter = self.grids[name]() if name in self.grids else self.others[name]
            numbers = parameter.detach().numpy().astype(np.float32)
            value.const_value = ir.tensor(numbers, name=value.name)


def _shared_bits(model: ir.Model, share: Share | None) -> dict[ir.Node, int]:
    """Return the nodes whose weights have few values, chosen as the pass `share` does."""
    if share is None:
        return {}
    suitable = chosen_layers(
        model, share.layers, lambda layer: not is_depthwise(layer), "[train] share, layers"
    )
    return {layer.node: share.bits for layer in suitable}


def untrainable(where: str, met: str) -> ModelImportError:
    """Return HT228 with what stands in the way."""
    return ModelImportError(
        "HT228", where, f"cannot be trained: {met}",
        "train the model where it was made, then convert it",
    )  # fmt: skip
