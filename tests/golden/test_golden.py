"""The golden files: made again byte by byte, read by Python and by C."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hardtack_runtime.bundle import unpack, verify
from hardtack_runtime.errors import HardtackError
from hardtack_runtime.golden import replay
from hardtack_runtime.huffman import STREAMS_FROM
from hardtack_runtime.interpreter import Interpreter
from hardtack_runtime.packing import Coding
from hardtack_runtime.signing import Keyring
from tests.golden.make import GAPS, KEY, bad_bundles, gaps_bundle, golden_bundle

HERE = Path(__file__).parent
KEYS = Keyring([KEY.verify_key])
CODES = json.loads((HERE / "bad" / "codes.json").read_text())


def test_the_good_bundle_is_made_again_byte_by_byte() -> None:
    assert golden_bundle() == (HERE / "good" / "every_op.htb").read_bytes()


@pytest.mark.parametrize("name", GAPS)
def test_four_streams_of_gaps_are_made_again_byte_by_byte(name: str) -> None:
    made = gaps_bundle(GAPS[name])
    assert made == (HERE / "good" / f"{name}.htb").read_bytes()
    content = unpack(made)
    constants = [t.data for t in content.program.tensors if t.data is not None]
    stored = zip(constants, content.stored, strict=True)
    (weights,) = (one for one, how in stored if how.coding == Coding.GAP_HUFF and one.size == 25000)
    assert np.count_nonzero(weights) >= STREAMS_FROM
    assert (2 * np.count_nonzero(weights) > weights.size) == (name == "between_zeros")


def test_the_bad_bundles_are_made_again_byte_by_byte() -> None:
    made = bad_bundles(golden_bundle())
    assert {name: code for name, (_, code) in made.items()} == CODES
    for name, (data, _) in made.items():
        assert (HERE / "bad" / f"{name}.htb").read_bytes() == data


@pytest.mark.parametrize("path", sorted((HERE / "good").glob("*.htb")), ids=lambda p: p.stem)
def test_a_good_bundle_computes_its_golden_vectors(path: Path) -> None:
    data = path.read_bytes()
    verify(data, KEYS, "linux")
    content = unpack(data)
    assert content.golden
    replay(Interpreter(data), content.golden, content.manifest.layers)


@pytest.mark.parametrize("path", sorted((HERE / "good").glob("*.htb")), ids=lambda p: p.stem)
def test_a_good_bundle_computes_them_with_the_weights_of_one_operator_at_a_time(path: Path) -> None:
    data = path.read_bytes()
    content = unpack(data)
    layered = Interpreter(data, memory=Interpreter(data).layer_size)
    assert layered.layer_size < layered.unpacked_size
    replay(layered, content.golden, content.manifest.layers)


def test_the_good_bundles_have_every_coding() -> None:
    paths = (HERE / "good").glob("*.htb")
    assert {s.coding for path in paths for s in unpack(path.read_bytes()).stored} == {*Coding}


@pytest.mark.parametrize("name", sorted(CODES))
def test_a_bad_bundle_is_refused_with_its_code(name: str) -> None:
    data = (HERE / "bad" / f"{name}.htb").read_bytes()
    with pytest.raises(HardtackError) as caught:
        verify(data, KEYS, "linux")
    assert caught.value.code == CODES[name]


@pytest.mark.parametrize("name", sorted(CODES))
def test_the_c_reader_judges_structure_alike(name: str) -> None:
    data = (HERE / "bad" / f"{name}.htb").read_bytes()
    if name == "eight_bytes_more" or CODES[name] in ("HT701", "HT702"):
        Interpreter(data)  # a flash slot is larger than its bundle, and trust is decided before
        return
    with pytest.raises(HardtackError) as caught:
        Interpreter(data)
    assert caught.value.code == CODES[name]


def test_wrong_arithmetic_is_noticed_and_its_layer_named() -> None:
    """A mutant: the same bundle with one weight changed must fail its golden vectors."""
    from dataclasses import replace

    from hardtack_runtime.bundle import pack

    content = unpack((HERE / "good" / "every_op.htb").read_bytes())
    tensors = list(content.program.tensors)
    weights = tensors[content.program.ops[0].weights]  # type: ignore[attr-defined]
    assert weights.data is not None
    changed = weights.data.copy()
    changed[0, 0, 0, 0] ^= 64
    tensors[content.program.ops[0].weights] = replace(weights, data=changed)  # type: ignore[attr-defined]
    program = replace(content.program, tensors=tuple(tensors))
    mutant = pack(program, content.manifest, key=KEY, golden=content.golden)
    with pytest.raises(HardtackError, match="0_conv2d") as caught:
        replay(Interpreter(mutant), content.golden, content.manifest.layers)
    assert caught.value.code == "HT606"
