"""Layers of lower rank."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardtack_converters.compress.factorise import factorise, factors_of
from hardtack_converters.compress.layers import weighted_layers
from hardtack_converters.compress.settings import Factorise
from hardtack_converters.convert import Options, convert
from hardtack_runtime.errors import ConfigError
from tests.conformance.models.nets import model_of, node
from tests.unit.converters.compress.nets import answers, dense_net, prepared

RNG = np.random.default_rng(23)


def low_rank(*shape: int, rank: int) -> Any:
    """Draw a matrix of a rank."""
    return RNG.normal(size=(shape[0], rank)) @ RNG.normal(size=(rank, shape[1]))


def picture(weights: Any, **attributes: Any) -> onnx.ModelProto:
    constants = {"w": weights.astype(np.float32), "b": RNG.normal(size=len(weights))}
    constants["b"] = constants["b"].astype(np.float32)
    nodes = [node("Conv", "x w b", "conv", **attributes), node("Relu", "conv", "y")]
    return model_of(nodes, constants, {"x": [1, weights.shape[1], 11, 9]}, {"y": 4})


def check_same(proto: onnx.ModelProto, settings: Factorise, shape: tuple[int, ...]) -> list[Any]:
    """Factorise, and compare with the model as it was; return the shapes of all weights."""
    model = prepared(proto)
    before = model.clone()
    assert factorise(model, settings).layers > 0
    x = RNG.normal(size=shape).astype(np.float32)
    np.testing.assert_allclose(answers(model, x), answers(before, x), rtol=1e-3, atol=1e-3)
    return [layer.weights.shape for layer in weighted_layers(model)]


def test_a_dense_layer_of_low_rank_becomes_two_that_give_the_same() -> None:
    proto = dense_net(RNG, (16, 64, 48, 4))
    tensors = {t.name: t for t in proto.graph.initializer}
    low = low_rank(48, 64, rank=5).astype(np.float32)
    tensors["w1"].CopyFrom(onnx.numpy_helper.from_array(low, "w1"))
    settings = Factorise(energy=0.999999, layers=("fc1",))
    shapes = check_same(proto, settings, (1, 16))
    assert shapes == [(64, 16), (5, 64), (48, 5), (4, 48)]


@pytest.mark.parametrize(
    "attributes",
    [
        pytest.param({}, id="plain"),
        pytest.param({"pads": [1, 2, 1, 2]}, id="padded"),
        pytest.param({"pads": [0, 1, 2, 0], "strides": [2, 3]}, id="strides, uneven pads"),
        pytest.param({"dilations": [2, 1]}, id="dilated"),
    ],
)
def test_a_square_window_becomes_a_column_and_a_row(attributes: dict[str, Any]) -> None:
    rows, columns = RNG.normal(size=(3, 4, 5)), RNG.normal(size=(8, 3, 3))
    weights = np.einsum("riy,orx->oiyx", rows, columns)
    shapes = check_same(
        picture(weights, **attributes), Factorise(kind="separable", energy=0.999999), (1, 4, 11, 9)
    )
    assert shapes == [(3, 4, 5, 1), (8, 3, 1, 3)]


@pytest.mark.parametrize("attributes", [{}, {"pads": [1, 1, 1, 1], "strides": [2, 2]}])
def test_a_convolution_gets_a_bottleneck(attributes: dict[str, Any]) -> None:
    weights = low_rank(12, 6 * 9, rank=4).reshape(12, 6, 3, 3)
    shapes = check_same(
        picture(weights, **attributes), Factorise(kind="bottleneck", energy=0.999999),
        (1, 6, 11, 9),
    )  # fmt: skip
    assert shapes == [(4, 6, 3, 3), (12, 4, 1, 1)]


@settings(max_examples=40)
@given(st.integers(2, 30), st.integers(2, 30), st.floats(0.01, 0.99), st.booleans())
def test_factors_are_smaller_and_keep_what_was_asked_for(
    outputs: int, inputs: int, share: float, by_energy: bool
) -> None:
    weights = np.random.default_rng(outputs * 31 + inputs).normal(size=(outputs, inputs))
    proto = model_of(
        [node("Gemm", "x w", "y", transB=1)], {"w": weights.astype(np.float32)},
        {"x": [1, inputs]}, {"y": 2},
    )  # fmt: skip
    (layer,) = weighted_layers(prepared(proto))
    settings = Factorise(energy=share) if by_energy else Factorise(budget=share)
    factors = factors_of(layer, settings)
    if factors is None:
        return
    assert factors.size < weights.size
    rest = np.linalg.norm(weights - factors.second @ factors.first) ** 2
    kept = 1 - rest / np.linalg.norm(weights) ** 2
    if by_energy:
        assert kept >= share - 1e-6
    else:
        assert factors.size <= share * weights.size
    # No matrix of that rank is nearer (Eckart and Young).
    sizes = np.linalg.svd(weights, compute_uv=False)
    assert rest == pytest.approx((sizes[len(factors.first) :] ** 2).sum(), rel=1e-4, abs=1e-6)


def test_a_layer_that_would_grow_stays() -> None:
    model = prepared(dense_net(RNG, (16, 64, 4)))
    changed = factorise(model, Factorise(energy=0.9999))
    assert changed.layers == 0
    assert changed.summary.endswith("2 would grow")
    options = Options(
        calibration=RNG.normal(size=(20, 1, 16)).astype(np.float32),
        compress=(Factorise(energy=0.9999),),
    )
    (row,) = convert(dense_net(RNG, (16, 64, 4)).SerializeToString(), options).compressed
    assert row.skipped == "it changed nothing (0 -> 0 weights in 0 layers; 2 would grow)"


@pytest.mark.parametrize(
    ("kind", "name", "todo"),
    [
        pytest.param("dense", "conv", 'say kind = "separable" or kind = "bottleneck"', id="conv"),
        pytest.param("bottleneck", "f*", 'say kind = "dense"', id="gemm"),
    ],
)
def test_a_layer_that_a_kind_does_not_take_is_refused(kind: Any, name: str, todo: str) -> None:
    net = picture(RNG.normal(size=(8, 4, 3, 3))) if name == "conv" else dense_net(RNG, (16, 64, 4))
    wanted = Factorise(kind=kind, budget=0.5, layers=(name,))
    shape = (20, 4, 11, 9) if name == "conv" else (20, 1, 16)
    samples = RNG.normal(size=shape).astype(np.float32)
    options = Options(calibration=samples, compress=(wanted,))
    with pytest.raises(ConfigError, match="is no ") as caught:
        convert(net.SerializeToString(), options)
    assert caught.value.code == "HT104"
    assert caught.value.where == "[[compress]] 1 (factorise), layers"
    assert todo in caught.value.todo


def test_a_model_without_layers_of_a_kind_says_so() -> None:
    changed = factorise(prepared(picture(RNG.normal(size=(8, 4, 3, 3)))), Factorise(budget=0.5))
    assert (changed.layers, changed.summary) == (0, "there is no dense layer")


def test_a_factorised_model_converts_and_is_smaller() -> None:
    options = Options(
        calibration=RNG.normal(size=(20, 1, 64)).astype(np.float32),
        compress=(Factorise(budget=0.5),),
    )
    made = convert(dense_net(RNG, (64, 96, 96, 10)).SerializeToString(), options)
    (row,) = made.compressed
    assert row.bytes_after < 0.65 * row.bytes_before
    assert [r.name for r in made.rows][:2] == ["fc0_low", "fc0"]
