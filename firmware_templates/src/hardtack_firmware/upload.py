"""Loads a firmware onto a board: by its programmer, or by copying to the drive that it shows."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from hardtack_firmware.boards import Board
from hardtack_runtime.errors import ConfigError, DeviceError

_INSTALL = {
    "picotool": "install picotool, or hold BOOTSEL while plugging the board in and give its drive:"
    " --upload-to FOLDER",
    "pyocd": "pip install pyocd, or copy firmware.hex to the board's drive: --upload-to FOLDER",
}


@dataclass(frozen=True, slots=True)
class Upload:
    """How a firmware got onto a board: the program that was run, or the drive."""

    by: str


def upload(board: Board, elf: Path, drive: Path | None = None) -> Upload:
    """Load a firmware.

    Args:
        board: Its UPLOAD variable names the program.
        elf: The firmware, its images beside it.
        drive: The board's mass storage, if that is the way.

    Raises:
        ConfigError: HT104 nothing loads this board, HT105 the program is not installed.
        DeviceError: HT624, the program failed or the drive is none of a board.
    """
    if drive is not None:
        return _copy(board, elf, drive)
    program = board.variables.get("UPLOAD", "")
    if not program:
        raise ConfigError(
            "HT104", "--upload", f"{board.name} is run, not loaded", f"the firmware is {elf}"
        )
    if shutil.which(program) is None:
        raise ConfigError("HT105", program, "is not installed", _INSTALL[program])
    ran = subprocess.run(_command(program, board, elf), capture_output=True, text=True, check=False)
    if ran.returncode:
        lines = (ran.stderr.strip() or ran.stdout.strip()).splitlines() or ["it did not say why"]
        raise DeviceError("HT624", program, lines[-1], "is the board plugged in and ready for it?")
    return Upload(program)


def _command(program: str, board: Board, elf: Path) -> list[str]:
    if program == "picotool":
        return ["picotool", "load", "-x", str(elf.with_suffix(".uf2")), "-f"]
    target = board.variables["PYOCD_TARGET"]
    return ["pyocd", "load", "--target", target, str(elf.with_suffix(".hex"))]


def _copy(board: Board, elf: Path, drive: Path) -> Upload:
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
