"""`hardtack demo`: the whole loop on this machine."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hardtack.cli import PATH

if TYPE_CHECKING:
    from hardtack.demo import Result


@click.command("demo")
@click.option("--devices", type=click.IntRange(1, 32), default=5, show_default=True)
@click.option("--dir", "folder", type=PATH, help="keep everything there")
@click.option("--json", "as_json", is_flag=True, help="one JSON document")
def command(devices: int, folder: Path | None, as_json: bool) -> None:
    """Convert a trained model, deploy it to agents over MQTT, predict, show their reports.

    Needs no hardware, no account and no network; takes a few seconds.
    """
    from hardtack.demo import run_demo

    def say(stage: str, text: str) -> None:
        click.echo(f"{stage:9} {text}", err=as_json)

    with tempfile.TemporaryDirectory(prefix="hardtack-demo-") as temporary:
        result = run_demo(folder or Path(temporary), devices, say)
    if as_json:
        click.echo(json.dumps(as_document(result)))
    else:
        _print(result, folder)


def as_document(result: Result) -> dict[str, object]:
    """Return what the demo showed, for machines."""
    from hardtack.cli.watch import row_of

    accuracy = result.outcome.accuracy
    assert accuracy is not None
    return {
        "seconds": round(result.seconds, 2),
        "accuracy": {"float": accuracy.floats, "int8": accuracy.int8},
        "bundle_bytes": result.outcome.bundles[0].header.total_size,
        "jobs": [{"device": job.device, "state": job.state} for job in result.jobs],
        "devices": [row_of(name, window) for name, window in sorted(result.reported.items())],
    }


def _print(result: Result, folder: Path | None) -> None:
    from rich.console import Console

    from hardtack.cli.watch import row_of, table_of

    accuracy = result.outcome.accuracy
    assert accuracy is not None and accuracy.floats is not None
    click.echo("report    what the devices measured and sent:")
    rows = [row_of(name, window) for name, window in sorted(result.reported.items())]
    Console(highlight=False, markup=False).print(table_of(rows))
    click.echo(f"on this machine: float {100 * accuracy.floats:.2f} %, ", nl=False)
    click.echo(f"int8 {100 * accuracy.int8:.2f} %. All of it took {result.seconds:.1f} s.")
    if folder is not None:
        click.echo(f"kept in {folder}: project, bundles, device states, fleet.db")
