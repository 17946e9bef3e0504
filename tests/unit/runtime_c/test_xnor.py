"""Binary weights over binary inputs: exclusive or and counting give the sums of products."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hardtack_runtime import program as p
from hardtack_runtime.bundle import unpack
from hardtack_runtime.interpreter import Interpreter
from hardtack_runtime.packing import Coding
from hardtack_runtime.usage import binary_sums
from tests.firmware.kernel_bundle import ROOM
from tests.golden.make import Builder, binary_program, binary_weights
from tests.unit.runtime_c.test_sparse import packed, weighted


def binary_codes(rng: np.random.Generator, size: int, zeros: float) -> np.ndarray:
    signs = np.where(rng.random(ROOM) < 0.5, -size, size)
    return np.where(rng.random(ROOM) < zeros, 0, signs).astype(np.int8)


def with_zero_point(program: p.Program, zero: int) -> p.Program:
    ops = [replace(op, in_zero=zero) if isinstance(op, p.Conv2D) else op for op in program.ops]
    return replace(program, ops=tuple(ops))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from((1, 64, 127)),
    st.sampled_from((0.0, 0.002, 0.3, 1.0)),
    st.sampled_from((-1, 0, 1)),
)
@example(6, 127, 0.0, 0)
def test_it_computes_what_unpacked_weights_compute(
    seed: int, size: int, zeros: float, padding: int
) -> None:
    program = with_zero_point(binary_weights(weighted(seed, 1.0), seed), padding * size)
    dense, coded = (Interpreter(packed(program, one)) for one in (Coding.RAW, Coding.PACKED))
    rng = np.random.default_rng(seed)
    binary = binary_codes(rng, size, zeros)
    one_other = binary.copy()
    one_other[rng.integers(64)] = 5
    for codes in (binary, one_other, rng.integers(-128, 128, ROOM).astype(np.int8)):
        expected, found = (one.trace(codes) for one in (dense, coded))
        assert all(map(np.array_equal, expected, found))


@pytest.mark.parametrize("codes", [(-128, 0), (-128, 127), (-3, 3, 4), (0,), (127,), (-1, 2)])
def test_whatever_the_inputs_are(codes: tuple[int, ...]) -> None:
    program = with_zero_point(binary_weights(weighted(3, 1.0), 3), 0)
    dense, coded = (Interpreter(packed(program, one)) for one in (Coding.RAW, Coding.PACKED))
    for head in (1, 7, 900):  # codes of one magnitude in front of the others
        given = np.resize(np.array(codes, np.int8), ROOM)
        given[:head] = codes[0]
        assert all(map(np.array_equal, dense.trace(given), coded.trace(given)))


def long_row(taps: int, book: tuple[int, int]) -> p.Program:
    b = Builder(4)
    x, y = b.place(1, 1, 2, taps), b.place(1, 1, 2, 5)
    rng = np.random.default_rng(taps)
    weights = b.constant(rng.choice(np.array(book, np.int8), (1, 1, 5, taps)))
    b.ops.append(p.FullyConnected(x, weights, *b.requantise(5), y, 0, -128, 127))
    return b.program(x, y)


@pytest.mark.parametrize("book", [(-127, 127), (-1, 1), (-128, 127), (0, 3), (5, 6)])
@pytest.mark.parametrize("taps", [1, 31, 32, 33, 64, 1023, 2049, 16384, 16391])
def test_rows_of_any_length(taps: int, book: tuple[int, int]) -> None:
    program = long_row(taps, book)
    dense, coded = (Interpreter(packed(program, one)) for one in (Coding.RAW, Coding.PACKED))
    rng = np.random.default_rng(taps)
    for zeros in (0.0, 0.1):
        signs = rng.choice(np.array([-127, 127], np.int8), 2 * taps)
        codes = np.where(rng.random(2 * taps) < zeros, 0, signs).astype(np.int8)
        assert all(map(np.array_equal, dense.trace(codes), coded.trace(codes)))


def test_a_codebook_may_begin_with_the_larger_weight() -> None:
    """Our encoder sorts it; nothing says that others do."""
    program = long_row(64, (-127, 127))
    data = bytearray(packed(program, Coding.PACKED))
    at = data.index(bytes((1, 0x81, 0x7F)))
    data[at + 1 : at + 3] = 0x7F, 0x81
    rows = slice(at + 3, at + 3 + 5 * 64 // 8)
    data[rows] = bytes(byte ^ 0xFF for byte in data[rows])
    rng = np.random.default_rng(5)
    signs = rng.choice(np.array([-127, 127], np.int8), 2 * 64)
    expected, found = (
        one.trace(signs)
        for one in (Interpreter(packed(program, Coding.RAW)), Interpreter(bytes(data)))
    )
    assert all(map(np.array_equal, expected, found))


def test_layers_behind_a_table_of_signs_are_found() -> None:
    program = binary_program(1)
    found = binary_sums(program)
    convs = [op for op in program.ops if isinstance(op, p.Conv2D | p.FullyConnected)]
    # The first reads what the model is given.
    assert found == {op.weights for op in convs[1:]}
    table = next(op.table for op in program.ops if isinstance(op, p.Lookup))
    data = program.tensors[table].data
    assert data is not None
    data.flat[7] = 3
    assert binary_sums(program) == set()


def test_a_table_that_is_no_constant_makes_nothing_binary() -> None:
    """Only the C reader knows what an operator may read: what decides before must not trip."""
    program = binary_program(1)
    changed = [
        replace(op, table=op.input) if isinstance(op, p.Lookup) else op for op in program.ops
    ]
    assert binary_sums(replace(program, ops=tuple(changed))) == set()


def test_a_padding_of_another_magnitude_is_no_binary_input() -> None:
    program = binary_program(1)
    assert binary_sums(with_zero_point(program, 3)) < binary_sums(program)


def test_a_whole_net_gives_the_same_bits() -> None:
    program = binary_program(2)
    data = packed(program, Coding.PACKED)
    assert [one.coding for one in unpack(data).stored].count(Coding.PACKED) >= 3
    rng = np.random.default_rng(0)
    dense, coded = Interpreter(packed(program, Coding.RAW)), Interpreter(data)
    codes = rng.integers(-128, 128, program.tensors[program.inputs[0].tensor].elements)
    expected, found = (one.trace(codes.astype(np.int8)) for one in (dense, coded))
    assert all(map(np.array_equal, expected, found))
    assert any(len(np.unique(output)) > 9 for output in expected)
