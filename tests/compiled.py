"""What test programs link, compiled once: the C runtime for a set of flags, the device's core."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from hardtack_runtime import csrc_dir

BUILD = Path(__file__).parents[1] / "build"
CSRC = csrc_dir()
_CORE = ("device", "ed25519", "flash", "journal", "sha256", "sha512", "verify", "weights")


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Keep the other workers of a test run out meanwhile: build/ is theirs too."""
    BUILD.mkdir(exist_ok=True)
    with (BUILD / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def runtime_archive(flags: tuple[str, ...], compiler: str = "cc") -> Path:
    """Return the C runtime as an archive; one of the same sources and flags is taken as it is.

    A program that brings an operator table of its own gets that in place of the archive's.

    Args:
        flags: Of the compiler.
        compiler: Its name or path.

    Raises:
        AssertionError: the compiler had something to say.
    """
    sources = sorted([*CSRC.glob("src/*.c"), *CSRC.glob("src/kernels/*.c")])
    key = hashlib.sha256("\0".join((compiler, *flags)).encode())
    for path in sorted(CSRC.rglob("*.[ch]")):
        key.update(path.read_bytes())
    folder = BUILD / f"runtime-{key.hexdigest()[:16]}"
    archive = folder / "libhardtack.a"
    with alone():
        if not archive.exists():
            folder.mkdir(exist_ok=True)
            includes = (f"-I{CSRC / 'include'}", f"-I{CSRC / 'src'}")
            compile_all = [compiler, "-std=c99", *flags, *includes, "-c", *map(str, sources)]
            _run(compile_all, folder)
            made = [f"{source.stem}.o" for source in sources]
            _run(["ar", "rc", "unfinished.a", *made], folder)
            (folder / "unfinished.a").rename(archive)
    return archive


def core_program(
    program: Path, sources: list[Path], core: Path, flags: tuple[str, ...] = ()
) -> Path:
    """Compile a host program with the firmware's core, and link the runtime.

    Args:
        program: The file to write.
        sources: Besides the core's.
        core: Folder of the core's sources, changed ones perhaps.
        flags: Of the compiler; definitions but those of the runtime, HT_*, are the program's own.
    """
    shared = ("-O2", "-w", *(flag for flag in flags if not flag.startswith("-D") or "HT_" in flag))
    archive = runtime_archive(shared)
    listed = [*sources, *(core / "src" / f"ht_{name}.c" for name in _CORE)]
    includes = (f"-I{core / 'include'}", f"-I{CSRC / 'include'}", f"-I{CSRC / 'src'}")
    command = ["cc", "-std=c99", "-O2", "-w", *flags, *includes, *map(str, listed)]
    _run([*command, str(archive), "-o", str(program)], program.parent)
    return program


def _run(command: list[str], folder: Path) -> None:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
