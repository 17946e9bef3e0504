"""Results of layers in int16: nearer to float, zero exact, sums within 32 bits."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hardtack_converters.compress.settings import Outliers, Pass, WideActivations
from hardtack_converters.compress.wide_activations import wide_activations
from hardtack_converters.convert import Converted, Options, convert, pack_model
from hardtack_converters.ranges import (
    Range,
    scale_within_sums,
    symmetric_grid,
    weight_codes,
    weight_scale,
)
from hardtack_runtime.bundle import unpack
from hardtack_runtime.errors import ConfigError, UnsupportedOpError
from hardtack_runtime.golden import replay
from hardtack_runtime.interpreter import Interpreter
from hardtack_runtime.operators import WIDE, DepthwiseConv2DS16, Rescale
from hardtack_runtime.program import Conv2D, FullyConnected, Lookup, Softmax
from tests.conformance.models.nets import model_of, node, small_cnn
from tests.conformance.models.runtimes import run_onnx
from tests.unit.converters.compress.nets import answers, prepared

LARGEST_SUM = (1 << 31) - 1


def every_net() -> onnx.ModelProto:
    """Return a net with every operator that has a twin of int16, and some that have none."""
    rng = np.random.default_rng(3)

    def draw(*shape: int) -> Any:
        return (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    constants = {
        "w0": draw(8, 3, 3, 3), "b0": draw(8), "w1": draw(8, 1, 3, 3), "w2": draw(8, 8, 1, 1),
        "factor": draw(8, 1, 1) + 2, "moved": draw(8, 1, 1), "pads": np.array([0, 0, 1, 1] * 2),
        "w3": draw(16, 12), "b3": draw(12), "w4": draw(12, 12), "w5": draw(12, 5),
    }  # fmt: skip
    nodes = [
        node("Conv", "x w0 b0", "c0", pads=[1, 1, 1, 1]),
        node("Relu", "c0", "r0"),
        node("Conv", "r0 w1", "c1", group=8, pads=[1, 1, 1, 1]),
        node("Conv", "c1 w2", "c2"),
        node("Sub", "c2 r0", "s"),
        node("Mul", "s factor", "m"),
        node("Add", "m moved", "a"),
        node("MaxPool", "a", "p0", kernel_shape=[2, 2], strides=[2, 2]),
        node("AveragePool", "a", "p1", kernel_shape=[2, 2], strides=[2, 2]),
        node("Concat", "p0 p1", "both", axis=1),
        node("Pad", "both pads", "padded"),
        node("Transpose", "padded", "turned", perm=[0, 1, 3, 2]),
        node("Clip", "turned", "clipped", min=-1.5, max=2.5),
        node("GlobalAveragePool", "clipped", "g"),
        node("Flatten", "g", "flat"),
        node("MatMul", "flat w3", "d0"),
        node("Add", "d0 b3", "d1"),
        node("Sigmoid", "d1", "gate"),
        node("Mul", "gate d1", "silu"),
        node("Gemm", "silu w4", "d2"),
        node("Gemm", "d2 w5", "logits"),
        node("Softmax", "logits", "y"),
    ]
    for made, attributes in zip(nodes, [n.attribute for n in nodes], strict=True):
        if made.op_type == "Clip":  # bounds are inputs since opset 11
            constants |= {a.name: np.float32(a.f) for a in attributes}
            made.input.extend(["min", "max"])
            del made.attribute[:]
    return model_of(nodes, constants, {"x": ["N", 3, 8, 8]}, {"y": 2})


SAMPLES = np.random.default_rng(4).normal(size=(60, 1, 3, 8, 8)).astype(np.float32)


def converted(proto: onnx.ModelProto, *passes: Pass, samples: Any = SAMPLES) -> Converted:
    return convert(proto.SerializeToString(), Options(calibration=samples, compress=passes))


def ran_elsewhere(made: Converted, x: Any) -> Any:
    proto = ir.to_proto(made.quantized)
    proto.ir_version = 10
    return np.asarray(run_onnx(proto, {"x": x})[0])


def decibels(proto: onnx.ModelProto, made: Converted, samples: Any) -> float:
    device = Interpreter(pack_model(made, None))
    wanted = np.array([run_onnx(proto, {"x": x})[0].ravel() for x in samples], np.float64)
    found = np.array([device.run_float(x)[0].ravel() for x in samples], np.float64)
    noise = ((wanted - found) ** 2).sum()
    return float(10 * np.log10(((wanted - wanted.mean()) ** 2).sum() / noise))


def test_a_device_computes_what_the_quantised_graph_says() -> None:
    made = converted(every_net(), WideActivations())
    (row,) = made.compressed
    assert row.skipped == ""
    kinds = {type(op) for op in made.program.ops}
    assert kinds >= set(WIDE.values()) - {t for t in WIDE.values() if "Transpose" in t.__name__}
    assert {Rescale, Lookup, Softmax} <= kinds
    data = pack_model(made, None)
    device = Interpreter(data)
    replay(device, unpack(data).golden)
    for sample in SAMPLES[:20]:
        (real,) = device.run_float(sample)
        # one code of the last grid, and what a table makes of one code of its input
        assert np.abs(real.ravel() - ran_elsewhere(made, sample).ravel()).max() <= 2.5 / 256


def test_a_large_depthwise_kernel_on_int8_keeps_its_sums_within_32_bits() -> None:
    rng = np.random.default_rng(6)
    weights = rng.uniform(0.98, 1, size=(4, 1, 23, 23)).astype(np.float32)
    nodes = [node("Conv", "x w", "c", group=4), node("GlobalAveragePool", "c", "y")]
    proto = model_of(nodes, {"w": weights}, {"x": ["N", 4, 24, 24]}, {"y": 4})
    samples = rng.normal(size=(4, 1, 4, 24, 24)).astype(np.float32)
    made = converted(proto, WideActivations(), samples=samples)
    assert DepthwiseConv2DS16 in {type(op) for op in made.program.ops}
    data = pack_model(made, None)
    replay(Interpreter(data), unpack(data).golden)


def logits_net() -> onnx.ModelProto:
    net = small_cnn()
    del net.graph.node[-1]
    net.graph.output[0].name = "logits"
    return net


def test_each_result_is_within_one_code_of_the_quantised_graph() -> None:
    """Without tables and Softmax behind it the last result tells of all before it."""
    samples = _images()
    made = converted(logits_net(), WideActivations(), samples=samples)
    device = Interpreter(pack_model(made, None))
    for sample in samples:
        (real,) = device.run_float(sample)
        wanted = ran_elsewhere(made, sample)
        assert np.abs(real.ravel() - wanted.ravel()).max() <= 1.01 * device.outputs[0].scale


def test_results_are_nearer_to_float_and_take_two_bytes_each() -> None:
    """Weights are whole steps of a grid, so that rounding activations is all that is lost."""
    rng = np.random.default_rng(9)
    widths = (24, 32, 32, 32, 32, 32, 4)
    constants = {
        f"w{i}": (rng.integers(-127, 128, (outputs, inputs)) / 64 / inputs).astype(np.float32)
        for i, (inputs, outputs) in enumerate(itertools.pairwise(widths))
    }
    nodes, last = [], "x"
    for index in range(len(constants)):
        nodes.append(node("Gemm", f"{last} w{index}", f"fc{index}", transB=1))
        last = f"fc{index}"
    net = model_of(nodes, constants, {"x": ["N", 24]}, {last: 2})
    samples = np.rint(rng.normal(size=(100, 1, 24)) * 30).astype(np.float32)
    plain, wide = (converted(net, *p, samples=samples) for p in ((), (WideActivations(),)))
    gain = decibels(net, wide, samples) - decibels(net, plain, samples)
    assert gain > 3
    (row,) = wide.compressed
    assert (row.arena_before, row.arena_after) == (
        plain.program.arena_size, wide.program.arena_size,
    )  # fmt: skip
    assert 1.5 * row.arena_before < row.arena_after <= 2 * row.arena_before
    assert "activations in int16" in row.summary


def test_outputs_may_be_int16_too() -> None:
    samples = _images()
    wide, all_wide = (
        converted(logits_net(), WideActivations(outputs=outputs), samples=samples)
        for outputs in (False, True)
    )
    (port,) = all_wide.manifest.outputs
    assert (port.dtype, port.zero_point, wide.manifest.outputs[0].dtype) == ("int16", 0, "int8")
    assert decibels(logits_net(), all_wide, samples) > decibels(logits_net(), wide, samples)
    device = Interpreter(pack_model(all_wide, None))
    for sample in samples[:10]:
        wanted = ran_elsewhere(all_wide, sample)
        near = np.abs(device.run_float(sample)[0].ravel() - wanted.ravel()).max()
        assert near <= 2.01 * device.outputs[0].scale


def test_the_float_model_stays_as_it_is() -> None:
    model = prepared(small_cnn())
    x = np.ones((1, 3, 12, 12), np.float32)
    before = answers(model, x)
    assert wide_activations(model, WideActivations()).layers > 0
    np.testing.assert_array_equal(answers(model, x), before)


def test_only_the_layers_named_are_wide() -> None:
    made = converted(small_cnn(), WideActivations(layers=("c4", "a*")), samples=_images())
    wide = [made.program.tensors[op.output].wide for op in made.program.ops]  # type: ignore[attr-defined]
    plain = converted(small_cnn(), samples=_images())
    assert 0 < sum(wide) <= 4
    assert sum(isinstance(op, Conv2D) for op in made.program.ops) == sum(
        isinstance(op, Conv2D) for op in plain.program.ops
    )


def _images() -> Any:
    return np.random.default_rng(5).normal(size=(40, 1, 3, 12, 12)).astype(np.float32)


@pytest.mark.parametrize(
    ("pattern", "code"),
    [
        pytest.param("nothing", "HT110", id="no such layer"),
        pytest.param("y", "HT104", id="the output"),
        pytest.param("gate", "HT104", id="a table"),
        pytest.param("logits", "HT104", id="read by Softmax alone"),
    ],
)
def test_a_layer_that_cannot_be_wide_is_refused_where_it_is_named(pattern: str, code: str) -> None:
    with pytest.raises(ConfigError) as caught:
        wide_activations(prepared(every_net()), WideActivations(layers=(pattern,)))
    assert caught.value.code == code


def test_means_of_too_many_values_read_int8() -> None:
    """2^15 codes of int16 sum up to 2^30; 190 times 190 are more."""
    rng = np.random.default_rng(2)
    draw = [rng.normal(size=shape).astype(np.float32) for shape in ((2, 1, 1, 1), (2, 2, 1, 1))]
    nodes = [
        node("Conv", "x w0", "c0"), node("Conv", "c0 w1", "c1"),
        node("GlobalAveragePool", "c1", "g"), node("Flatten", "g", "flat"),
        node("Gemm", "flat w2", "y"),
    ]  # fmt: skip
    constants = {"w0": draw[0], "w1": draw[1], "w2": np.eye(2, dtype=np.float32)}
    net = model_of(nodes, constants, {"x": ["N", 1, 190, 190]}, {"y": 2})
    samples = rng.normal(size=(3, 1, 1, 190, 190)).astype(np.float32)
    program = converted(net, WideActivations(), samples=samples).program
    wide = [program.tensors[op.output].wide for op in program.ops]  # type: ignore[attr-defined]
    assert wide == [True, False, False, False]


def dense(inputs: int, bias: float = 0.0) -> onnx.ModelProto:
    """Return two Gemm, the second one of many weights alike, so that its sums are large."""
    constants = {
        "w0": np.eye(inputs, dtype=np.float32), "w1": np.full((3, inputs), 0.5, np.float32),
        "w2": np.eye(3, dtype=np.float32), "b1": np.full(3, bias, np.float32),
    }  # fmt: skip
    constants["w1"][1:, ::2] = -0.49
    constants["w1"][2, ::3] = 0.001
    nodes = [
        node("Gemm", "x w0", "first"),
        node("Gemm", "first w1 b1", "second", transB=1),
        node("Gemm", "second w2", "y"),
    ]
    return model_of(nodes, constants, {"x": ["N", inputs]}, {"y": 2})


@pytest.mark.parametrize("bias", [0.0, 100.0])
def test_weights_of_channels_whose_sums_would_overflow_are_coarser(bias: float) -> None:
    """1200 weights of 127 make 152,400; sums of int16 allow 65,535."""
    samples = np.random.default_rng(6).normal(size=(30, 1, 1200)).astype(np.float32)
    made = converted(dense(1200, bias), WideActivations(), samples=samples)
    (notice,) = (text for text in made.notices if "coarser" in text)
    assert "3 of 3 channels have coarser weights" in notice
    layer = made.program.ops[1]
    assert isinstance(layer, FullyConnected)
    weights, biases = (made.program.tensors[i].data for i in (layer.weights, layer.bias))
    assert weights is not None
    assert biases is not None
    sums = np.abs(weights.astype(np.int64)).sum(axis=3).ravel() << 15
    assert (sums + np.abs(biases.astype(np.int64)).ravel() <= LARGEST_SUM).all()
    assert (sums + np.abs(biases.astype(np.int64)).ravel() > 0.98 * LARGEST_SUM).all()
    device = Interpreter(pack_model(made, None))
    for sample in samples[:5]:
        wanted = ran_elsewhere(made, sample)
        assert np.abs(device.run_float(sample)[0] - wanted).max() <= 1.01 * device.outputs[0].scale


ROWS = hnp.arrays(np.float32, (3, 40), elements=st.floats(-8, 8, width=16))


@given(ROWS, st.sampled_from((1.0, 1e4, 3e7)))
def test_scales_grow_only_where_sums_would_overflow(rows: Any, spread: float) -> None:
    weights = np.repeat(rows, 30, axis=1)
    bias = np.array([spread, -spread, 0.0])
    scale = weight_scale(weights, 0)
    found = scale_within_sums(weights, scale, 0, bias)

    def sums(of: Any) -> Any:
        codes = np.abs(weight_codes(weights, of, 0).astype(np.int64)).sum(axis=1)
        return (codes << 15) + np.abs(np.rint(bias / of)).astype(np.int64)

    assert (sums(found) <= LARGEST_SUM).all()
    assert (found >= scale).all()
    assert np.array_equal(found > scale, sums(scale) > LARGEST_SUM - 4095)


@given(st.floats(-1e6, 1e6, width=32), st.floats(0, 1e6, width=32))
def test_zero_is_a_code_and_both_ends_are_within(low: float, width: float) -> None:
    scale, zero = symmetric_grid(Range(low, low + width))
    assert zero == 0
    assert scale > 0
    assert max(abs(low), abs(low + width)) <= scale * 32767.5 or scale == 1.0


def test_layers_of_int16_have_no_second_plane() -> None:
    heavy = np.random.default_rng(8).standard_t(2, (16, 16)).astype(np.float32)
    constants = {"w0": heavy, "w1": heavy.T.copy(), "w2": heavy[:, :4].copy()}
    nodes = [
        node("Gemm", "x w0", "first"), node("Gemm", "first w1", "second"),
        node("Gemm", "second w2", "y"),
    ]  # fmt: skip
    net = model_of(nodes, constants, {"x": ["N", 16]}, {"y": 2})
    samples = np.random.default_rng(7).normal(size=(30, 1, 16)).astype(np.float32)
    passes = (Outliers(share=0.1), WideActivations(layers=("first",)))
    made = converted(net, *passes, samples=samples)
    assert [row.skipped for row in made.compressed] == ["", ""]
    assert [bool(op.planes()) for op in made.program.ops] == [False, False, True]


def test_an_output_of_int16_that_a_table_reads_too_is_valid_elsewhere() -> None:
    """It has two grids, of names of their own, and the device computes what both say."""
    rng = np.random.default_rng(1)
    constants = {"w": rng.normal(size=(12, 6)), "b": rng.normal(size=6)}
    nodes = [node("Gemm", "x w b", "logits"), node("Sigmoid", "logits", "y")]
    single = {name: numbers.astype(np.float32) for name, numbers in constants.items()}
    net = model_of(nodes, single, {"x": ["N", 12]}, {"logits": 2, "y": 2})
    samples = rng.normal(size=(40, 1, 12)).astype(np.float32)
    made = converted(net, WideActivations(outputs=True), samples=samples)
    proto = ir.to_proto(made.quantized)
    proto.ir_version = 10
    device = Interpreter(pack_model(made, None))
    assert [port.dtype for port in device.outputs] == ["int16", "int8"]
    for sample in samples:
        found, wanted = device.run_float(sample), run_onnx(proto, {"x": sample})
        for port, one, other in zip(device.outputs, found, wanted, strict=True):
            # one code, and what a table makes of one code of its input
            assert np.abs(one.ravel() - other.ravel()).max() <= 2.5 * port.scale


def foreign(zero: int = 0, source: type = np.int8, output: type = np.int8) -> onnx.ModelProto:
    """Return a QDQ graph whose activations another tool made int16."""
    constants: dict[str, Any] = {
        "s": np.float32(0.03), "z": source(0), "t": np.float32(0.0001), "zero": np.int16(zero),
        "w": np.random.default_rng(1).integers(-127, 128, (4, 6)).astype(np.int8),
        "sw": np.float32(0.01), "last": output(0),
    }  # fmt: skip
    nodes = [
        node("QuantizeLinear", "x s z", "qx"), node("DequantizeLinear", "qx s z", "dx"),
        node("DequantizeLinear", "w sw", "dw"), node("Gemm", "dx dw", "g", transB=1),
        node("QuantizeLinear", "g t zero", "qg"), node("DequantizeLinear", "qg t zero", "dg"),
        node("Add", "dg dg", "a"),
        node("QuantizeLinear", "a s last", "qa"), node("DequantizeLinear", "qa s last", "y"),
    ]  # fmt: skip
    return model_of(nodes, constants, {"x": [1, 6]}, {"y": 2}, opset=21)


@pytest.mark.parametrize("output", [np.int8, np.int16])
def test_int16_of_another_tool_is_taken(output: type) -> None:
    net = foreign(output=output)
    made = convert(net.SerializeToString())
    device = Interpreter(pack_model(made, None))
    assert device.outputs[0].dtype == np.dtype(output).name
    for seed in range(20):
        x = np.random.default_rng(seed).normal(size=(1, 6)).astype(np.float32)
        wanted = run_onnx(net, {"x": x})[0]
        assert np.abs(device.run_float(x)[0].ravel() - wanted.ravel()).max() <= 1.01 * 0.03


@pytest.mark.parametrize(
    ("made", "said"),
    [
        pytest.param(foreign(zero=5), "zero point 5", id="not symmetric"),
        pytest.param(foreign(source=np.int16), "in int16", id="an input of int16"),
    ],
)
def test_int16_that_has_no_kernel_is_refused(made: onnx.ModelProto, said: str) -> None:
    with pytest.raises(UnsupportedOpError, match=said) as caught:
        convert(made.SerializeToString())
    assert caught.value.code == "HT303"
