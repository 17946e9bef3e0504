"""A member of the fleet: its own MQTT connection, job in hand, slots, and telemetry.

One thread (`run`) owns updates and telemetry delivery; the MQTT thread and others only put work
into its inbox. The Linux agent is one member; its gateway runs one more for each board.
"""

from __future__ import annotations

import abc
import fcntl
import logging
import queue
import threading
import time
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO

from hardtack_agent import telemetry, topics
from hardtack_agent.config import AgentConfig
from hardtack_agent.events import Ask, BlockArrived, Listed, Report, RunTrial, Timeout
from hardtack_agent.files import DiskFiles
from hardtack_agent.messages import (
    Ack,
    Birth,
    JobEvent,
    JobList,
    Message,
    ModelState,
    Online,
    Request,
    decode,
    decode_block,
)
from hardtack_agent.slots import SlotStore
from hardtack_agent.spool import Spool
from hardtack_agent.transport import Connection, Handlers, backoff_s
from hardtack_agent.updater import Ports, Updater
from hardtack_runtime.bundle import FORMAT_VERSION, KERNEL_ABI, Header
from hardtack_runtime.errors import DeviceError, HardtackError

BATCH_RECORDS = 64
ANSWER_WAIT_S = 1.0
LONGEST_ANSWER_WAIT_S = 60.0
LARGEST_MESSAGE = 2 << 20
LONGEST_INBOX = 1024
_NEVER = float("inf")
_log = logging.getLogger(__name__)


class Member(abc.ABC):
    """What every member of the fleet does; what it is made of, subclasses say.

    Args:
        config: What agent.toml says.
        device: Its name in the fleet.
        state_dir: Where its slots, state and spool lie.
        counts_trials: False when it counts the trials of a bundle itself.

    Raises:
        DeviceError: HT608 another agent uses the state directory; HT609, HT612, HT603.
        ConfigError: HT104, the broker's address or TLS files are wrong.
    """

    def __init__(
        self, config: AgentConfig, device: str, state_dir: Path, *, counts_trials: bool = True
    ) -> None:
        self.config = config
        self.device = device
        self.boot_id = uuid.uuid4()
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._running = True
        self._lock = _lock_directory(state_dir)
        self.spool = Spool(state_dir / "spool.db", self.boot_id.bytes, config.spool_records)
        self.store = SlotStore(state_dir, DiskFiles())
        ports = Ports(self.verify, self.start_trial, self.activate, self._ask, self.report)
        self.updater = Updater(self.store, ports, counts_trials=counts_trials)
        self.connection = Connection(
            config.broker,
            client_id=f"ht-{config.tenant}-{device}",
            subscribe=(topics.all_down(config.tenant, device),),
            handlers=Handlers(self._on_connected, self._on_received, lambda: None),
            will=(self.up("state"), self._online(False)),
            tls=config.tls,
        )
        self._flush_at = 0.0
        self._resend_at = _NEVER
        self._resends = 0
        self._ask_at = _NEVER
        self._asks = 0
        self._logged = ""  # about a job, last

    # What subclasses say.

    @property
    @abc.abstractmethod
    def hardware(self) -> str:
        """Class of device, as bundles name it."""

    @property
    @abc.abstractmethod
    def software(self) -> str:
        """Version of what runs on it."""

    @property
    def present(self) -> bool:
        """Whether it can be reached."""
        return True

    @abc.abstractmethod
    def verify(self, data: bytes) -> Header:
        """Check a download before it goes any further; raises HardtackError."""

    @abc.abstractmethod
    def start_trial(self, trial: RunTrial) -> None:
        """Begin a trial; its end comes back as TrialEnded."""

    @abc.abstractmethod
    def activate(self, name: str) -> None:
        """Run the active slot of a model from now on."""

    @abc.abstractmethod
    def begin(self) -> None:
        """Take up work; the slots have been read."""

    @abc.abstractmethod
    def end(self) -> None:
        """Let go of what `begin` took."""

    def take_frame(self, payload: bytes) -> None:
        """Take a frame of the serial protocol that came over MQTT; only boards have a line."""
        _log.debug("%s: no line for %d bytes", self.device, len(payload))

    # Work.

    def run(self) -> None:
        """Work until `stop` is called.

        Raises:
            DeviceError: HT612, the slots cannot be read.
        """
        self.updater.start()
        self.begin()
        self.connection.start()
        self._flush_at = time.monotonic() + self.config.telemetry_period_s
        _log.info("%s is up, boot %s", self.device, self.boot_id.hex)
        while self._running:
            self._wait_and_work()
        self._close()

    def stop(self) -> None:
        """Ask `run` to end; may be called from a signal handler or another thread."""
        self.do(self._end)

    def do(self, work: Callable[[], None]) -> None:
        """Have something done by the thread of `run`."""
        self._inbox.put(work)

    def _end(self) -> None:
        self._running = False

    def _close(self) -> None:
        self.end()
        try:
            self.spool.flush()
        except DeviceError as error:
            _log.warning("%s", error)
        self.connection.stop(farewell=(self.up("state"), self._online(False)))
        self.spool.close()
        self._lock.close()

    def abandon(self) -> None:
        """Let go of everything, so that another may be made in its place."""
        self.connection.stop()
        self.spool.close()
        self._lock.close()

    def _wait_and_work(self) -> None:
        wake = min(self._flush_at, self._resend_at, self._ask_at)
        try:
            work = self._inbox.get(timeout=max(0.0, wake - time.monotonic()))
        except queue.Empty:
            work = self._on_time
        try:
            work()
        except HardtackError as error:
            _log.warning("%s: %s", error.code, error)
        except Exception:
            # A retained message that trips over a fault of ours must not end us at every start.
            _log.exception("a message could not be handled")

    def _on_time(self) -> None:
        now = time.monotonic()
        if now >= self._flush_at:
            self._flush_at = now + self.config.telemetry_period_s
            self.spool.flush()
            self.telemetry_waits()
        if now >= self._resend_at:
            self._send_telemetry()
        if now >= self._ask_at:
            self._ask_at = _NEVER
            self.updater.drain()
            if self.updater.stalled:
                self._expect_answer()
            elif self.updater.fetching:
                self.updater.handle(Timeout())

    # Messages: the MQTT thread only hands them over.

    def _on_connected(self) -> None:
        self.do(self._greet)

    def _on_received(self, topic: str, payload: bytes) -> None:
        parsed = topics.parse(topic)
        if parsed is None:
            return
        # Nothing we are sent is large or comes in floods; what is dropped here is asked for again.
        if len(payload) > LARGEST_MESSAGE or self._inbox.qsize() > LONGEST_INBOX:
            _log.warning("dropped %d bytes of %s", len(payload), topic)
            return
        if parsed[2] == "sf":
            self.take_frame(payload)
        else:
            self.do(partial(self._receive, parsed[2], payload))

    def _greet(self) -> None:
        """Say who we are, ask what is wanted, and take up what the break interrupted."""
        self.publish_birth()
        self.publish_state()
        self._send("rq", Request(ask="jobs"))
        self._asks = self._resends = 0
        if self.updater.fetching:
            self.updater.handle(Timeout())
        self._send_telemetry()

    def _receive(self, kind: str, payload: bytes) -> None:
        if kind == "job":
            jobs = decode(JobList, payload, "dn/job")
            self.updater.handle(Listed(jobs.rev, jobs.offers))
        elif kind == "blk":
            self._asks = 0
            block = decode_block(payload)
            self.updater.handle(BlockArrived(block.sha256_head, block.index, block.data))
        elif kind == "ack":
            ack = decode(Ack, payload, "dn/ack")
            self.spool.acknowledge(bytes.fromhex(ack.boot_id), ack.seqs)
            self._resends = 0
            self._send_telemetry()
        if self.updater.stalled:
            self._expect_answer()

    # Telemetry.

    def telemetry_waits(self) -> None:
        """Send what the spool holds, unless an answer is waited for already."""
        if self._resend_at == _NEVER:
            self._send_telemetry()

    def _send_telemetry(self) -> None:
        """Send the oldest records; they are sent again until the controller has them."""
        self._resend_at = _NEVER
        batch = self.spool.pending(BATCH_RECORDS)
        if batch is None or not self.connection.connected:
            return
        self.connection.publish(self.up("tm"), telemetry.encode_batch(*batch))
        wait = backoff_s(self._resends, 2 * ANSWER_WAIT_S, LONGEST_ANSWER_WAIT_S)
        self._resend_at = time.monotonic() + wait
        self._resends += 1

    # What the updater asks for.

    def _ask(self, ask: Ask) -> None:
        self._send("rq", Request(ask="blocks", sha256=ask.sha256, blocks=ask.blocks))
        self._expect_answer()

    def _expect_answer(self) -> None:
        wait = backoff_s(self._asks, ANSWER_WAIT_S, LONGEST_ANSWER_WAIT_S)
        self._ask_at = time.monotonic() + wait
        self._asks += 1

    def report(self, report: Report) -> None:
        """Tell the server how a job stands."""
        result = report.result
        line = f"{self.device}: job {result.job_id}: {result.state} {result.detail}".rstrip()
        is_news = line != self._logged
        _log.log(logging.INFO if is_news else logging.DEBUG, "%s", line)
        self._logged = line
        event = JobEvent(
            job_id=result.job_id, boot_id=self.boot_id.hex, state=result.state,
            attempt=result.attempt, code=result.code, detail=result.detail[:500],
            done=report.done, total=report.total,
        )  # fmt: skip
        self._send("ev", event)

    # What it says of itself.

    def _send(self, kind: str, message: Message) -> None:
        self.connection.publish(self.up(kind), message.encode())

    def publish_birth(self) -> None:
        """Say what it is and holds."""
        birth = Birth(
            boot_id=self.boot_id.hex, agent=self.software[:32], hardware=self.hardware,
            bundle_format=FORMAT_VERSION, kernel_abi=KERNEL_ABI, models=self.model_states(),
        )  # fmt: skip
        self.connection.publish(self.up("birth"), birth.encode(), retain=True)

    def publish_state(self) -> None:
        """Say whether it is there."""
        self.connection.publish(self.up("state"), self._online(self.present), retain=True)

    def model_states(self) -> tuple[ModelState, ...]:
        """Return the active slot of each model."""
        states = []
        for name, pair in self.updater.saved.models.items():
            record = pair.get(pair.active) if pair.active is not None else None
            if pair.active is not None and record is not None:
                state = ModelState(
                    name=name, version=record.version, sha256=record.sha256, slot=pair.active
                )
                states.append(state)
        return tuple(states)

    def up(self, kind: str) -> str:
        """Return the topic on which it sends `kind`."""
        return topics.up(self.config.tenant, self.device, kind)

    def _online(self, online: bool) -> bytes:
        return Online(boot_id=self.boot_id.hex, online=online).encode()


def in_thread(member: Member) -> threading.Thread:
    """Start a member on a thread of its own; what ends it is logged and ends nobody else."""

    def work() -> None:
        try:
            member.run()
        except HardtackError as error:
            _log.error("%s: %s: %s", member.device, error.code, error)
            member.abandon()
        except Exception:
            _log.exception("%s: a fault of ours ended it", member.device)
            member.abandon()

    thread = threading.Thread(target=work, name=member.device, daemon=True)
    thread.start()
    return thread


def _lock_directory(directory: Path) -> IO[bytes]:
    """Hold the state directory for this process; the kernel lets go when it dies."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / "lock").open("ab")
    except OSError as error:
        raise DeviceError("HT612", str(directory), f"cannot be used: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise DeviceError(
            "HT608", str(directory), "another agent uses this state directory", "stop it first"
        ) from error
    return lock
