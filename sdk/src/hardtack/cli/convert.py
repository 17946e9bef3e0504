"""`hardtack convert`: bake the model of deploy.toml into signed bundles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hardtack.cli import PATH
from hardtack.config import find_config, load_config

if TYPE_CHECKING:
    from hardtack.bake import Baked, Outcome
    from hardtack_converters.report import LayerRow, PassRow


@click.command("convert")
@click.option("--config", type=PATH, help="deploy.toml to use")
@click.option("--out", type=PATH, help="folder for bundles (default dist)")
@click.option("--layers", is_flag=True, help="also list every layer")
@click.option("--json", "as_json", is_flag=True, help="one JSON document")
def command(config: Path | None, out: Path | None, layers: bool, as_json: bool) -> None:
    """Convert, measure, hold against the gates, sign, and write a bundle per target."""
    from rich.console import Console
    from rich.progress import Progress

    from hardtack.bake import bake

    path = (config or find_config(Path.cwd())).resolve()
    deployment = load_config(path)
    console = Console(stderr=True)
    hidden = as_json or not console.is_terminal
    stages = (*(("compress",) if deployment.compress else ()), "calibrate", "evaluate")
    with Progress(console=console, transient=True, disable=hidden) as bar:
        tasks = {stage: bar.add_task(stage, total=None) for stage in stages}

        def advance(stage: str, done: int, total: int) -> None:
            bar.update(tasks[stage], completed=done, total=total)

        outcome = bake(deployment, path.parent, out or path.parent / "dist", advance)
    if as_json:
        click.echo(json.dumps(as_document(outcome), indent=1))
    else:
        _print(outcome, layers)


def as_document(outcome: Outcome) -> dict[str, Any]:
    """Return everything `convert` found, for machines."""
    accuracy = outcome.accuracy
    return {
        "source_bytes": outcome.source_bytes,
        "accuracy": accuracy
        and {
            "samples": accuracy.samples,
            "int8": accuracy.int8,
            "float": accuracy.floats,
            "untrained": accuracy.untrained,
        },
        "notices": list(outcome.converted.notices),
        "passes": outcome.converted.passes,
        "compress": [
            {
                "pass": row.name,
                "summary": row.summary,
                "bytes": {"before": row.bytes_before, "after": row.bytes_after},
                "arena": {"before": row.arena_before, "after": row.arena_after},
                "accuracy": None
                if row.accuracy_before is None
                else {"before": row.accuracy_before, "after": row.accuracy_after},
                "seconds": round(row.seconds, 3),
                "skipped": row.skipped or None,
            }
            for row in outcome.converted.compressed
        ],
        "bundles": [
            {
                "target": baked.target.name,
                "path": str(baked.path),
                "bytes": len(baked.data),
                "arena_bytes": baked.header.arena_size,
                "unpacked_bytes": baked.header.unpacked_size,
                "layer_bytes": baked.needs.layer,
                "unpacked": baked.way.value,
                "model_id": baked.header.model_id.hex(),
            }
            for baked in outcome.bundles
        ],
        "layers": [
            {
                "name": row.name,
                "operator": row.operator,
                "output": list(row.output),
                "weight_bytes": row.weight_bytes,
                "bits": row.bits,
                "macs": row.macs,
            }
            for row in outcome.converted.rows
        ],
    }


def weights(baked: Baked) -> str:
    """Say how much memory the unpacked weights take, and when they are fewer than all."""
    from hardtack.quantities import format_size
    from hardtack_runtime.memory import Way

    if baked.way is Way.MEMORY:
        return format_size(baked.needs.unpacked)
    return f"layer by layer {format_size(baked.needs.layer)}"


def _print(outcome: Outcome, layers: bool) -> None:
    from rich.console import Console

    from hardtack.quantities import format_size

    converted, accuracy = outcome.converted, outcome.accuracy
    console = Console(highlight=False, markup=False, soft_wrap=True)
    if outcome.new_key:
        console.print("made the signing key `default`; see `hardtack keys list`")
    changed = ", ".join(f"{name} {count}" for name, count in converted.passes.items() if count)
    console.print(f"import     {len(converted.rows)} operators; {changed or 'nothing to fold'}")
    for notice in converted.notices:
        console.print(f"           {notice}")
    if converted.compressed:
        _print_passes(converted.compressed)
    if layers:
        _print_layers(converted.rows)
    if accuracy is not None:
        console.print(f"accuracy   {accuracy.told()}")
    for baked in outcome.bundles:
        ratio = outcome.source_bytes / len(baked.data)
        console.print(
            f"size       {format_size(outcome.source_bytes)} -> {format_size(len(baked.data))} "
            f"({ratio:.1f}x), arena {format_size(baked.header.arena_size)}, "
            f"weights unpacked {weights(baked)}"
        )
        console.print(f"wrote      {baked.path}  signed by {baked.header.key_id.hex()}")


def _print_layers(rows: tuple[LayerRow, ...]) -> None:
    """Say of each layer what it costs, and its bits where they are fewer than 8."""
    from rich.table import Table

    from hardtack.cli.tables import print_table
    from hardtack.quantities import format_size

    heads = ("layer", "operator", "output", "weights", "bits", "MACs")
    table = Table(*heads, box=None, pad_edge=False)
    for row in rows:
        shape, size = "x".join(map(str, row.output)), format_size(row.weight_bytes)
        bits = "" if row.bits in (None, 8) else str(row.bits)
        table.add_row(row.name, row.operator, shape, size, bits, f"{row.macs:,}")
    print_table(table)


def _print_passes(rows: tuple[PassRow, ...]) -> None:
    """Say of each compression pass what it gained, cost and changed."""
    from rich.table import Table

    from hardtack.cli.tables import print_table

    table = Table("compress", "bytes", "arena", "accuracy", "time", "", box=None, pad_edge=False)
    for row in rows:
        accuracy = ""
        if row.accuracy_before is not None and row.accuracy_after is not None:
            accuracy = f"{100 * row.accuracy_before:.2f} -> {100 * row.accuracy_after:.2f} %"
        size = f"{row.bytes_before:,} -> {row.bytes_after:,}"
        arena = f"{row.arena_before:,} -> {row.arena_after:,}"
        told = f"skipped: {row.skipped}" if row.skipped else row.summary
        table.add_row(row.name, size, arena, accuracy, f"{row.seconds:.1f} s", told)
    print_table(table)
