"""The bodies of the serial protocol: what a host asks and what a device answers.

Source: SPEC section 7.4.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Self

from hardtack_agent.serial_body import (
    U8,
    U16,
    U32,
    U64,
    Bytes8,
    Bytes16,
    Bytes32,
    Flag,
    Message,
    Rest,
    RestText,
    Text16,
    Text32,
    Triple,
    TwoBytes8,
    U8x1,
    U8x2,
    U8x3,
    U16x2,
)

NONE = 0xFF
NO_LABEL = 0xFFFF


class Hello(Message):
    """Who asks. `boot_id`: 16 random bytes that name this run of the device, if it has none yet."""

    version: U8x3
    boot_id: Bytes16


class HelloReply(Message):
    """What a device is.

    Attributes:
        window: Frames that may be under way unanswered; `max_body`: bytes of each body at most.
        boot_id: It goes by it until its next reset; zeros before the first HELLO.
        chunk_size: Bytes erased and checked at once; `write_unit`: of a WRITE, a multiple.
        pool_size: Bytes of memory for the arena, and for weights that are unpacked to it.
        key_ids: Of the keys it trusts.
        last_run: Highest `run` it has seen.
        device_id: Of the chip; zeros when it has none.
    """

    version: U8
    window: U8
    max_body: U16
    boot_id: Bytes16
    hardware: Text16
    slot_size: U32
    chunk_size: U32
    write_unit: U32
    pool_size: U32
    key_ids: TwoBytes8
    last_run: U32
    kernel_abi: U16x2
    device_id: Bytes16
    firmware: RestText


class Slot(Message):
    """What a slot holds, by its header; unverified. `id`: see `bundle_id`."""

    name: Text32
    version: Triple
    model_id: Bytes16
    id: Bytes32
    total_size: U32


class StatusReply(Message):
    """How a device is.

    Attributes:
        active: Slot 0 or 1 that was confirmed last; `trial`: slot on trial; `NONE` for none.
        outcome: `Reason` of the last trial's end; OK when it was confirmed.
        detail: As SPEC section 7.3.
        running: Slot whose model serves, or `NONE`; `why`: the `Reason`.
        reset_cause: 0 power or unknown, 1 asked for, 2 fault, 3 watchdog.
        stack_used: Most bytes since reset; 0 when not measured.
        refused: First 8 bytes of the id of what it gave up last.
        slots: What lies in A and B; None where there is no header.
    """

    active: U8
    trial: U8
    attempts: U8
    outcome: U8
    detail: U32
    floor: Triple
    journal: U32
    running: U8
    why: U8
    fault: Flag
    reset_cause: U8
    uptime_ms: U32
    stack_used: U32
    stack_size: U32
    refused: Bytes8
    predictions: U32
    slots: tuple[Slot | None, Slot | None]

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """Read a body; two entries of 100 bytes lie behind the table."""
        values, rest = cls.read(body)
        if len(rest) != 200:
            raise cls.wrong_length(body)
        a, b = (Slot.decode(at[4:]) if at[0] else None for at in (rest[:100], rest[100:]))
        return cls(**values, slots=(a, b))


class Check(Message):
    """Ask for the CRC-32 of `count` chunks from `first`; the reply is one u32 each."""

    slot: U8x1
    first: U16
    count: U16


class Erase(Message):
    """Erase one chunk."""

    slot: U8x1
    chunk: U16


class Write(Message):
    """Program bytes; offset and length are multiples of `write_unit`."""

    slot: U8x3
    offset: U32
    data: Rest


class Finish(Message):
    """Verify a slot and put it on trial. `again`: also a bundle that was refused before."""

    slot: U8
    again: U8x2
    id: Bytes32


class Read(Message):
    """Ask for bytes of a slot; the reply is those bytes."""

    slot: U8x1
    length: U16
    offset: U32


class Input(Message):
    """Give input codes, all inputs one behind the other, in order; the reply is u32 taken."""

    run: U32
    offset: U32
    data: Rest


class Run(Message):
    """Run on the input given; `label` is the true class, or `NO_LABEL`."""

    run: U32
    label: U16x2 = NO_LABEL


class RunReply(Message):
    """The run is done: its time, the size of the outputs, the class with the largest code."""

    run: U32
    latency_us: U32
    output_size: U32
    top: U16x2


class Output(Message):
    """Ask for codes of the outputs, all one behind the other; the reply is those bytes."""

    run: U32
    offset: U32
    length: U16x2


class Golden(Message):
    """Replay golden vector `index`."""

    index: U32


class GoldenReply(Message):
    """Vectors there are; the operator that differs first, when the status is DIVERGED."""

    count: U32
    operator: U32


class Layers(Message):
    """Ask for the ticks of `count` operators from `first`, on zeros; the reply is LayersReply."""

    first: U16
    count: U16


class LayersReply(Message):
    """Operators there are, ticks a second, and ticks of those asked for: u32 each."""

    operators: U32
    ticks_per_s: U32
    data: Rest


class Telemetry(Message):
    """Ask for a window; `acknowledged` is the last one that is safe with the server, or 0."""

    acknowledged: U32


class TelemetryReply(Message):
    """A window; `sequence` 0 when there is nothing to tell.

    Uptimes of first and last event and of the reply; {bucket of section 4.3: count}; {class:
    count}, the last one for all beyond it.
    """

    sequence: U32
    predictions: U32
    errors: U32
    labelled: U32
    correct: U32
    latency_sum_us: U64
    first_ms: U32
    last_ms: U32
    now_ms: U32
    model_id: Bytes16
    latency: dict[int, int]
    classes: dict[int, int]

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """Read a body; two counts and so many pairs lie behind the table."""
        values, rest = cls.read(body)
        many, few = struct.unpack_from("<HH", rest) if len(rest) >= 4 else (0, 0)
        if len(rest) != 4 + 6 * (many + few):
            raise cls.wrong_length(body)
        pairs = [struct.unpack_from("<HI", rest, at) for at in range(4, len(rest), 6)]
        return cls(**values, latency=dict(pairs[:many]), classes=dict(pairs[many:]))


class Log(Message):
    """Ask for log text from byte `position` on, counted since reset."""

    position: U32


class LogReply(Message):
    """Text, and the position of its first byte: larger than asked when older text is lost."""

    position: U32
    data: Rest


class Fault(Message):
    """Ask for the fault record; `clear` is the id of one that is safe with the server, or 0."""

    clear: U32


class FaultReply(Message):
    """A hard fault that survived the reset; `id` 0 when there is none.

    `psr` is mcause and `cause` (else CFSR) mtval on RISC-V; `operator` ran, 0xFFFFFFFF for none;
    `count` faults came since the record was cleared.
    """

    id: U32
    pc: U32
    lr: U32
    psr: U32
    cause: U32
    operator: U32
    count: U32


def bundle_id(bundle: bytes) -> bytes:
    """Return what tells a bundle from any other: SHA-256 over its signed header, 32 bytes."""
    return hashlib.sha256(bundle[:160]).digest()
