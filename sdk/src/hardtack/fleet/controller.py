"""The controller: says what each device should run, serves the blocks, keeps what it reports.

It holds nothing of its own. The store is the truth; what it publishes are hints and answers that
may be lost or repeated. Several controllers on one store do not harm each other.
"""

from __future__ import annotations

import logging
import queue
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Self

from hardtack.fleet.rows import JobRow, in_our_time
from hardtack.fleet.store import Store
from hardtack_agent import telemetry, topics
from hardtack_agent.messages import (
    Ack,
    Birth,
    Block,
    JobEvent,
    JobList,
    Message,
    Online,
    Request,
    decode,
    encode_block,
)
from hardtack_agent.transport import Connection, Endpoint, Handlers, Tls
from hardtack_runtime.errors import DeviceError, HardtackError, ModelImportError

_log = logging.getLogger(__name__)


class Controller:
    """The fleet's side of every conversation, on a thread of its own.

    Args:
        store: The database.
        broker_url: mqtt://host:port or mqtts://host:port.
        tenant: Whose fleet.
        tls: Files for mqtts.

    Raises:
        ConfigError: HT104, the address or a TLS file is wrong.
    """

    def __init__(
        self, store: Store, broker_url: str, tenant: str = "default", tls: Tls | None = None
    ) -> None:
        self._store = store
        self._tenant = tenant
        self._broker = broker_url
        self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._connected = threading.Event()
        self._connection = Connection(
            broker_url,
            client_id=f"ht-controller-{secrets.token_hex(4)}",
            subscribe=(topics.all_up(tenant),),
            handlers=Handlers(self._on_connected, self._on_received, self._connected.clear),
            tls=tls,
        )
        self._thread = threading.Thread(target=self._work, name="controller", daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, timeout_s: float = 5.0) -> None:
        """Connect and begin to work; from then on a lost broker is waited for.

        Raises:
            DeviceError: HT601, no broker answered within `timeout_s`.
        """
        self._connection.start()
        if not self._connected.wait(timeout_s):
            self._connection.stop()
            raise _no_broker(self._connection.endpoint, timeout_s)
        self._thread.start()

    def stop(self) -> None:
        """Finish what has arrived, and disconnect."""
        self._inbox.put(None)
        self._thread.join()
        self._connection.stop()

    def push(self, bundle: Path | bytes, devices: Sequence[str]) -> list[str]:
        """Order a bundle for devices.

        A device need not be connected, nor known yet: it is told when it comes.

        Returns:
            A job id per device.

        Raises:
            ModelImportError: HT201, the file cannot be read.
            BundleError: HT211, HT212, it is no bundle.
            ValueError: a device's name cannot be part of a topic.
        """
        wrong = [device for device in devices if not topics.is_name(device)]
        if wrong:
            raise ValueError(f"{wrong[0]!r} is no device name")
        data = bundle if isinstance(bundle, bytes) else _read(bundle)
        ids = self._store.add_jobs(self._store.add_bundle(data), devices)
        for device in devices:
            self._tell(device)
        return ids

    def cancel(self, job_id: str) -> bool:
        """End an open job wherever it stands; False when it has ended already.

        Raises:
            DeviceError: HT615, no such job.
        """
        cancelled = self._store.cancel(job_id)
        self._tell(self._store.job(job_id).device)
        return cancelled

    def wait(
        self,
        job_ids: Iterable[str],
        timeout_s: float,
        progress: Callable[[list[JobRow]], None] | None = None,
    ) -> list[JobRow]:
        """Wait until jobs have ended.

        Args:
            job_ids: Which.
            timeout_s: Longest wait.
            progress: Told how all of them stand, after every change.

        Raises:
            DeviceError: HT605, one has not ended in time; it stays open.
        """
        wanted = list(job_ids)
        deadline = time.monotonic() + timeout_s
        seen: list[JobRow] = []
        while True:
            rows = self._store.jobs(job_ids=wanted)
            if progress is not None and rows != seen:
                progress(rows)
            seen = rows
            late = [row for row in rows if not row.ended]
            left = deadline - time.monotonic()
            if not late:
                return rows
            if left <= 0:
                raise DeviceError(
                    "HT605", late[0].device, f"is still {late[0].state} after {timeout_s:g} s",
                    "the job stays open: it goes on when the device comes back",
                )  # fmt: skip
            # Another controller on the same store may be the one that hears the device.
            with self._changed:
                self._changed.wait(min(left, 0.5))

    # The MQTT thread only hands over.

    def _on_connected(self) -> None:
        self._connected.set()
        self._inbox.put(self._tell_all)

    def _on_received(self, topic: str, payload: bytes) -> None:
        parsed = topics.parse(topic)
        if parsed is not None:
            self._inbox.put(partial(self._receive, parsed[1], parsed[2], payload))

    def _work(self) -> None:
        while (work := self._inbox.get()) is not None:
            try:
                work()
            except HardtackError as error:
                _log.warning("%s: %s", error.code, error)
            except Exception:
                # A fault of ours in one message must not deafen us to the whole fleet.
                _log.exception("a message could not be handled")

    def _tell_all(self) -> None:
        """Repeat every open job: a broker that crashed may have forgotten its retained hints."""
        for device in self._store.devices_with_open_jobs():
            self._tell(device)

    def _tell(self, device: str) -> None:
        revision, offers = self._store.open_offers(device)
        self._send(device, "job", JobList(rev=revision, offers=offers), retain=True)

    def _receive(self, device: str, kind: str, payload: bytes) -> None:
        where = f"{device}/up/{kind}"
        if kind == "birth":
            self._store.device_born(device, decode(Birth, payload, where))
        elif kind == "state":
            self._store.device_state(device, decode(Online, payload, where))
        elif kind == "ev":
            self._take_event(device, decode(JobEvent, payload, where))
        elif kind == "rq":
            self._answer(device, decode(Request, payload, where))
        elif kind == "tm":
            self._take_telemetry(device, payload)
        with self._changed:
            self._changed.notify_all()

    def _take_event(self, device: str, event: JobEvent) -> None:
        if self._store.job_event(device, event):
            self._tell(device)

    def _answer(self, device: str, request: Request) -> None:
        if request.ask == "jobs":
            self._tell(device)
            return
        sha256 = request.sha256 or ""
        if not self._store.wants(device, sha256):
            self._tell(device)
            return
        for index in request.blocks:
            data = self._store.block(sha256, index)
            if data is not None:
                block = Block(bytes.fromhex(sha256)[:16], index, data)
                topic = topics.down(self._tenant, device, "blk")
                self._connection.publish(topic, encode_block(block), qos=0)

    def _take_telemetry(self, device: str, payload: bytes) -> None:
        refused: dict[int, DeviceError] = {}
        boot_id, records = telemetry.decode_batch(payload, refused)
        for seq, error in refused.items():
            _log.warning("%s: %s: record %d is dropped: %s", device, error.code, seq, error)
        now = int(time.time())
        dated = [(seq, in_our_time(record, now)) for seq, record in records]
        self._store.add_telemetry(device, boot_id, dated)
        # Only now is it safe for the device to forget them; what cannot be read never will be.
        seqs = (*(seq for seq, _ in records), *refused)
        self._send(device, "ack", Ack(boot_id=boot_id.hex(), seqs=seqs))

    def _send(self, device: str, kind: str, message: Message, *, retain: bool = False) -> None:
        topic = topics.down(self._tenant, device, kind)
        self._connection.publish(topic, message.encode(), retain=retain)


def _no_broker(endpoint: Endpoint, waited_s: float) -> DeviceError:
    """Say why there is no session: nobody there, or somebody who does not let us in."""
    where = f"{endpoint.host}:{endpoint.port}"
    try:
        socket.create_connection((endpoint.host, endpoint.port), 2).close()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        return DeviceError(
            "HT601", where, f"no broker answered within {waited_s:g} s: {reason}",
            f"is it running? `hardtack serve --port {endpoint.port}` starts one",
        )  # fmt: skip
    return DeviceError(
        "HT601", where, f"something listens, but gave us no session within {waited_s:g} s",
        "check user, password and certificates; mqtts:// needs a broker that speaks TLS",
    )  # fmt: skip


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelImportError("HT201", str(path), f"cannot be read: {error.strerror}") from error
