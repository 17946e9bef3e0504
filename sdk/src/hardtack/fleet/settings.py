"""Which broker, tenant and database a command talks to: flag, else deploy.toml, else default."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import platformdirs

from hardtack_runtime.errors import ConfigError

DEFAULT_BROKER = "mqtt://127.0.0.1:1883"


@dataclass(frozen=True, slots=True)
class FleetSettings:
    """Where the fleet is.

    Attributes:
        broker: mqtt://host:port or mqtts://host:port.
        tenant: Whose fleet.
        store: The controller's database.
        tls: ca, cert and key files for mqtts, as given.
    """

    broker: str
    tenant: str
    store: Path
    tls: tuple[Path | None, Path | None, Path | None]


def fleet_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that every fleet verb has; the verb gets them as keyword arguments."""
    path = click.Path(path_type=Path)
    for option in (
        click.option("--broker", help=f"mqtt://HOST:PORT (default {DEFAULT_BROKER})"),
        click.option("--tenant", help="whose fleet (default: default)"),
        click.option("--store", type=path, help="the controller's database"),
        click.option("--tls-ca", type=path, help="authorities to trust, PEM"),
        click.option("--tls-cert", type=path, help="our certificate, PEM"),
        click.option("--tls-key", type=path, help="its private key, PEM"),
    ):
        command = option(command)
    return command


def settle(
    broker: str | None, tenant: str | None, store: Path | None,
    tls_ca: Path | None, tls_cert: Path | None, tls_key: Path | None,
) -> FleetSettings:  # fmt: skip
    """Fill what flags leave open from the nearest deploy.toml, then from the defaults.

    Raises:
        ConfigError: HT104, the tenant; or what is wrong with deploy.toml.
    """
    from hardtack.config import Fleet, find_config, load_config
    from hardtack_agent import topics

    try:
        path = find_config(Path.cwd())
    except ConfigError:
        fleet, base = Fleet(), Path()
    else:
        fleet, base = load_config(path).fleet, path.parent
    whose = tenant or fleet.tenant
    if not topics.is_name(whose):
        raise ConfigError(
            "HT104", "--tenant", f"{whose!r} cannot be part of a topic",
            "use a-z, 0-9, dot, underscore and dash, at most 64",
        )  # fmt: skip
    default = Path(platformdirs.user_data_path("hardtack")) / "fleet.db"
    configured = base / fleet.store if fleet.store else default
    return FleetSettings(
        broker or fleet.broker, whose, store or configured,
        (tls_ca, tls_cert, tls_key),
    )  # fmt: skip


def open_store(settings: FleetSettings) -> Any:
    """Open the controller's database, made when absent."""
    from hardtack.fleet.store import Store

    settings.store.parent.mkdir(parents=True, exist_ok=True)
    return Store(settings.store)


def open_controller(settings: FleetSettings, store: Any) -> Any:
    """Return a controller, not yet started."""
    from hardtack.fleet.controller import Controller
    from hardtack_agent.transport import Tls

    return Controller(store, settings.broker, settings.tenant, Tls(*settings.tls))
