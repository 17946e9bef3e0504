"""A broker for trying things out, and for a fleet of one desk: mosquitto, else amqtt.

For anything real run mosquitto (or any MQTT broker) yourself, with TLS and access lists.
"""

from __future__ import annotations

import getpass
import importlib.util
import logging
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

from hardtack_runtime.errors import ConfigError, DeviceError

READY_WITHIN_S = 10.0
_log = logging.getLogger(__name__)

_MOSQUITTO = """\
listener {port} {host}
allow_anonymous true
# Without this small answers wait for the peer's delayed acknowledgement: 20 times slower.
set_tcp_nodelay true
# By default retained messages reach the disk every half hour, and a crash loses them.
persistence true
persistence_location {directory}/
autosave_on_changes true
autosave_interval 1
max_queued_messages 10000
log_dest stderr
log_type error
log_type warning
user {user}
"""


class EmbeddedBroker:
    """A broker process of our own, on the loopback interface unless told otherwise.

    Args:
        directory: Where it keeps its state; None takes a temporary one.
        port: TCP port; 0 takes a free one.
        host: Address to listen on.

    Attributes:
        url: mqtt://host:port, once started.
        kind: "mosquitto" or "amqtt".
    """

    def __init__(
        self, directory: Path | None = None, port: int = 0, host: str = "127.0.0.1"
    ) -> None:
        self._own = (
            tempfile.TemporaryDirectory(prefix="hardtack-broker-") if not directory else None
        )
        self._directory = (directory or Path(self._own.name if self._own else "")).resolve()
        self._host = host
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self.kind = _choose()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._own is not None:
            self._own.cleanup()

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"mqtt://{self._host}:{self._port}"

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start, and return when it accepts connections.

        Raises:
            DeviceError: HT602 the port is taken; HT601 it did not come up.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        self._port = _claim_port(self._host, self._port)
        log = (self._directory / "broker.log").open("ab")
        with log:
            self._process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._wait_until_ready()

    def stop(self) -> None:
        """End the process and wait for it."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _command(self) -> list[str]:
        if self.kind == "amqtt":
            return [
                sys.executable,
                "-m",
                "hardtack.fleet.amqtt_broker",
                self._host,
                str(self._port),
            ]
        config = self._directory / "mosquitto.conf"
        # Started by root it would become user `mosquitto`, who may not write in our directory.
        text = _MOSQUITTO.format(
            port=self._port, host=self._host, directory=self._directory, user=getpass.getuser()
        )
        config.write_text(text, encoding="utf-8")
        return [find_mosquitto() or "mosquitto", "-c", str(config)]

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                break
            try:
                socket.create_connection((self._host, self._port), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        self.stop()
        lines = (self._directory / "broker.log").read_text(errors="replace").splitlines()
        said = lines[-1] if lines else "nothing"
        raise DeviceError("HT601", self.url, f"{self.kind} did not come up; it said: {said}")


def find_mosquitto() -> str | None:
    """Return the path of mosquitto, if it is installed."""
    # Debian puts it where the PATH of ordinary users does not look.
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def _choose() -> str:
    if find_mosquitto() is not None:
        return "mosquitto"
    if importlib.util.find_spec("amqtt") is not None:
        _log.warning("mosquitto is not installed: using amqtt, for development only")
        return "amqtt"
    raise ConfigError(
        "HT105", "broker", "neither mosquitto nor amqtt is installed",
        "install mosquitto with your system's packages, or `pip install hardtack[broker]`",
    )  # fmt: skip


def _claim_port(host: str, port: int) -> int:
    """Return the port, or a free one for 0.

    Raises:
        DeviceError: HT602, it is taken.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # A port whose last broker died has connections in TIME_WAIT; it is free all the same.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise DeviceError(
                "HT602", f"{host}:{port}", f"cannot be listened on: {error.strerror}",
                "stop what uses the port, or choose another one",
            ) from error  # fmt: skip
        free: int = probe.getsockname()[1]
        return free
