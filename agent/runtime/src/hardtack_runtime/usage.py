"""How operators use constants, which decides what codings those may have (SPEC section 1.7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from hardtack_runtime.masking import view
from hardtack_runtime.operators import is_wide
from hardtack_runtime.program import (
    Add,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Lookup,
    MaxPool2D,
    Op,
    Program,
    Tensor,
    Transpose,
)

_WEIGHTS = 1
"""The field of an operator that names its weights."""


def biases_behind_weights(program: Program, indices: Sequence[int]) -> set[int]:
    """Return places in `indices`, of the constants, of biases directly behind their weights."""
    weights = dict[int, set[int]]()
    for op in program.ops:
        of_bias = {op.bias: op.weights} if isinstance(op, Conv2D | FullyConnected) else {}
        for tensor in op.tensors():
            weights.setdefault(tensor, set()).add(of_bias.get(tensor, -1))
    pairs = pairwise(indices)
    return {at for at, (one, bias) in enumerate(pairs, 1) if weights.get(bias, {one}) == {one}}


def in_place_weights(program: Program) -> set[int]:
    """Return the tensors that kernels can use where they lie: weights and nothing else."""
    named = {op.tensors()[_WEIGHTS] for op in program.ops if _reads_in_place(program, op)}
    return named - not_in_place(program)


def not_in_place(program: Program) -> set[int]:
    """Return the tensors that an operator reads which knows them unpacked only."""
    return {
        tensor
        for op in program.ops
        for field, tensor in enumerate(op.tensors()[: len(op.tensors()) - len(op.planes())])
        if field != _WEIGHTS or not _reads_in_place(program, op)
    }


def not_by_columns(program: Program) -> set[int]:
    """Return the weights that are not only those of fully_connected."""
    return {op.weights for op in program.ops if isinstance(op, Conv2D)}


def skipped_codes(program: Program) -> dict[int, int]:
    """Return the input code that is frequent, by weights of fully_connected of one row.

    It is the code of 0 behind a Relu: the operator before clamps to it.
    """
    found, zeros = dict[int, int](), dict[int, int | None]()
    for op in program.ops:
        tensors = program.tensors
        if (
            isinstance(op, FullyConnected)
            and tensors[op.input].elements == tensors[op.weights].dims[3]
        ):
            zero = zeros.get(tensors[op.input].offset)
            if zero is not None and not tensors[op.input].is_constant:
                found[op.weights] = zero
        written = tensors[op.output]  # type: ignore[attr-defined]
        zeros[written.offset] = _code_of_relu(op, zeros, tensors)
    return found


def _code_of_relu(op: Op, zeros: Mapping[int, int | None], tensors: Sequence[Tensor]) -> int | None:
    """Return the code that an operator gives for all that is not positive, or None."""
    if type(op) in (MaxPool2D, Transpose):  # of some codes one, and the order of codes
        return zeros.get(tensors[op.tensors()[0]].offset)
    is_relu = isinstance(op, Conv2D | FullyConnected | Add) and op.act_min == op.out_zero
    return op.out_zero if is_relu else None  # type: ignore[attr-defined]


def binary_sums(program: Program) -> set[int]:
    """Return the weights of one magnitude that only meet inputs of one magnitude, or 0.

    Such inputs come from a table of signs, and zeros from padding. Their products are counted, not
    computed, where the weights are packed.
    """
    found, others, sizes = set[int](), set[int](), dict[int, int | None]()
    for op in program.ops:
        tensors = program.tensors
        if isinstance(op, Conv2D | FullyConnected):
            padding = op.in_zero if isinstance(op, Conv2D) else 0
            size = sizes.get(tensors[op.input].offset)
            fits = size is not None and abs(padding) in (0, size)
            (found if fits and is_binary(tensors[op.weights]) else others).add(op.weights)
        written = tensors[op.output]  # type: ignore[attr-defined]
        sizes[written.offset] = _size_of_codes(op, sizes, tensors)
    return (found - others) & in_place_weights(program)


def is_binary(weights: Tensor) -> bool:
    """Say whether weights have two values, of one magnitude."""
    if weights.data is None:
        return False
    values = np.unique(weights.data).astype(np.int64)
    return len(values) == 2 and values.sum() == 0


def _size_of_codes(
    op: Op, sizes: Mapping[int, int | None], tensors: Sequence[Tensor]
) -> int | None:
    """Return the magnitude of all codes that an operator writes and that are not 0, or None."""
    if type(op) in (MaxPool2D, Transpose):
        return sizes.get(tensors[op.tensors()[0]].offset)
    if not isinstance(op, Lookup):
        return None
    table = tensors[op.table].data
    if table is None:  # no kernel takes that, but nobody has asked one yet
        return None
    found = np.unique(np.abs(table[table != 0].astype(np.int64)))
    return int(found[0]) if len(found) == 1 else None


def high_planes(program: Program) -> set[int]:
    """Return the high planes of weights, which are always sparse."""
    return {plane for op in program.ops for plane in op.planes()}


def misfits(program: Program) -> set[int]:
    """Return the high planes not of their weights' shape, a row for each output and no groups."""
    found = set[int]()
    for op in program.ops:
        if isinstance(op, Conv2D | FullyConnected) and op.high is not None:
            dims = program.tensors[op.weights].dims
            rows = program.tensors[op.bias].elements
            grouped = isinstance(op, Conv2D) and program.tensors[op.input].dims[3] != dims[3]
            if program.tensors[op.high].dims != dims or view(dims)[0] != rows or grouped:
                found.add(op.high)
    return found


def _reads_in_place(program: Program, op: Op) -> bool:
    """Say whether it sums rows of weights, one for each output channel."""
    if not isinstance(op, Conv2D | FullyConnected) or isinstance(op, DepthwiseConv2D):
        return False
    dims = program.tensors[op.weights].dims
    is_by_rows = isinstance(op, FullyConnected) or view(dims)[0] == dims[0]
    return is_by_rows and op.high is None and not is_wide(op)
