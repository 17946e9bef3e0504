"""`hardtack init`: write a deploy.toml for a model."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hardtack.cli import PATH
from hardtack.config import FILE_NAME
from hardtack.files import refuse_to_replace, write_whole
from hardtack_runtime.errors import ConfigError, HardtackError

if TYPE_CHECKING:
    from hardtack_converters.importers import Source

_TEMPLATE = """\
# A hardtack deployment. Every key: docs/deploy.md
version = 1

[project]
name = "{name}"
release = "1.0.0"            # a device refuses to go back to a lower one

[model]
path = {path}
# task = "classify"
# labels = "labels.txt"      # one label a line

{data}
[fleet]
broker = "mqtt://127.0.0.1:1883"
"""
_FLOAT = """\
# [data]                     # a float model needs samples to learn its ranges from
# calibrate = { path = "calibration.npz" }
# evaluate = { path = "test.npz", x = "x", y = "y" }

# [[compress]]               # smaller; each pass is measured, and skipped where it harms
# pass = "share"
# bits = 4

# [train]                    # smaller still: `hardtack train` keeps the bundle to a size
# data = { path = "train.npz", x = "x", y = "y" }
# size = "8 KiB"
"""


@click.command("init")
@click.argument("model", type=PATH)
@click.option("--force", is_flag=True, help="overwrite an existing deploy.toml")
def command(model: Path, force: bool) -> None:
    """Write a deploy.toml beside you for MODEL (ONNX or .tflite)."""
    from hardtack_converters.importers import read_source, sniff

    source = read_source(model)
    sniff(source)  # what is no model is refused here; what cannot be imported `check` explains
    target = Path(FILE_NAME)
    refuse_to_replace(target, force)
    name = re.sub(r"[^a-z0-9]+", "-", model.stem.lower()).strip("-")[:31] or "model"
    data = "" if _came_quantised(source) else _FLOAT
    # A JSON string is a TOML one, but that TOML wants DEL escaped.
    path = json.dumps(model.as_posix(), ensure_ascii=False).replace("\x7f", "\\u007f")
    try:
        text = _TEMPLATE.format(name=name, path=path, data=data).encode()
    except UnicodeEncodeError as error:
        raise ConfigError(
            "HT107", ascii(str(model)), "its name is not UTF-8, as TOML must be", "rename it"
        ) from error
    write_whole(target, text)
    click.echo(f"wrote {target}; next: `hardtack check`, then `hardtack convert`")


def _came_quantised(source: Source) -> bool:
    """Say whether a model needs no samples; one that cannot be imported, which `check` explains."""
    from hardtack_converters.importers import import_model
    from hardtack_converters.passes import is_quantized

    try:
        return is_quantized(import_model(source))
    except HardtackError:
        return False
