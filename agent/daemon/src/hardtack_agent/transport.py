"""The MQTT connection, for the agent and for the controller; the only module that knows paho.

MQTT 3.1.1, clean sessions: nothing of ours relies on what a broker keeps, because a broker's
acknowledgement does not survive its crash. Nothing is queued while the connection is down either:
`publish` says so, and whoever sends keeps the message until its answer comes.
"""

from __future__ import annotations

import logging
import random
import re
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from hardtack_runtime.errors import ConfigError

FIRST_WAIT_S = 0.2
LONGEST_WAIT_S = 30.0
SHORT_S = 5.0
"""A connection that ends sooner was taken by another client of the same name, or refused late."""
EVICTIONS = 4
_KEEPALIVE_S = 30
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tls:
    """Files of a TLS connection, PEM.

    Attributes:
        ca: Authorities to trust; None trusts the system's.
        cert: Our certificate, when the broker wants one.
        key: Its private key.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a broker listens."""

    host: str
    port: int
    secure: bool
    user: str | None = None
    password: str | None = None


@dataclass(frozen=True, slots=True)
class Handlers:
    """Called on the connection's own thread; they must not block for long.

    Attributes:
        connected: The connection stands and the subscriptions are made.
        received: A message came: topic, payload.
        lost: The connection is gone; it is being made again.
    """

    connected: Callable[[], None]
    received: Callable[[str, bytes], None]
    lost: Callable[[], None]


def parse_url(url: str) -> Endpoint:
    """Read `mqtt://[user[:password]@]host[:1883]` or `mqtts://...[:8883]`.

    Raises:
        ConfigError: HT104, not such an address.
    """
    wrong = ConfigError(
        "HT104",
        "broker",
        f"{_without_secrets(url)!r} is no broker address",
        "write mqtt://host:port or mqtts://",
    )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise wrong from error
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or port == 0:
        raise wrong
    secure = parts.scheme == "mqtts"
    default = 8883 if secure else 1883
    user, password = (
        None if part is None else unquote(part) for part in (parts.username, parts.password)
    )
    return Endpoint(parts.hostname, port or default, secure, user, password)


def _without_secrets(url: str) -> str:
    return re.sub(r"//[^/]*@", "//...@", url)


class Connection:
    """A connection that is made in the background and made again whenever it breaks.

    Args:
        url: As `parse_url` takes it.
        client_id: Unique at the broker.
        subscribe: Topic filters, subscribed at every connection, QoS 1.
        handlers: Who hears of it.
        will: Topic and payload the broker publishes, retained, when we vanish.
        tls: Files for mqtts.

    Raises:
        ConfigError: HT104 a wrong address, or TLS files that cannot be read.
    """

    def __init__(
        self,
        url: str,
        client_id: str,
        subscribe: tuple[str, ...],
        handlers: Handlers,
        will: tuple[str, bytes] | None = None,
        tls: Tls | None = None,
    ) -> None:
        self.endpoint = parse_url(url)
        self._subscribe = subscribe
        self._handlers = handlers
        self._name = client_id
        self._stopping = False
        self._failures = 0
        self._told = False
        self._began = 0.0
        self._evictions = 0
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv311
        )
        if will is not None:
            self._client.will_set(*will, qos=1, retain=True)
        if self.endpoint.user is not None:
            self._client.username_pw_set(self.endpoint.user, self.endpoint.password)
        if self.endpoint.secure:
            self._client.tls_set_context(_tls_context(tls or Tls()))
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
        self._client.on_socket_open = _no_delay

    def start(self) -> None:
        """Begin to connect; returns at once."""
        self._plan_next_wait()
        self._client.connect_async(self.endpoint.host, self.endpoint.port, _KEEPALIVE_S)
        self._client.loop_start()

    @property
    def connected(self) -> bool:
        """True while the broker answers."""
        return self._client.is_connected()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, qos: int = 1) -> bool:
        """Send a message; False when there is no connection, and then it is not sent later."""
        if not self._client.is_connected():
            return False
        info = self._client.publish(topic, payload, qos=qos, retain=retain)
        return info.rc == paho.MQTT_ERR_SUCCESS

    def stop(self, farewell: tuple[str, bytes] | None = None, timeout_s: float = 2.0) -> None:
        """Send a last retained message, disconnect and end the thread."""
        self._stopping = True
        if farewell is not None and self._client.is_connected():
            info = self._client.publish(*farewell, qos=1, retain=True)
            try:
                info.wait_for_publish(timeout_s)
            except (RuntimeError, ValueError) as error:
                _log.debug("the farewell was not sent: %s", error)
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(
        self,
        client: paho.Client,
        _userdata: object,
        _flags: paho.ConnectFlags,
        reason: ReasonCode,
        _properties: object,
    ) -> None:
        if reason.is_failure:
            self._tell(f"refuses the connection: {reason}")
            return
        if self._told:
            _log.info("%s: broker %s is back", self._name, self.endpoint.host)
        self._told = False
        self._failures = 0
        self._began = time.monotonic()
        if self._subscribe:
            client.subscribe([(topic, 1) for topic in self._subscribe])
        self._handlers.connected()

    def _on_connect_fail(self, _client: paho.Client, _userdata: object) -> None:
        self._tell("cannot be reached")
        self._plan_next_wait()

    def _tell(self, what: str) -> None:
        """Say what is wrong with the broker, once until it is well again."""
        if not self._told:
            place = f"{self.endpoint.host}:{self.endpoint.port}"
            _log.info("%s: broker %s %s; it is tried again", self._name, place, what)
        self._told = True

    def _on_disconnect(
        self,
        _client: paho.Client,
        _userdata: object,
        _flags: object,
        _reason: object,
        _properties: object,
    ) -> None:
        if self._began and not self._stopping:
            self._evictions = self._evictions + 1 if time.monotonic() - self._began < SHORT_S else 0
            if self._evictions == EVICTIONS:
                _log.warning(
                    "%s: the broker ended %d connections at once: has another agent this name?",
                    self._name, EVICTIONS,
                )  # fmt: skip
            elif self._evictions < EVICTIONS:
                self._tell("ended the connection")
        self._began = 0.0
        self._plan_next_wait()
        self._handlers.lost()

    def _on_message(
        self, _client: paho.Client, _userdata: object, message: paho.MQTTMessage
    ) -> None:
        self._handlers.received(message.topic, bytes(message.payload))

    def _plan_next_wait(self) -> None:
        # paho doubles its wait but does not scatter it; with both bounds equal it waits just this.
        wait = backoff_s(self._failures)
        self._failures += 1
        self._client.reconnect_delay_set(wait, wait)  # type: ignore[arg-type]


def backoff_s(
    failures: int, first_s: float = FIRST_WAIT_S, most_s: float = LONGEST_WAIT_S
) -> float:
    """Return a wait drawn from [half, whole] of a doubling, bounded time: a fleet spreads out."""
    whole = min(first_s * 2 ** min(failures, 32), most_s)
    return random.uniform(whole / 2, whole)


def _no_delay(_client: paho.Client, _userdata: object, sock: object) -> None:
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _tls_context(tls: Tls) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(tls.ca) if tls.ca else None)
        if tls.cert is not None:
            context.load_cert_chain(tls.cert, tls.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            "HT104", "tls", f"a certificate or key cannot be read: {error}"
        ) from error
    return context
