"""`hardtack pack`: an .onnx or .tflite file made small, for devices with another runtime."""

from __future__ import annotations

import json
from pathlib import Path

import click

from hardtack.cli import PATH
from hardtack.files import PACKED_SUFFIX, refuse_to_replace, write_whole


@click.command("pack")
@click.argument("model", type=PATH)
@click.option("-o", "--out", type=PATH, help="default: MODEL.htp")
@click.option("--force", is_flag=True, help="replace an existing file")
@click.option("--json", "as_json", is_flag=True, help="one JSON document")
def command(model: Path, out: Path | None, force: bool, as_json: bool) -> None:
    """Pack an .onnx or .tflite file, changing no bit of it; `hardtack unpack` restores it.

    For devices that run ONNX Runtime or TensorFlow Lite: the weights are coded as in a bundle.
    Data that an ONNX model keeps in other files is not packed.
    """
    from rich.console import Console
    from rich.progress import Progress

    from hardtack.quantities import format_size
    from hardtack_converters.importers.source import read_source
    from hardtack_converters.importers.spans import tensor_spans
    from hardtack_runtime.payload import pack_payload

    source = read_source(model)
    target = out or model.with_name(model.name + PACKED_SUFFIX)
    spans = tensor_spans(source)
    refuse_to_replace(target, force, model)
    console = Console(stderr=True)
    with Progress(
        console=console, transient=True, disable=as_json or not console.is_terminal
    ) as bar:
        task = bar.add_task("pack", total=None)

        def advance(done: int, in_all: int) -> None:
            bar.update(task, completed=done, total=in_all)

        packed = pack_payload(source.data, spans, advance)
    write_whole(target, packed)
    before, after = len(source.data), len(packed)
    if as_json:
        found = {"path": str(target), "sha256": source.sha256, "tensors": len(spans)}
        click.echo(json.dumps(found | {"bytes": {"before": before, "after": after}}))
        return
    click.echo(
        f"size       {format_size(before)} -> {format_size(after)} ({before / after:.2f}x), "
        f"{len(spans)} tensors"
    )
    click.echo(f"wrote      {target}")
