"""Every file-system call of the update path, behind one small seam.

A test puts a simulated disk here, cuts the power at each call and drops what was not synced.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol


class Filesystem(Protocol):
    """What the slot store needs of a disk; all may raise OSError."""

    def make_directory(self, path: Path) -> None:
        """Make a directory and its parents; nothing happens when it is there."""

    def names(self, path: Path) -> list[str]:
        """Return the names in a directory, none when it is absent."""

    def read(self, path: Path) -> bytes | None:
        """Return a file's bytes, or None when it is absent."""

    def write(self, path: Path, data: bytes) -> None:
        """Make or replace a file's content; not durable before `sync`."""

    def reserve(self, path: Path, size: int) -> None:
        """Make a file of `size` zero bytes whose space is really taken."""

    def write_at(self, path: Path, offset: int, data: bytes) -> None:
        """Overwrite bytes inside an existing file; not durable before `sync`."""

    def sync(self, path: Path) -> None:
        """Wait until a file's content is on the disk."""

    def sync_directory(self, path: Path) -> None:
        """Wait until a directory's names are on the disk."""

    def rename(self, source: Path, target: Path) -> None:
        """Move a file, replacing the target in one step."""

    def remove(self, path: Path) -> None:
        """Remove a file; nothing happens when it is absent."""

    def free_bytes(self, path: Path) -> int:
        """Return the bytes this process may still write on the disk of `path`."""


class DiskFiles:
    """The real disk."""

    def make_directory(self, path: Path) -> None:
        """Make a directory and its parents."""
        path.mkdir(parents=True, exist_ok=True)

    def names(self, path: Path) -> list[str]:
        """Return the names in a directory, none when it is absent."""
        return sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []

    def read(self, path: Path) -> bytes | None:
        """Return a file's bytes, or None when it is absent."""
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None

    def write(self, path: Path, data: bytes) -> None:
        """Make or replace a file's content."""
        path.write_bytes(data)

    def reserve(self, path: Path, size: int) -> None:
        """Make a file of `size` zero bytes; takes the space where the file system can."""
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)

    def write_at(self, path: Path, offset: int, data: bytes) -> None:
        """Overwrite bytes inside an existing file."""
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(data)

    def sync(self, path: Path) -> None:
        """Wait until a file's content is on the disk."""
        _fsync(path, os.O_RDONLY)

    def sync_directory(self, path: Path) -> None:
        """Wait until a directory's names are on the disk."""
        _fsync(path, os.O_RDONLY | os.O_DIRECTORY)

    def rename(self, source: Path, target: Path) -> None:
        """Move a file, replacing the target in one step."""
        source.replace(target)

    def remove(self, path: Path) -> None:
        """Remove a file; nothing happens when it is absent."""
        path.unlink(missing_ok=True)

    def free_bytes(self, path: Path) -> int:
        """Return the bytes this process may still write on the disk of `path`."""
        stat = os.statvfs(path)
        return stat.f_bavail * stat.f_frsize


def _fsync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
