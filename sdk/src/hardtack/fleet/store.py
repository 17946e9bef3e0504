"""The fleet's database: the truth about devices, bundles, jobs and telemetry.

SQLite in WAL mode by default; any SQLAlchemy URL works whose dialect knows INSERT ... ON CONFLICT.
Every write that a message causes may be repeated without effect, because messages are.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from hardtack.fleet import schema
from hardtack.fleet.database import failed, open_engine
from hardtack.fleet.rows import (
    DeviceRow,
    JobRow,
    Version,
    note_row,
    read_version,
    read_window,
    telemetry_row,
    version_text,
)
from hardtack_agent.messages import (
    FINAL_STATES,
    Birth,
    JobEvent,
    ModelState,
    Offer,
    Online,
    make_offer,
)
from hardtack_agent.telemetry import Note, Record, Window, merge
from hardtack_runtime.bundle import read_header
from hardtack_runtime.errors import DeviceError

_NOTES_PER_KIND = 100


class Store:
    """The database; safe to use from several threads and processes.

    Args:
        url: SQLAlchemy URL, or a path of an SQLite file (made when absent).

    Raises:
        DeviceError: HT614, it cannot be opened or written.
    """

    def __init__(self, url: str | Path) -> None:
        self._offers: dict[str, Offer] = {}
        self._reader = open_engine(url)
        self._writer = self._reader.execution_options(hardtack_writes=True)
        self._lite = self._reader.dialect.name == "sqlite"
        self._where = str(self._reader.url)
        try:
            schema.metadata.create_all(self._writer)
        except sa.exc.SQLAlchemyError as error:
            raise failed(self._where, error) from error

    def close(self) -> None:
        """Close every connection."""
        self._reader.dispose()

    # Bundles and jobs.

    def add_bundle(self, data: bytes) -> str:
        """Keep a bundle; returns its SHA-256 as text.

        Raises:
            BundleError: HT211, HT212, it is no bundle.
            GateError: HT502, it is of another format version.
        """
        header = read_header(data)
        sha256 = hashlib.sha256(data).hexdigest()
        row = {
            "sha256": sha256, "name": header.name, "version": version_text(header.version),
            "hardware": header.hardware, "model_id": header.model_id.hex(), "data": data,
            "added": time.time(),
        }  # fmt: skip
        self._write([self._insert(schema.bundles).values(row).on_conflict_do_nothing()])
        return sha256

    def add_jobs(self, sha256: str, devices: Sequence[str]) -> list[str]:
        """Order a bundle for devices; a device with an open job for it keeps that one.

        Returns:
            One job id per device, in their order.
        """
        now = time.time()
        table = schema.jobs
        ids = []
        with self._begin() as connection:
            blocks = len(self._offer(connection, sha256).block_hashes)
            number = connection.execute(sa.select(sa.func.max(table.c.number))).scalar() or 0
            for offset, device in enumerate(devices, 1):
                same = sa.and_(table.c.device == device, table.c.sha256 == sha256, _open())
                job_id = connection.execute(sa.select(table.c.job_id).where(same)).scalar()
                if job_id is None:
                    job_id = secrets.token_hex(8)
                    row = {
                        "job_id": job_id, "device": device, "sha256": sha256, "state": "queued",
                        "total": blocks, "number": number + offset, "created": now,
                        "updated": _later(device, now),
                    }  # fmt: skip
                    connection.execute(table.insert().values(row))
                ids.append(job_id)
        return ids

    def cancel(self, job_id: str) -> bool:
        """End an open job; False when it has ended already.

        Raises:
            DeviceError: HT615, no such job.
        """
        updated = _later(self.job(job_id).device, time.time())
        table = schema.jobs
        change = (
            table.update()
            .where(table.c.job_id == job_id, _open())
            .values(state="cancelled", detail="cancelled by the operator", updated=updated)
        )
        return self._write([change]) > 0

    def open_offers(self, device: str) -> tuple[int, tuple[Offer, ...]]:
        """Return the revision and the open jobs of a device, as its job list says them.

        The revision grows with every change of any of its jobs: milliseconds since 1970, or
        one more than the last when the clock was set back.
        """
        table = schema.jobs
        wanted = sa.select(table.c.job_id, table.c.sha256).where(table.c.device == device, _open())
        latest = sa.select(sa.func.max(table.c.updated)).where(table.c.device == device)
        with self._look() as connection:
            rows = connection.execute(wanted.order_by(table.c.number)).all()
            revision = connection.execute(latest).scalar() or 0.0
            offers = tuple(
                self._offer(connection, sha256).model_copy(update={"job_id": job_id})
                for job_id, sha256 in rows
            )
        return int(revision * 1000), offers

    def devices_with_open_jobs(self) -> list[str]:
        """Return the devices that have something to do."""
        query = sa.select(schema.jobs.c.device).where(_open()).distinct()
        return [row[0] for row in self._read(query)]

    def block(self, sha256: str, index: int) -> bytes | None:
        """Return a block of a bundle, or None when there is no such block."""
        with self._look() as connection:
            try:
                offer = self._offer(connection, sha256)
            except DeviceError:
                return None
            if not 0 <= index < len(offer.block_hashes):
                return None
            start, length = index * offer.block_size, offer.block_length(index)
            part = sa.func.substr(schema.bundles.c.data, start + 1, length, type_=sa.LargeBinary)
            query = sa.select(part).where(schema.bundles.c.sha256 == sha256)
            data: bytes = connection.execute(query).scalar_one()
        return bytes(data)

    def wants(self, device: str, sha256: str) -> bool:
        """Say whether a device has an open job for a bundle: nobody else may fetch it."""
        table = schema.jobs
        mine = sa.and_(table.c.device == device, table.c.sha256 == sha256, _open())
        return bool(self._read(sa.select(table.c.job_id).where(mine).limit(1)))

    def job(self, job_id: str) -> JobRow:
        """Return one job.

        Raises:
            DeviceError: HT615, no such job.
        """
        rows = self.jobs(job_ids=[job_id])
        if not rows:
            raise DeviceError("HT615", job_id, "no such job")
        return rows[0]

    def jobs(self, device: str | None = None, job_ids: Iterable[str] | None = None) -> list[JobRow]:
        """Return jobs in the order they were made, all or those asked for."""
        table, bundles = schema.jobs, schema.bundles
        release = (bundles.c.name + "@" + bundles.c.version).label("release")
        query = sa.select(
            table.c.job_id, table.c.device, table.c.sha256, release, table.c.state,
            table.c.attempt, table.c.code, table.c.detail, table.c.done, table.c.total,
            table.c.updated,
        ).join(bundles)  # fmt: skip
        if device is not None:
            query = query.where(table.c.device == device)
        if job_ids is not None:
            query = query.where(table.c.job_id.in_(list(job_ids)))
        return [JobRow(*row) for row in self._read(query.order_by(table.c.number))]

    # What devices say.

    def devices(self) -> list[DeviceRow]:
        """Return every device ever heard of, by name."""
        table = schema.devices
        query = sa.select(
            table.c.device, table.c.online, table.c.boot_id, table.c.agent, table.c.hardware,
            table.c.models, table.c.last_seen,
        )  # fmt: skip
        rows = self._read(query.order_by(table.c.device))
        return [
            DeviceRow(
                row.device, row.online, row.boot_id, row.agent, row.hardware,
                tuple(ModelState.model_validate(one) for one in row.models), row.last_seen,
            )
            for row in rows
        ]  # fmt: skip

    def device_born(self, device: str, birth: Birth) -> None:
        """Note what a device is and holds."""
        self._note(device, {
            "boot_id": birth.boot_id, "agent": birth.agent, "hardware": birth.hardware,
            "models": [model.model_dump(mode="json") for model in birth.models],
        })  # fmt: skip

    def device_state(self, device: str, state: Online) -> None:
        """Note whether a device is there; the last will of an earlier start changes nothing."""
        table = schema.devices
        known = sa.select(table.c.boot_id).where(table.c.device == device)
        rows = self._read(known)
        if not state.online and rows and rows[0][0] not in ("", state.boot_id):
            return
        self._note(device, {"boot_id": state.boot_id, "online": state.online})

    def job_event(self, device: str, event: JobEvent) -> bool:
        """Note how a job stands; an ended job stays ended.

        Returns:
            True when this ended the job.
        """
        now = time.time()
        table, events = schema.jobs, schema.job_events
        row = {
            "job_id": event.job_id, "attempt": event.attempt, "state": event.state,
            "boot_id": event.boot_id, "code": event.code, "detail": event.detail,
            "first": now, "last": now,
        }  # fmt: skip
        values: dict[str, Any] = {
            "state": event.state, "attempt": event.attempt, "code": event.code,
            "detail": event.detail, "updated": _later(device, now),
        }  # fmt: skip
        if event.total:
            values |= {"done": event.done, "total": event.total}
        mine = sa.and_(table.c.job_id == event.job_id, table.c.device == device)
        with self._begin() as connection:
            if connection.execute(sa.select(table.c.job_id).where(mine)).first() is None:
                return False
            insert = self._insert(events).values(row)
            keys = ["job_id", "attempt", "state"]
            connection.execute(insert.on_conflict_do_update(keys, set_={"last": now}))
            change = table.update().where(mine, _open()).values(values)
            changed = connection.execute(change).rowcount
        return changed > 0 and event.state in FINAL_STATES

    def add_telemetry(
        self, device: str, boot_id: bytes, records: Iterable[tuple[int, Record]]
    ) -> None:
        """Commit records; one that is there already changes nothing."""
        windows, notes, kinds = [], [], set()
        for seq, record in records:
            if isinstance(record, Note):
                notes.append(note_row(device, boot_id, seq, record))
                kinds.add(record.kind)
            else:
                windows.append(telemetry_row(device, boot_id, seq, record))
        writes = [
            self._insert(table).values(rows).on_conflict_do_nothing()
            for table, rows in ((schema.telemetry, windows), (schema.notes, notes))
            if rows
        ]
        if writes:
            self._write([*writes, *(_keep_newest(device, kind) for kind in sorted(kinds))])

    def notes(self, device: str | None = None, since_s: int = 0) -> list[tuple[str, Note]]:
        """Return (device, note) of every note since `since_s`, oldest first."""
        table = schema.notes
        query = sa.select(table).where(table.c.time_s >= since_s)
        if device is not None:
            query = query.where(table.c.device == device)
        rows = self._read(query.order_by(table.c.time_s, table.c.device, table.c.seq))
        return [(row.device, Note(row.kind, row.time_s, row.body)) for row in rows]

    def telemetry_keys(self, device: str) -> list[tuple[str, int]]:
        """Return (boot id, sequence number) of every record of a device."""
        table = schema.telemetry
        query = sa.select(table.c.boot_id, table.c.seq).where(table.c.device == device)
        return [
            (row[0], row[1]) for row in self._read(query.order_by(table.c.boot_id, table.c.seq))
        ]

    def windows(
        self, device: str | None = None, model: str | None = None, since_s: int = 0
    ) -> list[tuple[str, Window]]:
        """Return (device, window) of every record that ended since `since_s`, oldest first."""
        table = schema.telemetry
        query = sa.select(table).where(table.c.end_s >= since_s)
        if device is not None:
            query = query.where(table.c.device == device)
        if model is not None:
            query = query.where(table.c.model == model)
        rows = self._read(query.order_by(table.c.end_s, table.c.device, table.c.seq))
        return [(row.device, read_window(row)) for row in rows]

    def totals(self, since_s: int = 0) -> dict[tuple[str, str, Version], Window]:
        """Return the merged windows per (device, model, version)."""
        totals: dict[tuple[str, str, Version], Window] = {}
        for device, window in self.windows(since_s=since_s):
            key = (device, window.model, window.version)
            totals[key] = merge(totals[key], window) if key in totals else window
        return totals

    # Within.

    def _offer(self, connection: sa.Connection, sha256: str) -> Offer:
        """Return the description of a bundle; its job id is filled in by the caller."""
        offer = self._offers.get(sha256)
        if offer is None:
            bundle = schema.bundles
            query = sa.select(bundle.c.name, bundle.c.version, bundle.c.data)
            row = connection.execute(query.where(bundle.c.sha256 == sha256)).first()
            if row is None:
                raise DeviceError("HT615", sha256[:16], "no such bundle in the store")
            offer = make_offer("00000000", row[0], read_version(row[1]), bytes(row[2]))
            self._offers[sha256] = offer
        return offer

    def _note(self, device: str, fields: Mapping[str, Any]) -> None:
        now = time.time()
        row = {"device": device, "first_seen": now, "last_seen": now, **fields}
        change = {**fields, "last_seen": now}
        insert = self._insert(schema.devices).values(row)
        self._write([insert.on_conflict_do_update(["device"], set_=change)])

    def _insert(self, table: sa.Table) -> Any:
        # The two dialects' inserts share on_conflict_do_*, but not a base class that says so.
        return sqlite.insert(table) if self._lite else postgresql.insert(table)

    @contextlib.contextmanager
    def _begin(self) -> Iterator[sa.Connection]:
        try:
            with self._writer.begin() as connection:
                yield connection
        except sa.exc.SQLAlchemyError as error:
            raise failed(self._where, error) from error

    def _write(self, statements: Iterable[Any]) -> int:
        with self._begin() as connection:
            return sum(connection.execute(statement).rowcount for statement in statements)

    @contextlib.contextmanager
    def _look(self) -> Iterator[sa.Connection]:
        try:
            with self._reader.connect() as connection:
                yield connection
        except sa.exc.SQLAlchemyError as error:
            raise failed(self._where, error) from error

    def _read(self, query: sa.Select[Any]) -> Sequence[Any]:
        with self._look() as connection:
            return connection.execute(query).all()


def _later(device: str, now: float) -> sa.ColumnElement[float]:
    """Return now, or a millisecond after the last change of the device's jobs if that is later.

    Devices ignore a job list with a lower revision: a clock set back must not silence us.
    """
    other = schema.jobs.alias()
    newest = sa.select(sa.func.max(other.c.updated)).where(other.c.device == device)
    last = sa.func.coalesce(newest.scalar_subquery(), 0.0)
    return sa.case((last >= now, last + 0.001), else_=now)


def _keep_newest(device: str, kind: str) -> Any:
    table = schema.notes
    ours = sa.and_(table.c.device == device, table.c.kind == kind)
    newest = sa.select(table.c.time_s).where(ours).order_by(table.c.time_s.desc())
    oldest = newest.offset(_NOTES_PER_KIND - 1).limit(1).scalar_subquery()
    return table.delete().where(ours, table.c.time_s < oldest)


def _open() -> sa.ColumnElement[bool]:
    return schema.jobs.c.state.not_in(FINAL_STATES)
