"""`hardtack train`: train the model of deploy.toml until its bundle keeps to a size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hardtack.cli import PATH
from hardtack.cli.interrupts import interruptible
from hardtack.config import find_config, load_config

if TYPE_CHECKING:
    from hardtack_converters.training.options import Epoch


@click.command("train")
@click.option("--config", type=PATH, help="deploy.toml to use")
@click.option(
    "--resume/--restart", default=True, help="go on with an interrupted training (default), or not"
)
@click.option("--json", "as_json", is_flag=True, help="one JSON document")
def command(config: Path | None, resume: bool, as_json: bool) -> None:
    """Train as [train] says; `hardtack convert` then takes the trained model."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from hardtack.quantities import format_size
    from hardtack.training import as_document, train_model

    path = (config or find_config(Path.cwd())).resolve()
    deployment = load_config(path)
    console = Console(stderr=True)
    columns = (TextColumn("train"), BarColumn(), TextColumn("{task.description}"))
    hidden = as_json or not console.is_terminal
    with Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=hidden
    ) as bar:
        task = bar.add_task("the first epoch")

        def advance(epoch: Epoch, in_all: int) -> None:
            bar.update(task, description=_line(epoch), completed=epoch.number, total=in_all)

        with interruptible("`hardtack train` goes on after the last finished epoch"):
            training = train_model(deployment, path.parent, advance, restart=not resume)
    if as_json:
        click.echo(json.dumps(as_document(training), indent=1))
        return
    if training.resumed:
        click.echo("went on    with a training that was interrupted")
    for number, assistant in enumerate(training.assistants, 1):
        told = "was trained before" if assistant is None else _line(assistant)
        click.echo(f"assistant  {number}: {told}")
    for notice in training.trained.notices:
        click.echo(f"           {notice}")
    best = training.trained.best
    click.echo(f"trained    the best is epoch {best.number} of {len(training.trained.epochs)}")
    before, after = (100 * (1 - error) for error in (training.trained.before, best.error))
    wanted = deployment.train
    assert wanted is not None  # or train_model had refused
    began = " (as [train] compress left it)" if wanted.compress else ""
    click.echo(f"accuracy   {before:.2f}{began} -> {after:.2f} % of the samples held out, float")
    click.echo(f"size       {format_size(best.bytes)} of bundle, {best.nonzero:,} weights not zero")
    if wanted.prune is not None:
        goal = 100 * wanted.prune.share
        click.echo(f"pruned     {100 * best.pruned:.1f} % of the {goal:.1f} % asked for")
    click.echo(f"wrote      {training.path}; next: `hardtack convert`")


def _line(epoch: Epoch) -> str:
    return (
        f"epoch {epoch.number}: loss {epoch.loss:.4f}, accuracy {100 * (1 - epoch.error):.2f} %, "
        f"{epoch.bytes:,} bytes"
    )
