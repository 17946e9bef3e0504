"""The embedded broker says what is wrong, and keeps what it acknowledged over a crash."""

from __future__ import annotations

import os
import queue
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from hardtack.fleet import broker as broker_module
from hardtack.fleet.broker import EmbeddedBroker
from hardtack.fleet.controller import Controller
from hardtack.fleet.store import Store
from hardtack_agent.transport import Connection, Handlers, backoff_s, parse_url
from hardtack_runtime.errors import ConfigError, DeviceError
from tests.end_to_end.command import free_port


class Listener:
    def __init__(self, url: str, name: str, topic: str) -> None:
        self.messages: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.ready: queue.Queue[None] = queue.Queue()
        handlers = Handlers(
            lambda: self.ready.put(None), lambda *m: self.messages.put(m), lambda: None
        )
        self.connection = Connection(url, name, (topic,), handlers)
        self.connection.start()
        self.ready.get(timeout=10)


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(DeviceError, match=str(port)) as caught:
            EmbeddedBroker(tmp_path, port=port).start()
    assert caught.value.code == "HT602"


def test_a_silent_broker_is_an_error(tmp_path: Path) -> None:
    controller = Controller(Store(tmp_path / "fleet.db"), "mqtt://127.0.0.1:9")
    with pytest.raises(DeviceError) as caught:
        controller.start(timeout_s=0.5)
    assert caught.value.code == "HT601"


def test_retained_messages_survive_kill_9(tmp_path: Path) -> None:
    with EmbeddedBroker(tmp_path) as broker:
        if broker.kind != "mosquitto":
            pytest.skip("only mosquitto keeps anything")
        first = Listener(broker.url, "first", "none")
        assert first.connection.publish("kept", b"yes", retain=True)
        time.sleep(1.5)  # autosave_interval
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGKILL)
        broker.stop()
        broker.start()
        second = Listener(broker.url, "second", "kept")
        assert second.messages.get(timeout=5) == ("kept", b"yes")
        first.ready.get(timeout=10)  # it came back by itself
        first.connection.stop()
        second.connection.stop()


def test_amqtt_serves_where_mosquitto_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("amqtt")
    monkeypatch.setattr(broker_module, "find_mosquitto", lambda: None)
    with EmbeddedBroker(tmp_path) as broker:
        assert broker.kind == "amqtt"
        listener = Listener(broker.url, "one", "t")
        listener.connection.publish("t", b"hello")
        assert listener.messages.get(timeout=10) == ("t", b"hello")
        listener.connection.stop()


def test_no_broker_at_all_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_module, "find_mosquitto", lambda: None)
    monkeypatch.setitem(sys.modules, "amqtt", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="hardtack\\[broker\\]") as caught:
        EmbeddedBroker()
    assert caught.value.code == "HT105"


@pytest.mark.parametrize("url", ["", "localhost:1883", "http://x", "mqtt://", "mqtt://h:99999"])
def test_a_wrong_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_url(url)
    assert caught.value.code == "HT104"


def test_addresses_have_the_usual_ports() -> None:
    assert (parse_url("mqtt://h").port, parse_url("mqtts://h").port) == (1883, 8883)
    assert parse_url("mqtt://u:p@h:1").user == "u"


def test_waiting_doubles_scattered_and_bounded() -> None:
    for failures in range(40):
        whole = min(0.2 * 2**failures, 30)
        assert whole / 2 <= backoff_s(failures) <= whole


def test_users_and_passwords_are_unquoted_and_kept_out_of_messages() -> None:
    endpoint = parse_url("mqtt://a%40b:p%3A%2F@h:1")
    assert (endpoint.user, endpoint.password) == ("a@b", "p:/")
    with pytest.raises(ConfigError) as caught:
        parse_url("http://me:secret@h")
    assert "secret" not in str(caught.value)


def _until_logged(caplog: pytest.LogCaptureFixture, words: str, timeout_s: float = 20) -> None:
    end = time.monotonic() + timeout_s
    while words not in caplog.text:
        assert time.monotonic() < end, caplog.text
        time.sleep(0.02)


def test_a_broker_out_of_reach_is_said_once_and_its_return_too(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level("INFO", "hardtack_agent.transport")
    port = free_port()
    handlers = Handlers(lambda: None, lambda *_: None, lambda: None)
    connection = Connection(f"mqtt://127.0.0.1:{port}", "ht-default-pi-1", (), handlers)
    connection.start()
    try:
        _until_logged(caplog, "ht-default-pi-1: broker")
        with EmbeddedBroker(tmp_path, port=port):
            _until_logged(caplog, "is back")
        _until_logged(caplog, "ended the connection")
        assert caplog.text.count("cannot be reached") == 1
    finally:
        connection.stop()


def test_two_clients_of_one_name_are_noticed(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    handlers = Handlers(lambda: None, lambda *_: None, lambda: None)
    with EmbeddedBroker(tmp_path) as broker:
        twins = [Connection(broker.url, "ht-default-pi-1", (), handlers) for _ in range(2)]
        for twin in twins:
            twin.start()
        try:
            _until_logged(caplog, "has another agent this name?")
        finally:
            for twin in twins:
                twin.stop()
