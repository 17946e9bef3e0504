"""gap-huff by the plain reader and writer: round trips, limits, damaged streams."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hardtack_runtime import gap_huff, huffman
from hardtack_runtime.errors import BundleError

codes = hnp.arrays(np.int8, st.integers(1, 300), elements=st.integers(-128, 127))


def some(count: int, nonzeros: int) -> np.ndarray:
    """Return so many elements, of which so many, anywhere, are not zero."""
    rng = np.random.default_rng(nonzeros)
    x = np.zeros(count, np.int8)
    x[rng.choice(count, nonzeros, replace=False)] = rng.integers(1, 100, nonzeros)
    return x


def round_trip(x: np.ndarray) -> None:
    tables = gap_huff.build_tables(x)
    assert np.array_equal(gap_huff.decode(gap_huff.encode(x, *tables), x.size, *tables), x)


@given(codes, st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_round_trip(x: np.ndarray, kept: float, seed: int) -> None:
    x = np.where(np.random.default_rng(seed).random(x.size) < kept, x, 0).astype(np.int8)
    if x.any():
        round_trip(x)


@pytest.mark.parametrize("nonzeros", [4095, 4096, 4097, 4098, 4099, 9001])
@pytest.mark.parametrize("kept", [0.1, 0.9])
def test_four_streams_round_trip(kept: float, nonzeros: int) -> None:
    round_trip(some(round(nonzeros / kept), nonzeros))


@pytest.mark.parametrize(
    "x",
    [[1], [1, 0], [0, 1], [1, 1], [0, 1, 1], [1, 1, 0], [0, 0, 1, 1, 1], [1, 0, 1, 0, 1]],
    ids=str,
)
def test_zeros_at_either_end_and_none_round_trip(x: list[int]) -> None:
    round_trip(np.array(x, np.int8))


def test_gaps_are_between_the_rarer_kind() -> None:
    half = np.tile(np.array([3, 0], np.int8), 50)
    gaps, _ = gap_huff.histograms(half)
    assert gaps[:2].tolist() == [1, 49]  # zeros before each value
    half[1] = 3
    gaps, _ = gap_huff.histograms(half)
    assert gaps[:4].tolist() == [0, 48, 0, 1]  # values before each zero


def test_where_nearly_nothing_is_zero_it_costs_nearly_nothing() -> None:
    x = np.random.default_rng(0).integers(1, 5, 4000).astype(np.int8)
    x[1000] = 0
    stored = gap_huff.encode(x, *gap_huff.build_tables(x))
    assert len(stored) == 8 + 2 + 1000  # heads, a gap of 1 + 8 bits, two bits a value


def test_four_streams_cost_24_bytes_and_their_padding() -> None:
    x = np.ones(2 * 4096, np.int8)
    x[::3] = -1
    x[4096:] = 0
    tables = gap_huff.build_tables(x)
    whole = gap_huff.encode(x, *tables)
    x[4095] = 0
    assert len(gap_huff.encode(x, *tables)) == 4 + 4095 * 2 // 8 + 1
    assert len(whole) == 4 + 24 + 4096 * 2 // 8


@pytest.mark.parametrize(
    ("at", "why"),
    [
        pytest.param(4, "does not end|ends early", id="bytes of the first stream"),
        pytest.param(16, "where the next one begins", id="start of the second stream"),
        pytest.param(24, "where the next one begins", id="start of the fourth stream"),
    ],
)
@pytest.mark.parametrize("change", [-1, 1])
def test_streams_must_meet(at: int, why: str, change: int) -> None:
    x = np.zeros(30_000, np.int8)
    x[:20_000:4] = np.random.default_rng(0).integers(1, 9, 5000)
    refused(changed(gap_huff.encode(x, *gap_huff.build_tables(x)), at, change), x, why)


def changed(stored: bytes, at: int, change: int) -> bytes:
    """Return the bytes with the u32 that lies there changed."""
    (field,) = struct.unpack_from("<I", stored, at)
    return stored[:at] + struct.pack("<I", field + change) + stored[at + 4 :]


def refused(stored: bytes, x: np.ndarray, why: str) -> None:
    with pytest.raises(BundleError, match=why):
        gap_huff.decode(stored, x.size, *gap_huff.build_tables(x))


@pytest.mark.parametrize(
    ("at", "change", "why"),
    [
        pytest.param(0, -1, "does not end", id="a value less"),
        pytest.param(0, 1, "ends early|does not end", id="a value more"),
        pytest.param(0, 1000, "more values than", id="more values than elements"),
        pytest.param(4, -1, "early|does not end", id="fewer bytes of gaps"),
        pytest.param(4, 1, "does not end|early", id="more bytes of gaps"),
        pytest.param(4, 10_000, "cut short", id="more bytes of gaps than there are"),
    ],
)
def test_damaged_heads_of_mostly_values_are_refused(at: int, change: int, why: str) -> None:
    x = some(1000, 800)
    refused(changed(gap_huff.encode(x, *gap_huff.build_tables(x)), at, change), x, why)


@pytest.mark.parametrize("size", [0, 3, 4, 7])
def test_what_is_cut_short_is_refused(size: int) -> None:
    x = some(1000, 800)
    refused(gap_huff.encode(x, *gap_huff.build_tables(x))[:size], x, "cut short")


def test_a_zero_behind_the_end_is_refused() -> None:
    x = np.array([1, 2, 3, 0, 4, 5, 6, 7], np.int8)
    gap_table = huffman.build_table(np.eye(256, dtype=np.int64)[[3, 11]].sum(0))
    values = gap_huff.build_tables(x)[1]
    stored = bytearray(gap_huff.encode(x, gap_table, values))
    assert np.array_equal(gap_huff.decode(bytes(stored), x.size, gap_table, values), x)
    stored[8] = 0x80  # of 3, the other gap: 24 and four extra bits
    with pytest.raises(BundleError, match="outside its tensor"):
        gap_huff.decode(bytes(stored), x.size, gap_table, values)


@pytest.mark.parametrize("nonzeros", [200, 800])
@pytest.mark.parametrize(("gap", "value"), [(56, 129), (0, 128)])
def test_tables_with_symbols_that_cannot_be_are_refused(
    gap: int, value: int, nonzeros: int
) -> None:
    x = some(1000, nonzeros)
    gaps, values = gap_huff.histograms(x)
    gaps[gap] += 1
    values[value] += 1
    tables = huffman.build_table(gaps), huffman.build_table(values)
    with pytest.raises(BundleError, match="a symbol that it cannot have"):
        gap_huff.decode(gap_huff.encode(x, *tables), x.size, *tables)


@pytest.mark.parametrize("more", [b"\0", b"\1"], ids=["a zero byte", "a byte"])
def test_bytes_behind_the_last_gap_are_refused(more: bytes) -> None:
    x = some(1000, 800)
    stored = gap_huff.encode(x, *gap_huff.build_tables(x))
    end = 8 + int.from_bytes(stored[4:8], "little")
    refused(changed(stored[:end] + more + stored[end:], 4, 1), x, "does not end")


@pytest.mark.parametrize("more", [b"\0", b"\x01"], ids=["a zero byte", "a byte"])
@pytest.mark.parametrize("nonzeros", [200, 800])
def test_bytes_behind_the_last_code_are_refused(nonzeros: int, more: bytes) -> None:
    x = some(1000, nonzeros)
    refused(gap_huff.encode(x, *gap_huff.build_tables(x)) + more, x, "does not end")


@given(st.integers(0, 2**28 - 1))
def test_a_gap_is_its_symbol_and_extra_bits(gap: int) -> None:
    symbol, extra, width = (int(v[0]) for v in gap_huff.symbols(np.array([gap])))
    rebuilt = symbol if symbol < 4 else ((2 + symbol % 2) << (symbol // 2 - 1)) | extra
    assert rebuilt == gap
    assert symbol <= 55
    assert width == max(0, symbol // 2 - 1) or symbol < 4
