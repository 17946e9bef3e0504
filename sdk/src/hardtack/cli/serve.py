"""`hardtack serve`: the fleet controller, with a broker of its own unless there is one."""

from __future__ import annotations

import signal
import threading
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from hardtack.fleet.settings import fleet_options, open_controller, open_store, settle


@click.command("serve")
@click.option("--port", type=click.IntRange(0, 65535), help="start a broker on this port; 0: free")
@click.option("--host", default="127.0.0.1", help="address the broker listens on")
@fleet_options
def command(port: int | None, host: str, **flags: Any) -> None:
    """Keep what devices report, and give them the bundles that were pushed.

    Uses the broker of --broker or deploy.toml. With --port, starts one itself.
    """
    settings = settle(**flags)
    finished = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: finished.set())
    with ExitStack() as stack:
        if port is not None:
            broker = _start_broker(stack, settings.store.parent, port, host)
            settings = replace(settings, broker=broker)
        store = open_store(settings)
        stack.callback(store.close)
        stack.enter_context(open_controller(settings, store))
        click.echo(f"serving tenant {settings.tenant} at {settings.broker}, store {settings.store}")
        click.echo("stop with Ctrl-C")
        finished.wait()
    click.echo("stopped")


def _start_broker(stack: ExitStack, folder: Path, port: int, host: str) -> str:
    from hardtack.fleet.broker import EmbeddedBroker

    broker = stack.enter_context(EmbeddedBroker(folder / "broker", port, host))
    click.echo(f"{broker.kind} listens at {broker.url}")
    return broker.url
