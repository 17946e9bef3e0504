"""Golden vectors: inputs whose every intermediate bit is known (SPEC section 1.8).

Recorded where the bundle is made, replayed on each device before it is trusted with work.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hardtack_runtime.errors import BundleError, DeviceError
from hardtack_runtime.interpreter import Interpreter
from hardtack_runtime.program import GoldenVector

Int8Array = npt.NDArray[np.int8]


def seeded_inputs(seed: int, sizes: Sequence[int]) -> list[Int8Array]:
    """Return the inputs that a seed stands for, the same in Python and in C.

    Args:
        seed: In [1, 2^32 - 1].
        sizes: Elements of each input.

    Source: Marsaglia, "Xorshift RNGs", 2003.
    """
    if not 0 < seed < 1 << 32:
        raise ValueError(f"seed {seed} is not in 1..2^32-1")
    x, inputs = seed, []
    for size in sizes:
        codes = bytearray(size)
        for index in range(size):
            x ^= x << 13 & 0xFFFFFFFF
            x ^= x >> 17
            x ^= x << 5 & 0xFFFFFFFF
            codes[index] = x >> 24
        inputs.append(np.frombuffer(codes, np.int8))
    return inputs


def record(
    interpreter: Interpreter,
    seeds: Sequence[int] = (),
    samples: Sequence[Sequence[Int8Array]] = (),
) -> tuple[GoldenVector, ...]:
    """Run seeded and real inputs and keep the checksums of every layer.

    Args:
        interpreter: The bundle, without vectors or with others.
        seeds: One vector each, 4 bytes of input in the bundle.
        samples: One vector each: the int8 codes of all inputs, which travel in the bundle.
    """
    sizes = [int(np.prod(shape)) for shape in interpreter.input_shapes]
    vectors = [_run(interpreter, seed, seeded_inputs(seed, sizes)) for seed in seeds]
    vectors += [_run(interpreter, 0, list(sample)) for sample in samples]
    return tuple(vectors)


def replay(
    interpreter: Interpreter, vectors: Sequence[GoldenVector], layers: Sequence[str] = ()
) -> None:
    """Run every vector here and compare all bits.

    Args:
        interpreter: The bundle on this device.
        vectors: What the bundle holds.
        layers: Name of each operator, for the message.

    Raises:
        DeviceError: HT606, naming the first layer that gave other bits.
        BundleError: HT212, a vector is of another program.
    """
    sizes = [int(np.prod(shape)) for shape in interpreter.input_shapes]
    for index, vector in enumerate(vectors):
        if len(vector.crcs) != interpreter.operators:
            met = f"{len(vector.crcs)} layers, the program has {interpreter.operators}"
            raise BundleError("HT212", f"golden vector {index}", met)
        inputs = [np.frombuffer(sample, np.int8) for sample in vector.samples]
        if vector.seed:
            inputs = seeded_inputs(vector.seed, sizes)
        found = _run(interpreter, vector.seed, inputs)
        pairs = zip(found.crcs, vector.crcs, strict=True)
        differing = [i for i, (here, there) in enumerate(pairs) if here != there]
        if differing or found.final != vector.final:
            raise DeviceError(
                "HT606", f"golden vector {index}", _difference(differing, layers),
                "this build of the runtime computes other bits than the one that packed the "
                "bundle: do not use it on this device",
            )  # fmt: skip


def _difference(differing: list[int], layers: Sequence[str]) -> str:
    if not differing:
        return "the outputs differ, though every layer agrees"
    first = differing[0]
    name = f" ({layers[first]})" if first < len(layers) else ""
    return f"differs first in layer {first}{name}"


def _run(interpreter: Interpreter, seed: int, inputs: list[Int8Array]) -> GoldenVector:
    crcs = tuple(zlib.crc32(output.tobytes()) for output in interpreter.trace(*inputs))
    final = 0
    for output in interpreter.read_outputs():
        final = zlib.crc32(output.tobytes(), final)
    samples = () if seed else tuple(value.tobytes() for value in inputs)
    return GoldenVector(seed, samples, crcs, final)
