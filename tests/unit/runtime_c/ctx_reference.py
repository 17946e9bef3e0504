"""A decoder of `ctx` written from SPEC section 1.9 alone: slow, plain, to hold the C one to it."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise

MANTISSAS = [round(4096 * math.log2(1 + i / 32)) for i in range(33)]
SQUASHED = [round(65536 / (1 + math.exp((16 - i) / 2))) for i in range(33)]


def quotient(a: int, b: int) -> int:
    """Divide as C does: towards zero."""
    return a // b if a >= 0 else -(-a // b)


def log2(x: int) -> int:
    """Return log2 of 1..65535 in 2^-12."""
    exponent = x.bit_length() - 1
    m = x << (15 - exponent)
    i = (m >> 10) & 31
    return exponent * 4096 + MANTISSAS[i] + ((MANTISSAS[i + 1] - MANTISSAS[i]) * (m & 1023) >> 10)


def stretch(p: int) -> int:
    """Return ln(p / (1 - p)) in 2^-10."""
    return quotient((log2(p) - log2(65536 - p)) * 2839, 16384)


def squash(x: int) -> int:
    """Return 1 / (1 + exp(-x)) in 2^-16."""
    x = max(-8191, min(8191, x)) + 8192
    low, high = list(pairwise(SQUASHED))[x >> 9]
    return low + ((high - low) * (x & 511) >> 9)


@dataclass
class Reader:
    """A range decoder."""

    data: bytes
    at: int = 0
    span: int = 0xFFFFFFFF
    code: int = 0

    def __post_init__(self) -> None:
        for _ in range(4):
            self.code = self.code << 8 | self.next()

    def next(self) -> int:
        """Return the next byte; zeros behind the end."""
        self.at += 1
        return self.data[self.at - 1] if self.at <= len(self.data) else 0

    def bit(self, p: int) -> int:
        """Read a decision."""
        bound = (self.span >> 16) * p
        one = self.code < bound
        self.code -= 0 if one else bound
        self.span = bound if one else self.span - bound
        while self.span < 1 << 24:
            self.span <<= 8
            self.code = self.code << 8 | self.next()
        return int(one)


@dataclass
class Decoder:
    """The model, by names instead of numbers."""

    reader: Reader
    density: int = 0
    p: dict[object, int] = field(default_factory=lambda: defaultdict(lambda: 32768))
    seen: dict[object, int] = field(default_factory=lambda: defaultdict(int))
    weights: dict[object, list[int]] = field(
        default_factory=lambda: defaultdict(lambda: [6000] * 3)
    )

    def learn(self, context: object, bit: int) -> None:
        away = (65535 if bit else 0) - self.p[context]
        moved = self.p[context] + quotient(2 * away, 2 * self.seen[context] + 3)
        self.p[context] = max(16, min(65519, moved))
        self.seen[context] = min(255, self.seen[context] + 1)

    def decide(self, name: object, contexts: list[object]) -> int:
        weights = self.weights[name]
        logits = [stretch(self.p[context]) for context in contexts]
        mixed = sum(w * x for w, x in zip(weights, logits, strict=False))
        p = squash(quotient(mixed, 16384))
        bit = self.reader.bit(p)
        error = quotient((65536 if bit else 0) - p, 16)
        for i, (context, x) in enumerate(zip(contexts, logits, strict=True)):
            step = quotient(quotient(error * x, 1024) * 12, 512)
            weights[i] = max(-32767, min(32767, weights[i] + step))
            self.learn(context, bit)
        return bit

    def alone(self, context: object) -> int:
        bit = self.reader.bit(self.p[context])
        self.learn(context, bit)
        return bit


def decode(stored: bytes, rows: int, columns: int) -> list[list[int]]:
    """Return the codes."""
    lag = int.from_bytes(stored[:2], "little")
    decoder = Decoder(Reader(stored[2:]))
    table = [[0] * columns for _ in range(rows)]
    for r in range(rows):
        for c in range(columns):
            table[r][c] = _element(decoder, table, r, c, lag)
            decoder.density += 1024 * (table[r][c] != 0) - decoder.density // 16
    return table


def _element(d: Decoder, table: list[list[int]], r: int, c: int, lag: int) -> int:
    columns = len(table[0])

    def at(up: int, column: int) -> int:
        return table[r - up][column] if up <= r and 0 <= column < columns else 0

    def above(column: int, reach: int) -> int:
        return sum(at(up, column) != 0 for up in range(1, reach + 1))

    def scaled(count: int, reach: int) -> int:
        return count * reach // r if 0 < r < reach else count

    before = table[r][:c]
    nonzeros = sum(x != 0 for x in before)
    column = scaled(above(c, 32), 32).bit_length()
    around = 2 * scaled(sum(above(c + k, 4) for k in (-1, 1, -lag, lag)), 4)
    around = around if around < 8 else min(6 + around // 4, 8)
    density = min((d.density // 256).bit_length(), 6)
    near = tuple(at(0, c - k) != 0 for k in (lag, 2 * lag, 1, lag + 1, lag - 1))
    left = at(0, c - 1) != 0
    if not d.decide(
        "zero",
        [("column", column, density, left), ("around", around, min(column, 4)), ("near", near)],
    ):
        return 0
    signs = [(x > 0) - (x < 0) for x in (at(0, c - 1), at(1, c), at(0, c - lag))]
    positive = d.decide("sign", [("three", *signs), ("two", signs[2], signs[1])])
    others = abs(at(0, c - 1)) + abs(at(1, c)) + abs(at(0, c - lag)) + abs(at(0, c - 2))
    sizes = min(sum(map(abs, before)), (1 << 30) - 1) * 2 // nonzeros if nonzeros else 0
    exponent = 0
    while exponent < 7 and d.decide(
        ("size", min(exponent, 2)),
        [
            ("near", exponent, min(others.bit_length(), 5)),
            ("row", exponent, min(sizes.bit_length(), 7)),
        ],
    ):
        exponent += 1
    magnitude = 1
    for i in range(exponent):
        bit = d.alone(("mantissa", exponent, magnitude)) if i < 2 else d.reader.bit(32768)
        magnitude = magnitude * 2 + bit
    return magnitude if positive else -magnitude
