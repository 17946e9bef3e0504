"""Whole channels go, and the model that is left is bit for bit the one with those channels zero."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest

from hardtack_converters import query
from hardtack_converters.compress.layers import weighted_layers
from hardtack_converters.compress.prune import prune
from hardtack_converters.compress.settings import Prune
from hardtack_converters.importers import import_model, read_source
from hardtack_converters.passes import prepare
from hardtack_converters.passes.channels import channels_of
from hardtack_converters.passes.drop_dead import drop_dead
from tests.conformance.models.nets import model_of, node
from tests.data import data_path
from tests.unit.converters.compress.nets import answers, prepared

RNG = np.random.default_rng(11)


def whole(*shape: int) -> npt.NDArray[np.float32]:
    """Draw small whole numbers: float32 sums of their products are exact in any order."""
    return RNG.integers(-3, 4, shape).astype(np.float32)


def branches(join: str) -> onnx.ModelProto:
    """Return a net with a residual or concatenated branch, a depthwise Conv, pools and a view."""
    width = 12 if join == "Concat" else 6
    constants: dict[str, npt.NDArray[Any]] = {
        "w0": whole(6, 2, 3, 3), "b0": whole(6), "w1": whole(6, 6, 3, 3), "b1": whole(6),
        "dw": whole(width, 1, 3, 3), "db": whole(width), "w2": whole(5, width, 1, 1),
        "b2": whole(5), "w3": whole(3, 5 * 16), "b3": whole(3),
    }  # fmt: skip
    joined = {"axis": 1} if join == "Concat" else {}
    nodes = [
        node("Conv", "x w0 b0", "c0", pads=[1, 1, 1, 1]), node("Relu", "c0", "r0"),
        node("Conv", "r0 w1 b1", "c1", pads=[1, 1, 1, 1]),
        node(join, "r0 c1", "j", **joined), node("Relu", "j", "rj"),
        node("Conv", "rj dw db", "d", group=width, pads=[1, 1, 1, 1]), node("Relu", "d", "rd"),
        node("MaxPool", "rd", "p", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", "p w2 b2", "c2"), node("Transpose", "c2", "t", perm=[0, 2, 3, 1]),
        node("Flatten", "t", "f"), node("Gemm", "f w3 b3", "y", transB=1),
    ]  # fmt: skip
    return model_of(nodes, constants, {"x": [1, 2, 8, 8]}, {"y": 2})


def zeroed(model: ir.Model, channels: set[int]) -> ir.Model:
    """Return a copy in which channels are zero from where they are made on."""
    copy = model.clone()
    layers = {layer.linear.node.name: layer for layer in channels_of(model).layers}
    for node_ in copy.graph:
        layer = layers.get(node_.name)
        if layer is None:
            continue
        gone = np.isin(layer.made, list(channels))
        for index, axis in ((1, layer.linear.out_axis), (2, 0)):
            value = node_.inputs[index]
            numbers = query.constant(value)
            assert value is not None
            assert numbers is not None
            keep = (~gone).reshape([-1 if a == axis else 1 for a in range(numbers.ndim)])
            name = f"{value.name}_zeroed"
            made = (numbers * keep).astype(np.float32)
            node_.replace_input_with(index, query.set_constant(copy.graph, name, made))
    return copy


def outputs(model: ir.Model) -> dict[str, int]:
    return {str(layer.node.name): layer.outputs for layer in weighted_layers(model)}


@pytest.mark.parametrize("join", ["Add", "Concat", "Mul", "Sub"])
def test_zeroed_channels_vanish_everywhere_and_not_a_bit_changes(join: str) -> None:
    model = prepared(branches(join))
    free = channels_of(model).removable()
    gone = set(free[:: 3 if join == "Concat" else 2].tolist())
    dead = zeroed(model, gone)
    small = dead.clone()
    drop_dead(small)
    left = {
        layer.linear.node.name: int((~np.isin(layer.made, list(gone))).sum())
        for layer in channels_of(model).layers
    }
    assert outputs(small) == left
    assert sum(left.values()) < sum(outputs(model).values())
    for _ in range(5):
        x = whole(1, 2, 8, 8)
        assert np.array_equal(answers(small, x), answers(dead, x))


def test_a_residual_ties_the_channels_of_both_branches() -> None:
    model = prepared(branches("Add"))
    prune(model, Prune(sparsity=0.5, pattern="channel"))
    assert outputs(model) == {"c0": 3, "c1": 3, "d": 3, "c2": 3, "y": 3}


def test_concatenated_channels_go_one_by_one() -> None:
    model = prepared(branches("Concat"))
    prune(model, Prune(sparsity=0.5, pattern="channel", layers=("c1",)))
    assert outputs(model) == {"c0": 6, "c1": 3, "d": 9, "c2": 5, "y": 3}


def test_one_channel_of_a_layer_stays() -> None:
    model = prepared(branches("Add"))
    prune(model, Prune(sparsity=0.99, pattern="channel"))
    assert outputs(model) == {"c0": 1, "c1": 1, "d": 1, "c2": 1, "y": 3}


def test_what_nothing_makes_important_goes_first() -> None:
    proto = branches("Add")
    constants = {t.name: t for t in proto.graph.initializer}
    w2 = onnx.numpy_helper.to_array(constants["w2"]).copy()
    w2[[1, 4]] = 0.001
    constants["w2"].CopyFrom(onnx.numpy_helper.from_array(w2, "w2"))
    model = prepared(proto)
    prune(model, Prune(sparsity=0.4, pattern="channel", layers=("c2",)))
    kept = next(layer for layer in weighted_layers(model) if layer.node.name == "c2").weights
    assert np.array_equal(kept, np.delete(w2, [1, 4], axis=0))


def test_operators_that_are_not_known_keep_their_channels() -> None:
    nodes = [node("Conv", "x w0", "c"), node("Softmax", "c", "s", axis=1),
             node("Conv", "s w1", "y")]  # fmt: skip
    proto = model_of(
        nodes, {"w0": whole(4, 2, 1, 1), "w1": whole(3, 4, 1, 1)}, {"x": [1, 2, 4, 4]}, {"y": 4}
    )
    model = prepared(proto)
    assert prune(model, Prune(sparsity=0.5, pattern="channel")).layers == 0
    assert outputs(model) == {"c": 4, "y": 3}


def test_the_operands_of_a_product_per_channel_get_narrower() -> None:
    constants: dict[str, Any] = {
        "w0": whole(4, 2, 1, 1), "k": np.array([1, 2, 3, 4], np.float32).reshape(4, 1, 1),
        "w1": whole(3, 4, 1, 1),
    }  # fmt: skip
    constants["w0"][[0, 2]] = 0
    nodes = [node("Conv", "x w0", "c"), node("Relu", "c", "r"), node("Mul", "r k", "m"),
             node("Conv", "m w1", "y")]  # fmt: skip
    model = import_model(
        read_source(model_of(nodes, constants, {"x": [1, 2, 4, 4]}, {"y": 4}).SerializeToString())
    )
    before = model.clone()
    assert drop_dead(model) == 2
    x = whole(1, 2, 4, 4)
    assert np.array_equal(answers(model, x), answers(before, x))


@pytest.mark.parametrize(
    ("name", "shape", "tied"),
    [
        pytest.param("kws_ref_model_float32", (1, 49, 10, 1), 0, id="keyword spotting"),
        pytest.param("pretrainedResnet", (1, 32, 32, 3), 3, id="ResNet-8"),
        pytest.param("ad01_fp32", (1, 640), 0, id="anomaly detection"),
    ],
)
def test_real_models_shrink_to_what_their_zeroed_form_gives(
    name: str, shape: tuple[int, ...], tied: int
) -> None:
    model = import_model(read_source(data_path(f"mlperf_tiny/{name}.tflite")))
    prepare(model)
    found = channels_of(model)
    made = [number for layer in found.layers if not layer.depthwise for number in layer.made]
    free = found.removable()
    assert len(made) - len(set(made)) >= tied
    gone = set(free[RNG.random(len(free)) < 0.3].tolist())
    dead = zeroed(model, gone)
    small = dead.clone()
    drop_dead(small)
    assert sum(outputs(small).values()) <= sum(outputs(model).values()) - len(gone)
    x = RNG.normal(size=shape).astype(np.float32)
    np.testing.assert_allclose(answers(small, x), answers(dead, x), rtol=1e-4, atol=1e-5)
