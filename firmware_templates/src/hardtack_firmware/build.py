"""Builds a project of firmware by its own Makefile, and says in one message why it does not."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hardtack_firmware.boards import Board, make_variables, read_board, read_size
from hardtack_firmware.generate import KEYS, Model, check_models, read_keys, write_generated
from hardtack_firmware.project import SETTINGS
from hardtack_runtime.errors import (
    ConfigError,
    DeviceError,
    GateError,
    HardtackError,
    UnsupportedOpError,
)

_SIZES = re.compile(
    r"ht_model_sizes\.h:\S+ error: static.assert.+?(?P<what>[\w.-]+@\S+ (?:needs|has) [^\"\n]+)"
)
_NEEDED = re.compile(r"needs at least (?P<bytes>\d+) bytes of memory")
_ASSERTION = re.compile(r"\bht_assert_(?P<what>\w+)")
_KERNEL = re.compile(r"undefined (?:reference to|symbol:) [`']?ht_operator_(?P<name>\w+)")
_FULL = re.compile(
    r"region [`'](?P<region>\w+)'(?: overflowed by |: overflowed by )(?P<by>\d+) bytes"
)
_LINKER = re.compile(
    r"(?:ld\S*: |ld\.lld: error: )(?P<what>the (?:model slots|unpacked weights) overlap .+)"
)
_NO_ROOM = re.compile(
    r"No space left on device|Disk quota exceeded|File size limit exceeded|File too large"
)
_UNDEFINED = re.compile(r"(?P<at>\S+?):?\s.*undefined reference to `(?P<name>\w+)'")
_UNDEFINED_LLD = re.compile(r"undefined symbol: (?P<name>\w+)")
_ERROR = re.compile(
    r"^(?P<at>[^\s:]+:\d+(?::\d+)?): (?:fatal )?error: (?P<what>.+)|error: (?P<other>.+)",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Toolchain:
    """What compiles: its name, and the variables that tell the Makefile."""

    name: str
    variables: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Built:
    """A firmware that was built.

    Attributes:
        board: As its project has it; `pool` and `unpacked` are the project's.
        toolchain: gcc or zig.
        elf: The firmware; its object files lie beside it.
        models: The bundles it is to run.
    """

    board: Board
    toolchain: str
    elf: Path
    models: tuple[Model, ...]


def project_board(folder: Path) -> Board:
    """Return the board of a project, with the project's own settings.

    Raises:
        ConfigError: HT108, the folder holds no project; HT104, a size in it is none.
    """
    try:
        settings = make_variables((folder / SETTINGS).read_text(encoding="utf-8"))
        board = read_board(folder / "ports" / settings["BOARD"])
    except (OSError, KeyError, ValueError) as error:
        todo = "`hardtack firmware new BOARD FOLDER` makes one"
        if (folder / "README.md").is_file() and (folder / "src").is_dir():
            todo = f"a library is built by its own tools, see {folder / 'README.md'}; {todo}"
        met = f"holds no firmware project ({_short(error)})"
        raise ConfigError("HT108", str(folder), met, todo) from error
    sizes = {
        "POOL_SIZE": board.pool, "UNPACKED_SIZE": board.unpacked, "CODE_SIZE": board.flash,
    }  # fmt: skip
    for name in sizes.keys() & settings.keys():
        try:
            sizes[name] = read_size(settings[name])
        except ValueError as error:
            raise ConfigError("HT104", f"{folder / SETTINGS}, {name}", str(error)) from error
    pool, unpacked, flash = sizes.values()
    return replace(board, pool=pool, unpacked=unpacked, flash=flash)


def _short(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}"
    return f"{SETTINGS}: {error}"


def project_keys(folder: Path) -> list[bytes]:
    """Return the raw public keys in a project.

    Raises:
        ConfigError: HT108, its key file is not as `hardtack firmware new` writes it.
    """
    path = folder / "generated" / KEYS
    found = read_keys(path.read_text(encoding="utf-8")) if path.is_file() else []
    if not found:
        raise ConfigError(
            "HT108", str(path), "holds no public keys, so none can be compared with a bundle's",
            "make the project anew with `hardtack firmware new` and take your app/ along",
        )  # fmt: skip
    return found


def find_toolchain(board: Board) -> Toolchain:
    """Return the board's GCC where there is one, else zig.

    Raises:
        ConfigError: HT105, there is neither, or no make.
    """
    if shutil.which("make") is None:
        raise ConfigError("HT105", "make", "is not installed", "install GNU make")
    if shutil.which(board.compiler) is not None:
        return Toolchain("gcc", ())
    zig = _zig()
    if zig is None:
        raise ConfigError(
            "HT105", board.compiler, f"no compiler for {board.name} is installed",
            "pip install 'hardtack[firmware]', or your system's package of that compiler",
        )  # fmt: skip
    host = () if shutil.which("cc") else (f"HOSTCC={zig} cc",)
    return Toolchain("zig", ("TOOLCHAIN=zig", f"ZIG={zig}", *host))


def _zig() -> str | None:
    """Return the words that run zig, as a makefile takes them."""
    if importlib.util.find_spec("ziglang") is not None:
        words = [sys.executable, "-m", "ziglang"]
    elif (found := shutil.which("zig")) is not None:
        words = [found]
    else:
        return None
    return shlex.join(words).replace("$", "$$")


def use_models(folder: Path, models: Sequence[Model]) -> None:
    """Let a project run these models and no others.

    Raises:
        ConfigError: HT108, the folder holds no project.
        GateError, TrustError: HT501, HT701, HT702, the board would refuse one.
    """
    check_models(models, project_keys(folder), project_board(folder).hardware)
    kept = folder / "models"
    kept.mkdir(exist_ok=True)
    for model in models:
        part = kept / f"{model.path.name}.part"
        try:
            part.write_bytes(model.data)
            part.replace(kept / model.path.name)
        finally:
            part.unlink(missing_ok=True)
    names = {model.path.name for model in models}
    for path in kept.glob("*.htb"):
        if path.name not in names:
            path.unlink()


def build(folder: Path) -> Built:
    """Build a project.

    Raises:
        ConfigError: HT105 no compiler, HT108 no project, HT109 its source does not compile.
        DeviceError: HT603, the disk is full.
        GateError: HT503, a model or the firmware does not fit the board.
        UnsupportedOpError: HT301, the project has no kernel for an operator.
    """
    board = project_board(folder)
    toolchain = find_toolchain(board)
    found = sorted((folder / "models").glob("*.htb"))
    models = tuple(Model.read(path, path.read_bytes()) for path in found)
    (folder / "generated").mkdir(exist_ok=True)
    write_generated(folder / "generated", models)
    out = folder / "build" / board.name
    ran = subprocess.run(
        [
            *("make", "--silent", "--no-print-directory", f"-j{os.cpu_count() or 1}"),
            *("-C", str(folder), f"OUT=build/{board.name}", *toolchain.variables),
        ],
        capture_output=True, text=True, check=False, env=_environment(),
    )  # fmt: skip
    if ran.returncode:
        raise _explain(folder, board, ran.stdout + ran.stderr)
    return Built(board, toolchain.name, out / "firmware.elf", models)


def _environment() -> dict[str, str]:
    """Return ours, without what a make that called us left for its own children."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return ours | {"LC_ALL": "C"}


def _does_not_fit(settings: str, board: Board, said: str) -> GateError:
    """Say it with the board's figures, and advise nothing that the board has not."""
    met = said.replace("POOL_SIZE", f"POOL_SIZE, {board.pool}")
    met = met.replace("(SLOT_SIZE)", f"of {board.name}, {board.slot}")
    needed = _NEEDED.search(said)
    todo = "use a smaller model"
    if needed:
        least = -(-int(needed["bytes"]) // 16) * 16
        todo = (
            f"{todo}: the board has {board.ram} bytes of memory in all"
            if board.ram and least >= board.ram
            else f"set POOL_SIZE to {least} or more there, or {todo}"
        )
    return GateError("HT503", settings, met, todo)


def _explain(folder: Path, board: Board, log: str) -> HardtackError:
    """Turn what make printed into one error; the whole of it stays in build/make.log."""
    if match := _NO_ROOM.search(log):
        return DeviceError("HT603", str(folder / "build"), match[0], "free space, then repeat")
    kept = folder / "build" / "make.log"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(log, encoding="utf-8")
    if names := sorted({match["name"] for match in _KERNEL.finditer(log)}):
        return UnsupportedOpError(
            "HT301", str(folder / "csrc"), f"this project has no kernel for {', '.join(names)}",
            "make the project anew with `hardtack firmware new` and take your app/ along",
        )  # fmt: skip
    return _wrong_size(str(folder / SETTINGS), board, log) or _does_not_compile(folder, kept, log)


def _wrong_size(settings: str, board: Board, log: str) -> HardtackError | None:
    """Return what a compiler or linker refused by our own checks; None where it did not."""
    if match := _SIZES.search(log):
        return _does_not_fit(settings, board, match["what"])
    if match := _ASSERTION.search(log):
        broken = match["what"].replace("_", " ").replace(" SIZE", "_SIZE")
        return ConfigError("HT104", settings, f"it does not hold that {broken}", "change it there")
    if match := _FULL.search(log):
        met = f"the firmware passes the end of {board.name}'s {match['region']} by {match['by']} B"
        return GateError("HT503", settings, met, "set a smaller POOL_SIZE or leave code out")
    if match := _LINKER.search(log):
        return GateError("HT503", settings, match["what"], "see the memory map in board.mk")
    return None


def _does_not_compile(folder: Path, log_file: Path, log: str) -> ConfigError:
    match = _ERROR.search(log)
    missing = _UNDEFINED.search(log) or _UNDEFINED_LLD.search(log)
    where, met = str(folder), "make failed"
    if missing:
        met = f"no source file defines {missing['name']}"
    elif match:
        where = str(folder / match["at"]) if match["at"] else where
        met = match["what"] or match["other"]
    return ConfigError("HT109", where, met, f"the whole of what make said is in {log_file}")
