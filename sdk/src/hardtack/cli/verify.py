"""`hardtack verify`: is this bundle what it says, and does it compute what it should?"""

from __future__ import annotations

import json
from pathlib import Path

import click

from hardtack.cli import PATH
from hardtack.files import named, read_bundle


@click.command("verify")
@click.argument("bundle", type=PATH)
@click.option("--keys", type=PATH, help="folder of trusted .pub files")
@click.option("--hardware", help="refuse a bundle for another class of device")
@click.option("--json", "as_json", is_flag=True, help="one JSON document")
def command(bundle: Path, keys: Path | None, hardware: str | None, as_json: bool) -> None:
    """Check signature, digest and structure, then replay the golden vectors."""
    from hardtack.keystore import own_keyring
    from hardtack_runtime.bundle import unpack, verify
    from hardtack_runtime.golden import replay
    from hardtack_runtime.interpreter import Interpreter
    from hardtack_runtime.signing import Keyring

    data = read_bundle(bundle)
    with named(bundle):
        header = verify(data, Keyring.load(keys) if keys else own_keyring(), hardware)
        content = unpack(data)
        replay(Interpreter(data), content.golden, content.manifest.layers)
    if as_json:
        found = {"release": header.release, "key_id": header.key_id.hex(), "verified": True}
        click.echo(json.dumps(found | {"golden_vectors": len(content.golden)}))
        return
    click.echo(f"{header.release}  signed by {header.key_id.hex()}  {len(data)} bytes")
    click.echo(f"signature, digest and {len(content.golden)} golden vectors: ok")
