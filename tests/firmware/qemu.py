"""QEMU machines with our firmware: they are started, killed and started again on one flash."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.firmware.build import firmware
from tests.firmware.host import Host


@dataclass(frozen=True)
class Board:
    """A machine of QEMU.

    Attributes:
        name: Folder of its port.
        system: QEMU's program.
        machine: Its -M, with {memory} where a file-backed memory goes in.
        memory_size: Of that file; 0 when the machine has flash of its own, lost when it stops.
        compiler: Of the firmware.
        flags: More, for what QEMU has not.
    """

    name: str
    system: str
    machine: str
    memory_size: str
    hardware: str
    compiler: str = "arm-none-eabi-gcc"
    flags: str = ""


BOARDS = {
    board.name: board
    for board in (
        Board("mps2-an385", "arm", "mps2-an385,memory-backend=flash", "16M", "cortex-m3"),
        Board("mps2-an386", "arm", "mps2-an386,memory-backend=flash", "16M", "cortex-m4"),
        Board("mps3-an547", "arm", "mps3-an547,memory-backend=flash", "2G", "cortex-m55"),
        Board("microbit", "arm", "microbit", "", "cortex-m0"),
        Board(
            "riscv32-virt", "riscv32", "virt,memory-backend=flash", "32M", "riscv32",
            "riscv64-unknown-elf-gcc",
        ),
    )
}  # fmt: skip
STM32F4 = Board(
    "stm32f4", "arm", "netduinoplus2", "", "cortex-m4", flags="-DHT_CHIP_ID_AT=0x08000000u"
)
"""QEMU has its processor, UART and timer; no chip id, and no flash controller, so that nothing can
be installed."""


class Machine:
    """A QEMU process whose UART is a TCP socket."""

    def __init__(
        self,
        board: Board,
        folder: Path,
        app: Path | None = None,
        operators: Path | None = None,
        image: Path | None = None,
    ) -> None:
        self.board = board
        self.port = 0
        self._memory = folder / "flash.bin"
        self._program = shutil.which(f"qemu-system-{board.system}")
        if self._program is None:
            pytest.skip(f"no qemu-system-{board.system}: {board.name} runs on it")
        self.image = image or firmware(
            board.name, board.compiler, board.flags, app=app, operators=operators
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> Host:
        """Start it and connect; the flash is that of the last start."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = self.port = probe.getsockname()[1]
        memory: list[str] = []
        if self.board.memory_size:
            memory = [
                "-object",
                f"memory-backend-file,id=flash,size={self.board.memory_size},"
                f"mem-path={self._memory},share=on",
            ]
        bios = ["-bios", "none"] if self.board.system == "riscv32" else []
        self._process = subprocess.Popen(
            [
                *(str(self._program), "-M", self.board.machine, *memory, *bios, *more),
                *("-kernel", str(self.image), "-display", "none", "-monitor", "none"),
                *("-serial", f"tcp:127.0.0.1:{port},server=on,wait=on,nodelay=on"),
            ],
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + 20
        while time.monotonic() < end:
            with contextlib.suppress(ConnectionRefusedError):
                line = socket.create_connection(("127.0.0.1", port))
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return Host(line, timeout_s=20.0)
            time.sleep(0.02)
        raise TimeoutError(f"{self.board.name} does not open its serial line")

    def kill(self) -> None:
        """Cut its power."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
