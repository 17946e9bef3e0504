"""The C files that a project gets made."""

from __future__ import annotations

from pathlib import Path

import pytest

from hardtack_firmware.generate import Model, operators_source
from hardtack_runtime.packing import Coding
from tests.golden.make import golden_bundle, packed_bundle, split_bundle, xnor_bundle

SPARSE, COLUMNS, SPLIT = "ht_in_place_sparse,", "ht_in_place_sparse_columns,", "ht_split_planes;"
PACKED, XNOR = "ht_in_place_packed,", "ht_in_place_xnor,"
EVERY = (SPARSE, COLUMNS, SPLIT, PACKED, XNOR)


@pytest.mark.parametrize(
    ("bundles", "linked"),
    [
        pytest.param((), {SPARSE, COLUMNS, SPLIT, XNOR}, id="any model"),
        pytest.param((golden_bundle(),), set(), id="unpacked weights"),
        pytest.param((golden_bundle(coding=Coding.SPARSE),), {SPARSE}, id="sparse weights"),
        pytest.param((golden_bundle(), split_bundle()), {COLUMNS, SPLIT}, id="two planes"),
        pytest.param((packed_bundle(),), {PACKED}, id="packed weights"),
        pytest.param((packed_bundle(), xnor_bundle()), {XNOR}, id="binary products"),
    ],
)
def test_only_codings_that_the_models_have_are_linked(
    bundles: tuple[bytes, ...], linked: set[str]
) -> None:
    source = operators_source([Model.read(Path("m.htb"), data) for data in bundles])
    assert {name for name in EVERY if f"&{name}" in source} == linked
