"""Damaged bundles never crash the C reader: each ends with a status, under ASan and UBSan."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from hardtack_runtime.packing import Coding
from tests.golden.make import (
    ctx_bundle,
    golden_bundle,
    packed_bundle,
    split_bundle,
    wide_bundle,
)
from tests.unit.runtime_c.compile import ROOT, SANITIZERS, build


def sparse_bundle() -> bytes:
    return golden_bundle(coding=Coding.SPARSE)


@pytest.mark.parametrize(
    ("lut_bits", "make", "rounds"),
    [
        ("7", golden_bundle, "8000"),
        ("12", golden_bundle, "8000"),
        ("7", ctx_bundle, "8000"),
        ("7", sparse_bundle, "4000"),
        ("7", packed_bundle, "4000"),
        ("7", split_bundle, "4000"),
        ("7", wide_bundle, "4000"),
    ],
)
def test_every_damage_ends_with_a_status(
    lut_bits: str, make: Callable[[], bytes], rounds: str, tmp_path: Path
) -> None:
    bundle = tmp_path / "good.htb"
    bundle.write_bytes(make())
    program = build(
        tmp_path / "hostile",
        Path(__file__).with_name("hostile.c"),
        ROOT / "fuzz" / "exercise.c",
        flags=(*SANITIZERS, "-DHT_PORTABLE", f"-DHT_LUT_BITS={lut_bits}"),
    )
    result = subprocess.run(
        [str(program), str(bundle), rounds], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-4000:]
    tried = {
        line.split()[0]: (int(line.split()[2]), int(line.split()[4]))
        for line in result.stdout.splitlines()
    }
    assert tried["PROG"][0] > tried["PROG"][1], "most damaged programs are refused"
    assert sum(tried["all"]) > (100_000 if rounds == "8000" else 90_000)


@pytest.mark.parametrize("cc", ["gcc", "clang"])
def test_the_runtime_compiles_without_warnings(cc: str, tmp_path: Path) -> None:
    flags = ("-O3", "-shared", "-fPIC", "-fvisibility=hidden")
    assert build(tmp_path / "libhardtack.so", flags=flags, cc=cc).exists()
