"""The agent's configuration: agent.toml, overridden by flags."""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any

import pydantic
from pydantic import Field

from hardtack_agent import topics
from hardtack_agent.serial_line import BAUD, SOCKET, host_and_port
from hardtack_agent.toml_locations import KeyPath, locate_keys, nearest
from hardtack_agent.transport import Tls, parse_url
from hardtack_runtime.errors import ConfigError
from hardtack_runtime.manifest import Hardware


def _name(text: str) -> str:
    if not topics.is_name(text):
        raise ValueError("may hold a-z, 0-9, dot, underscore and dash, at most 64")
    return text


def _address(text: str) -> str:
    if not text:
        raise ValueError("must name a port, a pattern of ports, or socket://HOST:PORT")
    if "://" in text:
        try:
            host_and_port(text if text.startswith(SOCKET) else "")
        except ConfigError as error:
            raise ValueError(f"{text!r} is no address: write socket://HOST:PORT") from error
    return text


DeviceName = Annotated[str, pydantic.AfterValidator(_name)]
Address = Annotated[str, pydantic.AfterValidator(_address)]
Baud = Annotated[int, Field(ge=300, le=10_000_000)]


class BoardConfig(pydantic.BaseModel):
    """A microcontroller with a name of its own in the fleet.

    Attributes:
        name: Its name.
        port: Where it is: a port, a pattern (`/dev/serial/by-id/usb-*`), or socket://host:port.
        id: Its chip, in hexadecimal, whole or the beginning; any chip when left out.
        baud: Speed of its port; else that of the gateway.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    name: DeviceName
    port: Address | None = None
    id: Annotated[str, Field(pattern=r"^[0-9a-f]{8,32}$")] | None = None
    baud: Baud | None = None

    @pydantic.model_validator(mode="after")
    def _can_be_found(self) -> BoardConfig:
        if self.port is None and self.id is None:
            raise ValueError("needs a port, or the id of its chip, to be found by")
        return self


class GatewayConfig(pydantic.BaseModel):
    """Microcontrollers that this agent brings into the fleet.

    Attributes:
        ports: Where to look for boards; those without a name here are named by their chip.
        devices: Boards with names.
        baud: Speed of the ports.
        poll_s: Seconds between two questions to a board that has nothing else to do.
        remote: Whether `hardtack flash --device mqtt:NAME` may use their lines.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    ports: tuple[Address, ...] = ()
    devices: tuple[BoardConfig, ...] = ()
    baud: Baud = BAUD
    poll_s: Annotated[float, Field(gt=0, le=3600)] = 5.0
    remote: pydantic.StrictBool = False

    @pydantic.model_validator(mode="after")
    def _no_two_alike(self) -> GatewayConfig:
        for what in ("name", "port", "id"):
            values = [getattr(one, what) for one in self.devices if getattr(one, what) is not None]
            twice = sorted({value for value in values if values.count(value) > 1})
            if twice:
                raise ValueError(f"two devices have the {what} {twice[0]!r}")
        if not self.ports and not any(one.port for one in self.devices):
            raise ValueError("names no port: add `ports`, or a device with a `port`")
        return self


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
        gateway: Boards on serial ports; None for none.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    device: DeviceName
    broker: str
    state_dir: Path
    trusted_keys: Path
    tenant: DeviceName = "default"
    hardware: Hardware = "linux"
    socket: Path | None = None
    telemetry_period_s: Annotated[float, Field(gt=0, le=86400)] = 60.0
    spool_records: Annotated[int, Field(ge=1)] = 20_000
    trial_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 60.0
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    gateway: GatewayConfig | None = None

    @pydantic.model_validator(mode="after")
    def _boards_have_other_names(self) -> AgentConfig:
        if self.gateway and self.device in {board.name for board in self.gateway.devices}:
            raise ValueError(f"a device of the gateway has the agent's own name {self.device!r}")
        return self

    @property
    def socket_path(self) -> Path:
        """Where predictions are asked for."""
        return self.socket or self.state_dir / "agent.sock"

    @property
    def tls(self) -> Tls:
        """The TLS files."""
        return Tls(self.tls_ca, self.tls_cert, self.tls_key)


def load_config(
    path: Path | None, overrides: dict[str, Any], defaults: dict[str, Any] | None = None
) -> AgentConfig:
    """Read agent.toml, let flags win, and check all of it.

    Args:
        path: agent.toml, or None when flags say everything. Paths in it are relative to it.
        overrides: Values by key; None means not given.
        defaults: Values by key for what neither says.

    Raises:
        ConfigError: HT101 missing, HT102 syntax, HT103 unknown key, HT104 wrong value, HT107
            unreadable; `where` is file:line:column.
    """
    fields, text = _read(path) if path is not None else ({}, "")
    fields = {**(defaults or {}), **fields}
    fields.update({key: value for key, value in overrides.items() if value is not None})
    try:
        config = AgentConfig.model_validate(fields)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        where = _where(path, text, overrides, first["loc"])
        if first["type"] == "extra_forbidden":
            met, todo = f"`{key}` is no key of an agent", _nearest_key(str(first["loc"][-1]))
            raise ConfigError("HT103", where, met, todo) from error
        met = first["msg"].removeprefix("Value error, ")
        raise ConfigError("HT104", where, f"`{key}`: {met}" if key else met) from error
    parse_url(config.broker)
    return config


def _nearest_key(wrong: str) -> str:
    known = (key for kind in (AgentConfig, GatewayConfig, BoardConfig) for key in kind.model_fields)
    close = difflib.get_close_matches(wrong, known, 1)
    return f"did you mean `{close[0]}`?" if close else "leave it out"


def _where(path: Path | None, text: str, overrides: dict[str, Any], key: KeyPath) -> str:
    if path is None or (key and overrides.get(str(key[0])) is not None):
        return f"--{str(key[0]).replace('_', '-')}" if key else "flags"
    place = nearest(locate_keys(text), key)
    return f"{path}:{place.line}:{place.column}"


def _read(path: Path) -> tuple[dict[str, Any], str]:
    try:
        text = path.read_text(encoding="utf-8")
        fields = tomllib.loads(text)
    except FileNotFoundError as error:
        raise ConfigError("HT101", str(path), "is missing", "name another with --config") from error
    except OSError as error:
        raise ConfigError("HT107", str(path), f"cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        place = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        where = f"{path}:{place[1]}:{place[2]}" if place else str(path)
        raise ConfigError("HT102", where, f"is no TOML: {error}") from error
    for key in ("state_dir", "trusted_keys", "socket", "tls_ca", "tls_cert", "tls_key"):
        if isinstance(fields.get(key), str):
            fields[key] = path.parent / fields[key]
    return fields, text
