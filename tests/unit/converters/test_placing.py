"""Which weights are used where they lie: where that is faster, or where there is no room."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from hardtack_converters.placing import InPlace, place_weights, weights_in_place
from hardtack_runtime import program as p
from hardtack_runtime.bundle import pack, unpack
from hardtack_runtime.interpreter import Interpreter
from hardtack_runtime.memory import Needs
from hardtack_runtime.packing import Coding
from hardtack_runtime.usage import binary_sums
from tests.golden.make import Builder, binary_program, manifest_for

CONV, DENSE = 3, 7
"""Indices of their weights."""


def net(kept: float) -> p.Program:
    """Return a convolution of 64 pixels and a layer of one row, which keep a share of weights."""
    b = Builder(4)
    x, y, z = b.place(1, 8, 8, 16), b.place(1, 8, 8, 8), b.place(1, 1, 1, 10)
    conv = b.constant(_thin(b, (8, 3, 3, 16), kept))
    b.ops.append(p.Conv2D(x, conv, *b.requantise(8), y, 1, 1, 1, 1, 1, 1, 0, 0, -128, 127))
    dense = b.constant(_thin(b, (10, 512), kept))
    b.ops.append(p.FullyConnected(y, dense, *b.requantise(10), z, 0, -128, 127))
    assert (conv, dense) == (CONV, DENSE)
    return b.program(x, z)


def _thin(b: Builder, shape: tuple[int, ...], kept: float) -> np.ndarray:
    codes = b.rng.integers(1, 128, shape).astype(np.int8)
    order = b.rng.permutation(codes.size).reshape(shape)
    return np.where(order < kept * codes.size, codes, 0).astype(np.int8)


@pytest.mark.parametrize(
    ("hardware", "kept", "wanted", "chosen"),
    [
        pytest.param("cortex-m4", 0.10, "auto", {CONV, DENSE}, id="few weights are left"),
        pytest.param("cortex-m4", 0.20, "auto", {CONV}, id="a weight that is used once costs more"),
        pytest.param("cortex-m4", 0.30, "auto", set(), id="products in pairs are faster"),
        pytest.param("cortex-m0", 0.30, "auto", {CONV, DENSE}, id="not where there are none"),
        pytest.param("cortex-m55", 0.05, "auto", set(), id="vectors are faster"),
        pytest.param("linux", 0.05, "auto", set(), id="memory is no matter"),
        pytest.param("linux", 0.30, "always", {CONV, DENSE}, id="always"),
        pytest.param("cortex-m4", 0.60, "always", set(), id="unless that takes more bytes"),
        pytest.param("cortex-m4", 0.05, "never", set(), id="never"),
    ],
)
def test_weights_are_sparse_where_that_is_faster(
    hardware: str, kept: float, wanted: InPlace, chosen: set[int]
) -> None:
    assert weights_in_place(net(kept), hardware, wanted).keys() == chosen


def test_weights_of_few_values_are_packed_where_that_takes_fewer_bytes() -> None:
    program = net(0.9)
    for index in (CONV, DENSE):
        data = program.tensors[index].data
        assert data is not None
        data[...] = data % 4 - 2
    assert weights_in_place(program, "cortex-m4", "auto") == {}
    packed = dict.fromkeys((CONV, DENSE), Coding.PACKED)
    assert weights_in_place(program, "cortex-m4", "always") == packed
    write = partial(pack, program, manifest_for(program), key=None)
    whole = place_weights(program, write, "cortex-m4", 256, None, "auto")
    assert Coding.PACKED not in {one.coding for one in unpack(whole).stored}
    tight = place_weights(program, write, "cortex-m4", 256, len(whole) - 2000, "auto")
    assert [one.coding for one in unpack(tight).stored].count(Coding.PACKED) == 2
    assert Needs.of(unpack(tight)).unpacked <= 256


@pytest.mark.parametrize(("wanted", "coding"), [("auto", Coding.SPARSE), ("never", Coding.RAW)])
def test_weights_without_room_are_sparse_where_raw_ones_do_not_fit(
    wanted: InPlace, coding: Coding
) -> None:
    program = net(0.3)
    write = partial(pack, program, manifest_for(program), key=None)
    whole = place_weights(program, write, "cortex-m55", 256, None, wanted)
    assert {one.coding for one in unpack(whole).stored} & {Coding.RAW, Coding.SPARSE} == {
        Coding.RAW
    }
    tight = place_weights(program, write, "cortex-m55", 256, len(whole) - 2000, wanted)
    stored = {one.coding for one in unpack(tight).stored}
    assert stored & {Coding.SPARSE} == {coding} & {Coding.SPARSE}
    assert Needs.of(unpack(tight)).layer <= 256


@pytest.mark.parametrize(
    ("outputs", "relu", "coding"),
    [
        pytest.param(128, True, Coding.SPARSE_COLUMNS, id="half of the inputs are passed over"),
        pytest.param(10, True, Coding.SPARSE, id="few outputs share what an input costs"),
        pytest.param(128, False, Coding.SPARSE, id="no code is frequent"),
    ],
)
def test_a_layer_of_one_row_behind_relu_is_stored_by_columns(
    outputs: int, relu: bool, coding: Coding
) -> None:
    b = Builder(9)
    x, y, z = b.place(1, 6, 6, 4), b.place(1, 6, 6, 8), b.place(1, 3, 3, 8)
    low = -30 if relu else -128
    b.ops.append(p.Conv2D(x, b.weights(8, 1, 1, 4), *b.requantise(8), y, 1, 1, 1, 1, 0, 0, 0, -30,
                          low, 127))  # fmt: skip
    b.ops.append(p.MaxPool2D(y, z, 2, 2, 2, 2, 0, 0, -128, 127))
    flat, scores = b.place(1, 1, 1, 72), b.place(1, 1, 1, outputs)
    b.tensors[flat] = replace(b.tensors[flat], offset=b.tensors[z].offset)  # a view
    weights = b.constant(_thin(b, (outputs, 72), 0.12))
    b.ops.append(p.FullyConnected(flat, weights, *b.requantise(outputs), scores, 0, -128, 127))
    program = b.program(x, scores)
    codings = weights_in_place(program, "cortex-m4", "auto")
    assert codings[weights] == coding
    data = pack(program, manifest_for(program), key=None, codings=codings)
    constants = [i for i, tensor in enumerate(program.tensors) if tensor.is_constant]
    assert unpack(data).stored[constants.index(weights)].coding == coding
    plain = Interpreter(pack(program, manifest_for(program), key=None))
    codes = b.rng.integers(-128, 128, 144).astype(np.int8)
    assert np.array_equal(Interpreter(data).run(codes)[0], plain.run(codes)[0])


def test_weights_are_coded_for_size_where_the_faster_bundle_is_too_large() -> None:
    program = net(0.1)
    write = partial(pack, program, manifest_for(program), key=None)
    fast = place_weights(program, write, "cortex-m4", None, None, "auto")
    assert Coding.SPARSE in {one.coding for one in unpack(fast).stored}
    small = place_weights(program, write, "cortex-m4", None, len(fast) - 1, "auto")
    assert len(small) < len(fast)
    assert Coding.SPARSE not in {one.coding for one in unpack(small).stored}
    assert place_weights(program, write, "cortex-m4", None, len(fast) - 1, "always") == fast


@pytest.mark.parametrize(
    ("hardware", "wanted", "counted"),
    [
        pytest.param("cortex-m4", "auto", 3, id="counting is faster"),
        pytest.param("cortex-m0", "auto", 3, id="wherever there are no vectors"),
        pytest.param("cortex-m55", "auto", 0, id="vectors are faster"),
        pytest.param("cortex-m4", "never", 0, id="never"),
    ],
)
def test_binary_products_are_counted_where_that_is_faster(
    hardware: str, wanted: InPlace, counted: int
) -> None:
    program = binary_program(3)
    chosen = weights_in_place(program, hardware, wanted)
    assert list(chosen.values()) == [Coding.PACKED] * counted
    assert chosen.keys() <= binary_sums(program)


def test_products_of_few_taps_are_not_counted() -> None:
    program = binary_program(3)
    dense = program.ops[-1]
    assert isinstance(dense, p.FullyConnected)
    tensors = list(program.tensors)
    for field, size in ((dense.input, 63), (dense.weights, 63)):
        old = tensors[field]
        data = None if old.data is None else old.data[..., :size]
        tensors[field] = replace(
            old, dims=(*old.dims[:2], 10 if old.is_constant else 1, size), data=data
        )
    short = replace(program, tensors=tuple(tensors))
    assert weights_in_place(program, "cortex-m4", "auto").keys() - weights_in_place(
        short, "cortex-m4", "auto"
    ) == {dense.weights}
