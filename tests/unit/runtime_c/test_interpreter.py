"""The Python binding: inputs, floats at the edges, traces, golden vectors, and its refusals."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hardtack_runtime import golden
from hardtack_runtime.bundle import pack, unpack
from hardtack_runtime.errors import BundleError, DeviceError, GateError
from hardtack_runtime.interpreter import Interpreter
from hardtack_runtime.program import Conv2D, Port, Program, Tensor
from tests.golden.make import every_op_program, golden_bundle, manifest_for


@pytest.fixture(scope="module")
def bundle() -> bytes:
    return golden_bundle()


def packed(program: Program) -> bytes:
    return pack(program, manifest_for(program), key=None)


def echo(scale: float, zero_point: int, count: int) -> Interpreter:
    """A program without operators: what goes in comes out."""
    port = Port(0, scale, zero_point)
    arena = -(-count // 16) * 16
    return Interpreter(
        packed(Program((Tensor("x", (1, 1, 1, count)),), (), (port,), (port,), arena))
    )


def test_the_last_trace_entry_is_the_output(bundle: bytes) -> None:
    interpreter = Interpreter(bundle)
    codes = np.random.default_rng(0).integers(-128, 128, (1, 8, 8, 4)).astype(np.int8)
    (output,) = interpreter.run(codes)
    trace = interpreter.trace(codes)
    assert len(trace) == interpreter.operators == len(unpack(bundle).program.ops)
    assert np.array_equal(trace[-1], output)
    assert np.array_equal(interpreter.read_outputs()[0], output)


def test_two_runs_give_the_same_bits(bundle: bytes) -> None:
    interpreter = Interpreter(bundle)
    codes = np.full(256, 17, np.int8)
    first = interpreter.run(codes)[0].copy()
    interpreter.run(np.full(256, -90, np.int8))
    assert np.array_equal(interpreter.run(codes)[0], first)


def test_memory_for_one_operator_gives_the_same_bits_as_memory_for_all(bundle: bytes) -> None:
    whole = Interpreter(bundle)
    layered = Interpreter(bundle, memory=whole.unpacked_size - 16)
    rng = np.random.default_rng(1)
    for _ in range(10):
        codes = rng.integers(-128, 128, (1, 8, 8, 4)).astype(np.int8)
        expected, found = whole.trace(codes), layered.trace(codes)
        assert all(map(np.array_equal, expected, found))
        assert np.array_equal(whole.run(codes)[0], layered.run(codes)[0])


def test_memory_for_less_than_one_operator_is_refused(bundle: bytes) -> None:
    least = Interpreter(bundle).layer_size
    assert Interpreter(bundle, memory=least).operators
    with pytest.raises(GateError, match=f"{least} hold those of one operator") as caught:
        Interpreter(bundle, memory=least - 1)
    assert caught.value.code == "HT503"


@pytest.mark.parametrize("offset", [1, 4, 8])
def test_a_bundle_anywhere_in_memory_is_read(bundle: bytes, offset: int) -> None:
    room = memoryview(bytes(offset) + bundle)[offset:]
    assert Interpreter(room).arena_size == unpack(bundle).program.arena_size


def test_ports_are_those_of_the_program(bundle: bytes) -> None:
    interpreter, program = Interpreter(bundle), unpack(bundle).program
    assert interpreter.input_shapes == ((1, 8, 8, 4),)
    assert [(i.scale, i.zero_point) for i in interpreter.inputs] == [
        (p.scale, p.zero_point) for p in program.inputs
    ]
    assert interpreter.outputs[0].zero_point == -128


@given(
    hnp.arrays(np.float32, 40, elements=st.floats(-(2.0**100), 2.0**100, width=32)),
    st.floats(0.0009765625, 64, width=32),
    st.integers(-128, 127),
)
def test_real_inputs_round_half_away_from_zero(
    reals: np.ndarray, scale: float, zero_point: int
) -> None:
    (found,) = echo(scale, zero_point, 40).run_float(reals)
    ratio = (reals / np.float32(scale)).astype(np.float64)
    rounded = np.sign(ratio) * np.floor(np.abs(ratio) + 0.5)
    codes = np.clip(rounded + zero_point, -128, 127)
    expected = np.float32(scale) * (codes - zero_point).astype(np.float32)
    assert np.array_equal(found.ravel(), expected)


def test_nan_becomes_the_zero_point() -> None:
    (found,) = echo(0.5, 7, 3).run_float(np.array([np.nan, np.inf, -np.inf], np.float32))
    assert found.ravel().tolist() == [0.0, 60.0, -67.5]


@pytest.mark.parametrize(
    ("inputs", "met"),
    [
        pytest.param((np.zeros(255, np.int8),), r"has \[255\] elements", id="short"),
        pytest.param((), r"has \[\] elements", id="none"),
        pytest.param((np.zeros(256, np.float32),), "has type float32", id="floats"),
        pytest.param((np.zeros(256, np.uint8),), "has type uint8", id="unsigned"),
    ],
)
def test_a_wrong_input_is_told(bundle: bytes, inputs: tuple[np.ndarray, ...], met: str) -> None:
    with pytest.raises(DeviceError, match=met) as caught:
        Interpreter(bundle).run(*inputs)
    assert caught.value.code == "HT610"


@pytest.mark.parametrize(
    ("at", "value", "kind", "code"),
    [
        pytest.param(0, b"X", BundleError, "HT211", id="magic"),
        pytest.param(4, b"\x02", GateError, "HT502", id="format"),
        pytest.param(6, b"\x09", GateError, "HT502", id="abi"),
        pytest.param(93, b"\x01", BundleError, "HT212", id="reserved"),
        pytest.param(225, b"\x7f", BundleError, "HT212", id="sections"),
    ],
)
def test_a_bad_header_is_refused(
    bundle: bytes, at: int, value: bytes, kind: type[Exception], code: str
) -> None:
    damaged = bundle[:at] + value + bundle[at + 1 :]
    with pytest.raises(kind) as caught:
        Interpreter(damaged)
    assert caught.value.code == code  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"stride_h": 0}, id="stride of 0"),
        pytest.param({"stride_w": 70000}, id="stride too large"),
        pytest.param({"pad_top": -1}, id="negative padding"),
        pytest.param({"pad_left": 3}, id="a window beside the image"),
        pytest.param({"dilation_h": 1 << 30}, id="dilation that overflows"),
        pytest.param({"in_zero": 128}, id="zero point out of range"),
        pytest.param({"act_min": 5, "act_max": 4}, id="empty clamp"),
        pytest.param({"weights": 0}, id="weights in the arena"),
        pytest.param({"bias": 999}, id="no such tensor"),
        pytest.param({"output": 0}, id="output over its input"),
        pytest.param({"mult": 3}, id="another number of multipliers"),
    ],
)
def test_a_wrong_operator_is_named(change: dict[str, int]) -> None:
    program = every_op_program()
    first = program.ops[0]
    assert isinstance(first, Conv2D)
    ops = (replace(first, **change), *program.ops[1:])
    with pytest.raises(BundleError, match="PROG operator 0") as caught:
        Interpreter(packed(replace(program, ops=ops)))
    assert caught.value.code == "HT212"


def _with_constant(program: Program, index: int, data: np.ndarray) -> Program:
    tensors = list(program.tensors)
    tensors[index] = replace(tensors[index], data=data.reshape(tensors[index].dims))
    return replace(program, tensors=tuple(tensors))


def test_an_accumulator_that_may_overflow_is_refused() -> None:
    program = every_op_program()
    first = program.ops[0]
    assert isinstance(first, Conv2D)
    room = (1 << 31) - 1 - 36 * (1 << 14)
    fits = np.full(8, room, np.int32)
    Interpreter(packed(_with_constant(program, first.bias, fits)))
    with pytest.raises(BundleError, match="PROG operator 0"):
        Interpreter(packed(_with_constant(program, first.bias, -fits - 1)))


@pytest.mark.parametrize(("name", "value"), [("mult", -1), ("shift", 31), ("shift", -32)])
def test_a_wrong_multiplier_is_refused(name: str, value: int) -> None:
    program = every_op_program()
    index = getattr(program.ops[0], name)
    data = program.tensors[index].data
    assert data is not None
    changed = data.copy()
    changed.flat[3] = value
    with pytest.raises(BundleError, match="PROG operator 0"):
        Interpreter(packed(_with_constant(program, index, changed)))


def test_golden_vectors_replay(bundle: bytes) -> None:
    read = unpack(bundle)
    golden.replay(Interpreter(bundle), read.golden, read.program.layers)


def test_recorded_samples_replay(bundle: bytes) -> None:
    interpreter = Interpreter(bundle)
    sample = np.arange(256).astype(np.int8)
    (vector,) = golden.record(interpreter, samples=[[sample]])
    assert vector.seed == 0
    assert vector.samples == (sample.tobytes(),)
    golden.replay(interpreter, (vector,))


def test_the_first_diverging_layer_is_named(bundle: bytes) -> None:
    read = unpack(bundle)
    crcs = read.golden[0].crcs
    changed = replace(read.golden[0], crcs=(*crcs[:3], crcs[3] ^ 1, *crcs[4:-1], 0))
    with pytest.raises(DeviceError, match=rf"layer 3 \({read.program.layers[3]}\)") as caught:
        golden.replay(Interpreter(bundle), (changed,), read.program.layers)
    assert caught.value.code == "HT606"


def test_seeds_are_xorshift32() -> None:
    (first,), (again, rest) = golden.seeded_inputs(1, [4]), golden.seeded_inputs(1, [2, 2])
    # 1 -> 0x00042021 -> 0x04080601 -> 0x9DCCA8C5 -> 0x1255994F
    assert first.view(np.uint8).tolist() == [0x00, 0x04, 0x9D, 0x12]
    assert np.array_equal(np.concatenate([again, rest]), first)


@pytest.mark.parametrize("seed", [0, 1 << 32])
def test_a_seed_out_of_range_is_the_callers_fault(seed: int) -> None:
    with pytest.raises(ValueError, match="seed"):
        golden.seeded_inputs(seed, [1])


def test_the_interpreter_imports_numpy_and_nothing_heavier() -> None:
    code = "import sys, hardtack_runtime.interpreter; print(' '.join(sys.modules))"
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    loaded = {name.split(".")[0] for name in output.split()}
    assert not loaded & {"pydantic", "cbor2", "cryptography", "onnx", "paho"}
