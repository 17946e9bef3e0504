"""Where telemetry waits until the controller has committed it.

One SQLite file holds the open windows, the finished records and the running totals. A finished
record is (boot_id, seq, window); it leaves only when the controller says it has it.

Two strengths of writing. An outcome is added to its open window in the file before the caller
hears the prediction, without waiting for the disk: kill -9 loses nothing, a power cut may lose
the open windows (at most one telemetry period). A finished record waits for the disk
(synchronous=FULL): after that nothing loses it. Closing a window is one transaction, so a
sample is in an open window or in a record, never in both.

When `max_records` records wait, windows stay open and grow: coarser in time, nothing dropped.

A gateway takes records that a board made: `take` writes the record and the mark that says how far
the board was read in one transaction, so a record that is told twice is kept once.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cbor2

from hardtack_agent import telemetry
from hardtack_agent.telemetry import Note, Outcome, Record, Window
from hardtack_runtime.errors import DeviceError

_log = logging.getLogger(__name__)
_SOURCES = 64
_SCHEMA = """
CREATE TABLE IF NOT EXISTS boots (boot BLOB PRIMARY KEY, ord INTEGER UNIQUE, next_seq INTEGER)
  WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS open (model TEXT, model_id BLOB, window BLOB,
  PRIMARY KEY (model, model_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS records (ord INTEGER, seq INTEGER, boot BLOB, window BLOB,
  PRIMARY KEY (ord, seq)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS totals (id INTEGER PRIMARY KEY CHECK (id = 0), records INTEGER,
  samples INTEGER, errors INTEGER, labelled INTEGER, correct INTEGER);
CREATE TABLE IF NOT EXISTS marks (source BLOB, what TEXT, value INTEGER,
  UNIQUE (source, what) ON CONFLICT REPLACE);
INSERT OR IGNORE INTO totals VALUES (0, 0, 0, 0, 0, 0);
"""


@dataclass(frozen=True, slots=True)
class Mark:
    """How far something was read.

    Attributes:
        source: What was read: the boot_id of a board, or another name.
        what: Which of its things.
        value: Only grows; 0 before anything was read.
    """

    source: bytes
    what: str
    value: int


@dataclass(frozen=True, slots=True)
class Totals:
    """What this device has ever recorded, sent or not: the other side of the controller's books.

    Attributes:
        records: Finished records.
        samples, errors, labelled, correct: Sums over them.
    """

    records: int
    samples: int
    errors: int
    labelled: int
    correct: int


class Spool:
    """The file of windows and records; safe to use from several threads.

    Args:
        path: SQLite file, made when absent.
        boot_id: 16 bytes that name this start of the agent.
        max_records: Finished records kept before windows stay open; about 400 bytes each.

    Raises:
        DeviceError: HT603, the disk is full; HT612, the file cannot be used.
    """

    def __init__(self, path: Path, boot_id: bytes, max_records: int = 20_000) -> None:
        self._path = path
        self._boot = boot_id
        self._max_records = max_records
        self._lock = threading.Lock()
        self._windows: dict[tuple[str, bytes], Window] = {}
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA busy_timeout=5000")
            self._db.executescript(_SCHEMA)
            self._begin(durable=True)
            self._enter_boot()
            self._db.execute("COMMIT")
            # A full spool keeps even the windows of an earlier start open: they go on growing.
            for (blob,) in self._db.execute("SELECT window FROM open"):
                left = telemetry.from_map(cbor2.loads(blob))
                self._windows[left.key] = left
        except sqlite3.Error as error:
            raise _failed(path, error) from error
        self.flush()

    def add(self, window: Window, outcomes: Iterable[Outcome], now_s: int) -> None:
        """Add outcomes to the open window of this model version.

        Args:
            window: Empty window that says which model, used when none is open.
            outcomes: What happened.
            now_s: Seconds since 1970.
        """
        with self._lock:
            new = telemetry.record(self._windows.get(window.key, window), outcomes, now_s)
            self._windows[new.key] = new
            try:
                self._begin(durable=False)
                self._db.execute(
                    "INSERT OR REPLACE INTO open VALUES (?, ?, ?)", (*new.key, _encode(new))
                )
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                # A full disk must not stop predictions: memory has it, the next write takes all.
                self._undo()
                _log.warning("%s", _failed(self._path, error))

    def flush(self) -> int:
        """Turn every open window into a finished record, on disk when this returns.

        Returns:
            How many; 0 also when `max_records` wait already.

        Raises:
            DeviceError: HT603 or HT612; the windows stay open then.
        """
        with self._lock:
            try:
                if self._waiting() >= self._max_records:
                    return 0
                self._begin(durable=True)
                for window in self._windows.values():
                    self._finish(window)
                self._db.execute("DELETE FROM open")
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                self._undo()
                raise _failed(self._path, error) from error
            finished = len(self._windows)
            self._windows.clear()
            return finished

    def take(self, record: Record, mark: Mark, *, numbered: bool = False) -> bool:
        """Keep a record of a board, on disk when this returns.

        Args:
            record: What it told.
            mark: How far it is read with this; nothing happens when it was read so far before.
                A note that is no fault is dropped, but marked, while half of `max_records` wait.
            numbered: The record is of boot `mark.source` with the sequence number `mark.value`;
                else it gets a number of ours.

        Returns:
            False when it was taken before.

        Raises:
            DeviceError: HT603 or HT612; nothing is taken then.
        """
        with self._lock:
            try:
                self._begin(durable=True)
                is_new = self._mark(mark.source, mark.what) < mark.value
                if is_new:
                    self._db.execute(
                        "INSERT INTO marks VALUES (?, ?, ?)", (mark.source, mark.what, mark.value)
                    )
                    # Whole sources: a boot that still speaks must not lose the mark of its log.
                    self._db.execute(
                        "DELETE FROM marks WHERE source NOT IN (SELECT source FROM marks"
                        " GROUP BY source ORDER BY max(rowid) DESC LIMIT ?)",
                        (_SOURCES,),
                    )
                    if self._crowds_out(record):
                        pass
                    elif numbered:
                        self._enter(mark.source)
                        self._insert(mark.source, mark.value, record)
                    else:
                        self._finish(record)
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                self._undo()
                raise _failed(self._path, error) from error
            return is_new

    def mark(self, source: bytes, what: str) -> int:
        """Return how far something was read."""
        with self._reading():
            return self._mark(source, what)

    @property
    def full(self) -> bool:
        """Whether no more records are to be taken: boards keep theirs, and let them grow."""
        return self.waiting() >= self._max_records

    def forget(self, source: bytes) -> None:
        """Drop the marks of a source."""
        with self._reading():
            self._db.execute("DELETE FROM marks WHERE source = ?", (source,))

    def pending(self, limit: int) -> tuple[bytes, list[tuple[int, Record]]] | None:
        """Return the oldest records of one boot, or None when none wait.

        Returns:
            The boot id and at most `limit` (seq, record) pairs, oldest first.
        """
        with self._reading():
            rows = self._db.execute(
                "SELECT boot, seq, window FROM records WHERE ord = (SELECT min(ord) FROM records)"
                " ORDER BY seq LIMIT ?",
                (limit,),
            ).fetchall()
        if not rows:
            return None
        records = [(seq, telemetry.read_record(cbor2.loads(blob))) for _, seq, blob in rows]
        return rows[0][0], records

    def acknowledge(self, boot_id: bytes, seqs: Iterable[int]) -> None:
        """Forget records the controller has committed; unknown ones are ignored."""
        with self._lock:
            try:
                # Losing this to a power cut only means the controller sees the record again.
                self._begin(durable=False)
                self._db.executemany(
                    "DELETE FROM records WHERE boot = ? AND seq = ?",
                    [(boot_id, seq) for seq in seqs],
                )
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                self._undo()
                raise _failed(self._path, error) from error

    def waiting(self) -> int:
        """Return how many finished records wait."""
        with self._reading():
            return self._waiting()

    def totals(self) -> Totals:
        """Return what was ever finished on this device."""
        with self._reading():
            row = self._db.execute(
                "SELECT records, samples, errors, labelled, correct FROM totals"
            ).fetchone()
        return Totals(*row)

    def close(self) -> None:
        """Close the file; open windows stay in it and are finished at the next start."""
        with self._lock:
            self._db.close()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise _failed(self._path, error) from error

    def _enter_boot(self) -> None:
        self._enter(self._boot)
        # An earlier boot without records will never number another one.
        self._db.execute(
            "DELETE FROM boots WHERE boot != ? AND boot NOT IN (SELECT boot FROM records)",
            (self._boot,),
        )

    def _enter(self, boot: bytes) -> None:
        (last,) = self._db.execute("SELECT coalesce(max(ord), 0) FROM boots").fetchone()
        self._db.execute("INSERT OR IGNORE INTO boots VALUES (?, ?, 1)", (boot, last + 1))

    def _mark(self, source: bytes, what: str) -> int:
        row = self._db.execute(
            "SELECT value FROM marks WHERE source = ? AND what = ?", (source, what)
        ).fetchone()
        return int(row[0]) if row is not None else 0

    def _crowds_out(self, record: Record) -> bool:
        """Whether this is gossip that would take the room of predictions."""
        is_gossip = isinstance(record, Note) and record.kind != "fault"
        return is_gossip and self._waiting() >= self._max_records // 2

    def _finish(self, record: Record) -> None:
        (seq,) = self._db.execute(
            "SELECT next_seq FROM boots WHERE boot = ?", (self._boot,)
        ).fetchone()
        self._insert(self._boot, seq, record)
        self._db.execute("UPDATE boots SET next_seq = next_seq + 1 WHERE boot = ?", (self._boot,))

    def _insert(self, boot: bytes, seq: int, record: Record) -> None:
        (ordinal,) = self._db.execute("SELECT ord FROM boots WHERE boot = ?", (boot,)).fetchone()
        self._db.execute(
            "INSERT INTO records VALUES (?, ?, ?, ?)", (ordinal, seq, boot, _encode(record))
        )
        window = record if isinstance(record, Window) else Window("", (0, 0, 0), b"", 0, 0)
        self._db.execute(
            "UPDATE totals SET records = records + 1, samples = samples + ?, errors = errors + ?,"
            " labelled = labelled + ?, correct = correct + ?",
            (window.samples, window.errors, window.labelled, window.correct),
        )

    def _waiting(self) -> int:
        count: int = self._db.execute("SELECT count(*) FROM records").fetchone()[0]
        return count

    def _begin(self, *, durable: bool) -> None:
        self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        self._db.execute("BEGIN IMMEDIATE")

    def _undo(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # the first error is the one to tell
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")


def _encode(record: Record) -> bytes:
    return cbor2.dumps(telemetry.to_map(record))


def _failed(path: Path, error: sqlite3.Error) -> DeviceError:
    if "full" in str(error):
        return DeviceError(
            "HT603", str(path), "the disk is full", "make room; it goes on by itself"
        )
    return DeviceError("HT612", str(path), f"the telemetry spool failed: {error}")
