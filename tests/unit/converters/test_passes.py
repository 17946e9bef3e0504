"""Each pass keeps what the model computes, and does what its algebra says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest

from hardtack_converters.importers import import_model, read_source
from hardtack_converters.passes import prepare
from hardtack_converters.passes.fold_batchnorm import fold_batchnorm
from hardtack_converters.passes.fold_constants import fold_constants
from hardtack_converters.passes.fold_normalisation import fold_into_port, fold_normalisation
from hardtack_converters.passes.freeze import freeze
from hardtack_converters.passes.fuse_pad import fuse_pad
from hardtack_converters.passes.normalise_gemm import normalise_gemm
from hardtack_converters.passes.normalise_mean import normalise_mean
from hardtack_converters.passes.strip_softmax import strip_softmax
from hardtack_runtime.errors import ConfigError
from hardtack_runtime.program import Port
from tests.conformance.models.nets import model_of, node, small_cnn
from tests.conformance.models.runtimes import run_onnx

FloatArray = npt.NDArray[np.float32]
RNG = np.random.default_rng(11)
IMAGE = RNG.normal(size=(1, 3, 6, 6)).astype(np.float32)


def draw(*shape: int) -> FloatArray:
    return RNG.normal(size=shape).astype(np.float32)


CONSTANTS: dict[str, npt.NDArray[Any]] = {
    "w": draw(4, 3, 3, 3), "wd": draw(3, 1, 3, 3), "b": draw(4), "wg": draw(108, 5), "bg": draw(5),
    "gamma": draw(4), "beta": draw(4), "mean": draw(4), "var": np.abs(draw(4)) + np.float32(1),
    "g3": draw(3), "c": draw(4, 1, 1), "one": np.array(1.5, np.float32),
    "rows": np.array([1, 18, 6], np.int64),
    "w6": draw(6, 2), "b2": draw(2), "axes": np.array([2, 3], np.int64),
    "pads": np.array([0, 0, 1, 2, 0, 0, 0, 1], np.int64), "flat": np.array([1, 108], np.int64),
    "half": np.array(0.5, np.float32), "v3": np.abs(draw(3)) + np.float32(1),
}  # fmt: skip

BN = node("BatchNormalization", "a gamma beta mean var", "y")
CONV = node("Conv", "x w b", "a")


def graph_of(*nodes: onnx.NodeProto, rank: int = 4) -> ir.Model:
    used = {name for n in nodes for name in n.input}
    constants = {name: array for name, array in CONSTANTS.items() if name in used}
    proto = model_of(list(nodes), constants, {"x": ["N", 3, 6, 6]}, {"y": rank})
    return import_model(read_source(proto.SerializeToString()))


def run(model: ir.Model, image: FloatArray = IMAGE) -> FloatArray:
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto)
    result: FloatArray = run_onnx(proto, {"x": image})[0]
    return result


def ops(model: ir.Model) -> list[str]:
    return [n.op_type for n in model.graph]


@pytest.mark.parametrize(
    ("apply", "model", "left"),
    [
        pytest.param(freeze, graph_of(CONV, node("Dropout", "a", "y")), ["Conv"], id="dropout"),
        pytest.param(
            freeze, graph_of(node("Identity", "x", "a"), node("Relu", "a", "y")), ["Relu"],
            id="identity",
        ),
        pytest.param(freeze, graph_of(node("Identity", "x", "y")), ["Identity"],
                     id="kept identity"),
        pytest.param(
            fold_constants,
            graph_of(node("Mul", "half one", "k"), node("Mul", "x k", "y")), ["Mul"],
            id="constant product",
        ),
        pytest.param(
            fold_constants,
            graph_of(node("Shape", "x", "s"), node("Reshape", "x s", "y")), ["Identity"],
            id="shape of a fixed input",
        ),
        pytest.param(fold_batchnorm, graph_of(CONV, BN), ["Conv"], id="conv, batch norm"),
        pytest.param(
            fold_batchnorm,
            graph_of(node("Conv", "x w", "a"), node("Mul", "a c", "m"), node("Sub", "m one", "y")),
            ["Conv"], id="conv, mul, sub",
        ),
        pytest.param(
            fold_batchnorm,
            graph_of(CONV, BN, node("Add", "a y", "z"), node("Relu", "z", "q")),
            ["Conv", "Conv", "Add", "Relu"], id="second reader: batch norm gets its own layer",
        ),
        pytest.param(
            fold_batchnorm, graph_of(node("BatchNormalization", "x g3 g3 g3 v3", "y")), ["Conv"],
            id="batch norm alone",
        ),
        pytest.param(
            fold_batchnorm, graph_of(CONV, node("Sub", "c a", "y")), ["Conv", "Sub"],
            id="constant less conv: kept",
        ),
        pytest.param(
            fuse_pad, graph_of(node("Pad", "x pads", "p"), node("Conv", "p w b", "y")), ["Conv"],
            id="pad, conv",
        ),
        pytest.param(
            fuse_pad, graph_of(node("Pad", "x pads half", "p"), node("Conv", "p w b", "y")),
            ["Pad", "Conv"], id="pad with another value: kept",
        ),
        pytest.param(
            normalise_gemm,
            graph_of(node("Flatten", "x", "f"), node("MatMul", "f wg", "m"),
                     node("Add", "m bg", "y"), rank=2),
            ["Flatten", "Gemm"], id="matmul, add",
        ),
        pytest.param(
            normalise_gemm,
            graph_of(node("Reshape", "x rows", "f"), node("MatMul", "f w6", "m"),
                     node("Add", "b2 m", "y"), rank=3),
            ["Reshape", "Reshape", "Gemm", "Reshape"], id="matmul of three dimensions",
        ),
        pytest.param(
            normalise_gemm,
            graph_of(node("Flatten", "x", "f"),
                     node("Gemm", "f wg bg", "y", alpha=0.5, beta=2.0), rank=2),
            ["Flatten", "Gemm"], id="alpha and beta",
        ),
        pytest.param(
            normalise_mean, graph_of(node("ReduceMean", "x axes", "y")), ["GlobalAveragePool"],
            id="mean",
        ),
        pytest.param(
            normalise_mean, graph_of(node("ReduceMean", "x axes", "y", keepdims=0), rank=2),
            ["GlobalAveragePool", "Reshape"], id="mean without the axes",
        ),
        pytest.param(
            normalise_mean, graph_of(node("AveragePool", "x", "y", kernel_shape=[6, 6])),
            ["GlobalAveragePool"], id="pool over all",
        ),
        pytest.param(
            normalise_mean, graph_of(node("AveragePool", "x", "y", kernel_shape=[3, 3])),
            ["AveragePool"], id="smaller pool: kept",
        ),
    ],
)  # fmt: skip
def test_pass_rewrites_and_keeps_the_result(
    apply: Callable[[ir.Model], int], model: ir.Model, left: list[str]
) -> None:
    before = run(model)
    apply(model)
    assert [op for op in ops(model) if op != "Constant"] == left
    assert np.allclose(run(model), before, atol=1e-4)


def test_preparing_a_whole_net_keeps_its_result() -> None:
    image = RNG.normal(size=(1, 3, 12, 12)).astype(np.float32)
    model = import_model(read_source(small_cnn().SerializeToString()))
    before = run(model, image)
    counts = prepare(model)
    assert counts["normalise_gemm"] == 1
    assert "BatchNormalization" not in ops(model)
    assert np.allclose(run(model, image), before, atol=1e-5)


@pytest.mark.parametrize(
    ("nodes", "mean", "std", "how"),
    [
        pytest.param([node("Conv", "x w b", "y")], [0.5, -1, 2], [2, 0.5, 3], "folded",
                     id="no padding, per channel"),
        pytest.param([node("Conv", "x w b", "y", pads=[1, 1, 1, 1])], [0.0], [2, 0.5, 3], "folded",
                     id="padding, mean 0"),
        pytest.param([node("Conv", "x w b", "y", pads=[1, 0, 2, 1])], [0.5], [2.0],
                     "folded with a pad", id="padding, one mean"),
        pytest.param([node("Conv", "x w b", "y", auto_pad="SAME_UPPER", strides=[2, 2])], [0.5],
                     [2.0], "folded with a pad", id="automatic padding, one mean"),
        pytest.param([node("Conv", "x w b", "y", pads=[1, 1, 1, 1])], [0.5, -1, 2], [2, 0.5, 3],
                     "layer", id="padding, a mean per channel"),
        pytest.param([node("Conv", "x wd", "y", group=3)], [0.5, -1, 2], [2, 0.5, 3], "folded",
                     id="depthwise"),
        pytest.param([node("Relu", "x", "y")], [0.5], [2.0], "layer", id="no layer to fold into"),
    ],
)  # fmt: skip
def test_normalisation_folds_exactly(
    nodes: list[onnx.NodeProto], mean: list[float], std: list[float], how: str
) -> None:
    model = graph_of(*nodes)
    shape = (1, -1, 1, 1)
    scaled = (IMAGE - np.reshape(mean, shape)) / np.reshape(std, shape)
    before = run(model, scaled.astype(np.float32))
    assert fold_normalisation(model, mean, std) == how
    assert np.allclose(run(model), before, atol=1e-4)


def test_normalisation_folds_through_a_flatten() -> None:
    model = graph_of(node("Flatten", "x", "f"), node("Gemm", "f wg bg", "y"), rank=2)
    before = run(model, (IMAGE - np.float32(0.3)) / np.float32(0.7))
    assert fold_normalisation(model, [0.3], [0.7]) == "folded"
    assert np.allclose(run(model), before, atol=1e-4)


@pytest.mark.parametrize(("mean", "std"), [([0, 0], [1]), ([0], [0]), ([float("nan")], [1])])
def test_wrong_normalisation_is_refused(mean: list[float], std: list[float]) -> None:
    with pytest.raises(ConfigError) as caught:
        fold_normalisation(graph_of(CONV, BN), mean, std)
    assert caught.value.code == "HT104"


def test_normalisation_moves_the_grid_of_a_quantised_input() -> None:
    port = fold_into_port(Port(0, 1 / 128, 0), [128.0], [128.0])
    assert port.scale == pytest.approx(1.0)
    assert port.zero_point == -128
    with pytest.raises(ConfigError, match="cannot hold it"):
        fold_into_port(Port(0, 0.3, 5), [0.1], [1.0])


def test_softmax_is_stripped_and_the_winner_stays() -> None:
    model = graph_of(
        node("Flatten", "x", "f"), node("Gemm", "f wg bg", "a"), node("Softmax", "a", "y"), rank=2
    )
    before = run(model)
    assert strip_softmax(model) == 1
    after = run(model)
    assert ops(model) == ["Flatten", "Gemm"]
    assert model.graph.outputs[0].name == "y"
    assert after.argmax() == before.argmax()
    assert np.allclose(np.exp(after) / np.exp(after).sum(), before, atol=1e-5)


def test_softmax_in_the_middle_stays() -> None:
    model = graph_of(node("Softmax", "x", "a"), node("Relu", "a", "y"))
    assert strip_softmax(model) == 0
