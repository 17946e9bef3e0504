"""A session with a microcontroller: what a host does with it over a serial line.

The line may harm bytes, vanish and come back, the device may be reset at any moment: `Session`
repeats until it is done or the device is silent for long.

Source: SPEC section 7.
"""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from hardtack_agent.serial_asking import RETRY_S, SMALLEST, Asker
from hardtack_agent.serial_body import read_words
from hardtack_agent.serial_line import Line
from hardtack_agent.serial_link import PROTOCOL, Reason, Type
from hardtack_agent.serial_messages import (
    NO_LABEL,
    NONE,
    Check,
    Erase,
    Fault,
    FaultReply,
    Finish,
    Golden,
    GoldenReply,
    Hello,
    HelloReply,
    Input,
    Log,
    LogReply,
    Output,
    Run,
    RunReply,
    StatusReply,
    Telemetry,
    TelemetryReply,
    Write,
    bundle_id,
)
from hardtack_agent.serial_refusal import RefusedError, explain
from hardtack_runtime.errors import DeviceError, GateError, HardtackError

PATIENCE_S = 15.0
RECONNECT_S = 30.0
TRIAL_S = 180.0
_TRIES = 4  # of a frame, before it is cut into smaller ones
_ROUNDS = 8


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a run gave: codes of all outputs, its time, the class with the largest code."""

    codes: bytes
    latency_us: int
    top: int


class Session(Asker):
    """Asks one device, and opens its line again when that is lost.

    Args:
        connect: Opens the line.
        where: The device in messages.
        patience_s: Longest silence before a device counts as gone.
        reconnect_s: How long a lost line may stay away.
    """

    def __init__(
        self, connect: Callable[[], Line], where: str, *, patience_s: float = PATIENCE_S,
        reconnect_s: float = RECONNECT_S,
    ) -> None:  # fmt: skip
        super().__init__(connect, where, patience_s, reconnect_s)
        self.chunks_written = 0
        self._about: HelloReply | None = None
        self._run = 0

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def about(self) -> HelloReply:
        """What the device is; asked once."""
        if self._about is None:
            self._about = self.hello()
        return self._about

    def hello(self) -> HelloReply:
        """Greet it, with a new boot_id in case it was reset."""
        body = Hello(PROTOCOL, os.urandom(16)).encode()
        self._about = about = HelloReply.decode(self.ask(Type.HELLO, body))
        self._run = max(self._run, about.last_run)
        self.largest = about.max_body - 8
        return about

    def status(self) -> StatusReply:
        """Ask how it is."""
        return StatusReply.decode(self.ask(Type.STATUS))

    def install(
        self, bundle: bytes, *, again: bool = False, layers: Sequence[str] = (),
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> StatusReply:  # fmt: skip
        """Write a bundle into the free slot, have it tried, and return how the device is then.

        What an earlier transfer left is used. A bundle that is active already is not sent.

        Args:
            bundle: Whole.
            again: Also when the device gave this bundle up before.
            layers: Names of its operators, for messages.
            progress: Called with chunks that are right, and chunks in all.

        Raises:
            HardtackError: why the device did not take it.
        """
        wanted = bundle_id(bundle)
        status = self.status()
        if not runs(status, wanted):
            slot = next(s for s in (0, 1) if s not in {status.active, status.trial})
            try:
                self.transfer(slot, bundle, progress)
                self._finish(slot, wanted, again)
            except RefusedError as refused:
                raise self.explain(refused.reason, refused.detail, layers) from refused
            status = self.status()
        if not runs(status, wanted):
            raise self.explain(status.outcome or status.why, status.detail, layers)
        return status

    def transfer(
        self, slot: int, bundle: bytes,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:  # fmt: skip
        """Write the chunks that differ until none does.

        Raises:
            DeviceError: HT622, some differ however often they are written.
        """
        total = -(-len(bundle) // self.about.chunk_size)
        rounds = 0
        while differing := self.differing(slot, bundle):
            rounds += 1
            if rounds > _ROUNDS:
                raise self.explain(Reason.FLASH, differing[0] * self.about.chunk_size)
            for count, index in enumerate(differing):
                progress(total - len(differing) + count, total)
                self._write_chunk(slot, index, bundle)
        progress(total, total)

    def differing(self, slot: int, bundle: bytes) -> list[int]:
        """Return the chunks of the slot that do not hold the bundle's bytes.

        Raises:
            GateError: HT503, the bundle is larger than a slot.
        """
        size = self.about.chunk_size
        if len(bundle) > self.about.slot_size:
            met = f"the bundle has {len(bundle)} bytes, a slot {self.about.slot_size}"
            raise GateError("HT503", self.where, met, "choose a smaller model")
        padded = bundle + b"\xff" * (-len(bundle) % size)
        wanted = [zlib.crc32(padded[at : at + size]) for at in range(0, len(padded), size)]
        there: list[int] = []
        while len(there) < len(wanted):
            count = min(max(self._piece_size() // 4, 1), len(wanted) - len(there))
            body = Check(slot, len(there), count).encode()
            (reply,) = self.ask_all([(Type.CHECK, body)], tries=_TRIES)
            if reply is not None:
                if reply.status:
                    raise RefusedError(Type.CHECK, reply)
                there.extend(read_words(reply.body))
        return [i for i, crc in enumerate(wanted) if crc != there[i]]

    def golden(self, layers: Sequence[str] = ()) -> int:
        """Replay all golden vectors of the model that runs; return how many.

        Raises:
            DeviceError: HT606, naming the first layer that gave other bits; HT611, no model runs.
        """
        index, count = 0, 1
        while index < count:
            try:
                reply = GoldenReply.decode(self.ask(Type.GOLDEN, Golden(index).encode()))
            except RefusedError as refused:
                detail = refused.detail
                if refused.reason == Reason.DIVERGED:
                    detail = GoldenReply.decode(refused.body).operator
                raise self.explain(refused.reason, detail, layers) from refused
            index, count = index + 1, reply.count
        return count

    def run(self, codes: bytes, label: int = NO_LABEL) -> Prediction:
        """Run on codes of all inputs, one behind the other; begin anew when the device was reset.

        Raises:
            HardtackError: HT610, the input has a wrong size; HT611, no model runs.
        """
        while True:
            self._run += 1
            try:
                return self._run_once(self._run, codes, label)
            except RefusedError as refused:
                if refused.reason == Reason.STALE:  # another host ran, or a reset came between
                    self._run = max(self._run, refused.detail)
                elif refused.reason == Reason.GAP and refused.detail < len(codes):
                    self.hello()
                elif refused.reason in {Reason.GAP, Reason.RANGE}:
                    met = f"{len(codes)} codes are not the size of the model's inputs"
                    raise DeviceError("HT610", self.where, met) from refused
                else:
                    raise self.explain(refused.reason, refused.detail) from refused

    def telemetry(self, acknowledged: int) -> TelemetryReply:
        """Ask for the window behind the one that is safe."""
        return TelemetryReply.decode(self.ask(Type.TELEMETRY, Telemetry(acknowledged).encode()))

    def fault(self, clear: int = 0) -> FaultReply:
        """Ask for the record of a hard fault; drop the one with this id."""
        return FaultReply.decode(self.ask(Type.FAULT, Fault(clear).encode()))

    def log(self, position: int = 0) -> LogReply:
        """Ask for text of the log from a position on."""
        return LogReply.decode(self.ask(Type.LOG, Log(position).encode()))

    def explain(self, reason: int, detail: int, layers: Sequence[str] = ()) -> HardtackError:
        """Return a refusal as an error people can act on."""
        return explain(self.where, reason, detail, layers)

    def _write_chunk(self, slot: int, index: int, bundle: bytes) -> None:
        about = self.about
        self.ask(Type.ERASE, Erase(slot, index).encode())
        first = index * about.chunk_size
        data = bundle[first : first + about.chunk_size]
        data += b"\xff" * (-len(data) % about.write_unit)
        todo = [(0, len(data))]
        while todo:
            pieces = [
                (at, min(at + self._piece_size(), end))
                for begin, end in todo
                for at in range(begin, end, self._piece_size())
            ]
            pieces = [(a, b) for a, b in pieces if data[a:b].strip(b"\xff")]
            writes = [(Type.WRITE, Write(slot, first + a, data[a:b]).encode()) for a, b in pieces]
            replies = self.ask_all(writes, about.window, _TRIES)
            for reply in replies:
                if reply is not None and reply.status == Reason.NOT_ERASED:
                    return  # a damaged chunk of an earlier power cut: CHECK finds it, ERASE mends
                if reply is not None and reply.status:
                    raise RefusedError(Type.WRITE, reply)
            todo = [piece for piece, reply in zip(pieces, replies, strict=True) if reply is None]
        self.chunks_written += 1

    def _piece_size(self) -> int:
        """Bytes of a frame's data now: small where many are lost, a multiple of the write unit."""
        unit = max(self.about.write_unit, 4)
        size = min(self.piece, self.largest)
        return max(size // unit * unit, SMALLEST, unit)

    def _finish(self, slot: int, wanted: bytes, again: bool) -> None:
        boot, boots = self.hello().boot_id, self.exchange.boots
        if self.ask(Type.FINISH, Finish(slot, int(again), wanted).encode())[0] == 1:
            return
        end = time.monotonic() + TRIAL_S
        while self.exchange.boots == boots and time.monotonic() < end:
            reply = HelloReply.decode(self.ask(Type.HELLO, Hello(PROTOCOL, bytes(16)).encode()))
            if reply.boot_id != boot:  # its announcement was lost
                break
            self.listen(RETRY_S)
        self.hello()

    def _run_once(self, run: int, codes: bytes, label: int) -> Prediction:
        for at, part in self._parts(codes):
            self.ask(Type.INPUT, Input(run, at, part).encode())
        done = RunReply.decode(self.ask(Type.RUN, Run(run, label).encode()))
        out = b""
        while len(out) < done.output_size:
            body = Output(run, len(out), self._piece_size()).encode()
            (reply,) = self.ask_all([(Type.OUTPUT, body)], tries=_TRIES)
            if reply is not None and reply.status:
                raise RefusedError(Type.OUTPUT, reply)
            out += reply.body if reply is not None else b""
        return Prediction(out, done.latency_us, done.top)

    def _parts(self, codes: bytes) -> Iterator[tuple[int, bytes]]:
        at = 0
        while at < len(codes):
            size = self._piece_size()
            yield at, codes[at : at + size]
            at += size


def runs(status: StatusReply, wanted: bytes) -> bool:
    """Return whether the bundle with this id is the one that is active and serves."""
    if status.active == NONE or status.active != status.running:
        return False
    slot = status.slots[status.active]
    return slot is not None and slot.id == wanted
