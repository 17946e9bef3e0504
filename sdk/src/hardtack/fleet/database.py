"""How the fleet's database is opened: SQLite prepared for several writers, or any other URL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from hardtack_runtime.errors import DeviceError


def open_engine(url: str | Path) -> sa.Engine:
    """Return an engine for a URL or the path of an SQLite file; raises HT614."""
    if isinstance(url, Path) or "://" not in url:
        path = Path(url)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DeviceError("HT614", str(path), f"cannot be made: {error.strerror}") from error
        url = f"sqlite:///{path}"
    try:
        engine = sa.create_engine(url)
    except (sa.exc.SQLAlchemyError, ImportError) as error:
        raise DeviceError("HT614", str(url), f"is no database address: {error}") from error
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver's own BEGIN is deferred: of two writers that both read first one would then fail.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("hardtack_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def failed(where: str, error: sa.exc.SQLAlchemyError) -> DeviceError:
    """Return what the driver says as an error of ours."""
    reason = str(getattr(error, "orig", None) or error).split("\n")[0]
    return DeviceError("HT614", where, f"the fleet's database failed: {reason}")
