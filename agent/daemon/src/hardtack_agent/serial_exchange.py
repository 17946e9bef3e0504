"""Requests under way on a serial line, without any input or output.

A batch of requests is sent, at most `window` at a time; what is not answered is sent again, later
each time. Bytes and the time go in, bytes to send and the time of the next step come out.

Source: SPEC section 7.2.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from hardtack_agent.serial_link import REPLY, Frame, FrameReader, Type, encode_frame

QUICK_S = 0.5
SLOW_S = {Type.ERASE: 5.0, Type.FINISH: 60.0, Type.RUN: 60.0, Type.GOLDEN: 60.0, Type.LAYERS: 60.0}
_SHORTEST_S = 0.03  # below this a time-out measures the scheduler of the host
_FIRST_SLOW_S = 2.0
_SOON_S = 0.01


@dataclass(slots=True)
class _Pending:
    kind: Type
    bytes: bytes
    sequence: int
    sent_at: float = 0.0
    due: float = 0.0
    tries: int = 0
    reply: Frame | None = None


@dataclass(slots=True)
class Exchange:
    """One host's end of the line.

    Attributes:
        byte_s: Seconds a byte takes on the line; 0 where it is not known.
        resends: Requests that had to be sent again, ever.
        boots: HELLO replies that came unasked: the device was reset.
        heard_at: When the last frame came.
    """

    byte_s: float = 0.0
    resends: int = 0
    boots: int = 0
    heard_at: float = 0.0
    _window: int = 1
    # Hosts that meet on a line by mistake, over MQTT, should not take each other's replies.
    _sequence: int = field(default_factory=lambda: random.randrange(65535))
    _round_trip_s: float = QUICK_S / 10
    _batch: list[_Pending] = field(default_factory=list)
    _reader: FrameReader = field(default_factory=FrameReader)

    def begin(self, requests: Sequence[tuple[Type, bytes]], window: int) -> None:
        """Start a batch; what was under way is forgotten.

        Args:
            requests: Type and body of each.
            window: How many may be unanswered; 1 unless all are WRITE or INPUT.
        """
        self._window, self._batch = window, []
        for kind, body in requests:
            self._sequence = self._sequence % 65535 + 1
            frame = encode_frame(Frame(kind, self._sequence, body))
            self._batch.append(_Pending(kind, frame, self._sequence))

    @property
    def done(self) -> bool:
        """Whether every request of the batch is answered."""
        return all(one.reply for one in self._batch)

    @property
    def replies(self) -> list[Frame | None]:
        """The replies in the order of the requests; None where none came yet."""
        return [one.reply for one in self._batch]

    @property
    def damaged(self) -> int:
        """Pieces that came and were no frame, since the line is open."""
        return self._reader.damaged

    @property
    def most_tries(self) -> int:
        """How often the unluckiest open request was sent."""
        return max((one.tries for one in self._batch if not one.reply), default=0)

    def output(self, now: float) -> bytes:
        """Return what is to be sent now: new requests, and those whose time is up."""
        out = bytearray()
        for one in self._open():
            if one.tries and now < one.due:
                continue
            self.resends += one.tries > 0
            one.tries += 1
            one.sent_at = now
            one.due = now + self._time_out(one) + 2 * self.byte_s * (len(out) + len(one.bytes))
            out += one.bytes
        return bytes(out)

    def wake_at(self) -> float:
        """When `output` has something to send unless a reply comes before."""
        return min((one.due for one in self._open()), default=0.0)

    def feed(self, data: bytes, now: float) -> None:
        """Take bytes from the line; damaged ones may have been the answer, so ask again soon."""
        damaged = self._reader.damaged
        for frame in self._reader.feed(data):
            self.heard_at = now
            if frame.sequence == 0 and frame.type == Type.HELLO | REPLY:
                self.boots += 1
            for one in self._batch:
                if (one.kind | REPLY, one.sequence) == (frame.type, frame.sequence):
                    self._take(one, frame, now)
        waiting = [one for one in self._open() if one.tries]
        if self._reader.damaged != damaged and len(waiting) == 1:
            waiting[0].due = min(waiting[0].due, now + _SOON_S)

    def line_is_new(self, now: float) -> None:
        """The line was closed and opened: send everything open again, at once."""
        self._reader, self.heard_at = FrameReader(), now
        for one in self._open():
            one.due = now

    def _open(self) -> list[_Pending]:
        unanswered = [one for one in self._batch if not one.reply]
        return unanswered[: self._window]

    def _take(self, one: _Pending, frame: Frame, now: float) -> None:
        if one.reply is None and one.kind not in SLOW_S:
            # Of a request sent twice nobody knows which was answered. The shorter time is assumed:
            # on a noisy line there may be no other to measure, and time-outs grow with the tries.
            self._round_trip_s += (now - one.sent_at - self._round_trip_s) / 4
        one.reply = one.reply or frame

    def _time_out(self, one: _Pending) -> float:
        """Begin with what was measured and lengthen it, up to the limit of the protocol.

        A quick request, and any on a line with noise, is lengthened slowly: most are losses.
        """
        is_loss = one.kind not in SLOW_S or self._reader.damaged > 3
        limit = SLOW_S.get(one.kind, QUICK_S)
        first = max(_SHORTEST_S, 3 * self._round_trip_s)
        if one.kind in SLOW_S:
            first = max(first, min(_FIRST_SLOW_S, limit / 10))
        doublings = one.tries // 4 if is_loss else one.tries - 1
        longer: float = first * 2 ** min(doublings, 16)
        return min(limit, longer)
