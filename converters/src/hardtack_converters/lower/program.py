"""The walk over a QDQ graph: ports, grids, one lowering per operator, then the arena."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import onnx_ir as ir

from hardtack_converters import query
from hardtack_converters.fixed_point import MANTISSA_BITS
from hardtack_converters.lower.assembler import Activation, Assembler, Grid, Lowering
from hardtack_converters.lower.elementwise import lower_binary
from hardtack_converters.lower.join import lower_concat, lower_pad
from hardtack_converters.lower.matrix import lower_conv, lower_gemm
from hardtack_converters.lower.order import identity
from hardtack_converters.lower.pool import lower_mean, lower_pool
from hardtack_converters.lower.reading import VIEWS, grid_of, viewed
from hardtack_converters.lower.unary import (
    PARAMETRIC,
    PLAIN,
    SCALAR,
    lower_clip,
    lower_condition,
    lower_scalar,
    lower_softmax,
    lower_unary,
    lower_where,
)
from hardtack_converters.memory import plan_program, reads_of, written_by
from hardtack_converters.query import label
from hardtack_runtime.errors import HardtackError, ModelImportError, UnsupportedOpError
from hardtack_runtime.manifest import PortSpec
from hardtack_runtime.program import Dims, Port, Program

LOWERINGS: dict[str, Lowering] = {
    "Add": lower_binary,
    "AveragePool": lower_pool,
    "Clip": lower_clip,
    "Concat": lower_concat,
    "Conv": lower_conv,
    "Gemm": lower_gemm,
    "GlobalAveragePool": lower_mean,
    "MatMul": lower_gemm,
    "MaxPool": lower_pool,
    "Mul": lower_binary,
    "Pad": lower_pad,
    "ReduceMean": lower_mean,
    "Relu": lower_clip,
    "Softmax": lower_softmax,
    "Sub": lower_binary,
    "Where": lower_where,
    **dict.fromkeys(query.CONDITIONS, lower_condition),
    **dict.fromkeys([*PLAIN, *PARAMETRIC], lower_unary),
    **dict.fromkeys(SCALAR, lower_scalar),
}
"""Operators of ONNX's default domain that have kernels; views and Q/DQ need none."""

UNKNOWN_GRID = Grid(1.0, 0)
"""Grid of an int8 input until the first DequantizeLinear tells it."""


@dataclass(frozen=True, slots=True)
class Lowered:
    """A program and the names of its ends.

    Attributes:
        program: What devices run.
        input_names: Name of each input in the source model.
        output_names: Likewise.
        input_shapes: Shape of each input in the source model.
        output_shapes: Likewise.
        problems: Why nodes could not be lowered; empty unless they were asked for.
    """

    program: Program
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    input_shapes: tuple[tuple[int, ...], ...]
    output_shapes: tuple[tuple[int, ...], ...]
    problems: tuple[HardtackError, ...] = ()

    @property
    def input_specs(self) -> tuple[PortSpec, ...]:
        """What a manifest says of the inputs."""
        return self._specs(self.input_names, self.input_shapes, self.program.inputs)

    @property
    def output_specs(self) -> tuple[PortSpec, ...]:
        """What it says of the outputs."""
        return self._specs(self.output_names, self.output_shapes, self.program.outputs)

    def _specs(
        self, names: tuple[str, ...], shapes: tuple[tuple[int, ...], ...], ports: tuple[Port, ...]
    ) -> tuple[PortSpec, ...]:
        types = [self.program.tensors[port.tensor].code_type for port in ports]
        return tuple(
            PortSpec(name=name, shape=shape, dtype=dtype, scale=p.scale, zero_point=p.zero_point)
            for name, shape, dtype, p in zip(names, shapes, types, ports, strict=True)
        )

    def with_first_input(self, port: Port) -> Lowered:
        """Return the same with another grid on the first input."""
        program = replace(self.program, inputs=(port, *self.program.inputs[1:]))
        return replace(self, program=program)


def lower(
    model: ir.Model, *, collect_problems: bool = False, multiplier_bits: int = MANTISSA_BITS
) -> Lowered:
    """Lower a QDQ model to a program.

    Args:
        model: Standard ONNX, opset 18 or later, static shapes, in QDQ form.
        collect_problems: Go on after a node that has no kernel and return all problems;
            the program is then of no use.
        multiplier_bits: Of the multipliers of weights, 31 as TFLite has them.

    Raises:
        UnsupportedOpError: HT301..HT304, naming the node.
        ModelImportError: HT205 a shape is not fixed, HT208 no inputs, outputs or codes.
    """
    graph = model.graph
    _check_ends(graph)
    asm = Assembler(multiplier_bits=multiplier_bits)
    problems: list[HardtackError] = []
    inputs = [_add_input(asm, value) for value in graph.inputs]
    for node in graph:
        if node in asm.absorbed:
            continue
        try:
            lower_node(asm, node)
        except HardtackError as error:
            if not collect_problems:
                raise
            problems.append(error)
            _pretend(asm, node)
    outputs = [_add_output(asm, value, problems) for value in graph.outputs]
    ports = tuple(_input_port(asm, value, tensor) for value, tensor in inputs)
    alive = _alive(asm, outputs)
    draft = Program(
        tuple(asm.tensors), tuple(asm.ops[i] for i in alive), ports, tuple(outputs), 0,
        tuple(asm.layers[i] for i in alive),
    )  # fmt: skip
    return Lowered(
        # With nodes missing there is nothing to plan: the program is not for running.
        draft if problems else plan_program(draft, asm.roots),
        tuple(str(value.name) for value in graph.inputs),
        tuple(str(value.name) for value in graph.outputs),
        tuple(query.shape_of(value) for value in graph.inputs),
        tuple(query.shape_of(value) for value in graph.outputs),
        tuple(problems),
    )


def lower_node(asm: Assembler, node: ir.Node) -> None:
    """Lower one node.

    Raises:
        UnsupportedOpError: HT301, no kernel has this operator; or what its lowering raises.
    """
    op = node.op_type
    if node.domain not in ("", "ai.onnx", "com.microsoft"):
        raise _no_kernel(node)
    if op == "QuantizeLinear":
        _quantize(asm, node)
    elif op == "DequantizeLinear":
        _dequantize(asm, node)
    elif op in VIEWS:
        _view(asm, node)
    elif op in LOWERINGS and node.domain != "com.microsoft":
        LOWERINGS[op](asm, node)
    elif op != "Constant":
        raise _no_kernel(node)


def _no_kernel(node: ir.Node) -> UnsupportedOpError:
    operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    return UnsupportedOpError(
        "HT301", label(node), f"operator {operator} has no int8 kernel",
        "docs/operators.md lists those that have; replace it in the model before export",
    )  # fmt: skip


def _check_ends(graph: ir.Graph) -> None:
    if not graph.inputs or not graph.outputs:
        raise ModelImportError("HT208", "model", "it has no inputs or no outputs")
    if len(graph.inputs) > 8 or len(graph.outputs) > 8:
        raise ModelImportError("HT208", "model", "more than 8 inputs or outputs")


def _add_input(asm: Assembler, value: ir.Value) -> tuple[ir.Value, int]:
    shape = query.shape_of(value)
    lead = (1,) * max(4 - len(shape), 0)
    n, h, w, c = (*lead, *shape) if len(shape) <= 4 else (1, 1, 1, math.prod(shape))
    dims: Dims = (n, h, w, c)
    tensor = asm.arena(str(value.name), dims)
    order = identity(math.prod(shape))
    kinds = (ir.DataType.FLOAT, ir.DataType.INT8, ir.DataType.UINT8)
    if value.dtype not in kinds:
        raise ModelImportError(
            "HT208", f"input {value.name}", f"values of type {value.dtype}",
            "inputs are float32, int8 or uint8",
        )  # fmt: skip
    asm.activations[value] = Activation(tensor, shape, order, UNKNOWN_GRID)
    return value, tensor


def _input_port(asm: Assembler, value: ir.Value, tensor: int) -> Port:
    grid = asm.activations[value].grid
    return Port(tensor, grid.scale, grid.zero_point)


def _source_of(value: ir.Value) -> ir.Value:
    """Return the graph value before any views."""
    node = value.producer()
    while node is not None and node.op_type in VIEWS and node.inputs[0] is not None:
        value = node.inputs[0]
        node = value.producer()
    return value


def _learn_grid(asm: Assembler, value: ir.Value, grid: Grid) -> None:
    """Give an input, and every view of it so far, the grid that a reader tells."""
    source = _source_of(value)
    tensor = asm.activations[source].tensor
    for known, activation in asm.activations.items():
        if activation.tensor == tensor:
            asm.activations[known] = replace(activation, grid=grid)


def _quantize(asm: Assembler, node: ir.Node) -> None:
    """Bind codes to their float value's activation, on the grid of the node."""
    value = node.inputs[0]
    if value is None or query.constant(value) is not None or node.outputs[0] in asm.activations:
        return
    if value not in asm.activations:
        raise UnsupportedOpError("HT303", label(node), "what it quantises was not computed")
    grid = grid_of(node)
    if asm.activations[value].grid is UNKNOWN_GRID:
        _refuse_wide(node, grid)
        _learn_grid(asm, value, grid)
    known = asm.activations[value]
    asm.activations[node.outputs[0]] = asm.on_grid(known, grid, f"{node.name}:requantize")


def _dequantize(asm: Assembler, node: ir.Node) -> None:
    """Bind the real value to the activation of its codes."""
    value = node.inputs[0]
    if value is None or query.constant(value) is not None:
        return
    if value not in asm.activations:
        raise UnsupportedOpError("HT303", label(node), "what it dequantises was not computed")
    grid = grid_of(node)
    if asm.activations[value].grid is UNKNOWN_GRID:
        _refuse_wide(node, grid)
        _learn_grid(asm, value, grid)
    asm.activations[node.outputs[0]] = replace(asm.activations[value], grid=grid)


def _refuse_wide(node: ir.Node, grid: Grid) -> None:
    """Let inputs be int8 only.

    Raises:
        UnsupportedOpError: HT303.
    """
    if grid.wide:
        raise UnsupportedOpError(
            "HT303", label(node), "an input of the model in int16", "quantise inputs to 8 bits"
        )  # fmt: skip


def _view(asm: Assembler, node: ir.Node) -> None:
    value = node.inputs[0]
    if value is None or value not in asm.activations:
        if value is not None and query.constant(node.outputs[0]) is not None:
            return
        raise UnsupportedOpError("HT303", label(node), "its input was not computed")
    asm.activations[node.outputs[0]] = viewed(asm.activations[value], node)


def _pretend(asm: Assembler, node: ir.Node) -> None:
    """Let a node without a kernel yield something, so that those behind it can be judged."""
    for output in node.outputs:
        try:
            shape = query.shape_of(output)
        except HardtackError:
            shape = (1,)
        tensor = asm.arena(str(output.name), (1, 1, 1, max(math.prod(shape), 1)))
        made = Activation(tensor, shape, identity(math.prod(shape)), Grid(1.0, 0))
        asm.activations[output] = made


def _add_output(asm: Assembler, value: ir.Value, problems: list[HardtackError]) -> Port:
    known = asm.activations.get(value)
    if known is None:
        raise ModelImportError("HT208", f"output {value.name}", "it does not depend on any input")
    node = value.producer()
    if node is not None:
        try:
            known = asm.row_major(known, node)
        except HardtackError as error:
            problems.append(error)
            if len(problems) == 1:
                raise
    return Port(known.tensor, known.grid.scale, known.grid.zero_point)


def _alive(asm: Assembler, outputs: list[Port]) -> list[int]:
    """Return the operators whose result is read, in order."""
    wanted = {asm.roots[port.tensor] for port in outputs}
    kept: list[int] = []
    for index in reversed(range(len(asm.ops))):
        op = asm.ops[index]
        if asm.roots[written_by(op)] in wanted:
            kept.append(index)
            wanted.update(asm.roots[read] for read in reads_of(op))
    return kept[::-1]
