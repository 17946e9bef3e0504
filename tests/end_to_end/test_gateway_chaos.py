"""Cables pulled and cut, the agent killed, the board's power cut, in any order, during updates."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from hardtack.fleet.controller import Controller
from hardtack.fleet.store import Store
from tests.digit_bundles import make_bundle
from tests.end_to_end.fleet import AgentProcess, until
from tests.end_to_end.gateway import boards, predict, write_config
from tests.firmware.cable import Cable
from tests.firmware.test_posix import Device

STEPS = 30
SEED = 8


class Life:
    """One board behind one gateway, and what may happen to them."""

    def __init__(self, controller: Controller, store: Store, device: Device) -> None:
        self.controller = controller
        self.store = store
        self.device = device
        self.cable = Cable(lambda: device.port)
        self.agent: AgentProcess
        self.rng = random.Random(SEED)
        self.jobs: list[str] = []
        self.made = Counter[str]()

    def counted(self) -> Counter[str]:
        """What the store has of it."""
        totals = Counter[str]()
        for _, window in self.store.windows("board"):
            totals["samples"] += window.samples
            totals["correct"] += window.correct
        return totals

    def push(self) -> None:
        if not self.jobs or self.store.job(self.jobs[-1]).ended:
            ballast = self.rng.randrange(1, 300)
            bundle = make_bundle(f"1.{len(self.jobs)}.0", ballast=ballast)
            self.jobs += self.controller.push(bundle, ["board"])

    def predict(self) -> None:
        """Make predictions as the application would; nobody else is on the line."""
        shown = [self.rng.randrange(4) for _ in range(3)]
        labels = [self.rng.randrange(4) for _ in range(3)]
        predict(self.device.port, labels, shown)
        self.made["samples"] += 3
        self.made["correct"] += sum(a == b for a, b in zip(shown, labels, strict=True))

    def pull(self) -> None:
        self.cable.pull()
        self.predict()
        self.cable.plug()

    def cut(self) -> None:
        self.cable.cut_at = self.cable.carried + self.rng.randrange(1, 6000)

    def kill(self) -> None:
        self.agent.kill()
        self.predict()
        self.agent.start()

    def power(self) -> None:
        """Cut the board's power, when nothing is only in its memory."""
        until(lambda: self.counted() == self.made, 30, "telemetry")
        self.device.kill()
        self.device.start(self.device.port).line.close()


@pytest.mark.slow
def test_whatever_happens_every_prediction_is_counted_once_and_every_update_ends_well(
    controller: Controller, store: Store, new_agent: Callable[..., AgentProcess], tmp_path: Path
) -> None:
    (tmp_path / "board").mkdir()
    device = Device(tmp_path / "board")
    device.start().line.close()
    life = Life(controller, store, device)
    try:
        config = write_config(tmp_path, boards(("board", life.cable)))
        life.agent = new_agent("--config", str(config))
        controller.wait(controller.push(make_bundle("0.9.0"), ["board"]), 30)
        for _ in range(STEPS):
            life.push()
            time.sleep(life.rng.uniform(0.0, 0.8))
            life.rng.choice((life.pull, life.cut, life.kill, life.power))()
        life.cable.cut_at = 0
        jobs = controller.wait(life.jobs, 60)
        assert {job.state for job in jobs} == {"confirmed"}, jobs
        until(lambda: life.counted() == life.made, 30, "telemetry")
        print(f"{len(jobs)} updates, {life.cable.connections} connections, {dict(life.made)}")
    finally:
        life.cable.close()
        device.kill()
