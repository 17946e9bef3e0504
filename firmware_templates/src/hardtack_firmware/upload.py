"""Loads a firmware onto a board: by its programmer, or by copying to the drive that it shows.

Programmers are programs of their own, run if they are installed.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from hardtack_firmware.boards import Board
from hardtack_runtime.errors import ConfigError, DeviceError

_INSTALL = {
    "picotool": "install picotool, or hold BOOTSEL while plugging the board in and give its drive:"
    " --upload-to FOLDER",
    "pyocd": "pip install pyocd, or copy firmware.hex to the board's drive: --upload-to FOLDER",
    "esptool": "pip install esptool",
}


@dataclass(frozen=True, slots=True)
class Upload:
    """How a firmware got onto a board: the program that was run, or the drive."""

    by: str


def upload(board: Board, elf: Path, place: Path | None = None) -> Upload:
    """Load a firmware.

    Args:
        board: Its UPLOAD variable names the program.
        elf: The firmware, its images beside it.
        place: The board's mass storage, or the serial port for a programmer that takes one;
            None lets the programmer look for the board.

    Raises:
        ConfigError: HT104 nothing loads this board, HT105 the program is not installed.
        DeviceError: HT624, the program failed or the drive is none of a board.
    """
    program = board.variables.get("UPLOAD", "")
    port = place if program == "esptool" else None
    if place is not None and port is None:
        return _copy(elf, place)
    if not program:
        raise ConfigError(
            "HT104", "--upload", f"{board.name} is run, not loaded", f"the firmware is {elf}"
        )
    if program not in _INSTALL:
        raise ConfigError(
            "HT104", f"UPLOAD of {board.name}", f"{program!r} is no programmer known here",
            f"one of {', '.join(_INSTALL)}",
        )  # fmt: skip
    found = shutil.which(program) or shutil.which(program, path=str(Path(sys.executable).parent))
    if found is None:
        raise ConfigError("HT105", program, "is not installed", _INSTALL[program])
    command = [found, *_words(program, board, elf, port)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise DeviceError(
            "HT624", program, _reason(ran.stderr) or _reason(ran.stdout) or "it did not say why",
            "is the board plugged in and ready for it?",
        )  # fmt: skip
    return Upload(program)


def _reason(said: str) -> str:
    """Return the line that tells why: the one that calls itself so, else the last one."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    fatal = [line for line in lines if "error" in line.lower()]
    return (fatal or lines or [""])[-1]


def _words(program: str, board: Board, elf: Path, port: Path | None) -> list[str]:
    """Return what the programmer is told."""
    if program == "picotool":
        return ["load", "-x", str(elf.with_suffix(".uf2")), "-f"]
    if program == "pyocd":
        target = board.variables["PYOCD_TARGET"]
        return ["load", "--target", target, str(elf.with_suffix(".hex"))]
    chip, at = (_needed(board, name) for name in ("ESPTOOL_CHIP", "ESPTOOL_AT"))
    options = shlex.split(board.variables.get("ESPTOOL_OPTIONS", ""))
    where = ["--port", str(port)] if port is not None else []
    image = str(elf.with_suffix(".bin"))
    return ["--chip", chip, *where, *options, "write-flash", at, image]


def _needed(board: Board, name: str) -> str:
    if name not in board.variables:
        raise ConfigError("HT104", f"{name} of {board.name}", "is missing", "set it in board.mk")
    return board.variables[name]


def _copy(elf: Path, drive: Path) -> Upload:
    """Copy what the board's boot loader takes; INFO_UF2.TXT or DETAILS.TXT tells such a drive."""
    image = elf.with_suffix(".uf2")
    if not image.is_file():
        image = elf.with_suffix(".hex")
    if not any((drive / name).is_file() for name in ("INFO_UF2.TXT", "DETAILS.TXT")):
        raise DeviceError(
            "HT624", str(drive), "is not the drive of a board that waits for firmware",
            "it has a file INFO_UF2.TXT or DETAILS.TXT",
        )  # fmt: skip
    shutil.copyfile(image, drive / image.name)
    return Upload(str(drive))
