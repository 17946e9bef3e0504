"""Multipliers of few bits are stored in few bytes."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from hardtack_runtime import program as p
from hardtack_runtime.bundle import pack, unpack
from hardtack_runtime.errors import BundleError
from hardtack_runtime.interpreter import Interpreter
from hardtack_runtime.packing import Coding
from tests.golden.make import Builder, manifest_for

OUTPUTS = 24


def layer(bits: int) -> tuple[p.Program, int]:
    """Return a dense layer and the place of its multipliers, of so many bits."""
    b = Builder(bits)
    x, y = b.place(1, 1, 1, 40), b.place(1, 1, 1, OUTPUTS)
    weights = b.weights(OUTPUTS, 40)
    stage = b.requantise(OUTPUTS, zero=-128, of=weights)
    mult = b.tensors[stage[1]].data
    assert mult is not None
    mult &= ~np.int32((1 << 31 - bits) - 1)
    b.ops.append(p.FullyConnected(x, weights, *stage, y, 0, -128, 127))
    return b.program(x, y), stage[1]


def written(program: p.Program, **options: dict[int, Coding]) -> bytes:
    return pack(program, manifest_for(program), key=None, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("bits", "size"), [(8, 1), (9, 2), (16, 2), (24, 3)])
def test_they_take_as_few_bytes_as_hold_their_bits(bits: int, size: int) -> None:
    program, mult = layer(bits)
    data = written(program)
    content = unpack(data)
    stored = {one.coding: one.size for one in content.stored}
    assert stored[Coding.MANTISSA] == size * OUTPUTS
    found, wanted = (one.tensors[mult].data for one in (content.program, program))
    assert np.array_equal(np.asarray(found), np.asarray(wanted))
    raw = written(program, codings={mult: Coding.RAW})
    assert len(raw) - len(data) == (4 - size) * OUTPUTS - 4
    x = np.random.default_rng(1).integers(-128, 128, (1, 1, 1, 40)).astype(np.int8)
    assert np.array_equal(Interpreter(data).run(x)[0], Interpreter(raw).run(x)[0])


def test_all_bits_are_kept_where_they_are_used() -> None:
    program, _ = layer(31)
    assert Coding.MANTISSA not in {one.coding for one in unpack(written(program)).stored}


@pytest.mark.parametrize("length", [0, 23, 25, 96])
def test_a_length_that_does_not_fit_is_refused_by_both_readers(length: int) -> None:
    program, mult = layer(8)
    data = bytearray(written(program))
    highest = (np.asarray(program.tensors[mult].data) >> 23).astype(np.uint8).tobytes()
    at = bytes(data).index(struct.pack("<H", OUTPUTS) + highest)
    struct.pack_into("<H", data, at, length)
    for read in (unpack, Interpreter):
        with pytest.raises(BundleError) as caught:
            read(bytes(data))
        assert caught.value.code == "HT212"
