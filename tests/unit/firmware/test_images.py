"""Images for programmers, and how a firmware gets onto a board."""

from __future__ import annotations

import struct
from pathlib import Path

import bincopy
import pytest

from hardtack_firmware.boards import boards, find_board, make_variables, read_size
from hardtack_firmware.images import FAMILIES, uf2
from hardtack_firmware.upload import upload
from hardtack_runtime.errors import ConfigError, DeviceError


def read_uf2(data: bytes) -> dict[int, int]:
    """Read UF2 by its specification: address of every byte told."""
    found: dict[int, int] = {}
    blocks = [data[at : at + 512] for at in range(0, len(data), 512)]
    for number, block in enumerate(blocks):
        first, second, flags, address, size, index, count, family = struct.unpack_from("<8I", block)
        assert (first, second, block[508:]) == (0x0A324655, 0x9E5D5157, b"\x30\x6f\xb1\x0a")
        assert (flags, index, count, len(block)) == (0x2000, number, len(blocks), 512)
        assert family == FAMILIES["RP2040"]
        assert (size, address % 256) == (256, 0)
        found.update(enumerate(block[32 : 32 + size], address))
    return found


def test_uf2_tells_every_byte_where_it_belongs_and_fills_pages_with_zeros() -> None:
    segments = [(0x10000000, bytes(range(256))), (0x10000110, b"abc"), (0x10001FFF, b"xy")]
    found = read_uf2(uf2(segments, FAMILIES["RP2040"]))
    for address, data in segments:
        assert bytes(found[address + i] for i in range(len(data))) == data
    assert len(found) == 4 * 256
    assert found[0x10000113] == 0


@pytest.mark.parametrize(
    ("text", "size"),
    [("0x400", 1024), ("16K", 16384), ("4M", 4 << 20), ("77", 77), ("0x10K", 16384), ("8u", 8)],
)
def test_sizes_are_read_as_linkers_write_them(text: str, size: int) -> None:
    assert read_size(text) == size


def test_the_first_line_that_sets_a_variable_counts() -> None:
    assert make_variables("A = 0x10 # sixteen\nB := #\n") == {"A": "0x10", "B": ""}
    assert make_variables("A := 1\nB ?= x y \nA = 2\n#C := 3\n") == {"A": "1", "B": "x y"}


@pytest.mark.parametrize("name", boards())
def test_a_board_s_memory_map_holds_together(name: str) -> None:
    board = boards()[name]
    if not board.flash:
        return
    at = {key: read_size(board.variables[key]) for key in ("CODE_AT", "SLOTS_AT", "SLOTS_SIZE")}
    assert at["SLOTS_AT"] >= at["CODE_AT"] + board.flash or "virt" not in name
    assert 2 * board.slot <= at["SLOTS_SIZE"]
    assert board.pool % 16 == 0
    assert board.pool + read_size(board.variables["STACK_SIZE"]) < board.ram
    assert board.variables.get("UF2_FAMILY", "RP2040") in FAMILIES


@pytest.fixture
def elf(tmp_path: Path) -> Path:
    path = tmp_path / "firmware.elf"
    image = bincopy.BinFile()
    image.add_binary(b"bytes", address=0x100)
    path.with_suffix(".hex").write_text(image.as_ihex())
    path.with_suffix(".uf2").write_bytes(uf2([(0x10000000, b"bytes")], FAMILIES["RP2040"]))
    return path


def test_a_board_that_is_a_drive_gets_a_file(elf: Path, tmp_path: Path) -> None:
    drive = tmp_path / "RPI-RP2"
    drive.mkdir()
    with pytest.raises(DeviceError, match="INFO_UF2") as refused:
        upload(find_board("rp2040"), elf, drive)
    assert refused.value.code == "HT624"
    (drive / "INFO_UF2.TXT").write_text("UF2 Bootloader")
    upload(find_board("rp2040"), elf, drive)
    assert (drive / "firmware.uf2").read_bytes() == elf.with_suffix(".uf2").read_bytes()


def program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_a_programmer_is_run_with_the_image(
    elf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="pip install pyocd") as refused:
        upload(find_board("stm32f4"), elf)
    assert refused.value.code == "HT105"
    program(tmp_path, "pyocd", f'echo "$@" > {tmp_path}/words')
    assert upload(find_board("stm32f4"), elf).by == "pyocd"
    words = (tmp_path / "words").read_text().split()
    assert words == ["load", "--target", "stm32f405rg", str(elf.with_suffix(".hex"))]
    program(tmp_path, "picotool", "echo connecting; echo no device in BOOTSEL mode >&2; exit 7")
    with pytest.raises(DeviceError, match="no device in BOOTSEL mode") as failed:
        upload(find_board("rp2040"), elf)
    assert failed.value.code == "HT624"


def test_what_is_run_and_not_loaded_says_so(elf: Path) -> None:
    with pytest.raises(ConfigError, match="is run, not loaded") as refused:
        upload(find_board("posix"), elf)
    assert refused.value.code == "HT104"
