"""Where weights are unpacked: the host says what the device will choose."""

from __future__ import annotations

from pathlib import Path

import pytest

from hardtack_runtime.bundle import pack, unpack
from hardtack_runtime.interpreter import Interpreter
from hardtack_runtime.memory import Needs, Way, coded_tensors, raw_for_layers
from hardtack_runtime.packing import Coding
from tests.golden.make import (
    ctx_bundle,
    every_op_program,
    golden_bundle,
    manifest_for,
    packed_bundle,
)

ROOT = Path(__file__).parents[3]
BUNDLES = {path.stem: path.read_bytes() for path in (ROOT / "benchmarks/models").glob("*.htb")} | {
    "every operator": golden_bundle(),
    "by context": ctx_bundle(),
    "sparse": golden_bundle(coding=Coding.SPARSE),
    "packed": packed_bundle(),
}
NEEDS = Needs(arena=1000, unpacked=5000, layer=3000, tensor=2000)


@pytest.mark.parametrize("name", BUNDLES)
def test_host_and_runtime_count_alike(name: str) -> None:
    interpreter = Interpreter(BUNDLES[name])
    needs = Needs.of(unpack(BUNDLES[name]))
    assert needs.arena == interpreter.arena_size
    assert needs.unpacked == interpreter.unpacked_size
    assert needs.layer == interpreter.layer_size
    assert 0 < needs.tensor <= needs.layer


@pytest.mark.parametrize(
    ("pool", "region", "way"),
    [
        pytest.param(6000, 5064, Way.MEMORY, id="all fits"),
        pytest.param(5999, 5064, Way.FLASH, id="flash is faster than layers"),
        pytest.param(2032, 5064, Way.FLASH, id="one tensor at a time to flash"),
        pytest.param(2031, 5064, None, id="a tensor does not fit"),
        pytest.param(5999, 5063, Way.LAYERS, id="no room for the record"),
        pytest.param(4000, 0, Way.LAYERS, id="one operator at a time"),
        pytest.param(3999, 0, None, id="an operator does not fit"),
    ],
)
def test_the_first_way_that_fits_is_taken(pool: int, region: int, way: Way | None) -> None:
    assert NEEDS.way(pool, region) == way
    assert (pool >= NEEDS.least(region)) == (way is not None)


@pytest.mark.parametrize("limit", [0, 100, 300, 10_000])
def test_what_does_not_fit_an_operator_s_memory_is_kept_raw(limit: int) -> None:
    program = every_op_program()
    coded = coded_tensors(unpack(pack(program, manifest_for(program), key=None)))
    raw = raw_for_layers(program, coded, limit)
    data = pack(program, manifest_for(program), key=None, codings=dict.fromkeys(raw, Coding.RAW))
    assert Interpreter(data).layer_size <= limit
    assert len(raw) == 0 if limit == 10_000 else len(raw) > 0
