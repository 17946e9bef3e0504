"""`hardtack doctor`: what works on this machine and what is missing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import platform
import sys
from dataclasses import asdict, dataclass

import click


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    what: str
    works: bool
    found: str
    todo: str


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="one JSON document")
def command(as_json: bool) -> int:
    """Say what works here and what to install for the rest."""
    findings = [_runtime(), _package("onnxruntime", "float ONNX models", "hardtack[calibrate]")]
    findings += [_package("tflite", "TFLite models", "hardtack[tflite]")]
    findings += [_package("torch", "`hardtack train`", "hardtack[train]")]
    findings += [_package("matplotlib", "plots", "hardtack[report]"), _broker(), _keys()]
    findings.append(_firmware())
    needed = findings[0].works
    if as_json:
        click.echo(json.dumps({"ok": needed, "findings": [asdict(f) for f in findings]}))
        return 0 if needed else 5
    click.echo(f"hardtack {importlib.metadata.version('hardtack')}, ", nl=False)
    click.echo(f"Python {sys.version.split()[0]}, {platform.platform()}")
    for finding in findings:
        mark = "ok  " if finding.works else "miss"
        todo = "" if finding.works else f"; {finding.todo}"
        click.echo(f"{mark}  {finding.what}: {finding.found}{todo}")
    return 0 if needed else 5


def _runtime() -> Finding:
    from hardtack_runtime.errors import HardtackError

    try:
        from hardtack_runtime import _library

        _library.opened()
    except HardtackError as error:
        return Finding("C runtime", False, error.met, error.todo)
    return Finding("C runtime", True, "loads", "")


def _package(name: str, purpose: str, extra: str) -> Finding:
    if importlib.util.find_spec(name) is None:
        return Finding(purpose, False, f"{name} is not installed", f'pip install "{extra}"')
    return Finding(purpose, True, f"{name} {importlib.metadata.version(name)}", "")


def _broker() -> Finding:
    from hardtack.fleet.broker import find_mosquitto

    path = find_mosquitto()
    if path:
        return Finding("MQTT broker", True, path, "")
    if importlib.util.find_spec("amqtt"):
        found = "amqtt (development only)"
        return Finding("MQTT broker", True, found, "")
    return Finding("MQTT broker", False, "none", 'apt install mosquitto, or "hardtack[broker]"')


def _keys() -> Finding:
    from hardtack.keystore import keys_dir, public_keys

    keys = public_keys(keys_dir())
    if keys:
        return Finding("signing keys", True, ", ".join(name for name, _ in keys), "")
    return Finding("signing keys", False, "none yet", "`hardtack keys new` (convert makes one too)")


def _firmware() -> Finding:
    import shutil

    compilers = ("arm-none-eabi-gcc", "riscv64-unknown-elf-gcc", "zig")
    found = [name for name in compilers if shutil.which(name)]
    if "zig" not in found and importlib.util.find_spec("ziglang"):
        found.append("zig")
    if found and shutil.which("make"):
        return Finding("firmware builds", True, ", ".join(found), "")
    missing = "make" if found else "no cross compiler"
    return Finding("firmware builds", False, missing, 'pip install "hardtack[firmware]", and make')
