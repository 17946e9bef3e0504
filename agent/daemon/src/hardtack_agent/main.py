"""The command `hardtack-agent`."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hardtack_agent.agent import Agent
from hardtack_agent.config import load_config
from hardtack_agent.gateway import Gateway
from hardtack_runtime.errors import HardtackError

_FLAGS: dict[str, tuple[type, str]] = {
    "device": (str, "this device's name in the fleet"),
    "tenant": (str, "whose fleet (default)"),
    "broker": (str, "mqtt://host:port or mqtts://host:port"),
    "hardware": (str, "class of this device, as bundles name it (linux)"),
    "state-dir": (Path, "where slots, state and spool lie"),
    "trusted-keys": (Path, "directory of public keys, *.pub"),
    "socket": (Path, "Unix socket for predictions (STATE_DIR/agent.sock)"),
    "telemetry-period-s": (float, "seconds between telemetry windows (60)"),
    "tls-ca": (Path, "authorities to trust, PEM"),
    "tls-cert": (Path, "our certificate, PEM"),
    "tls-key": (Path, "its private key, PEM"),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the agent until SIGTERM or SIGINT; exit status as `hardtack_runtime.errors` lists."""
    arguments = _parse(argv)
    level = logging.DEBUG if arguments.pop("verbose") else logging.INFO
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        run(arguments.pop("config"), arguments)
    except HardtackError as error:
        sys.stderr.write(f"{error.code} {error}\n")
        sys.exit(error.exit_status)


def run(
    config_path: Path | None,
    values: dict[str, Any],
    ready: Callable[[Path], None] | None = None,
    defaults: dict[str, Any] | None = None,
) -> None:
    """Run an agent until SIGTERM or SIGINT.

    Args:
        config_path: agent.toml, or None.
        values: Win over it, by key; None means not given.
        ready: Told the prediction socket before the agent begins to work.
        defaults: Values for what neither says, by key.

    Raises:
        HardtackError: HT1xx the configuration, HT6xx the state directory, socket or disk.
    """
    config = load_config(config_path, values, defaults)
    agent = Agent(config)
    gateway = Gateway(config) if config.gateway is not None else None
    if ready is not None:
        ready(config.socket_path)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: agent.stop())
    if gateway is not None:
        gateway.start()
    try:
        agent.run()
    finally:
        if gateway is not None:
            gateway.stop()


def _parse(argv: Sequence[str] | None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(
        prog="hardtack-agent", description="Hold models, answer predictions, take updates, report."
    )
    parser.add_argument("--config", type=Path, help="agent.toml; flags win over it")
    parser.add_argument("--verbose", action="store_true", help="log more")
    for flag, (kind, text) in _FLAGS.items():
        parser.add_argument(f"--{flag}", type=kind, help=text)
    return vars(parser.parse_args(argv))


if __name__ == "__main__":
    main()
