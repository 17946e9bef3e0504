"""The serial protocol of microcontrollers: frames, without any input or output.

A host asks, a device answers; `serial_messages` knows the bodies. Every request may be sent again
after a time-out: repeating one changes nothing.

Source: SPEC section 7.
"""

from __future__ import annotations

import enum
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

PROTOCOL = 1
MAX_FRAME = 4096
REPLY = 0x80


class LinkError(ValueError):
    """Bytes that are no frame, or a body that is no message of its type."""


class Type(enum.IntEnum):
    """What a frame asks for; a reply has `REPLY` added."""

    HELLO = 0x01
    STATUS = 0x02
    CHECK = 0x10
    ERASE = 0x11
    WRITE = 0x12
    FINISH = 0x13
    READ = 0x14
    INPUT = 0x20
    RUN = 0x21
    OUTPUT = 0x22
    GOLDEN = 0x23
    LAYERS = 0x24
    TELEMETRY = 0x30
    LOG = 0x31
    FAULT = 0x32
    RESET = 0x33


class Reason(enum.IntEnum):
    """Why a device refused: the status of a reply, and the outcome of the last trial."""

    OK = 0
    UNKNOWN = 1
    MALFORMED = 2
    RANGE = 3
    IN_USE = 4
    NOT_ERASED = 5
    FLASH = 6
    HEADER = 7
    KEY = 8
    SIGNATURE = 9
    HARDWARE = 10
    VERSION = 11
    DIGEST = 12
    STRUCTURE = 13
    MEMORY = 14
    DIVERGED = 15
    GAVE_UP = 16
    REFUSED = 17
    NO_MODEL = 18
    GAP = 19
    STALE = 20
    OPERATOR = 21


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame on the line.

    Attributes:
        type: One of `Type`, with `REPLY` added when the device speaks.
        sequence: The request's, 1..65535; 0 when a device speaks unasked.
        body: The message.
        status: A `Reason`; 0 in requests.
    """

    type: int
    sequence: int
    body: bytes = b""
    status: int = 0


def cobs_encode(data: bytes) -> bytes:
    """Return the bytes without zeros (Consistent Overhead Byte Stuffing), no delimiter."""
    out = bytearray()
    parts = data.split(b"\0")
    for index, part in enumerate(parts):
        full, rest = divmod(len(part), 254)
        for at in range(0, full * 254, 254):
            out += b"\xff" + part[at : at + 254]
        if rest or not full or index < len(parts) - 1:
            out += bytes((rest + 1,)) + part[full * 254 :]
    return bytes(out)


def cobs_decode(data: bytes) -> bytes:
    """Undo `cobs_encode`.

    Raises:
        LinkError: a code byte is zero or points behind the end.
    """
    out = bytearray()
    at = 0
    while at < len(data):
        code = data[at]
        block = data[at + 1 : at + code]
        if code == 0 or len(block) != code - 1 or 0 in block:
            raise LinkError("serial frame: broken byte stuffing; ask again")
        out += block
        at += code
        if code != 0xFF and at < len(data):
            out.append(0)
    return bytes(out)


def encode_frame(frame: Frame) -> bytes:
    """Return the bytes to send, both delimiters included."""
    head = struct.pack("<BBH", frame.type, frame.status, frame.sequence) + frame.body
    return b"\0" + cobs_encode(head + struct.pack("<I", zlib.crc32(head))) + b"\0"


def decode_frame(stuffed: bytes) -> Frame:
    """Read what lay between two delimiters.

    Raises:
        LinkError: not a frame, or one that was damaged on the way.
    """
    data = cobs_decode(stuffed)
    if len(data) < 8 or zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
        raise LinkError("serial frame: too short or wrong CRC-32; ask again")
    kind, status, sequence = struct.unpack_from("<BBH", data)
    return Frame(kind, sequence, data[4:-4], status)


@dataclass(slots=True)
class FrameReader:
    """Finds frames in a stream of bytes; what is no frame is counted and dropped.

    Attributes:
        damaged: Pieces between delimiters that were no frame.
    """

    damaged: int = 0
    _piece: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take bytes as they come and yield the frames they complete."""
        for byte in data:
            if byte != 0:
                if len(self._piece) <= MAX_FRAME:
                    self._piece.append(byte)
                continue
            piece, self._piece = bytes(self._piece), bytearray()
            if not piece:
                continue
            try:
                yield decode_frame(piece)
            except LinkError:
                self.damaged += 1
