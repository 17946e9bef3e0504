"""Weights with a high plane, W = W_L + 256 W_H: the bits of wide integers, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardtack_converters import fixed_point
from hardtack_runtime import program as p
from hardtack_runtime.bundle import pack, unpack
from hardtack_runtime.errors import BundleError
from hardtack_runtime.interpreter import Interpreter
from hardtack_runtime.operator_table import IN_PLACE, NAMES
from hardtack_runtime.packing import Coding
from tests.firmware.kernel_bundle import split_program
from tests.golden.make import Builder, manifest_for
from tests.unit.runtime_c.compile import build
from tests.unit.runtime_c.test_operator_table import NOT_LINKED, open_bundle, own_table

Int8Array = npt.NDArray[np.int8]


def packed(program: p.Program) -> bytes:
    return pack(program, manifest_for(program), key=None)


def expected(program: p.Program, op: p.Conv2D | p.FullyConnected, x: Int8Array) -> Int8Array:
    """Return what SPEC section 2 says, in numpy's wide integers."""

    def data(index: int | None) -> npt.NDArray[np.int64]:
        assert index is not None
        values = program.tensors[index].data
        assert values is not None
        return values.astype(np.int64)

    weights = data(op.weights) + 256 * data(op.high)
    out = program.tensors[op.output].dims
    if isinstance(op, p.FullyConnected):
        acc = x.reshape(-1, weights.shape[3]).astype(np.int64) @ weights[0, 0].T
    else:
        _, kernel_h, kernel_w, _ = weights.shape
        image = x.reshape(program.tensors[op.input].dims)[0].astype(np.int64)
        more = ((op.pad_top, 99), (op.pad_left, 99), (0, 0))
        image = np.pad(image, more, constant_values=op.in_zero)
        acc = np.zeros((out[1], out[2], out[3]), np.int64)
        for y in range(out[1]):
            for z in range(out[2]):
                top, left = y * op.stride_h, z * op.stride_w
                window = image[
                    top : top + kernel_h * op.dilation_h : op.dilation_h,
                    left : left + kernel_w * op.dilation_w : op.dilation_w,
                ]
                acc[y, z] = (weights * window).sum(axis=(1, 2, 3))
    acc = acc.reshape(-1, out[3]) + data(op.bias).ravel()
    mult, shift = (np.broadcast_to(data(i).ravel(), out[3]) for i in (op.mult, op.shift))
    scaled = np.stack(
        [
            fixed_point.multiply_by_quantized_multiplier(acc[:, o], int(mult[o]), int(shift[o]))
            for o in range(out[3])
        ],
        axis=1,
    )
    return np.clip(scaled + op.out_zero, op.act_min, op.act_max).reshape(out).astype(np.int8)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from((0.0, 0.005, 0.05, 0.6)))
def test_it_computes_what_wide_weights_compute(seed: int, share: float) -> None:
    program = split_program(seed, share)
    interpreter = Interpreter(packed(program))
    source = program.tensors[program.inputs[0].tensor].elements
    rng = np.random.default_rng(seed)
    for codes in (rng.integers(-128, 128, source), np.full(source, -128)):
        x = codes.astype(np.int8)
        for op, found in zip(program.ops, interpreter.trace(x), strict=True):
            assert isinstance(op, p.Conv2D | p.FullyConnected)
            if op.high is None:  # groups
                continue
            size = program.tensors[op.input].elements
            assert np.array_equal(found, expected(program, op, x[:size]))


def test_the_random_layers_are_of_every_kind() -> None:
    programs = [split_program(seed, 0.1) for seed in range(30)]
    shapes = [
        (program.tensors[op.weights].dims, op)  # type: ignore[attr-defined]
        for program in programs
        for op in program.ops
        if op.planes()
    ]
    assert any(isinstance(op, p.FullyConnected) for _, op in shapes)
    assert any(isinstance(op, p.Conv2D) and np.prod(dims[1:]) > 256 for dims, op in shapes)
    assert any(isinstance(op, p.Conv2D) and dims[0] > 32 for dims, op in shapes)


def one_layer(plane: Int8Array) -> p.Program:
    """Return a layer of 3 outputs and 10 inputs with that plane."""
    b = Builder(6)
    x, y = b.place(1, 1, 1, 10), b.place(1, 1, 1, 3)
    stage = b.requantise(3)
    op = p.FullyConnected(x, b.weights(3, 10), *stage, y, 0, -128, 127)
    b.ops.append(replace(op, high=b.constant(plane)))
    return b.program(x, y)


PLANE = np.zeros((3, 10), np.int8)
PLANE[1, 4], PLANE[2, 9] = 5, -7


def test_a_plane_is_read_back_and_takes_no_memory() -> None:
    program = one_layer(PLANE)
    content = unpack(packed(program))
    assert content.program.ops == program.ops
    assert content.stored[-1].coding == Coding.SPARSE
    assert Interpreter(packed(program)).unpacked_size == content.header.unpacked_size


def test_a_sum_that_the_plane_makes_overflow_is_refused() -> None:
    """A row of the plane may sum up to (2^31 - 1 - |bias| - 10 * 2^14) / 2^15."""
    program = one_layer(PLANE)
    room = (1 << 31) - 1 - 10 * (1 << 14) - 7 * (1 << 15)
    for bias, fits in ((room, True), (room + 1, False)):
        tensors = list(program.tensors)
        index = program.ops[0].bias  # type: ignore[attr-defined]
        tensors[index] = replace(tensors[index], data=np.full((1, 1, 1, 3), bias, np.int32))
        data = packed(replace(program, tensors=tuple(tensors)))
        if fits:
            Interpreter(data)
            continue
        with pytest.raises(BundleError, match="PROG operator 0"):
            Interpreter(data)


@pytest.mark.parametrize(
    "plane",
    [
        pytest.param(np.zeros((10, 3), np.int8), id="other dims"),
        pytest.param(np.zeros((3, 9), np.int8), id="other size"),
    ],
)
def test_a_plane_of_another_shape_is_refused_by_both_readers(plane: npt.NDArray[np.int8]) -> None:
    for read in (unpack, Interpreter):
        with pytest.raises(BundleError) as caught:
            read(packed(one_layer(plane)))
        assert caught.value.code == "HT212"


def test_a_plane_that_is_unpacked_is_refused_by_both_readers() -> None:
    program = one_layer(PLANE)
    (op,) = program.ops
    assert isinstance(op, p.FullyConnected)
    for index in (op.weights, op.input):
        data = packed(replace(program, ops=(replace(op, high=index),)))
        for read in (unpack, Interpreter):
            with pytest.raises(BundleError) as caught:
                read(data)
            assert caught.value.code == "HT212"


def test_depthwise_weights_have_no_plane() -> None:
    b = Builder(2)
    x, y = b.place(1, 3, 3, 5), b.place(1, 3, 3, 5)
    op = p.DepthwiseConv2D(x, b.weights(1, 1, 1, 5), *b.requantise(5), y, 1, 1, 1, 1, 0, 0, 0, 0,
                           -128, 127)  # fmt: skip
    b.ops.append(replace(op, high=b.constant(np.ones((1, 1, 1, 5), np.int8))))
    data = packed(b.program(x, y))
    for read in (unpack, Interpreter):
        with pytest.raises(BundleError) as caught:
            read(data)
        assert caught.value.code == "HT212"


def test_grouped_weights_have_no_plane() -> None:
    b = Builder(2)
    x, y = b.place(1, 3, 3, 4), b.place(1, 3, 3, 6)
    op = p.Conv2D(x, b.weights(6, 1, 1, 2), *b.requantise(6), y, 1, 1, 1, 1, 0, 0, 0, 0,
                  -128, 127)  # fmt: skip
    b.ops.append(op)
    Interpreter(packed(b.program(x, y)))
    b.ops[0] = replace(op, high=b.constant(np.ones((6, 1, 1, 2), np.int8)))
    data = packed(b.program(x, y))
    for read in (unpack, Interpreter):
        with pytest.raises(BundleError) as caught:
            read(data)
        assert caught.value.code == "HT212"


def test_its_kernel_is_absent_from_firmware_that_does_not_need_it(tmp_path: Path) -> None:
    program = one_layer(PLANE)
    flags = ("-shared", "-fPIC")
    table = own_table(tmp_path, *NAMES, codings=IN_PLACE)
    library = build(tmp_path / "no.so", flags=flags, operators=table)
    assert open_bundle(library, packed(program)) == (NOT_LINKED, p.FullyConnected.opcode)
    table = own_table(tmp_path, *NAMES, split=True)
    library = build(tmp_path / "split.so", flags=flags, operators=table)
    assert open_bundle(library, packed(program)) == (0, 0)
