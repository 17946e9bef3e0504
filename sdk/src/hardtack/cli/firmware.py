"""`hardtack firmware`: projects of firmware for boards, and what boards there are."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hardtack.cli import PATH
from hardtack.files import named, read_bundle
from hardtack_runtime.errors import ConfigError

if TYPE_CHECKING:
    from hardtack_firmware.generate import Model


@click.group("firmware")
def command() -> None:
    """Make a project of firmware for a board, and list the boards."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="one JSON document")
def list_boards(as_json: bool) -> None:
    """List the boards, and the other builds that `new` makes a project for."""
    from rich.console import Console
    from rich.table import Table

    from hardtack.quantities import format_size
    from hardtack_firmware.boards import boards
    from hardtack_firmware.libraries import KINDS

    if as_json:
        fields = (
            "name",
            "title",
            "processor",
            "hardware",
            "tested",
            "flash",
            "slot",
            "ram",
            "pool",
        )
        rows = [{key: getattr(board, key) for key in fields} for board in boards().values()]
        libraries = [{"name": name, "title": kind.title} for name, kind in KINDS.items()]
        click.echo(json.dumps({"boards": rows, "libraries": libraries}, indent=1))
        return
    table = Table("board", "processor", "flash", "slots", "RAM", "tested", box=None, pad_edge=False)
    for board in boards().values():
        sizes = (board.flash, board.slot, board.ram)
        flash, slot, ram = (format_size(size) if size else "" for size in sizes)
        table.add_row(board.name, board.processor, flash, f"2 x {slot}", ram, board.tested)
    others = Table("other", "what", box=None, pad_edge=False)
    for name, kind in KINDS.items():
        others.add_row(name, kind.title)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(table)
    console.print()
    console.print(others)


@command.command("new")
@click.argument("board")
@click.argument("folder", required=False, type=PATH)
@click.option(
    "--key", "keys", multiple=True,
    help="whom the device trusts: a name of `hardtack keys` or a .pub file; at most two",
)  # fmt: skip
@click.option(
    "--bundle", "bundles", multiple=True, type=PATH,
    help="a model it is to run; else those of deploy.toml, else any",
)  # fmt: skip
@click.option("--monocypher", type=PATH, help="folder with monocypher.c and .h")
def new(
    board: str,
    folder: Path | None,
    keys: tuple[str, ...],
    bundles: tuple[Path, ...],
    monocypher: Path | None,
) -> None:
    """Write a project for BOARD into FOLDER (default: firmware-BOARD), with all its source.

    It builds with make and a C compiler, without Python. Only the operators of its models are in
    it. BOARD may also be android, arduino, platformio or zephyr.
    """
    from hardtack_firmware.boards import find_board
    from hardtack_firmware.libraries import KINDS, new_library
    from hardtack_firmware.project import Ingredients, new_project

    if len(keys) > 2:
        raise ConfigError("HT104", "--key", f"{len(keys)} keys", "a device has room for two")
    known = None if board in KINDS else find_board(board)
    target = folder or Path(f"firmware-{board}")
    if target.exists():
        raise ConfigError("HT106", str(target), "exists already", "name a folder that does not")
    hardware = "any" if known is None else known.hardware
    models = read_models(bundles) if bundles else project_models(hardware)
    given = Ingredients(_raw_keys(keys), models, _monocypher(monocypher))
    if known is None:
        new_library(board, target, given)
        click.echo(f"wrote {target}; its README.md says how it is used")
        return
    new_project(known, target, given)
    what = ", ".join(model.bundle.header.release for model in models) or "any model"
    click.echo(f"wrote {target} for {what}; next: `hardtack build {shlex.quote(str(target))}`")


def read_models(paths: tuple[Path, ...]) -> list[Model]:
    """Read bundles that a firmware is to run.

    Raises:
        BundleError: HT211 or HT212, one is none.
        ConfigError: HT104, two have the same file name, or would have as .htb.
    """
    from hardtack_firmware.generate import Model

    kept = [path.with_suffix(".htb") for path in paths]
    if len({path.name for path in kept}) < len(kept):
        raise ConfigError("HT104", "--bundle", "two files of the same name", "rename one")
    models = []
    for path, as_htb in zip(paths, kept, strict=True):
        with named(path):
            models.append(Model.read(as_htb, read_bundle(path)))
    return models


def project_models(hardware: str) -> list[Model]:
    """Return what `hardtack convert` wrote for the deploy.toml in or above this folder."""
    from hardtack.config import find_config, load_config

    try:
        config = find_config(Path.cwd())
    except ConfigError:
        return []
    project = load_config(config).project
    found = sorted((config.parent / "dist").glob(f"{project.name}-{project.release}*.htb"))
    models = read_models(tuple(found))
    return [model for model in models if model.bundle.header.hardware in {"any", hardware}]


def _raw_keys(names: tuple[str, ...]) -> list[bytes]:
    from hardtack.keystore import key_path, signing_key
    from hardtack_runtime.signing import VerifyKey

    if not names:
        return [signing_key("default")[0].verify_key.raw]
    paths = [Path(n) if n.endswith(".pub") else key_path(n).with_suffix(".pub") for n in names]
    return [VerifyKey.load(path).raw for path in paths]


def _monocypher(folder: Path | None) -> Path:
    """Return a folder with Monocypher: the user's, or one in the cache, filled at first use."""
    import platformdirs

    from hardtack_firmware.monocypher import FILES, NAME, fetch_monocypher

    if folder is None:
        return fetch_monocypher(Path(platformdirs.user_cache_path("hardtack")) / NAME)
    for name in FILES:
        if not (folder / name).is_file():
            raise ConfigError("HT107", str(folder / name), "is not there", "see Monocypher 4")
    return folder
