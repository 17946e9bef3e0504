"""Images for programmers: .bin, Intel .hex and .uf2, from an ELF file.

UF2: blocks of 512 bytes, each with its address, so that a board which shows up as a drive takes
them in any order. Source: microsoft/uf2, README.md and utils/uf2families.json.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bincopy import BinFile

FAMILIES = {
    "RP2040": 0xE48BFF56,
    "STM32F4": 0x57755A57,
    "NRF52": 0x1B57745F,
    "NRF52840": 0xADA52840,
}
"""UF2 family ids by name, as board.mk names them in UF2_FAMILY."""

LARGEST_BIN = 16 << 20
"""Bytes; no microcontroller's own flash is larger."""

_START, _SECOND, _END = 0x0A324655, 0x9E5D5157, 0x0AB16F30
_HAS_FAMILY = 0x00002000
_PAYLOAD = 256

Segments = list[tuple[int, bytes]]


def read_segments(elf: Path) -> Segments:
    """Return what an ELF file puts where: (physical address, bytes), by address."""
    from elftools.elf.elffile import ELFFile

    with elf.open("rb") as file:
        loaded = [
            (int(segment["p_paddr"]), bytes(segment.data()))
            for segment in ELFFile(file).iter_segments("PT_LOAD")
            if segment["p_filesz"]
        ]
    return sorted(loaded)


def uf2(segments: Segments, family: int) -> bytes:
    """Return a UF2 file. Blocks begin at multiples of 256; what no segment covers is 0."""
    pages: dict[int, bytearray] = {}
    for address, data in segments:
        for i, byte in enumerate(data, address):
            page = pages.setdefault(i - i % _PAYLOAD, bytearray(_PAYLOAD))
            page[i % _PAYLOAD] = byte
    blocks = []
    for number, (address, page) in enumerate(sorted(pages.items())):
        head = struct.pack(
            "<8I", _START, _SECOND, _HAS_FAMILY, address, _PAYLOAD, number, len(pages), family
        )
        blocks.append(head + page + bytes(476 - _PAYLOAD) + struct.pack("<I", _END))
    return b"".join(blocks)


@dataclass(frozen=True, slots=True)
class Images:
    """What was written.

    Attributes:
        paths: The files.
        bin_is_whole: False: firmware.bin holds the firmware alone, as what was to be loaded besides
            lies too far away for a file that has every byte between.
    """

    paths: tuple[Path, ...]
    bin_is_whole: bool


def write_images(elf: Path, family: str | None, more: Segments) -> Images:
    """Write firmware.bin, firmware.hex and, for a UF2 family, firmware.uf2.

    Args:
        elf: The firmware; the images go beside it.
        family: One of FAMILIES.
        more: What is to be loaded besides.
    """
    firmware = read_segments(elf)
    segments = sorted([*firmware, *more])
    bin_is_whole = _span(segments) <= LARGEST_BIN
    flat = _binfile(segments if bin_is_whole else firmware).as_binary(padding=b"\xff")
    contents = {".bin": bytes(flat), ".hex": _binfile(segments).as_ihex().encode()}
    if family is not None:
        contents[".uf2"] = uf2(segments, FAMILIES[family])
    written = []
    for suffix, data in contents.items():
        path = elf.with_suffix(suffix)
        path.write_bytes(data)
        written.append(path)
    return Images(tuple(written), bin_is_whole)


def _span(segments: Segments) -> int:
    return max(at + len(data) for at, data in segments) - min(at for at, _ in segments)


def _binfile(segments: Segments) -> BinFile:
    from bincopy import BinFile

    image = BinFile()
    for address, data in segments:
        image.add_binary(data, address=address)
    return image
