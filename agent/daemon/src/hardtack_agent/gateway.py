"""A gateway: microcontrollers on serial ports, each a device of the fleet in its own right.

Threads: one per port owns its line (`gateway_port`); one per board, and its MQTT connection's, do
what the agent's do (`member`); one looks for ports that match a pattern. They share nothing but a
board's spool, its inbox, and the list of who is where, below.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict

from hardtack_agent import topics
from hardtack_agent.config import AgentConfig
from hardtack_agent.gateway_board import Board, Facts
from hardtack_agent.gateway_port import Port, expand, is_pattern
from hardtack_agent.gateway_rules import Troubles
from hardtack_agent.member import in_thread
from hardtack_agent.serial_line import SOCKET, import_pyserial
from hardtack_agent.serial_messages import HelloReply
from hardtack_runtime.errors import DeviceError, HardtackError

LOOK_S = 1.0
_STOP_S = 3.0
_log = logging.getLogger(__name__)


class Gateway:
    """The boards of one agent.

    Args:
        config: Of the agent, with a gateway.

    Raises:
        ConfigError: HT105, a port is named and pyserial is not installed.
    """

    def __init__(self, config: AgentConfig) -> None:
        assert config.gateway is not None
        self.settings = config.gateway
        self._config = config
        self._lock = threading.Lock()
        self._boards: dict[str, tuple[Board, threading.Thread]] = {}
        self._at: dict[str, Port] = {}
        self._ports: dict[str, Port] = {}
        self._troubles: defaultdict[str, Troubles] = defaultdict(Troubles)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._look_for_ports, name="ports", daemon=True)
        if any(not address.startswith(SOCKET) for address, _ in self._addresses()):
            import_pyserial()

    def start(self) -> None:
        """Begin, in the background; boards of earlier days are members at once, though absent."""
        folder = self._config.state_dir / "boards"
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            facts = Facts.load(path)
            if facts is not None and topics.is_name(path.name):
                try:
                    self._member(path.name, facts)
                except HardtackError as error:
                    _log.error("%s: %s: %s", path.name, error.code, error)
        self._thread.start()

    def stop(self) -> None:
        """Let the lines go, say goodbye for every board, and end."""
        self._stopped.set()
        self._thread.join(_STOP_S)
        for port in self._ports.values():
            port.stop()
        end = time.monotonic() + _STOP_S
        for port in self._ports.values():
            port.join(max(0.0, end - time.monotonic()))
        with self._lock:
            boards = list(self._boards.values())
        for board, _ in boards:
            board.stop()
        end = time.monotonic() + _STOP_S
        for _, thread in boards:
            thread.join(max(0.0, end - time.monotonic()))

    def claim(self, name: str, port: Port, about: HelloReply) -> Board:
        """Give a board to the port it answers at.

        Raises:
            DeviceError: HT623, it answers at another port too; or as `Member`.
            ConfigError: as `Member`.
        """
        with self._lock:
            holder = self._at.get(name)
            if holder is not None and holder is not port:
                raise DeviceError(
                    "HT623", port.address, f"{name} answers at {holder.address} already",
                    "one port is enough; two boards need two names",
                )  # fmt: skip
            if name == self._config.device:
                raise DeviceError("HT623", port.address, f"{name} is the agent's own name")
            board = self._member(name, Facts.of(about))
            self._at[name] = port
            return board

    def release(self, name: str, port: Port) -> None:
        """The board answers there no more."""
        with self._lock:
            if self._at.get(name) is port:
                del self._at[name]

    def _member(self, name: str, facts: Facts) -> Board:
        board, thread = self._boards.get(name, (None, None))
        if board is None or thread is None or not thread.is_alive():
            board = Board(self._config, name, facts)
            self._boards[name] = board, in_thread(board)
        return board

    def _addresses(self) -> list[tuple[str, int]]:
        """Return what is configured: address and speed, those of named boards first."""
        named = [
            (board.port, board.baud or self.settings.baud)
            for board in self.settings.devices
            if board.port is not None
        ]
        return [*named, *((port, self.settings.baud) for port in self.settings.ports)]

    def _look_for_ports(self) -> None:
        while True:
            for address, baud in self._addresses():
                try:
                    self._look_at(address, baud)
                except Exception as error:
                    # The search must go on: nobody else would notice a board that comes later.
                    if self._troubles[address].new(repr(error)):
                        _log.exception("%s: a fault of ours; it is looked at again", address)
                else:
                    self._troubles[address].over()
            if self._stopped.wait(LOOK_S):
                return

    def _look_at(self, address: str, baud: int) -> None:
        found = is_pattern(address)
        for one in expand(address) if found else [address]:
            port = self._ports.get(one)
            if port is None or not port.alive:
                self._ports[one] = Port(self, one, baud, found=found)
                self._ports[one].start()
