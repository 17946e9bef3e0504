"""Mutual TLS and the two-line access list: a device has its own topics and no others."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardtack.fleet.controller import Controller
from hardtack.fleet.store import Store
from hardtack_agent import topics
from hardtack_agent.transport import Connection, Handlers, Tls
from hardtack_runtime.errors import ConfigError, DeviceError
from tests.digit_bundles import make_bundle, sample
from tests.end_to_end.certificates import Authority, start_broker
from tests.end_to_end.fleet import AgentProcess, until

PATH = "/usr/sbin:/usr/local/sbin"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    folder = tmp_path / "tls"
    folder.mkdir()
    return Authority(folder)


@pytest.fixture
def url(authority: Authority) -> Iterator[str]:
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path=PATH)
    if program is None:
        pytest.skip("mosquitto is not installed")
    process, address = start_broker(authority, program)
    yield address
    process.terminate()
    process.wait(10)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "fleet.db")
    yield opened
    opened.close()


def test_a_device_sees_and_writes_its_own_topics_only(
    authority: Authority, url: str, store: Store, tmp_path: Path
) -> None:
    certificate = authority.issue("pi-1")
    flags = (
        "--tls-ca",
        certificate.ca,
        "--tls-cert",
        certificate.cert,
        "--tls-key",
        certificate.key,
    )
    agent = AgentProcess(tmp_path, url, *map(str, flags))
    heard: list[str] = []
    handlers = Handlers(lambda: None, lambda topic, _: heard.append(topic), lambda: None)
    spy = Connection(
        url, "spy", ("#", topics.all_down("default", "pi-1")), handlers, tls=authority.issue("pi-2")
    )
    spy.start()
    until(lambda: spy.connected, why="the spy")
    with Controller(store, url, tls=authority.issue("controller")) as controller:
        agent.start()
        try:
            (job,) = controller.wait(controller.push(make_bundle("1.0.0"), ["pi-1"]), 20)
            assert job.state == "confirmed"
            with agent.client() as client:
                assert client.predict("digits", [sample(2)]).index == 2
            until(lambda: bool(store.windows("pi-1")), why="telemetry")
            spy.publish(topics.up("default", "pi-1", "state"), b"{}")
            spy.publish(topics.up("default", "pi-3", "birth"), b"{}")
            time.sleep(0.3)
        finally:
            agent.kill()
    spy.stop()
    assert heard == []
    assert [row.device for row in store.devices()] == ["pi-1"]


def test_no_certificate_no_connection(authority: Authority, url: str, store: Store) -> None:
    controller = Controller(store, url, tls=Tls(ca=authority.folder / "ca.pem"))
    with pytest.raises(DeviceError) as caught:
        controller.start(timeout_s=1)
    assert caught.value.code == "HT601"


def test_an_unknown_authority_is_not_trusted(authority: Authority, url: str, store: Store) -> None:
    controller = Controller(store, url)
    with pytest.raises(DeviceError) as caught:
        controller.start(timeout_s=1)
    assert caught.value.code == "HT601"


def test_unreadable_certificates_are_a_configuration_error(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        Controller(store, "mqtts://127.0.0.1", tls=Tls(ca=tmp_path / "none.pem"))
    assert caught.value.code == "HT104"
