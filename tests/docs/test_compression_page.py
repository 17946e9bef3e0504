"""The examples of docs/compression.md do what they say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from hardtack.config import load_config
from hardtack_converters.compress.run import PASSES
from hardtack_converters.compress.settings import Prune, Share
from tests.end_to_end.command import DEMO_DATA

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/compression.md").read_text()


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found
    return found[1]


def test_the_tables_load(tmp_path: Path) -> None:
    head = 'version = 1\n[model]\npath = "m.onnx"\n[data]\nevaluate = { path = "e.npz" }\n'
    (tmp_path / "deploy.toml").write_text(head + block("toml"))
    assert load_config(tmp_path / "deploy.toml").compress == (
        Prune(sparsity=0.8, scope="global"),
        Share(bits=4, layers=("*fc*",), max_drop=0.005),
    )


def test_the_python_example_runs() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", block("python")], cwd=DEMO_DATA, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout) == (0, "50.0 % of 6,032 weights are zero\n"), ran.stderr


def test_every_pass_has_a_page_and_is_named() -> None:
    for settings in PASSES:
        name = settings.model_fields["pass_"].default
        assert f"[`{name}`](compression/{name}.md)" in PAGE
        assert (ROOT / f"docs/compression/{name}.md").is_file()
