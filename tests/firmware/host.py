"""A host's end of the serial protocol, as small as tests need it: one request at a time."""

from __future__ import annotations

import os
import socket
import struct
import time
import zlib
from dataclasses import dataclass, field

from hardtack_agent.serial_body import read_words
from hardtack_agent.serial_link import REPLY, Frame, FrameReader, Reason, Type, encode_frame
from hardtack_agent.serial_messages import (
    Check,
    Erase,
    Finish,
    Golden,
    GoldenReply,
    Hello,
    HelloReply,
    Input,
    Output,
    Run,
    RunReply,
    StatusReply,
    Write,
    bundle_id,
)


class RefusedError(Exception):
    """A device said no."""

    def __init__(self, reason: int, body: bytes) -> None:
        self.reason = Reason(reason)
        self.detail = int.from_bytes(body[:4], "little")
        super().__init__(f"{self.reason.name}, detail {self.detail}")


@dataclass
class Host:
    """Asks a device on a socket.

    Attributes:
        piece: Most bytes of a WRITE; short frames live longer on a bad line.
        resends: Requests that had to be sent again.
        boots: HELLO replies that came unasked.
    """

    line: socket.socket
    timeout_s: float = 5.0
    piece: int = 1 << 16
    resends: int = 0
    boots: int = 0
    chunks_written: int = 0
    reader: FrameReader = field(default_factory=FrameReader)
    _sequence: int = 0
    _run: int = 0
    _about: HelloReply | None = None

    def ask(self, kind: Type, body: bytes = b"", tries: int = 200) -> bytes:
        """Send a request until it is answered; return the reply's body or raise RefusedError."""
        self._sequence = self._sequence % 65535 + 1
        frame = encode_frame(Frame(kind, self._sequence, body))
        for _ in range(tries):
            self.line.sendall(frame)
            reply = self._await(kind | REPLY, self._sequence, time.monotonic() + self.timeout_s)
            if reply is not None:
                if reply.status:
                    raise RefusedError(reply.status, reply.body)
                return reply.body
            self.resends += 1
        raise TimeoutError(f"no answer to {kind.name}")

    def await_boot(self, before: int, timeout_s: float = 60.0) -> None:
        """Wait until the device was reset since `boots` was `before`."""
        end = time.monotonic() + timeout_s
        while self.boots == before and time.monotonic() < end:
            if self._await(0, -1, time.monotonic() + self.timeout_s) is not None:
                return
            about = HelloReply.decode(self.ask(Type.HELLO, Hello(1, bytes(16)).encode()))
            if about.boot_id == bytes(16):  # its announcement was lost
                return

    def _await(self, kind: int, sequence: int, end: float) -> Frame | None:
        while (left := end - time.monotonic()) > 0:
            self.line.settimeout(left)
            try:
                data = self.line.recv(4096)
            except TimeoutError:
                return None
            if not data:
                raise ConnectionError("the device hung up")
            found = None
            for frame in self.reader.feed(data):
                if frame.sequence == 0 and frame.type == Type.HELLO | REPLY:
                    self.boots += 1
                    if sequence < 0:
                        found = frame
                elif (frame.type, frame.sequence) == (kind, sequence):
                    found = frame
            if found is not None:
                return found
        return None

    def listen(self) -> None:
        """Take what comes unasked."""
        self._await(0, -1, time.monotonic() + self.timeout_s)

    @property
    def about(self) -> HelloReply:
        """What the device is; asked once."""
        if self._about is None:
            self._about = self.hello()
        return self._about

    def hello(self) -> HelloReply:
        """Ask HELLO with a new boot_id."""
        about = HelloReply.decode(self.ask(Type.HELLO, Hello(1, os.urandom(16)).encode()))
        self._run = max(self._run, about.last_run)
        return about

    def status(self) -> StatusReply:
        """Ask STATUS."""
        return StatusReply.decode(self.ask(Type.STATUS))

    def free_slot(self) -> int:
        """A slot that may be written."""
        status = self.status()
        return next(s for s in (0, 1) if s not in {status.active, status.trial})

    def differing(self, slot: int, bundle: bytes) -> list[int]:
        """Chunks of the slot that do not hold the bundle's bytes."""
        size = self.about.chunk_size
        padded = bundle + b"\xff" * (-len(bundle) % size)
        wanted = [zlib.crc32(padded[at : at + size]) for at in range(0, len(padded), size)]
        most = min(self.piece, self.about.max_body) // 4
        there: list[int] = []
        while len(there) < len(wanted):
            count = min(most, len(wanted) - len(there))
            reply = self.ask(Type.CHECK, Check(slot, len(there), count).encode())
            there.extend(read_words(reply))
        return [i for i, crc in enumerate(wanted) if crc != there[i]]

    def transfer(self, slot: int, bundle: bytes, chunks: int = 1 << 30) -> None:
        """Write the chunks that differ, at most `chunks` of them, until none does."""
        size, unit = self.about.chunk_size, self.about.write_unit
        piece = min(self.piece, self.about.max_body - 8) // unit * unit
        while differing := self.differing(slot, bundle):
            for index in differing:
                if chunks == 0:
                    return
                chunks -= 1
                self.ask(Type.ERASE, Erase(slot, index).encode())
                data = bundle[index * size : (index + 1) * size]
                data += b"\xff" * (-len(data) % unit)
                for at in range(0, len(data), piece):
                    part = data[at : at + piece]
                    self.ask(Type.WRITE, Write(slot, index * size + at, part).encode())
                self.chunks_written += 1

    def finish(self, slot: int, bundle: bytes, *, again: bool = False) -> int:
        """Ask FINISH; return 1 when the bundle was active already."""
        body = Finish(slot, int(again), bundle_id(bundle)).encode()
        return self.ask(Type.FINISH, body)[0]

    def install(self, bundle: bytes) -> StatusReply:
        """Write, try, and return how it went."""
        slot = self.free_slot()
        self.transfer(slot, bundle)
        before = self.boots
        if self.finish(slot, bundle) == 0:
            self.await_boot(before)
        return self.status()

    def golden(self) -> int:
        """Replay all golden vectors; return how many."""
        reply = GoldenReply.decode(self.ask(Type.GOLDEN, Golden(0).encode()))
        for index in range(1, reply.count):
            self.ask(Type.GOLDEN, Golden(index).encode())
        return reply.count

    def run(self, codes: bytes, label: int = 0xFFFF) -> bytes:
        """Run on input codes; return the output codes."""
        self._run += 1
        piece = self.about.max_body - 8
        for at in range(0, len(codes), piece):
            part = codes[at : at + piece]
            self.ask(Type.INPUT, Input(self._run, at, part).encode())
        done = RunReply.decode(self.ask(Type.RUN, Run(self._run, label).encode()))
        out = b""
        while len(out) < done.output_size:
            body = Output(self._run, len(out), self.about.max_body).encode()
            out += self.ask(Type.OUTPUT, body)
        return out


def u32(*values: int) -> bytes:
    """Little-endian words."""
    return struct.pack(f"<{len(values)}I", *values)
