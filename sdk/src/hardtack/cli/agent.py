"""`hardtack agent`: a device agent on this machine, trusting this machine's keys."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click
import platformdirs
from click.core import ParameterSource

from hardtack.cli import PATH
from hardtack.fleet.settings import DEFAULT_BROKER


@click.command("agent")
@click.argument("device", required=False)
@click.option("--config", type=PATH, help="agent.toml; options win over it")
@click.option("--broker", default=DEFAULT_BROKER, show_default=True, help="mqtt://HOST:PORT")
@click.option("--tenant", default="default", show_default=True, help="whose fleet")
@click.option("--hardware", default="linux", show_default=True, help="class of this device")
@click.option("--state-dir", type=PATH, help="slots, state and spool")
@click.option("--keys", type=PATH, help="folder of trusted .pub files")
@click.option("--telemetry-period", default="10 s", show_default=True, help="between windows")
@click.pass_context
def command(
    context: click.Context, device: str | None, config: Path | None, broker: str, tenant: str,
    hardware: str, state_dir: Path | None, keys: Path | None, telemetry_period: str,
) -> None:  # fmt: skip
    """Run a device agent named DEVICE until Ctrl-C, and the gateway that its --config names.

    For trying things out on one machine; on a device, install hardtack-agent and run that.
    """
    from hardtack.keystore import keys_dir, signing_key
    from hardtack.quantities import parse_time
    from hardtack_agent.main import run
    from hardtack_runtime.errors import ConfigError, TrustError
    from hardtack_runtime.signing import Keyring

    if device is None and config is None:
        raise click.UsageError("name a DEVICE, or a file with --config")
    try:
        period_s = parse_time(telemetry_period)
    except ValueError as error:
        raise ConfigError("HT104", "--telemetry-period", str(error)) from error
    if keys is None and config is None:
        signing_key("default")  # makes it, so that there is something to trust
    elif keys is not None and not len(Keyring.load(keys)):
        raise TrustError(
            "HT704", str(keys), "holds no public key (*.pub), so every bundle would be refused",
            "`hardtack keys new` makes a pair; copy its .pub file there",
        )  # fmt: skip
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    given = {
        "device": device, "broker": broker, "tenant": tenant, "hardware": hardware,
        "state_dir": state_dir, "trusted_keys": keys, "telemetry_period_s": period_s,
    }  # fmt: skip
    devices = Path(platformdirs.user_data_path("hardtack")) / "devices"
    defaults: dict[str, Any] = {
        "trusted_keys": keys_dir(),
        "state_dir": devices / (device or "gateway"),
    }
    for key in ("broker", "tenant", "hardware", "telemetry_period_s"):
        option = key.removesuffix("_s")
        if context.get_parameter_source(option) is ParameterSource.DEFAULT:
            defaults[key] = given.pop(key)

    def ready(socket: Path) -> None:
        click.echo(f"{device or config}: predictions at {socket}")

    run(config, given, ready, defaults)
