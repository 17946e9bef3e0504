"""Boards of Arm in QEMU behind a gateway, from `hardtack push` to `hardtack watch`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from hardtack.fleet.broker import EmbeddedBroker
from hardtack.fleet.controller import Controller
from hardtack.fleet.store import Store
from hardtack_agent.serial_line import open_line
from hardtack_agent.serial_session import Session
from tests.digit_bundles import KEY, make_bundle
from tests.end_to_end.command import CommandLine
from tests.end_to_end.fleet import AgentProcess, until
from tests.end_to_end.gateway import boards, online, predict, write_config
from tests.firmware.cable import Cable
from tests.firmware.qemu import BOARDS, Machine

FAULT = Path(__file__).parents[1] / "firmware" / "fault_main.c"
NAMES = ("mps2-an386", "mps3-an547")


@pytest.mark.slow
def test_two_arm_boards_take_a_pushed_model_and_watch_shows_their_accuracy(
    controller: Controller, broker: EmbeddedBroker, store: Store, cli: CommandLine,
    new_agent: Callable[..., AgentProcess], tmp_path: Path,
) -> None:  # fmt: skip
    machines, cables, ports = [], [], {}
    try:
        for name in NAMES:
            folder = tmp_path / f"board-{name}"
            folder.mkdir()
            machine = Machine(BOARDS[name], folder)
            machines.append(machine)
            line = machine.start().line
            ports[name] = line.getpeername()[1]
            line.close()
            cables.append(Cable(lambda name=name: ports[name]))  # type: ignore[misc]
        named = boards(*zip(NAMES, cables, strict=True))
        new_agent("--config", str(write_config(tmp_path, named)))
        until(lambda: all(online(store, name) for name in NAMES), 60, "the boards")
        keys = cli.home / "config" / "hardtack" / "keys"
        keys.mkdir(parents=True)
        KEY.verify_key.save(keys / "default.pub")
        (cli.here / "digits.htb").write_bytes(make_bundle("1.1.0", ballast=40))
        fleet = ("--broker", broker.url, "--store", str(tmp_path / "fleet.db"))
        cli.works("push", "digits.htb", *NAMES, *fleet)
        for name, cable, shown in zip(NAMES, cables, (2, 3), strict=True):
            cable.pull()
            predict(ports[name], [0, 1, 2, 3], [0, 1, 2, shown])
            cable.plug()
        until(lambda: sum(window.samples for _, window in store.windows()) == 8, 60, "telemetry")
        seen = cli.works("watch", "--json", *fleet).document
        told = {row["device"]: row for row in seen["models"]}
        assert [told[name]["accuracy"] for name in NAMES] == [0.75, 1.0]
        assert {row["version"] for row in told.values()} == {"1.1.0"}
        assert {(job["state"], job["code"]) for job in seen["jobs"]} == {("confirmed", "")}
        health = {note["device"]: note for note in seen["notes"] if note["kind"] == "health"}
        assert all(0 < health[name]["stack_used"] < health[name]["stack_size"] for name in NAMES)
        hardware = {row.device: row.hardware for row in store.devices()}
        assert [hardware[name] for name in NAMES] == ["cortex-m4", "cortex-m55"]
    finally:
        for cable in cables:
            cable.close()
        for machine in machines:
            machine.kill()


def test_a_fault_reaches_watch_with_its_operator_and_is_cleared_on_the_board(
    controller: Controller, broker: EmbeddedBroker, store: Store, cli: CommandLine,
    new_agent: Callable[..., AgentProcess], tmp_path: Path,
) -> None:  # fmt: skip
    folder = tmp_path / "board"
    folder.mkdir()
    machine = Machine(BOARDS["mps2-an386"], folder, app=FAULT)
    line = machine.start().line
    port = line.getpeername()[1]
    line.close()
    cable = Cable(lambda: port)
    try:
        new_agent("--config", str(write_config(tmp_path, boards(("m4", cable)))))
        until(lambda: any(note.kind == "fault" for _, note in store.notes("m4")), 60, "the fault")
        fleet = ("--broker", broker.url, "--store", str(tmp_path / "fleet.db"))
        assert "m4  fault in layer 7: pc 0x" in cli.works("watch", "--once", *fleet).out
        cable.pull()
        with Session(partial(open_line, f"socket://127.0.0.1:{port}"), "m4") as session:
            assert session.fault().id == 0
        assert [note.kind for _, note in store.notes("m4")].count("fault") == 1
    finally:
        cable.close()
        machine.kill()
