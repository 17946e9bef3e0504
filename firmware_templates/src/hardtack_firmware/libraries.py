"""The same C source as a library for other builds: Zephyr, PlatformIO, Arduino, Android."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hardtack_firmware.boards import templates_dir
from hardtack_firmware.generate import (
    KEYS,
    NOTE,
    OPERATORS,
    Model,
    check_models,
    keys_source,
    used_table,
    write_generated,
)
from hardtack_firmware.project import Ingredients, copy_sources, copy_tree, whole_folder
from hardtack_runtime import csrc_dir


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of library.

    Attributes:
        title: What it is.
        template: Its folder in `libraries`.
        fill: What fills its folder beside its template.
        verifies: Whether it takes only bundles that the keys signed.
        hardware: Class of device it takes bundles for; None: the user's build says.
    """

    title: str
    template: str
    fill: Callable[[Path, Ingredients], None]
    verifies: bool = True
    hardware: str | None = None


def new_library(name: str, folder: Path, given: Ingredients) -> None:
    """Write a library of kind `name`, one of KINDS.

    Raises:
        ConfigError: HT106, the folder is there already.
        GateError, TrustError: HT501, HT701, HT702, it would refuse a model.
        OSError: it cannot be written; nothing is left then.
    """
    kind = KINDS[name]
    if kind.verifies:
        check_models(given.models, given.keys, kind.hardware)
    with whole_folder(folder) as part:
        template = templates_dir() / "libraries" / kind.template
        copy_tree(template, part)
        kind.fill(part, given)


def _fill_sources(folder: Path, given: Ingredients) -> None:
    copy_sources(folder, given.monocypher)
    (folder / "generated").mkdir()
    (folder / "generated" / KEYS).write_text(keys_source(given.keys), encoding="utf-8")
    write_generated(folder / "generated", given.models)


def _fill_android(folder: Path, given: Ingredients) -> None:
    native = folder / "src" / "main" / "cpp"
    _fill_sources(native, given)
    assets = folder / "src" / "main" / "assets"
    assets.mkdir()
    for model in given.models:
        (assets / model.path.name).write_bytes(model.data)


def _fill_arduino(folder: Path, given: Ingredients) -> None:
    """The runtime alone, where the Arduino builder looks for it; it compiles all below src."""
    source = folder / "src"
    copy_tree(csrc_dir() / "src", source)
    copy_tree(csrc_dir() / "include" / "hardtack", source / "hardtack")
    if given.models:
        (source / OPERATORS).write_text(used_table(given.models), encoding="utf-8")
    model = given.models[0] if given.models else None
    (folder / "examples" / "predict" / "model.h").write_text(model_header(model), encoding="utf-8")


def model_header(model: Model | None) -> str:
    """Return a bundle as C arrays, for firmware that is built with its model."""
    if model is None:
        return f'{NOTE}#error "make this library with --bundle FILE, or put your model here"\n'
    header = model.bundle.header
    rows = [
        "    " + ", ".join(f"0x{byte:02x}" for byte in model.data[at : at + 16]) + ",\n"
        for at in range(0, len(model.data), 16)
    ]
    return (
        f"{NOTE}/* {header.release} */\n#include <stdint.h>\n\n"
        f"#define MODEL_ARENA_SIZE {header.arena_size}\n"
        f"#define MODEL_UNPACKED_SIZE {header.unpacked_size}\n\n"
        "static const uint8_t model_bundle[] __attribute__((aligned(4))) = {\n"
        + "".join(rows) + "};\n"
    )  # fmt: skip


KINDS = {
    "android": Kind(
        "a Gradle module for Android: Java class, JNI, C",
        "android",
        _fill_android,
        hardware="android",
    ),
    "arduino": Kind("an Arduino library of the runtime", "arduino", _fill_arduino, verifies=False),
    "platformio": Kind("the same library for PlatformIO", "arduino", _fill_arduino, verifies=False),
    "zephyr": Kind("a Zephyr module: runtime, slots, protocol", "zephyr", _fill_sources),
}
