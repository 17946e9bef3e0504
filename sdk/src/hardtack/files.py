"""Reading the files a user names, with errors that say what is wrong with them."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from hardtack_runtime.errors import BundleError, ConfigError, DeviceError, HardtackError

BUNDLE_SUFFIX = ".htb"
PACKED_SUFFIX = ".htp"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def read_bundle(path: Path) -> bytes:
    """Read a bundle file.

    Raises:
        BundleError: HT211, the file is missing, a folder or unreadable.
    """
    try:
        if path.is_fifo():  # reading would wait for a writer
            raise BundleError("HT211", str(path), "is a pipe", "give the path of a file")
        return path.read_bytes()
    except OSError as error:
        raise BundleError(
            "HT211",
            str(path),
            f"cannot be read ({error.strerror})",
            "`hardtack convert` writes one",
        ) from error


def read_packed(path: Path) -> bytes:
    """Read a packed model.

    Raises:
        BundleError: HT213, the file is missing, a folder, a pipe or unreadable.
    """
    try:
        if path.is_fifo():  # reading would wait for a writer
            raise BundleError("HT213", str(path), "is a pipe", "give the path of a file")
        return path.read_bytes()
    except OSError as error:
        met = f"cannot be read ({error.strerror})"
        raise BundleError("HT213", str(path), met, "`hardtack pack` writes one") from error


def refuse_to_replace(path: Path, force: bool, source: Path | None = None) -> None:
    """Keep what is there already, and `source`, which it is made from, in any case.

    Raises:
        ConfigError: HT106, there is a file and `force` is not given, or it is `source`.
    """
    if source is not None and path.exists() and path.samefile(source):
        raise ConfigError("HT106", str(path), "is the file that is read", "name another with -o")
    if path.exists() and not force:
        raise ConfigError("HT106", str(path), "exists already", "use --force to replace it")


@contextlib.contextmanager
def only_writer(path: Path) -> Iterator[None]:
    """Let one process at a time write a file and those beside it; the kernel lets go when it dies.

    Raises:
        ConfigError: HT107, another process has it, or the folder cannot be written.
    """
    import fcntl

    require_writable(path.parent)
    lock_path = path.with_name(path.name + ".lock")
    with lock_path.open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is_at(lock_path, lock):  # unlinked meanwhile: another may have made it anew
                raise BlockingIOError
        except BlockingIOError as error:
            raise ConfigError(
                "HT107", str(path), "is being written by another process", "wait for it, or stop it"
            ) from error
        try:
            yield
        finally:
            lock_path.unlink(missing_ok=True)


def _is_at(path: Path, file: IO[bytes]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def require_writable(folder: Path) -> None:
    """See that files can be written to a folder, before work is done for them.

    Args:
        folder: Need not be there: then the nearest one above that is.

    Raises:
        ConfigError: HT107, they cannot.
        DeviceError: HT603, the disk has no room for the name of a file.
    """
    try:
        while not folder.exists() and folder.parent != folder:
            folder = folder.parent
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(path: Path, error: OSError) -> HardtackError:
    met = f"cannot be written ({error.strerror})"
    if error.errno in FULL:
        return DeviceError("HT603", str(path), met, "free space or choose another folder")
    return ConfigError("HT107", str(path), met, "check the folder and its permissions")


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """Let errors about "bundle" or "packed model" say which file it is."""
    try:
        yield
    except HardtackError as error:
        if error.where not in ("bundle", "packed model"):
            raise
        raise type(error)(error.code, str(path), error.met, error.todo) from error


@contextlib.contextmanager
def located(path: Path) -> Iterator[None]:
    """Let what the operating system refuses without a name, a write say, have this one."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is either complete or not there: temporary, fsync, rename.

    Raises:
        DeviceError: HT603, the disk is full.
        ConfigError: HT107, the folder cannot be written.
    """
    temporary = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _unwritable(path, error) from error
        raise
