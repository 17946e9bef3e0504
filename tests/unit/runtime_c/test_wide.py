"""Operators of int16 codes: the bits of wide integers, and what both readers refuse."""

from __future__ import annotations

import ctypes
import zlib
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardtack_runtime import operators as w
from hardtack_runtime import program as p
from hardtack_runtime._library import opened
from hardtack_runtime.bundle import pack, unpack
from hardtack_runtime.errors import BundleError, HardtackError
from hardtack_runtime.golden import record, seeded_inputs
from hardtack_runtime.interpreter import Interpreter
from hardtack_runtime.operator_table import NAMES
from hardtack_runtime.packing import Coding
from tests.firmware.kernel_bundle import ROOM, wide_program
from tests.golden.make import Q30, Builder, manifest_for
from tests.golden.make import wide_program as every_wide_operator
from tests.unit.runtime_c.compile import build
from tests.unit.runtime_c.test_operator_table import NOT_LINKED, open_bundle, own_table
from tests.wide_reference import expected


def packed(program: p.Program, **how: object) -> bytes:
    return pack(program, manifest_for(program), key=None, **how)  # type: ignore[arg-type]


def check_every_operator(program: p.Program, codes: npt.NDArray[np.int8]) -> None:
    """Compare each operator with the reference, the arena being what operators left in it."""
    arena = np.zeros(program.arena_size, np.uint8)

    def write(index: int, values: npt.NDArray[Any]) -> None:
        tensor = program.tensors[index]
        assert values.nbytes == tensor.nbytes
        arena[tensor.offset : tensor.offset + tensor.nbytes] = values.view(np.uint8).ravel()

    write(program.inputs[0].tensor, codes)
    for op, found in zip(program.ops, Interpreter(packed(program)).trace(codes), strict=True):
        wanted = expected(program, op, arena)
        assert found.dtype == wanted.dtype
        assert np.array_equal(found, wanted), op
        write(op.output, np.ascontiguousarray(found).reshape(-1))  # type: ignore[attr-defined]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_random_operators_compute_what_wide_integers_compute(seed: int) -> None:
    program = wide_program(seed, 1)
    rng = np.random.default_rng(seed)
    check_every_operator(program, rng.integers(-128, 128, ROOM).astype(np.int8))
    # in pairs: -32768, beyond what an operator writes, and 32767
    extremes = np.tile(np.array([0, -128, -1, 127], np.int8), ROOM // 4)
    check_every_operator(program, extremes)


def test_every_operator_computes_what_wide_integers_compute() -> None:
    program = every_wide_operator()
    assert {type(op) for op in program.ops} == {*w.WIDE.values(), w.Rescale}
    rng = np.random.default_rng(5)
    for _ in range(5):
        codes = rng.integers(-128, 128, program.tensors[program.inputs[0].tensor].dims)
        check_every_operator(program, codes.astype(np.int8))


def test_a_program_is_read_back_and_layers_may_be_unpacked_one_by_one() -> None:
    program = every_wide_operator()
    content = unpack(packed(program))
    assert content.program.ops == program.ops
    assert [t.wide for t in content.program.tensors] == [t.wide for t in program.tensors]
    constants = [t.data for t in content.program.tensors if t.data is not None]
    assert {data.dtype.name for data in constants} == {"int8", "int16", "int32"}
    codes = np.arange(144, dtype=np.int64).astype(np.int8)
    whole = Interpreter(packed(program))
    layered = Interpreter(packed(program), memory=whole.layer_size)
    assert whole.layer_size < whole.unpacked_size
    assert np.array_equal(whole.run(codes)[0], layered.run(codes)[0])


def one_layer(weights: npt.NDArray[np.int8], bias: int = 0) -> p.Program:
    """Return an int16 layer between an int8 input and an int8 output."""
    outputs, inputs = weights.shape
    b = Builder(6)
    x, wide = b.place(1, 1, 1, inputs), b.place(1, 1, 1, inputs, wide=True)
    y = b.place(1, 1, 1, outputs)
    b.ops.append(w.Rescale(x, wide, 0, Q30, 9, 0, -32767, 32767))
    biases, mult = np.full(outputs, bias, np.int32), np.full(outputs, Q30, np.int32)
    stage = b.constant(biases), b.constant(mult), b.constant(np.full(outputs, -9, np.int8))
    op = w.FullyConnectedS16(wide, b.constant(weights), *stage, y, 0, -128, 127)
    b.ops.append(op)
    return b.program(x, y)


WEIGHTS = np.full((2, 500), 127, np.int8)


def test_a_sum_that_its_weights_make_overflow_is_refused() -> None:
    """500 * 127 = 63500 leave (2^31 - 1) - 63500 * 2^15 to the bias."""
    room = (1 << 31) - 1 - (63_500 << 15)
    for bias, fits in ((room, True), (-room, True), (room + 1, False), (-room - 1, False)):
        data = packed(one_layer(WEIGHTS, bias))
        if fits:
            Interpreter(data)
            continue
        with pytest.raises(BundleError, match="PROG operator 1"):
            Interpreter(data)


def test_sums_at_the_bound_do_not_overflow() -> None:
    room = (1 << 31) - 1 - (63_500 << 15)
    program = one_layer(WEIGHTS, room)
    check_every_operator(program, np.full(500, 127, np.int8))
    check_every_operator(one_layer(WEIGHTS, -room), np.full(500, -128, np.int8))


def refused_by_both(program: p.Program, **how: object) -> None:
    data = packed(program, **how)
    for read in (unpack, Interpreter):
        with pytest.raises(BundleError) as caught:
            read(data)
        assert caught.value.code == "HT212"


def test_weights_that_are_used_where_they_lie_are_refused_by_both_readers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = one_layer(np.where(np.arange(1000).reshape(2, 500) % 9 == 0, 5, 0).astype(np.int8))
    weights = program.ops[1].weights  # type: ignore[attr-defined]
    for coding in (Coding.SPARSE, Coding.PACKED):
        first = unpack(packed(program, codings={weights: coding})).stored[0]
        assert not first.coding.is_in_place
    monkeypatch.setattr("hardtack_runtime.bundle.in_place_weights", lambda _: {weights})
    for coding in (Coding.SPARSE, Coding.PACKED):
        refused_by_both(program, codings={weights: coding})


def test_a_high_plane_is_refused_by_both_readers() -> None:
    program = one_layer(WEIGHTS)
    rescale, layer = program.ops
    assert isinstance(layer, w.FullyConnectedS16)
    planes = (*program.tensors, p.Tensor("", (1, 1, 2, 500), np.ones((1, 1, 2, 500), np.int8)))
    op = replace(layer, high=len(program.tensors))
    refused_by_both(replace(program, tensors=planes, ops=(rescale, op)))


def test_inputs_are_int8_for_both_readers() -> None:
    program = one_layer(WEIGHTS)
    wide = program.ops[0].output  # type: ignore[attr-defined]
    refused_by_both(replace(program, inputs=(replace(program.inputs[0], tensor=wide),)))


def wide_output(zero: int = 0) -> p.Program:
    """Return a program of two outputs, of which the first is int16."""
    program = one_layer(WEIGHTS)
    wide = p.Port(program.ops[0].output, 0.25, zero)  # type: ignore[attr-defined]
    return replace(program, outputs=(wide, *program.outputs))


def test_an_output_of_int16_is_read_and_dequantised() -> None:
    program = wide_output()
    data = packed(program)
    assert [port.dtype for port in unpack(data).manifest.outputs] == ["int16", "int8"]
    device = Interpreter(data)
    assert [info.dtype for info in device.outputs] == ["int16", "int8"]
    codes = np.arange(500, dtype=np.int64).astype(np.int8)
    first, second = device.run(codes)
    assert (first.dtype.name, second.dtype.name) == ("int16", "int8")
    wanted = np.maximum(256 * codes.astype(np.int64), -32767)
    assert np.array_equal(first.ravel(), wanted)
    real, _ = device.run_float((codes + 3.0) * 0.5)
    assert np.array_equal(real.ravel(), np.float32(0.25) * wanted.astype(np.float32))


def test_its_checksum_is_that_of_all_bytes() -> None:
    program = wide_output()
    vectors = record(Interpreter(packed(program)), seeds=(3,))
    data = packed(program, golden=vectors)
    assert replayed(data) == 0
    outputs = Interpreter(data).run(*seeded_inputs(3, [500]))
    assert vectors[0].final == zlib.crc32(b"".join(out.tobytes() for out in outputs))


def replayed(data: bytes) -> int:
    """Return what the C runtime's own replay of the first vector says."""
    c = opened()
    room = (ctypes.c_uint32 * (len(data) // 4)).from_buffer_copy(data)
    model, golden = ctypes.create_string_buffer(c.ht_model_size()), (ctypes.c_uint64 * 16)()
    arena, weights = (ctypes.c_uint64 * 4096)(), (ctypes.c_uint64 * 4096)()
    assert c.ht_model_open(room, len(data), model) == 0
    assert c.ht_weights_unpack(model, weights, 32768) == 0
    assert c.ht_model_set_arena(model, arena, 32768) == 0
    assert c.ht_golden_open(model, golden) == 0
    return int(c.ht_golden_replay(model, golden, 0, None))


def test_an_output_of_int16_has_no_zero_point_for_both_readers() -> None:
    program = wide_output(zero=1)
    manifest = manifest_for(program)
    data = pack(program, manifest, key=None)
    for read in (unpack, Interpreter):
        with pytest.raises(BundleError) as caught:
            read(data)
        assert caught.value.code == "HT212"


def test_a_contract_of_another_type_is_refused() -> None:
    program = wide_output()
    manifest = manifest_for(program)
    wrong = tuple(port.model_copy(update={"dtype": "int8"}) for port in manifest.outputs)
    data = pack(program, manifest.model_copy(update={"outputs": wrong}), key=None)
    with pytest.raises(BundleError, match="names outputs"):
        unpack(data)


def test_a_tensor_of_int16_takes_two_bytes_of_the_arena() -> None:
    program = one_layer(WEIGHTS)
    index = program.ops[0].output  # type: ignore[attr-defined]
    tensors = list(program.tensors)
    inside = -(-(program.arena_size - 1000) // 16) * 16 - 16
    tensors[index] = replace(tensors[index], offset=inside + 16)
    refused_by_both(replace(program, tensors=tuple(tensors)))


def test_a_constant_of_int16_lies_at_an_even_offset_or_is_refused_by_both_readers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    b = Builder(4)
    x, wide, y = b.place(1, 1, 1, 5), b.place(1, 1, 1, 5, wide=True), b.place(1, 1, 1, 5)
    b.constant(np.array([7], np.int8))
    one = b.constant(np.array([-300], np.int16))
    b.ops.append(w.Rescale(x, wide, 0, Q30, 9, 0, -32767, 32767))
    b.ops.append(w.AddS16(wide, one, wide, 0, Q30, 0, 0, Q30, 0, 15, 0, Q30, -13, -32767, 32767, 1))
    b.ops.append(w.Rescale(wide, y, 0, Q30, -7, 0, -128, 127))
    program = b.program(x, y)
    codes = np.arange(5).astype(np.int8)
    check_every_operator(program, codes)
    monkeypatch.setattr("hardtack_runtime.sections._rank", lambda _, content: len(content) % 256)
    refused_by_both(program)


def changed(position: int, **fields: int) -> p.Program:
    """Return the program of every operator with one operator changed."""
    program = every_wide_operator()
    ops = list(program.ops)
    ops[position] = replace(ops[position], **fields)
    return replace(program, ops=tuple(ops))


POSITIONS = {NAMES[op.opcode]: i for i, op in enumerate(every_wide_operator().ops)}


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        pytest.param("conv_2d_s16", {"in_zero": 1}, id="zero point of an int16 input"),
        pytest.param("depthwise_conv_2d_s16", {"out_zero": 1}, id="zero point of an int16 output"),
        pytest.param("depthwise_conv_2d_s16", {"act_max": 32768}, id="clamp above 32767"),
        pytest.param("add_s16", {"act_min": -32768}, id="clamp below -32767"),
        pytest.param("add_s16", {"left_shift": 16}, id="left shift"),
        pytest.param("add_s16", {"a_zero": 1}, id="zero point of an operand"),
        pytest.param("mul_s16", {"b_zero": -1}, id="zero point of a factor"),
        pytest.param("pad_s16", {"value": -32768}, id="value of a border"),
        pytest.param("mean_s16", {"count": 1 << 16}, id="count"),
        pytest.param("rescale", {"mult": -1}, id="multiplier"),
        pytest.param("rescale", {"out_zero": 1}, id="zero point of what is int16 now"),
        pytest.param("rescale", {"act_max": 32768}, id="clamp of a rescale"),
        pytest.param("fully_connected_s16", {"out_zero": 128}, id="zero point of an int8 output"),
    ],
)
def test_fields_beyond_what_int16_allows_are_refused(name: str, wrong: dict[str, int]) -> None:
    with pytest.raises(HardtackError, match="PROG operator"):
        Interpreter(packed(changed(POSITIONS[name], **wrong)))


def test_operators_of_int8_do_not_read_or_write_int16() -> None:
    program = every_wide_operator()
    narrow = {wide: kind for kind, wide in w.WIDE.items()}
    for index, op in enumerate(program.ops):
        if type(op) not in narrow:
            continue
        words = [getattr(op, field.name) for field in fields(op)]
        ops = [*program.ops[:index], narrow[type(op)](*words), *program.ops[index + 1 :]]
        with pytest.raises(BundleError, match=f"PROG operator {index}"):
            Interpreter(packed(replace(program, ops=tuple(ops))))


def test_a_layer_without_any_int16_is_refused() -> None:
    program = one_layer(WEIGHTS)
    layer = program.ops[1]
    assert isinstance(layer, w.FullyConnectedS16)
    ops = (replace(layer, input=program.inputs[0].tensor),)
    with pytest.raises(BundleError, match="PROG operator 0"):
        Interpreter(packed(replace(program, ops=ops)))


def test_firmware_without_int16_has_none_of_it(tmp_path: Path) -> None:
    data = packed(one_layer(WEIGHTS))
    flags = ("-shared", "-fPIC")
    few = [opcode for opcode, name in NAMES.items() if not name.endswith("_s16")]
    library = build(tmp_path / "no.so", flags=flags, operators=own_table(tmp_path, *few))
    assert open_bundle(library, data) == (NOT_LINKED, w.FullyConnectedS16.opcode)
    table = own_table(tmp_path, w.Rescale.opcode, w.FullyConnectedS16.opcode)
    library = build(tmp_path / "wide.so", flags=flags, operators=table)
    assert open_bundle(library, data) == (0, 0)
