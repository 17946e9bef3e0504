"""Scales that move between layers, and biases that make up for rounding."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from hardtack_converters.compress.activations import channel_means, channel_peaks
from hardtack_converters.compress.bench import Bench
from hardtack_converters.compress.bias_correction import bias_correction
from hardtack_converters.compress.equalise import equalise, pairs_of
from hardtack_converters.compress.settings import BiasCorrection, Equalise
from hardtack_converters.convert import Options, convert, open_bench
from hardtack_converters.passes.channels import channels_of
from hardtack_runtime.errors import HardtackError
from tests.conformance.models.nets import model_of, node
from tests.unit.converters.compress.nets import answers

RNG = np.random.default_rng(29)
SAMPLES = RNG.normal(size=(64, 1, 3, 8, 8)).astype(np.float32)


def uneven(view: str = "Flatten") -> onnx.ModelProto:
    """Return Conv, depthwise Conv, Conv and Gemm whose channels differ in range by thousands."""

    def draw(*shape: int) -> Any:
        return RNG.normal(size=shape) / np.sqrt(np.prod(shape[1:]))

    spread = np.exp(np.linspace(-4, 4, 8))
    constants = {
        "w0": draw(8, 3, 3, 3) * spread[:, None, None, None], "b0": 0.1 * spread,
        "w1": draw(8, 1, 3, 3), "b1": 0.1 * spread,
        "w2": draw(8, 8, 1, 1) / spread[:, None, None], "b2": draw(8),
        "w3": draw(5, 8 * 16), "b3": draw(5),
    }  # fmt: skip
    last = [node("Flatten", "p", "f")]
    if view == "Transpose":
        last = [node("Transpose", "p", "t", perm=[0, 2, 3, 1]), node("Flatten", "t", "f")]
    nodes = [
        node("Conv", "x w0 b0", "c0", pads=[1, 1, 1, 1]), node("Relu", "c0", "r0"),
        node("Conv", "r0 w1 b1", "c1", group=8, pads=[1, 1, 1, 1]), node("Relu", "c1", "r1"),
        node("Conv", "r1 w2 b2", "c2"), node("Relu", "c2", "r2"),
        node("MaxPool", "r2", "p", kernel_shape=[2, 2], strides=[2, 2]), *last,
        node("Gemm", "f w3 b3", "y", transB=1),
    ]  # fmt: skip
    arrays = {name: array.astype(np.float32) for name, array in constants.items()}
    return model_of(nodes, arrays, {"x": [1, 3, 8, 8]}, {"y": 2})


def opened(proto: onnx.ModelProto) -> tuple[ir.Model, Bench]:
    return open_bench(proto.SerializeToString(), Options(calibration=SAMPLES))


def noise(model: ir.Model, bench: Bench, truth: ir.Model) -> float:
    """Return the mean squared difference of the int8 form to a float model, relative."""
    quantized = bench.quantize(model)
    pairs = [(answers(quantized, x), answers(truth, x)) for x in SAMPLES]
    wrong = sum(float(((a - b) ** 2).sum()) for a, b in pairs)
    return wrong / sum(float((b**2).sum()) for _, b in pairs)


@pytest.mark.parametrize("view", ["Flatten", "Transpose"])
def test_an_equalised_model_computes_the_same(view: str) -> None:
    model, bench = opened(uneven(view))
    before = model.clone()
    changed = equalise(model, Equalise(), bench)
    assert changed.layers == 3
    for x in SAMPLES[:4]:
        np.testing.assert_allclose(answers(model, x), answers(before, x), rtol=1e-3, atol=1e-4)


def test_the_channels_of_an_activation_get_alike() -> None:
    model, bench = opened(uneven())
    names = ["r0", "r1"]
    before = channel_peaks(model, names, bench.samples)
    equalise(model, Equalise(layers=("c0", "c1")), bench)
    after = channel_peaks(model, names, bench.samples)
    assert before["r0"].max() > 1000 * before["r0"].min()
    # Whatever is in a depthwise layer has a scale to itself: all of the range goes.
    assert after["r0"] == pytest.approx(after["r0"][0], rel=1e-3)
    ratio = {name: peaks.max() / peaks.min() for name, peaks in (*after.items(),)}
    assert ratio["r1"] < 0.1 * before["r1"].max() / before["r1"].min()


def test_equalising_takes_noise_out_of_int8() -> None:
    model, bench = opened(uneven())
    before = model.clone()
    equalise(model, Equalise(), bench)
    assert noise(model, bench, before) < 0.3 * noise(before, bench, before)


def test_only_pairs_whose_first_layer_is_named_change() -> None:
    model, bench = opened(uneven())
    assert equalise(model, Equalise(layers=("c0",)), bench).layers == 1


def test_what_bends_between_layers_stops_it() -> None:
    proto = uneven()
    proto.graph.node[1].op_type = "Sigmoid"
    model, _ = opened(proto)
    pairs = pairs_of(channels_of(model))
    assert [pair.first.linear.node.name for pair in pairs] == ["c1", "c2"]


def test_corrected_biases_give_the_means_of_the_float_model() -> None:
    model, bench = opened(uneven())
    before = model.clone()
    names = ["c0", "c1", "c2", "y"]
    wanted = channel_means(before, names, bench.samples)

    def off(quantized: ir.Model) -> float:
        found = channel_means(quantized, [*names[:3], "y_float"], bench.samples)
        return max(
            float(np.abs(found[f"{n}_float" if n == "y" else n] - wanted[n]).max()
                  / np.abs(wanted[n]).max()) for n in names
        )  # fmt: skip

    changed = bias_correction(model, BiasCorrection(), bench)
    assert changed.layers == 4
    assert off(bench.quantize(model)) < 0.2 * off(bench.quantize(before))


@pytest.mark.parametrize(
    ("apply", "settings"), [(equalise, Equalise()), (bias_correction, BiasCorrection())]
)
def test_a_pass_that_works_on_samples_needs_a_bench(apply: Any, settings: Any) -> None:
    model, _ = opened(uneven())
    with pytest.raises(HardtackError) as caught:
        apply(model, settings)
    assert caught.value.code == "HT104"


def test_passes_for_accuracy_may_take_bytes_but_no_accuracy() -> None:
    options = Options(
        calibration=SAMPLES, compress=(Equalise(), BiasCorrection()),
        judge=iter_judge([0.9, 0.95, 0.94]),
    )  # fmt: skip
    first, second = convert(uneven().SerializeToString(), options).compressed
    assert first.skipped == ""
    assert "1.00 points of accuracy, 0.00 are allowed" in second.skipped
    allowed = replace(
        options, compress=(Equalise(), BiasCorrection(max_drop=0.02)),
        judge=iter_judge([0.9, 0.95, 0.94]),
    )  # fmt: skip
    assert convert(uneven().SerializeToString(), allowed).compressed[1].skipped == ""


def iter_judge(accuracies: list[float]) -> Any:
    """Return a judge that has seen the answers before."""
    left = iter(accuracies)
    return lambda *_: next(left)
