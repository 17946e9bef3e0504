"""The deployments under examples/digits do what the README says of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.test_readme import ROOT, copy_needed
from tests.end_to_end.command import CommandLine

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def shell(tmp_path: Path) -> CommandLine:
    copy_needed(tmp_path)
    return CommandLine(tmp_path, tmp_path)


def test_the_table_of_the_readme_is_what_convert_prints(shell: CommandLine) -> None:
    printed = shell.works("convert", "--config", "examples/digits/compressed.toml").out
    timeless = re.compile(r" +\d+\.\d s ")
    for name in ("prune", "share"):
        (row,) = re.findall(rf"^{name} .*$", README, re.M)
        assert timeless.split(row)[0] in printed
        assert timeless.split(row)[1] in printed


def test_the_digits_are_trained_to_their_size(shell: CommandLine) -> None:
    pytest.importorskip("torch", reason="training needs torch: make .venv/torch")
    config = ("--config", "examples/digits/trained.toml")
    assert f"hardtack train {' '.join(config)}" in README
    shell.works("train", *config)
    made = shell.works("convert", *config, "--json").document
    assert made["bundles"][0]["bytes"] <= 2048
    assert made["accuracy"]["int8"] > 0.95
