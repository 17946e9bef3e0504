"""Packed model files: .onnx and .tflite made small and restored byte for byte (SPEC section 9).

The bytes of tensors are cut out and coded plane by plane, numbers of several bytes split so that
exponents meet exponents; what is left is one LZMA stream. Nothing here reads a model: whoever packs
says where tensors lie, and whoever restores needs this module alone.
"""

from __future__ import annotations

import hashlib
import lzma
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from hardtack_runtime import context
from hardtack_runtime.errors import BundleError, HardtackError
from hardtack_runtime.masking import Dims, view

MAGIC = b"HTP1"
LARGEST = (1 << 31) - 1
"""Bytes of a model; protobuf and flatbuffers end there, too."""
BLOCK = 1 << 20
"""Numbers coded as one, at most: bounds memory, and the time between two reports of progress."""
MOST_BLOCKS = 1 << 16
"""What is beyond stays in the rest: without a bound, a small file has a table of billions."""
_ROW = 4 * 5 + 8 * 5  # bytes of a row of the table, at most: varints of it and its planes
_HEAD = struct.Struct("<4sI32sIB")
_PROPERTIES = ((3, 0, 2), (0, 2, 2), (0, 0, 0), (1, 2, 2), (4, 0, 0))
"""Literal context, literal position and position bits of LZMA; a stream names them by index."""
_BYTES_PROPERTIES = 2
_UNSIGNED: dict[int, np.dtype[Any]] = {
    2: np.dtype("<u2"), 4: np.dtype("<u4"), 8: np.dtype("<u8"),
}  # fmt: skip
_SMALL = 1 << 16
"""Bytes of a model up to which it is tried to cut out nothing."""
_RANDOM_BITS = 7.95
"""Entropy per byte above which a plane is stored as it is, untried."""

Bytes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[Any]
Advance = Callable[[int, int], None]


class Method(IntEnum):
    """How one plane of bytes is stored."""

    RAW = 0
    LZMA = 1
    CTX = 2


@dataclass(frozen=True, slots=True)
class Span:
    """A tensor inside a file.

    Attributes:
        start: Its first byte.
        width: Bytes of a number: 1, 2, 4 or 8.
        is_float: True when they are IEEE 754.
        dims: N, H, W, C; shorter shapes have 1 in front.
    """

    start: int
    width: int
    is_float: bool
    dims: Dims

    @property
    def numbers(self) -> int:
        """How many there are."""
        n, h, w, c = self.dims
        return n * h * w * c

    @property
    def end(self) -> int:
        """The byte behind the last one."""
        return self.start + self.numbers * self.width


@dataclass(frozen=True, slots=True)
class _Block:
    """A part of a tensor, coded by itself.

    Attributes:
        width: Bytes of a number, and planes.
        rotated: Floats: the sign bit has gone to the lowest place, the exponent to the highest.
        sparse: Only the highest plane has all numbers; the others leave out those of zero.
        rows, columns: Of numbers.
        planes: The highest byte first.
    """

    width: int
    rotated: bool
    sparse: bool
    rows: int
    columns: int
    planes: tuple[tuple[Method, bytes], ...]

    @property
    def size(self) -> int:
        return sum(len(stream) for _, stream in self.planes)

    def describe(self, gap: int) -> bytes:
        """Return its row of the table, `gap` bytes of rest behind the block before it."""
        form = self.width << 2 | self.sparse << 1 | self.rotated
        each = (len(stream) << 2 | method for method, stream in self.planes)
        return b"".join(map(_varint, (gap, form, self.rows, self.columns, *each)))


@dataclass(frozen=True, slots=True)
class _Form:
    """A row of the table: a block whose streams are still to be read, their sizes in place."""

    width: int
    rotated: bool
    sparse: bool
    rows: int
    columns: int
    planes: tuple[tuple[Method, int], ...]


def pack_payload(data: bytes, spans: Sequence[Span], advance: Advance | None = None) -> bytes:
    """Return the packed file.

    Args:
        data: The model file.
        spans: Its tensors, in the order of their starts, none over another.
        advance: Called with the bytes of tensors done and all of them.
    """
    rest, table, coded, at = bytearray(), bytearray(), bytearray(), 0
    count, in_all, done = 0, sum(span.end - span.start for span in spans), 0
    for part in (part for span in spans for part in _parts(span)):
        raw = np.frombuffer(data, np.uint8, part.end - part.start, part.start)
        block = _code(raw, part) if count < MOST_BLOCKS else None
        if block is not None:
            rest += data[at : part.start]
            table += block.describe(part.start - at)
            coded += b"".join(stream for _, stream in block.planes)
            at, count = part.end, count + 1
        done += part.end - part.start
        if advance is not None:
            advance(done, in_all)
    rest += data[at:]
    cut = _join(data, _varint(count) + bytes(table) + bytes(rest), bytes(coded))
    if len(data) > _SMALL:
        return cut
    return min(cut, _join(data, _varint(0) + data, b""), key=len)


def _join(data: bytes, described: bytes, coded: bytes) -> bytes:
    streams = (_lzma(described, properties, len(data)) for properties in _PROPERTIES)
    index, stream = min(enumerate(streams), key=lambda pair: len(pair[1]))
    digest = hashlib.sha256(data).digest()
    return _HEAD.pack(MAGIC, len(data), digest, len(stream), index) + stream + coded


def _parts(span: Span) -> Iterator[Span]:
    """Cut a tensor into parts of whole rows, or of numbers where a row is too long."""
    n, h, w, c = span.dims
    row = h * w * c if n > 1 else c
    if span.numbers <= BLOCK:
        yield span
        return
    step = BLOCK // row * row if row <= BLOCK else BLOCK
    for first in range(0, span.numbers, step):
        count = min(step, span.numbers - first)
        rows = count // row
        dims = (1, 1, 1, count) if row > BLOCK else (rows, h, w, c) if n > 1 else (1, rows, 1, c)
        yield Span(span.start + first * span.width, span.width, span.is_float, dims)


def _code(raw: Bytes, part: Span) -> _Block | None:
    """Return the smallest way to code a part, or None where it had better stay in the rest."""
    block = _split(raw, part) if part.width > 1 else _whole(raw, part)
    alone = _lzma(raw.tobytes(), _PROPERTIES[1 if part.width > 1 else _BYTES_PROPERTIES])
    return block if block.size + len(block.describe(0)) < len(alone) else None


def _whole(raw: Bytes, part: Span) -> _Block:
    rows, inner, columns = view(part.dims)
    return _Block(1, False, False, rows, inner * columns, (_plane(raw, part.dims),))


def _split(raw: Bytes, part: Span) -> _Block:
    """Code the planes of numbers of several bytes."""
    numbers = raw.view(_UNSIGNED[part.width])
    if part.is_float:
        numbers = numbers << 1 | numbers >> (8 * part.width - 1)
    planes = numbers.view(np.uint8).reshape(-1, part.width)[:, ::-1]
    live = planes[:, 0] != 0
    sparse = part.is_float and not live.all() and not planes[~live].any()
    rest: Dims = (1, 1, 1, int(live.sum())) if sparse else part.dims
    coded = [_plane(np.ascontiguousarray(planes[:, 0]), part.dims, part.is_float)]
    for index in range(1, part.width):
        plane = planes[live, index] if sparse else planes[:, index]
        coded.append(_plane(np.ascontiguousarray(plane), rest))
    rows, inner, columns = view(part.dims)
    return _Block(part.width, part.is_float, sparse, rows, inner * columns, tuple(coded))


def _plane(plane: Bytes, dims: Dims, exponents: bool = False) -> tuple[Method, bytes]:
    """Store a plane in as few bytes as it can be."""
    found = [(Method.RAW, plane.tobytes())]
    if plane.size == 0 or _entropy(plane) > _RANDOM_BITS:
        return found[0]
    found.append((Method.LZMA, _lzma(plane.tobytes(), _PROPERTIES[_BYTES_PROPERTIES])))
    top = int(plane.max()) if exponents else 0
    stream = context.encode(_below(plane, top).view(np.int8).reshape(dims))
    if stream is not None:
        found.append((Method.CTX, bytes((top,)) + stream))
    return min(found, key=lambda pair: len(pair[1]))


def _below(plane: Bytes, top: int) -> Bytes:
    """Count exponents from the largest one down, so that near ones have near, small codes.

    0, which only zeros and the smallest numbers have, stays 0. With `top` 0 nothing changes.
    """
    return np.where(plane == 0, plane, plane - np.uint8(top) - np.uint8(top > 0))


def _above(plane: Bytes, top: int) -> Bytes:
    """Undo `_below`."""
    return np.where(plane == 0, plane, plane + np.uint8(top) + np.uint8(top > 0))


def _entropy(plane: Bytes) -> float:
    share = np.bincount(plane, minlength=256) / plane.size
    share = share[share > 0]
    return float(-(share * np.log2(share)).sum())


def _filters(properties: tuple[int, int, int], size: int) -> list[dict[str, int]]:
    literal_context, literal_position, position = properties
    return [{
        "id": lzma.FILTER_LZMA1, "preset": 9 | lzma.PRESET_EXTREME,
        "dict_size": min(max(1 << 12, 1 << size.bit_length()), 1 << 24),
        "lc": literal_context, "lp": literal_position, "pb": position,
    }]  # fmt: skip


def _lzma(data: bytes, properties: tuple[int, int, int], size: int | None = None) -> bytes:
    """Write a raw LZMA stream whose dictionary is as large as `size`, or as the data."""
    filters = _filters(properties, len(data) if size is None else size)
    return lzma.compress(data, lzma.FORMAT_RAW, filters=filters)


def _unlzma(stream: bytes, properties: tuple[int, int, int], size: int, most: int) -> bytes:
    """Read such a stream, of no more than `most` bytes."""
    reader = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_filters(properties, size))
    try:
        data = reader.decompress(stream, most + 1)
    except lzma.LZMAError as error:
        raise _damaged("an LZMA stream is none") from error
    if len(data) > most or not reader.eof or reader.unused_data:
        raise _damaged("an LZMA stream does not end where it should")
    return data


def _varint(value: int) -> bytes:
    """Return 7 bits a byte, the lowest first; the highest bit says that more follow."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def unpack_payload(packed: bytes) -> bytes:
    """Return the model file, byte for byte.

    Raises:
        BundleError: HT213, this is no packed model, or it was damaged.
    """
    if len(packed) < _HEAD.size or not packed.startswith(MAGIC):
        raise _damaged("it does not begin as one")
    _, size, digest, stream_size, index = _HEAD.unpack_from(packed)
    end = _HEAD.size + stream_size
    if size > LARGEST or end > len(packed) or index >= len(_PROPERTIES):
        raise _damaged("its head is wrong, or it is cut short")
    most = size + _ROW * (min(size, MOST_BLOCKS) + 1)
    described = _unlzma(packed[_HEAD.size : end], _PROPERTIES[index], size, most)
    try:
        data = _restore(_Reader(described), _Reader(packed, end), size)
    except HardtackError as error:
        if error.code == "HT213":
            raise
        raise _damaged("a plane is malformed") from error
    if len(data) != size or hashlib.sha256(data).digest() != digest:
        raise _damaged("what it restores to is not what was packed")
    return data


def _damaged(met: str) -> BundleError:
    return BundleError("HT213", "packed model", met, "copy the file again, or pack the model again")


class _Reader:
    """Bytes and numbers one after the other; refuses to read behind the end."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self._data = data
        self._at = at

    def take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._data):
            raise _damaged("it is cut short")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def number(self) -> int:
        value, shift = 0, 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
            if shift > 35:
                raise _damaged("a number is too long")

    def all_that_is_left(self) -> bytes:
        return self.take(len(self._data) - self._at)


def _restore(described: _Reader, coded: _Reader, size: int) -> bytes:
    """Put rest and blocks together again."""
    count = described.number()
    if count > min(size, MOST_BLOCKS):
        raise _damaged("it has more blocks than there may be")
    rows = [_read_row(described, size) for _ in range(count)]
    out = bytearray()
    for gap, block in rows:
        out += described.take(gap)
        room = size - len(out)
        if block.rows * block.columns * block.width > room:
            raise _damaged("a block is larger than the model")
        out += _decode(block, coded)
    out += described.all_that_is_left()
    if coded.all_that_is_left():
        raise _damaged("bytes follow the last plane")
    return bytes(out)


def _read_row(described: _Reader, size: int) -> tuple[int, _Form]:
    gap, form, rows, columns = (described.number() for _ in range(4))
    width = form >> 2
    if width not in (1, *_UNSIGNED) or not 0 < rows * columns <= min(size, BLOCK):
        raise _damaged("a block has no size that there is")
    planes = [described.number() for _ in range(width)]
    if any(plane & 3 not in tuple(Method) for plane in planes):
        raise _damaged("a plane is stored in no known way")
    pairs = tuple((Method(plane & 3), plane >> 2) for plane in planes)
    return gap, _Form(width, bool(form & 1), bool(form & 2), rows, columns, pairs)


def _decode(block: _Form, coded: _Reader) -> bytes:
    """Return the bytes of a block."""
    count = block.rows * block.columns
    method, stored = block.planes[0]
    top = _read_plane(method, coded.take(stored), block.rows, block.columns)
    if block.width == 1:
        return top.tobytes()
    planes = np.zeros((count, block.width), np.uint8)
    planes[:, 0] = top
    live = top != 0 if block.sparse else np.ones(count, bool)
    left = int(live.sum())
    shape = (1, left) if block.sparse else (block.rows, block.columns)
    for index, (method, stored) in enumerate(block.planes[1:], 1):
        planes[live, index] = _read_plane(method, coded.take(stored), *shape)
    numbers = np.ascontiguousarray(planes[:, ::-1]).view(_UNSIGNED[block.width]).reshape(-1)
    if block.rotated:
        numbers = numbers >> 1 | numbers << (8 * block.width - 1)
    return bytes(numbers.tobytes())


def _read_plane(method: Method, stored: bytes, rows: int, columns: int) -> Bytes:
    count = rows * columns
    if method is Method.CTX:
        if len(stored) < 1:
            raise _damaged("a plane is cut short")
        codes = context.decode(stored[1:], (rows, 1, 1, columns))
        return _above(codes.view(np.uint8), stored[0])
    if method is Method.LZMA:
        stored = _unlzma(stored, _PROPERTIES[_BYTES_PROPERTIES], count, count)
    if len(stored) != count:
        raise _damaged("a plane has another length than its block says")
    return np.frombuffer(stored, np.uint8)
