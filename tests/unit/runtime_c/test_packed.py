"""The coding `packed`: the bits of unpacked weights, no memory for them, damaged ones refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardtack_runtime import codebook, packing
from hardtack_runtime import program as p
from hardtack_runtime.bundle import unpack
from hardtack_runtime.errors import BundleError
from hardtack_runtime.interpreter import Interpreter
from hardtack_runtime.memory import Needs
from hardtack_runtime.packing import Coding, pack_constants
from tests.firmware.kernel_bundle import ROOM
from tests.unit.runtime_c.test_sparse import layer, packed, weighted


def with_values(program: p.Program, count: int, seed: int = 0) -> p.Program:
    """Give the weights of each operator so many values at most; returns the same program."""
    rng = np.random.default_rng(seed)
    for op in program.ops:
        data = program.tensors[op.weights].data  # type: ignore[attr-defined]
        assert data is not None
        book = rng.integers(-128, 128, count).astype(np.int8)
        data[...] = book[data.astype(np.int64) % count]
    return program


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from((1, 2, 3, 4, 7, 16)))
def test_it_computes_what_unpacked_weights_compute(seed: int, count: int) -> None:
    program = with_values(weighted(seed, 1.0), count, seed)
    data = packed(program, Coding.PACKED)
    codings = [one.coding for one in unpack(data).stored]
    assert codings.count(Coding.PACKED) >= len(program.ops) // 2  # those of one output are not
    dense, coded = Interpreter(packed(program, Coding.RAW)), Interpreter(data)
    rng = np.random.default_rng(seed)
    for codes in (rng.integers(-128, 128, ROOM), np.full(ROOM, -128)):
        expected, found = (one.trace(codes.astype(np.int8)) for one in (dense, coded))
        assert all(map(np.array_equal, expected, found))


def test_it_takes_no_memory_and_reads_back() -> None:
    program = with_values(layer(kept=1.0), 16)
    data = packed(program, Coding.PACKED)
    content = unpack(data)
    assert content.stored[0].coding == Coding.PACKED
    assert np.array_equal(content.program.tensors[2].data, program.tensors[2].data)  # type: ignore[arg-type]
    needs = Needs.of(content)
    assert needs.unpacked == Interpreter(data).unpacked_size < 300


@pytest.mark.parametrize(("values", "bits"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 4), (16, 4)])
def test_as_few_bits_as_the_values_need(values: int, bits: int) -> None:
    codes = np.resize(np.arange(values) - 3, (6, 1, 1, 13)).astype(np.int8)
    stored = codebook.encode(codes)
    assert stored is not None
    assert stored[0] == bits
    assert len(stored) == 1 + (1 << bits) + 6 * -(-13 * bits // 8)
    assert np.array_equal(codebook.decode(stored, codes.shape), codes)


def test_more_values_than_sixteen_are_not_packed() -> None:
    assert codebook.encode(np.arange(17, dtype=np.int8).reshape(17, 1, 1, 1)) is None
    program = layer(kept=1.0)
    assert unpack(packed(program, Coding.PACKED)).stored[0].coding == Coding.RAW


def test_weights_without_room_are_packed_where_that_is_smallest() -> None:
    (few,) = (t.data for t in with_values(layer(kept=1.0), 16).tensors
              if t.data is not None and t.data.size == 12000)  # fmt: skip
    thin = np.where(np.random.default_rng(0).random(few.shape) < 0.05, few, 0).astype(np.int8)
    for constant, coding in ((few, Coding.PACKED), (thin, Coding.SPARSE)):
        tight = pack_constants([constant], unpack_limit=0, weights={0})
        assert tight.constants[0].coding == coding
        assert pack_constants([constant], weights={0}).constants[0].coding.is_unpacked


GOOD = bytes([2, 1, 2, 3, 4]) + bytes([0b11100100, 0b01]) * 3
"""Three rows of five taps."""


@pytest.mark.parametrize(
    ("stored", "sound"),
    [
        pytest.param(GOOD, True, id="sound"),
        pytest.param(bytes([3]) + GOOD[1:], False, id="three bits"),
        pytest.param(bytes([0]) + GOOD[1:], False, id="no bits"),
        pytest.param(bytes([255]) + GOOD[1:], False, id="many bits"),
        pytest.param(GOOD[:-1], False, id="cut short"),
        pytest.param(GOOD + b"\0", False, id="too long"),
        pytest.param(GOOD[:-1] + bytes([0b101]), False, id="padding"),
        pytest.param(GOOD[:6] + bytes([0b10000000]) + GOOD[7:], False, id="padding of a row"),
        pytest.param(GOOD[:3], False, id="half a codebook"),
        pytest.param(b"", False, id="nothing"),
    ],
)
def test_both_readers_judge_them_alike(
    stored: bytes, sound: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = packing._in_place

    def forge(constant: packing.Constant, coding: Coding, *_: object) -> packing._Option:
        option = whole(constant, Coding.RAW)
        return packing._Option(Coding.PACKED, stored) if len(option.data) == 15 else option

    monkeypatch.setattr(packing, "_in_place", forge)
    data = packed(layer(rows=3, taps=5), Coding.RAW)
    readers: tuple[Callable[[bytes], object], ...] = (unpack, Interpreter)
    for read in readers:
        if sound:
            read(data)
            continue
        with pytest.raises(BundleError) as caught:
            read(data)
        assert caught.value.code == "HT212"
