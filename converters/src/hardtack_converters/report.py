"""What each operator of a program costs: rows for tables people read."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hardtack_converters.compress.settings import Bits
from hardtack_converters.memory import reads_of, written_by
from hardtack_runtime.program import Conv2D, Dims, FullyConnected, Op, Program, Tensor


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One operator.

    Attributes:
        name: From the source model.
        operator: Of the kernel, `Conv2D`.
        inputs: N H W C of each activation it reads.
        output: N H W C.
        weight_bytes: Constants it reads, as stored raw.
        bits: Of its weights, as `low_bit` calls them: 3 to 8, `ternary` or `binary`; 16 with a
            high plane; None without weights.
        macs: Multiplications with accumulation.
        live_bytes: Activations that it reads and writes.
    """

    name: str
    operator: str
    inputs: tuple[Dims, ...]
    output: Dims
    weight_bytes: int
    bits: Bits | None
    macs: int
    live_bytes: int


@dataclass(frozen=True, slots=True)
class PassRow:
    """One compression pass.

    Attributes:
        name: Of the pass.
        summary: What it changed.
        bytes_before: Of the bundle it was given.
        bytes_after: Of the bundle it made.
        arena_before: Bytes of the activations of the model it was given.
        arena_after: Of the model it made.
        accuracy_before: Share of right answers in int8; None without [data] evaluate.
        accuracy_after: Likewise.
        seconds: That it took, with measuring.
        skipped: Why its result was not used; empty if it was.
    """

    name: str
    summary: str
    bytes_before: int
    bytes_after: int
    arena_before: int
    arena_after: int
    accuracy_before: float | None
    accuracy_after: float | None
    seconds: float
    skipped: str

    @property
    def cost(self) -> float:
        """Share of right answers that it cost; 0 where that is not known."""
        if self.accuracy_before is None or self.accuracy_after is None:
            return 0.0
        return self.accuracy_before - self.accuracy_after


def layer_rows(program: Program) -> tuple[LayerRow, ...]:
    """Return one row per operator, in the order they run."""
    return tuple(
        _row(program, op, program.layers[index] if index < len(program.layers) else "")
        for index, op in enumerate(program.ops)
    )


def _row(program: Program, op: Op, name: str) -> LayerRow:
    tensors = program.tensors
    reads = [tensors[index] for index in reads_of(op)]
    output = tensors[written_by(op)]
    moving = [tensor for tensor in reads if not tensor.is_constant]
    places = {(tensor.offset, tensor.nbytes) for tensor in (*moving, output)}
    return LayerRow(
        name,
        type(op).__name__,
        tuple(tensor.dims for tensor in moving),
        output.dims,
        sum(_weight_bytes(tensors[i], i in op.planes()) for i in reads_of(op)),
        _bits(program, op),
        _macs(program, op, output.elements),
        sum(size for _, size in places),
    )


def _weight_bytes(tensor: Tensor, is_plane: bool) -> int:
    """Return the bytes of a constant; of a high plane those of its entries."""
    if tensor.data is None:
        return 0
    return 2 * int(np.count_nonzero(tensor.data)) if is_plane else int(tensor.data.nbytes)


def _bits(program: Program, op: Op) -> Bits | None:
    """Return the fewest bits whose codes all weights of an operator are."""
    if not isinstance(op, (Conv2D, FullyConnected)):
        return None
    codes = program.tensors[op.weights].data
    if codes is None:
        return None
    if op.planes():
        return 16
    peak = int(np.abs(codes.astype(np.int64)).max(initial=0))
    if peak <= 1:
        return "ternary" if (codes == 0).any() else "binary"
    return min(peak.bit_length() + 1, 8)


def _macs(program: Program, op: Op, outputs: int) -> int:
    """Return multiplications: outputs times the weights that each of them reads."""
    if isinstance(op, (Conv2D, FullyConnected)):
        weights = program.tensors[op.weights].dims
        channels = program.tensors[op.output].dims[3]
        return outputs * (math.prod(weights) // channels)
    return 0
