"""[[compress]] of deploy.toml: each pass has its own keys, and errors name their place."""

from __future__ import annotations

from pathlib import Path

import pytest

from hardtack.config import Deployment, load_config
from hardtack_converters.compress.settings import LowBit, MixedPrecision, Prune, Share
from hardtack_runtime.errors import ConfigError

HEAD = 'version = 1\n[model]\npath = "m.onnx"\n[data]\nevaluate = { path = "e.npz" }\n'


def loaded(tmp_path: Path, text: str, head: str = HEAD) -> Deployment:
    path = tmp_path / "deploy.toml"
    path.write_text(head + text)
    return load_config(path)


def test_passes_are_read_in_order(tmp_path: Path) -> None:
    text = """
[[compress]]
pass = "prune"
layers = ["conv*"]
sparsity = "80 %"
max_drop = "1 %"
[[compress]]
pass = "share"
bits = 5
"""
    assert loaded(tmp_path, text).compress == (
        Prune(layers=("conv*",), sparsity=0.8, max_drop=0.01),
        Share(bits=5),
    )


def test_bits_and_sizes_are_read(tmp_path: Path) -> None:
    text = """
[[compress]]
pass = "low_bit"
bits = "ternary"
[[compress]]
pass = "mixed_precision"
size = "20 KiB"
choices = ["binary", 4]
"""
    assert loaded(tmp_path, text).compress == (
        LowBit(bits="ternary"),
        MixedPrecision(size=20480, choices=("binary", 4)),
    )


def test_shares_may_be_numbers(tmp_path: Path) -> None:
    (wanted,) = loaded(tmp_path, '[[compress]]\npass = "prune"\nratio = 5\n').compress
    assert isinstance(wanted, Prune)
    assert wanted.share == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("text", "code", "place", "said"),
    [
        pytest.param('pass = "prun"', "HT104", "7:1", 'did you mean "prune"?', id="pass"),
        pytest.param("bits = 3", "HT104", "6:1", "`compress.pass` is missing", id="no pass"),
        pytest.param(
            'pass = "prune"\nsparsty = 0.5', "HT103", "8:1", "did you mean `sparsity`?", id="key"
        ),
        pytest.param(
            'pass = "share"\nsparsity = 0.5', "HT103", "8:1", "bits", id="key of another pass"
        ),
        pytest.param(
            'pass = "prune"\nsparsity = "80 kilo"', "HT104", "8:1", "number", id="no share"
        ),
        pytest.param(
            'pass = "prune"\nsparsity = "-5 %"',
            "HT104",
            "8:1",
            "'-5 %' must not be negative",
            id="negative share",
        ),
        pytest.param(
            'pass = "prune"\nsparsity = 0.5\nmax_drop = "-1 %"',
            "HT104",
            "9:1",
            "'-1 %' must not be negative",
            id="negative drop",
        ),
        pytest.param(
            'pass = "mixed_precision"\nsize = "-4 KiB"',
            "HT104",
            "8:1",
            "'-4 KiB' must not be negative",
            id="negative size",
        ),
        pytest.param('pass = "prune"\nsparsity = 1', "HT104", "8:1", "less than 1", id="all"),
        pytest.param('pass = "prune"', "HT104", "6:1", "say how much goes once", id="nothing"),
        pytest.param(
            'pass = "prune"\npattern = "4:2"', "HT104", "8:1", "n:m like 2:4", id="pattern"
        ),
        pytest.param('pass = "share"\nbits = 9', "HT104", "8:1", "8", id="bits"),
        pytest.param('pass = "low_bit"\nbits = 2', "HT104", "8:1", "ternary", id="two bits"),
        pytest.param('pass = "low_bit"\nbits = "trinary"', "HT104", "8:1", "ternary", id="word"),
        pytest.param('pass = "low_bit"\nmethod = "best"', "HT104", "8:1", "gptq", id="method"),
        pytest.param(
            'pass = "low_bit"\nbits = "binary"\nmethod = "adaround"',
            "HT104",
            "6:1",
            "has none: use gptq",
            id="binary has no neighbours",
        ),
        pytest.param('pass = "mixed_precision"', "HT104", "6:1", "size", id="no size"),
        pytest.param(
            'pass = "mixed_precision"\nsize = "20 kilo"', "HT104", "8:1", "number", id="size"
        ),
        pytest.param(
            'pass = "mixed_precision"\nsize = "1 KiB"\nchoices = []',
            "HT104",
            "9:1",
            "empty",
            id="no choices",
        ),
    ],
)
def test_what_is_wrong_is_located(
    tmp_path: Path, text: str, code: str, place: str, said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, f"[[compress]]\n{text}\n")
    assert caught.value.code == code
    assert caught.value.where == f"{tmp_path / 'deploy.toml'}:{place}"
    assert said in caught.value.met + caught.value.todo


@pytest.mark.parametrize(
    "text",
    [
        'pass = "prune"\nsparsity = 0.5\nmax_drop = "1 %"',
        'pass = "prune"\nsparsity = 0.5\nsensitivity = true',
    ],
)
def test_what_needs_accuracy_needs_samples(tmp_path: Path, text: str) -> None:
    head = 'version = 1\n[model]\npath = "m.onnx"\n'
    with pytest.raises(ConfigError, match="nothing to measure accuracy on") as caught:
        loaded(tmp_path, f"[[compress]]\n{text}\n", head)
    assert caught.value.where.endswith(":7:1")


def test_one_bracket_too_few_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be a list") as caught:
        loaded(tmp_path, '[compress]\npass = "prune"\nratio = 5\n')
    assert caught.value.todo == "write [[compress]], with two brackets"
