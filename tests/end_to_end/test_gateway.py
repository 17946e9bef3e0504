"""Boards behind a gateway: from a pushed bundle to the accuracy they measured."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hardtack.fleet.controller import Controller
from hardtack.fleet.store import Store
from tests.digit_bundles import STRANGER, make_bundle
from tests.end_to_end.fleet import AgentProcess, until
from tests.end_to_end.gateway import boards, online, predict, write_config
from tests.firmware.cable import Cable
from tests.firmware.test_posix import Device

NewAgent = Callable[..., AgentProcess]


class Desk:
    """Posix devices on cables, by name."""

    def __init__(self, folder: Path) -> None:
        self.devices: dict[str, Device] = {}
        self.cables: dict[str, Cable] = {}
        self._folder = folder

    def add(self, name: str, chip: str = "") -> Cable:
        folder = self._folder / f"board-{name}"
        folder.mkdir()
        device = Device(folder, chip)
        device.start().line.close()
        self.devices[name] = device
        self.cables[name] = Cable(lambda: device.port)
        return self.cables[name]

    def predict(self, name: str, labels: list[int], shown: list[int]) -> None:
        """Predict on the board while the gateway is not on its line, as its application would."""
        self.cables[name].pull()
        predict(self.devices[name].port, labels, shown)
        self.cables[name].plug()

    def close(self) -> None:
        for cable in self.cables.values():
            cable.close()
        for device in self.devices.values():
            device.kill()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.close()


@pytest.fixture
def gateway(tmp_path: Path, new_agent: NewAgent) -> Callable[[str], AgentProcess]:
    def start(settings: str) -> AgentProcess:
        return new_agent("--config", str(write_config(tmp_path, settings)))

    return start


Gateway = Callable[[str], AgentProcess]


def test_two_boards_take_a_new_model_and_report_its_accuracy(
    controller: Controller, store: Store, gateway: Gateway, desk: Desk
) -> None:
    gateway(boards(("kitchen", desk.add("kitchen")), ("cellar", desk.add("cellar"))))
    until(lambda: online(store, "kitchen") and online(store, "cellar"), why="the boards")
    names = ["kitchen", "cellar"]
    jobs = controller.wait(controller.push(make_bundle("1.0.0"), names), 60)
    assert [job.state for job in jobs] == ["confirmed", "confirmed"]
    jobs = controller.wait(controller.push(make_bundle("1.1.0", ballast=500), names), 60)
    assert [job.state for job in jobs] == ["confirmed", "confirmed"]
    for row in store.devices():
        if row.device in names:
            assert [(one.name, one.version) for one in row.models] == [("digits", (1, 1, 0))]
            assert row.hardware == "posix"
    desk.predict("kitchen", [0, 1, 2, 3], [0, 1, 2, 2])
    desk.predict("cellar", [3, 3], [3, 3])
    until(lambda: sum(window.samples for _, window in store.windows()) == 6, why="telemetry")
    totals = {device: window for (device, _, _), window in store.totals().items()}
    assert (totals["kitchen"].labelled, totals["kitchen"].correct) == (4, 3)
    assert (totals["cellar"].labelled, totals["cellar"].correct) == (2, 2)
    assert totals["kitchen"].version == (1, 1, 0)
    until(lambda: {note.kind for _, note in store.notes("kitchen")} >= {"health", "log", "layers"})
    layers = [note for _, note in store.notes("kitchen") if note.kind == "layers"]
    assert {note.body["model"] for note in layers} <= {"digits@1.0.0", "digits@1.1.0"}
    assert len(layers[-1].body["ticks"]) == 2
