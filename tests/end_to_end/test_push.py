"""From a pushed bundle to a prediction reported by a device, through a real broker."""

from __future__ import annotations

import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import cbor2
import pytest

from hardtack.fleet.broker import EmbeddedBroker
from hardtack.fleet.controller import Controller
from hardtack.fleet.store import Store
from hardtack_agent.client import Client
from hardtack_runtime.errors import DeviceError
from tests.digit_bundles import STRANGER, make_bundle, sample
from tests.end_to_end.fleet import AgentProcess, until

NewAgent = Callable[..., AgentProcess]


def samples_of(store: Store, device: str = "pi-1") -> int:
    return sum(window.samples for _, window in store.windows(device))


def test_a_pushed_model_predicts_and_reports(
    controller: Controller, store: Store, new_agent: NewAgent
) -> None:
    agent = new_agent()
    (job,) = controller.wait(controller.push(make_bundle("1.0.0"), ["pi-1"]), 20)
    assert (job.state, job.done, job.release) == ("confirmed", job.total, "digits@1.0.0")
    with agent.client() as client:
        for label in range(4):
            assert client.predict("digits", [sample(label)], label).index == label
        assert client.predict("digits", [sample(2)], "one").label == "two"
    until(lambda: samples_of(store) == 5, why="telemetry")
    total = next(iter(store.totals().values()))
    assert (total.labelled, total.correct, dict(total.classes)) == (5, 4, {0: 1, 1: 1, 2: 2, 3: 1})
    (device,) = store.devices()
    assert device.online
    assert [(model.name, model.version) for model in device.models] == [("digits", (1, 0, 0))]
    about_job = [line.split(" job ")[1] for line in agent.log.splitlines() if " job " in line]
    assert about_job[-1].endswith(": confirmed")
    assert len(set(about_job)) == len(about_job)  # nothing is said twice


def test_a_stopped_agent_says_goodbye_and_a_killed_one_has_a_will(
    controller: Controller, store: Store, new_agent: NewAgent
) -> None:
    agent = new_agent()
    for end in (agent.stop, agent.kill):
        until(lambda: any(row.online for row in store.devices()), why="online")
        end()
        until(lambda: not any(row.online for row in store.devices()), why="offline")
        agent.start()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(make_bundle("2.0.0", key=STRANGER), "HT701", id="foreign key"),
        pytest.param(make_bundle("2.0.0", hardware="cortex-m4"), "HT501", id="other hardware"),
        pytest.param(make_bundle("2.0.0", broken=True), "HT606", id="golden vectors differ"),
        pytest.param(make_bundle("0.9.0"), "HT703", id="downgrade"),
        pytest.param(
            make_bundle("2.0.0")[:-200] + b"\xff" + make_bundle("2.0.0")[-199:], "HT702",
            id="tampered payload",
        ),
        pytest.param(
            make_bundle("2.0.0")[:80] + b"\x09" + make_bundle("2.0.0")[81:], "HT701",
            id="tampered header",
        ),
    ],
)  # fmt: skip
def test_a_bundle_that_must_not_run_does_not(
    controller: Controller, new_agent: NewAgent, data: bytes, code: str
) -> None:
    agent = new_agent()
    controller.wait(controller.push(make_bundle("1.0.0"), ["pi-1"]), 20)
    (job,) = controller.wait(controller.push(data, ["pi-1"]), 20)
    assert (job.state in ("failed", "rolled_back"), job.code) == (True, code)
    with agent.client() as client:
        assert client.predict("digits", [sample(1)]).version == (1, 0, 0)
    if code == "HT606":
        (again,) = controller.wait(controller.push(data, ["pi-1"]), 20)
        assert again.code == "HT705"


def test_a_broker_that_dies_in_the_middle_costs_no_more_than_a_block(
    controller: Controller, broker: EmbeddedBroker, new_agent: NewAgent, store: Store
) -> None:
    new_agent()
    until(lambda: any(row.online for row in store.devices()), why="online")
    (job_id,) = controller.push(make_bundle("1.0.0", ballast=40_000), ["pi-1"])
    until(lambda: store.job(job_id).done >= 8, why="some blocks")
    assert broker.pid is not None
    os.kill(broker.pid, signal.SIGKILL)
    broker.stop()
    held = store.job(job_id)
    assert not held.ended
    time.sleep(0.3)
    broker.start()
    (job,) = controller.wait([job_id], 30)
    assert job.state == "confirmed"


def test_an_agent_killed_in_the_middle_of_a_download_goes_on_where_it_was(
    controller: Controller, new_agent: NewAgent, store: Store
) -> None:
    agent = new_agent()
    (job_id,) = controller.push(make_bundle("1.0.0", ballast=40_000), ["pi-1"])
    until(lambda: store.job(job_id).done >= 8, why="some blocks")
    agent.kill()
    held = store.job(job_id).done
    agent.start()
    until(lambda: store.job(job_id).done > 0, why="progress")
    seen = store.job(job_id).done
    assert seen >= held or seen == 0
    assert controller.wait([job_id], 30)[0].state == "confirmed"


def test_a_job_is_cancelled_while_the_device_is_away(
    controller: Controller, new_agent: NewAgent, store: Store
) -> None:
    (job_id,) = controller.push(make_bundle("1.0.0"), ["pi-1"])
    assert controller.cancel(job_id)
    assert not controller.cancel(job_id)
    agent = new_agent()
    with agent.client() as client, pytest.raises(DeviceError, match="no such model"):
        client.predict("digits", [sample(0)])
    assert store.job(job_id).state == "cancelled"


def test_a_full_disk_refuses_the_download_and_stops_nothing(
    controller: Controller, new_agent: NewAgent
) -> None:
    agent = new_agent(wrapper=("prlimit", "--fsize=262144"))
    controller.wait(controller.push(make_bundle("1.0.0"), ["pi-1"]), 20)
    big = make_bundle("2.0.0", ballast=10_000)
    (job,) = controller.wait(controller.push(big, ["pi-1"]), 20)
    assert (job.state, job.code) == ("failed", "HT603")
    with agent.client() as client:
        assert client.predict("digits", [sample(3)]).index == 3
    assert agent.alive()


def test_offline_telemetry_is_delivered_once(
    controller: Controller, broker: EmbeddedBroker, store: Store, new_agent: NewAgent
) -> None:
    agent = new_agent()
    controller.wait(controller.push(make_bundle("1.0.0"), ["pi-1"]), 20)
    broker.stop()
    with agent.client() as client:
        for n in range(60):
            client.predict("digits", [sample(n % 4)], n % 4)
            time.sleep(0.02)
        assert client.status()["waiting_records"] >= 2
    broker.start()
    until(lambda: samples_of(store) == 60, why="60 samples")
    agent.stop()
    books = agent.books()
    assert (books.records, books.samples) == (len(store.telemetry_keys("pi-1")), 60)


def test_hostile_clients_get_an_error_and_harm_nobody(
    controller: Controller, new_agent: NewAgent
) -> None:
    agent = new_agent()
    controller.wait(controller.push(make_bundle("1.0.0"), ["pi-1"]), 20)
    agent.client().close()
    frames = [
        b"\xff\xff\xff\xff", struct.pack("<I", 4) + b"junk", struct.pack("<I", 1) + b"\xf6",
        struct.pack("<I", 100) + b"short", b"GET / HTTP/1.1\r\n\r\n",
        *(struct.pack("<I", len(one)) + one for one in map(cbor2.dumps, [
            {}, {"do": "predict"}, {"do": 7}, {"do": "predict", "model": "digits", "inputs": []},
            {"do": "predict", "model": "digits", "inputs": [{"dtype": "object", "shape": [1]}]},
            {"do": "predict", "model": "digits", "inputs": [[["x"]]]},
            {"do": "predict", "model": "digits", "inputs": [[1, 2, 3]], "label": 9},
            {"do": "predict", "model": "digits", "inputs": [[float("nan")] * 64]},
        ])),
    ]  # fmt: skip
    for frame in frames:
        with socket.socket(socket.AF_UNIX) as raw:
            raw.settimeout(5)
            raw.connect(str(agent.socket))
            raw.sendall(frame)
            raw.shutdown(socket.SHUT_WR)
            reply = raw.recv(65536)
            assert cbor2.loads(reply[4:])["code"].startswith("HT6"), frame
    with agent.client() as client:
        assert client.predict("digits", [sample(1)]).index == 1


def test_several_clients_at_once(controller: Controller, store: Store, new_agent: NewAgent) -> None:
    agent = new_agent()
    controller.wait(controller.push(make_bundle("1.0.0"), ["pi-1"]), 20)
    agent.client().close()
    wrong: list[int] = []

    def ask(label: int) -> None:
        with Client(agent.socket) as client:
            wrong.extend(
                label for _ in range(50) if client.predict("digits", [sample(label)]).index != label
            )

    threads = [threading.Thread(target=ask, args=(label,)) for label in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    until(lambda: samples_of(store) == 200, why="200 samples")


def test_two_agents_cannot_share_a_state_directory(new_agent: NewAgent) -> None:
    first = new_agent()
    first.client().close()
    second = new_agent()
    until(lambda: not second.alive(), why="the second agent to give up")
    assert "HT608" in second.log
    assert second.stop() == 5
    assert first.alive()


def test_a_rotten_slot_is_noticed_at_start(controller: Controller, new_agent: NewAgent) -> None:
    agent = new_agent()
    for version in ("1.0.0", "1.1.0"):
        controller.wait(controller.push(make_bundle(version), ["pi-1"]), 20)
    agent.stop()
    slot = Path(agent.state / "models" / "digits" / "b.htb")
    data = bytearray(slot.read_bytes())
    data[-100] ^= 1
    slot.write_bytes(data)
    agent.start()
    with agent.client() as client:
        assert client.predict("digits", [sample(1)]).version == (1, 0, 0)


def test_a_stopped_agent_exits_with_0(new_agent: NewAgent) -> None:
    agent = new_agent()
    agent.client().close()
    assert agent.stop() == 0
