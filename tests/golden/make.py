"""Makes the golden bundles: `python -m tests.golden.make`. Seeded: the same bytes every time.

`good/*.htb` must be accepted by every reader and compute their golden vectors; `bad/*.htb`
must be refused by `verify` with the code that `bad/codes.json` names. The C reader, which judges
structure and not trust, refuses the malformed ones alike and opens those that were only changed.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from hardtack_runtime import operators as w
from hardtack_runtime import program as p
from hardtack_runtime.bundle import PAYLOAD_OFFSET, pack
from hardtack_runtime.manifest import Manifest, PortSpec
from hardtack_runtime.packing import Coding
from hardtack_runtime.signing import SigningKey

HERE = Path(__file__).parent
KEY = SigningKey.from_seed(bytes(range(32)))
"""A published key: it signs test files and nothing else."""
Q30 = 1 << 30
GAPS = {"four_streams": 0.2, "between_zeros": 0.65}
"""Bundles of gap-huff, and the share of weights each keeps."""


class Builder:
    """Collects tensors and operators; arena offsets grow, nothing is reused."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.tensors: list[p.Tensor] = []
        self.ops: list[p.Op] = []
        self.arena = 0

    def place(self, *dims: int, wide: bool = False) -> int:
        """Add an arena tensor."""
        self.tensors.append(p.Tensor("", dims, None, self.arena, wide))  # type: ignore[arg-type]
        self.arena += -(-self.tensors[-1].nbytes // 16) * 16
        return len(self.tensors) - 1

    def constant(self, data: np.ndarray) -> int:
        """Add a constant, its shape filled up to four dims."""
        shaped = data.reshape((1,) * (4 - data.ndim) + data.shape)
        self.tensors.append(p.Tensor("", shaped.shape, shaped))  # type: ignore[arg-type]
        return len(self.tensors) - 1

    def weights(self, *shape: int, kept: float = 1.0, dead: int = 0) -> int:
        """Add Laplace-distributed weights: a share of them kept, the first channels dead."""
        values = self.rng.laplace(0, 12, shape).clip(-127, 127).round()
        values[:dead] = 0
        return self.constant(np.where(self.rng.random(shape) < kept, values, 0).astype(np.int8))

    def requantise(self, channels: int, zero: int = 0, of: int = 0) -> tuple[int, int, int]:
        """Add bias, multipliers and shifts; the bias holds -zero times the weights of its row."""
        bias = self.rng.integers(-2000, 2000, channels).astype(np.int32)
        if zero:
            weights = self.tensors[of].data
            assert weights is not None
            sums = weights.reshape(channels, -1).sum(axis=1, dtype=np.int32)
            bias = bias // 40 - np.int32(zero) * sums
        mult = self.rng.integers(Q30, 2**31 - 1, channels).astype(np.int32)
        shift = self.rng.integers(-9, -6, channels).astype(np.int8)
        return self.constant(bias), self.constant(mult), self.constant(shift)

    def program(self, source: int, result: int) -> p.Program:
        """Return what was built, from one input to one output."""
        layers = tuple(f"{i}_{type(op).__name__.lower()}" for i, op in enumerate(self.ops))
        return p.Program(
            tuple(self.tensors), tuple(self.ops), (p.Port(source, 0.5, -3),),
            (p.Port(result, 1 / 256, -128),), self.arena, layers,
        )  # fmt: skip


def every_op_program() -> p.Program:
    """Return a program with every operator, every coding and a shared table."""
    b = Builder(7)
    x = b.place(1, 8, 8, 4)
    conv = b.place(1, 8, 8, 8)
    b.ops.append(p.Conv2D(x, b.weights(8, 3, 3, 4), *b.requantise(8), conv,
                          1, 1, 1, 1, 1, 1, -3, 4, -128, 127))  # fmt: skip
    depth = b.place(1, 4, 4, 8)
    b.ops.append(p.DepthwiseConv2D(conv, b.weights(1, 3, 3, 8), *b.requantise(8), depth,
                                   2, 2, 1, 1, 0, 0, 4, -1, -120, 110))  # fmt: skip
    other = b.place(1, 4, 4, 8)
    table = b.constant(np.roll(np.arange(-128, 128), 5).astype(np.int8))
    b.ops.append(p.Lookup(depth, table, other))
    added = b.place(1, 4, 4, 8)
    b.ops.append(p.Add(depth, other, added, -1, Q30, 0, 2, Q30 + 5, -1, 20, 3, Q30, -18,
                       -128, 127, -1))  # fmt: skip
    product = b.place(1, 4, 4, 8)
    b.ops.append(p.Mul(added, other, product, 3, 2, Q30, -6, 1, -128, 127))
    wide = b.place(1, 4, 4, 16)
    b.ops.append(p.Concat(wide, 16, (added, product)))
    padded = b.place(1, 6, 7, 16)
    b.ops.append(p.Pad(wide, padded, 0, 1, 2, 0, -7))
    top = b.place(1, 3, 3, 16)
    b.ops.append(p.MaxPool2D(padded, top, 2, 2, 2, 2, 0, 0, -128, 127))
    mean = b.place(1, 3, 3, 16)
    b.ops.append(p.AveragePool2D(top, mean, 3, 3, 1, 1, 1, 1, -128, 127))
    turned = b.place(1, 16, 3, 3)
    b.ops.append(p.Transpose(mean, turned, 0, 3, 1, 2))
    dense = b.place(1, 1, 1, 64)
    b.ops.append(p.FullyConnected(turned, b.weights(64, 144, dead=9), *b.requantise(64), dense,
                                  0, -128, 127))  # fmt: skip
    sparse = b.place(1, 1, 1, 64)
    weights = b.weights(64, 64, kept=0.1)
    b.ops.append(p.FullyConnected(dense, weights, *b.requantise(64, zero=-128, of=weights), sparse,
                                  0, -128, 127))  # fmt: skip
    reduced = b.place(1, 1, 1, 16)
    b.ops.append(p.Mean(sparse, reduced, 1, 4, 16, 0, Q30, -1, 0))
    scores = b.place(1, 1, 1, 16)
    b.ops.append(p.Softmax(reduced, scores, 1, 16, Q30, 5, -31))
    return b.program(x, scores)


def manifest_for(program: p.Program) -> Manifest:
    """Return a contract that fits the program's ports."""
    ports = [
        tuple(
            PortSpec(
                name=f"{kind}_{i}", shape=program.tensors[port.tensor].dims,
                dtype=program.tensors[port.tensor].code_type, scale=port.scale,
                zero_point=port.zero_point,
            )
            for i, port in enumerate(group)
        )
        for kind, group in (("input", program.inputs), ("output", program.outputs))
    ]  # fmt: skip
    return Manifest(name="golden", version="1.2.3", inputs=ports[0], outputs=ports[1])


def golden_bundle(*, smallest: bool = False, coding: Coding | None = None) -> bytes:
    """Return the bundle of `every_op_program`, with vectors recorded by the C runtime."""
    from hardtack_runtime.golden import record
    from hardtack_runtime.interpreter import Interpreter

    program = every_op_program()
    if coding == Coding.PACKED:
        program = few_values(program)
    bare = pack(program, manifest_for(program), key=KEY)
    golden = record(Interpreter(bare), seeds=(1, 2, 3))
    every = {} if coding is None else dict.fromkeys(range(len(program.tensors)), coding)
    return pack(
        program, manifest_for(program), key=KEY, golden=golden, smallest=smallest, codings=every
    )


def packed_bundle() -> bytes:
    """Return that bundle, weights having few values and being packed, multipliers few bits."""
    return golden_bundle(coding=Coding.PACKED)


def few_values(program: p.Program) -> p.Program:
    """Return a program whose weights have 2, 4, 16, 2... values, and multipliers of 16 bits."""
    tensors, bits = list(program.tensors), itertools.cycle((1, 2, 4))
    for op in program.ops:
        if isinstance(op, p.Conv2D | p.FullyConnected) and not isinstance(op, p.DepthwiseConv2D):
            old = tensors[op.weights]
            assert old.data is not None
            few = (old.data.astype(np.int64) & (1 << next(bits)) - 1) * 17 - 128
            tensors[op.weights] = replace(old, data=few.astype(np.int8))
            mult = tensors[op.mult]
            assert mult.data is not None
            tensors[op.mult] = replace(mult, data=mult.data & ~np.int32(0x7FFF))
    return replace(program, tensors=tuple(tensors))


def binary_weights(program: p.Program, seed: int) -> p.Program:
    """Return a program whose weights are -w or w, another w for each tensor."""
    tensors, rng = list(program.tensors), np.random.default_rng(seed)
    for op in program.ops:
        if isinstance(op, p.Conv2D | p.FullyConnected):
            old = tensors[op.weights]
            assert old.data is not None
            size = rng.integers(1, 128)
            signs = np.where(rng.random(old.dims) < 0.5, -size, size)
            tensors[op.weights] = replace(old, data=signs.astype(np.int8))
    return replace(program, tensors=tuple(tensors))


def binary_program(seed: int) -> p.Program:
    """Return a small net whose layers, but for the first, have binary weights and inputs."""
    b = Builder(seed)
    signs = b.constant((np.sign(np.arange(-128, 128)) * 127).astype(np.int8))
    x, first = b.place(1, 9, 9, 3), b.place(1, 9, 9, 12)
    b.ops.append(p.Conv2D(x, b.weights(12, 3, 3, 3), *b.requantise(12), first,
                          1, 1, 1, 1, 1, 1, -3, 0, -128, 127))  # fmt: skip
    second = b.place(1, 9, 9, 70)
    b.ops.append(p.Lookup(first, signs, first))
    b.ops.append(p.Conv2D(first, b.weights(70, 3, 3, 12), *b.requantise(70), second,
                          1, 1, 1, 1, 1, 1, 0, 0, -128, 127))  # fmt: skip
    turned, pooled = b.place(1, 9, 9, 70), b.place(1, 4, 4, 70)
    b.ops.append(p.Lookup(second, signs, turned))
    b.ops.append(p.MaxPool2D(turned, pooled, 2, 2, 2, 2, 0, 0, -128, 127))
    third, scores = b.place(1, 4, 4, 6), b.place(1, 1, 1, 10)
    b.ops.append(p.Conv2D(pooled, b.weights(6, 3, 3, 35), *b.requantise(6), third,
                          1, 1, 1, 1, 1, 1, 0, 0, -128, 127))  # fmt: skip
    b.ops.append(p.Lookup(third, signs, third))
    b.ops.append(p.FullyConnected(third, b.weights(10, 96), *b.requantise(10), scores,
                                  0, -128, 127))  # fmt: skip
    made = binary_weights(b.program(x, scores), seed)
    for op in made.ops:
        if isinstance(op, p.Conv2D | p.FullyConnected):  # weights of 64 would reach the bounds
            mult = made.tensors[op.mult].data
            assert mult is not None
            mult[...] >>= 4
    return made


def xnor_bundle() -> bytes:
    """Return the bundle of such a net, its weights packed."""
    from hardtack_runtime.golden import record
    from hardtack_runtime.interpreter import Interpreter

    program = binary_program(1)
    every = dict.fromkeys(range(len(program.tensors)), Coding.PACKED)
    golden = record(Interpreter(pack(program, manifest_for(program), key=KEY)), seeds=(1, 2))
    return pack(program, manifest_for(program), key=KEY, golden=golden, codings=every)


def ctx_bundle() -> bytes:
    """Return the bundle of one small dense layer whose weights are coded by ctx."""
    b = Builder(3)
    x, y = b.place(1, 1, 1, 48), b.place(1, 1, 1, 12)
    weights = b.weights(12, 48, kept=0.15)
    b.ops.append(p.FullyConnected(x, weights, *b.requantise(12), y, 0, -128, 127))
    program = b.program(x, y)
    return pack(program, manifest_for(program), key=KEY, smallest=True)


def gaps_bundle(kept: float) -> bytes:
    """Return the bundle of a layer, coded by gap-huff, of so many values that it has four streams.

    Args:
        kept: The share of weights that are not made zeros.
    """
    from hardtack_runtime.golden import record
    from hardtack_runtime.interpreter import Interpreter

    b = Builder(11)
    x, y, z = b.place(1, 1, 1, 250), b.place(1, 1, 1, 100), b.place(1, 1, 1, 10)
    weights = b.weights(100, 250, kept=kept)
    b.ops.append(p.FullyConnected(x, weights, *b.requantise(100), y, 0, -128, 127))
    b.ops.append(p.FullyConnected(y, b.weights(10, 100), *b.requantise(10), z, 0, -128, 127))
    program = b.program(x, z)
    bare = pack(program, manifest_for(program), key=KEY)
    golden = record(Interpreter(bare), seeds=(1,))
    return pack(program, manifest_for(program), key=KEY, golden=golden)


def split_bundle() -> bytes:
    """Return the bundle of two layers whose weights have a high plane, and of one by columns."""
    from hardtack_runtime.golden import record
    from hardtack_runtime.interpreter import Interpreter

    b = Builder(11)
    x, y, z = b.place(1, 3, 5, 4), b.place(1, 2, 4, 34), b.place(1, 1, 1, 8)
    scores = b.place(1, 1, 1, 40)
    conv = p.Conv2D(x, b.weights(34, 2, 2, 4), *b.requantise(34), y, 1, 1, 1, 1, 0, 0, -3, 4,
                    -128, 127)  # fmt: skip
    dense = p.FullyConnected(y, b.weights(8, 272), *b.requantise(8), z, -20, -20, 127)
    for op, shape in ((conv, (34, 2, 2, 4)), (dense, (8, 272))):
        plane = b.weights(*shape, kept=0.03)
        b.ops.append(replace(op, high=plane))
    columns = b.weights(40, 8, kept=0.2)
    b.ops.append(p.FullyConnected(z, columns, *b.requantise(40), scores, 0, -128, 127))
    program = b.program(x, scores)
    golden = record(Interpreter(pack(program, manifest_for(program), key=KEY)), seeds=(1, 2))
    return pack(
        program, manifest_for(program), key=KEY, golden=golden,
        codings={columns: Coding.SPARSE_COLUMNS},
    )  # fmt: skip


def wide_program() -> p.Program:
    """Return a program with every operator of int16 codes."""
    b = Builder(13)
    x = b.place(1, 6, 6, 4)
    conv = b.place(1, 6, 6, 8, wide=True)
    b.ops.append(w.Conv2DS16(x, b.weights(8, 3, 3, 4), *b.requantise(8), conv,
                             1, 1, 1, 1, 1, 1, -3, 0, -32767, 32767))  # fmt: skip
    depth = b.place(1, 6, 6, 8, wide=True)
    b.ops.append(w.DepthwiseConv2DS16(conv, b.weights(1, 3, 3, 8), *b.requantise(8), depth,
                                      1, 1, 1, 1, 1, 1, 0, 0, -30000, 31000))  # fmt: skip
    point = b.place(1, 6, 6, 8, wide=True)
    b.ops.append(w.Conv2DS16(depth, b.weights(8, 1, 1, 8), *b.requantise(8), point,
                             1, 1, 1, 1, 0, 0, 0, 0, 0, 32767))  # fmt: skip
    added = b.place(1, 6, 6, 8, wide=True)
    b.ops.append(w.AddS16(depth, point, added, 0, Q30, 0, 0, Q30 + 5, -1, 15, 0, Q30, -13,
                          -32767, 32767, -1))  # fmt: skip
    offsets = b.constant(b.rng.integers(-32767, 32768, (1, 1, 1, 8)).astype(np.int16))
    product = b.place(1, 6, 6, 8, wide=True)
    b.ops.append(w.MulS16(added, offsets, product, 0, 0, Q30, -14, 0, -32767, 32767))
    both = b.place(1, 1, 36, 16, wide=True)
    b.ops.append(w.ConcatS16(both, 36, (added, product)))
    image = p.Tensor("", (1, 6, 6, 16), None, b.tensors[both].offset, wide=True)
    b.tensors.append(image)
    padded = b.place(1, 7, 8, 16, wide=True)
    b.ops.append(w.PadS16(len(b.tensors) - 2, padded, 0, 1, 2, 0, -700))
    top = b.place(1, 4, 4, 16, wide=True)
    b.ops.append(w.MaxPool2DS16(padded, top, 2, 2, 2, 2, 1, 0, -32767, 32000))
    mean = b.place(1, 4, 4, 16, wide=True)
    b.ops.append(w.AveragePool2DS16(top, mean, 3, 3, 1, 1, 1, 1, -32767, 32767))
    turned = b.place(1, 16, 4, 4, wide=True)
    b.ops.append(w.TransposeS16(mean, turned, 0, 3, 1, 2))
    reduced = b.place(1, 1, 1, 16, wide=True)
    b.ops.append(w.MeanS16(turned, reduced, 16, 16, 1, 0, Q30, -3, 0))
    dense = b.place(1, 1, 1, 24, wide=True)
    b.ops.append(w.FullyConnectedS16(reduced, b.weights(24, 16), *b.requantise(24), dense,
                                     0, -32767, 32767))  # fmt: skip
    narrow = b.place(1, 1, 1, 24)
    b.ops.append(w.Rescale(dense, narrow, 0, Q30, -7, 5, -128, 127))
    widened = b.place(1, 1, 1, 24, wide=True)
    b.ops.append(w.Rescale(narrow, widened, 5, Q30, 8, 0, -32767, 32767))
    scores = b.place(1, 1, 1, 10)
    b.ops.append(w.FullyConnectedS16(widened, b.weights(10, 24), *b.requantise(10), scores,
                                     3, -128, 127))  # fmt: skip
    return b.program(x, scores)


def wide_bundle() -> bytes:
    """Return its bundle, with vectors recorded by the C runtime."""
    from hardtack_runtime.golden import record
    from hardtack_runtime.interpreter import Interpreter

    program = wide_program()
    golden = record(Interpreter(pack(program, manifest_for(program), key=KEY)), seeds=(1, 2))
    return pack(program, manifest_for(program), key=KEY, golden=golden)


def bad_bundles(good: bytes) -> dict[str, tuple[bytes, str]]:
    """Return damaged bundles and the code of the error each must give."""

    def changed(at: int, new: bytes) -> bytes:
        return good[:at] + new + good[at + len(new) :]

    return {
        "empty": (b"", "HT211"),
        "text": (b"no bundle at all\n" * 20, "HT211"),
        "header_only": (good[:PAYLOAD_OFFSET], "HT211"),
        "cut_in_half": (good[: len(good) // 2], "HT211"),
        "eight_bytes_more": (good + bytes(8), "HT211"),
        "format_2": (changed(4, b"\x02"), "HT502"),
        "reserved_set": (changed(150, b"\x01"), "HT212"),
        "version_raised": (changed(80, b"\x63"), "HT701"),
        "signature_of_zeros": (changed(160, bytes(64)), "HT701"),
        "weight_flipped": (changed(len(good) - 400, bytes([good[-400] ^ 4])), "HT702"),
    }


def main() -> None:
    """Write the files."""
    (HERE / "good").mkdir(exist_ok=True)
    (HERE / "bad").mkdir(exist_ok=True)
    good = golden_bundle()
    (HERE / "good" / "every_op.htb").write_bytes(good)
    (HERE / "good" / "every_op_smallest.htb").write_bytes(golden_bundle(smallest=True))
    for name, kept in GAPS.items():
        (HERE / "good" / f"{name}.htb").write_bytes(gaps_bundle(kept))
    sparse = golden_bundle(coding=Coding.SPARSE)
    (HERE / "good" / "every_op_sparse.htb").write_bytes(sparse)
    (HERE / "good" / "every_op_packed.htb").write_bytes(packed_bundle())
    (HERE / "good" / "split.htb").write_bytes(split_bundle())
    (HERE / "good" / "xnor.htb").write_bytes(xnor_bundle())
    (HERE / "good" / "wide.htb").write_bytes(wide_bundle())
    bad = bad_bundles(good)
    for name, (data, _) in bad.items():
        (HERE / "bad" / f"{name}.htb").write_bytes(data)
    codes = {name: code for name, (_, code) in bad.items()}
    (HERE / "bad" / "codes.json").write_text(json.dumps(codes, indent=1) + "\n")


if __name__ == "__main__":
    main()
