"""The slots of a Linux device: bundles and state on the disk.

Order is everything here. A file is synced before it is renamed to where it is believed, the
directory is synced before the state file says so, and the state file itself is replaced whole.

Source: SPEC section 5.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
from pathlib import Path

import pydantic

from hardtack_agent.events import Saved, SlotName
from hardtack_agent.files import Filesystem
from hardtack_agent.messages import Offer, block_hash
from hardtack_runtime.errors import DeviceError, TrustError

STATE_VERSION = 1
SPARE_BYTES = 1 << 20
_SLOTS: tuple[SlotName, SlotName] = ("a", "b")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_log = logging.getLogger(__name__)
_saved = pydantic.TypeAdapter(Saved)


class SlotStore:
    """The files below a state directory.

    Args:
        root: The state directory; made when absent.
        files: The disk.

    Raises:
        DeviceError: HT612, the directory cannot be used.
    """

    def __init__(self, root: Path, files: Filesystem) -> None:
        self._root = root
        self._files = files
        self._models = root / "models"
        self._downloads = root / "download"
        try:
            for directory in (root, self._models, self._downloads):
                files.make_directory(directory)
            files.sync_directory(root)
        except OSError as error:
            raise disk_error(root, error) from error

    def load(self) -> Saved:
        """Return what was saved last; nothing when there is no state file.

        A state file that cannot be read is set aside, not fatal: the device starts empty and
        reports so, rather than never again.
        """
        path = self._root / "state.json"
        text = self._files.read(path)
        if text is None:
            return Saved()
        try:
            fields = json.loads(text)
            if fields.pop("v", None) != STATE_VERSION:
                raise ValueError(f"version is not {STATE_VERSION}")
            return _saved.validate_python(fields)
        except (ValueError, TypeError, AttributeError) as error:
            _log.error("%s cannot be read (%s): starting without models", path, error)
            self._files.rename(path, self._root / "state.damaged.json")
            return Saved()

    def save(self, saved: Saved) -> None:
        """Replace the state file; durable on return.

        Raises:
            OSError: the disk failed; the old state stands then.
        """
        fields = _saved.dump_python(saved, mode="json")
        temporary = self._root / "state.json.new"
        self._files.write(temporary, json.dumps({"v": STATE_VERSION, **fields}).encode())
        self._files.sync(temporary)
        self._files.rename(temporary, self._root / "state.json")
        self._files.sync_directory(self._root)

    def reserve(self, offer: Offer) -> frozenset[int]:
        """Take the disk space of a download, or find it begun.

        Returns:
            The blocks already there, each checked against its hash.

        Raises:
            DeviceError: HT603, there is no room.
            OSError: the disk failed.
        """
        path = self._download(offer.sha256)
        held = self._files.read(path)
        if held is not None and len(held) == offer.size:
            return _intact_blocks(held, offer)
        for name in self._files.names(self._downloads):
            self._files.remove(self._downloads / name)
        free = self._files.free_bytes(self._downloads)
        if free < offer.size + SPARE_BYTES:
            raise _no_room(self._downloads, f"{offer.size + SPARE_BYTES} bytes, {free} are free")
        try:
            self._files.reserve(path, offer.size)
        except OSError as error:
            self._files.remove(path)
            raise disk_error(path, error) from error
        return frozenset()

    def store_block(self, offer: Offer, index: int, data: bytes) -> None:
        """Write a checked block into the download.

        It is not synced: after a power cut a block that is not there fails its hash and is
        fetched again.

        Raises:
            DeviceError: HT603, the disk is full; HT612, it failed.
        """
        path = self._download(offer.sha256)
        try:
            self._files.write_at(path, index * offer.block_size, data)
        except OSError as error:
            raise disk_error(path, error) from error

    def sealed(self, offer: Offer) -> bytes:
        """Return the whole download, durable, with the digest of the offer.

        Raises:
            TrustError: HT702, the digest differs.
            DeviceError: HT603, HT612.
        """
        path = self._download(offer.sha256)
        try:
            self._files.sync(path)
            data = self._files.read(path) or b""
        except OSError as error:
            raise disk_error(path, error) from error
        if hashlib.sha256(data).hexdigest() != offer.sha256:
            raise TrustError("HT702", offer.name, "the download has not the digest of the offer")
        return data

    def install(self, offer: Offer, slot: SlotName) -> None:
        """Move a sealed download into a slot; durable on return.

        Raises:
            DeviceError: HT603, HT612.
        """
        target = self.slot_path(offer.name, slot)
        try:
            self._files.make_directory(target.parent)
            self._files.sync_directory(self._models)
            self._files.rename(self._download(offer.sha256), target)
            self._files.sync_directory(target.parent)
            self._files.sync_directory(self._downloads)
        except OSError as error:
            raise disk_error(target, error) from error

    def discard(self, sha256: str) -> None:
        """Remove a download, if it is there."""
        self._files.remove(self._download(sha256))

    def erase(self, name: str, slot: SlotName) -> None:
        """Empty a slot."""
        self._files.remove(self.slot_path(name, slot))

    def found(self) -> dict[tuple[str, SlotName], str]:
        """Return the digest of each slot file as it lies on the disk, made durable first.

        After kill -9 a rename may be seen that a power cut would still undo.

        Raises:
            DeviceError: HT612, a slot cannot be read: taking it for empty would lose the model.
        """
        digests: dict[tuple[str, SlotName], str] = {}
        where = self._models
        try:
            self._files.sync_directory(where)
            for name in self._files.names(self._models):
                where = self._models / name
                self._files.sync_directory(where)
                for slot in _SLOTS:
                    data = self._files.read(self.slot_path(name, slot))
                    if data is not None:
                        digests[name, slot] = hashlib.sha256(data).hexdigest()
        except OSError as error:
            raise disk_error(where, error) from error
        return digests

    def sweep(self, saved: Saved) -> None:
        """Remove files that the state does not know: leftovers of an interrupted step."""
        for name in self._files.names(self._models):
            pair = saved.models.get(name)
            for slot in _SLOTS:
                busy = saved.job is not None and saved.job.name == name and saved.target == slot
                if not busy and (pair is None or pair.get(slot) is None):
                    self.erase(name, slot)
        wanted = f"{saved.job.sha256}.part" if saved.job is not None else ""
        for name in self._files.names(self._downloads):
            if name != wanted:
                self._files.remove(self._downloads / name)
        self._files.remove(self._root / "state.json.new")

    def read_active(self, saved: Saved, name: str) -> bytes:
        """Return the bundle a model runs from, its digest checked.

        Raises:
            DeviceError: HT611, there is none; HT612, the disk failed.
            TrustError: HT702, the file changed on the disk.
        """
        pair = saved.models.get(name)
        record = pair.get(pair.active) if pair is not None and pair.active is not None else None
        if pair is None or pair.active is None or record is None:
            raise DeviceError("HT611", name, "no such model is installed")
        return self.read_slot(name, pair.active, record.sha256)

    def read_slot(self, name: str, slot: SlotName, sha256: str) -> bytes:
        """Return the bundle in a slot, which has this digest.

        Raises:
            DeviceError: HT612, the disk failed.
            TrustError: HT702, the file changed on the disk, or is gone.
        """
        path = self.slot_path(name, slot)
        try:
            data = self._files.read(path) or b""
        except OSError as error:
            raise disk_error(path, error) from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise TrustError("HT702", name, f"slot {slot} changed on the disk")
        return data

    def slot_path(self, name: str, slot: SlotName) -> Path:
        """Return the file of a slot."""
        return self._models / name / f"{slot}.htb"

    def _download(self, sha256: str) -> Path:
        return self._downloads / f"{sha256}.part"


def _intact_blocks(held: bytes, offer: Offer) -> frozenset[int]:
    size = offer.block_size
    return frozenset(
        index
        for index, digest in enumerate(offer.block_hashes)
        if block_hash(held[index * size : (index + 1) * size]) == digest
    )


def _no_room(path: Path, met: str) -> DeviceError:
    return DeviceError("HT603", str(path), f"needs {met}", "make room and push again")


def disk_error(path: Path, error: OSError) -> DeviceError:
    """Return what the disk says as an error of ours: HT603 it is full, HT612 it failed."""
    if error.errno in _FULL:
        return _no_room(path, f"more room than there is ({error.strerror})")
    return DeviceError("HT612", str(path), f"the disk failed: {error.strerror or error}")
