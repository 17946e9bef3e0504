"""Damaged bundles never crash the C reader: each ends with a status, under ASan and UBSan."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fuzz.make_corpus import streams
from hardtack_runtime import operators as w
from hardtack_runtime import program as p
from hardtack_runtime.bundle import pack
from hardtack_runtime.packing import Coding
from tests.golden.make import (
    Builder,
    ctx_bundle,
    golden_bundle,
    manifest_for,
    packed_bundle,
    split_bundle,
    wide_bundle,
    xnor_bundle,
)
from tests.unit.runtime_c.compile import ROOT, SANITIZERS, build


def sparse_bundle() -> bytes:
    return golden_bundle(coding=Coding.SPARSE)


def far_outside_bundle() -> bytes:
    """Return convolutions whose first tap lies as far above a long image as a program may say.

    Nothing writes the image of int16: what takes long is not run here.
    """
    b = Builder(1)
    window = (1, 1, 65535, 1, 65535, 0)
    x, wide = b.place(1, 1, 40_000, 1), b.place(1, 1, 40_000, 1, wide=True)
    narrow, result = b.place(1, 1, 1, 1), b.place(1, 1, 1, 1)
    taps = b.weights(1, 2, 1, 1)
    b.ops += [
        p.DepthwiseConv2D(x, taps, *b.requantise(1), narrow, *window, -3, 0, -128, 127),
        p.Conv2D(x, taps, *b.requantise(1), narrow, *window, -3, 0, -128, 127),
        w.Conv2DS16(wide, taps, *b.requantise(1), result, *window, 0, 0, -128, 127),
        w.DepthwiseConv2DS16(wide, taps, *b.requantise(1), result, *window, 0, 0, -128, 127),
    ]
    program = b.program(x, result)
    return pack(program, manifest_for(program), key=None)


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
        ("7", xnor_bundle, "4000"),
        ("7", far_outside_bundle, "8000"),
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


@pytest.mark.parametrize("lut_bits", ["7", "12"])
def test_every_damaged_stream_ends_with_a_status(lut_bits: str, tmp_path: Path) -> None:
    made = streams()
    for name, data in made.items():
        (tmp_path / name).write_bytes(data)
    program = build(
        tmp_path / "hostile_streams",
        Path(__file__).with_name("hostile_streams.c"),
        ROOT / "fuzz" / "exercise.c",
        flags=(*SANITIZERS, "-DHT_PORTABLE", f"-DHT_LUT_BITS={lut_bits}"),
    )
    command = [str(program), "1000", *(str(tmp_path / name) for name in made)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-4000:]
    refused = [int(line.split()[1]) for line in result.stdout.splitlines()]
    assert len(refused) == len(made)
    assert min(refused) > 0


@pytest.mark.parametrize("cc", ["gcc", "clang"])
def test_the_runtime_compiles_without_warnings(cc: str, tmp_path: Path) -> None:
    flags = ("-O3", "-shared", "-fPIC", "-fvisibility=hidden")
    assert build(tmp_path / "libhardtack.so", flags=flags, cc=cc).exists()
