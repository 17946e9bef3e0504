"""Boards behind a gateway: from a pushed bundle to the accuracy they measured."""

from __future__ import annotations

import hashlib
import json
import os
import pty
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from hardtack.fleet.broker import EmbeddedBroker
from hardtack.fleet.controller import Controller
from hardtack.fleet.store import Store
from hardtack_agent.serial_mqtt import MqttLine
from hardtack_agent.serial_session import Session
from hardtack_agent.transport import Tls
from hardtack_runtime.errors import DeviceError
from tests.digit_bundles import KEY, STRANGER, make_bundle
from tests.end_to_end.command import CommandLine
from tests.end_to_end.fleet import AgentProcess, until
from tests.end_to_end.gateway import Babbler, Desk, boards, flash, online, predict, write_config
from tests.firmware.test_flash import Port as SerialPort

NewAgent = Callable[..., AgentProcess]


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


def named_by_chip(chip: str) -> str:
    return "posix-" + hashlib.sha256(chip.encode().ljust(16, b"\0")).hexdigest()[:12]


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


def test_a_pulled_cable_shows_the_board_offline_and_an_update_waits_for_it(
    controller: Controller, store: Store, gateway: Gateway, desk: Desk
) -> None:
    cable = desk.add("kitchen")
    gateway(boards(("kitchen", cable)))
    until(lambda: online(store, "kitchen"), why="the board")
    cable.pull()
    until(lambda: not online(store, "kitchen"), why="offline")
    (job_id,) = controller.push(make_bundle("1.0.0"), ["kitchen"])
    until(lambda: store.job(job_id).state == "trial", why="the download")
    cable.plug()
    (job,) = controller.wait([job_id], 30)
    assert (job.state, job.attempt) == ("confirmed", 1)
    until(lambda: online(store, "kitchen"), why="online")


def test_an_agent_that_dies_takes_its_boards_offline(
    controller: Controller, store: Store, gateway: Gateway, desk: Desk
) -> None:
    agent = gateway(boards(("kitchen", desk.add("kitchen"))))
    for end in (agent.stop, agent.kill):
        until(lambda: online(store, "kitchen"), why="online")
        end()
        until(lambda: not online(store, "kitchen"), why="offline")
        agent.start()


@pytest.mark.parametrize(
    ("data", "state", "code", "said"),
    [
        pytest.param(
            make_bundle("2.0.0", broken=True), "rolled_back", "HT606", "first in layer 0 (dense_0)",
            id="other bits",
        ),
        pytest.param(make_bundle("2.0.0", key=STRANGER), "failed", "HT701", "", id="foreign key"),
        pytest.param(make_bundle("2.0.0", hardware="linux"), "failed", "HT501", "", id="hardware"),
        pytest.param(
            make_bundle("2.0.0", ballast=8000), "failed", "HT503", "a slot 524288", id="too large"
        ),
        pytest.param(make_bundle("0.9.0"), "failed", "HT703", "never goes back", id="older"),
        pytest.param(
            make_bundle("0.9.0", name="other"), "rolled_back", "HT703", "or a newer one",
            id="older than the floor of the board",
        ),
    ],
)  # fmt: skip
def test_a_bundle_that_must_not_run_does_not_and_the_board_says_why(
    controller: Controller, store: Store, gateway: Gateway, desk: Desk,
    data: bytes, state: str, code: str, said: str,
) -> None:  # fmt: skip
    gateway(boards(("kitchen", desk.add("kitchen"))))
    controller.wait(controller.push(make_bundle("1.0.0"), ["kitchen"]), 30)
    (job,) = controller.wait(controller.push(data, ["kitchen"]), 60)
    assert (job.state, job.code) == (state, code), job
    assert said in job.detail
    desk.predict("kitchen", [1], [1])
    until(lambda: any(window.samples for _, window in store.windows("kitchen")), why="telemetry")
    assert [window.version for _, window in store.windows("kitchen")] == [(1, 0, 0)]


@pytest.mark.slow
def test_cuts_all_over_several_updates_lose_and_double_nothing(
    controller: Controller, store: Store, gateway: Gateway, desk: Desk
) -> None:
    cable = desk.add("kitchen")
    agent = gateway(boards(("kitchen", cable)))
    made = 0
    for patch in range(3):
        # Short lives and long ones: below some 6 KB no chunk is ever whole, so some must be longer.
        cable.cut_after = lambda number, patch=patch: 1 + (4099 * number + 887 * patch) % 12289  # type: ignore[misc]
        cuts = cable.cuts
        bundle = make_bundle(f"1.{patch}.0", ballast=600)
        (job,) = controller.wait(controller.push(bundle, ["kitchen"]), 90)
        assert (job.state, job.attempt) == ("confirmed", 1), job
        assert cable.cuts > cuts
        cable.cut_after = lambda number: 0
        desk.predict("kitchen", [0, 1, 2], [0, 1, 3])
        made += 3
    until(lambda: sum(window.samples for _, window in store.windows()) >= made, why="telemetry")
    assert sum(window.samples for _, window in store.windows()) == made
    assert {window.version for _, window in store.windows()} == {(1, p, 0) for p in range(3)}
    assert agent.alive()
    print(f"{cable.cuts} cuts, {cable.connections} connections")


def test_an_agent_killed_again_and_again_in_mid_transfer_goes_on(
    controller: Controller, store: Store, gateway: Gateway, desk: Desk
) -> None:
    cable = desk.add("kitchen")
    cable.byte_s = 5e-6
    agent = gateway(boards(("kitchen", cable)))
    controller.wait(controller.push(make_bundle("1.0.0"), ["kitchen"]), 30)
    bundle = make_bundle("1.1.0", ballast=4000)
    cable.carried = 0
    (job_id,) = controller.push(bundle, ["kitchen"])
    for kill in range(5):  # more often than a Linux device would try a bundle
        seen = cable.carried
        until(lambda: cable.carried > seen + 30_000, why="some chunks")  # noqa: B023
        assert not store.job(job_id).ended, kill
        agent.kill()
        predict(desk.devices["kitchen"].port, [0, 1], [0, 2])
        agent.start()
    (job,) = controller.wait([job_id], 60)
    assert job.state == "confirmed"
    until(lambda: sum(window.samples for _, window in store.windows()) >= 10, why="telemetry")
    total = store.totals()["kitchen", "digits", (1, 0, 0)]
    assert (total.samples, total.labelled, total.correct) == (10, 10, 5)
    assert cable.carried < 1.5 * len(bundle), "what the board had was sent again"


def test_a_board_flashed_by_hand_is_shown_with_the_bundle_it_has(
    controller: Controller, store: Store, gateway: Gateway, desk: Desk
) -> None:
    cable = desk.add("kitchen")
    bundle = make_bundle("3.2.1", ballast=100)
    flash(desk.devices["kitchen"].port, bundle)
    gateway(boards(("kitchen", cable)))
    until(lambda: any(row.models for row in store.devices()), why="the model")
    (row,) = (row for row in store.devices() if row.device == "kitchen")
    assert row.models[0].sha256 == hashlib.sha256(bundle).hexdigest()
    (job,) = controller.wait(controller.push(bundle, ["kitchen"]), 30)
    assert (job.state, job.detail) == ("confirmed", "runs already")


def test_another_chip_on_the_same_port_takes_over_the_name_and_gets_its_own_update(
    controller: Controller, store: Store, gateway: Gateway, desk: Desk
) -> None:
    cable = desk.add("kitchen", chip="first chip")
    agent = gateway(boards(("kitchen", cable)))
    controller.wait(controller.push(make_bundle("2.0.0"), ["kitchen"]), 30)
    desk.predict("kitchen", [1], [1])
    until(lambda: len(store.windows("kitchen")) == 1, why="telemetry")
    desk.swap("kitchen", chip="second chip")
    until(lambda: not any(row.models for row in store.devices()), why="an empty board")
    (job,) = controller.wait(controller.push(make_bundle("1.5.0"), ["kitchen"]), 30)
    assert job.state == "confirmed"
    desk.predict("kitchen", [1], [1])
    until(lambda: len(store.windows("kitchen")) == 2, why="telemetry")
    assert agent.log.count("is another chip") == 1


@pytest.mark.slow
def test_what_is_wrong_with_a_port_is_said_once_and_harms_no_other(
    controller: Controller, store: Store, gateway: Gateway, desk: Desk, tmp_path: Path
) -> None:
    good = desk.add("good", chip="good")
    twin = desk.add("twin", chip="same")
    desk.add("double", chip="same")
    nameless = desk.add("nameless")
    stranger = Babbler()
    master, slave = pty.openpty()
    ports = [
        good.address, twin.address, desk.cables["double"].address, nameless.address,
        stranger.address, "socket://127.0.0.1:9", str(tmp_path / "missing"),
        os.ttyname(slave),
    ]  # fmt: skip
    agent = gateway(f"ports = {json.dumps(ports)}")
    name = named_by_chip("good")
    until(lambda: online(store, name), why="the good board")
    until(lambda: agent.log.count("HT623") >= 2, why="the twin and the nameless")
    until(lambda: "HT616: " + stranger.address in agent.log, 40, why="the stranger")
    (job,) = controller.wait(controller.push(make_bundle("1.0.0"), [name]), 30)
    assert job.state == "confirmed"
    until(lambda: stranger.calls >= 2, 60, why="another try")
    log = agent.log
    assert "answers at" in log
    assert "has no name" in log
    assert f"HT617: {tmp_path / 'missing'}" in log
    for line in {line.partition("WARNING")[2] for line in log.splitlines() if "WARNING" in line}:
        assert log.count(line.partition(" (")[0]) <= 1, line
    assert f"HT618: {os.ttyname(slave)}: is held by" in log
    stranger.close()
    os.close(master)
    os.close(slave)


def test_a_port_that_a_pattern_finds_may_be_unplugged_and_come_back_under_another_name(
    controller: Controller, store: Store, gateway: Gateway, desk: Desk, tmp_path: Path
) -> None:
    desk.add("kitchen", chip="kitchen chip")
    name = named_by_chip("kitchen chip")
    folder = tmp_path / "by-id"
    folder.mkdir()
    gateway(f'ports = ["{folder}/usb-*"]')
    for patch, link in enumerate(("usb-1", "usb-2", "usb-1")):
        port = SerialPort(desk.devices["kitchen"].port)
        port.release()
        (folder / link).symlink_to(port.path)
        until(lambda: online(store, name), why="the board")
        (job,) = controller.wait(controller.push(make_bundle(f"1.{patch}.0"), [name]), 30)
        assert job.state == "confirmed"
        (folder / link).unlink()
        port.close()
        until(lambda: not online(store, name), why="offline")


def test_frames_over_mqtt_flash_a_board_from_afar(
    controller: Controller, broker: EmbeddedBroker, store: Store, gateway: Gateway, desk: Desk,
    cli: CommandLine,
) -> None:  # fmt: skip
    keys = cli.home / "config" / "hardtack" / "keys"
    keys.mkdir(parents=True)
    KEY.verify_key.save(keys / "default.pub")
    (cli.here / "digits.htb").write_bytes(make_bundle("1.0.0", ballast=200))
    gateway("remote = true\n" + boards(("kitchen", desk.add("kitchen"))))
    until(lambda: online(store, "kitchen"), why="the board")
    words = ("flash", "digits.htb", "--device", "mqtt:kitchen", "--broker", broker.url)
    ran = cli.works(*words)
    assert "runs digits@1.0.0 from slot A; 2 golden vectors: same bits" in ran.out
    until(lambda: any(row.models for row in store.devices()), why="the model")
    (job,) = controller.wait(controller.push(make_bundle("1.1.0"), ["kitchen"]), 30)
    assert job.state == "confirmed"


def test_without_remote_nobody_gets_a_line(
    controller: Controller, broker: EmbeddedBroker, store: Store, gateway: Gateway, desk: Desk
) -> None:
    gateway(boards(("kitchen", desk.add("kitchen"))))
    until(lambda: online(store, "kitchen"), why="the board")
    line = partial(MqttLine, broker.url, "default", "kitchen", Tls())
    with Session(line, "mqtt:kitchen", patience_s=1.0) as session:
        with pytest.raises(DeviceError) as silent:
            session.hello()
        assert silent.value.code == "HT616"


def test_the_command_line_runs_a_gateway_and_watch_says_why_a_board_refused(
    broker: EmbeddedBroker, controller: Controller, store: Store, cli: CommandLine, desk: Desk,
    tmp_path: Path,
) -> None:  # fmt: skip
    KEY.verify_key.save(tmp_path / "keys" / "fleet.pub")
    config = write_config(tmp_path, boards(("kitchen", desk.add("kitchen"))))
    cli.start("agent", "--config", config, "--broker", broker.url)
    until(lambda: online(store, "kitchen") and online(store, "pi-1"), why="agent and board")
    bad = make_bundle("1.0.0", broken=True)
    controller.wait(controller.push(bad, ["kitchen"]), 30)
    fleet = ("--broker", broker.url, "--store", str(tmp_path / "fleet.db"))
    out = cli.works("watch", "--once", *fleet).out
    assert "kitchen  digits@1.0.0: rolled_back, HT606" in out
    (job,) = cli.works("watch", "--json", *fleet).document["jobs"]
    assert (job["device"], job["state"], job["code"]) == ("kitchen", "rolled_back", "HT606")


def test_a_gateway_that_is_wrongly_configured_is_refused_with_its_place(
    cli: CommandLine, tmp_path: Path
) -> None:
    config = write_config(tmp_path, "ports = ['socket://nowhere']")
    message = cli.run("agent", "--config", config).refused("HT104", 2)
    assert "`gateway.ports.0`" in message
    assert f"{config}:9:1" in message
    assert cli.run("agent").status == 2
