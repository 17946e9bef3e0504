"""Packed models: every byte comes back, or the file is refused."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardtack_runtime import payload
from hardtack_runtime.errors import BundleError
from hardtack_runtime.payload import Span, pack_payload, unpack_payload

HEAD = 45


def floats(count: int, seed: int = 0, kept: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(rng.random(count) < kept, rng.normal(0, 0.05, count), 0).astype(np.float32)


def file_of(tensor: np.ndarray) -> tuple[bytes, list[Span]]:
    """Return a file that holds a tensor between other bytes, and where it lies."""
    text = b"a graph, its names and shapes; " * 3
    n, h, w, c = (1, 1, 1, 1, *tensor.shape)[-4:]
    span = Span(len(text), tensor.dtype.itemsize, tensor.dtype.kind == "f", (n, h, w, c))
    return text + tensor.tobytes() + text[::-1], [span]


RNG = np.random.default_rng(1)
TENSORS = {
    "float32": floats(6000).reshape(20, 300),
    "float32 pruned": floats(6000, kept=0.1).reshape(20, 300),
    "float32 minus zero": -floats(6000, kept=0.5).reshape(20, 300) * np.float32(-0.0),
    "float32 any bits": RNG.integers(0, 2**32, 3000, np.uint32).view(np.float32),
    "float32 zeros": np.zeros((10, 100), np.float32),
    "float16": floats(4000).astype(np.float16).reshape(40, 100),
    "float64": floats(2000).astype(np.float64).reshape(2, 10, 10, 10),
    "int8": np.rint(RNG.laplace(0, 9, (16, 3, 3, 32))).clip(-127, 127).astype(np.int8),
    "int32": RNG.integers(-9000, 9000, 500).astype(np.int32),
    "int64": RNG.integers(-9, 9, 300).astype(np.int64),
    "bool": RNG.random((30, 30)) < 0.5,
}


@pytest.mark.parametrize("name", TENSORS)
def test_every_type_comes_back_bit_by_bit(name: str) -> None:
    data, spans = file_of(TENSORS[name])
    packed = pack_payload(data, spans)
    assert unpack_payload(packed) == data
    assert len(packed) < len(data) or name == "float32 any bits"


def test_exponents_are_coded_apart_from_what_is_random() -> None:
    tensor = floats(50_000).reshape(100, 500)
    data, spans = file_of(tensor)
    with_spans, without = len(pack_payload(data, spans)), len(pack_payload(data, []))
    assert with_spans < without
    assert 24 / 32 < with_spans / len(data) < 27 / 32  # sign and mantissa: nothing shortens them


def test_zeros_of_a_pruned_tensor_cost_little() -> None:
    tensor = floats(50_000, kept=0.1).reshape(100, 500)
    data, spans = file_of(tensor)
    nonzero = np.count_nonzero(tensor)
    assert len(pack_payload(data, spans)) < nonzero * 27 / 8 + 50_000 * 0.5 / 8


def test_a_tensor_longer_than_a_block_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload, "BLOCK", 1000)
    for shape in ((50, 90), (3, 4000), (1, 40, 5, 30), (7, 3, 3, 111)):
        data, spans = file_of(floats(int(np.prod(shape))).reshape(shape))
        seen: list[tuple[int, int]] = []
        packed = pack_payload(data, spans, lambda *told, seen=seen: seen.append(told))
        assert unpack_payload(packed) == data
        assert len(seen) > 4
        assert seen[-1] == (4 * int(np.prod(shape)),) * 2


def test_a_file_without_tensors_comes_back() -> None:
    assert unpack_payload(pack_payload(b"x", [])) == b"x"


def test_the_head_is_as_specified() -> None:
    data, spans = file_of(TENSORS["int8"])
    packed = pack_payload(data, spans)
    magic, size, digest, stored, index = struct.unpack_from("<4sI32sIB", packed)
    assert (magic, size) == (b"HTP1", len(data))
    assert digest == hashlib.sha256(data).digest()
    assert stored < len(packed) - HEAD
    assert index < 5


@pytest.mark.parametrize("name", ["float32 pruned", "int8"])
def test_a_changed_byte_is_refused(name: str) -> None:
    data, spans = file_of(TENSORS[name][:8])
    packed = pack_payload(data, spans)
    rng = np.random.default_rng(0)
    places = {*range(HEAD + 20), *rng.integers(0, len(packed), 300).tolist(), len(packed) - 1}
    for at in places:
        damaged = bytearray(packed)
        damaged[at] ^= 1 << rng.integers(8)
        try:
            assert unpack_payload(bytes(damaged)) == data  # a bit of padding, which says nothing
        except BundleError as error:
            assert error.code == "HT213"


def test_a_cut_file_and_one_with_bytes_more_are_refused() -> None:
    data, spans = file_of(TENSORS["float16"][:8])
    packed = pack_payload(data, spans)
    for size in range(0, len(packed), 7):
        with pytest.raises(BundleError) as caught:
            unpack_payload(packed[:size])
        assert caught.value.code == "HT213"
    with pytest.raises(BundleError, match="follow the last plane"):
        unpack_payload(packed + b"\0")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=100))
def test_garbage_is_refused(table: bytes, planes: bytes) -> None:
    """Whatever the table says: it is behind an intact head, in an intact stream."""
    stream = payload._lzma(table, payload._PROPERTIES[0], 5000)
    head = struct.pack("<4sI32sIB", b"HTP1", 5000, bytes(32), len(stream), 0)
    for packed in (head + stream + planes, table, b"HTP1" + table):
        with pytest.raises(BundleError) as caught:
            unpack_payload(packed)
        assert caught.value.code == "HT213"


def test_a_stream_that_grows_beyond_the_model_is_refused() -> None:
    stream = payload._lzma(bytes(1 << 22), payload._PROPERTIES[0], 100)
    head = struct.pack("<4sI32sIB", b"HTP1", 100, bytes(32), len(stream), 0)
    with pytest.raises(BundleError, match="does not end where it should"):
        unpack_payload(head + stream)


def forged(table: bytes, size: int, planes: bytes = b"") -> bytes:
    """Return a packed model of so many bytes with an intact head and this table."""
    stream = payload._lzma(table, payload._PROPERTIES[0], size)
    return struct.pack("<4sI32sIB", b"HTP1", size, bytes(32), len(stream), 0) + stream + planes


def test_more_blocks_than_there_may_be_are_refused_before_they_are_read() -> None:
    for size, count in ((1 << 30, payload.MOST_BLOCKS), (100, 100)):
        with pytest.raises(BundleError, match="it is cut short"):
            unpack_payload(forged(payload._varint(count), size))
        with pytest.raises(BundleError, match="more blocks than there may be"):
            unpack_payload(forged(payload._varint(count + 1), size))


def test_a_block_of_more_numbers_than_are_coded_as_one_is_refused() -> None:
    for count, met in ((payload.BLOCK, "bytes|what it restores"), (payload.BLOCK + 1, "no size")):
        row = (0, 1 << 2, 1, count, 0 << 2 | payload.Method.CTX)
        table = b"".join(map(payload._varint, (1, *row)))
        with pytest.raises(BundleError, match=met if count > payload.BLOCK else "cut short"):
            unpack_payload(forged(table, 1 << 30))


@pytest.mark.parametrize("method", payload.Method)
def test_planes_of_no_numbers_are_judged_like_others(method: payload.Method) -> None:
    """All numbers are zero, and of the lower planes nothing is left."""
    row = (0, 4 << 2 | 2, 1, 9, 9 << 2, *(len(b"\0") << 2 | method,) * 3)
    table = b"".join(map(payload._varint, (1, *row)))
    with pytest.raises(BundleError) as caught:
        unpack_payload(forged(table, 36, bytes(9) + b"\0" * 3))
    assert caught.value.code == "HT213"


def test_tensors_beyond_the_last_block_stay_in_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload, "MOST_BLOCKS", 2)
    tensor = floats(4000)
    data = tensor.tobytes()
    spans = [Span(4000 * at, 4, True, (1, 1, 10, 100)) for at in range(4)]
    packed = pack_payload(data, spans)
    assert unpack_payload(packed) == data
    monkeypatch.setattr(payload, "MOST_BLOCKS", 4)
    assert len(pack_payload(data, spans)) < len(packed)
