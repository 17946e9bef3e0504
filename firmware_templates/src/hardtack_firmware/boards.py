"""The boards there is a port for; what is known of one stands in its board.mk."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from hardtack_runtime.errors import ConfigError

_PLACES = {"SLOTS_AT", "SLOTS_SIZE", "JOURNAL_AT", "JOURNAL_SIZE"}
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20}


@dataclass(frozen=True, slots=True)
class Board:
    """A port.

    Attributes:
        name: Folder in `ports`.
        hardware: Class of device that bundles name.
        tested: How the port is tested, in words.
        flash: Bytes there are for the firmware; 0 when it is a process.
        slot: Bytes of each of the two model slots.
        ram: Bytes of memory; 0 when it is a process.
        pool: Bytes of it for a model (arena and unpacked weights), unless a project says other.
        unpacked: Bytes of flash for unpacked weights, the same.
        variables: All variables of board.mk as they stand there.
    """

    name: str
    title: str
    processor: str
    hardware: str
    tested: str
    flash: int
    slot: int
    ram: int
    pool: int
    unpacked: int
    variables: dict[str, str]

    @property
    def compiler(self) -> str:
        """Name of its GCC."""
        default = "arm-none-eabi-" if "CPU" in self.variables else ""
        return self.variables.get("CROSS", default) + ("gcc" if self.flash else "cc")

    @property
    def journal(self) -> tuple[int, int] | None:
        """Where both units of its journal begin, and their bytes; None when board.mk has neither.

        Unless JOURNAL_AT and JOURNAL_SIZE say other, it is the rest of SLOTS_SIZE.
        """
        size = {name: read_size(text) for name, text in self.variables.items() if name in _PLACES}
        if not size.keys() >= {"SLOTS_AT", "SLOTS_SIZE"}:
            return None
        at = size.get("JOURNAL_AT", size["SLOTS_AT"] + 2 * self.slot)
        length = size.get("JOURNAL_SIZE", size["SLOTS_SIZE"] - 2 * self.slot)
        return (at, length) if length > 0 else None


def templates_dir() -> Path:
    """Return the folder of the C source: `core`, `ports`, `app`, `Makefile`."""
    return Path(__file__).parent / "templates"


def make_variables(text: str) -> dict[str, str]:
    """Return the variables that a makefile sets, unexpanded; the first line of each counts."""
    found: dict[str, str] = {}
    line = r"^(\w+)[ \t]*[:?]?=[ \t]*([^#\n]*?)[ \t]*(?:#.*)?$"
    for match in re.finditer(line, text, re.MULTILINE):
        found.setdefault(match[1], match[2])
    return found


def read_size(text: str) -> int:
    """Return a size as makefiles, linkers and C write it: 0x400, 1024, 1K, 1024u.

    Raises:
        ValueError: it is none.
    """
    match = re.fullmatch(r"(0[xX][0-9a-fA-F]+|[0-9]+)([KM]?)[uUlL]*", text)
    if match is None:
        raise ValueError(f"{text!r} is no size: write 65536, 0x10000 or 64K")
    return int(match[1], 0) * _UNITS[match[2]]


def read_board(folder: Path) -> Board:
    """Read a port's board.mk."""
    known = make_variables((folder / "board.mk").read_text(encoding="utf-8"))
    return Board(
        folder.name, known["TITLE"], known["PROCESSOR"], known["HARDWARE"], known["TESTED"],
        read_size(known.get("CODE_SIZE", "0")), read_size(known["SLOT_SIZE"]),
        read_size(known.get("RAM_SIZE", "0")), read_size(known["POOL_SIZE_DEFAULT"]),
        read_size(known.get("UNPACKED_SIZE", "0")), known,
    )  # fmt: skip


def boards() -> dict[str, Board]:
    """Return every board by name."""
    found = sorted((templates_dir() / "ports").glob("*/board.mk"))
    return {path.parent.name: read_board(path.parent) for path in found}


def find_board(name: str) -> Board:
    """Return a board.

    Raises:
        ConfigError: HT104, there is none of this name.
    """
    known = boards()
    if name not in known:
        close = difflib.get_close_matches(name, known, 1, 0.4)
        todo = f"did you mean {close[0]!r}? " if close else ""
        raise ConfigError(
            "HT104", "BOARD", f"there is no board {name!r}", f"{todo}`hardtack firmware list`"
        )
    return known[name]
