"""A disk whose power can be cut at any operation, or inside one, losing what was not synced."""

from __future__ import annotations

import random
from pathlib import Path


class PowerCut(BaseException):
    """The power is gone; nothing may catch this but the test."""


class CutDisk:
    """An in-memory `Filesystem` that tells apart what is seen from what is durable.

    Attributes:
        steps: Operations done since the last `plug_in`.
        cut_at: Operation at which the power goes; a write is torn in half.
    """

    def __init__(self) -> None:
        self.steps = 0
        self.cut_at: int | None = None
        self._seen: dict[Path, int] = {}
        self._durable: dict[Path, int] = {}
        self._content: dict[int, bytearray] = {}
        self._synced: dict[int, bytes] = {}
        self._next = 1
        self._changes: list[tuple[set[Path], dict[Path, int | None]]] = []

    # The power.

    def _tick(self) -> bool:
        """Count an operation; True when the power goes during it."""
        self.steps += 1
        return self.cut_at is not None and self.steps >= self.cut_at

    def plug_in(self, how: str, rng: random.Random) -> None:
        """Start again after a cut: `drop` or `keep` what was not synced, or a `mix` of both."""
        share = {"drop": 0.0, "mix": 0.5, "keep": 1.0}[how]
        for _, change in self._changes:
            if rng.random() < share:
                self._apply(self._durable, change)
        self._changes.clear()
        for inode, content in self._content.items():
            synced = self._synced.get(inode, b"")
            if bytes(content) != synced:
                self._content[inode] = bytearray(self._torn(bytes(content), synced, how, rng))
            self._synced[inode] = bytes(self._content[inode])
        self._seen = dict(self._durable)
        self.steps, self.cut_at = 0, None

    @staticmethod
    def _torn(content: bytes, synced: bytes, how: str, rng: random.Random) -> bytes:
        if how == "drop":
            return synced
        if how == "keep":
            return content
        at = rng.randrange(len(content) + 1)
        return rng.choice([content, synced, content[:at] + bytes(len(content) - at)])

    @staticmethod
    def _apply(names: dict[Path, int], change: dict[Path, int | None]) -> None:
        for path, inode in change.items():
            if inode is None:
                names.pop(path, None)
            else:
                names[path] = inode

    def _change(self, change: dict[Path, int | None]) -> None:
        self._apply(self._seen, change)
        self._changes.append(({path.parent for path in change}, change))

    # The file system.

    def make_directory(self, path: Path) -> None:
        self._tick_or_cut()

    def names(self, path: Path) -> list[str]:
        below = {p.relative_to(path).parts[0] for p in self._seen if path in p.parents}
        return sorted(below)

    def read(self, path: Path) -> bytes | None:
        inode = self._seen.get(path)
        return None if inode is None else bytes(self._content[inode])

    def write(self, path: Path, data: bytes) -> None:
        cut = self._tick()
        inode = self._seen.get(path)
        if inode is None:
            inode, self._next = self._next, self._next + 1
            self._change({path: inode})
        self._content[inode] = bytearray(data[: len(data) // 2] if cut else data)
        if cut:
            raise PowerCut

    def reserve(self, path: Path, size: int) -> None:
        self.write(path, bytes(size))

    def write_at(self, path: Path, offset: int, data: bytes) -> None:
        cut = self._tick()
        part = data[: len(data) // 2] if cut else data
        self._content[self._seen[path]][offset : offset + len(part)] = part
        if cut:
            raise PowerCut

    def sync(self, path: Path) -> None:
        self._tick_or_cut()
        inode = self._seen[path]
        self._synced[inode] = bytes(self._content[inode])

    def sync_directory(self, path: Path) -> None:
        self._tick_or_cut()
        left = []
        for where, change in self._changes:
            if path in where:
                self._apply(self._durable, change)
            else:
                left.append((where, change))
        self._changes = left

    def rename(self, source: Path, target: Path) -> None:
        self._tick_or_cut()
        self._change({target: self._seen[source], source: None})

    def remove(self, path: Path) -> None:
        self._tick_or_cut()
        if path in self._seen:
            self._change({path: None})

    def free_bytes(self, path: Path) -> int:
        return 1 << 30

    def _tick_or_cut(self) -> None:
        if self._tick():
            raise PowerCut
