"""One port of a gateway: whatever board answers there, and the only thread that uses its line.

Source: SPEC section 8.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardtack_agent.events import RunTrial, SlotRecord
from hardtack_agent.gateway_board import Board, record_of
from hardtack_agent.gateway_rules import (
    ALL_WINDOWS,
    Ask,
    Pieces,
    Relay,
    Script,
    Troubles,
    collect,
    name_of,
    notes,
    relay,
    require_chip,
    running_slot,
)
from hardtack_agent.serial_line import SOCKET, Line, open_line
from hardtack_agent.serial_link import LinkError, Reason, Type
from hardtack_agent.serial_messages import HelloReply, Read, Slot, bundle_id
from hardtack_agent.serial_refusal import VERDICTS, RefusedError, Verdict, explain
from hardtack_agent.serial_session import PATIENCE_S, TRIAL_S, Session, runs
from hardtack_agent.spool import Spool
from hardtack_agent.transport import backoff_s
from hardtack_runtime.bundle import read_header, unpack
from hardtack_runtime.errors import (
    BundleError,
    DeviceError,
    GateError,
    HardtackError,
    TrustError,
)

if TYPE_CHECKING:
    from hardtack_agent.gateway import Gateway

GREET_S = 3.0
"""First patience with a port; it doubles with each try, for boards that start slowly."""
LONGEST_GREET_S = 30.0
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
RELAY_IDLE_S = 3.0
RELAY_MOST_S = 900.0
_TICK_S = 0.1
_PROGRESS_S = 1.0
_log = logging.getLogger(__name__)


class _StoppedError(Exception):
    """The trial is no longer wanted, or the gateway ends."""


class Port:
    """Serves one address until `stop`, or until a port that a pattern found is gone.

    Args:
        gateway: Who knows the boards.
        address: Port or socket://host:port.
        baud: Its speed.
        found: Whether a pattern found it, so that it may vanish for good.
    """

    def __init__(self, gateway: Gateway, address: str, baud: int, *, found: bool) -> None:
        self.address = address
        self._gateway = gateway
        self._baud = baud
        self._found = found
        self._troubles = Troubles()
        self._failures = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=address, daemon=True)

    def start(self) -> None:
        """Begin, in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Begin to end."""
        self._stopping.set()

    def join(self, timeout_s: float) -> None:
        """Wait for the end."""
        self._thread.join(timeout_s)

    @property
    def alive(self) -> bool:
        """Whether it still serves."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._serve()
            except _StoppedError:
                return
            except (HardtackError, LinkError, OSError, RefusedError) as error:
                self._say(error)
            except Exception:
                _log.exception("%s: a fault of ours; the port is opened again", self.address)
            if self._found and not Path(self.address).exists():
                return
            self._stopping.wait(backoff_s(self._failures, FIRST_WAIT_S, LONGEST_WAIT_S))
            self._failures += 1

    def _say(self, error: Exception) -> None:
        if not isinstance(error, HardtackError):
            code = "HT617" if isinstance(error, OSError) else "HT616"
            error = DeviceError(code, self.address, str(error))
        # The words differ from time to time, "3 s of silence"; the code is the same trouble.
        if self._troubles.new(error.code):
            _log.warning("%s: %s", error.code, error)

    def _serve(self) -> None:
        patience_s = min(GREET_S * 2 ** min(self._failures, 8), LONGEST_GREET_S)
        with Session(self._once(), self.address, patience_s=patience_s, reconnect_s=0) as session:
            about = session.hello()
            name = name_of(self._gateway.settings, self.address, about)
            board = self._gateway.claim(name, self, about)
            try:
                board.attach(about)
                session.patience_s = PATIENCE_S
                self._work(Visit(session, board, self._stopping.is_set))
            finally:
                board.detach()
                self._gateway.release(name, self)

    def _once(self) -> Callable[[], Line]:
        """Open the line the first time only: behind one that comes back may be another board."""
        opened: list[Line] = []

        def connect() -> Line:
            if opened:
                raise ConnectionError("lost")
            opened.append(open_line(self.address, self._baud))
            return opened[0]

        return connect

    def _work(self, visit: Visit) -> None:
        visit.look(changed=True)
        look_at = time.monotonic() + self._gateway.settings.poll_s
        is_new = True
        while not self._stopping.is_set():
            written = visit.session.chunks_written
            try:
                changed = visit.step()
            finally:
                if visit.session.chunks_written > written:  # slow, but it comes to an end
                    self._failures = 0
            # Only now: what fails in each first step is to be tried more and more rarely.
            self._failures = 0
            self._troubles.over()
            if is_new:
                _log.info("%s is at %s", visit.board.device, self.address)
                is_new = False
            if changed or time.monotonic() >= look_at:
                visit.look(changed=changed)
                look_at = time.monotonic() + self._gateway.settings.poll_s
        raise _StoppedError


class Visit:
    """What is done with one board while its line holds.

    Args:
        session: With the board.
        board: Its side of the fleet.
        stopping: Whether to stop.
    """

    def __init__(self, session: Session, board: Board, stopping: Callable[[], bool]) -> None:
        self.session = session
        self.board = board
        self._stopping = stopping
        self._chip = session.about.device_id
        self._runs: bytes | None = None
        self._boots = 0
        self._collect_at = 0.0

    def look(self, *, changed: bool) -> None:
        """See what the board runs; in each telemetry period, take what it has to tell.

        Args:
            changed: It may be in another boot, or run another model.
        """
        spool, now = self.board.spool, time.monotonic()
        if (changed or now >= self._collect_at) and not spool.full:
            self._collect_at = now + self.board.config.telemetry_period_s
            most = ALL_WINDOWS if changed else 1
            about, status = drive(collect(spool.mark, self._chip, most), self.session, spool)
            drive(notes(about, status, spool.mark), self.session, spool)
            self.board.do(self.board.telemetry_waits)
        else:
            about, status = self.session.hello(), self.session.status()
            require_chip(about, self._chip)
        self._boots = self.session.exchange.boots
        slot = running_slot(status)
        id_ = slot.id if slot is not None else b""
        if id_ != self._runs:
            record = self._record_of(about, status.running, slot) if slot is not None else None
            self.board.runs(slot.name if slot is not None else "", record, id_)
            self._runs = id_

    def step(self) -> bool:
        """Do what is to be done now, or wait a little; True when the board may be another since."""
        trial = self.board.wanted()
        if trial is not None:
            self._try(trial)
            return True
        if not self.board.frames.empty():
            self._relay()
            return True
        self.session.listen(_TICK_S)
        return self.session.exchange.boots != self._boots

    def _record_of(self, about: HelloReply, running: int, slot: Slot) -> SlotRecord:
        known = self.board.sha256_of(slot.id)
        if known is not None:
            return SlotRecord(known, slot.version, slot.model_id.hex())
        bundle = b""
        while len(bundle) < slot.total_size:
            length = min(about.max_body, slot.total_size - len(bundle))
            part = self.session.ask(Type.READ, Read(running, length, len(bundle)).encode())
            if not part:
                raise LinkError(f"{self.board.device}: a slot ends before its bundle")
            bundle += part
        return record_of(bundle)

    def _try(self, trial: RunTrial) -> None:
        """Take a bundle to the board and have it tried; a lost line is no end of that."""
        board = self.board
        try:
            bundle = board.candidate(trial)
            if bundle is None:
                return
            board.require_fit(read_header(bundle), len(bundle))  # it may be another board by now
            layers = unpack(bundle).manifest.layers
        except (BundleError, GateError, TrustError) as error:
            self._give_up(trial, error, unfit=not isinstance(error, BundleError))
            return
        wanted = bundle_id(bundle)
        try:
            status = self.session.status()
            if status.refused == wanted[:8] and status.outcome and self._was_tried(trial):
                raise explain(board.device, status.outcome, status.detail, layers)
            if runs(status, wanted) or self._install(trial, bundle, layers):
                board.end_trial(trial)
        except HardtackError as error:
            verdict = VERDICTS.get(Reason.OK if error.reason is None else error.reason)
            if verdict is Verdict.NONE:
                raise
            self._give_up(trial, error, unfit=verdict is not Verdict.BAD)

    def _give_up(self, trial: RunTrial, error: HardtackError, *, unfit: bool) -> None:
        _log.warning("%s: %s: %s", self.board.device, error.code, error)
        self.board.end_trial(trial, error, unfit=unfit)

    def _was_tried(self, trial: RunTrial) -> bool:
        return self.board.tried == trial.job_id or self.board.updater.saved.trials > 1

    def _install(self, trial: RunTrial, bundle: bytes, layers: Sequence[str]) -> bool:
        """Have a bundle installed; False when it was no longer wanted before the end."""
        told_at = 0.0

        def progress(done: int, total: int) -> None:
            nonlocal told_at
            if self._stopping() or self.board.wanted() is not trial:
                raise _StoppedError
            if done == total:  # what the reset would lose
                drive(collect(self.board.spool.mark, self._chip), self.session, self.board.spool)
                self.board.tried = trial.job_id
                # Opening a port resets many a board: do not hang up on one in the middle of it.
                self.session.patience_s = TRIAL_S
            if done == total or time.monotonic() >= told_at:
                told_at = time.monotonic() + _PROGRESS_S
                self.board.progress(trial, done, total)

        try:
            self.session.install(bundle, again=False, layers=layers, progress=progress)
        except _StoppedError:
            if self._stopping():
                raise
            _log.info("%s: job %s is no longer wanted", self.board.device, trial.job_id)
            return False
        finally:
            self.session.patience_s = PATIENCE_S
        return True

    def _relay(self) -> None:
        """Lend the line to a host on MQTT, until it is silent or a trial wants it."""
        try:
            self._lend()
        finally:
            self.board.drop_frames()

    def _lend(self) -> None:
        board, pieces = self.board, Pieces()
        end = time.monotonic() + RELAY_MOST_S
        idle_at = time.monotonic() + RELAY_IDLE_S
        _log.info("%s: its line is lent to a host on MQTT", board.device)
        while time.monotonic() < min(end, idle_at):
            if self._stopping() or board.wanted() is not None:
                break
            out = b""
            if not board.frames.empty():
                idle_at = time.monotonic() + RELAY_IDLE_S
                out = self._admit(board.frames.get())
            # A host waits for each answer, so a short wait here is no loss of speed.
            data = self.session.relay(out, 0.005)
            for piece in pieces.feed(data):
                board.connection.publish(board.up("sf"), piece, qos=0)

    def _admit(self, piece: bytes) -> bytes:
        verdict = relay(piece)
        if verdict is Relay.DROP:
            return b""
        if verdict is Relay.COLLECT_FIRST:
            drive(collect(self.board.spool.mark, self._chip), self.session, self.board.spool)
        return b"\0" + piece + b"\0"


def drive(script: Script, session: Session, spool: Spool) -> Any:
    """Have a conversation with the board; what is taken is on the disk before it goes on."""
    try:
        action = next(script)
        while True:
            if not isinstance(action, Ask):
                action = script.send(
                    spool.take(action.record, action.mark, numbered=action.numbered)
                )
                continue
            try:
                reply = session.ask(action.kind, action.body)
            except RefusedError as refused:
                action = script.throw(refused)
            else:
                action = script.send(reply)
    except StopIteration as end:
        return end.value


def is_pattern(address: str) -> bool:
    """Whether an address stands for all ports it matches."""
    return not address.startswith(SOCKET) and any(mark in address for mark in "*?[")


def expand(address: str) -> list[str]:
    """Return the ports that a pattern matches now."""
    root = Path(address).anchor
    try:
        return sorted(str(path) for path in Path(root).glob(address.removeprefix(root)))
    except (OSError, ValueError):
        return []
