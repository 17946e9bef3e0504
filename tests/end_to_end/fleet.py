"""A small real fleet for tests: broker, store and controller here, agents in processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from hardtack_agent.client import Client
from hardtack_agent.spool import Spool, Totals
from hardtack_runtime.errors import DeviceError
from tests.digit_bundles import KEY


def until(what: Callable[[], bool], timeout_s: float = 20.0, why: str = "it") -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s for {why}"
        time.sleep(0.02)


class AgentProcess:
    """`hardtack-agent` as a user runs it.

    Args:
        folder: Its state, log and trusted keys.
        broker_url: Where it connects.
        flags: Further command-line words.
        wrapper: Command it is started through, for limits.
    """

    def __init__(
        self,
        folder: Path,
        broker_url: str,
        *flags: str,
        device: str = "pi-1",
        wrapper: tuple[str, ...] = (),
    ) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.device = device
        self.keys = folder / "keys"
        KEY.verify_key.save(self.keys / "fleet.pub")
        self._command = [
            *wrapper, sys.executable, "-m", "hardtack_agent.main",
            "--device", device, "--broker", broker_url, "--state-dir", str(self.state),
            "--trusted-keys", str(self.keys), "--socket", str(self.socket),
            "--telemetry-period-s", "0.2", *flags,
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        """Its prediction socket."""
        return self.folder / "s"

    @property
    def log(self) -> str:
        """What it has written so far."""
        return (self.folder / "log").read_text(errors="replace")

    def start(self) -> None:
        """Start it, without waiting."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)

    def kill(self) -> None:
        """Kill it as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Stop it as init would; returns its exit status."""
        return self._end(signal.SIGTERM)

    def alive(self) -> bool:
        """Say whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def _end(self, number: int) -> int:
        if self._process is None:
            return 0
        if self._process.poll() is None:
            os.kill(self._process.pid, number)
        return self._process.wait(20)

    def client(self, timeout_s: float = 20.0) -> Client:
        """Connect to its socket once it is up."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                return Client(self.socket)
            except DeviceError:
                if time.monotonic() > deadline or not self.alive():
                    raise AssertionError(f"the agent is not up:\n{self.log}") from None
                time.sleep(0.02)

    def books(self) -> Totals:
        """Return the agent's own count; only while it is stopped."""
        spool = Spool(self.state / "spool.db", bytes(16))
        totals = spool.totals()
        spool.close()
        return totals
