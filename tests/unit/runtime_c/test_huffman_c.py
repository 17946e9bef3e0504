"""The C decoder against the Python encoder, with large look-up tables and with small ones."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hardtack_runtime import huffman
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
    gaps, values = huffman.split_gaps(codes)
    symbols = huffman.gap_symbols(gaps)[0]
    gap_table = huffman.build_table(np.bincount(symbols, minlength=256))
    table = huffman.build_table(np.bincount(values, minlength=256))
    return huffman.encode_gap(codes, gap_table, table), gap_table.encode(), table.encode()


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


@pytest.fixture(scope="module")
def small_decoder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Int8Array]:
    """The decoder as microcontrollers have it: 8 bits of look-up, longer codes searched."""
    library = tmp_path_factory.mktemp("lut9") / "lut9.so"
    build(library, flags=("-O2", "-shared", "-fPIC", "-DHT_LUT_BITS=8"))
    c = ctypes.CDLL(str(library))
    c.ht_decoder_size.restype = ctypes.c_size_t

    def decode(stored: bytes, count: int, table: bytes) -> Int8Array:
        decoder = ctypes.create_string_buffer(c.ht_decoder_size())
        assert c.ht_huffman_build(table, ctypes.c_size_t(len(table)), 0x80, decoder) == 0
        out = np.empty(count, np.int8)
        sizes = [ctypes.c_size_t(v) for v in (len(stored), count)]
        pointer = ctypes.c_void_p(out.ctypes.data)
        assert c.ht_huffman_decode_dense(decoder, stored, sizes[0], pointer, sizes[1]) == 0
        return out

    return decode


@pytest.mark.parametrize("count", [700, 5000, 60_001])
def test_codes_longer_than_the_look_up_table(
    count: int, small_decoder: Callable[..., Int8Array]
) -> None:
    codes = laplace(count, 4)
    codes[:256] = np.arange(-128, 128)
    stored, table = dense_of(codes)
    assert max(huffman.read_table(table, 0)[0].lengths) > 9
    assert np.array_equal(small_decoder(stored, count, table), codes)


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
