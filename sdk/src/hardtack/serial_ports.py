"""Finding a microcontroller: which ports there are, and at which speed one answers."""

from __future__ import annotations

import functools
from collections.abc import Callable

from hardtack.fleet.settings import FleetSettings
from hardtack_agent import topics
from hardtack_agent.serial_line import BAUD, SOCKET, Line, import_pyserial, open_line
from hardtack_agent.serial_link import LinkError
from hardtack_agent.serial_mqtt import SCHEME, MqttLine
from hardtack_agent.serial_refusal import RefusedError
from hardtack_agent.serial_session import PATIENCE_S, Session
from hardtack_agent.transport import Tls
from hardtack_runtime.errors import ConfigError, DeviceError, HardtackError

SPEEDS = (BAUD, 921600, 460800, 230400, 57600, 38400, 9600)
_PROBE_S = 1.5


def ports() -> list[str]:
    """Return the ports of this machine, those on USB first."""
    import_pyserial()
    from serial.tools.list_ports import comports

    found = sorted(comports(), key=lambda port: (port.vid is None, port.device))
    return [port.device for port in found]


def find(
    device: str, baud: int | None, say: Callable[[str], None], fleet: Callable[[], FleetSettings]
) -> Session:
    """Open the device that was named, or the only one there is.

    Args:
        device: `auto`, `/dev/tty...`, `socket://host:port`, or `mqtt:NAME`, a board of a gateway.
        baud: Its speed; None tries those in use, the usual one first.
        say: Takes a line about what is tried.
        fleet: Says where the broker is, when one is needed.

    Raises:
        HardtackError: HT617, there is none, or more than one; HT616 to HT620, why one cannot be
            used.
    """
    if device.startswith(SCHEME):
        return _greet(device, PATIENCE_S, _remote(device.removeprefix(SCHEME), fleet()))
    if device != "auto":
        return _open(device, baud, say, PATIENCE_S)
    sessions, failures = [], []
    for address in ports():
        try:
            sessions.append(_open(address, baud, say, _PROBE_S))
        except HardtackError as error:
            failures.append(error)
    if len(sessions) == 1:
        return sessions[0]
    for session in sessions:
        session.close()
    if sessions:
        there = ", ".join(session.where for session in sessions)
        raise DeviceError("HT617", "auto", f"several answer: {there}", "name one with --device")
    if len(failures) == 1:
        raise failures[0]
    met = "; ".join(map(str, failures)) or "this machine has no serial port"
    raise DeviceError(
        "HT617", "auto", met, "plug the board in, or name one with --device"
    )  # fmt: skip


def _open(address: str, baud: int | None, say: Callable[[str], None], patience_s: float) -> Session:
    if address.startswith(SOCKET):
        return _greet(address, patience_s, functools.partial(open_line, address))
    if baud is not None:
        return _greet(address, patience_s, functools.partial(open_line, address, baud))
    for speed in SPEEDS:
        say(f"{address}: asking at {speed} baud")
        try:
            return _greet(address, _PROBE_S, functools.partial(open_line, address, speed))
        except DeviceError as error:
            if error.code != "HT616":
                raise
    tried = ", ".join(map(str, SPEEDS))
    raise DeviceError(
        "HT616", address, f"does not answer as hardtack firmware at {tried} baud",
        "check the cable and that the firmware is on the board; give --baud if it has another",
    )  # fmt: skip


def _remote(name: str, fleet: FleetSettings) -> Callable[[], Line]:
    """Return what opens the line of a gateway's board."""
    if not topics.is_name(name):
        raise ConfigError("HT104", "--device", f"{name!r} is no device name", "write mqtt:NAME")
    return functools.partial(MqttLine, fleet.broker, fleet.tenant, name, Tls(*fleet.tls))


def _greet(address: str, patience_s: float, connect: Callable[[], Line]) -> Session:
    try:
        session = Session(connect, address, patience_s=patience_s)
    except OSError as error:
        met = f"cannot be opened: {error.strerror or error}"
        raise DeviceError("HT617", address, met, "check the address; is it switched on?") from error
    try:
        session.hello()
    except (RefusedError, LinkError) as error:
        session.close()
        met = f"speaks another version of the protocol ({error})"
        raise DeviceError("HT616", address, met, "update its firmware or hardtack") from error
    except BaseException:
        session.close()
        raise
    session.patience_s = PATIENCE_S
    return session
