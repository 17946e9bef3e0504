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

from hardtack_agent.serial_body import read_words
from hardtack_agent.serial_exchange import SLOW_S, Exchange
from hardtack_agent.serial_line import Line
from hardtack_agent.serial_link import PROTOCOL, Frame, Reason, Type
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
from hardtack_agent.serial_refusal import RefusedError, explain, silent
from hardtack_runtime.errors import DeviceError, GateError, HardtackError

PATIENCE_S = 15.0
RECONNECT_S = 30.0
TRIAL_S = 180.0
_TRIES = 4  # of a frame, before it is cut into smaller ones
_SMALLEST = 16
_RETRY_S = 0.1
_ROUNDS = 8
_NOISY = 4  # times the patience while something comes, though damaged


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a run gave: codes of all outputs, its time, the class with the largest code."""

    codes: bytes
    latency_us: int
    top: int


class Session:
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
        self.where = where
        self.exchange = Exchange()
        self.chunks_written = 0
        self.reconnects = 0
        self._connect = connect
        self.patience_s = patience_s
        self._reconnect_s = reconnect_s
        self._line: Line | None = connect()
        self.exchange.byte_s = self._line.byte_s
        self._about: HelloReply | None = None
        self._run = 0
        self._abandoned = False
        self._piece = 1 << 16
        self._largest = 1 << 16

    def close(self) -> None:
        """Let the line go."""
        if self._line is not None:
            self._line.close()
            self._line = None

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
        self._largest = about.max_body - 8
        return about

    def status(self) -> StatusReply:
        """Ask how it is."""
        return StatusReply.decode(self.ask(Type.STATUS))

    def ask(self, kind: Type, body: bytes = b"") -> bytes:
        """Ask until it answers.

        Raises:
            RefusedError: it said no.
            DeviceError: HT616, it is silent; HT620, the line is gone.
        """
        (reply,) = self._ask_all([(kind, body)])
        assert reply is not None
        if reply.status:
            raise RefusedError(kind, reply)
        return reply.body

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
            (reply,) = self._ask_all([(Type.CHECK, body)], tries=_TRIES)
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
            replies = self._ask_all(writes, about.window, _TRIES)
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
        size = min(self._piece, self._largest)
        return max(size // unit * unit, _SMALLEST, unit)

    def _finish(self, slot: int, wanted: bytes, again: bool) -> None:
        boot, boots = self.hello().boot_id, self.exchange.boots
        if self.ask(Type.FINISH, Finish(slot, int(again), wanted).encode())[0] == 1:
            return
        end = time.monotonic() + TRIAL_S
        while self.exchange.boots == boots and time.monotonic() < end:
            reply = HelloReply.decode(self.ask(Type.HELLO, Hello(PROTOCOL, bytes(16)).encode()))
            if reply.boot_id != boot:  # its announcement was lost
                break
            self._listen(_RETRY_S)
        self.hello()

    def _run_once(self, run: int, codes: bytes, label: int) -> Prediction:
        for at, part in self._parts(codes):
            self.ask(Type.INPUT, Input(run, at, part).encode())
        done = RunReply.decode(self.ask(Type.RUN, Run(run, label).encode()))
        out = b""
        while len(out) < done.output_size:
            body = Output(run, len(out), self._piece_size()).encode()
            (reply,) = self._ask_all([(Type.OUTPUT, body)], tries=_TRIES)
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

    def _ask_all(
        self, requests: Sequence[tuple[Type, bytes]], window: int = 1, tries: int = 1 << 30
    ) -> list[Frame | None]:
        """Ask until all are answered, or one has been sent `tries` times in vain."""
        now = time.monotonic()
        if not self._abandoned:  # else the silence goes on
            self.exchange.heard_at = now
        self._abandoned = False
        limit_s = max((SLOW_S.get(kind, 0.0) for kind, _ in requests), default=0.0) * 2
        self.exchange.begin(requests, window)
        resends, damaged = self.exchange.resends, self.exchange.damaged
        while not self.exchange.done:
            self._step()
            silent_s = time.monotonic() - self.exchange.heard_at
            noise = _NOISY if self.exchange.damaged != damaged else 1
            if silent_s > max(limit_s, self.patience_s * noise):
                raise silent(self.where, silent_s)
            if self.exchange.most_tries > tries:
                self._piece = max(_SMALLEST, self._piece_size() // 2)
                self._abandoned = True
                return self.exchange.replies
        if self.exchange.resends == resends:
            self._piece = min(self._piece * 2, self._largest)
        return self.exchange.replies

    def _step(self) -> None:
        try:
            if self._line is None:
                raise ConnectionError("closed")
            now = time.monotonic()
            out = self.exchange.output(now)
            if out:
                self._line.write(out)
            data = self._line.read(min(self.exchange.wake_at() - now, 1.0))
            self.exchange.feed(data, time.monotonic())
        except OSError as error:
            self._reopen(error)

    def _listen(self, time_s: float) -> None:
        """Take what comes unasked."""
        try:
            if self._line is not None:
                self.exchange.feed(self._line.read(time_s), time.monotonic())
        except OSError as error:
            self._reopen(error)

    def _reopen(self, lost: OSError) -> None:
        self.close()
        end = time.monotonic() + self._reconnect_s
        while True:
            try:
                self._line = self._connect()
                break
            except (OSError, DeviceError) as error:  # unplugged, or not yet ours again
                if time.monotonic() > end:
                    raise DeviceError(
                        "HT620", self.where, f"went away and did not come back ({lost})",
                        "plug it in and repeat: what was sent is not sent again",
                    ) from error  # fmt: skip
                time.sleep(_RETRY_S)
        self.reconnects += 1
        self.exchange.line_is_new(time.monotonic())


def runs(status: StatusReply, wanted: bytes) -> bool:
    """Return whether the bundle with this id is the one that is active and serves."""
    if status.active == NONE or status.active != status.running:
        return False
    slot = status.slots[status.active]
    return slot is not None and slot.id == wanted
