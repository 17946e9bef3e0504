"""A high byte for few weights, and a finer grid for all."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hardtack_converters.compress.outliers import outliers, share_of
from hardtack_converters.compress.settings import LowBit, Outliers, Round
from hardtack_converters.convert import Options, convert, pack_model
from hardtack_converters.lower.matrix import Filter
from hardtack_converters.ranges import WIDEST, outlier_scale, weight_scale, wide_codes
from hardtack_runtime.bundle import unpack
from hardtack_runtime.errors import ConfigError
from hardtack_runtime.golden import replay
from hardtack_runtime.interpreter import Interpreter
from hardtack_runtime.program import Conv2D, FullyConnected
from tests.conformance.models.nets import model_of, node
from tests.conformance.models.runtimes import run_onnx
from tests.unit.converters.compress.nets import answers, prepared
from tests.unit.runtime_c.test_split import expected

RNG = np.random.default_rng(41)


def heavy(*shape: int) -> Any:
    """Draw weights of which few are large, the same for a shape."""
    return (0.1 * np.random.default_rng(shape).standard_t(3, shape)).astype(np.float32)


def picture_net(group: int = 1) -> onnx.ModelProto:
    """Return Conv and Gemm; with groups, a Conv of them before."""
    first = heavy(4, 4 // group, 3, 3)
    constants = {"w0": first, "w1": heavy(24, 4, 3, 3), "w2": heavy(24 * 6 * 5, 5)}
    nodes = [
        node("Conv", "x w0", "first", group=group, pads=[1, 1, 1, 1]),
        node("Conv", "first w1", "second", pads=[1, 0, 1, 0]),
        node("Relu", "second", "r"),
        node("Flatten", "r", "flat"),
        node("Gemm", "flat w2", "last"),
    ]
    return model_of(nodes, constants, {"x": [1, 4, 6, 7]}, {"last": 2})


SAMPLES = RNG.normal(size=(40, 1, 4, 6, 7)).astype(np.float32)

NO_OUTLIERS = (
    "it changed nothing (no weights reach beyond int8, but for those with a grid of their own)"
)


def noise(rows: Any, scale: Any) -> float:
    return float((np.count_nonzero(rows, axis=1) * scale.astype(np.float64) ** 2).sum())


@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(2, 5)),
               elements=st.floats(0.125, 1024, width=32)),
    st.sampled_from((0.1, 0.25, 0.4)),
)  # fmt: skip
def test_no_other_choice_of_as_many_outliers_has_less_noise(rows: Any, share: float) -> None:
    scale = outlier_scale(rows, 0, share)
    chosen = int((rows > 127.5 * scale[:, None]).sum())
    assert chosen <= share * rows.size
    largest = -np.sort(-rows.astype(np.float64), axis=1)
    scales = np.maximum(largest / 127, largest[:, :1] / WIDEST)
    least = min(
        noise(rows, scales[np.arange(len(rows)), picks])
        for picks in itertools.product(range(rows.shape[1]), repeat=len(rows))
        if sum(picks) <= chosen
    )
    assert noise(rows, scale) <= least * (1 + 1e-5)


@given(hnp.arrays(np.int64, 12, elements=st.integers(-WIDEST, WIDEST)))
def test_two_planes_of_int8_are_the_codes(codes: Any) -> None:
    planes = Filter(codes, np.ones(1, np.float32))
    for plane in (planes.low, planes.high):
        assert np.array_equal(plane, plane.astype(np.int8))
    assert np.array_equal(planes.low + 256 * planes.high, codes)
    if not planes.is_wide:
        assert not planes.high.any()


def test_half_a_percent_of_outliers_is_worth_three_decibels_and_zeros_stay() -> None:
    weights = heavy(64, 500)
    weights[:, ::7] = 0
    scale, plain = outlier_scale(weights, 0, 0.005), weight_scale(weights, 0)
    codes = wide_codes(weights, scale, 0)
    assert (np.abs(codes) > 127).mean() <= 0.005
    assert not codes[:, ::7].any()
    errors = [
        ((weights - np.rint(weights / s[:, None]) * s[:, None]) ** 2).sum() for s in (plain, scale)
    ]
    assert 10 * np.log10(errors[0] / errors[1]) > 3


def test_channels_of_zeros_and_of_one_weight_have_a_scale() -> None:
    weights = np.array([[0, 0, 0, 0], [5, 0, 0, 0]], np.float32)
    scale = outlier_scale(weights, 0, 0.2)
    assert (scale > 0).all()
    codes = wide_codes(weights, scale, 0)
    assert codes[1, 0] * scale[1] == pytest.approx(5, rel=1e-3)
    assert np.abs(codes).max() <= WIDEST


def test_a_device_computes_what_both_planes_say() -> None:
    wanted = Options(calibration=SAMPLES, compress=(Outliers(share=0.02),))
    made = convert(picture_net().SerializeToString(), wanted)
    (row,) = made.compressed
    assert (row.skipped, row.name) == ("", "outliers")
    assert "weights of 3 layers reach beyond int8" in row.summary
    data = pack_model(made, None)
    content = unpack(data)
    split = [op for op in content.program.ops if op.planes()]
    assert {type(op) for op in split} == {Conv2D, FullyConnected}
    device = Interpreter(data)
    replay(device, content.golden)
    tensors = content.program.tensors
    for sample in SAMPLES[:5]:
        (real,) = device.run_float(sample)
        elsewhere = run_onnx(_proto(made.quantized), {"x": sample})[0]
        assert np.abs(real.ravel() - elsewhere.ravel()).max() <= 1.01 * device.outputs[0].scale
        codes = RNG.integers(-128, 128, device.inputs[0].shape).astype(np.int8)
        memory = {tensors[content.program.inputs[0].tensor].offset: codes}
        for op, found in zip(content.program.ops, device.trace(codes), strict=True):
            if isinstance(op, Conv2D | FullyConnected) and op.high is not None:
                source = memory[tensors[op.input].offset]
                assert np.array_equal(found, expected(content.program, op, source))
            memory[tensors[op.output].offset] = found  # type: ignore[attr-defined]


def _proto(model: Any) -> Any:
    import onnx_ir as ir

    proto = ir.to_proto(model)
    proto.ir_version = 8
    return proto


def test_the_float_model_stays_as_it_is() -> None:
    model = prepared(picture_net())
    before = answers(model, SAMPLES[0])
    assert outliers(model, Outliers(share=0.02)).layers == 3
    np.testing.assert_array_equal(answers(model, SAMPLES[0]), before)


def test_groups_are_left_out_and_refused_where_they_are_named() -> None:
    model = prepared(picture_net(group=4))
    assert outliers(model, Outliers(share=0.02)).layers == 2
    assert [share_of(n) for n in model.graph if n.op_type in ("Conv", "Gemm")] == [0, 0.02, 0.02]
    with pytest.raises(ConfigError, match="have no second plane") as caught:
        outliers(prepared(picture_net(group=4)), Outliers(layers=("first",)))
    assert caught.value.code == "HT104"


def test_rounding_leaves_such_layers_alone() -> None:
    passes = (Outliers(share=0.02), Round(samples=8))
    wanted = Options(calibration=SAMPLES, compress=passes)
    _, row = convert(picture_net().SerializeToString(), wanted).compressed
    assert (
        row.skipped == "it changed nothing (no layer whose weights have no grid of their own yet)"
    )


def test_layers_of_few_bits_keep_them() -> None:
    passes = (LowBit(bits=3, method="nearest"), Outliers(share=0.02))
    wanted = Options(calibration=SAMPLES, compress=passes)
    few, row = convert(picture_net().SerializeToString(), wanted).compressed
    assert few.skipped == ""
    assert row.skipped == NO_OUTLIERS


def test_no_outliers_no_change() -> None:
    wanted = Options(calibration=SAMPLES, compress=(Outliers(share=1e-9),))
    plain = convert(picture_net().SerializeToString(), replace(wanted, compress=()))
    made = convert(picture_net().SerializeToString(), wanted)
    assert made.compressed[0].skipped == NO_OUTLIERS
    assert pack_model(made, None) == pack_model(plain, None)
