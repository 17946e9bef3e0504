"""Bodies of the serial protocol: every request has its bytes of SPEC section 7.4."""

from __future__ import annotations

import pytest

from hardtack_agent import serial_messages as m
from hardtack_agent.serial_body import Message
from hardtack_agent.serial_link import LinkError

BYTES = bytes(range(32))
REQUESTS: dict[str, Message] = {
    "01000000" + BYTES[:16].hex(): m.Hello(1, BYTES[:16]),
    "010002000300": m.Check(1, 2, 3),
    "01003412": m.Erase(1, 0x1234),
    "0100000000100000616263": m.Write(1, 4096, b"abc"),
    "01010000" + BYTES.hex(): m.Finish(1, 1, BYTES),
    "01002c0170110100": m.Read(1, 300, 70000),
    "07000000090000007879": m.Input(7, 9, b"xy"),
    "0500000003000000": m.Run(5, 3),
    "05000000ffff0000": m.Run(5),
    "050000000600000007000000": m.Output(5, 6, 7),
    "04000000": m.Golden(4),
    "01000200": m.Layers(1, 2),
    "09000000": m.Telemetry(9),
    "4d000000": m.Log(77),
    "efbeadde": m.Fault(0xDEADBEEF),
}


@pytest.mark.parametrize("wire", REQUESTS)
def test_a_request_has_its_bytes_and_is_read_back(wire: str) -> None:
    body = bytes.fromhex(wire)
    assert REQUESTS[wire].encode() == body
    assert type(REQUESTS[wire]).decode(body) == REQUESTS[wire]


def test_replies_are_read_field_by_field() -> None:
    told = m.HelloReply.decode(
        bytes.fromhex("0104 0004") + BYTES[:16] + b"cortex-m4".ljust(16, b"\0")
        + b"".join(n.to_bytes(4, "little") for n in (1, 2, 3, 4)) + BYTES[:16]
        + bytes.fromhex("07000000 0100 0000") + BYTES[16:] + b"mine 1.0"
    )  # fmt: skip
    assert (told.version, told.window, told.max_body, told.hardware) == (1, 4, 1024, "cortex-m4")
    assert (told.slot_size, told.pool_size, told.last_run, told.kernel_abi) == (1, 4, 7, 1)
    assert (told.key_ids, told.device_id) == ((BYTES[:8], BYTES[8:16]), BYTES[16:])
    assert told.firmware == "mine 1.0"
    window = m.TelemetryReply.decode(
        b"".join(n.to_bytes(4, "little") for n in (1, 5, 0, 4, 3)) + (900).to_bytes(8, "little")
        + b"".join(n.to_bytes(4, "little") for n in (10, 20, 30)) + BYTES[:16]
        + bytes.fromhex("0100 0200 0700 05000000 0000 02000000 0100 03000000")
    )  # fmt: skip
    assert (window.latency_sum_us, window.latency, window.classes) == (900, {7: 5}, {0: 2, 1: 3})


@pytest.mark.parametrize("kind", [m.HelloReply, m.StatusReply, m.TelemetryReply, m.RunReply])
def test_a_body_of_the_wrong_length_is_refused(kind: type[Message]) -> None:
    with pytest.raises(LinkError, match="expected"):
        kind.decode(b"\0" * 59)
