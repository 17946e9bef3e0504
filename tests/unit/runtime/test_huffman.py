"""The plain Huffman coder: round trips, limits, damaged streams."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hardtack_runtime import huffman, masking
from hardtack_runtime.errors import BundleError
from hardtack_runtime.packing import Coding, entropy_bytes, pack_constants, unpacked_bytes

codes = hnp.arrays(np.int8, st.integers(1, 300), elements=st.integers(-128, 127))


def histogram(symbols: np.ndarray) -> np.ndarray:
    return np.bincount(symbols, minlength=256).astype(np.int64)


def dense_table(x: np.ndarray) -> huffman.Table:
    return huffman.build_table(histogram(x.reshape(-1).astype(np.int64) + 128))


@given(codes)
def test_dense_round_trip(x: np.ndarray) -> None:
    table = dense_table(x)
    assert np.array_equal(huffman.decode_dense(huffman.encode_dense(x, table), x.size, table), x)


@pytest.mark.parametrize("size", [4095, 4096, 4097, 4099, 20000])
def test_four_streams_round_trip(size: int) -> None:
    x = np.random.default_rng(size).normal(0, 12, size).clip(-128, 127).astype(np.int8)
    table = dense_table(x)
    assert np.array_equal(huffman.decode_dense(huffman.encode_dense(x, table), size, table), x)


def test_code_lengths_are_limited_to_12_and_complete() -> None:
    fibonacci = [1, 1]
    while len(fibonacci) < 40:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    counts = np.zeros(256, np.int64)
    counts[:40] = fibonacci
    lengths = huffman.build_table(counts).lengths
    used = lengths[lengths > 0].astype(int)
    assert used.max() == 12
    assert sum(2.0**-n for n in used) == 1.0


def test_the_code_is_within_a_bit_of_entropy_and_optimal_for_powers_of_two() -> None:
    counts = np.zeros(256, np.int64)
    counts[[10, 20, 30, 40]] = [8, 4, 2, 2]
    assert huffman.build_table(counts).lengths[[10, 20, 30, 40]].tolist() == [1, 2, 3, 3]


@given(codes)
def test_a_table_survives_its_own_bytes(x: np.ndarray) -> None:
    table = dense_table(x)
    data = table.encode()
    read, end = huffman.read_table(data, 0)
    assert end == len(data)
    assert np.array_equal(read.lengths, table.lengths)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x05\x04\x11", id="last before first"),
        pytest.param(b"\x00\x01", id="lengths missing"),
        pytest.param(b"\x00\x01\x21", id="kraft sum below one"),
        pytest.param(b"\x00\x02\x11\x01", id="kraft sum above one"),
        pytest.param(b"\x00\x01\xdd", id="length 13"),
        pytest.param(b"\x00\x00\x11", id="nibble behind the last symbol"),
        pytest.param(b"\x00\x02\x10\x01", id="first not in use"),
        pytest.param(b"\x00\x01\x01", id="last not in use"),
    ],
)
def test_a_bad_table_is_refused(data: bytes) -> None:
    with pytest.raises(BundleError, match="HUFF"):
        huffman.read_table(data, 0)


@settings(max_examples=200)
@given(codes, st.data())
def test_a_damaged_stream_never_decodes_past_its_end(x: np.ndarray, data: st.DataObject) -> None:
    table = dense_table(x)
    stored = bytearray(huffman.encode_dense(x, table))
    stored = stored[: data.draw(st.integers(0, len(stored)))]
    if stored:
        stored[data.draw(st.integers(0, len(stored) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        decoded = huffman.decode_dense(bytes(stored), x.size, table)
    except BundleError:
        return
    assert decoded.shape == (x.size,)


@pytest.mark.parametrize("more", [b"\0", b"\x01"], ids=["a zero byte", "a byte"])
def test_bytes_behind_the_last_code_are_refused(more: bytes) -> None:
    x = np.array([0, 3, 0, -1], np.int8)
    table = dense_table(x)
    with pytest.raises(BundleError, match="does not end"):
        huffman.decode_dense(huffman.encode_dense(x, table) + more, x.size, table)


def test_each_tensor_gets_its_smallest_coding() -> None:
    rng = np.random.default_rng(0)
    shape = (50, 1, 1, 100)
    noise = rng.integers(-128, 128, shape).astype(np.int8)
    laplace = rng.laplace(0, 6, shape).clip(-128, 127).astype(np.int8)
    pruned = np.where(rng.random(shape) < 0.05, laplace, 0).astype(np.int8)
    dead = laplace.copy()
    dead[::4] = 0
    dead[..., 3:9] = 0
    wide = rng.integers(-(2**30), 2**30, (1, 1, 1, 50)).astype(np.int32)
    bias = rng.integers(-30000, 30000, (1, 1, 1, 50)).astype(np.int32)
    packed = pack_constants([noise, laplace, pruned, dead, wide, bias])
    chosen = [stored.coding for stored in packed.constants]
    assert chosen == [
        Coding.RAW, Coding.DENSE_HUFF, Coding.GAP_HUFF, Coding.MASKED_HUFF, Coding.RAW,
        Coding.NARROW,
    ]  # fmt: skip
    assert len(packed.constants[1].data) < 1.02 * entropy_bytes(laplace) + 16
    assert len(packed.constants[5].data) == 100


def test_small_tensors_share_a_table() -> None:
    rng = np.random.default_rng(1)
    shape = (4, 1, 1, 100)
    tensors = [rng.laplace(0, 8, shape).clip(-128, 127).astype(np.int8) for _ in range(10)]
    packed = pack_constants(list(tensors))
    assert len(packed.tables) < 4
    assert all(stored.coding == Coding.DENSE_HUFF for stored in packed.constants)


def test_a_table_that_does_not_pay_is_left_out() -> None:
    tiny = np.arange(-20, 20, dtype=np.int8).reshape(1, 1, 1, 40)
    packed = pack_constants([tiny])
    assert packed.tables == ()
    assert packed.constants[0].coding == Coding.RAW


def test_a_table_that_pays_less_than_the_rows_that_name_it_is_left_out() -> None:
    codes = np.random.default_rng(4).laplace(0, 6, (10, 1, 1, 30)).clip(-128, 127).astype(np.int8)
    assert pack_constants([codes], rows=4).tables
    assert pack_constants([codes], rows=400).tables == ()


@given(
    hnp.arrays(np.int8, hnp.array_shapes(min_dims=4, max_dims=4, max_side=9)), st.data()
)  # fmt: skip
def test_a_mask_leaves_out_dead_rows_and_columns_and_nothing_else(
    x: np.ndarray, data: st.DataObject
) -> None:
    x = x.copy()
    rows, inner, columns = masking.view(x.shape)
    folded = x.reshape(rows, inner, columns)
    folded[data.draw(hnp.arrays(np.bool_, rows))] = 0
    folded[:, :, data.draw(hnp.arrays(np.bool_, columns))] = 0
    mask = masking.find(x)
    if mask is None:
        return
    read, size = masking.read(mask.encode(), x.shape)
    assert size == mask.size
    live = masking.compact(x, read)
    assert live.size < x.size
    assert np.array_equal(masking.expand(live, read, x.shape), x)


@pytest.mark.parametrize("limit", [0, 1000, 5008, 12000, 10**6])
def test_what_does_not_fit_a_device_s_memory_stays_raw(limit: int) -> None:
    rng = np.random.default_rng(2)
    shape = (50, 1, 1, 100)
    tensors = [rng.laplace(0, scale, shape).clip(-128, 127) for scale in (2, 6, 20, 40)]
    constants = [t.astype(np.int8) for t in tensors]
    packed = pack_constants(list(constants), unpack_limit=limit)
    coded = [c for c, s in zip(constants, packed.constants, strict=True) if s.coding != Coding.RAW]
    assert sum(map(unpacked_bytes, coded)) <= limit
    if limit == 5008:
        # Room for one: the one that the code shortens most.
        assert [s.coding for s in packed.constants] == [Coding.DENSE_HUFF, *[Coding.RAW] * 3]
    assert bool(packed.tables) == bool(coded)
