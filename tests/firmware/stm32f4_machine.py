"""An STM32F405 in the Unicorn CPU emulator: processor and memory are its, what the port touches of
the peripherals is below, as the reference manual (RM0090, sections 3.5, 3.6, 7 and 30) has it.

QEMU's STM32F405 has no flash controller. This one is stricter than the chip: a sequence that the
manual forbids ends the run.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

from bincopy import BinFile

from hardtack_firmware.images import read_segments

FLASH, FLASH_SIZE = 0x08000000, 1 << 20
RAM, RAM_SIZE = 0x20000000, 128 << 10
SECTORS = [16, 16, 16, 16, 64, *[128] * 7]  # KB
CHIP_ID = bytes(range(0x30, 0x3C))
KEYS = (0x45670123, 0xCDEF89AB)
LOCK, START = 1 << 31, 1 << 16
STEPS = 200_000
INSTRUCTIONS_PER_US = 100
STEPS_PER_BYTE = 1000  # of the line; a read of the timer is 1 us too, so 50 ms are some 400 bytes
UART_IRQ = 37
RETURN_AT = 0x1FFF7F00  # where an interrupt's handler returns to
FRAME_SIZE = 104  # what the processor pushes, with its floating-point registers


class BreachError(Exception):
    """The firmware did what the manual forbids."""


class Stm32F4:
    """The chip with a firmware; its serial line looks like a socket to tests.firmware.host.Host."""

    def __init__(self, elf: Path) -> None:
        import unicorn
        from unicorn import arm_const

        self._const = arm_const
        self._error = unicorn.UcError
        self._uc: Any = unicorn.Uc(
            unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS
        )
        for at, size in ((FLASH, FLASH_SIZE), (RAM, RAM_SIZE), (0x1FFF7000, 0x1000)):
            self._uc.mem_map(at, size)
        self._uc.mem_write(FLASH, b"\xff" * FLASH_SIZE)
        for address, data in read_segments(elf):
            self._uc.mem_write(address, data)
        self._uc.mem_write(0x1FFF7A10, CHIP_ID)
        for base, read, write in (
            (0x40000000, self._read_timer, self._ignore),
            (0x40011000, self._read_uart, self._write_uart),
            (0x40020000, self._read_plain, self._ignore),
            (0x40023000, self._read_clock, self._write_clock),
            (0xE000E000, self._read_system, self._write_system),
        ):
            self._uc.mmio_map(base, 0x1000, read, None, write, None)
        self._uc.hook_add(
            unicorn.UC_HOOK_MEM_WRITE, self._store, begin=FLASH, end=FLASH + FLASH_SIZE - 1
        )
        self._to_chip: deque[int] = deque()
        self._from_chip = bytearray()
        self._time = 0
        self._breach = ""
        self._keys: list[int] = []
        self._control = LOCK
        self._resets = False
        self._clock: dict[int, int] = {}
        self._uart = self._nvic = 0
        self._received: int | None = None
        self._overrun = False
        self.erased: list[int] = []
        self._reset()

    def load(self, image: Path) -> None:
        """Write an Intel hex file as a programmer does, which erases what it touches, and reset."""
        segments = [(s.address, bytes(s.data)) for s in BinFile(str(image)).segments]
        for number, size in enumerate(SECTORS):
            at = FLASH + 1024 * sum(SECTORS[:number])
            if any(a < at + 1024 * size and at < a + len(data) for a, data in segments):
                self._uc.mem_write(at, b"\xff" * (1024 * size))
        for address, data in segments:
            self._uc.mem_write(address, data)
        self._uc.ctl_flush_tb()  # of the code that lay there
        self._reset()

    # -- as a socket
    def sendall(self, data: bytes) -> None:
        """Put bytes on the line, which takes its time; what the chip does not read it loses."""
        self._to_chip.extend(data)

    def settimeout(self, seconds: float) -> None:
        """Time is instructions here."""

    def recv(self, size: int) -> bytes:
        """Run until the chip has sent something."""
        for _ in range(3000):
            if self._from_chip:
                data, self._from_chip = bytes(self._from_chip[:size]), self._from_chip[size:]
                return data
            self._run()
        raise TimeoutError

    def _run(self) -> None:
        steps = STEPS_PER_BYTE if self._to_chip else STEPS
        self._go(self._uc.reg_read(self._const.UC_ARM_REG_PC), 0, steps)
        self._time += steps // INSTRUCTIONS_PER_US
        if self._resets:
            self._resets = False
            self._reset()
        elif self._to_chip:
            self._arrive(self._to_chip.popleft())

    def _go(self, pc: int, until: int, steps: int) -> None:
        try:
            self._uc.emu_start(pc | 1, until, count=steps)
        except self._error as error:
            at = self._uc.reg_read(self._const.UC_ARM_REG_PC)
            raise BreachError(f"{self._breach or error}, pc {at:#x}") from error
        if self._breach:
            raise BreachError(self._breach)

    def _arrive(self, byte: int) -> None:
        """A byte is there: where the one before was not read it is lost (RM0090, 30.3.3)."""
        if self._uart & 0x2004 != 0x2004:  # off
            return
        self._overrun |= self._received is not None
        if self._received is None:
            self._received = byte
        enabled = self._uart & 1 << 5 and self._nvic & 1 << UART_IRQ % 32
        if enabled and not self._uc.reg_read(self._const.UC_ARM_REG_PRIMASK):
            self._interrupt()

    def _interrupt(self) -> None:
        """Run the handler on the stack in use; the processor keeps what it interrupts."""
        const, kept = self._const, self._uc.context_save()
        entry = self._uc.mem_read(FLASH + 4 * (16 + UART_IRQ), 4)
        stack = self._uc.reg_read(const.UC_ARM_REG_SP) - FRAME_SIZE & ~7
        self._uc.mem_write(stack, b"\xa5" * FRAME_SIZE)
        self._uc.reg_write(const.UC_ARM_REG_SP, stack)
        self._uc.reg_write(const.UC_ARM_REG_LR, RETURN_AT | 1)
        self._uc.reg_write(const.UC_ARM_REG_ITSTATE, 0)
        self._go(int.from_bytes(entry, "little"), RETURN_AT, 1000)
        if self._uc.reg_read(const.UC_ARM_REG_PC) != RETURN_AT:
            raise BreachError("the handler does not return")
        self._uc.context_restore(kept)

    def _reset(self) -> None:
        """The vectors are read through address 0, which is flash after a reset."""
        stack, start = (int.from_bytes(self._uc.mem_read(FLASH + at, 4), "little") for at in (0, 4))
        self._control, self._keys = LOCK, []
        self._clock.clear()
        self._uart = self._nvic = 0
        self._received, self._overrun = None, False
        self._uc.reg_write(self._const.UC_ARM_REG_SP, stack)
        self._uc.reg_write(self._const.UC_ARM_REG_PC, start)

    def _stop(self, why: str) -> None:
        self._breach = self._breach or why
        self._uc.emu_stop()

    # -- flash
    def _store(self, uc: Any, _: int, address: int, size: int, value: int, __: Any) -> None:
        old = int.from_bytes(uc.mem_read(address, size), "little")
        if self._control & ~0x300 != 1 or self._control >> 8 & 3 != 2 or size != 4:
            self._stop(f"a store of {size} bytes to flash, FLASH_CR {self._control:#x}")
        elif old & value & 0xFFFFFFFF != value & 0xFFFFFFFF:
            self._stop(f"flash at {address:#x} is not erased")

    def _write_control(self, value: int) -> None:
        if self._control & LOCK:
            self._stop("FLASH_CR written while it is locked")
        self._control = value
        if value & START:
            sector = value >> 3 & 15
            if not value & 2 or sector >= len(SECTORS):
                self._stop(f"erases with FLASH_CR {value:#x}")
                return
            self.erased.append(sector)
            at = FLASH + 1024 * sum(SECTORS[:sector])
            self._uc.mem_write(at, b"\xff" * (1024 * SECTORS[sector]))
            self._control &= ~START

    def _read_clock(self, _: Any, offset: int, size: int, __: Any) -> int:
        if offset == 0x800:  # the PLL locks at once
            on = self._clock.get(offset, 0)
            return on | (on >> 24 & 1) << 25
        if offset == 0x808:
            return self._clock.get(offset, 0) | (self._clock.get(offset, 0) & 3) << 2
        if offset == 0xC10:
            return self._control
        return 0 if offset == 0xC0C else self._clock.get(offset, 0)

    def _write_clock(self, _: Any, offset: int, size: int, value: int, __: Any) -> None:
        if offset == 0xC04:
            self._keys = [*self._keys, value][-2:]
            if tuple(self._keys) == KEYS:
                self._control &= ~LOCK
        elif offset == 0xC10:
            self._write_control(value)
        else:
            self._clock[offset] = value

    # -- the rest
    def _read_uart(self, _: Any, offset: int, size: int, __: Any) -> int:
        if offset == 0:
            return 1 << 7 | (self._received is not None) << 5 | self._overrun << 3
        if offset != 4:
            return 0
        byte, self._received, self._overrun = self._received or 0, None, False
        return byte

    def _write_uart(self, _: Any, offset: int, size: int, value: int, __: Any) -> None:
        if offset == 4:
            self._from_chip.append(value & 0xFF)
        elif offset == 8 and value != 729:  # 84 MHz / 115200
            self._stop(f"USART_BRR {value}")
        elif offset == 12:
            self._uart = value

    def _read_timer(self, _: Any, offset: int, size: int, __: Any) -> int:
        self._time += 1
        return self._time & 0xFFFFFFFF if offset == 0x24 else 0

    def _read_plain(self, _: Any, offset: int, size: int, __: Any) -> int:
        return 0

    def _read_system(self, _: Any, offset: int, size: int, __: Any) -> int:
        return 0

    def _write_system(self, _: Any, offset: int, size: int, value: int, __: Any) -> None:
        if offset == 0x100 + UART_IRQ // 32 * 4:
            self._nvic |= value
        elif offset == 0xD0C and value == 0x05FA0004:
            self._resets = True
            self._uc.emu_stop()

    def _ignore(self, _: Any, offset: int, size: int, value: int, __: Any) -> None:
        pass
