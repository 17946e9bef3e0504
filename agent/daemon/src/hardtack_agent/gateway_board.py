"""A board behind a gateway: a member of the fleet whose slots and trials are in the board itself.

A bundle is fetched and verified here, and kept in a slot of ours until the board has confirmed it.
Its trial is the transfer, and the trial that the board makes of it: `gateway_port` does both.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import queue
import threading
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from hardtack_agent.config import AgentConfig
from hardtack_agent.events import Phase, Report, Result, Runs, RunTrial, SlotRecord, TrialEnded
from hardtack_agent.files import DiskFiles
from hardtack_agent.member import Member
from hardtack_agent.serial_link import MAX_FRAME
from hardtack_agent.serial_messages import HelloReply, bundle_id
from hardtack_agent.slots import disk_error
from hardtack_runtime.bundle import Header, read_header, verify
from hardtack_runtime.errors import GateError, HardtackError, TrustError
from hardtack_runtime.signing import Keyring

FACTS = "board.json"
_FACTS_VERSION = 1
_MOST_FRAMES = 64
_REMEMBERED = 8
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Facts:
    """What is known of a board while it is away.

    Attributes:
        chip: Its id, hexadecimal; zeros when it has none.
        hardware: Class.
        firmware: Name and version.
        slot_size: Bytes of a slot.
        pool_size: Bytes for the arena, and for weights that are unpacked to memory.
        key_ids: Of the keys it trusts, hexadecimal.
        bundles: SHA-256 of the file of bundles it was seen with, by id.
    """

    chip: str
    hardware: str
    firmware: str
    slot_size: int
    pool_size: int
    key_ids: list[str]
    bundles: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, about: HelloReply) -> Facts:
        """Return what a board says of itself."""
        return cls(
            about.device_id.hex(), about.hardware, about.firmware, about.slot_size,
            about.pool_size, [key.hex() for key in about.key_ids],
        )  # fmt: skip

    @classmethod
    def load(cls, folder: Path) -> Facts | None:
        """Return what was saved; None when nothing was, or it cannot be read."""
        try:
            fields = json.loads((folder / FACTS).read_text(encoding="utf-8"))
            if fields.pop("v") != _FACTS_VERSION:
                return None
            return cls(**fields)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def save(self, folder: Path) -> None:
        """Replace the file.

        Raises:
            DeviceError: HT603, HT612.
        """
        files, new = DiskFiles(), folder / f"{FACTS}.new"
        try:
            files.write(new, json.dumps({"v": _FACTS_VERSION, **asdict(self)}).encode())
            files.sync(new)
            files.rename(new, folder / FACTS)
            files.sync_directory(folder)
        except OSError as error:
            raise disk_error(new, error) from error


class Board(Member):
    """A microcontroller in the fleet; errors as `Member`.

    Args:
        config: Of the agent that is its gateway.
        device: Its name.
        facts: What is known of it.
    """

    def __init__(self, config: AgentConfig, device: str, facts: Facts) -> None:
        self.folder = config.state_dir / "boards" / device
        super().__init__(config, device, self.folder, counts_trials=False)
        self.facts = facts
        self.frames: queue.Queue[bytes] = queue.Queue(_MOST_FRAMES)
        self.tried = ""
        """Job whose bundle the board was told to try; its refusal is then the end of that trial."""
        self._trial: RunTrial | None = None
        self._trial_lock = threading.Lock()
        self._attached = threading.Event()

    @property
    def hardware(self) -> str:
        """Class of the board."""
        return self.facts.hardware

    @property
    def software(self) -> str:
        """Its firmware."""
        return self.facts.firmware

    @property
    def present(self) -> bool:
        """Whether it answers."""
        return self._attached.is_set()

    def begin(self) -> None:
        """Say nothing of what it runs before it has said so itself."""

    def end(self) -> None:
        """It is no longer reached through us."""
        self._attached.clear()

    def verify(self, data: bytes) -> Header:
        """Check signature, class, digest, and that the board has room for it and knows the key.

        Raises:
            HardtackError: HT7xx, HT501, HT503.
        """
        header = verify(data, Keyring.load(self.config.trusted_keys), self.hardware)
        self.require_fit(header, len(data))
        return header

    def require_fit(self, header: Header, size: int) -> None:
        """Check that the board has room for a bundle and knows its key; raises as `verify`."""
        if size > self.facts.slot_size:
            met = f"the bundle has {size} bytes, a slot {self.facts.slot_size}"
            raise GateError("HT503", self.device, met, "choose a smaller model")
        if header.arena_size > self.facts.pool_size:  # where weights go is the board's to say
            met = f"its arena takes {header.arena_size} bytes, the board has {self.facts.pool_size}"
            raise GateError("HT503", self.device, met, "choose a smaller model")
        if header.key_id.hex() not in self.facts.key_ids:
            raise TrustError("HT701", self.device, "its firmware does not know the key")

    def start_trial(self, trial: RunTrial) -> None:
        """Have the port take it to the board, now or when that is back."""
        with self._trial_lock:
            self._trial = trial

    def activate(self, name: str) -> None:
        """The board runs it already."""
        _log.info("%s runs %s", self.device, name)
        self.publish_birth()

    def take_frame(self, payload: bytes) -> None:
        """Keep a frame for the port; one too many is lost, as on any line."""
        gateway = self.config.gateway
        if len(payload) > MAX_FRAME:
            _log.debug("%s: %d bytes are no frame", self.device, len(payload))
            return
        if gateway is not None and gateway.remote and self.present and self.wanted() is None:
            try:
                self.frames.put_nowait(payload)
            except queue.Full:
                _log.debug("%s: a frame too many", self.device)

    # What the port's thread calls.

    def drop_frames(self) -> None:
        """Forget the frames that wait: a later board, or a later time, is not what they meant."""
        with contextlib.suppress(queue.Empty):
            while True:
                self.frames.get_nowait()

    def wanted(self) -> RunTrial | None:
        """Return the trial that waits for the board, unless its job has ended."""
        trial, saved = self._trial, self.updater.saved
        job = saved.job if saved.phase is Phase.TRIAL else None
        return trial if trial and job and job.job_id == trial.job_id else None

    def candidate(self, trial: RunTrial) -> bytes | None:
        """Return the bundle of a trial; None when that is no longer wanted.

        Raises:
            DeviceError, TrustError: as `SlotStore.read_slot`.
        """
        job = self.updater.saved.job
        try:
            if job is None or job.job_id != trial.job_id:
                return None
            return self.store.read_slot(trial.name, trial.slot, job.sha256)
        except TrustError:
            if self.wanted() is not trial:  # cancelled, and its slot emptied, in between
                return None
            raise

    def end_trial(
        self, trial: RunTrial, error: HardtackError | None = None, *, unfit: bool = False
    ) -> None:
        """Say how a trial ended; another one may wait already.

        Args:
            trial: That ended.
            error: Why it failed; None when it passed.
            unfit: As in `TrialEnded`.
        """
        with self._trial_lock:
            if self._trial is trial:
                self._trial = None
        self.tried = ""
        code, detail = (error.code, str(error)) if error is not None else ("", "")
        ended = TrialEnded(trial.job_id, code, detail, unfit=unfit)
        self.do(partial(self.updater.handle, ended))

    def progress(self, trial: RunTrial, done: int, total: int) -> None:
        """Tell the server how many chunks the board has."""
        result = Result(trial.job_id, "trial", self.updater.saved.trials)
        self.do(partial(self.report, Report(result, done, total)))

    def attach(self, about: HelloReply) -> None:
        """It answers; another chip than before takes over its name and nothing else.

        Raises:
            DeviceError: HT603, HT612, what is known of it cannot be saved.
        """
        self.drop_frames()
        facts = Facts.of(about)
        replaced = self.facts.chip != facts.chip
        if replaced:
            _log.warning(
                "%s is another chip (%s) than before (%s): taken for its replacement",
                self.device, facts.chip, self.facts.chip,
            )  # fmt: skip
        else:
            facts.bundles = self.facts.bundles
        facts.save(self.folder)
        self.facts = facts
        if replaced:
            self.do(partial(self.updater.handle, Runs(replaced=True)))

    def runs(self, name: str, record: SlotRecord | None, id_: bytes) -> None:
        """It runs this bundle, or none; from now on it counts as present."""
        if record is not None:
            known = {**self.facts.bundles, id_.hex(): record.sha256}
            self.facts.bundles = dict(list(known.items())[-_REMEMBERED:])
            self.facts.save(self.folder)
        self._attached.set()
        self.do(partial(self._runs, Runs(name, record)))

    def detach(self) -> None:
        """It answers no more."""
        self._attached.clear()
        self.drop_frames()
        self.do(self.publish_state)

    def sha256_of(self, id_: bytes) -> str | None:
        """Return the digest of the bundle with this id, if we have or had its file."""
        if id_.hex() in self.facts.bundles:
            return self.facts.bundles[id_.hex()]
        for name in self.updater.saved.models:
            for slot in ("a", "b"):
                path = self.store.slot_path(name, slot)
                data = path.read_bytes() if path.is_file() else b""
                if data and bundle_id(data) == id_:
                    return hashlib.sha256(data).hexdigest()
        return None

    def _runs(self, event: Runs) -> None:
        self.updater.handle(event)
        self.publish_birth()
        self.publish_state()


def record_of(bundle: bytes) -> SlotRecord:
    """Return what a slot holds, from the bundle itself.

    Raises:
        BundleError: HT211, HT212, it is none.
    """
    header = read_header(bundle)
    sha256 = hashlib.sha256(bundle).hexdigest()
    return SlotRecord(sha256, header.version, header.model_id.hex())
