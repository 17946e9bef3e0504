"""A fleet by the command line alone: serve, agent, push, devices, watch, demo; real processes."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import publish

from hardtack_agent.client import Client
from hardtack_agent.messages import Birth, ModelState
from hardtack_agent.telemetry import Window, encode_batch
from hardtack_agent.topics import up
from hardtack_runtime.errors import DeviceError
from tests.end_to_end.command import DEMO_DATA, HARDTACK, CommandLine, change, free_port
from tests.end_to_end.fleet import until

BUNDLE = "dist/digits-1.0.0-pi.htb"
PREDICT = Path(__file__).parents[2] / "examples/predict.py"


class Fleet:
    """A served fleet of one project.

    Args:
        cli: Its command line; deploy.toml is made to name the broker.
    """

    def __init__(self, cli: CommandLine) -> None:
        self.cli = cli
        self.port = free_port()
        self.broker = f"mqtt://127.0.0.1:{self.port}"
        change(cli.here, "[sign]", f'[fleet]\nbroker = "{self.broker}"\n\n[sign]')
        cli.works("convert")
        self.server = cli.start("serve", "--port", str(self.port))
        until(self._listens, why="the broker")

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def add(self, device: str, *flags: str) -> subprocess.Popen[bytes]:
        """Start an agent and wait until the controller knows it."""
        process = self.cli.start(
            "agent", device, "--broker", self.broker, "--telemetry-period", "200 ms",
            "--state-dir", self.cli.home / device, *flags,
        )  # fmt: skip
        until(lambda: bool(self.devices().get(device, {}).get("online")), why=device)
        return process

    def devices(self) -> dict[str, dict[str, Any]]:
        """Return the rows of `hardtack devices` by device."""
        rows = self.cli.works("devices", "--json").document["devices"]
        return {row["device"]: row for row in rows}

    def socket_of(self, device: str) -> Path:
        """Where it answers predictions."""
        return self.cli.home / device / "agent.sock"


@pytest.fixture
def fleet(cli: CommandLine) -> Fleet:
    return Fleet(cli)


def test_a_model_goes_to_the_devices_and_their_figures_come_back(fleet: Fleet) -> None:
    cli = fleet.cli
    assert "no device has reported" in cli.run("devices").err
    for device in ("pi-1", "pi-2"):
        fleet.add(device)
    assert cli.works("push", BUNDLE, "pi-1", "pi-2").out == (
        "pi-1  digits@1.0.0  confirmed\npi-2  digits@1.0.0  confirmed\n"
    )
    (model,) = cli.works("devices", "--json").document["devices"][0]["models"]
    assert (model["name"], model["version"]) == ("digits", [1, 0, 0])
    ran = subprocess.run(
        [sys.executable, PREDICT, fleet.socket_of("pi-1"), DEMO_DATA / "test.npz"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert "of 600 right" in ran.stdout
    right = int(ran.stdout.splitlines()[-1].split()[0])
    assert right > 580

    def reported() -> bool:
        rows = cli.works("watch", "--json").document["models"]
        return [(row["device"], row["samples"]) for row in rows] == [("pi-1", 600)]

    until(reported, why="telemetry")
    (row,) = cli.works("watch", "--json").document["models"]
    assert row["accuracy"] == pytest.approx(right / 600)
    assert "digits@1.0.0" in cli.works("watch", "--once").out
    assert "pi-2" in cli.works("devices").out
    again = cli.works("push", BUNDLE, "--all", "--json").document["jobs"]
    assert {job["detail"] for job in again} == {"runs already"}


def test_a_device_of_other_hardware_refuses_and_the_status_says_some(fleet: Fleet) -> None:
    fleet.add("pi-1")
    fleet.add("tap", "--hardware", "esp32")
    ran = fleet.cli.run("push", BUNDLE, "--all")
    assert ran.status == 7
    assert "pi-1  digits@1.0.0  confirmed" in ran.out
    assert "HT501 digits@1.0.0: is for linux devices, this one is esp32" in ran.out


def test_what_cannot_be_pushed_is_refused(fleet: Fleet) -> None:
    cli = fleet.cli
    assert "no device" in cli.run("push", BUNDLE, "--all").refused("HT604", 5)
    assert "name some, or use --all" in cli.run("push", BUNDLE).refused("HT104", 2)
    agent = fleet.add("pi-1")
    with Client(fleet.socket_of("pi-1")) as client, pytest.raises(DeviceError) as caught:
        client.predict("digits", [[0.0]])
    assert caught.value.code == "HT611"
    assert "known: pi-1" in cli.run("push", BUNDLE, "pi-9").refused("HT604", 5)
    assert "unit" in cli.run("push", BUNDLE, "pi-1", "--timeout", "3").refused("HT104", 2)
    agent.send_signal(signal.SIGSTOP)
    slow = cli.run("push", BUNDLE, "pi-1", "--timeout", "1 s")
    agent.send_signal(signal.SIGCONT)
    assert "the job stays open" in slow.refused("HT605", 5)
    until(lambda: bool(fleet.devices()["pi-1"]["models"]), why="the job that stayed open")


def test_a_second_agent_on_a_state_directory_is_refused(fleet: Fleet) -> None:
    fleet.add("pi-1")
    words = ("agent", "pi-1", "--broker", fleet.broker, "--state-dir", fleet.cli.home / "pi-1")
    ran = fleet.cli.run(*words)
    assert "another agent uses this state directory" in ran.refused("HT608", 5)


def test_the_example_says_when_no_agent_answers(baked: CommandLine) -> None:
    ran = subprocess.run(
        [sys.executable, PREDICT, "no.sock", DEMO_DATA / "test.npz"],
        cwd=baked.here, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 1
    assert ran.stderr.startswith("HT609 no.sock: no agent answers")


def test_a_port_in_use_is_named(fleet: Fleet) -> None:
    ran = fleet.cli.run("serve", "--port", str(fleet.port))
    assert f"127.0.0.1:{fleet.port}" in ran.refused("HT602", 5)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_serve_ends_in_order_and_takes_its_broker_along(fleet: Fleet, end: signal.Signals) -> None:
    fleet.server.send_signal(end)
    assert fleet.server.wait(10) == 0
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", fleet.port)) != 0


def test_a_broker_does_not_outlive_a_killed_controller(fleet: Fleet) -> None:
    fleet.server.kill()
    fleet.server.wait()

    def free() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", fleet.port)) != 0

    until(free, why="the broker's end")


def test_what_a_device_calls_its_model_is_no_markup(fleet: Fleet) -> None:
    fleet.add("pi-1")  # the controller listens
    birth = Birth(
        boot_id="0" * 32, agent="1", hardware="[/red]", bundle_format=1, kernel_abi=1,
        models=(ModelState(name="[/b]", version=(1, 0, 0), sha256="0" * 64, slot="a"),),
    )  # fmt: skip
    window = Window("[/x]", (1, 0, 0), bytes(16), int(time.time()), int(time.time()), samples=1)
    for kind, payload in (
        ("birth", birth.encode()),
        ("tm", encode_batch(bytes(16), [(1, window)])),
    ):
        publish.single(up("default", "odd", kind), payload, qos=1, port=fleet.port)
    until(lambda: "odd" in fleet.devices(), why="its birth")
    assert "[/b]@1.0.0" in fleet.cli.works("devices").out
    until(lambda: "[/x]@1.0.0" in fleet.cli.run("watch", "--once").out, why="its report")


def test_an_agent_ends_in_order(fleet: Fleet) -> None:
    agent = fleet.add("pi-1")
    agent.send_signal(signal.SIGINT)
    assert agent.wait(10) == 0
    until(lambda: not fleet.devices()["pi-1"]["online"], why="goodbye")


@pytest.mark.parametrize("verb", ["push", "serve"])
def test_a_broker_that_is_down_is_said_within_seconds(baked: CommandLine, verb: str) -> None:
    words = (verb, *([BUNDLE, "pi-1"] if verb == "push" else []))
    port = free_port()
    begin = time.monotonic()
    message = baked.run(*words, "--broker", f"mqtt://127.0.0.1:{port}").refused("HT601", 5)
    assert time.monotonic() - begin < 9
    assert "connection refused" in message
    assert f"hardtack serve --port {port}" in message


def test_a_listener_that_is_no_broker_is_told_from_one_that_is_down(baked: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"mqtt://127.0.0.1:{listener.getsockname()[1]}"
        message = baked.run("push", BUNDLE, "pi-1", "--broker", url).refused("HT601", 5)
    assert "gave us no session" in message


def test_watch_follows_until_it_is_interrupted(cli: CommandLine) -> None:
    terminal, theirs = pty.openpty()
    watching = subprocess.Popen(
        [HARDTACK, "watch"], cwd=cli.here, env=cli.environment, text=True,
        stdout=theirs, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while b"accuracy" not in shown:
        shown += os.read(terminal, 4096)
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(timeout=10)
    os.close(terminal)
    assert (watching.returncode, err.lstrip()) == (130, "interrupted\n")


def test_watch_tells_a_pipe_once(cli: CommandLine) -> None:
    ran = cli.run("watch")
    assert (ran.status, ran.out) == (0, "")
    assert "no device has reported" in ran.err


def test_the_demo_reports_every_device_as_one_document(cli: CommandLine) -> None:
    ran = cli.run("demo", "--devices", "2", "--json")
    assert ran.status == 0
    document = json.loads(ran.out)
    assert [job["state"] for job in document["jobs"]] == ["confirmed"] * 2
    assert [row["samples"] for row in document["devices"]] == [600, 600]
    for row in document["devices"]:
        assert row["accuracy"] == pytest.approx(document["accuracy"]["int8"])
    assert not (cli.home / "config").exists()


def test_the_demo_can_be_kept(cli: CommandLine, tmp_path: Path) -> None:
    cli.works("demo", "--devices", "1", "--dir", tmp_path / "kept")
    for name in ("project/dist/digits-1.0.0-pi.htb", "device-1", "fleet.db"):
        assert (tmp_path / "kept" / name).exists()


def test_two_devices_of_one_fleet_answer_alike(fleet: Fleet) -> None:
    import numpy as np

    for device in ("pi-1", "pi-2"):
        fleet.add(device)
    fleet.cli.works("push", BUNDLE, "--all")
    with np.load(DEMO_DATA / "test.npz") as arrays:
        samples = arrays["x"][:50]
    answers = []
    for device in ("pi-1", "pi-2"):
        with Client(fleet.socket_of(device)) as agent:
            answers.append([agent.predict("digits", [x]).outputs[0].tobytes() for x in samples])
    assert answers[0] == answers[1]
