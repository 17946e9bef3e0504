"""A gateway for tests: an agent process whose configuration names boards."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from hardtack.fleet.store import Store
from hardtack_agent.serial_line import open_line
from hardtack_agent.serial_session import Session
from tests.digit_bundles import sample
from tests.end_to_end.fleet import AgentProcess
from tests.firmware.cable import Cable
from tests.firmware.test_posix import Device

NewAgent = Callable[..., AgentProcess]
CONFIG = """
device = "pi-1"
broker = "mqtt://127.0.0.1:1"
state_dir = "state"
trusted_keys = "keys"

[gateway]
poll_s = 0.2
{settings}
"""


def write_config(folder: Path, settings: str) -> Path:
    """Write agent.toml; flags of the agent's process win over its first lines."""
    path = folder / "agent.toml"
    path.write_text(CONFIG.format(settings=settings))
    return path


def boards(*named: tuple[str, Cable]) -> str:
    """Return the tables of boards with names."""
    return "\n".join(
        f"[[gateway.devices]]\nname = {json.dumps(name)}\nport = {json.dumps(cable.address)}\n"
        for name, cable in named
    )


def online(store: Store, device: str) -> bool:
    """Say whether the store believes a device to be there."""
    return any(row.online for row in store.devices() if row.device == device)


def predict(port: int, labels: list[int], shown: list[int]) -> None:
    """Run the model of a board as its application would, on what is `shown`, with the truth."""
    address = f"socket://127.0.0.1:{port}"

    def connect() -> Any:
        return open_line(address)

    with Session(connect, address, patience_s=30) as session:
        session.hello()
        for label, digit in zip(labels, shown, strict=True):
            session.run(sample(digit).astype("int8").tobytes(), label)


class Desk:
    """Posix devices on cables, by name."""

    def __init__(self, folder: Path) -> None:
        self.devices: dict[str, Device] = {}
        self.cables: dict[str, Cable] = {}
        self._folder = folder

    def add(self, name: str, chip: str = "") -> Cable:
        folder = self._folder / f"board-{name}"
        folder.mkdir()
        device = Device(folder, chip=chip)
        device.start().line.close()
        self.devices[name] = device
        self.cables[name] = Cable(lambda: device.port)
        return self.cables[name]

    def predict(self, name: str, labels: list[int], shown: list[int]) -> None:
        """Predict on the board while the gateway is not on its line, as its application would."""
        self.cables[name].pull()
        predict(self.devices[name].port, labels, shown)
        self.cables[name].plug()

    def swap(self, name: str, chip: str) -> None:
        """Put another board on the same cable."""
        self.cables[name].pull()
        self.devices[name].kill()
        folder = self._folder / f"board-{chip}"
        folder.mkdir()
        device = self.devices[name]
        device.flash, device.chip = folder / "flash.bin", chip
        device.start().line.close()
        self.cables[name].plug()

    def close(self) -> None:
        for cable in self.cables.values():
            cable.close()
        for device in self.devices.values():
            device.kill()


class Babbler:
    """Something on a port that is no board of ours: it talks all the time."""

    def __init__(self) -> None:
        self.calls = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"socket://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = self._listener.accept()
                self.calls += 1
                threading.Thread(target=self._babble, args=(line,), daemon=True).start()

    def _babble(self, line: socket.socket) -> None:
        with contextlib.suppress(OSError), line:
            while line.recv(4096):
                line.sendall(os.urandom(64) + b"OK\r\n\0")

    def close(self) -> None:
        self._listener.close()


def flash(port: int, bundle: bytes) -> None:
    """Install a bundle as somebody with a cable would."""
    with Session(partial(open_line, f"socket://127.0.0.1:{port}"), "board") as session:
        session.install(bundle)
