"""Serial lines: ports of this machine through pyserial, and sockets.

Every failure of an open line is an OSError; opening says who holds a port and which group is
missing.
"""

from __future__ import annotations

import grp
import os
import pwd
import socket
import stat
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from hardtack_runtime.errors import ConfigError, DeviceError

BAUD = 115200
SOCKET = "socket://"


class Line(Protocol):
    """Bytes both ways; every call raises OSError when the line is gone."""

    byte_s: float

    def read(self, timeout_s: float) -> bytes:
        """Return what came, at the latest after the time; b"" for nothing."""

    def write(self, data: bytes) -> None:
        """Send all of it."""

    def close(self) -> None:
        """Let it go."""


class _SocketLine:
    def __init__(self, host: str, port: int) -> None:
        self.byte_s = 0.0
        self._socket = socket.create_connection((host, port), timeout=3.0)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read(self, timeout_s: float) -> bytes:
        self._socket.settimeout(max(timeout_s, 1e-4))
        try:
            data = self._socket.recv(4096)
        except TimeoutError:
            return b""
        if not data:
            raise ConnectionError("the other end hung up")
        return data

    def write(self, data: bytes) -> None:
        self._socket.settimeout(5.0)
        self._socket.sendall(data)

    def close(self) -> None:
        self._socket.close()


class _PortLine:
    def __init__(self, port: Any) -> None:
        self._port = port
        self.byte_s = 10.0 / port.baudrate  # a start and a stop bit

    def read(self, timeout_s: float) -> bytes:
        self._port.timeout = max(timeout_s, 1e-4)
        first: bytes = self._port.read(1)
        if not first:
            return b""
        return first + bytes(self._port.read(self._port.in_waiting))

    def write(self, data: bytes) -> None:
        self._port.write(data)

    def close(self) -> None:
        self._port.close()


def open_line(address: str, baud: int = BAUD) -> Line:
    """Open a line, and no other program's.

    Args:
        address: `/dev/tty...` or `socket://host:port`.
        baud: Bits a second of a port.

    Raises:
        ConfigError: HT104, the address is none; HT105, pyserial is missing.
        DeviceError: HT617, there is no such port; HT618, somebody holds it; HT619, permission.
        OSError: nobody listens at the socket, or the port failed.
    """
    if address.startswith(SOCKET):
        return _SocketLine(*host_and_port(address))
    serial = import_pyserial()
    _require_openable(address)
    holder = who_holds(Path(address))
    if holder:
        raise _held(address, holder)
    try:
        port = serial.Serial(address, baud, timeout=0, write_timeout=5.0, exclusive=True)
    except serial.SerialException as error:
        if "exclusively lock" in str(error):
            raise _held(address, "another program") from error
        raise
    except ValueError as error:
        raise ConfigError("HT104", "--baud", f"{address} does not take {baud}") from error
    return _PortLine(port)


def import_pyserial() -> Any:
    """Return the module.

    Raises:
        ConfigError: HT105, it is not installed.
    """
    try:
        import serial
    except ImportError as error:
        raise ConfigError(
            "HT105",
            "pyserial",
            "is not installed",
            "pip install 'hardtack[flash]', or 'hardtack-agent[gateway]'",
        ) from error
    return serial


def who_holds(path: Path) -> str:
    """Return "NAME (process PID)" of another process that has the file open; "" for nobody.

    Processes of other users hide their files from us, so "" is no promise.
    """
    wanted = path.resolve()
    for process in Path("/proc").glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        try:
            held = any(entry.readlink() == wanted for entry in (process / "fd").iterdir())
            if held:
                return f"{(process / 'comm').read_text().strip()} (process {process.name})"
        except OSError:  # it ended, or is another user's
            continue
    return ""


def _held(address: str, holder: str) -> DeviceError:
    return DeviceError("HT618", address, f"is held by {holder}", "close it there, then repeat")


def host_and_port(address: str) -> tuple[str, int]:
    """Read `socket://host:port`.

    Raises:
        ConfigError: HT104, it is no such address.
    """
    try:
        parts = urlsplit(address)
        if not parts.hostname or parts.port is None or parts.path not in {"", "/"}:
            raise ValueError
    except ValueError:
        raise ConfigError(
            "HT104", address, "is no address of a device", "write socket://HOST:PORT"
        ) from None
    return parts.hostname, parts.port


def _require_openable(address: str) -> None:
    try:
        opened = os.open(address, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        is_port = os.isatty(opened)
        os.close(opened)
    except FileNotFoundError as error:
        raise DeviceError(
            "HT617", address, "there is no such port", "plug the board in; try --device auto"
        ) from error
    except PermissionError as error:
        raise DeviceError(
            "HT619", address, "this user may not open it", _permission_advice(Path(address))
        ) from error
    if not is_port:
        raise DeviceError("HT617", address, "is no serial port", "try --device auto")


def _permission_advice(path: Path) -> str:
    try:
        found = path.stat()
        group = grp.getgrgid(found.st_gid).gr_name
        user = pwd.getpwuid(os.geteuid()).pw_name
    except (OSError, KeyError):
        return "ask the owner of this machine for access to it"
    both = stat.S_IRGRP | stat.S_IWGRP
    if found.st_mode & both != both:
        return f"it is closed to its group {group} too: ask the owner of this machine for access"
    return f"`sudo usermod -aG {group} {user}`, then log out and in again"
