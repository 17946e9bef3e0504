"""The section GOLD of a bundle (SPEC section 1.8)."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from hardtack_runtime.errors import BundleError
from hardtack_runtime.program import GoldenVector
from hardtack_runtime.sections import round_up

MAX_VECTORS = 64


def encode_golden(golden: tuple[GoldenVector, ...], op_count: int) -> bytes:
    """Write the GOLD section."""
    out = bytearray(struct.pack("<II", len(golden), op_count))
    for vector in golden:
        out += struct.pack("<I", vector.seed)
        for sample in vector.samples:
            out += sample + bytes(-len(sample) % 4)
        out += struct.pack(f"<{op_count + 1}I", *vector.crcs, vector.final)
    return bytes(out)


def decode_golden(
    section: bytes, layers: int | None, sizes: Sequence[int]
) -> tuple[GoldenVector, ...]:
    """Read the GOLD section.

    Args:
        section: Its bytes.
        layers: Number of operators; None takes the section's word for it.
        sizes: Elements of each input.

    Raises:
        BundleError: HT212, it is of another program, or malformed.
    """
    count, op_count = struct.unpack_from("<II", section)
    if count > MAX_VECTORS:
        raise BundleError("HT212", "GOLD", f"{count} vectors; {MAX_VECTORS} are the most")
    if layers is not None and op_count != layers:
        raise BundleError("HT212", "GOLD", f"{op_count} layers, the program has {layers}")
    at, vectors = 8, []
    for _ in range(count):
        (seed,) = struct.unpack_from("<I", section, at)
        at += 4
        samples = []
        for size in sizes if seed == 0 else ():
            samples.append(section[at : at + size])
            at += round_up(size, 4)
        *crcs, final = struct.unpack_from(f"<{op_count + 1}I", section, at)
        at += 4 * (op_count + 1)
        vectors.append(GoldenVector(seed, tuple(samples), tuple(crcs), final))
    if at != len(section):
        raise BundleError("HT212", "GOLD", "bytes after the last vector")
    return tuple(vectors)
