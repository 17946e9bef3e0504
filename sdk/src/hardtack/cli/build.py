"""`hardtack build`: compile a firmware project, show its sizes, load it onto its board."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hardtack.cli import PATH

if TYPE_CHECKING:
    from rich.console import Console

    from hardtack_firmware.build import Built
    from hardtack_firmware.images import Images, Segments
    from hardtack_firmware.sizes import Part, Report


@click.command("build")
@click.argument("folder", required=False, type=PATH, default=Path())
@click.option(
    "--bundle", "bundles", multiple=True, type=PATH,
    help="a model it is to run from now on, instead of those in models/",
)  # fmt: skip
@click.option(
    "--with-model", is_flag=True,
    help="put its one model into the images too, for boards that have none yet",
)  # fmt: skip
@click.option("--upload", "wants_upload", is_flag=True, help="load it with the board's programmer")
@click.option(
    "--upload-to", "place", type=PATH,
    help="load it by copying it to this drive, or by the programmer on this serial port",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="one JSON document")
def command(
    folder: Path,
    bundles: tuple[Path, ...],
    with_model: bool,
    wants_upload: bool,
    place: Path | None,
    as_json: bool,
) -> None:
    """Build the firmware project in FOLDER (default: this one) and say where its bytes go.

    It uses the board's GCC where that is installed, else zig (`pip install
    'hardtack[firmware]'`).
    """
    from hardtack.cli.firmware import read_models
    from hardtack.files import located
    from hardtack_firmware.build import build, project_board, use_models
    from hardtack_firmware.sizes import measure
    from hardtack_firmware.upload import upload

    project_board(folder)
    with located(folder):
        if bundles:
            use_models(folder, read_models(bundles))
        built = build(folder)
        images = _write_images(built, with_model)
    report = measure(built)
    loaded = upload(built.board, built.elf, place).by if wants_upload or place else None
    if as_json:
        _print_json(built, images, report, loaded)
    else:
        _print(built, report)
        _print_files(built, images, loaded)


def _write_images(built: Built, with_model: bool) -> Images:
    from hardtack_firmware.images import Images, write_images

    more = _factory_model(built) if with_model else []
    if not built.board.flash:
        return Images((), bin_is_whole=True)
    return write_images(built.elf, built.board.variables.get("UF2_FAMILY"), more)


def _factory_model(built: Built) -> Segments:
    """Return slot A with the model and an erased journal: a board without one tries slot A.

    The journal that a board has would send it to the slot that was active before.
    """
    from hardtack_firmware.boards import read_size
    from hardtack_runtime.errors import ConfigError

    journal = built.board.journal
    if not built.board.flash or journal is None or len(built.models) != 1:
        found = ", ".join(model.path.name for model in built.models) or "none"
        raise ConfigError(
            "HT104", "--with-model",
            f"needs a board with flash, whose board.mk says where the journal is, and one model, "
            f"not {found}",
            "name the model with --bundle",
        )  # fmt: skip
    at, size = journal
    slot = read_size(built.board.variables["SLOTS_AT"])
    return [(slot, built.models[0].data), (at, b"\xff" * size)]


def _print_json(built: Built, images: Images, report: Report, loaded: str | None) -> None:
    about = {
        "board": built.board.name, "compiler": built.toolchain,
        "files": [str(path) for path in (built.elf, *images.paths)],
        "bin_is_whole": images.bin_is_whole, "uploaded_by": loaded,
    }  # fmt: skip
    click.echo(json.dumps(about | report.as_document(), indent=1))


def _print_files(built: Built, images: Images, loaded: str | None) -> None:
    names = ", ".join(path.name for path in (built.elf, *images.paths))
    click.echo(f"wrote {built.elf.parent}: {names}")
    if not images.bin_is_whole:
        click.echo("firmware.bin is without the model, whose slot is far away; firmware.hex has it")
    if loaded:
        click.echo(f"loaded by {loaded}")


def _print(built: Built, report: Report) -> None:
    from rich.console import Console

    console = Console(highlight=False, markup=False, soft_wrap=True)
    _print_sections(console, built, report)
    _print_parts(console, report.parts, "part")
    _print_parts(console, report.kernels, "kernel")
    _print_layers(console, built, report)


def _print_sections(console: Console, built: Built, report: Report) -> None:
    from hardtack.quantities import format_size

    board, sections = built.board, report.sections
    of_flash, of_ram = (f" of {format_size(n)}" if n else "" for n in (board.flash, board.ram))
    console.print(f"{board.name}  {board.processor}  {built.toolchain}")
    console.print(f"flash  {format_size(sections.flash)}{of_flash}")
    other = sections.ram - sections.pool - sections.stack
    console.print(
        f"RAM    {format_size(sections.ram)}{of_ram}: model {format_size(sections.pool)}, "
        f"stack {format_size(sections.stack)}, other {format_size(other)}"
    )


def _print_parts(console: Console, parts: tuple[Part, ...], title: str) -> None:
    from rich.table import Table

    table = Table(title, "flash", "RAM", box=None, pad_edge=False)
    for part in parts:
        table.add_row(part.name, str(part.flash), str(part.ram))
    console.print(table)


def _print_layers(console: Console, built: Built, report: Report) -> None:
    from rich.table import Table

    from hardtack.quantities import format_size
    from hardtack_runtime.memory import Way

    for model in built.models:
        header, needs = model.bundle.header, model.needs
        way = needs.way(built.board.pool, built.board.unpacked)
        unpacked = format_size(needs.unpacked)
        if needs.unpacked and way is not None:
            unpacked = f"{unpacked} {way.value}"
        if way is Way.LAYERS:
            unpacked = f"{unpacked}, {format_size(needs.layer)} at most"
        console.print(
            f"{header.release}  {format_size(header.total_size)} of a slot's "
            f"{format_size(built.board.slot)}, {format_size(needs.taken(way))} of "
            f"{format_size(built.board.pool)} for a model: arena {format_size(needs.arena)}, "
            f"weights unpacked {unpacked}"
        )
        table = Table("layer", "operator", "stored", "raw", "largest", box=None, pad_edge=False)
        for layer in report.layers[header.release]:
            sizes = (layer.stored, layer.raw, layer.output)
            table.add_row(layer.name, layer.operator, *map(str, sizes))
        console.print(table)
