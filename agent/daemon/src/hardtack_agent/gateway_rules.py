"""What a gateway decides, without any input or output.

`collect` and `notes` are conversations: they yield what is to be asked of a board and what is to
be kept, and are sent what came of it. Whoever drives them may stop at any point, as a power cut
does: a window is acknowledged to the board only by the first question after it was kept.

Source: SPEC section 8.
"""

from __future__ import annotations

import enum
import fnmatch
import hashlib
import os
import re
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from hardtack_agent import serial_messages as body
from hardtack_agent import topics
from hardtack_agent.config import BoardConfig, GatewayConfig
from hardtack_agent.serial_body import read_words
from hardtack_agent.serial_link import PROTOCOL, REPLY, LinkError, Type, decode_frame
from hardtack_agent.serial_messages import HelloReply, Slot, StatusReply, TelemetryReply
from hardtack_agent.serial_refusal import RefusedError
from hardtack_agent.spool import Mark
from hardtack_agent.telemetry import LATENCY_EDGES_US, MAX_CLASSES, Note, Record, Window
from hardtack_runtime.errors import DeviceError
from hardtack_runtime.manifest import NAME_PATTERN

ALL_WINDOWS = 3
"""Windows that are all there are: a board that predicts all the time always has another one."""
_RESETS = 4


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the board; it is sent the body of the reply, or thrown RefusedError."""

    kind: Type
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Take:
    """Keep a record: durable before the conversation goes on."""

    record: Record
    mark: Mark
    numbered: bool = False


Script = Generator[Ask | Take, Any, Any]
Marks = Callable[[bytes, str], int]


def name_of(config: GatewayConfig, port: str, about: HelloReply) -> str:
    """Return the name in the fleet of the board that answers at a port.

    Raises:
        DeviceError: HT623, it has none, or is another chip than the one configured there.
    """
    chip = about.device_id.hex()
    for board in config.devices:
        if board.id is not None and chip.startswith(board.id) and _is_at(board, port):
            return board.name
    for board in config.devices:
        if board.port is not None and _is_at(board, port):
            if board.id is None:
                return board.name
            raise DeviceError(
                "HT623", port, f"has chip {chip}; {board.name} is chip {board.id}",
                "plug the right board in, or change `id`",
            )  # fmt: skip
    if not any(about.device_id):
        raise DeviceError(
            "HT623", port, f"a {about.hardware} board without a chip id has no name",
            "give it one: [[gateway.devices]] with `name` and `port`",
        )  # fmt: skip
    # The whole id: on many chips the first half is the place on the wafer, alike in each lot.
    name = f"{about.hardware}-{hashlib.sha256(about.device_id).hexdigest()[:12]}"
    if not topics.is_name(name):
        raise DeviceError("HT623", port, f"{name!r} cannot be a name", "give it another one")
    return name


def _is_at(board: BoardConfig, port: str) -> bool:
    return board.port is None or board.port == port or fnmatch.fnmatchcase(port, board.port)


def collect(marks: Marks, chip: bytes, most: int = ALL_WINDOWS) -> Script:
    """Take the windows a board has; returns its HELLO and STATUS.

    A window belongs to the boot that HELLO names before and after it; else the board was reset in
    between, and what it told comes again.

    Args:
        marks: How far a board was read: (boot_id, what).
        chip: The board's; a cable may be moved to another one without a word.
        most: Windows at most; each question closes one.

    Raises:
        DeviceError: HT623, another chip answers.
    """
    resets = taken = 0
    while True:
        about = yield from _hello()
        require_chip(about, chip)
        status = StatusReply.decode((yield Ask(Type.STATUS)))
        known = marks(about.boot_id, "window")
        told = yield Ask(Type.TELEMETRY, body.Telemetry(known).encode())
        window = TelemetryReply.decode(told)
        again = yield from _hello()
        if (again.boot_id, again.device_id) != (about.boot_id, chip):
            resets += 1
            if resets > _RESETS:
                return about, status
            continue
        if window.sequence == 0:
            return about, status
        mark = Mark(about.boot_id, "window", window.sequence)
        yield Take(window_of(window, status, time.time()), mark, numbered=True)
        taken += 1
        if taken == most:
            return about, status


def require_chip(about: HelloReply, chip: bytes) -> None:
    """Check that it is still the same board.

    Raises:
        DeviceError: HT623, another chip answers.
    """
    if about.device_id != chip:
        met = f"chip {about.device_id.hex()} answers where {chip.hex()} did"
        raise DeviceError("HT623", "line", met, "it is greeted as the board it is")


def _hello() -> Script:
    reply = yield Ask(Type.HELLO, body.Hello(PROTOCOL, os.urandom(16)).encode())
    return HelloReply.decode(reply)


def _is_model_name(text: str) -> bool:
    return len(text) <= 31 and re.fullmatch(NAME_PATTERN, text) is not None


def running_slot(status: StatusReply) -> Slot | None:
    """Return what a board says it runs; None also when that cannot be a model's name.

    The name is no more than bytes in its flash, and becomes a folder's here.
    """
    slot = status.slots[status.running] if status.running < len(status.slots) else None
    return slot if slot is not None and _is_model_name(slot.name) else None


def window_of(told: TelemetryReply, status: StatusReply, now_s: float) -> Window:
    """Return a board's window with the name, the version and the times it has in the fleet.

    Args:
        told: As the board tells it, with uptimes in milliseconds.
        status: Of the same boot: in one boot one model runs.
        now_s: Seconds since 1970.
    """
    slot = running_slot(status)
    name, version = (slot.name, slot.version) if slot is not None else ("none", (0, 0, 0))
    start, end = (
        max(0, int(now_s - ((told.now_ms - at) % 2**32) / 1000))
        for at in (told.first_ms, told.last_ms)
    )
    return Window(
        name, version, told.model_id, start, end, told.predictions, told.errors,
        told.labelled, told.correct, told.latency_sum_us,
        _counts(told.latency, len(LATENCY_EDGES_US) + 1), _counts(told.classes, MAX_CLASSES),
    )  # fmt: skip


def _counts(found: dict[int, int], cells: int) -> dict[int, int]:
    return {cell: count for cell, count in found.items() if cell < cells and count}


def notes(about: HelloReply, status: StatusReply, marks: Marks) -> Script:
    """Take what else a board has to tell: fault, log, stack, ticks of each layer."""
    boot, now_s = about.boot_id, int(time.time())
    health = {
        "firmware": about.firmware, "chip": about.device_id.hex(), "uptime_ms": status.uptime_ms,
        "reset_cause": status.reset_cause, "stack_used": status.stack_used,
        "stack_size": status.stack_size,
    }  # fmt: skip
    yield Take(Note("health", now_s, health), Mark(boot, "stack", status.stack_used + 1))
    if status.fault:
        yield from _fault(boot, now_s)
    asked = marks(boot, "log")
    log = body.LogReply.decode((yield Ask(Type.LOG, body.Log(asked).encode())))
    if log.data and (yield from _hello()).boot_id == boot:
        text = log.data.decode("utf-8", "replace")
        lost = log.position - asked
        told = {"text": text, "lost": lost} if lost else {"text": text}
        yield Take(Note("log", now_s, told), Mark(boot, "log", log.position + len(log.data)))
    slot = running_slot(status)
    if slot is not None and not marks(boot, "layers"):
        yield from _layers(boot, now_s, f"{slot.name}@{'.'.join(map(str, slot.version))}")


def _fault(boot: bytes, now_s: int) -> Script:
    fault = body.FaultReply.decode((yield Ask(Type.FAULT, body.Fault(0).encode())))
    if fault.id == 0:
        return
    told = {key: getattr(fault, key) for key in ("pc", "lr", "psr", "cause", "operator", "count")}
    yield Take(Note("fault", now_s, told), Mark(boot, f"fault {fault.id}", 1))
    yield Ask(Type.FAULT, body.Fault(fault.id).encode())


def _layers(boot: bytes, now_s: int, model: str) -> Script:
    ticks: list[int] = []
    while True:
        try:
            reply = yield Ask(Type.LAYERS, body.Layers(len(ticks), 4096).encode())
        except RefusedError:
            return
        layers = body.LayersReply.decode(reply)
        ticks.extend(read_words(layers.data))
        if len(ticks) >= layers.operators or not layers.data:
            break
    told = {"model": model, "ticks_per_s": layers.ticks_per_s, "ticks": ticks}
    yield Take(Note("layers", now_s, told), Mark(boot, "layers", 1))


class Relay(enum.Enum):
    """What to do with a frame that came over MQTT."""

    SEND = enum.auto()
    COLLECT_FIRST = enum.auto()
    """It resets the board: what was not told would be lost."""
    DROP = enum.auto()


def relay(piece: bytes) -> Relay:
    """Judge a frame without delimiters: a remote host must not lose what the gateway is to keep."""
    try:
        frame = decode_frame(piece)
    except LinkError:
        return Relay.DROP
    clears = frame.type in {Type.TELEMETRY, Type.FAULT} and any(frame.body)
    if frame.type & REPLY or clears:
        return Relay.DROP
    resets = frame.type in {Type.FINISH, Type.RESET}
    return Relay.COLLECT_FIRST if resets else Relay.SEND


class Pieces:
    """Cuts a stream at its delimiters; yields what is a frame, byte for byte."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the frames that these bytes complete, without delimiters."""
        *pieces, self._held = (self._held + data).split(b"\0")
        self._held = self._held[-8192:]
        return [piece for piece in pieces if piece and _is_frame(piece)]


def _is_frame(piece: bytes) -> bool:
    try:
        decode_frame(piece)
    except LinkError:
        return False
    return True


class Troubles:
    """Says each trouble once, until it is over or becomes another one."""

    def __init__(self) -> None:
        self._last = ""

    def new(self, trouble: str) -> bool:
        """Whether this is to be said."""
        is_new, self._last = trouble != self._last, trouble
        return is_new

    def over(self) -> None:
        """It went well: the next trouble is a new one."""
        self._last = ""
