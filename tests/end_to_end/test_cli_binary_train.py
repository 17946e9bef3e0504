"""[train] binary, what `convert` makes of it, and the firmware for it, on the demo's digits."""

from __future__ import annotations

from pathlib import Path

import pytest

from hardtack_firmware.generate import Model, used_table
from hardtack_runtime.bundle import unpack
from hardtack_runtime.packing import Coding
from tests.end_to_end.command import CommandLine, change

TRAIN = """
[train]
data = { path = "test.npz", x = "x", y = "y" }
epochs = 14
batch = 32
shift = 1
binary = ["/3/Conv"]
"""


def append(project: Path, text: str) -> None:
    path = project / "deploy.toml"
    path.write_text(path.read_text() + text)


def test_a_binary_layer_is_packed_and_its_products_are_counted(
    cli: CommandLine, project: Path
) -> None:
    pytest.importorskip("torch", reason="training needs torch: make .venv/torch")
    change(project, 'max_drop = "1.0 %"', "")
    change(project, 'hardware = "linux"', 'hardware = "cortex-m4"')
    plain = cli.works("convert", "--json").document["bundles"][0]["bytes"]
    append(project, TRAIN)
    cli.works("train")
    document = cli.works("convert", "--json").document
    assert document["accuracy"]["int8"] > 0.9
    assert document["bundles"][0]["bytes"] < 0.7 * plain
    path = project / "dist" / "digits-1.0.0-pi.htb"
    content = unpack(path.read_bytes())
    assert Coding.PACKED in {one.coding for one in content.stored}
    assert "ht_in_place_xnor" in used_table([Model(path, path.read_bytes(), content)])


def test_a_layer_that_is_not_there_is_refused(cli: CommandLine, project: Path) -> None:
    pytest.importorskip("torch", reason="training needs torch: make .venv/torch")
    append(project, TRAIN.replace("/3/Conv", "dense9"))
    said = cli.run("train").refused("HT110", 2)
    assert "'dense9' matches no layer\n  --> [train] binary" in said
