"""`hardtack keys`: make and list signing keys."""

from __future__ import annotations

import json

import click

from hardtack.keystore import key_path, keys_dir, public_keys
from hardtack_runtime.signing import SigningKey


@click.group("keys")
def command() -> None:
    """Make and list the Ed25519 keys that sign bundles.

    A device trusts the .pub files you copy to it; the .key files stay with you.
    """


@command.command("new")
@click.argument("name", default="default")
def new(name: str) -> None:
    """Make a key; an existing one is never overwritten."""
    path = key_path(name)
    SigningKey.generate().save(path)
    click.echo(f"private key  {path}  (keep it: only it can sign for your devices)")
    click.echo(f"public key   {path.with_suffix('.pub')}  (copy it to your devices)")


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="one JSON document")
def list_keys(as_json: bool) -> None:
    """List the keys of this machine."""
    keys = [(name, key.key_id.hex()) for name, key in public_keys(keys_dir())]
    if as_json:
        click.echo(json.dumps({"keys": [{"name": n, "key_id": i} for n, i in keys]}))
    elif not keys:
        click.echo(f"no keys in {keys_dir()}: `hardtack keys new` makes one", err=True)
    else:
        for name, key_id in keys:
            click.echo(f"{key_id}  {name}  {keys_dir() / name}.pub")
