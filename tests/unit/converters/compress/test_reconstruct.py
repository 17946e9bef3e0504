"""What is left makes up for what went."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from hardtack_converters.compress.bench import Bench
from hardtack_converters.compress.factorise import factorise
from hardtack_converters.compress.layers import weighted_layers
from hardtack_converters.compress.prune import prune
from hardtack_converters.compress.reconstruct import (
    compensated,
    input_moments,
    loss_of_rows,
    refitted,
)
from hardtack_converters.compress.round import round_weights
from hardtack_converters.compress.settings import Factorise, Prune, Round
from hardtack_converters.convert import Options, open_bench
from tests.conformance.models.nets import model_of, node
from tests.unit.converters.compress.nets import answers, dense_net

RNG = np.random.default_rng(41)


def pictures(count: int) -> Any:
    """Draw smooth pictures [count, 1, 4, 6, 5]: neighbours and channels tell much of each other."""
    walk = RNG.normal(size=(count, 1, 1, 6, 5)).cumsum(axis=3).cumsum(axis=4)
    mix = RNG.normal(size=(1, 1, 4, 1, 1))
    return (walk * mix + 0.2 * RNG.normal(size=(count, 1, 4, 6, 5))).astype(np.float32)


def few_causes(count: int, size: int) -> Any:
    """Draw samples [count, 1, size] whose values follow from few others."""
    mix = RNG.normal(size=(size // 8, size))
    noise = 0.1 * RNG.normal(size=(count, size))
    return (RNG.normal(size=(count, size // 8)) @ mix + noise).reshape(count, 1, size)


SAMPLES = pictures(100)


def convolution(**attributes: Any) -> onnx.ModelProto:
    depthwise = attributes.get("group", 1) > 1
    weights = RNG.normal(size=(4, 1, 3, 2) if depthwise else (7, 4, 3, 2)).astype(np.float32)
    bias = RNG.normal(size=len(weights)).astype(np.float32)
    nodes = [node("Conv", "x w b", "conv", **attributes), node("Relu", "conv", "y")]
    return model_of(nodes, {"w": weights, "b": bias}, {"x": [1, 4, 6, 5]}, {"y": 4})


def opened(proto: onnx.ModelProto, samples: Any = SAMPLES) -> tuple[ir.Model, Bench]:
    return open_bench(proto.SerializeToString(), Options(calibration=samples))


@pytest.mark.parametrize(
    "attributes",
    [
        pytest.param({}, id="plain"),
        pytest.param({"pads": [1, 0, 2, 1]}, id="uneven pads"),
        pytest.param({"strides": [2, 3], "pads": [1, 1, 1, 1]}, id="strides"),
        pytest.param({"dilations": [2, 1]}, id="dilated"),
        pytest.param({"auto_pad": "SAME_UPPER", "strides": [2, 2]}, id="SAME"),
        pytest.param({"group": 4, "pads": [1, 1, 1, 1]}, id="depthwise"),
    ],
)
def test_moments_are_those_of_what_the_weights_multiply(attributes: dict[str, Any]) -> None:
    """Sum of squared outputs = sum over outputs of w^T H w, when there is no bias."""
    proto = convolution(**attributes)
    proto.graph.node[0].input.pop()
    proto.graph.node.pop()
    proto.graph.node[0].output[0] = proto.graph.node[0].name = "y"
    model, bench = opened(proto)
    (layer,) = weighted_layers(model)
    moments = input_moments(model, layer, bench.samples, 10)
    rows = layer.weights.reshape(len(moments), -1, moments.shape[-1])
    found = float(np.einsum("goi,gij,goj->", rows, moments, rows))
    outputs = sum(float((answers(model, x).astype(np.float64) ** 2).sum()) for x in SAMPLES[::11])
    assert found == pytest.approx(outputs, rel=1e-4)


def test_what_is_left_is_the_least_squares_solution() -> None:
    x = RNG.normal(size=(200, 6)) @ RNG.normal(size=(6, 6))
    weights, kept = RNG.normal(size=(3, 6)), RNG.random((3, 6)) < 0.6
    moment = (x.T @ x)[None]
    made = refitted(weights, kept, moment, moment)
    assert not made[~kept].any()
    tails = 1e-3 * np.sqrt(np.trace(x.T @ x) / 6 * 0.01 / 1e-6) * np.eye(6)  # the damping
    known = np.concatenate([x, tails])
    for row, alive, found in zip(weights, kept, made, strict=True):
        best = np.linalg.lstsq(known[:, alive], known @ row, rcond=None)[0]
        np.testing.assert_allclose(found[alive], best, rtol=1e-6)


def test_columns_that_follow_make_up_for_one_that_is_settled() -> None:
    moment = np.cov(RNG.normal(size=(200, 6)) @ RNG.normal(size=(6, 6)), rowvar=False)
    weights = RNG.normal(size=(3, 6))
    made = compensated(weights, moment, lambda c, best: np.zeros_like(best) if c < 2 else best)
    kept = np.tile(np.arange(6) >= 2, (3, 1))
    best = refitted(weights, kept, moment[None], moment[None])
    np.testing.assert_allclose(made, best, rtol=1e-6)


@pytest.mark.parametrize(
    "settings", [Prune(sparsity=0.5), Prune(pattern="2:4"), Prune(sparsity=0.4, pattern="vector")]
)
@pytest.mark.parametrize("attributes", [{"pads": [1, 1, 1, 1]}, {"strides": [2, 2]}])
def test_a_pruned_layer_keeps_more_of_its_outputs(
    settings: Prune, attributes: dict[str, Any]
) -> None:
    proto = convolution(**attributes)
    lost = []
    for reconstruct in (False, True):
        model, bench = opened(proto)
        before = model.clone()
        prune(model, settings.model_copy(update={"reconstruct": reconstruct}), bench)
        lost.append(
            sum(float(((answers(model, x) - answers(before, x)) ** 2).sum()) for x in SAMPLES)
        )
        zeros = sum(int((layer.weights == 0).sum()) for layer in weighted_layers(model))
        assert zeros >= 0.3 * 7 * 4 * 6
    assert lost[1] < 0.6 * lost[0]


@pytest.mark.parametrize("attributes", [{}, {"group": 4}])
def test_rounding_keeps_outputs_and_codes_survive_quantising(attributes: dict[str, Any]) -> None:
    proto = convolution(**attributes)
    model, bench = opened(proto)
    before = model.clone()
    assert round_weights(model, Round(), bench).layers == 1
    (layer,), (original,) = weighted_layers(model), weighted_layers(before)
    rows, real = (one.weights.reshape(len(one.weights), -1) for one in (layer, original))
    scale = np.abs(real).max(axis=1, keepdims=True) / 127
    codes = rows / scale
    np.testing.assert_allclose(codes, np.rint(codes), atol=1e-3)
    assert np.abs(rows).max(axis=1) == pytest.approx(np.abs(real).max(axis=1))

    moments = input_moments(before, original, bench.samples, 100)

    lost = loss_of_rows(rows - real, moments)
    nearest = loss_of_rows(np.rint(real / scale) * scale - real, moments)
    assert (lost <= nearest * 1.001).all()
    if not attributes:  # a depthwise Conv has few weights to make up for others
        assert lost.sum() < 0.3 * nearest.sum()


def test_zeros_stay_zeros_when_rounded() -> None:
    model, bench = opened(convolution())
    prune(model, Prune(sparsity=0.5), bench)
    (before,) = weighted_layers(model)
    round_weights(model, Round(), bench)
    (after,) = weighted_layers(model)
    assert ((after.weights == 0) >= (before.weights == 0)).all()


def test_factors_that_know_the_samples_keep_more() -> None:
    samples = few_causes(200, 64).astype(np.float32)
    lost = []
    proto = dense_net(np.random.default_rng(1), (64, 96, 10))
    for known in (False, True):
        model, bench = opened(proto, samples)
        before = model.clone()
        settings = Factorise(budget=0.4, layers=("fc0",))
        assert factorise(model, settings, bench if known else None).layers == 1
        lost.append(
            sum(float(((answers(model, x) - answers(before, x)) ** 2).sum()) for x in samples)
        )
    assert lost[1] < 0.1 * lost[0]
