"""Install a bundle with the power cut at every step, then cut the recovery too.

After any cut the device runs a complete, verified bundle; left alone it then finishes the update.
Deliberately broken stores show that the test would notice.
"""

from __future__ import annotations

import errno
import random
from pathlib import Path

import pytest

from hardtack_agent.events import BlockArrived, Listed, Report, RunTrial, Timeout, TrialEnded
from hardtack_agent.files import Filesystem
from hardtack_agent.messages import Offer, make_offer
from hardtack_agent.slots import SlotStore
from hardtack_agent.trial import try_bundle
from hardtack_agent.updater import Ports, Updater
from hardtack_runtime.bundle import verify
from hardtack_runtime.errors import DeviceError, HardtackError
from hardtack_runtime.signing import Keyring
from tests.digit_bundles import KEY, make_bundle
from tests.unit.agent.power_cut_disk import CutDisk, PowerCut

ROOT = Path("/device")
KEYS = Keyring([KEY.verify_key])
OLD, NEW = make_bundle("1.0.0", ballast=8), make_bundle("2.0.0", ballast=8)
BLOCK = 512
WAYS = ("drop", "keep", "mix")


def offer_of(data: bytes, job_id: str) -> Offer:
    return make_offer(job_id, "digits", verify(data, KEYS).version, data, block_size=BLOCK)


OFFERS = {data: offer_of(data, f"{n:08x}") for n, data in enumerate((OLD, NEW), 1)}


class Device:
    """The agent's update path on a simulated disk; the fleet answers at once."""

    def __init__(self, disk: Filesystem, kind: type[SlotStore] = SlotStore) -> None:
        self.store = kind(ROOT, disk)
        self.trials: list[RunTrial] = []
        self.asked: list[tuple[int, ...]] = []
        self.blocks = 0
        self.reports: list[Report] = []
        self.updater = Updater(
            self.store,
            Ports(
                verify=lambda data: verify(data, KEYS, "linux"),
                trial=self.trials.append,
                activate=lambda _: None,
                ask=lambda ask: self.asked.append(ask.blocks),
                report=self.reports.append,
            ),
        )
        self.updater.start()

    def running(self) -> bytes:
        """Return the bundle it runs, which must be complete and signed."""
        data = self.store.read_active(self.updater.saved, "digits")
        verify(data, KEYS, "linux")
        return data

    def update(self, data: bytes) -> None:
        """Take the update to its end."""
        offer = OFFERS[data]
        self.updater.handle(Listed(1, (offer,)))
        while self.asked or self.trials:
            if self.trials:
                self._try(self.trials.pop())
                continue
            for index in self.asked.pop():
                part = data[index * BLOCK : (index + 1) * BLOCK]
                self.blocks += 1
                self.updater.handle(BlockArrived(bytes.fromhex(offer.sha256)[:16], index, part))

    def _try(self, trial: RunTrial) -> None:
        slot = self.store._files.read(self.store.slot_path(trial.name, trial.slot)) or b""
        verdict = try_bundle(slot)
        self.updater.handle(TrialEnded(trial.job_id, verdict.code, verdict.detail, verdict.again))


def running_old() -> CutDisk:
    disk = CutDisk()
    Device(disk).update(OLD)
    disk.plug_in("drop", random.Random(0))
    return disk


def cut_update(disk: CutDisk, at: int, kind: type[SlotStore]) -> bool:
    """Start the device and update it, with a cut; True when it got to the end before."""
    disk.steps, disk.cut_at = 0, at
    try:
        Device(disk, kind).update(NEW)
    except PowerCut:
        return False
    return True


def cut_everywhere(kind: type[SlotStore], second_cuts: range) -> tuple[int, int]:
    """Cut at every step of the update; returns (cuts, double cuts) made."""
    single = double = 0
    for way in WAYS:
        done, at = False, 1
        while not done:
            for again in (None, *second_cuts):
                rng = random.Random(f"{way} {at} {again}")
                disk = running_old()
                done = cut_update(disk, at, kind)
                disk.plug_in(way, rng)
                single += 1
                if again is not None:
                    cut_update(disk, again, kind)
                    disk.plug_in(rng.choice(WAYS), rng)
                    double += 1
                device = Device(disk, kind)
                assert device.running() in (OLD, NEW), f"{way} at {at}, again at {again}"
                device.update(NEW)
                disk.plug_in("drop", rng)
                assert Device(disk, kind).running() == NEW, f"{way} at {at}, again at {again}"
            at += 1
    return single, double


def test_no_cut_breaks_the_device() -> None:
    single, _ = cut_everywhere(SlotStore, range(0))
    assert single > 100


@pytest.mark.slow
def test_no_second_cut_breaks_it_either() -> None:
    _, double = cut_everywhere(SlotStore, range(1, 40, 3))
    assert double > 1000


def test_a_resumed_download_fetches_no_block_twice_but_the_one_in_hand() -> None:
    total = len(OFFERS[NEW].block_hashes)
    disk = running_old()
    first = Device(disk)
    first.updater.handle(Listed(1, (OFFERS[NEW],)))
    for index in range(total // 2):
        part = NEW[index * BLOCK : (index + 1) * BLOCK]
        head = bytes.fromhex(OFFERS[NEW].sha256)[:16]
        first.updater.handle(BlockArrived(head, index, part))
    again = Device(disk)
    again.update(NEW)
    assert again.running() == NEW
    assert again.blocks <= total - total // 2 + 1


class UnsyncedDownload(SlotStore):
    """Renames a download that was never synced."""

    def sealed(self, offer: Offer) -> bytes:
        return self._files.read(self._download(offer.sha256)) or b""


class UnsyncedDirectory(SlotStore):
    """Says the slot is full before its name is durable."""

    def install(self, offer: Offer, slot) -> None:  # type: ignore[no-untyped-def]
        self._files.rename(self._download(offer.sha256), self.slot_path(offer.name, slot))

    def found(self):  # type: ignore[no-untyped-def]
        return {
            (name, slot): record.sha256
            for name, pair in self.load().models.items()
            for slot in ("a", "b")
            if (record := pair.get(slot)) is not None
        }


class UnsyncedState(SlotStore):
    """Renames a state file that was never synced."""

    def save(self, saved) -> None:  # type: ignore[no-untyped-def]
        sync, self._files.sync = self._files.sync, lambda path: None  # type: ignore[method-assign]
        try:
            super().save(saved)
        finally:
            self._files.sync = sync  # type: ignore[method-assign]


class BlindStart(SlotStore):
    """Believes the state file about what the slots hold, and syncs no download."""

    found = UnsyncedDirectory.found
    sealed = UnsyncedDownload.sealed


@pytest.mark.parametrize("broken", [UnsyncedDownload, UnsyncedDirectory, UnsyncedState, BlindStart])
def test_a_careless_store_is_caught(broken: type[SlotStore]) -> None:
    with pytest.raises((AssertionError, HardtackError)):
        cut_everywhere(broken, range(0))


class FullDisk(CutDisk):
    """A disk that is full for a while."""

    full = False

    def write(self, path: Path, data: bytes) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write(path, data)


def test_a_state_that_cannot_be_saved_has_not_happened_and_is_tried_again() -> None:
    disk = FullDisk()
    device = Device(disk)
    device.update(OLD)
    disk.full = True
    device.updater.handle(Listed(2, (OFFERS[NEW],)))
    assert device.updater.stalled
    assert device.running() == OLD
    disk.full = False
    device.updater.drain()
    assert not device.updater.stalled
    device.update(NEW)
    assert device.running() == NEW


def test_no_room_for_the_download_is_said_and_leaves_nothing() -> None:
    disk = running_old()
    disk.free_bytes = lambda path: 4096  # type: ignore[method-assign]
    device = Device(disk)
    device.update(NEW)
    assert device.reports[-1].result.code == "HT603"
    assert disk.names(ROOT / "download") == []


def test_a_damaged_state_file_is_set_aside() -> None:
    disk = running_old()
    disk.write(ROOT / "state.json", b'{"v": 1, "models": 7}')
    device = Device(disk)
    device.update(NEW)
    assert device.running() == NEW
    assert disk.read(ROOT / "state.damaged.json") == b'{"v": 1, "models": 7}'


def test_a_fault_of_ours_does_not_hold_up_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(running_old())

    def fail(offer: Offer) -> frozenset[int]:
        raise RuntimeError("a fault of ours")

    with monkeypatch.context() as broken:
        broken.setattr(device.store, "reserve", fail)
        with pytest.raises(RuntimeError):
            device.updater.handle(Listed(2, (OFFERS[NEW],)))
    assert not device.updater.stalled
    device.updater.handle(Timeout())
    assert device.asked, "the next event is handled, and takes up the job"


def test_a_slot_that_cannot_be_read_is_told_and_kept() -> None:
    disk = running_old()
    whole = disk.read

    def read(path: Path) -> bytes | None:
        if path.suffix == ".htb":
            raise OSError(errno.EIO, "Input/output error")
        return whole(path)

    disk.read = read  # type: ignore[method-assign]
    with pytest.raises(DeviceError) as caught:
        Device(disk)
    assert caught.value.code == "HT612"
    disk.read = whole  # type: ignore[method-assign]
    assert Device(disk).running() == OLD
