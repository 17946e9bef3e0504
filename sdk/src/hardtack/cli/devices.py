"""`hardtack devices`: who is there, and what each runs."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import Any

import click

from hardtack.fleet.settings import fleet_options, open_store, settle


@click.command("devices")
@click.option("--json", "as_json", is_flag=True, help="one JSON document")
@fleet_options
def command(as_json: bool, **flags: Any) -> None:
    """List every device that has ever reported to this controller."""
    from rich.console import Console
    from rich.table import Table

    settings = settle(**flags)
    store = open_store(settings)
    rows = store.devices()
    store.close()
    if as_json:
        found = [
            asdict(row) | {"models": [m.model_dump(mode="json") for m in row.models]}
            for row in rows
        ]
        click.echo(json.dumps({"devices": found}))
        return
    if not rows:
        click.echo(f"no device has reported to {settings.store} yet", err=True)
        return
    table = Table("device", "state", "hardware", "models", "last seen", box=None, pad_edge=False)
    for row in rows:
        models = ", ".join(f"{m.name}@{'.'.join(map(str, m.version))}" for m in row.models)
        seen = f"{max(0, time.time() - row.last_seen):.0f} s ago"
        table.add_row(row.device, "online" if row.online else "offline", row.hardware, models, seen)
    Console(highlight=False, markup=False).print(table)
