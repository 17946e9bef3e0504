"""The sparse codings: the bits of unpacked weights, no memory for them, damaged rows refused."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardtack_runtime import packing, sparse
from hardtack_runtime import program as p
from hardtack_runtime.bundle import pack, unpack
from hardtack_runtime.errors import BundleError
from hardtack_runtime.interpreter import Interpreter
from hardtack_runtime.memory import Needs
from hardtack_runtime.packing import Coding, pack_constants
from tests.firmware.kernel_bundle import ROOM, KernelBuilder
from tests.golden.make import Builder, manifest_for


def weighted(seed: int, kept: float) -> p.Program:
    """Return random conv_2d and fully_connected, of whose weights a share is kept."""
    b = KernelBuilder(seed)
    for _ in range(4):
        b.convolution(depthwise=False)
        b.dense()
    b.thin(kept)
    return b.program(b.source, b.at(ROOM, 1, 1, 1, 16))


def packed(program: p.Program, coding: Coding) -> bytes:
    every = dict.fromkeys(range(len(program.tensors)), coding)
    return pack(program, manifest_for(program), key=None, codings=every)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from((0.0, 0.02, 0.1, 0.3, 0.6, 1.0)))
def test_it_computes_what_unpacked_weights_compute(seed: int, kept: float) -> None:
    program = weighted(seed, kept)
    dense, coded = (Interpreter(packed(program, c)) for c in (Coding.RAW, Coding.SPARSE))
    rng = np.random.default_rng(seed)
    for codes in (rng.integers(-128, 128, ROOM), np.full(ROOM, -128)):
        expected, found = (one.trace(codes.astype(np.int8)) for one in (dense, coded))
        assert all(map(np.array_equal, expected, found))


def test_the_random_layers_are_of_every_kind() -> None:
    """More taps than a block, more rows than a set, groups, windows of one tap, several rows."""
    programs = [weighted(seed, 0.2) for seed in range(40)]
    shapes = [
        (op, program.tensors[op.weights].dims, program.tensors[op.input].dims)  # type: ignore[attr-defined]
        for program in programs
        for op in program.ops
    ]
    convs = [(w, x) for op, w, x in shapes if isinstance(op, p.Conv2D)]
    assert any(np.prod(w[1:]) > sparse.TAPS for w, _ in convs)
    assert any(w[0] > sparse.ROWS for w, _ in convs)
    assert any(w[3] < x[3] for w, x in convs)
    assert any(w[1:3] == (1, 1) for w, _ in convs)
    assert any(x[2] > 1 for op, _, x in shapes if isinstance(op, p.FullyConnected))


def layer(kept: float = 0.2, rows: int = 40, taps: int = 300) -> p.Program:
    b = Builder(5)
    x, y = b.place(1, 1, 1, taps), b.place(1, 1, 1, rows)
    weights = b.weights(rows, taps, kept=kept)
    stage = b.requantise(rows, zero=-128, of=weights)
    b.ops.append(p.FullyConnected(x, weights, *stage, y, 0, -128, 127))
    return b.program(x, y)


def test_it_takes_no_memory_and_reads_back() -> None:
    program = layer()
    data = pack(program, manifest_for(program), key=None, codings={2: Coding.SPARSE})
    content = unpack(data)
    assert content.stored[0].coding == Coding.SPARSE
    assert np.array_equal(content.program.tensors[2].data, program.tensors[2].data)  # type: ignore[arg-type]
    needs = Needs.of(content)
    interpreter = Interpreter(data)
    assert needs.unpacked == interpreter.unpacked_size < 300
    assert needs.layer == interpreter.layer_size == needs.unpacked
    assert content.header.model_id == unpack(packed(program, Coding.RAW)).header.model_id


def test_a_bias_behind_such_weights_is_not_folded() -> None:
    """What it would lean on is not there."""
    program = layer()
    folded = unpack(pack(program, manifest_for(program), key=None)).stored
    assert Coding.FOLDED in {one.coding for one in folded}
    codings = {2: Coding.SPARSE}
    stored = unpack(pack(program, manifest_for(program), key=None, codings=codings)).stored
    assert {Coding.FOLDED, Coding.SPARSE} & {one.coding for one in stored} == {Coding.SPARSE}


def test_weights_without_room_are_used_where_they_lie() -> None:
    thin, full = layer(kept=0.1), layer(kept=0.95)
    for program, coding in ((thin, Coding.SPARSE), (full, Coding.RAW)):
        (constant,) = (t.data for t in program.tensors if t.data is not None and t.data.ndim == 4
                       and t.data.size == 12000)  # fmt: skip
        tight = pack_constants([constant], unpack_limit=0, weights={0})
        assert tight.constants[0].coding == coding
        forbidden = pack_constants([constant], unpack_limit=0, weights={0}, in_place=())
        assert forbidden.constants[0].coding == Coding.RAW


@pytest.mark.parametrize(
    ("shape", "kept"), [((3, 1, 1, 256), 1.0), ((1, 3, 3, 4), 0.2)], ids=["full", "rows of taps"]
)
def test_weights_that_it_does_not_suit_have_another_coding(
    shape: tuple[int, ...], kept: float
) -> None:
    b = Builder(1)
    x, y = b.place(1, 3, 3, shape[3]), b.place(1, 4 - shape[1], 4 - shape[1], shape[0])
    weights = b.constant(np.where(b.rng.random(shape) < kept, 3, 0).astype(np.int8))
    b.ops.append(p.Conv2D(x, weights, *b.requantise(shape[0]), y, 1, 1, 1, 1, 0, 0, 0, 0,
                          -128, 127))  # fmt: skip
    program = b.program(x, y)
    stored = unpack(packed(program, Coding.SPARSE)).stored
    assert stored[0].coding != Coding.SPARSE
    Interpreter(packed(program, Coding.SPARSE))


def forged(
    program: p.Program,
    monkeypatch: pytest.MonkeyPatch,
    stored: bytes,
    at: int,
    coding: Coding = Coding.SPARSE,
) -> bytes:
    """Write a bundle of which constants of so many bytes are `stored`, in a coding."""
    whole = packing._in_place

    def forge(constant: packing.Constant, _: Coding, __: int | None = None) -> packing._Option:
        option = whole(constant, Coding.RAW)
        return packing._Option(coding, stored) if len(option.data) == at else option

    monkeypatch.setattr(packing, "_in_place", forge)
    return packed(program, Coding.RAW)


def rows_of(*rows: list[tuple[int, int]]) -> bytes:
    return b"".join(
        bytes([len(row)]) + b"".join(struct.pack("<Bb", *entry) for entry in row) for row in rows
    )


GOOD = rows_of([(0, 1), (9, -128)], [], [(4, 127)])


@pytest.mark.parametrize(
    ("stored", "sound"),
    [
        pytest.param(GOOD, True, id="sound"),
        pytest.param(rows_of([(10, 1)], [], []), False, id="an index outside its block"),
        pytest.param(rows_of([(4, 1), (4, 1)], [], []), False, id="an index twice"),
        pytest.param(rows_of([(4, 1), (3, 1)], [], []), False, id="indices that fall"),
        pytest.param(rows_of([(4, 0)], [], []), False, id="a value of 0"),
        pytest.param(rows_of([], []), False, id="a row too few"),
        pytest.param(rows_of([], [], [], []), False, id="a row too many"),
        pytest.param(GOOD[:-1], False, id="half an entry"),
        pytest.param(rows_of([], []) + b"\xff", False, id="entries beyond the end"),
        pytest.param(b"", False, id="nothing"),
    ],
)
def test_both_readers_judge_rows_alike(
    stored: bytes, sound: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = forged(layer(rows=3, taps=10), monkeypatch, stored, 30)
    readers: tuple[Callable[[bytes], object], ...] = (unpack, Interpreter)
    for read in readers:
        if sound:
            read(data)
            continue
        with pytest.raises(BundleError) as caught:
            read(data)
        assert caught.value.code == "HT212"


@pytest.mark.parametrize("by", ["rows", "columns"])
def test_every_truncation_is_refused(by: str) -> None:
    dims = (40, 1, 1, 300)
    codes = np.random.default_rng(0).integers(-1, 2, dims).astype(np.int8)
    stored = sparse.encode(codes) if by == "rows" else sparse.encode_columns(codes, -128)
    decode = sparse.decode if by == "rows" else sparse.decode_columns
    assert stored is not None
    assert np.array_equal(decode(stored, dims), codes)
    for length in itertools.chain(range(0, len(stored), 7), [len(stored) - 1]):
        with pytest.raises(BundleError):
            decode(stored[:length], dims)


def behind_relu(seed: int, outputs: int, inputs: int, kept: float) -> p.Program:
    """Return a layer behind one that clamps to a code of its own choice."""
    b = Builder(seed)
    zero = int(b.rng.integers(-128, 128))
    x, y, z = b.place(1, 1, 1, 20), b.place(1, 1, 1, inputs), b.place(1, 1, 1, outputs)
    b.ops.append(p.FullyConnected(x, b.weights(inputs, 20), *b.requantise(inputs), y, zero, zero,
                                  127))  # fmt: skip
    weights = b.weights(outputs, inputs, kept=kept)
    stage = b.requantise(outputs, zero=zero, of=weights)
    b.ops.append(p.FullyConnected(y, weights, *stage, z, 3, -128, 120))
    return b.program(x, z)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from((1, 3, 64, 256, 300)),
    st.sampled_from((1, 70, 300)),
    st.sampled_from((0.0, 0.1, 0.5, 0.95)),
)
def test_columns_compute_what_unpacked_weights_compute(
    seed: int, outputs: int, inputs: int, kept: float
) -> None:
    program = behind_relu(seed, outputs, inputs, kept)
    data = packed(program, Coding.SPARSE_COLUMNS)
    codings = {one.coding for one in unpack(data).stored}
    assert Coding.SPARSE_COLUMNS in codings or kept == 0.95
    dense, coded = Interpreter(packed(program, Coding.RAW)), Interpreter(data)
    rng = np.random.default_rng(seed)
    for _ in range(3):
        codes = rng.integers(-128, 128, 20).astype(np.int8)
        expected, found = (one.trace(codes) for one in (dense, coded))
        assert all(map(np.array_equal, expected, found))


def columns_of(skipped: int, sums: list[int], *columns: list[tuple[int, int]]) -> bytes:
    return struct.pack(f"<i{len(sums)}i", skipped & 255, *sums) + rows_of(*columns)


SUMS = [3, 0, -5]
COLUMNS = ([(0, 3)], [(2, -5)])


@pytest.mark.parametrize(
    ("stored", "sound"),
    [
        pytest.param(columns_of(-128, SUMS, *COLUMNS), True, id="sound"),
        pytest.param(columns_of(-128, [3, 0, -4], *COLUMNS), False, id="a wrong sum"),
        pytest.param(columns_of(-128, SUMS, [(0, 3)], [(3, -5)]), False, id="no such output"),
        pytest.param(columns_of(-128, SUMS, *COLUMNS, []), False, id="a column too many"),
        pytest.param(columns_of(-128, SUMS, COLUMNS[0]), False, id="a column too few"),
        pytest.param(struct.pack("<i3i", 1 << 8, *SUMS) + rows_of(*COLUMNS), False, id="reserved"),
        pytest.param(columns_of(-128, SUMS[:2]), False, id="sums cut short"),
    ],
)
def test_both_readers_judge_columns_alike(
    stored: bytes, sound: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = forged(layer(rows=3, taps=2), monkeypatch, stored, 6, Coding.SPARSE_COLUMNS)
    for read in (unpack, Interpreter):
        if sound:
            read(data)
            continue
        with pytest.raises(BundleError) as caught:
            read(data)
        assert caught.value.code == "HT212"


def test_columns_are_no_weights_of_a_convolution(monkeypatch: pytest.MonkeyPatch) -> None:
    b = Builder(2)
    x, y = b.place(1, 1, 1, 2), b.place(1, 1, 1, 3)
    b.ops.append(p.Conv2D(x, b.weights(3, 1, 1, 2), *b.requantise(3), y, 1, 1, 1, 1, 0, 0, 0, 0,
                          -128, 127))  # fmt: skip
    stored = columns_of(-128, SUMS, *COLUMNS)
    data = forged(b.program(x, y), monkeypatch, stored, 6, Coding.SPARSE_COLUMNS)
    for read in (unpack, Interpreter):
        with pytest.raises(BundleError) as caught:
            read(data)
        assert caught.value.code == "HT212"


@pytest.mark.parametrize("field", ["shift", "bias of depthwise"])
def test_such_a_constant_is_refused_where_it_is_no_weights(
    field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, size = layer(rows=3, taps=10), 3
    stored = rows_of([(0, 1)], [], []) if field == "shift" else b""
    if field != "shift":
        b = Builder(2)
        x, y = b.place(1, 3, 3, 5), b.place(1, 3, 3, 5)
        b.ops.append(p.DepthwiseConv2D(x, b.weights(1, 1, 1, 5), *b.requantise(5), y, 1, 1, 1, 1,
                                       0, 0, 0, 0, -128, 127))  # fmt: skip
        program, size, stored = b.program(x, y), 5, rows_of([(0, 1)])
    else:
        stored = rows_of([(0, 1), (1, 2)])
    data = forged(program, monkeypatch, stored, size)
    for read in (unpack, Interpreter):
        with pytest.raises(BundleError) as caught:
            read(data)
        assert caught.value.code == "HT212"
