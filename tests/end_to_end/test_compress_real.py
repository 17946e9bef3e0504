"""Every compression pass on real models, from deploy.toml to a bundle that verifies."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.conformance.models.nets import lenet5, lenet300
from tests.data import data_path
from tests.end_to_end.command import CommandLine

HEAD = """
version = 1
[model]
path = "{model}"
task = "classify"
[data]
calibrate = {{ path = "samples.npz", max = 128 }}
evaluate = {{ path = "test.npz" }}
[[target]]
name = "any"
pack = "smallest"
"""


@pytest.fixture(scope="module")
def keyword_spotting(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """The float DS-CNN of MLPerf Tiny, 1,000 spoken words to judge by."""
    folder = tmp_path_factory.mktemp("kws")
    model = data_path("mlperf_tiny/kws_ref_model_float32.tflite")
    with np.load(data_path("speech_commands/mfcc10_int8.npz")) as data:
        real = (data["x"].astype(np.float32) - data["zero_point"]) * data["scale"]
        x, y = real.astype(np.float32).reshape(-1, 49, 10, 1), data["y"].astype(int)
    shutil.copy(model, folder / "kws.tflite")
    return project(folder, "kws.tflite", (x, y), HEAD)


@pytest.fixture(scope="module")
def lenets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, CommandLine]:
    """The trained LeNets, 1,000 digits to judge by."""
    with np.load(data_path("mnist/mnist.npz")) as data:
        x, y = data["x_test"][:, None].astype(np.float32), data["y_test"].astype(int)
    head = HEAD + "[input]\nnormalize = {{ mean = 33.3285, std = 78.5655 }}\n"
    made = {}
    for name, build in (("lenet300", lenet300), ("lenet5", lenet5)):
        folder = tmp_path_factory.mktemp(name)
        onnx.save(build(data_path(f"lenet/{name}.pt")), folder / f"{name}.onnx")
        made[name] = project(folder, f"{name}.onnx", (x, y), head)
    return made


def project(folder: Path, model: str, samples: tuple[Any, Any], head: str) -> CommandLine:
    x, y = samples
    np.savez(folder / "samples.npz", x=x[1000:1128])
    np.savez(folder / "test.npz", x=x[:1000], y=y[:1000])
    (folder / "head.toml").write_text(head.format(model=model))
    return CommandLine(folder, folder)


def convert(cli: CommandLine, *passes: str) -> dict[str, Any]:
    """Convert with these passes; return what was told, the bundle verified."""
    text = (cli.here / "head.toml").read_text()
    (cli.here / "deploy.toml").write_text(text + "".join(f"\n[[compress]]\n{p}" for p in passes))
    document: dict[str, Any] = cli.works("convert", "--json").document
    bundle = document["bundles"][0]
    assert "ok" in cli.works("verify", bundle["path"]).out
    assert bundle["bytes"] == document["compress"][-1]["bytes"]["after"]
    assert document["accuracy"]["int8"] == document["compress"][-1]["accuracy"]["after"]
    return document


@pytest.mark.parametrize(
    ("asked", "smaller", "points"),
    [
        pytest.param('pass = "prune"\nsparsity = "30 %"', 0.985, 5, id="prune"),
        pytest.param('pass = "share"\nbits = 5', 0.85, 4, id="share"),
        pytest.param('pass = "low_bit"', 0.75, 2, id="low_bit"),
        pytest.param('pass = "low_bit"\nbits = 3', 0.65, 3, id="3 bits"),
        pytest.param(
            'pass = "low_bit"\nmethod = "adaround"\niterations = 300', 0.75, 3, id="adaround"
        ),
        pytest.param('pass = "bias_correction"\nmax_drop = "1 %"', 1.01, 1, id="bias_correction"),
        pytest.param('pass = "equalise"\nmax_drop = "1 %"', 1.15, 1, id="equalise"),
        pytest.param('pass = "round"\nmax_drop = "1 %"', 1.05, 1, id="round"),
        pytest.param(
            'pass = "prune"\npattern = "channel"\nsparsity = "10 %"', 0.97, 10, id="channel"
        ),
    ],
)  # fmt: skip
def test_keyword_spotting(
    keyword_spotting: CommandLine, asked: str, smaller: float, points: float
) -> None:
    (row,) = convert(keyword_spotting, asked)["compress"]
    assert row["skipped"] is None
    assert row["bytes"]["after"] <= smaller * row["bytes"]["before"]
    assert row["accuracy"]["after"] >= row["accuracy"]["before"] - points / 100


def test_a_pruned_and_shared_lenet_is_a_fifth(lenets: dict[str, CommandLine]) -> None:
    pruned, shared = convert(
        lenets["lenet300"],
        'pass = "prune"\nsparsity = "80 %"\nscope = "global"', 'pass = "share"\nbits = 4',
    )["compress"]  # fmt: skip
    assert shared["skipped"] is None
    assert shared["bytes"]["after"] < pruned["bytes"]["before"] / 5
    assert shared["accuracy"]["after"] >= pruned["accuracy"]["before"] - 0.01


def test_a_lenet_of_three_bits_is_a_third(lenets: dict[str, CommandLine]) -> None:
    (row,) = convert(lenets["lenet300"], 'pass = "low_bit"\nbits = 3')["compress"]
    assert row["skipped"] is None
    assert row["bytes"]["after"] < 0.36 * row["bytes"]["before"]
    assert row["accuracy"]["after"] >= row["accuracy"]["before"] - 0.01


def test_layers_get_the_bits_that_a_size_leaves(keyword_spotting: CommandLine) -> None:
    asked = 'pass = "mixed_precision"\nsize = "15 KB"\nchoices = ["ternary", 3, 4]\nsamples = 32'
    (row,) = convert(keyword_spotting, asked)["compress"]
    assert row["skipped"] is None
    assert 14000 < row["bytes"]["after"] <= 15000
    assert row["accuracy"]["after"] >= row["accuracy"]["before"] - 0.05


def test_a_factorised_lenet_is_smaller(lenets: dict[str, CommandLine]) -> None:
    (row,) = convert(lenets["lenet300"], 'pass = "factorise"\nbudget = 0.6\nlayers = ["fc0"]')[
        "compress"
    ]
    assert row["bytes"]["after"] < 0.75 * row["bytes"]["before"]
    assert row["accuracy"]["after"] >= row["accuracy"]["before"] - 0.01


def test_a_lenet_loses_channels_and_its_arena_shrinks(lenets: dict[str, CommandLine]) -> None:
    plain = convert(lenets["lenet5"], 'pass = "share"\nbits = 8')["bundles"][0]
    document = convert(
        lenets["lenet5"], 'pass = "prune"\npattern = "channel"\nsparsity = "20 %"\nmax_drop = "2 %"'
    )
    (row,) = document["compress"]
    assert row["skipped"] is None
    assert document["bundles"][0]["bytes"] < 0.7 * row["bytes"]["before"]
    assert document["bundles"][0]["arena_bytes"] < plain["arena_bytes"]
    assert document["layers"][0]["output"][-1] == 16
