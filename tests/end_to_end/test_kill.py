"""kill -9 of agents and broker, 200 times, while models are installed and predictions reported.

Where a busy machine gets few updates through between kills, more kills follow.

After each kill of an agent its disk holds a complete, signed, active bundle. At the end every
telemetry record an agent ever finished is in the store exactly once, and every prediction that a
client was told is counted.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardtack.fleet.broker import EmbeddedBroker
from hardtack.fleet.controller import Controller
from hardtack.fleet.store import Store
from hardtack_agent.client import Client
from hardtack_agent.files import DiskFiles
from hardtack_agent.slots import SlotStore
from hardtack_runtime.bundle import verify
from hardtack_runtime.errors import DeviceError
from hardtack_runtime.signing import Keyring
from tests.digit_bundles import make_bundle, sample
from tests.end_to_end.fleet import AgentProcess, until

KILLS = 200
DEVICES = ("pi-1", "pi-2", "pi-3")
SEED = 20


class Caller:
    """An application that asks its agent for predictions and counts what it was told."""

    def __init__(self, agent: AgentProcess) -> None:
        self.agent = agent
        self.asked = 0
        self.told = 0
        self._running = True
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while self._running:
            try:
                with Client(self.agent.socket, timeout_s=5) as client:
                    while self._running:
                        self.asked += 1
                        client.predict("digits", [sample(self.asked % 4)], self.asked % 4)
                        self.told += 1
                        time.sleep(0.005)
            except DeviceError:
                time.sleep(0.02)

    def stop(self) -> None:
        self._running = False
        self._thread.join(10)


class Pushes:
    """Keeps one update under way on each device."""

    def __init__(self, controller: Controller, store: Store) -> None:
        self.controller = controller
        self.store = store
        self.job_ids: list[str] = []
        self._open: dict[str, str] = {}
        self._patch = 0

    def keep_busy(self) -> None:
        for device in DEVICES:
            if device not in self._open or self.store.job(self._open[device]).ended:
                self._patch += 1
                data = make_bundle(f"1.1.{self._patch}", ballast=4000)
                (self._open[device],) = self.controller.push(data, [device])
                self.job_ids.append(self._open[device])

    def confirmed(self) -> int:
        return sum(self.store.job(job).state == "confirmed" for job in self.job_ids)


def check_disk(agent: AgentProcess, keys: Keyring) -> None:
    slots = SlotStore(agent.state, DiskFiles())
    verify(slots.read_active(slots.load(), "digits"), keys, "linux")


def kill_broker(broker: EmbeddedBroker) -> None:
    assert broker.pid is not None
    os.kill(broker.pid, signal.SIGKILL)
    broker.stop()
    broker.start()


@pytest.fixture
def agents(tmp_path: Path, broker: EmbeddedBroker) -> Iterator[list[AgentProcess]]:
    made = []
    for device in DEVICES:
        (tmp_path / device).mkdir()
        made.append(AgentProcess(tmp_path / device, broker.url, device=device))
        made[-1].start()
    yield made
    for agent in made:
        agent.kill()


def check_books(agent: AgentProcess, store: Store, caller: Caller) -> None:
    agent.stop()
    books = agent.books()
    keys = store.telemetry_keys(agent.device)
    windows = [window for _, window in store.windows(agent.device)]
    assert len(keys) == len(set(keys)) == books.records
    assert sum(window.samples for window in windows) == books.samples
    assert sum(window.correct for window in windows) == books.correct
    for boot, count in Counter(boot for boot, _ in keys).items():
        assert sorted(seq for one, seq in keys if one == boot) == list(range(1, count + 1))
    assert caller.told <= books.samples <= caller.asked


@pytest.mark.slow
def test_two_hundred_kills_lose_and_double_nothing(
    controller: Controller, broker: EmbeddedBroker, store: Store, agents: list[AgentProcess]
) -> None:
    rng = random.Random(SEED)
    keys = Keyring.load(agents[0].keys)
    first = controller.push(make_bundle("1.0.0", ballast=4000), list(DEVICES))
    assert {job.state for job in controller.wait(first, 30)} == {"confirmed"}
    callers = [Caller(agent) for agent in agents]
    pushes = Pushes(controller, store)
    for kill in range(3 * KILLS):
        if kill >= KILLS and pushes.confirmed() > KILLS // 10:
            break
        pushes.keep_busy()
        time.sleep(rng.uniform(0.05, 0.6))
        if rng.random() < 0.2:
            kill_broker(broker)
            continue
        agent = rng.choice(agents)
        agent.kill()
        check_disk(agent, keys)
        agent.start()
    jobs = controller.wait(pushes.job_ids, 60)
    for caller in callers:
        caller.stop()
    until(lambda: all(idle(agent) for agent in agents), 30, "the spools to empty")
    for agent, caller in zip(agents, callers, strict=True):
        check_books(agent, store, caller)
    ended = Counter(f"{job.state} {job.code}".strip() for job in jobs)
    # Three kills in one trial look like a bundle that kills the agent: giving up is right then.
    assert set(ended) <= {"confirmed", "rolled_back HT607", "failed HT705"}
    assert ended["confirmed"] > KILLS // 10
    print(f"jobs {dict(ended)}, samples {[caller.told for caller in callers]}")


def idle(agent: AgentProcess) -> bool:
    try:
        with Client(agent.socket) as client:
            time.sleep(0.5)
            return bool(client.status()["waiting_records"] == 0)
    except DeviceError:
        return False
