"""The program under construction: tensors, views, operators, and what each graph value became."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from hardtack_converters.fixed_point import (
    MANTISSA_BITS,
    quantize_multiplier,
    round_half_away,
)
from hardtack_converters.lower.order import (
    Order,
    digits,
    identity,
    transposition,
)
from hardtack_converters.lower.tables import requantize_table
from hardtack_converters.query import label
from hardtack_converters.ranges import LARGEST_WIDE
from hardtack_runtime.errors import UnsupportedOpError
from hardtack_runtime.operators import Rescale, twin
from hardtack_runtime.program import Dims, Lookup, Op, Tensor, Transpose

IntArray = npt.NDArray[np.int64]
Constant = npt.NDArray[np.int8] | npt.NDArray[np.int16] | npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Grid:
    """How codes of an activation map to real numbers.

    Attributes:
        scale: Real width of one code, a float32 value, > 0.
        zero_point: Code that stands for 0.0, -128..127 (uint8 ones are moved by -128).
        wide: True for int16 codes, whose zero point is 0.
    """

    scale: float
    zero_point: int
    wide: bool = False

    @property
    def bounds(self) -> tuple[int, int]:
        """The least and the largest code."""
        return (-LARGEST_WIDE, LARGEST_WIDE) if self.wide else (-128, 127)

    def widened(self) -> Grid:
        """Return a grid of int16 codes that holds all that this one does."""
        if self.wide:
            return self
        peak = max(-128 - self.zero_point, 127 - self.zero_point, key=abs) * self.scale
        return Grid(float(np.float32(abs(peak) / LARGEST_WIDE)), 0, wide=True)

    def code(self, real: float) -> int:
        """Return the code of a real number, unclamped, rounded as TFLite rounds bounds."""
        scaled = float(np.float32(real) / np.float32(self.scale))
        return self.zero_point + round_half_away(scaled)


@dataclass(frozen=True, slots=True)
class Activation:
    """What a graph value became.

    Attributes:
        tensor: Index of its tensor in the program.
        shape: Its ONNX shape.
        order: Row-major index in `shape` -> place in the tensor.
        grid: Meaning of its codes.
    """

    tensor: int
    shape: tuple[int, ...]
    order: Order
    grid: Grid

    def with_shape(self, shape: tuple[int, ...]) -> Activation:
        """Return the same numbers under another shape of as many elements."""
        return Activation(self.tensor, shape, self.order, self.grid)


@dataclass
class Assembler:
    """Collects tensors and operators; several tensors may be views of one buffer.

    Attributes:
        tensors: Tensors so far, arena offsets not yet given.
        roots: Per tensor, the tensor whose buffer it shares (itself if it owns one).
        activations: What each graph value became.
        absorbed: Nodes computed inside an operator before them.
        multiplier_bits: Of the multipliers of weights.
        scalings: Multipliers and shifts that serve all channels, by type and value.
    """

    tensors: list[Tensor] = field(default_factory=list)
    roots: list[int] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    layers: list[str] = field(default_factory=list)
    activations: dict[ir.Value, Activation] = field(default_factory=dict)
    absorbed: set[ir.Node] = field(default_factory=set)
    multiplier_bits: int = MANTISSA_BITS
    scalings: dict[tuple[str, int], int] = field(default_factory=dict)

    def arena(self, name: str, dims: Dims, *, wide: bool = False) -> int:
        """Add an activation tensor."""
        self.tensors.append(Tensor(name, dims, wide=wide))
        self.roots.append(len(self.roots))
        return len(self.tensors) - 1

    def constant(self, name: str, data: Constant) -> int:
        """Add a constant; shapes shorter than four get 1 in front."""
        n, h, w, c = (1,) * (4 - data.ndim) + data.shape
        array = np.ascontiguousarray(data).reshape(n, h, w, c)
        self.tensors.append(Tensor(name, (n, h, w, c), array))
        self.roots.append(len(self.roots))
        return len(self.tensors) - 1

    def scaling(self, name: str, data: npt.NDArray[np.int8] | npt.NDArray[np.int32]) -> int:
        """Add multipliers or shifts; one that serves all channels may serve other layers too."""
        if data.size > 1:
            return self.constant(name, data)
        key = data.dtype.name, int(data[0])
        if key not in self.scalings:
            self.scalings[key] = self.constant(name, data)
        return self.scalings[key]

    def view(self, tensor: int, dims: Dims) -> int:
        """Return a tensor that shows the same buffer with other dims."""
        if self.tensors[tensor].dims == dims:
            return tensor
        root = self.roots[tensor]
        for index, candidate in enumerate(self.tensors):
            if self.roots[index] == root and candidate.dims == dims:
                return index
        view = replace(self.tensors[root], name=f"{self.tensors[root].name}:view", dims=dims)
        self.tensors.append(view)
        self.roots.append(root)
        return len(self.tensors) - 1

    def emit(self, op: Op, layer: str) -> None:
        """Append an operator."""
        self.ops.append(op)
        self.layers.append(layer)

    def arrange(self, value: Activation, order: Order, node: ir.Node) -> Activation:
        """Return the activation laid out in `order`, transposing only if it is not.

        Raises:
            UnsupportedOpError: HT302, no transposition of four axes leads there.
        """
        if np.array_equal(value.order, order):
            return value
        mapping = np.empty_like(order)
        mapping[order] = value.order
        loops = digits(mapping)
        plan = transposition(loops) if loops is not None else None
        if plan is None:
            raise UnsupportedOpError(
                "HT302", label(node), "its input would need a transposition of over four axes",
                "export the model without the reshape or transpose before it",
            )  # fmt: skip
        dims, perm = plan
        source = self.view(value.tensor, (dims[0], dims[1], dims[2], dims[3]))
        out: Dims = (dims[perm[0]], dims[perm[1]], dims[perm[2]], dims[perm[3]])
        wide = value.grid.wide
        target = self.arena(f"{self.tensors[value.tensor].name}:transposed", out, wide=wide)
        kind = twin(Transpose, wide=wide)
        self.emit(kind(source, target, *perm), f"transpose before {node.name}")
        return Activation(target, value.shape, order, value.grid)

    def row_major(self, value: Activation, node: ir.Node) -> Activation:
        """Return the activation laid out as its ONNX shape says."""
        return self.arrange(value, identity(value.order.size), node)

    def on_grid(self, value: Activation, grid: Grid, layer: str) -> Activation:
        """Return the activation with codes on another grid, by a table if they differ."""
        if value.grid == grid:
            return value
        if value.grid.wide or grid.wide:
            return self.rescaled(value, grid, grid.bounds, layer)
        table = requantize_table(
            value.grid.scale, value.grid.zero_point, grid.scale, grid.zero_point
        )
        return self.through_table(value, table, grid, layer)

    def wide(self, value: Activation, layer: str) -> Activation:
        """Return the activation in int16 codes: the same numbers exactly."""
        if value.grid.wide:
            return value
        return self.on_grid(value, Grid(value.grid.scale, 0, wide=True), f"{layer}:widen")

    def rescaled(
        self, value: Activation, grid: Grid, bounds: tuple[int, int], layer: str
    ) -> Activation:
        """Append a rescale, whose codes are clamped to bounds; the layout stays.

        Raises:
            UnsupportedOpError: HT303, the grids are too far apart.
        """
        try:
            mult, shift = quantize_multiplier(value.grid.scale / grid.scale)
        except ValueError as error:
            raise UnsupportedOpError("HT303", layer, str(error)) from error
        output = self.arena(layer, self.tensors[value.tensor].dims, wide=grid.wide)
        zeros = value.grid.zero_point, grid.zero_point
        op = Rescale(value.tensor, output, zeros[0], mult, shift, zeros[1], *bounds)
        self.emit(op, layer)
        return Activation(output, value.shape, value.order, grid)

    def through_table(
        self, value: Activation, table: npt.NDArray[np.int8], grid: Grid, layer: str
    ) -> Activation:
        """Append a lookup; the layout stays.

        Raises:
            UnsupportedOpError: HT303, it would read or write int16.
        """
        if value.grid.wide or grid.wide:
            raise UnsupportedOpError(
                "HT303", layer, "a function by table reads and writes 8 bits",
                "quantise what it reads and what it gives to 8 bits",
            )  # fmt: skip
        dims = self.tensors[value.tensor].dims
        output = self.arena(layer, dims)
        self.emit(Lookup(value.tensor, self.constant(f"{layer}:table", table), output), layer)
        return Activation(output, value.shape, value.order, grid)


Lowering = Callable[[Assembler, ir.Node], None]
"""Appends the operators of one node and records what its outputs became."""
