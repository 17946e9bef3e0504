"""Rows of the fleet's database, as the rest of the program sees them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from hardtack_agent.messages import FINAL_STATES, ModelState
from hardtack_agent.telemetry import Note, Record, Window

Version = tuple[int, int, int]
EARLIEST_S = 1_735_689_600
"""2025-01-01: hardtack is younger."""
LATEST_AHEAD_S = 86_400


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """A device as last heard of.

    Attributes:
        device: Its name.
        online: What its last state message, or its last will, said.
        boot_id: Start of the agent it spoke from.
        agent: Version of the agent.
        hardware: Class.
        models: What it holds.
        last_seen: Seconds since 1970.
    """

    device: str
    online: bool
    boot_id: str
    agent: str
    hardware: str
    models: tuple[ModelState, ...]
    last_seen: float


@dataclass(frozen=True, slots=True)
class JobRow:
    """One bundle on its way to one device.

    Attributes:
        job_id: Its name.
        device: Where to.
        sha256: Which bundle file.
        release: `name@1.2.3`.
        state: As `hardtack_agent.messages.JobState`.
        attempt: Trials so far.
        code: HTnnn when it went wrong, else empty.
        detail: For people.
        done: Blocks held by the device, of `total`.
        updated: Seconds since 1970.
    """

    job_id: str
    device: str
    sha256: str
    release: str
    state: str
    attempt: int
    code: str
    detail: str
    done: int
    total: int
    updated: float

    @property
    def ended(self) -> bool:
        """True when nothing more will come."""
        return self.state in FINAL_STATES


def version_text(version: Version) -> str:
    """Return "1.2.3"."""
    return ".".join(map(str, version))


def read_version(text: str) -> Version:
    """Return (1, 2, 3); the inverse of `version_text`."""
    major, minor, patch = (int(part) for part in text.split("."))
    return major, minor, patch


def in_our_time(record: Record, now_s: int) -> Record:
    """Return the record, moved to end now when its device's clock cannot be right.

    A device that was never told the time says 1970; what it reports would else be too old for
    everyone who asks about today.
    """
    ended = record.end_s if isinstance(record, Window) else record.time_s
    if EARLIEST_S <= ended <= now_s + LATEST_AHEAD_S:
        return record
    if isinstance(record, Window):
        start = now_s - max(0, record.end_s - record.start_s)
        return replace(record, start_s=start, end_s=now_s)
    return replace(record, time_s=now_s)


def telemetry_row(device: str, boot_id: bytes, seq: int, window: Window) -> dict[str, Any]:
    """Return the columns of a record."""
    return {
        "device": device, "boot_id": boot_id.hex(), "seq": seq, "model": window.model,
        "version": version_text(window.version), "model_id": window.model_id.hex(),
        "start_s": window.start_s, "end_s": window.end_s, "samples": window.samples,
        "errors": window.errors, "labelled": window.labelled, "correct": window.correct,
        "latency_sum_us": window.latency_sum_us,
        # JSON has text keys only.
        "latency": {str(key): count for key, count in window.latency.items()},
        "classes": {str(key): count for key, count in window.classes.items()},
    }  # fmt: skip


def note_row(device: str, boot_id: bytes, seq: int, note: Note) -> dict[str, Any]:
    """Return the columns of a note."""
    return {
        "device": device, "boot_id": boot_id.hex(), "seq": seq, "kind": note.kind,
        "time_s": note.time_s, "body": dict(note.body),
    }  # fmt: skip


def read_window(row: sa.Row[Any]) -> Window:
    """Return the window of a record's columns; the inverse of `telemetry_row`."""
    return Window(
        row.model, read_version(row.version), bytes.fromhex(row.model_id), row.start_s, row.end_s,
        row.samples, row.errors, row.labelled, row.correct, row.latency_sum_us,
        {int(key): count for key, count in row.latency.items()},
        {int(key): count for key, count in row.classes.items()},
    )  # fmt: skip
