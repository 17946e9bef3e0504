"""A line to a board whose gateway lends it over MQTT: one frame is one message.

Source: SPEC section 7.5.
"""

from __future__ import annotations

import queue
import secrets
import threading

from hardtack_agent import topics
from hardtack_agent.serial_line import BAUD
from hardtack_agent.transport import Connection, Handlers, Tls

SCHEME = "mqtt:"
_CONNECT_S = 5.0


class MqttLine:
    """A line as `hardtack_agent.serial_line.Line`; every call raises OSError when it is gone.

    Args:
        broker: mqtt://host:port or mqtts://host:port.
        tenant: Whose fleet.
        device: Name of the board.
        tls: Files for mqtts.

    Raises:
        ConnectionError: no broker answers there.
        ConfigError: HT104, the address or a TLS file is wrong.
    """

    def __init__(self, broker: str, tenant: str, device: str, tls: Tls) -> None:
        self.byte_s = 10.0 / BAUD  # the board's own line is as slow as lines usually are
        self._down = topics.down(tenant, device, "sf")
        self._pieces: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._held = b""
        self._lost = threading.Event()
        connected = threading.Event()
        self._connection = Connection(
            broker,
            client_id=f"ht-line-{secrets.token_hex(4)}",
            subscribe=(topics.up(tenant, device, "sf"),),
            handlers=Handlers(connected.set, self._take, self._lost.set),
            tls=tls,
        )
        self._connection.start()
        if not connected.wait(_CONNECT_S):
            self.close()
            raise ConnectionError(f"no broker answers at {broker}")

    def _take(self, _topic: str, payload: bytes) -> None:
        self._pieces.put(b"\0" + payload + b"\0")

    def read(self, timeout_s: float) -> bytes:
        """Return a frame that came, at the latest after the time; b"" for nothing."""
        try:
            return self._pieces.get(timeout=max(timeout_s, 1e-4))
        except queue.Empty:
            if self._lost.is_set():
                raise ConnectionError("the broker hung up") from None
            return b""

    def write(self, data: bytes) -> None:
        """Send the frames that are complete; keep the rest."""
        *pieces, self._held = (self._held + data).split(b"\0")
        for piece in filter(None, pieces):
            if not self._connection.publish(self._down, piece, qos=0):
                raise ConnectionError("the broker hung up")

    def close(self) -> None:
        """Disconnect."""
        self._connection.stop()
