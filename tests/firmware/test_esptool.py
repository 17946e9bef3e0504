"""`hardtack build` with a board that esptool loads: the real program, a stand-in for the ROM."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.end_to_end.command import CommandLine
from tests.firmware.build import monocypher
from tests.firmware.esp_rom import EspRom

AT = 0x1000
OPTIONS = "--no-stub --before no-reset --after no-reset"


@pytest.fixture
def shell(shell: CommandLine) -> CommandLine:
    """Return a shell whose project `fw` has a port of its own, made from that of riscv32-virt."""
    if shutil.which("riscv64-unknown-elf-gcc") is None:
        pytest.skip("no riscv64-unknown-elf-gcc")
    shell.works("firmware", "new", "riscv32-virt", "fw", "--monocypher", str(monocypher()))
    return shell


def set_programmer(shell: CommandLine, *lines: str) -> None:
    path = shell.here / "fw" / "ports" / "riscv32-virt" / "board.mk"
    path.write_text("\n".join((*lines, path.read_text())))


def test_esptool_writes_the_image_where_board_mk_says(shell: CommandLine) -> None:
    set_programmer(
        shell, "UPLOAD := esptool", "ESPTOOL_CHIP := esp32c3", f"ESPTOOL_AT := {AT:#x}",
        f"ESPTOOL_OPTIONS := {OPTIONS}",
    )  # fmt: skip
    with EspRom() as rom:
        said = shell.works("build", "fw", "--upload-to", rom.path)
        image = (shell.here / "fw/build/riscv32-virt/firmware.bin").read_bytes()
        assert len(image) > 10_000
        assert rom.flash[AT : AT + len(image)] == image
    assert "esptool" in said.out


def test_esptool_that_finds_no_chip_says_why(shell: CommandLine, tmp_path: Path) -> None:
    set_programmer(shell, "UPLOAD := esptool", "ESPTOOL_CHIP := esp32c3", f"ESPTOOL_AT := {AT:#x}")
    said = shell.run("build", "fw", "--upload-to", str(tmp_path / "none")).refused("HT624", 5)
    assert "could not open" in said.lower()


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        pytest.param(("UPLOAD := esptool",), "ESPTOOL_CHIP", id="no chip"),
        pytest.param(("UPLOAD := avrdude",), "no programmer known here", id="programmer"),
    ],
)
def test_a_board_mk_that_says_too_little_is_refused(
    shell: CommandLine, lines: tuple[str, ...], what: str
) -> None:
    set_programmer(shell, *lines)
    assert what in shell.run("build", "fw", "--upload").refused("HT104", 2)
