"""The boot ROM of an ESP32-C3 at the end of a pseudo terminal: what esptool asks of it.

Commands and answers: https://docs.espressif.com/projects/esptool, "Serial Protocol".
"""

from __future__ import annotations

import hashlib
import os
import pty
import struct
import threading
import tty

END, ESCAPE = 0xC0, 0xDB
ESCAPED = {0xDC: END, 0xDD: ESCAPE}
FLASH_BEGIN, FLASH_DATA, SYNC, FLASH_MD5, SECURITY_INFO = 0x02, 0x03, 0x08, 0x13, 0x14
CHIP_ID = 5
BLOCK = 0x400


class EspRom(threading.Thread):
    """Answers until it is closed.

    Attributes:
        path: Of the terminal.
        flash: 256 KB, erased at first.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._master, self._slave = pty.openpty()
        tty.setraw(self._master)
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        self.flash = bytearray(b"\xff" * (256 << 10))
        self._at = 0

    def __enter__(self) -> EspRom:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._slave)  # the reader's next read fails
        self.join(10)
        os.close(self._master)

    def run(self) -> None:
        """Take packets apart (SLIP, RFC 1055) and answer them."""
        packet = bytearray()
        escaped = False
        while data := self._read():
            for byte in data:
                if byte == END:
                    if packet:
                        self._answer(bytes(packet))
                    packet.clear()
                elif byte == ESCAPE:
                    escaped = True
                else:
                    packet.append(ESCAPED[byte] if escaped else byte)
                    escaped = False

    def _read(self) -> bytes:
        try:
            return os.read(self._master, 4096)
        except OSError:
            return b""

    def _answer(self, packet: bytes) -> None:
        command = packet[1]
        told = self._execute(command, packet[8:])
        plain = struct.pack("<BBHI", 1, command, len(told) + 4, 0) + told + bytes(4)
        sent = plain.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc")
        for _ in range(8 if command == SYNC else 1):
            os.write(self._master, b"\xc0" + sent + b"\xc0")

    def _execute(self, command: int, body: bytes) -> bytes:
        if command == SECURITY_INFO:
            return struct.pack("<I8BII", 0, *bytes(8), CHIP_ID, 0)
        if command == FLASH_BEGIN:
            self._at = struct.unpack_from("<4I", body)[3]
        elif command == FLASH_DATA:
            size, number = struct.unpack_from("<2I", body)
            at = self._at + number * BLOCK
            self.flash[at : at + size] = body[16 : 16 + size]
        elif command == FLASH_MD5:
            at, size = struct.unpack_from("<2I", body)
            return hashlib.md5(self.flash[at : at + size]).hexdigest().encode()
        return b""
