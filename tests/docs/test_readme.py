"""The README's commands run as they stand: a newcomer types them in this order."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from tests.end_to_end.command import free_port

ROOT = Path(__file__).parents[2]
NEEDED = ("README.md", "deploy.toml", "examples", "sdk/src/hardtack/demo_data")
PORT, BOARD_PORT = "18830", "18831"


def commands(text: str) -> list[str]:
    """Return the lines after `$ ` in ```console blocks."""
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).splitlines()
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


def script(lines: list[str]) -> str:
    """Return one bash script that says each command before it runs it.

    What runs in the background is ended by bash itself, which knows its own jobs.
    """
    parts = ["set -e", "trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT"]
    for line in lines:
        parts += [f"echo {shlex.quote('$ ' + line)}", line]
    return "\n".join(parts) + "\n"


def copy_needed(folder: Path) -> None:
    """Copy what a reader has and the commands use; its .venv is this one."""
    for name in NEEDED:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, target)
    (folder / ".venv").symlink_to(Path(sys.executable).parents[1])


def run(text: str, folder: Path) -> str:
    """Run a script in a session of its own; return all it wrote."""
    environment = os.environ | {
        "XDG_CONFIG_HOME": str(folder / "config"),
        "XDG_DATA_HOME": str(folder / "data"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    session = subprocess.Popen(
        ["bash", "-c", text], cwd=folder, env=environment, text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        output, _ = session.communicate(timeout=120)
    finally:
        if session.poll() is None:
            os.killpg(session.pid, signal.SIGKILL)
    assert session.returncode == 0, output
    return output


def test_the_tour_of_the_readme_works(tmp_path: Path) -> None:
    copy_needed(tmp_path)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    gateway = tmp_path / "examples" / "gateway.toml"
    for port in (PORT, BOARD_PORT):
        assert port in text
        free = str(free_port())
        text = text.replace(port, free)
        gateway.write_text(gateway.read_text().replace(port, free))
    output = run(script(commands(text)), tmp_path)
    for device in ("pi-1", "pi-2"):
        assert f"{device}  digits@1.0.0  confirmed" in output
    assert re.search(r"\d{3} of 600 right", output)
    assert "board-1  digits@1.1.0  confirmed" in output
    assert re.search(r"board-1 +digits@1\.1\.0 +600 +0 +9\d\.\d\d %", output)
    assert re.search(r"pi-1 +digits@1\.0\.0 +600 +0 +9\d\.\d\d %", output)


def test_the_first_commands_are_targets_of_the_makefile() -> None:
    block = re.search(r"^```\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    assert block is not None
    targets = [line.split()[:2] for line in block[1].splitlines()]
    assert targets == [["make", "demo"], ["make", "test"]]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(re.search(rf"^{name}:", makefile, re.M) for _, name in targets)
