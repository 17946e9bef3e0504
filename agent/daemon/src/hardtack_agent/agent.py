"""The agent: one process that holds models, answers predictions, takes updates, reports.

One thread (`run`) owns updates and telemetry delivery; the MQTT thread, the socket's threads and
the trial's thread only put work into its inbox. Predictions never wait for it.
"""

from __future__ import annotations

import fcntl
import logging
import queue
import threading
import time
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Any

import hardtack_agent
from hardtack_agent import telemetry, topics
from hardtack_agent.config import AgentConfig
from hardtack_agent.events import Ask, BlockArrived, Listed, Report, RunTrial, Timeout, TrialEnded
from hardtack_agent.files import DiskFiles
from hardtack_agent.inference import Models
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
from hardtack_agent.server import PredictionServer
from hardtack_agent.slots import SlotStore
from hardtack_agent.spool import Spool
from hardtack_agent.telemetry import Outcome, Window
from hardtack_agent.transport import Connection, Handlers, backoff_s
from hardtack_agent.trial import try_in_process
from hardtack_agent.updater import Ports, Updater
from hardtack_runtime.bundle import FORMAT_VERSION, KERNEL_ABI, Header, verify
from hardtack_runtime.errors import DeviceError, HardtackError
from hardtack_runtime.signing import Keyring

BATCH_RECORDS = 64
ANSWER_WAIT_S = 1.0
LONGEST_ANSWER_WAIT_S = 60.0
LARGEST_MESSAGE = 2 << 20
LONGEST_INBOX = 1024
_NEVER = float("inf")
_log = logging.getLogger(__name__)


class Agent:
    """Everything one device runs.

    Args:
        config: What agent.toml says.

    Raises:
        DeviceError: HT608 another agent uses the state directory; HT609, HT612, HT603.
        ConfigError: HT104, the broker's address or TLS files are wrong.
    """

    def __init__(self, config: AgentConfig) -> None:
        self._config = config
        self._boot_id = uuid.uuid4()
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._running = True
        self._lock = _lock_directory(config.state_dir)
        self._spool = Spool(
            config.state_dir / "spool.db", self._boot_id.bytes, config.spool_records
        )
        self.models = Models(self._record)
        self._store = SlotStore(config.state_dir, DiskFiles())
        ports = Ports(self._verify, self._start_trial, self._activate, self._ask, self._report)
        self._updater = Updater(self._store, ports)
        self._connection = Connection(
            config.broker,
            client_id=f"ht-{config.tenant}-{config.device}",
            subscribe=(topics.all_down(config.tenant, config.device),),
            handlers=Handlers(self._on_connected, self._on_received, lambda: None),
            will=(self._up("state"), self._online(False)),
            tls=config.tls,
        )
        self._server = PredictionServer(config.socket_path, self.models, self._status)
        self._flush_at = 0.0
        self._resend_at = _NEVER
        self._resends = 0
        self._ask_at = _NEVER
        self._asks = 0

    def run(self) -> None:
        """Work until `stop` is called.

        Raises:
            DeviceError: HT612, the slots cannot be read.
        """
        self._updater.start()
        for name, pair in self._updater.saved.models.items():
            if pair.active is not None:
                self._activate(name)
        self._server.start()
        self._connection.start()
        self._flush_at = time.monotonic() + self._config.telemetry_period_s
        _log.info("%s is up, boot %s", self._config.device, self._boot_id.hex)
        while self._running:
            self._wait_and_work()
        self._close()

    def stop(self) -> None:
        """Ask `run` to end; may be called from a signal handler or another thread."""
        self._inbox.put(self._end)

    def _end(self) -> None:
        self._running = False

    def _close(self) -> None:
        self._server.stop()
        try:
            self._spool.flush()
        except DeviceError as error:
            _log.warning("%s", error)
        self._connection.stop(farewell=(self._up("state"), self._online(False)))
        self._spool.close()
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
            self._flush_at = now + self._config.telemetry_period_s
            self._flush()
        if now >= self._resend_at:
            self._send_telemetry()
        if now >= self._ask_at:
            self._ask_at = _NEVER
            self._updater.drain()
            if self._updater.stalled:
                self._expect_answer()
            elif self._updater.fetching:
                self._updater.handle(Timeout())

    # Messages: the MQTT thread only hands them over.

    def _on_connected(self) -> None:
        self._inbox.put(self._greet)

    def _on_received(self, topic: str, payload: bytes) -> None:
        parsed = topics.parse(topic)
        if parsed is None:
            return
        # Nothing we are sent is large or comes in floods; what is dropped here is asked for again.
        if len(payload) > LARGEST_MESSAGE or self._inbox.qsize() > LONGEST_INBOX:
            _log.warning("dropped %d bytes of %s", len(payload), topic)
            return
        self._inbox.put(partial(self._receive, parsed[2], payload))

    def _greet(self) -> None:
        """Say who we are, ask what is wanted, and take up what the break interrupted."""
        self._publish_birth()
        self._connection.publish(self._up("state"), self._online(True), retain=True)
        self._send("rq", Request(ask="jobs"))
        self._asks = self._resends = 0
        if self._updater.fetching:
            self._updater.handle(Timeout())
        self._send_telemetry()

    def _receive(self, kind: str, payload: bytes) -> None:
        if kind == "job":
            jobs = decode(JobList, payload, "dn/job")
            self._updater.handle(Listed(jobs.rev, jobs.offers))
        elif kind == "blk":
            self._asks = 0
            block = decode_block(payload)
            self._updater.handle(BlockArrived(block.sha256_head, block.index, block.data))
        elif kind == "ack":
            ack = decode(Ack, payload, "dn/ack")
            self._spool.acknowledge(bytes.fromhex(ack.boot_id), ack.seqs)
            self._resends = 0
            self._send_telemetry()
        if self._updater.stalled:
            self._expect_answer()

    # Telemetry.

    def _record(self, window: Window, outcome: Outcome) -> None:
        self._spool.add(window, [outcome], int(time.time()))

    def _flush(self) -> None:
        self._spool.flush()
        if self._resend_at == _NEVER:
            self._send_telemetry()

    def _send_telemetry(self) -> None:
        """Send the oldest records; they are sent again until the controller has them."""
        self._resend_at = _NEVER
        batch = self._spool.pending(BATCH_RECORDS)
        if batch is None or not self._connection.connected:
            return
        self._connection.publish(self._up("tm"), telemetry.encode_batch(*batch))
        wait = backoff_s(self._resends, 2 * ANSWER_WAIT_S, LONGEST_ANSWER_WAIT_S)
        self._resend_at = time.monotonic() + wait
        self._resends += 1

    # What the updater asks for.

    def _verify(self, data: bytes) -> Header:
        return verify(data, Keyring.load(self._config.trusted_keys), self._config.hardware)

    def _start_trial(self, trial: RunTrial) -> None:
        threading.Thread(target=self._try, args=(trial,), name="trial", daemon=True).start()

    def _try(self, trial: RunTrial) -> None:
        path = self._store.slot_path(trial.name, trial.slot)
        verdict = try_in_process(path, self._config.trial_timeout_s)
        ended = TrialEnded(trial.job_id, verdict.code, verdict.detail, verdict.again)
        self._inbox.put(partial(self._updater.handle, ended))

    def _activate(self, name: str) -> None:
        try:
            self.models.load(name, self._store.read_active(self._updater.saved, name))
        except HardtackError as error:
            _log.error("%s: %s", error.code, error)
        self._publish_birth()

    def _ask(self, ask: Ask) -> None:
        self._send("rq", Request(ask="blocks", sha256=ask.sha256, blocks=ask.blocks))
        self._expect_answer()

    def _expect_answer(self) -> None:
        wait = backoff_s(self._asks, ANSWER_WAIT_S, LONGEST_ANSWER_WAIT_S)
        self._ask_at = time.monotonic() + wait
        self._asks += 1

    def _report(self, report: Report) -> None:
        result = report.result
        _log.info("job %s: %s %s", result.job_id, result.state, result.detail)
        event = JobEvent(
            job_id=result.job_id, boot_id=self._boot_id.hex, state=result.state,
            attempt=result.attempt, code=result.code, detail=result.detail[:500],
            done=report.done, total=report.total,
        )  # fmt: skip
        self._send("ev", event)

    def _send(self, kind: str, message: Message) -> None:
        self._connection.publish(self._up(kind), message.encode())

    def _publish_birth(self) -> None:
        birth = Birth(
            boot_id=self._boot_id.hex, agent=hardtack_agent.__version__,
            hardware=self._config.hardware, bundle_format=FORMAT_VERSION, kernel_abi=KERNEL_ABI,
            models=tuple(self._model_states()),
        )  # fmt: skip
        self._connection.publish(self._up("birth"), birth.encode(), retain=True)

    def _model_states(self) -> list[ModelState]:
        states = []
        for name, pair in self._updater.saved.models.items():
            record = pair.get(pair.active) if pair.active is not None else None
            if pair.active is not None and record is not None:
                states.append(
                    ModelState(
                        name=name, version=record.version, sha256=record.sha256, slot=pair.active
                    )
                )
        return states

    def _status(self) -> dict[str, Any]:
        totals = self._spool.totals()
        return {
            "device": self._config.device,
            "boot_id": self._boot_id.hex,
            "connected": self._connection.connected,
            "models": [state.model_dump(mode="json") for state in self._model_states()],
            "waiting_records": self._spool.waiting(),
            "finished_records": totals.records,
            "finished_samples": totals.samples,
        }

    def _up(self, kind: str) -> str:
        return topics.up(self._config.tenant, self._config.device, kind)

    def _online(self, online: bool) -> bytes:
        return Online(boot_id=self._boot_id.hex, online=online).encode()


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
