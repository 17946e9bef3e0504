"""The `hardtack` command as a user runs it: a process, with its own keys and data folders."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEMO_DATA = Path(__file__).parents[2] / "sdk/src/hardtack/demo_data"
HARDTACK = Path(sys.executable).with_name("hardtack")
GIVEN = ("calibration.npz", "deploy.toml", "digits.onnx", "test.npz")


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """What it printed with --json."""
        return json.loads(self.out)

    def refused(self, code: str, status: int) -> str:
        """Check that it ended with one clear message and nothing else; return the message."""
        assert self.status == status, self
        assert self.err.startswith(f"error[{code}]: "), self
        assert self.err.count("error[") == 1
        assert self.err.rstrip().endswith(f"= help: hardtack help {code}")
        assert "Traceback" not in self.err
        assert not self.out
        return self.err


class CommandLine:
    """Runs commands in a folder; `stop` ends what still runs in the background.

    Args:
        folder: Everything they write lies in it.
        here: Working directory.
    """

    def __init__(self, folder: Path, here: Path) -> None:
        self.here = here
        self.home = folder / "home"
        self.environment = os.environ | {
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "XDG_DATA_HOME": str(self.home / "data"),
            "OMP_NUM_THREADS": "1",
        }
        self.environment.pop("COLUMNS", None)  # readline leaves it to the workers of pytest
        self._background: list[subprocess.Popen[bytes]] = []

    def run(self, *words: str | Path, limits: tuple[str, ...] = ()) -> Ran:
        """Run a command to its end."""
        done = subprocess.run(
            [*limits, str(HARDTACK), *map(str, words)], cwd=self.here, env=self.environment,
            capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return Ran(done.returncode, done.stdout, done.stderr)

    def works(self, *words: str | Path) -> Ran:
        """Run a command that must succeed and say nothing on stderr."""
        ran = self.run(*words)
        assert (ran.status, ran.err) == (0, ""), ran
        return ran

    def start(self, *words: str | Path) -> subprocess.Popen[bytes]:
        """Start a command in the background; what it writes goes to NAME.log."""
        log = self.here / f"{words[0]}-{len(self._background)}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [str(HARDTACK), *map(str, words)], cwd=self.here, env=self.environment,
                stdin=subprocess.DEVNULL, stdout=file, stderr=file,
            )  # fmt: skip
        self._background.append(process)
        return process

    def stop(self) -> None:
        """End every background command, the last first."""
        for process in reversed(self._background):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def copy_project(folder: Path) -> Path:
    """Copy the demo's project, with the default key for signing; return its folder."""
    folder.mkdir()
    for name in GIVEN:
        shutil.copy(DEMO_DATA / name, folder / name)
    change(folder, "demo.key", "default")
    return folder


def change(project: Path, old: str, new: str) -> None:
    """Replace a piece of deploy.toml that must be there."""
    path = project / "deploy.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def written(project: Path) -> list[str]:
    """Return the files that a command has left in a project."""
    files = (path for path in project.rglob("*") if path.is_file())
    return sorted(str(path.relative_to(project)) for path in files if path.name not in GIVEN)


def free_port() -> int:
    """Return a TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
