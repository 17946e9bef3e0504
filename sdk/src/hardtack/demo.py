"""The whole loop on one machine: bake a model, deploy it to agents, predict, collect reports.

Everything is real: the converter, a broker, one agent process per device, MQTT between them.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from hardtack.bake import Outcome, bake
from hardtack.config import load_config
from hardtack.fleet.broker import EmbeddedBroker
from hardtack.fleet.controller import Controller
from hardtack.fleet.rows import JobRow
from hardtack.fleet.store import Store
from hardtack_agent.client import Client
from hardtack_agent.telemetry import Window
from hardtack_runtime.errors import DeviceError
from hardtack_runtime.signing import SigningKey

READY_S = 20.0
REPORT_S = 20.0
TELEMETRY_PERIOD_S = 0.5
Say = Callable[[str, str], None]
"""Told (stage, what happened)."""


@dataclass(frozen=True, slots=True)
class Result:
    """What the demo showed.

    Attributes:
        outcome: The conversion.
        jobs: How the bundle went to each device.
        reported: The telemetry of each device, as the controller stored it.
        samples: Predictions asked of each device.
        seconds: Wall time of everything.
    """

    outcome: Outcome
    jobs: list[JobRow]
    reported: dict[str, Window]
    samples: int
    seconds: float


def run_demo(folder: Path, devices: int, say: Say) -> Result:
    """Run the demo in a folder of its own.

    Args:
        folder: Where project, keys, store and device states go; made when absent.
        devices: How many agents.
        say: Told what happens.

    Raises:
        HardtackError: any stage failed.
    """
    begin = time.monotonic()
    names = [f"device-{i}" for i in range(1, devices + 1)]
    project = set_up_project(folder)
    outcome = bake(load_config(project / "deploy.toml"), project, project / "dist")
    say("convert", f"{outcome.source_bytes} -> {outcome.bundles[0].header.total_size} bytes, "
        f"{outcome.bundles[0].path}")  # fmt: skip
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(EmbeddedBroker(folder / "broker"))
        say("broker", f"{broker.kind} at {broker.url}")
        store = Store(folder / "fleet.db")
        stack.callback(store.close)
        controller = stack.enter_context(Controller(store, broker.url))
        stack.enter_context(agents(folder, names, broker.url, project))
        wait_online(store, names)
        say("devices", f"{devices} agents online")
        jobs = controller.wait(controller.push(outcome.bundles[0].data, names), READY_S)
        say("push", describe_jobs(jobs))
        x, y = test_samples()
        predict_everywhere(folder, names, x, y)
        say("predict", f"{len(x)} samples on each device, over its socket")
        reported = wait_reported(store, names, len(x))
    return Result(outcome, jobs, reported, len(x), time.monotonic() - begin)


def set_up_project(folder: Path) -> Path:
    """Copy the demo's model, data and deploy.toml, and make its key; return the project folder."""
    project = folder / "project"
    project.mkdir(parents=True, exist_ok=True)
    source = resources.files("hardtack") / "demo_data"
    for entry in source.iterdir():
        with resources.as_file(entry) as path:
            if path.is_file():
                shutil.copy(path, project / path.name)
    if not (project / "demo.key").exists():
        SigningKey.generate().save(project / "demo.key")
    return project


def test_samples() -> tuple[np.ndarray, np.ndarray]:
    """Return the held-out digits, float32 [600, 1, 8, 8] in 0..16, and their classes."""
    data = resources.files("hardtack") / "demo_data" / "test.npz"
    with resources.as_file(data) as path, np.load(path) as arrays:
        return arrays["x"], arrays["y"]


@contextlib.contextmanager
def agents(folder: Path, names: list[str], broker: str, trusted: Path) -> Iterator[None]:
    """Run one agent process per name; end them at the end."""
    processes = []
    for name in names:
        state = folder / name
        state.mkdir(exist_ok=True)
        command = [
            sys.executable, "-m", "hardtack_agent.main", "--device", name, "--broker", broker,
            "--state-dir", str(state), "--trusted-keys", str(trusted),
            "--telemetry-period-s", str(TELEMETRY_PERIOD_S),
        ]  # fmt: skip
        with (state / "agent.log").open("ab") as log:
            processes.append(subprocess.Popen(command, stdout=log, stderr=log))
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(10)


def wait_online(store: Store, names: list[str]) -> None:
    """Wait until every device has announced itself.

    Raises:
        DeviceError: HT605, one did not in time.
    """
    deadline = time.monotonic() + READY_S
    missing = set(names)
    while missing and time.monotonic() < deadline:
        time.sleep(0.05)
        missing = set(names) - {row.device for row in store.devices() if row.online and row.agent}
    if missing:
        name = sorted(missing)[0]
        raise DeviceError("HT605", name, f"did not come online within {READY_S:g} s",
                          f"see {name}/agent.log")  # fmt: skip


def describe_jobs(jobs: list[JobRow]) -> str:
    """Return "5 confirmed", or the reason of the first that failed."""
    failed = [job for job in jobs if job.state != "confirmed"]
    if failed:
        raise DeviceError(failed[0].code or "HT606", failed[0].device, failed[0].detail)
    return f"{len(jobs)} of {len(jobs)} devices verified, tried and confirmed {jobs[0].release}"


def predict_everywhere(folder: Path, names: list[str], x: np.ndarray, y: np.ndarray) -> None:
    """Ask every device for every sample, telling it the truth afterwards."""

    def ask(name: str) -> None:
        try:
            with Client(folder / name / "agent.sock") as agent:
                for sample, truth in zip(x, y, strict=True):
                    agent.predict("digits", [sample], label=int(truth))
        except DeviceError as error:
            errors.append(error)

    errors: list[DeviceError] = []
    threads = [threading.Thread(target=ask, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def wait_reported(store: Store, names: list[str], samples: int) -> dict[str, Window]:
    """Wait until the store holds every prediction of every device, each once.

    Raises:
        DeviceError: HT605, a device has reported another number in time.
    """
    deadline = time.monotonic() + REPORT_S
    while True:
        reported = {device: window for (device, _, _), window in store.totals().items()}
        late = [n for n in names if n not in reported or reported[n].samples < samples]
        if not late:
            return reported
        if time.monotonic() > deadline:
            raise DeviceError("HT605", late[0], f"has not reported after {REPORT_S:g} s")
        time.sleep(0.1)
