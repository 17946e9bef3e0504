"""`hardtack inspect`: what a bundle holds."""

from __future__ import annotations

import json
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hardtack.cli import PATH
from hardtack.files import named, read_bundle

if TYPE_CHECKING:
    from hardtack_runtime.bundle import Bundle


@click.command("inspect")
@click.argument("bundle", type=PATH)
@click.option("--json", "as_json", is_flag=True, help="one JSON document")
def command(bundle: Path, as_json: bool) -> None:
    """Show name, contract, operators and bytes of a bundle; trusts nothing, runs nothing."""
    from hardtack_runtime.bundle import unpack

    with named(bundle):
        content = unpack(read_bundle(bundle))
    if as_json:
        click.echo(json.dumps(describe(content), indent=1))
    else:
        _print(content)


def describe(content: Bundle) -> dict[str, Any]:
    """Return everything `inspect` shows, for machines."""
    from hardtack_runtime.memory import Needs

    header = content.header
    return {
        "release": header.release,
        "hardware": header.hardware,
        "key_id": header.key_id.hex(),
        "manifest": content.manifest.model_dump(mode="json"),
        "bytes": {"total": header.total_size, **content.sections},
        "memory": {
            "arena": header.arena_size,
            "unpacked_weights": header.unpacked_size,
            "unpacked_layer": Needs.of(content).layer,
        },
        "operators": operators(content),
        "constants": constants(content),
        "golden_vectors": len(content.golden),
    }


def operators(content: Bundle) -> list[dict[str, Any]]:
    """Return one row per operator: its name, what it is, and how its weights are stored."""
    from hardtack_runtime.program import Conv2D, FullyConnected

    indices = [i for i, t in enumerate(content.program.tensors) if t.data is not None]
    labels = {i: one.coding.label for i, one in zip(indices, content.stored, strict=True)}
    rows = []
    for name, op in zip_longest(content.manifest.layers, content.program.ops, fillvalue=""):
        weights = [op.weights, *op.planes()] if isinstance(op, Conv2D | FullyConnected) else []
        coding = " + ".join(labels.get(i, "") for i in weights)
        rows.append({"name": name, "operator": type(op).__name__, "weights": coding})
    return rows


def constants(content: Bundle) -> list[dict[str, Any]]:
    """Return one row per constant tensor: shape, coding, bytes raw and stored, order-0 entropy."""
    from hardtack_runtime.packing import entropy_bytes

    rows = []
    tensors = [t for t in content.program.tensors if t.data is not None]
    for tensor, stored in zip(tensors, content.stored, strict=True):
        assert tensor.data is not None
        rows.append(
            {
                "shape": list(tensor.dims),
                "dtype": str(tensor.data.dtype),
                "coding": stored.coding.label,
                "raw_bytes": int(tensor.data.nbytes),
                "stored_bytes": stored.size,
                "entropy_bytes": round(entropy_bytes(tensor.data), 1),
            }
        )
    return rows


def _print(content: Bundle) -> None:
    from rich.console import Console
    from rich.table import Table

    from hardtack.cli.tables import print_table
    from hardtack_runtime.memory import Needs
    from hardtack_runtime.packing import Coding

    header, manifest = content.header, content.manifest
    console = Console(highlight=False, markup=False)
    console.print(
        f"[bold]{header.release}[/]  for {header.hardware}  {header.total_size} bytes", markup=True
    )
    console.print(f"model {manifest.model_id}  signed by {header.key_id.hex()}")
    console.print(
        f"arena {header.arena_size} B, unpacked weights {header.unpacked_size} B, "
        f"those of one layer {Needs.of(content).layer} B"
    )
    for direction, ports in (("input", manifest.inputs), ("output", manifest.outputs)):
        for port in ports:
            console.print(
                f"{direction:6} {port.name}  {list(port.shape)} {port.dtype}  "
                f"real = {port.scale:.6g} * (code - {port.zero_point})",
                markup=False,
            )
    if manifest.labels:
        console.print(f"labels {', '.join(manifest.labels)}", markup=False)
    layers = Table("operator", "name", "weights", box=None, pad_edge=False)
    for row in operators(content):
        layers.add_row(row["operator"], row["name"], row["weights"])
    print_table(layers)
    weights = Table("constants", "raw", "stored", "order-0 entropy", box=None, pad_edge=False)
    for coding in (c.label for c in Coding):
        rows = [row for row in constants(content) if row["coding"] == coding]
        if rows:
            sums = [sum(r[k] for r in rows) for k in ("raw_bytes", "stored_bytes", "entropy_bytes")]
            weights.add_row(f"{len(rows)} {coding}", *(f"{s:.0f} B" for s in sums))
    print_table(weights)
