from __future__ import annotations

import random
import re
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardtack_agent.serial_link import (
    REPLY,
    Frame,
    FrameReader,
    LinkError,
    Reason,
    Type,
    cobs_decode,
    cobs_encode,
    encode_frame,
)
from hardtack_agent.serial_messages import Check, Hello, StatusReply, TelemetryReply, Write

SPEC = (Path(__file__).parents[2] / "SPEC.md").read_text()
VECTORS = dict(re.findall(r"<!-- vector: (\w+Frame) -->\n```hex\n(.*?)\n```", SPEC, re.DOTALL))

FRAMES = {
    "HelloFrame": Frame(Type.HELLO, 1, Hello(1, bytes(range(16))).encode()),
    "CheckFrame": Frame(Type.CHECK, 2, Check(1, 0, 3).encode()),
    "CheckReplyFrame": Frame(
        Type.CHECK | REPLY, 2, struct.pack("<3I", 0xF154670A, 0xF154670A, 0x12345678)
    ),
    "WriteFrame": Frame(Type.WRITE, 3, Write(1, 4096, bytes(range(16))).encode()),
    "RefusedFrame": Frame(Type.FINISH | REPLY, 4, b"\x0d\0\0\0", Reason.STRUCTURE),
}


def test_the_specification_has_a_vector_for_every_frame_here() -> None:
    assert VECTORS.keys() == FRAMES.keys()


@pytest.mark.parametrize("name", FRAMES)
def test_frames_are_those_of_the_specification(name: str) -> None:
    wire = bytes.fromhex(VECTORS[name])
    assert encode_frame(FRAMES[name]) == wire
    assert list(FrameReader().feed(wire)) == [FRAMES[name]]


@given(st.lists(st.one_of(st.just(b"\0"), st.binary(max_size=600).map(lambda b: b or b"\1"))))
def test_stuffing_is_undone_and_has_no_zeros(parts: list[bytes]) -> None:
    data = b"".join(parts)
    stuffed = cobs_encode(data)
    assert 0 not in stuffed
    assert len(stuffed) <= len(data) + 1 + len(data) // 254
    assert cobs_decode(stuffed) == data


@given(st.binary(max_size=300))
def test_any_bytes_are_a_frame_or_dropped(noise: bytes) -> None:
    reader = FrameReader()
    list(reader.feed(noise))
    frame = Frame(Type.STATUS, 7)
    assert list(reader.feed(b"\0" + encode_frame(frame))) == [frame]


def test_a_damaged_byte_costs_its_frame_and_no_other() -> None:
    rng = random.Random(1)
    frames = [Frame(Type.WRITE, i, rng.randbytes(rng.randrange(300))) for i in range(1, 200)]
    for victim in frames:
        wires = [encode_frame(frame) for frame in (frames[0], victim, frames[1])]
        hit = bytearray(wires[1])
        hit[rng.randrange(1, len(hit) - 1)] ^= 1 << rng.randrange(8)
        wires[1] = bytes(hit)
        assert list(FrameReader().feed(b"".join(wires))) == [frames[0], frames[1]]


def test_a_flood_without_delimiters_takes_no_memory() -> None:
    reader = FrameReader()
    list(reader.feed(b"\1" * 100_000))
    frame = Frame(Type.LOG, 1, b"\0\0\0\0")
    assert list(reader.feed(encode_frame(frame))) == [frame]
    assert reader.damaged == 1


@pytest.mark.parametrize("reply", [StatusReply, TelemetryReply])
def test_a_body_of_the_wrong_length_is_refused(reply: type[StatusReply | TelemetryReply]) -> None:
    with pytest.raises(LinkError, match="expected"):
        reply.decode(b"\0" * 59)
