"""`hardtack push`: a bundle to devices, and how it went on each."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hardtack.cli import PATH
from hardtack.files import named, read_bundle
from hardtack.fleet.settings import fleet_options, open_controller, open_store, settle
from hardtack_runtime.errors import ConfigError, DeviceError

if TYPE_CHECKING:
    from hardtack.fleet.rows import JobRow

SOME_FAILED = 7


@click.command("push")
@click.argument("bundle", type=PATH)
@click.argument("devices", nargs=-1)
@click.option("--all", "everyone", is_flag=True, help="every device ever heard of")
@click.option("--timeout", default="2 min", show_default=True, help="longest wait")
@click.option("--json", "as_json", is_flag=True, help="one JSON document")
@fleet_options
def command(
    bundle: Path, devices: tuple[str, ...], everyone: bool, timeout: str, as_json: bool,
    **flags: Any,
) -> int:  # fmt: skip
    """Send BUNDLE to DEVICES and wait until each runs it, or says why not.

    Status 0 when all confirmed, 7 when some did not.
    """
    from hardtack.keystore import own_keyring
    from hardtack.quantities import parse_time
    from hardtack_runtime.bundle import verify

    try:
        timeout_s = parse_time(timeout)
    except ValueError as error:
        raise ConfigError("HT104", "--timeout", str(error)) from error
    data = read_bundle(bundle)
    with named(bundle):
        verify(data, own_keyring())
    settings = settle(**flags)
    with ExitStack() as stack:
        store = open_store(settings)
        stack.callback(store.close)
        controller = stack.enter_context(open_controller(settings, store))
        targets = _targets(store, devices, everyone)
        progress = stack.enter_context(_Progress(len(targets), as_json))
        jobs = controller.wait(controller.push(data, targets), timeout_s, progress.update)
    _show(jobs, as_json)
    return 0 if all(job.state == "confirmed" for job in jobs) else SOME_FAILED


def _targets(store: Any, devices: tuple[str, ...], everyone: bool) -> list[str]:
    known = [row.device for row in store.devices()]
    if everyone:
        if not known:
            raise DeviceError(
                "HT604", "--all", "no device has ever reported to this controller",
                "start an agent while `hardtack serve` runs",
            )  # fmt: skip
        return known
    if not devices:
        raise ConfigError("HT104", "DEVICES", "no device named", "name some, or use --all")
    unknown = [device for device in devices if device not in known]
    if unknown:
        there = ", ".join(known) or "none yet"
        raise DeviceError(
            "HT604", unknown[0], f"has never reported; known: {there}",
            "start its agent against this broker while `hardtack serve` runs",
        )  # fmt: skip
    return list(devices)


class _Progress:
    """A bar of blocks held, on stderr; nothing when nobody looks."""

    def __init__(self, devices: int, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (TextColumn("{task.description}"), BarColumn())
        console = Console(stderr=True)
        hidden = quiet or not console.is_terminal
        self._bar = Progress(*columns, console=console, disable=hidden, transient=True)
        self._devices = devices
        self._task = self._bar.add_task(f"0 of {devices} confirmed", total=None)

    def __enter__(self) -> _Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, jobs: list[JobRow]) -> None:
        """Show how far the jobs are."""
        done = sum(job.state == "confirmed" for job in jobs)
        self._bar.update(
            self._task, description=f"{done} of {self._devices} confirmed",
            total=sum(max(job.total, 1) for job in jobs),
            completed=sum(job.total if job.ended else job.done for job in jobs),
        )  # fmt: skip


def _show(jobs: list[JobRow], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"jobs": [asdict(job) for job in jobs]}))
        return
    for job in jobs:
        reason = f"  {job.code} {job.detail}" if job.code else ""
        click.echo(f"{job.device}  {job.release}  {job.state}{reason}")
