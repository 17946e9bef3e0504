"""`hardtack agent`: a device agent on this machine, trusting this machine's keys."""

from __future__ import annotations

import logging
from pathlib import Path

import click
import platformdirs

from hardtack.fleet.settings import DEFAULT_BROKER


@click.command("agent")
@click.argument("device")
@click.option("--broker", default=DEFAULT_BROKER, show_default=True, help="mqtt://HOST:PORT")
@click.option("--tenant", default="default", show_default=True, help="whose fleet")
@click.option("--hardware", default="linux", show_default=True, help="class of this device")
@click.option("--state-dir", type=click.Path(path_type=Path), help="slots, state and spool")
@click.option("--keys", type=click.Path(path_type=Path), help="folder of trusted .pub files")
@click.option("--telemetry-period", default="10 s", show_default=True, help="between windows")
def command(
    device: str, broker: str, tenant: str, hardware: str,
    state_dir: Path | None, keys: Path | None, telemetry_period: str,
) -> None:  # fmt: skip
    """Run a device agent named DEVICE until Ctrl-C.

    For trying things out on one machine; on a device, install hardtack-agent and run that.
    """
    from hardtack.keystore import keys_dir, signing_key
    from hardtack.quantities import parse_time
    from hardtack_agent.main import run
    from hardtack_runtime.errors import ConfigError, TrustError
    from hardtack_runtime.signing import Keyring

    try:
        period_s = parse_time(telemetry_period)
    except ValueError as error:
        raise ConfigError("HT104", "--telemetry-period", str(error)) from error
    if keys is None:
        signing_key("default")  # makes it, so that there is something to trust
    elif not len(Keyring.load(keys)):
        raise TrustError(
            "HT704", str(keys), "holds no public key (*.pub), so every bundle would be refused",
            "`hardtack keys new` makes a pair; copy its .pub file there",
        )  # fmt: skip
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    devices = Path(platformdirs.user_data_path("hardtack")) / "devices"
    values = {
        "device": device, "broker": broker, "tenant": tenant, "hardware": hardware,
        "state_dir": state_dir or devices / device, "trusted_keys": keys or keys_dir(),
        "telemetry_period_s": period_s,
    }  # fmt: skip
    run(None, values, lambda socket: click.echo(f"{device}: predictions at {socket}"))
