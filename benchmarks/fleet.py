"""A fleet of one or more agents on this machine, for benchmarks that go the whole way."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hardtack.demo import agents, describe_jobs, wait_online, wait_reported
from hardtack.fleet.broker import EmbeddedBroker
from hardtack.fleet.controller import Controller
from hardtack.fleet.store import Store
from hardtack_agent.client import Client
from hardtack_agent.telemetry import Window
from hardtack_runtime.signing import SigningKey


@dataclass(frozen=True, slots=True)
class Fleet:
    """A running broker, controller and agents."""

    folder: Path
    store: Store
    controller: Controller
    devices: tuple[str, ...]

    def push(self, bundle: bytes) -> None:
        """Bring a bundle to every device; an exception when one does not confirm it."""
        jobs = self.controller.push(bundle, self.devices)
        describe_jobs(self.controller.wait(jobs, 60))

    def predict(
        self,
        device: str,
        model: str,
        inputs: npt.NDArray[np.float32],
        labels: npt.NDArray[np.int64],
    ) -> list[npt.NDArray[np.float32]]:
        """Ask one device for every sample over its socket, telling it the truth."""
        with Client(self.folder / device / "agent.sock") as agent:
            return [
                agent.predict(model, [sample], label=int(truth)).outputs[0].ravel()
                for sample, truth in zip(inputs, labels, strict=True)
            ]

    def reported(self, samples: int) -> dict[str, Window]:
        """Wait until the store holds so many predictions per device; return what was reported."""
        return wait_reported(self.store, list(self.devices), samples)


@contextlib.contextmanager
def fleet(key: SigningKey, devices: int = 1) -> Iterator[Fleet]:
    """Run a broker, a controller and agents that trust `key`."""
    names = tuple(f"device-{i}" for i in range(1, devices + 1))
    with (
        tempfile.TemporaryDirectory(prefix="hardtack-bench-") as folder,
        contextlib.ExitStack() as stack,
    ):
        base = Path(folder)
        key.verify_key.save(base / "keys" / "bench.pub")
        broker = stack.enter_context(EmbeddedBroker(base / "broker"))
        store = Store(base / "fleet.db")
        stack.callback(store.close)
        controller = stack.enter_context(Controller(store, broker.url))
        stack.enter_context(agents(base, list(names), broker.url, base / "keys"))
        wait_online(store, list(names))
        yield Fleet(base, store, controller, names)
