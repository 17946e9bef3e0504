"""The store: repeated messages change nothing, an ended job stays ended."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from hardtack.fleet.rows import in_our_time
from hardtack.fleet.store import Store
from hardtack_agent.messages import Birth, JobEvent, Online
from hardtack_agent.telemetry import Note, Window
from hardtack_runtime.errors import BundleError, DeviceError
from tests.digit_bundles import make_bundle

BOOT = "00" * 16
WINDOW = Window("digits", (1, 0, 0), bytes(16), 100, 160, 5, 1, 4, 3, 200, {3: 5}, {1: 5})
BUNDLE = make_bundle("1.0.0", ballast=1500)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "new" / "fleet.db")
    yield opened
    opened.close()


def event(job_id: str, state: str, **fields: object) -> JobEvent:
    return JobEvent.model_validate({"job_id": job_id, "boot_id": BOOT, "state": state, **fields})


def order(store: Store, *devices: str) -> list[str]:
    return store.add_jobs(store.add_bundle(BUNDLE), devices)


def test_a_record_that_comes_twice_counts_once(store: Store) -> None:
    for _ in range(3):
        store.add_telemetry("pi-1", bytes(16), [(1, WINDOW), (2, WINDOW)])
    store.add_telemetry("pi-1", bytes(16), [(2, replace(WINDOW, samples=99)), (3, WINDOW)])
    assert store.telemetry_keys("pi-1") == [(BOOT, 1), (BOOT, 2), (BOOT, 3)]
    assert store.totals()["pi-1", "digits", (1, 0, 0)].samples == 15
    assert store.windows("pi-1", "digits")[0] == ("pi-1", WINDOW)
    assert store.windows("pi-1", since_s=161) == []


def test_notes_are_kept_once_and_the_newest_of_each_kind_stay(store: Store) -> None:
    fault = Note("fault", 50, {"pc": 4096, "operator": 3})
    for _ in range(2):
        store.add_telemetry("m4", bytes(16), [(1, fault), (2, WINDOW)])
    for at in range(250):
        store.add_telemetry("m4", bytes(16), [(at + 3, Note("log", 100 + at, {"text": str(at)}))])
    assert [note for _, note in store.notes("m4") if note.kind == "fault"] == [fault]
    logs = [note.body["text"] for _, note in store.notes("m4") if note.kind == "log"]
    assert logs == [str(at) for at in range(150, 250)]
    assert store.notes("m4", since_s=349) == [("m4", Note("log", 349, {"text": "249"}))]
    assert len(store.windows("m4")) == 1


def test_blocks_joined_are_the_bundle(store: Store) -> None:
    sha256 = store.add_bundle(BUNDLE)
    assert sha256 == hashlib.sha256(BUNDLE).hexdigest()
    assert store.add_bundle(BUNDLE) == sha256
    blocks, index = [], 0
    while (block := store.block(sha256, index)) is not None:
        blocks.append(block)
        index += 1
    assert b"".join(blocks) == BUNDLE
    assert index > 2
    assert store.block("00" * 32, 0) is None
    assert store.block(sha256, -1) is None


def test_what_is_no_bundle_is_not_kept(store: Store) -> None:
    with pytest.raises(BundleError, match="no hardtack bundle"):
        store.add_bundle(b"junk")


def test_an_open_job_is_not_made_twice(store: Store) -> None:
    first = order(store, "pi-1", "pi-2")
    assert order(store, "pi-1") == first[:1]
    store.job_event("pi-1", event(first[0], "confirmed"))
    assert order(store, "pi-1") != first[:1]


def test_an_ended_job_stays_ended(store: Store) -> None:
    (job_id,) = order(store, "pi-1")
    assert store.job_event("pi-1", event(job_id, "fetching", done=1, total=4)) is False
    assert store.job_event("pi-1", event(job_id, "failed", code="HT603")) is True
    assert store.job_event("pi-1", event(job_id, "failed", code="HT603")) is False
    assert store.job_event("pi-1", event(job_id, "confirmed")) is False
    job = store.job(job_id)
    assert (job.state, job.code, job.done, job.total) == ("failed", "HT603", 1, 4)
    assert store.open_offers("pi-1")[1] == ()


def test_a_device_cannot_move_the_job_of_another(store: Store) -> None:
    (job_id,) = order(store, "pi-1")
    assert store.job_event("pi-2", event(job_id, "confirmed")) is False
    assert store.job(job_id).state == "queued"


def test_a_bundle_is_for_those_who_have_an_open_job(store: Store) -> None:
    (job_id,) = order(store, "pi-1")
    sha256 = store.job(job_id).sha256
    assert store.wants("pi-1", sha256)
    assert not store.wants("pi-2", sha256)
    store.cancel(job_id)
    assert not store.wants("pi-1", sha256)


def test_the_revision_grows_with_every_change(store: Store) -> None:
    (job_id,) = order(store, "pi-1")
    before, offers = store.open_offers("pi-1")
    assert [offer.job_id for offer in offers] == [job_id]
    store.cancel(job_id)
    after, _ = store.open_offers("pi-1")
    assert after >= before


def test_a_clock_set_back_does_not_make_revisions_fall(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = order(store, "pi-1")
    first, _ = store.open_offers("pi-1")
    monkeypatch.setattr("hardtack.fleet.store.time.time", lambda: 1000.0)
    store.job_event("pi-1", event(job, "fetching"))
    second, _ = store.open_offers("pi-1")
    store.cancel(job)
    third, _ = store.open_offers("pi-1")
    assert first < second < third


def test_the_will_of_an_earlier_start_is_ignored(store: Store) -> None:
    birth = Birth(boot_id="11" * 16, agent="0", hardware="linux", bundle_format=1, kernel_abi=1)
    store.device_born("pi-1", birth)
    store.device_state("pi-1", Online(boot_id="11" * 16, online=True))
    store.device_state("pi-1", Online(boot_id=BOOT, online=False))
    assert store.devices()[0].online
    store.device_state("pi-1", Online(boot_id="11" * 16, online=False))
    assert not store.devices()[0].online


def test_an_unknown_job_has_a_code(store: Store) -> None:
    with pytest.raises(DeviceError) as caught:
        store.cancel("ffff")
    assert caught.value.code == "HT615"


def test_a_database_that_cannot_be_opened_has_a_code(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a database, but long enough to be looked at" * 50)
    for url in (tmp_path / "file", tmp_path / "file" / "below.db", "no such dialect://x"):
        with pytest.raises(DeviceError) as caught:
            Store(url)
        assert caught.value.code == "HT614"


def test_many_writers_wait_for_each_other(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "new" / "fleet.db")

    def write(through: Store, device: str) -> None:
        for seq in range(40):
            through.add_telemetry(device, bytes(16), [(seq, WINDOW)])

    names = [f"pi-{n}" for n in range(4)]
    threads = [
        threading.Thread(target=write, args=((store, other)[n % 2], name))
        for n, name in enumerate(names)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert [len(store.telemetry_keys(name)) for name in names] == [40] * 4


def test_a_commit_is_durable(store: Store) -> None:
    with store._reader.connect() as connection:
        assert connection.execute(sa.text("PRAGMA synchronous")).scalar() == 2
        assert connection.execute(sa.text("PRAGMA journal_mode")).scalar() == "wal"


def test_records_of_a_device_without_the_time_end_when_they_came() -> None:
    now = 1_800_000_000
    assert in_our_time(WINDOW, now) == replace(WINDOW, start_s=now - 60, end_s=now)
    assert in_our_time(Note("log", 7, {}), now) == Note("log", now, {})
    ahead = replace(WINDOW, start_s=now + 90_000, end_s=now + 90_001)
    assert in_our_time(ahead, now) == replace(ahead, start_s=now - 1, end_s=now)
    late = replace(WINDOW, start_s=now - 900, end_s=now - 800)
    assert in_our_time(late, now) is late
