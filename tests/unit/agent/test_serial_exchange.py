"""Requests under way on a line, with a clock that the test turns: nothing here waits."""

from __future__ import annotations

import random

from hardtack_agent.serial_exchange import Exchange
from hardtack_agent.serial_link import REPLY, Frame, FrameReader, Type, encode_frame


def answer(data: bytes) -> list[Frame]:
    return [
        Frame(frame.type | REPLY, frame.sequence, frame.body) for frame in FrameReader().feed(data)
    ]


def lines(frames: list[Frame]) -> bytes:
    return b"".join(map(encode_frame, frames))


def test_no_more_than_the_window_is_under_way() -> None:
    exchange = Exchange()
    exchange.begin([(Type.WRITE, bytes((i,))) for i in range(5)], window=2)
    first = answer(exchange.output(0.0))
    assert [frame.body for frame in first] == [b"\0", b"\1"]
    assert exchange.output(0.001) == b""
    exchange.feed(lines(first[1:]), 0.002)
    assert [frame.body for frame in answer(exchange.output(0.002))] == [b"\2"]


def test_an_unanswered_request_goes_again_later_each_time_and_no_later_than_the_limit() -> None:
    exchange = Exchange()
    exchange.begin([(Type.STATUS, b"")], window=1)
    now, waits = 0.0, []
    for _ in range(40):
        assert exchange.output(now)
        waits.append(round(exchange.wake_at() - now, 6))
        now = exchange.wake_at()
    assert waits == sorted(waits)
    assert abs(waits[-1] - 0.5) < 1e-9
    assert exchange.resends == 39


def test_a_slow_line_is_given_the_time_its_bytes_take() -> None:
    exchange = Exchange(byte_s=0.01)
    exchange.begin([(Type.WRITE, bytes(100))], window=1)
    out = exchange.output(0.0)
    assert exchange.wake_at() > 2 * 0.01 * len(out)


def test_an_answer_to_an_earlier_batch_is_none_of_this_one() -> None:
    exchange = Exchange()
    exchange.begin([(Type.STATUS, b"")], window=1)
    late = answer(exchange.output(0.0))
    exchange.begin([(Type.STATUS, b"")], window=1)
    exchange.output(1.0)
    exchange.feed(lines(late), 1.1)
    assert not exchange.done


def test_an_unasked_hello_is_a_reset() -> None:
    exchange = Exchange()
    exchange.begin([(Type.STATUS, b"")], window=1)
    exchange.feed(encode_frame(Frame(Type.HELLO | REPLY, 0, bytes(92))), 0.0)
    assert (exchange.boots, exchange.done) == (1, False)


def test_a_new_line_makes_open_requests_go_at_once() -> None:
    exchange = Exchange()
    exchange.begin([(Type.GOLDEN, bytes(4))], window=1)
    exchange.output(0.0)
    assert exchange.output(0.1) == b""
    exchange.line_is_new(0.1)
    assert exchange.output(0.1)


def harm(data: bytes, rng: random.Random) -> bytes:
    out = bytearray()
    for byte in data:
        match rng.randrange(400):
            case 0:
                out.append(byte ^ 1 << rng.randrange(8))
            case 1:
                continue
            case 2:
                out += bytes((byte, byte))
            case 3:
                out.insert(max(len(out) - 1, 0), byte)
            case _:
                out.append(byte)
    return bytes(out)


def test_every_request_gets_its_own_answer_over_a_line_that_harms_one_byte_in_a_hundred() -> None:
    rng = random.Random(3)
    exchange, device = Exchange(), FrameReader()
    bodies = [rng.randbytes(rng.randrange(60)) for _ in range(300)]
    exchange.begin([(Type.WRITE, body) for body in bodies], window=4)
    now = 0.0
    while not exchange.done:
        for frame in device.feed(harm(exchange.output(now), rng)):
            reply = encode_frame(Frame(frame.type | REPLY, frame.sequence, frame.body))
            exchange.feed(harm(reply, rng), now + 0.01)
        now = max(now + 0.02, exchange.wake_at())
    assert [frame.body for frame in exchange.replies if frame] == bodies
    assert exchange.resends > 50
