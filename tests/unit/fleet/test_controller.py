"""Whatever a device sends, the controller goes on."""

from __future__ import annotations

import json
import queue
from pathlib import Path

import cbor2
import pytest

from hardtack.fleet.broker import EmbeddedBroker
from hardtack.fleet.controller import Controller
from hardtack.fleet.store import Store
from hardtack_agent import topics
from hardtack_agent.messages import Ack, JobList, Request, decode
from hardtack_agent.telemetry import Note, encode_batch
from hardtack_agent.transport import Connection, Handlers
from hardtack_runtime.errors import ModelImportError
from tests.digit_bundles import make_bundle

BOOT = "00" * 16
HUGE = 10**30
HOSTILE: list[tuple[str, bytes]] = [
    (kind, payload)
    for kind in topics.UP
    for payload in (
        b"", b"\xff", b"{}", b"[]", b"null", b"{" * 9000, b"\x9f" * 9000,
        json.dumps({"v": 1, "boot_id": BOOT, "state": "trial", "job_id": "0" * 8,
                    "attempt": HUGE}).encode(),
        json.dumps({"v": 1, "ask": "blocks", "sha256": "0" * 64, "blocks": [HUGE]}).encode(),
        json.dumps({"v": 1, "ask": "blocks", "blocks": [0]}).encode(),
        cbor2.dumps({0: 1, 1: bytes(16), 2: [{1: HUGE}]}),
        cbor2.dumps({0: 1, 1: bytes(16), 2: [{1: 1, 2: "m", 3: [1, 2, HUGE], 4: bytes(16)}]}),
        cbor2.dumps({0: 1, 1: bytes(16), 2: []}),
    )
]  # fmt: skip


def test_hostile_messages_leave_the_controller_working(tmp_path: Path) -> None:
    heard: queue.Queue[bytes] = queue.Queue()
    ready: queue.Queue[None] = queue.Queue()
    store = Store(tmp_path / "fleet.db")
    with EmbeddedBroker(tmp_path / "broker") as broker, Controller(store, broker.url) as controller:
        handlers = Handlers(
            lambda: ready.put(None), lambda _, payload: heard.put(payload), lambda: None
        )
        job_topic = topics.down("default", "evil", "job")
        device = Connection(broker.url, "evil", (job_topic,), handlers)
        device.start()
        ready.get(timeout=10)
        for kind, payload in HOSTILE:
            device.publish(topics.up("default", "evil", kind), payload)
        (job_id,) = controller.push(make_bundle("1.0.0"), ["evil"])
        for _ in range(2):
            while not (offers := decode(JobList, heard.get(timeout=10), "").offers):
                pass  # a list that answers one of the messages above
            assert offers[0].job_id == job_id
            device.publish(topics.up("default", "evil", "rq"), Request(ask="jobs").encode())
        device.stop()
    assert store.telemetry_keys("evil") == []
    store.close()


def test_a_record_that_cannot_be_read_is_not_sent_for_ever(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    acks: queue.Queue[bytes] = queue.Queue()
    ready: queue.Queue[None] = queue.Queue()
    store = Store(tmp_path / "fleet.db")
    bad, good = Note("fault", 7, {}), Note("log", 7, {"text": "slot A"})
    with EmbeddedBroker(tmp_path / "broker") as broker, Controller(store, broker.url):
        handlers = Handlers(
            lambda: ready.put(None), lambda _, payload: acks.put(payload), lambda: None
        )
        device = Connection(broker.url, "m4", (topics.down("default", "m4", "ack"),), handlers)
        device.start()
        ready.get(timeout=10)
        batch = encode_batch(bytes(16), [(1, bad), (2, good)])
        device.publish(topics.up("default", "m4", "tm"), batch)
        assert set(decode(Ack, acks.get(timeout=10), "").seqs) == {1, 2}
        device.stop()
    assert [note.kind for _, note in store.notes("m4")] == ["log"]
    assert sum("record 1 is dropped" in one.getMessage() for one in caplog.records) == 1
    store.close()


def test_a_missing_file_has_a_code(tmp_path: Path) -> None:
    controller = Controller(Store(tmp_path / "fleet.db"), "mqtt://127.0.0.1:9")
    with pytest.raises(ModelImportError) as caught:
        controller.push(tmp_path / "none.htb", ["pi-1"])
    assert caught.value.code == "HT201"
    with pytest.raises(ValueError, match="no device name"):
        controller.push(b"", ["pi/1"])
