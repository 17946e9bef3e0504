"""Fetches Monocypher, whose field arithmetic checks signatures on the device.

Its two C files come from the source distribution of pymonocypher, whose hash is pinned here.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from hardtack_runtime.errors import ConfigError

NAME = "pymonocypher==4.0.3.4"
SHA256 = "5e56e3d3eb770a53e0b9f6274146663c11a11f3d0de5cd48e3be0428d1b07a4a"
FILES = ("monocypher.c", "monocypher.h")


def fetch_monocypher(folder: Path) -> Path:
    """Write Monocypher's files into a folder, unless they are there; return the folder.

    Raises:
        ConfigError: HT105, pip cannot fetch it.
    """
    if all((folder / name).is_file() for name in FILES):
        return folder
    with tempfile.TemporaryDirectory() as scratch:
        archive = _download(Path(scratch))
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive) as tar:
            for member in tar.getmembers():
                name = Path(member.name).name
                source = tar.extractfile(member) if name in FILES else None
                if source is not None:
                    part = folder / f"{name}.part"
                    part.write_bytes(source.read())
                    part.replace(folder / name)
    return folder


def _download(scratch: Path) -> Path:
    wanted = scratch / "requirements.txt"
    wanted.write_text(f"{NAME} --hash=sha256:{SHA256}\n")
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
            *("--no-binary", "pymonocypher", "--disable-pip-version-check"),
            *("--require-hashes", "--dest", str(scratch), "-r", str(wanted)),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = list(scratch.glob("*.tar.gz"))
    if ran.returncode or not found:
        lines = ran.stderr.strip().splitlines() or ["pip did not say why"]
        raise ConfigError(
            "HT105", "Monocypher", f"pip cannot fetch {NAME}: {lines[-1]}",
            "repeat with a network, or give a folder with its two files: --monocypher FOLDER",
        )  # fmt: skip
    return found[0]
