"""The bodies of the serial protocol: what a host asks and what a device answers.

Requests have `encode`, replies `decode`; both are plain data.

Source: SPEC section 7.4.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import ClassVar

from hardtack_agent.serial_link import LinkError

NONE = 0xFF
NO_LABEL = 0xFFFF


class Message:
    """A body of fixed fields, perhaps with bytes behind them.

    Subclasses give `FORMAT` (struct, little-endian) in the order of their fields; a field named
    `data` takes the rest.
    """

    __slots__ = ()
    FORMAT: ClassVar[str]

    def encode(self) -> bytes:
        """Return the body."""
        fields = [getattr(self, name) for name in self.__dataclass_fields__]  # type: ignore[attr-defined]
        rest = fields.pop() if "data" in self.__dataclass_fields__ else b""  # type: ignore[attr-defined]
        flat: list[object] = []
        for value in fields:
            flat.extend(value) if isinstance(value, tuple) else flat.append(value)
        return struct.pack("<" + self.FORMAT, *flat) + rest


def _unpack(message: type[Message], body: bytes, *, rest: bool = False) -> tuple[list[int], bytes]:
    size = struct.calcsize("<" + message.FORMAT)
    if len(body) < size or (len(body) > size and not rest):
        raise LinkError(f"{message.__name__}: {len(body)} bytes, expected {size}")
    return list(struct.unpack_from("<" + message.FORMAT, body)), body[size:]


@dataclass(frozen=True, slots=True)
class Hello(Message):
    """Who asks. `boot_id`: 16 random bytes that name this run of the device, if it has none yet."""

    FORMAT = "B3x16s"
    version: int
    boot_id: bytes


@dataclass(frozen=True, slots=True)
class HelloReply:
    """What a device is.

    Attributes:
        window: Frames that may be under way unanswered.
        max_body: Bytes of the largest body, either way.
        boot_id: The one it goes by until its next reset; zeros before the first HELLO.
        hardware: Class of device.
        slot_size: Bytes of a slot.
        chunk_size: Bytes that are erased, and checked, at once.
        write_unit: Offsets and lengths of WRITE are multiples of it.
        pool_size: Bytes of memory for arena and unpacked weights together.
        key_ids: Of the public keys it trusts; zeros for none.
        last_run: Highest `run` it has seen.
        device_id: Of the chip; zeros when it has none.
        firmware: Name and version of the firmware.
    """

    version: int
    window: int
    max_body: int
    boot_id: bytes
    hardware: str
    slot_size: int
    chunk_size: int
    write_unit: int
    pool_size: int
    key_ids: tuple[bytes, bytes]
    last_run: int
    kernel_abi: int
    device_id: bytes
    firmware: str

    FORMAT: ClassVar[str] = "<BBH16s16s4I8s8sIHH16s"

    @classmethod
    def decode(cls, body: bytes) -> HelloReply:
        """Read a body."""
        _require(body, 92)
        f = struct.unpack_from(cls.FORMAT, body)
        return cls(
            f[0], f[1], f[2], f[3], _text(f[4]), f[5], f[6], f[7], f[8], (f[9], f[10]), f[11],
            f[12], f[14], body[92:].decode("utf-8", "replace"),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Slot:
    """What a slot holds, by its header; unverified. `id`: see `bundle_id`."""

    name: str
    version: tuple[int, int, int]
    model_id: bytes
    id: bytes
    total_size: int


@dataclass(frozen=True, slots=True)
class StatusReply:
    """How a device is.

    Attributes:
        active: Slot 0 or 1 that was confirmed last, `NONE` when there is none.
        trial: Slot on trial, or `NONE`.
        attempts: Trials begun of it.
        outcome: `Reason` of the last trial's end; OK when it was confirmed.
        detail: Operator for DIVERGED, minus the runtime's status for STRUCTURE.
        floor: Lowest version it takes.
        journal: Sequence number of the journal's newest record.
        running: Slot whose model serves, or `NONE`.
        why: `Reason` for which none serves.
        fault: It has a fault record that nobody acknowledged.
        reset_cause: 0 power or unknown, 1 asked for, 2 fault, 3 watchdog.
        uptime_ms: Since reset; wraps after 49 days.
        stack_used: Most bytes of stack in use since reset; 0 when not measured.
        stack_size: Bytes of stack.
        refused: First 8 bytes of the id of the bundle given up last.
        predictions: Runs since reset.
        slots: What lies in A and B; None where there is no header.
    """

    active: int
    trial: int
    attempts: int
    outcome: int
    detail: int
    floor: tuple[int, int, int]
    journal: int
    running: int
    why: int
    fault: bool
    reset_cause: int
    uptime_ms: int
    stack_used: int
    stack_size: int
    refused: bytes
    predictions: int
    slots: tuple[Slot | None, Slot | None]

    FORMAT: ClassVar[str] = "<4BI3II4B3I8sI"

    @classmethod
    def decode(cls, body: bytes) -> StatusReply:
        """Read a body."""
        _require(body, 52 + 2 * 100, exact=True)
        f = struct.unpack_from(cls.FORMAT, body)
        return cls(
            f[0], f[1], f[2], f[3], f[4], (f[5], f[6], f[7]), f[8], f[9], f[10], bool(f[11]),
            f[12], f[13], f[14], f[15], f[16], f[17],
            (_slot(body[52:152]), _slot(body[152:252])),
        )  # fmt: skip


def _slot(entry: bytes) -> Slot | None:
    if entry[0] == 0:
        return None
    name, major, minor, patch, model_id, its_id, size = struct.unpack("<4x32s3I16s32sI", entry)
    return Slot(_text(name), (major, minor, patch), model_id, its_id, size)


@dataclass(frozen=True, slots=True)
class Check(Message):
    """Ask for the CRC-32 of `count` chunks from `first`; the reply is one u32 each."""

    FORMAT = "BxHH"
    slot: int
    first: int
    count: int

    @staticmethod
    def decode_reply(body: bytes) -> tuple[int, ...]:
        """Read the checksums."""
        return struct.unpack(f"<{len(body) // 4}I", body)


@dataclass(frozen=True, slots=True)
class Erase(Message):
    """Erase one chunk."""

    FORMAT = "BxH"
    slot: int
    chunk: int


@dataclass(frozen=True, slots=True)
class Write(Message):
    """Program bytes; offset and length are multiples of `write_unit`."""

    FORMAT = "B3xI"
    slot: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Finish(Message):
    """Verify a slot and put it on trial. `again`: also a bundle that was refused before."""

    FORMAT = "BB2x32s"
    slot: int
    again: int
    id: bytes


@dataclass(frozen=True, slots=True)
class Read(Message):
    """Ask for bytes of a slot; the reply is those bytes."""

    FORMAT = "BxHI"
    slot: int
    length: int
    offset: int


@dataclass(frozen=True, slots=True)
class Input(Message):
    """Give input codes, all inputs one behind the other, in order; the reply is u32 taken."""

    FORMAT = "II"
    run: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Run(Message):
    """Run on the input given; `label` is the true class, or `NO_LABEL`."""

    FORMAT = "IHxx"
    run: int
    label: int = NO_LABEL


@dataclass(frozen=True, slots=True)
class RunReply(Message):
    """The run is done: its time, the class with the largest code, and the size of the outputs."""

    FORMAT = "IIIHxx"
    run: int
    latency_us: int
    output_size: int
    top: int

    @classmethod
    def decode(cls, body: bytes) -> RunReply:
        """Read a body."""
        return cls(*_unpack(cls, body)[0])


@dataclass(frozen=True, slots=True)
class Output(Message):
    """Ask for codes of the outputs, all one behind the other; the reply is those bytes."""

    FORMAT = "IIHxx"
    run: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Golden(Message):
    """Replay golden vector `index`."""

    FORMAT = "I"
    index: int


@dataclass(frozen=True, slots=True)
class GoldenReply(Message):
    """Vectors there are; the operator that differs first, when the status is DIVERGED."""

    FORMAT = "II"
    count: int
    operator: int

    @classmethod
    def decode(cls, body: bytes) -> GoldenReply:
        """Read a body."""
        return cls(*_unpack(cls, body)[0])


@dataclass(frozen=True, slots=True)
class Layers(Message):
    """Ask for the ticks of `count` operators from `first`, on zeros; the reply is LayersReply."""

    FORMAT = "HH"
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class LayersReply(Message):
    """Operators there are, ticks a second, and ticks of those asked for."""

    FORMAT = "II"
    operators: int
    ticks_per_s: int
    data: bytes

    @classmethod
    def decode(cls, body: bytes) -> LayersReply:
        """Read a body."""
        (operators, rate), rest = _unpack(cls, body, rest=True)
        return cls(operators, rate, rest)

    @property
    def ticks(self) -> tuple[int, ...]:
        """Ticks per operator."""
        return struct.unpack(f"<{len(self.data) // 4}I", self.data)


@dataclass(frozen=True, slots=True)
class Telemetry(Message):
    """Ask for a window; `acknowledged` is the last one that is safe with the server, or 0."""

    FORMAT = "I"
    acknowledged: int


@dataclass(frozen=True, slots=True)
class TelemetryReply:
    """A window; `sequence` 0 when there is nothing to tell.

    Attributes:
        first_ms: Uptime at its first event.
        last_ms: Uptime at its last.
        now_ms: Uptime at the reply, so that a host with a clock can date the others.
        latency: {bucket of section 4.3: count}.
        classes: {class: count}; the last of the device's classes counts all beyond it.
    """

    sequence: int
    predictions: int
    errors: int
    labelled: int
    correct: int
    latency_sum_us: int
    first_ms: int
    last_ms: int
    now_ms: int
    model_id: bytes
    latency: dict[int, int]
    classes: dict[int, int]

    FORMAT: ClassVar[str] = "<5IQ3I16sHH"

    @classmethod
    def decode(cls, body: bytes) -> TelemetryReply:
        """Read a body."""
        _require(body, 60)
        f = struct.unpack_from(cls.FORMAT, body)
        _require(body, 60 + 6 * (f[10] + f[11]), exact=True)
        pairs = [struct.unpack_from("<HI", body, at) for at in range(60, len(body), 6)]
        return cls(
            f[0], f[1], f[2], f[3], f[4], f[5], f[6], f[7], f[8], f[9],
            dict(pairs[: f[10]]), dict(pairs[f[10] :]),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Log(Message):
    """Ask for log text from byte `position` on, counted since reset."""

    FORMAT = "I"
    position: int


@dataclass(frozen=True, slots=True)
class LogReply(Message):
    """Text, and the position of its first byte: larger than asked when older text is lost."""

    FORMAT = "I"
    position: int
    data: bytes

    @classmethod
    def decode(cls, body: bytes) -> LogReply:
        """Read a body."""
        (position,), rest = _unpack(cls, body, rest=True)
        return cls(position, rest)


@dataclass(frozen=True, slots=True)
class Fault(Message):
    """Ask for the fault record; `clear` is the id of one that is safe with the server, or 0."""

    FORMAT = "I"
    clear: int


@dataclass(frozen=True, slots=True)
class FaultReply(Message):
    """A hard fault that survived the reset; `id` 0 when there is none.

    Attributes:
        pc: Address of the instruction that faulted.
        lr: Return address.
        psr: Program status register (Arm), mcause (RISC-V).
        cause: CFSR (Arm), mtval (RISC-V).
        operator: That ran, or 0xFFFFFFFF.
        count: Faults since the record was cleared.
    """

    FORMAT = "7I"
    id: int
    pc: int
    lr: int
    psr: int
    cause: int
    operator: int
    count: int

    @classmethod
    def decode(cls, body: bytes) -> FaultReply:
        """Read a body."""
        return cls(*_unpack(cls, body)[0])


def _require(body: bytes, size: int, *, exact: bool = False) -> None:
    if len(body) < size or (exact and len(body) != size):
        raise LinkError(f"serial message: {len(body)} bytes, expected {size}; ask again")


def bundle_id(bundle: bytes) -> bytes:
    """Return what tells a bundle from any other: SHA-256 over its signed header, 32 bytes."""
    return hashlib.sha256(bundle[:160]).digest()


def _text(padded: bytes) -> str:
    return padded.rstrip(b"\0").decode("utf-8", "replace")
