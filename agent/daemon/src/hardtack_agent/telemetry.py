"""Telemetry windows: counts and histograms that merge exactly.

A window sums what one model version did between two moments. Every field is a sum (or a minimum
or maximum of times), so merging windows in any order gives the same result. A note is what a
microcontroller has to tell besides: a fault, its log, its stack, the cycles of each layer.

Source: SPEC section 4.3.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import cbor2

from hardtack_runtime.cbor import read_cbor
from hardtack_runtime.errors import DeviceError

SCHEMA = 1
MAX_CLASSES = 4096
"""Classes that are counted one by one; a model may have more."""
_MAX_COUNT = 2**63
_MAX_NOTE = 32768
NOTE_FIELDS: Mapping[str, Mapping[str, type]] = {
    "fault": dict.fromkeys(("pc", "lr", "psr", "cause", "operator", "count"), int),
    "log": {"text": str},
    "health": {
        "firmware": str, "chip": str, "uptime_ms": int, "reset_cause": int, "stack_used": int,
        "stack_size": int,
    },
    "layers": {"model": str, "ticks_per_s": int, "ticks": list},
}  # fmt: skip
"""What the body of a note of each kind has at least; `list` is one of whole numbers."""

LATENCY_EDGES_US = tuple(int(8 * 2 ** (k / 2)) for k in range(48))
"""Bucket b counts latencies in [edge[b-1], edge[b]) microseconds; bucket 0 lies below 8 us,
bucket 48 at or above 94.9 s. Pinned: changing one is a new schema."""


@dataclass(frozen=True, slots=True)
class Window:
    """What one version of one model did in a stretch of time.

    Attributes:
        model: Its name.
        version: SemVer.
        model_id: 16 bytes, as in the bundle's header.
        start_s: First moment, whole seconds since 1970.
        end_s: Last moment.
        samples: Predictions made, errors not counted.
        errors: Requests that could not be answered.
        labelled: Predictions for which the truth was told.
        correct: Of these, the right ones.
        latency_sum_us: Sum of the latencies.
        latency: Count per bucket of `LATENCY_EDGES_US`; absent is 0.
        classes: Count per predicted class below `MAX_CLASSES`; absent is 0.
    """

    model: str
    version: tuple[int, int, int]
    model_id: bytes
    start_s: int
    end_s: int
    samples: int = 0
    errors: int = 0
    labelled: int = 0
    correct: int = 0
    latency_sum_us: int = 0
    latency: Mapping[int, int] = field(default_factory=dict)
    classes: Mapping[int, int] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, bytes]:
        """What windows must share to be merged."""
        return self.model, self.model_id


@dataclass(frozen=True, slots=True)
class Note:
    """Something a device tells once.

    Attributes:
        kind: One of `NOTE_FIELDS`.
        time_s: When it was heard, seconds since 1970.
        body: Text keys; values are whole numbers, text, or lists of whole numbers.
    """

    kind: str
    time_s: int
    body: Mapping[str, Any]


Record = Window | Note


@dataclass(frozen=True, slots=True)
class Outcome:
    """One answered (or failed) request.

    Attributes:
        latency_us: Time inside the interpreter.
        predicted: Class, or None when the model does not classify.
        correct: Whether it was right, or None when nobody said.
        failed: True for a request that could not be answered; the others are then ignored.
    """

    latency_us: int = 0
    predicted: int | None = None
    correct: bool | None = None
    failed: bool = False


def latency_bucket(latency_us: int) -> int:
    """Return the bucket, 0..48, of a latency."""
    return bisect_right(LATENCY_EDGES_US, latency_us)


def record(window: Window, outcomes: Iterable[Outcome], now_s: int) -> Window:
    """Return the window with these outcomes added; a clock before 1970 is read as 1970."""
    latency, classes = dict(window.latency), dict(window.classes)
    samples = errors = labelled = correct = latency_sum = 0
    for one in outcomes:
        if one.failed:
            errors += 1
            continue
        samples += 1
        latency_sum += one.latency_us
        bucket = latency_bucket(one.latency_us)
        latency[bucket] = latency.get(bucket, 0) + 1
        if one.predicted is not None and one.predicted < MAX_CLASSES:
            classes[one.predicted] = classes.get(one.predicted, 0) + 1
        if one.correct is not None:
            labelled += 1
            correct += one.correct
    return replace(
        window, start_s=max(0, window.start_s), end_s=max(0, window.end_s, now_s),
        samples=window.samples + samples,
        errors=window.errors + errors, labelled=window.labelled + labelled,
        correct=window.correct + correct, latency_sum_us=window.latency_sum_us + latency_sum,
        latency=latency, classes=classes,
    )  # fmt: skip


def merge(first: Window, second: Window) -> Window:
    """Return the sum of two windows of the same model version.

    Raises:
        ValueError: they are of different models.
    """
    if first.key != second.key:
        raise ValueError(f"windows of {first.model} and {second.model} do not add up")
    return replace(
        first,
        start_s=min(first.start_s, second.start_s),
        end_s=max(first.end_s, second.end_s),
        samples=first.samples + second.samples,
        errors=first.errors + second.errors,
        labelled=first.labelled + second.labelled,
        correct=first.correct + second.correct,
        latency_sum_us=first.latency_sum_us + second.latency_sum_us,
        latency=_add(first.latency, second.latency),
        classes=_add(first.classes, second.classes),
    )


def latency_quantile_us(latency: Mapping[int, int], quantile: float) -> int | None:
    """Return the upper edge of the bucket that holds the quantile; None without samples.

    Args:
        latency: Count per bucket.
        quantile: In (0, 1].
    """
    rank = quantile * sum(latency.values())
    seen = 0
    for bucket in sorted(latency):
        seen += latency[bucket]
        if seen >= rank:
            return LATENCY_EDGES_US[min(bucket, len(LATENCY_EDGES_US) - 1)]
    return None


def to_map(record: Record) -> dict[int, Any]:
    """Return the record as the integer-keyed map of SPEC section 4.3; zeros are left out."""
    if isinstance(record, Note):
        return {14: record.kind, 15: record.time_s, 16: dict(record.body)}
    window = record
    full: dict[int, Any] = {
        2: window.model, 3: list(window.version), 4: window.model_id,
        5: window.start_s, 6: window.end_s, 7: window.samples, 8: window.errors,
        9: window.labelled, 10: window.correct, 11: window.latency_sum_us,
        12: dict(sorted(window.latency.items())), 13: dict(sorted(window.classes.items())),
    }  # fmt: skip
    return {key: value for key, value in full.items() if key < 7 or value}


def from_map(fields: Mapping[Any, Any]) -> Window:
    """Read the integer-keyed map of a window; the inverse of `to_map`.

    Raises:
        DeviceError: HT613, a field is missing, of the wrong type, or out of range.
    """
    version, model_id, model = fields.get(3), fields.get(4), fields.get(2)
    if not isinstance(model, str) or not 0 < len(model) <= 64:
        raise _refused("model")
    if not isinstance(model_id, bytes) or len(model_id) != 16:
        raise _refused("model_id")
    if not isinstance(version, list) or len(version) != 3:
        raise _refused("version")
    major, minor, patch = (_count(part, "version") for part in version)
    start, end, samples, errors, labelled, correct, latency_sum = (
        _count(fields.get(key, 0), str(key)) for key in (5, 6, 7, 8, 9, 10, 11)
    )
    return Window(
        model, (major, minor, patch), model_id, start, end, samples, errors, labelled, correct,
        latency_sum,
        latency=_histogram(fields.get(12, {}), "latency", len(LATENCY_EDGES_US)),
        classes=_histogram(fields.get(13, {}), "classes", MAX_CLASSES - 1),
    )  # fmt: skip


def read_record(fields: Mapping[Any, Any]) -> Record:
    """Read a window or a note; raises as `from_map`."""
    if 14 not in fields:
        return from_map(fields)
    kind, body = fields[14], fields.get(16)
    if not isinstance(kind, str) or kind not in NOTE_FIELDS or not isinstance(body, dict):
        raise _refused("note")
    if len(cbor2.dumps(body)) > _MAX_NOTE:
        raise _refused("note")
    for key, value in body.items():
        plain = value if isinstance(value, list) else [value]
        if not isinstance(key, str) or not all(type(one) in (int, str) for one in plain):
            raise _refused("note")
    for name, kind_of in NOTE_FIELDS[kind].items():
        value = body.get(name)
        if type(value) is not kind_of or (
            isinstance(value, list) and any(type(one) is not int for one in value)
        ):
            raise _refused(f"{kind}: {name}")
    return Note(kind, _count(fields.get(15), "15"), body)


def encode_batch(boot_id: bytes, records: Iterable[tuple[int, Record]]) -> bytes:
    """Write the CBOR of up/tm: {0: schema, 1: boot_id, 2: [{1: seq, ...record}]}.

    Args:
        boot_id: 16 bytes.
        records: (sequence number, record) pairs of that boot.
    """
    rows = [{1: seq, **to_map(record)} for seq, record in records]
    return cbor2.dumps({0: SCHEMA, 1: boot_id, 2: rows}, canonical=True)


def decode_batch(
    payload: bytes, refused: dict[int, DeviceError] | None = None
) -> tuple[bytes, list[tuple[int, Record]]]:
    """Read up/tm; the inverse of `encode_batch`.

    Args:
        payload: Its bytes.
        refused: Takes the error of each record that cannot be read, by sequence number; without
            it, one such record refuses the batch.

    Raises:
        DeviceError: HT613, not CBOR of this schema.
    """
    try:
        batch = read_cbor(payload)
    except ValueError as error:
        raise DeviceError("HT613", "up/tm", str(error)) from error
    if not isinstance(batch, dict) or batch.get(0) != SCHEMA:
        raise DeviceError("HT613", "up/tm", f"not a telemetry batch of schema {SCHEMA}")
    boot_id, rows = batch.get(1), batch.get(2)
    if not isinstance(boot_id, bytes) or len(boot_id) != 16:
        raise _refused("boot_id")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise _refused("records")
    records: list[tuple[int, Record]] = []
    for row in rows:
        seq = _count(row.get(1), "seq")
        try:
            records.append((seq, read_record(row)))
        except DeviceError as error:
            if refused is None:
                raise
            refused[seq] = error
    return boot_id, records


def _add(first: Mapping[int, int], second: Mapping[int, int]) -> dict[int, int]:
    return {key: first.get(key, 0) + second.get(key, 0) for key in {*first, *second}}


def _refused(what: str) -> DeviceError:
    return DeviceError("HT613", "up/tm", f"{what} is missing or malformed")


def _count(value: Any, what: str) -> int:
    if type(value) is not int or not 0 <= value < _MAX_COUNT:
        raise _refused(what)
    return value


def _histogram(value: Any, what: str, last: int) -> dict[int, int]:
    if not isinstance(value, dict) or len(value) > last + 1:
        raise _refused(what)
    for key, count in value.items():
        if _count(key, what) > last or _count(count, what) == 0:
            raise _refused(what)
    return dict(value)
