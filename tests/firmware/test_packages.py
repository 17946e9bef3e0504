"""The wheels, built from source distributions, hold the C source that projects are made of."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BACKENDS = {"firmware_templates": "hatchling.build", "agent/runtime": "scikit_build_core.build"}
WHERE = {
    "firmware_templates": ("hardtack_firmware/templates", "src/hardtack_firmware/templates"),
    "agent/runtime": ("hardtack_runtime/csrc", "csrc"),
}


def call(backend: str, function: str, project: Path, out: Path) -> Path:
    """Call a build backend as pip does; return what it wrote."""
    code = f"import {backend} as b, sys; print(b.{function}(sys.argv[1]))"
    ran = subprocess.run(
        [sys.executable, "-c", code, str(out)],
        cwd=project, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return out / ran.stdout.splitlines()[-1]


@pytest.mark.parametrize("name", BACKENDS)
def test_a_wheel_of_a_source_distribution_holds_every_source(name: str, tmp_path: Path) -> None:
    archive = call(BACKENDS[name], "build_sdist", ROOT / name, tmp_path)
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "source", filter="data")
    (project,) = (tmp_path / "source").iterdir()
    wheel = call(BACKENDS[name], "build_wheel", project, tmp_path)
    inside, outside = WHERE[name]
    with zipfile.ZipFile(wheel) as files:
        names = set(files.namelist())
    tracked = subprocess.run(
        ["git", "ls-files", outside], cwd=ROOT / name, capture_output=True, text=True, check=True
    ).stdout.split()
    wanted = {
        inside + path.removeprefix(outside)
        for path in tracked
        if name == "firmware_templates" or path.startswith(("csrc/include", "csrc/src"))
    }
    assert len(wanted) > 20
    assert wanted - names == set()
