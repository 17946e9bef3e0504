"""Tables of the fleet's database."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData()

devices = Table(
    "devices",
    metadata,
    Column("device", String(64), primary_key=True),
    Column("boot_id", String(32), nullable=False, default=""),
    Column("online", Boolean, nullable=False, default=False),
    Column("agent", String(32), nullable=False, default=""),
    Column("hardware", String(16), nullable=False, default=""),
    Column("models", JSON, nullable=False, default=list),
    Column("first_seen", Float, nullable=False),
    Column("last_seen", Float, nullable=False),
)

bundles = Table(
    "bundles",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("name", String(31), nullable=False),
    Column("version", String(32), nullable=False),
    Column("hardware", String(16), nullable=False),
    Column("model_id", String(32), nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("added", Float, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("job_id", String(64), primary_key=True),
    Column("device", String(64), nullable=False),
    Column("sha256", String(64), ForeignKey("bundles.sha256"), nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempt", Integer, nullable=False, default=0),
    Column("code", String(8), nullable=False, default=""),
    Column("detail", Text, nullable=False, default=""),
    Column("done", Integer, nullable=False, default=0),
    Column("total", Integer, nullable=False, default=0),
    Column("number", Integer, nullable=False),
    Column("created", Float, nullable=False),
    Column("updated", Float, nullable=False),
    Index("jobs_by_device", "device", "number"),
)

job_events = Table(
    "job_events",
    metadata,
    Column("job_id", String(64), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("state", String(16), primary_key=True),
    Column("boot_id", String(32), nullable=False),
    Column("code", String(8), nullable=False),
    Column("detail", Text, nullable=False),
    Column("first", Float, nullable=False),
    Column("last", Float, nullable=False),
)

telemetry = Table(
    "telemetry",
    metadata,
    Column("device", String(64), primary_key=True),
    Column("boot_id", String(32), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("model", String(64), nullable=False),
    Column("version", String(32), nullable=False),
    Column("model_id", String(32), nullable=False),
    Column("start_s", BigInteger, nullable=False),
    Column("end_s", BigInteger, nullable=False),
    Column("samples", BigInteger, nullable=False),
    Column("errors", BigInteger, nullable=False),
    Column("labelled", BigInteger, nullable=False),
    Column("correct", BigInteger, nullable=False),
    Column("latency_sum_us", BigInteger, nullable=False),
    Column("latency", JSON, nullable=False),
    Column("classes", JSON, nullable=False),
    Index("telemetry_by_time", "model", "end_s"),
)
"""One row per record of a device: the primary key makes a record that comes twice count once."""

notes = Table(
    "notes",
    metadata,
    Column("device", String(64), primary_key=True),
    Column("boot_id", String(32), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", String(16), nullable=False),
    Column("time_s", BigInteger, nullable=False),
    Column("body", JSON, nullable=False),
    Index("notes_by_time", "device", "kind", "time_s"),
)
"""What devices tell besides: faults, logs; bounded per device and kind."""
