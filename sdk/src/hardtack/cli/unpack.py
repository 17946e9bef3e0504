"""`hardtack unpack`: restore a model that `hardtack pack` made small."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import click

from hardtack.cli import PATH
from hardtack.files import PACKED_SUFFIX, named, read_packed, refuse_to_replace, write_whole
from hardtack_runtime.errors import ConfigError


@click.command("unpack")
@click.argument("packed", type=PATH)
@click.option("-o", "--out", type=PATH, help="default: PACKED without .htp")
@click.option("--force", is_flag=True, help="replace an existing file")
@click.option("--json", "as_json", is_flag=True, help="one JSON document")
def command(packed: Path, out: Path | None, force: bool, as_json: bool) -> None:
    """Restore a packed model byte for byte, or write nothing."""
    from hardtack_runtime.payload import unpack_payload

    if out is None and packed.suffix != PACKED_SUFFIX:
        met = f"its name does not end in {PACKED_SUFFIX}"
        raise ConfigError("HT104", str(packed), met, "say where the model goes: -o FILE")
    target = out or packed.with_suffix("")
    with named(packed):
        data = unpack_payload(read_packed(packed))
    refuse_to_replace(target, force, packed)
    write_whole(target, data)
    if as_json:
        digest = hashlib.sha256(data).hexdigest()
        click.echo(json.dumps({"path": str(target), "sha256": digest, "bytes": len(data)}))
        return
    click.echo(f"wrote      {target}  {len(data):,} bytes, as they were")
