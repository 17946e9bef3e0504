"""The C decoder against the Python encoder, with large look-up tables and with small ones."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hardtack_runtime import gap_huff, huffman
from hardtack_runtime.errors import BundleError
from hardtack_runtime.interpreter import huffman_decode_dense, huffman_decode_gap
from tests.unit.runtime_c.compile import build

Int8Array = npt.NDArray[np.int8]
short = hnp.arrays(np.int8, st.integers(1, 400), elements=st.integers(-128, 127))


def dense_of(codes: Int8Array) -> tuple[bytes, bytes]:
    counts = np.bincount(codes.astype(np.int64) + 128, minlength=256)
    table = huffman.build_table(counts)
    return huffman.encode_dense(codes, table), table.encode()


def gap_of(codes: Int8Array) -> tuple[bytes, bytes, bytes]:
    gap_table, table = gap_huff.build_tables(codes)
    return gap_huff.encode(codes, gap_table, table), gap_table.encode(), table.encode()


def laplace(count: int, scale: float) -> Int8Array:
    rng = np.random.default_rng(count)
    return np.rint(rng.laplace(0, scale, count)).clip(-128, 127).astype(np.int8)


@given(short)
def test_dense_round_trip(codes: Int8Array) -> None:
    stored, table = dense_of(codes)
    assert np.array_equal(huffman_decode_dense(stored, codes.size, table), codes)


@pytest.mark.parametrize("scale", [0.05, 3, 12, 60])
@pytest.mark.parametrize("count", [4095, 4096, 4097, 4098, 4099, 100_003])
def test_four_streams_round_trip(count: int, scale: float) -> None:
    codes = laplace(count, scale)
    stored, table = dense_of(codes)
    assert np.array_equal(huffman_decode_dense(stored, count, table), codes)


@pytest.mark.parametrize("run", [3, 5, 6, 7, 40, 200])
def test_long_codes_in_a_row_are_more_than_is_loaded_at_a_time(run: int) -> None:
    codes = laplace(200_000, 4)
    rare = np.arange(60, 124, dtype=np.int8)
    for start in range(100, 190_000, 9001):
        codes[start : start + run] = np.resize(rare, run)
    stored, table = dense_of(codes)
    lengths = huffman.read_table(table, 0)[0].lengths[codes[100 : 100 + run].astype(int) + 128]
    assert sum(lengths[:6]) > 56 or run < 6
    assert np.array_equal(huffman_decode_dense(stored, codes.size, table), codes)


@given(short, st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_gap_round_trip(codes: Int8Array, kept: float, seed: int) -> None:
    codes = np.where(np.random.default_rng(seed).random(codes.size) < kept, codes, 0)
    codes[-1] = 5
    stored, gap_table, table = gap_of(codes.astype(np.int8))
    decoded = huffman_decode_gap(stored, codes.size, gap_table, table)
    assert np.array_equal(decoded, codes)


def test_a_gap_of_many_bits_is_read_in_parts() -> None:
    codes = np.zeros(3_000_000, np.int8)
    codes[[0, 2_900_000, 2_900_005]] = 1, 2, 3
    stored, gap_table, table = gap_of(codes)
    assert np.array_equal(huffman_decode_gap(stored, codes.size, gap_table, table), codes)


def sparse(count: int, kept: float, scale: float) -> Int8Array:
    """Return codes of which a share is kept, far apart at the end."""
    codes = np.where(np.random.default_rng(count).random(count) < kept, laplace(count, scale), 0)
    codes[count // 2 : -1] = 0
    codes[-1] = -7
    return codes.astype(np.int8)


@pytest.mark.parametrize("kept", [0.02, 0.2, 1])
@pytest.mark.parametrize("scale", [1, 40])
def test_a_long_sparse_stream_round_trips(kept: float, scale: float) -> None:
    codes = sparse(200_000, kept, scale)
    stored, gap_table, table = gap_of(codes)
    assert len(stored) > 1024  # where the fast way begins
    assert np.array_equal(huffman_decode_gap(stored, codes.size, gap_table, table), codes)


@pytest.mark.parametrize("nonzeros", [4095, 4096, 4097, 4098, 4099, 30_001])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.97, 1])
def test_four_streams_of_gaps_round_trip(nonzeros: int, kept: float) -> None:
    codes = np.zeros(round(nonzeros / kept), np.int8)
    rng = np.random.default_rng(nonzeros)
    codes[rng.choice(codes.size, nonzeros, replace=False)] = rng.integers(1, 128, nonzeros)
    stored, gap_table, table = gap_of(codes)
    assert np.array_equal(huffman_decode_gap(stored, codes.size, gap_table, table), codes)


def mostly_values(count: int, kept: float) -> Int8Array:
    """Return codes of which a share is kept, but none for a while at the beginning and the end."""
    codes = np.where(np.random.default_rng(count).random(count) < kept, laplace(count, 20) | 1, 0)
    codes[:50] = codes[-50:] = 0
    return codes.astype(np.int8)


@pytest.mark.parametrize("kept", [0.55, 0.8, 0.98])
@pytest.mark.parametrize("full", [0, 700, 90_000], ids="{} values in a row".format)
def test_long_streams_of_mostly_values_round_trip(kept: float, full: int) -> None:
    codes = mostly_values(120_000, kept)
    codes[20_000 : 20_000 + full] |= 1
    stored, gap_table, table = gap_of(codes)
    if full < 90_000:
        # where blocks are copied at a time
        assert int.from_bytes(stored[4:8], "little") > 1024
    assert np.array_equal(huffman_decode_gap(stored, codes.size, gap_table, table), codes)


@pytest.mark.parametrize(
    "codes",
    [[1, 1, 1], [1, 0, 0, 1], [7, -7, 7], [1, 2, 0], [0, 0, 1], [0, 0, 1, 0, 0, 2]],
    ids=str,
)
def test_tables_of_one_symbol_are_decoded_symbol_by_symbol(codes: list[int]) -> None:
    many = np.tile(np.array(codes, np.int8), 12_000)
    stored, gap_table, table = gap_of(many)
    assert judged_alike(stored, many.size, gap_table, table)
    damaged = bytearray(stored)
    damaged[100] ^= 16  # the code of the one symbol is 0
    judged_alike(bytes(damaged), many.size, gap_table, table)


def judged_alike(stored: bytes, count: int, gap_table: bytes, table: bytes) -> bool:
    """Compare the C decoder with the plain one; return whether they took the bytes."""
    tables = [huffman.read_table(one, 0)[0] for one in (gap_table, table)]
    try:
        expected = gap_huff.decode(stored, count, *tables)
    except BundleError:
        with pytest.raises(BundleError):
            huffman_decode_gap(stored, count, gap_table, table)
        return False
    assert np.array_equal(huffman_decode_gap(stored, count, gap_table, table), expected)
    return True


@pytest.mark.parametrize(("kept", "flips"), [(0.1, 300), (0.3, 80)], ids=["one", "four"])
def test_long_sparse_streams_are_refused_where_the_plain_reader_refuses_them(
    kept: float, flips: int
) -> None:
    codes = sparse(40_000, kept, 20)
    stored, gap_table, table = gap_of(codes)
    assert (np.count_nonzero(codes) >= huffman.STREAMS_FROM) == (kept == 0.3)
    rng = np.random.default_rng(3)
    taken = 0
    for _ in range(flips):
        damaged = bytearray(stored)
        damaged[rng.integers(len(stored))] ^= 1 << rng.integers(8)
        taken += judged_alike(bytes(damaged), codes.size, gap_table, table)
    assert 0 < taken < flips - flips // 20


@pytest.mark.parametrize(("kept", "flips"), [(0.6, 200), (0.95, 80)])
def test_mostly_values_are_refused_where_the_plain_reader_refuses_them(
    kept: float, flips: int
) -> None:
    codes = mostly_values(30_000, kept)
    stored, gap_table, table = gap_of(codes)
    rng = np.random.default_rng(5)
    taken = 0
    for flip in range(flips):
        damaged = bytearray(stored)
        end = 8 + int.from_bytes(stored[4:8], "little") if flip % 2 else len(stored)
        damaged[rng.integers(end)] ^= 1 << rng.integers(8)
        taken += judged_alike(bytes(damaged), codes.size, gap_table, table)
    assert 0 < taken < flips - flips // 20


@pytest.mark.parametrize("size", [0, 3, 4, 7, 8, 2000])
@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_stream_that_is_cut_short_is_refused(size: int, kept: float) -> None:
    codes = mostly_values(30_000, kept)
    stored, gap_table, table = gap_of(codes)
    assert not judged_alike(stored[:size], codes.size, gap_table, table)


@pytest.mark.parametrize("bit", [0, 7, 14, 21, 31])
@pytest.mark.parametrize("field", [0, 1])
def test_a_damaged_head_of_mostly_values_is_refused(field: int, bit: int) -> None:
    codes = mostly_values(30_000, 0.8)
    stored, gap_table, table = gap_of(codes)
    damaged = bytearray(stored)
    damaged[4 * field + bit // 8] ^= 1 << bit % 8
    assert not judged_alike(bytes(damaged), codes.size, gap_table, table)


@pytest.mark.parametrize("field", range(7))
def test_a_damaged_head_of_four_streams_is_refused(field: int) -> None:
    codes = sparse(40_000, 0.3, 20)
    stored, gap_table, table = gap_of(codes)
    for bit in range(0, 32, 3):
        damaged = bytearray(stored)
        damaged[4 * field + bit // 8] ^= 1 << bit % 8
        assert not judged_alike(bytes(damaged), codes.size, gap_table, table)


@pytest.mark.parametrize("kept", [0.3, 0.9])
@pytest.mark.parametrize(
    ("gap", "value"), [(None, 128), (56, None), (255, None)], ids=["zero", "gap of 56", "of 255"]
)
def test_tables_with_symbols_that_cannot_be_are_refused(
    kept: float, gap: int | None, value: int | None
) -> None:
    codes = mostly_values(30_000, kept)
    gaps, values = gap_huff.histograms(codes)
    gaps[gap or 0] += 1
    values[value or 1] += 1
    tables = huffman.build_table(gaps), huffman.build_table(values)
    stored = gap_huff.encode(codes, *tables)
    assert not judged_alike(stored, codes.size, *(table.encode() for table in tables))


@pytest.mark.parametrize("more", [b"\0", b"\1"], ids=["a zero byte", "a byte"])
def test_bytes_behind_the_last_gap_are_refused(more: bytes) -> None:
    codes = mostly_values(30_000, 0.9)
    stored, gap_table, table = gap_of(codes)
    size = int.from_bytes(stored[4:8], "little")
    end = 8 + size
    longer = stored[:4] + (size + 1).to_bytes(4, "little") + stored[8:end] + more + stored[end:]
    assert not judged_alike(longer, codes.size, gap_table, table)


@pytest.mark.parametrize("gap", range(4000, 4018))
def test_blocks_that_are_copied_never_reach_values_to_come(gap: int) -> None:
    """Few zeros are left when blocks are copied last: 38 with gaps of this and that many values."""
    codes = (np.arange(200_000) % 127 + 1).astype(np.int8)
    codes[:36_000:3] = 0
    codes[36_000 + gap * np.arange(1, 39)] = 0
    stored, gap_table, table = gap_of(codes)
    assert judged_alike(stored, codes.size, gap_table, table)


class SmallDecoder:
    """The decoder as microcontrollers have it: a look-up of few bits, longer codes apart."""

    def __init__(self, library: Path) -> None:
        self.c = ctypes.CDLL(str(library))
        for name in ("ht_decoder_size", "ht_gap_decoders_size"):
            getattr(self.c, name).restype = ctypes.c_size_t

    def dense(self, stored: bytes, count: int, table: bytes) -> Int8Array | None:
        decoder = ctypes.create_string_buffer(self.c.ht_decoder_size())
        assert self.c.ht_huffman_build(table, ctypes.c_size_t(len(table)), decoder) == 0
        return self.run(self.c.ht_huffman_decode_dense, stored, count, decoder)

    def gap(self, stored: bytes, count: int, gap_table: bytes, table: bytes) -> Int8Array | None:
        decoders = ctypes.create_string_buffer(self.c.ht_gap_decoders_size())
        sizes = [ctypes.c_size_t(len(one)) for one in (table, gap_table)]
        tables = table, sizes[0], gap_table, sizes[1]
        assert self.c.ht_huffman_build_gap(*tables, decoders) == 0
        return self.run(self.c.ht_huffman_decode_gap, stored, count, decoders)

    def run(self, decode: Any, stored: bytes, count: int, decoder: Any) -> Int8Array | None:
        out = np.empty(count, np.int8)
        sizes = [ctypes.c_size_t(v) for v in (len(stored), count)]
        status = decode(decoder, stored, sizes[0], ctypes.c_void_p(out.ctypes.data), sizes[1])
        return out if status == 0 else None


@pytest.fixture(scope="module", params=[7, 8])
def small_decoder(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> SmallDecoder:
    library = tmp_path_factory.mktemp("lut") / "lut.so"
    build(library, flags=("-O2", "-shared", "-fPIC", f"-DHT_LUT_BITS={request.param}"))
    return SmallDecoder(library)


@pytest.mark.parametrize("nonzeros", [300, 4096, 9001])
@pytest.mark.parametrize("count", [10_000, 60_000])
def test_gaps_are_decoded_without_a_wide_window(
    nonzeros: int, count: int, small_decoder: SmallDecoder
) -> None:
    codes = np.zeros(count, np.int8)
    rng = np.random.default_rng(nonzeros)
    codes[rng.choice(count, nonzeros, replace=False)] = laplace(nonzeros, 20) | 1
    stored, gap_table, table = gap_of(codes)
    decoded = small_decoder.gap(stored, codes.size, gap_table, table)
    assert decoded is not None
    assert np.array_equal(decoded, codes)
    for at in (4, 17, 21, len(stored) - 1):
        damaged = stored[:at] + bytes((stored[at] ^ 0x81,)) + stored[at + 1 :]
        taken = small_decoder.gap(damaged, codes.size, gap_table, table) is not None
        assert taken == judged_alike(damaged, codes.size, gap_table, table)


@pytest.mark.parametrize("scale", [0.3, 4, 30, 200])
@pytest.mark.parametrize("count", [700, 5000, 60_001])
def test_codes_longer_than_the_look_up_table(
    count: int, scale: float, small_decoder: SmallDecoder
) -> None:
    codes = laplace(count, scale)
    codes[:256] = np.arange(-128, 128)
    stored, table = dense_of(codes)
    assert max(huffman.read_table(table, 0)[0].lengths) > 8
    decoded = small_decoder.dense(stored, count, table)
    assert decoded is not None
    assert np.array_equal(decoded, codes)


@pytest.mark.parametrize("scale", [1, 30])
def test_a_small_table_takes_and_refuses_what_a_large_one_does(
    scale: float, small_decoder: SmallDecoder
) -> None:
    rng = np.random.default_rng(2)
    codes = laplace(3000, scale)
    stored, table = dense_of(codes)
    refused = 0
    for _ in range(200):
        damaged = bytearray(stored)
        damaged[rng.integers(len(stored))] ^= 1 << rng.integers(8)
        decoded = small_decoder.dense(bytes(damaged), codes.size, table)
        try:
            expected = huffman_decode_dense(bytes(damaged), codes.size, table)
        except BundleError:
            refused += 1
            assert decoded is None
        else:
            assert decoded is not None
            assert np.array_equal(decoded, expected)
    assert 0 < refused < 200


@settings(deadline=None)
@given(short, st.data())
def test_a_damaged_stream_is_refused_or_decodes_to_other_codes(
    codes: Int8Array, data: st.DataObject
) -> None:
    stored, table = dense_of(codes)
    at = data.draw(st.integers(0, len(stored) - 1))
    bit = data.draw(st.integers(0, 7))
    damaged = bytearray(stored)
    damaged[at] ^= 1 << bit
    try:
        decoded = huffman_decode_dense(bytes(damaged), codes.size, table)
    except BundleError as error:
        assert error.code == "HT212"
    else:
        assert not np.array_equal(decoded, codes)


@given(short)
def test_a_cut_stream_is_refused(codes: Int8Array) -> None:
    stored, table = dense_of(codes)
    with pytest.raises(BundleError, match="malformed Huffman stream"):
        huffman_decode_dense(stored[:-1], codes.size, table)


def test_a_stream_with_a_byte_too_many_is_refused() -> None:
    stored, table = dense_of(laplace(100, 5))
    with pytest.raises(BundleError, match="malformed Huffman stream"):
        huffman_decode_dense(stored + b"\0", 100, table)


@pytest.mark.parametrize(
    ("table", "why"),
    [
        pytest.param(b"\x05\x04\x11", "last below first", id="range"),
        pytest.param(b"\x00\x01\x21", "half of the code space is free", id="incomplete"),
        pytest.param(b"\x00\x02\x11\x01", "more codes than space", id="oversubscribed"),
        pytest.param(b"\x00\x00\x0d", "length 13", id="long"),
        pytest.param(b"\x00\x00\x11", "the unused nibble is set", id="padding"),
        pytest.param(b"\x00\x02\x11\x00", "the last symbol is absent", id="untrimmed"),
        pytest.param(b"\x00\x01", "cut short", id="short"),
    ],
)
def test_a_bad_table_is_refused(table: bytes, why: str) -> None:
    with pytest.raises(BundleError, match="malformed Huffman table"):
        huffman_decode_dense(b"\0", 1, table)


def test_a_library_path_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hardtack_runtime
    from hardtack_runtime import _library
    from hardtack_runtime.errors import ConfigError

    monkeypatch.setattr(hardtack_runtime, "__path__", [str(tmp_path)])
    with pytest.raises(ConfigError, match="pip install"):
        _library.find_library()
