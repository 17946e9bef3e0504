"""Makes a project of firmware for one board, which builds with make and a C compiler alone."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hardtack_firmware.boards import Board, templates_dir
from hardtack_firmware.generate import KEYS, Model, check_models, keys_source, write_generated
from hardtack_firmware.monocypher import FILES
from hardtack_runtime import csrc_dir
from hardtack_runtime.errors import ConfigError

SETTINGS = "project.mk"


@dataclass(frozen=True, slots=True)
class Ingredients:
    """What goes into a project besides its board.

    Attributes:
        keys: One or two raw public keys, 32 bytes each.
        models: Bundles that it is to run; without any it has all operators.
        monocypher: Folder with Monocypher's files.
    """

    keys: Sequence[bytes]
    models: Sequence[Model]
    monocypher: Path


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder to fill that becomes `folder` when all went well, and nothing otherwise.

    Raises:
        ConfigError: HT106, it is there already.
        OSError: it cannot be written.
    """
    if folder.exists() or folder.is_symlink():
        raise ConfigError("HT106", str(folder), "exists already", "name a folder that does not")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=f".{folder.name}-", dir=folder.parent, ignore_cleanup_errors=True
        ) as scratch:
            part = Path(scratch) / folder.name
            part.mkdir()
            yield part
            part.rename(folder)
    except OSError as error:  # of the temporary folder, whose name tells nobody anything
        raise OSError(error.errno, error.strerror or str(error), str(folder)) from error


def new_project(board: Board, folder: Path, given: Ingredients) -> None:
    """Write a project.

    Raises:
        ConfigError: HT106, the folder is there already.
        GateError, TrustError: HT501, HT701, HT702, the board would refuse a model.
        OSError: it cannot be written; nothing is left then.
    """
    check_models(given.models, given.keys, board.hardware)
    with whole_folder(folder) as part:
        copy_sources(part, given.monocypher)
        templates = templates_dir()
        copy_tree(templates / "app", part / "app")
        shutil.copy(templates / "Makefile", part)
        for name in {board.name, "shared", "freestanding"}:
            copy_tree(templates / "ports" / name, part / "ports" / name)
        (part / "generated").mkdir()
        (part / "generated" / KEYS).write_text(keys_source(given.keys), encoding="utf-8")
        (part / "models").mkdir()
        for model in given.models:
            (part / "models" / model.path.name).write_bytes(model.data)
        write_generated(part / "generated", given.models)
        (part / SETTINGS).write_text(_settings(board), encoding="utf-8")
        (part / ".gitignore").write_text("build/\n", encoding="utf-8")
        (part / "README.md").write_text(_readme(board, folder.name), encoding="utf-8")


def copy_sources(folder: Path, monocypher: Path) -> None:
    """Copy the firmware's core, the runtime and Monocypher."""
    copy_tree(templates_dir() / "core", folder / "core")
    for name in ("include", "src"):
        copy_tree(csrc_dir() / name, folder / "csrc" / name)
    (folder / "monocypher").mkdir()
    for name in FILES:
        shutil.copy(monocypher / name, folder / "monocypher" / name)


def copy_tree(source: Path, target: Path) -> None:
    """Copy a folder's files; unlike shutil.copytree it ends at the first error, and says which."""
    for path in sorted(source.rglob("*")):
        if path.is_file():
            copied = target / path.relative_to(source)
            copied.parent.mkdir(parents=True, exist_ok=True)
            copied.write_bytes(path.read_bytes())


def _settings(board: Board) -> str:
    return f"""\
# What this project is. Here and on make's command line stand variables that the Makefile or
# ports/{board.name}/board.mk sets by ?=; what it sets by := is changed there.
BOARD := {board.name}
OPERATORS := generated/ht_operators.c
# Memory for a model, a multiple of 16: its arena, and unpacked weights that are not in flash.
POOL_SIZE ?= {board.pool}
"""


def _readme(board: Board, name: str) -> str:
    return f"""\
# {name}

Firmware for {board.title} ({board.processor}) that runs models made by hardtack.

```sh
make                # needs make and {board.compiler}; or zig: make TOOLCHAIN=zig
hardtack build      # the same, with a size report and images for programmers
```

- `app/main.c` is yours: a sensor's sample in, a class number out. More files beside it are built.
- `project.mk`: the board, memory for a model.
- `models/`: the bundles this firmware is to run; `hardtack build --bundle FILE` changes them.
- `generated/`: the public keys the device trusts, and the operators of the models. A firmware knows
  no other operators, and refuses models that need them.
- `ports/{board.name}/`: the board's memory map, and the functions of
  `core/include/hardtack/ht_board.h` for it.
- `core/`, `csrc/`: hardtack's, Apache-2.0. `monocypher/`: Monocypher, whose files state its terms.

A new model needs no new firmware: `hardtack flash BUNDLE` sends it over the serial line.
"""
