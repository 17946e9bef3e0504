"""The agent's configuration: agent.toml, overridden by flags."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

import pydantic
from pydantic import Field

from hardtack_agent import topics
from hardtack_agent.transport import Tls, parse_url
from hardtack_runtime.errors import ConfigError
from hardtack_runtime.manifest import Hardware


class AgentConfig(pydantic.BaseModel):
    """What agent.toml holds.

    Attributes:
        device: This device's name in the fleet.
        tenant: Whose fleet.
        broker: mqtt://host:port or mqtts://host:port.
        hardware: Class of this device, as bundles name it.
        state_dir: Where slots, state and spool lie; one agent per directory.
        trusted_keys: Directory of public keys, *.pub.
        socket: Unix socket for predictions; empty takes `state_dir`/agent.sock.
        telemetry_period_s: Seconds between telemetry windows.
        spool_records: Windows kept while offline before they grow coarser.
        trial_timeout_s: Seconds a trial may take.
        tls_ca, tls_cert, tls_key: PEM files for mqtts.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    device: str
    broker: str
    state_dir: Path
    trusted_keys: Path
    tenant: str = "default"
    hardware: Hardware = "linux"
    socket: Path | None = None
    telemetry_period_s: Annotated[float, Field(gt=0, le=86400)] = 60.0
    spool_records: Annotated[int, Field(ge=1)] = 20_000
    trial_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 60.0
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None

    @pydantic.field_validator("device", "tenant")
    @classmethod
    def _is_a_name(cls, text: str) -> str:
        if not topics.is_name(text):
            raise ValueError("may hold a-z, 0-9, dot, underscore and dash, at most 64")
        return text

    @property
    def socket_path(self) -> Path:
        """Where predictions are asked for."""
        return self.socket or self.state_dir / "agent.sock"

    @property
    def tls(self) -> Tls:
        """The TLS files."""
        return Tls(self.tls_ca, self.tls_cert, self.tls_key)


def load_config(path: Path | None, overrides: dict[str, Any]) -> AgentConfig:
    """Read agent.toml, let flags win, and check all of it.

    Args:
        path: agent.toml, or None when flags say everything. Paths in it are relative to it.
        overrides: Values by key; None means not given.

    Raises:
        ConfigError: HT101 missing, HT102 syntax, HT103 unknown key, HT104 wrong value, HT107
            unreadable.
    """
    fields = _read(path) if path is not None else {}
    fields.update({key: value for key, value in overrides.items() if value is not None})
    try:
        config = AgentConfig.model_validate(fields)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        code = "HT103" if first["type"] == "extra_forbidden" else "HT104"
        met = first["msg"].removeprefix("Value error, ")
        raise ConfigError(code, f"{path or 'flags'}: {key}", met) from error
    parse_url(config.broker)
    return config


def _read(path: Path) -> dict[str, Any]:
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError("HT101", str(path), "is missing", "name another with --config") from error
    except OSError as error:
        raise ConfigError("HT107", str(path), f"cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError("HT102", str(path), f"is no TOML: {error}") from error
    for key in ("state_dir", "trusted_keys", "socket", "tls_ca", "tls_cert", "tls_key"):
        if isinstance(fields.get(key), str):
            fields[key] = path.parent / fields[key]
    return fields
