"""Reading the files a user names, with errors that say what is wrong with them."""

from __future__ import annotations

import os
from pathlib import Path

from hardtack_runtime.errors import BundleError, HardtackError

BUNDLE_SUFFIX = ".htb"


def read_bundle(path: Path) -> bytes:
    """Read a bundle file.

    Raises:
        BundleError: HT211, the file is missing, a folder or unreadable.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(
            "HT211",
            str(path),
            f"cannot be read ({error.strerror})",
            "`hardtack convert` writes one",
        ) from error


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is either complete or not there: temporary, fsync, rename.

    Raises:
        HardtackError: HT603, the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise HardtackError(
            "HT603", str(path), f"cannot be written ({error.strerror})",
            "free space or choose another folder",
        ) from error  # fmt: skip
