"""`hardtack flash`: a bundle onto a microcontroller, over a serial port."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import click

from hardtack.cli import PATH
from hardtack.files import named, read_bundle
from hardtack.fleet.settings import fleet_options, settle
from hardtack_runtime.errors import DeviceError

if TYPE_CHECKING:
    from hardtack_agent.serial_messages import StatusReply
    from hardtack_agent.serial_session import Session


@click.command("flash")
@click.argument("bundle", type=PATH)
@click.option(
    "--device", default="auto", show_default=True,
    help="auto, PORT, socket://HOST:PORT or mqtt:NAME",
)  # fmt: skip
@click.option(
    "--baud", type=click.IntRange(1), help="speed of the port; else those in use are tried"
)
@click.option("--json", "as_json", is_flag=True, help="one JSON document")
@fleet_options
def command(bundle: Path, device: str, baud: int | None, as_json: bool, **flags: Any) -> None:
    """Send BUNDLE to a board that runs hardtack firmware, and see that it computes the same bits.

    mqtt:NAME is a board behind a gateway that lends its line (`remote = true`).

    What an interrupted transfer left on the board is used. The model it has keeps running until
    the new one has passed its golden vectors there.
    """
    from hardtack.keystore import own_keyring
    from hardtack.serial_ports import find
    from hardtack_runtime.bundle import verify

    data = read_bundle(bundle)
    with named(bundle):
        header = verify(data, own_keyring())
    with (
        _Progress(as_json) as progress,
        find(device, baud, progress.say, partial(settle, **flags)) as session,
    ):
        about = session.about
        with named(bundle):
            verify(data, own_keyring(), about.hardware)
        begun = time.monotonic()
        status, vectors = _install(session, data, progress)
        seconds = time.monotonic() - begun
    slot = "AB"[status.running]
    if as_json:
        found = {
            "device": session.where, "hardware": about.hardware, "firmware": about.firmware,
            "running": header.release, "slot": slot, "golden_vectors": vectors,
            "chunks_written": session.chunks_written, "resends": session.exchange.resends,
            "seconds": round(seconds, 3),
        }  # fmt: skip
        click.echo(json.dumps(found))
        return
    click.echo(f"{session.where}  {about.hardware}  {about.firmware}")
    click.echo(f"runs {header.release} from slot {slot}; {vectors} golden vectors: same bits")


def _install(session: Session, data: bytes, progress: _Progress) -> tuple[StatusReply, int]:
    """Send the bundle; return what the board says then, and how many golden vectors it replayed."""
    from hardtack_agent.serial_link import LinkError
    from hardtack_agent.serial_refusal import RefusedError
    from hardtack_runtime.bundle import unpack

    layers = unpack(data).manifest.layers
    try:
        status = session.install(data, again=True, layers=layers, progress=progress.update)
        return status, session.golden(layers)
    except RefusedError as refused:
        raise session.explain(refused.reason, refused.detail, layers) from refused
    except LinkError as error:
        raise DeviceError("HT616", session.where, str(error)) from error


class _Progress:
    """A bar of chunks on stderr; nothing when nobody looks."""

    def __init__(self, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        console = Console(stderr=True)
        hidden = quiet or not console.is_terminal
        self._bar = Progress(*columns, console=console, disable=hidden, transient=True)
        self._task = self._bar.add_task("looking for the board", total=None)

    def __enter__(self) -> _Progress:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def say(self, line: str) -> None:
        """Show what is tried."""
        self._bar.update(self._task, description=line)

    def update(self, done: int, total: int) -> None:
        """Show how many chunks are right."""
        text = "verifying and trying it" if done == total else f"{done} of {total} chunks"
        self._bar.update(self._task, description=text, total=total, completed=done)
