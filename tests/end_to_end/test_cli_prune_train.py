"""[train] prune, and what `convert` makes of it, on the demo's digits."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.command import CommandLine, change

TRAIN = """
[train]
data = { path = "test.npz", x = "x", y = "y" }
epochs = 10
batch = 32
prune = { sparsity = "80 %", scope = "global" }
"""


def append(project: Path, text: str) -> None:
    path = project / "deploy.toml"
    path.write_text(path.read_text() + text)


def test_a_model_pruned_in_training_stays_pruned(cli: CommandLine, project: Path) -> None:
    pytest.importorskip("torch", reason="training needs torch: make .venv/torch")
    change(project, 'max_drop = "1.0 %"', "")
    plain = cli.works("convert", "--json").document["bundles"][0]["bytes"]
    append(project, TRAIN)
    assert "pruned     80.0 % of the 80.0 % asked for" in cli.works("train").out
    trained = cli.works("train", "--json").document
    assert trained["best"]["pruned"] == pytest.approx(0.8)
    document = cli.works("convert", "--json").document
    assert document["accuracy"]["int8"] > 0.95
    assert document["bundles"][0]["bytes"] < 0.5 * plain


@pytest.mark.parametrize(
    ("key", "met"),
    [
        ("sensitivity = true", "[[compress]] does"),
        ('pattern = "channel"', "[train] compress removes them"),
    ],
)
def test_what_goes_by_other_keys_is_refused(
    cli: CommandLine, project: Path, key: str, met: str
) -> None:
    append(project, TRAIN.replace('scope = "global"', key))
    said = cli.run("train").refused("HT104", 2)
    assert met in said


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        ('prune = { sparsity = "80 %", layers = ["nowhere"] }', "[train] prune, layers"),
        ('share = { bits = 3, layers = ["nowhere"] }', "[train] share, layers"),
        (
            'compress = [{ pass = "factorise", energy = 0.9, layers = ["nowhere"] }]',
            "[train] compress, pass 1 (factorise), layers",
        ),
    ],
)
def test_a_layer_that_is_not_there_is_refused(
    cli: CommandLine, project: Path, keys: str, place: str
) -> None:
    pytest.importorskip("torch", reason="training needs torch: make .venv/torch")
    append(project, "".join(TRAIN.splitlines(keepends=True)[:-1]) + keys + "\n")
    assert place in cli.run("train").refused("HT110", 2)
