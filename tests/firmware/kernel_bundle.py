"""A bundle of random operators, each on its own: golden vectors tell which one a board gets wrong.

All operators read the beginning of the program's input, or what lies behind it, and write the same
memory after it, so that the arena stays small. Shapes are those that vector code gets wrong: odd
channels, windows beside the image, more taps than are gathered at a time, few output pixels.
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import replace

import numpy as np

from hardtack_runtime import program as p
from hardtack_runtime.bundle import pack
from hardtack_runtime.golden import record
from hardtack_runtime.interpreter import Interpreter
from hardtack_runtime.operators import WIDE
from hardtack_runtime.packing import Coding
from hardtack_runtime.usage import skipped_codes
from tests.digit_bundles import KEY
from tests.golden.make import Q30, Builder, binary_weights, few_values, manifest_for

ROOM = 4096
"""Codes that an operator reads or writes at most."""
CODES = ((-128, 128), (127, 128), (-128, -127))


class KernelBuilder(Builder):
    """Adds operators with random fields."""

    def __init__(self, seed: int, room: int = ROOM) -> None:
        super().__init__(seed)
        self.room = room  # codes of an operator's input
        self.source = self.at(0, 1, 1, 1, ROOM)
        self.arena = 2 * ROOM

    def at(self, offset: int, *dims: int) -> int:
        """Add an arena tensor over what is there."""
        self.tensors.append(p.Tensor("", dims, None, offset))  # type: ignore[arg-type]
        return len(self.tensors) - 1

    def pick(self, low: int, high: int) -> int:
        """Return a number in [low, high]."""
        return int(self.rng.integers(low, high + 1))

    def codes(self, *shape: int) -> int:
        """Add weights, -128 among them; a few tensors hold nothing else."""
        low, high = CODES[2 if self.pick(0, 9) == 0 else 0]
        return self.constant(self.rng.integers(low, high, shape).astype(np.int8))

    def thin(self, kept: float) -> None:
        """Keep a share of the weights that can be sparse."""
        for op in self.ops:
            if type(op) in (p.Conv2D, p.FullyConnected):
                weights = self.tensors[op.weights].data  # type: ignore[attr-defined]
                assert weights is not None
                weights[self.rng.random(weights.shape) >= kept] = 0

    def split(self, share: float) -> None:
        """Give weights that can have one a high plane, a share of it not 0."""
        for index, op in enumerate(self.ops):
            if not isinstance(op, p.Conv2D | p.FullyConnected) or op.high is not None:
                continue
            dims, source = self.tensors[op.weights].dims, self.tensors[op.input].dims
            grouped = isinstance(op, p.Conv2D) and dims[3] != source[3]
            single = isinstance(op, p.Conv2D) and dims[0] == 1
            if isinstance(op, p.DepthwiseConv2D) or grouped or single:
                continue
            taps = int(np.prod(dims)) // self.tensors[op.bias].elements
            most = min(128, int(40_000 / (share * taps + 1)))
            plane = self.rng.integers(-most, max(most, 1), dims).astype(np.int8)
            plane[self.rng.random(dims) >= share] = 0
            self.ops[index] = replace(op, high=self.constant(plane))

    def stage(self, channels: int, taps: int) -> tuple[int, int, int]:
        """Add bias, multipliers and shifts, mostly such that outputs are not all at a bound."""
        usual = -7 - int(np.log2(taps) / 2)
        count = channels if self.pick(0, 3) else 1
        low, high = (usual - 2, usual + 2) if self.pick(0, 4) else (-31, 3)
        bias = self.rng.integers(-9000, 9000, channels).astype(np.int32)
        mult = self.rng.integers(Q30 if self.pick(0, 4) else 0, 2**31 - 1, count).astype(np.int32)
        shift = self.rng.integers(low, high, count).astype(np.int8)
        return self.constant(bias), self.constant(mult), self.constant(shift)

    def bounds(self) -> tuple[int, int, int]:
        """Return out_zero, act_min, act_max."""
        low, high = sorted((self.pick(-128, 127), self.pick(-128, 127)))
        return (self.pick(-128, 127), *((low, high) if self.pick(0, 2) == 0 else (-128, 127)))

    def convolution(self, *, depthwise: bool) -> None:
        """Add conv_2d, with or without groups, or depthwise_conv_2d."""
        kernel, stride, dilation = (
            (self.pick(1, most), self.pick(1, most)) for most in (self.pick(1, 5), 3, 2)
        )
        h, w = self.pick(1, 9), self.pick(1, 9)
        reach = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
        pads = [self.pick(0, min(r, 4)) for r in reach]
        c = self.pick(1, min(70, self.room // (h * w)))
        out = [
            max(1, self.pick(1, 1 + (n + pad - 1) // s))
            for n, pad, s in zip((h, w), pads, stride, strict=True)
        ]
        most = max(1, min(70, self.room // (out[0] * out[1])))
        if depthwise:
            n_out = c * self.pick(1, max(1, min(3, most // c)))
            c = n_out if n_out % c else c
            shape, taps = (1, *kernel, n_out), kernel[0] * kernel[1]
        else:
            groups = self.pick(2, 4) if self.pick(0, 5) == 0 and c % 4 == 0 and most >= 4 else 1
            groups = groups if c % groups == 0 else 1
            n_out = max(1, self.pick(1, most) // groups) * groups
            shape = (n_out, *kernel, c // groups)
            taps = kernel[0] * kernel[1] * c // groups
        kind = p.DepthwiseConv2D if depthwise else p.Conv2D
        fields = [
            *(self.at(0, 1, h, w, c), self.codes(*shape), *self.stage(n_out, taps)),
            *(self.at(ROOM, 1, *out, n_out), *stride, *dilation, *pads),
            *(self.pick(-128, 127), *self.bounds()),
        ]
        self.ops.append(kind(*fields))

    def dense(self) -> None:
        """Add fully_connected."""
        rows = self.pick(1, 5)
        n_in, n_out = self.pick(1, min(700, self.room // rows)), self.pick(1, 40)
        self.ops.append(
            p.FullyConnected(self.at(0, 1, 1, rows, n_in), self.codes(n_out, n_in),
                             *self.stage(n_out, n_in), self.at(ROOM, 1, 1, rows, n_out),
                             *self.bounds())
        )  # fmt: skip

    def behind_relu(self) -> None:
        """Add two fully_connected of one row, of which the first clamps to the code of zero."""
        hidden, outputs = self.pick(1, 300), self.pick(1, 300)
        between = self.at(ROOM, 1, 1, 1, hidden)
        zero = self.pick(-128, 0)
        self.ops.append(p.FullyConnected(
            self.at(0, 1, 1, 1, 20), self.codes(hidden, 20), *self.stage(hidden, 20), between,
            zero, zero, 127,
        ))  # fmt: skip
        self.ops.append(p.FullyConnected(
            between, self.codes(outputs, hidden), *self.stage(outputs, hidden),
            self.at(ROOM + 512, 1, 1, 1, outputs), *self.bounds(),
        ))  # fmt: skip

    def pool(self) -> None:
        """Add max_pool_2d or average_pool_2d."""
        h, w = self.pick(1, 8), self.pick(1, 8)
        c = self.pick(1, min(60, self.room // (h * w)))
        kernel = [self.pick(1, n) for n in (h, w)]
        out = [n - k + 1 for n, k in zip((h, w), kernel, strict=True)]
        kind = p.MaxPool2D if self.pick(0, 1) else p.AveragePool2D
        places = [self.at(0, 1, h, w, c), self.at(ROOM, 1, *out, c)]
        fields = [*places, *kernel, 1, 1, 0, 0, *self.bounds()[1:]]
        self.ops.append(kind(*fields))

    def elementwise(self) -> None:
        """Add add, or mul."""
        dims = (1, self.pick(1, 5), self.pick(1, 5), self.pick(1, 40))
        n = int(np.prod(dims))
        a, b, out = self.at(0, *dims), self.at(-(-n // 16) * 16, *dims), self.at(ROOM, *dims)
        mult = (self.pick(Q30, 2**31 - 1), self.pick(-9, -5))
        zeros = (self.pick(-128, 127), self.pick(-128, 127))
        if self.pick(0, 1):
            self.ops.append(p.Mul(a, b, out, *zeros, *mult, *self.bounds()))
            return
        one, two = ((self.pick(Q30, 2**31 - 1), self.pick(-5, 0)) for _ in range(2))
        self.ops.append(p.Add(a, b, out, zeros[0], *one, zeros[1], *two, 20, 3, mult[0], -18,
                              *self.bounds()[1:], 1))  # fmt: skip

    def reduction(self) -> None:
        """Add mean and softmax."""
        outer, count = self.pick(1, 3), self.pick(1, 30)
        inner = self.pick(1, min(40, self.room // (outer * count)))
        self.ops.append(
            p.Mean(self.at(0, 1, outer, count, inner), self.at(ROOM, 1, outer, 1, inner), outer,
                   count, inner, self.pick(-128, 127), Q30, -self.pick(1, 6), self.pick(-9, 9))
        )  # fmt: skip
        rows, depth = self.pick(1, 4), self.pick(1, 90)
        shape = (1, 1, rows, depth)
        self.ops.append(p.Softmax(self.at(0, *shape), self.at(ROOM, *shape), rows, depth,
                                  self.pick(Q30, 2**31 - 1), self.pick(18, 22), -248))  # fmt: skip

    def widen(self) -> None:
        """Let operators read and write int16 where they did int8; some layers one of them only."""
        self.tensors = [
            t if t.is_constant or i == self.source
            else replace(t, wide=True, offset=t.offset * 2 if t.offset < ROOM else t.offset)
            for i, t in enumerate(self.tensors)
        ]  # fmt: skip
        self.ops = [self._widened(op) for op in self.ops if type(op) in WIDE]

    def _widened(self, op: p.Op) -> p.Op:
        kind = WIDE[type(op)]
        fields = {field.name: getattr(op, field.name) for field in dataclasses.fields(op)}
        reads8 = isinstance(op, p.Conv2D | p.FullyConnected) and self.pick(0, 4) == 0
        reads8 = reads8 and not isinstance(op, p.DepthwiseConv2D)
        writes8 = isinstance(op, p.Conv2D | p.FullyConnected) and not reads8 and self.pick(0, 3) < 1
        if reads8:
            fields["input"] = self._copy(fields["input"], wide=False)
        elif isinstance(op, p.Conv2D | p.FullyConnected):
            self._bound(op)
        if writes8:
            fields["output"] = self._copy(fields["output"], wide=False)
        kept = {"in_zero"} if reads8 else set()
        kept |= {"out_zero", "act_min", "act_max"} if writes8 else set()
        for name in fields.keys() - kept:
            if name.endswith("zero"):
                fields[name] = 0
            elif name in ("act_min", "act_max"):
                fields[name] = max(-32767, fields[name] * 257)
        if isinstance(op, p.Add):
            fields |= {"left_shift": 15, "out_shift": op.out_shift + 5}
        if isinstance(op, p.Mul):
            fields["shift"] = op.shift - 8
        return kind(**fields)

    def _copy(self, index: int, *, wide: bool) -> int:
        self.tensors.append(replace(self.tensors[index], wide=wide))
        return len(self.tensors) - 1

    def _bound(self, op: p.Conv2D | p.FullyConnected) -> None:
        """Make weights small enough for sums of int16."""
        tensor = self.tensors[op.weights]
        assert tensor.data is not None
        axes: tuple[int, ...] = (3,) if isinstance(op, p.FullyConnected) else (1, 2, 3)
        axes = (0, 1, 2) if isinstance(op, p.DepthwiseConv2D) else axes
        sums = np.abs(tensor.data.astype(np.int64)).sum(axis=axes, keepdims=True)
        factor = np.minimum(1, 65000 / np.maximum(sums, 1))
        data = np.trunc(tensor.data * factor).astype(np.int8)
        self.tensors[op.weights] = replace(tensor, data=data)


def wide_program(seed: int, rounds: int) -> p.Program:
    """Return random operators of int16 codes, which read the bytes of the input in pairs."""
    b = KernelBuilder(seed, ROOM // 2)
    for _ in range(rounds):
        for _ in range(2):
            b.convolution(depthwise=False)
            b.convolution(depthwise=True)
            b.dense()
            b.pool()
            b.elementwise()
        b.reduction()
    b.widen()
    return b.program(b.source, b.at(ROOM, 1, 1, 1, 16))


def split_program(seed: int, share: float) -> p.Program:
    """Return random conv_2d and fully_connected whose weights have a high plane."""
    b = KernelBuilder(seed)
    for _ in range(4):
        b.convolution(depthwise=False)
        b.dense()
    b.split(share)
    return b.program(b.source, b.at(ROOM, 1, 1, 1, 16))


def kernel_program(seed: int, rounds: int, kept: float = 1.0, high: float = 0.0) -> p.Program:
    """Return a program of `rounds` times nine operators.

    Args:
        seed: Of everything random.
        rounds: As above.
        kept: Share of weights that are not 0.
        high: Share of weights that have a high byte.
    """
    b = KernelBuilder(seed)
    for _ in range(rounds):
        for _ in range(2):
            b.convolution(depthwise=False)
            b.convolution(depthwise=True)
        b.dense()
        b.pool()
        b.elementwise()
        b.reduction()
    if kept < 1:
        b.behind_relu()
        b.behind_relu()
    b.thin(kept)
    if high > 0:
        b.split(high)
    return b.program(b.source, b.at(ROOM, 1, 1, 1, 16))


def padded_with_zeros(program: p.Program) -> p.Program:
    """Return a program whose convolutions pad with 0 as a code."""
    ops = [replace(op, in_zero=0) if isinstance(op, p.Conv2D) else op for op in program.ops]
    return replace(program, ops=tuple(ops))


@functools.cache
def kernel_bundle(seed: int, rounds: int, weights: str = "unpacked") -> tuple[bytes, p.Program]:
    """Return a bundle of random operators with vectors of random and of extreme inputs.

    Weights are `unpacked`, or where they can be `sparse`, `packed` or `split` into two planes;
    `xnor` are packed binary ones, which some of the inputs suit. Or activations are `wide`.
    """
    sparse = weights == "sparse"
    program = (
        wide_program(seed, rounds)
        if weights == "wide"
        else kernel_program(seed, rounds, 0.4 if sparse else 1.0, 0.1 if weights == "split" else 0)
    )
    coding = {"sparse": Coding.SPARSE, "packed": Coding.PACKED, "xnor": Coding.PACKED}.get(weights)
    if weights == "packed":
        program = few_values(program)
    if weights == "xnor":
        program = padded_with_zeros(binary_weights(program, seed))
    codings = dict.fromkeys(range(len(program.tensors)), coding) if coding else {}
    codings |= dict.fromkeys(skipped_codes(program) if sparse else (), Coding.SPARSE_COLUMNS)
    interpreter = Interpreter(pack(program, manifest_for(program), key=KEY))
    extremes = [[np.full(ROOM, code, np.int8)] for code in (-128, 127)]
    if weights == "xnor":
        signs = np.random.default_rng(seed).choice(np.array([-127, 0, 127], np.int8), ROOM)
        extremes = [[signs], [np.where(signs == 0, 127, signs)]]
    golden = record(interpreter, seeds=(1, 2), samples=extremes)
    data = pack(program, manifest_for(program), key=KEY, golden=golden, codings=codings)
    return data, program
