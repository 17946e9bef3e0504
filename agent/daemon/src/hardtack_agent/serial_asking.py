"""Asking one device over a line that may harm bytes, vanish and come back.

Source: SPEC section 7.2.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from hardtack_agent.serial_exchange import SLOW_S, Exchange
from hardtack_agent.serial_line import Line
from hardtack_agent.serial_link import Frame, Type
from hardtack_agent.serial_refusal import RefusedError, silent
from hardtack_runtime.errors import DeviceError

SMALLEST = 16
RETRY_S = 0.1
_NOISY = 4  # times the patience while something comes, though damaged


class Asker:
    """Asks one device, and opens its line again when that is lost.

    Args:
        connect: Opens the line.
        where: The device in messages.
        patience_s: Longest silence before a device counts as gone.
        reconnect_s: How long a lost line may stay away.

    Attributes:
        piece: Bytes of data a frame carries now: small where many are lost.
        largest: Most it may carry.
    """

    def __init__(
        self, connect: Callable[[], Line], where: str, patience_s: float, reconnect_s: float
    ) -> None:
        self.where = where
        self.exchange = Exchange()
        self.reconnects = 0
        self.patience_s = patience_s
        self.piece = self.largest = 1 << 16
        self._connect = connect
        self._reconnect_s = reconnect_s
        self._line: Line | None = connect()
        self.exchange.byte_s = self._line.byte_s
        self._abandoned = False

    def close(self) -> None:
        """Let the line go."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def ask(self, kind: Type, body: bytes = b"") -> bytes:
        """Ask until it answers.

        Raises:
            RefusedError: it said no.
            DeviceError: HT616, it is silent; HT620, the line is gone.
        """
        (reply,) = self.ask_all([(kind, body)])
        assert reply is not None
        if reply.status:
            raise RefusedError(kind, reply)
        return reply.body

    def ask_all(
        self, requests: Sequence[tuple[Type, bytes]], window: int = 1, tries: int = 1 << 30
    ) -> list[Frame | None]:
        """Ask until all are answered, or one has been sent `tries` times in vain."""
        now = time.monotonic()
        if not self._abandoned:  # else the silence goes on
            self.exchange.heard_at = now
        self._abandoned = False
        limit_s = max((SLOW_S.get(kind, 0.0) for kind, _ in requests), default=0.0) * 2
        self.exchange.begin(requests, window)
        resends, damaged = self.exchange.resends, self.exchange.damaged
        while not self.exchange.done:
            self._step()
            silent_s = time.monotonic() - self.exchange.heard_at
            noise = _NOISY if self.exchange.damaged != damaged else 1
            if silent_s > max(limit_s, self.patience_s * noise):
                raise silent(self.where, silent_s)
            if self.exchange.most_tries > tries:
                self.piece = max(SMALLEST, min(self.piece, self.largest) // 2)
                self._abandoned = True
                return self.exchange.replies
        if self.exchange.resends == resends:
            self.piece = min(self.piece * 2, self.largest)
        return self.exchange.replies

    def _step(self) -> None:
        try:
            if self._line is None:
                raise ConnectionError("closed")
            now = time.monotonic()
            out = self.exchange.output(now)
            if out:
                self._line.write(out)
            data = self._line.read(min(self.exchange.wake_at() - now, 1.0))
            self.exchange.feed(data, time.monotonic())
        except OSError as error:
            self._reopen(error)

    def listen(self, time_s: float) -> None:
        """Take what comes unasked."""
        try:
            if self._line is not None:
                self.exchange.feed(self._line.read(time_s), time.monotonic())
        except OSError as error:
            self._reopen(error)

    def relay(self, data: bytes, time_s: float) -> bytes:
        """Send bytes as they are, and return what comes within the time.

        Raises:
            DeviceError: HT620, the line is gone.
        """
        try:
            if self._line is None:
                raise ConnectionError("closed")
            if data:
                self._line.write(data)
            return self._line.read(time_s)
        except OSError as error:
            self._reopen(error)
            return b""

    def _reopen(self, lost: OSError) -> None:
        self.close()
        end = time.monotonic() + self._reconnect_s
        while True:
            try:
                self._line = self._connect()
                break
            except (OSError, DeviceError) as error:  # unplugged, or not yet ours again
                if time.monotonic() > end:
                    raise DeviceError(
                        "HT620", self.where, f"went away and did not come back ({lost})",
                        "plug it in and repeat: what was sent is not sent again",
                    ) from error  # fmt: skip
                time.sleep(RETRY_S)
        self.reconnects += 1
        self.exchange.line_is_new(time.monotonic())
