"""The coding `ctx`: round trips, a decoder written from the specification, damaged streams."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hardtack_runtime import context, packing
from hardtack_runtime.bundle import pack, unpack
from hardtack_runtime.errors import BundleError
from hardtack_runtime.golden import record, replay
from hardtack_runtime.interpreter import Interpreter
from hardtack_runtime.packing import Coding, entropy_bytes
from tests.digit_bundles import KEY
from tests.unit.runtime_c.ctx_reference import decode as decode_by_the_book

EVERY_OPERATOR = Path(__file__).parents[2] / "golden" / "good" / "every_op.htb"
Int8Array = npt.NDArray[np.int8]


def sparse(rows: int, columns: int, kept: float, scale: float, seed: int = 1) -> Int8Array:
    """Weights of a pruned dense layer: each row looks at one stretch of its columns."""
    rng = np.random.default_rng(seed)
    values = rng.laplace(0, scale, (rows, columns)).round().clip(-128, 127)
    centre = rng.integers(columns // 4, columns * 3 // 4, (rows, 1))
    near = np.exp(-(((np.arange(columns) - centre) / (columns / 16)) ** 2))
    live = rng.random((rows, columns)) < kept * (8 * near + 0.1)
    return np.where(live, values, 0).astype(np.int8).reshape(1, 1, rows, columns)


SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(1, 40))


def stored(codes: Int8Array) -> bytes:
    """Encode, with room to spare: what does not shrink is coded too."""
    rows, columns = context._fold(codes.shape)
    roomy = np.zeros(codes.size * 2 + 64, np.int8)
    roomy[: codes.size] = codes.reshape(-1)
    found = context._encode(roomy, rows, columns, 2)
    assert found is not None
    return found


@given(st.data(), SHAPES)
def test_round_trip(data: st.DataObject, dims: tuple[int, int, int, int]) -> None:
    codes = data.draw(hnp.arrays(np.int8, dims, elements=st.integers(-128, 127)))
    assert np.array_equal(context.decode(stored(codes), dims), codes.reshape(-1))


@settings(max_examples=25)
@given(st.data(), SHAPES, st.floats(0, 1))
def test_the_specification_alone_decodes_it(
    data: st.DataObject, dims: tuple[int, int, int, int], kept: float
) -> None:
    codes = data.draw(hnp.arrays(np.int8, dims, elements=st.integers(-128, 127)))
    codes[np.random.default_rng(3).random(dims) > kept] = 0
    rows, columns = context._fold(dims)
    table = decode_by_the_book(stored(codes), rows, columns)
    assert np.array_equal(np.array(table), codes.reshape(rows, columns))


@pytest.mark.parametrize(("kept", "scale"), [(0.05, 1.5), (0.4, 4), (1, 20)])
def test_long_tensors_decode_alike_here_and_by_the_book(kept: float, scale: float) -> None:
    codes = sparse(40, 90, kept, scale)
    stream = context.encode(codes)
    assert stream is not None
    assert np.array_equal(context.decode(stream, codes.shape), codes.reshape(-1))
    assert np.array_equal(np.array(decode_by_the_book(stream, 40, 90)), codes[0, 0])


def test_it_is_smaller_than_any_other_coding_where_weights_are_sparse() -> None:
    codes = sparse(300, 784, 0.06, 1.5)
    sizes = packing.pack_constants([codes], smallest=True).constants[0].sizes
    assert sizes["ctx"] < 0.98 * min(sizes["gap-huff"], entropy_bytes(codes))


def test_what_does_not_shrink_is_left_alone() -> None:
    noise = np.random.default_rng(2).integers(-128, 128, (1, 1, 30, 50)).astype(np.int8)
    assert context.encode(noise) is None


def test_bytes_left_over_and_a_lag_of_nothing_are_refused() -> None:
    codes = sparse(20, 50, 0.1, 2)
    stream = context.encode(codes)
    assert stream is not None
    for wrong in (stream + bytes(8), b"\0\0" + stream[2:], b"\1\0" + stream[2:], b"\2"):
        with pytest.raises(BundleError):
            context.decode(wrong, codes.shape)


@given(st.binary(min_size=2, max_size=60))
def test_garbage_gives_codes_or_an_error(garbage: bytes) -> None:
    try:
        context.decode(garbage, (1, 1, 9, 31))
    except BundleError as error:
        assert error.code == "HT212"


def test_lags_find_the_width_of_a_picture() -> None:
    """A dense layer on 28 x 28 pixels, each row of weights a blob."""
    y, x = np.mgrid[:28, :28]
    rng = np.random.default_rng(4)
    blobs = [np.hypot(y - cy, x - cx) < 3 for cy, cx in rng.integers(4, 24, (50, 2))]
    codes = np.array(blobs, np.int8).reshape(1, 1, 50, 784)
    assert 28 in context.lags(codes)
    assert context.lags(np.ones((8, 3, 3, 16), np.int8))[:3] == [2, 16, 48]


def test_a_bundle_packed_by_it_runs_with_the_same_bits() -> None:
    given = EVERY_OPERATOR.read_bytes()
    fast = unpack(given)
    data = pack(fast.program, fast.manifest, key=KEY, golden=fast.golden, smallest=True)
    small = unpack(data)
    assert Coding.CTX in {one.coding for one in small.stored}
    assert len(data) < len(given)
    assert small.header.model_id == fast.header.model_id
    replay(Interpreter(data), record(Interpreter(given), seeds=(7, 8)))
