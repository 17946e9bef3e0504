"""Which weights a device uses where they lie, sparse or packed, and which it unpacks.

Unpacked weights take memory and all multiplications; sparse ones take neither, but each weight
that is left costs more. What is faster follows from the share of weights that are not 0, from how
often a weight is used once it is read, and from the processor. Packed ones, of 16 values or fewer,
are never faster than raw ones, and smaller: they are for devices that have room for neither. But
where weights and inputs are binary, products are counted, which is faster than any of these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from hardtack_runtime import sparse
from hardtack_runtime.bundle import unpack
from hardtack_runtime.memory import coded_tensors, raw_for_layers
from hardtack_runtime.packing import Coding, Constant, smallest_in_place
from hardtack_runtime.program import Conv2D, FullyConnected, Program
from hardtack_runtime.usage import binary_sums, in_place_weights, skipped_codes

InPlace = Literal["auto", "always", "never"]

_SCALAR, _DSP = (0.45, 0.30, 0.45), (0.25, 0.15, 0.30)
_SMALL = (0.45, 0.45, 0.45)
LIMITS: dict[str, tuple[float, float, float]] = {
    "cortex-m0": _SMALL,
    "cortex-m3": _SCALAR,
    "riscv32": _SCALAR,
    "cortex-m4": _DSP,
    "cortex-m7": _DSP,
    "cortex-m33": _DSP,
}
"""By class of device: the largest share of weights that are not 0 at which sparse ones are faster
by a sixth: with four output pixels or more, with fewer, and by columns. Classes that are not here
have vectors: a Cortex-M55 is never faster with sparse ones, x86 only with the very sparsest. Beyond
0.45 there is little to gain in bytes.
Source: benchmarks.sparse, by instructions."""
FEWEST_COUNTED = 64
"""Taps of a window from which on binary products are counted faster than they are multiplied, by
the classes above: an output costs as much as 20 products. Source: benchmarks.sparse."""
CODINGS = (Coding.SPARSE, Coding.PACKED)
PIXELS = 4
"""Output pixels that the kernel sums side by side."""


def place_weights(
    program: Program,
    write: Callable[..., bytes],
    hardware: str,
    limit: int | None,
    flash: int | None,
    wanted: InPlace,
) -> bytes:
    """Return the bundle that suits a device.

    Args:
        program: What is to run.
        write: `hardtack_runtime.bundle.pack` with what does not depend on places.
        hardware: Class of device.
        limit: Bytes of memory for unpacked constants; None: as much as it takes.
        flash: Bytes for the bundle; None: as much as it takes.
        wanted: Which weights are used where they lie; see `weights_in_place`.
    """
    chosen = weights_in_place(program, hardware, wanted)
    data = write(unpack_limit=limit, codings=chosen, in_place=())
    if flash is None or len(data) <= flash:
        return data
    small = [data]
    if wanted == "auto":  # coded for size, and unpacked
        small.append(write(unpack_limit=limit, in_place=()))
    if limit is not None and hardware != "linux" and min(map(len, small)) > flash:
        coded = coded_tensors(unpack(write()))
        raw = dict.fromkeys(raw_for_layers(program, coded, limit), Coding.RAW)
        small.append(write(codings=(chosen if wanted == "always" else {}) | raw))
        if wanted != "never":
            small.append(write(unpack_limit=limit, codings=chosen))
    return min(small, key=len)


def weights_in_place(program: Program, hardware: str, wanted: InPlace) -> dict[int, Coding]:
    """Return the coding of weights that are used where they lie, by index of their tensor.

    Args:
        program: What is to run.
        hardware: Class of device.
        wanted: `auto`: sparse or binary ones where that is faster; `always`: sparse or packed
            where it takes fewer bytes than unpacked weights; `never`: none.
    """
    chosen = dict[int, Coding]()
    skipped = skipped_codes(program)
    fitting = in_place_weights(program) if wanted != "never" else set[int]()
    counted = binary_sums(program) if hardware in LIMITS else set[int]()
    for op in program.ops:
        if not isinstance(op, Conv2D | FullyConnected) or op.weights not in fitting:
            continue
        weights, output = program.tensors[op.weights], program.tensors[op.output]
        outputs = program.tensors[op.bias].elements
        pixels = output.elements // outputs
        data = weights.data
        if data is None:
            continue
        if op.weights in counted and data.size >= FEWEST_COUNTED * outputs:
            chosen[op.weights] = Coding.PACKED
            continue
        by_columns = op.weights in skipped and _columns_are_faster(data)
        limit = 1.0 if wanted == "always" else _limit(hardware, pixels, by_columns=by_columns)
        if np.count_nonzero(data) > limit * data.size:
            continue
        coding = smallest_in_place(data, CODINGS if wanted == "always" else CODINGS[:1])
        if coding != Coding.RAW:
            chosen[op.weights] = coding
        if coding == Coding.SPARSE and by_columns:
            chosen[op.weights] = Coding.SPARSE_COLUMNS
    return chosen


def _limit(hardware: str, pixels: int, *, by_columns: bool) -> float:
    many, few, columns = LIMITS.get(hardware, (0.0, 0.0, 0.0))
    if by_columns:
        return columns
    return many if pixels >= PIXELS else few


def _columns_are_faster(weights: Constant) -> bool:
    """Say whether one row of inputs, half of them passed over, is summed faster by inputs.

    In instructions of a Cortex-M: an entry takes 7 by rows, and 3.7 by columns, for it is needed
    half as often; each piece of a row takes 60, and each of a column 17.
    """
    outputs, inputs = weights.shape[2:]
    entries = np.count_nonzero(weights)
    rows = 7 * entries + 60 * outputs * -(-inputs // sparse.TAPS)
    columns = 3.7 * entries + 17 * inputs * -(-outputs // sparse.OUTPUTS)
    return bool(columns < rows)
