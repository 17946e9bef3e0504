"""Builds firmware for tests: the posix board under sanitizers, QEMU boards with Debian's GCC."""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Collection, Iterable
from pathlib import Path

import pytest

from hardtack_firmware.boards import templates_dir
from hardtack_firmware.generate import keys_source
from hardtack_firmware.monocypher import fetch_monocypher
from hardtack_runtime.errors import ConfigError
from hardtack_runtime.memory import Needs, Way
from hardtack_runtime.operator_table import table_source
from hardtack_runtime.packing import Coding
from tests.compiled import BUILD, CSRC, alone
from tests.digit_bundles import KEY

ROOT = Path(__file__).parents[2]
TEMPLATES = templates_dir()
SANITIZE = "-fsanitize=address,undefined -fno-sanitize-recover=all -DHT_PORTABLE"


def written(name: str, source: str) -> Path:
    """Write a source file in build/, or leave it as it is, so that what is built of it stays."""
    path = BUILD / name
    with alone():
        if not path.exists() or path.read_text() != source:
            path.write_text(source)
    return path


@functools.cache
def monocypher() -> Path:
    """Fetch Monocypher once; skip the calling test where no package index is reached."""
    try:
        with alone():
            return fetch_monocypher(BUILD / "monocypher")
    except ConfigError as error:
        pytest.skip(str(error))


@functools.cache
def keys_file() -> Path:
    """Write the C file of the tests' public key."""
    return written("firmware_keys.c", keys_source([bytes(32), KEY.verify_key.raw]))


@functools.cache
def firmware(
    board: str,
    compiler: str = "cc",
    flags: str = "",
    linker: str = "",
    app: Path | None = None,
    operators: Path | None = None,
    settings: tuple[str, ...] = (),
) -> Path:
    """Build a board's firmware; skip the calling test when its compiler is not there.

    `settings` are variables of its makefiles, as NAME=VALUE.
    """
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}: {board} needs it")
    parts = (
        "firmware",
        board,
        *(path.stem for path in (app, operators) if path is not None),
        *settings,
    )
    out = BUILD / "-".join(parts)
    command = [
        *("make", "-s", "-C", str(TEMPLATES), f"BOARD={board}", f"OUT={out}", *settings),
        f"CSRC={CSRC}",
        *(f"KEYS={keys_file()}", f"MONOCYPHER={monocypher()}"),
        *([] if app is None else [f"APP={app}"]),
        *([] if operators is None else [f"OPERATORS={operators}"]),
        *(f"EXTRA_CFLAGS={flags} -Werror", f"EXTRA_LDFLAGS={linker}"),
    ]
    with alone():
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return out / "firmware.elf"


def settings_for(needs: Needs, way: Way) -> tuple[str, ...]:
    """Return the settings of a firmware that unpacks a model's weights this way.

    It has just the memory that this takes.
    """
    region = 1 << 20
    if way is Way.LAYERS:
        return (f"POOL_SIZE={needs.taken(way)}", "UNPACKED_SIZE=0")
    pool = needs.least(region) if way is Way.FLASH else needs.taken(way)
    return (f"POOL_SIZE={pool}", f"UNPACKED_SIZE={region}")


def operators_file(name: str, opcodes: Iterable[int], codings: Collection[Coding] = ()) -> Path:
    """Write a table of operators; firmware built with it is told by the name."""
    return written(f"{name}.c", table_source(opcodes, codings))


def posix_firmware(operators: Path | None = None) -> Path:
    """Build the posix board with sanitizers."""
    linker = "-fsanitize=address,undefined"
    return firmware("posix", flags=SANITIZE, linker=linker, operators=operators)
