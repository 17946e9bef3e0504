"""`hardtack watch`: samples, accuracy and latency as the devices measured them."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import click

from hardtack.fleet.settings import fleet_options, open_store, settle

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from hardtack_agent.telemetry import Window

NO_OPERATOR = 0xFFFFFFFF


@click.command("watch")
@click.option("--once", is_flag=True, help="print the figures of now and end")
@click.option("--since", default="24 h", show_default=True, help="how far back to sum up")
@click.option("--json", "as_json", is_flag=True, help="one JSON document, once")
@fleet_options
def command(once: bool, since: str, as_json: bool, **flags: Any) -> None:
    """Follow what the devices report: samples, measured accuracy, latency.

    Accuracy is measured: right answers among those whose truth was told. Where nobody
    told, it is unknown, and shown so. Into a pipe or a file the figures go once.
    """
    from rich.console import Console

    from hardtack.quantities import parse_time
    from hardtack_runtime.errors import ConfigError

    try:
        back_s = parse_time(since)
    except ValueError as error:
        raise ConfigError("HT104", "--since", str(error)) from error
    store = open_store(settle(**flags))
    rows = _rows(store, back_s)
    if as_json:
        found = {"models": rows, "jobs": _jobs(store), "notes": _notes(store, back_s)}
        click.echo(json.dumps(found))
    elif once or not sys.stdout.isatty():
        if rows or _troubles(store, back_s):
            Console(highlight=False, markup=False).print(_view(store, back_s))
        else:
            click.echo(f"no device has reported a prediction in the last {since}", err=True)
    else:
        _follow(store, back_s)
    store.close()


def _follow(store: Any, back_s: float) -> None:
    """Show the figures of every second until Ctrl-C.

    An exception out of a signal may come in a place that swallows it, a destructor say; a flag is
    seen in any case.
    """
    from rich.console import Console
    from rich.live import Live

    interrupted = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: interrupted.set())
    try:
        with Live(_view(store, back_s), console=Console(highlight=False, markup=False)) as live:
            while not interrupted.wait(1):
                live.update(_view(store, back_s))
    finally:
        signal.signal(signal.SIGINT, before)
    raise KeyboardInterrupt


def _rows(store: Any, back_s: float) -> list[dict[str, Any]]:
    totals = store.totals(int(time.time() - back_s))
    return [row_of(device, window) for (device, _, _), window in sorted(totals.items())]


def _view(store: Any, back_s: float) -> Group:
    from rich.console import Group

    return Group(table_of(_rows(store, back_s)), *_troubles(store, back_s))


def _troubles(store: Any, back_s: float) -> list[str]:
    """Return a line for each update that went wrong last, and each fault a board told."""
    lines = [
        f"{job['device']}  {job['model']}: {job['state']}, {job['code']} {job['detail']}"
        for job in _jobs(store)
        if job["code"]
    ]
    for note in _notes(store, back_s):
        if note["kind"] == "fault":
            layer = note["operator"]
            where = f"in layer {layer}" if layer != NO_OPERATOR else "outside the model"
            lines.append(
                f"{note['device']}  fault {where}: pc {note['pc']:#010x}, lr {note['lr']:#010x}"
            )
    return lines


def _jobs(store: Any) -> list[dict[str, Any]]:
    """Return the last job of each device: how it stands, and the code when it went wrong."""
    last = {job.device: job for job in store.jobs()}
    return [
        {
            "device": job.device, "model": job.release, "state": job.state, "code": job.code,
            "detail": job.detail, "done": job.done, "total": job.total,
        }
        for job in last.values()
    ]  # fmt: skip


def _notes(store: Any, back_s: float) -> list[dict[str, Any]]:
    """Return what microcontrollers told besides: faults, logs, stack, ticks of each layer."""
    found = store.notes(since_s=int(time.time() - back_s))
    return [
        # Who and what come last: a body must not speak for another device.
        {**note.body, "device": device, "kind": note.kind, "time_s": note.time_s}
        for device, note in found
    ]


def row_of(device: str, window: Window) -> dict[str, Any]:
    """Return the figures of one device and model; accuracy None where nobody told the truth."""
    from hardtack_agent.telemetry import latency_quantile_us

    return {
        "device": device,
        "model": window.model,
        "version": ".".join(map(str, window.version)),
        "samples": window.samples,
        "errors": window.errors,
        "labelled": window.labelled,
        "accuracy": window.correct / window.labelled if window.labelled else None,
        "mean_us": window.latency_sum_us / window.samples if window.samples else None,
        "p95_us": latency_quantile_us(window.latency, 0.95),
    }


def table_of(rows: list[dict[str, Any]]) -> Table:
    """Return the figures as a table for people."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("device", "model"):
        table.add_column(title)
    for title in ("samples", "errors", "accuracy", "mean", "p95 <="):
        table.add_column(title, justify="right")
    for row in rows:
        accuracy = "unknown" if row["accuracy"] is None else f"{100 * row['accuracy']:.2f} %"
        mean = "" if row["mean_us"] is None else f"{row['mean_us']:.0f} us"
        p95 = "" if row["p95_us"] is None else f"{row['p95_us']} us"
        name = f"{row['model']}@{row['version']}"
        counts = (str(row["samples"]), str(row["errors"]))
        table.add_row(row["device"], name, *counts, accuracy, mean, p95)
    return table
